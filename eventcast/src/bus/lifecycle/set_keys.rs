//! A bus gets other keys, while it runs or is stopped.

use std::sync::Arc;

use super::{
    Lifecycle,
    transition::{Completion, Transition},
};
use crate::{
    bus::{
        config::secret::Keys,
        driver::key_ring::KeySet,
        process::{
            failure::{Failure, caught},
            user_code,
        },
    },
    error::Error,
    proto::SealKeys,
};

impl Lifecycle {
    /// Replaces the keys, as soon as they are derived.
    pub(crate) fn set_keys(self: &Arc<Self>, keys: Keys) -> Transition {
        if self.shared.process.is_forked() {
            return Transition::over(Err(Error::Forked));
        }
        if let Some(unusable) = keys.all().find_map(|secret| secret.check().err()) {
            return Transition::over(Err(unusable.into()));
        }
        let Some(set) = self.keys.set(keys) else {
            return Transition::over(Err(Error::NotSealed));
        };
        for warning in set.warnings() {
            self.shared.telemetry.report(warning);
        }
        if let Some(derived) = self.keys.already_derived(&set) {
            self.put_in(&set, derived);
            return Transition::over(Ok(()));
        }
        let done = Arc::<Completion>::default();
        let (lifecycle, awaited) = (Arc::clone(self), Arc::clone(&done));
        let spawned = spawn(move || {
            let derived = caught("deriving keys", || lifecycle.keys.derive_set(&set));
            // Without them the bus goes on with those that it has.
            let derived = derived.inspect_err(|failure| {
                // The caller gets the result also where the log panics.
                let log = || tracing::error!(target: "eventcast", "{}", failure.clone().error());
                let _ = user_code::run(log);
            });
            let result = derived.map(|(derived, slow)| {
                if let Some(notice) = slow {
                    lifecycle.report(notice);
                }
                lifecycle.put_in(&set, derived);
            });
            awaited.complete(result.map_err(Failure::error));
        });
        match spawned {
            Ok(()) => Transition::of(&done),
            Err(error) => Transition::over(Err(error)),
        }
    }

    /// Puts derived keys to use, unless others were set since.
    fn put_in(&self, set: &KeySet, derived: SealKeys) {
        let put_in = caught("setting keys", || self.try_to_put_in(set, derived));
        if let Err(failure) = put_in {
            self.fail_running(failure);
        }
    }

    fn try_to_put_in(&self, set: &KeySet, derived: SealKeys) {
        // While no session can come or go, so that none begins with the keys before.
        self.with_session(|session| {
            // First: the next session begins with them, also where this one fails over them.
            if !self.keys.put_in(set, derived.clone()) {
                return;
            }
            if let Some(mut engine) = session.and_then(|session| session.context.engine.lock()) {
                engine.set_seal_keys(&derived);
            }
        });
    }
}

/// Starts the thread on which keys are derived, since that takes time.
pub(crate) fn spawn(work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    std::thread::Builder::new()
        .name("eventcast-keys".into())
        .spawn(work)
        .map(drop)
        .map_err(|error| Error::Thread(Arc::new(error)))
}
