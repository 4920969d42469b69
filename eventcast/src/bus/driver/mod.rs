//! Drives the engine while a bus runs: the sockets, the threads, and the keys.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `session` | one start of a bus, up to its stop |
//! | `context` | what the threads of a session share, and what a session calls when it ends |
//! | `engine_cell` | the engine behind its lock |
//! | `receive_loop` | reads the network and calls listeners, with `unicast` for the peers heard by unicast |
//! | `send_loop` | sends what is in the engine |
//! | `interfaces` | follows interfaces that come and go |
//! | `start_gate` | holds a session back until its start has been reported |
//! | `key_ring` | the keys of a sealed bus |

pub(crate) mod context;
pub(crate) mod engine_cell;
pub(crate) mod interfaces;
pub(crate) mod key_ring;
pub(crate) mod receive_loop;
pub(crate) mod send_loop;
pub(crate) mod session;
pub(crate) mod start_gate;
pub(crate) mod unicast;
