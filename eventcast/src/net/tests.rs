//! Real sockets, on 127.0.0.1 alone: joined there, and sending by there.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use super::*;

const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// How long something is waited for that will come. No test takes as long unless it fails.
const SOON: Duration = Duration::from_secs(10);

/// A number that no other test has, nor most likely another run: below those that the system
/// gives away by itself.
fn unused_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id() * 64 + NEXT.fetch_add(1, Ordering::Relaxed);
    20_000 + (number % 12_000) as u16
}

fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => panic!("{address} is none of IPv4"),
    }
}

/// Options with a group and a port of their own.
fn options() -> SocketOptions {
    SocketOptions {
        address: None,
        port: unused_port(),
        group: Ipv4Addr::from(0xefc0_0000 + u32::from(unused_port())).into(),
        interface: InterfaceChoice::Address(LOOPBACK.into()),
        loopback: true,
        ttl: 1,
        unicast_port: 0,
        receive_buffer: None,
        send_buffer: None,
    }
}

fn open_sure(options: &SocketOptions) -> Sockets {
    open(options).expect("loopback can always be used")
}

/// Receives until there are `count`.
fn receive(sockets: &mut Sockets, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let (mut got, started) = (Vec::new(), Instant::now());
    while got.len() < count && started.elapsed() < SOON {
        let receiver = &mut sockets.receiver;
        receiver.wait(Some(Duration::from_millis(100))).unwrap();
        while receiver
            .receive(|from, bytes, _| got.push((from, bytes.to_vec())))
            .unwrap()
            > 0
        {}
    }
    got
}

fn send(sockets: &mut Sockets, to: SocketAddr, bytes: &[u8], segment_size: Option<usize>) {
    let sent = sockets.transmitter.try_send(to, None, bytes, segment_size);
    assert!(matches!(sent, Sent::Done), "{sent:?}");
}

fn send_to_group(sockets: &mut Sockets, bytes: &[u8]) {
    let group = sockets.group;
    send(sockets, group, bytes, None);
}

#[test]
fn two_on_one_port_meet_and_tell_the_unicast_address() {
    let options = options();
    let (mut a, mut b) = (open_sure(&options), open_sure(&options));
    assert!(a.warnings.is_empty(), "{:?}", a.warnings);
    assert_eq!(a.unicast.ip(), LOOPBACK);
    assert_ne!(a.unicast.port(), b.unicast.port());

    send_to_group(&mut a, b"hello");
    let from = a.unicast;
    assert_eq!(receive(&mut b, 1), [(from, b"hello".to_vec())]);
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_bus_sends_does_not_come_back_to_it() {
    let options = options();
    let (mut a, mut b) = (open_sure(&options), open_sure(&options));
    send_to_group(&mut a, b"from a");
    send_to_group(&mut b, b"from b");
    for (sockets, other) in [(&mut a, &b"from b"[..]), (&mut b, b"from a")] {
        let got = receive(sockets, 1);
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].1, other);
    }
    // Joined datagrams neither, and none of them passes for one that was lost.
    let group = a.group;
    send(&mut a, group, &[7; 1000], Some(100));
    for _ in 0..20 {
        send_to_group(&mut a, b"more from a");
    }
    send_to_group(&mut b, b"the last");
    assert_eq!(receive(&mut a, 1)[0].1, b"the last");
    assert_eq!(a.receiver.kernel_drops(), 0);
    // The unicast socket is not filtered: a bus may write to itself.
    let own = a.unicast;
    send(&mut a, own, b"to myself", None);
    assert_eq!(receive(&mut a, 1)[0].1, b"to myself");
}

#[test]
fn unicast_reaches_exactly_the_one() {
    let options = options();
    let (mut a, mut b, mut c) = (
        open_sure(&options),
        open_sure(&options),
        open_sure(&options),
    );
    let to_b = b.unicast;
    send(&mut a, to_b, b"for b", None);
    assert_eq!(receive(&mut b, 1)[0].1, b"for b");
    // An earlier datagram would have arrived before this one here, too.
    send_to_group(&mut a, b"end");
    assert_eq!(receive(&mut c, 1)[0].1, b"end");
}

#[test]
fn another_group_on_the_same_port_is_not_heard() {
    let first = options();
    let mut second = first.clone();
    second.group = Ipv4Addr::from(u32::from(v4(first.group)) ^ 1 << 8).into();
    let (mut a, mut b) = (open_sure(&first), open_sure(&second));
    let (mut hears_a, mut hears_b) = (open_sure(&first), open_sure(&second));
    send_to_group(&mut a, b"first");
    send_to_group(&mut b, b"second");
    assert_eq!(receive(&mut hears_a, 1)[0].1, b"first");
    assert_eq!(receive(&mut hears_b, 1)[0].1, b"second");
}

#[test]
fn empty_and_big_datagrams_pass() {
    let options = options();
    let (mut a, mut b) = (open_sure(&options), open_sure(&options));
    let big = vec![0xa5; 60_000];
    send_to_group(&mut a, b"");
    send_to_group(&mut a, &big);
    let got = receive(&mut b, 2);
    assert_eq!(got[0].1, b"");
    assert!(got[1].1 == big);
}

