//! Registering listeners: the builder, patterns, waits with a condition, guards, and the list of
//! what is registered.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use eventcast::{
    Args, Bus, EmitErrorKind, Error, InvalidKey, InvalidPattern, ListenerMode, ListenerScope,
    NetEvent, Notice, Pattern, Received, Stopped, SubscribeOptions, TryNextError, bson::Bson,
};
use eventcast_tests::{
    runner::Case,
    wait::{Seen, block_on, eventually, soon},
};
use serde::{Deserialize, Serialize};

use crate::common::{Count, Runtime, fence_between, pair, patient_pair};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "api::ids_of_listeners_are_unique_in_the_process",
            unique_ids,
        ),
        Case::new("api::the_builder_registers_in_every_way", every_way),
        Case::new(
            "api::once_by_the_builder_ends_streams_too",
            once_ends_streams,
        ),
        Case::new("api::patterns_can_be_registered_in_every_way", patterns),
        Case::new("api::refusals_are_returned_by_the_try_methods", refusals),
        Case::new("api::errors_convert_by_the_question_mark", question_mark),
        Case::new("api::wait_for_where", wait_for_where),
        Case::new("api::wait_for_yields_the_first_of_many", the_first_of_many),
        Case::new(
            "api::a_condition_that_panics_does_not_hold",
            a_condition_that_panics,
        ),
        Case::new("api::a_guard_takes_its_listener_off", guards),
        Case::new("api::listeners_are_listed", listed),
        Case::new("api::concurrent_calls_by_the_builder", concurrency),
    ]
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Arrived {
    user: u64,
}

fn unique_ids() {
    let (a, b) = pair();
    let of_a = a.on_named("x", |_: &Received<Args>| {});
    let of_b = b.on_named("x", |_: &Received<Args>| {});
    let notices = a.on_notice(|_: &Notice| {});
    assert!(of_a != of_b && of_a != notices);
    assert!(!b.off(of_a), "it is a stranger's");
    assert!(!b.off(notices), "it is a stranger's");
    assert_eq!(
        (a.listener_count_named("x"), b.listener_count_named("x")),
        (1, 1)
    );
    assert!(a.off(of_a) && b.off(of_b) && a.off(notices));
}

fn every_way() {
    let (a, b) = patient_pair();
    let seen = Seen::new();
    let push = |what: &'static str| {
        let seen = seen.clone();
        move || seen.push(what)
    };
    let last = push("last");
    b.listen::<Arrived>().call(move |_| last());
    let first = push("first");
    b.listen::<Arrived>()
        .once()
        .prepend()
        .call(move |_| first());
    let named = push("named");
    b.listen_named("Arrived").call(move |_| named());
    let by_pattern = push("pattern");
    b.listen_pattern("Arriv*")
        .once()
        .call(move |_| by_pattern());
    let mut stream = b.listen::<Arrived>().subscribe();
    let wait = b.listen::<Arrived>().wait_where(|e| e.user == 2);
    for user in 1..=2 {
        a.emit(Arrived { user }).expect("it runs");
    }
    fence_between(&a, &b);
    let expected = ["first", "last", "named", "pattern", "last", "named"];
    assert_eq!(seen.all(), expected);
    for user in 1..=2 {
        assert_eq!(
            stream.try_next().map(Received::into_inner),
            Ok(Arrived { user })
        );
    }
    assert_eq!(block_on(wait).expect("it came").user, 2);

    Runtime::MultiThread.run(soon(async {
        let async_seen = Count::default();
        let counted = async_seen.clone();
        b.listen::<Arrived>().once().call_async(move |_| {
            let counted = counted.clone();
            async move { counted.add() }
        });
        let counted = async_seen.clone();
        b.listen_named("Arrived")
            .concurrency(0)
            .call_async(move |_| {
                let counted = counted.clone();
                async move { counted.add() }
            });
        for user in 3..=4 {
            b.emit(Arrived { user }).expect("it runs");
        }
        while async_seen.get() < 3 {
            tokio::task::yield_now().await;
        }
    }));
}

fn once_ends_streams() {
    let (a, b) = pair();
    let mut stream = b.listen_named("x").once().subscribe();
    for number in 1..=3 {
        a.emit_named("x", number).expect("it runs");
    }
    fence_between(&a, &b);
    assert_eq!(stream.try_next().expect("it came").decode(), Ok(1));
    assert!(matches!(stream.try_next(), Err(TryNextError::Ended)));
    assert_eq!(b.listener_count_named("x"), 0);
}

