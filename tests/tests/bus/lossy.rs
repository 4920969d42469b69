//! Two machines with a lossy cable between them: small events.

use std::{
    net::UdpSocket,
    os::fd::AsRawFd,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use eventcast::{Args, Builder, Bus, DropCause, Notice, Received};
use eventcast_tests::{
    cable::{ADDRESSES, CARD, Cable, Fate, Frame, Way, Weather},
    host::Host,
    process,
    runner::Case,
    wait::{PATIENCE, Seen, eventually},
};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};

use crate::machines;

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, body: fn()| Case::new(name, body).in_own_network();
    vec![
        case("lossy::small_events_both_ways", small_events_both_ways),
        case("lossy::a_network_that_falls_apart", falls_apart),
        case("lossy::one_lost_event", one_lost_event),
        case(
            "lossy::events_sent_to_a_peer_that_joins",
            events_sent_to_a_peer_that_joins,
        ),
        case("lossy::a_firewall_is_named", a_firewall_is_named),
        case("lossy::the_cable_itself", the_cable_itself),
    ]
}

const GROUP: &str = "239.192.9.1";

/// Two machines and the cable between them.
pub(crate) struct Network {
    pub(crate) cable: Cable,
    hosts: [Host; 2],
}

impl Network {
    pub(crate) fn new() -> Self {
        let hosts = [Host::new(), Host::new()];
        let cable = Cable::between([&hosts[0], &hosts[1]]);
        Self { cable, hosts }
    }

    /// Starts a bus on the first machine.
    pub(crate) fn on_a(&self, with: impl FnOnce(Builder) -> Builder) -> Bus {
        let builder = with(machines::builder(GROUP, CARD));
        self.hosts[0].run(move || machines::started(builder))
    }

    /// Starts a bus on the second machine.
    pub(crate) fn on_b(&self, with: impl FnOnce(Builder) -> Builder) -> Bus {
        let builder = with(machines::builder(GROUP, CARD));
        self.hosts[1].run(move || machines::started(builder))
    }

    /// The receive buffer of every UDP socket on the second machine, and that of one which nobody
    /// has set.
    pub(crate) fn receive_buffers_on_b(&self) -> (Vec<usize>, usize) {
        self.hosts[1].run(|| {
            let fresh = socket2::Socket::from(UdpSocket::bind("127.0.0.1:0").expect("a port"));
            let untouched = fresh.recv_buffer_size().expect("the system knows");
            drop(fresh);
            let mut command = Command::new("ss");
            command.args(["--udp", "--all", "--memory", "--numeric", "--no-header"]);
            let told = process::run(&mut command, Duration::from_secs(10));
            let told = told.unwrap_or_else(|error| panic!("{error}"));
            let told = String::from_utf8_lossy(&told.stdout).into_owned();
            let sizes = told.split(['(', ',', ')']);
            let sizes = sizes.filter_map(|part| part.strip_prefix("rb")?.parse().ok());
            (sizes.collect(), untouched)
        })
    }
}

/// Waits until the buses know each other.
#[track_caller]
pub(crate) fn acquainted(buses: &[&Bus]) {
    eventually("each has heard of every other", || {
        let others = buses.len() - 1;
        buses.iter().all(|bus| bus.peers().len() == others)
    });
}

/// What a bus tells as lost or given up, in words.
pub(crate) fn losses(bus: &Bus) -> Seen<String> {
    let told = Seen::new();
    let list = told.clone();
    bus.on_notice(move |notice: &Notice| match notice {
        Notice::Lost { .. } | Notice::Expired { .. } => list.push(notice.to_string()),
        _ => {}
    });
    told
}

/// The numbers that events of this name bring.
pub(crate) fn numbers(bus: &Bus, name: &str) -> Seen<u32> {
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_named(name, move |e: &Received<Args>| {
        list.push(e.decode().expect("a number"));
    });
    seen
}

