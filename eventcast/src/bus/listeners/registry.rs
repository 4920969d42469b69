//! The registered listeners in the order of their calls, by event key and by pattern.
//!
//! A list is replaced, never changed in place. A delivery takes a snapshot of the list and calls
//! the listeners in it, even if listeners are registered or taken off meanwhile, as Node's
//! EventEmitter does.
//!
//! No listener is dropped under the lock, since its drop runs code of the user: removed listeners
//! are returned to the caller.

use std::{
    any::TypeId,
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    identity::ListenerIdentity,
    listener::{Listener, Sink},
    pattern::Pattern,
};
use crate::bus::telemetry::listener_id::ListenerId;

/// Keys whose merged lists are cached, where there are patterns. Keys come from the network, so
/// their number is not bounded; beyond this the list is merged for each event.
const MAX_CACHED: usize = 1_024;

/// The listeners of one key, in the order of their calls.
pub(crate) type Snapshot = Arc<[Arc<Listener>]>;

#[derive(Default)]
pub(crate) struct Registry {
    inner: RwLock<Inner>,
    /// Rises with every change.
    version: AtomicU64,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<Box<str>, Entry>,
    /// Listeners by pattern, in the order of their calls.
    by_pattern: Vec<(Pattern, Arc<Listener>)>,
    /// The merged lists of keys, where there are patterns. Cleared with every change.
    merged_lists: Mutex<HashMap<Box<str>, Option<Snapshot>>>,
    keys: HashMap<ListenerId, Topic>,
    last_order: i64,
    first_order: i64,
}

#[derive(Default)]
struct Entry {
    list: Option<Snapshot>,
    /// The event types that have claimed this key.
    types: Vec<TypeId>,
    warned: bool,
}

impl Entry {
    /// Inserts a listener by its order. Returns the number of listeners the first time that it
    /// exceeds `max`.
    fn add(&mut self, listener: &Arc<Listener>, max: usize) -> Option<usize> {
        let before = self.list.as_deref().unwrap_or_default();
        let at = before.partition_point(|other| other.order < listener.order);
        let list: Snapshot = before[..at]
            .iter()
            .chain([listener])
            .chain(&before[at..])
            .cloned()
            .collect();
        let exceeded = (max != 0 && list.len() > max && !self.warned).then_some(list.len());
        self.warned |= exceeded.is_some();
        self.list = Some(list);
        exceeded
    }
}

/// What a listener listens to.
#[derive(Clone, Debug)]
pub(crate) enum Topic {
    Key(Arc<str>),
    Pattern(Pattern),
}

/// The position of a new listener in the list of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    Last,
    First,
}

/// The result of a lookup by key and event type.
pub(crate) enum Lookup {
    /// The type has claimed the key; these are its listeners, if any.
    Known(Option<Snapshot>),
    /// The type has not claimed the key on this bus yet.
    NewType,
}

impl Topic {
    /// The key, or the text of the pattern.
    pub(crate) fn text(&self) -> Arc<str> {
        match self {
            Self::Key(key) => Arc::clone(key),
            Self::Pattern(pattern) => pattern.as_str().into(),
        }
    }
}

impl Registry {
    pub(crate) fn list(&self, key: &str) -> Option<Snapshot> {
        self.read().list(key)
    }

    pub(crate) fn list_for(&self, key: &str, event: TypeId) -> Lookup {
        let inner = self.read();
        match inner.entries.get(key) {
            Some(entry) if entry.types.contains(&event) => Lookup::Known(inner.list(key)),
            _ => Lookup::NewType,
        }
    }

    /// Notes that `event` has claimed `key`. The entries are bounded by the number of types in the
    /// program.
    pub(crate) fn allow(&self, key: &str, event: TypeId) {
        let mut inner = self.write();
        let entry = inner.entries.entry(key.into()).or_default();
        if !entry.types.contains(&event) {
            entry.types.push(event);
        }
    }

