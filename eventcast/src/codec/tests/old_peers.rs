//! What is refused for the sake of old peers, and where it stands.

use bson::{Bson, doc, oid::ObjectId};

use super::*;
use crate::event::ShapeKind;

fn decimal() -> Bson {
    Bson::Decimal128("1.5".parse().unwrap())
}

fn pointer() -> Bson {
    let bytes =
        b"\x1b\0\0\0\x0cp\0\x03\0\0\0db\0\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\0";
    let document = bson::Document::from_reader(&bytes[..]).unwrap();
    document.get("p").unwrap().clone()
}

fn refused(args: Args, shape: Option<ShapeKind>) -> Option<String> {
    let mut payload = Vec::new();
    args.encode_args(&mut payload).unwrap();
    let error = check_for_old_peers(&payload, shape).err()?;
    assert!(matches!(error.kind(), EncodeErrorKind::NotForOldPeers(_)));
    assert!(error.to_string().contains("old_peers"), "{error}");
    Some(format!("{} at {:?}", error.kind(), error.path()))
}

#[test]
fn anywhere_in_the_arguments() {
    for (value, name) in [(decimal(), "a decimal128"), (pointer(), "a DBPointer")] {
        let scope = bson::JavaScriptCodeWithScope {
            code: "x".to_owned(),
            scope: doc! { "inside": value.clone() },
        };
        for (args, path) in [
            (args![value.clone()], "[0]"),
            (args![1, value.clone(), 2], "[1]"),
            (
                args![1, doc! { "a": { "b": [0, value.clone()] } }],
                "[1].a.b[1]",
            ),
            (args![scope], "[0].inside"),
        ] {
            let text = refused(args, None).unwrap();
            assert!(text.starts_with(name), "{text}");
            assert!(text.ends_with(&format!(" at {path:?}")), "{text}");
        }
    }
}

#[test]
fn the_path_of_a_typed_event_begins_with_its_field() {
    let args = || args![doc! { "price": decimal() }];
    let at = |shape| refused(args(), Some(shape)).unwrap();
    assert!(at(ShapeKind::Named).ends_with(" at \"price\""));
    assert!(at(ShapeKind::Newtype).ends_with(" at \"price\""));
    assert!(at(ShapeKind::Tuple(1)).ends_with(" at \"[0].price\""));
}

#[test]
fn all_other_types_pass() {
    let others = args![
        1,
        2_i64,
        0.5,
        "text",
        true,
        Bson::Null,
        Bson::Undefined,
        Bson::MinKey,
        Bson::MaxKey,
        ObjectId::from_bytes([1; 12]),
        bson::DateTime::from_millis(5),
        bson::Timestamp {
            time: 1,
            increment: 2
        },
        Bson::Symbol("s".to_owned()),
        Bson::JavaScriptCode("c".to_owned()),
        doc! { "a": [{ "b": Bson::Null }] }
    ];
    assert_eq!(refused(others, None), None);
    assert_eq!(refused(args![], Some(ShapeKind::Unit)), None);
}
