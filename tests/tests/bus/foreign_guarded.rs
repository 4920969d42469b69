//! A bus with a passphrase and a peer of another make, whose sealing and whose classic cipher share
//! no code with it.

use bson::{Bson, bson};
use eventcast::{Args, Bus, Keys, Received, Secret, args};
use eventcast_tests::{
    craft,
    group::Group,
    peer::{Guard, How, Peer},
    runner::{Case, Need},
    tap::Tap,
    wait::{Seen, block_on, eventually},
};

use crate::{
    common::{builder, collect, count, dropped, started},
    foreign::long,
};

pub(crate) fn cases() -> Vec<Case> {
    let case = |name: &str, body: fn()| {
        Case::new(format!("foreign_guarded::{name}"), body).needs(Need::Node)
    };
    vec![
        case("passphrase", passphrase),
        case("ready_key", ready_key),
        case("long_events", long_events),
        case("the_peer_asks", the_peer_asks),
        case("the_peer_is_asked", the_peer_is_asked),
        case("for_one_peer", for_one_peer),
        case("the_bus_refuses", the_bus_refuses),
        case("the_peer_refuses", the_peer_refuses),
        case("another_key", another_key),
        case("passphrase_change", passphrase_change),
        case("classic", classic),
    ]
}

const BUILD_FOLDER: &str = env!("CARGO_TARGET_TMPDIR");
const MAX_PAYLOAD: usize = 1_024;
const KEY: [u8; 32] = *b"thirty-two bytes for these tests";

/// A bus and a peer with one ready key.
fn both(group: Group) -> (Peer, Bus) {
    let peer = peer(group, Guard::ReadyKey(&KEY));
    (peer, sealed_bus(group))
}

fn peer(group: Group, guard: Guard<'_>) -> Peer {
    Peer::guarded(BUILD_FOLDER, group, MAX_PAYLOAD, guard)
}

fn sealed_bus(group: Group) -> Bus {
    started(builder(group).passphrase(Secret::ready_key(KEY)))
}

fn passphrase() {
    // Not ASCII alone: its bytes are those of UTF-8, as they are.
    let passphrase = "grüße an alle, the correct horse";
    let group = Group::unused();
    let mut peer = peer(group, Guard::Passphrase(passphrase));
    let bus = started(builder(group).passphrase(passphrase));
    arguments_both_ways(&mut peer, &bus);
}

fn ready_key() {
    let (mut peer, bus) = both(Group::unused());
    arguments_both_ways(&mut peer, &bus);
}

#[track_caller]
fn arguments_both_ways(peer: &mut Peer, bus: &Bus) {
    const NAME: &str = "foreign_guarded/arguments";
    let lists: [Args; 5] = [
        args![],
        args![Bson::Null],
        args!["one", 2, 3.5, true],
        args![bson!([]), bson!({}), bson!([1, [2]])],
        craft::every_type().into_iter().collect(),
    ];
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_named(NAME, move |e: &Received<Args>| {
        list.push(((**e).clone(), e.origin().clone()));
    });
    for (index, list) in lists.iter().enumerate() {
        assert_eq!(peer.emit(NAME, list), 1, "one datagram");
        let (arguments, origin) = &seen.wait_for(index + 1)[index];
        assert_eq!(arguments, list);
        assert!(origin.is_sealed());
        assert_eq!(origin.hostname(), "node");
        assert_eq!((origin.incarnation(), origin.number()), (None, None));
    }
    bus.off_all_named(NAME);
    for list in &lists {
        bus.emit_named(NAME, list.clone()).expect("the bus runs");
        let heard = peer.next_event();
        assert_eq!(heard.name, NAME);
        assert_eq!(heard.arguments, list[..]);
        assert_eq!(heard.meta["id"], bus.id().as_str());
    }
    assert_eq!(seen.len(), lists.len());
    assert!(peer.refused().is_empty(), "{:?}", peer.refused());
}

fn long_events() {
    const NAME: &str = "foreign_guarded/long";
    let group = Group::unused();
    let (mut peer, bus) = both(group);
    let seen = collect(&bus, NAME);
    // Slices leave room for the seal.
    assert!(peer.emit(NAME, &long()) > 20_000 / MAX_PAYLOAD as u64 + 1);
    assert!(seen.wait_for(1)[0][..] == long()[..], "it came changed");
    bus.off_all_named(NAME);
    bus.emit_named(NAME, long()).expect("the bus runs");
    assert!(peer.next_event().arguments == long(), "it came changed");
}

/// Chunks in the middle, of which there are enough whatever room the seal takes.
const LOST: [u32; 3] = [3, 7, 13];

