//! What arguments take as values, and its bound.

use bson::{Bson, doc};

use super::*;

/// `count` elements in an array, without the names that they should have.
fn nameless(element: &[u8], count: usize) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for _ in 0..count {
        bytes.extend_from_slice(element);
    }
    bytes.push(0);
    let length = bytes.len() as i32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    assert_eq!(
        check_document(&payload_of(&bytes)),
        Ok(()),
        "it is good BSON"
    );
    bytes
}

fn payload_of(array: &[u8]) -> Vec<u8> {
    let mut bytes = (4 + 1 + 8 + array.len() as i32 + 1).to_le_bytes().to_vec();
    bytes.extend_from_slice(b"\x04payload\0");
    bytes.extend_from_slice(array);
    bytes.push(0);
    bytes
}

fn decoded(array: &[u8], limit: usize) -> Result<Args, DecodeError> {
    Args::from_raw_within(RawArgs::from_parts(element::ARRAY, array), limit)
}

#[test]
fn a_message_that_is_too_large_as_values() {
    // A null; an empty document; a document with one key, an empty array, an empty string.
    let cheap: [(&[u8], usize); 5] = [
        (b"\x0a\0", size_of::<Bson>()),
        (b"\x03\0\x05\0\0\0\0", size_of::<Bson>()),
        (b"\x03\0\x07\0\0\0\x0a\0\0", 5 * size_of::<Bson>()),
        (b"\x04\0\x05\0\0\0\0", size_of::<Bson>()),
        (b"\x02\0\x01\0\0\0\0", size_of::<Bson>()),
    ];
    const COUNT: usize = 100_000;
    for (element, least) in cheap {
        let array = nameless(element, COUNT);
        let refused = decoded(&array, least * COUNT - 1).unwrap_err();
        let DecodeErrorKind::TooMuchMemory { needed, limit } = *refused.kind() else {
            panic!("{refused}")
        };
        assert_eq!(limit, least * COUNT - 1);
        // The estimate is what the quick answer relies on.
        assert!(
            needed >= least * COUNT && needed <= 128 * array.len(),
            "{needed}"
        );
        assert!(
            refused.to_string().contains("max_message_size"),
            "{refused}"
        );
        assert_eq!(decoded(&array, needed).unwrap().len(), COUNT);
    }
}

#[test]
fn what_is_inside_counts() {
    let deep = nameless(b"\x0a\0", 100_000);
    let inner = [&b"\x04\0"[..], &deep].concat();
    for inner in [nameless(&inner, 1), {
        let document = [
            &(deep.len() as i32 + 4 + 3 + 1).to_le_bytes()[..],
            b"\x04a\0",
            &deep,
            b"\0",
        ]
        .concat();
        nameless(&[&b"\x03\0"[..], &document].concat(), 1)
    }] {
        assert!(decoded(&inner, 10_000_000).is_err());
        assert!(decoded(&inner, 20_000_000).is_ok());
    }
    let text = doc! { "payload": ["x".repeat(1_000_000)] }
        .to_vec()
        .unwrap();
    let text = RawArgs::from_payload(&text).unwrap();
    assert!(Args::from_raw_within(text, 900_000).is_err());
    assert!(Args::from_raw_within(text, 1_100_000).is_ok());
}

#[test]
fn what_honest_senders_send_has_room() {
    // The limit of a bus whose `max_message_size` is the length of this message.
    let honest = [
        Bson::Int32(7),
        Bson::Double(0.5),
        Bson::Int64(7),
        Bson::String("a word".to_owned()),
    ];
    for value in honest {
        let bytes = doc! { "payload": vec![value.clone(); 2_700_000] }.to_vec();
        let bytes = bytes.unwrap();
        let args = RawArgs::from_payload(&bytes).unwrap();
        assert!(
            super::super::memory::check(args, 10 * bytes.len().max(32 << 20)).is_ok(),
            "{value}"
        );
    }
}
