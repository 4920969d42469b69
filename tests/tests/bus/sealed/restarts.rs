//! Case CR-05: whoever is started again is heard at once, and what was recorded before is not heard
//! again.

use std::{
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    process::{Child, ChildStdin, Stdio},
    sync::mpsc::{self, Receiver, TryRecvError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use bson::{Bson, doc};
use eventcast::{
    Args, Bus, Received,
    log::{self, Component, Level},
    proto::{
        Config, Destination, Engine, Events, IvSource, Now, Outgoing, SealConfig, SealKey, SealKeys,
    },
};
use eventcast_tests::{
    craft,
    group::Group,
    runner::{Case, run_alone},
    tap::{self, Tap},
    wait::Seen,
};

use super::{all_of, dropped, sealed, what_it_refuses};
use crate::{
    common::{collect, count, fence_between, paced, send_paced, started},
    machines::{ROLE, play, role},
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "sealed::restarted_senders_are_heard_at_once",
            restarted_senders,
        ),
        Case::new(KILLED, killed),
    ]
}

/// Senders that say goodbye, and come again at once.
fn restarted_senders() {
    let group = Group::unused();
    let tap = Tap::join(group);
    let b = started(sealed(group, 8));
    let heard = collect(&b, "sealed/life");
    let first = || started(sealed(group, 8).id("00000000deadbeef"));
    let mut recorded = Vec::new();
    for life in 0..5 {
        let a = first();
        let before = heard.len();
        paced(
            100,
            || heard.len() - before,
            |index| {
                let number = life * 1_000 + index as i32;
                a.emit_named("sealed/life", number).expect("there is room");
            },
        );
        recorded.extend(all_of(&tap));
        drop(a);
    }
    assert_eq!(heard.len(), 500);
    // What was said in former lives does not come again.
    send_paced(&tap, &b, &recorded);
    let a = first();
    fence_between(&a, &b);
    assert_eq!(heard.len(), 500);
    assert!(dropped(&b, "duplicate") >= 500, "{:?}", b.stats().dropped);
    // Nor to one that starts later, but what it would have heard had it started a second before.
    thread::sleep(Duration::from_millis(1_200));
    let late = started(sealed(group, 8));
    let again = count(&late, "sealed/life");
    send_paced(&tap, &late, &recorded);
    fence_between(&a, &late);
    assert_eq!(again.get(), 0);
    assert!(dropped(&late, "old") >= 500, "{:?}", late.stats().dropped);
}

const KILLED: &str = "sealed::killed_senders_are_heard_at_once_after_a_restart";

/// How many events a sender emits before it is killed.
const EVENTS: usize = 500;

/// They are recorded in such portions, which fit into any receive buffer.
const PORTION: usize = 100;

/// So far is the clock of a sender set back, once.
const SET_BACK: Duration = Duration::from_secs(5);

/// That is the third one that is started again.
const WITH_CLOCK_SET_BACK: i32 = 3;

const NAME: &str = "sealed/killed";
const ID: &str = "00000000cafebabe";
const KEY: u8 = 15;

/// CR-05 with processes: the sender is killed in the middle of its life (SIGKILL) and started
/// again, four times; then the receiver is. One process receives, in which the log is as it is by
/// default; it starts those that send.
///
/// One of the senders has a clock that is 5 s behind. A receiver does not hear such a one during
/// its own first four seconds: for a minute it refuses what was sent more than a second before it
/// started, since nothing else would tell a recording from something new to one who has heard
/// nothing yet. So the sender with its clock set back comes when the receiver has been there for as
/// long, and its clock is right again before the receiver starts anew.
fn killed() {
    match role().as_deref() {
        None => judge(),
        Some("receiver") => receive(),
        Some(words) => send(words),
    }
}

fn judge() {
    let variables = [(ROLE, "receiver"), ("EVENTCAST_LOG", "")];
    let output = run_alone(KILLED, &variables).unwrap_or_else(|error| panic!("{error}"));
    let printed = String::from_utf8(output.stderr).expect("text");
    let told: Vec<_> = printed
        .lines()
        .filter(|line| line.contains("datagrams dropped"))
        .collect();
    let of = |cause: &str| {
        let text = format!(": {cause} (");
        let lines = told.iter();
        lines
            .filter(|line| line.contains("WARN eventcast: ") && line.contains(&text))
            .count()
    };
    let (double, old) = (of("duplicate"), of("old"));
    assert!(double > 0 && old > 0, "{printed}");
    // For thousands of datagrams.
    assert!(told.len() <= 6 && double + old == told.len(), "{printed}");
}

