//! The fuzz targets over their corpus, and over a bounded number of mutations of it.

use eventcast_tests::fuzz::{self, TARGETS, Target};

/// Inputs made of the corpus of each target, beside the corpus itself. The fuzzer goes on from there.
const MUTATIONS: usize = 5_000;

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
    target.try_mutations(1, MUTATIONS);
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
fn every_target_is_tried() {
    let mut names = TARGETS.map(|target| target.name);
    names.sort_unstable();
    assert_eq!(names, ["bson_check", "datagram", "engine", "typed_decode"]);
}
