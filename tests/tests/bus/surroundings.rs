//! What a listener may count on, whatever the way by which the event came: the bus's tokio runtime,
//! the stack, and that others get their turn.

use std::{
    cell::RefCell,
    hint::black_box,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
};

use eventcast::{Args, Bus, NetEvent, Notice, Received, SubscribeOptions};
use eventcast_tests::{
    console::Console,
    group::Group,
    runner::Case,
    wait::{Seen, block_on, eventually, soon},
};
use serde::{Deserialize, Serialize};

use crate::{
    common::{self, Count, bus, count, pair},
    ways::{Stage, Way},
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "surroundings::tasks_can_be_spawned_wherever_a_listener_runs",
            tasks_can_be_spawned,
        ),
        Case::new(
            "surroundings::the_runtime_of_the_bus_and_not_of_the_caller",
            the_runtime_of_the_bus,
        ),
        Case::new(
            "surroundings::another_start_brings_another_runtime",
            another_start,
        ),
        Case::new(
            "surroundings::an_async_listener_outlives_its_runtime",
            an_async_listener_outlives_its_runtime,
        ),
        Case::new(
            "surroundings::an_async_listener_without_a_runtime_is_reported",
            without_a_runtime,
        ),
        Case::new(
            "surroundings::a_runtime_that_is_not_driven_is_replaced",
            a_runtime_that_is_not_driven,
        ),
        Case::new(
            "surroundings::no_runtime_is_reported_once_and_summed_up",
            no_runtime_is_summed_up,
        ),
        Case::new("surroundings::the_stack_is_that_of_a_thread", the_stack),
        Case::new(
            "surroundings::a_console_has_the_stack_of_a_bus",
            the_stack_of_a_console,
        ),
        Case::new("surroundings::threads_have_names", threads_have_names),
        Case::new(
            "surroundings::reading_many_events_lets_others_run",
            reading_many_events,
        ),
        Case::new("surroundings::every_future_lets_others_run", every_future),
        Case::new(
            "surroundings::streams_need_no_runtime",
            streams_need_no_runtime,
        ),
        Case::new(
            "surroundings::emitting_while_the_thread_ends",
            emitting_while_the_thread_ends,
        )
        .in_own_process(),
    ]
}

fn tasks_can_be_spawned() {
    for way in Way::ALL {
        let stage = Stage::new(way);
        let seen = Seen::new();
        let list = seen.clone();
        stage.listen(move |number| {
            let list = list.clone();
            tokio::spawn(async move {
                tokio::task::yield_now().await;
                list.push(number);
            });
        });
        for number in 1..=3 {
            stage.emit(number);
        }
        let mut all = seen.wait_for(3);
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3]);
        assert_eq!(stage.panics(), Vec::<String>::new());
    }
}

fn the_runtime_of_the_bus() {
    for way in Way::ALL {
        let stage = Stage::new(way);
        let seen = Seen::new();
        let list = seen.clone();
        stage.listen(move |_| list.push(tokio::runtime::Handle::current().id()));
        // `emit` is called within this one.
        let another = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime without drivers");
        let _entered = another.enter();
        stage.emit(1);
        let ids = seen.wait_for(1);
        assert_eq!(ids, [stage.runtime.handle().id()]);
        assert_eq!(
            tokio::runtime::Handle::current().id(),
            another.handle().id()
        );
    }
}

fn worker() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime without any driver but a clock")
}

/// Starts the bus within this runtime.
fn start_in(runtime: &tokio::runtime::Runtime, bus: &Bus) {
    runtime
        .block_on(soon(async { bus.start().await }))
        .expect("it starts");
}

/// Also where the bus runs already.
fn another_start() {
    let (a, b) = pair();
    let seen = Seen::new();
    let list = seen.clone();
    b.on_named("x", move |_: &Received<Args>| {
        list.push(tokio::runtime::Handle::try_current().ok().map(|it| it.id()));
    });
    let emit = |count: usize| {
        a.emit_named("x", ()).expect("the bus runs");
        b.emit_named("x", ()).expect("the bus runs");
        seen.wait_for(count);
        seen.take()
    };
    assert_eq!(emit(2), [None, None]);
    for _ in 0..2 {
        let runtime = worker();
        start_in(&runtime, &b);
        assert_eq!(emit(2), [Some(runtime.handle().id()); 2]);
    }
}

