//! Requests for chunks of a message that its sender does not have any more, and what their answers
//! end.

use super::{
    net::{Net, engine_address, name_of, nothing, number_of},
    sealed::{inner, seal_with},
    *,
};
use crate::proto::wire::control::{self, GONE, NACK, RETX};

const ENGINE_0: u64 = 1_795_585_000_000;

/// The number of the message in [`Holed`] that does not become whole.
const HOLED: u64 = 2;

/// Engine 1 lacks chunks of a large message of engine 0, between other messages.
struct Holed {
    net: Net,
    /// Reads what is on the wire.
    open: fn(&[u8]) -> Vec<u8>,
    seq_id: String,
}

impl Holed {
    /// Every eighth chunk is lost, and every request until now. Neither engine gives up for half a
    /// minute.
    fn new(is_sealed: bool) -> Self {
        let mut net = Net::with(2, |config| {
            config.history_bytes = 200_000;
            config.message_ttl = Duration::from_secs(30);
            config.message_retransmit_attempts = 100;
            config.seal = is_sealed.then(|| seal_with(7));
        });
        let open = if is_sealed { inner } else { <[u8]>::to_vec };
        net.run(1_100, nothing);
        net.emit(0, "before");
        net.emit(0, &"x".repeat(100_000));
        net.emit(0, "after");
        net.run(1_200, |by, _, datagram| {
            let datagram = open(datagram);
            is_request(by, &datagram) || parse(&datagram).metadata.seq % 8 == 3
        });
        assert_eq!(net.told(1), ["before"]);
        assert_eq!(net.engines[1].stats().incomplete_messages, 1);
        let sent = net.log.iter().map(|(.., datagram)| open(datagram));
        let mut sent = sent.filter(|datagram| number_of(datagram) == Some(HOLED));
        let chunk = sent.next().expect("it was sent");
        let seq_id = parse(&chunk).metadata.seq_id.to_owned();
        Self { net, open, seq_id }
    }

    /// Engine 0 sends so much more that it drops the message. No request arrives before.
    fn outlive_history(&mut self) {
        let open = self.open;
        for _ in 0..6 {
            self.net.emit(0, &"y".repeat(50_000));
            let until = self.net.now.as_millis() as u64 + 150;
            self.net
                .run(until, |by, _, datagram| is_request(by, &open(datagram)));
        }
        assert_eq!(self.sent(0, GONE), 0);
    }

    fn run(&mut self, millis: u64) {
        let until = self.net.now.as_millis() as u64 + millis;
        self.net.run(until, nothing);
    }

    /// What engine 0 says to be gone, as it comes from an address to engine 1.
    fn hear_gone(&mut self, from: SocketAddr, spans: &[(u64, u64)]) -> Result<(), u64> {
        let unsolicited = |net: &Net| net.engines[1].stats().drops.get(DropCause::Unsolicited);
        let before = unsolicited(&self.net);
        let now = self.net.now();
        self.net.engines[1].handle_datagram(now, from, &gone(spans));
        match unsolicited(&self.net) - before {
            0 => Ok(()),
            dropped => Err(dropped),
        }
    }

    /// How many datagrams of this name an engine has sent.
    fn sent(&self, by: usize, name: &str) -> usize {
        let sent = self.net.log.iter().filter(|(_, from, ..)| *from == by);
        sent.filter(|(.., datagram)| name_of(&(self.open)(datagram)) == name)
            .count()
    }
}

fn is_request(by: usize, datagram: &[u8]) -> bool {
    by == 1 && [RETX, NACK].contains(&&*name_of(datagram))
}

/// A reserved event as `id` would send it.
fn control(
    (id, incarnation): (&str, Option<u64>),
    name: &str,
    body: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let mut rest = Vec::new();
    body(&mut rest);
    let craft = Craft {
        id,
        incarnation,
        name,
        rest: &rest,
        ..Craft::default()
    };
    craft.make()
}

