//! What belongs to the user panics when it is called, and when it is dropped; it is dropped soon;
//! and whatever it does then, the bus goes on.

use std::{
    panic::panic_any,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use eventcast::{Args, Bus, NetEvent, Notice, Received};
use eventcast_tests::{
    group::Group,
    runner::Case,
    wait::{PATIENCE, Seen, block_on, eventually},
};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    common::{self, Count, bus, count, fence_between, pair},
    ways::{Stage, Way},
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "dropped::off_drops_the_closure_soon",
            off_drops_the_closure_soon,
        ),
        Case::new(
            "dropped::every_way_off_drops_the_closure_soon",
            every_way_off,
        ),
        Case::new("dropped::a_once_is_dropped_after_its_call", a_once),
        Case::new(
            "dropped::a_refused_listener_is_dropped_before_the_panic",
            what_is_refused,
        )
        .in_own_process(),
        Case::new(
            "dropped::a_panic_of_serialize_is_the_callers",
            a_panic_of_serialize,
        ),
        Case::new(
            "dropped::the_others_of_a_slow_listener_are_dropped_soon",
            the_others_of_a_slow_listener,
        ),
        Case::new(
            "dropped::a_payload_that_panics_when_it_is_dropped",
            a_payload_that_panics,
        ),
        Case::new(
            "dropped::a_captured_value_that_panics_when_it_is_dropped",
            a_captured_value_that_panics,
        ),
        Case::new(
            "dropped::an_event_that_panics_when_it_is_dropped",
            an_event_that_panics,
        ),
        Case::new(
            "dropped::a_future_that_panics_when_it_is_dropped",
            a_future_that_panics,
        ),
        Case::new(
            "dropped::an_event_that_panics_when_it_is_decoded",
            an_event_that_panics_when_it_is_decoded,
        ),
        Case::new(
            "dropped::a_drop_that_blocks_delays_no_other_listener",
            a_drop_that_blocks,
        ),
        Case::new("dropped::a_drop_may_call_the_bus", a_drop_may_call_the_bus),
        Case::new(
            "dropped::a_waker_may_call_the_bus",
            a_waker_may_call_the_bus,
        ),
        Case::new("dropped::a_waker_that_panics", a_waker_that_panics),
        Case::new(
            "dropped::a_runtime_left_entered_costs_one_call",
            a_runtime_left_entered,
        ),
        Case::new(
            "dropped::one_thread_serves_a_queue_after_a_quick_stop_and_start",
            one_thread_serves_a_queue,
        ),
    ]
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        // Not while another panic is under way: that ends the process, whoever does it.
        if !thread::panicking() {
            panic!("dropped, on purpose");
        }
    }
}

#[track_caller]
fn disconnected(receiver: &mpsc::Receiver<()>) {
    assert_eq!(
        receiver.recv_timeout(PATIENCE),
        Err(mpsc::RecvTimeoutError::Disconnected),
        "what the listener held was not dropped"
    );
}

fn off_drops_the_closure_soon() {
    for way in Way::ALL {
        let stage = Stage::new(way);
        let (sender, receiver) = mpsc::channel::<()>();
        let calls = Count::default();
        let counted = calls.clone();
        let id = stage.listen(move |_| {
            let _ = &sender;
            counted.add();
        });
        stage.emit(1);
        calls.wait_for(1);
        assert!(stage.b.off(id));
        disconnected(&receiver);
    }
}

/// Takes everything off, in some way, and gives the handle back if it is still there.
type Off = fn(Bus) -> Option<Bus>;

