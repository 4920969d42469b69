//! `Bson` to and from raw bytes, every value with exactly the type that it has.
//!
//! Serde's way would not do: it reads a document with a key like `$oid` as the type that extended
//! JSON means by it, and knows no difference between a narrow and a wide integer.

use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{
    Binary, Bson, DateTime, DbPointer, Decimal128, Document, JavaScriptCodeWithScope, Regex,
    Timestamp,
};

use super::{
    EncodeError, EncodeErrorKind,
    check::Keys,
    element,
    raw::{RawElements, RawValue},
    ser::{Serializer, append_options, append_text},
};

/// Writes `value` into the element that was begun.
pub(super) fn write(out: &mut Serializer<'_>, value: &Bson) -> Result<(), EncodeError> {
    match value {
        Bson::Double(value) => out.put_fixed(element::DOUBLE, value.to_le_bytes()),
        Bson::String(text) => out.put_string(element::STRING, text)?,
        Bson::Array(items) => {
            let start = out.begin_document(element::ARRAY)?;
            for (i, item) in items.iter().enumerate() {
                out.begin_item(i);
                write(out, item).map_err(|error| error.in_index(i))?;
            }
            out.end_document(start)?;
        }
        Bson::Document(document) => {
            let start = out.begin_document(element::DOCUMENT)?;
            write_entries(out, start, document)?;
        }
        Bson::Boolean(value) => out.put_fixed(element::BOOLEAN, [u8::from(*value)]),
        Bson::Null => out.set_type(element::NULL),
        Bson::RegularExpression(regex) => {
            out.set_type(element::REGEX);
            append_text(out.out, regex.pattern.as_str())?;
            append_options(out.out, regex.options.as_str())?;
        }
        Bson::JavaScriptCode(code) => out.put_string(element::CODE, code)?,
        Bson::JavaScriptCodeWithScope(code) => write_code_with_scope(out, code)?,
        Bson::Int32(value) => out.put_fixed(element::INT32, value.to_le_bytes()),
        Bson::Int64(value) => out.put_fixed(element::INT64, value.to_le_bytes()),
        Bson::Timestamp(value) => {
            let both = u64::from(value.time) << 32 | u64::from(value.increment);
            out.put_fixed(element::TIMESTAMP, both.to_le_bytes());
        }
        Bson::Binary(binary) => out.put_binary(binary.subtype.into(), &binary.bytes)?,
        Bson::ObjectId(id) => out.put_fixed(element::OBJECT_ID, id.bytes()),
        Bson::DateTime(date) => {
            out.put_fixed(element::DATE_TIME, date.timestamp_millis().to_le_bytes());
        }
        Bson::Symbol(text) => out.put_string(element::SYMBOL, text)?,
        Bson::Decimal128(decimal) => out.put_fixed(element::DECIMAL128, decimal.bytes()),
        Bson::Undefined => out.set_type(element::UNDEFINED),
        Bson::MaxKey => out.set_type(element::MAX_KEY),
        Bson::MinKey => out.set_type(element::MIN_KEY),
        Bson::DbPointer(pointer) => write_pointer(out, pointer)?,
    }
    Ok(())
}

/// Writes what stands in a document, and ends it.
fn write_entries(
    out: &mut Serializer<'_>,
    start: usize,
    document: &Document,
) -> Result<(), EncodeError> {
    let mut keys = Keys::default();
    for (key, value) in document {
        out.begin_entry(key, &mut keys)
            .and_then(|()| write(out, value))
            .map_err(|error| error.in_key(key))?;
    }
    // The keys of a Document differ.
    out.end_document(start)
}

