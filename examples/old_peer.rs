//! A bus talks with a program of another make, which speaks version 3 of the protocol and nothing
//! newer.
//!
//! ```sh
//! cargo run --example old_peer
//! ```
//!
//! They meet by having the same group and port; nothing is to be said about which is which. What
//! such a peer sends can be heard by key or by type, and it hears what a bus emits: it passes over
//! the parts of a datagram that it does not know. Two things differ. It is not known by incarnation
//! and numbers, so what the network loses of its events is not missed; and what it cannot read may
//! end it.
//!
//! So that the example needs no second program, a stand-in is in this file: `OldPeer`, below. It
//! shares no code with eventcast.

use std::{
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    time::{Duration, SystemTime},
};

use eventcast::{
    Bus, NetEvent,
    bson::{self, Bson, Document, doc},
};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};
use tokio::{task::spawn_blocking, time::timeout};

const INTERFACE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const PATIENCE: Duration = Duration::from_secs(5);

/// The old program knows this event by its key, with one argument: an object with these fields.
#[derive(NetEvent, Serialize, Deserialize, Debug)]
#[net_event(name = "order.placed")]
struct OrderPlaced {
    order: u64,
    item: String,
}

#[derive(NetEvent, Serialize, Deserialize, Debug)]
#[net_event(name = "order.shipped")]
struct OrderShipped {
    order: u64,
    parcels: Vec<String>,
}

#[tokio::main]
async fn main() -> eventcast::Result<()> {
    let shop = Bus::builder()
        .id("shop")
        .port(0) // a random one
        .multicast_membership(GROUP.to_string())
        .multicast_interface(INTERFACE.to_string())
        // Refuses to emit what such a peer would not survive.
        .old_peers(true)
        .start()
        .await?;

    let asked = shop.wait_for_named("price.asked");
    let placed = shop.wait_for::<OrderPlaced>();
    let old = OldPeer::join(SocketAddrV4::new(GROUP, shop.port())).expect("loopback has multicast");
    let customer = spawn_blocking(move || buy(&old));

    // By key, as the old program does it.
    let asked = timeout(PATIENCE, asked)
        .await
        .expect("the old peer asks in time")?;
    println!("shop heard price.asked {asked:?} from {}", asked.origin());
    shop.emit_named("price.told", ("teapot", 12.5))?;

    // By type: only this end has one.
    let placed = timeout(PATIENCE, placed)
        .await
        .expect("the old peer orders in time")?;
    println!("shop heard {placed:?} from {}", placed.origin());
    // Every bus has an incarnation. By this one knows a peer of another make.
    println!(
        "its incarnation: {:?}, its number: {:?}",
        placed.origin().incarnation(),
        placed.origin().number()
    );
    assert_eq!(placed.origin().incarnation(), None);
    shop.emit(OrderShipped {
        order: placed.order,
        parcels: vec![placed.item.clone(), "bill".into()],
    })?;

    customer.await.expect("the old peer gets its answers");
    shop.stop().await?;
    println!("they understood each other");
    Ok(())
}

/// What the old program does.
fn buy(old: &OldPeer) {
    old.emit("price.asked", vec!["teapot".into()]);
    old.hear("price.told");
    // Its language has one kind of number, and writes a large one as a double.
    let order = doc! { "item": "teapot", "order": 5_000_000_000.0 };
    old.emit("order.placed", vec![order.into()]);
    old.hear("order.shipped");
}

/// What version 3 asks of a peer, and no more; messages in several datagrams are left out.
struct OldPeer {
    socket: UdpSocket,
    group: SocketAddrV4,
    id: String,
}

/// The keys of the metadata that a peer of version 3 knows.
const KNOWN: [&str; 12] = [
    "v", "seq", "seqLen", "seqId", "seqEnd", "enc", "name", "host", "port", "hostname", "id",
    "time",
];

impl OldPeer {
    fn join(group: SocketAddrV4) -> std::io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        socket.set_reuse_address(true)?;
        #[cfg(unix)]
        socket.set_reuse_port(true)?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, group.port()).into())?;
        socket.join_multicast_v4(group.ip(), &INTERFACE)?;
        socket.set_multicast_if_v4(&INTERFACE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            socket: socket.into(),
            group,
            id: digits(16),
        })
    }

    /// A datagram is the length of the metadata, the metadata, and the arguments.
    fn emit(&self, name: &str, args: Vec<Bson>) {
        let now = bson::DateTime::now().try_to_rfc3339_string();
        let meta = doc! {
            "v": 3,
            "seq": 0,
            "seqLen": 1,
            "seqId": digits(40),
            "seqEnd": true,
            "enc": false,
            "name": name,
            "host": INTERFACE.to_string(),
            "port": i32::from(self.group.port()),
            "hostname": "old",
            "id": self.id.as_str(),
            "time": now.expect("a year of four digits"),
        };
        let meta = meta.to_vec().expect("it is BSON");
        let length = u16::try_from(meta.len()).expect("it is short");
        let payload = doc! { "payload": args }.to_vec().expect("it is BSON");
        let datagram = [&length.to_be_bytes()[..], &meta, &payload].concat();
        let sent = self.socket.send_to(&datagram, self.group);
        sent.expect("loopback takes it");
    }

    /// Waits for an event of this key, and prints what it looks like from here.
    fn hear(&self, name: &str) {
        let mut buffer = vec![0; 65_536];
        loop {
            let (size, _) = self
                .socket
                .recv_from(&mut buffer)
                .expect("it comes in time");
            let [high, low, rest @ ..] = &buffer[..size] else {
                continue;
            };
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let (meta, payload) = rest.split_at(length);
            let meta = Document::from_reader(meta).expect("it is BSON");
            let text = |key| meta.get_str(key).ok();
            // Its own, and what newer peers say among themselves, under keys that begin with
            // `__ec_`.
            if text("id") == Some(&self.id) || text("name") != Some(name) {
                continue;
            }
            let payload = Document::from_reader(payload).expect("it is BSON");
            let args = payload.get("payload").unwrap_or(&Bson::Null);
            println!("  old peer heard {name} {args:?}");
            let unknown: Vec<_> = meta
                .keys()
                .filter(|key| !KNOWN.contains(&&***key))
                .collect();
            println!("  and passed over {unknown:?}");
            return;
        }
    }
}

/// So many hex digits that nobody else has.
fn digits(number: usize) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanoseconds = now.unwrap_or_default().as_nanos();
    format!("{nanoseconds:0number$x}")
}
