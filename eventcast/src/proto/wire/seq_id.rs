//! `seqId`: what names a message.

use std::fmt;

use rand::{Rng, rngs::StdRng};

use super::MAX_ID;

/// What names a message: 20 random bytes, on the wire 40 hex digits. Shared by all chunks of a
/// chunked message.
///
/// A peer of another make may put other text there; then these are its first 20 bytes, and zeros
/// for what it lacks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MessageId(pub [u8; 20]);

impl MessageId {
    pub(in crate::proto) fn random(rng: &mut StdRng) -> Self {
        let mut bytes = [0; 20];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The digits that travel.
    #[inline]
    pub(in crate::proto) fn text(self) -> SeqIdText {
        let mut text = [0; 40];
        for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        text
    }

    /// Reads 40 hex digits.
    #[inline]
    pub(in crate::proto) fn from_digits(digits: &SeqIdText) -> Option<Self> {
        let values = digits.map(value);
        let good = values.iter().fold(0, |all, value| all | value) < 16;
        let mut bytes = [0; 20];
        for (byte, [high, low]) in bytes.iter_mut().zip(values.as_chunks::<2>().0) {
            *byte = high << 4 | low & 15;
        }
        good.then_some(Self(bytes))
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
    pub(in crate::proto) fn new(text: &[u8]) -> Self {
        debug_assert!(text.len() <= MAX_ID);
        let taken = text.len().min(MAX_ID);
        let mut bytes = [0; MAX_ID];
        bytes[..taken].copy_from_slice(&text[..taken]);
        Self {
            len: taken as u8,
            bytes,
        }
    }

    pub(in crate::proto) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The lower-case digit of a value below 16. Without a table or a branch, so that many are done at
/// once.
#[inline]
fn digit(value: u8) -> u8 {
    value + if value < 10 { b'0' } else { b'a' - 10 }
}

/// The value of a digit, in either case; above 15 for what is none.
#[inline]
fn value(digit: u8) -> u8 {
    let number = digit.wrapping_sub(b'0');
    let letter = (digit | 0x20).wrapping_sub(b'a');
    let number = if number < 10 { number } else { 0xff };
    let letter = if letter < 6 { letter + 10 } else { 0xff };
    number.min(letter)
}

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
        for byte in 0..=255 {
            let mut digits = [b'a'; 40];
            digits[usize::from(byte) % 40] = byte;
            assert_eq!(
                MessageId::from_digits(&digits).is_some(),
                byte.is_ascii_hexdigit(),
                "{byte}"
            );
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
        assert_ne!(SeqId::new(b"a"), SeqId::new(b"a\0"));
        assert_eq!(SeqId::new(&[b'x'; 64]).as_bytes(), [b'x'; 64]);
    }
}
