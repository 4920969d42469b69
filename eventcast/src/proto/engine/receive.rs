//! From a datagram to what is told of it.

use std::{hash::BuildHasher, net::SocketAddr, ops::Range, sync::Arc, time::Duration};

use super::Engine;
use crate::{
    codec::{self, RawArgs},
    proto::{
        DropCause, MessageId, Peer,
        assembler::{About, Chunk, GivenUp, Joined},
        events::{ExpiredFacts, ExpiredReason, MessageFacts, Refused},
        peers::Relation,
        report,
        seen::Trace,
        wire::{Canonical, Datagram, Described, Fault, Metadata, RESERVED, SEALED},
    },
};

/// Why a datagram ends here.
pub(super) enum Dropped {
    For(DropCause),
    Version(u64),
}

/// A message or chunk whose metadata is good, whichever way it was read.
struct Incoming<'a> {
    seq: u32,
    seq_len: u32,
    seq_id: &'a [u8],
    message_id: MessageId,
    name: &'a str,
    time: &'a [u8],
    number: Option<u64>,
    schema: Option<i64>,
    rest: &'a [u8],
}

impl Engine {
    #[inline]
    pub(super) fn receive(
        &mut self,
        now: Duration,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), Dropped> {
        if let Some(known) = self.peers.get(from)
            && let Some(read) = Canonical::read(bytes, &known.raw)
            && read.incarnation == known.peer.incarnation
        {
            let incoming = Incoming {
                seq: read.seq,
                seq_len: read.seq_len,
                seq_id: read.seq_id,
                message_id: read.message_id,
                name: read.name,
                time: read.time,
                number: read.number,
                schema: read.schema,
                rest: read.rest,
            };
            let relation = known.relation;
            if relation == Relation::Echo {
                return Err(DropCause::Echo.into());
            }
            let peer = Arc::clone(&known.peer);
            return self.accept(now, from, &incoming, peer, relation);
        }
        self.receive_unusual(now, from, bytes)
    }

    /// The way for datagrams that are not like the last one from their address.
    fn receive_unusual(
        &mut self,
        now: Duration,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), Dropped> {
        let Datagram { metadata, rest } = Datagram::parse(bytes)?;
        let described = metadata.described.ok_or(DropCause::Classic)?;
        // Before anything is kept of the sender: this says nothing true about it.
        if described.name == SEALED {
            return Err(DropCause::Sealed.into());
        }
        let known = self.peers.resolve(from, &described.identity);
        let (peer, relation) = (Arc::clone(&known.peer), known.relation);
        if relation == Relation::Echo {
            return Err(DropCause::Echo.into());
        }
        self.accept(
            now,
            from,
            &Incoming::new(&metadata, &described, rest),
            peer,
            relation,
        )
    }

    #[inline]
    fn accept(
        &mut self,
        now: Duration,
        from: SocketAddr,
        incoming: &Incoming<'_>,
        peer: Arc<Peer>,
        relation: Relation,
    ) -> Result<(), Dropped> {
        if incoming.name.starts_with(RESERVED) {
            // The quick way of reading leads here with any name.
            let is_sealed = incoming.name == SEALED;
            let cause = if is_sealed {
                DropCause::Sealed
            } else {
                DropCause::Reserved
            };
            return Err(cause.into());
        }
        if relation == Relation::Namesake {
            self.tell_id_clash(now, &peer);
        }
        let mut trace = self.trace(from, incoming.seq_id);
        if incoming.seq_len > 1 {
            if self.seen.contains(now, trace) {
                return Err(DropCause::Double.into());
            }
            return self.take_chunk(now, from, incoming, &peer);
        }
        let args = read_payload(incoming.rest)?;
        trace.content = Some(self.content(incoming, &peer));
        if self.seen.contains(now, trace) {
            return Err(DropCause::Double.into());
        }
        self.seen.insert(now, trace);
        let facts = self.facts(incoming, incoming.message_id, peer);
        self.events.push_message(incoming.name, args, facts);
        self.stats.delivered_messages += 1;
        Ok(())
    }

    fn take_chunk(
        &mut self,
        now: Duration,
        from: SocketAddr,
        incoming: &Incoming<'_>,
        peer: &Arc<Peer>,
    ) -> Result<(), Dropped> {
        let chunk = Chunk {
            from,
            seq_id: incoming.seq_id,
            message_id: incoming.message_id,
            seq: incoming.seq,
            seq_len: incoming.seq_len,
            name: incoming.name,
            peer,
            number: incoming.number,
            slice: incoming.rest,
        };
        let taken = self.assembler.take(now, &chunk);
        self.settle_given_up(now);
        match taken? {
            Some(joined) => self.accept_joined(now, joined),
            None => Ok(()),
        }
    }

    /// Takes a message whose chunks are all there.
    fn accept_joined(&mut self, now: Duration, joined: Joined) -> Result<(), Dropped> {
        let Joined { about, bytes } = joined;
        let mut trace = self.trace(about.from, about.seq_id.as_bytes());
        let checked = self.check_joined(now, &bytes, &about, &mut trace);
        // However it ends, it is over.
        self.seen.insert(now, trace);
        let CheckedJoined {
            element_type,
            value,
            facts,
        } = checked?;
        self.events
            .push_large(&about.name, bytes, element_type, value, facts);
        self.stats.delivered_messages += 1;
        self.stats.joined_messages += 1;
        Ok(())
    }

