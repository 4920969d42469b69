use eventcast::NetEvent;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Celsius(f64);

#[derive(NetEvent, Serialize, Deserialize)]
struct Sample<T>(T);

fn emit<E: NetEvent>(_: E) {}

fn main() {
    emit(Sample(Celsius(20.0)));
}
