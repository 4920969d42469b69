//! Messages far larger than a datagram.
//!
//! ```sh
//! cargo run --example large
//! ```
//!
//! A camera sends pictures of two megabytes each; the bus cuts them into datagrams and puts them
//! together again. An argument names another interface than loopback; see `MAX_PAYLOAD_SIZE` then.

use std::{
    env,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use eventcast::{Bus, NetEvent, Received, printable};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

#[derive(NetEvent, Serialize, Deserialize, Clone)]
struct Picture {
    name: String,
    /// `serde_bytes` makes it one piece of binary. A plain `Vec<u8>` is an array of numbers to
    /// serde, and takes ten times the room.
    #[serde(with = "serde_bytes")]
    pixels: Vec<u8>,
}

/// Bytes of the message in one datagram. Loopback carries up to 64 KiB in a packet. On an Ethernet,
/// leave the option alone: the default fits into its packets of 1,500 bytes, and a larger datagram
/// is lost when any one of its fragments is.
const MAX_PAYLOAD_SIZE: usize = 32 * 1024;

const PICTURE_SIZE: usize = 2_000_000;

const ATTEMPTS: u32 = 5;

#[tokio::main]
async fn main() -> eventcast::Result<()> {
    let interface = env::args().nth(1).unwrap_or_else(|| "127.0.0.1".into());
    let camera = Bus::builder()
        .port(0) // a random one
        .multicast_interface(&interface)
        .max_payload_size(MAX_PAYLOAD_SIZE)
        .start()
        .await?;
    let album = Bus::builder()
        .port(camera.port())
        .multicast_interface(&interface)
        // Room in the system for a whole picture, if it grants that, while the album does not get
        // to run.
        .receive_buffer(2 * PICTURE_SIZE)
        .start()
        .await?;
    album.on_notice(|notice| println!("album: {notice}"));

    for name in ["sunrise", "noon", "sunset"] {
        let picture = Picture {
            name: name.into(),
            pixels: draw(name),
        };
        println!("{name}: sends    {}", describe(&picture.pixels));
        let (received, took) = send(&camera, &album, picture).await?;
        println!(
            "{}: received {}, after {took:.1?}",
            printable(&received.name),
            describe(&received.pixels)
        );
    }

    println!("in {} datagrams", camera.stats().datagrams_sent);
    camera.stop().await?;
    album.stop().await
}

/// Sends a picture until it has arrived: a busy machine may lose a datagram, and with it the
/// picture.
async fn send(
    camera: &Bus,
    album: &Bus,
    picture: Picture,
) -> eventcast::Result<(Received<Picture>, Duration)> {
    for _ in 0..ATTEMPTS {
        let arrival = album.wait_for::<Picture>();
        let start = Instant::now();
        camera.emit_wait(picture.clone()).await?;
        if let Ok(received) = timeout(Duration::from_secs(1), arrival).await {
            return Ok((received?, start.elapsed()));
        }
        println!("{}: did not arrive within a second", picture.name);
    }
    panic!("{} was lost {ATTEMPTS} times", picture.name)
}

/// A picture that no other picture looks like.
fn draw(name: &str) -> Vec<u8> {
    let mut state = hash(name.as_bytes());
    let pixel = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(pixel).take(PICTURE_SIZE).collect()
}

fn describe(pixels: &[u8]) -> String {
    format!("{} bytes, hash {:016x}", pixels.len(), hash(pixels))
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