fn every_way_off() {
    let ways: [(&str, Off); 3] = [
        ("off_all_named", |bus| {
            assert_eq!(bus.off_all_named("x"), 1);
            Some(bus)
        }),
        ("off_everything", |bus| {
            assert_eq!(bus.off_everything(), 1);
            Some(bus)
        }),
        ("the last handle", |_| None),
    ];
    for (what, off) in ways {
        for is_async in [false, true] {
            println!("{what}, async {is_async}");
            let group = Group::unused();
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .build()
                .expect("a runtime without drivers");
            let a = bus(group);
            let b = common::started(common::builder(group).runtime(runtime.handle().clone()));
            let (sender, receiver) = mpsc::channel::<()>();
            let calls = Count::default();
            let counted = calls.clone();
            let call = move || {
                let _ = &sender;
                counted.add();
            };
            if is_async {
                let call = Arc::new(call);
                b.on_async_named("x", move |_: Received<Args>| {
                    let call = Arc::clone(&call);
                    async move { call() }
                });
            } else {
                b.on_named("x", move |_: &Received<Args>| call());
            }
            a.emit_named("x", ()).expect("the bus runs");
            calls.wait_for(1);
            let _still_there = off(b);
            disconnected(&receiver);
        }
    }
}

fn a_once() {
    for is_local in [false, true] {
        let (a, b) = pair();
        let (sender, receiver) = mpsc::channel::<()>();
        let typed = sender.clone();
        b.once::<Mine>(move |_: &Received<Mine>| {
            let _ = &typed;
        });
        b.prepend_once_named("mine", move |_: &Received<Args>| {
            let _ = &sender;
        });
        let from = if is_local { &b } else { &a };
        from.emit(Mine(Number(7))).expect("the bus runs");
        disconnected(&receiver);
    }
}

/// Panics when it is written, and when it is dropped.
#[derive(NetEvent, Deserialize)]
#[net_event(name = "unwritable")]
struct Unwritable {
    bomb: Armed,
}

#[derive(Deserialize)]
struct Armed;

impl eventcast::TypeName for Armed {
    const NAME: &'static str = "Armed";
}

impl Drop for Armed {
    fn drop(&mut self) {
        panic!("dropped, on purpose");
    }
}

impl Serialize for Armed {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("written, on purpose");
    }
}

impl Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bomb.serialize(serializer)
    }
}

fn a_panic_of_serialize() {
    let (a, b) = pair();
    for _ in 0..2 {
        let emitted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = a.emit(Unwritable { bomb: Armed });
        }));
        let payload = emitted.expect_err("it goes on");
        assert_eq!(payload.downcast_ref(), Some(&"written, on purpose"));
    }
    fence_between(&a, &b);
}

/// A closure that panics when it is dropped, whoever does it and whatever is under way.
fn unwelcome() -> impl Fn(&Received<Args>) + Send + Sync + 'static {
    let bomb = Armed;
    move |_| {
        let _ = &bomb;
    }
}

/// In a process of its own, which would end.
fn what_is_refused() {
    let a = common::builder(Group::unused())
        .build()
        .expect("good options");
    a.try_on_named("__ec_x", unwelcome())
        .expect_err("a reserved name");
    let refused: [(&str, &dyn Fn()); 3] = [
        ("are the protocol's own", &|| {
            a.prepend_named("__ec_x", unwelcome());
        }),
        ("an event key must have", &|| {
            let call = Arc::new(unwelcome());
            a.on_async_named("", move |e: Received<Args>| {
                let call = Arc::clone(&call);
                async move { call(&e) }
            });
        }),
        ("a pattern must have", &|| {
            a.on_pattern("", unwelcome());
        }),
    ];
    for (what, register) in refused {
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(register));
        let payload = panicked.expect_err("it is refused");
        let text = payload.downcast_ref::<String>().expect("a text");
        assert!(text.contains(what), "{text}");
    }
    assert!(a.event_keys().is_empty());
}

/// While a slow listener goes on with its queue, nothing is kept of those that stood beside it.
fn the_others_of_a_slow_listener() {
    let (a, b) = pair();
    let (sender, receiver) = mpsc::channel::<()>();
    let other = Count::default();
    let counted = other.clone();
    let id = b.on_named("x", move |_: &Received<Args>| {
        let _ = &sender;
        counted.add();
    });
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let slow = Count::default();
    let counted = slow.clone();
    b.on_named("x", move |_: &Received<Args>| {
        let _ = released.lock().expect("one call at a time").recv();
        counted.add();
    });
    for _ in 0..3 {
        a.emit_named("x", ()).expect("the bus runs");
    }
    other.wait_for(3);
    // Its first call has ended, and it is in its second.
    release.send(()).expect("it waits");
    slow.wait_for(1);
    assert!(b.off(id));
    disconnected(&receiver);
    assert_eq!(slow.get(), 1);
    drop(release);
    slow.wait_for(3);
}

