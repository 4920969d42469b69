use eventcast::NetEvent;
use serde::{Deserialize, Serialize};

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "a", name = "b")]
struct InOneList;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "a")]
#[net_event(name = "a")]
struct InTwoLists;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(crate = eventcast, crate = "eventcast")]
struct Crate;

// The first one is wrong, and the second still one too many.
#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = 5, name = "b")]
struct WrongFirst;

fn main() {}
