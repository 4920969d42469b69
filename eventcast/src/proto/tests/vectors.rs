//! Datagrams of an independent peer: each decodes, and encodes again to the same bytes.

use std::path::Path;

use bson::{Binary, Regex, spec::BinarySubtype};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use serde_json::Value;

use super::{
    super::{
        send::chunker::{Chunker, Outbound},
        wire::TimeReader,
    },
    *,
};

pub(super) struct Vector {
    pub(super) label: String,
    pub(super) max_payload_size: usize,
    /// Of the classic cipher.
    pub(super) passphrase: Option<String>,
    pub(super) datagrams: Vec<Vec<u8>>,
    pub(super) event: String,
    pub(super) args: Vec<Bson>,
    pub(super) sender: Value,
}

fn file() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/vectors.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub(super) fn vectors() -> Vec<Vector> {
    let file = file();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let read = |vector: &Value| Vector {
        label: text(&vector["label"]),
        max_payload_size: vector["config"]["maxPayloadSize"].as_u64().unwrap() as usize,
        passphrase: vector["config"]["passphrase"].as_str().map(str::to_owned),
        datagrams: list(&vector["datagrams"])
            .iter()
            .map(|hex| from_hex(hex.as_str().unwrap()))
            .collect(),
        event: text(&vector["event"]),
        args: list(&vector["args"])
            .iter()
            .map(from_extended_json)
            .collect(),
        sender: vector["sender"].clone(),
    };
    list(&file["vectors"]).iter().map(read).collect()
}

fn plain() -> impl Iterator<Item = Vector> {
    vectors()
        .into_iter()
        .filter(|vector| vector.passphrase.is_none())
}

fn from_hex(digits: &str) -> Vec<u8> {
    (0..digits.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap())
        .collect()
}

/// As much of canonical Extended JSON as the vectors need.
pub(super) fn from_extended_json(value: &Value) -> Bson {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match value {
        Value::Null => Bson::Null,
        Value::Bool(value) => Bson::Boolean(*value),
        Value::String(value) => Bson::String(value.clone()),
        Value::Array(values) => Bson::Array(values.iter().map(from_extended_json).collect()),
        Value::Number(_) => panic!("canonical Extended JSON has no bare numbers"),
        Value::Object(map) => {
            let Some((key, value)) = map.iter().next().filter(|_| map.len() == 1) else {
                let document: bson::Document = map
                    .iter()
                    .map(|(key, value)| (key.clone(), from_extended_json(value)))
                    .collect();
                return document.into();
            };
            match key.as_str() {
                "$numberInt" => Bson::Int32(text(value).parse().unwrap()),
                "$numberLong" => Bson::Int64(text(value).parse().unwrap()),
                "$numberDouble" => Bson::Double(match text(value).as_str() {
                    "Infinity" => f64::INFINITY,
                    "-Infinity" => f64::NEG_INFINITY,
                    number => number.parse().unwrap(),
                }),
                "$date" => {
                    let millis = text(&value["$numberLong"]).parse().unwrap();
                    Bson::DateTime(bson::DateTime::from_millis(millis))
                }
                "$binary" => Bson::Binary(Binary {
                    subtype: BinarySubtype::from(
                        u8::from_str_radix(&text(&value["subType"]), 16).unwrap(),
                    ),
                    bytes: Binary::from_base64(text(&value["base64"]), None)
                        .unwrap()
                        .bytes,
                }),
                "$regularExpression" => {
                    let [pattern, options] =
                        ["pattern", "options"].map(|key| text(&value[key]).try_into().unwrap());
                    Bson::RegularExpression(Regex { pattern, options })
                }
                _ => doc! { key: from_extended_json(value) }.into(),
            }
        }
    }
}

/// Equal, where not-a-number is equal to itself, and neither options of a regular expression nor
/// keys have an order: the file's reader does not keep that of keys.
pub(super) fn same(left: &[Bson], right: &[Bson]) -> bool {
    let text = |values: &[Bson]| format!("{:?}", values.iter().map(sorted).collect::<Vec<_>>());
    text(left) == text(right)
}

