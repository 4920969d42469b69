//! The configuration of an engine, given once, when it is made.

use std::{net::IpAddr, time::Duration};

#[cfg(feature = "classic")]
use super::ClassicKey;
use super::SealConfig;

/// The moment of a call, handed in by whoever drives the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// Monotonic time since any fixed moment. What the engine measures pauses and ages by.
    pub elapsed: Duration,
    /// Milliseconds since 1970 by the wall clock. Only written into messages.
    pub unix_ms: u64,
}

/// An interface by which datagrams to the group leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Host {
    /// Identifies it towards the driver.
    pub interface: u32,
    /// The address from which datagrams leave there.
    pub address: IpAddr,
}

impl Host {
    /// An interface that is to be named so.
    #[must_use]
    pub fn new(interface: u32, address: IpAddr) -> Self {
        Self { interface, address }
    }
}

/// How an [`Engine`](super::Engine) is set up. The caller has validated what came from a user.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The bus's id, 1 to 64 bytes.
    pub id: String,
    /// This start's number: milliseconds since 1970, greater than any used before in this process.
    pub incarnation: u64,
    /// The host's name. Cut to 255 bytes.
    pub hostname: String,
    /// Address of the interface by which datagrams leave.
    pub host: IpAddr,
    /// The port on which this bus takes unicast messages.
    pub port: u16,
    /// Longest datagram that is sent uncut, and the usual length of a slice, in bytes: 64 to
    /// 60,000. 1,024 by default.
    pub max_payload_size: usize,
    /// Largest message sent or put together, in bytes. 32 MiB by default.
    pub max_message_size: usize,
    /// How much may be held for messages that are not complete, messages that wait for earlier
    /// ones, and gaps in the numbers, in bytes of memory as they are taken. 96 MiB by default.
    pub max_held_bytes: usize,
    /// How much may wait to be sent, in bytes. 4 MiB by default.
    pub send_queue: usize,
    /// How much of what was sent is kept, so that it can be sent again, in bytes. 64 MiB by
    /// default.
    pub history_bytes: usize,
    /// How long a message may make no progress before it is dropped. What was sent is kept for
    /// three times as long. 3 s by default.
    pub message_ttl: Duration,
    /// How often missing chunks are requested without any arriving. 3 by default.
    pub message_retransmit_attempts: u32,
    /// The time from one hello to the next. 1 s by default.
    pub heartbeat: Duration,
    /// How long a peer may be silent before it counts as gone. 5 s by default.
    pub peer_timeout: Duration,
    /// How datagrams are sealed; `None`, the default: they are not.
    pub seal: Option<SealConfig>,
    /// The key for the cipher of old peers. Not with [`seal`](Self::seal). `None` by default.
    #[cfg(feature = "classic")]
    pub classic: Option<ClassicKey>,
}

impl Config {
    /// The defaults for everything that is not named.
    #[must_use]
    pub fn new(id: impl Into<String>, incarnation: u64, host: IpAddr, port: u16) -> Self {
        Self {
            id: id.into(),
            incarnation,
            hostname: String::new(),
            host,
            port,
            max_payload_size: 1024,
            max_message_size: 32 << 20,
            max_held_bytes: 96 << 20,
            send_queue: 4 << 20,
            history_bytes: 64 << 20,
            message_ttl: Duration::from_secs(3),
            message_retransmit_attempts: 3,
            heartbeat: Duration::from_secs(1),
            peer_timeout: Duration::from_secs(5),
            seal: None,
            #[cfg(feature = "classic")]
            classic: None,
        }
    }
}
