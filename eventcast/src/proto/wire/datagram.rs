//! A datagram: length field, metadata, rest.

use super::{Fault, Metadata};

/// A datagram, taken apart.
#[derive(Debug)]
pub(in crate::proto) struct Datagram<'a> {
    pub(in crate::proto) metadata: Metadata<'a>,
    /// Payload, slice or ciphertext: nothing in it has been checked.
    pub(in crate::proto) rest: &'a [u8],
}

impl<'a> Datagram<'a> {
    pub(in crate::proto) fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let (len, bytes) = bytes.split_first_chunk::<2>().ok_or(Fault::Malformed)?;
        let len = usize::from(u16::from_be_bytes(*len));
        let (document, rest) = bytes.split_at_checked(len).ok_or(Fault::Malformed)?;
        Ok(Self {
            metadata: Metadata::parse(document)?,
            rest,
        })
    }
}
