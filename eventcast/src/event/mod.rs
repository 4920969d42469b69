//! What makes a type an event: its key on the wire, and the shape in which it maps to arguments.
//!
//! Responsible for the traits that the derive implements ([`NetEvent`], [`TypeName`]), for the rules
//! that a key obeys, for putting the keys of generic events together at compile time, and for the
//! process-wide table that finds two types under one key. Not responsible for bytes: how a shape
//! becomes arguments is the codec's.
//!
//! Contract: nothing here does any I/O or waits, and nothing grows beyond one entry for each key
//! that the program's own types claim.

mod key;
mod registry;
#[cfg(test)]
mod tests;
mod text;
mod type_name;

pub(crate) use key::check_key;
pub use key::{InvalidKey, MAX_KEY_LEN};
pub(crate) use registry::claim;
pub use registry::{KeyClaim, KeyConflict};
pub use type_name::TypeName;

use serde::{Serialize, de::DeserializeOwned};

/// What the code that the derive writes calls.
pub(crate) mod derived {
    pub use super::key::checked_key;
    pub use super::text::{ConstParam, ConstText, Text};
}

/// A type that travels as an event. Derive it: `#[derive(NetEvent, Serialize, Deserialize)]`.
///
/// ```
/// use eventcast::NetEvent;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(NetEvent, Serialize, Deserialize)]
/// struct UserJoined {
///     user: u64,
///     name: String,
/// }
///
/// #[derive(NetEvent, Serialize, Deserialize)]
/// #[net_event(name = "order.placed")]
/// struct Order(u64);
///
/// #[derive(NetEvent, Serialize, Deserialize)]
/// struct Sample<T> {
///     value: T,
/// }
///
/// assert_eq!(UserJoined::KEY, "UserJoined");
/// assert_eq!(Order::KEY, "order.placed");
/// assert_eq!(<Sample<f64>>::KEY, "Sample<f64>");
/// ```
///
/// An event owns its data (`'static`), since it is decoded from a datagram that is gone a moment
/// later, and may be handled on any thread (`Send + Sync`).
///
/// The derive page lists the options of `#[net_event(..)]`: see [the macro](macro@crate::NetEvent).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a network event",
    label = "not a network event",
    note = "add `#[derive(NetEvent, Serialize, Deserialize)]` to `{Self}`"
)]
pub trait NetEvent: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The event key: 1 to [`MAX_KEY_LEN`] bytes of UTF-8 without control characters, and none of
    /// the protocol's own, which start with `__ec_`. The derive holds to that at compile time.
    const KEY: &'static str;

    /// How the declaration maps to arguments, and what the derive wrote down of it.
    const SHAPE: Shape;
}

/// What the derive wrote down of an event's declaration.
///
/// Two types with equal shapes may share a key in one process; with different ones they are a
/// [`KeyConflict`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shape {
    /// How the declaration maps to arguments.
    pub kind: ShapeKind,
    /// Kind, field names and field types as written, in one canonical text: layout, comments and
    /// trailing commas of the source make no difference.
    ///
    /// `unit`, `newtype(String)`, `tuple(f64, f64)`, `struct { user: u64, name: String }`,
    /// `enum { Idle, Busy(u8), Gone { since: u64 } }`.
    pub text: &'static str,
}

impl Shape {
    /// Made by the derive.
    pub const fn new(kind: ShapeKind, text: &'static str) -> Self {
        Self { kind, text }
    }
}

/// How a declaration maps to the arguments of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShapeKind {
    /// `struct Ping;`: no argument.
    Unit,
    /// `struct Said(String);`: one argument.
    Newtype,
    /// `struct Moved(f64, f64);`: as many arguments as fields.
    Tuple(usize),
    /// `struct Joined { .. }`: one argument, a document.
    Named,
    /// An enum: one argument, as serde's externally tagged form.
    Enum,
}
