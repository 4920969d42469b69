//! Events to and from BSON: the check of raw bytes, views of checked bytes, and serde straight to
//! and from the bytes of a payload document.
//!
//! Responsible for the argument mapping of an event (how a Rust value becomes the array under the
//! key `payload`), and for refusing bytes that are not BSON before anything decodes them. Not for
//! datagrams, metadata or keys of events: those are `proto`'s.
//!
//! Contract: [`check_document`] comes first. Everything else that reads bytes here accepts any
//! bytes without panicking, but gives sensible answers only for bytes that passed the check.
//!
//! How values travel, and what is not kept, is documented for users at
//! [`NetEvent`](crate::NetEvent).

mod args;
mod byte_lists;
mod check;
mod de;
mod error;
mod extended_json;
mod memory;
mod old_peers;
mod raw;
mod readable;
mod ser;
mod value;

pub use args::{Args, IntoArg, IntoArgs, to_bson};
pub(crate) use byte_lists::longest_byte_list;
pub(crate) use check::check_small_document;
pub use check::{MAX_DEPTH, Malformed, check_document};
pub use de::{decode_args, decode_event, decode_event_with_room};
pub use error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};
pub(crate) use old_peers::{FATAL_NAME, check_for_old_peers};
pub use raw::{RawArgs, RawElement, RawElements, RawValue};
pub use ser::{encode_event, encode_readable_event, encode_readable_event_with_room};

/// Serde's steps that may be open at once, documents and arrays as well as options and newtypes.
///
/// BSON's depth does not bound a type like `struct List(Option<Box<List>>)`, which takes one value
/// for ever: this does, both ways. It leaves room for three such wrappers on each level.
const MAX_STEPS: usize = 4 * MAX_DEPTH;

/// The stack of the bus's own threads that decode: no less than decoding may take, whatever the
/// environment sets.
pub(crate) const STACK_SIZE: usize = 4 << 20;

/// The element types of BSON, as bsonspec.org (version 1.1) numbers them.
pub(crate) mod element {
    pub(crate) const DOUBLE: u8 = 0x01;
    pub(crate) const STRING: u8 = 0x02;
    pub(crate) const DOCUMENT: u8 = 0x03;
    pub(crate) const ARRAY: u8 = 0x04;
    pub(crate) const BINARY: u8 = 0x05;
    pub(crate) const UNDEFINED: u8 = 0x06;
    pub(crate) const OBJECT_ID: u8 = 0x07;
    pub(crate) const BOOLEAN: u8 = 0x08;
    pub(crate) const DATE_TIME: u8 = 0x09;
    pub(crate) const NULL: u8 = 0x0A;
    pub(crate) const REGEX: u8 = 0x0B;
    pub(crate) const DB_POINTER: u8 = 0x0C;
    pub(crate) const CODE: u8 = 0x0D;
    pub(crate) const SYMBOL: u8 = 0x0E;
    pub(crate) const CODE_WITH_SCOPE: u8 = 0x0F;
    pub(crate) const INT32: u8 = 0x10;
    pub(crate) const TIMESTAMP: u8 = 0x11;
    pub(crate) const INT64: u8 = 0x12;
    pub(crate) const DECIMAL128: u8 = 0x13;
    pub(crate) const MAX_KEY: u8 = 0x7F;
    pub(crate) const MIN_KEY: u8 = 0xFF;

    /// What a value of the type is called in an error.
    pub(crate) fn name(element_type: u8) -> &'static str {
        match element_type {
            DOUBLE => "a double",
            STRING => "a string",
            DOCUMENT => "a document",
            ARRAY => "an array",
            BINARY => "a binary",
            UNDEFINED => "undefined",
            OBJECT_ID => "an ObjectId",
            BOOLEAN => "a boolean",
            DATE_TIME => "a date",
            NULL => "null",
            REGEX => "a regular expression",
            DB_POINTER => "a DBPointer",
            CODE => "a code",
            SYMBOL => "a symbol",
            CODE_WITH_SCOPE => "a code with scope",
            INT32 => "an int32",
            TIMESTAMP => "a timestamp",
            INT64 => "an int64",
            DECIMAL128 => "a decimal128",
            MAX_KEY => "a MaxKey",
            MIN_KEY => "a MinKey",
            _ => "an unknown type",
        }
    }
}

/// The names of newtypes by which the `bson` crate marks the value inside for its own serializer or
/// deserializer. They are not in its documentation: a test compares them with the crate.
mod newtype {
    pub(super) const UUID: &str = "$__bson_private_uuid";
    pub(super) const RAW_DOCUMENT: &str = "$__private__bson_RawDocument";
    pub(super) const RAW_ARRAY: &str = "$__private__bson_RawArray";
    pub(super) const RAW_BSON: &str = "$__private__bson_RawBson";
    pub(super) const HUMAN_READABLE: &str = "$__bson_private_human_readable";
}

/// The subtype of binary whose bytes carry a second length.
pub(crate) const SUBTYPE_BINARY_OLD: u8 = 0x02;

/// The key of a payload document under which the arguments stand.
pub(crate) const PAYLOAD_KEY: &str = "payload";

#[cfg(test)]
mod tests;
