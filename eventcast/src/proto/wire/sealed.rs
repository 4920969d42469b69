//! The datagram around a box: an event `__ec_sealed`, which an old peer can read and delivers to no
//! listener (WIRE.md section 8).
//!
//! As it is written here it has one form, in which nothing differs but its id, three lengths and
//! the box. That form is read fast; any other is read the general way, which accepts the keys in
//! any order.

use super::{
    Fault, Metadata, SEALED,
    control::one_binary,
    metadata::{MAX_OUTER, Outer},
    seq_id::SeqIdText,
    template::AT_SEQ_ID,
};
use crate::codec::{self, RawArgs};

/// Everything before the box, with zeros where datagrams differ.
const HEAD: &[u8; 205] = b"\0\xb2\
    \xb2\0\0\0\
    \x10v\0\x03\0\0\0\
    \x10seq\0\0\0\0\0\
    \x10seqLen\0\x01\0\0\0\
    \x02seqId\0\x29\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
    \x08seqEnd\0\x01\
    \x08enc\0\0\
    \x02name\0\x0c\0\0\0__ec_sealed\0\
    \x02host\0\x01\0\0\0\0\
    \x10port\0\0\0\0\0\
    \x02hostname\0\x01\0\0\0\0\
    \x02id\0\x01\0\0\0\0\
    \x02time\0\x01\0\0\0\0\
    \0\
    \0\0\0\0\x04payload\0\
    \0\0\0\0\x050\0\
    \0\0\0\0\0";

/// Everything behind it: the ends of the array and of the payload.
const TAIL: &[u8; 2] = b"\0\0";

// Where the lengths stand, and how much more than the box each counts.
const AT_PAYLOAD: (usize, usize) = (180, 27);
const AT_ARRAY: (usize, usize) = (193, 13);
const AT_BINARY: (usize, usize) = (200, 0);

/// How many bytes stand around a box.
pub(in crate::proto) const AROUND_BOX: usize = HEAD.len() + TAIL.len();

/// Appends the datagram around a box of that length, which `write` appends.
pub(in crate::proto) fn write_sealed(
    seq_id: &SeqIdText,
    box_len: usize,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(HEAD);
    let head = &mut out[start..];
    head[AT_SEQ_ID..][..40].copy_from_slice(seq_id);
    for (at, more) in [AT_PAYLOAD, AT_ARRAY, AT_BINARY] {
        head[at..][..4].copy_from_slice(&((box_len + more) as u32).to_le_bytes());
    }
    write(out);
    debug_assert_eq!(out.len() - start, HEAD.len() + box_len);
    out.extend_from_slice(TAIL);
}

/// A datagram as a sealed bus sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum SealedFrame<'a> {
    /// A box, of which nothing has been checked.
    Box(&'a [u8]),
    /// It is ciphertext of the classic cipher.
    Classic,
    /// It is not encrypted.
    Clear,
}

