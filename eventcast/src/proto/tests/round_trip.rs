//! Whatever is emitted arrives, as it was, once, however its datagrams are shuffled and doubled.

use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::*;

fn any_config() -> impl Strategy<Value = Config> {
    let size = prop_oneof![
        Just(64_usize),
        64..1500_usize,
        Just(1024),
        1473..60_000_usize
    ];
    (size, "[a-z0-9]{1,64}", ".{0,60}", any::<bool>()).prop_map(
        |(max_payload_size, id, hostname, v6)| Config {
            max_payload_size,
            hostname,
            host: if v6 { "fe80::1".parse().unwrap() } else { HOST },
            ..config(&format!("{id:.60}"))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_emitted_arrives(
        config in any_config(),
        events in prop::collection::vec(
            ("[^_].{0,80}", prop_oneof![0..200_usize, 0..5_000_usize, 0..80_000_usize], any::<Option<i64>>()),
            1..6,
        ),
        seed in any::<u8>(),
        doubles in any::<bool>(),
    ) {
        let mut alice = Engine::new(Config { id: format!("{}-a", &config.id[..config.id.len().min(60)]), ..config.clone() }, [seed; 32], at(0));
        let mut expected = Vec::new();
        for (i, (name, len, schema)) in events.iter().enumerate() {
            let payload = large_payload(*len, i as u8);
            let accepted = alice.emit(at(i as u64), Outgoing { schema: *schema, ..outgoing(name, &payload) }).unwrap();
            expected.push((accepted.message_id, name.clone(), args_of(&payload).to_vec(), Some(at(i as u64).unix_ms)));
        }
        let mut sent = datagrams(&mut alice, at(10));
        let whole = if config.host.is_ipv6() { 1452 } else { 1472 };
        let longest = sent.iter().map(Vec::len).max().unwrap_or(0);
        prop_assert!(longest <= whole || config.max_payload_size > 1472);
        if doubles {
            sent.extend(sent.clone());
        }
        sent.shuffle(&mut StdRng::from_seed([seed; 32]));

        let mut bob = Engine::new(Config { id: "bob".to_owned(), ..config }, [seed ^ 1; 32], at(0));
        let mut got: Vec<_> = deliver(&mut bob, at(20), address(9001), &sent)
            .into_iter()
            .map(|got| (got.message_id, got.name, got.args, got.time))
            .collect();
        got.sort();
        expected.sort();
        prop_assert!(got == expected);
        prop_assert_eq!(bob.stats().held_bytes, 0);

        // The sender hears itself and drops it all.
        prop_assert_eq!(deliver(&mut alice, at(20), address(9001), &sent), vec![]);
        prop_assert_eq!(alice.stats().drops.get(DropCause::Echo), sent.len() as u64);
    }
}
