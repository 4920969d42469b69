//! Listeners that call the bus, change the list they stand in, or panic.

use std::sync::{
    Arc, Barrier, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use eventcast::{Args, Bus, ListenerId, Notice, Received};
use eventcast_tests::{
    craft::Message,
    group::Group,
    runner::Case,
    tap::Tap,
    wait::{Seen, eventually_async, soon},
};

use crate::common::{self, Count, Runtime, bus, count, fence_between, pair};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "listeners::ee01_call_the_bus_from_inside",
            call_the_bus_from_inside,
        ),
        Case::new(
            "listeners::ee02_the_list_changes_while_it_is_called",
            the_list_changes,
        ),
        Case::new("listeners::ee02_two_once", two_once),
        Case::new(
            "listeners::ee02_a_once_that_emits_itself",
            once_that_emits_itself,
        ),
        Case::new(
            "listeners::ee02_a_once_under_many_threads",
            once_under_many_threads,
        ),
        Case::new(
            "listeners::ee02_a_once_under_threads_that_meet",
            once_under_threads_that_meet,
        ),
        Case::new(
            "listeners::ee03_a_panic_costs_one_call",
            a_panic_costs_one_call,
        ),
        Case::new(
            "listeners::ee03_an_async_panic_costs_one_call",
            an_async_panic_costs_one_call,
        ),
        Case::new("listeners::ee03_a_panic_that_poisons", a_panic_that_poisons),
        Case::new("listeners::order_and_prepend", order_and_prepend),
        Case::new(
            "listeners::once_is_not_used_up_by_a_failure_to_decode",
            once_and_decoding,
        ),
        Case::new("listeners::off_and_counts", off_and_counts),
        Case::new("listeners::max_listeners", max_listeners),
        Case::new("listeners::async_in_order_one_at_a_time", async_in_order),
        Case::new("listeners::async_before_a_runtime", async_before_a_runtime),
    ]
}

/// What a listener does to its bus while it is being called.
type Act = fn(&Bus, &Inside);

/// What the acts need to know.
#[derive(Default)]
struct Inside {
    depth: AtomicUsize,
    own: Mutex<Option<ListenerId>>,
    other: Mutex<Option<ListenerId>>,
    late: Count,
}

const ACTS: [(&str, Act); 7] = [
    ("emit another", |bus, _| {
        bus.emit_named("y", ()).expect("emit inside a listener");
    }),
    ("emit the same", |bus, inside| {
        if inside.depth.fetch_add(1, Ordering::SeqCst) < 3 {
            bus.emit_named("x", ()).expect("emit inside a listener");
        }
    }),
    ("add a listener", |bus, inside| {
        let late = inside.late.clone();
        bus.on_named("x", move |_: &Received<Args>| late.add());
    }),
    ("remove itself", |bus, inside| {
        let own = inside.own.lock().unwrap().expect("known before any event");
        assert!(bus.off(own));
    }),
    ("remove another", |bus, inside| {
        let other = inside
            .other
            .lock()
            .unwrap()
            .expect("known before any event");
        assert!(bus.off(other));
    }),
    ("add a once", |bus, inside| {
        let late = inside.late.clone();
        bus.once_named("x", move |_: &Received<Args>| late.add());
    }),
    ("stop", |bus, _| {
        bus.stop();
    }),
];

fn call_the_bus_from_inside() {
    for runtime in Runtime::ALL {
        for (what, act) in ACTS {
            for is_async in [false, true] {
                for is_remote in [false, true] {
                    println!("{what}: {runtime:?}, async {is_async}, remote {is_remote}");
                    runtime.run(soon(call_from_inside(what, act, is_async, is_remote)));
                }
            }
        }
    }
}

async fn call_from_inside(what: &str, act: Act, is_async: bool, is_remote: bool) {
    let group = Group::unused();
    let a = common::builder(group).start().await.expect("a bus starts");
    let b = common::builder(group).start().await.expect("a bus starts");
    let local = count(&a, "y");
    let remote = count(&b, "y");
    let returned = Count::default();
    let inside = Arc::new(Inside::default());
    *inside.other.lock().unwrap() = Some(a.on_named("x", |_: &Received<Args>| {}));
    let own = {
        let (inside, returned) = (Arc::clone(&inside), returned.clone());
        if is_async {
            a.on_async_named("x", move |e: Received<Args>| {
                let (inside, returned) = (Arc::clone(&inside), returned.clone());
                async move {
                    act(&e.bus(), &inside);
                    tokio::task::yield_now().await;
                    returned.add();
                }
            })
        } else {
            a.on_named("x", move |e: &Received<Args>| {
                act(&e.bus(), &inside);
                returned.add();
            })
        }
    };
    *inside.own.lock().unwrap() = Some(own);

    if is_remote {
        Tap::join(group).send(&Message::event(group, "x", vec![]).bytes());
    } else {
        a.emit_named("x", ()).expect("the bus runs");
    }
    eventually_async("the listener returned", || returned.get() >= 1).await;

    let emitted_another = what == "emit another";
    let emitted_the_same = what == "emit the same";
    if emitted_another {
        eventually_async("both heard of it", || local.get() == 1 && remote.get() == 1).await;
    }
    if emitted_the_same {
        eventually_async("it was called again", || returned.get() >= 4).await;
    }
    // Whatever it did, the bus can be stopped and started, and delivers.
    a.stop().await.expect("it stops");
    a.start().await.expect("it starts again");
    let again = count(&b, "again");
    a.emit_named("again", ()).expect("the bus runs");
    eventually_async("it delivers again", || again.get() == 1).await;
    assert_eq!(remote.get(), usize::from(emitted_another));
    assert_eq!(returned.get(), if emitted_the_same { 4 } else { 1 });
}

