//! Arguments as a person types and reads them: words and JSON5 on the way in, JSON on the way out.
//!
//! What BSON has and JSON has not is written as MongoDB's Extended JSON (version 2) in its relaxed form, in both
//! directions: `{"$oid": ".."}`, `{"$date": ".."}`, `{"$binary": {..}}` and so on.
//!
//! Contract: pure. Reading refuses what it does not understand, at any depth of nesting, and never guesses but for
//! one thing that it says: a bare word is a text. Writing takes no more room than it is given.

use std::fmt::{self, Write};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bson::{Bson, DateTime, Document, oid::ObjectId, spec::BinarySubtype};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use super::output::is_unsafe;
use crate::codec::MAX_DEPTH;

/// A word, a quoted text, or something in brackets, as it stands in a line.
pub(super) type Token<'a> = &'a str;

/// Takes a line apart at blanks and commas that stand neither in quotes nor in brackets.
pub(super) fn tokens(line: &str) -> Result<Vec<Token<'_>>, String> {
    let mut found = Vec::new();
    let mut rest = skip(line);
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' | '\'' => end_of_text(rest)?,
            '{' | '[' => end_of_brackets(rest)?,
            _ => rest.find(is_gap).unwrap_or(rest.len()),
        };
        let (token, behind) = rest.split_at(end);
        if behind.chars().next().is_some_and(|next| !is_gap(next)) {
            return Err(format!("a blank is missing behind {}", shortened(token)));
        }
        found.push(token);
        rest = skip(behind);
    }
    Ok(found)
}

fn is_gap(c: char) -> bool {
    c.is_whitespace() || c == ','
}

fn skip(text: &str) -> &str {
    text.trim_start_matches(is_gap)
}

/// Where the text ends that begins with the quote at the start.
fn end_of_text(text: &str) -> Result<usize, String> {
    let mut characters = text.char_indices();
    let quote = characters.next().map(|(_, quote)| quote);
    while let Some((at, c)) = characters.next() {
        if c == '\\' {
            characters.next();
        } else if Some(c) == quote {
            return Ok(at + c.len_utf8());
        }
    }
    Err(format!("the quote is not closed in {}", shortened(text)))
}

/// Where what begins with the bracket at the start ends. Which kind of bracket closes which is not looked at here.
fn end_of_brackets(text: &str) -> Result<usize, String> {
    let mut depth = 0;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        match c {
            '"' | '\'' => {
                at += end_of_text(&text[at..])?;
                continue;
            }
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            // Behind a quote in one, what is a text here would be brackets to the reader of JSON5.
            '/' => return Err("a comment has no place in a value".to_owned()),
            _ => {}
        }
        at += c.len_utf8();
        // The reader of JSON5 goes down by recursion, and what is deeper is no BSON either.
        if depth > MAX_DEPTH {
            return Err(format!("it is nested more than {MAX_DEPTH} deep"));
        }
        if depth == 0 {
            return Ok(at);
        }
    }
    Err(format!("a bracket is not closed in {}", shortened(text)))
}

/// A word as it is, or the text within quotes.
pub(super) fn text(token: Token<'_>) -> Result<String, String> {
    match token.chars().next() {
        Some('"' | '\'') => json5::from_str(token)
            .map_err(|error| format!("{} is no text: {error}", shortened(token))),
        _ => Ok(token.to_owned()),
    }
}

/// A value: JSON5, or a bare word, which is a text.
pub(super) fn value(token: Token<'_>) -> Result<Bson, String> {
    let is_word = !token.starts_with(|c: char| "\"'{[+-.".contains(c) || c.is_ascii_digit())
        && !matches!(token, "true" | "false" | "null" | "NaN" | "Infinity");
    if is_word {
        return Ok(Bson::String(token.to_owned()));
    }
    json5::from_str(token)
        .map(|Typed(value)| value)
        .map_err(|error| {
            let advice = "a text is written in quotes";
            format!("{} is no value: {error}; {advice}", shortened(token))
        })
}

