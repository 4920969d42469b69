//! Somebody who writes another's id and incarnation into what he sends.

use super::{
    net::{Net, engine_address, nothing, number_of},
    *,
};
use crate::proto::wire::control::{self, BYE, HELLO, NACK};

const ENGINE_0: u64 = 1_795_585_000_000;

/// Where the one who poses is.
fn elsewhere() -> SocketAddr {
    address(6_666)
}

/// What engine 0 would send.
fn posed(
    name: &str,
    number: Option<u64>,
    (seq, seq_len): (u32, u32),
    body: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let head = Head {
        seq,
        seq_len,
        seq_id: &MessageId([number.unwrap_or(0) as u8; 20]).text(),
        name,
        time: &TimeWriter::new().write(at(0).unix_ms),
        number,
        schema: None,
    };
    let mut out = Vec::new();
    Template::new(HOST, 9_000, "elsewhere", "engine-0", Some(ENGINE_0)).write(&head, &mut out);
    body(&mut out);
    out
}

fn event(number: u64) -> Vec<u8> {
    posed("e", Some(number), (0, 1), |out| {
        out.extend(payload(vec!["posed".into()]));
    })
}

fn chunk(number: u64) -> Vec<u8> {
    posed("e", Some(number), (0, 3), |out| out.extend([7; 1_000]))
}

fn hello(last: u64, first: u64, up: u64) -> Vec<u8> {
    posed(HELLO, None, (0, 1), |out| {
        let hello = control::Hello {
            incarnation: ENGINE_0,
            last,
            first,
            up: Duration::from_millis(up),
            version: "posed",
            capabilities: Vec::new(),
            owed: Vec::new(),
            token: None,
        };
        control::write_hello(out, &hello);
    })
}

/// Engine 0 goes on saying something, every so many milliseconds, and engine 1 has to get all of
/// it.
fn goes_on(net: &mut Net, every: u64, count: u64) {
    let mut said = Vec::new();
    for i in 0..count {
        let text = format!("true {i}");
        net.emit(0, &text);
        said.push(text);
        net.run(net.now.as_millis() as u64 + every, nothing);
    }
    net.run(net.now.as_millis() as u64 + 2_000, nothing);
    let mut told = net.told(1);
    told.retain(|line| line.starts_with("true") || line.starts_with("left"));
    assert_eq!(told, said);
}

#[test]
fn a_made_up_number_far_ahead_makes_no_duplicates_of_the_senders_own() {
    // One that goes on at once, one that pauses for longer than anything is asked for, and one that
    // is busy.
    let far = [event(60_003), chunk(60_003), event(1 << 40)];
    for (pause, every) in [(0, 500), (6_000, 100), (10, 7), (2_000, 900)] {
        for forged in &far {
            paused_and_on(forged, pause, every);
        }
    }
    // Its own next number but one: until it needs it itself it has said that it was not its own.
    for (pause, every) in [(6_000, 100), (2_500, 900)] {
        for forged in [event(5), chunk(5)] {
            paused_and_on(&forged, pause, every);
        }
    }
}

fn paused_and_on(forged: &[u8], pause: u64, every: u64) {
    let mut net = Net::new(2);
    net.run(1_500, nothing);
    for text in ["1", "2", "3"] {
        net.emit(0, text);
    }
    net.run(1_600, nothing);
    assert_eq!(net.told(1), ["1", "2", "3"]);
    let now = net.now();
    net.engines[1].handle_datagram(now, elsewhere(), forged);
    net.run(1_600 + pause, nothing);
    goes_on(&mut net, every, 20);
}

#[test]
fn nor_do_many_of_them_that_go_on() {
    let mut net = Net::new(2);
    net.run(1_500, nothing);
    let mut said = 0;
    for i in 0..300 {
        let now = net.now();
        net.engines[1].handle_datagram(now, elsewhere(), &event(60_000 + i));
        net.emit(0, &format!("true {said}"));
        said += 1;
        net.run(1_500 + 50 * (i + 1), nothing);
    }
    net.run(25_000, nothing);
    let mut told = net.told(1);
    told.retain(|line| line.starts_with("true") || line.starts_with("left"));
    let expected: Vec<String> = (0..said).map(|i| format!("true {i}")).collect();
    assert_eq!(told, expected);
    assert!(net.engines[1].stats().drops.get(DropCause::Inconsistent) > 0);
    assert_eq!(net.engines[1].stats().held_bytes, 0);
}

