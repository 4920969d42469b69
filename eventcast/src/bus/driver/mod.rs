//! What drives the engine while a bus runs: the sockets, the threads, and the keys.

pub(crate) mod context;
pub(crate) mod engine_cell;
pub(crate) mod interfaces;
pub(crate) mod key_ring;
pub(crate) mod receive_loop;
pub(crate) mod send_loop;
pub(crate) mod session;
pub(crate) mod start_gate;
pub(crate) mod unicast;