#[test]
fn a_batch_arrives_as_datagrams_of_its_own() {
    let options = options();
    let (mut a, mut b) = (open_sure(&options), open_sure(&options));
    // An old receiver knows nothing of batches either.
    let plain = Socket::from(bind_like(&options, true, true));
    plain
        .join_multicast_v4(&v4(options.group), &LOOPBACK)
        .unwrap();
    let plain = UdpSocket::from(plain);
    plain.set_read_timeout(Some(SOON)).unwrap();

    let bytes: Vec<u8> = (0..150_u8).flat_map(|n| [n; 100]).collect();
    let bytes = &bytes[..149 * 100 + 30];
    let group = a.group;
    send(&mut a, group, bytes, Some(100));
    let want: Vec<_> = bytes.chunks(100).collect();
    let got = receive(&mut b, want.len());
    assert_eq!(got.iter().map(|(_, b)| &b[..]).collect::<Vec<_>>(), want);
    for want in want {
        let mut buffer = [0; 200];
        let len = plain.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], want);
    }
}

#[test]
fn many_senders_thick_and_thin_arrive_whole() {
    let options = SocketOptions {
        receive_buffer: Some(4 << 20),
        ..options()
    };
    let (mut a, mut b) = (open_sure(&options), open_sure(&options));
    // 1 to 100 datagrams at a time, so that reads of every size happen; some of them batches.
    let mut want = Vec::new();
    for round in 1..=100_u32 {
        let first = want.len();
        for n in 0..round {
            want.push((round * 1000 + n).to_be_bytes().to_vec());
        }
        if round % 3 == 0 {
            let group = a.group;
            send(&mut a, group, &want[first..].concat(), Some(4));
        } else {
            for datagram in &want[first..] {
                send_to_group(&mut a, datagram);
            }
        }
        let got = receive(&mut b, round as usize);
        let got: Vec<_> = got.into_iter().map(|(_, bytes)| bytes).collect();
        assert_eq!(got, want[first..]);
    }
    assert_eq!(b.receiver.kernel_drops(), 0);
    assert_eq!(b.receiver.passing_errors(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_kernel_dropped_is_counted() {
    let options = options();
    let (mut a, mut b) = (open_sure(&options), open_sure(&options));
    // Far more than the system's buffer holds, and nothing reads it.
    let mut sent = 2_000;
    for _ in 0..sent {
        send_to_group(&mut a, &[1; 8_000]);
    }
    // The kernel reports the count with the next datagram that it has room for.
    let (mut got, started) = (0, Instant::now());
    while got + b.receiver.kernel_drops() < sent && started.elapsed() < SOON {
        send_to_group(&mut a, b"tells");
        sent += 1;
        got += receive(&mut b, 1).len() as u64;
    }
    assert_eq!(got + b.receiver.kernel_drops(), sent);
    assert!(b.receiver.kernel_drops() > 0);
}

#[cfg(target_os = "linux")]
#[test]
fn the_outgoing_options_are_set() {
    let options = SocketOptions {
        loopback: false,
        ttl: 7,
        ..options()
    };
    let mut a = open_sure(&options);
    send_to_group(&mut a, b"by there");
    let probe = a.transmitter.writability();
    let socket = socket2::SockRef::from(probe.socket());
    assert_eq!(socket.multicast_if_v4().unwrap(), LOOPBACK);
    assert_eq!(socket.multicast_ttl_v4().unwrap(), 7);
    assert!(!socket.multicast_loop_v4().unwrap());
    assert!(!socket.multicast_all_v4().unwrap());
}

#[test]
fn an_interface_by_name_is_the_one_by_address() {
    let interfaces = interface::Interfaces::list().unwrap();
    let name = interfaces
        .with_address(LOOPBACK.into())
        .unwrap()
        .name
        .clone();
    let options = SocketOptions {
        interface: InterfaceChoice::Name(name),
        ..options()
    };
    let (mut a, mut b) = (open_sure(&options), open_sure(&options));
    assert_eq!(a.unicast.ip(), LOOPBACK);
    send_to_group(&mut a, b"by name");
    assert_eq!(receive(&mut b, 1)[0].1, b"by name");
}

/// A program that has the port on all addresses, and shares it in one way or another.
fn bind_like(options: &SocketOptions, reuse_address: bool, reuse_port: bool) -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    socket.set_reuse_address(reuse_address).unwrap();
    #[cfg(unix)]
    socket.set_reuse_port(reuse_port).unwrap();
    let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, options.port);
    socket.bind(&address.into()).unwrap();
    socket.into()
}

#[cfg(target_os = "linux")]
#[test]
fn the_port_is_shared_with_all_that_share_it() {
    for (reuse_address, reuse_port) in [(true, false), (false, true)] {
        let options = options();
        let _other = bind_like(&options, reuse_address, reuse_port);
        let (mut a, mut b) = (open_sure(&options), open_sure(&options));
        send_to_group(&mut a, b"in spite");
        assert_eq!(receive(&mut b, 1)[0].1, b"in spite");
    }
}

#[test]
fn a_port_that_is_not_shared_is_named() {
    let options = options();
    let _other = bind_like(&options, false, false);
    let error = open(&options).err().expect("the port is taken");
    assert!(matches!(error, OpenError::PortTaken { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&format!("port {}", options.port)), "{text}");
    assert!(text.contains("in use"), "{text}");
}

#[test]
fn a_fixed_unicast_port_is_used_and_not_shared() {
    let options = SocketOptions {
        unicast_port: unused_port(),
        ..options()
    };
    let a = open_sure(&options);
    assert_eq!(a.unicast.port(), options.unicast_port);
    let error = open(&options).err().expect("the unicast port is taken");
    let text = error.to_string();
    assert!(
        text.contains(&format!("`unicast_port` {}", a.unicast.port())),
        "{text}"
    );
    drop(a);
    open_sure(&options);
}

#[test]
fn what_cannot_be_opened_says_what_to_set() {
    let fails = |options: SocketOptions| {
        let error = open(&options).err().expect("cannot be opened");
        error.clone().to_string()
    };
    let text = fails(SocketOptions {
        group: Ipv4Addr::new(10, 0, 0, 1).into(),
        ..options()
    });
    assert!(
        text.contains("10.0.0.1") && text.contains("`multicast_membership`"),
        "{text}"
    );
    let text = fails(SocketOptions {
        interface: InterfaceChoice::Address(Ipv4Addr::new(203, 0, 113, 77).into()),
        ..options()
    });
    assert!(
        text.contains("203.0.113.77") && text.contains("`multicast_interface`"),
        "{text}"
    );
    let text = fails(SocketOptions {
        address: Some(Ipv4Addr::new(203, 0, 113, 78).into()),
        ..options()
    });
    assert!(
        text.contains("203.0.113.78") && text.contains("`address`"),
        "{text}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_buffer_that_was_cut_down_is_told() {
    let sockets = open_sure(&SocketOptions {
        receive_buffer: Some(1 << 30),
        send_buffer: Some(1 << 30),
        ..options()
    });
    let texts: Vec<_> = sockets.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    for (text, option) in texts.iter().zip(["rmem_max", "wmem_max"]) {
        assert!(text.contains("1073741824"), "{text}");
        assert!(
            text.contains(&format!("net.core.{option}=1073741824")),
            "{text}"
        );
    }
    let modest = open_sure(&SocketOptions {
        receive_buffer: Some(64 << 10),
        send_buffer: Some(64 << 10),
        ..options()
    });
    assert!(modest.warnings.is_empty(), "{:?}", modest.warnings);
}

#[test]
fn a_waker_ends_a_wait() {
    let mut sockets = open_sure(&options());
    let waker = sockets.receiver.waker();
    // Before the wait, and during it. Neither returns by itself: it would hang.
    waker.wake().unwrap();
    sockets.receiver.wait(None).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            waker.wake().unwrap();
        });
        sockets.receiver.wait(None).unwrap();
    });
    assert_eq!(sockets.receiver.receive(|_, _, _| ()).unwrap(), 0);
}

