//! What sealing costs: a datagram sent and received on a sealed bus beside the same on a clear one,
//! and what the crypto crates take for as many bytes by themselves.
//!
//! ```sh
//! cargo bench -p eventcast --features proto --bench seal
//! ```
//!
//! No socket is involved. Deriving a key from a passphrase is measured too: it is done once at
//! start.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use aes::{
    Aes128,
    cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7},
};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use eventcast::proto::{
    Config, Engine, Events, IvSource, Now, Outgoing, SealConfig, SealKey, SealKeys,
};
use hmac::{Hmac, KeyInit, Mac};
use rand::{TryRng, rngs::SysRng};
use sha2::Sha256;

/// Between two events: a busy bus.
const PERIOD: Duration = Duration::from_micros(10);

const START_MS: u64 = 1_700_000_000_000;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1));

/// Bytes of the event's argument. The longest still goes in one datagram of 64 KiB, so that nothing
/// is paced.
const SIZES: [(usize, &str); 4] = [
    (64, "64 B"),
    (512, "512 B"),
    (8_192, "8 KiB"),
    (57_344, "56 KiB"),
];

/// How many datagrams one measurement of receiving takes: each is opened but once.
const BATCH: usize = 256;

fn at(elapsed: Duration) -> Now {
    Now {
        elapsed,
        unix_ms: START_MS + elapsed.as_millis() as u64,
    }
}

/// A bus without sockets, sealed or in the clear.
fn engine(id: &str, is_sealed: bool) -> Engine {
    let mut config = Config::new(id, START_MS, HOST, 40_000);
    config.max_payload_size = 60_000;
    if is_sealed {
        let keys = SealKeys::new(SealKey::from_root(&[7; 32]));
        let ivs = IvSource::new(|bytes| SysRng.try_fill_bytes(bytes).expect("the system has some"));
        config.seal = Some(SealConfig::new(keys, GROUP, 9000, ivs));
    }
    Engine::new(config, [1; 32], at(Duration::ZERO))
}

/// A payload document whose one argument is a binary of so many bytes.
fn payload(len: usize) -> Vec<u8> {
    let bytes = bson::Binary {
        subtype: bson::spec::BinarySubtype::Generic,
        bytes: vec![0x5a; len],
    };
    bson::doc! { "payload": [bytes] }
        .to_vec()
        .expect("it has a BSON form")
}

struct Sender {
    engine: Engine,
    now: Now,
    datagram: Vec<u8>,
}

impl Sender {
    fn new(is_sealed: bool) -> Self {
        Self {
            engine: engine("a11ce00000000000", is_sealed),
            now: at(Duration::ZERO),
            datagram: Vec::new(),
        }
    }

    fn emit(&mut self, payload: &[u8]) -> &[u8] {
        self.now = at(self.now.elapsed + PERIOD);
        let event = Outgoing {
            key: "event",
            payload,
            schema: None,
            best_effort: false,
        };
        self.engine.emit(self.now, event).expect("there is room");
        let sent = self.engine.poll_transmit(self.now, &mut self.datagram);
        sent.expect("it was just emitted");
        &self.datagram
    }
}

fn send(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("send");
    for (size, name) in SIZES {
        let payload = payload(size);
        group.throughput(Throughput::Bytes(size as u64));
        for (is_sealed, kind) in [(false, "clear"), (true, "sealed")] {
            let mut sender = Sender::new(is_sealed);
            group.bench_function(BenchmarkId::new(kind, name), |bencher| {
                bencher.iter(|| black_box(sender.emit(&payload).len()));
            });
        }
    }
}

fn receive(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("receive");
    let from = SocketAddr::new(HOST, 40_001);
    for (size, name) in SIZES {
        let payload = payload(size);
        group.throughput(Throughput::Bytes((size * BATCH) as u64));
        for (is_sealed, kind) in [(false, "clear"), (true, "sealed")] {
            let mut sender = Sender::new(is_sealed);
            let mut receiver = engine("b0b0000000000000", is_sealed);
            let mut events = Events::new();
            let mut received = 0;
            group.bench_function(BenchmarkId::new(kind, name), |bencher| {
                bencher.iter_batched_ref(
                    || {
                        let datagrams = (0..BATCH).map(|_| sender.emit(&payload).to_vec());
                        (datagrams.collect::<Vec<_>>(), sender.now)
                    },
                    |(datagrams, now)| {
                        for datagram in datagrams {
                            receiver.handle_datagram(*now, from, datagram);
                        }
                        receiver.take_events(&mut events);
                        received += events.len();
                    },
                    BatchSize::PerIteration,
                );
            });
            assert_eq!(receiver.stats().drops.total(), 0);
            assert!(received > 0);
        }
    }
}

/// The crates alone: a key schedule once, then for each text AES-128-CBC and HMAC-SHA-256 over what
/// that gives.
fn crates_alone(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("crates");
    let mac = Hmac::<Sha256>::new_from_slice(&[7; 32]).expect("any key will do");
    for (size, name) in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let mut text = vec![0x5a; size + 16];
        group.bench_function(BenchmarkId::new("encrypt", name), |bencher| {
            bencher.iter(|| {
                let cipher = cbc::Encryptor::<Aes128>::new(&[1; 16].into(), &[2; 16].into());
                let sealed = cipher.encrypt_padded::<Pkcs7>(&mut text, size);
                let sealed = sealed.expect("there is room for the padding");
                mac.clone().chain_update(sealed).finalize().into_bytes()
            });
        });
        let cipher = cbc::Encryptor::<Aes128>::new(&[1; 16].into(), &[2; 16].into());
        let sealed = cipher.encrypt_padded::<Pkcs7>(&mut text, size);
        let sealed = sealed.expect("there is room for the padding").to_vec();
        let mut buffer = sealed.clone();
        group.bench_function(BenchmarkId::new("decrypt", name), |bencher| {
            bencher.iter(|| {
                let tag = mac.clone().chain_update(&sealed).finalize().into_bytes();
                buffer.copy_from_slice(&sealed);
                let cipher = cbc::Decryptor::<Aes128>::new(&[1; 16].into(), &[2; 16].into());
                let opened = cipher.decrypt_padded::<Pkcs7>(&mut buffer);
                (tag, opened.expect("it was encrypted so").len())
            });
        });
    }
}

fn derive(criterion: &mut Criterion) {
    let salt = SealKey::default_salt(GROUP, 9000);
    let mut group = criterion.benchmark_group("derive");
    group.sample_size(10);
    group.bench_function("passphrase", |bencher| {
        bencher.iter(|| SealKey::from_passphrase("correct horse battery staple", &salt));
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    send(&mut criterion);
    receive(&mut criterion);
    crates_alone(&mut criterion);
    derive(&mut criterion);
    criterion.final_summary();
}
