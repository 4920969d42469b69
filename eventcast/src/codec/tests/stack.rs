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

/// Decodes on as small a stack as what is left of that of a tokio worker. Encoding has all it
/// wants.
fn on_a_small_stack<T>(make: impl FnOnce() -> T + Send + 'static) -> Result<(), DecodeErrorKind>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    let large = std::thread::Builder::new().stack_size(64 << 20);
    let bytes = large.spawn(move || encoded(&make(), ShapeKind::Named));
    let bytes = bytes.unwrap().join().unwrap();
    let small = std::thread::Builder::new().stack_size(3 << 19);
    let done = small.spawn(move || {
        let args = RawArgs::from_payload(&bytes).unwrap();
        decode_event_with_room::<T>(args, ShapeKind::Named).map(drop)
    });
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

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Link {
        pad: [Kilobyte; 16],
        next: Option<Box<Self>>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "t")]
enum Tagged {
    Link {
        pad: [Kilobyte; 16],
        next: Option<Box<Self>>,
    },
}

#[derive(Serialize, Deserialize)]
struct Flat {
    before: u8,
    #[serde(flatten)]
    inner: FlatInner,
}

#[derive(Serialize, Deserialize)]
struct FlatInner {
    pad: [Kilobyte; 16],
    next: Option<Box<Flat>>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ManyLarge {
    Many(Vec<[[Kilobyte; 32]; 8]>),
}

/// `length` of what `link` makes, each around the next.
fn links<T>(length: usize, link: impl Fn(Option<Box<T>>) -> T) -> Option<Box<T>> {
    (0..length).fold(None, |next, _| Some(Box::new(link(next))))
}

/// What is made out of a buffer of serde's is not seen by the deserializer.
#[test]
fn large_values_in_buffers_of_serde_are_decoded_where_they_fit() {
    const PADS: [Kilobyte; 16] = [PAD; 16];
    for length in [1, 2, 8, 58] {
        let untagged = move || links(length, |next| Untagged::Link { pad: PADS, next });
        assert_eq!(on_a_small_stack(untagged), Ok(()), "{length}");
        let tagged = move || links(length, |next| Tagged::Link { pad: PADS, next });
        assert_eq!(on_a_small_stack(tagged), Ok(()), "{length}");
        let flat = move || {
            links(length, |next| {
                let inner = FlatInner { pad: PADS, next };
                Flat { before: 1, inner }
            })
        };
        assert_eq!(on_a_small_stack(flat), Ok(()), "{length}");
    }
    let many = || ManyLarge::Many(vec![[[PAD; 32]; 8]; 2]);
    assert_eq!(on_a_small_stack(many), Ok(()));
}

#[test]
fn a_panic_on_the_large_stack_reaches_the_caller() {
    #[derive(Serialize, Debug)]
    struct Bomb(u8);
    impl<'de> Deserialize<'de> for Bomb {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            panic!("a bomb, which a test expects");
        }
    }
    #[derive(Serialize, Deserialize, Debug)]
    #[serde(untagged)]
    enum Holds {
        Bombs(Vec<Vec<Vec<Vec<Vec<Bomb>>>>>),
    }
    let bytes = encoded(
        &Holds::Bombs(vec![vec![vec![vec![vec![Bomb(1)]]]]]),
        ShapeKind::Enum,
    );
    let panicked = std::panic::catch_unwind(|| {
        let args = RawArgs::from_payload(&bytes).unwrap();
        decode_event_with_room::<Holds>(args, ShapeKind::Enum)
    });
    assert!(panicked.is_err());
}

/// Of `Args`, in a thread of the program's with as small a stack as this.
fn of_args<T>(
    stack: usize,
    make: impl FnOnce() -> T + Send + 'static,
) -> Result<(), DecodeErrorKind>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    let large = std::thread::Builder::new().stack_size(64 << 20);
    let args = large.spawn(move || {
        let bytes = encoded(&make(), ShapeKind::Named);
        Args::from_raw(RawArgs::from_payload(&bytes).unwrap()).unwrap()
    });
    let args = args.unwrap().join().unwrap();
    let small = std::thread::Builder::new().stack_size(stack);
    let done = small.spawn(move || args.decode::<T>().map(|value| drop(Box::new(value))));
    done.unwrap()
        .join()
        .unwrap()
        .map_err(|error| error.kind().clone())
}

/// A listener calls it, on whichever thread, and after it has taken what it likes of the stack.
#[test]
fn arguments_are_decoded_where_they_fit_whatever_the_stack_of_the_caller() {
    const SMALL: usize = 512 << 10;
    const PADS: [Kilobyte; 16] = [PAD; 16];
    assert_eq!(of_args(SMALL, || Largest { pads: [PAD; 32] }), Ok(()));
    assert_eq!(of_args(SMALL, || chain(7_u8, 58)), Ok(()));
    assert_eq!(of_args(SMALL, || chain(PAD, 10)), Ok(()));
    assert_eq!(of_args(SMALL, || chain(PADS, 2)), Ok(()));
    // What no listener of the type could decode is refused here too.
    assert_eq!(
        of_args(SMALL, || chain(PADS, 58)),
        Err(DecodeErrorKind::TooMuchStack)
    );
    for length in [1, 8, 58] {
        let untagged = move || links(length, |next| Untagged::Link { pad: PADS, next });
        assert_eq!(of_args(SMALL, untagged), Ok(()), "{length}");
        let tagged = move || links(length, |next| Tagged::Link { pad: PADS, next });
        assert_eq!(of_args(SMALL, tagged), Ok(()), "{length}");
    }
}
