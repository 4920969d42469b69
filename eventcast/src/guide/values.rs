//! Values: how UUIDs, dates, bytes and maps travel.
//!
//! [`NetEvent`](crate::NetEvent) has the whole table. The rule behind it: serde decides what a
//! value is made of, and a type that has one form for people and one for programs travels in the
//! form for people, so that other languages and a person at the console can read it.
//!
//! | Rust | with | on the wire |
//! | --- | --- | --- |
//! | `uuid::Uuid` | the feature `serde` of `uuid` | a string, `"67e55044-10b1-426f-9247-bb680e5fe0c8"` |
//! | `bson::Uuid` | nothing | a binary of subtype 4 |
//! | `time::OffsetDateTime` and its kin | the feature `serde-human-readable` of `time` | a string |
//! | `time::OffsetDateTime` | `#[serde(with = "time::serde::rfc3339")]`, the feature `serde-well-known` | a string of RFC 3339 |
//! | `chrono::DateTime<Utc>` | the feature `serde` of `chrono` | a string of RFC 3339 |
//! | `bson::DateTime` | nothing | a date of BSON: milliseconds since 1970 |
//! | `std::time::SystemTime`, `Duration` | nothing | a document of seconds and nanoseconds |
//! | `Vec<u8>` | nothing | an array of numbers, about ten bytes for each |
//! | `Vec<u8>` | `#[serde(with = "serde_bytes")]` | a binary of subtype 0 |
//! | `bytes::Bytes` | the feature `serde` of `bytes` | a binary of subtype 0 |
//! | `IpAddr`, `SocketAddr`, `PathBuf` | nothing | a string |
//! | a map | its keys travel as strings | a document |
//!
//! ```
//! use std::{collections::BTreeMap, net::IpAddr};
//!
//! use bson::{Binary, doc, spec::BinarySubtype};
//! use eventcast::{Bus, NetEvent, args, bson};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(NetEvent, Serialize, Deserialize)]
//! struct Measured {
//!     instrument: uuid::Uuid,
//!     at: bson::DateTime,
//!     calibrated: chrono::DateTime<chrono::Utc>,
//!     #[serde(with = "serde_bytes")]
//!     raw: Vec<u8>,
//!     shared: bytes::Bytes,
//!     seen_by: BTreeMap<IpAddr, u32>,
//! }
//!
//! # fn main() -> eventcast::Result<()> {
//! # let bus = Bus::builder().environment(false).build()?;
//! # let measured = Measured {
//! #     instrument: uuid::uuid!("67e55044-10b1-426f-9247-bb680e5fe0c8"),
//! #     at: bson::DateTime::from_millis(1_000),
//! #     calibrated: chrono::DateTime::from_timestamp(1_000, 5_000_000).expect("in range"),
//! #     raw: vec![1, 2, 3],
//! #     shared: bytes::Bytes::from_static(&[4, 5]),
//! #     seen_by: BTreeMap::from([(IpAddr::from([192, 0, 2, 7]), 4)]),
//! # };
//! // What a listener by key, or a program in another language, gets of it:
//! bus.on_named(Measured::KEY, |arguments| {
//!     let binary = |bytes: &[u8]| Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() };
//!     assert_eq!(**arguments, args![doc! {
//!         "instrument": "67e55044-10b1-426f-9247-bb680e5fe0c8",
//!         "at": bson::DateTime::from_millis(1_000),
//!         "calibrated": "1970-01-01T00:16:40.005Z",
//!         "raw": binary(&[1, 2, 3]),
//!         "shared": binary(&[4, 5]),
//!         "seen_by": { "192.0.2.7": 4 },
//!     }]);
//! });
//! # bus.on::<Measured>(|e| assert_eq!(e.shared.len(), 2));
//! # bus.emit(measured).expect_err("a bus that was not started calls its listeners, and says so");
//! # assert_eq!(bus.stats().listener_panics, 0);
//! # Ok(())
//! # }
//! ```
//!
//! # Choosing
//!
//! - *A moment*: `bson::DateTime` where programs in other languages shall see a date (milliseconds
//!   are all it has); a string of RFC 3339 where more digits count.
//! - *Bytes*: `serde_bytes`, or `bytes::Bytes`. A field of either reads arrays of numbers, too.
//! - *Numbers*: whatever fits. Integers travel as 32 or 64 bits, whatever their type, and come back
//!   into any that holds the value. A `u64` above `i64::MAX` is refused; keep such a one, and
//!   anything longer, as a string.
//! - *Money*: an integer of the smallest unit, or `bson::Decimal128`; a double is neither.
//! - *What may be absent*: `Option`, with or without `#[serde(default)]`: an `Option` field that is
//!   missing is `None`.
//! - *What may grow*: add fields that are optional or have a default. Peers with the older type
//!   ignore the field; peers with the newer one read its default.
//!
//! # Keys of maps
//!
//! A key is a name in a document, so it travels as a string: `String`, `char`, an enum without
//! values, what is in a newtype around these, and what has a form for people, as `IpAddr` and
//! `Uuid`. `emit` refuses what has no such form.
