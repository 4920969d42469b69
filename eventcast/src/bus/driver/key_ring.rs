//! From secrets to keys, once in a process for each secret.
//!
//! The key ring decides which keys a bus has now. How a key is derived, and what is done with it,
//! is [`proto`](crate::proto)'s.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use crate::{
    bus::{
        config::{
            options::Options,
            secret::{Keys, Secret},
        },
        process::random::fill_random,
        telemetry::notice::Notice,
    },
    proto::{IvSource, SealConfig, SealKey, SealKeys},
};

/// How many derived keys a process remembers. The least recently used go first.
const REMEMBERED: usize = 64;

/// Beyond this a derivation takes longer than it has to: it costs some 0.4 s of an optimised
/// program on a usual machine.
const LONG: Duration = Duration::from_secs(1);

/// The keys of one bus.
pub(crate) struct KeyRing {
    /// `None`: the bus is not sealed.
    state: Option<Mutex<State>>,
    salt: Vec<u8>,
    /// A test wants to see a panic while keys are derived.
    #[cfg(test)]
    pub(crate) panics: std::sync::atomic::AtomicBool,
}

struct State {
    keys: Keys,
    derived: Option<SealKeys>,
    /// How often keys were set, so that those set last stay, whichever are derived first.
    set: u64,
}

/// Secrets that were set while the bus was there.
pub(crate) struct KeySet {
    keys: Keys,
    /// Of several sets the one with the highest number counts, whichever is derived first.
    number: u64,
}

impl KeySet {
    /// Warnings about the secrets. None of them shows.
    pub(crate) fn warnings(&self) -> Vec<Notice> {
        warnings(&self.keys)
    }
}

impl KeyRing {
    pub(crate) fn new(options: &Options, receive: Vec<Secret>) -> Self {
        let group = options.multicast_membership.address;
        let salt = options.key_salt.clone();
        let secret = options
            .passphrase
            .clone()
            .filter(|_| !options.classic_cipher);
        Self {
            state: secret.map(|send| {
                Mutex::new(State {
                    keys: Keys { send, receive },
                    derived: None,
                    set: 0,
                })
            }),
            salt: salt.unwrap_or_else(|| SealKey::default_salt(group, options.port)),
            #[cfg(test)]
            panics: Default::default(),
        }
    }

    /// Whether a start has to wait until keys are derived.
    pub(crate) fn must_be_derived(&self) -> bool {
        self.lock().is_some_and(|state| state.derived.is_none())
    }

    /// Derives what the bus starts with. Slow on purpose. Returns a warning where it was slower
    /// than it should be.
    pub(crate) fn derive(&self) -> Option<Notice> {
        let begin = Instant::now();
        #[cfg(test)]
        assert!(
            !self.panics.load(std::sync::atomic::Ordering::SeqCst),
            "on purpose: keys"
        );
        // Again where others were set meanwhile.
        while let Some(state) = self.lock()
            && state.derived.is_none()
        {
            let (keys, set) = (state.keys.clone(), state.set);
            drop(state);
            let derived = derive(&keys, &self.salt);
            if let Some(mut state) = self.lock()
                && state.set == set
            {
                state.derived = Some(derived);
            }
        }
        slow_derivation(begin.elapsed())
    }

    /// Takes other secrets; [`derive_set`](Self::derive_set) has to follow. `None`: the bus is not
    /// sealed.
    pub(crate) fn set(&self, keys: Keys) -> Option<KeySet> {
        let mut state = self.lock()?;
        state.set += 1;
        state.keys = keys.clone();
        let number = state.set;
        Some(KeySet { keys, number })
    }

    /// The keys of a set, if all of them were derived before in this process.
    pub(crate) fn already_derived(&self, set: &KeySet) -> Option<SealKeys> {
        already_derived(&set.keys, &self.salt)
    }

    /// Derives the keys of a set. Slow on purpose. Returns a warning, too, where it was slower than
    /// it should be.
    pub(crate) fn derive_set(&self, set: &KeySet) -> (SealKeys, Option<Notice>) {
        let begin = Instant::now();
        let derived = derive(&set.keys, &self.salt);
        (derived, slow_derivation(begin.elapsed()))
    }

    /// Puts the derived keys of a set to use with the next session. False: others were set since.
    pub(crate) fn put_in(&self, set: &KeySet, derived: SealKeys) -> bool {
        let Some(mut state) = self.lock() else {
            return false;
        };
        let is_current = state.set == set.number;
        if is_current {
            state.derived = Some(derived);
        }
        is_current
    }

    /// The engine's configuration for sealing. `None`: the bus is not sealed.
    pub(crate) fn config(&self, options: &Options) -> Option<SealConfig> {
        let state = self.lock()?;
        let keys = state.derived.clone();
        let keys = keys.expect("a session begins when its keys are derived");
        let group = options.multicast_membership.address;
        let mut config = SealConfig::new(keys, group, options.port, IvSource::new(fill_random));
        config.clock_tolerance = options.clock_tolerance;
        Some(config)
    }

    /// Warnings about the secrets. None of them shows.
    pub(crate) fn warnings(&self, options: &Options) -> Vec<Notice> {
        let mut warnings = match self.lock() {
            Some(state) => warnings(&state.keys),
            // The classic cipher has a passphrase and no key of this ring.
            None => {
                let has_stray_blanks = options
                    .passphrase
                    .as_ref()
                    .is_some_and(Secret::has_stray_blanks);
                has_stray_blanks
                    .then(|| stray_blanks("passphrase"))
                    .into_iter()
                    .collect()
            }
        };
        let salt = options.key_salt.as_deref().map(str::from_utf8);
        if let Some(Ok(salt)) = salt
            && self.state.is_some()
            && salt.trim() != salt
            && !salt.trim().contains(char::is_control)
        {
            warnings.push(stray_blanks("key_salt"));
        }
        warnings
    }

