//! Bounded queues for slow listeners, async listeners, streams, and listeners of notices. They do
//! not depend on the type of their items.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `bounded_queue` | the bound and the policy alone |
//! | `work_queue` | a queue that a thread serves |
//! | `mailbox` | a queue that a task polls |
//! | `error` | why a stream has nothing to give |

pub(crate) mod bounded_queue;
pub(crate) mod error;
pub(crate) mod mailbox;
pub(crate) mod work_queue;
