//! Somebody who has everything that was ever sent in a sealed group, and no key. It sends again,
//! holds back, cuts, alters and joins what it has, and makes up what needs no key.
//!
//! It only says what it brings to whom, and what of that was ever sent; what a bus may make of it
//! is not its business.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use bson::{Bson, Document, doc, spec::BinarySubtype};

use super::{
    history::{Life, MILLI, MessageKey, Nanos},
    payload,
    random::Random,
    sealed,
    simulation::Cast,
};
use crate::craft;

/// How many datagrams it keeps: most of what a world sends.
const KEPT: usize = 3000;

/// The last so many are those that it looks at most.
const LATEST: usize = 64;

/// The share of datagrams on their way to somebody that it holds back.
const HELD_BACK: f64 = 0.002;

/// The addresses that are its own.
const OWN: u8 = 4;

pub(super) struct Attacker {
    pub(super) random: Random,
    had: VecDeque<Had>,
    payload: Vec<u8>,
}

#[derive(Clone)]
struct Had {
    cast: Rc<Cast>,
    bytes: Rc<[u8]>,
}

/// A datagram that it brings to a bus.
#[derive(Clone)]
pub(super) struct Injection {
    /// Where it seems to come from.
    pub from: SocketAddr,
    /// Its bytes.
    pub bytes: Rc<[u8]>,
    /// What was sent, and has its box in this. `None`: it is made up.
    pub of: Option<Rc<Cast>>,
    /// It is as it was sent.
    pub intact: bool,
}

/// Somebody whom it poses as.
pub(super) struct Victim<'a> {
    pub life: Life,
    pub id: &'a str,
    pub incarnation: u64,
    /// How many messages it has sent.
    pub sent: u64,
}

/// An address of somebody who is no member.
pub(super) fn own_address(random: &mut Random) -> SocketAddr {
    SocketAddr::from(([10, 66, 0, random.below(OWN.into()) as u8], 6000))
}

/// Whether an address is no member's.
pub(super) fn is_strange(address: SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V4(ip) if ip.octets()[..2] == [10, 66])
}

impl Attacker {
    pub(super) fn new(random: Random) -> Self {
        Self {
            random,
            had: VecDeque::new(),
            payload: Vec::new(),
        }
    }

    /// Keeps what was sent.
    pub(super) fn keep(&mut self, cast: &Rc<Cast>, bytes: &Rc<[u8]>) {
        if self.had.len() == KEPT {
            self.had.pop_front();
        }
        self.had.push_back(Had {
            cast: Rc::clone(cast),
            bytes: Rc::clone(bytes),
        });
    }

    /// How much later a copy comes. `None`: it is let through.
    pub(super) fn hold_back(&mut self) -> Option<Nanos> {
        let held = self.random.chance(HELD_BACK);
        held.then(|| self.random.between(200, 5_000) * MILLI)
    }

    /// For which of so many members something is. `None`: for all.
    pub(super) fn aim(&mut self, members: usize) -> Option<usize> {
        let one = self.random.chance(0.5);
        one.then(|| self.random.index(members))
    }

    /// One of so many.
    pub(super) fn choose(&mut self, count: usize) -> usize {
        self.random.index(count)
    }

    /// Makes a datagram. `members`: the addresses of the group.
    pub(super) fn make(&mut self, members: &[SocketAddr], victim: &Victim<'_>) -> Injection {
        let Some(first) = self.any() else {
            return self.make_up(members, victim);
        };
        let from = self.source(members, first.cast.from);
        let bytes = &first.bytes;
        let altered = match self.random.below(16) {
            // As it was.
            0..8 => {
                return Injection {
                    from,
                    bytes: Rc::clone(bytes),
                    of: Some(first.cast),
                    intact: true,
                };
            }
            8 => bytes[..self.random.index(bytes.len())].to_vec(),
            9 | 10 => {
                let mut altered = bytes.to_vec();
                for _ in 0..self.random.between(1, 3) {
                    let at = self.random.index(altered.len());
                    altered[at] ^= 1 << self.random.below(8);
                }
                altered
            }
            11 | 12 => return self.splice(from, &first),
            _ => return self.make_up(members, victim),
        };
        let intact = altered[..] == bytes[..];
        Injection {
            from,
            bytes: altered.into(),
            of: Some(first.cast),
            intact,
        }
    }

    fn any(&mut self) -> Option<Had> {
        let count = self.had.len();
        let among = if self.random.chance(0.5) {
            count.min(LATEST)
        } else {
            count
        };
        let index = count - 1 - self.random.index(among.max(1)).min(count.checked_sub(1)?);
        self.had.get(index).cloned()
    }

    /// Where something seems to come from: from where it came, from another member, or from
    /// elsewhere.
    fn source(&mut self, members: &[SocketAddr], origin: SocketAddr) -> SocketAddr {
        match self.random.below(5) {
            0 | 1 => origin,
            2 => *self.random.pick(members),
            _ => own_address(&mut self.random),
        }
    }

