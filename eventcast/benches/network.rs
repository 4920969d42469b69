//! Events a second, and the time for there and back, between two processes over the loopback
//! interface, beside bare UDP sockets that do the same.
//!
//! ```sh
//! cargo bench -p eventcast --bench network
//! ```
//!
//! The second process is this program again, with the argument `peer`. In both, whoever waits,
//! waits in the system: nothing spins. The buses send a typed event, a BSON document of 64 bytes,
//! to their group. The bare sockets send datagrams of 64 bytes, once to the peer's address and once
//! to a group that the peer has joined, which takes the system longer; the answers go to an
//! address.
//!
//! *There and back* is a chain: each answer is what sends the next question, from the thread that
//! received it. *One way* sends as fast as it can, with at most [`WINDOW`] unanswered, so that no
//! receive buffer overflows and every event counted is an event delivered.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput};
use eventcast::{Builder, Bus, NetEvent, bson};
use serde::{Deserialize, Serialize};
use socket2::SockRef;

const SIZE: usize = 64;

/// Events that are answered together, with one acknowledgement.
const BLOCK: usize = 32;

/// Events that may be unanswered. The system's usual receive buffer holds more small datagrams than
/// that.
const WINDOW: usize = 128;

/// Nothing takes as long as this; one datagram lost, and the run would stand still.
const PATIENCE: Duration = Duration::from_secs(10);

/// Of the bare sockets. The buses have their default one.
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 192, 0, 1);

/// The first byte of a bare datagram.
const QUESTION: u8 = b'q';
const EVENT: u8 = b'e';

#[derive(NetEvent, Serialize, Deserialize, Clone)]
struct Question {
    number: i64,
    body: String,
}

#[derive(NetEvent, Serialize, Deserialize)]
struct Answer {
    number: i64,
    body: String,
}

#[derive(NetEvent, Serialize, Deserialize, Clone)]
struct Tick {
    number: i64,
    body: String,
}

#[derive(NetEvent, Serialize, Deserialize)]
struct Acknowledged;

/// What fills an event up to [`SIZE`].
fn body() -> String {
    let empty = Tick {
        number: 0,
        body: String::new(),
    };
    let len = bson::serialize_to_vec(&empty)
        .expect("it has a BSON form")
        .len();
    "b".repeat(SIZE - len)
}

fn builder() -> Builder {
    Bus::builder()
        .multicast_interface("127.0.0.1")
        // A pause that the system puts a thread to shall not move a listener to a queue for the
        // rest of the run.
        .listener_budget(PATIENCE)
}

fn started(builder: Builder) -> Bus {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(builder.start()).expect("the bus starts")
}

fn main() {
    if env::args().nth(1).as_deref() == Some("peer") {
        peer();
        return;
    }
    let peer = Peer::start();
    let mut criterion = Criterion::default().configure_from_args();
    let mut address = BareUdp::new(peer.address);
    let mut group = BareUdp::new(peer.group);
    let mut bus = OverBus::new(peer.bus);

    let mut there_and_back = criterion.benchmark_group("there and back");
    there_and_back.bench_function("bare UDP", |bencher| {
        bencher.iter_custom(|rounds| address.there_and_back(rounds));
    });
    there_and_back.bench_function("bare UDP to a group", |bencher| {
        bencher.iter_custom(|rounds| group.there_and_back(rounds));
    });
    there_and_back.bench_function("bus", |bencher| {
        bencher.iter_custom(|rounds| bus.there_and_back(rounds));
    });
    there_and_back.finish();

    let mut one_way = criterion.benchmark_group(format!("one way, {BLOCK} times {SIZE} B"));
    one_way.throughput(Throughput::Elements(BLOCK as u64));
    one_way.bench_function("bare UDP", |bencher| {
        bencher.iter_custom(|blocks| send_blocks(&mut address, blocks));
    });
    one_way.bench_function("bare UDP to a group", |bencher| {
        bencher.iter_custom(|blocks| send_blocks(&mut group, blocks));
    });
    one_way.bench_function("bus", |bencher| {
        bencher.iter_custom(|blocks| send_blocks(&mut bus, blocks));
    });
    one_way.finish();
    criterion.final_summary();
}

/// Somebody who sends events and hears of every block that has arrived.
trait Link {
    fn send(&mut self);
    fn wait_for_block(&mut self);
}

fn send_blocks(link: &mut impl Link, blocks: u64) -> Duration {
    let start = Instant::now();
    let mut unanswered = 0;
    for _ in 0..blocks {
        while unanswered + BLOCK > WINDOW {
            link.wait_for_block();
            unanswered -= BLOCK;
        }
        for _ in 0..BLOCK {
            link.send();
        }
        unanswered += BLOCK;
    }
    while unanswered > 0 {
        link.wait_for_block();
        unanswered -= BLOCK;
    }
    start.elapsed()
}

struct BareUdp {
    socket: UdpSocket,
    peer: SocketAddr,
    datagram: [u8; SIZE],
}