/// Emits as soon as there is room.
#[track_caller]
fn emit(bus: &Bus, name: &str, number: u32) {
    let end = Instant::now() + PATIENCE;
    while let Err(error) = bus.emit_named(name, number) {
        assert!(Instant::now() < end, "{error}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Nothing gets through between the two but what is sent to the group; later everything.
fn a_firewall_is_named() {
    let network = Network::new();
    let loses = |unicast: bool| {
        move |frame: &Frame<'_>| match frame.to_group() {
            true if frame.contains(b"alone") => Fate::Lost,
            false if !unicast => Fate::Lost,
            _ => Fate::Arrives,
        }
    };
    network.cable.set_rule(loses(false));
    let a = network.on_a(|a| a);
    let b = network.on_b(|b| b.message_ttl(Duration::from_millis(300)));
    acquainted(&[&a, &b]);
    let (seen, told) = (numbers(&b, "alone"), losses(&b));
    emit(&a, "alone", 1);
    let first = &told.wait_for(1)[0];
    assert!(first.contains("nothing unicast has ever come"), "{first}");
    assert!(first.contains("unicast_port"), "{first}");

    network.cable.set_rule(loses(true));
    emit(&a, "alone", 2);
    assert_eq!(seen.wait_for(1), [2]);
    // What is lost from now on has another reason.
    network.cable.set_rule(loses(false));
    emit(&a, "alone", 3);
    let second = &told.wait_for(2)[1];
    assert!(!second.contains("unicast"), "{second}");
}

fn small_events_both_ways() {
    const EVENTS: u32 = 3_000;
    let network = Network::new();
    let (a, b) = (network.on_a(|a| a), network.on_b(|b| b));
    acquainted(&[&a, &b]);
    let weather = Weather {
        loss: 0.05,
        doubled: 0.03,
        late: 0.05,
        by: Duration::from_millis(8),
    };
    network.cable.set_rule(weather.rule());
    let (there, back) = (numbers(&b, "there"), numbers(&a, "back"));
    let told = [losses(&a), losses(&b)];
    for number in 0..EVENTS {
        emit(&a, "there", number);
        emit(&b, "back", number);
        if number % 10 == 9 {
            thread::sleep(Duration::from_millis(2));
        }
    }
    let all = EVENTS as usize;
    eventually("all have come, or were told as lost", || {
        let given_up = a.stats().events_lost + b.stats().events_lost;
        there.len() >= all && back.len() >= all || given_up > 0
    });
    let lost = a.stats().events_lost + b.stats().events_lost;
    assert!(lost == 0 && told.iter().all(Seen::is_empty), "{told:?}");
    assert!(there.all().into_iter().eq(0..EVENTS), "there");
    assert!(back.all().into_iter().eq(0..EVENTS), "back");
    let figures = network.cable.figures();
    println!("{figures:?}");
    assert!(figures.lost > 100 && figures.doubled > 50 && figures.late > 100);
    for bus in [&a, &b] {
        let stats = bus.stats();
        assert!(stats.events_repaired >= 50, "{}", stats.events_repaired);
        assert!(stats.dropped_for(DropCause::Duplicate) > 0);
    }
}

/// The cable is cut for a second, while both sides go on.
fn falls_apart() {
    let network = Network::new();
    let (a, b) = (network.on_a(|a| a), network.on_b(|b| b));
    acquainted(&[&a, &b]);
    let (there, back) = (numbers(&b, "there"), numbers(&a, "back"));
    let told = [losses(&a), losses(&b)];
    let say = |range: std::ops::Range<u32>| {
        for number in range {
            emit(&a, "there", number);
            emit(&b, "back", number);
        }
    };
    say(0..10);
    there.wait_for(10);
    back.wait_for(10);
    network.cable.set_rule(|_| Fate::Lost);
    say(10..60);
    thread::sleep(Duration::from_secs(1));
    assert_eq!((there.len(), back.len()), (10, 10));
    network.cable.set_rule(|_| Fate::Arrives);
    // Nothing more is said: what was missed is known from hello alone.
    there.wait_for(60);
    back.wait_for(60);
    say(60..70);
    assert!(there.wait_for(70).into_iter().eq(0..70));
    assert!(back.wait_for(70).into_iter().eq(0..70));
    assert!(told.iter().all(Seen::is_empty), "{told:?}");
    assert!(network.cable.figures().lost >= 100);
}

/// Nothing else is said before or after it.
fn one_lost_event() {
    let network = Network::new();
    let (a, b) = (network.on_a(|a| a), network.on_b(|b| b));
    acquainted(&[&a, &b]);
    let seen = numbers(&b, "alone");
    let mut lost = false;
    network.cable.set_rule(move |frame| {
        if !lost && frame.to_group() && frame.contains(b"alone") {
            lost = true;
            return Fate::Lost;
        }
        Fate::Arrives
    });
    emit(&a, "alone", 7);
    assert_eq!(seen.wait_for(1), [7]);
    let stats = b.stats();
    assert_eq!((stats.events_repaired, stats.events_lost), (1, 0));
    assert_eq!(network.cable.figures().lost, 1);
    assert!(a.stats().answers_sent >= 1);
}

/// Whoever joins is greeted. Of the greetings nothing gets through at first, and the newcomer has
/// not heard of their sender: it is owed them all the same.
fn events_sent_to_a_peer_that_joins() {
    let network = Network::new();
    let a = network.on_a(|a| a);
    let greeter = a.downgrade();
    a.on_notice(move |notice: &Notice| {
        if let (Notice::PeerJoined { .. }, Some(bus)) = (notice, greeter.upgrade()) {
            emit(&bus, "welcome", 1);
            emit(&bus, "welcome", 2);
        }
    });
    let (listens, left) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let (gets_through, has_left) = (Arc::clone(&listens), Arc::clone(&left));
    network.cable.set_rule(move |frame| {
        has_left.fetch_or(frame.contains(b"before"), Ordering::Relaxed);
        if frame.contains(b"welcome") && !gets_through.load(Ordering::Relaxed) {
            return Fate::Lost;
        }
        Fate::Arrives
    });
    // A card that has just come loses what is sent by it for a moment, or does not take it yet.
    // What leaves later may be heard by the newcomer.
    eventually("what was said before has left", || {
        emit(&a, "before", 1);
        thread::sleep(Duration::from_millis(10));
        left.load(Ordering::Relaxed)
    });
    let b = network.on_b(|b| b);
    let (seen, before, told) = (numbers(&b, "welcome"), numbers(&b, "before"), losses(&b));
    listens.store(true, Ordering::Relaxed);
    assert_eq!(seen.wait_for(2), [1, 2]);
    assert_eq!((before.all(), told.all()), (vec![], vec![]));
}

/// What goes in comes out, as the rule says; long datagrams and joined ones too.
fn the_cable_itself() {
    let network = Network::new();
    let open = |host: usize| {
        network.hosts[host].run(move || {
            let socket = UdpSocket::bind((ADDRESSES[host], 7_000)).expect("a free port");
            socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
            socket
        })
    };
    let (a, b) = (open(0), open(1));
    let to = (ADDRESSES[1], 7_000);
    let next = || {
        let mut buffer = [0; 65_536];
        let (length, from) = b.recv_from(&mut buffer).expect("something comes");
        assert_eq!(from, (ADDRESSES[0], 7_000).into());
        buffer[..length].to_vec()
    };
    // A card that has just come loses what is sent by it for a moment.
    b.set_nonblocking(true).expect("it can be");
    eventually("something comes through", || {
        a.send_to(b"first", to).expect("it can be sent");
        thread::sleep(Duration::from_millis(10));
        b.recv(&mut [0; 100]).is_ok()
    });
    b.set_nonblocking(false).expect("it can be");
    let said = Mutex::new(Vec::new());
    let before = network.cable.figures();
    network.cable.set_rule(move |frame| {
        assert_eq!((frame.way, frame.to_group()), (Way::There, false));
        said.lock().unwrap().push(frame.to);
        match frame.payload {
            b"lost" => Fate::Lost,
            b"twice" => Fate::Doubled,
            b"late" => Fate::Late(Duration::from_millis(50)),
            _ => Fate::Arrives,
        }
    });
    for word in ["late", "lost", "twice", "last"] {
        a.send_to(word.as_bytes(), to).expect("it can be sent");
    }
    let mut words = Vec::new();
    while words.last().is_none_or(|last| last != b"late") {
        let word = next();
        if word != b"first" {
            words.push(word);
        }
    }
    assert_eq!(words, [&b"twice"[..], b"twice", b"last", b"late"]);
    let after = network.cable.figures();
    assert_eq!(after.lost - before.lost, 1);
    assert_eq!(after.doubled - before.doubled, 1);
    assert_eq!(after.late - before.late, 1);

    // Longer than a packet: in fragments.
    let long: Vec<u8> = (0..20_000).map(|i| i as u8).collect();
    a.send_to(&long, to).expect("it can be sent");
    assert_eq!(next(), long);

    // Joined by the sender: the kernel has to cut them before they are on the cable. An odd length,
    // for the checksum.
    let joined: Vec<u8> = (0..10 * 1_001).map(|i| (i / 1_001) as u8).collect();
    sendmsg(
        a.as_raw_fd(),
        &[std::io::IoSlice::new(&joined)],
        &[ControlMessage::UdpGsoSegments(&1_001)],
        MsgFlags::empty(),
        Some(&SockaddrIn::from(std::net::SocketAddrV4::new(to.0, to.1))),
    )
    .expect("Linux cuts datagrams apart");
    for part in joined.chunks(1_001) {
        assert_eq!(next(), part);
    }
    let figures = network.cable.figures();
    assert_eq!(figures.longest_packet, 1_500);
    assert_eq!(figures.unsent, 0);
}
