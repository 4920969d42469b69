//! A member of a sealed group who breaks every rule: it seals with the right key, and puts anything
//! into the box.

use std::collections::VecDeque;

use eventcast::proto::{Engine, Now};

use super::{SEAL_ROOT, SEALED_GROUP, engine::Script, new_sealed_engine};
use crate::{
    craft,
    seal::{Content, Key, TO_ONE, box_in, bytes_of_id, carry},
};

/// Its port and its id.
pub(super) const INSIDER: u16 = 9005;
pub(super) const INSIDER_ID: &str = "0123456701234567";

/// How many datagrams are kept to be changed.
const MAX_KEPT: usize = 64;

/// What somebody may have sealed once.
pub(super) struct Insider {
    /// Makes good datagrams, of which the others are made.
    pub(super) engine: Engine,
    key: Key,
    /// What it has sent.
    own: VecDeque<Content>,
    /// How many boxes it has made.
    made: u64,
}

impl Insider {
    pub(super) fn new() -> Self {
        Self {
            engine: new_sealed_engine(INSIDER_ID, INSIDER),
            key: Key::new(&SEAL_ROOT, SEALED_GROUP),
            own: VecDeque::new(),
            made: 0,
        }
    }

    /// What is in a datagram of a member of the group.
    pub(super) fn open(&self, datagram: &[u8]) -> Content {
        let sealed = box_in(datagram).expect("members send boxes alone");
        let content = self.key.open(&datagram[sealed]);
        content.expect("with the key of the group")
    }

    /// Seals this anew, as it is.
    pub(super) fn reseal(&mut self, content: &Content) -> Vec<u8> {
        self.made += 1;
        let iv = [self.made.to_be_bytes(), [7; 8]].concat();
        let iv = *iv.first_chunk().expect("it is as long");
        carry(self.key.seal(content, iv), &format!("{:040x}", self.made))
    }

    /// Keeps what its own engine sent.
    pub(super) fn keep(&mut self, datagram: &[u8]) {
        let content = self.open(datagram);
        if self.own.len() == MAX_KEPT {
            self.own.pop_front();
        }
        self.own.push_back(content);
    }

    /// A box that is good as a box, with anything in it: made of what `other` is (what somebody
    /// else has sent), of what its own engine has sent, or of bytes of the script.
    pub(super) fn forge(
        &mut self,
        now: Now,
        subject: &str,
        other: Option<&[u8]>,
        script: &mut Script<'_>,
    ) -> Vec<u8> {
        let which = script.number();
        let other = other.map(|datagram| self.open(datagram));
        let own = || self.own.iter().rev().nth(which % 32).cloned();
        let mut content = match which / 32 {
            0..3 => own(),
            // As it came, under a seal that is not its sender's.
            3 => other,
            // And with the insider named in it.
            4..7 => other.map(|content| Content {
                datagram: renamed(&content.datagram),
                ..content
            }),
            _ => None,
        }
        .unwrap_or_else(|| {
            let length = script.number() * 4;
            Content {
                sealer: ([0; 8], 0),
                counter: 0,
                sent_ms: 0,
                recipient: [0; 8],
                datagram: script.take(length).to_vec(),
            }
        });
        content.sealer = (bytes_of_id(INSIDER_ID), super::INCARNATION);
        content.sent_ms = now.unix_ms;
        script.change(&mut content.datagram);
        self.relabel(&mut content, subject, script);
        self.reseal(&content)
    }

    /// What is to stand around it.
    fn relabel(&mut self, content: &mut Content, subject: &str, script: &mut Script<'_>) {
        // Higher than those of its engine.
        let mut counter = 10_000 + self.made;
        let (what, with) = match script.number() {
            what @ 128.. => (what % 8, script.number()),
            _ => (0, 0),
        };
        let shift = with as u64 * 400;
        match what {
            1 => content.recipient = bytes_of_id(subject),
            2 => content.recipient = [0; 8],
            3 => content.sent_ms = content.sent_ms.saturating_sub(shift),
            4 => content.sent_ms += shift,
            // One that it may have used, or one far below.
            5 if with < 128 => counter = counter - 128 + with as u64,
            5 => counter = counter / 2 + with as u64,
            6 => content.sealer.1 += with as u64,
            7 => content.sealer.0[with % 8] ^= with as u8 | 1,
            _ => {}
        }
        let to_one = content.recipient != [0; 8];
        // Now and then it contradicts the recipient, or is nothing.
        content.counter = match with {
            255 => counter ^ TO_ONE,
            254 => u64::from(to_one) * TO_ONE,
            _ => counter | (u64::from(to_one) * TO_ONE),
        };
    }
}

/// The datagram with the insider as its sender.
fn renamed(datagram: &[u8]) -> Vec<u8> {
    let (mut metadata, payload) = craft::part(datagram);
    metadata.insert("id", INSIDER_ID);
    craft::join(&craft::bytes_of(&metadata), &payload)
}
