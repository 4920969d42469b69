use eventcast::{NetEvent, TypeName};
use serde::{Deserialize, Serialize};

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")]
struct Long;

struct Empty;

impl TypeName for Empty {
    const NAME: &'static str = "";
}

struct Protocols;

impl TypeName for Protocols {
    const NAME: &'static str = "__ec_";
}

struct Lines;

impl TypeName for Lines {
    const NAME: &'static str = "a\nb";
}

#[derive(NetEvent, Serialize, Deserialize)]
struct Pair<A, B>(A, B);

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "{T}")]
#[serde(bound = "")]
struct Is<T>(std::marker::PhantomData<T>);

impl<T> Is<T>
where
    Self: NetEvent,
{
    const USED: &'static str = Self::KEY;
}

const _: &str = <Pair<Long, Long> as NetEvent>::KEY;

fn main() {
    println!("{}", Is::<Empty>::USED);
    println!("{}", Is::<Protocols>::USED);
    println!("{}", Is::<Lines>::USED);
}
