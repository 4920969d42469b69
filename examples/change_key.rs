//! Another passphrase for a group that runs, without a stop and without a lost event.
//!
//! ```sh
//! cargo run --example change_key
//! ```
//!
//! Three rounds over all the buses of the group, here two: all can hear the new passphrase, all use
//! it, nobody hears the old one any more. Each round ends everywhere before the next begins.
//! Meanwhile one bus counts aloud.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use eventcast::{Bus, Keys, NetEvent};
use serde::{Deserialize, Serialize};
use tokio::time::{interval, sleep};

const OLD: &str = "the passphrase of last year, which somebody has seen";
const NEW: &str = "one that nobody has seen yet";

#[derive(NetEvent, Serialize, Deserialize)]
struct Count {
    number: u64,
}

static HEARD: AtomicU64 = AtomicU64::new(0);

#[tokio::main]
async fn main() -> eventcast::Result<()> {
    let listener = start(None).await?;
    listener.on_notice(|notice| println!("notice: {notice}"));
    listener.on::<Count>(|count| {
        let before = HEARD.swap(count.number, Ordering::SeqCst);
        assert_eq!(count.number, before + 1, "each one comes, in order");
    });
    let speaker = start(Some(listener.port())).await?;
    let speaking = speaker.clone();
    let counting = tokio::spawn(async move {
        let mut pause = interval(Duration::from_millis(2));
        for number in 1.. {
            pause.tick().await;
            if speaking.emit(Count { number }).is_err() {
                break;
            }
        }
    });

    for (what, keys) in [
        ("all hear the new one too", Keys::new(OLD).and_receive(NEW)),
        ("all use the new one", Keys::new(NEW).and_receive(OLD)),
        ("nobody hears the old one", Keys::new(NEW)),
    ] {
        for bus in [&listener, &speaker] {
            bus.set_keys(keys.clone()).await?;
        }
        // What is on its way with the old one gets through.
        sleep(Duration::from_millis(500)).await;
        println!(
            "{what}: {} events so far, none lost",
            HEARD.load(Ordering::SeqCst)
        );
    }

    // A bus that nobody told is not heard any more, and the others say why.
    let late = start(Some(listener.port())).await?;
    late.emit(Count { number: 0 })?;
    sleep(Duration::from_millis(300)).await;

    counting.abort();
    speaker.stop().await?;
    listener.stop().await
}

/// A bus with the old passphrase. Without a port it takes any.
async fn start(port: Option<u16>) -> eventcast::Result<Bus> {
    Bus::builder()
        .port(port.unwrap_or(0))
        .multicast_interface("127.0.0.1")
        .passphrase(OLD)
        .start()
        .await
}
