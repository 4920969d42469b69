//! From a datagram to its events.

use std::{hash::BuildHasher, net::SocketAddr, ops::Range, sync::Arc, time::Duration};

use super::{Engine, delivery::Body};
use crate::{
    codec::{self, RawArgs},
    proto::{
        DropCause, MessageId, Now, Peer,
        receive::{
            assembler::{Chunk, GivenUp, Joined, MessageHeader, Origin, Taken},
            chunk_nacks::Repair,
            dedup_cache::Fingerprint,
            events::{ExpiredFacts, ExpiredReason, ExpiredReport, MessageFacts, Refused},
            peers::{KnownAt, Relation},
            reorder_buffer::Verdict,
            streams::StreamRef,
        },
        report::{ExpiredKey, Report, ReportKey, Subject},
        seal::AuthenticatedSender,
        wire::{Canonical, Datagram, Described, Fault, Metadata, RESERVED},
    },
};

/// Why a datagram ends here.
pub(super) enum Dropped {
    For(DropCause),
    Version(u64),
    /// Its seal was not found good: whatever the cause is, the report is the same.
    Unopened(DropCause),
    /// A holder of the key has sealed it, and by this bus's clock its time is off by so many
    /// milliseconds.
    Clock(i64),
    /// It was received before, and its seal says that it was sent so many milliseconds ago.
    Recorded(u64),
    /// Its seal says that it was sent so many milliseconds ago, before this bus was started, and
    /// such are refused for so many more.
    BeforeStart {
        age_ms: u64,
        left_ms: u64,
    },
}

/// What a datagram was taken out of.
#[derive(Clone, Copy, Default)]
pub(super) struct Encapsulation {
    /// It was sent again for several: it is treated as if it had come by itself, but does not show
    /// where a stream begins.
    pub(super) repeated: bool,
    /// It was sent to this bus alone, as the answer to a request.
    pub(super) to_one: bool,
    /// When it was sealed, by its sender's clock.
    pub(super) sealed_ms: Option<u64>,
    /// It was sealed, by this one.
    pub(super) authenticated: Option<AuthenticatedSender>,
    /// It was ciphertext of the classic cipher.
    pub(super) decrypted: bool,
}

/// A message or chunk whose metadata is good, whichever way it was read.
pub(super) struct Incoming<'a> {
    seq: u32,
    pub(super) seq_len: u32,
    seq_id: &'a [u8],
    message_id: MessageId,
    pub(super) name: &'a str,
    pub(super) time: &'a [u8],
    pub(super) number: Option<u64>,
    schema: Option<i64>,
    rest: &'a [u8],
}

/// The sender of a datagram.
pub(super) struct Sender {
    pub(super) from: SocketAddr,
    pub(super) at: KnownAt,
    pub(super) peer: Arc<Peer>,
    pub(super) encapsulation: Encapsulation,
}

impl Sender {
    #[inline]
    fn origin(&self) -> Origin {
        match self.encapsulation.authenticated {
            Some(authenticated) => Origin::Sealer(authenticated),
            None => Origin::Address(self.from),
        }
    }
}

