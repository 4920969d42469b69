use eventcast::NetEvent;

#[derive(NetEvent)]
union Either {
    a: u32,
    b: f32,
}

fn main() {}
