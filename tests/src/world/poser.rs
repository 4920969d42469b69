//! Somebody who speaks in others' names, from addresses of its own.

use std::{collections::HashMap, net::SocketAddr};

use bson::{Bson, Document, doc};

use super::{
    attacker::{Attacker, Injection, Victim, own_address},
    history::{Life, MessageKey},
    payload,
    random::Random,
};
use crate::{
    craft,
    seal::{self, Content, Key},
};

/// Whom its own events name as their sender: nobody.
pub(super) const NOBODY: Life = Life::MAX;

/// How many ports and ids there are in a throng of newcomers: together more than a bus follows. In
/// a sealed group fewer than it keeps the counters of, so that what it knows of its members stays.
const THRONG: (u64, u64) = (64, 66);
const SEALED_THRONG: (u64, u64) = (64, 60);

/// How much farther than everything that a world sends a number is which its sender has not sent
/// for sure.
const FAR: (u64, u64) = (10_000, 60_000);

/// Somebody who can send to a group: to one in the clear anybody, to a sealed one a member of it.
/// It asks for what was sent, again and again, and speaks in a member's name and in the names of
/// ever new ones, from addresses of its own.
pub(super) struct Poser {
    attacker: Attacker,
    /// What it seals with, if the group is sealed.
    key: Option<Key>,
    /// The last counter that it has sealed with, by id and incarnation.
    counters: HashMap<(String, u64), u64>,
    /// What its only claim is so far.
    claim: u64,
}

/// How far a poser may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// It asks, and speaks for those whom it makes up.
    Strangers,
    /// It speaks for a member as well.
    Members,
    /// And from that one's address, and with the numbers that it is about to use.
    Usurped,
}

/// A datagram that a poser brings.
pub(super) struct Posed {
    pub(super) injection: Injection,
    /// It speaks in a member's name.
    pub(super) as_member: bool,
    /// It greets or leaves in it.
    pub(super) speaks_of_itself: bool,
}

impl Poser {
    pub(super) fn new(random: Random, key: Option<Key>) -> Self {
        Self {
            attacker: Attacker::new(random),
            key,
            counters: HashMap::new(),
            claim: 0,
        }
    }

    /// One of so many.
    pub(super) fn choose(&mut self, count: usize) -> usize {
        self.attacker.random.index(count)
    }

