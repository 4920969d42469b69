//! The protocol, and nothing else: no socket, no clock, no threads, no randomness but what is handed in.
//!
//! One [`Engine`] is one bus. Whoever owns it moves datagrams between it and the network, tells it the time, and
//! takes from it what is to be told to the application. So a whole group of buses runs in one test, on virtual
//! time, over any network that the test makes up.
//!
//! # Driving it
//!
//! Change, then drain. [`Engine::emit`], [`Engine::handle_datagram`] and [`Engine::handle_timeout`] change the
//! engine and give nothing back; after any of them
//!
//! 1. call [`Engine::poll_transmit`] and send what it gives, until it gives `None`;
//! 2. call [`Engine::take_events`] and handle what is in the batch;
//! 3. sleep until a datagram comes, or the earlier of [`Engine::next_transmit`] (then begin at 1) and
//!    [`Engine::poll_timeout`] (then call [`Engine::handle_timeout`], and begin at 1).
//!
//! What waits to be handed in goes before timeouts: where a driver comes late, because its process was stopped or had no
//! processor, the sockets hold what others have said meanwhile, and by the clock alone all of them were silent. So
//! [`Engine::handle_timeout`], which finds that peers are silent and gives up gaps and incomplete messages, is for when
//! no input is left; while some is, [`Engine::handle_timeout_amid_input`] does the rest: it asks, answers and says
//! hello. Under input that never ends, `handle_timeout` is due after a bounded amount of it. What the system dropped
//! meanwhile is in no socket: [`Engine::handle_pause`] takes how long the driver was away, and that time counts for
//! nobody's silence.
//!
//! Several datagrams may be handed in before draining. Each call takes the time of the call, [`Now`]; it must not go
//! backwards.
//!
//! ```
//! use std::time::Duration;
//! # #[cfg(feature = "proto")] fn main() {
//! use eventcast::proto::{Config, Engine, Event, Events, Now, Outgoing};
//!
//! let now = Now::default();
//! let host = [127, 0, 0, 1].into();
//! let mut alice = Engine::new(Config::new("a11ce00000000000", 1, host, 9001), [1; 32], now);
//! let mut bob = Engine::new(Config::new("b0b0000000000000", 1, host, 9002), [2; 32], now);
//!
//! let payload = b"\x13\0\0\0\x04payload\0\x05\0\0\0\0\0"; // {payload: []}
//! alice.emit(now, Outgoing { name: "greeting", payload, schema: None, best_effort: false }).unwrap();
//!
//! let mut datagram = Vec::new();
//! let mut events = Events::new();
//! while let Some(_transmit) = alice.poll_transmit(now, &mut datagram) {
//!     bob.handle_datagram(now, (host, 9001).into(), &datagram);
//! }
//! assert!(bob.take_events(&mut events));
//! let Some(Event::Message(message)) = events.get(0) else { panic!("{:?}", events.get(0)) };
//! assert_eq!(message.name, "greeting");
//! assert_eq!(message.peer.id, "a11ce00000000000");
//! # }
//! # #[cfg(not(feature = "proto"))] fn main() {}
//! ```
//!
//! # What comes from the network
//!
//! Bytes from the network are read once, in `wire`, into values that need no further checks. Whatever they are,
//! they cause no panic, no allocation by a length that is only claimed, and no growth beyond the limits named beside
//! each table; what is refused is counted by [`DropCause`] and told at most once in ten seconds for each cause and
//! address. A panic is a fault of this module, but where a function's documentation says that the caller broke its
//! contract.
//!
//! # The protocol
//!
//! A message is one datagram: its metadata, then a BSON document with the event's arguments. One that is too long
//! for that is cut (`chunker`), and its slices travel in datagrams of their own, at a pace that a network can take
//! (`queue`), to be put together by each receiver (`assembler`, `reassembly_buffer`).
//!
//! A bus on several interfaces sends each datagram by each of them (`fan_out`).
//!
//! Each message to the group has a number, unless it is best effort. What one incarnation of a sender has sent so is a
//! stream (`streams`), delivered in the order of its numbers (`reorder_buffer`). What is missing is asked for (`nack_list`; chunks:
//! `chunk_nacks`), and the sender sends it again (`retransmit_queue`) from what it keeps (`history`). A hello a second
//! says that a bus is there and what its last number is; what can no longer be had is told as lost.
//!
//! A bus that has a key seals each datagram when it is handed out, and takes nothing else (`seal`). What was sealed is
//! opened first of all, and then is a datagram like any other: queue, history and everything above know nothing of it.
//!
//! A message is delivered once, though its datagrams may come more often, from this address or another: by its
//! number, or where it has none by its id (`dedup_cache`). A bus knows what it sent itself by id and incarnation, and drops it
//! (`peers`).

mod budgets;
#[cfg(feature = "classic")]
mod classic;
mod config;
mod cost;
mod engine;
mod hash;
mod ranges;
mod rate;
pub(crate) mod rate_limited;
mod receive;
mod repair;
mod report;
mod seal;
mod send;
mod stats;
mod wire;

#[cfg(test)]
mod tests;

#[cfg(feature = "classic")]
pub use classic::ClassicKey;
pub use config::{Config, Host, Now};
pub use engine::Engine;
#[cfg(test)]
pub(crate) use engine::Trip;
pub use receive::events::{
    Event, Events, Expired, ExpiredReason, LeftReason, Lost, LostReason, Message, Refused,
};
pub use receive::peer::{Peer, PeerFigures, PeerStatus};
pub use seal::{IvSource, SealConfig, SealKey, SealKeyError, SealKeys};
pub use send::outgoing::{Accepted, Destination, Outgoing, Refusal, Transmit};
pub use stats::{DropCause, Drops, EngineStats};

pub use wire::{MessageId, VERSION as WIRE_VERSION};
