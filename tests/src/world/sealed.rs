//! Sealed datagrams by the wire document (section 8), and which of them a bus takes.
//!
//! The world has made the key, so it can look into whatever is sent. What it finds there is for the
//! checker alone.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr},
};

use super::{
    history::Life,
    reading::{self, Reading, Said},
};
pub(super) use crate::seal::box_in;
use crate::seal::{Key, TO_ONE, bytes_of_id};

/// The group to which all datagrams are bound.
pub(super) const GROUP: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1)), 9000);

/// What differs at most between the clocks of sender and receiver, in milliseconds.
const TOLERANCE: u64 = 30_000;

/// For so long after its start a bus refuses what was sent a second and more before it.
const YOUNG: u64 = 60_000;
const BEFORE_START: u64 = 1000;

/// How many counters below the highest a bus knows one by one.
const WIDTH: u64 = 4096;

/// The roots of a group's keys: of that which it begins with, and of that which it may change to.
pub(super) type Roots = [[u8; 32]; 2];

/// The keys that a bus has, as places among the roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holds {
    /// What it seals with, and opens.
    pub send: usize,
    /// What it opens beside.
    pub receive: &'static [usize],
}

/// What buses hold before a group changes its key, and in each of the rounds in which it does: all
/// can hear the new one, all use it, nobody hears the old one any more.
pub(super) const ROUNDS: [Holds; 4] = [
    Holds {
        send: 0,
        receive: &[],
    },
    Holds {
        send: 0,
        receive: &[1],
    },
    Holds {
        send: 1,
        receive: &[0],
    },
    Holds {
        send: 1,
        receive: &[],
    },
];

/// What is written around a sealed datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label {
    /// The key that it is sealed with, as a place among the roots.
    pub key: usize,
    /// The sender's 8 bytes and its incarnation.
    pub sealer: ([u8; 8], u64),
    /// Its counter.
    pub counter: u64,
    /// When it was sent, in milliseconds since 1970 by the sender's clock.
    pub sent_ms: u64,
    /// For whom: zeros for the group.
    pub recipient: [u8; 8],
}

/// Opens what was sealed with any key of a group.
pub(super) struct Opener([Key; 2]);

impl Opener {
    /// With the keys of these roots.
    pub(super) fn new(roots: &Roots) -> Self {
        Self(roots.each_ref().map(|root| Key::new(root, GROUP)))
    }

    /// Reads a sealed datagram as a strict peer would: what is around it, and what is in it.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<(Label, Reading)> {
        let outer = reading::read(bytes)?;
        let Said::Sealed(sealed) = outer.said else {
            return None;
        };
        let (label, datagram) = self.open(&sealed)?;
        let inner = reading::read(&datagram)?;
        (outer.seq_len == 1).then_some((label, inner))
    }

    /// Whether a bus may find a good box in this, and with what around it: whoever cannot read this
    /// can read none.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<Label> {
        let sealed = bytes.get(box_in(bytes)?)?;
        Some(self.open(sealed)?.0)
    }

    fn open(&self, sealed: &[u8]) -> Option<(Label, Vec<u8>)> {
        let mut opened = (0..).zip(&self.0).map(|(at, key)| (at, key.open(sealed)));
        let (key, content) = opened.find_map(|(at, content)| Some((at, content?)))?;
        let label = Label {
            key,
            sealer: content.sealer,
            counter: content.counter,
            sent_ms: content.sent_ms,
            recipient: content.recipient,
        };
        Some((label, content.datagram))
    }
}

impl Label {
    /// Whether its counter counts datagrams to single peers.
    pub(super) fn is_to_one(&self) -> bool {
        self.counter & TO_ONE != 0
    }

    /// Whether it can be on a datagram of this one, who seals with that key, to the group, or to
    /// one peer.
    pub(super) fn fits(
        &self,
        (id, incarnation): (&str, Option<u64>),
        key: usize,
        to_one: bool,
    ) -> bool {
        self.sealer == (bytes_of_id(id), incarnation.unwrap_or_default())
            && self.key == key
            && (self.recipient != [0; 8]) == to_one
            && self.is_to_one() == to_one
            && self.counter & !TO_ONE != 0
    }
}

