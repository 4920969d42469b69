use eventcast::NetEvent;
use serde::{Deserialize, Serialize};

type Kilobyte = [[u8; 32]; 32];

#[derive(NetEvent, Serialize, Deserialize)]
struct Large {
    values: [[Kilobyte; 32]; 16],
}

#[derive(NetEvent, Serialize, Deserialize)]
enum LargeInside {
    Small(u8),
    Large { values: Option<[[Kilobyte; 32]; 2]> },
}

fn main() {}
