#![doc = include_str!("WIRE.md")]
//!
//! # The files
//!
//! Reading takes bytes from anybody: it borrows from them, allocates nothing, never panics, and
//! gives either a value that needs no further checks or a [`Fault`]. Writing takes values that are
//! known to be good.
//!
//! | file | what |
//! | --- | --- |
//! | `datagram` | length field, metadata, rest |
//! | `metadata` | the metadata's keys, in any order |
//! | `template` | writing metadata, and the layout that all writers share |
//! | `canonical` | reading metadata that has that layout, of a sender that is known |
//! | `classic` | what the classic cipher brings along |
//! | `sealed` | the datagram around a box |
//! | `seq_id` | message ids |
//! | `time` | ISO 8601 |
//! | `control` | the arguments of the reserved events |

mod canonical;
#[cfg(feature = "classic")]
mod classic;
pub(super) mod control;
mod datagram;
mod metadata;
mod sealed;
mod seq_id;
mod template;
mod time;

pub(super) use canonical::Canonical;
#[cfg(feature = "classic")]
pub(super) use classic::{CLASSIC_HEAD, NONCE_LEN, put_nonce, turn_nonce, write_classic_head};
pub(super) use datagram::Datagram;
pub(super) use metadata::{Described, Identity, Metadata};
pub(super) use sealed::{AROUND_BOX, SealedFrame, write_sealed};
pub use seq_id::MessageId;
pub(super) use seq_id::{SeqId, SeqIdText};
pub(super) use template::{Head, Template, put_host, set_seq};
pub(super) use time::{TimeReader, TimeWriter};

/// The version of the protocol, key `v`.
pub const VERSION: u64 = 3;

/// Longest event key in bytes. Keys are part of every datagram, and have to leave room for data.
pub(super) const MAX_NAME: usize = 1024;

/// Longest `seqId` and `id` in bytes: eventcast's own are 40 and 16, other programs may use longer
/// ones within reason.
pub(super) const MAX_ID: usize = 64;

/// Longest `host` and `hostname` in bytes: the longest name of the DNS.
pub(super) const MAX_HOST: usize = 255;

/// Most chunks of one message: what 16 MiB in the shortest slices need.
pub(super) const MAX_CHUNKS: u32 = 262_144;

/// Names that begin so are the protocol's own.
pub(super) const RESERVED: &str = "__ec_";

/// The name under which sealed datagrams travel.
pub(super) const SEALED: &str = "__ec_sealed";

/// Why bytes are no datagram that can be worked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// They break the format.
    Malformed,
    /// They are of another protocol version.
    Version(u64),
    /// They claim more than this bus takes.
    OverLimit,
}

impl From<crate::codec::Malformed> for Fault {
    fn from(_: crate::codec::Malformed) -> Self {
        Self::Malformed
    }
}
