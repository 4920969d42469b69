//! What goes through queues gets one bus's own events in the order of their numbers.

use std::{thread, time::Duration};

use eventcast::{Args, Bus, NetEvent, Notice, Received, SubscribeOptions};
use eventcast_tests::{group::Group, runner::Case, wait::Seen};
use serde::{Deserialize, Serialize};

use crate::common::{self, Count, bus};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("order::threads_that_emit_and_a_subscription", subscription),
        Case::new(
            "order::threads_that_emit_and_an_async_listener",
            asynchronous,
        ),
        Case::new("order::threads_that_emit_and_a_slow_listener", slow),
        Case::new("order::typed_and_named_by_turns", typed_and_named),
        Case::new("order::a_listener_that_answers", a_listener_that_answers),
        Case::new(
            "order::a_listener_that_answers_under_threads",
            a_listener_that_answers_under_threads,
        ),
        Case::new(
            "order::an_emit_inside_runs_at_once",
            an_emit_inside_runs_at_once,
        ),
    ]
}

const THREADS: usize = 4;
const EACH: usize = 2_000;
const ALL: usize = THREADS * EACH;

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "order/typed")]
struct Typed(usize);

/// Emits from several threads at once, each so many times.
fn emit_from_threads(emit: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for index in 0..EACH {
                    emit(index);
                }
            });
        }
    });
}

fn all_of_it() -> SubscribeOptions {
    SubscribeOptions::default().capacity(3 * ALL)
}

fn number<E>(event: &Received<E>) -> u64 {
    event.origin().number().expect("the bus runs")
}

#[track_caller]
fn in_order(numbers: &[u64], count: usize) {
    let inversion = numbers.windows(2).find(|pair| pair[0] >= pair[1]);
    assert_eq!(inversion, None);
    assert_eq!(numbers.len(), count);
}

fn subscription() {
    let bus = bus(Group::unused());
    let mut stream = bus.subscribe_named_with("x", all_of_it());
    let inline = common::count(&bus, "x");
    emit_from_threads(|_| {
        let emitted = bus
            .emit_named("x", ())
            .expect("there is room for so small ones");
        assert_eq!(emitted.listeners, 2);
    });
    let numbers: Vec<_> = std::iter::from_fn(|| stream.try_next().ok())
        .map(|event| number(&event))
        .collect();
    in_order(&numbers, ALL);
    assert_eq!(inline.get(), ALL);
}

fn asynchronous() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime without drivers");
    let builder = common::builder(Group::unused());
    let bus = common::started(builder.runtime(runtime.handle().clone()));
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_async_named("x", move |e: Received<Args>| {
        let list = list.clone();
        async move { list.push(number(&e)) }
    });
    emit_from_threads(|_| {
        bus.emit_named("x", ())
            .expect("there is room for so small ones");
    });
    in_order(&seen.wait_for(ALL), ALL);
}

fn slow() {
    let group = Group::unused();
    let (a, b) = (bus(group), bus(group));
    let moved = Count::default();
    let told = moved.clone();
    b.on_notice(move |notice: &Notice| {
        if matches!(notice, Notice::ListenerSlow { .. }) {
            told.add();
        }
    });
    let seen = Seen::new();
    let list = seen.clone();
    b.on_named("x", move |e: &Received<Args>| {
        if !e.origin().is_local() {
            return thread::sleep(Duration::from_millis(50));
        }
        list.push(number(e));
    });
    a.emit_named("x", ()).expect("the bus runs");
    moved.wait_for(1);
    emit_from_threads(|_| {
        b.emit_named("x", ())
            .expect("there is room for so small ones");
    });
    in_order(&seen.wait_for(ALL), ALL);
}

fn typed_and_named() {
    let bus = bus(Group::unused());
    let mut every = bus.subscribe_pattern_with("**", all_of_it());
    let mut typed = bus.subscribe_with::<Typed>(all_of_it());
    bus.on::<Typed>(|_: &Received<Typed>| {});
    emit_from_threads(|index| {
        if index % 2 == 0 {
            bus.emit(Typed(index))
                .expect("there is room for so small ones");
        } else {
            bus.emit_named("named", ())
                .expect("there is room for so small ones");
        }
    });
    let numbers: Vec<_> = std::iter::from_fn(|| every.try_next().ok())
        .map(|event| number(&event))
        .collect();
    in_order(&numbers, ALL);
    let numbers: Vec<_> = std::iter::from_fn(|| typed.try_next().ok())
        .map(|event| number(&event))
        .collect();
    in_order(&numbers, ALL / 2);
}

/// Answers each `x` with a `y`, from within, before the others hear of the `x`.
fn answering(bus: &Bus) {
    bus.on_named("x", |e: &Received<Args>| {
        e.bus().emit_named("y", ()).expect("the bus runs");
    });
}

fn a_listener_that_answers() {
    let bus = bus(Group::unused());
    answering(&bus);
    let mut stream = bus.subscribe_pattern_with("*", all_of_it());
    for _ in 0..10 {
        bus.emit_named("x", ()).expect("the bus runs");
    }
    let events: Vec<_> = std::iter::from_fn(|| stream.try_next().ok()).collect();
    let numbers: Vec<_> = events.iter().map(number).collect();
    in_order(&numbers, 20);
    assert!(
        events
            .chunks(2)
            .all(|pair| pair[0].key() == "x" && pair[1].key() == "y")
    );
}

fn a_listener_that_answers_under_threads() {
    let bus = bus(Group::unused());
    answering(&bus);
    let mut stream = bus.subscribe_pattern_with("*", all_of_it());
    emit_from_threads(|_| {
        bus.emit_named("x", ())
            .expect("there is room for so small ones");
    });
    let numbers: Vec<_> = std::iter::from_fn(|| stream.try_next().ok())
        .map(|event| number(&event))
        .collect();
    in_order(&numbers, 2 * ALL);
}

/// Those that run inline keep EventEmitter's way.
fn an_emit_inside_runs_at_once() {
    let bus = bus(Group::unused());
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_named("x", move |e: &Received<Args>| {
        list.push("x begins");
        e.bus().emit_named("y", ()).expect("the bus runs");
        list.push("x ends");
    });
    let list = seen.clone();
    bus.on_named("y", move |_: &Received<Args>| list.push("y"));
    bus.emit_named("x", ()).expect("the bus runs");
    assert_eq!(seen.all(), ["x begins", "y", "x ends"]);
}