impl Engine {
    /// Takes a datagram, as it came or from inside of another.
    #[inline]
    pub(super) fn receive(
        &mut self,
        now: Now,
        from: SocketAddr,
        bytes: &[u8],
        encapsulation: Encapsulation,
    ) -> Result<(), Dropped> {
        if let Some((at, known)) = self.peers.get(from)
            && let Some(read) = Canonical::read(bytes, &known.raw)
            && read.incarnation == known.peer.incarnation
            && encapsulation.authenticated.is_none_or(|authenticated| {
                known.sealed_as == Some(authenticated.sender)
                    && authenticated.fits_incarnation(read.incarnation)
            })
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
            let relation = encapsulation.relation(known.relation)?;
            known.received = known.received.saturating_add(encapsulation.own_len(bytes));
            let sender = Sender {
                from,
                at,
                peer: Arc::clone(&known.peer),
                encapsulation,
            };
            return self.accept(now, &incoming, sender, relation);
        }
        self.receive_unusual(now, from, bytes, encapsulation)
    }

    /// The way for datagrams that are not like the last one from their address.
    fn receive_unusual(
        &mut self,
        now: Now,
        from: SocketAddr,
        bytes: &[u8],
        encapsulation: Encapsulation,
    ) -> Result<(), Dropped> {
        let Datagram { metadata, rest } = Datagram::parse(bytes)?;
        let Some(described) = metadata.described else {
            return self.receive_encrypted(now, from, &metadata, rest, encapsulation);
        };
        // Before anything is kept of the sender.
        self.check_encapsulation(metadata.seq_len, described.name, encapsulation)?;
        let identity = &described.identity;
        if let Some(authenticated) = encapsulation.authenticated
            && !authenticated.fits(identity.id, identity.incarnation)
        {
            return Err(DropCause::Sender.into());
        }
        let (at, known) = self.peers.resolve(from, identity);
        known.sealed_as = encapsulation
            .authenticated
            .map(|authenticated| authenticated.sender);
        let relation = encapsulation.relation(known.relation)?;
        known.received = known.received.saturating_add(encapsulation.own_len(bytes));
        let sender = Sender {
            from,
            at,
            peer: Arc::clone(&known.peer),
            encapsulation,
        };
        let incoming = Incoming::new(&metadata, &described, rest);
        self.accept(now, &incoming, sender, relation)
    }

    #[inline]
    fn accept(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        sender: Sender,
        relation: Relation,
    ) -> Result<(), Dropped> {
        #[cfg(feature = "classic")]
        self.check_encapsulation(incoming.seq_len, incoming.name, sender.encapsulation)?;
        if relation == Relation::Namesake {
            self.report_id_clash(now.elapsed, &sender.peer, None);
        }
        if incoming.name.starts_with(RESERVED) {
            return self.take_control(now, incoming, &sender);
        }
        let stream = self.stream_of(now, incoming, &sender)?;
        if incoming.seq_len > 1 {
            return self.take_chunk(now, incoming, sender, stream);
        }
        let args = incoming.read_payload()?;
        if let Some((at, number)) = stream {
            let facts = self.facts(incoming, incoming.message_id, sender.peer);
            let body = Body::Small(args);
            return self.take_numbered(now, at, number, incoming.name, body, facts);
        }
        let mut fingerprint = self.fingerprint(sender.origin(), incoming.seq_id);
        fingerprint.content = Some(self.content(incoming, &sender.peer));
        if self.dedup.contains(now.elapsed, fingerprint) {
            return Err(DropCause::Duplicate.into());
        }
        self.dedup.insert(now.elapsed, fingerprint);
        if let Some(number) = incoming.number {
            self.not_lost_unfollowed(&sender.peer, number);
        }
        let facts = self.facts(incoming, incoming.message_id, sender.peer);
        self.events.push_message(incoming.name, args, facts);
        self.stats.delivered_messages += 1;
        Ok(())
    }

    fn take_chunk(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        sender: Sender,
        stream: Option<(StreamRef, u64)>,
    ) -> Result<(), Dropped> {
        let (from, origin) = (sender.from, sender.origin());
        let sealed = matches!(origin, Origin::Sealer(_));
        // The stream waits for the message from its sender's address or under its sender's seal,
        // and requests the number until then.
        let mut waits = None;
        if let Some((at, number)) = stream {
            let place = self.accept_number(at, number)?;
            if let Some(stream) = self.streams.get(at) {
                stream.last_heard = now.elapsed;
                if place == Verdict::Over {
                    stream.stats.duplicates += 1;
                    return Err(DropCause::Duplicate.into());
                }
                waits = (sealed || stream.route.address() == from).then_some(at);
            }
        }
        if waits.is_none() {
            let fingerprint = self.fingerprint(origin, incoming.seq_id);
            if self.dedup.contains(now.elapsed, fingerprint)
                && !cfg!(eventcast_sabotage = "opened_again")
            {
                return Err(DropCause::Duplicate.into());
            }
        }
        let ask_at = self.ask_due(now.elapsed);
        let chunk = Chunk {
            origin,
            from,
            seq_id: incoming.seq_id,
            message_id: incoming.message_id,
            seq: incoming.seq,
            seq_len: incoming.seq_len,
            name: incoming.name,
            peer: &sender.peer,
            number: incoming.number,
            slice: incoming.rest,
            repair: match (sender.peer.incarnation, incoming.number) {
                (None, _) => Repair::Slow,
                (Some(_), Some(_)) => Repair::Quick,
                (Some(_), None) => Repair::Never,
            },
            stream: waits,
            ask_at,
        };
        let crowded = self.stats.drops.get(DropCause::Crowded);
        self.make_room_for_chunk(now.elapsed, incoming.rest.len());
        // Making room may have cost this very message.
        if let Some((at, number)) = stream
            && self.accept_number(at, number)? == Verdict::Over
        {
            return Err(DropCause::Crowded.into());
        }
        if waits.is_none() && self.stats.drops.get(DropCause::Crowded) > crowded {
            let fingerprint = self.fingerprint(origin, incoming.seq_id);
            if self.dedup.contains(now.elapsed, fingerprint) {
                return Err(DropCause::Crowded.into());
            }
        }
        let taken = self.assembler.take(now.elapsed, &chunk);
        self.settle_given_up(now.elapsed);
        if let (Err(DropCause::OverLimit), Some(at), Some((_, number))) = (&taken, waits, stream)
            && let Some(stream) = self.streams.get(at)
            && !stream.reorder.is_partial(number)
        {
            // Each of its chunks has the same fields.
            let filled = stream.reorder.note(now.elapsed, number, ask_at);
            self.not_lost(at, filled.not_lost);
            self.refuse_number(at, number);
            self.bound_gaps(at);
        }
        let Taken { opened, joined } = taken?;
        if opened
            && let Some((at, number)) = stream
            && waits.is_some()
            && let Some(stream) = self.streams.get(at)
        {
            let filled = stream.reorder.open_partial(now.elapsed, number, ask_at);
            self.not_lost(at, filled.not_lost);
            self.bound_gaps(at);
        }
        match joined {
            Some(joined) => self.accept_joined(now, joined),
            None => Ok(()),
        }
    }

    /// Takes a message whose chunks are complete.
    fn accept_joined(&mut self, now: Now, joined: Joined) -> Result<(), Dropped> {
        let Joined { header, bytes } = joined;
        let bytes = self.decrypt_joined(bytes);
        let result = match header.number {
            Some(number) => self.accept_numbered(now, number, &header, bytes),
            None => self.accept_unnumbered(now.elapsed, &header, bytes),
        };
        if result.is_ok() {
            self.stats.joined_messages += 1;
        }
        result
    }

    fn accept_numbered(
        &mut self,
        now: Now,
        number: u64,
        header: &MessageHeader,
        bytes: Result<Vec<u8>, DropCause>,
    ) -> Result<(), Dropped> {
        let peer = &header.peer;
        let stream = header.stream;
        let Some(at) = stream.or_else(|| self.streams.find(&peer.id, peer.incarnation)) else {
            // Its sender has no stream here.
            self.unfollowed.note(peer, number);
            return self.accept_unnumbered(now.elapsed, header, bytes);
        };
        match self.check_joined(bytes, header) {
            Ok((buffer, checked)) => {
                let body = Body::Large {
                    buffer,
                    element_type: checked.element_type,
                    value: checked.value,
                };
                self.take_numbered(now, at, number, &header.name, body, checked.facts)
            }
            Err(dropped) => {
                if stream.is_some()
                    && let Some(stream) = self.streams.get(at)
                    && stream.reorder.close_partial(number)
                {
                    if cfg!(eventcast_sabotage = "asked_anew") {
                        let gap = (number, number);
                        stream.reorder.gaps().add(now.elapsed, gap, now.elapsed);
                        self.streams.settle(at);
                        return Err(dropped);
                    }
                    // Its sender has sent it whole, and would send the same again.
                    self.refuse_number(at, number);
                }
                Err(dropped)
            }
        }
    }

    fn accept_unnumbered(
        &mut self,
        now: Duration,
        header: &MessageHeader,
        bytes: Result<Vec<u8>, DropCause>,
    ) -> Result<(), Dropped> {
        let mut fingerprint = self.fingerprint(header.origin, header.seq_id.as_bytes());
        let checked = self.check_joined(bytes, header);
        if let Ok((_, checked)) = &checked {
            fingerprint.content = Some(checked.content);
        }
        let double = self.dedup.contains(now, fingerprint);
        // However it ends, it is over.
        self.dedup.insert(now, fingerprint);
        let (buffer, checked) = checked?;
        if double {
            return Err(DropCause::Duplicate.into());
        }
        if let Some(number) = header.number {
            self.not_lost_unfollowed(&header.peer, number);
        }
        self.events.push_large(
            &header.name,
            buffer,
            checked.element_type,
            checked.value,
            checked.facts,
        );
        self.stats.delivered_messages += 1;
        Ok(())
    }

    /// Reads a reassembled message, which has to match its chunks.
    fn check_joined(
        &mut self,
        buffer: Result<Vec<u8>, DropCause>,
        header: &MessageHeader,
    ) -> Result<(Vec<u8>, CheckedJoined), Dropped> {
        let buffer = buffer?;
        let bytes = &buffer[..];
        let Datagram { metadata, rest } = Datagram::parse(bytes)?;
        let described = metadata.described.ok_or(self.cause_of_encrypted())?;
        if metadata.seq_len != 1 {
            return Err(DropCause::Malformed.into());
        }
        let agrees = described.name == &*header.name
            && described.identity.id == header.peer.id
            && described.identity.incarnation == header.peer.incarnation
            && described.number == header.number;
        if !agrees {
            return Err(DropCause::Inconsistent.into());
        }
        let incoming = Incoming::new(&metadata, &described, rest);
        let (element_type, value) = incoming.read_payload()?.parts();
        let checked = CheckedJoined {
            element_type,
            value: range_in(bytes, value),
            content: self.content(&incoming, &header.peer),
            facts: self.facts(&incoming, header.message_id, Arc::clone(&header.peer)),
        };
        Ok((buffer, checked))
    }

    /// Remembers and reports the messages that the assembler dropped.
    pub(super) fn settle_given_up(&mut self, now: Duration) {
        while let Some(GivenUp {
            header,
            first,
            received,
            reason,
        }) = self.assembler.poll_given_up()
        {
            let number = self.settle_number(now, first, &header);
            if header.number.is_some() && header.stream.is_some() && number.is_none() {
                // The number is over, which was reported, or another attempt at it goes on.
                continue;
            }
            if header.stream.is_none() {
                let fingerprint = self.fingerprint(header.origin, header.seq_id.as_bytes());
                self.dedup.insert(now, fingerprint);
            }
            match reason {
                ExpiredReason::Crowded => self.stats.drops.count(DropCause::Crowded),
                ExpiredReason::Silent | ExpiredReason::Overdue => self.stats.expired_messages += 1,
            }
            let key = ExpiredKey {
                reason,
                from: Some(header.from.ip()),
            };
            let report = ExpiredReport {
                name: header.name,
                facts: ExpiredFacts {
                    peer: header.peer,
                    message_id: header.message_id,
                    number: None,
                    received,
                    total: header.seq_len,
                    reason,
                    unreported: 0,
                },
            };
            // A flood of messages that never end does not determine how many of them are reported.
            // A number that is lost is reported in any case, by itself or with others.
            match (self.expired.note(now, key, report), header.stream) {
                (Some((_, mut report)), at) => {
                    report.facts.number = number;
                    if let Some(at) = at.filter(|_| number.is_some()) {
                        self.count_lost(at, 1);
                    }
                    self.events.push_expired(report);
                }
                (None, Some(at)) => {
                    let lost = number.map(|number| (number, number));
                    self.report_lost(at, lost, reason.of_loss());
                }
                (None, None) => {}
            }
            if let Some(at) = header.stream {
                self.release(at);
                self.streams.settle(at);
            }
        }
    }

    /// Skips the number of a message that was dropped; returns it if it is lost thereby.
    fn settle_number(
        &mut self,
        now: Duration,
        came: Duration,
        header: &MessageHeader,
    ) -> Option<u64> {
        let number = header.number?;
        let at = header.stream?;
        let is_clear = self.sealing.is_none();
        // A displaced message may have come only just now, after the last hello of its sender.
        let before = now.saturating_sub(self.message_ttl).max(came);
        let stream = self.streams.get(at)?;
        if !stream.reorder.close_partial(number) {
            return None;
        }
        if let Some(limit) = stream.vouch.limit(before).filter(|_| is_clear)
            && number > limit
        {
            self.disbelieve(now, at, limit);
            return None;
        }
        stream.reorder.skip((number, number));
        Some(number)
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
            sealed: self.sealing.is_some(),
        }
    }

    /// Whether a datagram with this `seqId` came before from there. It is remembered.
    pub(super) fn is_repeated(
        &mut self,
        now: Duration,
        incoming: &Incoming<'_>,
        sender: &Sender,
    ) -> bool {
        let fingerprint = self.fingerprint(sender.origin(), incoming.seq_id);
        let is_repeated = self.dedup.contains(now, fingerprint);
        if !is_repeated {
            self.dedup.insert(now, fingerprint);
        }
        is_repeated
    }

    /// What a `seqId` of an origin is remembered by.
    #[inline]
    fn fingerprint(&self, origin: Origin, seq_id: &[u8]) -> Fingerprint {
        let origin = match origin {
            Origin::Address(from) => {
                let ip = match from {
                    SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped(),
                    SocketAddr::V6(v6) => *v6.ip(),
                };
                let address = (u128::from_be_bytes(ip.octets()), from.port());
                self.keys.hash_one(address)
            }
            Origin::Sealer(authenticated) => self.keys.hash_one(authenticated),
        };
        Fingerprint {
            seq_id: self.keys.hash(&[seq_id]),
            address: origin as u32,
            content: None,
        }
    }

    /// The identity of a message wherever it comes from, beside its `seqId`.
    #[inline]
    fn content(&self, incoming: &Incoming<'_>, peer: &Peer) -> u32 {
        let incarnation = peer.incarnation.unwrap_or_default().to_le_bytes();
        let (id, name) = (peer.id.as_bytes(), incoming.name.as_bytes());
        self.keys.hash(&[id, &incarnation, name, incoming.rest]) as u32
    }

    /// Reports that a peer has the id of another one, or of this bus.
    pub(super) fn report_id_clash(
        &mut self,
        now: Duration,
        peer: &Arc<Peer>,
        other: Option<&Arc<Peer>>,
    ) {
        let ip = |peer: &Arc<Peer>| peer.address.ip();
        let subject = match other {
            None => Subject::OwnId,
            Some(_) => Subject::SharedId,
        };
        // Whichever of the two is received, it is the same message.
        let from = other.map_or(ip(peer), |other| ip(other).min(ip(peer)));
        let key = ReportKey {
            subject,
            from: Some(from),
        };
        let report = Report::IdClash {
            peer: Arc::clone(peer),
            other: other.cloned(),
            count: 1,
        };
        if let Some((key, report)) = self.reporter.note(now, key, report) {
            self.push_report(key, report);
        }
    }

    /// Counts a dropped datagram, and reports it if that is due.
    #[cold]
    pub(super) fn report(&mut self, now: Duration, from: SocketAddr, dropped: Dropped) {
        let cause = match dropped {
            Dropped::For(cause) | Dropped::Unopened(cause) => cause,
            Dropped::Version(_) => DropCause::Version,
            Dropped::Clock(_) => DropCause::Time,
            Dropped::Recorded(_) => DropCause::Duplicate,
            Dropped::BeforeStart { .. } => DropCause::Old,
        };
        self.stats.drops.count(cause);
        let is_reported = match cause {
            // The bus's own datagrams are not reported.
            DropCause::Echo => false,
            DropCause::Duplicate if matches!(dropped, Dropped::Recorded(_)) => true,
            DropCause::Duplicate | DropCause::Version => self.sealing.is_none(),
            _ => true,
        };
        if !is_reported {
            return;
        }
        // Datagrams that were not opened are reported as one, for whatever reason they were
        // refused.
        let unopened = matches!(dropped, Dropped::Unopened(_));
        let told = if unopened { DropCause::Mac } else { cause };
        let key = ReportKey {
            subject: Subject::Refused(told),
            from: Some(from.ip()),
        };
        let report = match dropped {
            Dropped::Version(theirs) => Report::Version {
                from,
                theirs,
                count: 1,
            },
            _ => Report::Refused(Refused {
                unopened,
                clock_ahead_ms: match dropped {
                    Dropped::Clock(ahead) => Some(ahead),
                    _ => None,
                },
                age_ms: match dropped {
                    Dropped::Recorded(age) | Dropped::BeforeStart { age_ms: age, .. } => Some(age),
                    _ => None,
                },
                refused_for_ms: match dropped {
                    Dropped::BeforeStart { left_ms, .. } => Some(left_ms),
                    _ => None,
                },
                ..Refused::new(cause, from)
            }),
        };
        if let Some((key, report)) = self.reporter.note(now, key, report) {
            self.push_report(key, report);
        }
    }

    /// Reports what was held back, where the pause since the last report is over.
    pub(super) fn report_due(&mut self, now: Duration) {
        while let Some(loss) = self.losses.pop_due(now) {
            self.events.push_lost(loss);
        }
        while let Some((_, report)) = self.expired.pop_due(now) {
            self.events.push_expired(report);
        }
        while let Some(change) = self.arrivals.pop_due(now) {
            self.events.push_change(change);
        }
        while let Some((key, report)) = self.reporter.pop_due(now) {
            self.push_report(key, report);
        }
    }

    /// Reports all that is held back: this bus leaves.
    pub(super) fn report_rest(&mut self) {
        while let Some(loss) = self.losses.drain() {
            self.events.push_lost(loss);
        }
        for (_, report) in self.expired.drain() {
            self.events.push_expired(report);
        }
        while let Some(change) = self.arrivals.drain() {
            self.events.push_change(change);
        }
        for (key, report) in self.reporter.drain() {
            self.push_report(key, report);
        }
    }

    fn push_report(&mut self, key: ReportKey, report: Report) {
        match report {
            Report::Version {
                from,
                theirs,
                count,
            } => self.events.push_version_mismatch(from, theirs, count),
            Report::IdClash { peer, other, count } => self.events.push_id_clash(peer, other, count),
            Report::Refused(refused) => self.events.push_refused(Refused {
                from: refused.from.filter(|_| key.from.is_some()),
                ..refused
            }),
        }
    }
}

