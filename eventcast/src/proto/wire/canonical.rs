//! Reading the datagrams of a sender that was heard before, when they have the layout that all known senders write.
//!
//! Then everything is at a fixed place or equal to what was checked the last time, and comparing it is all there is
//! to do. Whatever is in the least unusual is left to [`Datagram`](super::Datagram), which is slower and knows every
//! case; both give the same values.

use super::{
    MAX_CHUNKS, MAX_NAME, MessageId,
    template::{
        AT_DOCUMENT, AT_SEQ, AT_SEQ_END, AT_SEQ_ID, AT_SEQ_LEN, INC_KEY, NUMBER_KEY, PREFIX,
        SCHEMA_KEY, TIME_END, TIME_KEY,
    },
};

/// A datagram of a known sender.
pub(in crate::proto) struct Canonical<'a> {
    pub(in crate::proto) seq: u32,
    pub(in crate::proto) seq_len: u32,
    pub(in crate::proto) seq_id: &'a str,
    pub(in crate::proto) message_id: MessageId,
    pub(in crate::proto) name: &'a str,
    pub(in crate::proto) time: &'a str,
    pub(in crate::proto) incarnation: Option<u64>,
    pub(in crate::proto) number: Option<u64>,
    pub(in crate::proto) schema: Option<i64>,
    pub(in crate::proto) rest: &'a [u8],
}

impl<'a> Canonical<'a> {
    /// Reads a datagram whose elements from `host` to `id` are the bytes `sender`, taken from metadata that was good.
    ///
    /// `None` says nothing about the datagram, but that it has to be read another way.
    #[inline]
    pub(in crate::proto) fn read(bytes: &'a [u8], sender: &[u8]) -> Option<Self> {
        let prefix: &[u8; PREFIX.len()] = bytes.first_chunk()?;
        let mut fixed = *prefix;
        fixed[..AT_DOCUMENT + 4].fill(0);
        fixed[AT_SEQ..][..4].fill(0);
        fixed[AT_SEQ_LEN..][..4].fill(0);
        fixed[AT_SEQ_ID..][..40].fill(0);
        fixed[AT_SEQ_END] = 0;
        if fixed != *PREFIX {
            return None;
        }

        let document_len = u16::from_be_bytes([prefix[0], prefix[1]]);
        if u32_at(prefix, AT_DOCUMENT) != u32::from(document_len) {
            return None;
        }
        let (head, rest) = bytes.split_at_checked(AT_DOCUMENT + usize::from(document_len))?;
        let (seq, seq_len) = (u32_at(prefix, AT_SEQ), u32_at(prefix, AT_SEQ_LEN));
        if seq >= seq_len
            || seq_len > MAX_CHUNKS
            || prefix[AT_SEQ_END] != u8::from(seq + 1 == seq_len)
        {
            return None;
        }
        let seq_id = prefix[AT_SEQ_ID..].first_chunk()?;
        let message_id = MessageId::from_digits(seq_id)?;

        let (name_len, tail) = head.get(PREFIX.len()..)?.split_first_chunk()?;
        let name_len = (u32::from_le_bytes(*name_len) as usize).checked_sub(1)?;
        if name_len > MAX_NAME {
            return None;
        }
        let (name, tail) = tail.split_at_checked(name_len)?;
        let tail = tail
            .strip_prefix(&[0])?
            .strip_prefix(sender)?
            .strip_prefix(TIME_KEY)?;
        let (time, mut tail) = tail.split_first_chunk::<24>()?;
        tail = tail.strip_prefix(&[TIME_END])?;
        let incarnation = take_int64(&mut tail, INC_KEY);
        let number = take_int64(&mut tail, NUMBER_KEY);
        let schema = take_int64(&mut tail, SCHEMA_KEY);
        if tail != [0] || (number.is_some() && incarnation.is_none()) {
            return None;
        }
        Some(Self {
            seq,
            seq_len,
            // Hex digits are ASCII.
            seq_id: std::str::from_utf8(seq_id).ok()?,
            message_id,
            name: std::str::from_utf8(name).ok()?,
            time: std::str::from_utf8(time).ok()?,
            incarnation: natural(incarnation, 0)?,
            number: natural(number, 1)?,
            schema,
            rest,
        })
    }
}

#[inline]
fn u32_at(prefix: &[u8; PREFIX.len()], at: usize) -> u32 {
    u32::from_le_bytes([prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]])
}

/// Takes the element with this key, if it is the next.
#[inline]
fn take_int64(tail: &mut &[u8], key: &[u8]) -> Option<i64> {
    let (value, after) = tail.strip_prefix(key)?.split_first_chunk()?;
    *tail = after;
    Some(i64::from_le_bytes(*value))
}

/// `None` for a number below the least.
#[inline]
fn natural(value: Option<i64>, least: i64) -> Option<Option<u64>> {
    match value {
        None => Some(None),
        Some(value) if value < least => None,
        Some(value) => Some(Some(value as u64)),
    }
}
