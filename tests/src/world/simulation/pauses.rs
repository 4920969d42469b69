//! A member whose process is stopped for a while, and goes on: it finds in its socket what has come
//! meanwhile and found room there. What the bus's reading thread calls then is called here, in the
//! same order.

use std::{collections::VecDeque, rc::Rc};

use super::{Actor, Cast, Future, Seat, Simulation, Timeouts};
use crate::world::{
    attacker::Injection,
    history::{Life, MILLI, Nanos, What},
    network::{Copy, OVERHEAD},
};

/// Who is so much later than it was to be driven has been away.
const AWAY: Nanos = 100 * MILLI;

/// How many datagrams are read at a time at most, and how long that takes with all that their
/// listeners do.
const BATCH: u64 = 32;
const BATCH_TAKES: Nanos = MILLI / 2;

/// After so long it does what is due, although more waits.
const MOST_PATIENCE: Nanos = 1000 * MILLI;

/// A member that is stopped, or that reads what has waited meanwhile.
pub(super) struct Paused {
    since: Nanos,
    pub(super) until: Nanos,
    /// When it was to be driven.
    expected: Nanos,
    /// When it went on.
    went_on: Option<Nanos>,
    waiting: VecDeque<Waiting>,
    /// How much of its socket's buffer that takes, and how much there is.
    held: u64,
    room: u64,
}

enum Waiting {
    Copy(Rc<Cast>, Copy),
    Injection(Injection),
}

impl Waiting {
    fn cost(&self) -> u64 {
        let bytes = match self {
            Self::Copy(_, copy) => &copy.bytes,
            Self::Injection(injection) => &injection.bytes,
        };
        bytes.len() as u64 + OVERHEAD
    }
}

impl Seat {
    /// Until when its process is stopped.
    pub(super) fn stopped_until(&self) -> Option<Nanos> {
        let paused = self.paused.as_ref()?;
        paused.went_on.is_none().then_some(paused.until)
    }

    /// Whether something waits that it has not read.
    pub(super) fn input_waits(&self) -> bool {
        let paused = self.paused.as_ref();
        paused.is_some_and(|paused| !paused.waiting.is_empty())
    }
}

impl Simulation<'_> {
    /// Stops the process of a member for so long.
    pub(super) fn pause(&mut self, member: usize, length: Nanos, room: u64) {
        let now = self.now;
        let seat = &mut self.seats[member];
        let Actor::Bus(bus) = &seat.actor else {
            return;
        };
        if seat.left || seat.paused.is_some() {
            return;
        }
        let until = now + length;
        seat.wake_at = None;
        seat.paused = Some(Box::new(Paused {
            since: now,
            until,
            expected: bus.due().unwrap_or(Nanos::MAX).max(now),
            went_on: None,
            waiting: VecDeque::new(),
            held: 0,
            room,
        }));
        let life = seat.life;
        self.plan_for(until, Future::Read(member, life));
    }

    /// Lets a datagram wait, if its receiver does not read at present.
    pub(super) fn wait(&mut self, to: usize, cast: &Rc<Cast>, copy: &Copy) -> bool {
        self.seats[to].paused.is_some()
            && self.let_wait(to, Waiting::Copy(Rc::clone(cast), copy.clone()))
    }

    /// The same for what an attacker brings.
    pub(super) fn wait_injected(&mut self, to: usize, injection: &Injection) -> bool {
        self.seats[to].paused.is_some() && self.let_wait(to, Waiting::Injection(injection.clone()))
    }

    fn let_wait(&mut self, to: usize, what: Waiting) -> bool {
        let Some(paused) = &mut self.seats[to].paused else {
            return false;
        };
        let held = paused.held + what.cost();
        if held <= paused.room {
            paused.held = held;
            paused.waiting.push_back(what);
        } else {
            self.network.losses.lost += 1;
            self.network.losses.crowded_out += 1;
        }
        true
    }

    /// Lets a member that goes on read some of what waits for it.
    pub(super) fn read_waiting(&mut self, member: usize, life: Life) {
        let now = self.now;
        let seat = &mut self.seats[member];
        if seat.life != life {
            return;
        }
        let Some(paused) = &mut seat.paused else {
            return;
        };
        if paused.went_on.is_none() {
            paused.went_on = Some(now);
            let (stopped_for, away) = (now - paused.since, now.saturating_sub(paused.expected));
            if away >= AWAY
                && let Actor::Bus(bus) = &mut seat.actor
            {
                bus.excuse(now, away);
                seat.excuse(now, away);
            }
            self.note(What::Stopped {
                who: life,
                stopped_for,
            });
        }
        let batch = self.random.between(1, BATCH);
        let mut read = 0;
        while read < batch
            && let Some(paused) = &mut self.seats[member].paused
            && let Some(next) = paused.waiting.pop_front()
        {
            paused.held -= next.cost();
            read += 1;
            match next {
                Waiting::Copy(cast, copy) => self.take(member, &cast, &copy),
                Waiting::Injection(injection) => self.take_injected(member, &injection),
            }
        }
        let Some(paused) = &self.seats[member].paused else {
            return;
        };
        let waits_since = paused.went_on.unwrap_or(now);
        if read > 0 && now - waits_since < MOST_PATIENCE {
            self.drive(member, Timeouts::AmidInput);
            self.plan_for(now + BATCH_TAKES, Future::Read(member, life));
            return;
        }
        // All is read, or it has taken too long.
        while let Some(mut paused) = self.seats[member].paused.take()
            && let Some(next) = paused.waiting.pop_front()
        {
            self.seats[member].paused = Some(paused);
            match next {
                Waiting::Copy(cast, copy) => self.take(member, &cast, &copy),
                Waiting::Injection(injection) => self.take_injected(member, &injection),
            }
        }
        self.drive(member, Timeouts::All);
    }
}
