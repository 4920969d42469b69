//! How large an event may be where it stands, what it holds in a `Vec` or another collection not
//! counted.

/// The most bytes that a value of an event, or of anything inside of it, may take where it stands.
///
/// A value is made on the stack of the thread that decodes it, and without optimisation a dozen
/// copies of it are there at once. The smallest stack on which eventcast decodes is that of a tokio
/// worker, 2 MiB.
pub(crate) const MAX_SIZE: usize = 32 * 1024;

/// Refuses, at compile time, a type that is too large to be decoded on any thread's stack.
#[track_caller]
pub const fn must_be_small<T>() {
    assert!(
        size_of::<T>() <= MAX_SIZE,
        "this type takes more than 32 KiB where it stands, which would overflow the stack of a thread that receives \
         it: box it, that is, keep its large arrays in a `Vec<T>` or a `Box<[T]>`"
    );
}
