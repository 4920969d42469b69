use eventcast::NetEvent;
use serde::{Deserialize, Serialize};

#[derive(NetEvent, Serialize, Deserialize)]
struct LeftOut(u8, #[serde(skip_serializing_if = "Option::is_none")] Option<u8>);

#[derive(NetEvent, Serialize, Deserialize)]
struct SentOnly(#[serde(skip_deserializing)] u8, u8);

#[derive(NetEvent, Serialize, Deserialize)]
enum Both {
    One(#[serde(skip_serializing, default)] u8, #[serde(default)] u8),
    Two(u8, #[serde(default, skip_serializing_if = "Option::is_none")] Option<u8>),
}

fn main() {}
