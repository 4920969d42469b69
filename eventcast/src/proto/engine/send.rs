//! From an event to datagrams in the queue, and from there out.

use std::time::Duration;

use super::Engine;
use crate::proto::{
    Accepted, Destination, MessageId, Now, Outgoing, Refusal, Transmit,
    send::{chunker::Outbound, history::Large},
    wire::{Head, MAX_NAME, RESERVED, Template},
};

impl Engine {
    #[inline]
    pub(super) fn try_emit(&mut self, now: Now, event: Outgoing<'_>) -> Result<Accepted, Refusal> {
        let name_len = event.key.len();
        if name_len == 0 || name_len > MAX_NAME {
            return Err(Refusal::KeyLength {
                len: name_len,
                limit: MAX_NAME,
            });
        }
        if event.key.starts_with(RESERVED) {
            return Err(Refusal::ReservedKey);
        }
        let number = (!event.best_effort).then(|| self.history.last() + 1);
        #[cfg(feature = "classic")]
        if let Some(mut classic) = self.classic.take() {
            let result = self.emit_encrypted(&mut classic, now, event, number);
            self.classic = Some(classic);
            return result;
        }
        let head_len = self
            .template
            .len(name_len, number.is_some(), event.schema.is_some());
        let size = head_len + event.payload.len();
        if !self.chunker.fits_whole(size) {
            return self.emit_in_chunks(now, event, number, size);
        }
        self.check_room(size, false)?;
        if number.is_some() {
            self.greet_newcomers(now);
        }

        let message_id = MessageId::random(&mut self.rng);
        let head = Head {
            seq: 0,
            seq_len: 1,
            seq_id: &message_id.text(),
            name: event.key,
            time: &self.clock.write(now.unix_ms),
            number,
            schema: event.schema,
        };
        self.push_small(now.elapsed, number, |template, out| {
            template.write(&head, out);
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
        let chunk_head_len = self.template.len(event.key.len(), number.is_some(), false);
        let plan = self.chunker.plan(size, chunk_head_len, event.key.len())?;
        self.check_room(plan.wire_len, true)?;
        if number.is_some() {
            self.greet_newcomers(now);
        }

        let message_id = MessageId::random(&mut self.rng);
        let time = self.clock.write(now.unix_ms);
        let mut head = Head {
            seq: 0,
            seq_len: 1,
            seq_id: &MessageId::random(&mut self.rng).text(),
            name: event.key,
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
        let outbound = Outbound::new(inner, chunk_head, plan);
        self.push_chunks(now.elapsed, outbound, message_id, number);
        Ok(Accepted { message_id, number })
    }

    /// Lets a message that was cut go out.
    pub(super) fn push_chunks(
        &mut self,
        now: Duration,
        outbound: Outbound,
        message_id: MessageId,
        number: Option<u64>,
    ) {
        let wire_len = outbound.wire_len();
        let large = Large {
            outbound,
            message_id,
            number,
            last_sent: now,
        };
        let at = self.history.keep_large(now, large, number.is_some());
        self.queue.push_large(at, wire_len);
        if number.is_some() {
            self.heartbeat.has_emitted(now);
        }
    }

    /// Lets a message of one datagram go out, which `write` appends.
    #[inline]
    pub(super) fn push_small(
        &mut self,
        now: Duration,
        number: Option<u64>,
        write: impl FnOnce(&Template, &mut Vec<u8>),
    ) {
        let template = &self.template;
        let datagram = self
            .queue
            .push_small(number.unwrap_or(0), |out| write(template, out));
        if number.is_some() {
            self.history.keep_small(now, datagram);
            self.heartbeat.has_emitted(now);
        }
    }

    #[inline]
    pub(super) fn check_room(&self, bytes: usize, chunked: bool) -> Result<(), Refusal> {
        if self.queue.has_room(bytes, chunked) {
            return Ok(());
        }
        Err(Refusal::QueueFull {
            queued: self.queue.queued_as(chunked),
            limit: self.queue.limit(),
        })
    }

    /// What waits in the queue.
    #[inline]
    pub(super) fn poll_queue(
        &mut self,
        now: Duration,
        buf: &mut Vec<u8>,
    ) -> Option<(Transmit, usize)> {
        let polled = self.queue.poll(now, &mut self.history.larges, buf)?;
        self.heartbeat.has_sent(polled.number);
        if polled.transmit.to == Destination::Group {
            self.sent_anew.add(now, buf.len());
        }
        Some((polled.transmit, polled.datagrams))
    }
}
