//! The protocol, and nothing else: no socket, no clock, no threads, no randomness but what is
//! handed in.
//!
//! One [`Engine`] is one bus. Its driver moves datagrams between it and the network, passes in the
//! time, and takes from it the events for the application. So a whole group of buses runs in one
//! test, on virtual time, over any network that the test simulates.
//!
//! # Driving it
//!
//! Change, then drain. [`Engine::emit`], [`Engine::handle_datagram`] and [`Engine::handle_timeout`]
//! change the engine and return no datagrams; after any of them
//!
//! 1. call [`Engine::poll_transmit`] and send what it returns, until it returns `None`;
//! 2. call [`Engine::take_events`] and handle what is in the batch;
//! 3. sleep until a datagram comes, or the earlier of [`Engine::next_transmit`] (then begin at 1)
//!    and [`Engine::poll_timeout`] (then call [`Engine::handle_timeout`], and begin at 1).
//!
//! Waiting input goes before timeouts: where a driver comes late, because its process was stopped
//! or had no processor, the sockets hold what the peers have sent meanwhile, and by the clock alone
//! all of them were silent. So [`Engine::handle_timeout`], which finds silent peers and ends gaps
//! and incomplete messages, is for when no input is left; while some is,
//! [`Engine::handle_timeout_amid_input`] does the rest: it sends requests, answers and hellos.
//! Under input that never ends, `handle_timeout` is due after a bounded amount of it. Datagrams
//! that the system dropped meanwhile are in no socket: [`Engine::handle_pause`] takes how long the
//! driver was away, and that time counts as silence of no peer.
//!
//! Several datagrams may be handed in before draining. Each call takes the time of the call,
//! [`Now`]; it must not go backwards.
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
//! alice.emit(now, Outgoing { key: "greeting", payload, schema: None, best_effort: false }).unwrap();
//!
//! let mut datagram = Vec::new();
//! let mut events = Events::new();
//! while let Some(_transmit) = alice.poll_transmit(now, &mut datagram) {
//!     bob.handle_datagram(now, (host, 9001).into(), &datagram);
//! }
//! assert!(bob.take_events(&mut events));
//! let Some(Event::Message(message)) = events.get(0) else { panic!("{:?}", events.get(0)) };
//! assert_eq!(message.key, "greeting");
//! assert_eq!(message.peer.id, "a11ce00000000000");
//! # }
//! # #[cfg(not(feature = "proto"))] fn main() {}
//! ```
//!
//! # What comes from the network
//!
//! Bytes from the network are read once, in `wire`, into values that need no further checks.
//! Whatever they are, they cause no panic, no allocation by a length that is only claimed, and no
//! growth beyond the limits that stand beside each table; what is refused is counted by
//! [`DropCause`] and reported at most once in ten seconds for each cause and address. A panic is a
//! fault of this module, unless the documentation of a function says that its caller broke the
//! contract.
//!
//! # How it is laid out
//!
//! | folder | holds |
//! | --- | --- |
//! | `engine` | what drives the parts, and owns them all: [`Engine`] |
//! | `receive` | `peers`, `streams`, `assembler`, `reorder_buffer`, `dedup_cache`, `events`: from a datagram to an event for the application |
//! | `repair` | `nack_list`, `request_window`, `retransmit_queue`, `validation`: what is requested, and what is sent again |
//! | `send` | `chunker`, `history`, `queue` with its pacer, `fan_out`: from an event to datagrams for each interface |
//! | `seal` | boxes, keys, replays |
//! | `wire` | the bytes, one file for each kind of thing, and their specification |
//!
//! Each needs those below it alone, and no two need each other; a test reads their `use` lines.
//! What several need (rates, ranges, costs, hashes, counters) stands beside the folders.
//!
//! **An event to its datagrams.** [`Engine::emit`] checks its length and that the queue has room
//! for it, numbers it, and writes its datagram into the queue, of which `history` keeps a copy. One
//! that is longer than a datagram is encoded whole and kept in `history`, and the queue holds
//! where; its chunks are cut (`chunker`) when their turn comes, at a pace that a network can take.
//! [`Engine::poll_transmit`] takes what is due from `retransmit_queue`, or else from the queue,
//! makes a copy for each interface (`fan_out`), seals each copy (`seal`) and hands it out.
//!
//! **A datagram to an event.** [`Engine::handle_datagram`] opens the seal first, where there is
//! one: what comes out is a datagram like any other. `wire` reads it; `peers` knows its sender, by
//! whose id and incarnation a bus recognises itself. Messages of the protocol's own (`__ec_…`) end
//! in `engine::control`. A numbered message belongs to the stream of its sender (`streams`):
//! `reorder_buffer` decides whether it is the next one, a duplicate, or has to wait for others, and
//! missing numbers go to `nack_list`. One without a number is looked up by its id in `dedup_cache`.
//! A message to deliver is copied into `events`, once, and stays there until
//! [`Engine::take_events`].
//!
//! **A chunk to its message.** As above up to the stream; then `assembler` puts it into the
//! `reassembly_buffer` of its message. `chunk_nacks` requests the missing chunks as far as
//! `request_window` allows. With the last chunk the whole buffer is complete, and is read and
//! delivered as a datagram is; a message that is dropped incomplete leaves a gap that is skipped.
//!
//! A hello a second (`engine::presence`) announces the bus and its last number. What is no longer
//! available is reported as lost.

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
pub use receive::peer::{Peer, PeerStats, PeerStatus};
pub use seal::{IvSource, SealConfig, SealKey, SealKeyError, SealKeys};
pub use send::outgoing::{Accepted, Destination, Outgoing, Refusal, Transmit};
pub use stats::{DropCause, Drops, EngineStats};

pub use wire::{MessageId, VERSION as WIRE_VERSION};