fn gone(spans: &[(u64, u64)]) -> Vec<u8> {
    control(("engine-0", Some(ENGINE_0)), GONE, |out| {
        control::write_gone(out, ENGINE_0, spans, 1_000);
    })
}

fn retx(by: (&str, Option<u64>), seq_id: &str, missing: &[u32]) -> Vec<u8> {
    let mut rest = Vec::new();
    let me = (by.0, "127.0.0.1", 6_000);
    control::write_retx(&mut rest, me, None, seq_id.as_bytes(), missing, 1_000);
    let craft = Craft {
        id: by.0,
        incarnation: by.1,
        name: RETX,
        // No two are duplicates.
        seq_id: [seq_id.as_bytes()[0]; 20],
        rest: &rest,
        ..Craft::default()
    };
    craft.make()
}

#[test]
fn a_large_message_that_its_sender_has_dropped_ends_with_the_answer_to_a_request() {
    for is_sealed in [false, true] {
        let mut holed = Holed::new(is_sealed);
        holed.outlive_history();
        assert_eq!(holed.net.told(1), [""; 0]);
        let (asked, begin) = (holed.sent(1, RETX), holed.net.now);
        // The pause between two requests is over by then; a message may take ten times as long.
        holed.run(2_500);
        let told = holed.net.told(1);
        let mut expected = vec!["lost Gone 2-2", "after"];
        expected.extend(["50000 bytes"; 6]);
        assert_eq!(told, expected, "sealed: {is_sealed}");
        let stats = holed.net.engines[1].stats();
        assert_eq!((stats.held_bytes, stats.incomplete_messages), (0, 0));
        assert_eq!((stats.lost_messages, stats.expired_messages), (1, 0));
        assert_eq!(stats.drops.get(DropCause::Unsolicited), 0);
        // One request that names several chunks, one answer, and no request after it.
        assert_eq!(holed.sent(1, RETX), asked + 1);
        assert_eq!(holed.sent(0, GONE), 1);
        assert!(holed.net.now - begin < Duration::from_secs(3));
        // What comes of it afterwards is a duplicate.
        let open = holed.open;
        let late = holed
            .net
            .log
            .iter()
            .find(|(.., datagram)| number_of(&open(datagram)) == Some(HOLED) && !is_sealed);
        if let Some((.., datagram)) = late {
            let (now, datagram) = (holed.net.now(), datagram.clone());
            holed.net.engines[1].handle_datagram(now, engine_address(0), &datagram);
            assert_eq!(
                holed.net.engines[1].stats().drops.get(DropCause::Duplicate),
                1
            );
            assert_eq!(holed.net.engines[1].stats().held_bytes, 0);
        }
        holed.net.emit(0, "end");
        holed.run(1_000);
        let mut told = holed.net.told(1);
        told.retain(|line| !line.starts_with("refused duplicate"));
        assert_eq!(told, ["end"]);
    }
}

#[test]
fn an_answer_that_is_lost_comes_to_the_next_request() {
    let mut holed = Holed::new(false);
    holed.outlive_history();
    let mut lost = 0;
    let until = holed.net.now.as_millis() as u64 + 10_000;
    holed.net.run(until, |by, _, datagram| {
        let drops = by == 0 && name_of(datagram) == GONE && lost < 2;
        lost += u64::from(drops);
        drops
    });
    assert_eq!((lost, holed.sent(0, GONE)), (2, 3));
    assert_eq!(holed.net.told(1)[0], "lost Gone 2-2");
    assert_eq!(holed.net.engines[1].stats().lost_messages, 1);
}

#[test]
fn what_says_so_from_elsewhere_ends_no_message() {
    let mut holed = Holed::new(false);
    // From another port, from another machine, and by another sender.
    for from in [address(6_666), ([10, 1, 2, 3], 9_000).into()] {
        assert_eq!(holed.hear_gone(from, &[(1, 1_000)]), Err(1));
    }
    let of_another = control(("engine-7", Some(ENGINE_0)), GONE, |out| {
        control::write_gone(out, ENGINE_0, &[(1, 1_000)], 1_000);
    });
    let now = holed.net.now();
    holed.net.engines[1].handle_datagram(now, address(6_667), &of_another);
    let mut told = holed.net.told(1);
    told.retain(|line| !line.starts_with("refused unsolicited"));
    assert_eq!(told, [""; 0]);
    assert_eq!(holed.net.engines[1].stats().incomplete_messages, 1);
    holed.run(2_000);
    let mut told = holed.net.told(1);
    told.retain(|line| !line.starts_with("refused unsolicited"));
    assert_eq!(told, ["100000 bytes", "after"]);
}