/// Its requests are for the bus alone, and the answers for the peer alone.
fn the_peer_asks() {
    const NAME: &str = "foreign_guarded/asks";
    let (mut peer, bus) = both(Group::unused());
    peer.lose(&LOST, &[]);
    bus.emit_named(NAME, long()).expect("the bus runs");
    assert!(peer.next_event().arguments == long(), "it came changed");
    let stats = bus.stats();
    assert!(stats.requests_received >= 1);
    // More where the peer was put aside for a moment.
    assert!(stats.answers_sent >= LOST.len() as u64);
    bus.emit_named("foreign_guarded/asks_end", ())
        .expect("the bus runs");
    let heard = peer.next_event();
    assert_eq!(heard.name, "foreign_guarded/asks_end", "it came once");
    assert!(peer.refused().is_empty(), "{:?}", peer.refused());
}

fn the_peer_is_asked() {
    const NAME: &str = "foreign_guarded/asked";
    let (mut peer, bus) = both(Group::unused());
    let (seen, ends) = (
        collect(&bus, NAME),
        count(&bus, "foreign_guarded/asked_end"),
    );
    peer.lose(&[], &LOST);
    peer.emit(NAME, &long());
    assert!(seen.wait_for(1)[0][..] == long()[..], "it came changed");
    let stats = bus.stats();
    assert!(stats.requests_sent >= 1);
    assert_eq!(stats.messages_incomplete, 0);
    peer.emit("foreign_guarded/asked_end", &[]);
    ends.wait_for(1);
    assert_eq!(seen.len(), 1);
}

fn for_one_peer() {
    const NAME: &str = "foreign_guarded/one";
    let group = Group::unused();
    let (mut peer, a) = both(group);
    let b = sealed_bus(group);
    let port = |bus: &Bus| bus.unicast_address().expect("it runs").port();
    let (by_a, by_b) = (collect(&a, NAME), collect(&b, NAME));
    let mut emit = |word: &str, id: &Bus, at: &Bus| {
        let to = Some((id.id(), port(at)));
        peer.emit_as(
            NAME,
            &[word.into()],
            &How {
                to,
                ..How::default()
            },
        );
    };
    emit("for a", &a, &a);
    emit("for a, but sent to b", &a, &b);
    emit("for b", &b, &b);
    assert_eq!(by_a.wait_for(1), [args!["for a"]]);
    assert_eq!(by_b.wait_for(1), [args!["for b"]]);
    assert_eq!(dropped(&b, "recipient"), 1);
    assert_eq!(dropped(&a, "recipient"), 0);
}

/// Each by its cause, and nothing else of what the peer sends.
fn the_bus_refuses() {
    const NAME: &str = "foreign_guarded/bus_refuses";
    let (mut peer, bus) = both(Group::unused());
    let seen = collect(&bus, NAME);
    let mut number = 0;
    let mut emit = |peer: &mut Peer, counter: Option<u64>, shift: i64| {
        number += 1;
        let how = How {
            counter,
            shift,
            to: None,
        };
        peer.emit_as(NAME, &[number.into()], &how);
    };
    emit(&mut peer, None, 0);
    // The very bytes that it has had, and another event under their counter.
    peer.send_again();
    emit(&mut peer, Some(1), 0);
    // Far ahead, then late but within the window, again, and below the window.
    emit(&mut peer, Some(10_000), 0);
    emit(&mut peer, Some(9_000), 0);
    emit(&mut peer, Some(9_000), 0);
    emit(&mut peer, Some(5_000), 0);
    // A clock that is 20 seconds ahead is good enough, one of 40 seconds is not.
    emit(&mut peer, None, 20_000);
    emit(&mut peer, None, 40_000);
    emit(&mut peer, None, -40_000);
    emit(&mut peer, None, 0);
    let taken = [1, 3, 4, 7, 10].map(|number| args![number]);
    assert_eq!(seen.wait_for(taken.len()), taken);
    let causes = ["duplicate", "old", "time"].map(|cause| dropped(&bus, cause));
    assert_eq!(causes, [3, 1, 2]);
}

fn the_peer_refuses() {
    const NAME: &str = "foreign_guarded/peer_refuses";
    let group = Group::unused();
    let tap = Tap::join(group);
    let (mut peer, bus) = both(group);
    let open = started(builder(group));
    bus.emit_named(NAME, 1).expect("the bus runs");
    assert_eq!(peer.next_event().arguments, [Bson::Int32(1)]);
    let own = bus.unicast_address().expect("it runs");
    let had = tap.record_until(|datagram| datagram.from == own);
    let mut bytes = had.last().expect("the one it ended with").bytes.clone();
    tap.send(&bytes);
    // The last byte of the box, before the ends of two documents.
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    tap.send(&bytes);
    open.emit_named(NAME, 2).expect("the bus runs");
    for cause in ["duplicate", "mac", "clear"] {
        eventually(cause, || peer.refused().contains_key(cause));
    }
    let refused = peer.refused();
    assert_eq!((refused["duplicate"], refused["mac"]), (1, 1));
    bus.emit_named(NAME, 3).expect("the bus runs");
    assert_eq!(peer.next_event().arguments, [Bson::Int32(3)]);
}

