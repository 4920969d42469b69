//! A typed event bus over UDP multicast.

// A derive in this crate names it by its absolute path.
extern crate self as eventcast;

mod bus;
pub mod codec;
mod event;
mod net;
pub mod proto;

pub use bson;
pub use bus::{Builder, Config, ConfigError, ConfigLayer, ListenerQueue, UnknownVariable};
pub use event::{
    InvalidKey, KeyClaim, KeyConflict, MAX_KEY_LEN, NetEvent, Shape, ShapeKind, TypeName,
};
pub use net::{Buffer, InterfaceChoice, InterfaceError, OpenError, OpenWarning, SendError};
pub use eventcast_derive::NetEvent;

/// What the code that the derive writes calls. Not for people: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use crate::event::derived::*;
    pub use serde;
}
