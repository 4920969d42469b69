//! Testing your program: buses in tests that do not disturb others and are not disturbed.
//!
//! # A group and a port for each test
//!
//! Tests run side by side, in threads and in processes, and a bus hears all others on its group and
//! port. So each test takes a group and a port that no other has, and stays on 127.0.0.1:
//!
//! ```
//! use std::{process, sync::atomic::{AtomicU32, Ordering}};
//!
//! use eventcast::{Builder, Bus, NetEvent};
//! use serde::{Deserialize, Serialize};
//!
//! /// The options of all buses of one test.
//! #[derive(Clone)]
//! struct Group { address: String, port: u16 }
//!
//! impl Group {
//!     fn unused() -> Self {
//!         static COUNT: AtomicU32 = AtomicU32::new(0);
//!         let (process, count) = (process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
//!         let [_, _, high, low] = process.to_be_bytes();
//!         Self {
//!             // From 239.192.0.0/14, which is for everybody's own use.
//!             address: format!("239.192.{high}.{low}"),
//!             // Below the ports that Linux gives to sockets without one (from 32,768).
//!             port: 20_000 + (process.wrapping_mul(131).wrapping_add(count) % 10_000) as u16,
//!         }
//!     }
//!
//!     fn bus(&self) -> Builder {
//!         Bus::builder()
//!             .environment(false) // whatever EVENTCAST_… variables the machine has
//!             .multicast_interface("127.0.0.1")
//!             .multicast_membership(self.address.as_str())
//!             .port(self.port)
//!     }
//! }
//!
//! #[derive(NetEvent, Serialize, Deserialize, Debug, PartialEq)]
//! struct Ordered { number: u64 }
//!
//! #[derive(NetEvent, Serialize, Deserialize, Debug, PartialEq)]
//! struct Shipped { number: u64 }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> eventcast::Result<()> {
//! let group = Group::unused();
//! let warehouse = group.bus().start().await?;
//! warehouse.on::<Ordered>(|e| {
//!     e.bus().emit(Shipped { number: e.number }).expect("the bus runs");
//! });
//!
//! let shop = group.bus().start().await?;
//! let shipped = shop.wait_for::<Shipped>(); // before the emit: the answer cannot come too early
//! shop.emit(Ordered { number: 7 })?;
//! let shipped = tokio::time::timeout(std::time::Duration::from_secs(30), shipped).await;
//! assert_eq!(shipped.expect("an answer comes").expect("the bus is there").number, 7);
//! # Ok(())
//! # }
//! ```
//!
//! The number of the process takes part because test runners start several processes: `cargo
//! nextest` one for each test. Two buses of one test need no more than this to meet.
//!
//! # What to wait for
//!
//! - Wait for events, not for time: [`wait_for`](crate::Bus::wait_for) and
//!   [`subscribe`](crate::Bus::subscribe) listen from when they are called. A timeout is against
//!   hanging; make it long, for a machine that is busy.
//! - To show that something did *not* come, emit something else after it and wait for that: the
//!   events of one sender come in their order, unless they are best effort.
//! - A bus gets the events that a sender emits after it has discovered the bus. Where the sender
//!   was started before the listening bus, wait for [`PeerJoined`](crate::Notice::PeerJoined) at
//!   the sender, and emit then.
//! - In a test that fails, print the notices: `bus.on_notice(|notice| eprintln!("{notice}"))`.
//!
//! # Without a network
//!
//! A bus that was never started needs no socket. Its own listeners get what it emits, within the
//! call; then `emit` says [`NotStarted`](crate::EmitErrorKind::NotStarted), which gives the event
//! back:
//!
//! ```
//! # use eventcast::{Bus, EmitErrorKind, NetEvent};
//! # use serde::{Deserialize, Serialize};
//! # use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
//! # #[derive(NetEvent, Serialize, Deserialize, Debug)]
//! # struct Ordered { number: u64 }
//! # fn main() -> eventcast::Result<()> {
//! let bus = Bus::builder().environment(false).build()?;
//! let heard = Arc::new(AtomicU64::new(0));
//! let last = Arc::clone(&heard);
//! bus.on::<Ordered>(move |e| last.store(e.number, Ordering::Relaxed));
//! let error = bus.emit(Ordered { number: 7 }).expect_err("it was not started");
//! assert!(matches!(error.kind(), EmitErrorKind::NotStarted));
//! assert_eq!(heard.load(Ordering::Relaxed), 7);
//! # Ok(())
//! # }
//! ```
//!
//! # With a passphrase
//!
//! A passphrase costs 600,000 rounds of a hash, once in a process for each passphrase, group and
//! port, and each test has a group of its own. A ready key costs none:
//! `.passphrase(Secret::ready_key([7; 32]))`.
//!
//! # In CI
//!
//! 127.0.0.1 is in every container, also in one without a network (`docker run --network none`),
//! and needs no privileges. Nothing has to be opened or set up. What fails in CI alone mostly
//! waited for time.
