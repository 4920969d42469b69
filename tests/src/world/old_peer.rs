//! A peer of another make: version 3 without any extension. It sends events, asks once in a while
//! for chunks that it lacks, answers such requests, and hands its application whatever arrives.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use bson::{Bson, Document, doc};

use super::{
    history::{MILLI, MessageKey, Nanos},
    payload::{self, Stamp},
    reading::{Reading, Said},
};
use crate::craft;

/// The slices of its chunks.
const SLICE: usize = 700;

/// How long nothing of a message comes before it asks.
const PATIENCE: Nanos = 500 * MILLI;

/// How often it asks for one message.
const ATTEMPTS: u32 = 3;

/// What it does in answer to something.
#[derive(Debug)]
pub(super) enum Deed {
    /// It sends to an address.
    Send(SocketAddr, Vec<u8>),
    /// It hands a message to its application: the id on the wire, and what it was if the content is
    /// good.
    Deliver([u8; 20], Option<Stamp>),
}

/// The peer.
#[derive(Debug)]
pub(super) struct OldPeer {
    id: String,
    address: SocketAddr,
    sent: HashMap<[u8; 20], Vec<Vec<u8>>>,
    incoming: BTreeMap<[u8; 20], Incoming>,
    count: u64,
}

#[derive(Debug)]
struct Incoming {
    from: SocketAddr,
    slices: Vec<Option<Vec<u8>>>,
    ask_at: Nanos,
    asked: u32,
}

impl OldPeer {
    /// One that has said nothing yet.
    #[must_use]
    pub(super) fn new(id: &str, address: SocketAddr) -> Self {
        Self {
            id: id.to_owned(),
            address,
            sent: HashMap::new(),
            incoming: BTreeMap::new(),
            count: 0,
        }
    }

    /// The datagrams of an event to the group, and its id.
    pub(super) fn emit(&mut self, message: MessageKey, payload: &[u8]) -> ([u8; 20], Vec<Vec<u8>>) {
        let name = payload::name_of(message);
        let id = self.next_id();
        let whole = self.datagram(id, name, payload, (0, 1));
        if whole.len() <= 1024 {
            return (id, vec![whole]);
        }
        let id = self.next_id();
        let slices: Vec<&[u8]> = whole.chunks(SLICE).collect();
        let count = slices.len() as u32;
        let datagrams: Vec<Vec<u8>> = (0..)
            .zip(&slices)
            .map(|(seq, slice)| self.datagram(id, name, slice, (seq, count)))
            .collect();
        self.sent.insert(id, datagrams.clone());
        (id, datagrams)
    }

    /// Takes a datagram that is good.
    pub(super) fn hear(
        &mut self,
        now: Nanos,
        from: SocketAddr,
        reading: &Reading,
        bytes: &[u8],
    ) -> Vec<Deed> {
        let body = &bytes[reading.body_at..];
        match &reading.said {
            Said::Retx {
                seq_id,
                missing,
                host,
                port,
            } => self.answer(seq_id, missing, host, *port),
            Said::Event if reading.seq_len == 1 => {
                vec![Deed::Deliver(
                    reading.seq_id,
                    read_payload(&reading.name, body),
                )]
            }
            Said::Event => self.chunk(now, from, reading, body),
            // Events that nobody listens to.
            _ => Vec::new(),
        }
    }

    /// When it has something to ask.
    #[must_use]
    pub(super) fn next(&self) -> Option<Nanos> {
        self.incoming.values().map(|incoming| incoming.ask_at).min()
    }