fn a_payload_that_panics() {
    for way in Way::ALL {
        let stage = Stage::new(way);
        let seen = Seen::new();
        let list = seen.clone();
        stage.listen(move |number| {
            if number == 1 {
                panic_any(Bomb);
            }
            list.push(number);
        });
        for number in 1..=10 {
            stage.emit(number);
        }
        assert_eq!(seen.wait_for(9), (2..=10).collect::<Vec<_>>());
    }
}

fn a_captured_value_that_panics() {
    for way in Way::ALL {
        let stage = Stage::new(way);
        let (bomb, calls) = (Bomb, Count::default());
        let counted = calls.clone();
        let id = stage.listen(move |_| {
            let _ = &bomb;
            counted.add();
        });
        stage.emit(1);
        calls.wait_for(1);
        assert!(stage.b.off(id));
        let seen = Seen::new();
        let list = seen.clone();
        stage.listen(move |number| list.push(number));
        for number in 1..=3 {
            stage.emit(number);
        }
        assert_eq!(seen.wait_for(3), [1, 2, 3]);
        // There is nobody to tell of a listener of notices but the log.
        if way != Way::Notice {
            eventually("it was told", || !stage.panics().is_empty());
            let panics = stage.panics();
            assert_eq!(panics, ["when it was dropped: dropped, on purpose"]);
        }
    }
}

/// Its value panics when it is dropped.
#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "fragile")]
struct Fragile {
    number: u32,
}

impl Drop for Fragile {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("an event was dropped, on purpose");
        }
    }
}

fn an_event_that_panics() {
    let (a, b) = pair();
    let told = Seen::new();
    let list = told.clone();
    b.on_notice(move |notice: &Notice| {
        if let Notice::ListenerPanicked { message, .. } = notice {
            list.push(message.clone());
        }
    });
    for is_moved in [false, true] {
        let seen = Seen::new();
        let list = seen.clone();
        let id = b.on::<Fragile>(move |e: &Received<Fragile>| {
            if is_moved && e.number == 0 {
                thread::sleep(Duration::from_millis(50));
            }
            list.push(e.number);
            assert!(e.number != 2, "called, on purpose");
        });
        for number in 0..5 {
            let emitted = a.emit(Fragile { number }).expect("the bus runs");
            assert_eq!(emitted.listeners, 0);
        }
        assert_eq!(seen.wait_for(5), [0, 1, 2, 3, 4]);
        assert!(b.off(id));
    }
    // `emit` drops it as well, after the local listeners.
    let seen = Seen::new();
    let list = seen.clone();
    a.on::<Fragile>(move |e: &Received<Fragile>| {
        list.push(e.number);
        assert!(e.number != 2, "called, on purpose");
    });
    a.once::<Fragile>(|_: &Received<Fragile>| {});
    a.on_named("fragile", |_: &Received<Args>| {});
    for number in 0..5 {
        let listeners = if number == 0 { 3 } else { 2 };
        let emitted = a.emit(Fragile { number }).expect("the bus runs");
        assert_eq!(emitted.listeners, listeners);
        block_on(a.emit_wait(Fragile { number })).expect("the bus runs");
    }
    assert_eq!(seen.len(), 10);
    assert!(told.wait_for(1)[0].contains("on purpose"));
    // What cannot be emitted comes back, and is whole.
    block_on(a.stop()).expect("it stops");
    let error = a.emit(Fragile { number: 7 }).expect_err("it is stopped");
    let back = error.into_event();
    assert_eq!(back.number, 7);
    std::mem::forget(back);
    fence_between(&b, &b);
}

