//! Requests for what was sent, from those who mean harm, and requests that nobody answers.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use bson::{Bson, DateTime, Document, doc};
use eventcast::{Bus, DropCause, ExpiredReason, LostReason, Notice};
use eventcast_tests::{
    craft::{self, Message},
    group::{Group, INTERFACE},
    process::memory_in_use,
    runner::Case,
    tap::{self, Tap},
    wait::{PATIENCE, Seen, eventually},
};

use crate::common::{builder, bus, count, fence, gives_up_soon, send_paced, started};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("requests::ch05_hostile_requests", ch05_hostile_requests),
        Case::new(
            "requests::ch06_no_answer_to_an_address_that_did_not_ask",
            ch06_cannon,
        ),
        Case::new(
            "requests::ch08_requests_stay_within_the_limit",
            ch08_giving_up,
        ),
        Case::new("requests::ch08_ten_thousand_given_up", ch08_ten_thousand).in_own_process(),
        Case::new(
            "requests::ch08_a_chunk_now_and_then",
            ch08_a_chunk_now_and_then,
        ),
        Case::new(
            "requests::only_the_sender_can_end_a_message_as_gone",
            only_the_sender_can_end_a_message_as_gone,
        ),
    ]
}

/// Under which incarnation the crafted peers speak that have one.
const INCARNATION: i64 = 1_764_000_000_000;

/// A bus that has sent a message in chunks, and somebody who asks it for them.
struct Asked {
    group: Group,
    bus: Bus,
    incarnation: i64,
    to: SocketAddr,
    /// From where is asked.
    socket: UdpSocket,
    /// What comes back there.
    came: Seen<Vec<u8>>,
    /// The chunks' `seqId`.
    id: String,
    /// All datagrams of the message.
    chunks: Vec<Vec<u8>>,
}

impl Asked {
    /// The message is the bus's first, and about so long.
    fn new(group: Group, length: usize) -> Self {
        let (tap, bus) = (Tap::join(group), bus(group));
        bus.emit_named("wanted", "w".repeat(length))
            .expect("it fits");
        let mut chunks = BTreeMap::new();
        let mut total = usize::MAX;
        while chunks.len() < total {
            let bytes = tap.next().bytes;
            let (meta, _) = craft::part(&bytes);
            if craft::name_of(&bytes) == "wanted" {
                total = meta.get_i32("seqLen").expect("a number") as usize;
                chunks.insert(meta.get_i32("seq").expect("a number"), bytes);
            }
        }
        let chunks: Vec<_> = chunks.into_values().collect();
        let (meta, _) = craft::part(&chunks[0]);
        let socket = tap::sender();
        let to = bus.unicast_address().expect("it runs");
        // Its hello is heard, as that of any peer.
        let hello = doc! {
            "inc": INCARNATION, "last": 0_i64, "first": 1_i64, "up": 0_i64, "ver": "crafted", "can": [],
        };
        let payload = craft::bytes_of(&doc! { "payload": [hello] });
        let hello = Message::with_payload(group, "__ec_hello", payload).set("inc", INCARNATION);
        let own_id = hello.meta.get_str("id").expect("a text").to_owned();
        let sent = socket.send_to(&hello.bytes(), group.to_address());
        sent.expect("loopback takes it");
        eventually("the hello is heard", || {
            bus.peers().iter().any(|one| one.peer.id == own_id)
        });
        Self {
            group,
            came: read_all(&socket, to),
            incarnation: meta.get_i64("inc").expect("a number"),
            to,
            socket,
            id: meta.get_str("seqId").expect("a text").to_owned(),
            chunks,
            bus,
        }
    }

    /// A request for chunks that says where the answer is to go.
    fn retx(&self, id: &str, missing: Vec<Bson>, reply_to: SocketAddr) -> Message {
        let port = i32::from(reply_to.port());
        let payload = doc! { "payload": {
            "id": "00000000c0ffee00", "seqId": id, "missedSeq": missing,
            "host": reply_to.ip().to_string(), "port": port,
        } };
        Message::with_payload(self.group, "__ec_retx", craft::bytes_of(&payload))
            .set("host", reply_to.ip().to_string())
            .set("port", port)
            .set("inc", INCARNATION)
    }

