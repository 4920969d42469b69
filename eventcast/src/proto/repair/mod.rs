//! What is missing and asked for, and what others have asked for and is sent again.

pub(super) mod nack_list;
pub(super) mod request_window;
pub(super) mod retransmit_queue;
pub(super) mod validation;
