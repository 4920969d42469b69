use eventcast::NetEvent;
use serde::{Deserialize, Serialize};

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "sample/{U}")]
struct Unknown<T>(T);

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "sample/{Lenght}")]
struct Near<Value, const Length: usize>(Value);

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "sample/{x}")]
struct NotGeneric;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "sample/{")]
struct Open<T>(T);

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "sample/}")]
struct Closed<T>(T);

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "sample/{}")]
struct Positional<T>(T);

fn main() {}
