//! Starting and stopping, and what panics do to it.

mod failure;

use std::{sync::mpsc, time::Duration};

use crate::{Bus, Notice};

const PATIENCE: Duration = Duration::from_secs(60);

fn bus(last_octet: u8) -> Bus {
    Bus::builder()
        .environment(false)
        .multicast_interface("127.0.0.1")
        .multicast_membership(format!("239.194.254.{last_octet}"))
        .port(20_000 + (std::process::id() % 20_000) as u16)
        .build()
        .unwrap()
}

/// Other threads emit as soon as there is a session.
#[test]
fn a_send_failure_is_reported_after_the_start() {
    let bus = bus(1);
    let (sender, told) = mpsc::channel();
    bus.on_notice(move |notice| {
        if matches!(notice, Notice::Started { .. } | Notice::SendFailed { .. }) {
            let _ = sender.send(matches!(notice, Notice::Started { .. }));
        }
    });
    let lifecycle = &bus.core.lifecycle;
    let opened = lifecycle.open(&mut lifecycle.lock());
    let session = lifecycle.session().unwrap();
    session.send_loop.fail();
    lifecycle.report_start(opened).unwrap();
    let order = [(); 2].map(|()| told.recv_timeout(PATIENCE).unwrap());
    assert_eq!(order, [true, false]);
    // From then on at once.
    session.send_loop.fail();
    drop(bus.stop());
}

/// A subscriber of the log that calls the bus.
struct Curious(Bus);

impl tracing::Subscriber for Curious {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.stats();
        drop(self.0.stop());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_subscriber_of_the_log_may_call_the_bus() {
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let bus = bus(2);
        let subscriber = Curious(bus.clone());
        tracing::subscriber::with_default(subscriber, || {
            drop(bus.start());
            drop(bus.stop());
            // It has async listeners and no runtime: that is logged.
            bus.on_async_named("x", async |_| ());
            drop(bus.start());
        });
        let _ = sender.send(());
    });
    ended.recv_timeout(PATIENCE).expect("it comes back");
}
