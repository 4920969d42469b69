//! Generic events from outside of the crate, with the bounds that people write.

use std::fmt::Debug;

use eventcast::NetEvent;
use serde::{Deserialize, Serialize};

#[derive(NetEvent, Serialize, Deserialize)]
struct G<T>(T);

#[derive(NetEvent, Serialize, Deserialize)]
struct Bounded<T: Clone = u8>
where
    T: Debug,
{
    v: T,
}

#[derive(NetEvent, Serialize, Deserialize)]
#[serde(bound(
    serialize = "[u8; K]: Serialize",
    deserialize = "[u8; K]: Deserialize<'de>"
))]
struct N<const K: usize> {
    v: [u8; K],
}

#[derive(NetEvent, Serialize, Deserialize)]
enum E<T> {
    A(T),
    B,
}

#[derive(NetEvent, Serialize, Deserialize)]
enum Tree<T> {
    Leaf(T),
    Node(Box<Tree<T>>, Box<Tree<T>>),
}

fn key<E: NetEvent>(_: E) -> &'static str {
    E::KEY
}

fn main() {
    assert_eq!(key(G(1.5)), "G<f64>");
    assert_eq!(key(Bounded::<u8> { v: 1 }), "Bounded<u8>");
    assert_eq!(key(N { v: [1, 2, 3, 4] }), "N<4>");
    assert_eq!([key(E::A(true)), key(E::<bool>::B)], ["E<bool>"; 2]);
    let leaf = || Box::new(Tree::Leaf(7_u8));
    assert_eq!(key(Tree::Node(leaf(), leaf())), "Tree<u8>");
}
