//! What the derive says to a mistake, and that it says nothing where there is none.
//!
//! `tests/ui/own` holds messages that the macro writes, which are the same on every compiler;
//! `tests/ui/compiler` those of the compiler about what the macro wrote, which differ from version
//! to version and are compared on one alone; `tests/ui/pass` what must compile and run.
//!
//! A changed message is taken over by `TRYBUILD=overwrite cargo test --test ui`.

use std::process::Command;

/// The version of the compiler that wrote the expectations in `tests/ui/compiler`.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn the_derive_and_its_messages() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass/*.rs");
    cases.compile_fail("ui/own/*.rs");

    let compiler = compiler();
    if compiler.starts_with(COMPILER) {
        cases.compile_fail("ui/compiler/*.rs");
    } else {
        eprintln!(
            "messages of the compiler are not compared: they are those of {COMPILER}x, this is {compiler}"
        );
    }
}

fn compiler() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .arg("--version")
        .output()
        .expect("rustc, which has just compiled this test, can be run");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
