//! What is reported of refused traffic and of shared ids, and how often: at most once in ten
//! seconds for each subject and IP address, and beyond [`MAX_REPORTED`] of these by subject alone.
//! A flood cannot make this bus flood its user.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    hash::HashKey,
    rate_limited::{LimitKey, REPORT_PAUSE, RateLimited, Sum},
    receive::{
        events::{ExpiredReason, ExpiredReport, LostReason, Refused},
        peer::Peer,
    },
    stats::DropCause,
};

/// How many pairs of subject and address have reports of their own.
pub(super) const MAX_REPORTED: usize = 1024;

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// Refused traffic, by its cause; [`DropCause::Mac`] for every seal that was not found good.
    Refused(DropCause),
    /// Another bus with the id of this one.
    OwnId,
    /// Two others that share an id.
    SharedId,
}

/// What is reported at most once in a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ReportKey {
    pub(super) subject: Subject,
    /// `None`: addresses that have no reports of their own.
    pub(super) from: Option<IpAddr>,
}

/// What is reported.
#[derive(Clone, Debug)]
pub(super) enum Report {
    Refused(Refused),
    Version {
        from: SocketAddr,
        theirs: u64,
        count: u64,
    },
    IdClash {
        peer: Arc<Peer>,
        /// `None`: it is this bus.
        other: Option<Arc<Peer>>,
        count: u64,
    },
}

pub(super) type Reporter = RateLimited<ReportKey, Report, HashKey>;

pub(super) fn reporter(key: HashKey) -> Reporter {
    RateLimited::new(REPORT_PAUSE, MAX_REPORTED, key)
}

impl LimitKey for ReportKey {
    fn coarse(&self) -> Self {
        Self {
            from: None,
            ..*self
        }
    }
}

impl Report {
    /// How many datagrams or messages it stands for.
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Refused(Refused { count, .. })
            | Self::Version { count, .. }
            | Self::IdClash { count, .. } => *count,
        }
    }
}

impl Sum for Report {
    /// The fields beside the count are those of the last one.
    fn add(&mut self, mut later: Self) {
        let so_far = self.count();
        let (Self::Refused(Refused { count, .. })
        | Self::Version { count, .. }
        | Self::IdClash { count, .. }) = &mut later;
        *count = count.saturating_add(so_far);
        *self = later;
    }
}

/// Messages that were dropped are reported by this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ExpiredKey {
    pub(super) reason: ExpiredReason,
    /// `None`: addresses that have no reports of their own.
    pub(super) from: Option<IpAddr>,
}

pub(super) type ExpiredLimit = RateLimited<ExpiredKey, ExpiredReport, HashKey>;

pub(super) fn expired_limit(key: HashKey) -> ExpiredLimit {
    RateLimited::new(REPORT_PAUSE, MAX_REPORTED, key)
}

impl LimitKey for ExpiredKey {
    fn coarse(&self) -> Self {
        Self {
            from: None,
            ..*self
        }
    }
}

impl Sum for ExpiredReport {
    fn add(&mut self, mut later: Self) {
        let unreported = self.facts.unreported.saturating_add(1);
        later.facts.unreported = later.facts.unreported.saturating_add(unreported);
        *self = later;
    }
}

impl ExpiredReason {
    /// Why the number of such a message is lost.
    pub(super) const fn of_loss(self) -> LostReason {
        match self {
            Self::Silent | Self::Overdue => LostReason::Incomplete,
            Self::Crowded => LostReason::Crowded,
        }
    }
}
