//! One datagram from the network, whatever it holds.

use bson::{Document, doc};
use eventcast::{
    codec::check_document,
    proto::{DropCause, Engine, Events, Now},
};

use super::{
    ALL_OVER, Got, MAX_INPUT, address, at, check_bounds, new_engine, run_until, take_messages,
};
use crate::craft;

const FROM: u16 = 9100;

/// What one datagram did.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    messages: Vec<Got>,
    drops: Vec<u64>,
    incomplete: usize,
}

/// Hands one datagram to an engine.
///
/// It is delivered at most once, dropped for one cause, or held, within the bounds; the sender
/// being known or not, which decides how it is read, makes no difference; a second copy of it
/// brings nothing; and in the end nothing is held for it.
pub fn datagram(bytes: &[u8]) {
    if bytes.len() > MAX_INPUT {
        return;
    }
    let mut events = Events::new();
    let now = at(std::time::Duration::from_secs(30));
    let mut stranger = new_engine("feedfacefeedface", 9001);
    let outcome = hand_in(&mut stranger, &mut events, now, bytes);
    let drops: u64 = outcome.drops.iter().sum();
    assert!(
        outcome.messages.len() as u64 + drops <= 1,
        "one datagram, one outcome: {outcome:?}"
    );

    let metadata = metadata_of(bytes);
    let is_reserved = metadata
        .as_ref()
        .and_then(|metadata| metadata.get_str("name").ok())
        .is_some_and(|name| name.starts_with("__ec_"));
    if metadata_bytes(bytes).is_none() {
        assert_eq!(drops, 1, "without metadata it cannot be good");
    }
    let held = stranger.stats().held_bytes;
    if outcome.messages.is_empty() && drops == 0 && !is_reserved {
        assert!(held > 0, "what is neither delivered nor dropped is held");
    }

    if let Some(metadata) = metadata {
        let mut known = new_engine("feedfacefeedface", 9001);
        hand_in(&mut known, &mut events, now, &greeting_of(metadata));
        let other = hand_in(&mut known, &mut events, now, bytes);
        assert_eq!(outcome, other, "as of a stranger, and of a known sender");
    }

    let mut delivered = outcome.messages.len();
    delivered += hand_in(&mut stranger, &mut events, now, bytes)
        .messages
        .len();
    if held > 0 {
        let end = now.elapsed + ALL_OVER;
        delivered += run_until(&mut stranger, &mut events, (now, end), 0).len();
        assert_eq!(stranger.stats().held_bytes, 0);
    }
    assert!(delivered <= 1, "delivered {delivered} times");
}

fn hand_in(engine: &mut Engine, events: &mut Events, now: Now, bytes: &[u8]) -> Outcome {
    let before = engine.stats();
    engine.handle_datagram(now, address(FROM), bytes);
    check_bounds(engine);
    let messages = take_messages(engine, events);
    let after = engine.stats();
    assert_eq!(after.received_datagrams, before.received_datagrams + 1);
    assert_eq!(
        after.received_bytes,
        before.received_bytes + bytes.len() as u64
    );
    assert_eq!(
        after.delivered_messages - before.delivered_messages,
        messages.len() as u64
    );
    let count = |cause: &DropCause| after.drops.get(*cause) - before.drops.get(*cause);
    Outcome {
        messages,
        drops: DropCause::ALL.iter().map(count).collect(),
        incomplete: after.incomplete_messages - before.incomplete_messages,
    }
}

/// The metadata, where it is a document at all.
fn metadata_bytes(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk()?;
    let metadata = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
    check_document(metadata).ok()?;
    Some(metadata)
}

/// The metadata as the `bson` crate reads it. It refuses names in arrays that are not UTF-8, which
/// nobody reads.
fn metadata_of(bytes: &[u8]) -> Option<Document> {
    Document::from_reader(metadata_bytes(bytes)?).ok()
}

/// Another message by whoever describes itself so: one that nobody has a reason to wait for.
fn greeting_of(mut metadata: Document) -> Vec<u8> {
    let other_id = if metadata
        .get_str("seqId")
        .is_ok_and(|id| id.starts_with('f'))
    {
        "e".repeat(40)
    } else {
        "f".repeat(40)
    };
    for key in ["n", "sh"] {
        metadata.remove(key);
    }
    for (key, value) in doc! {
        "seq": 0, "seqLen": 1, "seqId": other_id, "seqEnd": true, "name": "greeting",
    } {
        // In its place, where it has one.
        metadata.insert(key, value);
    }
    let metadata = craft::bytes_of(&metadata);
    let length = u16::try_from(metadata.len()).unwrap_or(u16::MAX);
    let payload = craft::bytes_of(&doc! { "payload": [] });
    [&length.to_be_bytes()[..], &metadata, &payload].concat()
}