    /// Makes a datagram that poses as this one or another one, or asks it for something.
    /// `last_sealed`: the last counter that the victim has sealed with for the group.
    pub(super) fn make(
        &mut self,
        now_ms: u64,
        (victim, address, last_sealed): (&Victim<'_>, SocketAddr, u64),
        messages: &[[u8; 20]],
        reach: Reach,
    ) -> Posed {
        let mut from = own_address(&mut self.attacker.random);
        let kind = self.attacker.random.below(match reach {
            Reach::Strangers => 8,
            Reach::Members => 12,
            Reach::Usurped => 18,
        });
        if kind >= 12 && self.attacker.random.chance(0.5) {
            from = address;
        }
        let (id, incarnation) = self.name(kind, victim);
        let who = Victim {
            id: &id,
            incarnation,
            ..*victim
        };
        let bytes = self.write(from, kind, (victim, &who), messages);
        let as_member = kind >= 8;
        let before = if as_member { last_sealed } else { 0 };
        Posed {
            injection: self.bring(now_ms, from, (&id, incarnation, before), bytes),
            as_member,
            speaks_of_itself: matches!(kind, 8 | 10 | 14 | 15),
        }
    }

    /// The hellos of very many newcomers, each of whom claims to have sent something.
    pub(super) fn throng(&mut self, now_ms: u64) -> Vec<Injection> {
        let (ports, ids) = if self.key.is_some() {
            SEALED_THRONG
        } else {
            THRONG
        };
        let mut throng = Vec::new();
        for port in 0..ports {
            let from = SocketAddr::from(([10, 66, 1, 1], 7_000 + port as u16));
            for newcomer in 0..ids {
                let id = format!("5747a9e6{:08x}", port << 16 | newcomer);
                let who = Victim {
                    life: NOBODY,
                    id: &id,
                    incarnation: 1,
                    sent: 0,
                };
                let last = self.attacker.random.between(0, 3);
                let bytes = self.hello(from, &who, (last, 1));
                throng.push(self.bring(now_ms, from, (&id, 1, 0), bytes));
            }
        }
        throng
    }

    /// In whose name it speaks.
    fn name(&mut self, kind: u64, victim: &Victim<'_>) -> (String, u64) {
        let random = &mut self.attacker.random;
        match kind {
            0..=2 => ("5747a9e400000000".to_owned(), 1),
            // Ever new ones, and one that claims more each time.
            3 => (format!("5747a9e5{:08x}", random.below(1 << 10)), 1),
            4 => ("5747a9e400000001".to_owned(), 1),
            // Another incarnation of a member.
            5 => (victim.id.to_owned(), 1 + random.below(3)),
            6 | 7 => (format!("5747a9e7{:08x}", random.below(8)), 1),
            _ => (victim.id.to_owned(), victim.incarnation),
        }
    }

    /// Makes an injection of this, sealed if the group is.
    fn bring(
        &mut self,
        now_ms: u64,
        from: SocketAddr,
        (id, incarnation, before): (&str, u64, u64),
        mut bytes: Vec<u8>,
    ) -> Injection {
        if let Some(key) = &self.key {
            let random = &mut self.attacker.random;
            let counter = self
                .counters
                .entry((id.to_owned(), incarnation))
                .or_default();
            *counter = before.max(*counter) + 1;
            let content = Content {
                sealer: (seal::bytes_of_id(id), incarnation),
                counter: *counter,
                sent_ms: now_ms,
                recipient: [0; 8],
                datagram: bytes,
            };
            let sealed = key.seal(&content, random.bytes());
            bytes = seal::carry(sealed, &self.attacker.id());
        }
        Injection {
            from,
            bytes: bytes.into(),
            of: None,
            intact: false,
        }
    }

    fn write(
        &mut self,
        from: SocketAddr,
        kind: u64,
        (victim, who): (&Victim<'_>, &Victim<'_>),
        messages: &[[u8; 20]],
    ) -> Vec<u8> {
        let random = &mut self.attacker.random;
        let inc = who.incarnation as i64;
        let number = random.between(1, victim.sent + 60_000);
        let far = victim.sent + random.between(FAR.0, FAR.1);
        match kind {
            0 => {
                let token = random.word() as i64 & i64::MAX;
                let all = [[Bson::Int64(1), Bson::Int64(i64::MAX)].to_vec()].to_vec();
                let nack = doc! {
                    "id": victim.id, "inc": victim.incarnation as i64, "token": token, "missing": all,
                };
                self.say(from, who, "__ec_nack", &argument(nack))
            }
            1 => {
                let first = random.between(1, victim.sent + 5) as i64;
                let some = [[Bson::Int64(first), Bson::Int64(first + 9)].to_vec()].to_vec();
                let nack =
                    doc! { "id": victim.id, "inc": victim.incarnation as i64, "missing": some };
                self.say(from, who, "__ec_nack", &argument(nack))
            }
            2 => {
                let id = match messages {
                    [] => self.attacker.id(),
                    some => {
                        let id = random.pick(some);
                        id.iter().map(|byte| format!("{byte:02x}")).collect()
                    }
                };
                let missing: Vec<i32> = (0..64).collect();
                let retx = doc! { "payload": {
                    "id": who.id, "seqId": id, "missedSeq": missing,
                    "host": from.ip().to_string(), "port": i32::from(from.port()),
                } };
                let retx = craft::bytes_of(&retx);
                self.say(from, who, "__ec_retx", &retx)
            }
            4 => {
                self.claim += 1 + random.below(3);
                let claim = self.claim;
                self.hello(from, who, (claim, 1))
            }
            3 | 5 | 8 | 14 => {
                let first = random.between(1, number + 1);
                self.hello(from, who, (number, first))
            }
            6 | 9 => self.event(from, who, far),
            12 => {
                let near = victim.sent + random.between(1, 5);
                self.event(from, who, near)
            }
            13 => {
                let near = victim.sent + random.between(1, 5);
                self.chunk(from, who, near)
            }
            16 => self.hello(from, who, (victim.sent, 1)),
            7 | 10 | 15 => {
                let bye = doc! { "inc": inc, "last": number as i64 };
                self.say(from, who, "__ec_bye", &argument(bye))
            }
            _ => {
                let missing = [[Bson::Int64(1), Bson::Int64(number as i64)].to_vec()].to_vec();
                let gone = doc! { "inc": inc, "missing": missing };
                self.say(from, who, "__ec_gone", &argument(gone))
            }
        }
    }

    fn hello(&mut self, from: SocketAddr, who: &Victim<'_>, (last, first): (u64, u64)) -> Vec<u8> {
        let up = self.attacker.random.between(0, 100_000) as i64;
        let hello = doc! {
            "inc": who.incarnation as i64, "last": last as i64, "first": first as i64, "up": up,
            "ver": "eventcast 0.1.0", "can": ["repair"],
        };
        self.say(from, who, "__ec_hello", &argument(hello))
    }

    fn event(&mut self, from: SocketAddr, who: &Victim<'_>, number: u64) -> Vec<u8> {
        let message = MessageKey {
            sender: NOBODY,
            place: number,
        };
        let mut body = Vec::new();
        payload::write(message, 24, &mut body);
        let name = payload::name_of(message);
        let number = Some(number as i64);
        self.attacker.datagram((from, who), name, number, &body)
    }

    /// One of three pieces of a message.
    fn chunk(&mut self, from: SocketAddr, who: &Victim<'_>, number: u64) -> Vec<u8> {
        let name = payload::name_of(MessageKey {
            sender: NOBODY,
            place: number,
        });
        let number = Some(number as i64);
        let mut metadata = self.attacker.metadata((from, who), name, number);
        metadata.insert("seq", self.attacker.random.below(2) as i32);
        metadata.insert("seqLen", 3);
        metadata.insert("seqEnd", false);
        craft::join(&craft::bytes_of(&metadata), &[7; 300])
    }

    fn say(&mut self, from: SocketAddr, who: &Victim<'_>, name: &str, body: &[u8]) -> Vec<u8> {
        self.attacker.datagram((from, who), name, None, body)
    }
}

fn argument(document: Document) -> Vec<u8> {
    craft::bytes_of(&doc! { "payload": [document] })
}
