//! Keys of maps that have no one text form.

use std::collections::{BTreeMap, HashMap};

use eventcast::NetEvent;
use serde::{Deserialize, Serialize};

#[derive(NetEvent, Serialize, Deserialize)]
struct ByPair {
    by_pair: HashMap<(u8, u8), u8>,
    #[serde(skip)]
    skipped: HashMap<(u8, u8), u8>,
}

#[derive(NetEvent, Serialize, Deserialize)]
struct Nested(Vec<Option<BTreeMap<[u8; 2], u8>>>);

#[derive(NetEvent, Serialize, Deserialize)]
enum Either {
    One(std::collections::HashMap<Vec<u8>, u8>),
    Other { map: BTreeMap<u32, BTreeMap<Option<u8>, u8>> },
}

fn main() {}