impl<'a> SealedFrame<'a> {
    pub(in crate::proto) fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        match Self::read_usual(bytes) {
            Some(sealed) => Ok(Self::Box(sealed)),
            None => Self::read_any(bytes),
        }
    }

    /// The box of a datagram that has the form of [`write_sealed`].
    #[inline]
    fn read_usual(bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (head, rest) = bytes.split_first_chunk::<{ HEAD.len() }>()?;
        let sealed = rest.strip_suffix(TAIL)?;
        let mut fixed = *head;
        fixed[AT_SEQ_ID..][..40].fill(0);
        for (at, more) in [AT_PAYLOAD, AT_ARRAY, AT_BINARY] {
            let len: [u8; 4] = *head[at..].first_chunk()?;
            if u32::from_le_bytes(len) as usize != sealed.len() + more {
                return None;
            }
            fixed[at..][..4].fill(0);
        }
        // Text that is not ASCII has to be looked at.
        (fixed == *HEAD && head[AT_SEQ_ID..][..40].is_ascii()).then_some(sealed)
    }

    fn read_any(bytes: &'a [u8]) -> Result<Self, Fault> {
        let (len, bytes) = bytes.split_first_chunk::<2>().ok_or(Fault::Malformed)?;
        let len = usize::from(u16::from_be_bytes(*len));
        let (document, rest) = bytes.split_at_checked(len).ok_or(Fault::Malformed)?;
        match Metadata::parse_outer(document, SEALED)? {
            Outer::Encrypted => Ok(Self::Classic),
            Outer::Other => Ok(Self::Clear),
            Outer::Named => {
                codec::check_small_document(rest, MAX_OUTER)?;
                let mut args = RawArgs::from_payload(rest)?.iter();
                match (args.next(), args.next()) {
                    (Some(only), None) => Ok(Self::Box(one_binary(only)?)),
                    _ => Err(Fault::Malformed),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::seal::vectors;

    #[test]
    fn every_vector_is_written_and_read_both_ways() {
        for vector in vectors::good() {
            let seq_id = vector.text("seqId").unwrap().as_bytes().try_into().unwrap();
            let mut written = b"before".to_vec();
            write_sealed(&seq_id, vector.sealed.len(), &mut written, |out| {
                out.extend_from_slice(&vector.sealed);
            });
            assert_eq!(written[6..], vector.datagram, "{}", vector.label);
            assert_eq!(vector.datagram.len(), AROUND_BOX + vector.sealed.len());
            assert_eq!(
                SealedFrame::read_usual(&vector.datagram),
                Some(&vector.sealed[..])
            );
            let thorough = SealedFrame::read_any(&vector.datagram);
            assert_eq!(thorough, Ok(SealedFrame::Box(&vector.sealed)));
        }
    }

    #[test]
    fn the_quick_way_takes_nothing_that_the_thorough_way_refuses() {
        let datagram = &vectors::good()[0].datagram;
        for bit in 0..datagram.len() * 8 {
            let mut flipped = datagram.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Some(sealed) = SealedFrame::read_usual(&flipped) {
                assert_eq!(
                    SealedFrame::read_any(&flipped),
                    Ok(SealedFrame::Box(sealed)),
                    "{bit}"
                );
            }
        }
        for len in 0..datagram.len() {
            assert_eq!(SealedFrame::read(&datagram[..len]), Err(Fault::Malformed));
        }
    }
    /// A document of these elements.
    fn document(elements: &[u8]) -> Vec<u8> {
        let mut out = (elements.len() as u32 + 5).to_le_bytes().to_vec();
        out.extend_from_slice(elements);
        out.push(0);
        out
    }

    /// So many elements without values, each with a key of its own.
    fn nulls(count: usize) -> Vec<u8> {
        let keys = (0..count).map(|i| format!("\x0ak{i}\0"));
        keys.collect::<String>().into_bytes()
    }

    #[test]
    fn more_elements_than_there_are_known_ones_are_refused_before_they_are_compared() {
        let good = &vectors::good()[0];
        let metadata_len = usize::from(u16::from_be_bytes([good.datagram[0], good.datagram[1]]));
        let (metadata, payload) = good.datagram[2..].split_at(metadata_len);
        let with = |more_metadata: &[u8], more_payload: &[u8]| {
            let inside = |document: &[u8]| document[4..document.len() - 1].to_vec();
            let metadata = document(&[inside(metadata), more_metadata.to_vec()].concat());
            let payload = document(&[inside(payload), more_payload.to_vec()].concat());
            let len = (metadata.len() as u16).to_be_bytes();
            [&len[..], &metadata, &payload].concat()
        };
        let taken = Ok(SealedFrame::Box(&good.sealed[..]));
        // Twelve elements are there, and the payload, its array and the box beside.
        for (more, is_taken) in [(0, true), (20, true), (21, false), (15_000, false)] {
            let datagram = with(&nulls(more), b"");
            assert_eq!(
                SealedFrame::read(&datagram) == taken,
                is_taken,
                "{more} more"
            );
        }
        for (more, is_taken) in [(30, true), (31, false), (15_000, false)] {
            let datagram = with(b"", &nulls(more));
            assert_eq!(
                SealedFrame::read(&datagram) == taken,
                is_taken,
                "{more} beside"
            );
        }
        // However they are nested, and whatever follows the first few: it is not read.
        let inner = document(&nulls(1_000));
        let nested = [&b"\x03d\0"[..], &inner].concat();
        assert_eq!(
            SealedFrame::read(&with(&nested, b"")),
            Err(Fault::Malformed)
        );
        for behind in [&b"\xee"[..], b"\x08b\0\x07", b"\x0ak0\0"] {
            let elements = [&nulls(33), behind].concat();
            assert_eq!(
                codec::check_small_document(&document(&elements), MAX_OUTER),
                Err(codec::Malformed::TooManyElements)
            );
            assert_ne!(
                codec::check_document(&document(&elements)),
                Err(codec::Malformed::TooManyElements)
            );
        }
    }
}
