//! Network cards made of cables between virtual ones, and a second machine at the other end of one.

use std::{
    env, fs,
    net::IpAddr,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use eventcast::{Args, Builder, Bus, Notice, Received};
use eventcast_tests::{
    process::own_command,
    wait::{Seen, block_on, eventually},
};

pub(crate) use eventcast_tests::process::ip;

/// Says to a case that it is run again, on another machine or as another process, and how.
pub(crate) const ROLE: &str = "EVENTCAST_TEST_ROLE";

/// How long is waited for an answer before the question is asked again: a card that has just come
/// loses what is sent by it for a moment.
const ANSWER: Duration = Duration::from_millis(100);

/// A cable between two cards of this machine, both up.
pub(crate) fn cable(one: &str, other: &str) {
    ip(&format!("link add {one} type veth peer name {other}"));
    ip(&format!("link set {one} up"));
    ip(&format!("link set {other} up"));
}

/// Gives a card an address: at once, whatever IPv6 would like to ask the neighbours first.
pub(crate) fn give(card: &str, address: &str) {
    let at_once = if address.contains(':') { " nodad" } else { "" };
    ip(&format!("addr add {address} dev {card}{at_once}"));
}

/// A bus of its own group in a machine that nobody else is on.
pub(crate) fn builder(group: &str, interface: &str) -> Builder {
    Bus::builder()
        .environment(false)
        .last_resort(false)
        .port(9_777)
        .multicast_membership(group)
        .multicast_interface(interface)
}

/// Builds and starts, as soon as the interface is ready: IPv6 takes a moment for its own addresses.
#[track_caller]
pub(crate) fn started(builder: Builder) -> Bus {
    let bus = builder.build().expect("good options");
    let mut last = String::new();
    eventually("it starts", || match block_on(bus.start()) {
        Ok(()) => true,
        Err(error) => {
            if last != error.to_string() {
                last = error.to_string();
                println!("not yet: {last}");
            }
            false
        }
    });
    bus
}

/// What a bus tells about its interfaces: `+name` and `-name`.
pub(crate) fn comings_and_goings(bus: &Bus) -> Seen<String> {
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_notice(move |notice: &Notice| match notice {
        Notice::InterfaceJoined { name, .. } => list.push(format!("+{name}")),
        Notice::InterfaceLeft { name, .. } => list.push(format!("-{name}")),
        _ => {}
    });
    seen
}

/// Waits until a bus has told this.
#[track_caller]
pub(crate) fn wait_for(seen: &Seen<String>, what: &str) {
    eventually(what, || seen.all().iter().any(|one| one == what));
}

/// The interfaces on which this machine has joined a group.
pub(crate) fn joined(group: IpAddr) -> Vec<String> {
    let mut joined = Vec::new();
    match group {
        IpAddr::V4(group) => {
            let table = fs::read_to_string("/proc/net/igmp").expect("Linux tells of its groups");
            // Linux writes the number as the machine holds it.
            let address = format!("{:08X}", u32::from_ne_bytes(group.octets()));
            let mut interface = "";
            for line in table.lines().skip(1) {
                let mut words = line.split_whitespace();
                match (line.starts_with('\t'), words.next(), words.next()) {
                    (false, _, Some(name)) => interface = name,
                    (true, Some(group), _) if group == address => joined.push(interface.to_owned()),
                    _ => {}
                }
            }
        }
        IpAddr::V6(group) => {
            let table = fs::read_to_string("/proc/net/igmp6").expect("Linux tells of its groups");
            let address = format!("{:032x}", group.to_bits());
            for line in table.lines() {
                let words: Vec<_> = line.split_whitespace().collect();
                if let [_, name, group, ..] = words[..]
                    && group == address
                {
                    joined.push(name.to_owned());
                }
            }
        }
    }
    joined
}

/// How the case was called: as itself, or as another machine or process, with these words.
pub(crate) fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// Runs this case again, by its name, with `words` as its role, within the command `around` (or
/// nothing).
pub(crate) fn play(case: &str, around: &[&str], words: &str) -> Command {
    let mut command = own_command(around).expect("the test binary is somewhere");
    command.env("EVENTCAST_TEST_INNER", case).env(ROLE, words);
    command
}

/// Another machine, with a bus that answers each `ping` by a `pong` with the same arguments.
pub(crate) struct Machine(Child);

impl Machine {
    /// Its bus has this group and this choice of interface. Each of its cards gets its address
    /// whenever it is plugged in: `group interface card=address ..`.
    pub(crate) fn new(case: &str, group: &str, interface: &str, cards: &[(&str, &str)]) -> Self {
        let cards: Vec<_> = cards
            .iter()
            .map(|(card, own)| format!("{card}={own}"))
            .collect();
        let words = format!("{group} {interface} {}", cards.join(" "));
        let around = [
            "unshare",
            "-n",
            "sh",
            "-c",
            "ip link set lo up && exec \"$@\"",
            "sh",
        ];
        let child = play(case, &around, &words)
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare runs");
        let own = fs::read_link("/proc/self/ns/net").expect("Linux has namespaces");
        let theirs = format!("/proc/{}/ns/net", child.id());
        eventually("the other machine is there", || {
            fs::read_link(&theirs).is_ok_and(|theirs| theirs != own)
        });
        Self(child)
    }

    /// Lays a cable from here to there.
    pub(crate) fn plug(&self, here: &str, there: &str) {
        self.plug_with_mtu(here, there, 1_500);
    }

    /// The same, for packets of this length at most.
    pub(crate) fn plug_with_mtu(&self, here: &str, there: &str, mtu: u32) {
        ip(&format!(
            "link add {here} mtu {mtu} type veth peer name {there} mtu {mtu}"
        ));
        ip(&format!("link set {there} netns {}", self.0.id()));
        ip(&format!("link set {here} up"));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the other machine does, until it is switched off.
pub(crate) fn answer_pings(words: &str, with: impl FnOnce(Builder) -> Builder) -> ! {
    let words: Vec<_> = words.split(' ').collect();
    let (group, interface) = (words[0].to_owned(), words[1].to_owned());
    let cards: Vec<(String, String)> = words[2..]
        .iter()
        .filter_map(|word| word.split_once('='))
        .map(|(card, address)| (card.to_owned(), address.to_owned()))
        .collect();
    let is_plugged =
        |card: &str| fs::exists(format!("/proc/sys/net/ipv4/conf/{card}")).unwrap_or(false);
    eventually("its cards are plugged in", || {
        cards.iter().all(|(card, _)| is_plugged(card))
    });
    for (card, address) in &cards {
        switch_on(card, address);
    }
    let bus = started(with(builder(&group, &interface)));
    bus.on_named("ping", |e: &Received<Args>| {
        e.bus().emit_named("pong", (**e).clone()).expect("it runs");
    });
    // A card that was pulled out and is plugged in again gets its address again.
    let mut there = vec![true; cards.len()];
    loop {
        for ((card, address), there) in cards.iter().zip(&mut there) {
            let now = is_plugged(card);
            if now && !*there {
                switch_on(card, address);
            }
            *there = now;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn switch_on(card: &str, address: &str) {
    if address != "none" {
        give(card, address);
    }
    ip(&format!("link set {card} up"));
}

/// What comes back from the other machine: the first argument of each `pong`.
pub(crate) fn pongs(bus: &Bus) -> Seen<i32> {
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_named("pong", move |e: &Received<Args>| {
        list.push(e[0].as_i32().expect("the number that was sent"));
    });
    seen
}

/// Asks with this number until it is answered: both directions work.
#[track_caller]
pub(crate) fn exchange(bus: &Bus, pongs: &Seen<i32>, number: i32) {
    exchange_with(bus, pongs, number, "");
}

/// The same, with something beside the number.
#[track_caller]
pub(crate) fn exchange_with(bus: &Bus, pongs: &Seen<i32>, number: i32, beside: &str) {
    eventually(&format!("ping {number} is answered"), || {
        bus.emit_named("ping", (number, beside)).expect("it runs");
        thread::sleep(ANSWER);
        pongs.all().contains(&number)
    });
}
