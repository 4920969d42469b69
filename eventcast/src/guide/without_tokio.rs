//! Without tokio: a bus in a program of threads, or on another async runtime.
//!
//! A bus has threads of its own for its sockets and timers. It uses tokio for one thing: to run async listeners. A
//! program without them needs no runtime; the crate tokio is built all the same, with the features `rt` and `sync`.
//!
//! | what | needs a tokio runtime |
//! | --- | --- |
//! | [`start`](crate::Bus::start), [`stop`](crate::Bus::stop), [`set_keys`](crate::Bus::set_keys) | no: they act when called, and what they return may be awaited on any executor, or dropped |
//! | [`emit`](crate::Bus::emit), from any thread | no |
//! | [`emit_wait`](crate::Bus::emit_wait) | no: any executor |
//! | [`on`](crate::Bus::on), [`once`](crate::Bus::once), [`on_notice`](crate::Bus::on_notice) | no: they run on threads of the bus |
//! | [`subscribe`](crate::Bus::subscribe), [`wait_for`](crate::Bus::wait_for), [`notices`](crate::Bus::notices) | no: any executor |
//! | [`on_async`](crate::Bus::on_async) and its kin | yes: the one in which `start` is called, or [`Builder::runtime`](crate::Builder::runtime) |
//!
//! # Threads
//!
//! ```
//! use std::sync::mpsc;
//!
//! use eventcast::{Bus, NetEvent};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(NetEvent, Serialize, Deserialize)]
//! struct Ping { round: u32 }
//!
//! # fn main() -> eventcast::Result<()> {
//! let bus = Bus::builder()
//!     .multicast_interface("127.0.0.1") // on a network, leave this line out
//!     .build()?;
//! block_on(bus.start())?;
//!
//! let (rounds, heard) = mpsc::channel();
//! bus.on::<Ping>(move |ping| {
//!     let _ = rounds.send(ping.round); // nobody waits any more
//! });
//! bus.emit(Ping { round: 1 })?;
//! assert_eq!(heard.recv(), Ok(1));
//! block_on(bus.stop())?;
//! # Ok(())
//! # }
//!
//! /// Waits for a future on this thread. The crates `pollster` and `futures` have the same.
//! fn block_on<F: Future>(future: F) -> F::Output {
//!     use std::{pin::pin, sync::Arc, task::{Context, Poll, Wake, Waker}, thread::{self, Thread}};
//!     struct Unpark(Thread);
//!     impl Wake for Unpark {
//!         fn wake(self: Arc<Self>) {
//!             self.0.unpark();
//!         }
//!     }
//!     let waker = Waker::from(Arc::new(Unpark(thread::current())));
//!     let mut future = pin!(future);
//!     loop {
//!         match future.as_mut().poll(&mut Context::from_waker(&waker)) {
//!             Poll::Ready(output) => return output,
//!             Poll::Pending => thread::park(),
//!         }
//!     }
//! }
//! ```
//!
//! A channel, as here, takes events to a thread that may block as long as it likes. A listener itself should come back
//! soon; one that does not is moved to a thread of its own.
//!
//! # Another runtime
//!
//! The futures and streams of a bus wake whoever polls them, and use nothing of tokio's: they may be awaited under
//! smol, async-std, or the main loop of a user interface. [`Subscription`](crate::Subscription) and
//! [`NoticeStream`](crate::NoticeStream) are `futures_core::Stream`s.
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
