//! Reserved events: writing them, and who takes care of which.

use std::net::IpAddr;

use super::{
    Engine,
    receive::{Dropped, Incoming, Layers, Sender},
};
use crate::proto::{
    Destination, DropCause, MessageId, Now,
    wire::{
        Head, SEALED,
        control::{self, Control},
    },
};

impl Engine {
    /// Takes a reserved event.
    pub(super) fn take_control(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        sender: &Sender,
    ) -> Result<(), Dropped> {
        let Sender {
            from,
            at,
            ref peer,
            layers,
        } = *sender;
        let mut from = from;
        if cfg!(eventcast_sabotage = "named_address")
            && let Ok(host) = peer.host.parse::<IpAddr>()
        {
            from = (host, peer.port).into();
        }
        // The quick way of reading leads here with any name.
        if incoming.name == SEALED {
            return Err(layers.cause_of_sealed().into());
        }
        if !control::is_known(incoming.name) {
            return Err(DropCause::Reserved.into());
        }
        // Each is one datagram, and none is numbered.
        if incoming.seq_len > 1 || incoming.number.is_some() {
            return Err(DropCause::Malformed.into());
        }
        let args = incoming.read_payload()?;
        match Control::read(incoming.name, args)? {
            Control::Hello(hello) => self.hear_hello(now, (at, peer), &hello)?,
            Control::Bye { incarnation, last } => {
                self.hear_goodbye(now, peer, (incarnation, last))?;
                if let (Some(sealed), Some(stamp)) = (&mut self.sealing, layers.stamp) {
                    sealed.note_goodbye(stamp);
                }
            }
            Control::Nack {
                id,
                incarnation,
                missing,
            } => self.answer_nack(now, at, from, (id, incarnation), &missing)?,
            Control::Retx { seq_id, missing } => {
                self.answer_retx(now, at, from, seq_id, &missing)?;
            }
            Control::Gone {
                incarnation,
                missing,
            } => self.hear_gone(from, peer, incarnation, &missing)?,
            // One layer, once.
            Control::Again(_) if layers.repeated || layers.decrypted => {
                return Err(DropCause::Malformed.into());
            }
            Control::Again(datagram) => {
                let repeated = true;
                return self.receive(now, from, datagram, Layers { repeated, ..layers });
            }
        }
        Ok(())
    }

    /// Sends a reserved event of one datagram. `write` appends the payload, for which so many bytes are left. `false`: too
    /// many wait already, and it is dropped.
    pub(super) fn send_control(
        &mut self,
        now: Now,
        to: Destination,
        name: &str,
        write: impl FnOnce(&mut Vec<u8>, usize),
    ) -> bool {
        let mut datagram = Vec::new();
        let head = Head {
            seq: 0,
            seq_len: 1,
            seq_id: &MessageId::random(&mut self.rng).text(),
            name,
            time: &self.clock.write(now.unix_ms),
            number: None,
            schema: None,
        };
        self.template.write(&head, &mut datagram);
        let room = self.longest_control.saturating_sub(datagram.len());
        write(&mut datagram, room);
        let queued = self.queue.push_urgent(to, datagram);
        self.stats.control_unsent += u64::from(!queued);
        queued
    }
}
