//! Holds the examples; see the files beside `Cargo.toml`.
