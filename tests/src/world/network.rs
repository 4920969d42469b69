//! The network between the members: what becomes of a datagram on its way.

use std::rc::Rc;

use super::{
    history::Nanos,
    plan::{Limit, Weather},
    random::Random,
    reading::{Reading, Said},
};

/// What a socket's buffer counts for a datagram beside its bytes.
pub(super) const OVERHEAD: u64 = 1280;

/// What became of the copies of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Copies that were to reach somebody.
    pub copies: u64,
    /// Lost, to whatever cause.
    pub lost: u64,
    /// Of these, those for which there was no room.
    pub crowded_out: u64,
    /// Came a second time.
    pub doubled: u64,
    /// Held back on the way, so that later ones overtake them.
    pub reordered: u64,
    /// Came altered.
    pub altered: u64,
}

/// A copy of a datagram that will reach a member.
#[derive(Clone, Debug)]
pub(super) struct Copy {
    /// When it is there.
    pub at: Nanos,
    /// Its bytes.
    pub bytes: Rc<[u8]>,
    /// What the network did to them.
    pub state: State,
    /// It is not the first copy of this datagram here.
    pub double: bool,
}

/// What the network did to a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing.
    Good,
    /// It is no datagram any more.
    Destroyed,
    /// Its metadata are good, and what comes after them is not. A sealed one may be anything
    /// between good and destroyed.
    Altered,
}

/// The network.
#[derive(Debug)]
pub(super) struct Network {
    weather: Weather,
    random: Random,
    members: usize,
    /// Nobody but the holders of a key can lie in a datagram.
    sealed: bool,
    /// Whom each can hear: all with the same bit.
    side: u32,
    /// In a burst of losses.
    in_burst: Vec<bool>,
    /// When the last datagram arrives, by sender and receiver.
    last: Vec<Nanos>,
    links: Vec<Queue>,
    sockets: Vec<Queue>,
    /// What became of everything.
    pub losses: Losses,
}

impl Network {
    /// A network with this weather.
    #[must_use]
    pub(super) fn new(weather: Weather, members: usize, sealed: bool, random: Random) -> Self {
        Self {
            weather,
            random,
            members,
            sealed,
            side: 0,
            in_burst: vec![false; members],
            last: vec![0; members * members],
            links: vec![Queue::default(); members],
            sockets: vec![Queue::default(); members],
            losses: Losses::default(),
        }
    }

    /// From now on nothing goes wrong.
    pub(super) fn calm(&mut self) {
        self.side = 0;
        self.weather = Weather {
            latency: self.weather.latency,
            jitter: self.weather.jitter,
            ..Weather::default()
        };
    }

    /// Parts those with a bit from those without.
    pub(super) fn part(&mut self, side: u32) {
        self.side = side;
    }

    /// Takes a datagram from a member. `None`: it gets no farther. Otherwise the time at which it
    /// is on its way, and whether all receivers will miss it.
    pub(super) fn leave(&mut self, now: Nanos, from: usize, len: usize) -> Option<(Nanos, bool)> {
        let away = match self.weather.slow_links {
            Some(limit) if limit.concerns(from) => self.links[from].pass(now, len, &limit)?,
            _ => now,
        };
        Some((away, self.random.chance(self.weather.shared_loss)))
    }

    /// What arrives of a datagram at one receiver: nothing, one copy, or two.
    pub(super) fn carry(
        &mut self,
        now: Nanos,
        (from, to): (usize, usize),
        bytes: &Rc<[u8]>,
        reading: Option<&Reading>,
        lost: bool,
    ) -> [Option<Copy>; 2] {
        self.losses.copies += 1;
        if lost || self.is_lost(from, to) {
            self.losses.lost += 1;
            return [None, None];
        }
        let mut at = now + self.weather.latency + self.random.below(self.weather.jitter + 1);
        let last = &mut self.last[from * self.members + to];
        if self.random.chance(self.weather.late) {
            at += self.random.below(self.weather.late_by);
            self.losses.reordered += 1;
        } else {
            at = at.max(*last);
            *last = at;
        }
        let first = self.copy(at, bytes, reading, false);
        let second = self.random.chance(self.weather.duplicates).then(|| {
            self.losses.doubled += 1;
            let at = at + self.random.below(self.weather.late_by + 1);
            self.copy(at, bytes, reading, true)
        });
        [Some(first), second]
    }

