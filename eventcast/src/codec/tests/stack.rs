//! What decoding takes of a thread's stack.

use serde::{Deserialize, Serialize};

use super::*;
use crate::event::MAX_SIZE;

type Kilobyte = [[u8; 32]; 32];

const PAD: Kilobyte = [[7; 32]; 32];

#[derive(Serialize, Deserialize, PartialEq, Debug)]
struct Largest {
    pads: [Kilobyte; 32],
}

const _: () = assert!(size_of::<Largest>() == MAX_SIZE);

#[derive(Serialize, Deserialize)]
struct Node<P> {
    pad: P,
    next: Option<Box<Self>>,
}

#[derive(Serialize, Deserialize)]
enum Choice {
    Named { pads: [Kilobyte; 16] },
    Newtype(Option<[Kilobyte; 16]>),
}

fn chain<P: Copy>(pad: P, length: usize) -> Option<Box<Node<P>>> {
    let mut next = None;
    for _ in 0..length {
        next = Some(Box::new(Node { pad, next }));
    }
    next
}

/// Decodes on as small a stack as what is left of that of a tokio worker. Encoding has all it wants.
fn on_a_small_stack<T>(make: impl FnOnce() -> T + Send + 'static) -> Result<(), DecodeErrorKind>
where
    T: Serialize + DeserializeOwned + 'static,
{
    let large = std::thread::Builder::new().stack_size(64 << 20);
    let bytes = large.spawn(move || encoded(&make(), ShapeKind::Named));
    let bytes = bytes.unwrap().join().unwrap();
    let small = std::thread::Builder::new().stack_size(3 << 19);
    let done = small.spawn(move || decoded::<T>(&bytes, ShapeKind::Named).map(drop));
    done.unwrap()
        .join()
        .unwrap()
        .map_err(|error| error.kind().clone())
}

#[test]
fn the_largest_value_fits_a_small_stack() {
    assert_eq!(on_a_small_stack(|| Largest { pads: [PAD; 32] }), Ok(()));
    for choice in [true, false] {
        let make = move || match choice {
            true => vec![Choice::Named { pads: [PAD; 16] }],
            false => vec![Choice::Newtype(Some([PAD; 16])), Choice::Newtype(None)],
        };
        assert_eq!(on_a_small_stack(make), Ok(()));
    }
}

#[test]
fn large_values_within_one_another_are_refused_before_the_stack_ends() {
    let deep = |length| on_a_small_stack(move || chain(PAD, length));
    assert_eq!(deep(10), Ok(()));
    for length in [40, 50, 58] {
        let outcome = deep(length);
        assert!(
            matches!(outcome, Ok(()) | Err(DecodeErrorKind::TooMuchStack)),
            "{outcome:?}"
        );
    }
    let deep = |length| on_a_small_stack(move || chain([PAD; 16], length));
    assert_eq!(deep(2), Ok(()));
    for length in [8, 58] {
        assert_eq!(deep(length), Err(DecodeErrorKind::TooMuchStack));
    }
}

#[test]
fn small_values_may_be_as_deep_as_ever() {
    let outcome = on_a_small_stack(|| chain(7_u8, 58));
    assert_eq!(outcome, Ok(()));
}
