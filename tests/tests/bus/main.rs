//! Buses on real sockets, on the loopback interface: what is promised to users, seen from outside.

mod harness;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut cases = Vec::new();
    cases.extend(harness::cases());
    eventcast_tests::runner::run(cases)
}
