use eventcast::NetEvent;
use serde::{Deserialize, Serialize};

// Without a list.
#[derive(NetEvent, Serialize, Deserialize)]
#[net_event]
struct Bare;

// An empty list.
#[derive(NetEvent, Serialize, Deserialize)]
#[net_event()]
struct Empty;

// Wrong delimiters.
#[derive(NetEvent, Serialize, Deserialize)]
#[net_event[name = "order.placed"]]
struct Brackets;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event { name = "order.placed" }]
struct Braces;

// A value instead of a list.
#[derive(NetEvent, Serialize, Deserialize)]
#[net_event = "order.placed"]
struct Value;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event = 5]
struct Number;

// The name without its key.
#[derive(NetEvent, Serialize, Deserialize)]
#[net_event("order.placed")]
struct Keyless;

// Commas too many.
#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(, name = "a",, )]
struct Commas;

// What is no option at all.
#[derive(NetEvent, Serialize, Deserialize)]
#[net_event((name = "a"), 'n', +)]
struct Noise;

fn main() {}