impl BareUdp {
    fn new(peer: SocketAddr) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        SockRef::from(&socket)
            .set_multicast_if_v4(&Ipv4Addr::LOCALHOST)
            .expect("loopback");
        Self {
            socket,
            peer,
            datagram: [0; SIZE],
        }
    }

    fn there_and_back(&mut self, rounds: u64) -> Duration {
        self.datagram[0] = QUESTION;
        let start = Instant::now();
        for _ in 0..rounds {
            self.send_datagram();
            self.receive();
        }
        start.elapsed()
    }

    fn send_datagram(&self) {
        let sent = self.socket.send_to(&self.datagram, self.peer);
        sent.expect("sending");
    }

    fn receive(&self) {
        let mut answer = [0; SIZE];
        self.socket.recv_from(&mut answer).expect("an answer");
    }
}

impl Link for BareUdp {
    fn send(&mut self) {
        self.datagram[0] = EVENT;
        self.send_datagram();
    }

    fn wait_for_block(&mut self) {
        self.receive();
    }
}

struct OverBus {
    bus: Bus,
    question: Question,
    tick: Tick,
    /// Questions yet to be asked in the chain that runs.
    rounds: Arc<AtomicU64>,
    chains: mpsc::Receiver<()>,
    blocks: mpsc::Receiver<()>,
}

impl OverBus {
    fn new(port: u16) -> Self {
        let bus = started(builder().port(port));
        let question = Question {
            number: 0,
            body: body(),
        };
        let tick = Tick {
            number: 0,
            body: body(),
        };
        let rounds = Arc::new(AtomicU64::new(0));

        let (chain, chains) = mpsc::channel();
        let left = Arc::clone(&rounds);
        let next = question.clone();
        bus.on::<Answer>(move |answer| {
            if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                // Nobody waits any more when the benchmark is over.
                let _ = chain.send(());
            } else {
                answer.bus().emit(next.clone()).expect("asking");
            }
        });
        let (block, blocks) = mpsc::channel();
        bus.on::<Acknowledged>(move |_| {
            let _ = block.send(());
        });
        Self {
            bus,
            question,
            tick,
            rounds,
            chains,
            blocks,
        }
    }

    fn there_and_back(&mut self, rounds: u64) -> Duration {
        self.rounds.store(rounds, Ordering::Relaxed);
        let start = Instant::now();
        self.bus.emit(self.question.clone()).expect("asking");
        // The chain is as long as criterion says, so it has the patience of each of its rounds.
        let patience = PATIENCE + Duration::from_millis(rounds);
        self.chains.recv_timeout(patience).expect("an answer");
        start.elapsed()
    }
}

impl Link for OverBus {
    fn send(&mut self) {
        self.bus.emit(self.tick.clone()).expect("sending");
    }

    fn wait_for_block(&mut self) {
        self.blocks.recv_timeout(PATIENCE).expect("a block arrives");
    }
}

/// The other process, as this one sees it. It ends when this is dropped.
struct Peer {
    process: Child,
    /// The port of its bus.
    bus: u16,
    /// Where its bare socket is.
    address: SocketAddr,
    /// The group that its other bare socket has joined.
    group: SocketAddr,
}

impl Peer {
    fn start() -> Self {
        let program = env::current_exe().expect("this program's path");
        let mut process = Command::new(program)
            .arg("peer")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a second process");
        let output = process.stdout.take().expect("it was asked for");
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .expect("a line from the peer");
        let mut words = line.split_whitespace();
        let mut word = || words.next().expect("three words");
        Self {
            process,
            bus: word().parse().expect("a port"),
            address: word().parse().expect("an address"),
            group: word().parse().expect("an address"),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The end of its input is its end.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// What the second process does: it answers, on a bus and on bare sockets, until its input ends.
fn peer() {
    let bus = started(builder());
    bus.on::<Question>(|question| {
        let answer = Answer {
            number: question.number,
            body: question.body.clone(),
        };
        question.bus().emit(answer).expect("answering");
    });
    let heard = AtomicU32::new(0);
    bus.on::<Tick>(move |tick| {
        if (heard.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(BLOCK as u32) {
            tick.bus().emit(Acknowledged).expect("answering");
        }
    });

    let address = answer_bare(Ipv4Addr::LOCALHOST);
    let group = answer_bare(GROUP);
    println!("{} {address} {group}", bus.port());
    io::stdout().flush().expect("somebody reads");
    let mut rest = Vec::new();
    io::stdin().read_to_end(&mut rest).expect("an end");
}

/// Answers what comes to an address or a group, on a thread of its own, and says with which port.
fn answer_bare(to: Ipv4Addr) -> SocketAddr {
    let socket = UdpSocket::bind((to, 0)).expect("a socket");
    if to.is_multicast() {
        let joined = socket.join_multicast_v4(&to, &Ipv4Addr::LOCALHOST);
        joined.expect("joining");
    }
    let address = socket.local_addr().expect("its address");
    thread::spawn(move || {
        let mut datagram = [0; SIZE];
        let mut heard = 0;
        loop {
            let (_, from) = socket.recv_from(&mut datagram).expect("receiving");
            if datagram[0] == EVENT {
                heard += 1;
                if heard % BLOCK != 0 {
                    continue;
                }
            }
            socket.send_to(&datagram, from).expect("answering");
        }
    });
    address
}
