use eventcast::NetEvent;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Plain;

fn emit<E: NetEvent>(_: E) {}

fn main() {
    emit(Plain);
}