    fn lock(&self) -> Option<MutexGuard<'_, State>> {
        let state = self.state.as_ref()?;
        // Each field is replaced by one assignment: a panic leaves the keys before it, or those
        // after it.
        Some(state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Warnings about secrets. None of them shows.
fn warnings(keys: &Keys) -> Vec<Notice> {
    let short = keys.all().any(Secret::is_short).then(short);
    let stray = keys.all().any(Secret::has_stray_blanks);
    let stray = stray.then(|| stray_blanks("passphrase"));
    short.into_iter().chain(stray).collect()
}

fn stray_blanks(what: &str) -> Notice {
    Notice::Warning {
        text: format!(
            "the {what} begins or ends with a blank or a line break, which counts as a part of it: a bus whose {what} \
             has none there cannot hear this one, nor be heard. A variable or a file often adds one unnoticed: \
             remove it, unless it is meant"
        ),
    }
}

/// What to do about keys that took long, in a program that is built for debugging: otherwise the
/// machine is slow.
fn slow_derivation(took: Duration) -> Option<Notice> {
    slow_derivation_in(took, cfg!(debug_assertions))
}

fn slow_derivation_in(took: Duration, is_debug: bool) -> Option<Notice> {
    (is_debug && took > LONG).then(|| Notice::Warning {
        text: format!(
            "deriving the keys took {} s, probably because the program is built without optimisation: write \
             `[profile.dev.package]` with `sha2.opt-level = 3` and `eventcast.opt-level = 3` into the workspace's \
             Cargo.toml, or give ready keys (`Secret::ready_key`)",
            took.as_secs_f32().ceil()
        ),
    })
}

fn short() -> Notice {
    Notice::Warning {
        text: "the passphrase is short: somebody who records the traffic can guess it; use several words"
            .to_owned(),
    }
}

fn derive(keys: &Keys, salt: &[u8]) -> SealKeys {
    let key = |secret: &Secret| {
        let slot = slot(secret, salt);
        let key = slot.get_or_init(|| {
            let key = secret.to_key(salt);
            key.expect("secrets were checked when they were given")
        });
        key.clone()
    };
    let mut derived = SealKeys::new(key(&keys.send));
    for secret in &keys.receive {
        derived = derived.and_receive(key(secret));
    }
    derived
}

/// The keys, if all of them were derived before.
fn already_derived(keys: &Keys, salt: &[u8]) -> Option<SealKeys> {
    let all = keys.all().all(|secret| slot(secret, salt).get().is_some());
    all.then(|| derive(keys, salt))
}

/// A digest of a secret and a salt.
type Fingerprint = [u8; 32];
type Slot = Arc<OnceLock<SealKey>>;

/// The place of the key of this secret and salt, derived or not.
fn slot(secret: &Secret, salt: &[u8]) -> Slot {
    static SLOTS: Mutex<VecDeque<(Fingerprint, Slot)>> = Mutex::new(VecDeque::new());
    let mut digest = Sha256::new();
    let kind = u8::from(secret.as_passphrase().is_some());
    for part in [&[kind], salt, secret.bytes()] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let fingerprint = digest.finalize().into();
    // No more is done under this lock than to move whole entries: a panic could lose one, which is
    // derived anew.
    let mut slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(at) = slots.iter().position(|(other, _)| *other == fingerprint) {
        let found = slots.remove(at).expect("it was just found");
        let slot = Arc::clone(&found.1);
        slots.push_back(found);
        return slot;
    }
    if slots.len() >= REMEMBERED {
        slots.pop_front();
    }
    let slot = Slot::default();
    slots.push_back((fingerprint, Arc::clone(&slot)));
    slot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_one_slot_for_each_salt_and_kind() {
        let word = "a secret of the tests of slots, long enough to be a key";
        let (passphrase, ready) = (Secret::from(word), Secret::ready_key(word));
        let first = slot(&passphrase, b"salt");
        assert!(Arc::ptr_eq(&first, &slot(&passphrase.clone(), b"salt")));
        assert!(!Arc::ptr_eq(&first, &slot(&passphrase, b"other")));
        assert!(!Arc::ptr_eq(&first, &slot(&ready, b"salt")));
        // The parts of the digest are kept apart.
        let shifted = (Secret::from(format!("t{word}")), b"sal");
        assert!(!Arc::ptr_eq(&first, &slot(&shifted.0, shifted.1)));
    }

    #[test]
    fn a_slow_derivation_says_what_to_write_into_the_profile() {
        let told = |millis, is_debug| {
            let notice = slow_derivation_in(Duration::from_millis(millis), is_debug);
            notice.map(|notice| notice.to_string())
        };
        let text = told(7_100, true).unwrap();
        for part in [
            "took 8 s",
            "[profile.dev.package]",
            "sha2.opt-level = 3",
            "eventcast.opt-level = 3",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(told(1_000, true), None);
        // Nothing in Cargo's profile would help there.
        assert_eq!(told(7_100, false), None);
    }

    #[test]
    fn what_is_derived_is_there_at_once_the_next_time() {
        let keys = Keys::new(Secret::ready_key([3; 32])).and_receive(Secret::ready_key([4; 32]));
        assert!(already_derived(&keys, b"a salt of this test").is_none());
        derive(&keys, b"a salt of this test");
        assert!(already_derived(&keys, b"a salt of this test").is_some());
    }
}
