//! The list of registered listeners.

use std::sync::Arc;

use super::super::Bus;
use crate::bus::listeners::{
    info::{ListenerInfo, ListenerScope},
    listener::Listener,
    pattern::Pattern,
};

impl Bus {
    /// All listeners of events, by what they listen to, and then in the order of their calls.
    /// Streams and waits are among them; listeners of notices are not.
    ///
    /// ```
    /// use eventcast::{Bus, ListenerMode, ListenerScope};
    ///
    /// # fn main() -> eventcast::Result<()> {
    /// let bus = Bus::builder().build()?;
    /// bus.on_named("greeting", |args| println!("{args:?}"));
    /// let listeners = bus.listeners();
    /// assert_eq!(listeners[0].scope, ListenerScope::Key("greeting".into()));
    /// assert_eq!(listeners[0].mode, ListenerMode::Inline);
    /// println!("{}", listeners[0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn listeners(&self) -> Vec<ListenerInfo> {
        if self.core.is_forked() {
            return Vec::new();
        }
        let mut all = self.core.shared.listeners.registry.all_with_patterns();
        all.sort_by(|(one, _), (other, _)| {
            (&one.identity.key, one.order).cmp(&(&other.identity.key, other.order))
        });
        let info = |(listener, pattern): (Arc<Listener>, Option<Pattern>)| {
            let identity = &listener.identity;
            ListenerInfo {
                id: identity.id,
                scope: match pattern {
                    Some(pattern) => ListenerScope::Pattern(pattern),
                    None => ListenerScope::Key(identity.key.to_string()),
                },
                event_type: identity.event_type,
                mode: listener.mode(),
                once: identity.is_once(),
                registered_at: identity.location,
            }
        };
        all.into_iter().map(info).collect()
    }
}
