//! The crate under another path, and none under its own.

extern crate eventcast as bus_crate;
// The name that the derive would use by itself means something else here.
extern crate std as eventcast;

mod prelude {
    pub mod bus {
        pub use bus_crate::*;
    }
}

use prelude::bus::NetEvent;
use serde::{Deserialize, Serialize};

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(crate = prelude::bus)]
struct ByPath;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(crate = "crate::prelude::bus")]
struct ByString<T>(T);

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(crate = self::prelude::bus, name = "named/{T}/{N}")]
struct Named<T, const N: i8>(T);

fn main() {
    assert_eq!(ByPath::KEY, "ByPath");
    assert_eq!(<ByString<u8>>::KEY, "ByString<u8>");
    assert_eq!(<Named<u8, -1>>::KEY, "named/u8/-1");
}
