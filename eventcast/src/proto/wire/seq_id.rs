//! `seqId`: what names a message.

use std::fmt;

use rand::{Rng, rngs::StdRng};

use super::MAX_ID;

/// What names a message: 20 random bytes, on the wire 40 hex digits. Shared by all chunks of a chunked message.
///
/// A peer of another make may put other text there; then these are its first 20 bytes, and zeros for what it lacks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MessageId(pub [u8; 20]);

impl MessageId {
    pub(in crate::proto) fn random(rng: &mut StdRng) -> Self {
        let mut bytes = [0; 20];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The digits that travel.
    pub(in crate::proto) fn text(self) -> SeqIdText {
        let mut text = [0; 40];
        for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *pair = HEX_PAIRS[usize::from(byte)];
        }
        text
    }

    /// Reads 40 hex digits.
    pub(in crate::proto) fn from_digits(digits: &SeqIdText) -> Option<Self> {
        let mut bytes = [0; 20];
        let mut bad = 0;
        for (byte, [high, low]) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
            let (high, low) = (
                HEX_VALUES[usize::from(*high)],
                HEX_VALUES[usize::from(*low)],
            );
            bad |= high | low;
            *byte = high << 4 | low & 0x0f;
        }
        (bad & 0x80 == 0).then_some(Self(bytes))
    }

    /// Makes the best of any text.
    pub(in crate::proto) fn from_text(text: &str) -> Self {
        if let Some(id) = text.as_bytes().try_into().ok().and_then(Self::from_digits) {
            return id;
        }
        let mut bytes = [0; 20];
        let taken = text.len().min(20);
        bytes[..taken].copy_from_slice(&text.as_bytes()[..taken]);
        Self(bytes)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.text()).expect("hex digits are ASCII"))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// The digits of a `seqId` as eventcast writes it.
pub(in crate::proto) type SeqIdText = [u8; 40];

/// A `seqId` exactly as its sender wrote it, at most 64 bytes, held in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::proto) struct SeqId {
    len: u8,
    bytes: [u8; MAX_ID],
}

impl SeqId {
    /// Takes a text that the wire layer has let through, at most [`MAX_ID`] bytes.
    pub(in crate::proto) fn new(text: &str) -> Self {
        debug_assert!(text.len() <= MAX_ID);
        let taken = text.len().min(MAX_ID);
        let mut bytes = [0; MAX_ID];
        bytes[..taken].copy_from_slice(&text.as_bytes()[..taken]);
        Self {
            len: taken as u8,
            bytes,
        }
    }

    pub(in crate::proto) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The two digits of each byte.
const HEX_PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [HEX_DIGITS[byte >> 4], HEX_DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

/// The value of each digit, in either case; 0x80 for what is none.
const HEX_VALUES: [u8; 256] = {
    let mut values = [0x80; 256];
    let mut value = 0;
    while value < 16 {
        let digit = HEX_DIGITS[value];
        values[digit as usize] = value as u8;
        values[digit.to_ascii_uppercase() as usize] = value as u8;
        value += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn digits_there_and_back() {
        let mut rng = StdRng::from_seed([7; 32]);
        for _ in 0..100 {
            let id = MessageId::random(&mut rng);
            assert_eq!(MessageId::from_digits(&id.text()), Some(id));
            assert_eq!(id.to_string().as_bytes(), id.text());
            assert_eq!(MessageId::from_text(&id.to_string().to_uppercase()), id);
        }
    }

    #[test]
    fn what_is_no_hex_is_shown_as_it_is() {
        for position in 0..40 {
            let mut digits = [b'a'; 40];
            digits[position] = b'g';
            assert_eq!(MessageId::from_digits(&digits), None);
        }
        assert_eq!(
            MessageId::from_text("short").0,
            *b"short\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        );
        assert_eq!(
            MessageId::from_text(&"é".repeat(32)).0,
            *"é".repeat(10).as_bytes()
        );
    }

    #[test]
    fn texts_are_kept_apart() {
        assert_ne!(SeqId::new("a"), SeqId::new("a\0"));
        assert_eq!(SeqId::new(&"x".repeat(64)).as_bytes(), [b'x'; 64]);
    }
}
