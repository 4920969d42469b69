//! Old peers with a passphrase.

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{
    net::{Net, nothing},
    vectors::{Vector, check_delivery_to, vectors},
    *,
};
use crate::{
    codec,
    proto::{
        classic::encrypted_len,
        send::chunker::{Chunker, Outbound},
        wire::{
            CLASSIC_HEAD, NONCE_LEN, TimeReader,
            control::{self, AGAIN, Control},
            put_nonce, write_classic_head,
        },
    },
};

fn encrypted() -> Vec<Vector> {
    let all = vectors().into_iter();
    all.filter(|vector| vector.passphrase.is_some()).collect()
}

fn key(vector: &Vector) -> ClassicKey {
    ClassicKey::from_passphrase(vector.passphrase.as_ref().unwrap()).unwrap()
}

/// The digits of a datagram's nonce.
fn nonce(datagram: &[u8]) -> [u8; 40] {
    let len = usize::from(u16::from_be_bytes([datagram[0], datagram[1]]));
    let metadata = bson::RawDocument::from_bytes(&datagram[2..2 + len]).unwrap();
    metadata
        .get_str("nonce")
        .unwrap()
        .as_bytes()
        .try_into()
        .unwrap()
}

fn time(text: &str) -> [u8; 24] {
    TimeWriter::new().write(TimeReader::new().read(text.as_bytes()).unwrap())
}

fn digits(datagram: &[u8]) -> [u8; 40] {
    parse(datagram)
        .metadata
        .seq_id
        .as_bytes()
        .try_into()
        .unwrap()
}

#[test]
fn every_encrypted_vector_is_decrypted_and_encoded_to_the_same_bytes() {
    for vector in encrypted() {
        let key = key(&vector);
        let first = &vector.datagrams[0];
        let outer: Vec<u8> = match parse(first).metadata.seq_len {
            1 => first.clone(),
            _ => vector
                .datagrams
                .iter()
                .flat_map(|d| parse(d).rest)
                .copied()
                .collect(),
        };
        let mut inner = Vec::new();
        key.decrypt(parse(&outer).rest, &mut inner).unwrap();
        let message = parse(&inner);
        let described = message.metadata.described.unwrap();
        assert_eq!(described.name, vector.event);
        let identity = described.identity;
        let template = Template::new(
            identity.host.parse().unwrap(),
            identity.port,
            identity.hostname,
            identity.id,
            None,
        );

        let mut written = Vec::new();
        let head = Head {
            seq: 0,
            seq_len: 1,
            seq_id: &digits(&inner),
            name: &vector.event,
            time: &time(described.time),
            number: None,
            schema: None,
        };
        template.write(&head, &mut written);
        put_nonce(&mut written, 0, &nonce(&inner));
        written.extend_from_slice(message.rest);
        assert_eq!(written, inner, "{}", vector.label);

        let mut message = Vec::new();
        write_classic_head(&digits(&outer), &mut message);
        assert_eq!(message.len(), CLASSIC_HEAD);
        key.encrypt(&written, &mut message);
        assert_eq!(message.len(), CLASSIC_HEAD + encrypted_len(written.len()));
        assert_eq!(message, outer, "{}", vector.label);

        let chunker = Chunker::new(vector.max_payload_size, 1 << 20, HOST);
        assert_eq!(
            chunker.fits_whole(message.len()),
            vector.datagrams.len() == 1
        );
        if vector.datagrams.len() == 1 {
            continue;
        }
        let head_len = template.len(vector.event.len(), false, false) + NONCE_LEN;
        let plan = chunker
            .plan(message.len(), head_len, vector.event.len())
            .unwrap();
        let mut again = Vec::new();
        for (seq, datagram) in (0..).zip(&vector.datagrams) {
            let head = Head {
                seq_len: plan.chunks,
                seq_id: &digits(datagram),
                time: &time(parse(datagram).metadata.described.unwrap().time),
                ..head
            };
            let mut chunk_head = Vec::new();
            template.write(&head, &mut chunk_head);
            put_nonce(&mut chunk_head, 0, &nonce(datagram));
            let mut written = Vec::new();
            Outbound::new(message.clone(), chunk_head, plan).write(seq, &mut written);
            again.push(written);
        }
        assert_eq!(again, vector.datagrams, "{}", vector.label);
    }
    assert_eq!(encrypted().len(), 15);
}

fn bus(id: &str, passphrase: &str) -> Config {
    Config {
        classic: Some(ClassicKey::from_passphrase(passphrase).unwrap()),
        ..config(id)
    }
}

