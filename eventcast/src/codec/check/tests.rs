//! Documents that are good, and every way of not being it.

use bson::{Bson, doc};
use proptest::prelude::*;

use super::{super::raw::RawElements, *};

/// A document around elements that are spelled out.
fn document(elements: &[u8]) -> Vec<u8> {
    let mut bytes = (elements.len() as i32 + 5).to_le_bytes().to_vec();
    bytes.extend_from_slice(elements);
    bytes.push(0);
    bytes
}

/// One element called `p`.
fn element(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, b'p', 0];
    bytes.extend_from_slice(value);
    bytes
}

fn check_element(kind: u8, value: &[u8]) -> Result<(), Malformed> {
    check_document(&document(&element(kind, value)))
}

/// `depth` documents or arrays, each inside the one before.
fn nested(depth: usize, kind: u8) -> Vec<u8> {
    (1..depth).fold(document(&[]), |inner, _| document(&element(kind, &inner)))
}

/// A document with a value of every BSON type.
fn every_type() -> Vec<u8> {
    let mut elements = Vec::new();
    let string = b"\x03\0\0\0hi\0";
    let scope = {
        let mut inner = string.to_vec();
        inner.extend(document(&element(0x0A, b"")));
        let mut whole = (inner.len() as i32 + 4).to_le_bytes().to_vec();
        whole.extend(inner);
        whole
    };
    let pointer = [string.as_slice(), &[7; 12]].concat();
    let values: [(u8, &[u8]); 23] = [
        (0x01, &[0; 8]),
        (0x02, string),
        (0x03, &document(&[])),
        (0x04, &document(&[])),
        (0x05, b"\x02\0\0\0\x00hi"),
        (0x05, b"\x06\0\0\0\x02\x02\0\0\0hi"),
        (0x05, b"\0\0\0\0\x80"),
        (0x06, b""),
        (0x07, &[1; 12]),
        (0x08, &[1]),
        (0x09, &[2; 8]),
        (0x0A, b""),
        (0x0B, b"a+\0im\0"),
        (0x0C, &pointer),
        (0x0D, string),
        (0x0E, string),
        (0x0F, &scope),
        (0x10, &[3; 4]),
        (0x11, &[4; 8]),
        (0x12, &[5; 8]),
        (0x13, &[6; 16]),
        (0x7F, b""),
        (0xFF, b""),
    ];
    for (i, (kind, value)) in values.into_iter().enumerate() {
        elements.push(kind);
        elements.extend(format!("key {i}\0").as_bytes());
        elements.extend(value);
    }
    document(&elements)
}

#[test]
fn every_type_is_taken_and_no_cut_of_it() {
    let bytes = every_type();
    assert_eq!(check_document(&bytes), Ok(()));
    for length in 0..bytes.len() {
        assert!(check_document(&bytes[..length]).is_err(), "cut at {length}");
    }
    for length in 4..bytes.len() {
        let mut cut = bytes[..length].to_vec();
        cut[..4].copy_from_slice(&(length as i32).to_le_bytes());
        assert!(
            check_document(&cut).is_err(),
            "cut at {length}, with its length set right"
        );
    }
}

#[test]
fn lengths_of_the_document() {
    for declared in [-1, 0, 4, i32::MAX, i32::MIN] {
        let mut bytes = document(&element(0x0A, b""));
        bytes[..4].copy_from_slice(&declared.to_le_bytes());
        assert_eq!(check_document(&bytes), Err(Malformed::Length), "{declared}");
        let inner = element(0x03, &bytes);
        assert_eq!(
            check_document(&document(&inner)),
            Err(Malformed::Length),
            "{declared}"
        );
    }
    let mut extra = document(&element(0x0A, b""));
    extra.extend([0; 3]);
    assert_eq!(check_document(&extra), Err(Malformed::TrailingBytes));

    let mut last = document(&element(0x0A, b""));
    *last.last_mut().unwrap() = 1;
    assert_eq!(check_document(&last), Err(Malformed::NoFinalZero));
    assert_eq!(
        check_element(0x03, &[5, 0, 0, 0, 9]),
        Err(Malformed::NoFinalZero)
    );

    // Ends before its length field says.
    assert_eq!(
        check_document(&document(&[0, 0, 0])),
        Err(Malformed::Length)
    );
    assert_eq!(check_document(b""), Err(Malformed::Truncated));
    assert_eq!(check_document(&[5, 0, 0, 0, 0]), Ok(()));
}

