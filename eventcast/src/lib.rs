//! A typed event bus over UDP multicast.

// A derive in this crate names it by its absolute path.
extern crate self as eventcast;

pub mod codec;
mod event;
mod net;
pub mod proto;

pub use bson;
pub use event::{NetEvent, Shape, ShapeKind, TypeName};
pub use net::{Buffer, InterfaceChoice, InterfaceError, OpenError, OpenWarning, SendError};
