//! BSON values for serializers of other formats, as MongoDB's Extended JSON (version 2) in its
//! relaxed form.
//!
//! The `bson` crate serializes its own types so, but for three: it writes dates in the canonical
//! form, plain binary as bytes, which JSON makes a list of numbers, and a number that is none as a
//! number, which JSON makes `null`.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bson::{Bson, DateTime, Document, spec::BinarySubtype};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeStruct},
};

/// The first millisecond that has no date of four digits.
const YEAR_10_000: i64 = 253_402_300_800_000;

/// A value in the relaxed form.
///
/// The structs have the names by which [`ser`](super::ser) knows BSON's own types, so that within
/// an event each value keeps its type.
pub(super) struct Relaxed<'a>(pub(super) &'a Bson);

impl Serialize for Relaxed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Bson::Double(number) if !number.is_finite() => {
                let text = if number.is_nan() {
                    "NaN"
                } else if *number > 0.0 {
                    "Infinity"
                } else {
                    "-Infinity"
                };
                let mut fields = serializer.serialize_struct("$numberDouble", 1)?;
                fields.serialize_field("$numberDouble", text)?;
                fields.end()
            }
            Bson::Array(values) => serializer.collect_seq(values.iter().map(Relaxed)),
            Bson::Document(document) => RelaxedDocument(document).serialize(serializer),
            Bson::Binary(binary) if binary.subtype == BinarySubtype::Generic => {
                let mut fields = serializer.serialize_struct("$binary", 1)?;
                fields.serialize_field("$binary", &GenericBinary(&binary.bytes))?;
                fields.end()
            }
            Bson::DateTime(date) => serialize_date(*date, serializer),
            Bson::JavaScriptCodeWithScope(code) => {
                let mut fields = serializer.serialize_struct("$codeWithScope", 2)?;
                fields.serialize_field("$code", &code.code)?;
                fields.serialize_field("$scope", &RelaxedDocument(&code.scope))?;
                fields.end()
            }
            value => value.serialize(serializer),
        }
    }
}

struct GenericBinary<'a>(&'a [u8]);

impl Serialize for GenericBinary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("GenericBinary", 2)?;
        fields.serialize_field("base64", &BASE64.encode(self.0))?;
        fields.serialize_field("subType", "00")?;
        fields.end()
    }
}

struct RelaxedDocument<'a>(&'a Document);

impl Serialize for RelaxedDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            entries.serialize_entry(key, &Relaxed(value))?;
        }
        entries.end()
    }
}

/// A text where the year has four digits and is not before 1970, as the relaxed form wants it.
fn serialize_date<S: Serializer>(date: DateTime, serializer: S) -> Result<S::Ok, S::Error> {
    match date.try_to_rfc3339_string() {
        Ok(text) if (0..YEAR_10_000).contains(&date.timestamp_millis()) => {
            let mut fields = serializer.serialize_struct("$date", 1)?;
            fields.serialize_field("$date", &text)?;
            fields.end()
        }
        _ => date.serialize(serializer),
    }
}
