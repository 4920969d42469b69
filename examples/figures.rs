//! What a bus tells about itself: notices when something happens, and figures, here each second.
//!
//! ```sh
//! cargo run --example figures        # for five seconds
//! cargo run --example figures -- 60  # for a minute
//! ```
//!
//! So that there is something to tell, one bus sends much, and not everything that it sends is
//! good; the bus that is watched has a listener that takes its time. A second argument names
//! another interface than loopback.

use std::{
    env,
    net::{SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use eventcast::{Bus, NetEvent, Stats, bson::doc};
use serde::{Deserialize, Serialize};
use tokio::time::interval;

#[derive(NetEvent, Serialize, Deserialize)]
struct Tick {
    number: u64,
}

#[tokio::main]
async fn main() -> eventcast::Result<()> {
    let mut args = env::args().skip(1);
    let seconds: u32 = args
        .next()
        .map_or(5, |text| text.parse().expect("how many seconds"));
    let interface = args.next().unwrap_or_else(|| "127.0.0.1".into());

    let watched = Bus::builder()
        .port(0)
        .multicast_interface(&interface)
        .build()?;
    // Before the start, so that it hears of that too. It is called on a thread of its own.
    watched.on_notice(|notice| println!("notice: {notice}"));
    watched.on::<Tick>(|tick| {
        if tick.number % 500 == 0 {
            thread::sleep(Duration::from_millis(20));
        }
    });
    watched.start().await?;

    let noisy = Bus::builder()
        .port(watched.port())
        .multicast_interface(&interface)
        .start()
        .await?;
    let noise = tokio::spawn(make_noise(noisy, watched.unicast_address()));

    let mut before = watched.stats();
    let mut second = interval(Duration::from_secs(1));
    second.tick().await;
    for _ in 0..seconds {
        second.tick().await;
        let now = watched.stats();
        print_figures(&before, &now);
        before = now;
    }

    noise.abort();
    watched.stop().await?;
    println!("\nall in all: {:#?}", watched.stats());
    Ok(())
}

/// Figures only rise, but for what is held now: what is of interest is by how much.
fn print_figures(before: &Stats, now: &Stats) {
    println!(
        "{} events in {} datagrams, {} bytes; {} did not fit; {} bytes held; the kernel dropped {}",
        now.events_received - before.events_received,
        now.datagrams_received - before.datagrams_received,
        now.bytes_received - before.bytes_received,
        now.decode_failures - before.decode_failures,
        now.held_bytes,
        now.kernel_drops - before.kernel_drops,
    );
    for (cause, count) in &now.dropped {
        let dropped = count - before.dropped_for(*cause);
        if dropped > 0 {
            println!("    dropped as {cause}: {dropped}");
        }
    }
}

/// Sends a good event each millisecond, and now and then something else.
async fn make_noise(bus: Bus, target: Option<SocketAddr>) -> eventcast::Result<()> {
    let stranger = UdpSocket::bind("127.0.0.1:0").ok().zip(target);
    let mut millisecond = interval(Duration::from_millis(1));
    for number in 1_u64.. {
        millisecond.tick().await;
        bus.emit_wait(Tick { number }).await?;
        if number % 1_000 == 0 {
            // Its number is a text: somebody has another idea of this event.
            bus.emit_wait_named("Tick", doc! { "number": "many" })
                .await?;
        }
        if number % 100 == 0
            && let Some((stranger, target)) = &stranger
        {
            // Not of this protocol at all. That it cannot be sent would be no matter.
            let _ = stranger.send_to(b"GET / HTTP/1.1", target);
        }
    }
    Ok(())
}
