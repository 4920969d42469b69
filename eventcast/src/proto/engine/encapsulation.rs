//! What lies around a datagram: its seal, or the cipher of old peers (WIRE.md sections 5 and 8).
//!
//! A bus is clear, classic or sealed, and takes nothing of another kind. What a datagram means is
//! not decided here.

use std::net::SocketAddr;

use super::{
    Engine,
    receive::{Dropped, Encapsulation},
};
use crate::proto::{
    Destination, DropCause, MessageId, Now, SealConfig, SealKeys, Transmit,
    hash::HashKey,
    seal::{AuthenticatedSender, Opened, Sealing, Unsealable, id_bytes, opened},
    wire::{Metadata, SEALED},
};

/// What only a sealed bus has, with buffers that are used again.
pub(super) struct Sealed {
    sealing: Sealing,
    /// What is to be sealed.
    clear: Vec<u8>,
    /// What was opened.
    plain: Vec<u8>,
}

impl Sealed {
    pub(super) fn new(config: SealConfig, own: (&str, u64), now: Now, keys: HashKey) -> Self {
        Self {
            sealing: Sealing::new(config, own, now, keys),
            clear: Vec::new(),
            plain: Vec::new(),
        }
    }

    /// Notes that a sender leaves whose goodbye was sealed.
    pub(super) fn note_goodbye(&mut self, authenticated: AuthenticatedSender) {
        self.sealing.note_goodbye(authenticated);
    }

    pub(super) fn set_keys(&mut self, keys: &SealKeys) {
        self.sealing.set_keys(keys);
    }
}

impl Engine {
    /// What is to be sent, sealed now: each time that a datagram is sent it has another counter.
    pub(super) fn poll_sealed(&mut self, now: Now, buf: &mut Vec<u8>) -> Option<(Transmit, usize)> {
        loop {
            let (mut transmit, datagrams) = self.poll_clear(now, buf)?;
            let recipient = match transmit.to {
                Destination::Group => None,
                Destination::Peer(address) => {
                    let Some((_, known)) = self.peers.get(address) else {
                        // The requester is no longer known. If it is still there, it repeats the
                        // request.
                        self.stats.answers_refused += 1;
                        continue;
                    };
                    Some(known.sealed_as.unwrap_or_else(|| id_bytes(&known.peer.id)))
                }
            };
            let sealed = self.sealing.as_mut()?;
            std::mem::swap(buf, &mut sealed.clear);
            buf.clear();
            let size = transmit.segment_size.unwrap_or(sealed.clear.len());
            let mut first = None;
            for datagram in sealed.clear.chunks(size.max(1)) {
                let seq_id = MessageId::random(&mut self.rng).text();
                let sealing = &mut sealed.sealing;
                sealing.seal(now.unix_ms, &seq_id, recipient, datagram, buf);
                first.get_or_insert(buf.len());
            }
            transmit.segment_size = transmit.segment_size.and(first);
            return Some((transmit, datagrams));
        }
    }

    /// Takes a datagram on a sealed bus.
    pub(super) fn receive_sealed(
        &mut self,
        now: Now,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), Dropped> {
        let Some(sealed) = &mut self.sealing else {
            return Err(DropCause::Sealed.into());
        };
        let Opened {
            authenticated,
            to_one,
            sent_ms,
        } = sealed.sealing.open(now, bytes, &mut sealed.plain)?;
        let plain = std::mem::take(&mut sealed.plain);
        let encapsulation = Encapsulation {
            authenticated: Some(authenticated),
            to_one,
            sealed_ms: Some(sent_ms),
            ..Encapsulation::default()
        };
        let result = self.receive(now, from, opened(&plain), encapsulation);
        if let Some(sealed) = &mut self.sealing {
            sealed.plain = plain;
        }
        result
    }

    /// Whether a datagram that is not encrypted is allowed within this encapsulation.
    #[inline]
    pub(super) fn check_encapsulation(
        &self,
        seq_len: u32,
        name: &str,
        encapsulation: Encapsulation,
    ) -> Result<(), DropCause> {
        if name == SEALED {
            return Err(encapsulation.cause_of_sealed());
        }
        #[cfg(feature = "classic")]
        if self.classic.is_some() {
            return super::classic::check_encapsulation(seq_len, name, encapsulation);
        }
        let _ = seq_len;
        Ok(())
    }

    /// Takes a datagram that is ciphertext of the classic cipher.
    pub(super) fn receive_encrypted(
        &mut self,
        now: Now,
        from: SocketAddr,
        metadata: &Metadata<'_>,
        text: &[u8],
        encapsulation: Encapsulation,
    ) -> Result<(), Dropped> {
        #[cfg(feature = "classic")]
        if self.classic.is_some() {
            return self.decrypt(now, from, metadata, text, encapsulation);
        }
        let _ = (now, from, metadata, text, encapsulation);
        Err(self.cause_of_encrypted().into())
    }

    /// What the chunks of a message join to, decrypted where that is what a bus takes.
    pub(super) fn decrypt_joined(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, DropCause> {
        #[cfg(feature = "classic")]
        if let Some(classic) = &self.classic {
            return classic.decrypt_joined(&bytes);
        }
        Ok(bytes)
    }

    /// Why ciphertext of the classic cipher is refused: on a clear bus it is another kind of bus's,
    /// elsewhere one layer too many.
    pub(super) fn cause_of_encrypted(&self) -> DropCause {
        if self.is_encrypted() {
            DropCause::Malformed
        } else {
            DropCause::Classic
        }
    }

    fn is_encrypted(&self) -> bool {
        #[cfg(feature = "classic")]
        if self.classic.is_some() {
            return true;
        }
        self.sealing.is_some()
    }
}

impl Encapsulation {
    /// Why a sealed datagram is refused: it is sealed twice, or this bus does not take it.
    pub(super) fn cause_of_sealed(self) -> DropCause {
        if self.authenticated.is_some() || self.decrypted {
            DropCause::Malformed
        } else {
            DropCause::Sealed
        }
    }
}

impl From<Unsealable> for Dropped {
    fn from(refused: Unsealable) -> Self {
        match refused {
            Unsealable::Unknown(cause) => Self::Unopened(cause),
            Unsealable::Version(theirs) => Self::Version(theirs),
            Unsealable::Clock(ahead) => Self::Clock(ahead),
            Unsealable::Recorded(age) => Self::Recorded(age),
            Unsealable::BeforeStart { age_ms, left_ms } => Self::BeforeStart { age_ms, left_ms },
            Unsealable::For(cause) => Self::For(cause),
        }
    }
}
