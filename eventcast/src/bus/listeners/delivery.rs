//! An event on its way to the listeners.

use std::sync::Arc;

use crate::{bus::telemetry::origin::Origin, codec::RawArgs};

/// An event on its way to a listener. It borrows the bytes from the datagram or the emitted event.
#[derive(Clone, Copy)]
pub(crate) struct Delivery<'a> {
    /// The event key.
    pub(crate) key: &'a str,
    pub(crate) args: RawArgs<'a>,
    pub(crate) origin: &'a Origin,
}

/// An event that waits in a queue. The queues of one event share its bytes.
#[derive(Clone)]
pub(crate) struct QueuedEvent {
    key: Arc<str>,
    kind: u8,
    bytes: Arc<[u8]>,
    origin: Origin,
}

impl QueuedEvent {
    pub(crate) fn keep(delivery: &Delivery<'_>) -> Self {
        Self::copy(delivery.key, delivery.args, delivery.origin.clone())
    }

    pub(crate) fn copy(key: &str, args: RawArgs<'_>, origin: Origin) -> Self {
        let (kind, bytes) = args.parts();
        Self {
            key: key.into(),
            kind,
            bytes: bytes.into(),
            origin,
        }
    }

    pub(crate) fn set_origin(&mut self, origin: Origin) {
        self.origin = origin;
    }

    pub(crate) fn delivery(&self) -> Delivery<'_> {
        Delivery {
            key: &self.key,
            args: RawArgs::from_parts(self.kind, &self.bytes),
            origin: &self.origin,
        }
    }

    /// Bytes that the event counts against a queue's bound: arguments, key, and the entry itself.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.key.len() + size_of::<Self>()
    }
}
