//! An engine, a peer and strangers, and in a sealed group a member that breaks the rules, driven by
//! a script of bytes.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use bson::{Bson, doc};
use eventcast::proto::{Destination, Engine, Events, Now, Outgoing, Refusal};

use super::{
    ALL_OVER, MAX_INPUT, MESSAGE_TTL, address, at, check_bounds,
    insider::{INSIDER, INSIDER_ID, Insider},
    new_engine, new_sealed_engine, run_until, take_messages,
};
use crate::craft;

const SUBJECT: u16 = 9001;
const PEER: u16 = 9002;

const SUBJECT_ID: &str = "feedfacefeedface";
const PEER_ID: &str = "0123456789abcdef";

/// Ports of strangers.
const STRANGERS: u16 = 9100;

/// A message is remembered for three `message_ttl`; copies come sooner.
const COPIES_WITHIN: Duration = MESSAGE_TTL.saturating_mul(2);

/// Longer scripts say nothing new.
const MAX_STEPS: usize = 512;

/// How many datagrams are kept on their way, and for copies.
const MAX_KEPT: usize = 256;

/// Runs a script: each byte says what happens next, and takes the bytes that it needs from those
/// that follow.
///
/// Whatever happens, the subject holds no more than it may, its timeouts move on, and of what the
/// peer sent nothing is delivered twice or changed. In the end the subject holds nothing, and hears
/// a good message.
pub fn engine(bytes: &[u8]) {
    run(bytes, None);
}

/// The same with a key: nothing that a stranger sends is delivered, and nothing but what was
/// sealed. A member of the group breaks the rules from within.
///
/// Beside what holds of a clear one, whatever names the peer as its sender is the peer's.
pub fn sealed_engine(bytes: &[u8]) {
    run(bytes, Some(Insider::new()));
}

fn run(bytes: &[u8], insider: Option<Insider>) {
    if bytes.len() > MAX_INPUT {
        return;
    }
    let mut script = Script { bytes };
    let mut world = World::new(insider);
    for _ in 0..MAX_STEPS {
        let Some(step) = script.next() else { break };
        world.step(step, &mut script);
    }
    world.finish();
}

pub(super) struct Script<'a> {
    bytes: &'a [u8],
}

impl<'a> Script<'a> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(first)
    }

    /// A number, or 0 at the end of the script.
    pub(super) fn number(&mut self) -> usize {
        self.next().unwrap_or(0).into()
    }

    pub(super) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(count.min(self.bytes.len()));
        self.bytes = rest;
        taken
    }

    /// Changes up to three bytes.
    pub(super) fn change(&mut self, bytes: &mut [u8]) {
        for _ in 0..self.number() % 4 {
            let at = self.number() | self.number() << 8;
            let with = self.next().unwrap_or(0);
            if !bytes.is_empty() {
                let at = at % bytes.len();
                bytes[at] = with;
            }
        }
    }
}

/// A datagram that the peer sent.
struct Sent {
    bytes: Vec<u8>,
    /// When the subject had it first.
    first_had: Option<Duration>,
}

struct World {
    now: Now,
    subject: Engine,
    peer: Engine,
    /// Only in a sealed group.
    insider: Option<Insider>,
    events: Events,
    buf: Vec<u8>,
    /// What the peer sent and the subject has not had, in order.
    on_the_way: VecDeque<usize>,
    sent: Vec<Sent>,
    /// What the subject sent last.
    own: VecDeque<Vec<u8>>,
    emitted: i32,
    /// The arguments of what the peer emitted, by their number, and how often they were delivered.
    expected: HashMap<i32, (Vec<u8>, u32)>,
}

