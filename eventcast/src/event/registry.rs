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
/// A programmer's mistake: rename one of them with `#[net_event(name = "…")]`. Declarations differ
/// by their kind, the names of their fields and variants, and the types of these; an alias or a
/// path is the type that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyConflict {
    /// The key that both claim.
    pub key: &'static str,
    /// The type that used it first in this process; it keeps it.
    pub first: KeyClaim,
    /// The type that was refused.
    pub second: KeyClaim,
    /// The declarations of both as they are spelled, as [`Shape::text`] has it.
    pub declarations: Box<[&'static str; 2]>,
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

/// The parts of a declaration, whatever its layout in the source. The derive writes it.
#[derive(PartialEq, Eq)]
pub struct Fields {
    /// The kind, and the names of fields and variants.
    pub names: &'static str,
    /// The types of the fields, in order.
    pub types: Vec<TypeId>,
}

impl fmt::Display for KeyConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = *self.declarations;
        write!(
            f,
            "two types use the event key `{}` and differ: {}, which is `{first}`, and {}, which is `{second}`; \
             make the declarations the same, or rename one of the types with `#[net_event(name = \"…\")]`",
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

/// Claims the key for the type, unless another type of another shape has claimed it. Call it before
/// each use: the first claim is kept with its place, later calls only compare.
///
/// # Errors
///
/// Another type whose shape differs has the key. Nothing was changed.
pub(crate) fn claim(
    key: &'static str,
    type_id: TypeId,
    type_name: &'static str,
    shape: Shape,
    fields: fn() -> Option<Fields>,
    location: &'static Location<'static>,
) -> Result<(), KeyConflict> {
    static REGISTRY: RwLock<Option<Registry>> = RwLock::new(None);

    let claimant = Entry {
        type_id,
        shape,
        fields,
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
    fields: fn() -> Option<Fields>,
    claim: KeyClaim,
}

impl Entry {
    /// Whether the declarations are the same but for how they are spelled.
    fn is_like(&self, other: &Self) -> bool {
        self.shape == other.shape
            || self.shape.kind == other.shape.kind
                && (self.fields)().is_some_and(|mine| Some(mine) == (other.fields)())
    }
}

impl Registry {
    /// `None`: the key is not claimed yet.
    fn look(&self, key: &'static str, claimant: &Entry) -> Option<Result<(), KeyConflict>> {
        let holder = self.first.get(key)?;
        if holder.type_id == claimant.type_id || holder.is_like(claimant) {
            return Some(Ok(()));
        }
        Some(Err(KeyConflict {
            key,
            first: holder.claim,
            second: claimant.claim,
            declarations: Box::new([holder.shape.text, claimant.shape.text]),
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
            fields: || None,
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
    fn what_a_declaration_is_counts_and_not_how_it_is_spelled() {
        let of = |text, fields| {
            let mut entry = entry::<A>("a::X", text);
            entry.fields = fields;
            entry
        };
        let bytes: fn() -> Option<Fields> = || {
            Some(Fields {
                names: "newtype",
                types: vec![TypeId::of::<Vec<u8>>()],
            })
        };
        let words: fn() -> Option<Fields> = || {
            Some(Fields {
                names: "newtype",
                types: vec![TypeId::of::<Vec<u16>>()],
            })
        };
        assert!(of("newtype(Vec<u8>)", bytes).is_like(&of("newtype(std::vec::Vec<u8>)", bytes)));
        assert!(!of("newtype(Vec<u8>)", bytes).is_like(&of("newtype(Words)", words)));
        // A shape that was written by hand has no field types to compare.
        assert!(!of("newtype(Vec<u8>)", bytes).is_like(&of("newtype(Bytes)", || None)));
        assert!(!of("newtype(A)", || None).is_like(&of("newtype(B)", || None)));
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
                || None,
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
        assert!(text.contains("which is `newtype(u8)`, and "), "{text}");
        assert!(text.contains("which is `unit`; "), "{text}");
        assert!(text.ends_with("or rename one of the types with `#[net_event(name = \"…\")]`"));
    }
}