    /// The box of this one with something else around it, or some of it with some of another's.
    fn splice(&mut self, from: SocketAddr, first: &Had) -> Injection {
        let of = |had: &Had, bytes: Vec<u8>| Injection {
            from,
            intact: bytes[..] == had.bytes[..],
            bytes: bytes.into(),
            of: Some(Rc::clone(&had.cast)),
        };
        let other = self.any().unwrap_or_else(|| first.clone());
        let places = sealed::box_in(&first.bytes).zip(sealed::box_in(&other.bytes));
        let Some((own, theirs)) = places else {
            return of(first, Vec::new());
        };
        if self.random.chance(0.3) {
            let spliced = [&other.bytes[..theirs.start], &first.bytes[own.start..]].concat();
            return of(first, spliced);
        }
        // As many bytes of the other one's, at the same place in the box: some or all of its label,
        // or of the rest.
        let len = own.len().min(theirs.len());
        let start = *self.random.pick(&[1, 5, 13, 21, 29, 45, len / 2]);
        let end = *self.random.pick(&[5, 13, 21, 29, 45, len]);
        let (start, end) = (start.min(end), start.max(end));
        let mut altered = first.bytes.to_vec();
        altered[own.start + start..own.start + end]
            .copy_from_slice(&other.bytes[theirs.start + start..theirs.start + end]);
        // What was not taken over may have been the same in both.
        if altered[own] == other.bytes[theirs] {
            of(&other, altered)
        } else {
            of(first, altered)
        }
    }

    /// What a bus without a key would say.
    fn make_up(&mut self, members: &[SocketAddr], victim: &Victim<'_>) -> Injection {
        let near = *self.random.pick(members);
        let from = self.source(members, near);
        let bytes = self.write(from, victim);
        Injection {
            from,
            bytes: bytes.into(),
            of: None,
            intact: false,
        }
    }

    fn write(&mut self, from: SocketAddr, victim: &Victim<'_>) -> Vec<u8> {
        let number = self.random.between(1, victim.sent + 5) as i64;
        let inc = victim.incarnation as i64;
        let missing: [[i64; 2]; 1] = [[number, number + 5]];
        let missing = missing.map(|pair| pair.map(Bson::Int64).to_vec()).to_vec();
        let hello = doc! {
            "inc": inc, "last": number, "first": 1_i64, "up": 1000_i64, "ver": "eventcast 0.1.0", "can": ["repair"],
        };
        let argument = |document: Document| craft::bytes_of(&doc! { "payload": [document] });
        match self.random.below(8) {
            0 => self.datagram((from, victim), "__ec_hello", None, &argument(hello)),
            1 => {
                let nack = doc! { "id": victim.id, "inc": inc, "missing": missing };
                self.datagram((from, victim), "__ec_nack", None, &argument(nack))
            }
            2 => {
                let gone = doc! { "inc": inc, "missing": missing };
                self.datagram((from, victim), "__ec_gone", None, &argument(gone))
            }
            3 => {
                let bye = doc! { "inc": inc, "last": number };
                self.datagram((from, victim), "__ec_bye", None, &argument(bye))
            }
            4 => {
                let retx = doc! { "payload": {
                    "id": victim.id, "seqId": self.id(), "missedSeq": [0, 1, 2],
                    "host": from.ip().to_string(), "port": i32::from(from.port()),
                } };
                let retx = craft::bytes_of(&retx);
                self.datagram((from, victim), "__ec_retx", None, &retx)
            }
            5 => {
                let bytes = self.event(from, victim, number);
                let inner = Bson::Binary(bson::Binary {
                    subtype: BinarySubtype::Generic,
                    bytes,
                });
                let again = craft::bytes_of(&doc! { "payload": [inner] });
                self.datagram((from, victim), "__ec_again", None, &again)
            }
            _ => self.event(from, victim, number),
        }
    }

    fn event(&mut self, from: SocketAddr, victim: &Victim<'_>, number: i64) -> Vec<u8> {
        let message = MessageKey {
            sender: victim.life,
            place: number as u64 - 1,
        };
        let mut body = std::mem::take(&mut self.payload);
        payload::write(message, 24, &mut body);
        let number = self.random.chance(0.7).then_some(number);
        let name = payload::name_of(message);
        let datagram = self.datagram((from, victim), name, number, &body);
        self.payload = body;
        datagram
    }

    pub(super) fn datagram(
        &mut self,
        (from, victim): (SocketAddr, &Victim<'_>),
        name: &str,
        number: Option<i64>,
        body: &[u8],
    ) -> Vec<u8> {
        let metadata = self.metadata((from, victim), name, number);
        craft::join(&craft::bytes_of(&metadata), body)
    }

    pub(super) fn metadata(
        &mut self,
        (from, victim): (SocketAddr, &Victim<'_>),
        name: &str,
        number: Option<i64>,
    ) -> Document {
        let seq_id = self.id();
        let mut metadata = doc! {
            "v": 3, "seq": 0, "seqLen": 1, "seqId": seq_id, "seqEnd": true, "enc": false, "name": name,
            "host": from.ip().to_string(), "port": i32::from(from.port()), "hostname": "world", "id": victim.id,
            "time": "2026-11-25T05:43:43.172Z", "inc": victim.incarnation as i64,
        };
        if let Some(number) = number {
            metadata.insert("n", number);
        }
        metadata
    }

    pub(super) fn id(&mut self) -> String {
        let bytes: [u8; 20] = self.random.bytes();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
