//! Writing metadata: the parts that never change are kept ready, the rest is patched in.
//!
//! The layout is that of WIRE.md section 2. Up to the name everything stands at a fixed place; from
//! `host` to `id` it is the same for all datagrams of one sender.

use std::net::IpAddr;

use super::{seq_id::SeqIdText, time::TimeText};

/// Everything before the name's length: the length field, the document's length, and the first
/// elements, with zeros where datagrams differ.
pub(super) const PREFIX: &[u8; 107] = b"\0\0\
    \0\0\0\0\
    \x10v\0\x03\0\0\0\
    \x10seq\0\0\0\0\0\
    \x10seqLen\0\0\0\0\0\
    \x02seqId\0\x29\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
    \x08seqEnd\0\0\
    \x08enc\0\0\
    \x02name\0";

pub(super) const AT_DOCUMENT: usize = 2;
pub(super) const AT_SEQ: usize = 18;
pub(super) const AT_SEQ_LEN: usize = 30;
pub(super) const AT_SEQ_ID: usize = 45;
pub(super) const AT_SEQ_END: usize = 94;

/// The type and key of `host`, which follows the name.
const HOST_KEY: &[u8; 6] = b"\x02host\0";

/// What stands before and after the text of `time`.
pub(super) const TIME_KEY: &[u8; 10] = b"\x02time\0\x19\0\0\0";
pub(super) const TIME_END: u8 = 0;
/// What stands before the 8 bytes of each extension key.
pub(super) const INC_KEY: &[u8; 5] = b"\x12inc\0";
pub(super) const NUMBER_KEY: &[u8; 3] = b"\x12n\0";
pub(super) const SCHEMA_KEY: &[u8; 4] = b"\x12sh\0";

/// Length of the time's element.
const TIME_LEN: usize = TIME_KEY.len() + 24 + 1;

/// What differs from one datagram of a sender to the next.
pub(in crate::proto) struct Head<'a> {
    pub(in crate::proto) seq: u32,
    pub(in crate::proto) seq_len: u32,
    pub(in crate::proto) seq_id: &'a SeqIdText,
    pub(in crate::proto) name: &'a str,
    pub(in crate::proto) time: &'a TimeText,
    /// `n`, below 2⁶³.
    pub(in crate::proto) number: Option<u64>,
    /// `sh`.
    pub(in crate::proto) schema: Option<i64>,
}

/// Writes the metadata of one sender.
pub(in crate::proto) struct Template {
    /// The elements from `host` to `id`, then the key and length of `time`.
    sender: Vec<u8>,
    /// The element `inc`, or nothing.
    incarnation: Vec<u8>,
}

impl Template {
    /// For a sender that is to be described so. Without `incarnation` the datagrams are those of a
    /// peer that has no extensions.
    pub(in crate::proto) fn new(
        host: IpAddr,
        port: u16,
        hostname: &str,
        id: &str,
        incarnation: Option<u64>,
    ) -> Self {
        let mut sender = Vec::new();
        put_string(&mut sender, "host", &host.to_string());
        sender.extend_from_slice(b"\x10port\0");
        sender.extend_from_slice(&u32::from(port).to_le_bytes());
        put_string(&mut sender, "hostname", hostname);
        put_string(&mut sender, "id", id);
        sender.extend_from_slice(TIME_KEY);
        let mut inc = Vec::new();
        if let Some(value) = incarnation {
            inc.extend_from_slice(INC_KEY);
            inc.extend_from_slice(&value.to_le_bytes());
        }
        Self {
            sender,
            incarnation: inc,
        }
    }

    /// From now on the sender is to be reached at this address.
    pub(in crate::proto) fn set_host(&mut self, host: IpAddr) {
        let before = element_len(&self.sender, HOST_KEY);
        let mut sender = Vec::with_capacity(self.sender.len());
        put_string(&mut sender, "host", &host.to_string());
        sender.extend_from_slice(self.sender.get(before..).unwrap_or_default());
        self.sender = sender;
    }

    /// How many bytes [`write`](Self::write) will append.
    #[inline]
    pub(in crate::proto) fn len(&self, name_len: usize, number: bool, schema: bool) -> usize {
        let mut len = PREFIX.len() + 4 + name_len + 1;
        len += self.sender.len() - TIME_KEY.len() + TIME_LEN + self.incarnation.len();
        len += usize::from(number) * (NUMBER_KEY.len() + 8);
        len += usize::from(schema) * (SCHEMA_KEY.len() + 8);
        len + 1
    }