    /// Asks for what is missing.
    pub(super) fn ask(&mut self, now: Nanos) -> Vec<Deed> {
        let mut requests = Vec::new();
        self.incoming.retain(|id, incoming| {
            if incoming.ask_at > now {
                return true;
            }
            incoming.ask_at = now + PATIENCE;
            incoming.asked += 1;
            let missing = (0..).zip(&incoming.slices);
            let missing = missing.filter(|(_, slice)| slice.is_none());
            let missing: Vec<Bson> = missing
                .map(|(index, _)| Bson::Int32(index))
                .take(64)
                .collect();
            requests.push((*id, incoming.from, missing));
            incoming.asked < ATTEMPTS
        });
        let mut deeds = Vec::new();
        for (id, to, missing) in requests {
            let request = doc! { "payload": {
                "id": &self.id, "seqId": text(id), "missedSeq": missing,
                "host": self.address.ip().to_string(), "port": i32::from(self.address.port()),
            } };
            let body = craft::bytes_of(&request);
            let new_id = self.next_id();
            let bytes = self.datagram(new_id, "__ec_retx", &body, (0, 1));
            deeds.push(Deed::Send(to, bytes));
        }
        deeds
    }

    fn answer(&self, id: &[u8; 20], missing: &[u32], host: &str, port: u16) -> Vec<Deed> {
        let (Some(datagrams), Ok(ip)) = (self.sent.get(id), host.parse()) else {
            return Vec::new();
        };
        // It knows no better than to believe what the request says.
        let to = SocketAddr::new(ip, port);
        missing
            .iter()
            .filter_map(|&index| datagrams.get(index as usize))
            .map(|bytes| Deed::Send(to, bytes.clone()))
            .collect()
    }

    fn chunk(
        &mut self,
        now: Nanos,
        from: SocketAddr,
        reading: &Reading,
        slice: &[u8],
    ) -> Vec<Deed> {
        let incoming = self
            .incoming
            .entry(reading.seq_id)
            .or_insert_with(|| Incoming {
                from,
                slices: vec![None; reading.seq_len as usize],
                ask_at: 0,
                asked: 0,
            });
        incoming.ask_at = now + PATIENCE;
        if let Some(place) = incoming.slices.get_mut(reading.seq as usize) {
            *place = Some(slice.to_vec());
        }
        if incoming.slices.iter().any(Option::is_none) {
            return Vec::new();
        }
        let incoming = self.incoming.remove(&reading.seq_id);
        let whole: Vec<u8> = incoming
            .into_iter()
            .flat_map(|incoming| incoming.slices)
            .flatten()
            .flatten()
            .collect();
        let stamp = super::reading::read(&whole)
            .and_then(|inner| read_payload(&inner.name, &whole[inner.body_at..]));
        vec![Deed::Deliver(reading.seq_id, stamp)]
    }

    fn datagram(
        &self,
        id: [u8; 20],
        name: &str,
        body: &[u8],
        (seq, seq_len): (u32, u32),
    ) -> Vec<u8> {
        let meta = doc! {
            "v": 3, "seq": seq as i32, "seqLen": seq_len as i32, "seqId": text(id), "seqEnd": seq + 1 == seq_len,
            "enc": false, "name": name, "host": self.address.ip().to_string(),
            "port": i32::from(self.address.port()), "hostname": "old", "id": &self.id,
            "time": "2026-11-25T05:43:43.172Z",
        };
        craft::join(&craft::bytes_of(&meta), body)
    }

    fn next_id(&mut self) -> [u8; 20] {
        self.count += 1;
        let mut id = [0xDD; 20];
        id[..8].copy_from_slice(&self.count.to_be_bytes());
        id[8..10].copy_from_slice(&self.address.port().to_be_bytes());
        if let std::net::IpAddr::V4(ip) = self.address.ip() {
            id[10..14].copy_from_slice(&ip.octets());
        }
        id
    }
}

fn text(id: [u8; 20]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_payload(name: &str, body: &[u8]) -> Option<Stamp> {
    let document = Document::from_reader(body).ok()?;
    match document.get_array("payload").ok()?.as_slice() {
        [Bson::Binary(binary)] => payload::read_body(&binary.bytes)
            .filter(|stamp| payload::name_of(stamp.message) == name),
        _ => None,
    }
}
