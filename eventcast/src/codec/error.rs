//! What can go wrong between a Rust value and BSON, and where in the value it did.
//!
//! A path is put together while an error travels outwards, one segment a level: as long as nothing
//! fails, nothing is written down. Texts that come from a peer are cut to a bounded length.

use std::fmt::{self, Display, Write};

use serde::{de, ser};

use super::{MAX_DEPTH, Malformed};
use crate::text::printable;

/// Beyond so many bytes, a text taken from a peer or made by a type is cut.
const LONGEST_TEXT: usize = 256;

/// Beyond so many bytes, a key or a value that an error shows is cut.
const LONGEST_SHOWN: usize = 64;

/// Why a value cannot be sent as an event.
#[derive(Clone, PartialEq)]
pub struct EncodeError(Box<Located<EncodeErrorKind>>);

/// What keeps a value from being sent.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeErrorKind {
    /// BSON's largest integer is an `i64`; a `u64` above `i64::MAX` has no place in it.
    #[error("{0} does not fit BSON's largest integer (i64); send it as a string or as two numbers")]
    IntegerTooLarge(u64),
    /// BSON has no integer of 128 bits.
    #[error("BSON has no {0}; send an i64, a string or a Decimal128")]
    Wide(&'static str),
    /// A map has keys of this kind; BSON has strings alone.
    #[error(
        "a map key must have one text form, as strings, integers, bools, chars, unit variants and addresses have, and not \
         be {0}; send a list of pairs instead"
    )]
    MapKey(&'static str),
    /// A key holds the character U+0000, with which BSON ends a key.
    #[error("a key must not hold the character U+0000")]
    ZeroInKey,
    /// Two fields or entries of one struct or map have the same key.
    #[error("the key {0:?} stands twice in one struct or map")]
    DuplicateKey(String),
    /// The value nests deeper than 64 documents and arrays, or without end.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A tuple struct does not serialize as a sequence of as many elements as it has fields.
    #[error(
        "a tuple struct with {expected} fields must serialize as a sequence of {expected}, not as \
         {found}; remove the serde attribute that changes it, or give the fields names"
    )]
    #[non_exhaustive]
    NotTheFields {
        /// The number of fields that the declaration has.
        expected: usize,
        /// What it serialized as.
        found: String,
    },
    /// A unit struct does not serialize as a unit, so what it stands for would not be sent.
    #[error(
        "a unit struct must serialize as a unit, not as {0}; remove the serde attribute that changes it, or give the \
         struct a field"
    )]
    NotAUnit(&'static str),
    /// A document would be longer than BSON can say.
    #[error("longer than BSON can say (2,147,483,647 bytes)")]
    TooLong,
    /// A struct with the name of one of BSON's own types does not hold what that type holds.
    #[error("not the form in which the bson crate writes a {0}")]
    NotTheType(&'static str),
    /// A raw document or array holds what no receiver would take.
    #[error("a raw document or array is malformed: {0}")]
    Malformed(Malformed),
    /// A `serde_json::value::RawValue`: JSON as text, which no receiver could read from BSON.
    #[error(
        "JSON as text (`serde_json::value::RawValue`) has no BSON form that could be read back; send a \
         `serde_json::Value`, or the text as a `String`"
    )]
    RawJson,
    /// The event's own type cannot read what it serializes to, so no listener of that type could.
    #[error(
        "the type cannot read what it serializes to, so no listener could either ({0}); look at its serde attributes: \
         a field that is not always sent needs `default`, and names and forms must be the same both ways"
    )]
    Unreadable(DecodeError),
    /// The option `old_peers` is on, and a peer of another make would end with a value of this
    /// type.
    #[error("{0} ends an old peer, and `old_peers` is on; send a string or a double instead")]
    NotForOldPeers(&'static str),
    /// The type's own `Serialize` refused.
    #[error("{}", printable(.0))]
    Custom(String),
}

/// Why what came cannot be decoded into a Rust type.
#[derive(Clone, PartialEq)]
pub struct DecodeError(Box<Located<DecodeErrorKind>>);

