//! What a program sees on a network that loses one datagram in twenty: everything, in order, some
//! of it a little late.
//!
//! ```sh
//! cargo run --example lossy_link        # one in twenty
//! cargo run --example lossy_link -- 30  # thirty in a hundred
//! ```
//!
//! A weather station and its display are on two groups that know nothing of each other. Between
//! them stands a relay, `Cable` below, that carries datagrams from one to the other and loses some,
//! in both directions and of every kind: events, requests for what is missing, and the answers to
//! these. One reading it swallows whenever it comes by. All of this stays on the loopback
//! interface.

use std::{
    env, io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use eventcast::{Bus, NetEvent, Notice, Received};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};
use tokio::time::{interval, sleep, timeout};

/// Each is wanted: those behind a lost one wait until it has come again.
#[derive(NetEvent, Serialize, Deserialize)]
struct Reading {
    number: u64,
    remark: String,
}

/// Only the newest is of interest: nobody waits for a lost one.
#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(best_effort)]
struct WindNow {
    number: u64,
}

/// Some hundred datagrams, of which several will be lost.
#[derive(NetEvent, Serialize, Deserialize)]
struct Picture {
    #[serde(with = "serde_bytes")]
    pixels: Vec<u8>,
}

/// What the cable swallows.
const SWALLOWED: &str = "never seen again";
const SWALLOWED_NUMBER: u64 = 120;

const READINGS: u64 = 200;
const PICTURE: usize = 150_000;
const PATIENCE: Duration = Duration::from_secs(20);

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const INTERFACE: Ipv4Addr = Ipv4Addr::LOCALHOST;

#[tokio::main]
async fn main() -> eventcast::Result<()> {
    let percent = env::args()
        .nth(1)
        .map_or(5, |text| text.parse().expect("the loss in percent"));
    let build = |id| {
        Bus::builder()
            .id(id)
            .port(0) // a random one
            .multicast_membership(GROUP.to_string())
            .multicast_interface(INTERFACE.to_string())
            // So long is asked for a reading in vain; the default is three seconds.
            .message_ttl(Duration::from_millis(800))
            .build()
    };
    let (station, display) = (build("station")?, build("display")?);
    let cable =
        Cable::lay([station.port(), display.port()], percent).expect("loopback has multicast");

    display.on_notice(|notice| match notice {
        Notice::Lost { .. } | Notice::PeerJoined { .. } => println!("display is told: {notice}"),
        _ => {}
    });
    let readings = Arc::new(Arrivals::new("reading"));
    let seen = Arc::clone(&readings);
    display.on::<Reading>(move |reading| seen.note(reading.number, &reading.remark));
    let winds = Arc::new(Arrivals::new("wind"));
    let seen = Arc::clone(&winds);
    display.on::<WindNow>(move |wind| seen.note(wind.number, ""));

    display.start().await?;
    station.start().await?;
    wait_for(|| station.peers().len() == 1 && display.peers().len() == 1).await;

    let picture = display.wait_for::<Picture>();
    println!("the station sends {READINGS} readings, and a picture of {PICTURE} bytes");
    let mut pause = interval(Duration::from_millis(10));
    for number in 1..=READINGS {
        pause.tick().await;
        let remark = match number {
            SWALLOWED_NUMBER => SWALLOWED,
            _ => "",
        };
        station.emit(Reading {
            number,
            remark: remark.into(),
        })?;
        station.emit(WindNow { number })?;
        if number == READINGS / 4 {
            station.emit(Picture {
                pixels: vec![7; PICTURE],
            })?;
        }
    }
    let picture: Received<Picture> = timeout(PATIENCE, picture)
        .await
        .expect("the picture comes in time")?;
    assert_eq!(picture.pixels.len(), PICTURE);
    wait_for(|| readings.last() == READINGS).await;

    println!("\n{}\n{}", readings.describe(), winds.describe());
    cable.describe();
    for one in display.peers() {
        let stats = one.stats;
        println!(
            "the display on {}: {} events in order, {} of them repaired, {} lost; {} came twice; \
             an answer took {:.1?}",
            one.peer,
            stats.received,
            stats.repaired,
            stats.lost,
            stats.duplicates,
            stats.round_trip.unwrap_or_default()
        );
    }
    let (asked, answered) = (display.stats(), station.stats());
    println!(
        "the display asked {} times, the station sent {} datagrams again",
        asked.requests_sent, answered.answers_sent
    );
    station.stop().await?;
    display.stop().await
}

async fn wait_for(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("it comes in time");
}

/// What came of the numbers from 1 on.
struct Arrivals {
    what: &'static str,
    count: AtomicU64,
    last: AtomicU64,
}

