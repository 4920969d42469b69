//! A cable between two machines that loses, doubles and delays what a rule says.
//!
//! Each machine has a card, a veth whose other end stays in the middle, where a thread copies
//! frames from one end to the other. A [`Rule`] decides over IPv4 datagrams of UDP; all other
//! frames (ARP, IGMP) pass. What the middle would find different from a real cable is put right:
//!
//! * a veth hands joined datagrams (`UDP_SEGMENT`) on as one packet beyond the MTU, unless it is
//!   told to take one segment at a time;
//! * it leaves the checksum of UDP to a card that is not there, so it is computed here, or the
//!   receiver would refuse the datagram.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering as Memory},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, send,
        setsockopt, socket, sockopt,
    },
};

use crate::{host::Host, process::ip};

/// The card of each machine.
pub const CARD: &str = "cable0";

/// The address of each machine on its card.
pub const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 2)];

/// The ends of the cable that stay in the middle.
const ENDS: [&str; 2] = ["end0", "end1"];

/// Asked for, for the buffers of the middle: what is lost there no rule has asked for.
const BUFFER: usize = 16 << 20;

/// The longest frame that is waited for: a packet as long as IPv4 can say, and its header.
const LONGEST_FRAME: usize = 65_535 + ETHERNET;

/// How long the thread in the middle sleeps at most, so that it sees when it is to end.
const NAP: Duration = Duration::from_millis(20);

/// Frames that are taken from one end before the other has its turn.
const TURN: usize = 64;

/// Bytes of the headers.
const ETHERNET: usize = 14;
const UDP: usize = 8;

/// `PACKET_OUTGOING`: what the middle itself sends.
const OUTGOING: u8 = 4;

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the first machine to the second.
    There,
    /// From the second to the first.
    Back,
}

/// What a rule is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Which way it goes.
    pub way: Way,
    /// Where the datagram goes. The port is 0 where only the first fragment would tell.
    pub to: SocketAddrV4,
    /// What the datagram holds; of a fragmented one, what this fragment holds.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Whether it goes to a group.
    pub fn to_group(&self) -> bool {
        self.to.ip().is_multicast()
    }

    /// Whether it contains these bytes somewhere.
    pub fn contains(&self, bytes: &[u8]) -> bool {
        self.payload
            .windows(bytes.len())
            .any(|window| window == bytes)
    }
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It comes out at the other end.
    Arrives,
    /// It does not.
    Lost,
    /// It does, twice.
    Doubled,
    /// It does, but so much later: others overtake it.
    Late(Duration),
}

/// Decides over one frame after the other.
pub type Rule = Box<dyn FnMut(&Frame<'_>) -> Fate + Send>;

/// How often something happens to a datagram, in both directions, each by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// The share of datagrams that are lost.
    pub loss: f64,
    /// The share that arrives twice.
    pub doubled: f64,
    /// The share that is late.
    pub late: f64,
    /// How late at most.
    pub by: Duration,
}

impl Weather {
    /// As a rule. The seed is printed, so that a failure shows it; `EVENTCAST_CABLE_SEED` sets it.
    pub fn rule(self) -> Rule {
        let given = std::env::var("EVENTCAST_CABLE_SEED").ok();
        let given = given.and_then(|text| text.parse().ok());
        let mut state = given.unwrap_or_else(|| {
            let now = std::time::SystemTime::now();
            let since = now.duration_since(std::time::UNIX_EPOCH);
            since.map_or(0, |since| since.as_nanos() as u64)
        });
        println!("the cable's seed is {state}: EVENTCAST_CABLE_SEED={state} repeats it");
        // SplitMix64, by Steele, Lea and Flood.
        let mut fraction = move || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (word ^ (word >> 31)) as f64 / u64::MAX as f64
        };
        Box::new(move |_| {
            let (what, how_late) = (fraction(), fraction());
            if what < self.loss {
                Fate::Lost
            } else if what < self.loss + self.doubled {
                Fate::Doubled
            } else if what < self.loss + self.doubled + self.late {
                Fate::Late(self.by.mul_f64(how_late))
            } else {
                Fate::Arrives
            }
        })
    }
}

/// What has passed, in frames that a rule decided over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Those that came in at either end.
    pub frames: u64,
    /// Those that were lost.
    pub lost: u64,
    /// Those that went out twice.
    pub doubled: u64,
    /// Those that went out late.
    pub late: u64,
    /// Those that the system would not take at the other end.
    pub unsent: u64,
    /// The longest IPv4 packet.
    pub longest_packet: usize,
}

