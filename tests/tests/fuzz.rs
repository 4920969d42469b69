//! The fuzz targets over their corpus, and over a bounded number of mutations of it.

use std::env;

use eventcast_tests::fuzz::{self, TARGETS, Target};

/// Inputs made of the corpus of each target, beside the corpus itself, unless `EVENTCAST_FUZZ` says
/// how many. The fuzzer goes on from there.
const MUTATIONS: u64 = 5_000;

/// How many, for long runs by hand.
const MUTATIONS_VARIABLE: &str = "EVENTCAST_FUZZ";

/// What decides which, likewise.
const SEED_VARIABLE: &str = "EVENTCAST_FUZZ_SEED";

fn number(variable: &str, otherwise: u64) -> u64 {
    env::var(variable).map_or(otherwise, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}"))
    })
}

fn try_target(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name);
    let target: &Target = target.expect("it is one of the targets");
    let corpus = target.corpus();
    assert!(corpus.len() > 10, "the corpus has {} files", corpus.len());
    for (path, bytes) in &corpus {
        assert!(
            bytes.len() <= fuzz::MAX_INPUT,
            "{} is too long",
            path.display()
        );
        target.try_input(&path.display(), bytes);
    }
    let count = number(MUTATIONS_VARIABLE, MUTATIONS);
    target.try_mutations(number(SEED_VARIABLE, 1), count as usize);
    println!(
        "{name}: {} files, {count} inputs made of them",
        corpus.len()
    );
}

#[test]
fn datagram() {
    try_target("datagram");
}

#[test]
fn bson_check() {
    try_target("bson_check");
}

#[test]
fn typed_decode() {
    try_target("typed_decode");
}

#[test]
fn engine() {
    try_target("engine");
}

#[test]
fn engine_history() {
    try_target("engine_history");
}

#[test]
fn sealed_engine() {
    try_target("sealed_engine");
}

#[test]
fn console() {
    try_target("console");
}

#[test]
fn every_target_is_tried() {
    let mut names = TARGETS.map(|target| target.name);
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "bson_check",
            "console",
            "datagram",
            "engine",
            "engine_history",
            "sealed_engine",
            "typed_decode"
        ]
    );
}
