//! What can go wrong when the bus is used, and what to do about it.
//!
//! Errors of three kinds come out of the bus. *Misuse* says what to write instead ([`KeyConflict`],
//! [`EmitErrorKind::Reserved`]); *the environment* says what to set ([`ConfigError`],
//! [`OpenError`]); *the moment* says that trying again may help ([`EmitErrorKind::QueueFull`]). A
//! wrong datagram from the network is no error of any call: it is counted, and reported as a
//! [`Notice`](crate::Notice).

use std::{fmt, sync::Arc};

use crate::{
    bus::{ConfigError, InvalidPattern, RecvTimeoutError, Stopped, TryNextError},
    codec::{DecodeError, EncodeError},
    event::{InvalidKey, KeyConflict},
    net::OpenError,
    proto::SealKeyError,
    text::printable,
};

/// The result of what a bus does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a bus did not do what a call asked for.
///
/// Its `Debug` is the same text as its `Display`, so that a `main` which returns it shows what to
/// do.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option has a wrong value.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The sockets could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Two types of the program claim one event key.
    #[error(transparent)]
    KeyConflict(#[from] KeyConflict),
    /// An event was not sent. See [`EmitErrorKind`].
    #[error("event `{}` was not sent: {kind}", printable(.key))]
    #[non_exhaustive]
    Emit {
        /// The event's key.
        key: String,
        /// Why.
        kind: EmitErrorKind,
    },
    /// A text cannot be the key of an event.
    #[error(transparent)]
    InvalidKey(#[from] InvalidKey),
    /// A text cannot be a pattern over keys.
    #[error(transparent)]
    InvalidPattern(#[from] InvalidPattern),
    /// A value has no BSON form. An event that `emit` refuses for that is [`Emit`](Self::Emit).
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Arguments do not fit the requested type.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// An event that was waited for cannot come any more.
    #[error(transparent)]
    Ended(#[from] Stopped),
    /// A stream has no event now, or has ended.
    #[error(transparent)]
    TryNext(#[from] TryNextError),
    /// No event came in time, or a stream has ended.
    #[error(transparent)]
    RecvTimeout(#[from] RecvTimeoutError),
    /// There are async listeners and no tokio runtime to run them on.
    #[error(
        "the bus has async listeners but was started outside a tokio runtime; start it inside one, or give \
         one with `Bus::builder().runtime(handle)`"
    )]
    NoRuntime,
    /// The levels of the log could not be read or set. With the feature `log`.
    #[cfg(feature = "log")]
    #[error(transparent)]
    Log(#[from] crate::log::LogError),
    /// The console could not be opened. Of the feature `repl`.
    #[cfg(feature = "repl")]
    #[error(transparent)]
    Repl(#[from] crate::repl::ReplError),
    /// Keys were set on a bus that has none.
    #[error("the bus is not sealed, so it has no keys to replace; build it with `passphrase`")]
    NotSealed,
    /// A passphrase or a key for sealing is not usable.
    #[error(transparent)]
    SealKey(#[from] SealKeyError),
    /// A thread could not be started.
    #[error(
        "the system gave the bus no thread ({0}): raise the limit of this user's threads (`ulimit -u`), or that of the \
         service or container (`TasksMax=`, `pids.max`)"
    )]
    Thread(Arc<std::io::Error>),
    /// The system gave no random numbers.
    #[error("the system gave no random numbers: {0}")]
    NoRandomness(String),
    /// The process was forked from the one that started the bus. See [`EmitErrorKind::Forked`].
    #[error(
        "this process was forked from the one that started the bus, whose threads it does not have; build a new bus \
         in it, or fork before the first start"
    )]
    Forked,
    /// A panic inside the bus, not in a listener, came in the way. See
    /// [`Notice::Failed`](crate::Notice::Failed).
    #[error(
        "a panic occurred while {during}: {}; try again, and report the panic, which is a bug",
        printable(.message)
    )]
    #[non_exhaustive]
    Failed {
        /// What the bus was doing.
        during: &'static str,
        /// The message of the panic.
        message: String,
    },
    /// `stop` was called before a `start` was through.
    #[error("the bus was stopped before its start was through")]
    Stopped,
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why an event was not sent. Except for [`NotStarted`](Self::NotStarted), nothing has happened:
/// nothing was sent, no listener was called, and no number was taken.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitErrorKind {
    /// The event has no BSON form. The error names the field and the reason.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The event is larger than `max_message_size`, the bound that receivers have too.
    #[error("it has {size} bytes; `max_message_size` allows {limit}{}", bytes_hint(.bytes_as_numbers))]
    #[non_exhaustive]
    TooLarge {
        /// Its size on the wire, in bytes.
        size: usize,
        /// The limit.
        limit: usize,
        /// The field with the most bytes that travel as a list of numbers, such as a plain
        /// `Vec<u8>`, and how many bytes these are; an empty text for the event itself. `None`: no
        /// field has more than some thousand of them.
        bytes_as_numbers: Option<(String, usize)>,
    },
    /// The key is so long that next to it a datagram has no room for data.
    #[error(
        "its key has {key_len} bytes, which leaves no room for data in a datagram with `max_payload_size` \
         {max_payload_size}; use a shorter key or a larger `max_payload_size`"
    )]
    #[non_exhaustive]
    NoRoomForData {
        /// The length of the key in bytes.
        key_len: usize,
        /// The option's value.
        max_payload_size: usize,
    },
    /// The key is not one that an event can have.
    #[error(transparent)]
    InvalidKey(InvalidKey),
    /// The key is the protocol's own.
    #[error("event keys that start with `__ec_` are the protocol's own, choose another")]
    Reserved,
    /// The option `old_peers` is on, and a peer of another make would end with an event of this
    /// key.
    #[error(
        "an event with the key `error` ends an old peer, and `old_peers` is on; choose another key"
    )]
    KeyEndsOldPeers,
    /// Earlier events have not gone out yet. `emit_wait` waits until they have.
    #[error(
        "the send queue is full: {queued} of {limit} bytes wait to be sent; use `emit_wait`, or raise \
         `send_queue`"
    )]
    #[non_exhaustive]
    QueueFull {
        /// Bytes that wait.
        queued: usize,
        /// What `send_queue` allows.
        limit: usize,
    },
    /// Two types of the program claim this key.
    #[error(transparent)]
    KeyConflict(#[from] KeyConflict),
    /// Listeners emitted events whose listeners emitted events, and so on.
    #[error(
        "listeners emit within listeners {limit} deep; break the circle, or emit from another task"
    )]
    #[non_exhaustive]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// The process was forked from the one that started the bus: it has a copy of the bus, but none
    /// of its threads, and must not send under its id. A new bus can be built in it.
    #[error(
        "this process was forked from the one that started the bus, whose threads it does not have; build a new bus \
         in it, or fork before the first start"
    )]
    Forked,
    /// The bus is not running. Local listeners were called; nothing was sent.
    #[error("the bus is not running; call `start` first")]
    NotStarted,
}

