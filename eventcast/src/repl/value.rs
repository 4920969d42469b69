//! Arguments as a person types them: words, and values of JSON5.
//!
//! What BSON has and JSON lacks is MongoDB's Extended JSON (version 2): `{"$oid": ".."}`,
//! `{"$date": ".."}`, `{"$binary": {..}}` and so on. [`show`](super::show) writes the forms that
//! are read here.
//!
//! Contract: pure. Unknown forms are refused, at any depth of nesting, and nothing is guessed
//! except that a bare word is a text.

use std::fmt;

use bson::{Bson, Document};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use crate::codec::MAX_DEPTH;

/// A word, a quoted text, or something in brackets, as it stands in a line.
pub(super) type Token<'a> = &'a str;

/// Takes a line apart at blanks and commas that stand neither in quotes nor in brackets.
pub(super) fn tokens(line: &str) -> Result<Vec<Token<'_>>, String> {
    let mut found = Vec::new();
    let mut rest = skip(line);
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' | '\'' => end_of_text(rest, line)?,
            '{' | '[' => end_of_brackets(rest, line)?,
            _ => rest.find(is_gap).unwrap_or(rest.len()),
        };
        let (token, behind) = rest.split_at(end);
        if behind.chars().next().is_some_and(|next| !is_gap(next)) {
            return Err(format!(
                "a blank is missing behind {} (column {})",
                shortened(token),
                column(line, behind)
            ));
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

/// In which column of the line a part of it begins, counted in characters from 1.
fn column(line: &str, part: &str) -> usize {
    line[..line.len() - part.len()].chars().count() + 1
}

/// Where the text ends that begins with the quote at the start. `text` is the rest of `line`.
fn end_of_text(text: &str, line: &str) -> Result<usize, String> {
    let mut characters = text.char_indices();
    let quote = characters.next().map(|(_, quote)| quote);
    while let Some((at, c)) = characters.next() {
        if c == '\\' {
            characters.next();
        } else if Some(c) == quote {
            return Ok(at + c.len_utf8());
        }
    }
    Err(format!(
        "the quote is not closed in {} (column {})",
        shortened(text),
        column(line, text)
    ))
}

/// Where what begins with the bracket at the start ends. `text` is the rest of `line`.
fn end_of_brackets(text: &str, line: &str) -> Result<usize, String> {
    // Those that are open, from the outside in.
    let mut open: Vec<(char, &str)> = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        match c {
            '"' | '\'' => {
                at += end_of_text(&text[at..], line)?;
                continue;
            }
            // The reader of JSON5 goes down by recursion, and what is deeper is no BSON either.
            '{' | '[' if open.len() == MAX_DEPTH => {
                return Err(format!(
                    "it is nested more than {MAX_DEPTH} deep (column {})",
                    column(line, &text[at..])
                ));
            }
            '{' | '[' => open.push((c, &text[at..])),
            '}' | ']' => {
                let (opened, from) = open.pop().unwrap_or((c, text));
                if (opened == '{') != (c == '}') {
                    return Err(format!(
                        "the `{c}` in column {} does not close the `{opened}` in column {}",
                        column(line, &text[at..]),
                        column(line, from)
                    ));
                }
            }
            // Behind a quote in one, what is a text here would be brackets to the reader of JSON5.
            '/' => {
                let column = column(line, &text[at..]);
                return Err(format!(
                    "a comment has no place in a value (column {column})"
                ));
            }
            _ => {}
        }
        at += c.len_utf8();
        if open.is_empty() {
            return Ok(at);
        }
    }
    let (opened, from) = open.last().copied().unwrap_or(('{', text));
    Err(format!(
        "a bracket is not closed in {}: the `{opened}` in column {}",
        shortened(text),
        column(line, from)
    ))
}

/// A word as it is, or the text within quotes. The token stands in `line`.
pub(super) fn text(token: Token<'_>, line: &str) -> Result<String, String> {
    match token.chars().next() {
        Some('"' | '\'') => json5::from_str(token).map_err(|error| {
            let why = reason(&error, token, line);
            format!("{} is no text: {why}", shortened(token))
        }),
        _ => Ok(token.to_owned()),
    }
}

/// In which column of the line a part that stands anywhere in it begins, counted in characters from
/// 1.
fn column_of(part: &str, line: &str) -> usize {
    let from = part.as_ptr().addr().checked_sub(line.as_ptr().addr());
    let before = from.and_then(|from| line.get(..from)).unwrap_or_default();
    before.chars().count() + 1
}

/// What is wrong with a token of this line, and in which column of it.
fn reason(error: &json5::Error, token: Token<'_>, line: &str) -> String {
    let text = error.to_string();
    let Some(position) = error.position() else {
        return text;
    };
    let text = text
        .strip_suffix(&format!(" at {position}"))
        .unwrap_or(&text);
    // JSON5 has line breaks that are none here (ECMA-262, section 7.3), and counts columns from the
    // last of them.
    let is_break = |c: char| matches!(c, '\u{2028}' | '\u{2029}');
    let line_start = match position.line.checked_sub(1) {
        None => Some(0),
        Some(nth) => token
            .match_indices(is_break)
            .nth(nth)
            .map(|(at, c)| at + c.len()),
    };
    let from = token.as_ptr().addr().checked_sub(line.as_ptr().addr());
    let before = from
        .zip(line_start)
        .and_then(|(from, start)| line.get(..from + start));
    match before {
        Some(before) => {
            let column = before.chars().count() + position.column + 1;
            format!("{text} (column {column})")
        }
        None => text.to_owned(),
    }
}