    /// Registers a listener. Also returns the number of listeners of its key, the first time that
    /// it exceeds `max` (0: no limit).
    pub(crate) fn insert(
        &self,
        topic: Topic,
        place: Position,
        identity: Arc<ListenerIdentity>,
        sink: Sink,
        max: usize,
    ) -> (Arc<Listener>, Option<usize>) {
        let id = identity.id;
        let mut inner = self.write();
        let order = match place {
            Position::Last => {
                inner.last_order += 1;
                inner.last_order
            }
            Position::First => {
                inner.first_order -= 1;
                inner.first_order
            }
        };
        let listener = Arc::new(Listener::new(identity, order, sink));
        inner.keys.insert(id, topic.clone());
        let exceeded = match topic {
            Topic::Key(key) => {
                let entry = inner.entries.entry(Box::from(&*key)).or_default();
                entry.add(&listener, max)
            }
            Topic::Pattern(pattern) => {
                let before = &mut inner.by_pattern;
                let at = before.partition_point(|(_, other)| other.order < order);
                before.insert(at, (pattern, Arc::clone(&listener)));
                None
            }
        };
        (listener, exceeded)
    }

    pub(crate) fn remove(&self, id: ListenerId) -> Option<Arc<Listener>> {
        let mut inner = self.write();
        match inner.keys.remove(&id)? {
            Topic::Key(key) => {
                let entry = inner.entries.get_mut(&*key)?;
                let before = entry.list.take()?;
                let (removed, rest): (Vec<_>, Vec<_>) =
                    before.iter().cloned().partition(|l| l.identity.id == id);
                if !rest.is_empty() {
                    entry.list = Some(rest.into());
                }
                inner.remove_if_empty(&key);
                removed.into_iter().next()
            }
            Topic::Pattern(_) => {
                let at = inner
                    .by_pattern
                    .iter()
                    .position(|(_, l)| l.identity.id == id)?;
                Some(inner.by_pattern.remove(at).1)
            }
        }
    }

    pub(crate) fn remove_key(&self, key: &str) -> Vec<Arc<Listener>> {
        let mut inner = self.write();
        let Some(list) = inner
            .entries
            .get_mut(key)
            .and_then(|entry| entry.list.take())
        else {
            return Vec::new();
        };
        for listener in list.iter() {
            inner.keys.remove(&listener.identity.id);
        }
        inner.remove_if_empty(key);
        list.to_vec()
    }

    pub(crate) fn remove_all(&self) -> Vec<Arc<Listener>> {
        let mut inner = self.write();
        inner.keys.clear();
        let mut removed: Vec<_> = inner
            .entries
            .values_mut()
            .filter_map(|entry| entry.list.take())
            .flat_map(|list| list.to_vec())
            .collect();
        removed.extend(inner.by_pattern.drain(..).map(|(_, listener)| listener));
        inner.entries.retain(|_, entry| !entry.types.is_empty());
        removed
    }

    /// The number of listeners of this key, without listeners by pattern.
    pub(crate) fn count(&self, key: &str) -> usize {
        let inner = self.read();
        let list = inner.entries.get(key).and_then(|entry| entry.list.as_ref());
        list.map_or(0, |list| list.len())
    }

    /// The keys that have listeners, sorted.
    pub(crate) fn keys(&self) -> Vec<String> {
        let inner = self.read();
        let mut keys: Vec<String> = inner
            .entries
            .iter()
            .filter(|(_, entry)| entry.list.is_some())
            .map(|(key, _)| key.to_string())
            .collect();
        keys.sort_unstable();
        keys
    }

    /// Whether `holds` is true for any listener.
    pub(crate) fn any(&self, holds: impl Fn(&Listener) -> bool) -> bool {
        let inner = self.read();
        let lists = inner
            .entries
            .values()
            .filter_map(|entry| entry.list.as_deref());
        let by_pattern = inner.by_pattern.iter().map(|(_, listener)| listener);
        lists.flatten().chain(by_pattern).any(|l| holds(l))
    }

