//! A sensor sends readings, and a display reads them as a stream.
//!
//! ```sh
//! cargo run --example sensor
//! ```
//!
//! For a while the display keeps up. Then the sensor gets fast while the display is busy with
//! something else: a subscription holds so many events and no more, the oldest give way to the
//! newest, and `missed` says how many did. An argument names another interface than loopback.

use std::{env, time::Duration};

use eventcast::{Bus, NetEvent};
use serde::{Deserialize, Serialize};
use tokio::time::{interval, sleep, timeout};

#[derive(NetEvent, Serialize, Deserialize, Debug)]
struct Reading {
    number: u32,
    celsius: f64,
}

/// Readings in the calm part, one every tenth of a second.
const CALM: u32 = 10;

/// Readings in the fast part, in little bursts every hundredth of a second.
const FAST: u32 = 3_000;
const BURST: u32 = 30;

#[tokio::main]
async fn main() -> eventcast::Result<()> {
    let interface = env::args().nth(1).unwrap_or_else(|| "127.0.0.1".into());
    let sensor = Bus::builder()
        .port(0) // a random one
        .multicast_interface(&interface)
        .start()
        .await?;
    let display = Bus::builder()
        .port(sensor.port())
        .multicast_interface(&interface)
        .start()
        .await?;

    let mut readings = display.subscribe::<Reading>();
    let measuring = tokio::spawn(measure(sensor));

    for _ in 0..CALM {
        let Some(reading) = readings.next().await else {
            break;
        };
        println!(
            "{:4}  {:.2} °C  ({} missed)",
            reading.number,
            reading.celsius,
            readings.missed()
        );
    }

    println!("the display is busy for two seconds");
    sleep(Duration::from_secs(2)).await;

    // What waited: the newest readings, not the oldest. A silent second is the end.
    let mut numbers = Vec::new();
    while let Ok(Some(reading)) = timeout(Duration::from_secs(1), readings.next()).await {
        numbers.push(reading.number);
    }
    if let [first, .., last] = numbers[..] {
        println!("then it read {} readings, {first} to {last}", numbers.len());
    }
    println!("missed: {}", readings.missed());

    measuring.await.expect("measuring does not panic")?;
    display.stop().await
}

/// The sensor: it sends and does not care who listens.
async fn measure(bus: Bus) -> eventcast::Result<()> {
    let mut calm = interval(Duration::from_millis(100));
    for number in 0..CALM {
        calm.tick().await;
        bus.emit(read_off(number))?;
    }
    let mut fast = interval(Duration::from_millis(10));
    for number in CALM..CALM + FAST {
        if number % BURST == 0 {
            fast.tick().await;
        }
        // Waits while what was sent before is still on its way out.
        bus.emit_wait(read_off(number)).await?;
    }
    bus.stop().await
}

/// A warm day, so to speak.
fn read_off(number: u32) -> Reading {
    Reading {
        number,
        celsius: 21.0 + (f64::from(number) / 10.0).sin(),
    }
}