#[test]
fn what_was_not_asked_for_is_not_ended_by_its_sender_either() {
    let mut net = Net::new(2);
    net.run(1_100, nothing);
    net.emit(0, &"x".repeat(100_000));
    // The first chunks have come, and nothing is missing so far.
    let mut chunks = 0;
    net.run(1_110, |_, to, datagram| {
        let is_chunk = to == 1 && parse(datagram).metadata.seq_len > 1;
        chunks += usize::from(is_chunk);
        is_chunk && chunks > 20
    });
    assert_eq!(net.engines[1].stats().incomplete_messages, 1);
    assert_eq!(net.count(RETX), 0);
    let now = net.now();
    net.engines[1].handle_datagram(now, engine_address(0), &gone(&[(1, 1)]));
    assert_eq!(net.told(1), [""; 0]);
    assert_eq!(net.engines[1].stats().drops.get(DropCause::Unsolicited), 1);
    net.run(3_000, nothing);
    let mut told = net.told(1);
    told.retain(|line| !line.starts_with("refused unsolicited"));
    assert_eq!(told, ["100000 bytes"]);
}

/// The sender says of some numbers that they are gone, among them one that is being put together.
#[test]
fn only_the_numbers_that_are_named_end() {
    let mut holed = Holed::new(false);
    assert_eq!(
        holed.hear_gone(engine_address(0), &[(1, 1), (3, 90)]),
        Err(1)
    );
    holed.run(0);
    assert_eq!(holed.net.engines[1].stats().incomplete_messages, 1);
    assert_eq!(
        holed.hear_gone(engine_address(0), &[(1, 1), (2, 90)]),
        Ok(())
    );
    holed.run(0);
    let mut told = holed.net.told(1);
    told.retain(|line| !line.starts_with("refused unsolicited"));
    assert_eq!(told, ["lost Gone 2-2", "after"]);
    assert_eq!(holed.net.engines[1].stats().held_bytes, 0);
    // Said again, it is about nothing.
    assert_eq!(holed.hear_gone(engine_address(0), &[(2, 2)]), Err(1));
    assert_eq!(holed.net.engines[1].stats().lost_messages, 1);
}

/// Whoever can send under the sender's address has begun another message under the same number: the
/// number is lost once, and nothing is held for either.
#[test]
fn all_attempts_at_a_number_that_is_gone_end() {
    let mut holed = Holed::new(false);
    let now = holed.net.now();
    for salt in 0..5 {
        let head = Head {
            seq: 0,
            seq_len: 9,
            seq_id: &MessageId([salt; 20]).text(),
            name: "e",
            time: &TimeWriter::new().write(now.unix_ms),
            number: Some(HOLED),
            schema: None,
        };
        let mut chunk = Vec::new();
        Template::new(HOST, 9_000, "elsewhere", "engine-0", Some(ENGINE_0))
            .write(&head, &mut chunk);
        chunk.extend([salt; 900]);
        holed.net.engines[1].handle_datagram(now, engine_address(0), &chunk);
    }
    assert_eq!(holed.net.engines[1].stats().incomplete_messages, 6);
    assert_eq!(holed.hear_gone(engine_address(0), &[(2, 2)]), Ok(()));
    holed.run(0);
    assert_eq!(holed.net.told(1), ["lost Gone 2-2", "after"]);
    let stats = holed.net.engines[1].stats();
    assert_eq!((stats.held_bytes, stats.incomplete_messages), (0, 0));
    assert_eq!(stats.lost_messages, 1);
}

