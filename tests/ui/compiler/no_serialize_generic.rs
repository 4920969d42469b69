use eventcast::NetEvent;
use serde::Deserialize;

#[derive(NetEvent, Deserialize)]
struct Sample<T>(T);

fn emit<E: NetEvent>(_: E) {}

fn main() {
    emit(Sample(5_u8));
}
