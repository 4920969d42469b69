//! The rules that an event key obeys, checked at run time and in constants alike.
//!
//! The derive checks a key that stands in the source by itself, at its token, against the same
//! rules; what is joined from the names of parameters is checked here while compiling.

use std::fmt;

/// The longest event key, in bytes. A datagram with a longer one is malformed.
pub const MAX_KEY_LEN: usize = 1024;

/// Keys that start so are the protocol's own.
const RESERVED_PREFIX: &[u8] = b"__ec_";

/// Why a text cannot be an event key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidKey {
    /// It has no characters.
    Empty,
    /// It is longer than [`MAX_KEY_LEN`].
    #[non_exhaustive]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// It holds a control character (U+0000 to U+001F, U+007F to U+009F).
    #[non_exhaustive]
    Control {
        /// The byte at which the first one starts.
        at: usize,
    },
    /// It starts with `__ec_`, as the protocol's own events do.
    Reserved,
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => f.write_str("an event key must have at least one character"),
            Self::TooLong { len } => write!(
                f,
                "an event key may have at most {MAX_KEY_LEN} bytes, this one has {len}"
            ),
            Self::Control { at } => write!(
                f,
                "an event key must not hold control characters, there is one at byte {at}"
            ),
            Self::Reserved => f.write_str(
                "event keys that start with `__ec_` are the protocol's own, choose another",
            ),
        }
    }
}

impl std::error::Error for InvalidKey {}

/// Whether `key` can be the key of an event: 1 to [`MAX_KEY_LEN`] bytes, no control characters, not
/// starting with `__ec_`.
///
/// # Errors
///
/// The first rule that it breaks, in the order of length, characters, prefix.
pub(crate) const fn check_key(key: &str) -> Result<(), InvalidKey> {
    let bytes = key.as_bytes();
    if bytes.is_empty() {
        return Err(InvalidKey::Empty);
    }
    if bytes.len() > MAX_KEY_LEN {
        return Err(InvalidKey::TooLong { len: bytes.len() });
    }
    let mut at = 0;
    while at < bytes.len() {
        let control = match bytes[at] {
            0x00..=0x1f | 0x7f => true,
            // U+0080 to U+009F, the control characters of two bytes.
            0xc2 => matches!(bytes[at + 1], 0x80..=0x9f),
            _ => false,
        };
        if control {
            return Err(InvalidKey::Control { at });
        }
        at += 1;
    }
    if starts_with(bytes, RESERVED_PREFIX) {
        return Err(InvalidKey::Reserved);
    }
    Ok(())
}

/// `key`, or a compile error where the derive joined one that is invalid. For constants alone: the
/// compiler shows the panic.
#[track_caller]
pub const fn checked_key(key: &'static str) -> &'static str {
    match check_key(key) {
        Ok(()) => key,
        Err(InvalidKey::Empty) => panic!(
            "the key of this generic event is empty: its parameters have empty names; \
             write more into `#[net_event(name = \"…\")]`"
        ),
        Err(InvalidKey::TooLong { .. }) => panic!("{}", TOO_LONG),
        Err(InvalidKey::Control { .. }) => panic!(
            "the key of this generic event holds a control character, \
             from a `TypeName::NAME` that was written by hand: take it out there"
        ),
        Err(InvalidKey::Reserved) => panic!(
            "the key of this generic event starts with `__ec_`, which is the protocol's own: \
             choose another with `#[net_event(name = \"…\")]`"
        ),
    }
}

/// The message for a key or name that is too long, here and where names are joined.
pub(super) const TOO_LONG: &str = "the key of a generic event, or the name of a type in it, is longer than 1024 bytes: \
     give the event or that type a shorter one with `#[net_event(name = \"…\")]`";

const fn starts_with(bytes: &[u8], prefix: &[u8]) -> bool {
    if bytes.len() < prefix.len() {
        return false;
    }
    let mut at = 0;
    while at < prefix.len() {
        if bytes[at] != prefix[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_of_length() {
        assert_eq!(check_key(""), Err(InvalidKey::Empty));
        assert_eq!(check_key("x"), Ok(()));
        assert_eq!(check_key(&"x".repeat(MAX_KEY_LEN)), Ok(()));
        assert_eq!(
            check_key(&"x".repeat(MAX_KEY_LEN + 1)),
            Err(InvalidKey::TooLong { len: 1025 })
        );
        // Bytes are counted, not characters.
        assert_eq!(
            check_key(&"é".repeat(513)),
            Err(InvalidKey::TooLong { len: 1026 })
        );
    }

    /// Every character of the first planes against the standard library's own table.
    #[test]
    fn control_characters_are_those_of_unicode() {
        for c in (0..0x3000).filter_map(char::from_u32) {
            let expected = match c.is_control() {
                true => Err(InvalidKey::Control { at: 1 }),
                false => Ok(()),
            };
            assert_eq!(check_key(&format!("a{c}")), expected, "{c:?}");
        }
    }

    #[test]
    fn only_the_prefix_is_reserved() {
        assert_eq!(check_key("__ec_"), Err(InvalidKey::Reserved));
        assert_eq!(check_key("__ec_hello"), Err(InvalidKey::Reserved));
        assert_eq!(check_key("__ec"), Ok(()));
        assert_eq!(check_key("a__ec_"), Ok(()));
        assert_eq!(check_key("__EC_x"), Ok(()));
    }

    #[test]
    fn the_text_for_compile_errors_names_the_limit() {
        assert!(TOO_LONG.contains(&MAX_KEY_LEN.to_string()));
    }

    #[test]
    fn reasons_read_as_sentences() {
        let reason = check_key("a\u{7f}").unwrap_err().to_string();
        assert_eq!(
            reason,
            "an event key must not hold control characters, there is one at byte 1"
        );
    }
}
