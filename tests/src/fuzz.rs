//! What takes any bytes at all, and what must then hold: the functions behind the fuzz targets.
//!
//! Each is a `fn(&[u8])` that panics when something is wrong. `tests/fuzz/` hands them to
//! libFuzzer, `tests/fuzz.rs` runs them over the committed corpus and over a bounded number of
//! mutations of it. They depend on their input alone, so an input that fails once fails again.

mod bson_check;
mod datagram;
mod engine;
mod engine_history;
mod insider;
mod typed_decode;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use eventcast::proto::{
    Config, DropCause, Engine, Event, Events, IvSource, Now, SealConfig, SealKey, SealKeys,
};

pub use self::{
    bson_check::bson_check,
    datagram::datagram,
    engine::{engine, sealed_engine},
    engine_history::engine_history,
    typed_decode::typed_decode,
};

/// A function that takes any bytes, with its name, which is also that of its corpus.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// What is called.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 7] = [
    Target {
        name: "datagram",
        run: datagram,
    },
    Target {
        name: "bson_check",
        run: bson_check,
    },
    Target {
        name: "typed_decode",
        run: typed_decode,
    },
    Target {
        name: "engine",
        run: engine,
    },
    Target {
        name: "engine_history",
        run: engine_history,
    },
    Target {
        name: "sealed_engine",
        run: sealed_engine,
    },
    Target {
        name: "console",
        run: console,
    },
];

/// What a client of a console sends: in whatever pieces it comes, it means the same, and whatever
/// is shown of it is harmless.
pub fn console(bytes: &[u8]) {
    if bytes.len() <= MAX_INPUT {
        eventcast::repl::check_input(bytes);
    }
}

/// Longer inputs are left alone: nothing is found in them that is not found in shorter ones, and
/// the `bson` crate follows nesting by recursion.
pub const MAX_INPUT: usize = 8 * 1024;

impl Target {
    /// The files of its corpus, in order of their names. Those that a fuzzer added are there as
    /// well.
    #[must_use]
    pub fn corpus(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(self.name);
        let entries = fs::read_dir(&folder).expect("every target has a corpus");
        let mut paths: Vec<_> = entries
            .map(|entry| entry.expect("the corpus can be listed").path())
            .collect();
        paths.sort();
        let read = |path: PathBuf| {
            let bytes = fs::read(&path).expect("the corpus can be read");
            (path, bytes)
        };
        paths.into_iter().map(read).collect()
    }

    /// Runs one input; a panic says which it was.
    pub fn try_input(&self, what: &dyn std::fmt::Display, bytes: &[u8]) {
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| (self.run)(bytes))) {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!("{} fails on {what}: {hex}", self.name);
            panic::resume_unwind(payload);
        }
    }

    /// Runs `count` inputs, each made of the corpus by a few changes. The same `seed` gives the
    /// same inputs.
    pub fn try_mutations(&self, seed: u64, count: usize) {
        let corpus = self.corpus();
        let mut numbers = Numbers::new(seed);
        for round in 0..count {
            let (_, one) = &corpus[numbers.below(corpus.len())];
            let (_, other) = &corpus[numbers.below(corpus.len())];
            let bytes = mutated(one, other, &mut numbers);
            self.try_input(&format_args!("round {round} of seed {seed}"), &bytes);
        }
    }
}

/// Numbers that look random, the same for the same seed.
pub struct Numbers(u64);

impl Numbers {
    /// A sequence.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Zero is the one state that never changes.
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        // Marsaglia's xorshift64 ("Xorshift RNGs", 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// One that is less than `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((self.any() >> 16) % bound as u64) as usize
    }
}

/// `bytes` with a few changes, some of them taken from `other`.
#[must_use]
pub fn mutated(bytes: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    const STRANGE: [u8; 10] = [0, 1, 2, 3, 4, 5, 0x10, 0x7f, 0x80, 0xff];
    let mut bytes = bytes.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len() + 1);
        match numbers.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            1 if at < bytes.len() => bytes[at] = numbers.any() as u8,
            2 if at < bytes.len() => bytes[at] = STRANGE[numbers.below(STRANGE.len())],
            3 if at < bytes.len() => drop(bytes.remove(at)),
            4 => bytes.truncate(at),
            5 => bytes.insert(at, STRANGE[numbers.below(STRANGE.len())]),
            _ => {
                let from = numbers.below(other.len() + 1);
                let to = from + numbers.below((other.len() - from).min(40) + 1);
                bytes.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    bytes
}

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// How long the engines here wait for what is missing.
const MESSAGE_TTL: Duration = Duration::from_millis(500);

/// What the engines here hold at most, and the largest message that they take.
const MAX_HELD: usize = 256 << 10;
const MAX_MESSAGE: usize = 64 << 10;

/// Longer datagrams are cut: so short that small messages are, because long ones take time.
const MAX_PAYLOAD: usize = 300;