    /// Appends the length field and the metadata to `out`.
    #[inline]
    pub(in crate::proto) fn write(&self, head: &Head<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        let document = self.len(
            head.name.len(),
            head.number.is_some(),
            head.schema.is_some(),
        ) - AT_DOCUMENT;
        debug_assert!(
            document <= usize::from(u16::MAX),
            "the limits on names keep metadata short"
        );

        out.extend_from_slice(PREFIX);
        let prefix = &mut out[start..];
        prefix[..AT_DOCUMENT].copy_from_slice(&(document as u16).to_be_bytes());
        prefix[AT_DOCUMENT..][..4].copy_from_slice(&(document as u32).to_le_bytes());
        prefix[AT_SEQ_LEN..][..4].copy_from_slice(&head.seq_len.to_le_bytes());
        prefix[AT_SEQ_ID..][..40].copy_from_slice(head.seq_id);
        set_seq(prefix, head.seq, head.seq + 1 == head.seq_len);

        out.extend_from_slice(&(head.name.len() as u32 + 1).to_le_bytes());
        out.extend_from_slice(head.name.as_bytes());
        out.push(0);
        out.extend_from_slice(&self.sender);
        out.extend_from_slice(head.time);
        out.push(TIME_END);
        out.extend_from_slice(&self.incarnation);
        if let Some(number) = head.number {
            out.extend_from_slice(NUMBER_KEY);
            out.extend_from_slice(&number.to_le_bytes());
        }
        if let Some(schema) = head.schema {
            out.extend_from_slice(SCHEMA_KEY);
            out.extend_from_slice(&schema.to_le_bytes());
        }
        out.push(0);
    }
}

/// Makes written metadata that of another chunk of the same message.
#[inline]
pub(in crate::proto) fn set_seq(head: &mut [u8], seq: u32, last: bool) {
    head[AT_SEQ..][..4].copy_from_slice(&seq.to_le_bytes());
    head[AT_SEQ_END] = last.into();
}

/// Appends a written datagram with another text under `host`. One that has no such key after its
/// name, as ciphertext has none, is appended as it is.
pub(in crate::proto) fn put_host(datagram: &[u8], host: &str, out: &mut Vec<u8>) {
    let start = out.len();
    let Some((before, after)) = around_host(datagram) else {
        out.extend_from_slice(datagram);
        return;
    };
    out.extend_from_slice(before);
    put_string(out, "host", host);
    let document = metadata_len(datagram) + (out.len() - start) + after.len() - datagram.len();
    out.extend_from_slice(after);
    let head = &mut out[start..];
    head[..AT_DOCUMENT].copy_from_slice(&(document as u16).to_be_bytes());
    head[AT_DOCUMENT..][..4].copy_from_slice(&(document as u32).to_le_bytes());
}

/// What stands before and after the element `host` of a datagram that was written here.
fn around_host(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let name_len = datagram.get(PREFIX.len()..)?.first_chunk::<4>()?;
    let start = PREFIX.len() + 4 + u32::from_le_bytes(*name_len) as usize;
    let (before, rest) = datagram.split_at_checked(start)?;
    let len = element_len(rest, HOST_KEY);
    let is_named = before.get(PREFIX.len() - 6..PREFIX.len()) == PREFIX.get(PREFIX.len() - 6..);
    // The empty host of a sealed datagram stays so.
    let is_told = len > HOST_KEY.len() + 4 + 1;
    (is_named && is_told).then(|| (before, rest.get(len..).unwrap_or_default()))
}

/// The length of the metadata's document, as the first two bytes say.
fn metadata_len(datagram: &[u8]) -> usize {
    datagram
        .first_chunk()
        .map_or(0, |len| u16::from_be_bytes(*len).into())
}

/// The length of the string element that stands first and has this key. 0: it does not.
fn element_len(elements: &[u8], key: &[u8]) -> usize {
    let Some(rest) = elements.strip_prefix(key) else {
        return 0;
    };
    rest.first_chunk()
        .map_or(0, |len| key.len() + 4 + u32::from_le_bytes(*len) as usize)
}

fn put_string(out: &mut Vec<u8>, key: &str, value: &str) {
    out.push(2);
    out.extend_from_slice(key.as_bytes());
    out.push(0);
    out.extend_from_slice(&(value.len() as u32 + 1).to_le_bytes());
    out.extend_from_slice(value.as_bytes());
    out.push(0);
}
