//! Guards, which take a listener off when they are dropped.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use crate::bus::{Bus, core::Core, telemetry::listener_id::ListenerId};

/// Takes a listener off when it is dropped. [`Bus::guard`] makes one.
///
/// It does not keep the bus alive.
#[must_use = "the listener is taken off when this is dropped"]
pub struct ListenerGuard {
    bus: Weak<Core>,
    id: ListenerId,
}

impl Bus {
    /// A guard that takes a listener of this bus off when it is dropped, of events or of notices.
    ///
    /// ```
    /// # use eventcast::{Bus, ListenerGuard};
    /// struct Greeter {
    ///     _greetings: ListenerGuard,
    /// }
    ///
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = Bus::builder().build()?;
    /// let greeter = Greeter {
    ///     _greetings: bus.guard(bus.on_named("greeting", |args| println!("{args:?}"))),
    /// };
    /// assert_eq!(bus.listener_count_named("greeting"), 1);
    /// drop(greeter);
    /// assert_eq!(bus.listener_count_named("greeting"), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn guard(&self, id: ListenerId) -> ListenerGuard {
        ListenerGuard {
            bus: Arc::downgrade(&self.core),
            id,
        }
    }
}

impl ListenerGuard {
    /// The id of the listener that this guards.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().build()?;
    /// let id = bus.on_every(|e| println!("{e:?}"));
    /// assert_eq!(bus.guard(id).id(), id);
    /// # Ok(())
    /// # }
    /// ```
    pub fn id(&self) -> ListenerId {
        self.id
    }

    /// Lets the listener stay on the bus, and drops the guard.
    ///
    /// ```
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = eventcast::Bus::builder().build()?;
    /// let id = bus.guard(bus.on_every(|e| println!("{e:?}"))).keep();
    /// assert!(bus.off(id));
    /// # Ok(())
    /// # }
    /// ```
    pub fn keep(mut self) -> ListenerId {
        self.bus = Weak::new();
        self.id
    }
}

impl Drop for ListenerGuard {
    fn drop(&mut self) {
        if let Some(core) = self.bus.upgrade() {
            core.off(self.id);
        }
    }
}

impl fmt::Debug for ListenerGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ListenerGuard").field(&self.id).finish()
    }
}
