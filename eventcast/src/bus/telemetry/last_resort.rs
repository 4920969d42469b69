//! Writes warnings and errors to standard error if no subscriber and no listener takes them.
//!
//! Without it, a program with neither a subscriber of `tracing` nor a listener of notices would not
//! show that its passphrase is wrong, or that events are lost. Each line is written in one call and
//! without waiting, or dropped: standard error may be closed, and a pipe without a reader may be
//! full.

use std::{
    fmt::{self, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

use tracing::{Level, level_filters::LevelFilter, subscriber::NoSubscriber};

use crate::text::{printable, shortened};

/// Texts are cut beyond this. A line with the hint then stays below 4,096 bytes, which Linux writes
/// to a pipe atomically (`PIPE_BUF`).
const LONGEST_TEXT: usize = 2_048;

/// Follows the first line of the process.
const HINT: &str = "eventcast: this went to standard error because nothing else takes warnings: install a `tracing` \
    subscriber (`eventcast::log::install()` is one, with the feature `log`), or listen to notices with \
    `bus.on_notice`; \
    `last_resort(false)` on the builder, or EVENTCAST_LAST_RESORT=false, turns it off\n";

/// The last resort of one bus.
pub(crate) struct LastResort {
    is_on: bool,
    is_silent: AtomicBool,
}

impl LastResort {
    pub(crate) fn new(is_on: bool) -> Self {
        Self {
            is_on,
            is_silent: AtomicBool::new(false),
        }
    }

    /// Switches the output off or on again.
    pub(crate) fn silence(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::Relaxed);
    }

    /// Writes a notice that no listener takes, if it is a warning or an error and there is no log.
    /// The caller holds no lock.
    pub(crate) fn take(&self, level: Level, text: &dyn fmt::Display) {
        static HAS_HINTED: AtomicBool = AtomicBool::new(false);
        let word = match level {
            Level::ERROR => "error",
            Level::WARN => "warning",
            _ => return,
        };
        if !self.is_on || self.is_silent.load(Ordering::Relaxed) || has_subscriber() {
            return;
        }
        let mut lines = line(word, text);
        if !HAS_HINTED.swap(true, Ordering::Relaxed) {
            lines.push_str(HINT);
        }
        write(&lines);
    }
}

/// Whether there is a subscriber of `tracing`, or was one.
fn has_subscriber() -> bool {
    // The level filter covers subscribers of all threads, also ended ones. The second test covers a
    // subscriber that enables no level.
    LevelFilter::current() != LevelFilter::OFF
        || tracing::dispatcher::get_default(|subscriber| !subscriber.is::<NoSubscriber>())
}

fn line(word: &str, text: &dyn fmt::Display) -> String {
    let text = printable(&text.to_string()).to_string();
    let mut line = String::new();
    // Writing to a `String` cannot fail.
    let _ = writeln!(line, "eventcast {word}: {}", shortened(&text, LONGEST_TEXT));
    line
}

/// Unit tests print, since the test runner captures that alone.
#[cfg(test)]
fn write(lines: &str) {
    eprint!("{lines}");
}

/// Waits neither for the reader of a pipe nor for a thread that holds the lock of standard error: a
/// line must not block the bus.
#[cfg(all(unix, not(test)))]
fn write(lines: &str) {
    use std::os::fd::AsFd as _;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    let stderr = std::io::stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    let is_ready = poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0);
    let can_write = |poll: &PollFd<'_>| {
        poll.revents()
            .is_some_and(|events| events.contains(PollFlags::POLLOUT))
    };
    if is_ready && can_write(&ready[0]) {
        // A failure cannot be reported anywhere.
        let _ = nix::unistd::write(stderr.as_fd(), lines.as_bytes());
    }
}

#[cfg(all(not(unix), not(test)))]
fn write(lines: &str) {
    use std::io::Write as _;

    // A failure cannot be reported anywhere.
    let _ = std::io::stderr().write_all(lines.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{HOSTILE, assert_is_printable};

    #[test]
    fn a_line_is_one_line_and_short() {
        for &text in HOSTILE {
            let line = line("warning", &text);
            assert_is_printable(line.strip_suffix('\n').unwrap());
        }
        let longest = "\u{7}".repeat(1 << 20);
        assert!(line("error", &longest).len() + HINT.len() <= 4_096);
    }
}
