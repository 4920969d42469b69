//! Whether a history keeps what is promised. It knows nothing of how the history came about.
//!
//! `delivery` follows every message to every application; `conduct` looks at what buses sent, when,
//! and to whom, and at what they held; `presence` at who is told as being there.

mod conduct;
mod delivery;
mod presence;

use std::fmt;

use super::history::{History, Life, MILLI, MessageKey, Nanos};

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Promise {
    /// A message is delivered once at most, and a finished one is not opened again.
    Once,
    /// Numbered messages of a sender are delivered in its order.
    Order,
    /// Each message that a receiver is owed is delivered, or reported lost: at the latest ten
    /// seconds after a later one was delivered.
    AllOrReported,
    /// No message is reported lost that was delivered, was reported before, was never sent, or
    /// passed a mild network.
    TrueReports,
    /// Nothing is delivered that was not sent.
    NothingInvented,
    /// Nobody holds more than its limits allow.
    Memory,
    /// When there is nothing to do, a bus says hello once in a while, and nothing else.
    Quiet,
    /// Requests keep their pauses, and so do answers.
    NoStorm,
    /// Nothing is sent to an address from which nothing came.
    NoStrangers,
    /// What goes to the group can be read by an old peer, and comes to it once.
    OldPeers,
    /// What a bus has sealed for others, they take.
    OneGroup,
    /// A peer is reported as present while it is, and as gone only after a goodbye or after it was
    /// silent for too long. A shared id is reported when it shows, and only then.
    Presence,
    /// A bus does not keep its driver busy for nothing.
    NoSpin,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When it showed.
    pub at: Nanos,
    /// Which promise.
    pub promise: Promise,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.at as f64 / MILLI as f64;
        write!(f, "at {millis:.3} ms, {:?}: {}", self.promise, self.what)
    }
}

/// More than this of one run are not listed.
const MOST: usize = 100;

/// All that is wrong with a history, in order of time.
#[must_use]
pub fn check(history: &History) -> Vec<Violation> {
    let mut violations = Violations::default();
    delivery::check(history, &mut violations);
    conduct::check(history, &mut violations);
    presence::check(history, &mut violations);
    let mut list = violations.list;
    list.sort_by_key(|violation| violation.at);
    list
}

#[derive(Default)]
struct Violations {
    list: Vec<Violation>,
}

impl Violations {
    fn add(&mut self, at: Nanos, promise: Promise, what: impl FnOnce() -> String) {
        if self.list.len() < MOST {
            let what = what();
            self.list.push(Violation { at, promise, what });
        }
    }
}

/// A life in words.
struct Named<'h>(&'h History, Life);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.lives.get(self.1 as usize) {
            Some(life) => write!(f, "#{} ({})", self.1, life.id),
            None => write!(f, "#{} (nobody)", self.1),
        }
    }
}

impl fmt::Display for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of #{}", self.place, self.sender)
    }
}