/// The sender is paused, so that it cannot speak for itself; when it is back, it is heard.
#[test]
fn a_sender_that_was_paused_takes_its_numbers_back() {
    for forged in [event(60_003), chunk(60_003), hello(60_003, 1, 9_000)] {
        let mut net = Net::new(2);
        net.run(1_500, nothing);
        net.emit(0, "1");
        net.run(2_500, nothing);
        let paused = |by: usize, _: usize, _: &[u8]| by == 0;
        net.run(4_000, paused);
        let now = net.now();
        net.engines[1].handle_datagram(now, elsewhere(), &forged);
        net.run(11_000, paused);
        net.told(1);
        net.run(15_000, nothing);
        goes_on(&mut net, 100, 20);
    }
}

/// The sender is silent for a moment, and another one, who says what it likes, is taken for it
/// until it is back.
#[test]
fn what_was_delivered_of_a_sender_is_not_delivered_again_on_the_word_of_another() {
    for last in [0, 20, 49] {
        let mut net = Net::new(2);
        net.run(1_500, nothing);
        let mut said = Vec::new();
        for i in 0..50 {
            said.push(format!("true {i}"));
            net.emit(0, &said[i]);
        }
        net.run(3_000, nothing);
        let paused = |by: usize, _: usize, _: &[u8]| by == 0;
        for at in [5_500, 5_510, 6_400] {
            net.run(at, paused);
            let now = net.now();
            net.engines[1].handle_datagram(now, elsewhere(), &hello(last, 1, at));
        }
        net.run(8_000, nothing);
        assert_eq!(net.told(1), said);
        assert_eq!(net.engines[0].stats().answers_sent, 0);
        goes_on(&mut net, 100, 5);
    }
}

#[test]
fn a_hello_and_a_number_beyond_belief_must_be_of_the_sender() {
    let mut net = Net::new(2);
    net.run(1_500, nothing);
    let far = 1 << 40;
    for datagram in [hello(far, 1, 2_000), event(far), event(far + 1)] {
        let now = net.now();
        net.engines[1].handle_datagram(now, elsewhere(), &datagram);
    }
    assert_eq!(net.engines[1].stats().lost_messages, 0);
    goes_on(&mut net, 100, 20);
}

#[test]
fn hellos_from_elsewhere_do_not_take_the_place_of_their_sender() {
    let mut net = Net::new(2);
    net.run(1_500, nothing);
    let mut said = Vec::new();
    for i in 0..1_000_u64 {
        if i % 33 == 0 {
            // With a high `first` what is missing would be lost at once, with a high `up` the true
            // one is too old.
            for forged in [hello(i, i + 1, 1 << 40), hello(0, 1, 1_500 + 10 * i)] {
                let now = net.now();
                net.engines[1].handle_datagram(now, elsewhere(), &forged);
            }
        }
        let text = format!("true {i}");
        net.emit(0, &text);
        said.push(text);
        // One in five is lost at first.
        net.run(1_510 + 10 * i, |by, to, datagram| {
            let is_new = number_of(datagram) == Some(i + 1);
            (by, to) == (0, 1) && is_new && i % 5 == 1
        });
    }
    net.run(16_000, nothing);
    let mut told = net.told(1);
    told.retain(|line| !line.starts_with("refused posed"));
    assert_eq!(told, said);
    let stats = net.engines[1].stats();
    assert!(stats.repaired_messages > 100 && stats.lost_messages == 0);
    let asked_elsewhere = |(_, by, to, _): &&(Duration, usize, Destination, Vec<u8>)| {
        *by == 1 && *to == Destination::Peer(elsewhere())
    };
    let asked = net.log.iter().filter(asked_elsewhere).count();
    assert!(
        asked < net.count(NACK) / 4,
        "{asked} of {}",
        net.count(NACK)
    );
    let peers = net.engines[1].peers(net.now());
    assert_eq!(peers[0].peer.address, engine_address(0));
}

