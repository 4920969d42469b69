//! Small events cost no allocation: encoding, sending, receiving and decoding ten thousand of them,
//! once everything is as large as it gets. And what an engine says that it holds is what it takes
//! in memory.
//!
//! It stands alone in its binary, because it replaces the allocator. Counts are a thread's own:
//! what the test runner does beside it does not count.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use bson::doc;
use eventcast::{
    NetEvent, codec,
    proto::{
        Config, Engine, Event, Events, IvSource, Now, Outgoing, SealConfig, SealKey, SealKeys,
    },
};
use eventcast_tests::craft;
use serde::{Deserialize, Serialize};

/// Passes everything on to the system's allocator, and counts.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has no counter any more, and nobody asks for it.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

/// Counts what an allocation takes: usual allocators keep a word beside it, and round up to two
/// words.
fn count_bytes(size: usize, sign: i64) {
    let taken = (size + 8).next_multiple_of(16) as i64;
    let _ = BYTES.try_with(|bytes| bytes.set(bytes.get() + sign * taken));
}

#[expect(
    unsafe_code,
    reason = "the only way to see allocations; every call is passed on as it is"
)]
// SAFETY: the system's allocator keeps the contract, and the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        count_bytes(layout.size(), 1);
        // SAFETY: the caller keeps the contract of the very same function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        count_bytes(layout.size(), 1);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        count_bytes(layout.size(), -1);
        count_bytes(size, 1);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count_bytes(layout.size(), -1);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Numbers alone: nothing of it lives on the heap.
#[derive(NetEvent, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
struct Sample {
    sensor: u32,
    celsius: f64,
    offset: i64,
    calibrated: bool,
}

/// One that is neither numbered nor kept, but remembered by its id.
#[derive(NetEvent, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[net_event(best_effort)]
struct Position {
    at: u64,
}

/// One whose type itself holds something on the heap: one allocation for each that is decoded.
#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Named {
    name: String,
}

const EVENTS: u64 = 10_000;

/// More than the 9,000 events that are kept for three times 3 s at one event a millisecond, and
/// more than the 16,384 message ids that are remembered: for each new one an old one goes.
const WARM_UP: u64 = 20_000;

/// Two engines and the buffers between them, all used again.
struct Link {
    sender: Engine,
    receiver: Engine,
    now: Now,
    payload: Vec<u8>,
    datagram: Vec<u8>,
    events: Events,
}

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl Link {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn sealed() -> Self {
        Self::with(|config| {
            let keys = SealKeys::new(SealKey::from_root(&[7; 32]));
            // Vectors that are not random are good enough to be counted.
            let ivs = IvSource::new(|bytes| bytes.fill(7));
            config.seal = Some(SealConfig::new(keys, [224, 0, 0, 1].into(), 9_000, ivs));
        })
    }

    fn with(change: impl Fn(&mut Config)) -> Self {
        let now = Now {
            elapsed: Duration::from_secs(1),
            unix_ms: 1_795_585_423_172,
        };
        let engine = |id: &str, port, seed| {
            let mut config = Config::new(id, now.unix_ms, HOST, port);
            change(&mut config);
            Engine::new(config, [seed; 32], now)
        };
        Self {
            sender: engine("a11ce00000000000", 9_001, 1),
            receiver: engine("b0b0000000000000", 9_002, 2),
            now,
            payload: Vec::new(),
            datagram: Vec::new(),
            events: Events::new(),
        }
    }

    /// From a value to a datagram, and from the datagram to a value.
    fn pass<E: NetEvent>(&mut self, event: &E) -> E {
        self.now.elapsed += Duration::from_millis(1);
        self.now.unix_ms += 1;
        self.payload.clear();
        codec::encode_event(event, E::SHAPE.kind, &mut self.payload).expect("BSON has it all");
        let outgoing = Outgoing {
            key: E::KEY,
            payload: &self.payload,
            schema: None,
            best_effort: E::BEST_EFFORT,
        };
        self.sender.emit(self.now, outgoing).expect("there is room");
        let from = SocketAddr::new(HOST, 9_001);
        let buffer = &mut self.datagram;
        while let Some(transmit) = self.sender.poll_transmit(self.now, buffer) {
            assert_eq!(transmit.segment_size, None, "one small datagram");
            self.receiver.handle_datagram(self.now, from, buffer);
        }
        assert!(self.receiver.take_events(&mut self.events), "it arrived");
        let Some(Event::Message(message)) = self.events.get(0) else {
            panic!("no message came");
        };
        assert_eq!(message.key, E::KEY);
        let decoded = codec::decode_event(message.args, E::SHAPE.kind).expect("what was encoded");
        self.events.clear();
        decoded
    }
}

