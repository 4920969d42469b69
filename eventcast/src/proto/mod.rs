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
//! # How it is laid out
//!
//! | folder | holds |
//! | --- | --- |
//! | `engine` | what drives the parts, and owns them all: [`Engine`] |
//! | `receive` | `peers`, `streams`, `assembler`, `reorder_buffer`, `dedup_cache`, `events`: from a datagram to what the application gets |
//! | `repair` | `nack_list`, `request_window`, `retransmit_queue`, `validation`: what is asked for, and what is sent again |
//! | `send` | `chunker`, `history`, `queue` with its pacer, `fan_out`: from an event to datagrams for each interface |
//! | `seal` | boxes, keys, replays |
//! | `wire` | the bytes, one file for each kind of thing, and their specification |
//!
//! Each needs those below it alone, and no two need each other; a test reads their `use` lines. What several need (rates,
//! ranges, costs, hashes, counters) stands beside the folders.
//!
//! **An event to its datagrams.** [`Engine::emit`] checks its length and that the queue has room for it, numbers it, and
//! writes its datagram into the queue, of which `history` keeps a copy. One that is longer than a datagram is encoded whole
//! and kept in `history`, and the queue holds where; its chunks are cut (`chunker`) when their turn comes, at a pace that a
//! network can take. [`Engine::poll_transmit`] takes what is due from the queue, or from `retransmit_queue`, seals it
//! (`seal`) and hands it out once for each interface (`fan_out`).
//!
//! **A datagram to an event.** [`Engine::handle_datagram`] opens the seal first, where there is one: what comes out is a
//! datagram like any other. `wire` reads it; `peers` knows its sender, by whose id and incarnation a bus recognises itself.
//! Messages of the protocol's own (`__ec_…`) end in `engine::control`. A numbered message belongs to the stream of its
//! sender (`streams`): `reorder_buffer` says whether it is the next one, came before, or waits for others, and what is
//! missing goes to `nack_list`. One without a number is looked up by its id in `dedup_cache`. What is to be delivered is
//! copied into `events`, once, and lies there until [`Engine::take_events`].
//!
//! **A chunk to its message.** As above up to the stream; then `assembler` puts it into the `reassembly_buffer` of its
//! message. What is missing there, `chunk_nacks` asks for as far as `request_window` lets it. The last chunk hands the whole
//! buffer back, which is read and delivered as a datagram is; a message that is given up leaves a gap that is passed.
//!
//! A hello a second (`engine::presence`) says that a bus is there and what its last number is. What can no longer be had is
//! reported as lost.

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