#[test]
fn a_goodbye_from_elsewhere_is_nobodys() {
    let mut net = Net::new(2);
    net.run(1_500, nothing);
    let bye = posed(BYE, None, (0, 1), |out| {
        control::write_bye(out, ENGINE_0, 9, None);
    });
    let now = net.now();
    net.engines[1].handle_datagram(now, elsewhere(), &bye);
    net.run(1_600, nothing);
    assert_eq!(net.told(1), ["refused posed x1"]);
}

/// The sender's address changes while it runs: what is missing is asked for there.
#[test]
fn a_sender_that_moves_is_asked_at_its_new_address() {
    let mut net = Net::new(2);
    net.run(1_500, nothing);
    net.emit(0, "1");
    net.run(1_600, nothing);
    // From now on everything comes from elsewhere; one event is lost.
    let mut relayed = net.log.len();
    let mut lost = false;
    let mut asked = 0;
    for i in 0..600 {
        if i % 100 == 50 {
            net.emit(0, "more");
        }
        net.run(1_600 + 10 * (i + 1), |by, to, _| (by, to) == (0, 1));
        for (_, by, to, datagram) in net.log.split_off(relayed) {
            let now = net.now();
            if by == 0 {
                let drop = number_of(&datagram) == Some(4) && !std::mem::replace(&mut lost, true);
                if !drop {
                    net.engines[1].handle_datagram(now, elsewhere(), &datagram);
                }
            } else if to == Destination::Peer(elsewhere()) {
                asked += 1;
                net.engines[0].handle_datagram(now, engine_address(1), &datagram);
            }
        }
        relayed = net.log.len();
    }
    assert!(lost && asked > 0);
    let mut told = net.told(1);
    // Until the address from before has been silent for long enough.
    told.retain(|line| !line.starts_with("refused posed"));
    assert_eq!(told, ["1", "more", "more", "more", "more", "more", "more"]);
}

/// Hellos of as many senders as are followed, made up, at so many ports of so many IP addresses.
fn fill_the_table(net: &mut Net, addresses: impl Fn(usize) -> SocketAddr) {
    for i in 0..4_096 {
        let hello = control::Hello {
            incarnation: 1,
            last: 0,
            first: 1,
            up: Duration::ZERO,
            version: "made up",
            capabilities: Vec::new(),
            owed: Vec::new(),
            token: None,
        };
        let mut rest = Vec::new();
        control::write_hello(&mut rest, &hello);
        let craft = Craft {
            id: &format!("{i:016x}"),
            incarnation: Some(1),
            name: HELLO,
            rest: &rest,
            ..Craft::default()
        };
        let now = net.now();
        net.engines[1].handle_datagram(now, addresses(i), &craft.make());
    }
}

#[test]
fn one_who_fills_the_table_of_streams_gives_way_to_others() {
    // From ports of one IP address, another one or the sender's own.
    let elsewhere = |i: usize| ([10, 6, 6, 6], 6_000 + (i % 64) as u16).into();
    let beside = |i: usize| address(6_000 + (i % 64) as u16);
    let whence: [&dyn Fn(usize) -> SocketAddr; 2] = [&elsewhere, &beside];
    for addresses in whence {
        let mut net = Net::new(2);
        // Engine 0 has not been heard yet.
        let unheard = |by: usize, _: usize, _: &[u8]| by == 0;
        net.run(100, unheard);
        fill_the_table(&mut net, addresses);
        net.run(1_500, nothing);
        let mut said = Vec::new();
        for i in 0..40_u64 {
            let text = format!("true {i}");
            net.emit(0, &text);
            said.push(text);
            net.run(1_500 + 20 * i, |by, to, datagram| {
                (by, to) == (0, 1) && number_of(datagram) == Some(i + 1) && i % 4 == 1
            });
        }
        net.run(4_000, nothing);
        let mut told = net.told(1);
        told.retain(|line| line.starts_with("true") || line.starts_with("lost"));
        assert_eq!(told, said);
        assert_eq!(net.engines[1].stats().repaired_messages, 10);
    }
}