fn sorted(value: &Bson) -> Bson {
    match value {
        Bson::Array(values) => values.iter().map(sorted).collect(),
        Bson::Document(document) => {
            let mut entries: Vec<_> = document
                .iter()
                .map(|(key, value)| (key.clone(), sorted(value)))
                .collect();
            entries.sort_by(|left, right| left.0.cmp(&right.0));
            Bson::Document(entries.into_iter().collect())
        }
        Bson::RegularExpression(regex) => {
            let mut options: Vec<char> = regex.options.as_str().chars().collect();
            options.sort_unstable();
            let options = String::from_iter(options).try_into().unwrap();
            Bson::RegularExpression(Regex {
                options,
                ..regex.clone()
            })
        }
        _ => value.clone(),
    }
}

fn check_delivery(vector: &Vector, datagrams: &[Vec<u8>]) {
    check_delivery_to(&mut listener(), vector, datagrams);
}

pub(super) fn check_delivery_to(engine: &mut Engine, vector: &Vector, datagrams: &[Vec<u8>]) {
    for datagram in datagrams {
        engine.handle_datagram(at(0), address(9100), datagram);
    }
    let mut events = Events::new();
    assert!(engine.take_events(&mut events), "{}", vector.label);
    assert_eq!(events.len(), 1, "{}", vector.label);
    let Some(Event::Message(message)) = events.get(0) else {
        panic!("{}", vector.label)
    };
    assert_eq!(message.key, vector.event);
    let (element_type, value) = message.args.parts();
    assert_eq!(element_type, 4);
    let args: Vec<Bson> = bson::Document::try_from(bson::RawDocument::from_bytes(value).unwrap())
        .unwrap()
        .into_iter()
        .map(|e| e.1)
        .collect();
    assert!(same(&args, &vector.args), "{}: {args:?}", vector.label);
    let (peer, sender) = (message.peer, &vector.sender);
    assert_eq!(peer.id, sender["id"].as_str().unwrap());
    assert_eq!(peer.host, sender["host"].as_str().unwrap());
    assert_eq!(u64::from(peer.port), sender["port"].as_u64().unwrap());
    assert_eq!(peer.hostname, sender["hostname"].as_str().unwrap());
    assert_eq!((peer.incarnation, peer.address), (None, address(9100)));
    assert_eq!(
        message.time,
        TimeReader::new().read(sender["time"].as_str().unwrap().as_bytes())
    );
    assert!(message.time.is_some());
    assert_eq!(
        (message.number, message.schema, message.sealed),
        (None, None, false)
    );
    assert_eq!(engine.stats().held_bytes, 0);
}

#[test]
fn plain_ones_decode() {
    let mut count = 0;
    for vector in plain() {
        check_delivery(&vector, &vector.datagrams);
        count += 1;
    }
    assert_eq!(count, 13);
}

#[test]
fn chunks_decode_in_any_order() {
    let mut rng = StdRng::from_seed([3; 32]);
    let mut chunked = 0;
    for vector in plain().filter(|vector| vector.datagrams.len() > 1) {
        chunked += 1;
        if vector.datagrams.len() <= 6 {
            permutations(&mut vector.datagrams.clone(), 0, &mut |order| {
                check_delivery(&vector, order);
            });
        }
        let mut order = vector.datagrams.clone();
        for _ in 0..500 {
            order.shuffle(&mut rng);
            check_delivery(&vector, &order);
        }
    }
    assert_eq!(chunked, 3);
}

fn permutations(items: &mut [Vec<u8>], from: usize, each: &mut impl FnMut(&[Vec<u8>])) {
    if from == items.len() {
        return each(items);
    }
    for i in from..items.len() {
        items.swap(from, i);
        permutations(items, from + 1, each);
        items.swap(from, i);
    }
}

