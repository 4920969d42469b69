//! Bytes that were written as lists of numbers: what makes an event ten times as large as its user
//! thinks.

use super::{
    MAX_DEPTH, element,
    raw::{RawArgs, RawElements, RawValue, read_i32},
};

/// How many numbers make a list worth a word.
const LONG: usize = 4_096;

/// Where the longest list stands of which every number is one that a byte holds, and how many it
/// has. `None`: none is long.
///
/// The path is that of the fields; it is empty where the event is the list.
pub(crate) fn longest_byte_list(payload: &[u8]) -> Option<(String, usize)> {
    let args = RawArgs::from_payload(payload).ok()?;
    let mut longest = None;
    match args.iter().count() {
        1 => args
            .iter()
            .for_each(|value| look(value, "", MAX_DEPTH, &mut longest)),
        _ => {
            // The event's own fields, if it is a newtype of a list of bytes.
            let (element_type, bytes) = args.parts();
            look(
                RawValue {
                    element_type,
                    bytes,
                },
                "",
                MAX_DEPTH,
                &mut longest,
            );
        }
    }
    longest
}

fn look(value: RawValue<'_>, path: &str, levels: usize, longest: &mut Option<(String, usize)>) {
    let Some(levels) = levels.checked_sub(1) else {
        return;
    };
    let is_array = match value.element_type {
        element::ARRAY => true,
        element::DOCUMENT => false,
        _ => return,
    };
    let items = RawElements::of_document(value.bytes);
    if is_array && let Some(count) = bytes_in(items) {
        if count >= LONG && longest.as_ref().is_none_or(|(_, most)| count > *most) {
            *longest = Some((path.to_owned(), count));
        }
        return;
    }
    for item in items {
        let key = String::from_utf8_lossy(item.key_bytes());
        let inner = match (is_array, path) {
            (true, _) => format!("{path}[{key}]"),
            (false, "") => key.into_owned(),
            (false, _) => format!("{path}.{key}"),
        };
        look(item.value, &inner, levels, longest);
    }
}

/// How many items there are, if each is a number that a byte holds.
fn bytes_in(mut items: RawElements<'_>) -> Option<usize> {
    items.try_fold(0, |count, item| {
        let is_byte = item.value.element_type == element::INT32
            && read_i32(item.value.bytes, 0).is_some_and(|number| (0..=255).contains(&number));
        is_byte.then_some(count + 1)
    })
}

#[cfg(test)]
mod tests {
    use bson::{Bson, doc};

    use super::*;
    use crate::{args, codec::IntoArgs};

    fn found(args: crate::Args) -> Option<(String, usize)> {
        let mut payload = Vec::new();
        args.encode_args(&mut payload).unwrap();
        longest_byte_list(&payload)
    }

    #[test]
    fn the_longest_is_found_wherever_it_stands() {
        let bytes = |count: usize| Bson::Array(vec![Bson::Int32(255); count]);
        let at = |path: &str, count| Some((path.to_owned(), count));
        assert_eq!(
            found(args![doc! { "pixels": bytes(5_000) }]),
            at("pixels", 5_000)
        );
        let inside =
            doc! { "a": [{ "b": bytes(5_000) }, { "b": bytes(6_000) }], "c": bytes(4_096) };
        assert_eq!(found(args![inside]), at("a[1].b", 6_000));
        assert_eq!(found(args![1, bytes(5_000)]), at("[1]", 5_000));
        assert_eq!(found(args![bytes(5_000)]), at("", 5_000));

        assert_eq!(found(args![doc! { "short": bytes(4_095) }]), None);
        let mut wide = vec![Bson::Int32(7); 5_000];
        wide.push(Bson::Int32(256));
        assert_eq!(found(args![doc! { "wide": wide }]), None);
        assert_eq!(found(args![]), None);
    }
}
