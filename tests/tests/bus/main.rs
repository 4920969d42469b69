//! Buses on real sockets, on the loopback interface: what is promised to users, seen from outside.

mod api_blocking;
mod api_listen;
mod api_reasons;
mod api_received;
mod cards;
mod causes;
mod chunks;
mod common;
mod console;
mod console_guarded;
mod default_interface;
mod delivery;
mod dropped;
mod emit;
mod ends;
mod figures;
mod foreign;
mod foreign_guarded;
#[cfg(target_os = "linux")]
mod forks;
mod harness;
mod hostile;
mod ipv6;
mod last_resort;
mod life;
mod listeners;
mod log;
#[cfg(target_os = "linux")]
mod lossy;
#[cfg(target_os = "linux")]
mod lossy_large;
mod machines;
mod many;
mod needs;
mod networks;
mod notices;
mod order;
#[cfg(unix)]
mod pauses;
mod repair;
mod requests;
mod sealed;
mod slow;
mod sockets;
mod surroundings;
mod unsent;
mod values;
mod ways;

use std::{panic, process::ExitCode};

fn main() -> ExitCode {
    silence_panics_on_purpose();
    let mut cases = Vec::new();
    cases.extend(harness::cases());
    // The longest first, so that none is left alone at the end.
    #[cfg(target_os = "linux")]
    cases.extend(lossy_large::cases());
    #[cfg(target_os = "linux")]
    cases.extend(lossy::cases());
    #[cfg(unix)]
    cases.extend(pauses::cases());
    cases.extend(slow::cases());
    cases.extend(requests::cases());
    cases.extend(repair::cases());
    cases.extend(sealed::cases());
    cases.extend(chunks::cases());
    cases.extend(hostile::cases());
    cases.extend(causes::cases());
    cases.extend(foreign::cases());
    cases.extend(foreign_guarded::cases());
    cases.extend(listeners::cases());
    cases.extend(dropped::cases());
    cases.extend(ends::cases());
    cases.extend(order::cases());
    cases.extend(surroundings::cases());
    cases.extend(many::cases());
    cases.extend(life::cases());
    cases.extend(last_resort::cases());
    #[cfg(target_os = "linux")]
    cases.extend(forks::cases());
    cases.extend(emit::cases());
    cases.extend(delivery::cases());
    cases.extend(sockets::cases());
    cases.extend(default_interface::cases());
    cases.extend(unsent::cases());
    cases.extend(needs::cases());
    cases.extend(networks::cases());
    cases.extend(notices::cases());
    cases.extend(ipv6::cases());
    cases.extend(cards::cases());
    cases.extend(values::cases());
    cases.extend(api_received::cases());
    cases.extend(api_reasons::cases());
    cases.extend(api_listen::cases());
    cases.extend(api_blocking::cases());
    cases.extend(figures::cases());
    cases.extend(log::cases());
    cases.extend(console::cases());
    cases.extend(console_guarded::cases());
    eventcast_tests::runner::run(cases)
}

/// Listeners that panic on purpose say so, and need not be printed.
fn silence_panics_on_purpose() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<&str>();
        if !text.is_some_and(|text| text.contains("on purpose")) {
            usual(panic);
        }
    }));
}
