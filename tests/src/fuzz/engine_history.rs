//! An engine that strangers tell long histories of claims: numbers up to the highest one that there
//! is, several incarnations, words that contradict each other, and time that jumps.

use std::{collections::HashMap, time::Duration};

use bson::{Binary, Bson, Document, doc, spec::BinarySubtype};
use eventcast::proto::{Engine, Event, Events, Now, Outgoing, Refusal};

use super::{ALL_OVER, INCARNATION, MAX_INPUT, address, at, check_bounds, new_engine};
use crate::craft;

const SUBJECT_ID: &str = "feedfacefeedface";
const SUBJECT: u16 = 9001;

/// Longer histories say nothing new.
const MAX_STEPS: usize = 2_000;

/// Who speaks: the last one has the subject's id.
const IDS: [&str; 3] = ["0123456789abcdef", "another", SUBJECT_ID];

const INCARNATIONS: [i64; 6] = [1, 2, 3, INCARNATION as i64, i64::MAX - 1, i64::MAX];

/// Numbers at which something may go over an end.
const NUMBERS: [i64; 24] = [
    0,
    1,
    2,
    3,
    64,
    4_096,
    32_768,
    65_535,
    65_536,
    65_537,
    131_073,
    i32::MAX as i64,
    1 << 32,
    (1 << 53) - 1,
    1 << 53,
    1 << 61,
    1 << 62,
    (1 << 62) + 1,
    i64::MAX - 65_537,
    i64::MAX - 65_536,
    i64::MAX - 2,
    i64::MAX - 1,
    i64::MAX,
    -1,
];

const TIMES: [&str; 5] = [
    "2026-11-25T05:43:43.172Z",
    "0000-01-01T00:00:00.000Z",
    "1970-01-01T00:00:00.001Z",
    "9999-12-31T23:59:59.999Z",
    "no time",
];

/// In milliseconds.
const PAUSES: [u64; 12] = [
    0, 1, 3, 20, 50, 200, 500, 1_500, 5_000, 10_000, 61_000, 86_400_000,
];

/// Most reports that one step causes.
const MAX_REPORTS: usize = 600;

/// Runs a history: each byte says what happens next, and takes the bytes that it needs from those
/// that follow.
///
/// Whatever is claimed, nothing overflows, the subject holds no more than it may, what it delivers
/// of a sender ascends unless the sender says that it has not sent so much, it reports exactly as
/// many numbers as lost as it counts, and says of nobody twice that it has come. In the end it
/// holds nothing, and hears a good message.
pub fn engine_history(bytes: &[u8]) {
    if bytes.len() > MAX_INPUT {
        return;
    }
    let mut world = World::new();
    let mut script = Script { bytes, last: 1 };
    for _ in 0..MAX_STEPS {
        let Some(step) = script.next() else { break };
        world.step(step, &mut script);
        world.look();
    }
    world.finish();
}

struct Script<'a> {
    bytes: &'a [u8],
    /// The last number that somebody named.
    last: i64,
}

impl Script<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(first)
    }

    fn byte(&mut self) -> usize {
        self.next().unwrap_or(0).into()
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.byte() % list.len()]
    }

    /// One that is told above, or one near the last one.
    fn number(&mut self) -> i64 {
        let which = self.byte();
        self.last = if which < 128 {
            NUMBERS[which % NUMBERS.len()]
        } else {
            self.last.saturating_add(which as i64 - 128 - 8)
        };
        self.last
    }

    fn ranges(&mut self) -> Vec<Bson> {
        let count = self.byte() % 5;
        (0..count)
            .map(|_| {
                let (from, to) = (self.number(), self.number());
                Bson::Array(vec![from.into(), to.into()])
            })
            .collect()
    }
}

