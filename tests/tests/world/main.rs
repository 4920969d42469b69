//! Simulated worlds: whole groups of buses on virtual time, over a bad network, from one seed each.
//!
//! Beside the runner's arguments it takes `--seed N` (the world of this seed alone, with what went
//! wrong in it, and with `--history` everything that happened), and `--seeds N` with or without
//! `--from N` (the worlds of many; `--enough N`: until so many have failed).

mod checker;
mod losses;
mod worlds;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(code) = worlds::by_arguments(&arguments) {
        return code;
    }
    let mut cases = worlds::cases();
    cases.extend(losses::cases());
    cases.extend(checker::cases());
    eventcast_tests::runner::run(cases)
}