/// What keeps a value from being decoded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The value has another type, or one that cannot hold what came.
    #[error("expected {}, found {}", printable(.expected), printable(.found))]
    #[non_exhaustive]
    Mismatch {
        /// What the type takes.
        expected: String,
        /// What came: type and, where short, value.
        found: String,
    },
    /// A field that has no default did not come.
    #[error("missing")]
    MissingField,
    /// Fewer arguments came than the type has fields without a default.
    #[error("expected {}, found {found} argument(s)", printable(.expected))]
    #[non_exhaustive]
    MissingArgument {
        /// What the type takes.
        expected: String,
        /// How many came.
        found: usize,
    },
    /// The type refuses fields that it does not know, and this is one.
    #[error("unknown field {field:?}; expected {}", printable(.expected))]
    #[non_exhaustive]
    UnknownField {
        /// The name of the field that came.
        field: String,
        /// The fields that are known.
        expected: String,
    },
    /// The type nests without end.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The values within one another would take more of the stack than a thread has.
    #[error(
        "values within one another take too much of the stack; box them, that is, keep large arrays in a `Vec<T>` or a \
         `Box<[T]>`"
    )]
    TooMuchStack,
    /// As values without a type of their own, the arguments would take more memory than the bus
    /// allows.
    #[error(
        "decoded without a type it takes about {needed} bytes of memory, and may take {limit}; listen with a type, \
         or raise `max_message_size`"
    )]
    #[non_exhaustive]
    TooMuchMemory {
        /// About how many bytes the values take.
        needed: usize,
        /// How many they may take.
        limit: usize,
    },
    /// The type's own `Deserialize` refused.
    #[error("{}", printable(.0))]
    Custom(String),
}

impl EncodeError {
    /// What went wrong.
    pub fn kind(&self) -> &EncodeErrorKind {
        &self.0.kind
    }

    /// Where, as in `user.addresses[3].zip`; empty when it is the value itself.
    pub fn path(&self) -> String {
        self.0.path()
    }

    #[cold]
    pub(super) fn new(kind: EncodeErrorKind) -> Self {
        Self(Box::new(Located::new(kind)))
    }

    #[cold]
    pub(super) fn in_key(mut self, key: &str) -> Self {
        self.0.enter(Segment::key(key));
        self
    }

    #[cold]
    pub(super) fn in_index(mut self, index: usize) -> Self {
        self.0.enter(Segment::Index(index));
        self
    }
}

impl DecodeError {
    /// What went wrong.
    pub fn kind(&self) -> &DecodeErrorKind {
        &self.0.kind
    }

    /// Where, as in `user.addresses[3].zip`; empty when it is the value itself.
    pub fn path(&self) -> String {
        self.0.path()
    }

    #[cold]
    pub(super) fn new(kind: DecodeErrorKind) -> Self {
        Self(Box::new(Located::new(kind)))
    }

    #[cold]
    pub(super) fn in_key(mut self, key: &str) -> Self {
        self.0.enter(Segment::key(key));
        self
    }

    #[cold]
    pub(super) fn in_index(mut self, index: usize) -> Self {
        self.0.enter(Segment::Index(index));
        self
    }

    /// About a key itself, not the value under it.
    #[cold]
    pub(super) fn of_key(self, key: &str) -> Self {
        match self.kind() {
            DecodeErrorKind::UnknownField { .. } => self,
            _ => self.in_key(key),
        }
    }

    #[cold]
    pub(super) fn mismatch(expected: &dyn Display, found: &dyn Display) -> Self {
        Self::new(DecodeErrorKind::Mismatch {
            expected: cut(expected, LONGEST_TEXT),
            found: cut(found, LONGEST_TEXT),
        })
    }
}

/// A fault and the way to it.
#[derive(Clone, PartialEq)]
struct Located<K> {
    kind: K,
    /// From the inside out.
    path: Vec<Segment>,
}

impl<K> Located<K> {
    fn new(kind: K) -> Self {
        Self {
            kind,
            path: Vec::new(),
        }
    }

    fn enter(&mut self, segment: Segment) {
        // A level of BSON adds one segment, so this cannot grow beyond the depth. A type with a
        // `Deserialize` of its own might add more.
        if self.path.len() < MAX_DEPTH {
            self.path.push(segment);
        }
    }

    fn path(&self) -> String {
        let mut text = String::new();
        for segment in self.path.iter().rev() {
            match segment {
                Segment::Key(key) if text.is_empty() => text.push_str(key),
                Segment::Key(key) => {
                    text.push('.');
                    text.push_str(key);
                }
                Segment::Index(index) => {
                    let _ = write!(text, "[{index}]");
                }
            }
        }
        text
    }
}

#[derive(Clone, PartialEq)]
enum Segment {
    Key(String),
    Index(usize),
}