/// Emits `x` to `b`: from itself, or from another bus.
struct Trigger {
    a: Bus,
    b: Bus,
    is_remote: bool,
}

impl Trigger {
    fn both() -> [Self; 2] {
        [false, true].map(|is_remote| {
            let (a, b) = pair();
            Self { a, b, is_remote }
        })
    }

    fn emit(&self) {
        if self.is_remote {
            self.a.emit_named("x", ()).expect("the bus runs");
            fence_between(&self.a, &self.b);
        } else {
            self.b.emit_named("x", ()).expect("the bus runs");
        }
    }
}

fn the_list_changes() {
    for trigger in Trigger::both() {
        let b = &trigger.b;
        let seen = Seen::new();
        let victim = Arc::new(Mutex::new(None));
        {
            let (seen, victim) = (seen.clone(), Arc::clone(&victim));
            b.on_named("x", move |e: &Received<Args>| {
                seen.push("a");
                if let Some(id) = victim.lock().unwrap().take() {
                    assert!(e.bus().off(id));
                }
            });
        }
        {
            let seen = seen.clone();
            let id = b.on_named("x", move |_: &Received<Args>| seen.push("b"));
            *victim.lock().unwrap() = Some(id);
        }
        {
            let (seen, added) = (seen.clone(), Count::default());
            b.on_named("x", move |e: &Received<Args>| {
                seen.push("c");
                if added.get() == 0 {
                    added.add();
                    let seen = seen.clone();
                    e.bus()
                        .on_named("x", move |_: &Received<Args>| seen.push("late"));
                }
            });
        }
        trigger.emit();
        seen.wait_for(3);
        trigger.emit();
        seen.wait_for(6);
        assert_eq!(seen.all(), ["a", "b", "c", "a", "c", "late"]);
    }
}

fn two_once() {
    for trigger in Trigger::both() {
        let count = Count::default();
        for _ in 0..2 {
            let count = count.clone();
            trigger
                .b
                .once_named("x", move |_: &Received<Args>| count.add());
        }
        trigger.emit();
        count.wait_for(2);
        assert_eq!(trigger.b.listener_count_named("x"), 0);
        trigger.emit();
        assert_eq!(count.get(), 2);
    }
}

fn once_that_emits_itself() {
    for trigger in Trigger::both() {
        let count = Count::default();
        let counted = count.clone();
        trigger.b.once_named("x", move |e: &Received<Args>| {
            counted.add();
            e.bus().emit_named("x", ()).expect("the bus runs");
        });
        trigger.emit();
        count.wait_for(1);
        trigger.emit();
        assert_eq!(count.get(), 1);
    }
}

fn once_under_many_threads() {
    let bus = bus(Group::unused());
    let all = count(&bus, "x");
    let once = Count::default();
    let counted = once.clone();
    bus.once_named("x", move |_: &Received<Args>| counted.add());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    bus.emit_named("x", ())
                        .expect("there is room for so small ones");
                }
            });
        }
    });
    all.wait_for(8_000);
    assert_eq!((all.get(), once.get()), (8_000, 1));
}

/// All threads have taken the list with the once-listener before any of them comes to it.
fn once_under_threads_that_meet() {
    const THREADS: usize = 8;
    let bus = bus(Group::unused());
    let meet = Arc::new(Barrier::new(THREADS));
    bus.on_named("x", move |_: &Received<Args>| {
        meet.wait();
    });
    for _ in 0..50 {
        let once = Count::default();
        let counted = once.clone();
        bus.once_named("x", move |_: &Received<Args>| counted.add());
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    bus.emit_named("x", ())
                        .expect("there is room for so small ones")
                });
            }
        });
        assert_eq!(once.get(), 1);
    }
}