/// The beginning of what was typed, for an error.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

/// A value of JSON5 as BSON: a whole number is as narrow as it can be, as events have it.
struct Typed(Bson);

impl<'de> Deserialize<'de> for Typed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TypedVisitor).map(Self)
    }
}

struct TypedVisitor;

impl<'de> Visitor<'de> for TypedVisitor {
    type Value = Bson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON5")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Bson, E> {
        Ok(Bson::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Bson, E> {
        Ok(i32::try_from(value).map_or(Bson::Int64(value), Bson::Int32))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Bson, E> {
        let value = i64::try_from(value)
            .map_err(|_| E::custom(format_args!("{value} is too large for a whole number")))?;
        self.visit_i64(value)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Bson, E> {
        Ok(Bson::Double(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Bson, E> {
        Ok(Bson::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Bson, E> {
        Ok(Bson::String(value))
    }

    fn visit_unit<E>(self) -> Result<Bson, E> {
        Ok(Bson::Null)
    }

    fn visit_none<E>(self) -> Result<Bson, E> {
        Ok(Bson::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Bson, A::Error> {
        let mut values = Vec::new();
        while let Some(Typed(value)) = access.next_element()? {
            values.push(value);
        }
        Ok(Bson::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Bson, A::Error> {
        let mut document = Document::new();
        let Some(first) = access.next_key::<String>()? else {
            return Ok(Bson::Document(document));
        };
        if first.starts_with('$') {
            let first = Some(first);
            return Bson::deserialize(MapAccessDeserializer::new(Again { first, access }));
        }
        let mut next = Some(first);
        while let Some(key) = next {
            let Typed(value) = access.next_value()?;
            if document.contains_key(&key) {
                return Err(A::Error::custom(format_args!("`{key}` is there twice")));
            }
            document.insert(key, value);
            next = access.next_key()?;
        }
        Ok(Bson::Document(document))
    }
}

/// A map whose first key has been read already.
struct Again<A> {
    first: Option<String>,
    access: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Again<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        match self.first.take() {
            Some(first) => seed
                .deserialize(serde::de::value::StringDeserializer::new(first))
                .map(Some),
            None => self.access.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.access.next_value_seed(seed)
    }
}

/// Values in a row, as they could be typed again, in at most `limit` bytes and a mark that there is more.
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

/// A moment in words where they can say it, else in milliseconds. (The crate writes what lies outside as the nearest
/// that it can.)
fn write_date(out: &mut Limited, time: DateTime) -> fmt::Result {
    const YEAR_10_000: i64 = 253_402_300_800_000;
    let millis = time.timestamp_millis();
    match time.try_to_rfc3339_string() {
        Ok(text) if (0..YEAR_10_000).contains(&millis) => write!(out, "{{\"$date\": \"{text}\"}}"),
        _ => write!(out, "{{\"$date\": {{\"$numberLong\": \"{millis}\"}}}}"),
    }
}

/// The crate keeps the parts of a pointer to itself, but writes them where the specification of BSON wants them.
fn write_db_pointer(out: &mut Limited, pointer: &Bson) -> fmt::Result {
    /// The document's length, the element's type and its name; then a text with its length, and an ObjectId.
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
            _ => write!(out, "\\u{:04x}", u32::from(c))?,
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
    use proptest::prelude::*;

    use super::*;

    fn values(line: &str) -> Result<Vec<Bson>, String> {
        tokens(line)?.into_iter().map(value).collect()
    }

    #[test]
    fn lines_are_taken_apart_at_blanks_and_commas() {
        for (line, expected) in [
            ("", &[][..]),
            ("  a  b,c ,, d\t", &["a", "b", "c", "d"]),
            ("\"a b\" 'c, d'", &["\"a b\"", "'c, d'"]),
            ("{a: [1, 2]} [\"]\", '}']", &["{a: [1, 2]}", "[\"]\", '}']"]),
            ("\"\\\"\" x", &["\"\\\"\"", "x"]),
            ("Sample<f64> 1", &["Sample<f64>", "1"]),
        ] {
            assert_eq!(tokens(line).unwrap(), expected, "{line}");
        }
        for (line, start) in [
            ("\"a", "the quote is not closed"),
            ("'a\\'", "the quote is not closed"),
            ("{a: 1", "a bracket is not closed"),
            ("{a: \"}", "the quote is not closed"),
            ("\"a\"b", "a blank is missing"),
            ("[1]]", "a blank is missing"),
        ] {
            let error = tokens(line).unwrap_err();
            assert!(error.starts_with(start), "{line}: {error}");
        }
    }

    #[test]
    fn nesting_has_an_end() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(values(&deep(MAX_DEPTH)).is_ok());
        for depth in [MAX_DEPTH + 1, 30_000] {
            let error = values(&deep(depth)).unwrap_err();
            assert!(error.contains("nested"), "{error}");
            assert!(
                values(&"[{a:".repeat(depth))
                    .unwrap_err()
                    .contains("nested")
            );
            // Where a comment hides a quote, brackets would look like a text.
            for (begin, end) in [("/*\"*/", "/*\"*/"), ("//'\u{2028}", "//'\u{2028}")] {
                let hidden = format!("[{begin}{}{end}]", deep(depth));
                let error = values(&hidden).unwrap_err();
                assert!(error.contains("comment"), "{error}");
            }
        }
        assert!(values("['a/b', {'/': 1}]").is_ok());
    }

    #[test]
    fn values_have_the_types_that_events_have() {
        for (typed, expected) in [
            ("hello", Bson::String("hello".to_owned())),
            ("'5'", Bson::String("5".to_owned())),
            ("\"a\\n\\u00e9\"", Bson::String("a\né".to_owned())),
            ("5", Bson::Int32(5)),
            ("-5", Bson::Int32(-5)),
            ("0x10", Bson::Int32(16)),
            ("3000000000", Bson::Int64(3_000_000_000)),
            ("-3000000000", Bson::Int64(-3_000_000_000)),
            ("5.0", Bson::Double(5.0)),
            (".5", Bson::Double(0.5)),
            ("1e3", Bson::Double(1000.0)),
            ("-Infinity", Bson::Double(f64::NEG_INFINITY)),
            ("true", Bson::Boolean(true)),
            ("null", Bson::Null),
            (
                "{a: 1, 'b': [2, null]}",
                Bson::Document(doc! { "a": 1, "b": [2, Bson::Null] }),
            ),
            ("{}", Bson::Document(doc! {})),
            (
                "{$oid: '65a1b2c3d4e5f60718293a4b'}",
                Bson::ObjectId(ObjectId::parse_str("65a1b2c3d4e5f60718293a4b").unwrap()),
            ),
            (
                "{$date: '2024-01-02T03:04:05.006Z'}",
                Bson::DateTime(DateTime::parse_rfc3339_str("2024-01-02T03:04:05.006Z").unwrap()),
            ),
            ("{$numberLong: '5'}", Bson::Int64(5)),
            (
                "{a: {$numberLong: '5'}}",
                Bson::Document(doc! { "a": 5_i64 }),
            ),
        ] {
            assert_eq!(value(typed).unwrap(), expected, "{typed}");
        }
        for wrong in [
            "2024-01-02",
            "+",
            "{a 1}",
            "[1, 2}",
            "{a: 1, a: 2}",
            "\"\\x\"",
            "{$oid: 5}",
        ] {
            assert!(value(wrong).is_err(), "{wrong}");
        }
    }

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
            value("{$dbPointer: {$ref: 'a \"b', $id: {$oid: '65a1b2c3d4e5f60718293a4b'}}}")
                .unwrap(),
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

    proptest! {
        #[test]
        fn no_line_panics(line in ".{0,60}", odd in "[\\[\\]{}'\"\\\\,: a$1]{0,40}") {
            let _ = values(&line);
            let _ = values(&odd);
        }
    }
}