fn patterns() {
    let (a, b) = pair();
    let pattern: Pattern = "order.*".parse().expect("it is one");
    let count = Count::default();
    let counting = || {
        let count = count.clone();
        move |_: &Received<Args>| count.add()
    };
    // By whatever is a pattern.
    b.on_pattern("order.*", counting());
    b.on_pattern(String::from("order.*"), counting());
    b.on_pattern(&pattern, counting());
    b.once_pattern(pattern.clone(), counting());
    let mut latest = b.subscribe_pattern_with(&pattern, SubscribeOptions::latest());
    let first = b.wait_for_pattern(&pattern);
    let shipped = b.wait_for_pattern_where(&pattern, |e| e.key() == "order.shipped");
    for name in ["order.placed", "order.shipped", "order.item.added"] {
        a.emit_named(name, ()).expect("it runs");
    }
    fence_between(&a, &b);
    assert_eq!(count.get(), 3 * 2 + 1);
    assert_eq!(latest.try_next().expect("it came").key(), "order.shipped");
    assert_eq!(block_on(first).expect("it came").key(), "order.placed");
    assert_eq!(block_on(shipped).expect("it came").key(), "order.shipped");

    let every = b.subscribe_pattern(Pattern::every());
    let seen = Seen::new();
    let list = seen.clone();
    Runtime::MultiThread.run(soon(async {
        let asynchronous = list.clone();
        b.on_async_pattern("order.*", move |e| {
            let list = asynchronous.clone();
            async move { list.push(e.key().to_owned()) }
        });
        b.once_async_pattern("**", move |e| {
            let list = list.clone();
            async move { list.push(e.key().to_owned()) }
        });
        for name in ["order.a", "order.b"] {
            a.emit_named(name, ()).expect("it runs");
        }
        while seen.len() < 3 {
            tokio::task::yield_now().await;
        }
    }));
    drop(every);
}

mod other {
    use super::*;

    /// Another shape under the same key.
    #[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
    pub(super) struct Arrived {
        pub(super) name: String,
    }
}

