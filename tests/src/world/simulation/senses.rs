//! What a member can know of who else is there, by what has come to it.

use super::{Cast, Seat, Simulation};
use crate::world::{
    history::{Life, MILLI, Nanos, What},
    network::State,
    reading::Said,
};

/// Of two that share an id, the older one has to say hello so long after the first hello of the
/// newer one came. A member may find out when that was by the hello's own time, which it knows to
/// the millisecond.
const UNDER_WAY: Nanos = 1000 * MILLI;
const GRAIN: Nanos = 2 * MILLI;

/// What a member has got of one life.
#[derive(Debug, Default)]
pub(super) struct Sense {
    /// When something came last that says that it lives; and the same with what may have been
    /// refused.
    last: Option<Nanos>,
    last_perhaps: Option<Nanos>,
    /// When the last hello was sent that came.
    hello_sent: Option<Nanos>,
    /// When its first hello came, and the first that may have been refused.
    first_hello: Option<Nanos>,
    first_perhaps: Option<Nanos>,
    /// It has said goodbye.
    bye: bool,
    /// The application was told that it is there.
    pub(super) is_present: bool,
}

impl Sense {
    /// Whether a hello has come that was sent since then.
    pub(super) fn has_greeted_since(&self, moment: Nanos) -> bool {
        self.is_present && !self.bye && self.hello_sent >= Some(moment)
    }
}

impl Seat {
    /// For so long until now it could hear nothing.
    pub(super) fn excuse(&mut self, now: Nanos, away: Nanos) {
        for sense in self.senses.values_mut() {
            let times = [
                &mut sense.last,
                &mut sense.last_perhaps,
                &mut sense.first_hello,
                &mut sense.first_perhaps,
            ];
            for time in times.into_iter().flatten() {
                *time = (*time + away).min(now);
            }
        }
    }
}

impl Simulation<'_> {
    /// Notes that something of a life has come to a member.
    pub(super) fn sense(&mut self, to: usize, cast: &Cast, state: State) {
        let Some(reading) = &cast.reading else {
            return;
        };
        let (now, by, of) = (self.now, self.seats[to].life, cast.by);
        if state == State::Destroyed || of == by {
            return;
        }
        let good = state == State::Good;
        // A hello to one alone, which brings a token, is no first one.
        let (is_hello, is_first) = match reading.said {
            Said::Hello { is_reply, .. } => (true, !is_reply),
            _ => (false, false),
        };
        let is_sign = match &reading.said {
            Said::Event => reading.number.is_some(),
            Said::Again(inner) => inner.number.is_some(),
            _ => is_hello,
        };
        let sense = self.seats[to].senses.entry(of).or_default();
        sense.bye |= matches!(reading.said, Said::Bye { .. });
        if is_sign {
            sense.last_perhaps = Some(now);
            if good {
                sense.last = Some(now);
            }
        }
        // One that was overtaken by another says nothing.
        let mut in_order = true;
        if is_hello {
            sense.first_perhaps.get_or_insert(now);
            in_order = sense.hello_sent.is_none_or(|before| before <= cast.at);
            sense.hello_sent = Some(cast.at);
        }
        if is_first && good {
            sense.first_hello.get_or_insert(now);
        }
        if self.lives[of as usize].id == self.lives[by as usize].id {
            self.note_namesakes(by, of, by, good && is_hello);
        } else {
            self.look_for_namesakes(to, of, good && is_hello && in_order);
        }
    }

    /// Whether this one, of which something has come, and another one share an id.
    fn look_for_namesakes(&mut self, to: usize, of: Life, is_sure: bool) {
        let id = &self.lives[of as usize].id;
        let shares = |other: &Life| *other != of && self.lives[*other as usize].id == *id;
        let seat = &self.seats[to];
        let others = seat.senses.keys().copied().filter(shares);
        let mut others: Vec<Life> = others.collect();
        others.sort_unstable();
        let by = seat.life;
        for other in others {
            let seat = &self.seats[to];
            let pair = [&seat.senses[&of], &seat.senses[&other]];
            let speaks = |first: [Option<Nanos>; 2], last: [Option<Nanos>; 2], pause: Nanos| {
                let ([Some(a), Some(b)], [Some(last_a), Some(last_b)]) = (first, last) else {
                    return false;
                };
                let (newer, older_heard) = if a < b { (b, last_a) } else { (a, last_b) };
                older_heard >= newer + pause
            };
            let perhaps = speaks(
                pair.map(|sense| sense.first_perhaps),
                pair.map(|sense| sense.last_perhaps),
                UNDER_WAY,
            );
            let sure = is_sure
                && pair.iter().all(|sense| sense.is_present && !sense.bye)
                && speaks(
                    pair.map(|sense| sense.first_hello),
                    pair.map(|sense| sense.hello_sent),
                    UNDER_WAY + GRAIN,
                );
            if sure || perhaps {
                self.note_namesakes(of, other, by, sure);
            }
        }
    }

    fn note_namesakes(&mut self, of: Life, other: Life, by: Life, sure: bool) {
        let lives = [of.min(other), of.max(other)];
        if self.namesakes.insert((by, lives)) || sure {
            self.note(What::Namesakes { by, lives, sure });
        }
    }

    /// A bus tells its application that somebody is there.
    pub(super) fn note_joined(&mut self, member: usize, of: Life) {
        let seat = &mut self.seats[member];
        let to = seat.life;
        seat.senses.entry(of).or_default().is_present = true;
        self.note(What::Joined { to, of });
    }

    /// A bus tells its application that somebody is gone.
    pub(super) fn note_left(&mut self, member: usize, of: Life, goodbye: bool) {
        let now = self.now;
        let seat = &mut self.seats[member];
        let (to, input_waits) = (seat.life, seat.input_waits());
        let sense = seat.senses.entry(of).or_default();
        sense.is_present = false;
        let silent_for = sense.last.map(|last| now - last);
        let said_goodbye = sense.bye;
        self.note(What::Left {
            to,
            of,
            goodbye,
            silent_for,
            said_goodbye,
            input_waits,
        });
    }
}
