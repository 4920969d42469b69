//! What attackers bring to members.

use std::net::SocketAddr;

use eventcast::proto::DropCause;

use super::{Actor, Simulation};
use crate::world::{
    attacker::{Injection, Victim, is_strange},
    bus::WORLD_BEGAN_MS,
    history::{Life, MILLI, Nanos, What},
    poser::Reach,
};

/// Another address takes the place of one from which nothing has come for 2 s.
const HEARD_LATELY: Nanos = 1_800 * MILLI;

impl Simulation<'_> {
    /// The attacker does something.
    pub(super) fn attack(&mut self) {
        let seats = self.seats.len();
        // Whoever is not there yet has no address. What comes from none is malformed, whoever has
        // sealed it.
        let addresses = self.seats.iter().map(|seat| seat.address);
        let addresses: Vec<SocketAddr> = addresses.filter(|address| address.port() != 0).collect();
        let Some(attacker) = &mut self.attacker else {
            return;
        };
        if self.lives.is_empty() || addresses.is_empty() {
            return;
        }
        let life = attacker.choose(self.lives.len());
        let victim = Victim {
            life: life as Life,
            id: &self.lives[life].id,
            incarnation: self.incarnations[life].unwrap_or_default(),
            sent: self.places[life],
        };
        let injection = attacker.make(&addresses, &victim);
        match attacker.aim(seats) {
            Some(to) => self.inject(to, &injection),
            None => (0..seats).for_each(|to| self.inject(to, &injection)),
        }
    }

    /// Somebody poses as a member, or as others.
    pub(super) fn pose(&mut self) {
        let seats = self.seats.iter().enumerate();
        let running = seats.filter(|(_, seat)| matches!(seat.actor, Actor::Bus(_)));
        let running: Vec<usize> = running.map(|(member, _)| member).collect();
        if running.is_empty() {
            return;
        }
        let member = running[self.poser.choose(running.len())];
        let life = self.seats[member].life;
        let victim = Victim {
            life,
            id: &self.lives[life as usize].id,
            incarnation: self.incarnations[life as usize].unwrap_or_default(),
            sent: self.places[life as usize],
        };
        let messages: Vec<[u8; 20]> = {
            let of_victim = self.messages.iter().filter(|(_, key)| key.sender == life);
            let mut ids: Vec<_> = of_victim.map(|(id, _)| *id).collect();
            ids.sort_unstable();
            ids
        };
        let may_name = if self.plan.sealed {
            self.plan.posed_as == Some(member)
        } else {
            // Where much else goes wrong, nobody can tell who speaks in the name of one that is not
            // heard.
            self.plan.mild
        };
        let is_usurped = self.plan.usurped == Some(member);
        let reach = if is_usurped {
            Reach::Usurped
        } else if may_name {
            Reach::Members
        } else {
            Reach::Strangers
        };
        let seat = &self.seats[member];
        let victim = (&victim, seat.address, seat.sealed[0]);
        let now_ms = WORLD_BEGAN_MS + self.now / MILLI;
        let posed = self.poser.make(now_ms, victim, &messages, reach);
        for to in running {
            let seat = &mut self.seats[to];
            if seat.life != life && !seat.known.contains_key(&life) {
                continue;
            }
            let by = seat.life;
            // Who has the key, or the address, is as good as the member itself.
            let is_like_it = posed.as_member && (self.plan.sealed || is_usurped);
            if is_like_it && seat.posed.insert(life) {
                self.note(What::Posed { to: by, of: life });
            }
            self.figures.posed += u64::from(posed.as_member && by != life);
            let reads = self.seats[to].paused.is_none();
            let looks = posed.speaks_of_itself && !is_like_it && reads && self.hears(to, life);
            let before = self.posed_drops(to);
            self.inject(to, &posed.injection);
            if looks {
                if self.posed_drops(to) > before {
                    self.figures.not_obeyed += 1;
                } else {
                    self.note(What::Obeyed { by, of: life });
                }
            }
        }
    }

    /// Whether a member has heard a hello of this one lately.
    fn hears(&self, member: usize, of: Life) -> bool {
        let seat = &self.seats[member];
        let sense = seat.senses.get(&of);
        sense.is_some_and(|sense| sense.has_greeted_since(self.now.saturating_sub(HEARD_LATELY)))
    }

    /// How often a member has said that somebody poses.
    fn posed_drops(&self, member: usize) -> u64 {
        match &self.seats[member].actor {
            Actor::Bus(bus) => bus.stats().drops.get(DropCause::Posed),
            _ => 0,
        }
    }

    /// Very many newcomers say hello.
    pub(super) fn throng(&mut self) {
        for injection in self.poser.throng(WORLD_BEGAN_MS + self.now / MILLI) {
            for to in 0..self.seats.len() {
                self.inject(to, &injection);
            }
        }
    }

    /// The attacker brings something to a bus.
    pub(super) fn inject(&mut self, to: usize, injection: &Injection) {
        if !matches!(self.seats[to].actor, Actor::Bus(_)) || self.wait_injected(to, injection) {
            return;
        }
        self.take_injected(to, injection);
    }

    /// Lets a bus take what the attacker has brought.
    pub(super) fn take_injected(&mut self, to: usize, injection: &Injection) {
        let Injection {
            from,
            bytes,
            of,
            intact,
        } = injection;
        let calm = self.now >= self.plan.calm_from;
        let mut state = None;
        if let Some(cast) = of
            && (self.seats[to].posed.contains(&cast.by)
                || self.judge(to, cast, *intact, bytes).is_some())
        {
            if calm {
                // What was lost before would be news, and news are not quiet.
                return;
            }
            state = self.pass_gate(to, cast, *intact, bytes);
        }
        self.figures.injected += 1;
        if is_strange(*from) {
            let life = self.seats[to].life;
            let stranger = self.strangers.entry((life, from.ip())).or_default();
            stranger[0] += bytes.len() as u64;
            if of.is_none() && self.seats[to].met.insert(*from) {
                let (by, address) = (life, *from);
                self.note(What::Met { by, address });
            }
        }
        let to_one = of.as_ref().is_some_and(|cast| cast.to.is_some());
        let what = (&bytes[..], to_one);
        self.hear(to, *from, what, of.as_ref().zip(state));
    }
}