fn told_without_runtime(bus: &Bus) -> Count {
    let told = Count::default();
    let counted = told.clone();
    bus.on_notice(move |notice: &Notice| {
        if let Notice::NoRuntime { key, .. } = notice {
            assert_eq!(key, "x");
            assert!(notice.to_string().contains("start"), "{notice}");
            counted.add();
        }
    });
    told
}

fn an_async_listener_outlives_its_runtime() {
    for is_given in [false, true] {
        outlives_its_runtime(is_given);
    }
}

/// The first runtime is given to the builder, or it is the one in which the bus is started.
fn outlives_its_runtime(is_given: bool) {
    let group = Group::unused();
    let a = bus(group);
    let first = worker();
    let mut builder = common::builder(group);
    if is_given {
        builder = builder.runtime(first.handle().clone());
    }
    let b = builder.build().expect("good options");
    let told = told_without_runtime(&b);
    let seen = Seen::new();
    {
        let _entered = first.enter();
        let list = seen.clone();
        b.on_async_named("x", move |e: Received<Args>| {
            let list = list.clone();
            async move {
                let number: i32 = e.decode().expect("one small number");
                list.push((number, tokio::runtime::Handle::current().id()));
                if number == 0 {
                    std::future::pending::<()>().await;
                }
            }
        });
    }
    start_in(&first, &b);
    let first_id = first.handle().id();
    // It is dropped while a call is under way.
    a.emit_named("x", 0).expect("the bus runs");
    assert_eq!(seen.wait_for(1), [(0, first_id)]);
    drop(first);
    told.wait_for(1);
    let passed = count(&b, "x");
    a.emit_named("x", 1).expect("the bus runs");
    b.emit_named("x", 2).expect("the bus runs");
    passed.wait_for(2);
    block_on(b.stop()).expect("it stops");
    let second = worker();
    start_in(&second, &b);
    let second_id = second.handle().id();
    let mut waited = seen.wait_for(3);
    waited[1..].sort_unstable_by_key(|(number, _)| *number);
    assert_eq!(waited, [(0, first_id), (1, second_id), (2, second_id)]);
    a.emit_named("x", 3).expect("the bus runs");
    assert_eq!(seen.wait_for(4)[3], (3, second_id));
}

/// The bus was started outside of any runtime, and so was the listener registered.
fn without_a_runtime() {
    let (a, b) = pair();
    let told = told_without_runtime(&b);
    let seen = Seen::new();
    let list = seen.clone();
    b.on_async_named("x", move |e: Received<Args>| {
        let list = list.clone();
        async move { list.push(e.decode::<i32>().expect("one small number")) }
    });
    a.emit_named("x", 1).expect("the bus runs");
    told.wait_for(1);
    let runtime = worker();
    start_in(&runtime, &b);
    a.emit_named("x", 2).expect("the bus runs");
    assert_eq!(seen.wait_for(2), [1, 2]);
}

/// It is there, but its thread does something else by now.
fn a_runtime_that_is_not_driven() {
    let builder = || tokio::runtime::Builder::new_current_thread().build();
    let (first, second) = (builder().expect("a runtime"), builder().expect("a runtime"));
    let bus = common::builder(Group::unused())
        .build()
        .expect("good options");
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_async_named("x", move |e: Received<Args>| {
        let list = list.clone();
        async move {
            let number: i32 = e.decode().expect("one small number");
            list.push((number, tokio::runtime::Handle::current().id()));
        }
    });
    first
        .block_on(async { bus.start().await })
        .expect("it starts");
    bus.emit_named("x", 1).expect("the bus runs");
    block_on(bus.stop()).expect("it stops");
    second.block_on(async {
        bus.start().await.expect("it starts");
        bus.emit_named("x", 2).expect("the bus runs");
        while seen.len() < 2 {
            tokio::task::yield_now().await;
        }
    });
    // What the first had been given comes to nothing there.
    let turns = first.block_on(async {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        seen.all()
    });
    let id = second.handle().id();
    assert_eq!(turns, [(1, id), (2, id)]);
    second.block_on(async {
        bus.emit_named("x", 3).expect("the bus runs");
        while seen.len() < 3 {
            tokio::task::yield_now().await;
        }
    });
}