fn receive() {
    log::install().expect("nobody else did");
    assert_eq!(log::level(Component::Bus), Ok(Level::Warn));
    let group = Group::unused();
    let tap = Tap::join(group);
    let mut b = Listener::start(group);
    let mut lives = Vec::new();
    let mut a = Sender::start(group, "bus", &lives);
    let mut recorded: Vec<Vec<u8>> = Vec::new();
    for life in 0..=4 {
        // What it said first, when it was started again, is among what came before.
        let first = b.expected.len();
        let so_far = |b: &Listener| b.heard.len() - first;
        for portion in 0..EVENTS / PORTION {
            let (b, a) = (&b, &mut a);
            let number = |index| life * 1_000 + 2 + (portion * PORTION + index) as i32;
            paced(PORTION, || so_far(b), |index| a.emit(number(index)));
            recorded.extend(b.all_of_senders(&tap));
        }
        b.expected
            .extend(life * 1_000 + 2..life * 1_000 + 2 + EVENTS as i32);
        lives.push(b.incarnations.all()[first]);
        b.has_heard_what_it_should();
        if life == 4 {
            break;
        }
        a.kill();
        let how = if life + 1 == WITH_CLOCK_SET_BACK {
            thread::sleep(SET_BACK.saturating_sub(b.started.elapsed()));
            "engine"
        } else {
            "bus"
        };
        a = Sender::start(group, how, &lives);
        let next = (life + 1) * 1_000;
        b.hears_at_once(&mut a, next);
        // What was said in former lives does not come again, and is counted, all of it.
        let before = dropped(&b.bus, "duplicate");
        send_paced(&tap, &b.bus, &recorded);
        b.hears_at_once(&mut a, next + 1);
        // Before its own bytes fill its buffer.
        let new = b.all_of_senders(&tap);
        let doubles = dropped(&b.bus, "duplicate") - before;
        assert!(
            doubles >= recorded.len() as u64,
            "{doubles} of {}",
            recorded.len()
        );
        recorded.extend(new);
    }
    // Beside the events there are hellos.
    let sent = 5 * EVENTS;
    assert!(
        (sent..2 * sent).contains(&recorded.len()),
        "{}",
        recorded.len()
    );
    b.told_seldom("duplicate", "it was received before");
    drop(b);
    // A second later, for what was sent less than a second before a receiver started may be new to
    // it.
    thread::sleep(Duration::from_millis(1_200));
    let mut b = Listener::start(group);
    b.hears_at_once(&mut a, 5_000);
    send_paced(&tap, &b.bus, &recorded);
    b.hears_at_once(&mut a, 5_001);
    let refused = dropped(&b.bus, "old");
    assert!(refused >= recorded.len() as u64, "{refused}");
    b.told_seldom("old", "a replay");
}

/// The bus that is to hear, and what it is to have heard.
struct Listener {
    bus: Bus,
    started: Instant,
    heard: Seen<Args>,
    incarnations: Seen<u64>,
    refused: Seen<(&'static str, String)>,
    expected: Vec<i32>,
}

impl Listener {
    fn start(group: Group) -> Self {
        let started_at = Instant::now();
        let bus = started(sealed(group, KEY));
        let incarnations = Seen::new();
        let list = incarnations.clone();
        bus.on_named(NAME, move |e: &Received<Args>| {
            list.push(e.origin().incarnation().unwrap_or_default());
        });
        Self {
            heard: collect(&bus, NAME),
            refused: what_it_refuses(&bus),
            bus,
            started: started_at,
            incarnations,
            expected: Vec::new(),
        }
    }

    /// It hears this number, and until then it has heard all that it was to hear, and nothing else.
    #[track_caller]
    fn hears_at_once(&mut self, from: &mut Sender, number: i32) {
        self.expected.push(number);
        from.emit(number);
        self.heard.wait_for(self.expected.len());
        self.has_heard_what_it_should();
    }

    #[track_caller]
    fn has_heard_what_it_should(&self) {
        let number = |args: &Args| args[0].as_i32().expect("numbers alone are sent");
        let heard: Vec<_> = self.heard.all().iter().map(number).collect();
        let wrong = heard
            .iter()
            .zip(&self.expected)
            .find(|(one, other)| one != other);
        assert_eq!(wrong, None);
        assert_eq!(heard.len(), self.expected.len());
    }

    /// It has told that it refused something, for this cause alone and in these words, at most once
    /// in ten seconds.
    #[track_caller]
    fn told_seldom(&self, cause: &str, words: &str) {
        let told = self.refused.all();
        let most = 1 + self.started.elapsed().as_secs() as usize / 10;
        assert!((1..=most).contains(&told.len()), "{told:?}");
        let is_meant = |(one, text): &(&str, String)| *one == cause && text.contains(words);
        assert!(told.iter().all(is_meant), "{told:?}");
    }