    /// A request for numbers.
    fn nack(&self, first: i64, last: i64) -> Message {
        let argument = doc! {
            "id": self.bus.id(), "inc": self.incarnation, "missing": [[first, last]],
        };
        let payload = craft::bytes_of(&doc! { "payload": [argument] });
        Message::with_payload(self.group, "__ec_nack", payload).set("inc", INCARNATION)
    }

    fn send(&self, request: &Message) {
        let sent = self.socket.send_to(&request.bytes(), self.to);
        sent.expect("loopback takes it");
    }

    /// Sends requests that are taken as such, and waits until they have been.
    fn ask(&self, request: &Message, times: u64) {
        let received = || self.bus.stats().requests_received;
        let before = received();
        for _ in 0..times {
            self.send(request);
        }
        eventually("the requests are taken", || received() >= before + times);
    }

    /// Everything that came back for what was sent before this.
    fn answers(&self) -> Vec<Vec<u8>> {
        // What has just been emitted has not been asked for by anybody, and is answered last.
        let last = self.bus.emit_named("last", ()).expect("it runs").number;
        let last = last.expect("numbers are on") as i64;
        self.send(&self.nack(last, last));
        let is_last = |answer: &Vec<u8>| {
            let (meta, _) = craft::part(answer);
            meta.get_i64("n").is_ok_and(|number| number == last)
        };
        eventually("the last request is answered", || {
            self.came.all().iter().any(is_last)
        });
        let mut answers = self.came.take();
        let end = answers.iter().position(is_last);
        assert_eq!(end.map(|end| end + 1), Some(answers.len()), "in order");
        answers.pop();
        answers
    }

    /// The numbers of those chunks among the answers, which hold nothing else.
    fn indexes(&self, answers: &[Vec<u8>]) -> Vec<usize> {
        let index = |answer| self.chunks.iter().position(|chunk| chunk == answer);
        answers
            .iter()
            .map(|answer| index(answer).expect("the very bytes that were sent"))
            .collect()
    }
}

/// Reads on a thread of its own: the answer to one request may be more than the socket's buffer
/// holds.
fn read_all(socket: &UdpSocket, from: SocketAddr) -> Seen<Vec<u8>> {
    let came = Seen::new();
    let list = came.clone();
    let socket = socket.try_clone().expect("a second handle");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    // The system gives what it allows.
    let buffer = socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20);
    buffer.expect("a receive buffer");
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok((length, sender)) = socket.recv_from(&mut buffer) {
            assert_eq!(sender, from);
            // To an address alone goes, beside answers, only a hello with a token.
            if craft::name_of(&buffer[..length]) == "__ec_hello" {
                let hello = craft::part(&buffer[..length]).1;
                let hello = Document::from_reader(&hello[..]).expect("a document");
                let arguments = hello.get_array("payload").expect("arguments");
                let hello = arguments[0].as_document().expect("one");
                assert!(hello.get_i64("token").is_ok_and(|token| token >= 0));
                continue;
            }
            list.push(buffer[..length].to_vec());
        }
    });
    came
}