fn no_runtime_is_summed_up() {
    const EVENTS: u64 = 1_000;
    let (_, b) = pair();
    let counts = Seen::new();
    let list = counts.clone();
    b.on_notice(move |notice: &Notice| {
        if let Notice::NoRuntime { count, .. } = notice {
            list.push(*count);
        }
    });
    b.on_async_named("x", async |_: Received<Args>| {});
    for _ in 0..EVENTS {
        b.emit_named("x", ()).expect("the bus runs");
    }
    block_on(b.stop()).expect("it stops");
    eventually("all were told", || {
        counts.all().iter().sum::<u64>() == EVENTS
    });
    // The first, the rest, and perhaps a sum in between on a machine that takes its time.
    assert_eq!(counts.all()[0], 1);
    assert!(counts.len() <= 4, "{:?}", counts.all());
}

/// Goes down until it has taken this much stack, and says how much it was.
fn deep(from: usize, bytes: usize) -> usize {
    let here = black_box([0_u8; 1_024]);
    let taken = from.abs_diff(here.as_ptr() as usize);
    if taken >= bytes {
        return taken;
    }
    black_box(deep(from, bytes)) + usize::from(here[0])
}

fn the_stack() {
    for way in Way::ALL {
        // The threads of a bus have 4 MiB; the others are this program's.
        let stack = match way {
            Way::Remote | Way::Moved | Way::Notice => 3 << 20,
            Way::Local | Way::Async => 1 << 20,
        };
        let stage = Stage::new(way);
        let seen = Seen::new();
        let list = seen.clone();
        stage.listen(move |_| {
            let here = black_box([0_u8; 1]);
            list.push(deep(here.as_ptr() as usize, stack));
        });
        stage.emit(1);
        assert!(seen.wait_for(1)[0] >= stack);
    }
}

/// What a client of the console emits is handed to listeners on that client's thread.
fn the_stack_of_a_console() {
    let bus = common::started(common::builder(Group::unused()).repl_port(0));
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_named("x", move |_: &Received<Args>| {
        let here = black_box([0_u8; 1]);
        list.push(deep(here.as_ptr() as usize, 3 << 20));
    });
    let mut console = Console::open(bus.repl_address().expect("it has a console"));
    console.ask("emit x");
    assert!(seen.wait_for(1)[0] >= 3 << 20);
}

fn threads_have_names() {
    for (way, name) in [
        (Way::Remote, "eventcast-read"),
        (Way::Notice, "eventcast-note"),
    ] {
        let stage = Stage::new(way);
        let seen = Seen::new();
        let list = seen.clone();
        stage.listen(move |_| list.push(thread::current().name().map(str::to_owned)));
        stage.emit(1);
        assert_eq!(seen.wait_for(1), [Some(name.to_owned())]);
    }
    // A local one is called by the thread that emits, before `emit` returns.
    let stage = Stage::new(Way::Local);
    let seen = Seen::new();
    let list = seen.clone();
    stage.listen(move |_| list.push(thread::current().id()));
    stage.emit(1);
    assert_eq!(seen.all(), [thread::current().id()]);
}

/// How often another task of the same thread gets its turn until `work` is done.
fn turns_of_others(work: impl Future<Output = ()>) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without any driver but a clock");
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    runtime.block_on(async move {
        tokio::spawn(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        work.await;
    });
    turns.load(Ordering::Relaxed)
}

fn reading_many_events() {
    const EVENTS: usize = 40_000;
    let options = SubscribeOptions::default().capacity(EVENTS);
    let bus = common::builder(Group::unused())
        .build()
        .expect("good options");
    let mut named = bus.subscribe_named_with("x", options);
    let mut typed = bus.subscribe_with::<Other>(options);
    for _ in 0..EVENTS {
        // Not running: it is delivered locally all the same.
        let _ = bus.emit_named("x", ());
    }
    let turns = turns_of_others(async {
        for _ in 0..EVENTS {
            named.next().await.expect("it waits");
        }
    });
    assert!(turns >= EVENTS / 256, "{turns} turns");
    // Those that do not fit are passed over, and count as well.
    for _ in 0..EVENTS {
        let _ = bus.emit_named("other", "not a number");
    }
    bus.off_all_named("other");
    let turns = turns_of_others(async {
        assert!(typed.next().await.is_none());
    });
    assert!(turns >= EVENTS / 256, "{turns} turns");
}

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "other")]
struct Other(i32);

