//! Old peers with a passphrase.

use super::{
    vectors::{Vector, vectors},
    *,
};
use crate::proto::{
    chunker::{Chunker, Outbound},
    classic::encrypted_len,
    wire::{CLASSIC_HEAD, NONCE_LEN, TimeReader, put_nonce, write_classic_head},
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
