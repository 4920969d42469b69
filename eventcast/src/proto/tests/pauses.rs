//! A bus that is not driven for a while, because its process is stopped or has no processor: what
//! is not handed in to it is not held against others.

use super::{
    net::{Net, nothing},
    *,
};

const STOPPED_FOR: u64 = 8_000;

/// Three senders and a receiver, which has heard them all; the receiver is stopped, and what comes
/// for it waits.
struct Stopped {
    net: Net,
    receiver: Engine,
    waiting: Vec<(SocketAddr, Vec<u8>)>,
    told: Vec<String>,
}

impl Stopped {
    /// `keeps` says which of the datagrams that come meanwhile find room in the receiver's sockets.
    fn new(message: usize, mut keeps: impl FnMut(usize, &[u8]) -> bool) -> Self {
        let mut net = Net::new(4);
        net.run(1_000, nothing);
        for by in 0..3 {
            net.emit(by, "before");
        }
        net.run(2_000, nothing);
        net.told(3);
        let receiver = net.stop(3);
        let first = net.log.len();
        for step in 1..=STOPPED_FOR / 100 {
            for by in 0..3 {
                net.emit(by, &format!("{step}{}", "x".repeat(message)));
            }
            net.run(2_000 + step * 100, |_, to, _| to == 3);
        }
        let group = net.log[first..]
            .iter()
            .filter(|sent| sent.2 == Destination::Group);
        let waiting = group
            .filter(|(_, by, _, datagram)| *by < 3 && keeps(*by, datagram))
            .map(|(_, by, _, datagram)| (net::engine_address(*by), datagram.clone()));
        let mut waiting: Vec<_> = waiting.collect();
        // One sender comes after the other: the last is the one that seems to have been silent
        // until then.
        waiting.sort_by_key(|(from, _)| *from);
        Self {
            net,
            receiver,
            waiting,
            told: Vec::new(),
        }
    }

    fn take(&mut self) {
        let mut events = Events::new();
        self.receiver.take_events(&mut events);
        self.told
            .extend(events.iter().map(|event| net::words(&event)));
    }

    /// Goes on with it, after what waits has been handed in; `timeout` is called after each batch.
    fn resume(mut self, timeout: impl Fn(&mut Engine, Now)) -> (Net, Vec<String>) {
        let now = self.net.now();
        self.receiver
            .handle_pause(now, Duration::from_millis(STOPPED_FOR - 1_000));
        for batch in std::mem::take(&mut self.waiting).chunks(8) {
            for (from, datagram) in batch {
                self.receiver.handle_datagram(now, *from, datagram);
            }
            timeout(&mut self.receiver, now);
            self.take();
        }
        self.receiver.handle_timeout(now);
        self.take();
        self.net.engines[3] = self.receiver;
        for by in 0..3 {
            self.net.emit(by, "after");
        }
        self.net.run(2_000 + STOPPED_FOR + 3_000, nothing);
        self.told.extend(self.net.told(3));
        (self.net, self.told)
    }
}

fn is_verdict(told: &&String) -> bool {
    ["left", "lost", "expired"]
        .iter()
        .any(|word| told.contains(word))
}

#[test]
fn nobody_is_silent_whose_datagrams_wait() {
    let stopped = Stopped::new(0, |_, _| true);
    let (_, told) = stopped.resume(Engine::handle_timeout_amid_input);
    assert_eq!(told.iter().find(is_verdict), None, "{told:?}");
    // All of them came, in each sender's order.
    assert_eq!(told.len(), 3 * (STOPPED_FOR as usize / 100 + 1), "{told:?}");
}

/// The sockets had room for one sender's datagrams alone, and those of the first half of the time.
#[test]
fn what_found_no_room_meanwhile_is_repaired() {
    let mut room = 40;
    let stopped = Stopped::new(0, |by, _| {
        room -= usize::from(by == 0 && room > 0);
        by == 0 && room > 0
    });
    let (net, told) = stopped.resume(Engine::handle_timeout_amid_input);
    assert_eq!(told.iter().find(is_verdict), None, "{told:?}");
    assert_eq!(told.len(), 3 * (STOPPED_FOR as usize / 100 + 1), "{told:?}");
    assert!(net.count("__ec_nack") > 0, "some was asked for");
}

