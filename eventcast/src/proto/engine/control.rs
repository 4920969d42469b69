//! Reserved events: writing them, and the handler of each.

use std::net::IpAddr;

use super::{
    Engine,
    receive::{Dropped, Encapsulation, Incoming, Sender},
};
use crate::proto::{
    Destination, DropCause, MessageId, Now,
    receive::peers::KnownAt,
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
            encapsulation,
        } = *sender;
        let mut from = from;
        if cfg!(eventcast_sabotage = "named_address")
            && let Ok(host) = peer.host.parse::<IpAddr>()
        {
            from = (host, peer.port).into();
        }
        // The quick way of reading leads here with any name.
        if incoming.name == SEALED {
            return Err(encapsulation.cause_of_sealed().into());
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
            Control::Hello(hello) => {
                self.keep_token(at, hello.token);
                self.hear_hello(now, (at, peer), &hello)?;
            }
            Control::Bye {
                incarnation,
                last,
                token,
            } => {
                self.keep_token(at, token);
                self.hear_goodbye(now, peer, (incarnation, last))?;
                if let (Some(sealed), Some(authenticated)) =
                    (&mut self.sealing, encapsulation.authenticated)
                {
                    sealed.note_goodbye(authenticated);
                }
            }
            Control::Nack {
                id,
                incarnation,
                token,
                missing,
            } => self.answer_nack(now, (at, from, token), (id, incarnation), &missing)?,
            // An old peer that gets a chunk twice may put the message together twice: a request
            // that the network has doubled is answered once.
            Control::Retx { .. }
                if peer.incarnation.is_none()
                    && self.is_repeated(now.elapsed, incoming, sender) =>
            {
                return Err(DropCause::Duplicate.into());
            }
            Control::Retx {
                seq_id,
                token,
                missing,
            } => self.answer_retx(now, (at, from, token), seq_id, &missing)?,
            Control::Gone {
                incarnation,
                missing,
            } => self.hear_gone(from, peer, incarnation, &missing)?,
            // One layer, once.
            Control::Again(_) if encapsulation.repeated || encapsulation.decrypted => {
                return Err(DropCause::Malformed.into());
            }
            Control::Again(datagram) => {
                let repeated = true;
                return self.receive(
                    now,
                    from,
                    datagram,
                    Encapsulation {
                        repeated,
                        ..encapsulation
                    },
                );
            }
        }
        Ok(())
    }

    /// Keeps what is to be put into requests to this address.
    fn keep_token(&mut self, at: KnownAt, token: Option<u64>) {
        if token.is_some() {
            self.peers[at].token = token;
        }
    }

    /// Sends a reserved event of one datagram. `write` appends the payload, for which so many bytes
    /// are left. `false`: too many wait already, and it is dropped.
    pub(super) fn send_control(
        &mut self,
        now: Now,
        to: Destination,
        name: &str,
        write: impl FnOnce(&mut Vec<u8>, usize),
    ) -> bool {
        let datagram = self.control(now, name, write);
        self.push_control(to, datagram)
    }

    /// Sends a reserved event. `false`: too many wait already, and it is dropped.
    pub(super) fn push_control(&mut self, to: Destination, datagram: Vec<u8>) -> bool {
        let queued = self.queue.push_urgent(to, datagram);
        self.stats.control_unsent += u64::from(!queued);
        queued
    }

    /// A reserved event of one datagram.
    pub(super) fn control(
        &mut self,
        now: Now,
        name: &str,
        write: impl FnOnce(&mut Vec<u8>, usize),
    ) -> Vec<u8> {
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
        datagram
    }
}