/// The hint for bytes that travel as numbers.
fn bytes_hint(field: &Option<(String, usize)>) -> String {
    let Some((path, count)) = field else {
        return String::new();
    };
    let what = match &**path {
        "" => "it".to_owned(),
        path => format!("`{}`", printable(path)),
    };
    format!(
        "; {what} is a list of {count} numbers, about ten bytes for each byte: write `#[serde(with = \"serde_bytes\")]` \
         above a field of bytes, and it takes no more room than they do"
    )
}

/// An event that was not sent, and why. It gives the event back.
pub struct EmitError<E> {
    event: E,
    key: Box<str>,
    kind: Box<EmitErrorKind>,
}

impl<E> EmitError<E> {
    pub(crate) fn new(event: E, key: &str, kind: EmitErrorKind) -> Self {
        Self {
            event,
            key: key.into(),
            kind: Box::new(kind),
        }
    }

    /// Why it was not sent.
    pub fn kind(&self) -> &EmitErrorKind {
        &self.kind
    }

    /// The key of the event.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The event.
    pub fn event(&self) -> &E {
        &self.event
    }

    /// The event, to be emitted again or put away.
    pub fn into_event(self) -> E {
        self.event
    }
}

impl<E> fmt::Display for EmitError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, kind) = (printable(&self.key), &self.kind);
        write!(f, "event `{key}` was not sent: {kind}")
    }
}

/// The same text as its `Display`, for a `main` that returns it. The event need not be `Debug`, and
/// does not show: it may hold what no log shall have.
impl<E> fmt::Debug for EmitError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<E> std::error::Error for EmitError<E> {}

impl<E> From<EmitError<E>> for Error {
    fn from(error: EmitError<E>) -> Self {
        Self::Emit {
            key: error.key.into(),
            kind: *error.kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{HOSTILE, assert_is_printable};

    #[test]
    fn an_emit_error_converts_by_the_question_mark() {
        fn emit() -> Result<()> {
            Err(EmitError::new((), "tick", EmitErrorKind::NotStarted))?;
            Ok(())
        }
        assert_eq!(
            emit().unwrap_err().to_string(),
            "event `tick` was not sent: the bus is not running; call `start` first"
        );
    }

    #[test]
    fn what_the_bus_returns_converts_by_the_question_mark() {
        fn decode() -> Result<u8> {
            Ok(crate::args!["no number"].decode()?)
        }
        fn encode() -> Result<bson::Bson> {
            Ok(crate::to_bson(&u64::MAX)?)
        }
        fn pattern() -> Result<crate::Pattern> {
            Ok("".parse::<crate::Pattern>()?)
        }
        fn wait() -> Result<()> {
            Ok(Err(Stopped)?)
        }
        fn try_next() -> Result<()> {
            Ok(Err(TryNextError::Empty)?)
        }
        fn in_time() -> Result<()> {
            Ok(Err(RecvTimeoutError::Timeout)?)
        }
        assert!(matches!(try_next(), Err(Error::TryNext(_))));
        assert!(matches!(in_time(), Err(Error::RecvTimeout(_))));
        assert!(matches!(decode(), Err(Error::Decode(_))));
        assert!(matches!(encode(), Err(Error::Encode(_))));
        assert!(matches!(pattern(), Err(Error::InvalidPattern(_))));
        assert!(matches!(wait(), Err(Error::Ended(Stopped))));
    }

    #[test]
    fn an_emit_error_shows_as_its_text() {
        struct NotDebug;
        let error = EmitError::new(NotDebug, "tick", EmitErrorKind::NotStarted);
        assert_eq!(format!("{error:?}"), error.to_string());
        assert_eq!(
            format!("{:?}", Error::from(error)),
            "event `tick` was not sent: the bus is not running; call `start` first"
        );
    }

    #[test]
    fn no_text_from_elsewhere_leaves_its_line() {
        for &text in HOSTILE {
            let emit = EmitError::new((), text, EmitErrorKind::NotStarted);
            assert_is_printable(&format!("{emit} {emit:?}"));
            let failed = Error::Failed {
                during: "starting",
                message: text.to_owned(),
            };
            for error in [emit.into(), failed] {
                assert_is_printable(&format!("{error} {error:?}"));
            }
        }
    }
}
