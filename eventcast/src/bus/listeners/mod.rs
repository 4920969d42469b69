//! Listeners: which there are, and how each takes its events.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `registry`, `pattern` | the listeners of each key, and of the patterns that match it |
//! | `listener` | one listener, of whatever kind |
//! | `identity` | which listener it is, and what it reports about itself |
//! | `inline_sink`, `async_sink`, `subscription`, `wait_for` | the ways to take events: by a call, a task, a stream, or a future |
//! | `delivery`, `received` | an event on its way to listeners, and as a listener gets it |
//! | `invocation`, `fault`, `user_closure` | one call of a closure, and its outcome |
//! | `nesting` | events that are emitted while an event is delivered |
//! | `retired` | async listeners that were taken off while calls of theirs waited |
//! | `info` | the description of a registered listener |
//! | `owner` | the way back to the bus |

pub(crate) mod async_sink;
pub(crate) mod delivery;
pub(crate) mod fault;
pub(crate) mod identity;
pub(crate) mod info;
pub(crate) mod inline_sink;
pub(crate) mod invocation;
pub(crate) mod listener;
pub(crate) mod nesting;
pub(crate) mod owner;
pub(crate) mod pattern;
pub(crate) mod received;
pub(crate) mod registry;
pub(crate) mod retired;
pub(crate) mod subscription;
pub(crate) mod user_closure;
pub(crate) mod wait_for;

use std::{
    any::{TypeId, type_name},
    panic::Location,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use self::{
    listener::{Listener, Sink},
    owner::Owner,
    registry::{Lookup, Registry, Snapshot},
    retired::Retired,
};
use super::{config::options::Options, process::Process, telemetry::listener_id::ListenerId};
use crate::event::{self, KeyConflict, NetEvent};

pub(crate) struct Listeners {
    pub(crate) options: Arc<Options>,
    pub(crate) process: Arc<Process>,
    pub(crate) registry: Registry,
    /// Async listeners that were taken off while events waited in their queues.
    pub(crate) retired: Retired,
    max: AtomicUsize,
    /// Held while an event takes its number and enters the queues of this bus's own listeners, so
    /// that each listener receives the events in the order of their numbers. No code of the user
    /// runs under it.
    local_order: Mutex<()>,
}

impl Listeners {
    pub(crate) fn new(options: Arc<Options>, process: Arc<Process>) -> Self {
        Self {
            max: AtomicUsize::new(options.max_listeners),
            options,
            process,
            registry: Registry::default(),
            retired: Retired::default(),
            local_order: Mutex::default(),
        }
    }

    /// Listeners of one key above which the bus warns of a leak; 0: no limit.
    pub(crate) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    pub(crate) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    pub(crate) fn lock_local_order(&self) -> MutexGuard<'_, ()> {
        // The lock guards no data, so a panic leaves nothing half done.
        self.local_order
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_async(&self) -> bool {
        self.registry
            .any(|listener| matches!(listener.sink(), Sink::Async(_)))
    }

    /// Starts tasks for the events that async listeners received before there was a runtime.
    pub(crate) fn wake_async(&self, owner: &Arc<dyn Owner>) {
        // Listeners that were taken off since then still receive the events that waited for them.
        for listener in self.registry.all() {
            if let Sink::Async(sink) = listener.sink() {
                sink.start_tasks(owner);
            }
        }
        for sink in self.retired.all() {
            sink.start_tasks(owner);
        }
    }

    /// The listeners of the event's key. Claims the key for the type the first time; `location` is
    /// the caller's line, for the error text.
    pub(crate) fn of_type<E: NetEvent>(
        &self,
        location: &'static Location<'static>,
    ) -> Result<Option<Snapshot>, KeyConflict> {
        if let Lookup::Known(list) = self.registry.list_for(E::KEY, TypeId::of::<E>()) {
            return Ok(list);
        }
        self.claim_key::<E>(location)?;
        Ok(self.registry.list(E::KEY))
    }

    /// Claims the key for the type, in this process and with this bus.
    pub(crate) fn claim_key<E: NetEvent>(
        &self,
        location: &'static Location<'static>,
    ) -> Result<(), KeyConflict> {
        let event = TypeId::of::<E>();
        event::claim(
            E::KEY,
            event,
            type_name::<E>(),
            E::SHAPE,
            E::__fields,
            location,
        )?;
        self.registry.allow(E::KEY, event);
        Ok(())
    }

    /// Takes one listener off. False if it is not registered, or in a forked child.
    pub(crate) fn take_off(&self, id: ListenerId) -> bool {
        if self.process.is_forked() {
            return false;
        }
        let removed = self.registry.remove(id);
        if let Some(listener) = &removed {
            self.retire(std::slice::from_ref(listener));
        }
        removed.is_some()
    }

    /// Ends listeners that have left the registry, and returns how many there are.
    pub(crate) fn retire(&self, removed: &[Arc<Listener>]) -> usize {
        for listener in removed {
            listener.retire();
            if let Sink::Async(sink) = listener.sink() {
                self.retired.keep(sink);
            }
        }
        removed.len()
    }

    /// Ends all listeners, since the last handle of the bus was dropped.
    pub(crate) fn close(&self) {
        for listener in self.registry.remove_all() {
            listener.close();
        }
        for sink in self.retired.take_all() {
            sink.close();
        }
    }
}