    /// Changes with every change: a snapshot that was taken at the same version is still current.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// All listeners, each with its pattern if it has one.
    pub(crate) fn all_with_patterns(&self) -> Vec<(Arc<Listener>, Option<Pattern>)> {
        let inner = self.read();
        let lists = inner
            .entries
            .values()
            .filter_map(|entry| entry.list.as_deref());
        let by_key = lists.flatten().map(|listener| (Arc::clone(listener), None));
        let by_pattern = inner.by_pattern.iter();
        let by_pattern =
            by_pattern.map(|(pattern, listener)| (Arc::clone(listener), Some(pattern.clone())));
        by_key.chain(by_pattern).collect()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Listener>> {
        let inner = self.read();
        let lists = inner
            .entries
            .values()
            .filter_map(|entry| entry.list.as_deref());
        let by_pattern = inner.by_pattern.iter().map(|(_, listener)| listener);
        lists.flatten().chain(by_pattern).cloned().collect()
    }

    // Nothing that can panic runs under this lock.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Any change may change the merged list of a key, so the cache is cleared.
    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        self.version.fetch_add(1, Ordering::Release);
        let merged_lists = inner.merged_lists.get_mut();
        merged_lists.unwrap_or_else(PoisonError::into_inner).clear();
        inner
    }
}

impl Inner {
    /// The listeners to call for an event of this key.
    fn list(&self, key: &str) -> Option<Snapshot> {
        if self.by_pattern.is_empty() {
            return self.entries.get(key)?.list.clone();
        }
        let mut merged_lists = self
            .merged_lists
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = merged_lists.get(key) {
            return list.clone();
        }
        let list = self.merged(key);
        if merged_lists.len() >= MAX_CACHED {
            merged_lists.clear();
        }
        merged_lists.insert(key.into(), list.clone());
        list
    }

    /// The listeners of the key and of the patterns that match it, in the order of their calls.
    fn merged(&self, key: &str) -> Option<Snapshot> {
        let of_key = self
            .entries
            .get(key)
            .and_then(|entry| entry.list.as_deref());
        let by_pattern = self.by_pattern.iter();
        let matching = by_pattern.filter(|(pattern, _)| pattern.matches(key));
        let mut list: Vec<_> = of_key.unwrap_or_default().to_vec();
        list.extend(matching.map(|(_, listener)| Arc::clone(listener)));
        list.sort_by_key(|listener| listener.order);
        (!list.is_empty()).then(|| list.into())
    }