/// Everything that was waited for is over after so long: a message that makes progress lives for 20
/// `message_ttl`.
const ALL_OVER: Duration = Duration::from_secs(15);

/// Calls of `handle_timeout` that may be due at one moment.
const MAX_CALLS_AT_ONCE: usize = 1_000;

/// What an engine may send in all, beside what the application gave it, after an input of a few
/// KiB.
const MAX_ANSWER: u64 = 256 << 10;

fn at(elapsed: Duration) -> Now {
    Now {
        elapsed,
        unix_ms: 1_795_585_423_172 + elapsed.as_millis() as u64,
    }
}

fn address(port: u16) -> SocketAddr {
    (HOST, port).into()
}

/// The root of the key of sealed engines, and what their datagrams are bound to.
const SEAL_ROOT: [u8; 32] = [7; 32];
const SEALED_GROUP: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1)), 9000);

const INCARNATION: u64 = 1_795_585_400_000;

fn new_engine(id: &str, port: u16) -> Engine {
    Engine::new(config(id, port), [port as u8; 32], at(Duration::ZERO))
}

fn new_sealed_engine(id: &str, port: u16) -> Engine {
    let keys = SealKeys::new(SealKey::from_root(&SEAL_ROOT));
    let (group, group_port) = SEALED_GROUP;
    // No two are the same, and nothing but the input decides.
    let made = AtomicU64::new(0);
    let ivs = IvSource::new(move |bytes| {
        let (ivs, _) = bytes.as_chunks_mut();
        for iv in ivs {
            let number = made.fetch_add(1, Ordering::Relaxed);
            *iv = (u128::from(port) << 64 | u128::from(number)).to_be_bytes();
        }
    });
    let mut config = config(id, port);
    config.seal = Some(SealConfig::new(keys, group, group_port, ivs));
    Engine::new(config, [port as u8; 32], at(Duration::ZERO))
}

fn config(id: &str, port: u16) -> Config {
    let mut config = Config::new(id, INCARNATION, HOST, port);
    config.message_ttl = MESSAGE_TTL;
    config.max_held_bytes = MAX_HELD;
    config.max_message_size = MAX_MESSAGE;
    config.max_payload_size = MAX_PAYLOAD;
    config.hostname = "fuzzed".to_owned();
    config
}

/// A message as the application gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Got {
    name: String,
    args: Vec<u8>,
    id: String,
    from: SocketAddr,
    message_id: String,
}

/// Takes what there is to tell, and looks at all of it as an application would.
fn take_messages(engine: &mut Engine, events: &mut Events) -> Vec<Got> {
    engine.take_events(events);
    let mut messages = Vec::new();
    for event in events.iter() {
        // Nothing that is told fails to be shown.
        assert!(!format!("{event:?}").is_empty());
        let Event::Message(message) = event else {
            continue;
        };
        assert!(!message.key.starts_with("__ec_"), "{}", message.key);
        assert_eq!(message.args.iter().count(), message.args.len());
        let (_, bytes) = message.args.parts();
        messages.push(Got {
            name: message.key.to_owned(),
            args: bytes.to_vec(),
            id: message.peer.id.clone(),
            from: message.peer.address,
            message_id: message.message_id.to_string(),
        });
    }
    messages
}

/// What must hold of an engine at any time.
fn check_bounds(engine: &Engine) {
    let stats = engine.stats();
    assert!(stats.held_bytes <= MAX_HELD, "{stats:?}");
    assert!(stats.incomplete_messages == 0 || stats.held_bytes > 0);
    assert_eq!(
        stats.drops.total(),
        DropCause::ALL
            .iter()
            .map(|c| stats.drops.get(*c))
            .sum::<u64>()
    );
}

/// Drives an engine that nobody talks to until `end`: it gets there, and says little on the way.
/// What waits to be sent is counted before it is sealed, and may `grow` by so many bytes.
fn run_until(
    engine: &mut Engine,
    events: &mut Events,
    (now, end): (Now, Duration),
    grow: u64,
) -> Vec<Got> {
    let mut now = now;
    let mut buf = Vec::new();
    let mut calls = 0;
    let promised = |engine: &Engine| engine.stats().sent_bytes + engine.stats().queued_bytes as u64;
    let before = promised(engine);
    let mut messages = take_messages(engine, events);
    loop {
        while engine.poll_transmit(now, &mut buf).is_some() {}
        let next = [engine.poll_timeout(), engine.next_transmit()];
        let Some(next) = next.into_iter().flatten().min().filter(|at| *at <= end) else {
            break;
        };
        if next > now.elapsed {
            now = at(next);
            calls = 0;
        }
        calls += 1;
        assert!(calls < MAX_CALLS_AT_ONCE, "time stands still at {next:?}");
        engine.handle_timeout(now);
        messages.append(&mut take_messages(engine, events));
        check_bounds(engine);
    }
    let sent = promised(engine) - before;
    assert!(sent <= MAX_ANSWER + grow, "{sent} bytes in answer");
    messages
}
