//! Tests of the engine as a whole, and what they share.

mod answering;
mod asking;
mod bounds;
mod chunks;
mod claims;
#[cfg(feature = "classic")]
mod classic;
mod events;
mod gone;
mod hostile;
mod identity;
mod making_room;
mod net;
mod newcomers;
mod pace;
mod pauses;
mod posing;
mod purity;
mod reassembly;
mod refusals;
mod repair;
mod round_trip;
mod sealed;
mod strangers;
mod vectors;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use bson::{Bson, doc};

use super::{
    wire::{Datagram, Head, Template, TimeWriter},
    *,
};

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn at(millis: u64) -> Now {
    Now {
        elapsed: Duration::from_millis(millis),
        unix_ms: 1_795_585_423_172 + millis,
    }
}

fn address(port: u16) -> SocketAddr {
    (HOST, port).into()
}

/// A configuration for tests, where a message lives half a second, and missing chunks are not asked
/// for.
fn config(id: &str) -> Config {
    Config {
        message_ttl: Duration::from_millis(500),
        message_retransmit_attempts: 0,
        ..Config::new(id, 1_795_585_000_000, HOST, 9001)
    }
}

fn engine(config: Config) -> Engine {
    Engine::new(config, [1; 32], at(0))
}

/// One that only listens.
fn listener() -> Engine {
    engine(config("listener"))
}

fn payload(args: Vec<Bson>) -> Vec<u8> {
    doc! { "payload": args }.to_vec().unwrap()
}

/// A payload of about `len` bytes that looks different for each `salt`.
fn large_payload(len: usize, salt: u8) -> Vec<u8> {
    let text: String = (0..len)
        .map(|i| char::from(b'a' + ((i * 7 + i / 26 + usize::from(salt)) % 26) as u8))
        .collect();
    payload(vec![text.into()])
}

/// A best-effort event: what others do with it does not depend on what they have heard before.
fn outgoing<'a>(name: &'a str, payload: &'a [u8]) -> Outgoing<'a> {
    Outgoing {
        key: name,
        payload,
        schema: None,
        best_effort: true,
    }
}

/// Everything that an engine has to send, one datagram after the other, however long it takes.
fn datagrams(engine: &mut Engine, mut now: Now) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut buf = Vec::new();
    while let Some(next) = engine.next_transmit() {
        now.elapsed = now.elapsed.max(next);
        while let Some(transmit) = engine.poll_transmit(now, &mut buf) {
            assert_eq!(transmit.to, Destination::Group);
            all.extend(
                buf.chunks(transmit.segment_size.unwrap_or(buf.len()))
                    .map(<[u8]>::to_vec),
            );
        }
    }
    all
}

/// The datagrams of one event by a fresh engine.
fn emitted(config: Config, seed: u8, name: &str, payload: &[u8]) -> Vec<Vec<u8>> {
    let mut engine = Engine::new(config, [seed; 32], at(0));
    engine.emit(at(0), outgoing(name, payload)).unwrap();
    datagrams(&mut engine, at(0))
}

/// A message as a listener got it.
#[derive(Clone, Debug, PartialEq)]
struct Got {
    name: String,
    args: Vec<u8>,
    id: String,
    from: SocketAddr,
    time: Option<u64>,
    message_id: MessageId,
}

/// What an engine has to tell, as messages and everything else in words.
fn drain(engine: &mut Engine) -> (Vec<Got>, Vec<String>) {
    let mut events = Events::new();
    engine.take_events(&mut events);
    let (mut messages, mut others) = (Vec::new(), Vec::new());
    for event in events.iter() {
        match event {
            Event::Message(message) => messages.push(Got {
                name: message.key.to_owned(),
                args: message.args.parts().1.to_vec(),
                id: message.peer.id.clone(),
                from: message.peer.address,
                time: message.time,
                message_id: message.message_id,
            }),
            other => others.push(in_words(&other)),
        }
    }
    (messages, others)
}