impl Segment {
    fn key(key: &str) -> Self {
        Self::Key(cut(&key, LONGEST_SHOWN))
    }
}

impl<K: Display> Display for Located<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            self.kind.fmt(f)
        } else {
            write!(f, "field {:?}: {}", self.path(), self.kind)
        }
    }
}

impl<K: fmt::Debug> fmt::Debug for Located<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("path", &self.path())
            .field("kind", &self.kind)
            .finish()
    }
}

macro_rules! forward_to_located {
    ($($error:ty),*) => {$(
        impl Display for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Display::fmt(&*self.0, f)
            }
        }

        impl fmt::Debug for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl std::error::Error for $error {}
    )*};
}

forward_to_located!(EncodeError, DecodeError);

impl ser::Error for EncodeError {
    #[cold]
    fn custom<T: Display>(message: T) -> Self {
        Self::new(EncodeErrorKind::Custom(cut(&message, LONGEST_TEXT)))
    }
}

impl de::Error for DecodeError {
    #[cold]
    fn custom<T: Display>(message: T) -> Self {
        Self::new(DecodeErrorKind::Custom(cut(&message, LONGEST_TEXT)))
    }

    #[cold]
    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::mismatch(&expected, &Found(found))
    }

    #[cold]
    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::mismatch(&expected, &Found(found))
    }

    #[cold]
    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        Self::mismatch(&expected, &format_args!("an array of {length}"))
    }

    #[cold]
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::mismatch(
            &OneOf(expected),
            &format_args!("variant {}", Shown(variant)),
        )
    }

    #[cold]
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(DecodeErrorKind::UnknownField {
            field: cut(&field, LONGEST_SHOWN),
            expected: cut(&OneOf(expected), LONGEST_TEXT),
        })
    }

    #[cold]
    fn missing_field(field: &'static str) -> Self {
        Self::new(DecodeErrorKind::MissingField).in_key(field)
    }

    #[cold]
    fn duplicate_field(field: &'static str) -> Self {
        // Two names that a type reads as one field, by `#[serde(alias)]`.
        Self::new(DecodeErrorKind::Custom("came twice".to_owned())).in_key(field)
    }
}

/// What came, in BSON's words.
struct Found<'a>(de::Unexpected<'a>);

impl Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            de::Unexpected::Bool(value) => write!(f, "boolean {value}"),
            de::Unexpected::Unsigned(value) => write!(f, "integer {value}"),
            de::Unexpected::Signed(value) => write!(f, "integer {value}"),
            de::Unexpected::Float(value) => write!(f, "double {value:?}"),
            de::Unexpected::Char(value) => write!(f, "string \"{}\"", value.escape_debug()),
            de::Unexpected::Str(text) => write!(f, "string {}", Shown(text)),
            de::Unexpected::Bytes(bytes) => write!(f, "binary of {} bytes", bytes.len()),
            de::Unexpected::Unit | de::Unexpected::Option => f.write_str("null"),
            de::Unexpected::Seq => f.write_str("an array"),
            de::Unexpected::Map => f.write_str("a document"),
            de::Unexpected::Other(text) => f.write_str(text),
            ref other => write!(f, "{other}"),
        }
    }
}

/// A text in quotes, cut when it is long.
struct Shown<'a>(&'a str);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = boundary(self.0, LONGEST_SHOWN);
        let more = if end < self.0.len() { "…" } else { "" };
        write!(f, "{:?}{more}", &self.0[..end])
    }
}

struct OneOf(&'static [&'static str]);

impl Display for OneOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("nothing"),
            [one] => write!(f, "`{one}`"),
            names => {
                f.write_str("one of ")?;
                for (i, name) in names.iter().enumerate() {
                    write!(f, "{}`{name}`", if i == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}

/// What `text` displays, up to `longest` bytes.
pub(super) fn cut(text: &dyn Display, longest: usize) -> String {
    struct Cut {
        text: String,
        room: usize,
    }

    impl Write for Cut {
        fn write_str(&mut self, more: &str) -> fmt::Result {
            let end = boundary(more, self.room);
            self.text.push_str(&more[..end]);
            self.room -= end;
            if end < more.len() {
                self.text.push('…');
                // Ends the formatting: nothing more is wanted.
                return Err(fmt::Error);
            }
            Ok(())
        }
    }

    let mut cut = Cut {
        text: String::new(),
        room: longest,
    };
    let _ = write!(cut, "{text}");
    cut.text
}

/// The last place up to `at` where `text` can be cut.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
