//! Which type has claimed which key, for the whole process.
//!
//! Two types under one key would feed each other values that do not fit, and only their listeners
//! would notice. So the first type to use a key holds it, and another one with another shape is
//! refused, with any bus. The table holds one entry for each key in use, so it is bounded by the
//! program's own event types; it never forgets.

use std::{
    any::TypeId,
    collections::HashMap,
    fmt,
    panic::Location,
    sync::{PoisonError, RwLock},
};

use super::Shape;

/// Two types of this process claim one event key, and their declarations differ.
///
/// A programmer's mistake: rename one of them with `#[net_event(name = "…")]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyConflict {
    /// The key that both claim.
    pub key: &'static str,
    /// The type that used it first in this process; it keeps it.
    pub first: KeyClaim,
    /// The type that was refused.
    pub second: KeyClaim,
}

/// A type that uses a key, and where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyClaim {
    /// The type's full path, as [`std::any::type_name`] writes it.
    pub type_name: &'static str,
    /// Where the type was first used with a bus or, of a refused one, where it was refused.
    pub location: &'static Location<'static>,
}

impl fmt::Display for KeyConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "two types use the event key `{}` and differ: {}, and {}; \
             rename one of them with `#[net_event(name = \"…\")]`",
            self.key, self.first, self.second
        )
    }
}

impl fmt::Display for KeyClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (used at {})", self.type_name, self.location)
    }
}

impl std::error::Error for KeyConflict {}

/// Lets the type use its key, if no other one of another shape has done so before. To be asked
/// before each use: the first claim of a key is kept with its place, later ones only look.
///
/// # Errors
///
/// The key is held by another type whose shape differs. Nothing was changed.
pub(crate) fn claim(
    key: &'static str,
    type_id: TypeId,
    type_name: &'static str,
    shape: Shape,
    location: &'static Location<'static>,
) -> Result<(), KeyConflict> {
    static REGISTRY: RwLock<Option<Registry>> = RwLock::new(None);

    let claimant = Entry {
        type_id,
        shape,
        claim: KeyClaim {
            type_name,
            location,
        },
    };
    // Nothing panics while the table is half written, so a poisoned lock still guards a whole one.
    let known = REGISTRY.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(verdict) = known.as_ref().and_then(|r| r.look(key, &claimant)) {
        return verdict;
    }
    drop(known);
    REGISTRY
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_default()
        .claim(key, claimant)
}

/// The table, apart from the one that the process shares, so that tests have their own.
#[derive(Default)]
struct Registry {
    first: HashMap<&'static str, Entry>,
}

struct Entry {
    type_id: TypeId,
    shape: Shape,
    claim: KeyClaim,
}

impl Registry {
    /// `None`: nobody has claimed the key yet.
    fn look(&self, key: &'static str, claimant: &Entry) -> Option<Result<(), KeyConflict>> {
        let holder = self.first.get(key)?;
        if holder.type_id == claimant.type_id || holder.shape == claimant.shape {
            return Some(Ok(()));
        }
        Some(Err(KeyConflict {
            key,
            first: holder.claim,
            second: claimant.claim,
        }))
    }

    fn claim(&mut self, key: &'static str, claimant: Entry) -> Result<(), KeyConflict> {
        // Another thread may have claimed the key since it was looked up.
        if let Some(verdict) = self.look(key, &claimant) {
            return verdict;
        }
        self.first.insert(key, claimant);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ShapeKind;

    struct A;
    struct B;

    #[track_caller]
    fn entry<T: 'static>(type_name: &'static str, text: &'static str) -> Entry {
        Entry {
            type_id: TypeId::of::<T>(),
            shape: Shape::new(ShapeKind::Newtype, text),
            claim: KeyClaim {
                type_name,
                location: Location::caller(),
            },
        }
    }

    #[test]
    fn the_first_claim_of_a_key_is_kept_with_its_place() {
        let mut registry = Registry::default();
        let first = entry::<A>("a::X", "newtype(u8)");
        let place = first.claim.location;
        assert_eq!(registry.claim("X", first), Ok(()));
        assert_eq!(
            registry.claim("X", entry::<A>("a::X", "newtype(u8)")),
            Ok(())
        );

        let refused = entry::<B>("b::X", "newtype(u16)");
        let refused_at = refused.claim.location;
        let conflict = registry.claim("X", refused).unwrap_err();
        assert_eq!(conflict.key, "X");
        assert_eq!(conflict.first.type_name, "a::X");
        assert_eq!(conflict.first.location, place);
        assert_eq!(conflict.second.type_name, "b::X");
        assert_eq!(conflict.second.location, refused_at);

        // It is refused again and again, and the holder goes on.
        assert!(
            registry
                .claim("X", entry::<B>("b::X", "newtype(u16)"))
                .is_err()
        );
        assert_eq!(
            registry.claim("X", entry::<A>("a::X", "newtype(u8)")),
            Ok(())
        );
        assert_eq!(registry.first.len(), 1);
    }

    #[test]
    fn equal_shapes_and_other_keys_are_no_conflict() {
        let mut registry = Registry::default();
        assert_eq!(
            registry.claim("X", entry::<A>("a::X", "newtype(u8)")),
            Ok(())
        );
        assert_eq!(
            registry.claim("X", entry::<B>("b::X", "newtype(u8)")),
            Ok(())
        );
        assert_eq!(
            registry.claim("Y", entry::<B>("b::Y", "newtype(u16)")),
            Ok(())
        );
    }

    #[test]
    fn the_kind_alone_makes_a_difference() {
        let mut registry = Registry::default();
        assert_eq!(registry.claim("X", entry::<A>("a::X", "same")), Ok(()));
        let mut other = entry::<B>("b::X", "same");
        other.shape.kind = ShapeKind::Named;
        assert!(registry.claim("X", other).is_err());
    }

    #[test]
    fn the_process_shares_one_table() {
        let ask = |id, shape| {
            let shape = Shape::new(ShapeKind::Unit, shape);
            claim(
                "registry::tests::shared",
                id,
                "T",
                shape,
                Location::caller(),
            )
        };
        assert_eq!(ask(TypeId::of::<A>(), "unit"), Ok(()));
        let refused = std::thread::spawn(move || ask(TypeId::of::<B>(), "newtype(u8)"));
        assert!(refused.join().unwrap().is_err());
    }

    #[test]
    fn the_message_names_both_and_the_remedy() {
        let mut registry = Registry::default();
        registry
            .claim("X", entry::<A>("a::X", "newtype(u8)"))
            .unwrap();
        let conflict = registry.claim("X", entry::<B>("b::X", "unit")).unwrap_err();
        let text = conflict.to_string();
        assert!(text.starts_with("two types use the event key `X` and differ: `a::X` (used at "));
        assert!(text.contains("registry.rs:"), "{text}");
        assert!(text.contains("`b::X` (used at "), "{text}");
        assert!(text.ends_with("rename one of them with `#[net_event(name = \"…\")]`"));
    }
}