impl World {
    fn new(insider: Option<Insider>) -> Self {
        let new = maker(insider.is_some());
        Self {
            now: at(Duration::from_secs(30)),
            subject: new(SUBJECT_ID, SUBJECT),
            peer: new(PEER_ID, PEER),
            insider,
            events: Events::new(),
            buf: Vec::new(),
            on_the_way: VecDeque::new(),
            sent: Vec::new(),
            own: VecDeque::new(),
            emitted: 0,
            expected: HashMap::new(),
        }
    }

    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        let steps = if self.insider.is_some() { 17 } else { 14 };
        match step % steps {
            0 => self.emit(true, script.number() / 4),
            1 => self.emit(false, script.number() / 4),
            2 => self.emit(true, script.number() * 8),
            3 => self.emit(false, script.number() * 8),
            4 => self.arrive(0),
            5 => self.arrive(script.number()),
            6 => self.lose(script.number()),
            7 => self.copy(script.number()),
            8 => self.forge(script),
            9 => {
                let length = script.number() * 2;
                let from = address(STRANGERS + length as u16 % 8);
                let bytes = script.take(length).to_vec();
                self.hand_in(from, &bytes);
            }
            10 => self.pass_on(script.number()),
            11 => self.echo(script.number()),
            12 => self.wait(Duration::from_millis(script.number() as u64)),
            13 => self.wait(Duration::from_millis(16 * script.number() as u64)),
            14 => self.emit_inside(script.number() * 4),
            _ => self.forge_inside(script),
        }
        self.settle();
    }

    /// An event with a number that no other has.
    fn emit(&mut self, by_peer: bool, length: usize) {
        self.emitted += 1;
        let arguments = vec![Bson::Int32(self.emitted), Bson::String("x".repeat(length))];
        let payload = craft::bytes_of(&doc! { "payload": arguments });
        let engine = if by_peer {
            &mut self.peer
        } else {
            &mut self.subject
        };
        let outgoing = Outgoing {
            key: "numbered",
            payload: &payload,
            schema: None,
            best_effort: self.emitted % 8 == 7,
        };
        match engine.emit(self.now, outgoing) {
            Ok(_) if by_peer => {
                let array = payload[13..payload.len() - 1].to_vec();
                self.expected.insert(self.emitted, (array, 0));
            }
            Ok(_) | Err(Refusal::QueueFull { .. }) => {}
            Err(refusal) => panic!("{refusal}"),
        }
    }

    /// Sends what both have to send, and checks what the subject tells.
    fn settle(&mut self) {
        while let Some(transmit) = self.peer.poll_transmit(self.now, &mut self.buf) {
            for datagram in split(&self.buf, transmit.segment_size) {
                if transmit.to == Destination::Group
                    || transmit.to == Destination::Peer(address(SUBJECT))
                {
                    self.on_the_way.push_back(self.sent.len());
                    self.sent.push(Sent {
                        bytes: datagram.to_vec(),
                        first_had: None,
                    });
                }
            }
        }
        while let Some(transmit) = self.subject.poll_transmit(self.now, &mut self.buf) {
            for datagram in split(&self.buf, transmit.segment_size) {
                self.own.push_back(datagram.to_vec());
            }
        }
        if let Some(insider) = &mut self.insider {
            while let Some(transmit) = insider.engine.poll_transmit(self.now, &mut self.buf) {
                for datagram in split(&self.buf, transmit.segment_size) {
                    insider.keep(datagram);
                }
            }
        }
        while self.own.len() > MAX_KEPT {
            self.own.pop_front();
        }
        while self.on_the_way.len() > MAX_KEPT {
            self.on_the_way.pop_front();
        }
        self.check_messages();
        check_bounds(&self.subject);
        self.peer.take_events(&mut self.events);
    }

    fn check_messages(&mut self) {
        for message in take_messages(&mut self.subject, &mut self.events) {
            match &self.insider {
                // A stranger can say what it likes, also in the peer's words.
                None if message.from != address(PEER) => continue,
                Some(_) if message.id == INSIDER_ID => continue,
                Some(_) => assert_eq!(message.id, PEER_ID, "nobody else has sealed anything"),
                None => {}
            }
            let number = message.args.get(7..11).expect("the first argument");
            let number = i32::from_le_bytes(number.try_into().expect("four bytes"));
            let (args, count) = self
                .expected
                .get_mut(&number)
                .expect("the peer emitted what is delivered");
            assert_eq!(*args, message.args, "number {number}");
            *count += 1;
            assert_eq!(*count, 1, "number {number} was delivered twice");
        }
    }

    /// The `skip`-th datagram on its way arrives.
    fn arrive(&mut self, skip: usize) {
        if self.on_the_way.is_empty() {
            return;
        }
        let index = self.on_the_way.remove(skip % self.on_the_way.len());
        let sent = &mut self.sent[index.expect("it is one of them")];
        sent.first_had = Some(self.now.elapsed);
        self.subject
            .handle_datagram(self.now, address(PEER), &sent.bytes);
    }

    fn lose(&mut self, skip: usize) {
        if !self.on_the_way.is_empty() {
            self.on_the_way.remove(skip % self.on_the_way.len());
        }
    }

    /// A datagram that has arrived arrives again.
    fn copy(&mut self, back: usize) {
        let Some(index) = self.recent(back) else {
            return;
        };
        let sent = &self.sent[index];
        if sent
            .first_had
            .is_some_and(|had| self.now.elapsed <= had + COPIES_WITHIN)
        {
            self.subject
                .handle_datagram(self.now, address(PEER), &sent.bytes);
        }
    }

    /// A stranger changes something that the peer or the subject sent, and sends it to the subject.
    fn forge(&mut self, script: &mut Script<'_>) {
        let which = script.number();
        let from = address(STRANGERS + (which as u16 % 4));
        let mut bytes = if which >= 128 {
            self.own.iter().rev().nth(which % 32).cloned()
        } else {
            self.recent(which / 4)
                .map(|index| self.sent[index].bytes.clone())
        }
        .unwrap_or_default();
        script.change(&mut bytes);
        self.hand_in(from, &bytes);
    }

    fn hand_in(&mut self, from: SocketAddr, bytes: &[u8]) {
        let before = self.subject.stats();
        self.subject.handle_datagram(self.now, from, bytes);
        let after = self.subject.stats();
        assert_eq!(after.received_datagrams, before.received_datagrams + 1);
    }

    /// The peer hears what the subject said.
    fn pass_on(&mut self, back: usize) {
        if let Some(bytes) = self.own.iter().rev().nth(back) {
            self.peer.handle_datagram(self.now, address(SUBJECT), bytes);
        }
    }

    /// A member of the group emits something to be sealed again.
    fn emit_inside(&mut self, length: usize) {
        let Some(insider) = &mut self.insider else {
            return;
        };
        let text = Bson::String("y".repeat(length));
        let outgoing = Outgoing {
            key: "inside",
            payload: &craft::bytes_of(&doc! { "payload": [text] }),
            schema: None,
            best_effort: length % 8 == 4,
        };
        match insider.engine.emit(self.now, outgoing) {
            Ok(_) | Err(Refusal::QueueFull { .. }) => {}
            Err(refusal) => panic!("{refusal}"),
        }
    }

    /// A member of the group changes something that it, the peer or the subject sent, and seals it
    /// as it likes.
    fn forge_inside(&mut self, script: &mut Script<'_>) {
        let which = script.number();
        let other = if which >= 128 {
            self.own.iter().rev().nth(which % 32)
        } else {
            self.recent(which / 4).map(|index| &self.sent[index].bytes)
        };
        let from = if which % 4 == 3 { STRANGERS } else { INSIDER };
        let Some(insider) = &mut self.insider else {
            return;
        };
        let bytes = insider.forge(self.now, SUBJECT_ID, other.map(Vec::as_slice), script);
        self.hand_in(address(from), &bytes);
    }

    /// The subject hears itself.
    fn echo(&mut self, back: usize) {
        if let Some(bytes) = self.own.iter().rev().nth(back) {
            self.subject
                .handle_datagram(self.now, address(SUBJECT), bytes);
        }
    }

    fn wait(&mut self, pause: Duration) {
        self.now = at(self.now.elapsed + pause);
        let insider = self.insider.as_mut().map(|insider| &mut insider.engine);
        for engine in [&mut self.subject, &mut self.peer]
            .into_iter()
            .chain(insider)
        {
            let mut calls = 0;
            while engine
                .poll_timeout()
                .is_some_and(|timeout| timeout <= self.now.elapsed)
            {
                engine.handle_timeout(self.now);
                calls += 1;
                assert!(calls < super::MAX_CALLS_AT_ONCE, "time stands still");
            }
        }
    }

    fn recent(&self, back: usize) -> Option<usize> {
        self.sent.len().checked_sub(1 + back % MAX_KEPT)
    }

    fn finish(mut self) {
        let end = self.now.elapsed + ALL_OVER;
        // A box and what is around it are less than the shortest datagram.
        let is_sealed = self.insider.is_some();
        let grow = u64::from(is_sealed) * self.subject.stats().queued_bytes as u64;
        run_until(&mut self.subject, &mut self.events, (self.now, end), grow);
        assert_eq!(self.subject.stats().held_bytes, 0);
        let new = maker(self.insider.is_some());
        let mut friend = new("ffffffffffffffff", 9003);
        let outgoing = Outgoing {
            key: "last",
            payload: &craft::bytes_of(&doc! { "payload": [] }),
            schema: None,
            best_effort: false,
        };
        let now = at(end);
        friend.emit(now, outgoing).expect("there is room");
        while let Some(transmit) = friend.poll_transmit(now, &mut self.buf) {
            for datagram in split(&self.buf, transmit.segment_size) {
                // What the insider seals is good, where what is in it is.
                let resealed = self.insider.as_mut().map(|insider| {
                    let content = insider.open(datagram);
                    insider.reseal(&content)
                });
                let datagram = resealed.as_deref().unwrap_or(datagram);
                self.subject.handle_datagram(now, address(9003), datagram);
            }
        }
        let heard = take_messages(&mut self.subject, &mut self.events);
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert_eq!(heard[0].name, "last");
    }
}

/// What makes engines for a group that is sealed or is not.
fn maker(sealed: bool) -> fn(&str, u16) -> Engine {
    if sealed {
        new_sealed_engine
    } else {
        new_engine
    }
}

fn split(bytes: &[u8], segment_size: Option<usize>) -> impl Iterator<Item = &[u8]> {
    bytes.chunks(segment_size.unwrap_or(bytes.len()).max(1))
}
