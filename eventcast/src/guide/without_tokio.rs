//! Without tokio: a bus in a program of threads, or on another async runtime.
//!
//! A bus has threads of its own for its sockets and timers. It uses tokio for one thing: to run
//! async listeners. A program without them needs no runtime; the crate tokio is built all the same,
//! with the features `rt` and `sync`.
//!
//! | what | needs a tokio runtime |
//! | --- | --- |
//! | [`start`](crate::Bus::start), [`stop`](crate::Bus::stop), [`set_keys`](crate::Bus::set_keys) | no: they act when called, and what they return may be awaited on any executor, or dropped |
//! | [`start_blocking`](crate::Bus::start_blocking), [`stop_blocking`](crate::Bus::stop_blocking) | no |
//! | [`emit`](crate::Bus::emit), from any thread | no |
//! | [`emit_wait`](crate::Bus::emit_wait) | no: any executor |
//! | [`on`](crate::Bus::on), [`once`](crate::Bus::once), [`on_notice`](crate::Bus::on_notice) | no: they run on threads of the bus |
//! | [`subscribe`](crate::Bus::subscribe), [`wait_for`](crate::Bus::wait_for), [`notices`](crate::Bus::notices) | no: any executor, or `recv_timeout` on a thread |
//! | [`on_async`](crate::Bus::on_async) and its kin | yes: the one in which `start` is called, or [`Builder::runtime`](crate::Builder::runtime) |
//!
//! # Threads
//!
//! ```
//! use std::{sync::mpsc, time::Duration};
//!
//! use eventcast::{Bus, NetEvent};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(NetEvent, Serialize, Deserialize)]
//! struct Ping { round: u32 }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bus = Bus::builder()
//!     .multicast_interface("127.0.0.1") // on a network, leave this line out
//!     .start_blocking()?;
//!
//! // A listener runs on a thread of the bus; a channel takes its events to one that may block.
//! let (rounds, heard) = mpsc::channel();
//! bus.on::<Ping>(move |ping| {
//!     let _ = rounds.send(ping.round); // nobody waits any more
//! });
//! // A stream does the same, and has a limit.
//! let mut pings = bus.subscribe::<Ping>();
//!
//! bus.emit(Ping { round: 1 })?;
//! assert_eq!(heard.recv()?, 1);
//! assert_eq!(pings.recv_timeout(Duration::from_secs(30))?.round, 1);
//! bus.stop_blocking()?;
//! # Ok(())
//! # }
//! ```
//!
//! A listener itself should come back soon; one that does not is moved to a thread of its own.
//!
//! # Another runtime
//!
//! The futures and streams of a bus wake the task that polls them, and use nothing of tokio's: they
//! may be awaited under smol, async-std, or the main loop of a user interface.
//! [`Subscription`](crate::Subscription) and [`NoticeStream`](crate::NoticeStream) are
//! `futures_core::Stream`s.
//!
//! # Async listeners all the same
//!
//! Give the bus a runtime that lives as long as it does:
//!
//! ```
//! # use eventcast::{Bus, NetEvent};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(NetEvent, Serialize, Deserialize)]
//! # struct Ping { round: u32 }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
//! let bus = Bus::builder()
//!     .multicast_interface("127.0.0.1")
//!     .runtime(runtime.handle().clone())
//!     .build()?;
//! bus.on_async::<Ping>(async |ping| println!("round {}", ping.round));
//! # Ok(())
//! # }
//! ```
//!
//! Without one `start` says [`NoRuntime`](crate::Error::NoRuntime) where there are async listeners.