#[test]
fn a_socket_with_room_is_writable() {
    let sockets = open_sure(&options());
    assert!(sockets.transmitter.wait_writable(SOON).unwrap());
}

#[test]
fn noise_on_the_group_does_not_starve_the_unicast_socket() {
    let options = options();
    let (mut a, mut b) = (open_sure(&options), open_sure(&options));
    let to_b = b.unicast;
    // The group's socket is never empty: each batch that is read brings as much again.
    for _ in 0..64 {
        send_to_group(&mut a, b"noise");
    }
    b.receiver.wait(Some(SOON)).unwrap();
    send(&mut a, to_b, b"answer", None);
    let mut heard = false;
    for _ in 0..100 {
        let mut noise = 0;
        b.receiver
            .receive(|_, bytes, _| match bytes {
                b"answer" => heard = true,
                _ => noise += 1,
            })
            .unwrap();
        if heard {
            return;
        }
        for _ in 0..noise {
            send_to_group(&mut a, b"noise");
        }
        b.receiver.wait(Some(SOON)).unwrap();
    }
    panic!("100 batches of noise, and no answer");
}

#[cfg(target_os = "linux")]
#[test]
fn too_long_for_the_system_names_option_and_mtu() {
    let mut a = open_sure(&options());
    let group = a.group;
    let sent = a.transmitter.try_send(group, None, &[0; 65_508], None);
    let Sent::Failed { error, .. } = sent else {
        panic!("{sent:?}");
    };
    let mtu = std::fs::read_to_string("/sys/class/net/lo/mtu").unwrap();
    // No packet is longer, whatever the interface would take.
    let mtu = mtu.trim().parse::<u32>().unwrap().min(65_535);
    let text = error.to_string();
    assert!(text.contains("`max_payload_size`"), "{text}");
    assert!(text.contains(&format!("MTU is {mtu}")), "{text}");
}
