//! Large and small events: what an event may weigh, what waits for what, and what `best_effort`
//! changes.
//!
//! # Limits
//!
//! | an event of | travels | option |
//! | --- | --- | --- |
//! | up to 1,024 bytes with its metadata | as one datagram | `max_payload_size` |
//! | up to 32 MiB | in chunks, each a datagram, which the receiver puts together | `max_message_size`, on both sides |
//! | more | not at all: `emit` says [`TooLarge`](crate::EmitErrorKind::TooLarge) | |
//!
//! A receiver holds at most 96 MiB of what is not complete or waits for its turn, from all senders
//! together (`max_held_bytes`), and a sender keeps 64 MiB of what it has sent, for 9 s, to send it
//! again (`history_bytes`, three times `message_ttl`). A program that sends large events one after
//! the other should keep both limits in mind: events that were dropped from the history are lost to
//! receivers that still lack them.
//!
//! Bytes belong into `serde_bytes`: a plain `Vec<u8>` is an array of numbers, about ten bytes on
//! the wire for each; see [`values`](super::values).
//!
//! # What waits for what
//!
//! *At the sender* small events do not wait for large ones. Chunks are paced, so that they do not
//! overflow the receivers' buffers, and events of one datagram pass them. Each kind may wait up to
//! `send_queue` (4 MiB, and a large one beyond that if nothing else waits); then `emit` says
//! [`QueueFull`](crate::EmitErrorKind::QueueFull), and [`emit_wait`](crate::Bus::emit_wait) waits
//! for room.
//!
//! *At the receiver* the events of one sender are delivered in their order. So a small event that
//! was emitted after a large one arrives soon and is delivered late: when the large one is
//! complete, or has been dropped. Two things do not wait:
//!
//! - events of other senders;
//! - events that are best effort.
//!
//! The test `repair::small_events_pass_a_large_message` shows all four.
//!
//! Where files or pictures must not hold up commands, send them on a bus of their own, in the same
//! process and the same group: every bus is a sender by itself.
//!
//! ```no_run
//! # use eventcast::{Bus, NetEvent};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(NetEvent, Serialize, Deserialize)]
//! # struct Picture(#[serde(with = "serde_bytes")] Vec<u8>);
//! # #[derive(NetEvent, Serialize, Deserialize)]
//! # struct Stop;
//! # async fn example(picture: Vec<u8>) -> eventcast::Result<()> {
//! let commands = Bus::builder().port(9000).multicast_interface("127.0.0.1").start().await?;
//! let pictures = Bus::builder().port(9000).multicast_interface("127.0.0.1").start().await?;
//! pictures.emit_wait(Picture(picture)).await?;
//! commands.emit(Stop)?; // delivered as soon as it arrives
//! # Ok(())
//! # }
//! ```
//!
//! # Best effort
//!
//! `#[net_event(best_effort)]` is for an event of which only the newest matters: a position, a
//! level, a temperature.
//!
//! ```
//! # use eventcast::NetEvent;
//! # use serde::{Deserialize, Serialize};
//! #[derive(NetEvent, Serialize, Deserialize)]
//! #[net_event(best_effort)]
//! struct Position { x: f64, y: f64 }
//! assert!(Position::BEST_EFFORT);
//! ```
//!
//! | | usual | best effort |
//! | --- | --- | --- |
//! | delivered twice | never | never |
//! | lost on the way | requested and sent again; reported if it is no longer available | never sent again, and not reported |
//! | order | that of its sender | as it arrives |
//! | waits for earlier ones | yes | no |
//! | larger than a datagram | in chunks | in chunks, of which missing ones are asked for |
//!
//! The option `best_effort` makes it so for everything that a bus emits.
//!
//! # Listeners
//!
//! A listener that takes longer than `listener_budget` (1 ms) for a call gets a queue of its own,
//! of 16,384 events or 16 MiB (`listener_queue`). When it is full the newest events are dropped for
//! this listener, and [`ListenerMissed`](crate::Notice::ListenerMissed) says how many. A stream
//! chooses what gives way ([`SubscribeOptions`](crate::SubscribeOptions)): for positions, the
//! latest alone is enough.
