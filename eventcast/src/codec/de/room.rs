//! Room on the stack for what serde decodes out of a buffer of its own.
//!
//! Where a type is `untagged`, has a tag inside, or is flattened, serde first takes in all that came, and makes the
//! type out of that afterwards. How large those values are, and how many are under way within one another, cannot be
//! seen from here; how deep the buffer is, can be. What is deeper than usual is decoded anew on a thread whose stack
//! has room for the largest values on every level, so that no sender can end the thread that receives.

use std::{any::type_name, cell::Cell, panic, thread};

use super::super::{DecodeError, DecodeErrorKind};

/// How many documents and arrays within one another are decoded where they came: even the largest values fit there.
const MAX_LEVELS: u8 = 3;

/// Twice as much as [`MAX_DEPTH`](super::super::MAX_DEPTH) of the largest values take. What is not used costs nothing.
const STACK_SIZE: usize = 64 << 20;

#[derive(Clone, Copy, PartialEq)]
enum Room {
    /// Nobody bounds it.
    Unbounded,
    Bounded,
    /// Something was refused that needs more.
    Exceeded,
}

thread_local! {
    /// Without a destructor, so it can be read for as long as the thread exists.
    static ROOM: Cell<Room> = const { Cell::new(Room::Unbounded) };
}

/// Sets what there is on this thread until this is dropped.
struct Bound {
    before: Room,
}

impl Bound {
    fn begin() -> Self {
        Self {
            before: ROOM.replace(Room::Bounded),
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        ROOM.set(self.before);
    }
}

/// Whether a `T` is serde's buffer for what is yet to become a value of its type.
#[inline]
pub(super) fn is_buffer<T>() -> bool {
    let name = type_name::<T>();
    // Newer compilers write its lifetime as well.
    let name = name.strip_suffix("<'_>").unwrap_or(name);
    name.ends_with("::Content") && name.starts_with("serde")
}

/// One level deeper in a buffer that is `levels` deep.
#[inline]
pub(super) fn one_deeper(levels: u8) -> Result<u8, DecodeError> {
    if levels >= MAX_LEVELS && ROOM.get() != Room::Unbounded {
        ROOM.set(Room::Exceeded);
        return Err(DecodeError::new(DecodeErrorKind::TooMuchStack));
    }
    Ok(levels.saturating_add(1))
}

/// Decodes here, or, where that needs more room than there is, on a thread of its own.
#[inline]
pub(super) fn with_room<T: Send>(
    decode: impl Fn() -> Result<T, DecodeError> + Sync,
) -> Result<T, DecodeError> {
    let bound = Bound::begin();
    let outcome = decode();
    let room = ROOM.get();
    drop(bound);
    if room == Room::Exceeded {
        // Whatever came of it: a type may have gone on after the refusal.
        drop(outcome);
        return on_a_large_stack(decode);
    }
    outcome
}

#[cold]
fn on_a_large_stack<T: Send>(
    decode: impl Fn() -> Result<T, DecodeError> + Sync,
) -> Result<T, DecodeError> {
    let large = thread::Builder::new()
        .name("eventcast-decode".into())
        .stack_size(STACK_SIZE);
    thread::scope(|scope| match large.spawn_scoped(scope, &decode) {
        Ok(decoding) => decoding
            .join()
            .unwrap_or_else(|payload| panic::resume_unwind(payload)),
        Err(_) => Err(DecodeError::new(DecodeErrorKind::TooMuchStack)),
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::codec::{RawArgs, decode_event_with_room, encode_event};
    use crate::event::ShapeKind;

    thread_local! {
        static IS_HERE: Cell<bool> = const { Cell::new(false) };
    }

    /// Whether it was decoded on the thread of the test.
    struct Here(bool);

    impl<'de> Deserialize<'de> for Here {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            u8::deserialize(deserializer).map(|_| Self(IS_HERE.get()))
        }
    }

    fn is_here<T: serde::de::DeserializeOwned + Send>(
        value: &impl serde::Serialize,
        here: impl Fn(T) -> Here,
    ) -> bool {
        IS_HERE.set(true);
        let mut bytes = Vec::new();
        encode_event(value, ShapeKind::Newtype, &mut bytes).unwrap();
        let args = RawArgs::from_payload(&bytes).unwrap();
        here(decode_event_with_room(args, ShapeKind::Newtype).unwrap()).0
    }

    #[test]
    fn deep_buffers_alone_are_decoded_elsewhere() {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Shallow {
            Only([[[Here; 1]; 1]; 1]),
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Deep {
            Only([[[[Here; 1]; 1]; 1]; 1]),
        }
        assert!(is_here(&[[[7]]], |Shallow::Only([[[here]]])| here));
        assert!(!is_here(&[[[[7]]]], |Deep::Only([[[[here]]]])| here));
        // Without a buffer everything is seen.
        assert!(is_here(
            &[[[[7]]]],
            |[[[[here]]]]: [[[[Here; 1]; 1]; 1]; 1]| here
        ));
        assert!(ROOM.get() == Room::Unbounded);
    }
}
