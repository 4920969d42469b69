//! What all handles of one bus hold.

use std::sync::{Arc, Weak, atomic::Ordering};

#[cfg(feature = "repl")]
use super::config::Setting;
#[cfg(feature = "metrics")]
use super::telemetry::metrics::Published;
use super::{
    Bus, WeakBus,
    config::{options::Options, secret::Secret},
    driver::key_ring::KeyRing,
    extension::Extension,
    lifecycle::Lifecycle,
    listeners::{Listeners, owner::Owner},
    process::Process,
    shared::Shared,
    telemetry::{Telemetry, last_resort::LastResort, listener_id::ListenerId, notice::Notice},
};

pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    /// The options as the console shows them.
    #[cfg(feature = "repl")]
    pub(crate) settings: Vec<Setting>,
    #[cfg(feature = "metrics")]
    pub(crate) published: Published,
}

/// What a bus is made of.
pub(crate) struct Parts {
    pub(crate) options: Options,
    pub(crate) id: String,
    pub(crate) hostname: String,
    pub(crate) process: Process,
    /// Further passphrases and keys to open with, beside its own.
    pub(crate) receive: Vec<Secret>,
    /// Warnings about the options, which have been logged.
    pub(crate) warnings: Vec<String>,
    pub(crate) console: Option<Box<dyn Extension>>,
    #[cfg(feature = "repl")]
    pub(crate) settings: Vec<Setting>,
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let last_resort = LastResort::new(parts.options.last_resort);
        let keys = KeyRing::new(&parts.options, parts.receive);
        let process = Arc::new(parts.process);
        let telemetry = Arc::new(Telemetry::new(Arc::clone(&process), last_resort));
        let shared = Shared::new(parts.options, parts.id, parts.hostname, telemetry);
        let shared = Arc::new(shared);
        let core = Arc::new_cyclic(|core: &Weak<Self>| {
            let owner: Weak<dyn Owner> = Weak::<Self>::clone(core);
            let (console, warnings) = (parts.console, parts.warnings);
            let lifecycle = Lifecycle::new(Arc::clone(&shared), owner, keys, console, warnings);
            Self {
                #[cfg(feature = "repl")]
                settings: parts.settings,
                #[cfg(feature = "metrics")]
                published: Published::new(shared.options.group()),
                shared,
                lifecycle: Arc::new(lifecycle),
            }
        });
        let lifecycle = Arc::downgrade(&core.lifecycle);
        process.on_failure(move |failure| match lifecycle.upgrade() {
            Some(lifecycle) => lifecycle.fail_running(failure),
            None => tracing::error!(target: "eventcast", "{}", Notice::from(failure)),
        });
        core
    }

    /// The bus as its listeners know it.
    pub(crate) fn owner(self: &Arc<Self>) -> Arc<dyn Owner> {
        Arc::<Self>::clone(self)
    }

    /// Whether the bus was started in another process, of which this one is a forked child.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        self.shared.process.is_forked()
    }

    /// Takes one listener off, of events or of notices. False if it is not there, or in another
    /// process.
    pub(crate) fn off(&self, id: ListenerId) -> bool {
        self.shared.listeners.take_off(id)
            || (!self.is_forked() && self.shared.telemetry.remove(id))
    }

    pub(crate) fn add_handle(&self) {
        let handles = &self.shared.handles;
        if handles.fetch_add(1, Ordering::Relaxed) == 0 && !self.is_forked() {
            // A listener or a stream that still held the bus has brought it back.
            self.shared.telemetry.reopen();
        }
    }

    /// Counts one more handle, unless the last one has been dropped.
    pub(crate) fn try_add_handle(&self) -> bool {
        let one_more = |handles| (handles > 0).then_some(handles + 1);
        let handles = &self.shared.handles;
        handles
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }

    pub(crate) fn remove_handle(&self) {
        // In a forked child the bus belongs to the parent, which goes on with it.
        if self.shared.handles.fetch_sub(1, Ordering::AcqRel) == 1 && !self.is_forked() {
            self.lifecycle.shut_down();
        }
    }
}

impl Owner for Core {
    fn listeners(&self) -> &Listeners {
        &self.shared.listeners
    }

    fn bus(self: Arc<Self>) -> Bus {
        Bus::from_core(self)
    }

    fn downgrade(self: Arc<Self>) -> WeakBus {
        WeakBus::of(&self)
    }
}