#[test]
fn a_sender_without_a_stream_is_delivered_and_reported_as_unfollowed() {
    let mut net = Net::new(2);
    net.run(100, |by, _, _| by == 0);
    // Each from an IP address of its own: nobody has more than another.
    fill_the_table(&mut net, |i| {
        let ip = Ipv4Addr::from(0x0a00_0000 + i as u32);
        (ip, 6_000).into()
    });
    net.told(1);
    net.emit(0, "true 0");
    net.run(300, nothing);
    let told = net.told(1);
    assert!(told.contains(&"true 0".to_owned()), "{told:?}");
    let unfollowed = |line: &&String| line.starts_with("refused unfollowed");
    assert_eq!(told.iter().filter(unfollowed).count(), 1, "{told:?}");
}

/// A message that makes room for others has been given up, but not because its sender does not know
/// of it.
#[test]
fn a_message_that_had_to_make_room_takes_nothing_back() {
    let mut bob = engine(Config {
        message_ttl: Duration::from_secs(3),
        ..config("listener")
    });
    let hear = |bob: &mut Engine, millis, datagram: Vec<u8>| {
        let heard = deliver(bob, at(millis), address(9_000), &[datagram]);
        heard
            .iter()
            .map(|got| got.message_id.0[0])
            .collect::<Vec<_>>()
    };
    hear(&mut bob, 100, hello(0, 1, 100));
    assert_eq!(hear(&mut bob, 110, event(1)), [1]);
    hear(&mut bob, 1_000, hello(1, 1, 1_000));
    assert_eq!(hear(&mut bob, 1_100, event(2)), [2]);
    hear(&mut bob, 1_110, chunk(3));
    for i in 0..1_100_u64 {
        let head = Head {
            seq: 0,
            seq_len: 3,
            seq_id: &MessageId(std::array::from_fn(|at| (i >> (8 * (at % 2))) as u8)).text(),
            name: "others",
            time: &TimeWriter::new().write(at(0).unix_ms),
            number: None,
            schema: None,
        };
        let mut other = Vec::new();
        Template::new(HOST, 9_000, "elsewhere", "engine-0", Some(ENGINE_0))
            .write(&head, &mut other);
        other.extend([7; 100]);
        hear(&mut bob, 1_120, other);
    }
    assert!(bob.stats().drops.get(DropCause::Crowded) > 0);
    // What was delivered stays so.
    assert_eq!(hear(&mut bob, 1_200, event(1)), [0_u8; 0]);
    assert_eq!(hear(&mut bob, 1_200, event(2)), [0_u8; 0]);
    assert_eq!(hear(&mut bob, 1_200, event(4)), [4]);
}

/// Who is heard first after a pause does not speak for a sender whose hellos wait behind.
#[test]
fn a_pause_takes_nobodys_address_away() {
    let mut net = Net::new(2);
    net.run(2_000, nothing);
    let stopped = net.stop(1);
    net.run(9_950, nothing);
    net.engines[1] = stopped;
    let now = net.now();
    net.engines[1].handle_pause(now, Duration::from_millis(7_900));
    let bye = posed(BYE, None, (0, 1), |out| {
        control::write_bye(out, ENGINE_0, 0, None);
    });
    net.engines[1].handle_datagram(now, elsewhere(), &bye);
    net.run(15_000, nothing);
    assert_eq!(net.told(1), ["refused posed x1"]);
}