#[test]
fn plain_ones_encode_to_the_same_bytes() {
    for vector in plain() {
        let first = Datagram::parse(&vector.datagrams[0]).unwrap();
        // The inner message, from which everything else follows.
        let inner = match first.metadata.seq_len {
            1 => vector.datagrams[0].clone(),
            _ => vector
                .datagrams
                .iter()
                .flat_map(|datagram| Datagram::parse(datagram).unwrap().rest)
                .copied()
                .collect(),
        };
        let message = Datagram::parse(&inner).unwrap();
        let described = message.metadata.described.unwrap();
        let identity = described.identity;
        let template = Template::new(
            identity.host.parse().unwrap(),
            identity.port,
            identity.hostname,
            identity.id,
            None,
        );
        let time =
            |text: &str| TimeWriter::new().write(TimeReader::new().read(text.as_bytes()).unwrap());

        let mut written = Vec::new();
        let head = Head {
            seq: 0,
            seq_len: 1,
            seq_id: message.metadata.seq_id.as_bytes().try_into().unwrap(),
            name: &vector.event,
            time: &time(described.time),
            number: None,
            schema: None,
        };
        template.write(&head, &mut written);
        assert_eq!(
            written.len(),
            template.len(vector.event.len(), false, false)
        );
        written.extend_from_slice(message.rest);
        assert_eq!(written, inner, "{}", vector.label);

        let chunker = Chunker::new(vector.max_payload_size, 32 << 20, HOST);
        if chunker.fits_whole(written.len()) {
            assert_eq!(vec![written], vector.datagrams, "{}", vector.label);
            continue;
        }
        let head_len = template.len(vector.event.len(), false, false);
        let plan = chunker
            .plan(written.len(), head_len, vector.event.len())
            .unwrap();
        let chunk_time = time(first.metadata.described.unwrap().time);
        let seq_id = first.metadata.seq_id.as_bytes().try_into().unwrap();
        let head = Head {
            seq_len: plan.chunks,
            seq_id,
            time: &chunk_time,
            ..head
        };
        let mut chunk_head = Vec::new();
        template.write(&head, &mut chunk_head);
        let mut outbound = Outbound::new(written, chunk_head, plan);
        let mut again = Vec::new();
        while outbound.next_len().is_some() {
            let mut datagram = Vec::new();
            outbound.write_next(&mut datagram);
            again.push(datagram);
        }
        assert_eq!(again, vector.datagrams, "{}", vector.label);
    }
}

#[test]
fn encrypted_ones_are_refused_without_harm() {
    let mut engine = listener();
    let mut refused = 0;
    for vector in vectors()
        .iter()
        .filter(|vector| vector.passphrase.is_some())
    {
        assert_eq!(
            deliver(&mut engine, at(0), address(9100), &vector.datagrams),
            []
        );
        refused += 1;
        assert_eq!(
            engine.stats().drops.get(DropCause::Classic),
            refused,
            "{}",
            vector.label
        );
    }
    assert_eq!(refused, 15);
    assert_eq!(engine.stats().drops.total(), refused);
    assert_eq!(engine.stats().incomplete_messages, 0);
    let good = plain().next().unwrap();
    assert_eq!(
        deliver(&mut engine, at(0), address(9100), &good.datagrams).len(),
        1
    );
}

#[test]
fn what_was_lost_completes_the_message_when_it_comes_again() {
    let exchange = &file()["retransmission"];
    let hex = |value: &Value| from_hex(value.as_str().unwrap());
    let lost: Vec<u64> = exchange["lost"]
        .as_array()
        .unwrap()
        .iter()
        .map(|index| index.as_u64().unwrap())
        .collect();
    let mut bob = listener();
    for (i, datagram) in (0..).zip(exchange["datagrams"].as_array().unwrap()) {
        if !lost.contains(&i) {
            bob.handle_datagram(at(0), address(9100), &hex(datagram));
        }
    }
    assert_eq!(drain(&mut bob), (vec![], vec![]));
    for answer in exchange["answer"].as_array().unwrap() {
        bob.handle_datagram(at(0), address(9100), &hex(&answer["hex"]));
    }
    let got = drain(&mut bob).0;
    assert_eq!((got.len(), got[0].name.as_str()), (1, "document"));
}