/// Whether a bus takes a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It does.
    Taken,
    /// It depends on how strictly it reads what no key protects.
    Perhaps,
    /// It must not.
    Refused,
}

/// A bus, as far as that decides what it takes.
#[derive(Debug)]
pub(super) struct Gate {
    own: [u8; 8],
    started_ms: u64,
    /// The keys that it has now.
    pub holds: Holds,
    counters: HashMap<(Life, bool), Counters>,
}

/// What was had of the counters of one incarnation and kind.
#[derive(Debug, Default)]
struct Counters {
    /// The lowest that can have set the window: all below count as had.
    low: Option<u64>,
    /// The highest that can have.
    high: u64,
    /// It has been set.
    set: bool,
    /// The highest that was taken, and that was taken perhaps.
    highest: [u64; 2],
    had: HashSet<u64>,
}

impl Holds {
    /// Whether this one is among them.
    pub(super) fn opens(self, key: usize) -> bool {
        self.send == key || self.receive.contains(&key)
    }
}

impl Gate {
    /// That of a bus with this id, which starts with these keys when its clock shows this.
    pub(super) fn new(id: &str, started_ms: u64, holds: Holds) -> Self {
        Self {
            own: bytes_of_id(id),
            started_ms,
            holds,
            counters: HashMap::new(),
        }
    }

    /// What becomes of a datagram of another life, if it comes now. `intact`: it is as it was sent,
    /// and not only its box.
    pub(super) fn judge(&self, now_ms: u64, of: Life, label: &Label, intact: bool) -> Verdict {
        let young = now_ms - self.started_ms < YOUNG;
        let stale = label.sent_ms.abs_diff(now_ms) > TOLERANCE
            || young && label.sent_ms + BEFORE_START < self.started_ms;
        if stale
            || !self.holds.opens(label.key)
            || label.recipient != [0; 8] && label.recipient != self.own
        {
            return Verdict::Refused;
        }
        let (kind, counter) = Counters::of(of, label);
        let verdict = self
            .counters
            .get(&kind)
            .map_or(Verdict::Taken, |counters| counters.judge(counter));
        if verdict == Verdict::Taken && !intact {
            Verdict::Perhaps
        } else {
            verdict
        }
    }

    /// The same; and it comes.
    pub(super) fn take(&mut self, now_ms: u64, of: Life, label: &Label, intact: bool) -> Verdict {
        let verdict = self.judge(now_ms, of, label, intact);
        if verdict != Verdict::Refused {
            let (kind, counter) = Counters::of(of, label);
            self.counters.entry(kind).or_default().take(counter, intact);
        }
        verdict
    }
}

impl Counters {
    fn of(life: Life, label: &Label) -> ((Life, bool), u64) {
        ((life, label.is_to_one()), label.counter & !TO_ONE)
    }

    fn judge(&self, counter: u64) -> Verdict {
        let [highest, highest_perhaps] = self.highest;
        let below = self.set && self.low.is_some_and(|low| counter < low);
        if below || self.had.contains(&counter) || counter + WIDTH <= highest {
            Verdict::Refused
        } else if counter < self.high || counter + WIDTH <= highest_perhaps {
            Verdict::Perhaps
        } else {
            Verdict::Taken
        }
    }

    fn take(&mut self, counter: u64, intact: bool) {
        if !self.set {
            self.low = Some(self.low.unwrap_or(counter).min(counter));
            self.set = intact && counter >= self.high;
            self.high = self.high.max(counter);
        }
        let [highest, highest_perhaps] = &mut self.highest;
        *highest_perhaps = counter.max(*highest_perhaps);
        if intact {
            *highest = counter.max(*highest);
            // Whether it was taken now or not, it is not any more.
            self.had.insert(counter);
        }
    }
}
