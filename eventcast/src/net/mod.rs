//! The sockets: choosing an interface, joining the group, receiving and sending datagrams.
//!
//! Responsible for everything that is a system call on a socket, and for telling what the system
//! refused in words that say what to set. Not responsible for what the datagrams hold (`proto`),
//! nor for who reads and who waits: this module has no thread of its own and keeps no queue.
//!
//! A bus has two sockets. The *group socket* is bound to the group's address and port and shared
//! with every other bus of this machine; it only receives. The *unicast socket* has a port of its
//! own that is shared with nobody; everything is sent from it, so that an answer reaches exactly
//! the process that asked (on a shared port the system picks one of the sharers).
//!
//! | step | file |
//! | --- | --- |
//! | which interface | `interface.rs` |
//! | opening, joining, buffers | `open.rs`, with `echo.rs` for the bus's own datagrams |
//! | what can go wrong there | `error.rs` |
//! | waiting and receiving | `receiver.rs`, with `source.rs` for the system calls and `haste.rs` for staying awake |
//! | sending | `transmitter.rs`, with `sink.rs` for the system calls |
//! | pauses after a refusal | `retry.rs`, with `errno.rs` to tell one from another |
//!
//! What rests on Linux: many datagrams a system call (`recvmmsg`, `UDP_SEGMENT`, `UDP_GRO`), the
//! count of datagrams that the kernel dropped, and the interface's MTU in errors. Elsewhere each
//! datagram takes a call, and the count stays 0. Datagrams are sent joined together on loopback
//! and on real cards only: a virtual link would show them to its other end as one huge packet.

mod echo;
mod errno;
mod error;
mod haste;
mod interface;
mod open;
mod receiver;
mod retry;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod transmitter;

pub use error::{InterfaceError, OpenError, SendError};
pub(crate) use interface::InterfaceChoice;
pub(crate) use open::{SocketOptions, open};
pub(crate) use receiver::{Receiver, Waker};
pub(crate) use retry::RetryBudget;
pub(crate) use transmitter::{Sent, Transmitter};