/// What is said in a sender's name from elsewhere is counted, and reported once in ten seconds. The
/// same from another interface of the sender, which has the same port, is a duplicate.
#[test]
fn hello_and_bye_from_elsewhere_are_counted_and_reported() {
    let mut net = Net::new(2);
    net.run(1_500, nothing);
    net.told(1);
    let bye = posed(BYE, None, (0, 1), |out| {
        control::write_bye(out, ENGINE_0, 50_000, None);
    });
    let other_interface = ([10, 1, 2, 3], engine_address(0).port()).into();
    for (from, cause, told) in [
        (elsewhere(), DropCause::Posed, vec!["refused posed x1"]),
        (other_interface, DropCause::Duplicate, vec![]),
    ] {
        let dropped = |net: &Net| net.engines[1].stats().drops.get(cause);
        let before = dropped(&net);
        for datagram in [&hello(50_000, 1, 9_000), &bye, &hello(0, 1, 1)] {
            let now = net.now();
            net.engines[1].handle_datagram(now, from, datagram);
        }
        assert_eq!(dropped(&net) - before, 3, "{cause}");
        net.run(net.now.as_millis() as u64, nothing);
        assert_eq!(net.told(1), told);
    }
    net.run(12_000, nothing);
    assert_eq!(net.told(1), ["refused posed x2"]);
    // The sender is there as before.
    let now = net.now();
    assert_eq!(net.engines[1].peers(now)[0].peer.address, engine_address(0));
}

/// Only the one who made a number up can answer a request for it. That answer does not make its
/// address the sender's.
#[test]
fn an_answer_for_a_number_that_the_sender_never_named_does_not_move_its_address() {
    let bye = posed(BYE, None, (0, 1), |out| {
        control::write_bye(out, ENGINE_0, 9, None);
    });
    for (far, near) in [(50_000, 40_000), (20, 10), (5, 4)] {
        let mut net = Net::new(2);
        net.run(1_500, nothing);
        for text in ["1", "2", "3"] {
            net.emit(0, text);
        }
        net.run(1_600, nothing);
        assert_eq!(net.told(1), ["1", "2", "3"]);
        let hear = |net: &mut Net, datagram: &[u8]| {
            let now = net.now();
            net.engines[1].handle_datagram(now, elsewhere(), datagram);
        };
        // What comes before the far one is asked for in vain.
        hear(&mut net, &event(far));
        hear(&mut net, &hello(far, far, 1_600));
        net.run(1_900, nothing);
        hear(&mut net, &hello(far, far, 1_900));
        hear(&mut net, &event(near));
        for forged in [&hello(far, far, 1_900), &bye, &hello(0, 1, 1_950)] {
            hear(&mut net, forged);
        }
        net.run(1_950, nothing);
        let now = net.now();
        let peers = net.engines[1].peers(now);
        assert_eq!(peers.len(), 1, "it has not left");
        assert_eq!(peers[0].peer.address, engine_address(0));
        assert_eq!(net.engines[1].stats().lost_messages, 0);
        net.told(1);
        net.run(8_000, nothing);
        goes_on(&mut net, 100, 20);
        assert_eq!(net.engines[1].stats().lost_messages, 0);
    }
}

/// A hello that is overtaken by what its sender sends next takes back what somebody has made up,
/// and not that.
#[test]
fn what_overtakes_a_hello_is_not_delivered_again() {
    let mut bob = engine(Config {
        message_ttl: Duration::from_secs(3),
        ..config("listener")
    });
    let hear = |bob: &mut Engine, millis, from, datagram: Vec<u8>| {
        deliver(bob, at(millis), from, &[datagram]).len()
    };
    let sender = address(9_000);
    hear(&mut bob, 100, sender, hello(0, 1, 100));
    assert_eq!(hear(&mut bob, 110, sender, event(1)), 1);
    hear(&mut bob, 1_000, sender, hello(1, 1, 1_000));
    assert_eq!(hear(&mut bob, 1_010, elsewhere(), event(60_003)), 0);
    hear(&mut bob, 2_000, sender, hello(1, 1, 2_000));
    for number in 2..=5 {
        let millis = 2_980 + 5 * number;
        assert_eq!(hear(&mut bob, millis, sender, event(number)), 1);
    }
    hear(&mut bob, 3_010, sender, hello(3, 1, 2_996));
    assert!(bob.stats().drops.get(DropCause::Inconsistent) > 0);
    for number in 1..=5 {
        assert_eq!(hear(&mut bob, 3_020, sender, event(number)), 0, "{number}");
    }
    assert_eq!(hear(&mut bob, 3_030, sender, event(6)), 1);
    assert_eq!(bob.stats().held_bytes, 0);
}
