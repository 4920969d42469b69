//! Bytes that no encoder made.

use std::collections::BTreeMap;

use bson::{Bson, doc};
use serde::{Deserialize, Serialize};

use super::*;
use crate::text::{HOSTILE, assert_is_printable};

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only decoded")]
struct Strict {
    level: Level,
    counts: BTreeMap<String, u8>,
    checked: Checked,
}

#[derive(Deserialize, Debug)]
enum Level {
    High,
}

/// Puts what came into its error.
#[derive(Debug)]
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Err(serde::de::Error::custom(format!("{text} is not right")))
    }
}

#[test]
fn what_an_error_shows_of_a_text_is_one_harmless_line() {
    for &text in HOSTILE {
        // A key of BSON ends at the first zero.
        let key = text.replace('\0', "");
        let documents = [
            doc! { &key: 1 },
            doc! { "level": text },
            doc! { "level": "High", "counts": { &key: "x" } },
            doc! { "level": "High", "counts": { "a": text } },
            doc! { "level": "High", "counts": {}, "checked": text },
            doc! { "level": { &key: 1 } },
        ];
        for document in documents {
            let error = from_arg::<Strict>(document.clone()).expect_err("it does not fit");
            for shown in [
                error.to_string(),
                format!("{error:?}"),
                error.kind().to_string(),
                format!("{:?}", error.kind()),
            ] {
                assert_is_printable(&shown);
            }
        }
        let error = from_arg::<char>(text).expect_err("it is no character");
        assert_is_printable(&error.to_string());
        let args = args![text, doc! { &key: [text] }];
        assert_is_printable(&format!("{args:?}"));
    }
}

/// A payload document around an array of one argument that is spelled out.
fn crafted(kind: u8, value: &[u8]) -> Vec<u8> {
    let document = |elements: &[u8]| {
        let mut bytes = (elements.len() as i32 + 5).to_le_bytes().to_vec();
        bytes.extend_from_slice(elements);
        bytes.push(0);
        bytes
    };
    let array = document(&[&[kind, b'0', 0], value].concat());
    document(&[b"\x04payload\0", &array[..]].concat())
}

fn nested(levels: usize, kind: u8) -> Vec<u8> {
    let mut inner = vec![5, 0, 0, 0, 0];
    for _ in 1..levels {
        let mut outer = (inner.len() as i32 + 8).to_le_bytes().to_vec();
        outer.extend([kind, b'0', 0]);
        outer.extend(inner);
        outer.push(0);
        inner = outer;
    }
    crafted(kind, &inner)
}

