//! Arguments as a person reads them: JSON, and what JSON has not as Extended JSON in its relaxed
//! form, so that it can be typed again ([`value`](super::value) reads it).
//!
//! Contract: pure. It takes no more room than it is given.

use std::fmt::{self, Write};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bson::{Bson, DateTime, Document, oid::ObjectId, spec::BinarySubtype};

use crate::text::is_unsafe;

/// Values in a row, as they could be typed again, in at most `limit` bytes and a mark that there is
/// more.
pub(super) fn shown(values: &[Bson], limit: usize) -> String {
    let mut out = Limited {
        text: String::new(),
        room: limit,
    };
    let written = values.iter().enumerate().try_for_each(|(i, value)| {
        if i > 0 {
            out.write_char(' ')?;
        }
        write(&mut out, value)
    });
    let mut text = out.text;
    if written.is_err() {
        text.push_str(" … (cut)");
    }
    text
}

/// A text that grows up to a limit.
struct Limited {
    text: String,
    room: usize,
}

impl Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.room.min(text.len());
        let fits = (0..=room)
            .rev()
            .find(|&at| text.is_char_boundary(at))
            .unwrap_or(0);
        self.text.push_str(&text[..fits]);
        self.room -= fits;
        if fits < text.len() {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

fn write(out: &mut Limited, value: &Bson) -> fmt::Result {
    match value {
        Bson::Double(value) if value.is_finite() => write!(out, "{value:?}"),
        Bson::Double(value) if value.is_nan() => out.write_str("NaN"),
        Bson::Double(value) if *value > 0.0 => out.write_str("Infinity"),
        Bson::Double(_) => out.write_str("-Infinity"),
        Bson::String(text) => write_text(out, text),
        Bson::Array(values) => {
            out.write_char('[')?;
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    out.write_str(", ")?;
                }
                write(out, value)?;
            }
            out.write_char(']')
        }
        Bson::Document(document) => write_document(out, document),
        Bson::Boolean(value) => write!(out, "{value}"),
        Bson::Null => out.write_str("null"),
        Bson::Int32(value) => write!(out, "{value}"),
        // A plain one would be read as an int32.
        Bson::Int64(value) if i32::try_from(*value).is_ok() => {
            write!(out, "{{\"$numberLong\": \"{value}\"}}")
        }
        Bson::Int64(value) => write!(out, "{value}"),
        Bson::ObjectId(id) => write!(out, "{{\"$oid\": \"{id}\"}}"),
        Bson::DateTime(time) => write_date(out, *time),
        Bson::Binary(binary) => {
            out.write_str("{\"$binary\": {\"base64\": \"")?;
            // No more of it is turned into text than there is room for.
            for piece in binary.bytes.chunks(3 * 64) {
                out.write_str(&BASE64.encode(piece))?;
            }
            let subtype: u8 = match binary.subtype {
                BinarySubtype::Generic => 0,
                other => other.into(),
            };
            write!(out, "\", \"subType\": \"{subtype:02x}\"}}}}")
        }
        Bson::Decimal128(value) => write!(out, "{{\"$numberDecimal\": \"{value}\"}}"),
        Bson::Timestamp(value) => {
            let (time, increment) = (value.time, value.increment);
            write!(
                out,
                "{{\"$timestamp\": {{\"t\": {time}, \"i\": {increment}}}}}"
            )
        }
        Bson::RegularExpression(regex) => {
            out.write_str("{\"$regularExpression\": {\"pattern\": ")?;
            write_text(out, regex.pattern.as_str())?;
            out.write_str(", \"options\": ")?;
            write_text(out, regex.options.as_str())?;
            out.write_str("}}")
        }
        Bson::JavaScriptCode(code) => {
            out.write_str("{\"$code\": ")?;
            write_text(out, code)?;
            out.write_char('}')
        }
        Bson::JavaScriptCodeWithScope(code) => {
            out.write_str("{\"$code\": ")?;
            write_text(out, &code.code)?;
            out.write_str(", \"$scope\": ")?;
            write_document(out, &code.scope)?;
            out.write_char('}')
        }
        Bson::Symbol(symbol) => {
            out.write_str("{\"$symbol\": ")?;
            write_text(out, symbol)?;
            out.write_char('}')
        }
        Bson::Undefined => out.write_str("{\"$undefined\": true}"),
        Bson::MinKey => out.write_str("{\"$minKey\": 1}"),
        Bson::MaxKey => out.write_str("{\"$maxKey\": 1}"),
        Bson::DbPointer(_) => write_db_pointer(out, value),
    }
}

/// A moment in words where they can say it, else in milliseconds. (The crate writes what lies
/// outside as the nearest that it can.)
fn write_date(out: &mut Limited, time: DateTime) -> fmt::Result {
    const YEAR_10_000: i64 = 253_402_300_800_000;
    let millis = time.timestamp_millis();
    match time.try_to_rfc3339_string() {
        Ok(text) if (0..YEAR_10_000).contains(&millis) => write!(out, "{{\"$date\": \"{text}\"}}"),
        _ => write!(out, "{{\"$date\": {{\"$numberLong\": \"{millis}\"}}}}"),
    }
}

