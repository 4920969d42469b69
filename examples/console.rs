//! A bus with a console, and somebody who uses it.
//!
//! ```sh
//! cargo run --example console
//! ```
//!
//! It shows a short conversation with the console, and then stays there until a line is entered or
//! its input ends, so that you can try it from another terminal, with the `telnet` or `nc` that it
//! prints.

use std::time::Duration;

use eventcast::{Bus, NetEvent};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, stdin},
    net::TcpStream,
    time::interval,
};

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "cellar/temperature")]
struct Temperature {
    celsius: f64,
}

#[tokio::main]
async fn main() -> eventcast::Result<()> {
    let bus = Bus::builder()
        .port(0) // a random one
        .multicast_interface("127.0.0.1")
        .passphrase("one that nobody has seen yet")
        .repl(true)
        .start()
        .await?;
    bus.on_named("greeting", |args| println!("(the program hears {args:?})"));
    let address = bus.repl_address().expect("it was asked for");

    let measuring = bus.clone();
    tokio::spawn(async move {
        let mut pause = interval(Duration::from_millis(500));
        for tenths in 0_u16.. {
            pause.tick().await;
            let celsius = 12.0 + f64::from(tenths % 10) / 10.0;
            if let Err(error) = measuring.emit(Temperature { celsius }) {
                println!("({error})");
            }
        }
    });

    let mut console = TcpStream::connect(address)
        .await
        .expect("the console listens");
    show_until(&mut console, "> ").await;
    for line in [
        "info",
        "config pass",
        "listeners",
        "emit greeting hello 5 {from: \"a person\"}",
        "watch cellar/*",
    ] {
        println!("{line}");
        console
            .write_all(format!("{line}\r\n").as_bytes())
            .await
            .expect("the console takes a line");
        show_until(&mut console, "> ").await;
    }
    for _ in 0..3 {
        show_until(&mut console, ")\r\n").await;
    }
    drop(console);

    println!("\nYour turn: telnet {} {}", address.ip(), address.port());
    let _ = BufReader::new(stdin()).lines().next_line().await;
    bus.stop().await
}

/// Prints what the console says, up to and with `end`.
async fn show_until(console: &mut TcpStream, end: &str) {
    let mut said = Vec::new();
    while !said.ends_with(end.as_bytes()) {
        said.push(console.read_u8().await.expect("the console answers"));
    }
    print!("{}", String::from_utf8_lossy(&said));
}