#[derive(Serialize, Deserialize, Debug)]
struct Tree(#[serde(default)] Vec<Self>);

#[derive(Deserialize, Debug)]
#[serde(untagged)]
#[expect(dead_code, reason = "only decoded")]
enum Any {
    Number(f64),
    List(Vec<Self>),
    Map(BTreeMap<String, Self>),
}

#[test]
fn depth_within_the_limit_decodes_on_a_small_stack() {
    // As small as a thread of a runtime, without optimisation.
    let small = std::thread::Builder::new().stack_size(2 << 20);
    let done = small.spawn(|| {
        for kind in [element::DOCUMENT, element::ARRAY] {
            for levels in [1, 32, 50, MAX_DEPTH - 2] {
                let bytes = nested(levels, kind);
                assert_eq!(check_document(&bytes), Ok(()));
                let args = RawArgs::from_payload(&bytes).unwrap();
                let value = Args::from_raw(args).unwrap();
                assert_eq!(event_of(&value), bytes);
                assert_eq!(decode_args::<(Bson,)>(args).unwrap().0, value[0]);
                assert!(decode_args::<(Any,)>(args).is_ok());
                if kind == element::ARRAY {
                    assert!(decode_args::<(Tree,)>(args).is_ok());
                }
            }
            for levels in [MAX_DEPTH - 1, 100, 125, 200, 500, 1000, 7000] {
                assert_eq!(
                    check_document(&nested(levels, kind)),
                    Err(Malformed::TooDeep)
                );
            }
        }
    });
    done.unwrap().join().unwrap();
}

#[test]
fn depth_that_was_not_checked_is_an_error() {
    let bytes = nested(1000, element::ARRAY);
    let args = RawArgs::from_payload(&bytes).unwrap();
    assert!(Args::from_raw(args).is_err());
    assert!(decode_args::<(Bson,)>(args).is_err());
    assert!(decode_args::<(Tree,)>(args).is_err());
}

#[test]
fn a_type_that_takes_one_value_for_ever_is_refused() {
    #[derive(Deserialize, Debug)]
    #[expect(dead_code, reason = "only decoded")]
    struct List(Option<Box<Self>>);
    #[derive(Deserialize, Debug)]
    #[serde(transparent)]
    #[expect(dead_code, reason = "only decoded")]
    struct Silent(Option<Box<Self>>);
    let small = std::thread::Builder::new().stack_size(2 << 20);
    let done = small.spawn(|| {
        let error = from_arg::<List>(5).unwrap_err();
        assert_eq!(*error.kind(), DecodeErrorKind::TooDeep);
        assert_eq!(
            *from_arg::<Silent>(5).unwrap_err().kind(),
            DecodeErrorKind::TooDeep
        );
        assert!(from_arg::<List>(()).is_ok());
        // The list of arguments as a whole goes round as well.
        assert!(args![5].decode::<List>().is_err());
        assert!(args![5].decode::<Silent>().is_err());
    });
    done.unwrap().join().unwrap();
}

#[test]
fn an_array_in_an_array_decodes_into_what_it_is_not() {
    let bytes = event_of(&args![[1, 2], doc! { "a": [1] }]);
    let args = RawArgs::from_payload(&bytes).unwrap();
    assert!(decode_args::<(String, u8)>(args).is_err());
    assert!(decode_args::<(BTreeMap<String, u8>,)>(args).is_err());
    assert!(decode_args::<(Vec<u8>, BTreeMap<String, Vec<u8>>)>(args).is_ok());
}

#[test]
fn malformed_values_are_errors_even_unchecked() {
    let values: [(u8, &[u8]); 10] = [
        (element::STRING, b"\x03\0\0\0\xff\xfe\0"),
        (element::STRING, b"\0\0\0\0"),
        (element::BINARY, b"\0\0\0\0"),
        (element::BINARY, b"\x01\0\0\0\x02x"),
        (element::REGEX, b"\xff\0\0"),
        (element::CODE_WITH_SCOPE, b"\x04\0\0\0"),
        (element::CODE_WITH_SCOPE, b"\x09\0\0\0\xff\xff\xff\x7f\0"),
        (element::DB_POINTER, b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        (element::DOCUMENT, b"\0\0\0\0"),
        (0x14, b""),
    ];
    for (kind, value) in values {
        let args = RawArgs::from_parts(kind, value);
        // Whatever their result, none may panic.
        let _ = Args::from_raw(args);
        let _ = decode_args::<(Bson,)>(args);
        let _ = decode_args::<(bson::RawBson,)>(args);
        let _ = decode_args::<(String,)>(args);
        let _ = decode_args::<(Vec<u8>,)>(args);
        let _ = decode_args::<(bson::RawDocumentBuf,)>(args);
        assert!(check_document(&crafted(kind, value)).is_err(), "{kind:#x}");
    }
}

#[test]
fn names_in_arrays_may_be_anything() {
    let mut bytes = event_of(&args![1, 2]);
    for (i, byte) in bytes.clone().iter().enumerate() {
        if matches!(byte, b'0' | b'1') {
            bytes[i] = 0xFF;
        }
    }
    assert_eq!(check_document(&bytes), Ok(()));
    let args = RawArgs::from_payload(&bytes).unwrap();
    assert_eq!(decode_args(args), Ok((1_u8, 2_u8)));
    assert_eq!(Args::from_raw(args).unwrap(), args![1, 2]);
}