    /// A datagram has come to a member's socket. When the member reads it; `None`: there was no
    /// room.
    pub(super) fn arrive(&mut self, now: Nanos, to: usize, len: usize) -> Option<Nanos> {
        let Some(limit) = self
            .weather
            .slow_receivers
            .filter(|limit| limit.concerns(to))
        else {
            return Some(now);
        };
        let read = self.sockets[to].pass(now, len, &limit);
        if read.is_none() {
            self.losses.lost += 1;
            self.losses.crowded_out += 1;
        }
        read
    }

    fn is_lost(&mut self, from: usize, to: usize) -> bool {
        let burst = self.weather.bursts.is_some_and(|bursts| {
            let in_burst = &mut self.in_burst[to];
            let change = if *in_burst { bursts.end } else { bursts.begin };
            if self.random.chance(change) {
                *in_burst = !*in_burst;
            }
            *in_burst && self.random.chance(bursts.loss)
        });
        let parted = (self.side >> from ^ self.side >> to) & 1 == 1;
        burst || parted || self.random.chance(self.weather.loss)
    }

    fn copy(
        &mut self,
        at: Nanos,
        bytes: &Rc<[u8]>,
        reading: Option<&Reading>,
        double: bool,
    ) -> Copy {
        let (bytes, state) = match reading {
            Some(reading) if self.random.chance(self.weather.altered) => {
                self.losses.altered += 1;
                if self.sealed {
                    (alter_sealed(&mut self.random, bytes), State::Altered)
                } else {
                    alter(&mut self.random, bytes, reading)
                }
            }
            _ => (Rc::clone(bytes), State::Good),
        };
        Copy {
            at,
            bytes,
            state,
            double,
        }
    }
}

/// Makes other bytes of a datagram.
///
/// What carries no checksum can lie: a flipped bit in a number or an id makes a datagram that is as
/// good as any, and no receiver without a key could know. UDP has a checksum against that. So
/// metadata, and what buses say to each other, are altered only so that they cannot be read any
/// more; what applications say may be altered anywhere, since it has a checksum of its own.
fn alter(random: &mut Random, bytes: &[u8], reading: &Reading) -> (Rc<[u8]>, State) {
    let mut altered = bytes.to_vec();
    let body = reading.body_at..bytes.len();
    if reading.said == Said::Event && !body.is_empty() && random.chance(0.6) {
        let at = body.start + random.index(body.len());
        altered[at] ^= 1 << random.below(8);
        return (altered.into(), State::Altered);
    }
    match random.below(4) {
        // The end is missing, part of the metadata with it.
        0 => altered.truncate(random.index(reading.body_at)),
        // A length that is wrong.
        1 => altered[random.index(6)] ^= 1 << random.below(8),
        // The key of the version.
        2 => altered[7] ^= 1 << random.below(8),
        // Noise.
        _ => {
            altered = (0..random.between(0, 200))
                .map(|_| random.word() as u8)
                .collect();
        }
    }
    (altered.into(), State::Destroyed)
}

/// Makes other bytes of a sealed datagram, in which any may be altered.
fn alter_sealed(random: &mut Random, bytes: &[u8]) -> Rc<[u8]> {
    let mut altered = bytes.to_vec();
    match random.below(3) {
        0 => altered.truncate(random.index(bytes.len())),
        _ => {
            let at = random.index(bytes.len());
            altered[at] ^= 1 << random.below(8);
        }
    }
    altered.into()
}

/// A queue of bytes that is emptied at a steady rate.
#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    /// When it will be empty.
    empty_at: Nanos,
}

impl Queue {
    /// When a datagram that comes now has passed. `None`: no room.
    fn pass(&mut self, now: Nanos, len: usize, limit: &Limit) -> Option<Nanos> {
        let cost = len as u64 + OVERHEAD;
        let waiting = self.empty_at.saturating_sub(now);
        let held = waiting * limit.rate / 1_000_000_000;
        if held + cost > limit.room {
            return None;
        }
        self.empty_at = now + waiting + cost * 1_000_000_000 / limit.rate;
        Some(self.empty_at)
    }
}

impl Limit {
    fn concerns(&self, member: usize) -> bool {
        self.whom >> member & 1 == 1
    }
}
