//! Reading the datagrams of a known sender, when they have the layout that all known senders write.
//!
//! Then every element is at a fixed place or equal to one that was checked before, and a comparison
//! is enough. A datagram that differs in any way is left to [`Datagram`](super::Datagram), which is
//! slower and handles every case; both give the same values.

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
    pub(in crate::proto) seq_id: &'a [u8],
    pub(in crate::proto) message_id: MessageId,
    pub(in crate::proto) name: &'a str,
    pub(in crate::proto) time: &'a [u8],
    pub(in crate::proto) incarnation: Option<u64>,
    pub(in crate::proto) number: Option<u64>,
    pub(in crate::proto) schema: Option<i64>,
    pub(in crate::proto) rest: &'a [u8],
}

impl<'a> Canonical<'a> {
    /// Reads a datagram whose elements from `host` to `id` are the bytes `sender`, taken from
    /// metadata that was good.
    ///
    /// `None` means only that the datagram has to be read the other way.
    #[inline]
    pub(in crate::proto) fn read(bytes: &'a [u8], sender: &[u8]) -> Option<Self> {
        if sender.is_empty() {
            // They did not stand together, and without them metadata is not whole.
            return None;
        }
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
        if !time.is_ascii() {
            return None;
        }
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
            seq_id,
            message_id,
            name: std::str::from_utf8(name).ok()?,
            time,
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

#[cfg(test)]
mod tests {
    use super::{
        super::{Datagram, Head, Template},
        *,
    };

    fn written(incarnation: Option<u64>, number: Option<u64>, schema: Option<i64>) -> Vec<u8> {
        let template = Template::new([127, 0, 0, 1].into(), 9000, "somewhere", "id", incarnation);
        let mut out = Vec::new();
        let head = Head {
            seq: 1,
            seq_len: 3,
            seq_id: &MessageId([0xa5; 20]).text(),
            name: "order.placed",
            time: b"2026-11-25T05:43:43.172Z",
            number,
            schema,
        };
        template.write(&head, &mut out);
        out.extend_from_slice(b"rest");
        out
    }

    /// The sender's elements as the thorough way finds them.
    fn sender(datagram: &[u8]) -> Vec<u8> {
        Datagram::parse(datagram)
            .unwrap()
            .metadata
            .described
            .unwrap()
            .identity
            .raw
            .unwrap()
            .to_vec()
    }

    #[test]
    fn what_is_written_here_is_read_here_as_the_thorough_way_does() {
        for (incarnation, number, schema) in [
            (None, None, None),
            (Some(5), None, None),
            (Some(5), Some(1), None),
            (Some(5), None, Some(-9)),
            (Some(u64::MAX >> 1), Some(u64::MAX >> 1), Some(i64::MIN)),
            (None, None, Some(0)),
        ] {
            let datagram = written(incarnation, number, schema);
            let quick = Canonical::read(&datagram, &sender(&datagram)).expect("it has the layout");
            let Datagram { metadata, rest } = Datagram::parse(&datagram).unwrap();
            let described = metadata.described.unwrap();
            assert_eq!((quick.seq, quick.seq_len), (metadata.seq, metadata.seq_len));
            assert_eq!(quick.seq_id, metadata.seq_id.as_bytes());
            assert_eq!(quick.message_id, MessageId([0xa5; 20]));
            assert_eq!(
                (quick.name, quick.time),
                (described.name, described.time.as_bytes())
            );
            assert_eq!(
                (quick.incarnation, quick.number, quick.schema),
                (incarnation, number, schema)
            );
            assert_eq!(described.identity.incarnation, incarnation);
            assert_eq!(
                (described.number, described.schema, quick.rest),
                (number, schema, rest)
            );
        }
    }

    #[test]
    fn anything_unusual_is_left_to_the_thorough_way() {
        let good = written(Some(5), Some(1), None);
        let sender = sender(&good);
        assert!(Canonical::read(&good, &sender).is_some());
        assert!(Canonical::read(&good, &sender[1..]).is_none());
        assert!(Canonical::read(&good, b"").is_none());
        for len in 0..good.len() - 4 {
            assert!(Canonical::read(&good[..len], &sender).is_none(), "{len}");
        }
        assert!(Canonical::read(&written(None, Some(1), None), &sender).is_none());
        assert!(Canonical::read(&written(Some(5), Some(0), None), &sender).is_none());
        assert!(Canonical::read(&written(Some(5), Some(u64::MAX), None), &sender).is_none());
        for at in [0, 6, 10, 21, 33, 36, 45, 94, 100, 110, 150] {
            let mut changed = good.clone();
            changed[at] = 0xff;
            assert!(Canonical::read(&changed, &sender).is_none(), "{at}");
        }
    }
}
