//! Reading a [`Config`] by serde.
//!
//! Written by hand, because serde's derive neither suggests a name, nor reports the two spellings
//! of a duplicate key, nor keeps a wrong value until it is known whether it takes effect. Errors
//! carry the line if the format knows it. A kept wrong value has no line: a format adds it only to
//! an error that it passes on, and cannot continue to read after an error.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess,
    SeqAccess, Visitor,
};

use super::{
    Config, SPELLINGS, TABLE,
    error::{ConfigError, ConfigLayer},
    value::Raw,
};
use crate::{names::nearest, text::printable};

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A struct and not a map, so that a flattened `Config` takes its own keys and leaves the
        // others alone. Serde hides mistyped keys then; as a map, it would receive every key of the
        // outer structure and could refuse none.
        deserializer.deserialize_struct("Config", SPELLINGS, ConfigVisitor)
    }
}

struct ConfigVisitor;

impl<'de> Visitor<'de> for ConfigVisitor {
    type Value = Config;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of eventcast's options")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Config, A::Error> {
        let mut config = Config::default();
        // The entry's index and the spelling of each option that was read.
        let mut given: Vec<(usize, &'static str)> = Vec::new();
        while let Some((index, spelling)) = map.next_key_seed(KeyVisitor)? {
            let entry = &TABLE[index];
            if let Some((_, first)) = given.iter().find(|(other, _)| *other == index) {
                return Err(A::Error::custom(duplicate(entry.name(), first, spelling)));
            }
            given.push((index, spelling));
            let mut raw = map.next_value::<Raw>()?;
            let is_right = raw == Raw::Null || (entry.read_file)(&mut config, &raw);
            if entry.is_secret {
                raw.wipe();
            }
            if is_right {
                continue;
            }
            let allowed = format!("{}{}", entry.allowed, entry.file_form);
            let error =
                ConfigError::new(entry.name(), ConfigLayer::File, entry.show(&raw), allowed);
            config.wrong.push(error.written(spelling));
        }
        Ok(config)
    }
}

/// Reads a key as an option's index in the table and its spelling. Refuses an unknown key while it
/// is read, so that the format can add the line.
struct KeyVisitor;

impl<'de> DeserializeSeed<'de> for KeyVisitor {
    type Value = (usize, &'static str);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyVisitor {
    type Value = (usize, &'static str);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an option of eventcast")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        find(key).ok_or_else(|| E::custom(unknown(key)))
    }
}

fn find(key: &str) -> Option<(usize, &'static str)> {
    TABLE.iter().enumerate().find_map(|(index, entry)| {
        let spelling = entry.names.iter().find(|name| **name == key)?;
        Some((index, *spelling))
    })
}

fn unknown(key: &str) -> String {
    let nearest = nearest(key, SPELLINGS.iter().copied());
    let key = printable(key);
    match nearest {
        Some(name) => format!("unknown option `{key}`: did you mean `{name}`?"),
        None => {
            let names: Vec<_> = TABLE.iter().map(|entry| entry.name()).collect();
            format!(
                "unknown option `{key}`: the options are {}",
                names.join(", ")
            )
        }
    }
}

fn duplicate(name: &str, first: &str, second: &str) -> String {
    if first == second {
        format!("option `{name}` is given twice: keep one")
    } else {
        format!("option `{name}` is given twice, as `{first}` and as `{second}`: keep one")
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

/// The key of the table that represents a JSON number if the program, or any of its dependencies,
/// enables `arbitrary_precision` of `serde_json`.
const JSON_NUMBER: &str = "$serde_json::private::Number";

/// A number of JSON from its digits.
fn json_number(digits: &str) -> Option<Raw> {
    match digits.parse() {
        Ok(number) => Some(Raw::Integer(number)),
        Err(_) => digits.parse().ok().map(Raw::Float),
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a boolean, a number, a text or a table")
    }

    // Values that no option takes are read too, since it is not known here whether the value takes
    // effect.

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Integer(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Integer(value.try_into().unwrap_or(i128::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Raw, E> {
        Ok(Raw::Other("bytes"))
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Raw, A::Error> {
        IgnoredAny.visit_enum(data)?;
        Ok(Raw::Other("a tagged value"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Raw::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry()? {
            let key = match key {
                Raw::Text(key) => key,
                other => other.to_string(),
            };
            entries.push((key, value));
        }
        if let [(key, Raw::Text(digits))] = &entries[..]
            && key == JSON_NUMBER
            && let Some(number) = json_number(digits)
        {
            return Ok(number);
        }
        Ok(Raw::Registry(entries))
    }
}