fn sample(number: u64) -> Sample {
    Sample {
        sensor: u32::try_from(number % 1_000).expect("below 1,000"),
        celsius: number as f64 / 7.0,
        offset: -(number as i64) << 20,
        calibrated: number.is_multiple_of(2),
    }
}

fn allocations(run: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    run();
    ALLOCATIONS.get() - before
}

#[test]
fn the_count_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
    assert_eq!(allocations(|| assert_eq!(sample(1), sample(1))), 0);
}

#[test]
fn small_events_allocate_nothing() {
    samples_allocate_nothing(Link::new());
}

#[test]
fn sealed_events_allocate_nothing() {
    samples_allocate_nothing(Link::sealed());
}

fn samples_allocate_nothing(mut link: Link) {
    for number in 0..WARM_UP {
        assert_eq!(link.pass(&sample(number)), sample(number));
    }
    let count = allocations(|| {
        for number in 0..EVENTS {
            assert_eq!(link.pass(&sample(number)), sample(number));
        }
    });
    assert_eq!(count, 0, "allocations for {EVENTS} events");
}

#[test]
fn best_effort_events_allocate_nothing() {
    let mut link = Link::new();
    for at in 0..WARM_UP {
        assert_eq!(link.pass(&Position { at }), Position { at });
    }
    let count = allocations(|| {
        for at in 0..EVENTS {
            assert_eq!(link.pass(&Position { at }), Position { at });
        }
    });
    assert_eq!(count, 0, "allocations for {EVENTS} events");
}

#[test]
fn what_the_type_holds_is_all_that_is_allocated() {
    let mut link = Link::new();
    let event = Named {
        name: "a name on the heap".to_owned(),
    };
    for _ in 0..WARM_UP {
        link.pass(&event);
    }
    let count = allocations(|| {
        for _ in 0..EVENTS {
            assert_eq!(link.pass(&event).name.len(), event.name.len());
        }
    });
    assert_eq!(count, EVENTS, "one for each decoded event");
}

/// What a receiver holds, and what it takes in memory, when of each two datagrams of these events
/// one does not come.
fn held_and_taken(events: u32, length: usize) -> (usize, usize) {
    let mut link = Link::new();
    let payload = craft::bytes_of(&doc! { "payload": ["x".repeat(length)] });
    let mut datagrams = Vec::new();
    for _ in 0..events {
        let outgoing = Outgoing {
            key: "e",
            payload: &payload,
            schema: None,
            best_effort: false,
        };
        link.sender.emit(link.now, outgoing).expect("there is room");
        while let Some(next) = link.sender.next_transmit() {
            link.now.elapsed = link.now.elapsed.max(next);
            while let Some(transmit) = link.sender.poll_transmit(link.now, &mut link.datagram) {
                let size = transmit.segment_size.unwrap_or(link.datagram.len());
                datagrams.extend(link.datagram.chunks(size).map(<[u8]>::to_vec));
            }
        }
    }
    let from = SocketAddr::new(HOST, 9_001);
    let before = BYTES.get();
    for datagram in datagrams.iter().step_by(2) {
        link.receiver.handle_datagram(link.now, from, datagram);
    }
    for _ in 0..50 {
        // What is asked for is remembered as well.
        link.now.elapsed += Duration::from_millis(20);
        link.receiver.handle_timeout(link.now);
        while link
            .receiver
            .poll_transmit(link.now, &mut link.datagram)
            .is_some()
        {}
    }
    let taken = usize::try_from(BYTES.get() - before).expect("it holds something");
    (link.receiver.stats().held_bytes, taken)
}

#[test]
fn what_is_held_is_what_it_takes_in_memory() {
    for (events, length) in [(60_000, 1), (40_000, 200), (2_000, 3_000), (500, 40_000)] {
        let (held, taken) = held_and_taken(events, length);
        let case = format!("{events} of {length} bytes: {held} held, {taken} taken");
        println!("{case}");
        assert!(held > 1 << 20, "{case}");
        // Beside it there are tables of a fixed size.
        assert!(taken < held * 5 / 4 + (1 << 20), "{case}");
        assert!(held < taken * 3 / 2, "{case}");
    }
}
