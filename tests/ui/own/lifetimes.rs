use eventcast::NetEvent;
use serde::{Deserialize, Serialize};

#[derive(NetEvent, Serialize, Deserialize)]
struct Borrowed<'a> {
    s: &'a str,
}

#[derive(NetEvent, Serialize, Deserialize)]
struct Two<'a, 'b: 'a, T> {
    s: &'a str,
    #[serde(borrow)]
    t: &'b str,
    u: T,
}

fn main() {}
