//! Somebody who speaks in others' names, from addresses of its own.

use std::net::SocketAddr;

use bson::{Bson, Document, doc};

use super::{
    attacker::{Attacker, Injection, Victim, own_address},
    random::Random,
};
use crate::craft;

/// Somebody who can send to a group in the clear. It asks for what was sent, again and again, and speaks in a member's
/// name, from addresses of its own. What nobody could tell from the truth it does not say.
pub(super) struct Poser {
    attacker: Attacker,
}

impl Poser {
    pub(super) fn new(random: Random) -> Self {
        Self {
            attacker: Attacker::new(random),
        }
    }

    /// One of so many.
    pub(super) fn choose(&mut self, count: usize) -> usize {
        self.attacker.random.index(count)
    }

    /// Makes a datagram that poses as this one, or asks it for something; with `names` also what moves addresses and
    /// claims numbers.
    pub(super) fn make(
        &mut self,
        victim: &Victim<'_>,
        messages: &[[u8; 20]],
        names: bool,
    ) -> Injection {
        let from = own_address(&mut self.attacker.random);
        let bytes = self.write(from, victim, messages, names);
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
        victim: &Victim<'_>,
        messages: &[[u8; 20]],
        names: bool,
    ) -> Vec<u8> {
        let random = &mut self.attacker.random;
        let inc = victim.incarnation as i64;
        let number = random.between(1, victim.sent + 60_000) as i64;
        let token = random.word() as i64 & i64::MAX;
        let argument = |document: Document| craft::bytes_of(&doc! { "payload": [document] });
        let asker = Victim {
            id: "5747a9e400000000",
            incarnation: 1,
            ..*victim
        };
        let say = |attacker: &mut Attacker, who: &Victim<'_>, name: &str, payload: Vec<u8>| {
            attacker.datagram((from, who), name, None, &payload)
        };
        match random.below(if names { 6 } else { 3 }) {
            0 => {
                let all = [[Bson::Int64(1), Bson::Int64(i64::MAX)].to_vec()].to_vec();
                let nack = doc! { "id": victim.id, "inc": inc, "token": token, "missing": all };
                say(&mut self.attacker, &asker, "__ec_nack", argument(nack))
            }
            1 => {
                let first = random.between(1, victim.sent + 5) as i64;
                let some = [[Bson::Int64(first), Bson::Int64(first + 9)].to_vec()].to_vec();
                let nack = doc! { "id": victim.id, "inc": inc, "missing": some };
                say(&mut self.attacker, &asker, "__ec_nack", argument(nack))
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
                    "id": asker.id, "seqId": id, "missedSeq": missing,
                    "host": from.ip().to_string(), "port": i32::from(from.port()),
                } };
                let retx = craft::bytes_of(&retx);
                say(&mut self.attacker, &asker, "__ec_retx", retx)
            }
            3 => {
                let first = random.between(1, number as u64 + 1) as i64;
                let up = random.between(0, 100_000) as i64;
                let hello = doc! {
                    "inc": inc, "last": number, "first": first, "up": up, "ver": "eventcast 0.1.0", "can": ["repair"],
                };
                say(&mut self.attacker, victim, "__ec_hello", argument(hello))
            }
            4 => {
                let bye = doc! { "inc": inc, "last": number };
                say(&mut self.attacker, victim, "__ec_bye", argument(bye))
            }
            _ => {
                let missing = [[Bson::Int64(1), Bson::Int64(number)].to_vec()].to_vec();
                let gone = doc! { "inc": inc, "missing": missing };
                say(&mut self.attacker, victim, "__ec_gone", argument(gone))
            }
        }
    }
}
