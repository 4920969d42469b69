//! Two buses exchange events, typed ones and one without a type.
//!
//! ```sh
//! cargo run --example quick_start
//! ```
//!
//! Both buses are in this process, but they know nothing of each other: what one hears of the other
//! comes through the loopback interface, as it would from another program. An argument names
//! another interface, by address or name.

use std::{env, time::Duration};

use eventcast::{Bus, NetEvent};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

/// The shop tells that somebody has ordered something.
#[derive(NetEvent, Serialize, Deserialize, Debug)]
struct OrderPlaced {
    order: u64,
    item: String,
    pieces: u32,
}

/// The warehouse tells that the parcel is on its way. Other programs know this event by its key.
#[derive(NetEvent, Serialize, Deserialize, Debug)]
#[net_event(name = "order.shipped")]
struct OrderShipped {
    order: u64,
    parcel: String,
}

#[tokio::main]
async fn main() -> eventcast::Result<()> {
    let interface = env::args().nth(1).unwrap_or_else(|| "127.0.0.1".into());

    // The first bus takes a random port, the second joins it there. Programs agree on one
    // beforehand.
    let shop = Bus::builder()
        .id("shop")
        .port(0) // a random one, which the other bus is told; programs that shall meet are all given the same
        .multicast_interface(&interface)
        .start()
        .await?;
    let warehouse = Bus::builder()
        .id("warehouse")
        .port(shop.port())
        .multicast_interface(&interface)
        .start()
        .await?;
    println!("{shop:?}\n{warehouse:?}\n");

    // A typed listener. It answers with an event of its own.
    warehouse.on::<OrderPlaced>(|placed| {
        println!("warehouse heard {placed:?} from {}", placed.origin());
        let shipped = OrderShipped {
            order: placed.order,
            parcel: format!("{} x {}", placed.pieces, placed.item),
        };
        if let Err(error) = placed.bus().emit(shipped) {
            eprintln!("{error}");
        }
    });

    // A listener by key gets the arguments, whatever they are; this key has a type at the other
    // end.
    shop.on_named("order.shipped", |args| {
        println!(
            "shop      heard order.shipped {args:?} from {}",
            args.origin()
        );
    });

    for (order, item) in [(1, "teapot"), (2, "lamp"), (3, "chair")] {
        // Registered before the order goes out, so that the answer cannot come too early.
        let shipped = shop.wait_for::<OrderShipped>();
        shop.emit(OrderPlaced {
            order,
            item: item.into(),
            pieces: 2,
        })?;
        timeout(Duration::from_secs(5), shipped)
            .await
            .expect("the warehouse answers in time")?;
    }

    // No type at either end: a key and any arguments.
    let greeting = warehouse.wait_for_named("greeting");
    shop.emit_named("greeting", ("good night", 3))?;
    let greeting = timeout(Duration::from_secs(5), greeting)
        .await
        .expect("the greeting comes in time")?;
    println!(
        "warehouse heard greeting {greeting:?} from {}",
        greeting.origin()
    );

    shop.stop().await?;
    warehouse.stop().await?;
    println!("\nthree orders and a greeting were heard; both buses have stopped");
    Ok(())
}