impl Arrivals {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            count: AtomicU64::new(0),
            last: AtomicU64::new(0),
        }
    }

    fn note(&self, number: u64, remark: &str) {
        let last = self.last.swap(number, Ordering::SeqCst);
        self.count.fetch_add(1, Ordering::SeqCst);
        let what = self.what;
        if number != last + 1 {
            println!("display sees  {what} {number} after {what} {last}");
        } else if number.is_multiple_of(50) {
            println!("display sees  {what} {number} {remark}");
        }
    }

    fn last(&self) -> u64 {
        self.last.load(Ordering::SeqCst)
    }

    fn describe(&self) -> String {
        let (count, last) = (self.count.load(Ordering::SeqCst), self.last());
        format!("{}: {count} of {last} came", self.what)
    }
}

/// Carries datagrams between two groups, and loses some.
///
/// On each side it has a socket that stands for the bus of the other side: what that bus sends
/// leaves there, and what is sent there goes to that bus. For a bus answers to the address from
/// which a datagram came, never to one that stands in it.
struct Cable {
    percent: u64,
    random: Mutex<u64>,
    carried: AtomicUsize,
    lost: AtomicUsize,
}

/// One side: its group, what is said there, and the stand-in for the bus of the other side.
struct Side {
    group: SocketAddrV4,
    heard: UdpSocket,
    stand_in: UdpSocket,
    /// Where the bus of this side is.
    bus: Mutex<Option<SocketAddr>>,
}

impl Cable {
    /// Lays it, for as long as the program runs.
    fn lay(ports: [u16; 2], percent: u64) -> io::Result<Arc<Self>> {
        let cable = Arc::new(Self {
            percent,
            random: Mutex::new(0x9E37_79B9_7F4A_7C15),
            carried: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
        });
        let [one, other] = ports.map(|port| Side::new(SocketAddrV4::new(GROUP, port)));
        let (one, other) = (Arc::new(one?), Arc::new(other?));
        for (from, to) in [(&one, &other), (&other, &one)] {
            for which in [Which::Group, Which::Bus] {
                let (cable, from, to) = (Arc::clone(&cable), Arc::clone(from), Arc::clone(to));
                thread::spawn(move || {
                    if let Err(error) = cable.carry(which, &from, &to) {
                        eprintln!("the cable broke: {error}");
                    }
                });
            }
        }
        Ok(cable)
    }

    /// Carries what is said on one side to the other side's group, or to the bus there.
    fn carry(&self, which: Which, from: &Side, to: &Side) -> io::Result<()> {
        let socket = match which {
            Which::Group => &from.heard,
            Which::Bus => &from.stand_in,
        };
        let own = from.stand_in.local_addr()?;
        let mut buffer = vec![0; 65_536];
        loop {
            let (length, sender) = socket.recv_from(&mut buffer)?;
            // What the cable itself says on this group is heard here too.
            if sender == own {
                continue;
            }
            let datagram = &buffer[..length];
            let target = match which {
                Which::Group => {
                    *from.bus.lock().expect("nobody panics") = Some(sender);
                    Some(to.group.into())
                }
                Which::Bus => *to.bus.lock().expect("nobody panics"),
            };
            if self.loses(datagram) {
                self.lost.fetch_add(1, Ordering::Relaxed);
            } else if let Some(target) = target {
                self.carried.fetch_add(1, Ordering::Relaxed);
                to.stand_in.send_to(datagram, target)?;
            }
        }
    }

    fn loses(&self, datagram: &[u8]) -> bool {
        let swallowed = datagram
            .windows(SWALLOWED.len())
            .any(|part| part == SWALLOWED.as_bytes());
        let mut state = self.random.lock().expect("nobody panics");
        // Marsaglia's xorshift64 ("Xorshift RNGs", 2003).
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        swallowed || *state % 100 < self.percent
    }

    fn describe(&self) {
        println!(
            "the cable carried {} datagrams, and lost {}",
            self.carried.load(Ordering::Relaxed),
            self.lost.load(Ordering::Relaxed)
        );
    }
}

/// What is carried: what is said to the group, or to the one bus that a stand-in stands for.
#[derive(Clone, Copy)]
enum Which {
    Group,
    Bus,
}

impl Side {
    fn new(group: SocketAddrV4) -> io::Result<Self> {
        let heard = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        heard.set_reuse_address(true)?;
        #[cfg(unix)]
        heard.set_reuse_port(true)?;
        heard.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, group.port()).into())?;
        heard.join_multicast_v4(group.ip(), &INTERFACE)?;
        let stand_in = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        stand_in.bind(&SocketAddrV4::new(INTERFACE, 0).into())?;
        stand_in.set_multicast_if_v4(&INTERFACE)?;
        Ok(Self {
            group,
            heard: heard.into(),
            stand_in: stand_in.into(),
            bus: Mutex::new(None),
        })
    }
}