    /// Removes the entry of a key without listeners and types, so that keys made at run time do not
    /// accumulate.
    fn remove_if_empty(&mut self, key: &str) {
        if let Some(entry) = self.entries.get(key)
            && entry.list.is_none()
            && entry.types.is_empty()
        {
            self.entries.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;
    use crate::{
        bus::{
            listeners::{inline_sink::InlineSink, received::Received},
            telemetry::Telemetry,
        },
        codec::Args,
    };

    /// A listener that does nothing.
    fn inert(topic: &Topic) -> (Arc<ListenerIdentity>, Sink) {
        let (key, telemetry) = (topic.text(), Telemetry::without_listeners());
        let identity = ListenerIdentity::new(key, None, Location::caller(), false, telemetry);
        let sink = InlineSink::new(Arc::clone(&identity), |_: &Received<Args>| ());
        (identity, Sink::Inline(sink))
    }

    fn add(registry: &Registry, key: &str, place: Position) -> ListenerId {
        let topic = Topic::Key(key.into());
        let (identity, sink) = inert(&topic);
        registry
            .insert(topic, place, identity, sink, 0)
            .0
            .identity
            .id
    }

    fn ids(registry: &Registry, key: &str) -> Vec<ListenerId> {
        let list = registry.list(key);
        list.iter()
            .flat_map(|list| list.iter())
            .map(|l| l.identity.id)
            .collect()
    }

    #[test]
    fn listeners_are_in_order_and_prepended_ones_first() {
        let registry = Registry::default();
        let a = add(&registry, "x", Position::Last);
        let b = add(&registry, "x", Position::Last);
        let first = add(&registry, "x", Position::First);
        add(&registry, "y", Position::Last);
        let very_first = add(&registry, "x", Position::First);
        let c = add(&registry, "x", Position::Last);
        assert_eq!(ids(&registry, "x"), [very_first, first, a, b, c]);
        assert_eq!(registry.count("x"), 5);
        assert_eq!(registry.keys(), ["x", "y"]);
    }

    #[test]
    fn a_snapshot_does_not_change() {
        let registry = Registry::default();
        let a = add(&registry, "x", Position::Last);
        let b = add(&registry, "x", Position::Last);
        let before = registry.list("x").unwrap();
        assert!(registry.remove(a).is_some());
        assert!(registry.remove(a).is_none());
        let c = add(&registry, "x", Position::Last);
        assert_eq!(
            before.iter().map(|l| l.identity.id).collect::<Vec<_>>(),
            [a, b]
        );
        assert_eq!(ids(&registry, "x"), [b, c]);
    }

    #[test]
    fn a_key_without_listeners_has_no_entry() {
        let registry = Registry::default();
        for i in 0..100 {
            let id = add(&registry, &format!("key {i}"), Position::Last);
            registry.remove(id);
        }
        add(&registry, "x", Position::Last);
        assert_eq!(registry.remove_key("x").len(), 1);
        assert_eq!(registry.remove_key("x").len(), 0);
        add(&registry, "y", Position::Last);
        assert_eq!(registry.remove_all().len(), 1);
        let inner = registry.read();
        assert!(inner.entries.is_empty());
        assert!(inner.keys.is_empty());
    }

    #[test]
    fn a_type_keeps_its_claim_to_a_key() {
        let registry = Registry::default();
        let event = TypeId::of::<u8>();
        assert!(matches!(registry.list_for("x", event), Lookup::NewType));
        registry.allow("x", event);
        assert!(matches!(registry.list_for("x", event), Lookup::Known(None)));
        let id = add(&registry, "x", Position::Last);
        registry.remove(id);
        assert!(matches!(registry.list_for("x", event), Lookup::Known(None)));
        assert!(matches!(
            registry.list_for("x", TypeId::of::<u16>()),
            Lookup::NewType
        ));
        assert!(registry.keys().is_empty());
    }

    fn add_pattern(registry: &Registry, pattern: &str, place: Position) -> ListenerId {
        let topic = Topic::Pattern(pattern.parse().unwrap());
        let (identity, sink) = inert(&topic);
        registry
            .insert(topic, place, identity, sink, 0)
            .0
            .identity
            .id
    }

    #[test]
    fn listeners_by_key_and_by_pattern_share_one_order() {
        let registry = Registry::default();
        let a = add(&registry, "order.placed", Position::Last);
        let by_pattern = add_pattern(&registry, "order.*", Position::Last);
        let b = add(&registry, "order.placed", Position::Last);
        let every = add_pattern(&registry, "**", Position::Last);
        let first = add_pattern(&registry, "*.placed", Position::First);
        let placed = [first, a, by_pattern, b, every];
        for _ in 0..2 {
            assert_eq!(ids(&registry, "order.placed"), placed);
            assert_eq!(ids(&registry, "order.shipped"), [by_pattern, every]);
            assert_eq!(ids(&registry, "other"), [every]);
        }
        assert_eq!(registry.count("order.placed"), 2);
        assert_eq!(registry.keys(), ["order.placed"]);

        registry.remove(by_pattern);
        assert_eq!(ids(&registry, "order.placed"), [first, a, b, every]);
        assert_eq!(registry.remove_key("order.placed").len(), 2);
        assert_eq!(ids(&registry, "order.placed"), [first, every]);
        assert_eq!(registry.remove_all().len(), 2);
        assert_eq!(ids(&registry, "order.placed"), []);
    }

    #[test]
    fn cached_keys_from_the_network_are_bounded() {
        let registry = Registry::default();
        let every = add_pattern(&registry, "**", Position::Last);
        for i in 0..3 * MAX_CACHED {
            assert_eq!(ids(&registry, &format!("key {i}")), [every]);
        }
        let inner = registry.read();
        let merged_lists = inner.merged_lists.lock().unwrap();
        assert!(!merged_lists.is_empty() && merged_lists.len() <= MAX_CACHED);
    }

    #[test]
    fn exceeding_the_listener_limit_is_reported_once() {
        let registry = Registry::default();
        let exceeded = |max| {
            let topic = Topic::Key("x".into());
            let (identity, sink) = inert(&topic);
            registry
                .insert(topic, Position::Last, identity, sink, max)
                .1
        };
        assert_eq!(exceeded(2), None);
        assert_eq!(exceeded(2), None);
        assert_eq!(exceeded(0), None);
        assert_eq!(exceeded(2), Some(4));
        assert_eq!(exceeded(2), None);
    }
}
