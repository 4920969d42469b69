//! Where warnings and errors go that nothing takes: to standard error.
//!
//! A program that has neither a subscriber of `tracing` nor a listener of notices would otherwise never learn that its
//! passphrase is another one, or that events are lost. Each line is written at once and whole, or not at all: standard
//! error may be closed, and a pipe that nobody reads may be full.

use std::{
    fmt::{self, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

use tracing::{Level, level_filters::LevelFilter, subscriber::NoSubscriber};

use crate::text::{printable, shortened};

/// Beyond so many bytes a text is cut. With the hint, a line is shorter than the 4,096 bytes that go into a pipe at once.
const LONGEST_TEXT: usize = 2_048;

/// What follows the first line of the process.
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

    /// Whether it is not to be used for now.
    pub(crate) fn silence(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::Relaxed);
    }

    /// Takes what nobody hears as a notice, unless it is less than a warning or there is a log. To be called without any
    /// lock.
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

/// Whether a subscriber of `tracing` is there, or has been.
fn has_subscriber() -> bool {
    // The first is that of any thread, also of one that is over; the second is one that takes nothing.
    LevelFilter::current() != LevelFilter::OFF
        || tracing::dispatcher::get_default(|subscriber| !subscriber.is::<NoSubscriber>())
}

fn line(word: &str, text: &dyn fmt::Display) -> String {
    let text = printable(&text.to_string()).to_string();
    let mut line = String::new();
    // Writing to a text cannot fail.
    let _ = writeln!(line, "eventcast {word}: {}", shortened(&text, LONGEST_TEXT));
    line
}

/// In unit tests by the one way that the test runner captures.
#[cfg(test)]
fn write(lines: &str) {
    eprint!("{lines}");
}

/// Neither waits for whoever reads it, nor for a thread that is writing: a bus does not stand still for a line.
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
        // Nobody is left to be told of a failure.
        let _ = nix::unistd::write(stderr.as_fd(), lines.as_bytes());
    }
}

#[cfg(all(not(unix), not(test)))]
fn write(lines: &str) {
    use std::io::Write as _;

    // Nobody is left to be told of a failure.
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
