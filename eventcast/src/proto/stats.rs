//! What an engine counts.

use std::fmt;

/// Why a datagram or a message was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DropCause {
    /// It breaks the format.
    Malformed,
    /// It is of another protocol version.
    Version,
    /// It claims more chunks or bytes than this bus takes.
    OverLimit,
    /// It contradicts what was there before.
    Inconsistent,
    /// It was received before.
    Duplicate,
    /// This bus sent it.
    Echo,
    /// Its name is one of the protocol's own, and means nothing here.
    Reserved,
    /// It is encrypted with the classic cipher, and this bus is not.
    Classic,
    /// It is sealed, and this bus is not.
    Sealed,
    /// It was displaced, or found no room, among the messages that are incomplete or wait for
    /// others.
    Crowded,
    /// It requests or reports something that does not concern this bus.
    Unsolicited,
    /// It comes from a sender of which too many have come, and is delivered without its number.
    Unfollowed,
    /// It is not encrypted, and this bus takes only what is.
    Clear,
    /// It is sealed in a way that is not known here.
    Suite,
    /// It is sealed with a key that is not known here.
    Key,
    /// It was not sealed by a holder of the key, or has been changed since, or is for another
    /// group.
    Mac,
    /// A holder of the key has sealed it, too long ago or in the future by this bus's clock.
    Time,
    /// It is sealed for another one.
    Recipient,
    /// It is sealed, and so old that it is unknown whether it was received before.
    Old,
    /// It is sealed, and names another sender than its box.
    Sender,
    /// It does not decrypt with the classic cipher.
    Undecryptable,
    /// It is a hello or goodbye in the name of a sender that is heard at another address.
    Posed,
}

impl DropCause {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::Malformed,
        Self::Version,
        Self::OverLimit,
        Self::Inconsistent,
        Self::Duplicate,
        Self::Echo,
        Self::Reserved,
        Self::Classic,
        Self::Sealed,
        Self::Crowded,
        Self::Unsolicited,
        Self::Unfollowed,
        Self::Clear,
        Self::Suite,
        Self::Key,
        Self::Mac,
        Self::Time,
        Self::Recipient,
        Self::Old,
        Self::Sender,
        Self::Undecryptable,
        Self::Posed,
    ];

    pub(super) const COUNT: usize = Self::ALL.len();

    /// A short name for metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::OverLimit => "over_limit",
            Self::Inconsistent => "inconsistent",
            Self::Duplicate => "duplicate",
            Self::Echo => "echo",
            Self::Reserved => "reserved",
            Self::Classic => "classic",
            Self::Sealed => "sealed",
            Self::Crowded => "crowded",
            Self::Unsolicited => "unsolicited",
            Self::Unfollowed => "unfollowed",
            Self::Clear => "clear",
            Self::Suite => "suite",
            Self::Key => "key",
            Self::Mac => "mac",
            Self::Time => "time",
            Self::Recipient => "recipient",
            Self::Old => "old",
            Self::Sender => "sender",
            Self::Undecryptable => "undecryptable",
            Self::Posed => "posed",
        }
    }

    /// Whether a good network with good peers causes it too.
    #[must_use]
    pub const fn is_ordinary(self) -> bool {
        matches!(self, Self::Duplicate | Self::Echo)
    }
}

impl fmt::Display for DropCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Drops by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops([u64; DropCause::COUNT]);

impl Drops {
    /// How many for this cause.
    #[must_use]
    pub fn get(&self, cause: DropCause) -> u64 {
        self.0[cause as usize]
    }

    /// All causes with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (DropCause, u64)> {
        DropCause::ALL.into_iter().zip(self.0)
    }

    /// For all causes together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) fn count(&mut self, cause: DropCause) {
        self.0[cause as usize] += 1;
    }
}

/// What an engine has done since it was made, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineStats {
    /// Messages that `emit` took.
    pub emitted_messages: u64,
    /// Messages that `emit` refused.
    pub refused_messages: u64,
    /// Datagrams handed out to be sent.
    pub sent_datagrams: u64,
    /// Bytes of these.
    pub sent_bytes: u64,
    /// Bytes that wait to be sent.
    pub queued_bytes: usize,
    /// Datagrams handed in.
    pub received_datagrams: u64,
    /// Bytes of these.
    pub received_bytes: u64,
    /// Messages given to the application.
    pub delivered_messages: u64,
    /// How many of them came in chunks.
    pub joined_messages: u64,
    /// Datagrams and messages dropped, by cause.
    pub drops: Drops,
    /// Chunked messages dropped because no more of them came.
    pub expired_messages: u64,
    /// Numbers that were reported as lost.
    pub lost_messages: u64,
    /// Messages that came after they had been requested.
    pub repaired_messages: u64,
    /// Requests sent, for messages or chunks.
    pub requests_sent: u64,
    /// Hellos, goodbyes, requests and other messages of the protocol's own that were not sent,
    /// because 1,024 of them waited already.
    pub control_unsent: u64,
    /// Requests received that concern this bus.
    pub requests_received: u64,
    /// Datagrams sent again in answer to requests.
    pub answers_sent: u64,
    /// Bytes of these.
    pub answers_bytes: u64,
    /// Datagrams that were requested and not sent again, because they would have been too much.
    pub answers_refused: u64,
    /// Datagrams that were requested and not sent again, because they had just been sent, or are
    /// about to be.
    pub answers_duplicate: u64,
    /// Chunked messages that are not complete.
    pub incomplete_messages: usize,
    /// Bytes held for them and for messages that wait for earlier ones, as `max_held_bytes` counts
    /// them.
    pub held_bytes: usize,
    /// Bytes of sent messages that are kept, as `history_bytes` counts them.
    pub history_bytes: usize,
    /// Peers that are there.
    pub peers: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_its_counter_and_name() {
        let mut drops = Drops::default();
        for (i, cause) in DropCause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, i);
            for _ in 0..=i {
                drops.count(cause);
            }
            assert_eq!(drops.get(cause), i as u64 + 1);
        }
        assert_eq!(
            drops.total(),
            drops.iter().map(|(_, count)| count).sum::<u64>()
        );
        let mut names: Vec<_> = DropCause::ALL.map(DropCause::name).into();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropCause::COUNT);
    }
}
