//! What the world's events carry: who sent it, the how manyth it is, and a checksum, so that a
//! receiver's side needs to trust neither the engine's numbers nor the network.

use eventcast::codec::RawArgs;

use super::{history::MessageKey, random::mix};

/// The shortest body: checksum, sender, place, length.
pub(super) const SHORTEST: usize = 8 + 4 + 8 + 4;

/// BSON's type and subtype of a binary value.
const BINARY: u8 = 5;
const GENERIC: u8 = 0;

/// What a payload says of itself, and its checksum has confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Which message it is.
    pub message: MessageKey,
    /// The checksum over all its content.
    pub digest: u64,
}

/// The name of the event that carries this message.
#[must_use]
pub(super) fn name_of(message: MessageKey) -> &'static str {
    const NAMES: [&str; 4] = [
        "tick",
        "order/placed",
        "a-rather-longer-name-of-an-event/with.parts",
        "Zeit",
    ];
    NAMES[(mix(message.place) % 4) as usize]
}

/// Writes a payload document with a body of `len` bytes, and gives the digest of its content.
pub(super) fn write(message: MessageKey, len: usize, out: &mut Vec<u8>) -> u64 {
    let len = len.max(SHORTEST);
    let array = 4 + 1 + 2 + 4 + 1 + len + 1;
    let document = 4 + 1 + 8 + array + 1;
    out.clear();
    out.extend_from_slice(&(document as u32).to_le_bytes());
    out.extend_from_slice(b"\x04payload\0");
    out.extend_from_slice(&(array as u32).to_le_bytes());
    out.extend_from_slice(&[BINARY, b'0', 0]);
    out.extend_from_slice(&(len as u32).to_le_bytes());
    out.push(GENERIC);

    let body = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&message.sender.to_le_bytes());
    out.extend_from_slice(&message.place.to_le_bytes());
    out.extend_from_slice(&(len as u32).to_le_bytes());
    let mut filler = u64::from(message.sender) << 40 ^ message.place;
    while out.len() < body + len {
        filler = mix(filler.wrapping_add(0x9E37_79B9_7F4A_7C15));
        let left = body + len - out.len();
        out.extend_from_slice(&filler.to_le_bytes()[..left.min(8)]);
    }
    let digest = checksum(&out[body + 8..]);
    out[body..body + 8].copy_from_slice(&digest.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    digest
}

/// Reads what [`write`] wrote. `None`: the content is not what any sender wrote.
#[must_use]
pub(super) fn read(name: &str, args: RawArgs<'_>) -> Option<Stamp> {
    let mut values = args.iter();
    let value = values.next()?;
    if value.element_type != BINARY || values.next().is_some() {
        return None;
    }
    let stamp = read_body(value.bytes.get(5..)?)?;
    (value.bytes[4] == GENERIC && name == name_of(stamp.message)).then_some(stamp)
}

/// Reads the content of the binary value that [`write`] wrote.
#[must_use]
pub(super) fn read_body(body: &[u8]) -> Option<Stamp> {
    let (digest, covered) = body.split_first_chunk()?;
    let (sender, rest) = covered.split_first_chunk()?;
    let (place, rest) = rest.split_first_chunk()?;
    let (len, _) = rest.split_first_chunk()?;
    let digest = u64::from_le_bytes(*digest);
    if body.len() != u32::from_le_bytes(*len) as usize || checksum(covered) != digest {
        return None;
    }
    let message = MessageKey {
        sender: u32::from_le_bytes(*sender),
        place: u64::from_le_bytes(*place),
    };
    Some(Stamp { message, digest })
}

/// Differs for any two contents that differ in a few bits: every step can be undone.
fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let step = |sum: u64, word: &[u8; 8]| {
        (sum ^ u64::from_le_bytes(*word))
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(29)
    };
    let sum = words.iter().fold(bytes.len() as u64, step);
    mix(step(sum, &last))
}