fn another_key() {
    const NAME: &str = "foreign_guarded/another";
    let group = Group::unused();
    let (mut friend, bus) = both(group);
    let mut stranger = peer(group, Guard::ReadyKey(&[7; 32]));
    let seen = collect(&bus, NAME);
    let sent = stranger.emit(NAME, &["from a stranger".into()]) + stranger.emit(NAME, &long());
    friend.emit(NAME, &["from a friend".into()]);
    eventually("the stranger is counted", || dropped(&bus, "key") >= sent);
    assert_eq!(seen.wait_for(1), [args!["from a friend"]]);
    bus.off_all_named(NAME);
    bus.emit_named(NAME, "to friends").expect("the bus runs");
    assert_eq!(friend.next_event().arguments, [Bson::from("to friends")]);
    eventually("nor does the stranger take it", || {
        stranger.refused().contains_key("key")
    });
}

/// The passphrase of a group changes in three rounds, in each of which either may be first; with a
/// salt that is not the group's own.
fn passphrase_change() {
    const BY_PEER: &str = "foreign_guarded/change_by_peer";
    const BY_BUS: &str = "foreign_guarded/change_by_bus";
    const SALT: &[u8] = b"what this group has agreed on";
    fn guard<'a>(all: &'a [&'a str]) -> Guard<'a> {
        Guard::Passphrases { all, salt: SALT }
    }
    let [old, new] = ["the passphrase of last year", "the passphrase of this year"];
    let keys = |all: &[&str]| {
        let keys = Keys::new(all[0]);
        all[1..]
            .iter()
            .fold(keys, |keys, text| keys.and_receive(*text))
    };
    let group = Group::unused();
    let mut peer = peer(group, guard(&[old]));
    let bus = started(builder(group).passphrase(old).key_salt(SALT));
    let seen = collect(&bus, BY_PEER);
    let mut number = 0;
    let mut exchange = |peer: &mut Peer, bus: &Bus| {
        number += 1;
        peer.emit(BY_PEER, &[number.into()]);
        let sent: Vec<_> = (1..=number).map(|number| args![number]).collect();
        assert_eq!(seen.wait_for(sent.len()), sent);
        bus.emit_named(BY_BUS, number).expect("the bus runs");
        let heard = peer.next_event();
        assert_eq!(
            (heard.name.as_str(), &heard.arguments[..]),
            (BY_BUS, &[number.into()][..])
        );
    };
    exchange(&mut peer, &bus);
    let rounds = [
        (true, vec![old, new]),
        (false, vec![new, old]),
        (true, vec![new]),
    ];
    for (peer_first, all) in &rounds {
        for is_peers_turn in [*peer_first, !peer_first] {
            if is_peers_turn {
                peer.change_keys(guard(all));
            } else {
                block_on(bus.set_keys(keys(all))).expect("these are keys");
            }
            exchange(&mut peer, &bus);
        }
    }
    assert!(peer.refused().is_empty(), "{:?}", peer.refused());
    assert_eq!(dropped(&bus, "key"), 0);
    // The same passphrase with the group's own salt is another key, and so is the old one by now.
    peer.change_keys(Guard::Passphrase(new));
    peer.emit(BY_PEER, &["with another salt".into()]);
    peer.change_keys(guard(&[old]));
    peer.emit(BY_PEER, &["with the old one".into()]);
    eventually("both are refused", || dropped(&bus, "key") == 2);
    bus.emit_named(BY_BUS, "to friends").expect("the bus runs");
    eventually("so does the peer", || peer.refused().contains_key("key"));
    peer.change_keys(guard(&[new]));
    exchange(&mut peer, &bus);
}

fn classic() {
    const NAME: &str = "foreign_guarded/classic";
    let passphrase = "the correct horse";
    let group = Group::unused();
    let mut peer = peer(group, Guard::Classic(passphrase));
    let bus = started(builder(group).passphrase(passphrase).classic_cipher(true));
    // The chunks of a long one are in the clear, and so is what asks for those that are lost.
    peer.lose(&LOST, &LOST);
    let lists = [
        args![],
        args!["one", 2],
        craft::every_type().into(),
        long().into(),
    ];
    let seen = collect(&bus, NAME);
    for (index, list) in lists.iter().enumerate() {
        peer.emit(NAME, list);
        assert!(seen.wait_for(index + 1)[index] == *list, "it came changed");
    }
    bus.off_all_named(NAME);
    for list in &lists {
        bus.emit_named(NAME, list.clone()).expect("the bus runs");
        let heard = peer.next_event();
        assert_eq!(heard.name, NAME);
        assert!(heard.arguments == list[..], "it came changed");
    }
    let stats = bus.stats();
    assert!(stats.requests_sent >= 1 && stats.requests_received >= 1);
    assert!(peer.refused().is_empty(), "{:?}", peer.refused());
}
