//! A typed event bus over UDP multicast: no broker, no address to configure, no IDL.
//!
//! A service declares its events as types; what one emits, every other on the network that listens
//! to that type hears:
//!
//! ```
//! use eventcast::{Bus, NetEvent};
//! use serde::{Deserialize, Serialize};
//!
//! /// Somebody joined.
//! #[derive(NetEvent, Serialize, Deserialize, Debug)]
//! struct UserJoined { user: u64, name: String }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> eventcast::Result<()> {
//! let bus = Bus::builder()
//!     .port(9000)
//!     .multicast_interface("127.0.0.1") // on a network, leave this line out
//!     .start()
//!     .await?;
//! bus.on::<UserJoined>(|e| println!("{:?} joined, says {}", e.name, e.origin()));
//! bus.emit(UserJoined { user: 7, name: "Ada".into() })?;
//! bus.stop().await
//! # }
//! ```
//!
//! # Where to look
//!
//! - [`Bus`]: everything that is done with a bus. [`Builder`] and [`Config`]: its options.
//! - [`NetEvent`]: what an event type is, its key, and the derive. [`Received`] and [`Origin`]:
//!   what a listener gets.
//! - [`Args`], [`args!`] and [`IntoArgs`]: events without a type.
//! - [`Notice`] and [`Stats`]: what the bus tells about itself. It logs with `tracing`, target
//!   `eventcast`.
//! - [`Error`], [`EmitError`]: what can go wrong, and what to do.
//! - [`printable`]: texts that come from the network, to be printed.
//! - [`security`]: what a passphrase protects against, and what not.
//! - [`guide`]: pages about [networks](guide::networks), [tests of a program](guide::testing), life
//!   [without tokio](guide::without_tokio), [large and small events](guide::sizes), and
//!   [values](guide::values).
//! - The bytes on the network: `src/proto/wire/WIRE.md` of the crate.
//!
//! # Features
//!
//! None is enabled by default, and none changes what another part does.
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `classic` | the option `classic_cipher`, for peers of another make that use a passphrase |
//! | `log` | `eventcast::log`: a `tracing` subscriber for programs that have none, and its levels at run time |
//! | `metrics` | `Bus::publish_metrics`: the statistics of [`Stats`] for the recorder of the crate `metrics` |
//! | `repl` | the options `repl` and `repl_port`: a console for each bus, see `eventcast::repl` |
//! | `proto` | `eventcast::proto` and `eventcast::codec`: the protocol by itself. It may change with any version |
//!
//! # How it is built
//!
//! | layer | what it is |
//! | --- | --- |
//! | `bus` | what users hold, and the threads that drive it |
//! | `codec` | serde to and from BSON bytes, and the check of raw BSON |
//! | `proto` | the protocol: no socket, no clock, no async, no global random numbers |
//! | `net` | sockets: joining groups, interfaces, batches of datagrams |
//! | `repl` | the console, with the feature of that name |
//!
//! Linux is what it is built and tested on. Receiving many datagrams with one system call, sending
//! many with one, and [`Stats::kernel_drops`] rest on Linux; elsewhere each datagram takes a call,
//! and the count stays 0.

// On docs.rs an item that a feature adds carries its name as a label. That needs a nightly
// compiler, so the text of each such item names the feature as well.
#![cfg_attr(docsrs, feature(doc_cfg))]

// The derive names the crate by its absolute path, inside the crate too.
extern crate self as eventcast;

mod bus;
#[cfg(feature = "proto")]
pub mod codec;
#[cfg(not(feature = "proto"))]
#[allow(
    unused,
    unreachable_pub,
    reason = "public, and used in full, with the feature alone"
)]
mod codec;
#[cfg(test)]
mod doc_examples;
mod error;
mod event;
pub mod guide;
#[cfg(test)]
mod layers;
#[cfg(feature = "log")]
pub mod log;
mod names;
mod net;
#[cfg(feature = "proto")]
pub mod proto;
#[cfg(not(feature = "proto"))]
#[allow(
    unused,
    unreachable_pub,
    reason = "public, and used in full, with the feature alone"
)]
mod proto;
#[cfg(feature = "repl")]
pub mod repl;
pub mod security;
mod text;

pub use bson;
pub use eventcast_derive::NetEvent;

pub use bus::{
    AsyncListener, Builder, Bus, Config, ConfigError, ConfigLayer, ConsoleRefusedCause, Emitted,
    FromArgs, IntoPattern, InvalidPattern, Keys, Listen, ListenerGuard, ListenerId, ListenerInfo,
    ListenerMode, ListenerQueue, ListenerScope, Notice, NoticeStream, Origin, Overflow, Pattern,
    Received, ReceivedParts, RecvTimeoutError, RefusedCause, Secret, SendState, Start, Stats,
    Stopped, SubscribeOptions, Subscription, Transition, TryNextError, WaitFor, WeakBus,
};
pub use codec::{
    Args, DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind, IntoArg, IntoArgs, Malformed,
    to_bson,
};
pub use error::{EmitError, EmitErrorKind, Error, Result};
pub use event::{
    InvalidKey, KeyClaim, KeyConflict, MAX_KEY_LEN, NetEvent, Shape, ShapeKind, TypeName,
};
pub use net::{InterfaceError, InterfaceLeftReason, OpenError, SendError};
pub use proto::{
    DropCause, ExpiredReason, LeftReason, LostReason, MessageId, Peer, PeerStats, PeerStatus,
    SealKeyError,
};
pub use text::{Printable, printable};

/// What the code that the derive writes calls. Not for people: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use crate::event::derived::*;
    pub use serde;
    pub use typeid;
}

// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
