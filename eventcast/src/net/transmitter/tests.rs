//! On sinks that refuse by a script what they are given.

use super::*;
use crate::net::{errno::testing::os, retry::RetryBudget};
use nix::errno::Errno;
use std::collections::VecDeque;

const GROUP: &str = "239.192.7.7:4000";
const PEER: &str = "127.0.0.1:4001";

/// Takes everything but what its script refuses, and notes what went out in which call.
#[derive(Default)]
struct Fake {
    script: VecDeque<Option<Errno>>,
    then: Option<Errno>,
    refuses_together: Option<(usize, Errno)>,
    longest: Option<usize>,
    calls: usize,
    out: Vec<Vec<u8>>,
    /// The interface that was chosen last, and those that cannot be.
    chosen: Option<u32>,
    away: Vec<u32>,
}

impl Fake {
    fn refusing(errnos: &[Errno]) -> Self {
        Self {
            script: errnos.iter().copied().map(Some).collect(),
            ..Self::default()
        }
    }

    fn take(&mut self, bytes: &[u8], longest: usize) -> io::Result<()> {
        self.calls += 1;
        let refusal = match self.script.pop_front() {
            Some(refusal) => refusal,
            None => self.then,
        };
        if let Some(errno) = refusal {
            return Err(os(errno));
        }
        if self.longest.is_some_and(|limit| longest > limit) {
            return Err(os(Errno::EMSGSIZE));
        }
        self.out.push(bytes.to_vec());
        Ok(())
    }
}

impl Sink for Fake {
    fn choose(&mut self, egress: &Egress) -> io::Result<()> {
        if self.away.contains(&egress.id) {
            return Err(os(Errno::EADDRNOTAVAIL));
        }
        self.chosen = Some(egress.id);
        Ok(())
    }

    fn send(&mut self, _: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        self.take(datagram, datagram.len())
    }

    fn send_segments(&mut self, _: SocketAddr, bytes: &[u8], size: u16) -> io::Result<()> {
        let size = usize::from(size);
        assert!(bytes.len() > size && bytes.len() <= CALL_SIZE);
        assert!(bytes.len().div_ceil(size) <= SEGMENTS);
        if let Some((longest, errno)) = self.refuses_together
            && size > longest
        {
            self.calls += 1;
            return Err(os(errno));
        }
        self.take(bytes, size)
    }

    fn has_segments(&self) -> bool {
        true
    }

    fn mtu(&self, _: SocketAddr) -> Option<u32> {
        Some(1280)
    }
}

fn egress(id: u32) -> Egress {
    Egress {
        label: "eth7 (10.0.0.7)".into(),
        id,
        host: [10, 0, 0, id as u8].into(),
        outgoing: crate::net::outgoing::Outgoing::Route,
        cuts: true,
        self_filter: None,
    }
}

/// One interface, as most buses have.
fn by_one(sink: Fake) -> Transmitter<Fake> {
    Transmitter::new(sink, vec![egress(7)])
}