#[test]
fn a_best_effort_message_and_a_peer_without_extensions_get_no_such_answer() {
    let mut net = Net::with(1, |config| config.history_bytes = 200_000);
    net.run(1_100, nothing);
    // A best-effort message has no number, and no eventcast asks for its chunks.
    let large = payload(vec!["x".repeat(100_000).into()]);
    let now = net.now();
    let best_effort = net.engines[0].emit(now, outgoing("e", &large)).unwrap();
    net.run(1_200, nothing);
    let begin = net.log.len();
    net.emit(0, &"x".repeat(100_000));
    net.run(1_900, nothing);
    let chunk = net.log[begin..]
        .iter()
        .map(|(.., datagram)| parse(datagram));
    let mut numbered = chunk.filter(|chunk| chunk.metadata.seq_len > 1);
    let numbered = numbered
        .next()
        .expect("it was sent")
        .metadata
        .seq_id
        .to_owned();
    for _ in 0..6 {
        net.emit(0, &"y".repeat(50_000));
        net.run(net.now.as_millis() as u64 + 700, nothing);
    }
    let best_effort = best_effort.message_id.to_string();
    for (by, seq_id, answers) in [
        (("s", Some(1)), &best_effort, 0),
        (("old", None), &best_effort, 0),
        (("old", None), &numbered, 0),
        (("s", Some(1)), &numbered, 1),
    ] {
        let before = (net.log.len(), net.engines[0].stats());
        let now = net.now();
        let request = retx(by, seq_id, &[0, 1, 2]);
        net.engines[0].handle_datagram(now, address(6_000), &request);
        net.run(net.now.as_millis() as u64 + 100, nothing);
        let sent = net.log[before.0..].iter();
        let gone = sent.filter(|(.., datagram)| name_of(datagram) == GONE);
        assert_eq!(gone.count(), answers, "{by:?}");
        let after = net.engines[0].stats();
        let unsolicited = DropCause::Unsolicited;
        let refused = after.drops.get(unsolicited) - before.1.drops.get(unsolicited);
        assert_eq!(refused as usize, 1 - answers, "{by:?}");
    }
}

/// Requests under the address of somebody else bring no more than other requests do.
#[test]
fn requests_for_what_is_gone_are_answered_within_the_bounds() {
    let mut holed = Holed::new(false);
    holed.outlive_history();
    let seq_id = holed.seq_id.clone();
    let chunks: Vec<u32> = (0..64).collect();
    let request = retx(("s", Some(1)), &seq_id, &chunks);
    let victim: SocketAddr = ([10, 1, 0, 1], 6_000).into();
    let begin = holed.net.log.len();
    let mut came = 0;
    for i in 0..6_000_u16 {
        let now = holed.net.now();
        let from = (victim.ip(), 6_000 + i % 16).into();
        holed.net.engines[0].handle_datagram(now, from, &request);
        came += request.len();
        if i % 100 == 99 {
            holed.run(1);
        }
    }
    holed.run(100);
    let sent = holed.net.log[begin..].iter().filter(
        |(.., to, _)| matches!(to, Destination::Peer(address) if address.ip() == victim.ip()),
    );
    let sent: Vec<&[u8]> = sent.map(|(.., datagram)| &datagram[..]).collect();
    let answers = sent
        .iter()
        .filter(|datagram| name_of(datagram) == GONE)
        .count();
    let bytes: usize = sent.iter().map(|datagram| datagram.len()).sum();
    assert!((1..=6_000).contains(&answers), "{answers}");
    assert!(bytes <= 3 * came + (256 << 10), "{bytes} for {came}");
    // An answer is no longer than its request.
    let longest = sent.iter().filter(|datagram| name_of(datagram) == GONE);
    assert!(longest.map(|datagram| datagram.len()).max() < Some(request.len()));
    // Nobody else waits for that, and what cannot be had holds up no stop.
    let leaves = holed.net.now();
    holed.net.engines[0].leave(leaves);
    holed.run(300);
    assert!(holed.net.engines[0].has_left());
}
