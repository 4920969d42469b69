//! What makes a type an event: its key on the wire, and the shape in which it maps to arguments.
//!
//! Responsible for the traits that the derive implements ([`NetEvent`], [`TypeName`]), for the
//! rules that a key obeys, for putting the keys of generic events together at compile time, and for
//! the process-wide table that finds two types under one key. Not responsible for bytes: how a
//! shape becomes arguments is the codec's.
//!
//! Contract: nothing here does any I/O or waits, and nothing grows beyond one entry for each key
//! that the program's own types claim.

mod key;
mod registry;
mod size;
#[cfg(test)]
mod tests;
mod text;
mod type_name;

pub(crate) use key::check_key;
pub use key::{InvalidKey, MAX_KEY_LEN};
pub(crate) use registry::claim;
pub use registry::{KeyClaim, KeyConflict};
#[cfg(test)]
pub(crate) use size::MAX_SIZE;
pub(crate) use size::must_be_small;
pub use type_name::TypeName;

use serde::{Serialize, de::DeserializeOwned};

/// What the code that the derive writes calls.
pub(crate) mod derived {
    pub use super::key::checked_key;
    pub use super::registry::Fields;
    pub use super::size::must_be_small;
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
///
/// # Arguments
///
/// On the wire an event has a list of arguments, which listeners by key and programs in other
/// languages see. The shape of the declaration decides how many there are, serde what is in them:
///
/// | Rust | arguments |
/// | --- | --- |
/// | `struct Ping;` | none |
/// | `struct Said(String);` | `"…"` |
/// | `struct Moved(f64, f64);` | `1.0`, `2.0` |
/// | `struct Joined { user: u64, name: String }` | `{ "user": …, "name": "…" }` |
/// | an enum | one, as serde's externally tagged form |
///
/// Surplus arguments are ignored; a missing one does not decode unless its field has a default.
///
/// # How values travel
///
/// | Rust | BSON | back from |
/// | --- | --- | --- |
/// | integers up to 64 bits | int32 where the value fits, else int64 | int32, int64, or a double that is a whole number; in range |
/// | `i128`, `u128`, a `u64` above `i64::MAX` | refused | `i128`, `u128`: as the other integers |
/// | `f64`, `f32` | double | double, or an integer that it holds exactly; an `f32` takes the nearest to a double |
/// | `bool`; `String`, `char` | boolean; string | the same |
/// | `Option`, `()`, a unit struct | null for none | null; an `Option` field also from no field at all |
/// | sequences, tuples, `Vec<u8>` | array | array of that length; a sequence of numbers also from binary |
/// | bytes (`serde_bytes`) | binary, subtype 0 | binary of any subtype, array |
/// | structs, maps | document; the keys of a map: what has one text form | document |
/// | enums | externally tagged: `"Stop"`, `{ "Go": 5 }` | the same |
/// | a newtype struct | what is inside | the same |
/// | the types of the `bson` crate | their own type | the same |
///
/// A plain `Vec<u8>` is an array of numbers, each with a name: about ten bytes on the wire for
/// each of its own. Write `#[serde(with = "serde_bytes")]` above such a field; it can still read
/// what peers send either way.
///
/// A type that has one form for people and one for programs (an `IpAddr`, a `SocketAddr`, a `Uuid`,
/// what has a date) writes that for people: a string, which other languages understand, and which
/// may be the key of a map. It is so in every place, because serde reads no other where it holds a
/// value in a buffer of its own (`flatten`, `untagged`, an internal tag). A binary is still read
/// by such a type, where it reads one. The types of the bson crate keep their own form.
///
/// The keys of a map travel as texts, since BSON has no others: strings, integers of any width,
/// bools, chars, unit variants, what has a form for people that is one text (an `IpAddr`, a
/// `Uuid`), and newtypes of these. `HashMap<u32, _>` is `{ "7": … }`, as it is in JSON, and comes
/// back from that text and no other (not from `"07"`). Inside `flatten`, `untagged` and internally
/// tagged types serde keeps texts for itself and finds no numbers in them, so `emit` refuses such
/// keys there. Floating-point numbers, options, lists, tuples and structs are no keys: the derive
/// refuses what it can see, `emit` the rest.
///
/// # What is refused
///
/// At compile time: an event, or anything inside of one, that takes more than 32 KiB where it
/// stands, since it is made on a thread's stack (keep large arrays in a `Vec<T>`, or a `Box<[T]>`);
/// a field of a tuple struct or variant that is left out for some values, or goes one way alone
/// (one with `#[serde(skip)]` is no argument).
///
/// By `emit`, before anything is sent: what BSON cannot hold; JSON as text
/// (`serde_json::value::RawValue`); and what the type itself could not read, such as a field with
/// `skip_serializing_if` and no `default`. For that, an event whose structs and variants have not
/// been seen with so many fields is decoded once by its sender; so is each with raw documents of
/// the bson crate, since serde's buffers lose dates in these. What depends on values, such as a
/// check in `#[serde(try_from)]`, is not tried.
///
/// # What is not kept
///
/// - `Some(None)` in an `Option<Option<T>>` comes back as `None`, and so does `Some(())` in an
///   `Option<()>`: both are null.
/// - The width of an integer, and that is so by intent. A [`Bson`](bson::Bson) keeps it: as a
///   field, an element, an argument, in a `Document`, behind a reference, `Box`, `Rc`, `Arc`,
///   `Cow` or `Option`. Behind `#[serde(transparent)]`, `untagged`, `with` and what else hides its
///   type from the serializer, a `Bson::Int64` that fits is narrowed.
/// - A document in a typed `Bson` or `Document` with one of extended JSON's keys (`$oid`, `$date`
///   and so on) is read by the bson crate as the type that the key means. [`Args`](crate::Args)
///   keeps it.
/// - Inside `#[serde(flatten)]`, `untagged` and internally tagged types serde itself holds the
///   values in between, and does not turn a double into an integer. Where they lie more than three
///   levels deep there, they are decoded on a thread of their own, whose stack has room for large
///   ones: that costs some ten microseconds for each event.
/// - An `untagged` enum is read as the first variant that can read what came, as with every format:
///   put the strictest first. A `String` also reads bytes that are UTF-8, and a map any of BSON's
///   own types; and behind what hides its type from the serializer, a `Decimal128` that is a NaN
///   loses its payload.
/// - The options of a regular expression are put into alphabetical order.
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

    /// Whether the event is sent as best effort: at once, never twice, and a lost one is neither
    /// waited for nor requested again. `#[net_event(best_effort)]` sets it, for events of which
    /// only the newest matters.
    const BEST_EFFORT: bool = false;

    /// The shape of the declaration, whatever its layout in the source; for the derive.
    #[doc(hidden)]
    fn __fields() -> Option<registry::Fields> {
        None
    }
}

/// What the derive wrote down of an event's declaration.
///
/// Two types with equal shapes may share a key in one process; with different ones they are a
/// [`KeyConflict`]. Of two that the derive wrote it is looked at what their fields are, not how
/// these are spelled: an alias and the type that it stands for are the same.
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