/// The crate keeps the parts of a pointer to itself, but writes them where the specification of
/// BSON wants them.
fn write_db_pointer(out: &mut Limited, pointer: &Bson) -> fmt::Result {
    /// The document's length, the element's type and its name; then a text with its length, and an
    /// ObjectId.
    const TEXT_AT: usize = 4 + 1 + 2 + 4;
    const ID_LENGTH: usize = 12;
    let mut document = Document::new();
    document.insert("p", pointer);
    let bytes = document.to_vec().map_err(|_| fmt::Error)?;
    let id_at = bytes.len() - 1 - ID_LENGTH;
    let text = bytes.get(TEXT_AT..id_at - 1).ok_or(fmt::Error)?;
    out.write_str("{\"$dbPointer\": {\"$ref\": ")?;
    write_text(out, &String::from_utf8_lossy(text))?;
    let id: [u8; ID_LENGTH] = bytes[id_at..id_at + ID_LENGTH]
        .try_into()
        .map_err(|_| fmt::Error)?;
    let id = ObjectId::from_bytes(id);
    write!(out, ", \"$id\": {{\"$oid\": \"{id}\"}}}}}}")
}

fn write_document(out: &mut Limited, document: &Document) -> fmt::Result {
    out.write_char('{')?;
    for (i, (key, value)) in document.iter().enumerate() {
        if i > 0 {
            out.write_str(", ")?;
        }
        write_text(out, key)?;
        out.write_str(": ")?;
        write(out, value)?;
    }
    out.write_char('}')
}

/// A text in quotes, as JSON has it (RFC 8259, section 7).
fn write_text(out: &mut Limited, text: &str) -> fmt::Result {
    out.write_char('"')?;
    let mut rest = text;
    while let Some((plain, c, behind)) =
        split_at_first(rest, |c| "\"\\".contains(c) || is_unsafe(c))
    {
        out.write_str(plain)?;
        match c {
            '"' | '\\' => write!(out, "\\{c}")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
        rest = behind;
    }
    out.write_str(rest)?;
    out.write_char('"')
}

/// What stands before the first character of a kind, that character, and what stands behind it.
fn split_at_first(text: &str, is_meant: impl Fn(char) -> bool) -> Option<(&str, char, &str)> {
    let (at, c) = text.char_indices().find(|&(_, c)| is_meant(c))?;
    Some((&text[..at], c, &text[at + c.len_utf8()..]))
}

#[cfg(test)]
mod tests {
    use bson::{Binary, Decimal128, Regex, Timestamp, doc};

    use super::{super::value::values, *};

    #[test]
    fn what_is_shown_can_be_typed() {
        let id = ObjectId::parse_str("65a1b2c3d4e5f60718293a4b").unwrap();
        let binary = |subtype| {
            Bson::Binary(Binary {
                subtype,
                bytes: (0..=255).collect(),
            })
        };
        for shown_value in [
            Bson::Double(1.5),
            Bson::Double(1.0),
            Bson::Double(f64::INFINITY),
            Bson::String("a \"b\" \\ \n\r\t \u{1b}[31m \u{202e} é".to_owned()),
            Bson::Array(vec![Bson::Int32(1), Bson::Null]),
            Bson::Document(doc! { "a b": { "c": true }, "\n": 1 }),
            Bson::Int32(-7),
            Bson::Int64(1 << 40),
            Bson::Int64(-7),
            Bson::ObjectId(id),
            Bson::DateTime(DateTime::from_millis(1_700_000_000_123)),
            Bson::DateTime(DateTime::from_millis(-1)),
            Bson::DateTime(DateTime::from_millis(253_402_300_800_000)),
            Bson::DateTime(DateTime::from_millis(i64::MAX)),
            binary(BinarySubtype::Generic),
            binary(BinarySubtype::Uuid),
            Bson::Decimal128("12.34".parse::<Decimal128>().unwrap()),
            Bson::Timestamp(Timestamp {
                time: 5,
                increment: 6,
            }),
            Bson::RegularExpression(Regex {
                pattern: "a\"b".try_into().unwrap(),
                options: "i".try_into().unwrap(),
            }),
            Bson::JavaScriptCode("f()".to_owned()),
            Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope {
                code: "f()".to_owned(),
                scope: doc! { "a": 1 },
            }),
            Bson::Symbol("s".to_owned()),
            values("{$dbPointer: {$ref: 'a \"b', $id: {$oid: '65a1b2c3d4e5f60718293a4b'}}}")
                .unwrap()
                .remove(0),
            Bson::Undefined,
            Bson::MinKey,
            Bson::MaxKey,
        ] {
            let text = shown(std::slice::from_ref(&shown_value), 10_000);
            assert!(!text.chars().any(is_unsafe), "{text:?}");
            assert_eq!(values(&text).unwrap(), [shown_value], "{text}");
        }
    }

    #[test]
    fn no_text_of_the_network_is_obeyed_and_each_can_be_typed() {
        for text in crate::text::HOSTILE {
            let values_shown = [
                Bson::String((*text).to_owned()),
                Bson::Document(doc! { text.replace('\0', ""): *text }),
            ];
            let shown_text = shown(&values_shown, 10_000);
            crate::text::assert_is_printable(&shown_text);
            assert_eq!(values(&shown_text).unwrap(), values_shown, "{shown_text}");
        }
    }

    #[test]
    fn what_is_long_is_cut() {
        let much = [Bson::Binary(Binary {
            subtype: BinarySubtype::Generic,
            bytes: vec![0; 10 << 20],
        })];
        let text = shown(&much, 100);
        assert_eq!(text.len(), 100 + " … (cut)".len());
        assert!(text.ends_with("AAA … (cut)"), "{text}");
        let text = shown(&[Bson::String("ääää".to_owned())], 4);
        assert_eq!(text, "\"ä … (cut)");
        assert_eq!(shown(&[Bson::Int32(1234)], 4), "1234");
    }
}
