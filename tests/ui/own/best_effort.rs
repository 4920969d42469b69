use eventcast::NetEvent;
use serde::{Deserialize, Serialize};

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(best_effort = true)]
struct WithAValue;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(best_effort(true))]
struct WithAList;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(best_effort, best_effort)]
struct Twice;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(besteffort)]
struct Misspelt;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(lossy)]
struct AnotherWord;

#[derive(NetEvent, Serialize, Deserialize)]
struct OnAField {
    #[net_event(best_effort)]
    at: u32,
}

fn main() {}