/// The cable. It is pulled out when this is dropped.
pub struct Cable {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<(Rule, Figures)>,
    over: AtomicBool,
}

impl Cable {
    /// Lays one between these machines. Everything passes until there is a rule.
    pub fn between(hosts: [&Host; 2]) -> Self {
        let mut sockets = Vec::new();
        for (end, host) in ENDS.into_iter().zip(hosts) {
            // The far end has its name already: there may be a card of that name here.
            ip(&format!(
                "link add {end} gso_max_segs 1 type veth peer name {end}-far gso_max_segs 1"
            ));
            // No address of its own: it says nothing by itself.
            ip(&format!("link set {end} addrgenmode none"));
            ip(&format!("link set {end} up"));
            sockets.push(listen(end));
            host.plug_in(&format!("{end}-far"));
        }
        for ((end, host), address) in ENDS.into_iter().zip(hosts).zip(ADDRESSES) {
            host.run(move || {
                ip(&format!("link set {end}-far name {CARD}"));
                ip(&format!("addr add {address}/24 dev {CARD}"));
                ip(&format!("link set {CARD} up"));
                ip(&format!("route add default dev {CARD}"));
            });
        }
        let shared = Arc::new(Shared {
            state: Mutex::new((Box::new(|_| Fate::Arrives), Figures::default())),
            over: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("cable".to_owned())
            .spawn(move || forward(&sockets, &for_thread))
            .expect("a thread");
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// From now on this decides.
    pub fn set_rule(&self, rule: impl FnMut(&Frame<'_>) -> Fate + Send + 'static) {
        self.shared.lock().0 = Box::new(rule);
    }

    /// What has passed so far.
    pub fn figures(&self) -> Figures {
        self.shared.lock().1
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.shared.over.store(true, Memory::Relaxed);
        let outcome = self.thread.take().map(JoinHandle::join);
        // A panic there has failed the case, unless another one is on its way already.
        if !thread::panicking() {
            assert!(
                outcome.is_none_or(|outcome| outcome.is_ok()),
                "the cable broke"
            );
        }
        for end in ENDS {
            ip(&format!("link del {end}"));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, (Rule, Figures)> {
        self.state.lock().expect("no rule panics")
    }

    /// What becomes of a frame that came in at one end.
    fn decide(&self, way: Way, frame: &mut [u8]) -> Fate {
        let Some(headers) = Headers::of(frame) else {
            return Fate::Arrives;
        };
        headers.set_checksum(frame);
        let packet = &frame[ETHERNET..];
        let mut state = self.lock();
        let (rule, figures) = &mut *state;
        let fate = rule(&Frame {
            way,
            to: SocketAddrV4::new(headers.destination, headers.port),
            payload: &packet[headers.payload_at..headers.packet_len],
        });
        figures.frames += 1;
        figures.longest_packet = figures.longest_packet.max(headers.packet_len);
        match fate {
            Fate::Arrives => {}
            Fate::Lost => figures.lost += 1,
            Fate::Doubled => figures.doubled += 1,
            Fate::Late(_) => figures.late += 1,
        }
        fate
    }
}

/// A socket on which every frame of an interface is read.
fn listen(interface: &str) -> OwnedFd {
    let addresses = getifaddrs().expect("Linux tells of its interfaces");
    let address: LinkAddr = addresses
        .filter(|one| one.interface_name == interface)
        .find_map(|one| one.address?.as_link_addr().copied())
        .expect("the interface is there");
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let protocol = SockProtocol::EthAll;
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, protocol)
        .expect("a namespace of one's own has no secrets");
    bind(socket.as_raw_fd(), &address).expect("the interface is up");
    // Who may not have more than the system's limit takes that.
    if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &BUFFER).expect("a receive buffer");
    }
    socket
}

/// Copies frames until it is over.
fn forward(sockets: &[OwnedFd], shared: &Shared) {
    let mut buffer = vec![0; LONGEST_FRAME];
    let mut waiting = BinaryHeap::new();
    while !shared.over.load(Memory::Relaxed) {
        let now = Instant::now();
        let next = waiting.peek().map(|Reverse(late): &Reverse<Late>| late.due);
        let nap = next.map_or(NAP, |next| next.saturating_duration_since(now).min(NAP));
        // Rounded up: it is not to be woken again and again for the rest of a millisecond.
        let nap = nap.as_millis() as u8 + u8::from(!nap.is_zero());
        let mut fds = [0, 1].map(|at: usize| PollFd::new(sockets[at].as_fd(), PollFlags::POLLIN));
        match poll(&mut fds, PollTimeout::from(nap)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => panic!("the cable cannot wait: {error}"),
        }
        for (from, way) in [(0, Way::There), (1, Way::Back)] {
            for _ in 0..TURN {
                let (length, sender) =
                    match recvfrom::<LinkAddr>(sockets[from].as_raw_fd(), &mut buffer) {
                        Ok(read) => read,
                        // The other machine's card goes when it does.
                        Err(Errno::EAGAIN | Errno::ENETDOWN | Errno::EINTR) => break,
                        Err(error) => panic!("the cable cannot read: {error}"),
                    };
                if sender.is_none_or(|sender| sender.pkttype() == OUTGOING) {
                    continue;
                }
                let frame = &mut buffer[..length];
                let to = &sockets[1 - from];
                match shared.decide(way, frame) {
                    Fate::Lost => {}
                    Fate::Arrives => put(to, frame, shared),
                    Fate::Doubled => {
                        put(to, frame, shared);
                        put(to, frame, shared);
                    }
                    Fate::Late(by) => waiting.push(Reverse(Late {
                        due: Instant::now() + by,
                        to: 1 - from,
                        frame: frame.to_vec(),
                    })),
                }
            }
        }
        while let Some(Reverse(late)) = waiting.peek()
            && late.due <= Instant::now()
        {
            put(&sockets[late.to], &late.frame, shared);
            waiting.pop();
        }
    }
}

/// A frame that is on its way.
#[derive(PartialEq, Eq)]
struct Late {
    due: Instant,
    to: usize,
    frame: Vec<u8>,
}

impl Ord for Late {
    fn cmp(&self, other: &Self) -> Ordering {
        self.due.cmp(&other.due)
    }
}

impl PartialOrd for Late {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn put(to: &OwnedFd, frame: &[u8], shared: &Shared) {
    if send(to.as_raw_fd(), frame, MsgFlags::empty()) != Ok(frame.len()) {
        shared.lock().1.unsent += 1;
    }
}

/// What the headers of a frame say that holds an IPv4 packet of UDP, counted from the beginning of
/// the packet.
struct Headers {
    header_len: usize,
    packet_len: usize,
    payload_at: usize,
    whole: bool,
    destination: Ipv4Addr,
    port: u16,
}

impl Headers {
    fn of(frame: &[u8]) -> Option<Self> {
        let packet = frame.get(ETHERNET..)?;
        let is_udp = frame[12..ETHERNET] == [0x08, 0x00] && *packet.get(9)? == 17;
        let header_len = usize::from(packet.first()? & 0x0f) * 4;
        let word = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
        let packet_len = usize::from(word(2)?);
        if !is_udp || packet_len > packet.len() || header_len + UDP > packet_len {
            return None;
        }
        // RFC 791, section 3.1: the lower 13 bits are the fragment's place, the third bit says that
        // there are more.
        let fragment = word(6)?;
        let first = fragment & 0x1fff == 0;
        let destination: [u8; 4] = packet[16..20].try_into().ok()?;
        Some(Self {
            header_len,
            packet_len,
            payload_at: header_len + if first { UDP } else { 0 },
            whole: fragment & 0x3fff == 0,
            destination: destination.into(),
            port: if first { word(header_len + 2)? } else { 0 },
        })
    }

    /// Computes the checksum of UDP (RFC 768). That of a fragmented datagram the kernel has
    /// computed.
    fn set_checksum(&self, frame: &mut [u8]) {
        if !self.whole {
            return;
        }
        let packet = &mut frame[ETHERNET..ETHERNET + self.packet_len];
        let (header, datagram) = packet.split_at_mut(self.header_len);
        datagram[6..UDP].fill(0);
        let words = |bytes: &[u8]| {
            let word =
                |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
            bytes.chunks(2).map(word).sum::<u64>()
        };
        let mut sum = words(&header[12..20]) + 17 + datagram.len() as u64 + words(datagram);
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        // 0 would say that there is none.
        let checksum = match !(sum as u16) {
            0 => 0xffff,
            checksum => checksum,
        };
        datagram[6..UDP].copy_from_slice(&checksum.to_be_bytes());
    }
}
