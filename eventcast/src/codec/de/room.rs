//! Room on the stack for values that serde decodes out of a buffer of its own.
//!
//! Where a type is `untagged`, has a tag inside, or is flattened, serde first reads the whole value
//! into a buffer, and makes the type out of that afterwards. How large those values are, and how
//! many are nested, cannot be seen from here; how deep the buffer is, can be. A deeper one than
//! usual is decoded again on a thread whose stack has room for the largest values on every level,
//! so that no sender can overflow the stack of a receiving thread.
//!
//! The same holds for everything that takes more than a little of a stack of unknown size.

use std::{any::type_name, cell::Cell, panic, thread};

use super::super::{DecodeError, DecodeErrorKind};

/// How many documents and arrays within one another are decoded where they came: even the largest
/// values fit there.
const MAX_LEVELS: u8 = 3;

/// The limit in bytes on the bus's own threads, and on those that deliver for it: none.
pub(super) const ANYWHERE: u32 = u32::MAX;

/// The limit in bytes where the program itself calls: how large its stack is, and how much of that
/// is in use, is unknown.
pub(super) const INLINE: u32 = 128 << 10;

/// The stack of the thread on which deep values are decoded: twice as much as
/// [`MAX_DEPTH`](super::super::MAX_DEPTH) of the largest values take. Pages that are not used cost
/// nothing.
const STACK_SIZE: usize = 64 << 20;

#[derive(Clone, Copy, PartialEq)]
enum Room {
    /// The size of such a value has no bound.
    Unbounded,
    Bounded,
    /// Something was refused that needs more.
    Exceeded,
}

thread_local! {
    /// Without a destructor, so it can be read for as long as the thread exists.
    static ROOM: Cell<Room> = const { Cell::new(Room::Unbounded) };
    /// How much of this thread's stack may be taken.
    static STACK: Cell<u32> = const { Cell::new(ANYWHERE) };
}

/// Sets the limits of this thread, and restores the former ones when it is dropped.
struct Bound {
    before: Room,
    stack: u32,
}

impl Bound {
    fn begin(stack: u32) -> Self {
        Self {
            before: ROOM.replace(Room::Bounded),
            stack: STACK.replace(stack),
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        ROOM.set(self.before);
        STACK.set(self.stack);
    }
}

/// Whether `T` is the buffer in which serde holds a value whose type it has yet to choose.
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
        return Err(exceeded());
    }
    Ok(levels.saturating_add(1))
}

/// How much of this thread's stack a value may take.
#[inline]
pub(super) fn inline() -> u32 {
    STACK.get()
}

/// Notes that this thread's stack is too small, and returns the error that ends the attempt.
#[cold]
pub(super) fn exceeded() -> DecodeError {
    ROOM.set(Room::Exceeded);
    DecodeError::new(DecodeErrorKind::TooMuchStack)
}

/// Decodes here, or, where that needs more room than there is or takes more than `stack`, on a
/// thread of its own.
#[inline]
pub(super) fn with_room<T: Send>(
    stack: u32,
    decode: impl Fn() -> Result<T, DecodeError> + Sync,
) -> Result<T, DecodeError> {
    let bound = Bound::begin(stack);
    let outcome = decode();
    let room = ROOM.get();
    drop(bound);
    if room == Room::Exceeded {
        // An `Ok` is dropped, too: a type may have ignored the error and gone on.
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
    use bson::{Bson, doc};
    use serde::Deserialize;

    use super::*;
    use crate::{
        args,
        codec::{Args, RawArgs, decode_event_with_room, encode_event},
        event::ShapeKind,
    };

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

    #[derive(Deserialize)]
    struct Large {
        here: Here,
        #[expect(dead_code, reason = "it takes room")]
        pads: [[u64; 32]; 32],
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
    fn what_takes_little_of_a_stack_is_decoded_where_it_is() {
        IS_HERE.set(true);
        let decode = |levels: usize| {
            let mut value = Bson::Int32(7);
            for _ in 0..levels {
                value = Bson::Array(vec![value]);
            }
            Args::from(vec![value])
        };
        let (Here(shallow),) = decode(0).decode::<(Here,)>().unwrap();
        let ([[[Here(deeper)]]],) = decode(3).decode::<([[[Here; 1]; 1]; 1],)>().unwrap();
        assert!(shallow && deeper);
        // Of what is large it takes a dozen copies.
        let row = vec![Bson::Int32(7); 32];
        let large = doc! { "here": 7, "pads": vec![row; 32] };
        let (large,) = args![large].decode::<(Large,)>().unwrap();
        assert!(!large.here.0);
        assert!(STACK.get() == ANYWHERE);
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