fn ch05_hostile_requests() {
    let group = Group::unused();
    let listener = bus(group);
    let good = count(&listener, "good");
    let asked = Asked::new(group, 50_000);
    assert_eq!(asked.chunks.len(), 50);
    let own = asked.socket.local_addr().expect("it is bound");
    let strange = vec![
        Bson::Int32(-1),
        Bson::Int32(49),
        Bson::Int32(999_999),
        Bson::Int64(1 << 40),
        Bson::String("x".to_owned()),
        Bson::Null,
    ];
    let own_id = asked.retx(&asked.id, vec![Bson::Int32(7)], own);
    let own_id = own_id
        .set("id", asked.bus.id().as_str())
        .set("inc", asked.incarnation);
    let unknown = "0123456789abcdef0123456789abcdef01234567";
    let mut rounds = 0;
    let mut still_speaks = || {
        rounds += 1;
        asked.bus.emit_named("good", ()).expect("it runs");
        good.wait_for(rounds);
    };
    for (what, request, expected, is_request) in [
        (
            "an unknown message",
            asked.retx(unknown, vec![Bson::Int32(0)], own),
            vec![],
            false,
        ),
        (
            "what is no number of a chunk",
            asked.retx(&asked.id, strange, own),
            vec![49],
            true,
        ),
        (
            "the same one many times",
            asked.retx(&asked.id, vec![Bson::Int32(3); 5_000], own),
            vec![3],
            true,
        ),
        ("nothing", asked.retx(&asked.id, vec![], own), vec![], true),
        ("in the bus's own name", own_id, vec![], false),
    ] {
        if is_request {
            asked.ask(&request, 1);
        } else {
            asked.send(&request);
        }
        let answers = asked.answers();
        assert_eq!(asked.indexes(&answers), expected, "{what}");
        still_speaks();
    }

    // A range of all numbers there could be: everything once, if it was not had just now, and no
    // more than that.
    asked.ask(&asked.nack(1, (1 << 32) - 2), 1);
    let answers = asked.answers();
    let mut wanted = Vec::new();
    let mut others = Vec::new();
    for answer in answers {
        match craft::name_of(&answer).as_str() {
            "wanted" => wanted.push(answer),
            "good" | "last" => others.push(answer),
            other => panic!("nobody asked for {other}"),
        }
    }
    assert!(others.len() <= 2 * 5, "{}", others.len());
    let mut indexes = asked.indexes(&wanted);
    let count = indexes.len();
    assert!((48..=50).contains(&count), "{count}");
    indexes.dedup();
    assert_eq!(indexes.len(), count, "each once");
    still_speaks();
    // Three for chunks of a message that there was, one for the range, and those of `answers`.
    assert_eq!(asked.bus.stats().requests_received, 3 + 1 + 6);
}

/// Case CH-06 (1).
fn ch06_cannon() {
    const TIMES: u64 = 100;
    let asked = Asked::new(Group::unused(), 1_000_000);
    let victim = UdpSocket::bind((INTERFACE, 0)).expect("a free port");
    victim.set_nonblocking(true).expect("it can be");
    let reply_to = victim.local_addr().expect("it is bound");
    let all = (0..asked.chunks.len() as i32).map(Bson::Int32).collect();
    let request = asked.retx(&asked.id, all, reply_to);

    asked.ask(&request, 1);
    let once = asked.indexes(&asked.answers());
    let first: Vec<_> = (0..64).collect();
    assert_eq!(once, first, "as many as a request may name");

    let start = Instant::now();
    for _ in 0..TIMES / 10 {
        asked.ask(&request, 10);
    }
    let mut copies = vec![0; asked.chunks.len()];
    for index in asked.indexes(&asked.answers()) {
        copies[index] += 1;
    }
    // Twice in 100 ms; where all of this has taken longer, once more for each 50 ms.
    let most = 2.max(1 + start.elapsed().as_millis() / 50);
    assert!(copies.iter().all(|copies| *copies <= most), "{copies:?}");
    assert!(copies[64..].iter().all(|copies| *copies == 0));
    let nothing = victim.recv(&mut [0; 65_536]);
    let nothing = nothing.expect_err("the victim has not asked").kind();
    assert_eq!(nothing, io::ErrorKind::WouldBlock);
    let stats = asked.bus.stats();
    assert!(stats.answers_duplicate >= TIMES, "{stats:?}");
}

/// A message of ten chunks, of which the last is kept back.
fn nine_of_ten(message: Message) -> Vec<Vec<u8>> {
    let length = 10 * 100 - message.bytes().len();
    let mut message = message;
    message.payload = craft::bytes_of(&doc! { "payload": ["t".repeat(length)] });
    let mut chunks = message.chunks(100);
    assert!((10..=11).contains(&chunks.len()), "{}", chunks.len());
    chunks.pop();
    chunks
}

