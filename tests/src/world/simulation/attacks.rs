//! What attackers bring to members.

use std::net::SocketAddr;

use super::{Actor, Seat, Simulation};
use crate::world::{
    attacker::{Injection, Victim, is_strange},
    history::{Life, What},
};

impl Simulation<'_> {
    /// The attacker does something.
    pub(super) fn attack(&mut self) {
        let seats = self.seats.len();
        // Whoever is not there yet has no address. What comes from none is malformed, whoever has sealed it.
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

    /// Somebody poses in a group in the clear.
    pub(super) fn pose(&mut self) {
        let running = |seat: &&Seat| matches!(seat.actor, Actor::Bus(_));
        let members: Vec<(Life, SocketAddr)> = self
            .seats
            .iter()
            .filter(running)
            .map(|seat| (seat.life, seat.address))
            .collect();
        if members.is_empty() {
            return;
        }
        let (life, _) = members[self.poser.choose(members.len())];
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
        // Where much else goes wrong, nobody can tell who speaks in the name of one that is not heard.
        let injection = self.poser.make(&victim, &messages, self.plan.mild);
        for to in 0..self.seats.len() {
            let seat = &self.seats[to];
            let is_running = matches!(seat.actor, Actor::Bus(_));
            let knows = seat.life == life || seat.known.contains_key(&life);
            if is_running && knows {
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
            && self.judge(to, cast, *intact, bytes).is_some()
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
        self.hear(to, *from, bytes, of.as_ref().zip(state));
    }
}
