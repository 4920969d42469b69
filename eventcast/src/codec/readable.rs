//! Whether an event's own type can read what the event serializes to: its sender tries it before it
//! sends.
//!
//! serde's attributes can separate the two ways (`skip_serializing_if` without `default`, another
//! name each way, a field of a tuple left out), and nothing but decoding shows it. So the sender
//! decodes the first event of each make once: makes differ by the structs, tuples and variants that
//! occur in the event, by the number of their fields, and by their depth. An event with raw
//! documents differs by its content, and is decoded each time.
//!
//! Responsible for remembering which makes were tried. The memory is a small table for the whole
//! process, in which a newer entry displaces an older one; a displaced make is tried again.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many makes are remembered.
const REMEMBERED: usize = 2048;

/// What has been found readable: zero, or the hash of an event type with something that occurred in
/// it.
static KNOWN: [AtomicU64; REMEMBERED] = [const { AtomicU64::new(0) }; REMEMBERED];

#[cfg(test)]
thread_local! {
    /// Separates the makes of a type that stands for another one each time.
    pub(super) static VARIANT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Notes what occurs in an event while it is written.
#[derive(Default)]
pub(super) struct Makes {
    /// Of the event's type; zero where it is not tracked.
    seed: u64,
    /// The last one seen: those of the items of a list are alike.
    last: u64,
    /// Those that have not been tried.
    new: Vec<u64>,
    /// It has to be tried, whatever was tried before.
    doubtful: bool,
}

impl Makes {
    /// Of events of type `T`.
    pub(super) fn of<T>() -> Self {
        let name = std::any::type_name::<T>();
        let seed = mix(
            name.as_ptr() as u64,
            name.len() as u64 ^ size_of::<T>() as u64,
        );
        #[cfg(test)]
        let seed = mix(seed, VARIANT.get());
        Self {
            seed: seed | 1,
            ..Self::default()
        }
    }

    /// Notes that something called `name` occurs. `form` distinguishes the forms in which it does.
    #[inline]
    pub(super) fn note(&mut self, name: &'static str, form: usize) {
        if self.seed == 0 {
            return;
        }
        let hash = mix(self.seed ^ name.as_ptr() as u64, form as u64) | 1;
        if hash != self.last {
            self.last = hash;
            if slot(hash).load(Ordering::Relaxed) != hash {
                self.add(hash);
            }
        }
    }

    /// What occurs here cannot be judged by what was tried before.
    #[inline]
    pub(super) fn doubt(&mut self) {
        self.doubtful = true;
    }

    #[cold]
    fn add(&mut self, hash: u64) {
        if self.new.len() < REMEMBERED {
            self.new.push(hash);
        }
    }

    /// Whether the event has to be tried.
    pub(super) fn must_be_tried(&self) -> bool {
        self.seed != 0 && (self.doubtful || !self.new.is_empty())
    }

    /// The event was tried, and is readable.
    #[cold]
    pub(super) fn remember(self) {
        for hash in self.new {
            slot(hash).store(hash, Ordering::Relaxed);
        }
    }
}

fn slot(hash: u64) -> &'static AtomicU64 {
    &KNOWN[(hash >> 32) as usize % REMEMBERED]
}

/// Two words as one; what differs in either differs, as a rule, in all bits.
#[inline]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9E37_79B9_7F4A_7C15) * u128::from(b ^ 0xD1B5_4A32_D192_ED03);
    (product as u64) ^ (product >> 64) as u64
}
