//! Keys of maps that have one text form, and maps that are written in another way.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use eventcast::NetEvent;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, PartialEq, Eq, Hash)]
enum Colour {
    Red,
}

#[derive(Serialize, Deserialize, PartialEq, Eq, Hash)]
struct Id(u64);

#[derive(NetEvent, Serialize, Deserialize)]
struct Maps {
    numbers: BTreeMap<u32, HashMap<i8, bool>>,
    addresses: HashMap<IpAddr, u8>,
    colours: HashMap<Colour, u8>,
    ids: HashMap<Id, (u8, Vec<u8>)>,
    #[serde(with = "pairs")]
    pairs: BTreeMap<(u8, u8), u8>,
}

/// A map as a list of pairs.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(
        map: &BTreeMap<(u8, u8), u8>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<(u8, u8), u8>, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

fn main() {
    assert_eq!(Maps::KEY, "Maps");
}