/// The text of every panic that was told.
fn panics(bus: &Bus) -> Seen<(String, String)> {
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_notice(move |notice: &Notice| {
        if let Notice::ListenerPanicked { key, message, .. } = notice {
            list.push((key.clone(), message.clone()));
        }
    });
    seen
}

/// `x` with 1, `x` with 2, `z` with 3.
fn three_events(a: &Bus) {
    for (name, value) in [("x", 1), ("x", 2), ("z", 3)] {
        a.emit_named(name, value).expect("the bus runs");
    }
}

fn value(e: &Args) -> i32 {
    e.decode().expect("one small number")
}

fn a_panic_costs_one_call() {
    let (a, b) = pair();
    let told = panics(&b);
    let [p1, p2, p3, z] = std::array::from_fn(|_| Seen::new());
    let listen = |name: &str, seen: &Seen<i32>, panics: bool| {
        let seen = seen.clone();
        b.on_named(name, move |e: &Received<Args>| {
            assert!(!panics || value(e) != 1, "one, on purpose");
            seen.push(value(e));
        });
    };
    listen("x", &p1, false);
    listen("x", &p2, true);
    listen("x", &p3, false);
    listen("z", &z, false);
    three_events(&a);
    assert_eq!(z.wait_for(1), [3]);
    assert_eq!(p1.wait_for(2), [1, 2]);
    assert_eq!(p2.wait_for(1), [2]);
    assert_eq!(p3.wait_for(2), [1, 2]);
    let told = told.wait_for(1);
    assert_eq!(told, [("x".to_owned(), "one, on purpose".to_owned())]);
    assert_eq!(b.stats().listener_panics, 1);
    // A local emit does not see the panic either.
    assert_eq!(b.emit_named("x", 1).expect("the bus runs").listeners, 3);

    eventcast_tests::wait::block_on(b.stop()).expect("it can still stop");
    eventcast_tests::wait::block_on(b.start()).expect("and start");
    a.emit_named("z", 4).expect("the bus runs");
    assert_eq!(z.wait_for(2), [3, 4]);
}

fn an_async_panic_costs_one_call() {
    for runtime in Runtime::ALL {
        runtime.run(soon(async {
            let group = Group::unused();
            let a = common::builder(group).start().await.expect("a bus starts");
            let b = common::builder(group).start().await.expect("a bus starts");
            let told = panics(&b);
            let seen = Seen::new();
            let list = seen.clone();
            b.on_async_named("x", move |e: Received<Args>| {
                let list = list.clone();
                async move {
                    tokio::task::yield_now().await;
                    assert!(value(&e) != 1, "one, on purpose");
                    list.push(value(&e));
                }
            });
            let z = count(&b, "z");
            three_events(&a);
            eventually_async("the others came", || seen.len() == 1 && z.get() == 1).await;
            assert_eq!(seen.all(), [2]);
            eventually_async("it was told", || told.len() == 1).await;
            assert_eq!(told.all(), [("x".to_owned(), "one, on purpose".to_owned())]);
            b.stop().await.expect("it can still stop");
            b.start().await.expect("and start");
            a.emit_named("x", 5).expect("the bus runs");
            eventually_async("it goes on", || seen.len() == 2).await;
        }));
    }
}

fn a_panic_that_poisons() {
    let (a, b) = pair();
    let shared = Arc::new(Mutex::new(Vec::new()));
    let p2 = Arc::clone(&shared);
    b.on_named("x", move |e: &Received<Args>| {
        let _held = p2.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(value(e) != 1, "one, on purpose");
    });
    let p3 = Arc::clone(&shared);
    b.on_named("x", move |e: &Received<Args>| {
        let mut held = p3.lock().unwrap_or_else(PoisonError::into_inner);
        held.push(value(e));
    });
    let z = count(&b, "z");
    three_events(&a);
    z.wait_for(1);
    let held = shared.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(*held, [1, 2]);
}

fn order_and_prepend() {
    for trigger in Trigger::both() {
        let seen = Seen::new();
        let push = |what: &'static str| {
            let seen = seen.clone();
            move |_: &Received<Args>| seen.push(what)
        };
        let b = &trigger.b;
        b.on_named("x", push("first"));
        b.prepend_named("x", push("before"));
        b.once_named("x", push("once"));
        b.on_named("x", push("second"));
        b.prepend_once_named("x", push("once before"));
        trigger.emit();
        seen.wait_for(5);
        assert_eq!(
            seen.take(),
            ["once before", "before", "first", "once", "second"]
        );
        trigger.emit();
        seen.wait_for(3);
        assert_eq!(seen.take(), ["before", "first", "second"]);
    }
}