fn drops(engine: &Engine) -> Vec<(DropCause, u64)> {
    let drops = engine.stats().drops;
    drops.iter().filter(|(_, count)| *count > 0).collect()
}

#[test]
fn every_encrypted_vector_is_delivered_in_any_order_of_its_chunks() {
    let mut rng = StdRng::from_seed([3; 32]);
    for vector in encrypted() {
        let passphrase = vector.passphrase.as_ref().unwrap();
        let mut order = vector.datagrams.clone();
        for _ in 0..20 {
            let mut listener = engine(bus("listener", passphrase));
            check_delivery_to(&mut listener, &vector, &order);
            // And no second time.
            assert_eq!(deliver(&mut listener, at(1), address(9100), &order), []);
            order.shuffle(&mut rng);
        }
    }
}

#[test]
fn what_one_bus_says_another_hears_with_numbers_loss_and_repair() {
    let mut net = Net::with(3, |config| {
        config.classic = Some(ClassicKey::from_passphrase("bravo").unwrap());
        config.message_retransmit_attempts = 30;
    });
    net.run(100, nothing);
    let mut rng = StdRng::from_seed([1; 32]);
    let mut lossy = |_: usize, _: usize, _: &[u8]| rng.random_bool(0.1);
    for i in 0..200 {
        assert_eq!(net.emit(0, &i.to_string()), Some(2 * i + 1));
        net.emit(0, &"x".repeat(2000 + i as usize));
        net.run(100 + 3 * (i + 1), &mut lossy);
    }
    net.run(10_000, nothing);
    let expected = (0..200).flat_map(|i| [i.to_string(), format!("{} bytes", 2000 + i)]);
    let expected: Vec<String> = expected.collect();
    for i in 1..3 {
        assert_eq!(net.told(i), expected, "{i}");
        assert!(net.engines[i].stats().repaired_messages > 10);
    }
    // Events show in no other way than as chunks, and each chunk has a nonce of its own, also when
    // it comes again.
    let mut nonces = std::collections::BTreeMap::new();
    for (_, _, _, datagram) in &net.log {
        let datagram = match again(datagram) {
            Some(inner) => inner,
            None => datagram.clone(),
        };
        let metadata = parse(&datagram).metadata;
        match metadata.described {
            None => assert!(datagram.len() <= 1024),
            Some(described) if described.name == "e" => {
                assert!(metadata.seq_len > 1 && datagram.len() <= 1472);
                let chunk = (metadata.seq_id.to_owned(), metadata.seq);
                let nonce = nonce(&datagram);
                assert_eq!(*nonces.entry(nonce).or_insert(chunk.clone()), chunk);
            }
            Some(described) => assert!(described.name.starts_with("__ec_")),
        }
    }
    assert!(nonces.len() >= 600, "{}", nonces.len());
}

