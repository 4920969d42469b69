//! Events to and from BSON: the check of raw bytes, views of what has been checked, and serde
//! straight to and from the bytes of a payload document.
//!
//! Responsible for the argument mapping of an event (how a Rust value becomes the array under the
//! key `payload`), and for refusing bytes that are not BSON before anything decodes them. Not for
//! datagrams, metadata or names: those are `proto`'s.
//!
//! Contract: [`check_document`] comes first. Everything else that reads bytes here may be handed
//! anything without panicking, but gives sensible answers only for bytes that passed the check.

mod check;
mod raw;

pub use check::{MAX_DEPTH, Malformed, check_document};
pub use raw::{RawArgs, RawElement, RawElements, RawValue};

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
}

/// The subtype of binary whose bytes carry a second length.
pub(crate) const SUBTYPE_BINARY_OLD: u8 = 0x02;

/// The key of a payload document under which the arguments stand.
pub(crate) const PAYLOAD_KEY: &str = "payload";