fn a_future_that_panics() {
    let stage = Stage::new(Way::Async);
    let seen = Seen::new();
    let list = seen.clone();
    stage.b.on_async_named("x", move |e: Received<Args>| {
        let (bomb, list) = (Bomb, list.clone());
        async move {
            list.push(e.decode::<i32>().expect("one small number"));
            tokio::task::yield_now().await;
            drop(bomb);
        }
    });
    // Its future panics when it is dropped after it is ready.
    let ready = seen.clone();
    stage.b.on_async_named("x", move |e: Received<Args>| {
        ready.push(10 * e.decode::<i32>().expect("one small number"));
        let bomb = Bomb;
        let mut is_over = false;
        std::future::poll_fn(move |cx| {
            let _ = &bomb;
            if is_over {
                return Poll::Ready(());
            }
            is_over = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    });
    for number in 1..=3 {
        stage.emit(number);
    }
    let mut all = seen.wait_for(6);
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3, 10, 20, 30]);
    eventually("it was told", || !stage.panics().is_empty());
    // One that waits for ever is dropped with its runtime.
    stage.b.on_async_named("x", |_: Received<Args>| {
        let bomb = Bomb;
        async move {
            std::future::pending::<()>().await;
            drop(bomb);
        }
    });
    stage.emit(4);
    seen.wait_for(8);
    let Stage { a, b, runtime, .. } = stage;
    runtime.shutdown_background();
    fence_between(&a, &b);
}

/// Its decoding panics for 1.
#[derive(NetEvent, Serialize)]
#[net_event(name = "mine")]
struct Mine(Number);

#[derive(Serialize)]
struct Number(i32);

impl eventcast::TypeName for Number {
    const NAME: &'static str = "Number";
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i32::deserialize(deserializer)?;
        assert!(number != 1, "decoded, on purpose");
        Ok(Self(number))
    }
}

impl<'de> Deserialize<'de> for Mine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Number::deserialize(deserializer).map(Self)
    }
}

fn an_event_that_panics_when_it_is_decoded() {
    let group = Group::unused();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .expect("a runtime without drivers");
    let a = bus(group);
    let b = common::started(common::builder(group).runtime(runtime.handle().clone()));
    let [inline, asynchronous] = std::array::from_fn(|_| Seen::new());
    let list = inline.clone();
    b.on::<Mine>(move |e: &Received<Mine>| list.push(e.0.0));
    let list = asynchronous.clone();
    b.on_async::<Mine>(move |e: Received<Mine>| {
        let list = list.clone();
        async move { list.push(e.0.0) }
    });
    let mut stream = b.subscribe::<Mine>();
    let first = b.wait_for::<Mine>();
    for number in 1..=3 {
        a.emit(Mine(Number(number))).expect("the bus runs");
    }
    assert_eq!(inline.wait_for(2), [2, 3]);
    assert_eq!(asynchronous.wait_for(2), [2, 3]);
    let first = block_on(first).expect("the bus is there");
    assert_eq!(first.0.0, 2);
    let streamed = block_on(async { [stream.next().await, stream.next().await] });
    assert_eq!(streamed.map(|e| e.expect("it is open").0.0), [2, 3]);
    assert_eq!(b.stats().listener_panics, 4);
}

/// Blocks when it is dropped, until it is let go.
struct Blocks(mpsc::Receiver<()>);

impl Drop for Blocks {
    fn drop(&mut self) {
        // Until the channel is closed.
        let _ = self.0.recv();
    }
}

/// An earlier listener takes a later one off: what that one held is dropped where the event was
/// delivered.
fn a_drop_that_blocks() {
    for is_queued in [false, true] {
        let (a, b) = pair();
        let (release, released) = mpsc::channel();
        let victim = Arc::new(Mutex::new(None));
        let off = Arc::clone(&victim);
        b.on_named("x", move |e: &Received<Args>| {
            if let Some(id) = off.lock().expect("one call at a time").take() {
                assert!(e.bus().off(id));
            }
        });
        let held = Mutex::new(Blocks(released));
        let called = Count::default();
        let counted = called.clone();
        let id = if is_queued {
            b.on_named("x", move |_: &Received<Args>| {
                let _ = &held;
                counted.add();
            })
        } else {
            b.once_named("x", move |_: &Received<Args>| {
                let _ = &held;
                counted.add();
            })
        };
        *victim.lock().expect("nobody panics") = is_queued.then_some(id);
        let others = count(&b, "y");
        for _ in 0..3 {
            a.emit_named("x", ()).expect("the bus runs");
            a.emit_named("y", ()).expect("the bus runs");
        }
        others.wait_for(3);
        called.wait_for(1);
        // A second one is read and delivered as well while the first is still being dropped.
        fence_between(&a, &b);
        block_on(b.stop()).expect("it stops");
        drop(release);
    }
}

