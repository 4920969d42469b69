//! Guides: pages to read about what concerns several parts of the reference. There is no code here.
//!
//! - [`networks`]: firewalls, containers, Kubernetes, clouds, Wi-Fi, switches, several interfaces.
//! - [`testing`]: tests of a program that uses a bus, on a developer's machine and in CI.
//! - [`without_tokio`]: threads, or another async runtime.
//! - [`sizes`]: large and small events; what waits for what.
//! - [`values`]: UUIDs, dates, bytes and maps on the wire.
//!
//! What a passphrase protects against has a page of its own, [`security`](crate::security).

pub mod networks;
pub mod sizes;
pub mod testing;
pub mod values;
pub mod without_tokio;