/// Of each message in two chunks only the first has found room.
#[test]
fn incomplete_messages_are_repaired() {
    let stopped = Stopped::new(1_500, |_, datagram| parse(datagram).metadata.seq == 0);
    let (net, told) = stopped.resume(Engine::handle_timeout_amid_input);
    assert_eq!(told.iter().find(is_verdict), None, "{told:?}");
    assert!(net.count("__ec_retx") > 0, "some was asked for");
}

/// A gap that is over, and an answer to it that waits.
#[test]
fn what_is_given_up_waits_for_the_end_of_the_input_and_no_longer() {
    let mut net = Net::new(2);
    net.run(1_000, nothing);
    for text in ["one", "two", "three"] {
        net.emit(0, text);
    }
    // The second never comes.
    net.run(1_100, |by, to, datagram| {
        (by, to) == (0, 1) && net::number_of(datagram) == Some(2)
            || net::name_of(datagram) == "__ec_nack"
    });
    assert_eq!(net.told(1), ["one"]);
    let lost = net
        .log
        .iter()
        .find(|sent| net::number_of(&sent.3) == Some(2));
    let lost = lost.unwrap().3.clone();
    let told = |net: &mut Net| {
        let mut events = Events::new();
        net.engines[1].take_events(&mut events);
        events
            .iter()
            .map(|event| net::words(&event))
            .collect::<Vec<_>>()
    };
    for step in 0..100 {
        let now = at(60_000 + step);
        net.engines[1].handle_timeout_amid_input(now);
        assert_eq!(told(&mut net), Vec::<String>::new());
        // It does not ask again and again either.
        let mut buf = Vec::new();
        while net.engines[1].poll_transmit(now, &mut buf).is_some() {
            assert_ne!(net::name_of(&buf), "__ec_nack");
        }
    }
    net.engines[1].handle_datagram(at(60_100), net::engine_address(0), &lost);
    net.engines[1].handle_timeout_amid_input(at(60_100));
    assert_eq!(told(&mut net), ["two", "three"]);
    // Now nothing waits any more, and the sender has been silent for long.
    net.engines[1].handle_timeout(at(66_000));
    assert!(told(&mut net).iter().any(|line| line.contains("left")));
}

#[test]
fn who_is_gone_is_found_out_after_a_pause_too() {
    let mut net = Net::new(2);
    net.run(1_000, nothing);
    // Heard last about now; a second of the pause was a time to wait as any other.
    net.engines[1].handle_pause(at(9_000), Duration::from_millis(7_000));
    let left = |net: &mut Net, now| {
        net.engines[1].handle_timeout(at(now));
        let mut events = Events::new();
        net.engines[1].take_events(&mut events);
        events
            .iter()
            .any(|event| net::words(&event).contains("left"))
    };
    assert!(!left(&mut net, 10_900));
    assert!(left(&mut net, 13_100));
}

/// What is heard last of the first life came before the hello of the second one, however long this
/// bus was stopped after both.
#[test]
fn a_restart_before_a_pause_is_no_clash() {
    let mut net = Net::new(2);
    net.run(2_000, nothing);
    let config = Config::new("engine-0", 2_000_000_000_000, HOST, 9_000);
    let now = net.now();
    net.engines[0] = Engine::new(config, [9; 32], now);
    net.run(2_100, nothing);
    let stopped = net.stop(1);
    net.run(5_000, nothing);
    net.engines[1] = stopped;
    let now = net.now();
    net.engines[1].handle_pause(now, Duration::from_millis(2_900));
    net.run(15_000, nothing);
    assert_eq!(net.told(1), ["left engine-0 Restarted"]);
}

/// A message without a number came twice, and the second copy waited in the socket while this bus
/// was stopped.
#[test]
fn a_double_that_waited_is_a_double() {
    let mut bob = listener();
    let message = [Craft::default().make()];
    assert_eq!(deliver(&mut bob, at(0), address(1), &message).len(), 1);
    // Longer than such messages are remembered.
    bob.handle_pause(at(60_000), Duration::from_millis(59_900));
    let again = deliver(&mut bob, at(60_000), address(1), &message);
    assert!(again.is_empty());
}