struct World {
    now: Now,
    subject: Engine,
    events: Events,
    buf: Vec<u8>,
    made: u64,
    own: Vec<Vec<u8>>,
    /// The last number that was delivered of each incarnation, or the lower one that a hello of it
    /// has named since: what its sender has not sent may come again.
    delivered: HashMap<(String, Option<u64>), u64>,
    /// Who sent the datagram that was made last.
    sender: (String, Option<u64>),
    /// Who was told as being there.
    there: HashMap<(String, Option<u64>), bool>,
    /// What was told as lost.
    lost: u128,
    /// More was counted as lost than can be counted.
    saturated: bool,
    left: bool,
}

impl World {
    fn new() -> Self {
        Self {
            now: at(Duration::from_secs(30)),
            subject: new_engine(SUBJECT_ID, SUBJECT),
            events: Events::new(),
            buf: Vec::new(),
            made: 0,
            own: Vec::new(),
            delivered: HashMap::new(),
            sender: (String::new(), None),
            there: HashMap::new(),
            lost: 0,
            saturated: false,
            left: false,
        }
    }

    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        match step % 16 {
            0..=2 => self.event(script, 1),
            3 | 4 => self.hello(script),
            5 => self.bye(script),
            6 => self.gone(script),
            7 => self.nack(script),
            8 => self.again(script),
            9 => self.retx(script),
            10 => self.event(script, 3),
            11 | 12 => self.wait(Duration::from_millis(script.one_of(&PAUSES))),
            13 => self.emit(script.byte() * 8),
            14 => self.hear(script),
            _ => self.many(script),
        }
    }

    /// A datagram as one of those who speak sends it.
    fn make(
        &mut self,
        script: &mut Script<'_>,
        (name, number, chunks): (&str, Option<i64>, i32),
        payload: impl FnOnce(&mut Script<'_>, i64) -> Document,
    ) -> (u16, Vec<u8>) {
        self.made += 1;
        let id = script.one_of(&IDS);
        let incarnation = script.one_of(&INCARNATIONS);
        self.sender = (id.to_owned(), u64::try_from(incarnation).ok());
        let port = 9_100 + (script.byte() % 4) as u16;
        let seq = (self.made as i32 % 2) * (chunks - 1).min(1);
        let mut meta = doc! {
            "v": 3,
            "seq": seq,
            "seqLen": chunks,
            "seqId": format!("{:040x}", self.made / chunks as u64),
            "seqEnd": seq + 1 == chunks,
            "enc": false,
            "name": name,
            "host": "127.0.0.1",
            "port": i32::from(port),
            "hostname": "crafted",
            "id": id,
            "time": script.one_of(&TIMES),
            "inc": incarnation,
        };
        if let Some(number) = number {
            meta.insert("n", number);
        }
        let payload = payload(script, incarnation);
        (
            port,
            craft::join(&craft::bytes_of(&meta), &craft::bytes_of(&payload)),
        )
    }

    fn hand_in(&mut self, (port, bytes): (u16, Vec<u8>)) {
        self.subject
            .handle_datagram(self.now, address(port), &bytes);
    }

    fn event(&mut self, script: &mut Script<'_>, chunks: i32) {
        let number = script.number();
        let datagram = self.make(
            script,
            ("e", Some(number), chunks),
            |_, _| doc! { "payload": [] },
        );
        self.hand_in(datagram);
    }

    fn hello(&mut self, script: &mut Script<'_>) {
        let mut named = 0;
        let datagram = self.make(script, ("__ec_hello", None, 1), |script, inc| {
            let (last, first, up) = (script.number(), script.number(), script.number());
            named = last;
            let hello = doc! {
                "inc": inc, "last": last, "first": first.clamp(1, last.max(0).saturating_add(1)), "up": up,
                "ver": "x", "can": [],
            };
            doc! { "payload": [hello] }
        });
        self.name_last(named);
        self.hand_in(datagram);
    }

    /// The sender of the datagram that was made last says that this is the last number that it has
    /// sent.
    fn name_last(&mut self, last: i64) {
        if let Some(delivered) = self.delivered.get_mut(&self.sender) {
            *delivered = u64::try_from(last).unwrap_or(0).min(*delivered);
        }
    }

    fn bye(&mut self, script: &mut Script<'_>) {
        let datagram = self.make(script, ("__ec_bye", None, 1), |script, inc| {
            doc! { "payload": [{ "inc": inc, "last": script.number() }] }
        });
        self.hand_in(datagram);
    }

    fn gone(&mut self, script: &mut Script<'_>) {
        let datagram = self.make(script, ("__ec_gone", None, 1), |script, inc| {
            doc! { "payload": [{ "inc": inc, "missing": script.ranges() }] }
        });
        self.hand_in(datagram);
    }

    fn nack(&mut self, script: &mut Script<'_>) {
        let datagram = self.make(script, ("__ec_nack", None, 1), |script, _| {
            let asked =
                doc! { "id": SUBJECT_ID, "inc": INCARNATION as i64, "missing": script.ranges() };
            doc! { "payload": [asked] }
        });
        self.hand_in(datagram);
    }

    fn again(&mut self, script: &mut Script<'_>) {
        let number = script.number();
        let (_, inner) = self.make(
            script,
            ("e", Some(number), 1),
            |_, _| doc! { "payload": [] },
        );
        let datagram = self.make(script, ("__ec_again", None, 1), |_, _| {
            let binary = Binary {
                subtype: BinarySubtype::Generic,
                bytes: inner,
            };
            doc! { "payload": [binary] }
        });
        self.hand_in(datagram);
    }

    fn retx(&mut self, script: &mut Script<'_>) {
        let own = self
            .own
            .len()
            .checked_sub(1 + script.byte() % self.own.len().max(1));
        let seq_id = own.map(|own| craft::part(&self.own[own]).0);
        let seq_id = seq_id.and_then(|meta| Some(meta.get_str("seqId").ok()?.to_owned()));
        let datagram = self.make(script, ("__ec_retx", None, 1), |script, _| {
            let missing = [script.number(), script.number(), 0, 1];
            doc! { "payload": {
                "id": "x", "seqId": seq_id.unwrap_or_default(), "missedSeq": missing.to_vec(),
                "host": "127.0.0.1", "port": 1,
            } }
        });
        self.hand_in(datagram);
    }

    /// Ever higher numbers, as hellos or as events with gaps between them.
    fn many(&mut self, script: &mut Script<'_>) {
        let (count, step, claims) = (
            script.byte(),
            script.byte() as i64 % 8,
            script.byte().is_multiple_of(2),
        );
        for _ in 0..count {
            let last = script.last.saturating_add(step).max(1);
            script.last = last;
            let mut one = Script {
                bytes: &[0, 1, 2, 0],
                last,
            };
            let datagram = if claims {
                let hello = self.make(&mut one, ("__ec_hello", None, 1), |_, inc| {
                    let hello = doc! {
                        "inc": inc, "last": last, "first": 1_i64, "up": 5_i64, "ver": "x", "can": [],
                    };
                    doc! { "payload": [hello] }
                });
                self.name_last(last);
                hello
            } else {
                self.make(
                    &mut one,
                    ("e", Some(last), 1),
                    |_, _| doc! { "payload": [] },
                )
            };
            self.hand_in(datagram);
        }
    }

    fn emit(&mut self, length: usize) {
        if self.left {
            return;
        }
        let outgoing = Outgoing {
            key: "own",
            payload: &craft::bytes_of(&doc! { "payload": ["x".repeat(length)] }),
            schema: None,
            best_effort: length % 64 == 8,
        };
        match self.subject.emit(self.now, outgoing) {
            Ok(_) | Err(Refusal::QueueFull { .. }) => {}
            Err(refusal) => panic!("{refusal}"),
        }
    }

    /// The subject hears itself, or takes its leave.
    fn hear(&mut self, script: &mut Script<'_>) {
        let which = script.byte();
        if which == 255 {
            self.left = true;
            self.subject.leave(self.now);
        } else if let Some(bytes) = self.own.iter().rev().nth(which) {
            self.subject
                .handle_datagram(self.now, address(9_103), bytes);
        }
    }

    fn wait(&mut self, pause: Duration) {
        self.now = at(self.now.elapsed + pause);
        let mut calls = 0;
        while self
            .subject
            .poll_timeout()
            .is_some_and(|timeout| timeout <= self.now.elapsed)
        {
            self.subject.handle_timeout(self.now);
            calls += 1;
            assert!(calls < super::MAX_CALLS_AT_ONCE, "time stands still");
        }
    }

    /// What there is to send and to tell.
    fn look(&mut self) {
        while let Some(transmit) = self.subject.poll_transmit(self.now, &mut self.buf) {
            let size = transmit.segment_size.unwrap_or(self.buf.len()).max(1);
            self.own.extend(self.buf.chunks(size).map(<[u8]>::to_vec));
        }
        let surplus = self.own.len().saturating_sub(256);
        self.own.drain(..surplus);
        check_bounds(&self.subject);
        self.take_events();
    }

    fn take_events(&mut self) {
        self.saturated |= self.subject.stats().lost_messages == u64::MAX;
        let mut events = std::mem::take(&mut self.events);
        self.subject.take_events(&mut events);
        let mut reports = 0;
        for event in events.iter() {
            assert!(!format!("{event:?}").is_empty());
            reports += usize::from(!matches!(event, Event::Message(_)));
            match event {
                Event::Message(message) => {
                    let who = (message.peer.id.clone(), message.peer.incarnation);
                    let Some(number) = message.number else {
                        continue;
                    };
                    let before = self.delivered.insert(who, number);
                    assert!(before < Some(number), "{before:?}, then {number}");
                }
                Event::Lost(lost) => {
                    self.lost += u128::from(lost.count);
                    assert!(lost.first <= lost.last && lost.count > 0, "{lost:?}");
                }
                Event::Expired(expired) => self.lost += u128::from(expired.number.is_some()),
                Event::PeerJoined { peer } => self.tell(&peer.id, peer.incarnation, true),
                Event::PeerLeft { peer, .. } => self.tell(&peer.id, peer.incarnation, false),
                _ => {}
            }
        }
        self.events = events;
        assert!(reports <= MAX_REPORTS, "{reports} reports at once");
    }

    fn tell(&mut self, id: &str, incarnation: Option<u64>, there: bool) {
        let before = self.there.insert((id.to_owned(), incarnation), there);
        let before = before.unwrap_or(false);
        assert_ne!(before, there, "{id} {incarnation:?} is told twice");
    }

    fn finish(mut self) {
        let step = Duration::from_millis(250);
        for _ in 0..2 * ALL_OVER.as_millis() / step.as_millis() {
            self.wait(step);
            self.look();
        }
        self.subject.leave(self.now);
        self.look();
        let stats = self.subject.stats();
        assert_eq!(stats.held_bytes, 0, "{stats:?}");
        if !self.saturated {
            assert_eq!(u128::from(stats.lost_messages), self.lost, "{stats:?}");
        }
        let good = doc! {
            "v": 3, "seq": 0, "seqLen": 1, "seqId": "ab".repeat(20), "seqEnd": true, "enc": false, "name": "good",
            "host": "127.0.0.1", "port": 9, "hostname": "friend", "id": "friend", "time": TIMES[0],
        };
        let good = craft::join(
            &craft::bytes_of(&good),
            &craft::bytes_of(&doc! { "payload": [] }),
        );
        self.subject
            .handle_datagram(self.now, address(9_200), &good);
        let heard = super::take_messages(&mut self.subject, &mut self.events);
        assert_eq!(heard.len(), 1, "{heard:?}");
    }
}
