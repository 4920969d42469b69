//! What `emit` refuses: nothing was sent then, nobody was called, and the event comes back.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use eventcast::{Args, Bus, EmitErrorKind, NetEvent, Received};
use eventcast_tests::{
    craft,
    group::Group,
    runner::Case,
    tap::Tap,
    wait::{Seen, block_on, soon},
};
use serde::{Deserialize, Serialize};

use crate::common::{self, Count, Runtime, bus, count, pair};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("emit::encode", encode),
        Case::new("emit::too_large", too_large),
        Case::new("emit::reserved", reserved),
        Case::new("emit::old_peers", old_peers),
        Case::new("emit::queue_full", queue_full),
        Case::new("emit::too_deep", too_deep),
        Case::new("emit::not_started", not_started),
        Case::new("emit::key_conflict", key_conflict),
        Case::new("emit::invalid_keys", invalid_keys),
        Case::new("emit::converts_into_error", converts_into_error),
        Case::new("emit::from_any_thread", from_any_thread),
        Case::new("emit::emit_wait", emit_wait),
        Case::new("emit::emit_wait_is_cancel_safe", emit_wait_is_cancel_safe),
    ]
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Amount {
    cents: u64,
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Text(String);

/// A bus, what is heard of it on the group, and a count of its events.
struct Watched {
    bus: Bus,
    tap: Tap,
}

impl Watched {
    fn new(configure: impl FnOnce(eventcast::Builder) -> eventcast::Builder) -> Self {
        let group = Group::unused();
        let tap = Tap::join(group);
        let bus = common::started(configure(common::builder(group)));
        Self { bus, tap }
    }

    /// The names of the events that went out until now, each once.
    fn names_sent(&self) -> Vec<String> {
        self.bus
            .emit_named("fence", ())
            .expect("a small one always goes");
        let heard = self
            .tap
            .record_until(|one| craft::name_of(&one.bytes) == "fence");
        let mut names: Vec<_> = heard.iter().map(|one| craft::name_of(&one.bytes)).collect();
        names.retain(|name| !name.starts_with("__ec_") && name != "fence");
        names.dedup();
        names
    }
}

fn encode() {
    let watched = Watched::new(|builder| builder);
    let bus = &watched.bus;
    let calls = count(bus, "Amount");
    let event = Amount { cents: u64::MAX };
    let error = bus
        .emit(event.clone())
        .expect_err("BSON has no such number");
    assert!(
        matches!(error.kind(), EmitErrorKind::Encode { .. }),
        "{error:?}"
    );
    let text = error.to_string();
    for part in ["Amount", "cents", "18446744073709551615"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(error.event(), &event);
    assert_eq!(error.into_event(), event);

    let error = bus
        .emit_named("Amount", u64::MAX)
        .expect_err("the same by key");
    assert_eq!(error.into_event(), u64::MAX);
    let map = BTreeMap::from([((1, 2), 3)]);
    let error = bus
        .emit_named("Amount", (map,))
        .expect_err("a key that is no text");
    assert!(error.to_string().contains("key"), "{error}");
    assert_eq!(calls.get(), 0);
    assert_eq!(watched.names_sent(), [""; 0]);
    assert_eq!(bus.stats().events_emitted, 1, "the fence");
}

fn too_large() {
    // So that the good one goes in one datagram: what is cut may be overtaken by the fence.
    let watched = Watched::new(|builder| builder.max_message_size(1_400).max_payload_size(1_472));
    let bus = &watched.bus;
    let calls = count(bus, "Text");
    let event = Text("x".repeat(1_400));
    let error = bus.emit(event.clone()).expect_err("over the limit");
    assert!(
        matches!(error.kind(), EmitErrorKind::TooLarge { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("max_message_size"), "{error}");
    assert_eq!(error.into_event(), event);
    assert_eq!(calls.get(), 0);
    bus.emit(Text("x".repeat(1_000))).expect("below the limit");
    assert_eq!(calls.get(), 1);
    assert_eq!(watched.names_sent(), ["Text"]);
}

fn reserved() {
    #[derive(NetEvent, Serialize, Deserialize, Debug)]
    struct Fine;
    let watched = Watched::new(|builder| builder);
    let bus = &watched.bus;
    let error = bus
        .emit_named("__ec_hello", 1)
        .expect_err("the protocol's own");
    assert!(matches!(error.kind(), EmitErrorKind::Reserved), "{error:?}");
    assert!(error.to_string().contains("__ec_"), "{error}");
    assert_eq!(error.into_event(), 1);
    assert!(
        bus.try_on_named("__ec_hello", |_: &Received<Args>| {})
            .is_err()
    );
    let panic = catch_unwind(AssertUnwindSafe(|| {
        bus.on_named("__ec_hello", |_: &Received<Args>| {});
    }));
    assert!(
        panic.is_err(),
        "on_named panics on what try_on_named returns"
    );
    bus.emit(Fine).expect("nothing else is reserved");
    assert_eq!(watched.names_sent(), ["Fine"]);
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Invoice {
    lines: Vec<Line>,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Line {
    price: bson::Decimal128,
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[net_event(name = "error")]
struct Failure {
    code: i32,
}

/// WIRE.md, section 3: what an old peer does not survive.
fn old_peers() {
    let price: bson::Decimal128 = "1.5".parse().expect("a decimal");
    let invoice = Invoice {
        lines: vec![Line { price }, Line { price }],
    };
    let pointer = craft::db_pointer("db.c");
    let failure = Failure { code: 5 };

    let watched = Watched::new(|builder| builder.old_peers(true));
    let bus = &watched.bus;
    let calls: Vec<_> = ["Invoice", "named", "error"]
        .map(|name| count(bus, name))
        .into();
    let error = bus.emit(invoice.clone()).expect_err("a decimal");
    let text = error.to_string();
    for part in ["Invoice", "lines[0].price", "decimal", "old_peers"] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(error.into_event(), invoice);
    let error = bus
        .emit_named("named", (1, pointer.clone()))
        .expect_err("a DBPointer");
    let text = error.to_string();
    for part in ["named", "[1]", "DBPointer", "old_peers"] {
        assert!(text.contains(part), "{text}");
    }
    let error = bus.emit(failure.clone()).expect_err("its name");
    assert!(matches!(error.kind(), EmitErrorKind::KeyEndsOldPeers));
    let error = bus.emit_named("error", ()).expect_err("its name");
    assert!(matches!(error.kind(), EmitErrorKind::KeyEndsOldPeers));
    assert!(error.to_string().contains("old_peers"), "{error}");
    assert!(calls.iter().all(|calls| calls.get() == 0));
    assert_eq!(watched.names_sent(), [""; 0]);
    // All else goes as ever.
    bus.emit_named("named", (1.5, "text"))
        .expect("old peers take these");
    assert_eq!(calls[1].get(), 1);

    let watched = Watched::new(|builder| builder);
    let bus = &watched.bus;
    bus.emit(invoice).expect("nothing is refused");
    bus.emit_named("named", (1, pointer))
        .expect("nothing is refused");
    bus.emit(failure).expect("nothing is refused");
    assert_eq!(watched.names_sent(), ["Invoice", "named", "error"]);
}

fn queue_full() {
    let watched = Watched::new(|builder| builder.send_queue(64 * 1024));
    let bus = &watched.bus;
    let calls = count(bus, "Text");
    let event = Text("x".repeat(60_000));
    let mut taken = 0;
    let error = loop {
        match bus.emit(event.clone()) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 5_000, "what is cut is paced, and has to wait");
    };
    assert!(
        matches!(error.kind(), EmitErrorKind::QueueFull { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("send_queue"), "{error}");
    assert!(!error.into_event().0.is_empty());
    assert_eq!(calls.get(), taken);
    assert_eq!(bus.stats().queue_full, 1);
    // It goes on when there is room again.
    block_on(bus.emit_wait(event)).expect("room comes");
    assert_eq!(calls.get(), taken + 1);
}

fn too_deep() {
    let (a, b) = pair();
    let depth = Arc::new(AtomicUsize::new(0));
    let refused = Seen::new();
    let (deep, list) = (Arc::clone(&depth), refused.clone());
    a.on_named("x", move |e: &Received<Args>| {
        deep.fetch_add(1, Ordering::SeqCst);
        if let Err(error) = e.bus().emit_named("x", 5) {
            list.push((
                matches!(error.kind(), EmitErrorKind::TooDeep { .. }),
                error.to_string(),
                error.into_event(),
            ));
        }
    });
    let remote = count(&b, "x");
    a.emit_named("x", 5).expect("the outermost");
    let refused = refused.wait_for(1);
    assert_eq!(refused.len(), 1, "{refused:?}");
    let (is_too_deep, text, event) = &refused[0];
    assert!(is_too_deep, "{text}");
    assert_eq!(*event, 5);
    let calls = depth.load(Ordering::SeqCst);
    assert!((32..=34).contains(&calls), "{calls} calls");
    common::fence_between(&a, &b);
    assert_eq!(remote.get(), calls, "what was refused was not sent");
}

fn not_started() {
    let group = Group::unused();
    let tap = Tap::join(group);
    let bus = common::builder(group).build().expect("good options");
    let calls = count(&bus, "Text");
    let event = Text("early".to_owned());
    let error = bus.emit(event.clone()).expect_err("it does not run");
    assert!(
        matches!(error.kind(), EmitErrorKind::NotStarted),
        "{error:?}"
    );
    assert!(error.to_string().contains("start"), "{error}");
    assert_eq!(error.into_event(), event);
    assert_eq!(calls.get(), 1, "local delivery comes before");
    // Every other refusal comes before local delivery.
    bus.on::<Amount>(|_: &Received<Amount>| panic!("nobody is called"));
    assert!(bus.emit(Amount { cents: u64::MAX }).is_err());

    block_on(bus.start()).expect("it starts");
    bus.emit(event).expect("it runs");
    block_on(bus.stop()).expect("it stops");
    assert!(bus.emit_named("late", ()).is_err());
    let heard = tap.record_until(|one| craft::name_of(&one.bytes) == "Text");
    let names: Vec<_> = heard.iter().map(|one| craft::name_of(&one.bytes)).collect();
    assert!(!names.contains(&"late".to_owned()), "{names:?}");
}

mod one {
    #[derive(eventcast::NetEvent, serde::Serialize, serde::Deserialize, Debug)]
    pub(super) struct Clash {
        pub(super) a: u8,
    }
    #[derive(eventcast::NetEvent, serde::Serialize, serde::Deserialize, Debug)]
    pub(super) struct Same {
        pub(super) a: u8,
    }
}

mod other {
    #[derive(eventcast::NetEvent, serde::Serialize, serde::Deserialize, Debug, PartialEq)]
    pub(super) struct Clash(pub(super) String);
    #[derive(eventcast::NetEvent, serde::Serialize, serde::Deserialize, Debug)]
    pub(super) struct Same {
        pub(super) a: u8,
    }
}

fn key_conflict() {
    let watched = Watched::new(|builder| builder);
    let calls = count(&watched.bus, "Clash");
    watched
        .bus
        .emit(one::Clash { a: 1 })
        .expect("the first has the key");
    // The conflict is the process's, so another bus finds it as well.
    let elsewhere = bus(Group::unused());
    for bus in [&watched.bus, &elsewhere] {
        let error = bus
            .emit(other::Clash("b".to_owned()))
            .expect_err("the second has not");
        assert!(
            matches!(error.kind(), EmitErrorKind::KeyConflict { .. }),
            "{error:?}"
        );
        let text = error.to_string();
        assert!(
            text.contains("one::Clash") && text.contains("other::Clash"),
            "{text}"
        );
        assert_eq!(error.into_event(), other::Clash("b".to_owned()));

        let refused = bus.try_on::<other::Clash>(|_: &Received<other::Clash>| {});
        let text = refused.expect_err("the same for listeners").to_string();
        assert!(
            text.contains("one::Clash") && text.contains("other::Clash"),
            "{text}"
        );
        let panic = catch_unwind(AssertUnwindSafe(|| {
            bus.on::<other::Clash>(|_: &Received<other::Clash>| {});
        }));
        let panic = panic.expect_err("a programmer's mistake");
        let text = panic.downcast_ref::<String>().expect("a text");
        assert!(
            text.contains("one::Clash") && text.contains("other::Clash"),
            "{text}"
        );
        assert!(text.contains(file!()), "it names the places: {text}");
    }
    assert_eq!(calls.get(), 1);
    watched
        .bus
        .emit(one::Same { a: 1 })
        .expect("the first has the key");
    watched
        .bus
        .emit(other::Same { a: 2 })
        .expect("one shape, one key");
    assert_eq!(watched.names_sent(), ["Clash", "Same"]);
}

fn invalid_keys() {
    let bus = bus(Group::unused());
    let long = "n".repeat(1_025);
    for name in ["", long.as_str(), "a\nb", "__ec_"] {
        assert!(bus.emit_named(name, ()).is_err(), "{name:?}");
        let refused = bus.try_on_named(name, |_: &Received<Args>| {});
        assert!(refused.is_err(), "{name:?}");
        let panic = catch_unwind(AssertUnwindSafe(|| {
            bus.on_named(name, |_: &Received<Args>| {});
        }));
        assert!(panic.is_err(), "{name:?}");
    }
    let longest = "n".repeat(1_024);
    for name in ["a", "ä b/c.d", "error", "_", longest.as_str()] {
        bus.on_named(name, |_: &Received<Args>| {});
        let emitted = bus.emit_named(name, ()).expect("a good name");
        assert_eq!(emitted.listeners, 1, "{name:?}");
    }
}

fn converts_into_error() {
    fn inside(bus: &Bus) -> eventcast::Result<()> {
        bus.emit(Amount { cents: u64::MAX })?;
        Ok(())
    }
    let bus = bus(Group::unused());
    let error = inside(&bus).expect_err("it cannot be encoded");
    assert!(error.to_string().contains("cents"), "{error}");
}

fn from_any_thread() {
    let (a, b) = pair();
    let seen = count(&b, "x");
    let local = count(&a, "x");
    for round in 0..20 {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        a.emit_named("x", ()).expect("outside of any runtime");
                    }
                });
            }
        });
        seen.wait_for((round + 1) * 20);
    }
    for runtime in Runtime::ALL {
        runtime.run(async { a.emit_named("x", ()).expect("inside of one") });
    }
    seen.wait_for(402);
    assert_eq!((local.get(), seen.get()), (402, 402));
}

fn emit_wait() {
    for runtime in Runtime::ALL {
        runtime.run(soon(async {
            let group = Group::unused();
            let a = common::builder(group)
                .send_queue(64 * 1024)
                .start()
                .await
                .expect("a bus starts");
            let calls = Count::default();
            let counted = calls.clone();
            a.on::<Text>(move |_: &Received<Text>| counted.add());
            for _ in 0..200 {
                a.emit_wait(Text("x".repeat(50_000)))
                    .await
                    .expect("it waits for room");
            }
            a.emit_wait_named("x", (1, 2)).await.expect("the bus runs");
            assert_eq!(calls.get(), 200);
            // What waiting cannot mend is refused at once.
            let error = a.emit_wait(Amount { cents: u64::MAX }).await;
            assert!(error.is_err());
        }));
    }
}

fn emit_wait_is_cancel_safe() {
    Runtime::CurrentThread.run(soon(async {
        let group = Group::unused();
        let a = common::builder(group)
            .send_queue(64 * 1024)
            .start()
            .await
            .expect("a bus starts");
        let calls = Count::default();
        let counted = calls.clone();
        a.on::<Text>(move |_: &Received<Text>| counted.add());
        let mut sent = 0;
        for _ in 0..100 {
            let emit = a.emit_wait(Text("x".repeat(50_000)));
            if let Ok(outcome) = tokio::time::timeout(Duration::ZERO, emit).await {
                outcome.expect("the bus runs");
                sent += 1;
            }
        }
        // A cancelled one was either not sent at all, or not cancelled.
        assert_eq!(calls.get(), sent);
        a.emit_wait(Text(String::new())).await.expect("it goes on");
        assert_eq!(calls.get(), sent + 1);
        assert_eq!(a.stats().events_emitted, sent as u64 + 1);
    }));
}
