//! Random numbers from the system, for seeds, ids and ports.

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