#[test]
fn lengths_of_strings_and_binaries() {
    for declared in [i32::MAX, -1, i32::MIN, 4] {
        let value = [&declared.to_le_bytes()[..], b"hi\0"].concat();
        for kind in [0x02, 0x0D, 0x0E, 0x0C] {
            assert_eq!(
                check_element(kind, &value),
                Err(Malformed::Length),
                "{kind:#x}"
            );
        }
        assert_eq!(
            check_element(0x05, &value),
            Err(Malformed::Length),
            "{declared}"
        );
    }
    assert_eq!(check_element(0x02, b"\0\0\0\0\0"), Err(Malformed::Length));
    assert_eq!(
        check_element(0x02, b"\x03\0\0\0hix"),
        Err(Malformed::NoFinalZero)
    );
    assert_eq!(
        check_element(0x02, b"\x03\0\0\0\0\0\0"),
        Ok(()),
        "zeros inside are text"
    );
    // The old binary's inner length.
    assert_eq!(
        check_element(0x05, b"\x03\0\0\0\x02abc"),
        Err(Malformed::Length)
    );
    assert_eq!(
        check_element(0x05, b"\x06\0\0\0\x02\x03\0\0\0hi"),
        Err(Malformed::Length)
    );
}

#[test]
fn code_with_scope_holds_exactly_its_parts() {
    let scope = |total: i32, code: &[u8], scope: &[u8]| {
        check_element(0x0F, &[&total.to_le_bytes(), code, scope].concat())
    };
    let (code, empty) = (b"\x02\0\0\0x\0".as_slice(), document(&[]));
    assert_eq!(scope(15, code, &empty), Ok(()));
    for total in [-1, 0, 3, 7, 14, 16, i32::MAX] {
        assert!(scope(total, code, &empty).is_err(), "{total}");
    }
    assert!(scope(15, b"\x07\0\0\0x\0", &empty).is_err());
    let twice = document(&[element(0x0A, b""), element(0x0A, b"")].concat());
    assert_eq!(scope(21, code, &twice), Err(Malformed::DuplicateKey));
}

#[test]
fn text_must_be_utf8() {
    assert_eq!(
        check_element(0x02, b"\x03\0\0\0\xff\xfe\0"),
        Err(Malformed::Utf8)
    );
    assert_eq!(check_element(0x0B, b"\xff\0\0"), Err(Malformed::Utf8));
    assert_eq!(check_element(0x0B, b"\0\xff\0"), Err(Malformed::Utf8));
    assert_eq!(check_element(0x0B, "é\0i\0".as_bytes()), Ok(()));
    for length in 1..20 {
        let mut key = vec![0x0A];
        key.resize(length, b'k');
        let bad = document(&[&key[..], b"\xff\0"].concat());
        assert_eq!(check_document(&bad), Err(Malformed::Utf8), "{length}");
        let good = document(&[&key[..], "ü\0".as_bytes()].concat());
        assert_eq!(check_document(&good), Ok(()), "{length}");
    }
}

#[test]
fn booleans_and_types() {
    assert_eq!(check_element(0x08, &[0]), Ok(()));
    assert_eq!(check_element(0x08, &[2]), Err(Malformed::Boolean(2)));
    assert_eq!(check_element(0x08, &[]), Err(Malformed::Truncated));
    for kind in [0x14, 0x15, 0x7E, 0x80, 0xFE] {
        assert_eq!(
            check_element(kind, &[1, 0, 0, 0]),
            Err(Malformed::UnknownType(kind))
        );
    }
    // An int32 whose type byte was changed.
    for kind in [0x0C, 0x0F, 0x14, 0xFF] {
        assert!(check_element(kind, &[1, 0, 0, 0]).is_err(), "{kind:#x}");
    }
}

