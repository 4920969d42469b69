//! Cutting a message that is longer than one datagram (WIRE.md section 4).
//!
//! The message's bytes are kept once; the datagrams are written when they are sent.

use std::net::IpAddr;

#[cfg(feature = "classic")]
use crate::proto::wire::turn_nonce;
use crate::proto::{
    seal::longest_sealed_in,
    send::outgoing::Refusal,
    wire::{MAX_CHUNKS, set_seq},
};

/// The longest UDP payload that an Ethernet frame of 1,500 bytes carries whole, under IPv4 and
/// IPv6.
const WHOLE_V4: usize = 1500 - 20 - 8;
const WHOLE_V6: usize = 1500 - 40 - 8;

/// Up to this `max_payload_size` datagrams are kept whole; above it, the user accepts IP fragments.
const KEEPS_WHOLE_UP_TO: usize = WHOLE_V4;

/// Fewer bytes of data in a datagram are not worth sending.
const MIN_SLICE: usize = 64;

/// How messages are cut.
pub(in crate::proto) struct Chunker {
    max_payload_size: usize,
    max_message_size: usize,
    /// The longest datagram that holds a slice, if that is limited.
    whole: Option<usize>,
}

/// How one message is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) struct Plan {
    pub(in crate::proto) slice_len: usize,
    pub(in crate::proto) chunks: u32,
    /// Bytes of all its datagrams together.
    pub(in crate::proto) wire_len: usize,
}

impl Chunker {
    pub(in crate::proto) fn new(
        max_payload_size: usize,
        max_message_size: usize,
        host: IpAddr,
    ) -> Self {
        let whole = if host.is_ipv6() { WHOLE_V6 } else { WHOLE_V4 };
        let whole = (max_payload_size <= KEEPS_WHOLE_UP_TO).then_some(whole);
        Self {
            max_payload_size,
            max_message_size,
            whole,
        }
    }

    /// Datagrams are sealed before they are sent, which makes them longer.
    pub(in crate::proto) fn sealed(mut self) -> Self {
        self.whole = self.whole.map(longest_sealed_in);
        self
    }

    /// The longest datagram of the protocol's own.
    pub(in crate::proto) fn longest_control(&self) -> usize {
        self.max_payload_size.min(self.whole.unwrap_or(usize::MAX))
    }

    /// Whether a message of that many bytes travels in one datagram.
    #[inline]
    pub(in crate::proto) fn fits_whole(&self, message_len: usize) -> bool {
        message_len <= self.max_payload_size.min(self.whole.unwrap_or(usize::MAX))
    }

    /// How to cut a message of `message_len` bytes, where each chunk's metadata takes `head_len`.
    pub(in crate::proto) fn plan(
        &self,
        message_len: usize,
        head_len: usize,
        name_len: usize,
    ) -> Result<Plan, Refusal> {
        let slice_len = match self.whole {
            None => self.max_payload_size,
            Some(whole) => {
                let room = whole.saturating_sub(head_len);
                if room < MIN_SLICE {
                    let max_payload_size = self.max_payload_size;
                    return Err(Refusal::NoRoomForData {
                        key_len: name_len,
                        max_payload_size,
                    });
                }
                room.min(self.max_payload_size)
            }
        };
        let chunks = message_len.div_ceil(slice_len);
        let limit = self
            .max_message_size
            .min(slice_len.saturating_mul(MAX_CHUNKS as usize));
        // Receivers know the length of a slice and how many there are, and judge by that.
        let size = chunks.saturating_mul(slice_len);
        match u32::try_from(chunks) {
            Ok(chunks) if size <= limit => Ok(Plan {
                slice_len,
                chunks,
                wire_len: message_len + chunks as usize * head_len,
            }),
            _ => Err(Refusal::TooLarge { size, limit }),
        }
    }
}