/// The requests that came to this socket, and when they were sent by the clock of who sent them, in
/// milliseconds.
fn requests(socket: &UdpSocket) -> Vec<(Document, i64)> {
    socket.set_nonblocking(true).expect("it can be");
    let mut requests = Vec::new();
    let mut buffer = [0; 65_536];
    while let Ok(length) = socket.recv(&mut buffer) {
        let (meta, payload) = craft::part(&buffer[..length]);
        assert_eq!(craft::name_of(&buffer[..length]), "__ec_retx");
        let time = meta.get_str("time").expect("a text");
        let time = DateTime::parse_rfc3339_str(time).expect("ISO 8601");
        let payload = Document::from_reader(&payload[..]).expect("a document");
        let request = payload.get_document("payload").expect("not in an array");
        requests.push((request.clone(), time.timestamp_millis()));
    }
    requests
}

/// What a bus gives up: the message, from which port it came, and why.
fn expired(bus: &Bus) -> Seen<(String, u16, ExpiredReason, bool)> {
    let told = Seen::new();
    let list = told.clone();
    bus.on_notice(move |notice: &Notice| {
        if let Notice::Expired {
            message_id,
            from,
            reason,
            unicast_heard,
            ..
        } = notice
        {
            let text = notice.to_string();
            let is_silent = *reason == ExpiredReason::Silent;
            let hint = "a firewall probably lets none through, so set `unicast_port` on both buses";
            assert_eq!(text.contains(hint), is_silent && !unicast_heard, "{text}");
            list.push((message_id.to_string(), from.port(), *reason, *unicast_heard));
        }
    });
    told
}

/// Nine of ten chunks, and then silence: from a bus and from an old peer.
fn ch08_giving_up() {
    for (first_pause, is_old) in [(50, false), (500, true)] {
        let group = Group::unused();
        let b = started(gives_up_soon(group));
        let told = expired(&b);
        let socket = tap::sender();
        let mut message = Message::event(group, "x", vec![]);
        if !is_old {
            message = message.set("inc", INCARNATION).set("n", 1_i64);
        }
        let chunks = nine_of_ten(message);
        let (meta, _) = craft::part(&chunks[0]);
        let id = meta.get_str("seqId").expect("a text");
        for chunk in &chunks {
            let sent = socket.send_to(chunk, group.to_address());
            sent.expect("loopback takes it");
        }
        let port = socket.local_addr().expect("it is bound").port();
        // It comes by multicast alone: nothing unicast has come from there.
        let silent = ExpiredReason::Silent;
        assert_eq!(told.wait_for(1), [(id.to_owned(), port, silent, false)]);
        let stats = b.stats();
        assert_eq!((stats.messages_incomplete, stats.held_bytes), (0, 0));
        assert_eq!(stats.events_lost, u64::from(!is_old));

        // Another message of the same sender comes, and nothing more is asked for or told.
        let tap = Tap::join(group);
        fence(&tap, &b, group);
        assert_eq!(told.len(), 1);
        let requests = requests(&socket);
        assert_eq!(requests.len(), 3, "{requests:?}");
        for (request, _) in &requests {
            assert_eq!(request.get_str("seqId").expect("a text"), id);
            let missing = request.get_array("missedSeq").expect("a list");
            assert_eq!(*missing, [Bson::Int32(chunks.len() as i32)]);
        }
        // The sender's own clock says when, to the millisecond below.
        let pauses: Vec<_> = requests.windows(2).map(|two| two[1].1 - two[0].1).collect();
        assert!(
            pauses[0] >= first_pause - 1 && pauses[1] >= 2 * first_pause - 1,
            "{pauses:?}"
        );
    }
}