/// Does something with the bus when it is dropped.
struct Then(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Then {
    fn new(act: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(act)))
    }
}

impl Drop for Then {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}

fn a_drop_may_call_the_bus() {
    /// What a listener holds, by which the bus is called when it is dropped.
    type Hold = fn(&Bus) -> Then;
    let holds: [(&str, Hold); 5] = [
        ("off", |bus| {
            let other = bus.on_notice(|_: &Notice| {});
            let weak = bus.downgrade();
            Then::new(move || {
                if let Some(bus) = weak.upgrade() {
                    bus.off(other);
                }
            })
        }),
        ("a stream of notices", |bus| {
            let stream = bus.notices();
            Then::new(move || drop(stream))
        }),
        ("a stream of events", |bus| {
            let stream = bus.subscribe_named("y");
            Then::new(move || drop(stream))
        }),
        ("a handle", |bus| {
            let handle = bus.clone();
            Then::new(move || drop(handle))
        }),
        ("stop and start", |bus| {
            let weak = bus.downgrade();
            Then::new(move || {
                if let Some(bus) = weak.upgrade() {
                    let _ = bus.emit_named("y", ());
                    bus.stop();
                    bus.start();
                    bus.off_everything();
                }
            })
        }),
    ];
    for (what, hold) in holds {
        for way in Way::ALL {
            for by_handle in [false, true] {
                println!("{what}, by the last handle {by_handle}");
                let stage = Stage::new(way);
                let (sender, receiver) = mpsc::channel::<()>();
                let held = hold(&stage.b);
                let calls = Count::default();
                let counted = calls.clone();
                let id = stage.listen(move |_| {
                    let _ = (&held, &sender);
                    counted.add();
                });
                stage.emit(1);
                calls.wait_for(1);
                let Stage { b, runtime, .. } = stage;
                if by_handle {
                    // One that captures a handle is a circle, which `off` alone breaks.
                    if what == "a handle" {
                        let weak = b.downgrade();
                        drop(b);
                        weak.upgrade().expect("the circle holds it").off(id);
                    } else {
                        drop(b);
                    }
                } else {
                    assert!(b.off(id));
                }
                disconnected(&receiver);
                runtime.shutdown_background();
            }
        }
    }
}

/// Looks at the bus and emits whenever it is woken, cloned or dropped, as an executor of somebody's
/// own might.
struct Meddler {
    bus: Bus,
    woken: AtomicUsize,
}

impl Meddler {
    fn meddle(&self) {
        self.bus.stats();
        let _ = self.bus.emit_named("meddled", ());
        self.bus.off_all_named("nothing");
        drop(self.bus.notices());
    }
}

impl Wake for Meddler {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::SeqCst);
        self.meddle();
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.meddle();
    }
}

fn a_waker_may_call_the_bus() {
    let (a, b) = pair();
    let meddler = Arc::new(Meddler {
        bus: b.clone(),
        woken: AtomicUsize::new(0),
    });
    let mut events = b.subscribe_named("x");
    let mut notices = b.notices();
    let mut first = pin!(b.wait_for_named("x"));
    {
        let waker = Waker::from(Arc::clone(&meddler));
        let mut cx = Context::from_waker(&waker);
        assert!(pin!(events.next()).poll(&mut cx).is_pending());
        assert!(first.as_mut().poll(&mut cx).is_pending());
        while pin!(notices.next()).poll(&mut cx).is_ready() {}
        // Another waker takes the place of the first, which is dropped.
        let waker = Waker::from(Arc::new(Meddler {
            bus: b.clone(),
            woken: AtomicUsize::new(0),
        }));
        let mut cx = Context::from_waker(&waker);
        for _ in 0..2 {
            assert!(pin!(events.next()).poll(&mut cx).is_pending());
        }
        let mut stopping = b.stop();
        let _ = pin!(&mut stopping).poll(&mut cx);
        block_on(stopping).expect("it stops");
        block_on(b.start()).expect("it starts");
        assert!(
            pin!(events.next())
                .poll(&mut Context::from_waker(&Waker::from(Arc::clone(&meddler))))
                .is_pending()
        );
    }
    a.emit_named("x", ()).expect("the bus runs");
    eventually("all were woken", || {
        // The two of events, and that of notices, at `stop`.
        meddler.woken.load(Ordering::SeqCst) >= 3
    });
    assert!(block_on(events.next()).is_some());
    block_on(first).expect("it came");
}

struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        panic!("woken, on purpose");
    }
}

impl Drop for PanickingWaker {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("a waker was dropped, on purpose");
        }
    }
}

fn a_waker_that_panics() {
    let (a, b) = pair();
    let waker = Waker::from(Arc::new(PanickingWaker));
    let mut cx = Context::from_waker(&waker);
    for _ in 0..3 {
        let mut events = b.subscribe_named("x");
        let mut notices = b.notices();
        assert!(pin!(events.next()).poll(&mut cx).is_pending());
        while pin!(notices.next()).poll(&mut cx).is_ready() {}
        a.emit_named("x", ()).expect("the bus runs");
        fence_between(&a, &b);
        assert!(b.emit_named("x", ()).is_ok());
        assert!(events.try_next().is_ok());
        let mut stopping = pin!(b.stop());
        let _ = stopping.as_mut().poll(&mut cx);
        block_on(b.stop()).expect("it stops");
        block_on(b.start()).expect("it starts");
    }
    std::mem::forget(waker);
}

/// In an async listener it ends a thread of tokio's own, which is none of the bus.
fn a_runtime_left_entered() {
    for way in [Way::Remote, Way::Moved, Way::Local, Way::Notice] {
        let stage = Stage::new(way);
        let seen = Seen::new();
        let (list, handle) = (seen.clone(), stage.runtime.handle().clone());
        stage.listen(move |number| {
            list.push(number);
            if number == 1 {
                std::mem::forget(Box::leak(Box::new(handle.clone())).enter());
            }
        });
        for number in 1..=5 {
            stage.emit(number);
        }
        assert_eq!(seen.wait_for(5), [1, 2, 3, 4, 5]);
    }
}

fn one_thread_serves_a_queue() {
    let group = Group::unused();
    let a = bus(group);
    // So long that the first call is not found to be slow before the stop.
    let b = common::started(common::builder(group).listener_budget(Duration::from_secs(1)));
    let slow = Count::default();
    let told = slow.clone();
    b.on_notice(move |notice: &Notice| {
        if matches!(notice, Notice::ListenerSlow { .. }) {
            told.add();
        }
    });
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let active = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Seen::new();
    let (blocked, returned) = (Count::default(), Count::default());
    {
        let returned = returned.clone();
        let (active, most, seen, blocked) = (
            Arc::clone(&active),
            Arc::clone(&most),
            seen.clone(),
            blocked.clone(),
        );
        b.on_named("x", move |e: &Received<Args>| {
            let number: i32 = e.decode().expect("one small number");
            if number < 0 {
                blocked.add();
                // Until the channel is closed.
                let _ = released.lock().map(|released| released.recv());
                returned.add();
                return;
            }
            let now = active.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(1));
            active.fetch_sub(1, Ordering::SeqCst);
            seen.push(number);
        });
    }
    // The first call is under way when the bus is stopped, the second is found to be slow after the
    // start.
    a.emit_named("x", -1).expect("the bus runs");
    blocked.wait_for(1);
    block_on(b.stop()).expect("it stops");
    block_on(b.start()).expect("it starts");
    a.emit_named("x", -2).expect("the bus runs");
    blocked.wait_for(2);
    slow.wait_for(1);
    drop(release);
    returned.wait_for(2);
    for number in 0..200 {
        a.emit_named("x", number).expect("the bus runs");
    }
    assert_eq!(seen.wait_for(200), (0..200).collect::<Vec<_>>());
    assert_eq!(most.load(Ordering::SeqCst), 1, "called by two at once");
}
