//! What it costs to bring a typed event into datagrams and out of them again, beside what the
//! `bson` crate takes for the same value without any datagram around it.
//!
//! ```sh
//! cargo bench -p eventcast --features proto --bench codec
//! ```
//!
//! No socket is involved: one engine writes the datagrams, another reads them.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use eventcast::{
    NetEvent, bson,
    codec::{decode_event, encode_event},
    proto::{Config, Engine, Event, Events, Now, Outgoing},
};
use serde::{Deserialize, Serialize};

/// Between two events: a busy bus, at 100,000 events a second. What the protocol writes for the
/// time changes now and then, and what it remembers of the past grows as old as it does in life.
const PERIOD: Duration = Duration::from_micros(10);

const START_MS: u64 = 1_700_000_000_000;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Bytes of the event as a BSON document, which is what its sizes are called by.
const SIZES: [(usize, &str); 3] = [(64, "64 B"), (1_024, "1 KiB"), (65_536, "64 KiB")];

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Sample {
    id: i32,
    value: f64,
    name: String,
    samples: Vec<f64>,
}

impl Sample {
    /// One that takes exactly `size` bytes: as many numbers as fit, and a name for the rest.
    fn of_size(size: usize) -> Self {
        let mut sample = Self {
            id: 7,
            value: 20.5,
            name: String::new(),
            samples: Vec::new(),
        };
        // A number in an array takes a type, a key of up to four digits with its end, and eight
        // bytes.
        while sample.size() + 14 + 8 <= size {
            sample.samples.push(sample.samples.len() as f64 * 0.5);
        }
        sample.name = "n".repeat(size - sample.size());
        assert_eq!(sample.size(), size);
        sample
    }

    fn size(&self) -> usize {
        to_bson(self).len()
    }
}

/// The time of the call that is `elapsed` after the start.
fn at(elapsed: Duration) -> Now {
    Now {
        elapsed,
        unix_ms: START_MS + elapsed.as_millis() as u64,
    }
}

fn to_bson(sample: &Sample) -> Vec<u8> {
    bson::serialize_to_vec(sample).expect("a sample has a BSON form")
}

/// A bus without sockets that emits.
struct Sender {
    engine: Engine,
    now: Now,
    payload: Vec<u8>,
    datagrams: Vec<u8>,
}

impl Sender {
    fn new() -> Self {
        let now = at(Duration::ZERO);
        let config = Config::new("sender", START_MS, HOST, 40_000);
        Self {
            engine: Engine::new(config, [1; 32], now),
            now,
            payload: Vec::new(),
            datagrams: Vec::new(),
        }
    }

    /// Encodes an event and hands over its datagrams, as the bus does; where the bus would pause
    /// between them, the clock is put forward.
    fn emit(&mut self, sample: &Sample, mut each: impl FnMut(&[u8])) {
        self.now = at(self.now.elapsed + PERIOD);
        self.payload.clear();
        encode_event(sample, Sample::SHAPE.kind, &mut self.payload).expect("a sample encodes");
        let event = Outgoing {
            key: Sample::KEY,
            payload: &self.payload,
            schema: None,
            best_effort: false,
        };
        self.engine.emit(self.now, event).expect("there is room");
        loop {
            while let Some(transmit) = self.engine.poll_transmit(self.now, &mut self.datagrams) {
                let len = transmit.segment_size.unwrap_or(self.datagrams.len());
                self.datagrams.chunks(len).for_each(&mut each);
            }
            let Some(later) = self.engine.next_transmit() else {
                break;
            };
            self.now = at(self.now.elapsed.max(later));
        }
    }

    /// The datagrams of one event, to be received later.
    fn datagrams_of(&mut self, sample: &Sample) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        self.emit(sample, |datagram| datagrams.push(datagram.to_vec()));
        datagrams
    }
}

/// A bus without sockets that listens.
struct Receiver {
    engine: Engine,
    now: Now,
    events: Events,
}

impl Receiver {
    fn new() -> Self {
        let now = at(Duration::ZERO);
        let config = Config::new("receiver", START_MS, HOST, 40_001);
        Self {
            engine: Engine::new(config, [2; 32], now),
            now,
            events: Events::default(),
        }
    }

    /// Takes the datagrams of one event in, and decodes it.
    fn receive(&mut self, datagrams: &[Vec<u8>]) -> Sample {
        self.now = at(self.now.elapsed + PERIOD);
        let from = SocketAddr::new(HOST, 40_000);
        for datagram in datagrams {
            self.engine.handle_datagram(self.now, from, datagram);
        }
        self.events.clear();
        assert!(self.engine.take_events(&mut self.events), "an event came");
        let Some(Event::Message(message)) = self.events.get(0) else {
            panic!("what came is an event");
        };
        decode_event(message.args, Sample::SHAPE.kind).expect("a sample decodes")
    }
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for (size, name) in SIZES {
        let sample = Sample::of_size(size);
        let mut sender = Sender::new();
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("to datagrams", name), |bencher| {
            bencher.iter(|| {
                sender.emit(black_box(&sample), |datagram| {
                    black_box(datagram);
                });
            });
        });
        group.bench_function(BenchmarkId::new("bson alone", name), |bencher| {
            bencher.iter(|| to_bson(black_box(&sample)));
        });
    }
    group.finish();
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (size, name) in SIZES {
        let sample = Sample::of_size(size);
        let mut sender = Sender::new();
        let mut receiver = Receiver::new();
        // What is measured is also right.
        assert_eq!(receiver.receive(&sender.datagrams_of(&sample)), sample);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("from datagrams", name), |bencher| {
            bencher.iter_batched(
                // New ones each time: a receiver drops what it has heard before.
                || sender.datagrams_of(&sample),
                |datagrams| {
                    let sample = receiver.receive(&datagrams);
                    (sample, datagrams)
                },
                BatchSize::SmallInput,
            );
        });
        let bytes = to_bson(&sample);
        group.bench_function(BenchmarkId::new("bson alone", name), |bencher| {
            bencher.iter(|| {
                let sample: Sample =
                    bson::deserialize_from_slice(black_box(&bytes)).expect("a sample decodes");
                sample
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    encode(&mut criterion);
    decode(&mut criterion);
    criterion.final_summary();
}
