//! The trait that every typed event has.

use serde::{Serialize, de::DeserializeOwned};

/// A type that travels as an event. Derive it: `#[derive(NetEvent, Serialize, Deserialize)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a network event",
    label = "not a network event",
    note = "add `#[derive(NetEvent, Serialize, Deserialize)]` to `{Self}`"
)]
pub trait NetEvent: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The event key: 1 to 1,024 bytes of UTF-8 without control characters.
    const KEY: &'static str;

    /// How the declaration maps to arguments, and what the derive wrote down of it.
    const SHAPE: Shape;
}

/// What the derive wrote down of an event's declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shape {
    /// How the declaration maps to arguments.
    pub kind: ShapeKind,
    /// Kind, field names and field types as written, in one canonical text.
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

/// The name of a type parameter inside an event key.
pub trait TypeName {
    /// The name, as it stands in a key.
    const NAME: &'static str;
}
