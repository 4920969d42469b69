//! Everybody who runs this on a network talks with everybody else.
//!
//! ```sh
//! cargo run --example chat -- Ada
//! cargo run --example chat -- Bob             # in another terminal
//! cargo run --example chat -- Cleo 192.0.2.7  # on another interface, by address or name
//! ```
//!
//! A line is sent when it is ended; the end of the input (Ctrl-D) ends the program. Without the
//! second argument nothing leaves this machine.

use std::env;

use eventcast::{Bus, NetEvent, printable};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

/// Where those who chat meet: the group is eventcast's default one, the port is this program's.
const PORT: u16 = 47_474;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "chat/said")]
struct Said {
    who: String,
    text: String,
}

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "chat/joined")]
struct Joined(String);

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "chat/left")]
struct Left(String);

#[tokio::main]
async fn main() -> eventcast::Result<()> {
    let mut args = env::args().skip(1);
    let me = args.next().unwrap_or_else(|| "somebody".into());
    let interface = args.next().unwrap_or_else(|| "127.0.0.1".into());

    let bus = Bus::builder()
        .port(PORT)
        .multicast_interface(&interface)
        .build()?;

    // A bus hears itself too. What was said here stands on the screen already. What others say may
    // have anything in it: `printable` keeps a terminal from obeying it.
    bus.on::<Said>(|said| {
        if !said.origin().is_local() {
            println!("{}: {}", printable(&said.who), printable(&said.text));
        }
    });
    bus.on::<Joined>(|joined| {
        println!("* {} is here: {}", printable(&joined.0), joined.origin());
    });
    bus.on::<Left>(|left| println!("* {} has left", printable(&left.0)));

    bus.start().await?;
    bus.emit(Joined(me.clone()))?;

    let mut lines = BufReader::new(stdin()).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        if !text.trim().is_empty() {
            let who = me.clone();
            bus.emit(Said { who, text })?;
        }
    }

    bus.emit(Left(me))?;
    bus.stop().await
}
