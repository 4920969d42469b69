//! What the derive writes passes the strictest lints, and adds nothing to a deprecated type.

#![deny(warnings, missing_docs, unused_qualifications, trivial_casts, trivial_numeric_casts)]
#![deny(unreachable_pub, single_use_lifetimes, non_local_definitions)]
#![forbid(unsafe_code)]

use eventcast::NetEvent;
use serde::{Deserialize, Serialize};

/// Old.
#[deprecated]
#[derive(NetEvent, Serialize, Deserialize)]
struct Old;

/// Wide.
#[derive(NetEvent, Serialize, Deserialize)]
struct Wide<T, const N: u128>(T);

fn main() {
    /// In a function.
    #[derive(NetEvent, Serialize, Deserialize)]
    struct Local<T>(T);

    assert_eq!(<Wide<u8, 7>>::KEY, "Wide<u8, 7>");
    assert_eq!(<Local<u8>>::KEY, "Local<u8>");
    #[allow(deprecated)]
    let old = Old::KEY;
    assert_eq!(old, "Old");
}