fn to(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn lengths(transmitter: &Transmitter<Fake>) -> Vec<usize> {
    transmitter.sink.out.iter().map(Vec::len).collect()
}

#[test]
fn no_buffer_space_pauses_and_then_succeeds() {
    let mut transmitter = by_one(Fake::refusing(&[Errno::ENOBUFS, Errno::ENOBUFS]));
    let mut pauses = Vec::new();
    loop {
        match transmitter.try_send(to(GROUP), None, b"hello", None) {
            Sent::Done => break,
            Sent::Pause {
                sent_bytes: 0,
                pause,
                ..
            } => pauses.push(pause.as_millis()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pauses, [1, 2]);
    assert_eq!(transmitter.sink.out, [b"hello"]);
    assert_eq!(transmitter.passing_errors(), 2);
    // Success reset the pauses.
    transmitter.sink.script.push_back(Some(Errno::ENOBUFS));
    let sent = transmitter.try_send(to(GROUP), None, b"x", None);
    assert!(
        matches!(sent, Sent::Pause { pause, .. } if pause.as_millis() == 1),
        "{sent:?}"
    );
}

#[test]
fn endless_refusal_is_given_up_within_a_second_and_the_next_one_works() {
    let mut transmitter = by_one(Fake {
        then: Some(Errno::ENOBUFS),
        ..Fake::default()
    });
    let (mut budget, mut now) = (RetryBudget::default(), Duration::ZERO);
    let error = loop {
        match transmitter.try_send(to(GROUP), None, b"lost", None) {
            Sent::Pause { pause, error, .. } => match budget.grant(now, pause) {
                Some(pause) => now += pause,
                None => break error,
            },
            other => panic!("{other:?}"),
        }
    };
    assert!(now <= Duration::from_secs(1));
    assert!(transmitter.sink.calls < 20, "{}", transmitter.sink.calls);
    assert!(error.to_string().contains(GROUP), "{error}");
    budget.reset();
    transmitter.sink.then = None;
    assert!(matches!(
        transmitter.try_send(to(GROUP), None, b"next", None),
        Sent::Done
    ));
    assert_eq!(transmitter.sink.out, [b"next"]);
}

#[test]
fn the_echo_of_an_earlier_datagram_is_no_pause() {
    let self_filter = [Errno::ECONNREFUSED, Errno::EINTR, Errno::ECONNREFUSED];
    let mut transmitter = by_one(Fake::refusing(&self_filter));
    assert!(matches!(
        transmitter.try_send(to(PEER), None, b"x", None),
        Sent::Done
    ));
    // But no busy loop either.
    transmitter.sink.then = Some(Errno::ECONNREFUSED);
    transmitter.sink.calls = 0;
    let sent = transmitter.try_send(to(PEER), None, b"x", None);
    assert!(matches!(sent, Sent::Pause { .. }), "{sent:?}");
    assert_eq!(transmitter.sink.calls, AT_ONCE as usize + 1);
}

#[test]
fn datagrams_of_one_length_go_together_within_the_limits_of_a_call() {
    let mut transmitter = by_one(Fake::default());
    let bytes = vec![7; 10 * 150 + 30];
    assert!(matches!(
        transmitter.try_send(to(GROUP), None, &bytes, Some(10)),
        Sent::Done
    ));
    assert_eq!(lengths(&transmitter), [640, 640, 250]);

    transmitter.sink.out.clear();
    let bytes = vec![7; 3 * 30_000];
    assert!(matches!(
        transmitter.try_send(to(GROUP), None, &bytes, Some(30_000)),
        Sent::Done
    ));
    assert_eq!(lengths(&transmitter), [60_000, 30_000]);
}

#[test]
fn a_full_socket_tells_how_much_is_out() {
    let mut transmitter = by_one(Fake {
        script: [None, Some(Errno::EAGAIN)].into(),
        ..Fake::default()
    });
    let bytes = vec![7; 10 * 100];
    let sent = transmitter.try_send(to(GROUP), None, &bytes, Some(10));
    assert!(
        matches!(sent, Sent::Blocked { sent_bytes: 640 }),
        "{sent:?}"
    );
    let sent = transmitter.try_send(to(GROUP), None, &bytes[640..], Some(10));
    assert!(matches!(sent, Sent::Done), "{sent:?}");
    assert_eq!(lengths(&transmitter), [640, 360]);
}

#[test]
fn an_interface_that_cannot_cut_gets_them_one_by_one_for_good() {
    let mut transmitter = by_one(Fake {
        refuses_together: Some((0, Errno::EIO)),
        ..Fake::default()
    });
    assert!(matches!(
        transmitter.try_send(to(GROUP), None, &[7; 35], Some(10)),
        Sent::Done
    ));
    assert_eq!(lengths(&transmitter), [10, 10, 10, 5]);
    assert_eq!(transmitter.sink.calls, 5, "asked once");
    assert!(matches!(
        transmitter.try_send(to(GROUP), None, &[7; 4], Some(2)),
        Sent::Done
    ));
    assert_eq!(transmitter.sink.calls, 7, "and never again");
}

#[test]
fn datagrams_too_long_to_be_cut_leave_shorter_ones_together() {
    let mut transmitter = by_one(Fake {
        refuses_together: Some((1252, Errno::EINVAL)),
        ..Fake::default()
    });
    let bytes = vec![7; 3000];
    assert!(matches!(
        transmitter.try_send(to(GROUP), None, &bytes, Some(1400)),
        Sent::Done
    ));
    assert!(matches!(
        transmitter.try_send(to(GROUP), None, &bytes, Some(1000)),
        Sent::Done
    ));
    assert_eq!(lengths(&transmitter), [1400, 1400, 200, 3000]);
}

#[test]
fn too_long_names_the_option_and_the_mtu() {
    let mut transmitter = by_one(Fake {
        longest: Some(1400),
        ..Fake::default()
    });
    let Sent::Failed { sent_bytes, error } =
        transmitter.try_send(to(GROUP), None, &[7; 2000], Some(1500))
    else {
        panic!("was sent");
    };
    assert_eq!(sent_bytes, 0);
    let text = error.to_string();
    for part in ["1500 bytes", GROUP, "`max_payload_size`", "MTU is 1280"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // The failure of one datagram does not turn off sending together.
    transmitter.sink.longest = None;
    assert!(matches!(
        transmitter.try_send(to(GROUP), None, &[7; 2000], Some(1500)),
        Sent::Done
    ));
    assert_eq!(lengths(&transmitter), [2000]);
}

#[test]
fn a_peer_out_of_reach_fails_at_once_and_the_group_pauses() {
    let mut transmitter = by_one(Fake::refusing(&[Errno::EHOSTUNREACH, Errno::ENETUNREACH]));
    let sent = transmitter.try_send(to(PEER), None, b"x", None);
    assert!(
        matches!(sent, Sent::Failed { sent_bytes: 0, .. }),
        "{sent:?}"
    );
    let sent = transmitter.try_send(to(GROUP), None, b"x", None);
    assert!(matches!(sent, Sent::Pause { .. }), "{sent:?}");
}
#[test]
fn each_interface_is_chosen_and_one_that_is_away_holds_up_nobody() {
    let mut transmitter = Transmitter::new(Fake::default(), vec![egress(1), egress(2), egress(3)]);
    for id in [1, 2, 3] {
        let sent = transmitter.try_send(to(GROUP), Some(id), b"x", None);
        assert!(matches!(sent, Sent::Done), "{sent:?}");
        assert_eq!(transmitter.sink.chosen, Some(id));
    }
    // It cannot be chosen, or refuses what a bus with one interface would wait for.
    transmitter.sink.away = vec![2];
    let sent = transmitter.try_send(to(GROUP), Some(2), b"x", None);
    assert!(matches!(sent, Sent::Failed { .. }), "{sent:?}");
    transmitter.sink.script = [Some(Errno::ENETUNREACH)].into();
    let sent = transmitter.try_send(to(GROUP), Some(3), b"x", None);
    assert!(matches!(sent, Sent::Failed { .. }), "{sent:?}");
    let sent = transmitter.try_send(to(GROUP), Some(1), b"x", None);
    assert!(matches!(sent, Sent::Done), "{sent:?}");

    // One that is no more takes what was meant for it.
    let before = transmitter.sink.calls;
    transmitter.set_egress(vec![egress(1), egress(4)]);
    let sent = transmitter.try_send(to(GROUP), Some(3), b"x", None);
    assert!(matches!(sent, Sent::Done), "{sent:?}");
    assert_eq!(transmitter.sink.calls, before);
}

#[test]
fn what_an_interface_cannot_cut_the_others_still_do() {
    let mut transmitter = Transmitter::new(Fake::default(), vec![egress(1), egress(2)]);
    transmitter.sink.refuses_together = Some((0, Errno::EIO));
    let sent = transmitter.try_send(to(GROUP), Some(1), &[7; 20], Some(10));
    assert!(matches!(sent, Sent::Done), "{sent:?}");
    transmitter.sink.refuses_together = None;
    transmitter.set_egress(vec![egress(2), egress(1)]);
    for id in [1, 2] {
        let sent = transmitter.try_send(to(GROUP), Some(id), &[7; 20], Some(10));
        assert!(matches!(sent, Sent::Done), "{sent:?}");
    }
    // A peer may be behind either.
    let sent = transmitter.try_send(to(PEER), None, &[7; 20], Some(10));
    assert!(matches!(sent, Sent::Done), "{sent:?}");
    assert_eq!(lengths(&transmitter), [10, 10, 10, 10, 20, 10, 10]);
}

#[test]
fn without_any_interface_the_group_waits_and_peers_do_not() {
    let mut transmitter = Transmitter::new(Fake::default(), Vec::new());
    let sent = transmitter.try_send(to(GROUP), None, b"x", None);
    assert!(matches!(sent, Sent::Pause { .. }), "{sent:?}");
    let sent = transmitter.try_send(to(PEER), None, b"x", None);
    assert!(matches!(sent, Sent::Done), "{sent:?}");
    transmitter.set_egress(vec![egress(1)]);
    let sent = transmitter.try_send(to(GROUP), None, b"x", None);
    assert!(matches!(sent, Sent::Done), "{sent:?}");
}