#[test]
fn depth_is_limited() {
    for kind in [0x03, 0x04] {
        for depth in 1..=MAX_DEPTH {
            assert_eq!(check_document(&nested(depth, kind)), Ok(()), "{depth}");
        }
        for depth in [MAX_DEPTH + 1, 100, 125, 200, 500, 1000, 7000] {
            assert_eq!(
                check_document(&nested(depth, kind)),
                Err(Malformed::TooDeep)
            );
        }
    }
    // A scope is a level as well.
    let scope = |inner: &[u8]| {
        let whole = [b"\x02\0\0\0x\0", inner].concat();
        document(&element(
            0x0F,
            &[&(whole.len() as i32 + 4).to_le_bytes(), &whole[..]].concat(),
        ))
    };
    assert_eq!(check_document(&scope(&nested(MAX_DEPTH - 1, 0x03))), Ok(()));
    assert_eq!(
        check_document(&scope(&nested(MAX_DEPTH, 0x03))),
        Err(Malformed::TooDeep)
    );
}

#[test]
fn a_deep_document_is_still_checked_inside() {
    let bad = (1..40).fold(document(&element(0x08, &[7])), |inner, _| {
        document(&element(0x03, &inner))
    });
    assert_eq!(check_document(&bad), Err(Malformed::Boolean(7)));
}

#[test]
fn keys_differ_in_documents_and_not_in_arrays() {
    let twice = [element(0x0A, b""), element(0x0A, b"")].concat();
    assert_eq!(
        check_document(&document(&twice)),
        Err(Malformed::DuplicateKey)
    );
    assert_eq!(
        check_element(0x03, &document(&twice)),
        Err(Malformed::DuplicateKey)
    );
    assert_eq!(check_element(0x04, &document(&twice)), Ok(()));
    assert_eq!(
        check_element(0x04, &document(b"\x0A\xff\0")),
        Ok(()),
        "not read"
    );
    // The same key in two documents is no double.
    assert_eq!(check_element(0x03, &document(&element(0x0A, b""))), Ok(()));
    // A double on both sides of a nested document that has that key too.
    let around = [
        element(0x0A, b""),
        [&[0x03, b'q', 0], &document(&element(0x0A, b""))[..]].concat(),
        element(0x10, &[0; 4]),
    ];
    assert_eq!(
        check_document(&document(&around.concat())),
        Err(Malformed::DuplicateKey)
    );
}

#[test]
fn one_double_is_found_among_any_number_of_keys() {
    for count in (1..100).chain([1000, 20_000]) {
        let keys: Vec<String> = (0..count).map(|i| format!("{i:x}")).collect();
        let elements = |keys: &mut dyn Iterator<Item = &String>| {
            document(&keys.fold(Vec::new(), |mut bytes, key| {
                bytes.push(0x0A);
                bytes.extend(key.as_bytes());
                bytes.push(0);
                bytes
            }))
        };
        assert_eq!(
            check_document(&elements(&mut keys.iter())),
            Ok(()),
            "{count}"
        );
        for double in [0, count / 2, count - 1] {
            let bytes = elements(&mut keys.iter().chain([&keys[double]]));
            assert_eq!(
                check_document(&bytes),
                Err(Malformed::DuplicateKey),
                "{count}"
            );
        }
    }
}

#[test]
fn long_keys_are_compared_to_their_end() {
    for length in 0..40 {
        let key = |last: u8| {
            let mut element = vec![0x0A];
            element.resize(length + 1, b'k');
            element.extend([last, 0]);
            element
        };
        let differ = document(&[key(b'a'), key(b'b')].concat());
        assert_eq!(check_document(&differ), Ok(()), "{length}");
        let same = document(&[key(b'a'), key(b'c'), key(b'a')].concat());
        assert_eq!(
            check_document(&same),
            Err(Malformed::DuplicateKey),
            "{length}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = check_document(&bytes);
        let _ = check_document(&document(&bytes));
    }

    /// What the check takes, the reference can read; what it cannot, the check refuses.
    #[test]
    fn mutated_bytes_agree_with_the_reference(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = every_type();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if check_document(&bytes).is_ok() {
            let raw = bson::RawDocument::from_bytes(&bytes).expect("the frame is good");
            let read: bson::Document = raw.try_into().expect("every value is good");
            prop_assert_eq!(read.len(), RawElements::of_document(&bytes).count());
        }
    }
}

#[test]
fn what_the_reference_writes_is_taken() {
    let document = doc! { "payload": [1, 2_i64, { "a": { "b": [Bson::Null, true] } }, "x"] };
    assert_eq!(check_document(&document.to_vec().unwrap()), Ok(()));
}
