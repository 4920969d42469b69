//! One call of a listener: decodes the event, and decides whether the call takes place.

use std::sync::{Arc, atomic::Ordering};

use super::{
    delivery::Delivery, fault::Fault, identity::ListenerIdentity, owner::Owner, received::Received,
};
use crate::{
    bus::process::user_code,
    codec::{self, Args, DecodeError, RawArgs},
    event::NetEvent,
};

/// What a listener can be handed: a typed event, or the [`Args`] of one that is listened to by key.
///
/// Implemented for every [`NetEvent`] and for [`Args`], and for nothing else.
pub trait FromArgs: Sized + Send + 'static {
    #[doc(hidden)]
    fn from_args(args: RawArgs<'_>, memory_limit: usize) -> Result<Self, DecodeError>;
}

impl<E: NetEvent> FromArgs for E {
    fn from_args(args: RawArgs<'_>, _: usize) -> Result<Self, DecodeError> {
        codec::decode_event_with_room(args, E::SHAPE.kind)
    }
}

impl FromArgs for Args {
    fn from_args(args: RawArgs<'_>, memory_limit: usize) -> Result<Self, DecodeError> {
        Self::from_raw_within(args, memory_limit)
    }
}

/// One call of a listener, which may be a `once`: that lets one call through.
pub(crate) struct Invocation<'a> {
    identity: &'a ListenerIdentity,
    owner: &'a Arc<dyn Owner>,
}

impl<'a> Invocation<'a> {
    pub(crate) fn new(identity: &'a ListenerIdentity, owner: &'a Arc<dyn Owner>) -> Self {
        Self { identity, owner }
    }

    /// Decodes the event into the listener's type. The `Deserialize` is the user's code.
    pub(crate) fn decode<E: FromArgs>(&self, delivery: &Delivery<'_>) -> Result<E, Fault> {
        let memory_limit = self.owner.listeners().options.args_memory();
        let decoded = user_code::run(|| E::from_args(delivery.args, memory_limit))?;
        Ok(decoded?)
    }

    /// The decoded event with its key, origin and bus, as the listener receives it.
    pub(crate) fn received<E>(&self, event: E, delivery: &Delivery<'_>) -> Received<E> {
        let key = self.identity.key_of(delivery.key);
        let owner = Arc::clone(self.owner);
        Received::new(event, key, delivery.origin.clone(), owner)
    }

    /// Claims the call: true for every call of an ordinary listener, and for the first of a `once`.
    pub(crate) fn take(&self) -> bool {
        let Some(used) = &self.identity.once else {
            return true;
        };
        if used.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.owner.listeners().take_off(self.identity.id);
        true
    }
}
