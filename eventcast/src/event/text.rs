//! Text that is put together while compiling.
//!
//! A generic event's key depends on its parameters, so it is a constant of the instance. A `static`
//! in a generic item would be shared by all instances; a constant is not, and its buffer must have
//! a length that does not depend on the parameters: the longest key.

use super::key::{MAX_KEY_LEN, TOO_LONG};

/// Parts of a key or of a type's name, joined.
pub struct Text {
    bytes: [u8; MAX_KEY_LEN],
    len: usize,
}

impl Text {
    /// The parts, one after the other. Longer than [`MAX_KEY_LEN`] in all: a panic, which in a
    /// constant is an error of the compiler with this text.
    #[track_caller]
    pub const fn join(parts: &[&str]) -> Self {
        let mut bytes = [0; MAX_KEY_LEN];
        let mut len = 0;
        let mut part = 0;
        while part < parts.len() {
            let more = parts[part].as_bytes();
            if more.len() > MAX_KEY_LEN - len {
                panic!("{}", TOO_LONG);
            }
            let mut at = 0;
            while at < more.len() {
                bytes[len] = more[at];
                len += 1;
                at += 1;
            }
            part += 1;
        }
        Self { bytes, len }
    }

    /// What was joined.
    pub const fn as_str(&self) -> &str {
        utf8(self.bytes.split_at(self.len).0)
    }
}

/// The types that a const parameter can have, each with the way its values are written.
pub trait ConstParam {
    /// How `value as u128` is to be read again.
    const KIND: ConstKind;
}

/// How the bits of a const parameter are read.
#[derive(Clone, Copy)]
pub enum ConstKind {
    /// A number without sign.
    Unsigned,
    /// A number that was sign-extended to 128 bits.
    Signed,
    /// 0 or 1.
    Bool,
    /// The number of a character.
    Char,
}

macro_rules! const_params {
    ($($kind:ident: $($ty:ty)+;)+) => {
        $($(impl ConstParam for $ty {
            const KIND: ConstKind = ConstKind::$kind;
        })+)+
    };
}

const_params! {
    Unsigned: u8 u16 u32 u64 u128 usize;
    Signed: i8 i16 i32 i64 i128 isize;
    Bool: bool;
    Char: char;
}

/// The longest text of a const parameter: `i128::MIN` has 40 characters.
const MAX_CONST_LEN: usize = 40;

/// The value of a const parameter, written as Rust writes it in a type's name: `4`, `-1`, `true`,
/// `'a'`. Of a character's escapes there are those for quote, backslash and control characters.
pub struct ConstText {
    bytes: [u8; MAX_CONST_LEN],
    start: usize,
}

impl ConstText {
    /// `value` is the parameter `as u128`.
    pub const fn new(kind: ConstKind, value: u128) -> Self {
        let empty = Self {
            bytes: [0; MAX_CONST_LEN],
            start: MAX_CONST_LEN,
        };
        match kind {
            ConstKind::Unsigned => empty.digits(value, 10),
            ConstKind::Signed => {
                let signed = value.cast_signed();
                let text = empty.digits(signed.unsigned_abs(), 10);
                if signed < 0 { text.before(b"-") } else { text }
            }
            ConstKind::Bool => empty.before(if value == 0 { b"false" } else { b"true" }),
            // A cast from `char` always fits; anything else would be a fault of the derive.
            ConstKind::Char => match char::from_u32(value as u32) {
                Some(c) => empty.before(b"'").character(c).before(b"'"),
                None => panic!("the const parameter is not a character"),
            },
        }
    }

    /// The text.
    pub const fn as_str(&self) -> &str {
        utf8(self.bytes.split_at(self.start).1)
    }

    const fn character(self, c: char) -> Self {
        match c {
            '\0' => self.before(b"\\0"),
            '\t' => self.before(b"\\t"),
            '\n' => self.before(b"\\n"),
            '\r' => self.before(b"\\r"),
            '\'' => self.before(b"\\'"),
            '\\' => self.before(b"\\\\"),
            '\u{1}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => {
                self.before(b"}").digits(c as u128, 16).before(b"\\u{")
            }
            _ => self.before(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }

    const fn digits(mut self, mut value: u128, base: u128) -> Self {
        loop {
            let digit = b"0123456789abcdef"[(value % base) as usize];
            self = self.before(&[digit]);
            value /= base;
            if value == 0 {
                return self;
            }
        }
    }

    /// Numbers yield their last digit first, so the text grows towards its beginning.
    const fn before(mut self, text: &[u8]) -> Self {
        let mut at = text.len();
        while at > 0 {
            at -= 1;
            self.start -= 1;
            self.bytes[self.start] = text[at];
        }
        self
    }
}

/// Both texts consist of whole `str`s, one after the other.
const fn utf8(bytes: &[u8]) -> &str {
    match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => panic!("text was joined of what is not text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Through the very expression that the derive writes.
    macro_rules! text {
        ($ty:ty, $value:expr) => {
            ConstText::new(<$ty as ConstParam>::KIND, $value as u128).as_str()
        };
    }

    #[test]
    fn numbers_are_written_as_rust_does() {
        assert_eq!(text!(usize, 0_usize), "0");
        assert_eq!(text!(usize, 4_usize), "4");
        assert_eq!(text!(u128, u128::MAX), u128::MAX.to_string());
        assert_eq!(text!(i8, -1_i8), "-1");
        assert_eq!(text!(i8, i8::MIN), "-128");
        assert_eq!(text!(i64, i64::MAX), i64::MAX.to_string());
        assert_eq!(text!(i128, i128::MIN), i128::MIN.to_string());
    }

    #[test]
    fn booleans_are_words() {
        assert_eq!(text!(bool, true), "true");
        assert_eq!(text!(bool, false), "false");
    }

    #[test]
    fn characters_stand_in_quotes_as_debug_writes_them() {
        for c in (0..0x300)
            .filter_map(char::from_u32)
            // Debug escapes these too, by tables that constants do not have.
            .filter(|&c| c != '"' && (c.is_ascii() || c.is_alphabetic() || c.is_control()))
        {
            assert_eq!(text!(char, c), format!("{c:?}"));
        }
        assert_eq!(text!(char, '"'), "'\"'");
        assert_eq!(text!(char, '€'), "'€'");
        assert_eq!(text!(char, '\u{10ffff}'), "'\u{10ffff}'");
    }

    #[test]
    fn joins_up_to_the_limit() {
        assert_eq!(Text::join(&[]).as_str(), "");
        assert_eq!(
            Text::join(&["Pair<", "u8", ", ", "é", ">"]).as_str(),
            "Pair<u8, é>"
        );
        let half = "x".repeat(MAX_KEY_LEN / 2);
        assert_eq!(Text::join(&[&half, &half]).as_str().len(), MAX_KEY_LEN);
    }

    #[test]
    #[should_panic(expected = "longer than 1024 bytes")]
    fn refuses_one_byte_more() {
        let half = "x".repeat(MAX_KEY_LEN / 2);
        Text::join(&[&half, &half, "x"]);
    }
}