    /// Reads a joined message, which has to be what its chunks said. Completes its trace.
    fn check_joined(
        &mut self,
        now: Duration,
        bytes: &[u8],
        about: &About,
        trace: &mut Trace,
    ) -> Result<CheckedJoined, Dropped> {
        let Datagram { metadata, rest } = Datagram::parse(bytes)?;
        let described = metadata.described.ok_or(DropCause::Classic)?;
        if metadata.seq_len != 1 {
            return Err(DropCause::Malformed.into());
        }
        let agrees = described.name == &*about.name
            && described.identity.id == about.peer.id
            && described.identity.incarnation == about.peer.incarnation
            && described.number == about.number;
        if !agrees {
            return Err(DropCause::Inconsistent.into());
        }
        let incoming = Incoming::new(&metadata, &described, rest);
        let (element_type, value) = read_payload(rest)?.parts();
        trace.content = Some(self.content(&incoming, &about.peer));
        if self.seen.contains(now, *trace) {
            return Err(DropCause::Double.into());
        }
        Ok(CheckedJoined {
            element_type,
            value: range_in(bytes, value),
            facts: self.facts(&incoming, about.message_id, Arc::clone(&about.peer)),
        })
    }

    /// Remembers and tells what the assembler gave up.
    pub(super) fn settle_given_up(&mut self, now: Duration) {
        while let Some(GivenUp {
            about,
            received,
            reason,
        }) = self.assembler.poll_given_up()
        {
            let trace = self.trace(about.from, about.seq_id.as_bytes());
            self.seen.insert(now, trace);
            let mut untold = 0;
            if reason == ExpiredReason::Crowded {
                self.stats.drops.count(DropCause::Crowded);
                // Whoever floods this bus with messages that never end does not choose how much is told of it.
                match self.reporter.note(now, DropCause::Crowded, about.from.ip()) {
                    Some(report) => untold = report.count - 1,
                    None => continue,
                }
            } else {
                self.stats.expired_messages += 1;
            }
            self.events.push_expired(
                &about.name,
                ExpiredFacts {
                    peer: about.peer,
                    message_id: about.message_id,
                    number: about.number,
                    received,
                    total: about.seq_len,
                    reason,
                    untold,
                },
            );
        }
    }

    #[inline]
    fn facts(
        &mut self,
        incoming: &Incoming<'_>,
        message_id: MessageId,
        peer: Arc<Peer>,
    ) -> MessageFacts {
        MessageFacts {
            peer,
            time: self.times.read(incoming.time),
            number: incoming.number,
            schema: incoming.schema,
            message_id,
        }
    }

    /// What a `seqId` from an address is remembered by.
    #[inline]
    fn trace(&self, from: SocketAddr, seq_id: &[u8]) -> Trace {
        let ip = match from {
            SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped(),
            SocketAddr::V6(v6) => *v6.ip(),
        };
        let address = (u128::from_be_bytes(ip.octets()), from.port());
        Trace {
            seq_id: self.keys.hash(&[seq_id]),
            address: self.keys.hash_one(address) as u32,
            content: None,
        }
    }

    /// What a message is remembered by wherever it comes from, beside its `seqId`.
    #[inline]
    fn content(&self, incoming: &Incoming<'_>, peer: &Peer) -> u32 {
        let incarnation = peer.incarnation.unwrap_or_default().to_le_bytes();
        let (id, name) = (peer.id.as_bytes(), incoming.name.as_bytes());
        self.keys.hash(&[id, &incarnation, name, incoming.rest]) as u32
    }

    fn tell_id_clash(&mut self, now: Duration, peer: &Arc<Peer>) {
        if now >= self.next_id_clash {
            self.next_id_clash = now + report::PAUSE;
            self.events.push_id_clash(Arc::clone(peer));
        }
    }

    /// Counts what was dropped, and tells it if it is time to.
    #[cold]
    pub(super) fn report(&mut self, now: Duration, from: SocketAddr, dropped: Dropped) {
        let cause = match dropped {
            Dropped::For(cause) => cause,
            Dropped::Version(_) => DropCause::Version,
        };
        self.stats.drops.count(cause);
        // One's own voice is nothing to tell.
        if cause == DropCause::Echo {
            return;
        }
        let Some(report) = self.reporter.note(now, cause, from.ip()) else {
            return;
        };
        match dropped {
            Dropped::Version(theirs) => {
                self.events
                    .push_version_mismatch(from, theirs, report.count);
            }
            Dropped::For(cause) => {
                let from = report.by_address.then_some(from);
                self.events.push_refused(Refused {
                    cause,
                    from,
                    count: report.count,
                });
            }
        }
    }
}

/// A joined message that is to be delivered, as places in its bytes.
struct CheckedJoined {
    element_type: u8,
    value: Range<usize>,
    facts: MessageFacts,
}

impl<'a> Incoming<'a> {
    fn new(metadata: &Metadata<'a>, described: &Described<'a>, rest: &'a [u8]) -> Self {
        Self {
            seq: metadata.seq,
            seq_len: metadata.seq_len,
            seq_id: metadata.seq_id.as_bytes(),
            message_id: MessageId::from_text(metadata.seq_id),
            name: described.name,
            time: described.time.as_bytes(),
            number: described.number,
            schema: described.schema,
            rest,
        }
    }
}

#[inline]
fn read_payload(document: &[u8]) -> Result<RawArgs<'_>, Fault> {
    codec::check_document(document)?;
    Ok(RawArgs::from_payload(document)?)
}

/// Where `inner`, a part of `outer`, stands in it.
fn range_in(outer: &[u8], inner: &[u8]) -> Range<usize> {
    let start = inner.as_ptr() as usize - outer.as_ptr() as usize;
    start..start + inner.len()
}

impl From<DropCause> for Dropped {
    fn from(cause: DropCause) -> Self {
        Self::For(cause)
    }
}

impl From<Fault> for Dropped {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Malformed => Self::For(DropCause::Malformed),
            Fault::OverLimit => Self::For(DropCause::OverLimit),
            Fault::Version(theirs) => Self::Version(theirs),
        }
    }
}