impl Encapsulation {
    /// Whether it was requested: by this bus, another one, or one that was at this address before.
    #[inline]
    pub(super) fn is_answer(self) -> bool {
        self.repeated || self.to_one && !cfg!(eventcast_sabotage = "former_life")
    }

    /// How much of what came this is, where what it was taken out of counts too.
    #[inline]
    fn own_len(self, bytes: &[u8]) -> u64 {
        if self.repeated { 0 } else { bytes.len() as u64 }
    }

    /// How the sender of a datagram stands to this bus, unless it is this bus. What this bus has
    /// sealed itself is known by its box: where that was another's, a missing incarnation is not
    /// this bus's.
    #[inline]
    fn relation(self, relation: Relation) -> Result<Relation, DropCause> {
        match (relation, self.authenticated) {
            (Relation::Echo, None) => Err(DropCause::Echo),
            (Relation::Echo, Some(_)) => Ok(Relation::Namesake),
            _ => Ok(relation),
        }
    }
}

/// A joined message that is good, as places in its bytes.
struct CheckedJoined {
    element_type: u8,
    value: Range<usize>,
    content: u32,
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

    /// The arguments, after the check of every byte.
    #[inline]
    pub(super) fn read_payload(&self) -> Result<RawArgs<'a>, Fault> {
        codec::check_document(self.rest)?;
        Ok(RawArgs::from_payload(self.rest)?)
    }
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