fn once_and_decoding() {
    #[derive(
        eventcast::NetEvent, serde::Serialize, serde::Deserialize, Debug, Clone, PartialEq,
    )]
    #[net_event(name = "size")]
    struct Size(u8);
    let (a, b) = pair();
    let seen = Seen::new();
    let list = seen.clone();
    b.once::<Size>(move |e: &Received<Size>| list.push((**e).clone()));
    let passed = count(&b, "size");
    a.emit_named("size", "not a number").expect("the bus runs");
    a.emit_named("size", 300).expect("the bus runs");
    passed.wait_for(2);
    assert!(seen.is_empty());
    assert_eq!(b.stats().decode_failures, 2);
    a.emit_named("size", 7).expect("the bus runs");
    assert_eq!(seen.wait_for(1), [Size(7)]);
    a.emit_named("size", 8).expect("the bus runs");
    passed.wait_for(4);
    assert_eq!(seen.len(), 1);
}

fn off_and_counts() {
    #[derive(eventcast::NetEvent, serde::Serialize, serde::Deserialize)]
    struct Typed;
    let bus = common::builder(Group::unused())
        .build()
        .expect("good options");
    let calls = Count::default();
    let listener = |calls: &Count| {
        let calls = calls.clone();
        move |_: &Received<Args>| calls.add()
    };
    let first = bus.on_named("x", listener(&calls));
    let second = bus.on_named("x", listener(&calls));
    bus.on_named("y", listener(&calls));
    bus.on::<Typed>(|_: &Received<Typed>| {});
    bus.on_named("Typed", listener(&calls));
    assert_eq!(bus.listener_count_named("x"), 2);
    assert_eq!(bus.listener_count_named("nobody"), 0);
    assert_eq!(bus.listener_count::<Typed>(), 2);
    assert_eq!(bus.event_keys(), ["Typed", "x", "y"]);

    assert!(bus.off(first));
    assert!(!bus.off(first), "it is off already");
    assert_eq!(bus.listener_count_named("x"), 1);
    assert!(bus.off(second));
    assert_eq!(bus.event_keys(), ["Typed", "y"]);
    assert_eq!(bus.off_all_named("x"), 0);
    assert_eq!(bus.off_all::<Typed>(), 2);
    bus.on_named("y", listener(&calls));
    assert_eq!(bus.off_all_named("y"), 2);
    bus.on_named("x", listener(&calls));
    bus.on_named("y", listener(&calls));
    assert_eq!(bus.off_everything(), 2);
    assert!(bus.event_keys().is_empty());
    // Not running: local listeners would be called all the same.
    assert!(bus.emit_named("x", ()).is_err());
    assert_eq!(calls.get(), 0);
}

fn max_listeners() {
    let bus = common::builder(Group::unused())
        .build()
        .expect("good options");
    assert_eq!(bus.max_listeners(), 10);
    bus.set_max_listeners(0);
    assert_eq!(bus.max_listeners(), 0);
    for _ in 0..50 {
        bus.on_named("x", |_: &Received<Args>| {});
    }
    // It warns, and refuses nothing.
    bus.set_max_listeners(3);
    bus.on_named("x", |_: &Received<Args>| {});
    assert_eq!(bus.listener_count_named("x"), 51);
}

fn async_in_order() {
    for runtime in Runtime::ALL {
        runtime.run(soon(async {
            let group = Group::unused();
            let a = common::builder(group).start().await.expect("a bus starts");
            let b = common::builder(group).start().await.expect("a bus starts");
            let seen = Seen::new();
            let running = Arc::new(AtomicUsize::new(0));
            let list = seen.clone();
            b.on_async_named("x", move |e: Received<Args>| {
                let (list, running) = (list.clone(), Arc::clone(&running));
                async move {
                    let others = running.fetch_add(1, Ordering::SeqCst);
                    for _ in 0..value(&e) % 4 {
                        tokio::task::yield_now().await;
                    }
                    running.fetch_sub(1, Ordering::SeqCst);
                    list.push((value(&e), others));
                }
            });
            for index in 0..50 {
                a.emit_named("x", index).expect("the bus runs");
            }
            eventually_async("all came", || seen.len() == 50).await;
            let expected: Vec<_> = (0..50).map(|index| (index, 0)).collect();
            assert_eq!(seen.all(), expected);
        }));
    }
}

fn async_before_a_runtime() {
    let bus = common::builder(Group::unused())
        .build()
        .expect("good options");
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_async_named("x", move |e: Received<Args>| {
        let list = list.clone();
        async move { list.push(value(&e)) }
    });
    // Local delivery comes before NotStarted; it waits for the runtime that `start` brings.
    assert!(bus.emit_named("x", 1).is_err());
    Runtime::CurrentThread.run(soon(async {
        bus.start().await.expect("it starts");
        bus.emit_named("x", 2).expect("the bus runs");
        eventually_async("both came", || seen.len() == 2).await;
        assert_eq!(seen.all(), [1, 2]);
    }));
}
