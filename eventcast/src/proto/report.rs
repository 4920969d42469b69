//! What is told of refused traffic, and how often: at most once in ten seconds for each cause and IP address, and
//! for addresses beyond the first [`MAX_ADDRESSES`] by cause alone. A flood cannot make this bus flood its user.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use super::{hash::HashKey, stats::DropCause};

/// How many addresses have reports of their own.
pub(super) const MAX_ADDRESSES: usize = 1024;

/// The pause between two reports of one kind.
pub(super) const PAUSE: Duration = Duration::from_secs(10);

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// How many there were since the last report, this one included.
    pub(super) count: u64,
    /// Whether they were all from this address; otherwise they are those of all addresses that have no reports of
    /// their own.
    pub(super) by_address: bool,
}

pub(super) struct Reporter {
    addresses: HashMap<IpAddr, Causes, HashKey>,
    others: Causes,
    /// When the table may be searched for addresses that have fallen silent.
    next_sweep: Duration,
}

type Causes = [Line; DropCause::COUNT];

#[derive(Clone, Copy, Default)]
struct Line {
    /// When the next report is due; zero if there was none.
    quiet_until: Duration,
    untold: u64,
}

impl Reporter {
    pub(super) fn new(key: HashKey) -> Self {
        Self {
            addresses: HashMap::with_hasher(key),
            others: Causes::default(),
            next_sweep: Duration::ZERO,
        }
    }

    /// Notes one drop; gives the report if one is due.
    pub(super) fn note(&mut self, now: Duration, cause: DropCause, from: IpAddr) -> Option<Report> {
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&from) {
            self.sweep(now);
        }
        let by_address = self.addresses.len() < MAX_ADDRESSES || self.addresses.contains_key(&from);
        let causes = if by_address {
            self.addresses.entry(from).or_default()
        } else {
            &mut self.others
        };
        let count = causes[cause as usize].note(now)?;
        Some(Report { count, by_address })
    }

    /// Forgets addresses of which nothing was to be told for a while. Looks at all, so not often.
    fn sweep(&mut self, now: Duration) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + PAUSE / 10;
        self.addresses
            .retain(|_, causes| causes.iter().any(|line| line.quiet_until > now));
    }
}

impl Line {
    fn note(&mut self, now: Duration) -> Option<u64> {
        self.untold += 1;
        if now < self.quiet_until {
            return None;
        }
        self.quiet_until = now + PAUSE;
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn reporter() -> Reporter {
        Reporter::new(HashKey::random(&mut StdRng::from_seed([1; 32])))
    }

    fn address(i: u32) -> IpAddr {
        std::net::Ipv4Addr::from(i).into()
    }

    #[test]
    fn once_in_ten_seconds_for_each_cause_and_address() {
        let mut reporter = reporter();
        let told = |count| {
            Some(Report {
                count,
                by_address: true,
            })
        };
        let at = Duration::from_secs;
        assert_eq!(
            reporter.note(at(0), DropCause::Malformed, address(1)),
            told(1)
        );
        assert_eq!(reporter.note(at(0), DropCause::Malformed, address(1)), None);
        assert_eq!(
            reporter.note(at(0), DropCause::Version, address(1)),
            told(1)
        );
        assert_eq!(reporter.note(at(9), DropCause::Malformed, address(1)), None);
        assert_eq!(
            reporter.note(at(9), DropCause::Malformed, address(2)),
            told(1)
        );
        assert_eq!(
            reporter.note(at(10), DropCause::Malformed, address(1)),
            told(3)
        );
        assert_eq!(
            reporter.note(at(19), DropCause::Malformed, address(1)),
            None
        );
    }

    #[test]
    fn many_addresses_are_told_together() {
        let mut reporter = reporter();
        let now = Duration::from_secs(5);
        let mut reports = 0;
        for i in 0..100_000 {
            reports += u32::from(
                reporter
                    .note(now, DropCause::Malformed, address(i))
                    .is_some(),
            );
        }
        assert_eq!(reports, MAX_ADDRESSES as u32 + 1);
        assert_eq!(reporter.addresses.len(), MAX_ADDRESSES);
        let later = now + PAUSE - Duration::from_millis(1);
        assert_eq!(
            reporter.note(later, DropCause::Malformed, address(200_000)),
            None
        );
        // The others have fallen silent: there is room again.
        let report = reporter.note(now + 2 * PAUSE, DropCause::Malformed, address(300_000));
        assert_eq!(
            report,
            Some(Report {
                count: 1,
                by_address: true
            })
        );
        assert_eq!(reporter.addresses.len(), 1);
    }
}