fn every_future() {
    const TIMES: usize = 2_000;
    const TURNS: usize = TIMES / 256;
    let bus = bus(Group::unused());
    bus.set_max_listeners(0);
    let turns = turns_of_others(async {
        for _ in 0..TIMES {
            let first = bus.wait_for_named("x");
            bus.emit_named("x", ()).expect("the bus runs");
            first.await.expect("it came");
        }
    });
    assert!(turns >= TURNS, "wait_for: {turns} turns");
    let turns = turns_of_others(async {
        for _ in 0..TIMES {
            bus.emit_wait_named("x", ()).await.expect("the bus runs");
        }
    });
    assert!(turns >= TURNS, "emit_wait_named: {turns} turns");
    let turns = turns_of_others(async {
        for _ in 0..TIMES {
            bus.emit_wait(Other(1)).await.expect("the bus runs");
        }
    });
    assert!(turns >= TURNS, "emit_wait: {turns} turns");
    let turns = turns_of_others(async {
        for _ in 0..TIMES {
            bus.start().await.expect("it runs");
        }
    });
    assert!(turns >= TURNS, "start: {turns} turns");
    block_on(bus.stop()).expect("it stops");
    let turns = turns_of_others(async {
        for _ in 0..TIMES {
            bus.stop().await.expect("it is stopped");
        }
    });
    assert!(turns >= TURNS, "stop: {turns} turns");
    let mut notices = bus.notices();
    for _ in 0..8 {
        block_on(bus.start()).expect("it starts");
        block_on(bus.stop()).expect("it stops");
    }
    let turns = turns_of_others(async {
        // Of the 128 units of a task's budget most have been used.
        for _ in 0..120 {
            tokio::task::coop::consume_budget().await;
        }
        for _ in 0..16 {
            notices.next().await.expect("it waits");
        }
    });
    assert!(turns >= 1, "notices: {turns} turns");
}

/// Polled by hand, outside of any runtime.
fn streams_need_no_runtime() {
    let bus = bus(Group::unused());
    let mut stream = bus.subscribe_named("x");
    for _ in 0..1_000 {
        bus.emit_named("x", ()).expect("the bus runs");
    }
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..1_000 {
        let Poll::Ready(Some(_)) = pin!(stream.next()).poll(&mut cx) else {
            panic!("an event waits");
        };
    }
    assert!(pin!(stream.next()).poll(&mut cx).is_pending());
    drop(bus);
    let Poll::Ready(None) = pin!(stream.next()).poll(&mut cx) else {
        panic!("the stream has ended");
    };
}

/// Emits when its thread ends.
struct LastWords(Bus);

impl Drop for LastWords {
    fn drop(&mut self) {
        self.0.emit(Other(1)).expect("the bus runs");
        self.0.emit_named("x", ("last", 2)).expect("the bus runs");
        let many = bson::Document::from_iter((0..200).map(|at| (format!("key {at}"), at.into())));
        self.0.emit_named("many", many).expect("the bus runs");
        assert!(block_on_by_hand(self.0.emit_wait(Other(3))));
        drop(self.0.subscribe_named("x"));
        self.0.off_all_named("nothing");
    }
}

/// Whether it is ready and good at once.
fn block_on_by_hand<T, E>(future: impl Future<Output = Result<T, E>>) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    matches!(pin!(future).poll(&mut cx), Poll::Ready(Ok(_)))
}

thread_local! {
    static LAST_WORDS: RefCell<Option<LastWords>> = const { RefCell::new(None) };
}

/// The bus's own thread-local values were destroyed before: they were created later.
fn emitting_while_the_thread_ends() {
    let runtime = worker();
    let group = Group::unused();
    let a = bus(group);
    let b = common::started(common::builder(group).runtime(runtime.handle().clone()));
    let names = ["other", "x", "many"];
    let [local, remote] = [&b, &a].map(|bus| names.map(|name| count(bus, name)));
    let mut stream = b.subscribe_named("x");
    b.on::<Other>(|_: &Received<Other>| {});
    for is_used_before in [false, true] {
        let bus = b.clone();
        thread::spawn(move || {
            LAST_WORDS.with_borrow_mut(|words| *words = Some(LastWords(bus.clone())));
            if is_used_before {
                bus.emit(Other(0)).expect("the bus runs");
                bus.emit_named("x", ()).expect("the bus runs");
            }
        })
        .join()
        .expect("it ends well");
    }
    for counts in [&local, &remote] {
        counts[0].wait_for(5);
        counts[1].wait_for(3);
        counts[2].wait_for(2);
    }
    assert!(stream.try_next().is_ok());
    assert_eq!(b.stats().listener_panics, 0);
    eventually("nothing is held", || a.is_running() && b.is_running());
}