/// Memory is as before when all are given up.
fn ch08_ten_thousand() {
    const MESSAGES: usize = 10_000;
    let group = Group::unused();
    let (b, tap) = (started(gives_up_soon(group)), Tap::join(group));
    // All alike but for their `seqId`, and so many that each is not made anew.
    let mut chunks = nine_of_ten(Message::event(group, "x", vec![]));
    let (meta, _) = craft::part(&chunks[0]);
    let id = meta.get_str("seqId").expect("a text").as_bytes();
    let place = chunks[0].windows(id.len()).position(|window| window == id);
    let place = place.expect("it is in there");
    let mut give_up = |count: usize| {
        let all = (0..count).flat_map(|_| {
            let id = craft::new_id();
            for chunk in &mut chunks {
                chunk[place..place + id.len()].copy_from_slice(id.as_bytes());
            }
            chunks.clone()
        });
        send_paced(&tap, &b, all);
        eventually("all are given up", || b.stats().messages_incomplete == 0);
    };
    // What is there once and for all is there after some of them.
    give_up(2_000);
    let before = memory_in_use();
    give_up(MESSAGES);
    let grown = memory_in_use().saturating_sub(before);
    assert!(grown < 5 << 20, "memory grew by {grown} bytes");
    let stats = b.stats();
    assert_eq!(stats.held_bytes, 0);
    // Some have had to make room for those that came after them.
    let over = stats.messages_expired + stats.dropped_for(DropCause::Crowded);
    assert_eq!(over as usize, MESSAGES + 2_000);
    fence(&tap, &b, group);
}

/// A chunk now and then, for ever.
fn ch08_a_chunk_now_and_then() {
    let group = Group::unused();
    let b = started(gives_up_soon(group));
    let told = expired(&b);
    let tap = Tap::join(group);
    let chunks = Message::event(group, "x", vec!["t".repeat(50_000).into()]).chunks(64);
    let mut sent = 0;
    for chunk in &chunks[1..] {
        tap.send(chunk);
        sent += 1;
        if !told.is_empty() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let (_, _, reason, _) = told.wait_for(1)[0].clone();
    assert_eq!(reason, ExpiredReason::Overdue);
    assert!(sent < chunks.len() - 1, "it was not ended");
    // What else of it comes opens nothing.
    send_paced(&tap, &b, &chunks[sent..]);
    fence(&tap, &b, group);
    assert_eq!(b.stats().messages_incomplete, 0);
    assert_eq!(told.len(), 1);
}

/// Nine of ten chunks have come. Somebody else says that the rest cannot be had any more, and then
/// the sender does.
fn only_the_sender_can_end_a_message_as_gone() {
    let group = Group::unused();
    let b = started(builder(group).message_ttl(Duration::from_secs(60)));
    let lost = Seen::new();
    let list = lost.clone();
    b.on_notice(move |notice: &Notice| match notice {
        Notice::Lost {
            first,
            last,
            count,
            reason,
            ..
        } => list.push((*first, *last, *count, *reason)),
        Notice::Expired { .. } => panic!("told in another way: {notice}"),
        _ => {}
    });
    let (sender, other) = (tap::sender(), tap::sender());
    let numbered = |message: Message| message.set("inc", INCARNATION);
    let message = numbered(Message::event(group, "x", vec![])).set("n", 1_i64);
    for chunk in nine_of_ten(message) {
        let sent = sender.send_to(&chunk, group.to_address());
        sent.expect("loopback takes it");
    }
    sender.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let mut buffer = vec![0; 65_536];
    let (length, _) = sender
        .recv_from(&mut buffer)
        .expect("the rest is asked for");
    assert_eq!(craft::name_of(&buffer[..length]), "__ec_retx");

    let to = b.unicast_address().expect("it runs");
    let gone = doc! { "inc": INCARNATION, "missing": [[1_i64, 1_i64]] };
    let payload = craft::bytes_of(&doc! { "payload": [gone] });
    let gone = || {
        let message = Message::with_payload(group, "__ec_gone", payload.clone());
        numbered(message).bytes()
    };
    let sent = other.send_to(&gone(), to);
    sent.expect("loopback takes it");
    eventually("it is refused", || {
        b.stats().dropped_for(DropCause::Unsolicited) == 1
    });
    assert_eq!((lost.len(), b.stats().messages_incomplete), (0, 1));

    let sent = sender.send_to(&gone(), to);
    sent.expect("loopback takes it");
    assert_eq!(lost.wait_for(1), [(1, 1, 1, LostReason::Gone)]);
    let stats = b.stats();
    assert_eq!((stats.messages_incomplete, stats.held_bytes), (0, 0));
    assert_eq!((stats.events_lost, stats.messages_expired), (1, 0));
}
