//! Turns events of the protocol into notices, with advice on the probable cause.

use std::{net::SocketAddr, sync::Arc};

use super::{Notice, cause::RefusedCause};
use crate::proto::{DropCause, Event, Refused, WIRE_VERSION};

impl Notice {
    /// The notice for an event of the protocol that is no message.
    pub(crate) fn of_protocol(
        event: &Event<'_>,
        has_heard_unicast: impl Fn(SocketAddr) -> bool,
    ) -> Option<Self> {
        Some(match *event {
            Event::Message(_) => return None,
            Event::Refused(refused) => Self::Refused {
                // A notice may be shown outside, and must not reveal why a seal did not open.
                cause: if refused.unopened {
                    RefusedCause::Unopened
                } else {
                    RefusedCause::Dropped(refused.cause)
                },
                from: refused.from,
                count: refused.count,
                advice: advice(&refused),
            },
            Event::VersionMismatch {
                from,
                theirs,
                count,
            } => Self::VersionMismatch {
                from,
                theirs,
                ours: WIRE_VERSION,
                count,
            },
            Event::IdClash { peer, other, count } => Self::IdClash {
                count,
                other: other.map(|other| other.address),
                id: peer.id.clone(),
                from: peer.address,
            },
            Event::Expired(expired) => Self::Expired {
                key: expired.key.to_owned(),
                message_id: expired.message_id,
                from: expired.peer.address,
                number: expired.number,
                received: expired.received,
                chunks: expired.total,
                reason: expired.reason,
                unicast_heard: has_heard_unicast(expired.peer.address),
                others: expired.unreported,
            },
            Event::Lost(lost) => Self::Lost {
                peer: Arc::clone(lost.peer),
                first: lost.first,
                last: lost.last,
                count: lost.count,
                ranges: lost.ranges.to_vec(),
                peers: lost.peers,
                reason: lost.reason,
                unicast_heard: has_heard_unicast(lost.peer.address),
            },
            Event::PeerJoined { peer } => Self::PeerJoined {
                peer: Arc::clone(peer),
            },
            Event::PeerLeft { peer, reason } => Self::PeerLeft {
                peer: Arc::clone(peer),
                reason,
            },
        })
    }
}

/// The probable cause of a refused datagram, and what to do about it.
fn advice(refused: &Refused) -> Option<String> {
    let text = match refused.cause {
        _ if refused.unopened => {
            "its seal does not open: the sender probably has another passphrase (a blank or a line break at its end \
             counts, too), salt, group or port; or somebody without the passphrase sends datagrams here"
        }
        DropCause::Clear => {
            "it is not sealed: the sender probably has no passphrase, and this bus has one"
        }
        DropCause::Sealed => {
            "it is sealed: the sender has a passphrase, and this bus has none, or the classic cipher"
        }
        DropCause::Classic => {
            "it is encrypted with the classic cipher, which this bus does not speak: the sender is an old peer with a \
             passphrase"
        }
        DropCause::Undecryptable => {
            "it does not decrypt with the classic cipher: the sender probably has another passphrase (a blank or a line \
             break at its end counts, too)"
        }
        DropCause::Time => {
            let ahead = refused.clock_ahead_ms?;
            let seconds = ahead.unsigned_abs().div_ceil(1000);
            let which = if ahead < 0 { "behind" } else { "ahead of" };
            return Some(format!(
                "the sender's clock is {seconds} s {which} this one: set the clocks, or raise `clock_tolerance`; \
                 or it is a replay"
            ));
        }
        DropCause::Duplicate => {
            let seconds = refused.age_ms? / 1000;
            return Some(format!(
                "it was received before, and it was sent {seconds} s ago: somebody replays recorded datagrams, or the \
                 sender's clock is \
                 behind this one and the network doubles datagrams"
            ));
        }
        DropCause::Old => match (refused.age_ms, refused.refused_for_ms) {
            (Some(age), Some(left)) => {
                let (age, left) = (age.div_ceil(1000), left.div_ceil(1000));
                return Some(format!(
                    "by its time it was sent {age} s ago, before this bus was started, which a sealed bus treats as a \
                     replay in its first minute: if the sender's clock is behind this one, set the clocks, or wait \
                     {left} s"
                ));
            }
            _ => {
                "it was sent long before the newest one: a replay, or a network that delays datagrams"
            }
        },
        DropCause::Recipient => {
            "it is for another bus: one that was at this address before, or somebody forwards what others were sent"
        }
        DropCause::Sender => {
            "it names another sender than its seal: a member of the group poses as another"
        }
        DropCause::Malformed => {
            "it breaks the protocol's format: another program probably uses this group and port, so choose another \
             `port`; or somebody sends forged datagrams"
        }
        DropCause::OverLimit => {
            "it claims to be larger than this bus takes: raise `max_message_size` if it is meant to be"
        }
        DropCause::Inconsistent => {
            "it contradicts what came before it: two senders probably use one id, or somebody sends forged datagrams"
        }
        DropCause::Reserved => {
            "its key begins with `__ec_` and means nothing here: the sender probably runs a newer version"
        }
        DropCause::Crowded => {
            "there was no room for it: raise `max_held_bytes`, or have its senders send less at once"
        }
        DropCause::Posed => {
            "its sender is heard at another address, so it was not obeyed: somebody poses as that sender, or two buses \
             were given one id and one start time; a passphrase keeps strangers out"
        }
        DropCause::Unfollowed => {
            "order and repair are off for its sender: too many senders have come, or too many at a time from this \
             address; its events are delivered as they arrive, and lost ones are not detected"
        }
        _ => return None,
    };
    Some(text.to_owned())
}