    /// Everything that a tap has had by now, but what this bus and the tap itself have sent.
    fn all_of_senders(&self, tap: &Tap) -> Vec<Vec<u8>> {
        let own = self.bus.unicast_address().expect("it runs").port();
        let others = [own, tap.port()];
        let next = || tap.next_within(Duration::from_millis(50));
        std::iter::from_fn(next)
            .filter(|datagram| !others.contains(&datagram.from.port()))
            .map(|datagram| datagram.bytes)
            .collect()
    }
}

/// A process that emits the numbers that it is told.
struct Sender {
    process: Child,
    commands: ChildStdin,
}

impl Sender {
    /// `how`: as a bus, or as an engine with its clock set back. That one takes none of the
    /// incarnations that its former lives have taken: a clock that is set back may well hit one of
    /// them, and then its windows are theirs.
    fn start(group: Group, how: &str, lives: &[u64]) -> Self {
        let lives: Vec<_> = lives.iter().map(u64::to_string).collect();
        let words = format!("{how} {} {} {}", group.address, group.port, lives.join(" "));
        let mut process = play(KILLED, &[], &words)
            .stdin(Stdio::piped())
            .spawn()
            .expect("the test binary runs");
        let commands = process.stdin.take().expect("a pipe was asked for");
        Self { process, commands }
    }

    fn emit(&mut self, number: i32) {
        writeln!(self.commands, "{number}").expect("it takes commands");
    }

    /// On Unix this is SIGKILL.
    fn kill(mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // Both fail only when it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What such a process does, until nobody tells it any more.
fn send(words: &str) {
    let mut words = words.split_whitespace();
    let how = words.next().expect("as what");
    let address: Ipv4Addr = words
        .next()
        .and_then(|word| word.parse().ok())
        .expect("a group");
    let port = words
        .next()
        .and_then(|word| word.parse().ok())
        .expect("a port");
    let group = Group { address, port };
    let lives: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
    let (told, numbers) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(std::io::stdin()).lines();
        for line in lines.map_while(Result::ok) {
            let number: i32 = line.parse().expect("numbers alone are told");
            if told.send(number).is_err() {
                return;
            }
        }
    });
    if how == "bus" {
        let bus = started(sealed(group, KEY).id(ID));
        for number in numbers {
            bus.emit_named(NAME, number).expect("there is room");
        }
    } else {
        drive(group, &lives, &numbers);
    }
}

/// The same with an engine alone, whose clock is behind. It does not join the group: what others
/// ask of it comes to it all the same.
fn drive(group: Group, lives: &[u64], numbers: &Receiver<i32>) {
    let socket = tap::sender();
    // Commands are looked for as often.
    let pause = Duration::from_millis(2);
    socket
        .set_read_timeout(Some(pause))
        .expect("it is not zero");
    let began = Instant::now();
    let now = || {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let since_1970 = since_1970.expect("it is later") - SET_BACK;
        Now {
            elapsed: began.elapsed(),
            unix_ms: since_1970.as_millis() as u64,
        }
    };
    let incarnation = (now().unix_ms..).find(|number| !lives.contains(number));
    let incarnation = incarnation.expect("there are many more than lives");
    let own = socket.local_addr().expect("it is bound");
    let mut config = Config::new(ID, incarnation, own.ip(), own.port());
    let salt = SealKey::default_salt(group.address.into(), group.port);
    let key = SealKey::from_ready_key(&[KEY; 32], &salt).expect("it is long enough");
    let ivs = IvSource::new(|bytes| bytes.fill_with(random_byte));
    let keys = SealKeys::new(key);
    config.seal = Some(SealConfig::new(keys, group.address.into(), group.port, ivs));
    let seed = std::array::from_fn(|_| random_byte());
    let mut engine = Engine::new(config, seed, now());
    let (mut buf, mut events, mut bytes) = (Vec::new(), Events::new(), vec![0; 65_536]);
    loop {
        match numbers.try_recv() {
            Ok(number) => {
                let event = Outgoing {
                    key: NAME,
                    payload: &craft::bytes_of(&doc! { "payload": [Bson::Int32(number)] }),
                    schema: None,
                    best_effort: false,
                };
                engine.emit(now(), event).expect("there is room");
            }
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                if let Ok((len, from)) = socket.recv_from(&mut bytes) {
                    engine.handle_datagram(now(), from, &bytes[..len]);
                }
            }
        }
        if engine
            .poll_timeout()
            .is_some_and(|due| due <= began.elapsed())
        {
            engine.handle_timeout(now());
        }
        while let Some(transmit) = engine.poll_transmit(now(), &mut buf) {
            let to = match transmit.to {
                Destination::Group => SocketAddr::from(group.to_address()),
                Destination::Peer(address) => address,
            };
            let size = transmit.segment_size.unwrap_or(buf.len()).max(1);
            for datagram in buf.chunks(size) {
                socket.send_to(datagram, to).expect("it is on this machine");
            }
        }
        engine.take_events(&mut events);
    }
}

fn random_byte() -> u8 {
    // The one source of randomness in the standard library.
    RandomState::new().hash_one(()) as u8
}
