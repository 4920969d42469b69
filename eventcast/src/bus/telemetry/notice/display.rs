//! The texts of notices: one line each.

use std::fmt;

use super::{Notice, cause::RefusedCause};
use crate::{
    proto::{DropCause, ExpiredReason, LostReason},
    text::OneLine,
};

/// Appended when a requested retransmission did not come from a peer that was never heard by
/// unicast.
const NO_UNICAST: &str = "; nothing unicast has ever come from this peer: a firewall probably lets none through, so set \
     `unicast_port` on both buses, and open these UDP ports between them";

/// Always one line, also with texts from other machines.
impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(&mut OneLine(f))
    }
}

impl Notice {
    fn write(&self, f: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Self::Started { group, unicast } => {
                write!(f, "started on group {group}, reachable at {unicast}")
            }
            Self::Stopped => f.write_str("stopped"),
            Self::Failed { during, message } => write!(
                f,
                "the bus stopped after a panic while {during}: {message}; call `start` to try again, and report the \
                 panic, which is a bug"
            ),
            Self::Warning { text } => f.write_str(text),
            Self::InterfaceJoined {
                name,
                address,
                count,
            } => {
                write!(f, "joined the group on interface {name} ({address})")?;
                after_changes(f, *count)
            }
            Self::InterfaceLeft {
                name,
                address,
                reason,
                count,
            } => {
                write!(f, "left interface {name} ({address}): it {reason}")?;
                after_changes(f, *count)
            }
            Self::VersionMismatch {
                from,
                theirs,
                ours,
                count,
            } => write!(
                f,
                "{from} speaks protocol version {theirs}, this bus version {ours}: {count} datagrams dropped; update the older of the two"
            ),
            Self::DecodeFailure {
                key,
                registered_at,
                sender,
                error,
                count,
                ..
            } => {
                write!(
                    f,
                    "event `{key}` from {sender} does not fit the listener at {registered_at}: {error}"
                )?;
                and_more(f, *count)
            }
            Self::Refused {
                cause,
                from,
                count,
                advice,
            } => {
                write!(f, "{count} datagrams {} from ", fate(*cause))?;
                match from {
                    Some(from) => write!(f, "{from}: {cause}")?,
                    None => write!(f, "many addresses: {cause}")?,
                }
                match advice {
                    Some(advice) => write!(f, " ({advice})"),
                    None => Ok(()),
                }
            }
            Self::NobodyHeard {
                group,
                interfaces,
                refused,
            } => {
                let interfaces = match &interfaces[..] {
                    [] => "no interface".to_owned(),
                    some => some.join(", "),
                };
                write!(
                    f,
                    "no other bus was heard in the first 10 s, on group {group} by {interfaces}"
                )?;
                f.write_str(match refused {
                    0 => {
                        "; if one runs, it probably has another `port` or `multicast_membership`, one of the two is on \
                         the wrong `multicast_interface`, or multicast does not get through: a firewall, a Wi-Fi access \
                         point or a switch holds it back"
                    }
                    _ => {
                        "; the datagrams that came were refused: probably one side has a passphrase and the other has \
                         none, or another \
                         one; or another program uses this group and port"
                    }
                })
            }
            Self::IdClash {
                id,
                from,
                other: None,
                ..
            } => write!(
                f,
                "the bus at {from} has the same id `{id}`: give each bus its own, or none"
            ),
            Self::IdClash {
                id,
                from,
                other: Some(other),
                ..
            } => write!(
                f,
                "the buses at {from} and {other} have the same id `{id}`: give each bus its own, or none"
            ),
            Self::Expired {
                key,
                message_id,
                from,
                received,
                chunks,
                reason,
                unicast_heard,
                others,
                ..
            } => {
                write!(
                    f,
                    "message {message_id} (`{key}`) from {from} was given up with {received} of {chunks} chunks: "
                )?;
                if *reason == ExpiredReason::Silent && !unicast_heard {
                    write!(f, "the rest was requested, and {reason}{NO_UNICAST}")?;
                } else {
                    write!(f, "{reason}")?;
                }
                match others {
                    0 => Ok(()),
                    others => write!(f, "; {others} other messages from there as well"),
                }
            }
            Self::Lost {
                peer,
                first,
                last,
                count,
                ranges: _,
                peers,
                reason,
                unicast_heard,
            } => {
                match count {
                    1 => write!(f, "event {first} of {peer} is lost"),
                    _ if *peers > 1 => write!(
                        f,
                        "{count} events of {peers} peers at the address of {peer} are lost"
                    ),
                    _ if last - first < *count => {
                        write!(f, "{count} events of {peer} are lost, {first} to {last}")
                    }
                    _ => write!(
                        f,
                        "{count} events of {peer} are lost, in several places from {first} to {last}"
                    ),
                }?;
                write!(f, ": {reason}")?;
                if *reason == LostReason::Unanswered && !unicast_heard {
                    f.write_str(NO_UNICAST)?;
                }
                Ok(())
            }
            Self::KernelDrops { count } => write!(
                f,
                "the kernel dropped {count} datagrams, because the receive buffer was full: make listeners quicker, \
                 or raise `receive_buffer`"
            ),
            Self::PeerJoined { peer } => write!(f, "peer {peer} joined"),
            Self::PeerLeft { peer, reason } => {
                write!(f, "peer {peer} left: {reason}")
            }
            Self::ListenerSlow {
                key,
                registered_at,
                budget,
                count,
                ..
            } => {
                write!(
                    f,
                    "the listener of `{key}` at {registered_at} took longer than {budget:?} and now has a queue of \
                     its own"
                )?;
                and_more(f, *count)
            }
            Self::ListenerMissed {
                key,
                registered_at,
                missed,
                count,
                ..
            } => {
                write!(
                    f,
                    "the listener of `{key}` at {registered_at} is too slow: its queue was full, {count} events missed"
                )?;
                if missed > count {
                    write!(f, " ({missed} in all)")?;
                }
                f.write_str("; make it quicker, or raise `listener_queue`")
            }
            Self::ListenerPanicked {
                key,
                registered_at,
                message,
                count,
                ..
            } => {
                write!(
                    f,
                    "the listener of `{key}` at {registered_at} panicked: {message}"
                )?;
                and_more(f, *count)
            }
            Self::NoRuntime {
                key,
                registered_at,
                count,
                ..
            } => {
                write!(
                    f,
                    "the async listener of `{key}` at {registered_at} has no tokio runtime to run in: its events \
                     wait until `start` is called within one"
                )?;
                and_more(f, *count)
            }
            Self::SendFailed {
                error,
                bytes,
                count,
                ..
            } => {
                match bytes {
                    0 => write!(f, "{error}; trying again")?,
                    _ => write!(f, "{bytes} bytes were not sent: {error}")?,
                }
                and_more(f, *count)
            }
            Self::ConsoleOpened { address } => write!(f, "the console listens at {address}"),
            Self::ConsoleConnected { from, count } => {
                write!(f, "{from} has connected to the console")?;
                and_more(f, *count)
            }
            Self::ConsoleDisconnected { from, count } => {
                write!(f, "{from} has left the console")?;
                and_more(f, *count)
            }
            Self::ConsoleRefused { text, count, .. } => {
                f.write_str(text)?;
                and_more(f, *count)
            }
        }
    }
}

/// All causes but one are of dropped datagrams.
fn fate(cause: RefusedCause) -> &'static str {
    if cause == RefusedCause::Dropped(DropCause::Unfollowed) {
        "not followed"
    } else {
        "dropped"
    }
}

/// Appended to a notice that stands for `count`, including itself.
fn and_more(f: &mut impl fmt::Write, count: u64) -> fmt::Result {
    match count {
        0 | 1 => Ok(()),
        _ => write!(f, " (and {} more like it)", count - 1),
    }
}

fn after_changes(f: &mut impl fmt::Write, count: u64) -> fmt::Result {
    match count {
        0 | 1 => Ok(()),
        _ => write!(f, ", after {} other changes of this interface", count - 1),
    }
}
