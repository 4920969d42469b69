//! Receiving: reassembly, order, and the events for the application; the senders, and what is lost.

pub(super) mod arrivals;
pub(super) mod assembler;
pub(super) mod attempts;
pub(super) mod chunk_nacks;
pub(super) mod dedup_cache;
pub(super) mod events;
pub(super) mod hello_clock;
pub(super) mod losses;
pub(super) mod newcomers;
pub(super) mod peer;
pub(super) mod peers;
pub(super) mod reassembly_buffer;
pub(super) mod reorder_buffer;
pub(super) mod route;
pub(super) mod shares;
pub(super) mod streams;
pub(super) mod unfollowed;
pub(super) mod vouch;