/// A value: JSON5, or a bare word, which is a text. The token stands in `line`.
pub(super) fn value(token: Token<'_>, line: &str) -> Result<Bson, String> {
    let is_word = !token.starts_with(|c: char| "\"'{[+-.".contains(c) || c.is_ascii_digit())
        && !matches!(token, "true" | "false" | "null" | "NaN" | "Infinity");
    if is_word {
        return Ok(Bson::String(token.to_owned()));
    }
    if let Some(number) = too_large(token) {
        let column = column_of(number, line);
        return Err(format!(
            "{} is no value: it is too large for a whole number (column {column}); as a decimal number it ends in `.0`",
            shortened(number),
        ));
    }
    json5::from_str(token)
        .map(|Typed(value)| value)
        .map_err(|error| {
            let advice = "a text is written in quotes";
            let why = reason(&error, token, line);
            format!("{} is no value: {why}; {advice}", shortened(token))
        })
}

/// The first whole number in a token that is none of 64 bits, which JSON5's reader takes for a
/// decimal one.
fn too_large(token: Token<'_>) -> Option<&str> {
    let mut rest = token;
    while let Some(first) = rest.chars().next() {
        if matches!(first, '"' | '\'') {
            rest = &rest[end_of_text(rest, token).ok()?..];
            continue;
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || "+-._$".contains(c);
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if end == 0 {
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (word, behind) = rest.split_at(end);
        if is_too_large(word) {
            return Some(word);
        }
        rest = behind;
    }
    None
}

fn is_too_large(word: &str) -> bool {
    let digits = word.trim_start_matches(['+', '-']);
    let hex = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    let (digits, radix) = hex.map_or((digits, 10), |hex| (hex, 16));
    let is_whole = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    // Of the numbers that have a place, the least has the largest magnitude.
    let magnitude = || i128::from_str_radix(digits, radix).ok();
    let signed = || magnitude().map(|n| if word.starts_with('-') { -n } else { n });
    is_whole && signed().is_none_or(|number| i64::try_from(number).is_err())
}

/// All the values in a line.
#[cfg(any(test, feature = "proto"))]
pub(super) fn values(line: &str) -> Result<Vec<Bson>, String> {
    let tokens = tokens(line)?.into_iter();
    tokens.map(|token| value(token, line)).collect()
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

/// A map whose first key was read already.
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

#[cfg(test)]
mod tests {
    use bson::{DateTime, doc, oid::ObjectId};
    use proptest::prelude::*;

    use super::*;

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
    fn whole_numbers_have_64_bits_or_are_refused() {
        for (typed, number) in [
            ("9223372036854775807", i64::MAX),
            ("0x7fffffffffffffff", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("-0x8000000000000000", i64::MIN),
        ] {
            assert_eq!(values(typed).unwrap(), [Bson::Int64(number)], "{typed}");
        }
        for number in [
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "99999999999999999999999999999999999999999999999999",
            "0xfffffffffffffffff",
        ] {
            for line in [
                number.to_owned(),
                format!("1 {{é: ['{number}', {number}]}}"),
            ] {
                let error = values(&line).unwrap_err();
                assert!(error.contains("too large for a whole number"), "{error}");
                let before = line.rfind(number).unwrap();
                let column = line[..before].chars().count() + 1;
                assert!(error.contains(&format!("(column {column})")), "{error}");
            }
        }
        for typed in [
            "1e30",
            "99999999999999999999.0",
            "'99999999999999999999'",
            "{a99999999999999999999: 1}",
        ] {
            assert!(values(typed).is_ok(), "{typed}");
        }
    }

    #[test]
    fn what_is_wrong_in_a_value_has_a_column_of_the_line() {
        for (line, column) in [
            ("emit x [1, ?]", 12),
            ("emit é é [1 2]", 13),
            ("emit x {a: 1, b}", 16),
            ("emit x {a: {$date: 'nope'}}", 12),
            ("  [1] 'a' {a:}", 14),
            ("emit x \"\\u12\"", 9),
            ("emit x ['\u{2028}', \u{2028} ?]", 16),
        ] {
            let error = tokens(line).unwrap().into_iter().skip(1);
            let error = error.map(|token| value(token, line)).find_map(Result::err);
            let error = error.unwrap();
            assert!(
                error.contains(&format!(" (column {column})")),
                "{line}: {error}"
            );
            assert!(!error.contains("line 1"), "{line}: {error}");
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
            assert_eq!(value(typed, typed).unwrap(), expected, "{typed}");
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
            assert!(value(wrong, wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in ".{0,60}", odd in "[\\[\\]{}'\"\\\\,: a$1]{0,40}") {
            let _ = values(&line);
            let _ = values(&odd);
        }
    }
}
