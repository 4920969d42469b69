//! What a bus does when the interfaces of its machine change: the sockets have followed already,
//! now the engine and the senders learn of it.

use super::{context::Context, send_loop::SendLoop};
use crate::{bus::telemetry::notice::Notice, net::Change, proto::Host};

/// Takes over what has changed, on the reading thread. The sender thread may hold this up while it
/// waits for a full socket.
pub(crate) fn follow(context: &Context, send_loop: &SendLoop, change: Change) {
    let hosts: Vec<_> = change
        .egress
        .iter()
        .map(|way| Host::new(way.id, way.host))
        .collect();
    send_loop.change_egress(change.egress, change.socket);
    // Last: datagrams that leave the engine from here on name the new interfaces, which the sender
    // has to know by then.
    if let Some(mut engine) = context.engine.lock() {
        engine.set_hosts(&hosts);
    }
    if let Some(unicast) = change.unicast {
        context.set_address(unicast);
    }
    for news in change.events {
        context.shared.telemetry.report(Notice::of_interfaces(news));
    }
}
