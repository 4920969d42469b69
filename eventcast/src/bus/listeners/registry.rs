//! Which listeners there are, in order: by event key, and by pattern for all the keys that it matches.
//!
//! A list is never changed in place: it is replaced. Whoever delivers an event takes the list as it is at that
//! moment and calls what stands in it, whatever is registered or taken off meanwhile, as Node's EventEmitter does.
//!
//! No listener is ever dropped under the lock: what is taken off is handed out.

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

/// For how many keys the listeners are remembered, where there are patterns. Keys come from the network, so there
/// is no end to them; beyond this it is worked out anew.
const REMEMBERED: usize = 1_024;

/// The listeners of one key, in the order of their calls.
pub(crate) type Snapshot = Arc<[Arc<Listener>]>;

#[derive(Default)]
pub(crate) struct Registry {
    inner: RwLock<Inner>,
    /// Goes up with every change.
    version: AtomicU64,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<Box<str>, Entry>,
    /// Those who listen by pattern, in order.
    by_pattern: Vec<(Pattern, Arc<Listener>)>,
    /// The listeners of a key, where there are patterns. Cleared with every change.
    remembered: Mutex<HashMap<Box<str>, Option<Snapshot>>>,
    keys: HashMap<ListenerId, Topic>,
    last_order: i64,
    first_order: i64,
}

#[derive(Default)]
struct Entry {
    list: Option<Snapshot>,
    /// The event types that were found to have a right to this key.
    types: Vec<TypeId>,
    warned: bool,
}

impl Entry {
    /// Puts a listener into its place; the number of listeners where it is told for the first time.
    fn add(&mut self, listener: &Arc<Listener>, max: usize) -> Option<usize> {
        let before = self.list.as_deref().unwrap_or_default();
        let at = before.partition_point(|other| other.order < listener.order);
        let list: Snapshot = before[..at]
            .iter()
            .chain([listener])
            .chain(&before[at..])
            .cloned()
            .collect();
        let crowd = (max != 0 && list.len() > max && !self.warned).then_some(list.len());
        self.warned |= crowd.is_some();
        self.list = Some(list);
        crowd
    }
}

/// What a listener listens to.
#[derive(Clone, Debug)]
pub(crate) enum Topic {
    Key(Arc<str>),
    Pattern(Pattern),
}

/// Where in the list of its key a listener goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    Last,
    First,
}

/// What stands under a key, for an event of a certain type.
pub(crate) enum Lookup {
    /// The type has a right to the key; these listen, if any.
    Known(Option<Snapshot>),
    /// The type has not been seen with this bus yet.
    NewType,
}

impl Topic {
    /// As it is shown: the key, or the text of the pattern.
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

    /// Remembers that `event` has a right to `key`. One entry a type of the program at most.
    pub(crate) fn allow(&self, key: &str, event: TypeId) {
        let mut inner = self.write();
        let entry = inner.entries.entry(key.into()).or_default();
        if !entry.types.contains(&event) {
            entry.types.push(event);
        }
    }

    /// Registers a listener. The number that comes with it is how many its key now has, the first time that this
    /// is more than `max` (0: any number).
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
        let crowd = match topic {
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
        (listener, crowd)
    }

