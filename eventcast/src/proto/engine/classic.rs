//! The cipher of old peers, in and out (WIRE.md section 5).
//!
//! Events to the group are encrypted. What the protocol itself has to say goes in the clear, as the
//! chunks' metadata does: under this cipher it would be no less forgeable.

use std::net::SocketAddr;

use super::{
    Engine,
    receive::{Dropped, Encapsulation},
};
use crate::proto::{
    Accepted, DropCause, MessageId, Now, Outgoing, Refusal,
    classic::{ClassicKey, encrypted_len},
    send::chunker::Outbound,
    wire::{
        CLASSIC_HEAD, Datagram, Head, Metadata, NONCE_LEN,
        control::{AGAIN, is_known},
        put_nonce, write_classic_head,
    },
};

/// What only a classic bus has, with a buffer that is used again.
pub(super) struct Classic {
    key: ClassicKey,
    /// A message before it is encrypted, or after it was decrypted.
    message: Vec<u8>,
}

impl Classic {
    pub(super) fn new(key: ClassicKey) -> Self {
        Self {
            key,
            message: Vec::new(),
        }
    }

    /// What joined chunks hold has to be ciphertext.
    pub(super) fn decrypt_joined(&self, bytes: &[u8]) -> Result<Vec<u8>, DropCause> {
        let Ok(Datagram { metadata, rest }) = Datagram::parse(bytes) else {
            return Err(DropCause::Malformed);
        };
        if metadata.described.is_some() {
            return Err(DropCause::Clear);
        }
        if metadata.seq_len != 1 {
            return Err(DropCause::Malformed);
        }
        let mut message = Vec::with_capacity(rest.len());
        self.key.decrypt(rest, &mut message)?;
        Ok(message)
    }
}

/// Whether a datagram that is not encrypted is allowed within this encapsulation.
pub(super) fn check_encapsulation(
    seq_len: u32,
    name: &str,
    encapsulation: Encapsulation,
) -> Result<(), DropCause> {
    if encapsulation.decrypted {
        // What was encrypted is whole, and holds nothing of the encapsulation before.
        return if seq_len > 1 || name == AGAIN {
            Err(DropCause::Malformed)
        } else {
            Ok(())
        };
    }
    let may_be_clear = seq_len > 1 || is_known(name) && !encapsulation.repeated;
    if may_be_clear {
        Ok(())
    } else {
        Err(DropCause::Clear)
    }
}

impl Engine {
    /// Takes ciphertext.
    pub(super) fn decrypt(
        &mut self,
        now: Now,
        from: SocketAddr,
        metadata: &Metadata<'_>,
        text: &[u8],
        encapsulation: Encapsulation,
    ) -> Result<(), Dropped> {
        if encapsulation.decrypted || metadata.seq_len != 1 {
            return Err(DropCause::Malformed.into());
        }
        let Some(classic) = &mut self.classic else {
            return Err(DropCause::Classic.into());
        };
        let mut message = std::mem::take(&mut classic.message);
        let result = match classic.key.decrypt(text, &mut message) {
            Ok(()) => {
                let decrypted = true;
                self.receive(
                    now,
                    from,
                    &message,
                    Encapsulation {
                        decrypted,
                        ..encapsulation
                    },
                )
            }
            Err(cause) => Err(cause.into()),
        };
        if let Some(classic) = &mut self.classic {
            classic.message = message;
        }
        result
    }

    /// Takes an event to be sent in ciphertext.
    pub(super) fn emit_encrypted(
        &mut self,
        Classic { key, message }: &mut Classic,
        now: Now,
        event: Outgoing<'_>,
        number: Option<u64>,
    ) -> Result<Accepted, Refusal> {
        let name_len = event.key.len();
        let numbered = number.is_some();
        let head_len = self
            .template
            .len(name_len, numbered, event.schema.is_some())
            + NONCE_LEN;
        let size = CLASSIC_HEAD + encrypted_len(head_len + event.payload.len());
        let chunk_head_len = self.template.len(name_len, numbered, false) + NONCE_LEN;
        let plan = if self.chunker.fits_whole(size) {
            self.check_room(size, false)?;
            None
        } else {
            let plan = self.chunker.plan(size, chunk_head_len, name_len)?;
            self.check_room(plan.wire_len, true)?;
            Some(plan)
        };

        if numbered {
            self.greet_newcomers(now);
        }
        let mut random = || MessageId::random(&mut self.rng);
        let (inner_id, outer_id, message_id) = (random(), random(), random());
        let (nonce, chunk_nonce) = (random(), random());
        let time = self.clock.write(now.unix_ms);
        let head = Head {
            seq: 0,
            seq_len: 1,
            seq_id: &inner_id.text(),
            name: event.key,
            time: &time,
            number,
            schema: event.schema,
        };
        message.clear();
        self.template.write(&head, message);
        put_nonce(message, 0, &nonce.text());
        message.extend_from_slice(event.payload);
        let encrypt = |out: &mut Vec<u8>| {
            write_classic_head(&outer_id.text(), out);
            key.encrypt(message, out);
        };
        let message_id = match plan {
            None => {
                self.push_small(now.elapsed, number, |_, out| encrypt(out));
                inner_id
            }
            Some(plan) => {
                let mut encrypted = Vec::with_capacity(size);
                encrypt(&mut encrypted);
                let head = Head {
                    seq_len: plan.chunks,
                    seq_id: &message_id.text(),
                    schema: None,
                    ..head
                };
                let mut chunk_head = Vec::with_capacity(chunk_head_len);
                self.template.write(&head, &mut chunk_head);
                put_nonce(&mut chunk_head, 0, &chunk_nonce.text());
                let outbound = Outbound::with_nonces(encrypted, chunk_head, plan);
                self.push_chunks(now.elapsed, outbound, message_id, number);
                message_id
            }
        };
        Ok(Accepted { message_id, number })
    }
}
