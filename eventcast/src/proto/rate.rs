//! Rates: a limit on bytes, a measure of bytes, and a limit on events in a second.

use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A token bucket: so many bytes a second for one recipient, and no more than that in any second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TokenBucket {
    spent: u64,
    at: Duration,
}

impl TokenBucket {
    /// Takes so many bytes, if the bucket for so many a second has them.
    pub(super) fn take(&mut self, now: Duration, bytes: usize, per_second: u64) -> bool {
        let has = self.has(now, bytes, per_second);
        if has {
            self.spent += bytes as u64;
        }
        has
    }

    /// Whether so many bytes are left.
    pub(super) fn has(&mut self, now: Duration, bytes: usize, per_second: u64) -> bool {
        // A quarter may go at once; the rest is what comes back within a second.
        let (burst, back) = (per_second / 4, u128::from(per_second / 4 * 3));
        let passed = now.saturating_sub(self.at).min(SECOND).as_nanos();
        let returned = (back * passed / SECOND.as_nanos()) as u64;
        if returned >= self.spent {
            (self.spent, self.at) = (0, now);
        } else if returned > 0 {
            self.spent -= returned;
            // The rest of the time that has passed counts the next time, however often this is
            // called.
            let for_these = (u128::from(returned) * SECOND.as_nanos()).div_ceil(back);
            self.at += Duration::from_nanos(for_these as u64);
        }
        self.spent + bytes as u64 <= burst
    }

    /// Whether the bucket is full again, whatever the rate.
    pub(super) fn is_full(&self, now: Duration) -> bool {
        self.spent == 0 || self.at + Duration::from_secs(1) <= now
    }

    /// When so many bytes are left, if nothing is taken before.
    pub(super) fn next(&self, bytes: usize, per_second: u64) -> Duration {
        let over = (self.spent + bytes as u64).saturating_sub(per_second / 4);
        let back = (per_second / 4 * 3).max(1);
        self.at + Duration::from_micros((over * 1_000_000).div_ceil(back))
    }
}

/// Of how many seconds a [`RateMeter`] knows the busiest one.
const BUSIEST_OF: u64 = 10;

/// How many bytes were sent in the last second, about.
#[derive(Debug, Default)]
pub(super) struct RateMeter {
    second: u64,
    this: u64,
    before: u64,
    /// The busiest second of the last [`BUSIEST_OF`], and which one it was.
    busiest: (u64, u64),
}

impl RateMeter {
    #[inline]
    pub(super) fn add(&mut self, now: Duration, bytes: usize) {
        self.turn(now);
        self.this += bytes as u64;
    }

    pub(super) fn per_second(&mut self, now: Duration) -> u64 {
        self.turn(now);
        let passed = u64::from(now.subsec_millis());
        self.this + self.before / 1000 * (1000 - passed)
    }

    /// How many in the busiest second of the last ten.
    pub(super) fn busiest(&mut self, now: Duration) -> u64 {
        self.turn(now);
        let (bytes, second) = self.busiest;
        let recent = second + BUSIEST_OF > self.second;
        self.this.max(if recent { bytes } else { 0 })
    }

    #[inline]
    fn turn(&mut self, now: Duration) {
        let second = now.as_secs();
        if second != self.second {
            let over = self.busiest.1 + BUSIEST_OF <= self.second;
            if over || self.this >= self.busiest.0 {
                self.busiest = (self.this, self.second);
            }
            self.before = if second == self.second + 1 {
                self.this
            } else {
                0
            };
            (self.second, self.this) = (second, 0);
        }
    }
}

/// How often something happened in the present second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RateWindow {
    since: Duration,
    count: u32,
}

impl RateWindow {
    /// Counts once more, unless that would be too often.
    pub(super) fn take(&mut self, now: Duration, most: u32) -> bool {
        if now >= self.since + Duration::from_secs(1) {
            (self.since, self.count) = (now, 0);
        }
        self.count += u32::from(self.count < most + 1);
        self.count <= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn no_second_has_more_than_is_allowed() {
        let mut bucket = TokenBucket::default();
        let mut given = Vec::new();
        for millis in 0..5_000 {
            while bucket.take(ms(millis), 1_000, 1_000_000) {
                given.push(millis);
            }
        }
        let most = (0..4_000)
            .map(|from| {
                given
                    .iter()
                    .filter(|at| (from..from + 1_000).contains(*at))
                    .count()
            })
            .max();
        assert!((990..=1_000).contains(&most.unwrap()), "{most:?}");
        assert!(given.len() > 3_500);
    }

    #[test]
    fn what_is_allowed_does_not_depend_on_how_often_it_is_asked_for() {
        for nanos in [100, 999, 1_000, 1_500, 2_500, 70_000, 1_000_000] {
            let mut bucket = TokenBucket::default();
            let times = (0..2_000_000_000 / nanos).map(|i| Duration::from_nanos(i * nanos));
            let given = times.filter(|now| bucket.take(*now, 1_000, 1_000_000));
            let given = given.count();
            assert!((1_700..=1_750).contains(&given), "{given} each {nanos} ns");
        }
    }

    #[test]
    fn the_meter_knows_the_last_second() {
        let mut meter = RateMeter::default();
        for millis in 0..3_000 {
            meter.add(ms(millis), 1_000);
        }
        let rate = meter.per_second(ms(2_999));
        assert!((999_000..1_010_000).contains(&rate), "{rate}");
        assert!(meter.per_second(ms(3_500)) < 510_000);
        assert_eq!(meter.per_second(ms(5_000)), 0);
        assert_eq!(meter.busiest(ms(5_000)), 1_000_000);
        assert_eq!(meter.busiest(ms(13_000)), 0);
    }

    #[test]
    fn in_each_second_no_more_than_so_many() {
        let mut window = RateWindow::default();
        let taken =
            |window: &mut RateWindow, at| (0..10).filter(|_| window.take(ms(at), 3)).count();
        assert_eq!(taken(&mut window, 0), 3);
        assert_eq!(taken(&mut window, 999), 0);
        assert_eq!(taken(&mut window, 1_000), 3);
    }
}
