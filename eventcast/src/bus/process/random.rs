//! Random numbers from the system, for seeds, ids, ports and initialisation vectors.

use rand::{TryRng, rngs::SysRng};

use crate::error::Error;

/// As many random bytes as asked for, none of them predictable.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| Error::NoRandomness(error.to_string()))?;
    Ok(bytes)
}

/// A random number.
pub(crate) fn random_u64() -> Result<u64, Error> {
    random().map(u64::from_ne_bytes)
}

/// Fills the bytes with random ones, none of them predictable.
///
/// # Panics
///
/// If the system has no random numbers any more, although it had when the bus started: without them nothing may be
/// sent.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    SysRng
        .try_fill_bytes(bytes)
        .expect("the system gives random numbers as it did before");
}