/// A message that is being sent in chunks.
pub(in crate::proto) struct Outbound {
    /// The whole message.
    inner: Vec<u8>,
    /// The metadata of a chunk.
    head: Vec<u8>,
    plan: Plan,
    /// The chunk to be sent next.
    next: u32,
    /// The metadata has a nonce, of which each chunk gets its own.
    #[cfg(feature = "classic")]
    nonces: bool,
}

impl Outbound {
    /// `head` is the metadata of any of its chunks.
    pub(in crate::proto) fn new(inner: Vec<u8>, head: Vec<u8>, plan: Plan) -> Self {
        Self {
            inner,
            head,
            plan,
            next: 0,
            #[cfg(feature = "classic")]
            nonces: false,
        }
    }

    /// The same, where `head` has a nonce.
    #[cfg(feature = "classic")]
    pub(in crate::proto) fn with_nonces(inner: Vec<u8>, head: Vec<u8>, plan: Plan) -> Self {
        Self {
            nonces: true,
            ..Self::new(inner, head, plan)
        }
    }

    /// Bytes of all its datagrams.
    pub(in crate::proto) fn wire_len(&self) -> usize {
        self.plan.wire_len
    }

    /// Bytes of the message.
    pub(in crate::proto) fn message_len(&self) -> usize {
        self.inner.len()
    }

    /// How many chunks have been written by [`write_next`](Self::write_next).
    pub(in crate::proto) fn written(&self) -> u32 {
        self.next
    }

    /// The length of the next datagram; `None` when all have been written.
    pub(in crate::proto) fn next_len(&self) -> Option<usize> {
        (self.next < self.plan.chunks).then(|| self.len_of(self.next))
    }

    /// Appends the next datagram.
    pub(in crate::proto) fn write_next(&mut self, out: &mut Vec<u8>) {
        self.write(self.next, out);
        self.next += 1;
    }

    /// The length of a chunk's datagram.
    pub(in crate::proto) fn len_of(&self, seq: u32) -> usize {
        self.head.len() + self.slice(seq).len()
    }