    pub(crate) fn remove(&self, id: ListenerId) -> Option<Arc<Listener>> {
        let mut inner = self.write();
        match inner.keys.remove(&id)? {
            Topic::Key(key) => {
                let entry = inner.entries.get_mut(&*key)?;
                let before = entry.list.take()?;
                let (gone, rest): (Vec<_>, Vec<_>) =
                    before.iter().cloned().partition(|l| l.identity.id == id);
                if !rest.is_empty() {
                    entry.list = Some(rest.into());
                }
                inner.tidy(&key);
                gone.into_iter().next()
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
        inner.tidy(key);
        list.to_vec()
    }

    pub(crate) fn remove_all(&self) -> Vec<Arc<Listener>> {
        let mut inner = self.write();
        inner.keys.clear();
        let mut gone: Vec<_> = inner
            .entries
            .values_mut()
            .filter_map(|entry| entry.list.take())
            .flat_map(|list| list.to_vec())
            .collect();
        gone.extend(inner.by_pattern.drain(..).map(|(_, listener)| listener));
        inner.entries.retain(|_, entry| !entry.types.is_empty());
        gone
    }

    /// How many listen to this key, without those who listen by pattern.
    pub(crate) fn count(&self, key: &str) -> usize {
        let inner = self.read();
        let list = inner.entries.get(key).and_then(|entry| entry.list.as_ref());
        list.map_or(0, |list| list.len())
    }

    /// The keys that have listeners, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let inner = self.read();
        let mut names: Vec<String> = inner
            .entries
            .iter()
            .filter(|(_, entry)| entry.list.is_some())
            .map(|(key, _)| key.to_string())
            .collect();
        names.sort_unstable();
        names
    }

    /// Whether there is one of which this holds.
    pub(crate) fn any(&self, holds: impl Fn(&Listener) -> bool) -> bool {
        let inner = self.read();
        let lists = inner
            .entries
            .values()
            .filter_map(|entry| entry.list.as_deref());
        let by_pattern = inner.by_pattern.iter().map(|(_, listener)| listener);
        lists.flatten().chain(by_pattern).any(|l| holds(l))
    }

    /// Another number after every change: a list that was taken at the same number is one that the table still has.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// All of them, each with its pattern where it has one.
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

    /// Whatever is changed, the listeners of a key may be another list now.
    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        self.version.fetch_add(1, Ordering::Release);
        let remembered = inner.remembered.get_mut();
        remembered.unwrap_or_else(PoisonError::into_inner).clear();
        inner
    }
}

impl Inner {
    /// Those who are to be called for an event of this key.
    fn list(&self, key: &str) -> Option<Snapshot> {
        if self.by_pattern.is_empty() {
            return self.entries.get(key)?.list.clone();
        }
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = remembered.get(key) {
            return list.clone();
        }
        let list = self.merged(key);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(key.into(), list.clone());
        list
    }

    /// Those of the key itself and those of the patterns that match it, in order.
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

    /// Forgets a key about which nothing is left to know, so that keys made up at run time do not pile up.
    fn tidy(&mut self, key: &str) {
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
        let (key, telemetry) = (topic.text(), Telemetry::unheard());
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
    fn listeners_stand_in_order_and_prepended_ones_before() {
        let registry = Registry::default();
        let a = add(&registry, "x", Position::Last);
        let b = add(&registry, "x", Position::Last);
        let first = add(&registry, "x", Position::First);
        add(&registry, "y", Position::Last);
        let very_first = add(&registry, "x", Position::First);
        let c = add(&registry, "x", Position::Last);
        assert_eq!(ids(&registry, "x"), [very_first, first, a, b, c]);
        assert_eq!(registry.count("x"), 5);
        assert_eq!(registry.names(), ["x", "y"]);
    }

    #[test]
    fn a_list_that_was_taken_does_not_change() {
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
    fn a_name_without_listeners_leaves_nothing_behind() {
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
    fn a_type_keeps_its_right_to_a_key() {
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
        assert!(registry.names().is_empty());
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
    fn one_list_a_key_whoever_listens() {
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
        assert_eq!(registry.names(), ["order.placed"]);

        registry.remove(by_pattern);
        assert_eq!(ids(&registry, "order.placed"), [first, a, b, every]);
        assert_eq!(registry.remove_key("order.placed").len(), 2);
        assert_eq!(ids(&registry, "order.placed"), [first, every]);
        assert_eq!(registry.remove_all().len(), 2);
        assert_eq!(ids(&registry, "order.placed"), []);
    }

    #[test]
    fn names_from_the_network_do_not_pile_up() {
        let registry = Registry::default();
        let every = add_pattern(&registry, "**", Position::Last);
        for i in 0..3 * REMEMBERED {
            assert_eq!(ids(&registry, &format!("key {i}")), [every]);
        }
        let inner = registry.read();
        let remembered = inner.remembered.lock().unwrap();
        assert!(!remembered.is_empty() && remembered.len() <= REMEMBERED);
    }

    #[test]
    fn a_crowd_is_told_once() {
        let registry = Registry::default();
        let crowd = |max| {
            let topic = Topic::Key("x".into());
            let (identity, sink) = inert(&topic);
            registry
                .insert(topic, Position::Last, identity, sink, max)
                .1
        };
        assert_eq!(crowd(2), None);
        assert_eq!(crowd(2), None);
        assert_eq!(crowd(0), None);
        assert_eq!(crowd(2), Some(4));
        assert_eq!(crowd(2), None);
    }
}
