//! What comes out of a member: what it tells its application, and what it sends.

use std::{net::SocketAddr, ops::Range, rc::Rc};

use super::{Actor, Cast, Future, Seat, Simulation};
use crate::world::{
    attacker::Injection,
    attacker::is_strange,
    bus::Told,
    history::{Content, Kind, Life, MessageKey, What},
    old_peer::Deed,
    payload,
    plan::Act,
    poser::NOBODY,
    reading::{self, Reading, Said},
    sealed::{Label, ROUNDS},
};

impl Simulation<'_> {
    /// Notes what a bus tells its application.
    pub(super) fn tell(&mut self, member: usize, told: Told) {
        let to = self.seats[member].life;
        if self.is_made_up(&told) {
            return;
        }
        let what = match told {
            Told::Message {
                from,
                number,
                id,
                stamp,
            } => {
                let sender = self.messages.get(&id).copied();
                let content = content(stamp, sender);
                self.figures.delivered += 1;
                let repaired =
                    sender.is_some_and(|message| self.seats[member].repaired.contains(&message));
                self.figures.repaired += u64::from(repaired);
                What::Delivered {
                    to,
                    from: self.life_by(&from),
                    number,
                    content,
                }
            }
            Told::Expired { number, id, .. } => {
                self.figures.told_lost += u64::from(number.is_some());
                self.figures.expired += 1;
                What::Expired {
                    to,
                    message: self.messages.get(&id).copied(),
                    number,
                }
            }
            Told::Joined(of) => {
                if let Some(of) = self.life_by(&of) {
                    self.note_joined(member, of);
                    self.greet(member);
                }
                return;
            }
            Told::Left { of, goodbye } => {
                if let Some(of) = self.life_by(&of) {
                    self.note_left(member, of, goodbye);
                }
                return;
            }
            Told::Clash { of, other } => {
                let of = self.life_by(&of);
                let other = other.map_or(Some(to), |other| self.life_by(&other));
                let lives = [of.min(other), of.max(other)];
                What::Clash { to, lives }
            }
            Told::Lost { of, ranges } => {
                let of = self.life_by(&of);
                for (first, last) in ranges {
                    self.figures.told_lost += (last + 1).saturating_sub(first);
                    self.note(What::Lost {
                        to,
                        of,
                        first,
                        last,
                    });
                }
                return;
            }
        };
        self.note(what);
    }

    /// Whether this report follows from datagrams of the poser, which come in the name of a bus
    /// that never ran, or are sealed in the name of another one.
    fn is_made_up(&self, told: &Told) -> bool {
        let of = match told {
            Told::Message { stamp, from, .. } => {
                let nobody = |stamp: &payload::Stamp| stamp.message.sender == NOBODY;
                let poses = self.plan.posed_as.is_some() || self.plan.usurped.is_some();
                if poses && stamp.as_ref().is_some_and(nobody) {
                    return true;
                }
                from
            }
            Told::Expired { id, .. }
                if self.plan.usurped.is_some() && !self.messages.contains_key(id) =>
            {
                return true;
            }
            Told::Expired { of, .. } | Told::Lost { of, .. } | Told::Joined(of) => of,
            Told::Left { of, .. } => of,
            // It counts as told.
            Told::Clash { .. } => return false,
        };
        self.plan.poses && of.incarnation.is_some() && self.life_by(of).is_none()
    }

    /// Lets a bus greet who has joined, as its application would: at once.
    fn greet(&mut self, member: usize) {
        if !self.plan.greets || self.now >= self.plan.calm_from || self.seats[member].left {
            return;
        }
        for len in [24, 200] {
            let act = Act::Emit {
                member,
                len,
                best_effort: false,
                nonsense: false,
            };
            self.plan_for(self.now, Future::Act(act));
        }
    }

    pub(super) fn do_deeds(&mut self, member: usize, deeds: Vec<Deed>) {
        let to = self.seats[member].life;
        for deed in deeds {
            match deed {
                Deed::Send(address, bytes) => self.send(member, Some(address), &bytes),
                Deed::Deliver(id, stamp) => {
                    let sender = self.messages.get(&id).copied();
                    // It knows nothing of incarnations.
                    let content = content(stamp, sender);
                    self.figures.delivered_to_old += 1;
                    self.note(What::Delivered {
                        to,
                        from: sender.map(|message| message.sender),
                        number: None,
                        content,
                    });
                }
            }
        }
        self.schedule(member);
    }

    /// Puts a datagram of a member onto the network.
    pub(super) fn send(&mut self, member: usize, to: Option<SocketAddr>, bytes: &[u8]) {
        let seat = &self.seats[member];
        let (by, from) = (seat.life, seat.address);
        let (label, reading) = self.read(seat, to, bytes);
        if let Some(label) = &label {
            self.seats[member].sealed[usize::from(label.is_to_one())] = label.counter;
        }
        let kind = self.kind(reading.as_ref());
        let (message, repair) = match kind {
            Kind::Data {
                message,
                chunk,
                again,
            } => {
                let first = message.is_some_and(|message| self.had.insert((message, chunk)));
                (message, again || !first)
            }
            _ => (None, false),
        };
        self.figures.datagrams += 1;
        self.figures.bytes += bytes.len() as u64;
        self.figures.repairs += u64::from(repair);
        self.figures.control += u64::from(!matches!(kind, Kind::Data { .. }));
        self.note(What::Cast { by, to, kind });
        if let Some(to) = to.filter(|to| is_strange(*to)) {
            let stranger = self.strangers.entry((by, to.ip())).or_default();
            stranger[1] += bytes.len() as u64;
        }

        let receivers = match to {
            Some(address) => {
                let owner = |seat: &Seat| seat.address == address && seat.starts > 0;
                let owner = self.seats.iter().position(owner);
                owner.map_or(0..0, |owner| owner..owner + 1)
            }
            None => 0..self.seats.len(),
        };
        if let Some(label) = &label {
            self.look_for_closed(by, label, receivers.clone());
        }
        let Some((away, lost)) = self.network.leave(self.now, member, bytes.len()) else {
            let copies = receivers.len().saturating_sub(1).max(1) as u64;
            self.network.losses.copies += copies;
            self.network.losses.lost += copies;
            self.network.losses.crowded_out += copies;
            return;
        };
        let cast = Rc::new(Cast {
            by,
            at: self.now,
            from,
            to,
            label,
            reading,
            message,
            repair,
        });
        let bytes: Rc<[u8]> = bytes.into();
        if let Some(attacker) = &mut self.attacker {
            attacker.keep(&cast, &bytes);
        }
        for receiver in receivers {
            if self.seats[receiver].starts == 0
                || receiver == member && to.is_none() && !self.plan.members[member].echo
            {
                continue;
            }
            if self.now < self.plan.calm_from
                && let Some(attacker) = &mut self.attacker
                && let Some(pause) = attacker.hold_back()
            {
                let injection = Injection {
                    from,
                    bytes: Rc::clone(&bytes),
                    of: Some(Rc::clone(&cast)),
                    intact: true,
                };
                self.plan_for(self.now + pause, Future::Inject(receiver, injection));
                continue;
            }
            let way = (member, receiver);
            let copies = self
                .network
                .carry(away, way, &bytes, cast.reading.as_ref(), lost);
            for copy in copies.into_iter().flatten() {
                self.plan_for(copy.at, Future::Arrive(receiver, Rc::clone(&cast), copy));
            }
        }
    }

    /// Notes those who could not open this if it came at once: in a group that changes its key as
    /// it should all can.
    fn look_for_closed(&mut self, of: Life, label: &Label, receivers: Range<usize>) {
        let closed =
            |seat: &&Seat| matches!(seat.actor, Actor::Bus(_)) && !seat.gate.holds.opens(label.key);
        let closed = self.seats[receivers].iter().filter(closed);
        let closed: Vec<_> = closed.map(|seat| seat.life).collect();
        for by in closed {
            self.note(What::Refused { by, of });
        }
    }

    /// What was sent, as far as its receivers can read it. In a sealed group all has to be sealed,
    /// as its sender's, with the key that its sender is to use, and with a counter that it has not
    /// used.
    fn read(
        &self,
        by: &Seat,
        to: Option<SocketAddr>,
        bytes: &[u8],
    ) -> (Option<Label>, Option<Reading>) {
        let Some((_, opener)) = &self.seal else {
            return (None, reading::read(bytes));
        };
        let read = opener.read(bytes).filter(|(label, _)| {
            let life = by.life as usize;
            let sender = (&*self.lives[life].id, self.incarnations[life]);
            label.fits(sender, ROUNDS[by.round].send, to.is_some())
                && label.counter > by.sealed[usize::from(to.is_some())]
        });
        read.unzip()
    }

    fn kind(&self, reading: Option<&Reading>) -> Kind {
        let Some(reading) = reading else {
            return Kind::Unreadable;
        };
        match &reading.said {
            Said::Event => Kind::Data {
                message: self.messages.get(&reading.seq_id).copied(),
                chunk: reading.seq,
                again: false,
            },
            Said::Again(inner) => Kind::Data {
                message: self.messages.get(&inner.seq_id).copied(),
                chunk: inner.seq,
                again: true,
            },
            Said::Hello { .. } => Kind::Hello,
            Said::Bye { .. } => Kind::Bye,
            Said::Gone => Kind::Gone,
            Said::Sealed(_) => Kind::Unreadable,
            Said::Nack { id, inc, missing } => Kind::Nack {
                of: self.life_of(id, Some(*inc)),
                missing: missing.clone(),
            },
            Said::Retx {
                seq_id, missing, ..
            } => Kind::Retx {
                message: self.messages.get(seq_id).copied(),
                missing: missing.clone(),
            },
        }
    }
}

fn content(stamp: Option<payload::Stamp>, by_id: Option<MessageKey>) -> Content {
    match stamp {
        Some(stamp) => Content::Whole {
            message: stamp.message,
            digest: stamp.digest,
        },
        None => Content::Broken(by_id),
    }
}
