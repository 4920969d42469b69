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
pub use event::{NetEvent, Shape, ShapeKind, TypeName};
