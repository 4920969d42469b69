//! Random numbers from the system, for seeds, ids, ports and initialisation vectors.

use rand::{TryRng, rngs::SysRng};

use crate::error::Error;

/// `N` unpredictable random bytes.
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

/// Fills the bytes with unpredictable random ones.
///
/// # Panics
///
/// If the system returns no random numbers any more, although it did when the bus started: without
/// them the bus must not send.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    SysRng
        .try_fill_bytes(bytes)
        .expect("the system still returns random numbers");
}