    /// Appends a chunk's datagram.
    pub(in crate::proto) fn write(&self, seq: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.head);
        set_seq(&mut out[start..], seq, seq + 1 == self.plan.chunks);
        #[cfg(feature = "classic")]
        if self.nonces {
            turn_nonce(&mut out[start..], seq);
        }
        out.extend_from_slice(self.slice(seq));
    }

    fn slice(&self, seq: u32) -> &[u8] {
        let start = seq as usize * self.plan.slice_len;
        &self.inner[start..self.inner.len().min(start + self.plan.slice_len)]
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::proto::seal::sealed_len;

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    #[test]
    fn a_slice_is_as_long_as_asked_where_it_fits() {
        let chunker = Chunker::new(1024, 32 << 20, V4);
        assert!(chunker.fits_whole(1024));
        assert!(!chunker.fits_whole(1025));
        assert_eq!(
            chunker.plan(1025, 448, 8),
            Ok(Plan {
                slice_len: 1024,
                chunks: 2,
                wire_len: 1025 + 2 * 448
            })
        );
        assert_eq!(chunker.plan(2048, 449, 9).unwrap().slice_len, 1023);
        assert_eq!(
            Chunker::new(1024, 32 << 20, V6)
                .plan(2048, 449, 9)
                .unwrap()
                .slice_len,
            1003
        );
    }

    #[test]
    fn what_is_not_cut_stays_whole_too() {
        assert!(Chunker::new(1472, 32 << 20, V4).fits_whole(1472));
        assert!(!Chunker::new(1472, 32 << 20, V6).fits_whole(1453));
        assert!(Chunker::new(1473, 32 << 20, V6).fits_whole(1473));
    }

    #[test]
    fn what_is_sealed_stays_whole_too() {
        for (host, whole) in [(V4, 1472), (V6, 1452)] {
            for asked in [64, 1024, 1472] {
                let chunker = Chunker::new(asked, 32 << 20, host).sealed();
                let longest = (0..2000)
                    .filter(|len| chunker.fits_whole(*len))
                    .max()
                    .unwrap();
                assert!(
                    longest == asked || sealed_len(longest + 1) > whole,
                    "{longest}"
                );
                assert!(sealed_len(longest) <= whole);
                assert_eq!(chunker.longest_control(), longest);
                let plan = chunker.plan(5000, 250, 8).unwrap();
                assert!(sealed_len(250 + plan.slice_len) <= whole);
                assert!(plan.slice_len == asked || sealed_len(251 + plan.slice_len) > whole);
            }
        }
        let chunker = Chunker::new(1473, 32 << 20, V4).sealed();
        assert!(chunker.fits_whole(1473));
        assert_eq!(chunker.plan(5000, 1000, 8).unwrap().slice_len, 1473);
        let chunker = Chunker::new(1472, 32 << 20, V4).sealed();
        assert!(chunker.plan(5000, 1167 - 64, 8).is_ok());
        assert!(chunker.plan(5000, 1167 - 63, 8).is_err());
    }

    #[test]
    fn room_for_data() {
        let chunker = Chunker::new(1024, 32 << 20, V4);
        assert_eq!(
            chunker.plan(5000, WHOLE_V4 - 64, 1000).unwrap().slice_len,
            64
        );
        let refused = Refusal::NoRoomForData {
            key_len: 1000,
            max_payload_size: 1024,
        };
        assert_eq!(chunker.plan(5000, WHOLE_V4 - 63, 1000), Err(refused));
        assert_eq!(chunker.plan(5000, 5000, 1000), Err(refused));
        // A configuration that accepts fragments gets them.
        assert_eq!(
            Chunker::new(1473, 32 << 20, V4)
                .plan(5000, 1472, 1000)
                .unwrap()
                .slice_len,
            1473
        );
        assert_eq!(
            Chunker::new(60_000, 32 << 20, V4)
                .plan(60_001, 1472, 1000)
                .unwrap()
                .chunks,
            2
        );
    }

    #[test]
    fn too_large_as_receivers_reckon_it() {
        let chunker = Chunker::new(1000, 10_500, V4);
        assert_eq!(chunker.plan(10_000, 200, 8).unwrap().chunks, 10);
        assert_eq!(
            chunker.plan(10_001, 200, 8),
            Err(Refusal::TooLarge {
                size: 11_000,
                limit: 10_500
            })
        );
        let chunker = Chunker::new(64, 32 << 20, V4);
        assert_eq!(
            chunker
                .plan(64 * MAX_CHUNKS as usize, 200, 8)
                .unwrap()
                .chunks,
            MAX_CHUNKS
        );
        assert!(matches!(
            chunker.plan(64 * MAX_CHUNKS as usize + 1, 200, 8),
            Err(Refusal::TooLarge { .. })
        ));
        assert!(matches!(
            chunker.plan(usize::MAX, 200, 8),
            Err(Refusal::TooLarge { .. })
        ));
    }

    #[test]
    fn datagrams_carry_the_slices_in_order() {
        let inner: Vec<u8> = (0..=255).collect();
        let plan = Chunker::new(100, 1 << 20, V4)
            .plan(inner.len(), 107, 8)
            .unwrap();
        let mut outbound = Outbound::new(inner.clone(), vec![0; 107], plan);
        let mut joined = Vec::new();
        let mut total = 0;
        for seq in 0..3 {
            let mut datagram = b"before".to_vec();
            let len = outbound.next_len().unwrap();
            outbound.write_next(&mut datagram);
            assert_eq!(datagram.len(), 6 + len);
            let (head, slice) = datagram[6..].split_at(107);
            assert_eq!((head[18], head[94]), (seq, u8::from(seq == 2)));
            joined.extend_from_slice(slice);
            total += len;
        }
        assert_eq!(outbound.next_len(), None);
        assert_eq!(joined, inner);
        assert_eq!(total, plan.wire_len);
    }
}
