//! What a bus does when the interfaces of its machine change: the sockets have followed already, now the engine and
//! those who send learn of it.

use std::sync::Arc;

use super::{core::Core, notice::Notice, session::Session};
use crate::{net::Change, proto::Host};

/// Takes over what has changed, on the reading thread. The sender may hold this up for the time that it waits for a
/// full socket.
pub(super) fn follow(core: &Arc<Core>, session: &Session, change: Change) {
    let hosts: Vec<_> = change
        .egress
        .iter()
        .map(|way| Host::new(way.id, way.host))
        .collect();
    session.outbox.change_egress(change.egress, change.socket);
    // Last: what comes out of it is meant for the ways that are known by now.
    if let Some(mut engine) = session.lock_engine() {
        engine.set_hosts(&hosts);
    }
    if let Some(me) = change.unicast.and_then(|unicast| session.rename(unicast)) {
        core.set_identity(me);
    }
    for news in change.events {
        core.notices.tell(core, Notice::of_interfaces(news));
    }
}
