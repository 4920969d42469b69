//! What reaches a member, and what the member can know from then on.

use std::{net::SocketAddr, rc::Rc};

use super::{Actor, Cast, Future, Simulation};
use crate::world::{
    history::{MILLI, What},
    network::{Copy, State},
    reading::Said,
    sealed::{Label, Verdict},
};

impl Simulation<'_> {
    pub(super) fn arrive(&mut self, to: usize, cast: Rc<Cast>, copy: Copy) {
        match self.network.arrive(self.now, to, copy.bytes.len()) {
            Some(at) if at > self.now => self.plan_for(at, Future::HandOver(to, cast, copy)),
            Some(_) => self.hand_over(to, &cast, &copy),
            None => {}
        }
    }

    pub(super) fn hand_over(&mut self, to: usize, cast: &Rc<Cast>, copy: &Copy) {
        let seat = &self.seats[to];
        if cast.to.is_some_and(|address| address != seat.address) || self.wait(to, cast, copy) {
            return;
        }
        self.take(to, cast, copy);
    }

    /// Lets a member take a datagram.
    pub(super) fn take(&mut self, to: usize, cast: &Rc<Cast>, copy: &Copy) {
        let seat = &mut self.seats[to];
        match &mut seat.actor {
            Actor::Absent => {}
            Actor::Old(peer) => {
                // What the network doubles is not the sender's fault; and what it destroys would
                // end a real one.
                if copy.double || copy.state != State::Good {
                    return;
                }
                let Some(reading) = &cast.reading else {
                    return;
                };
                let deeds = peer.hear(self.now, cast.from, reading, &copy.bytes);
                self.do_deeds(to, deeds);
            }
            Actor::Bus(_) => {
                let state = if self.plan.sealed {
                    let intact = copy.state == State::Good;
                    self.pass_gate(to, cast, intact, &copy.bytes)
                } else {
                    Some(copy.state)
                };
                let to_one = cast.to.is_some();
                let what = (&copy.bytes[..], to_one);
                self.hear(to, cast.from, what, Some(cast).zip(state));
            }
        }
    }

    /// Lets a bus hear something, by the group's socket or by that for it alone, which may be what
    /// was sent, in that state.
    pub(super) fn hear(
        &mut self,
        to: usize,
        from: SocketAddr,
        (bytes, to_one): (&[u8], bool),
        cast: Option<(&Rc<Cast>, State)>,
    ) {
        if let Some((cast, state)) = cast {
            self.listen(to, from, cast, state);
            self.sense(to, cast, state);
        }
        // Whom it has to take in a sealed group.
        let of = cast.filter(|(_, state)| self.plan.sealed && *state == State::Good);
        let of = of.map(|(cast, _)| cast.by);
        let seat = &mut self.seats[to];
        let by = seat.life;
        let mut refused = None;
        if let Actor::Bus(bus) = &mut seat.actor {
            let before = of.map(|_| bus.refused_seals());
            bus.hear(self.now, from, bytes, to_one);
            refused = of.filter(|_| before < Some(bus.refused_seals()));
        }
        if let Some(of) = refused {
            self.note(What::Refused { by, of });
        }
        self.pump(to);
    }

    /// What a bus in a sealed group makes of a datagram that has the box of this one, perhaps.
    pub(super) fn judge(
        &self,
        to: usize,
        cast: &Cast,
        intact: bool,
        bytes: &[u8],
    ) -> Option<(Label, u64, Verdict)> {
        let seat = &self.seats[to];
        let (Actor::Bus(bus), Some((_, opener))) = (&seat.actor, &self.seal) else {
            return None;
        };
        let label = if intact {
            cast.label?
        } else {
            opener.find(bytes)?
        };
        let now_ms = bus.clock_ms(self.now);
        let verdict = seat.gate.judge(now_ms, cast.by, &label, intact);
        let own = cast.by == seat.life;
        (!own && verdict != Verdict::Refused).then_some((label, now_ms, verdict))
    }

    /// The same, and it comes. `None`: it is refused.
    pub(super) fn pass_gate(
        &mut self,
        to: usize,
        cast: &Cast,
        intact: bool,
        bytes: &[u8],
    ) -> Option<State> {
        if self.seats[to].posed.contains(&cast.by) {
            // It depends on what else was sealed in its name.
            return Some(State::Altered);
        }
        let (label, now_ms, _) = self.judge(to, cast, intact, bytes)?;
        let gate = &mut self.seats[to].gate;
        match gate.take(now_ms, cast.by, &label, intact) {
            Verdict::Taken => Some(State::Good),
            Verdict::Perhaps => Some(State::Altered),
            Verdict::Refused => None,
        }
    }

    /// Notes what a bus can know from now on.
    fn listen(&mut self, to: usize, from: SocketAddr, cast: &Cast, state: State) {
        let sealed = self.plan.sealed;
        let seat = &mut self.seats[to];
        let life = seat.life;
        let mut news = Vec::new();
        if seat.met.insert(from) {
            news.push(What::Met {
                by: life,
                address: from,
            });
        }
        let altered = state == State::Altered;
        if let Some(reading) = &cast.reading
            && state != State::Destroyed
            && cast.by != life
        {
            let number = match &reading.said {
                Said::Event => reading.number,
                Said::Again(inner) => inner.number,
                Said::Hello { last, .. } | Said::Bye { last } => Some(*last),
                Said::Nack { .. } | Said::Retx { .. } | Said::Gone | Said::Sealed(_) => None,
            };
            let claimed = matches!(reading.said, Said::Hello { .. } | Said::Bye { .. });
            let known = seat.known.get(&cast.by).copied().unwrap_or_default();
            let [by_claim, by_message] = known;
            let before = if claimed { by_claim } else { by_message };
            // What somebody has asked for says nothing about where to begin; nor does, on a sealed
            // bus, what was emitted before it was started.
            let is_repair = matches!(reading.said, Said::Again(_)) || cast.to.is_some();
            let emitted = cast.message.and_then(|message| self.emitted.get(&message));
            let started = self.lives[life as usize].started;
            let is_older = sealed
                && emitted.is_some_and(|emitted| {
                    // As a bus reads clocks.
                    let age = cast.at / MILLI - emitted / MILLI;
                    age > (self.now - started) / MILLI
                });
            let begins = !(is_repair || is_older) || claimed;
            if let Some(number) = number
                && before.map_or(begins || by_claim.is_some(), |before| before < number)
            {
                if !altered {
                    let mut known = known;
                    known[usize::from(!claimed)] = Some(number);
                    seat.known.insert(cast.by, known);
                }
                news.push(What::Heard {
                    by: life,
                    of: cast.by,
                    number,
                    claimed,
                    altered,
                });
            }
            let (own, sender) = (&self.lives[life as usize], &self.lives[cast.by as usize]);
            if let Some(number) = number.filter(|_| !is_repair || claimed)
                && sender.started < own.started
            {
                // By what it says of its sender's age that one seems to be so much younger.
                let under_way = self.now - cast.at;
                let from = if sender.started + under_way >= own.started {
                    Some(1)
                } else {
                    // Others overtake one that goes out in chunks.
                    let goes_on = reading.seq_len > 1 && !cast.repair;
                    let is_old = cast.at < own.started || goes_on;
                    is_old.then_some(number + u64::from(claimed))
                };
                news.extend(from.map(|from| What::Recalled {
                    by: life,
                    of: cast.by,
                    from,
                }));
            }
            if let Some(message) = cast.message {
                // What is in a box is as it was, or not there.
                if altered && !sealed {
                    news.push(What::Altered { to: life, message });
                }
                if cast.repair {
                    seat.repaired.insert(message);
                }
            }
        }
        for what in news {
            self.note(what);
        }
    }
}