/// What a datagram repeats.
fn again(datagram: &[u8]) -> Option<Vec<u8>> {
    let Datagram { metadata, rest } = parse(datagram);
    let described = metadata
        .described
        .filter(|described| described.name == AGAIN)?;
    let args = codec::RawArgs::from_payload(rest).unwrap();
    match Control::read(described.name, args) {
        Ok(Control::Again(inner)) => Some(inner.to_vec()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_measured_is_the_encrypted_message() {
    let mut longest = 0;
    for len in 600..800 {
        let datagrams = emitted(bus("alice", "bravo"), 1, "e", &large_payload(len, 1));
        if datagrams.len() == 1 {
            assert!(datagrams[0].len() <= 1024);
            longest = longest.max(datagrams[0].len());
        } else {
            assert!(datagrams.iter().all(|datagram| datagram.len() <= 1472));
        }
    }
    assert!(longest > 1024 - 16, "{longest}");
}

#[test]
fn another_passphrase_is_counted_and_harms_nobody() {
    let mut bob = engine(bus("bob", "bravo"));
    for seed in 0..200 {
        let small = emitted(bus("alice", "alpha"), seed, "e", &payload(vec![]));
        assert_eq!(deliver(&mut bob, at(0), address(9100), &small), []);
        let large = emitted(bus("alice", "alpha"), seed, "e", &large_payload(3000, seed));
        assert_eq!(deliver(&mut bob, at(0), address(9100), &large), []);
    }
    // One in 256 or so decrypts to something, which is nothing.
    let drops = drops(&bob);
    assert!(
        drops
            .iter()
            .all(|(cause, _)| { matches!(cause, DropCause::Undecryptable | DropCause::Malformed) })
    );
    assert_eq!(bob.stats().drops.total(), 400);
    assert!(bob.stats().drops.get(DropCause::Undecryptable) > 350);
    assert_eq!(bob.stats().incomplete_messages, 0);
    let good = emitted(bus("carol", "bravo"), 9, "e", &payload(vec![]));
    assert_eq!(deliver(&mut bob, at(0), address(9101), &good).len(), 1);
}

/// A datagram around ciphertext, or around anything.
fn encrypt(datagram: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_classic_head(&MessageId([5; 20]).text(), &mut out);
    let key = ClassicKey::from_passphrase("bravo").unwrap();
    key.encrypt(datagram, &mut out);
    out
}

fn repeat(datagram: &[u8]) -> Vec<u8> {
    let mut out = Craft {
        name: AGAIN,
        rest: b"",
        ..Craft::default()
    }
    .make();
    control::write_again(&mut out, |out| out.extend_from_slice(datagram));
    out
}

#[test]
fn layers_come_once_each_and_in_order() {
    let plain = Craft::default().make();
    let chunk = |inner: &[u8]| {
        let craft = Craft {
            seq_id: [7; 20],
            ..Craft::default()
        };
        let slices = inner.len().div_ceil(2);
        cut(inner, slices, &craft)
    };
    let repeated = |datagrams: Vec<Vec<u8>>| -> Vec<Vec<u8>> {
        datagrams.iter().map(|datagram| repeat(datagram)).collect()
    };
    let hello = |best: bool| {
        let mut alice = engine(Config {
            heartbeat: Duration::from_secs(1),
            ..bus("alice", "bravo")
        });
        alice.handle_timeout(at(0));
        let hello = datagrams(&mut alice, at(0)).remove(0);
        if best { hello } else { repeat(&hello) }
    };
    // Ciphertext that says of itself that it is one of two.
    let mut outer = bson::doc! { "v": 3, "seq": 0, "seqLen": 2 };
    outer.extend(bson::doc! { "seqId": "5".repeat(40), "seqEnd": false, "enc": true });
    let part = framed(&outer, parse(&encrypt(&plain)).rest);
    use DropCause::{Clear, Malformed, Sealed};
    let sealed = seal::vectors::good().remove(0).datagram;
    for (what, datagrams, cause) in [
        ("clear", vec![plain.clone()], Some(Clear)),
        ("encrypted", vec![encrypt(&plain)], None),
        ("again clear", vec![repeat(&plain)], Some(Clear)),
        ("again encrypted", vec![repeat(&encrypt(&plain))], None),
        ("chunks of clear", chunk(&plain), Some(Clear)),
        ("chunks of encrypted", chunk(&encrypt(&plain)), None),
        ("again chunks", repeated(chunk(&encrypt(&plain))), None),
        ("twice", vec![encrypt(&encrypt(&plain))], Some(Malformed)),
        (
            "chunks of twice",
            chunk(&encrypt(&encrypt(&plain))),
            Some(Malformed),
        ),
        (
            "encrypted again",
            vec![encrypt(&repeat(&plain))],
            Some(Malformed),
        ),
        (
            "encrypted chunk",
            vec![encrypt(&chunk(&plain)[0])],
            Some(Malformed),
        ),
        (
            "again again",
            vec![repeat(&repeat(&encrypt(&plain)))],
            Some(Clear),
        ),
        ("encrypted part", vec![part.clone()], Some(Malformed)),
        ("chunks of a part", chunk(&part), Some(Malformed)),
        ("sealed", vec![sealed.clone()], Some(Sealed)),
        ("again sealed", vec![repeat(&sealed)], Some(Sealed)),
        ("encrypted sealed", vec![encrypt(&sealed)], Some(Malformed)),
        ("again hello", vec![hello(false)], Some(Clear)),
    ] {
        let mut bob = engine(bus("bob", "bravo"));
        let got = deliver(&mut bob, at(0), address(9100), &datagrams);
        assert_eq!(got.len(), usize::from(cause.is_none()), "{what}");
        assert_eq!(
            drops(&bob),
            Vec::from_iter(cause.map(|cause| (cause, 1))),
            "{what}"
        );
    }
    for hello in [hello(true), encrypt(&hello(true))] {
        let mut bob = engine(bus("bob", "bravo"));
        assert_eq!(deliver(&mut bob, at(0), address(9100), &[hello]), []);
        assert_eq!((bob.stats().peers, bob.stats().drops.total()), (1, 0));
    }
}