fn refusals() {
    let (a, _) = pair();
    let dropped = Arc::new(AtomicBool::new(false));
    struct Drops(Arc<AtomicBool>);
    impl Drop for Drops {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let listener = || {
        dropped.store(false, Ordering::SeqCst);
        let held = Drops(Arc::clone(&dropped));
        move |_: &Received<Args>| {
            let _ = &held;
        }
    };
    let is_dropped = || dropped.load(Ordering::SeqCst);
    assert_eq!(a.try_on_named("", listener()), Err(InvalidKey::Empty));
    assert!(is_dropped());
    assert_eq!(a.try_on_pattern("", listener()), Err(InvalidPattern::Empty));
    assert!(is_dropped());
    assert!(a.try_listen_named("__ec_x").is_err());
    assert!(a.try_listen_pattern("x\\").is_err());
    assert!(a.try_on_pattern("x", listener()).is_ok());

    a.on::<Arrived>(|_| {});
    assert!(a.try_listen::<other::Arrived>().is_err());
    assert!(a.try_on::<other::Arrived>(|_| {}).is_err());
    let name = "x".to_owned();
    let error = a
        .emit(other::Arrived { name })
        .expect_err("it is a conflict");
    assert!(matches!(error.kind(), EmitErrorKind::KeyConflict(_)));
    assert_eq!(format!("{error:?}"), error.to_string());

    for (text, act) in [
        ("\"\"", (|a: &Bus| drop(a.listen_named(""))) as fn(&Bus)),
        ("pattern \"a\\\\\"", |a| drop(a.subscribe_pattern("a\\"))),
        ("other::Arrived", |a| drop(a.wait_for::<other::Arrived>())),
    ] {
        let hook = std::panic::AssertUnwindSafe(|| act(&a));
        let panic = std::panic::catch_unwind(hook).expect_err("it panics");
        let panic = panic.downcast_ref::<String>().expect("with a text");
        assert!(panic.contains(text), "{panic}");
    }
}

/// All that a program meets, in one function.
fn question_mark() {
    fn all(bus: &Bus, pattern: &str, name: &str) -> eventcast::Result<u8> {
        let pattern: Pattern = pattern.parse()?;
        bus.try_on_pattern(pattern, |_| {})?;
        bus.try_on_named(name, |_| {})?;
        bus.try_on::<Arrived>(|_| {})?;
        let wait = bus.wait_for_named("x");
        bus.emit_named("x", eventcast::to_bson(&7)?)?;
        Ok(block_on(wait)?.decode()?)
    }
    let (a, _) = pair();
    assert_eq!(all(&a, "*", "y").expect("nothing is wrong"), 7);
    assert!(matches!(all(&a, "", "y"), Err(Error::InvalidPattern(_))));
    assert!(matches!(all(&a, "*", ""), Err(Error::InvalidKey(_))));
    let ended = || -> eventcast::Result<()> {
        let wait = a.wait_for_named("never");
        a.off_all_named("never");
        block_on(wait)?;
        Ok(())
    };
    assert!(matches!(ended(), Err(Error::Ended(Stopped))));
}

fn wait_for_where() {
    let (a, b) = pair();
    let answer = b.wait_for_where::<Arrived>(|e| e.user == 7);
    let named = b.wait_for_named_where("x", |args| args.len() == 2);
    for user in 0..20 {
        a.emit(Arrived { user }).expect("it runs");
        a.emit_named("x", vec![Bson::Null; (user % 3) as usize])
            .expect("it runs");
    }
    assert_eq!(block_on(answer).expect("it comes").user, 7);
    assert_eq!(block_on(named).expect("it comes").len(), 2);
    // It is polled on while nothing fits.
    let late = b.wait_for_where::<Arrived>(|e| e.user == 21);
    let waiting = std::thread::spawn(move || block_on(late));
    for user in 20..22 {
        a.emit(Arrived { user }).expect("it runs");
    }
    let late = waiting.join().expect("it does not panic");
    assert_eq!(late.expect("it comes").user, 21);
    assert_eq!(b.listener_count::<Arrived>(), 0, "they are taken off");
}

/// Also if far more come before it is polled than wait.
fn the_first_of_many() {
    let (a, _) = pair();
    let wait = a.wait_for::<Arrived>();
    for user in 0..5_000 {
        a.emit(Arrived { user }).expect("it runs");
    }
    assert_eq!(block_on(wait).expect("it came").user, 0);
}

fn a_condition_that_panics() {
    let (a, b) = pair();
    let told = Count::default();
    let counted = told.clone();
    b.on_notice(move |notice: &Notice| {
        if matches!(notice, Notice::ListenerPanicked { .. }) {
            counted.add();
        }
    });
    let wait = b.wait_for_where::<Arrived>(|e| {
        assert!(e.user != 1, "on purpose");
        true
    });
    for user in 1..=2 {
        a.emit(Arrived { user }).expect("it runs");
    }
    assert_eq!(block_on(wait).expect("it comes").user, 2);
    told.wait_for(1);
}

fn guards() {
    let (a, _) = pair();
    let count = Count::default();
    let counted = count.clone();
    let guard = a.guard(a.on_named("x", move |_: &Received<Args>| counted.add()));
    a.emit_named("x", ()).expect("it runs");
    drop(guard);
    a.emit_named("x", ()).expect("it runs");
    assert_eq!((count.get(), a.listener_count_named("x")), (1, 0));

    let counted = count.clone();
    let id = a.guard(a.on_named("x", move |_: &Received<Args>| counted.add()));
    assert_eq!(id.id(), id.keep());
    a.emit_named("x", ()).expect("it runs");
    assert_eq!((count.get(), a.listener_count_named("x")), (2, 1));

    // Of notices, and after the bus.
    let notices = a.guard(a.on_notice(|_: &Notice| {}));
    let id = notices.id();
    drop(notices);
    assert!(!a.off(id), "it has been taken off");
    let late = a.guard(a.on_every(|_: &Received<Args>| {}));
    drop(a);
    drop(late);
}

fn listed() {
    let (a, b) = pair();
    let line = line!() + 1;
    let typed = a.listen::<Arrived>().once().call(|_| {});
    a.on_pattern("order.*", |_: &Received<Args>| {});
    let stream = a.subscribe_named("x");
    Runtime::MultiThread.run(async {
        a.on_async_named("y", async |_| {});
    });
    let slow = a.on_named("z", |_: &Received<Args>| {
        std::thread::sleep(std::time::Duration::from_millis(300));
    });
    b.emit_named("z", ()).expect("it runs");
    let mode = |id| {
        a.listeners()
            .into_iter()
            .find(|one| one.id == id)
            .map(|one| one.mode)
    };
    eventually("it is found to be slow", || {
        mode(slow) == Some(ListenerMode::Queued)
    });

    let all = a.listeners();
    let facts: Vec<_> = all
        .iter()
        .map(|one| (one.scope.clone(), one.event_type, one.mode, one.once))
        .collect();
    let key = |key: &str| ListenerScope::Key(key.to_owned());
    let pattern = ListenerScope::Pattern("order.*".parse().expect("it is one"));
    let joined = Some(std::any::type_name::<Arrived>());
    assert_eq!(
        facts,
        [
            (key("Arrived"), joined, ListenerMode::Inline, true),
            (pattern, None, ListenerMode::Inline, false),
            (key("x"), None, ListenerMode::Stream, false),
            (key("y"), None, ListenerMode::Async, false),
            (key("z"), None, ListenerMode::Queued, false),
        ]
    );
    assert_eq!(all[0].id, typed);
    let place = all[0].registered_at;
    assert_eq!((place.file(), place.line()), (file!(), line));
    let shown = format!("`Arrived`, inline, once, {place}");
    assert_eq!(all[0].to_string(), shown);
    drop(stream);
    assert_eq!(a.listeners().len(), 4);
}

fn concurrency() {
    let (a, _) = pair();
    Runtime::MultiThread.run(soon(async {
        let barrier = Arc::new(tokio::sync::Barrier::new(4));
        let through = Count::default();
        let (meeting, counted) = (Arc::clone(&barrier), through.clone());
        // None passes before four are there.
        a.listen_named("x").concurrency(4).call_async(move |_| {
            let (meeting, counted) = (Arc::clone(&meeting), counted.clone());
            async move {
                meeting.wait().await;
                counted.add();
            }
        });
        for _ in 0..4 {
            a.emit_named("x", ()).expect("it runs");
        }
        while through.get() < 4 {
            tokio::task::yield_now().await;
        }
    }));
}
