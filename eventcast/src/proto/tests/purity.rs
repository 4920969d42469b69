//! The engine has no clock, socket, runtime or randomness of its own.

use std::{fs, path::Path};

/// What would break that, in two parts so that this file does not name it.
const FORBIDDEN: &[(&str, &str)] = &[
    ("std::time::", "Instant"),
    ("Instant::", "now"),
    ("System", "Time"),
    ("std::net::", "Udp"),
    ("Udp", "Socket"),
    ("Tcp", "Stream"),
    ("socket", "2"),
    ("mi", "o::"),
    ("ni", "x::"),
    ("tok", "io"),
    ("rand::", "rng("),
    ("rand::", "random"),
    ("thread", "_rng"),
    ("Sys", "Rng"),
    ("make", "_rng"),
    ("Random", "State"),
    ("std::thr", "ead"),
    ("std::e", "nv"),
];

#[test]
fn nothing_here_reaches_outside() {
    let mut files = 0;
    check(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src/proto"),
        &mut files,
    );
    assert!(files > 20, "{files} files");
}

fn check(folder: &Path, files: &mut usize) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // Tests read files and may do more.
        if path.ends_with("proto/tests") {
            continue;
        }
        if path.is_dir() {
            check(&path, files);
            continue;
        }
        *files += 1;
        let source = fs::read_to_string(&path).unwrap();
        for (left, right) in FORBIDDEN {
            let word = [*left, right].concat();
            assert!(!source.contains(&word), "{} names {word}", path.display());
        }
        // A map without a hasher of its own takes its keys from the system.
        assert!(
            !source.contains(&["HashMap::", "new("].concat()),
            "{}",
            path.display()
        );
    }
}
