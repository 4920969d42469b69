//! From an event to datagrams in the queue.

use super::Engine;
use crate::proto::{
    Accepted, MessageId, Now, Outgoing, Refusal,
    chunker::Outbound,
    wire::{Head, MAX_NAME, RESERVED},
};

impl Engine {
    #[inline]
    pub(super) fn try_emit(&mut self, now: Now, event: Outgoing<'_>) -> Result<Accepted, Refusal> {
        let name_len = event.name.len();
        if name_len == 0 || name_len > MAX_NAME {
            return Err(Refusal::NameLength {
                len: name_len,
                limit: MAX_NAME,
            });
        }
        if event.name.starts_with(RESERVED) {
            return Err(Refusal::ReservedName);
        }
        let number = None;
        let size = self.template.len(name_len, false, event.schema.is_some()) + event.payload.len();
        if !self.chunker.fits_whole(size) {
            return self.emit_in_chunks(now, event, number, size);
        }
        self.check_room(size)?;

        let message_id = MessageId::random(&mut self.rng);
        let head = Head {
            seq: 0,
            seq_len: 1,
            seq_id: &message_id.text(),
            name: event.name,
            time: &self.clock.write(now.unix_ms),
            number,
            schema: event.schema,
        };
        self.queue.push_small(|out| {
            self.template.write(&head, out);
            out.extend_from_slice(event.payload);
        });
        Ok(Accepted { message_id, number })
    }

    fn emit_in_chunks(
        &mut self,
        now: Now,
        event: Outgoing<'_>,
        number: Option<u64>,
        size: usize,
    ) -> Result<Accepted, Refusal> {
        let chunk_head_len = self.template.len(event.name.len(), number.is_some(), false);
        let plan = self.chunker.plan(size, chunk_head_len, event.name.len())?;
        self.check_room(plan.wire_len)?;

        let message_id = MessageId::random(&mut self.rng);
        let time = self.clock.write(now.unix_ms);
        let mut head = Head {
            seq: 0,
            seq_len: 1,
            seq_id: &MessageId::random(&mut self.rng).text(),
            name: event.name,
            time: &time,
            number,
            schema: event.schema,
        };
        let mut inner = Vec::with_capacity(size);
        self.template.write(&head, &mut inner);
        inner.extend_from_slice(event.payload);

        let seq_id = message_id.text();
        head = Head {
            seq_len: plan.chunks,
            seq_id: &seq_id,
            schema: None,
            ..head
        };
        let mut chunk_head = Vec::with_capacity(chunk_head_len);
        self.template.write(&head, &mut chunk_head);
        self.queue
            .push_large(Outbound::new(inner, chunk_head, plan), plan.wire_len);
        Ok(Accepted { message_id, number })
    }

    #[inline]
    fn check_room(&self, bytes: usize) -> Result<(), Refusal> {
        if self.queue.has_room(bytes) {
            return Ok(());
        }
        Err(Refusal::QueueFull {
            queued: self.queue.queued(),
            limit: self.queue.limit(),
        })
    }
}
