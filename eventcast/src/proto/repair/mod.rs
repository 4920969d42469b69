//! Repair: what is missing and requested, and what others have requested and is sent again.

pub(super) mod nack_list;
pub(super) mod request_window;
pub(super) mod retransmit_queue;
pub(super) mod validation;