/// What is told beside messages, in words.
fn in_words(event: &Event<'_>) -> String {
    match event {
        Event::Message(message) => format!("message {}", message.key),
        Event::Refused(refused) => format!("refused {} x{}", refused.cause, refused.count),
        Event::VersionMismatch { theirs, count, .. } => format!("version {theirs} x{count}"),
        Event::IdClash { peer, .. } => format!("clash {}", peer.id),
        Event::Expired(expired) => format!(
            "expired {:?} {}/{} +{}",
            expired.reason, expired.received, expired.total, expired.unreported
        ),
        Event::Lost(lost) => {
            let ranges: Vec<_> = lost
                .ranges
                .iter()
                .map(|(a, b)| format!("{a}-{b}"))
                .collect();
            format!("lost {:?} {}", lost.reason, ranges.join(","))
        }
        Event::PeerJoined { peer } => format!("joined {}", peer.id),
        Event::PeerLeft { peer, reason } => format!("left {} {reason:?}", peer.id),
    }
}

/// Hands in datagrams from one address and takes the messages.
fn deliver(engine: &mut Engine, now: Now, from: SocketAddr, datagrams: &[Vec<u8>]) -> Vec<Got> {
    for datagram in datagrams {
        engine.handle_datagram(now, from, datagram);
    }
    drain(engine).0
}

/// The array's bytes inside a payload document.
fn args_of(payload: &[u8]) -> &[u8] {
    crate::codec::RawArgs::from_payload(payload)
        .unwrap()
        .parts()
        .1
}

/// A datagram of a peer that has no extensions, or of one that has.
struct Craft<'a> {
    id: &'a str,
    incarnation: Option<u64>,
    name: &'a str,
    seq_id: [u8; 20],
    seq: u32,
    seq_len: u32,
    rest: &'a [u8],
}

impl Default for Craft<'_> {
    fn default() -> Self {
        Self {
            id: "stranger",
            incarnation: None,
            name: "crafted",
            seq_id: [9; 20],
            seq: 0,
            seq_len: 1,
            // {payload: []}
            rest: b"\x13\0\0\0\x04payload\0\x05\0\0\0\0\0",
        }
    }
}

impl Craft<'_> {
    fn make(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let head = Head {
            seq: self.seq,
            seq_len: self.seq_len,
            seq_id: &MessageId(self.seq_id).text(),
            name: self.name,
            time: &TimeWriter::new().write(at(0).unix_ms),
            number: None,
            schema: None,
        };
        Template::new(HOST, 9100, "elsewhere", self.id, self.incarnation).write(&head, &mut out);
        out.extend_from_slice(self.rest);
        out
    }
}

/// A datagram from a metadata document and a rest.
fn framed(metadata: &bson::Document, rest: &[u8]) -> Vec<u8> {
    let document = metadata.to_vec().unwrap();
    let mut out = (document.len() as u16).to_be_bytes().to_vec();
    out.extend_from_slice(&document);
    out.extend_from_slice(rest);
    out
}

/// The metadata of a good datagram of a peer without extensions.
fn metadata() -> bson::Document {
    doc! {
        "v": 3, "seq": 0, "seqLen": 1, "seqId": "00112233445566778899aabbccddeeff00112233", "seqEnd": true,
        "enc": false, "name": "crafted", "host": "127.0.0.1", "port": 9100, "hostname": "elsewhere",
        "id": "stranger", "time": "2026-11-25T05:43:43.172Z",
    }
}

/// The metadata and the slice of a datagram.
fn parse(datagram: &[u8]) -> Datagram<'_> {
    Datagram::parse(datagram).unwrap()
}

/// The datagrams of a message that joins to `inner`, from a peer without extensions.
fn cut(inner: &[u8], slice_len: usize, craft: &Craft<'_>) -> Vec<Vec<u8>> {
    let slices: Vec<&[u8]> = inner.chunks(slice_len).collect();
    let seq_len = slices.len() as u32;
    let datagram = |(seq, rest): (usize, &&[u8])| {
        Craft {
            seq: seq as u32,
            seq_len,
            rest,
            ..*craft
        }
        .make()
    };
    slices.iter().enumerate().map(datagram).collect()
}