fn write_code_with_scope(
    out: &mut Serializer<'_>,
    code: &JavaScriptCodeWithScope,
) -> Result<(), EncodeError> {
    out.set_type(element::CODE_WITH_SCOPE);
    let start = out.out.len();
    out.out.extend_from_slice(&[0; 4]);
    out.append_string(&code.code)?;
    let scope = out.open_document()?;
    write_entries(out, scope, &code.scope)?;
    let length = i32::try_from(out.out.len() - start);
    let length = length.map_err(|_| EncodeError::new(EncodeErrorKind::TooLong))?;
    out.out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// The bson crate keeps the parts of a DBPointer to itself; serde's form of it shows them.
fn write_pointer(out: &mut Serializer<'_>, pointer: &DbPointer) -> Result<(), EncodeError> {
    serde::Serialize::serialize(pointer, out)
}

/// Reads a checked value. `None` where the bytes do not fit their type.
///
/// Follows nesting by recursion: checked bytes are no deeper than [`MAX_DEPTH`](super::MAX_DEPTH),
/// and deeper ones are refused.
pub(super) fn read(value: RawValue<'_>, levels: usize) -> Option<Bson> {
    let RawValue {
        element_type,
        bytes,
    } = value;
    Some(match element_type {
        element::DOUBLE => Bson::Double(f64::from_le_bytes(bytes.try_into().ok()?)),
        element::STRING => Bson::String(value.text()?.to_owned()),
        element::DOCUMENT => Bson::Document(read_document(bytes, levels)?),
        element::ARRAY => {
            let levels = levels.checked_sub(1)?;
            let items = RawElements::of_document(bytes);
            let values = items.map(|item| read(item.value, levels));
            Bson::Array(collect(bytes, || items.count(), values)?)
        }
        element::BINARY => {
            let (subtype, bytes) = value.binary()?;
            Bson::Binary(Binary {
                subtype: BinarySubtype::from(subtype),
                bytes: bytes.to_vec(),
            })
        }
        element::UNDEFINED => Bson::Undefined,
        element::OBJECT_ID => Bson::ObjectId(ObjectId::from_bytes(bytes.try_into().ok()?)),
        element::BOOLEAN => Bson::Boolean(bytes == [1]),
        element::DATE_TIME => Bson::DateTime(DateTime::from_millis(i64::from_le_bytes(
            bytes.try_into().ok()?,
        ))),
        element::NULL => Bson::Null,
        element::REGEX => {
            let (pattern, options) = value.regex()?;
            let mut options: Vec<char> = options.chars().collect();
            options.sort_unstable();
            Bson::RegularExpression(Regex {
                pattern: pattern.to_owned().try_into().ok()?,
                options: String::from_iter(options).try_into().ok()?,
            })
        }
        element::DB_POINTER => Bson::DbPointer(read_pointer(value)?),
        element::CODE => Bson::JavaScriptCode(value.text()?.to_owned()),
        element::SYMBOL => Bson::Symbol(value.text()?.to_owned()),
        element::CODE_WITH_SCOPE => {
            let (code, scope) = value.code_with_scope()?;
            Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope {
                code: code.to_owned(),
                scope: read_document(scope, levels)?,
            })
        }
        element::INT32 => Bson::Int32(i32::from_le_bytes(bytes.try_into().ok()?)),
        element::TIMESTAMP => {
            let both = u64::from_le_bytes(bytes.try_into().ok()?);
            Bson::Timestamp(Timestamp {
                time: (both >> 32) as u32,
                increment: both as u32,
            })
        }
        element::INT64 => Bson::Int64(i64::from_le_bytes(bytes.try_into().ok()?)),
        element::DECIMAL128 => Bson::Decimal128(Decimal128::from_bytes(bytes.try_into().ok()?)),
        element::MAX_KEY => Bson::MaxKey,
        element::MIN_KEY => Bson::MinKey,
        _ => return None,
    })
}

/// Bytes up to which a list may grow as it likes.
const SMALL: usize = 4096;

/// Gathers the values that stand in `bytes`. A large list is counted first: growing, it would take
/// up to three times what it needs.
pub(super) fn collect(
    bytes: &[u8],
    count: impl FnOnce() -> usize,
    values: impl Iterator<Item = Option<Bson>>,
) -> Option<Vec<Bson>> {
    if bytes.len() <= SMALL {
        return values.collect();
    }
    let mut list = Vec::with_capacity(count());
    for value in values {
        list.push(value?);
    }
    Some(list)
}

fn read_document(bytes: &[u8], levels: usize) -> Option<Document> {
    let levels = levels.checked_sub(1)?;
    RawElements::of_document(bytes)
        .map(|entry| {
            let key = std::str::from_utf8(entry.key_bytes()).ok()?;
            Some((key.to_owned(), read(entry.value, levels)?))
        })
        .collect()
}

/// A `DbPointer` can be made by serde alone.
fn read_pointer(value: RawValue<'_>) -> Option<DbPointer> {
    serde::Deserialize::deserialize(super::de::Deserializer::of_value(value)).ok()
}
