//! Starting, stopping, dropping.

use std::{
    fs,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::TryRecvError,
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use eventcast::{Args, Bus, Notice, Received};
use eventcast_tests::{
    craft,
    group::Group,
    process::{switches_of, thread_names},
    runner::Case,
    tap::Tap,
    wait::{PATIENCE, Seen, block_on, eventually, soon},
};

use crate::common::{self, Count, Runtime, builder, bus, count, pair};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("life::idempotent", idempotent),
        Case::new("life::futures_may_be_dropped", futures_may_be_dropped),
        Case::new("life::many_rounds", many_rounds),
        Case::new(
            "life::queued_events_are_sent_before_stop_ends",
            queued_events_are_sent_before_stop_ends,
        ),
        Case::new("life::stats_while_it_stops", stats_while_it_stops),
        Case::new("life::a_listener_may_await_stop", a_listener_may_await_stop),
        Case::new(
            "life::stop_waits_for_no_listener",
            stop_waits_for_no_listener,
        ),
        Case::new(
            "life::dropping_the_last_handle_leaves_no_thread",
            dropping_the_last_handle_leaves_no_thread,
        )
        .in_own_process(),
        Case::new("life::weak_handles", weak_handles),
        Case::new("life::options", options),
        Case::new(
            "life::a_reply_during_start_is_sent",
            a_reply_during_start_is_sent,
        ),
        Case::new(
            "life::started_comes_before_peers",
            started_comes_before_peers,
        ),
        Case::new(
            "life::started_comes_before_stopped",
            started_comes_before_stopped,
        ),
        Case::new(
            "life::stopped_is_reported_before_stop_ends",
            stopped_is_reported_before_stop_ends,
        ),
        Case::new(
            "life::stopped_is_reported_after_the_last_handle",
            stopped_is_reported_after_the_last_handle,
        ),
        Case::new(
            "life::a_notice_listener_may_await_stop",
            a_notice_listener_may_await_stop,
        ),
        Case::new(
            "life::single_events_wake_few_threads",
            single_events_wake_few_threads,
        )
        .in_own_process(),
        Case::new(
            "life::threads_outside_of_any_runtime",
            outside_of_any_runtime,
        ),
    ]
}

fn idempotent() {
    let group = Group::unused();
    let bus = builder(group).build().expect("good options");
    assert!(!bus.is_running());
    let shown = format!("{bus:?}");
    assert!(
        shown.contains(&format!("group: {}", group.address)),
        "{shown}"
    );
    block_on(async {
        for _ in 0..3 {
            bus.stop().await.expect("stopped already");
        }
        for _ in 0..3 {
            bus.start().await.expect("it starts, once");
            assert!(bus.is_running());
        }
        for _ in 0..3 {
            bus.stop().await.expect("it stops, once");
            assert!(!bus.is_running());
        }
    });
}

fn futures_may_be_dropped() {
    let group = Group::unused();
    let (a, b) = (builder(group).build().expect("good options"), bus(group));
    let seen = count(&b, "x");
    a.start();
    eventually("it runs", || a.is_running());
    a.emit_named("x", ()).expect("it runs");
    seen.wait_for(1);
    // In any order, and the last call wins.
    for _ in 0..20 {
        a.stop();
        a.start();
    }
    block_on(a.start()).expect("it runs");
    a.emit_named("x", ()).expect("it runs");
    seen.wait_for(2);
    for _ in 0..20 {
        a.start();
        a.stop();
    }
    block_on(a.stop()).expect("it is stopped");
    assert!(!a.is_running());
    assert!(a.emit_named("x", ()).is_err());
}

fn many_rounds() {
    let (a, b) = pair();
    let seen = count(&b, "x");
    let started = Seen::new();
    let list = started.clone();
    a.on_notice(move |notice: &Notice| match notice {
        Notice::Started { .. } => list.push("started"),
        Notice::Stopped => list.push("stopped"),
        _ => {}
    });
    let origins = Seen::new();
    let list = origins.clone();
    b.on_named("x", move |e: &Received<Args>| {
        list.push(e.origin().incarnation().expect("one of ours"));
    });
    for round in 1..=30 {
        a.emit_named("x", ()).expect("it runs");
        seen.wait_for(round);
        block_on(a.stop()).expect("it stops");
        block_on(a.start()).expect("it starts");
    }
    let origins = origins.wait_for(30);
    assert!(
        origins.windows(2).all(|pair| pair[0] < pair[1]),
        "every start is an incarnation of its own: {origins:?}"
    );
    let started = started.wait_for(60);
    assert!(
        started.chunks(2).all(|pair| pair == ["stopped", "started"]),
        "{started:?}"
    );
}

fn queued_events_are_sent_before_stop_ends() {
    let group = Group::unused();
    let tap = Tap::join(group);
    for round in 0..20 {
        let a = bus(group);
        let name = format!("last {round}");
        for _ in 0..10 {
            a.emit_named(&name, ()).expect("it runs");
        }
        if round % 2 == 0 {
            block_on(a.stop()).expect("it stops");
        }
        drop(a);
        let mut left = 10;
        tap.record_until(|one| {
            left -= i32::from(craft::name_of(&one.bytes) == name);
            left == 0
        });
    }
}

fn stats_while_it_stops() {
    let a = bus(Group::unused());
    let (end, ended) = std::sync::mpsc::channel();
    let watched = a.clone();
    let watcher = std::thread::spawn(move || {
        while ended.try_recv().is_err() {
            watched.stats();
        }
    });
    for _ in 0..100 {
        block_on(a.stop()).expect("it stops");
        block_on(a.start()).expect("it starts");
    }
    end.send(()).expect("it watches");
    watcher.join().expect("it does not panic");
}

fn a_listener_may_await_stop() {
    for runtime in Runtime::ALL {
        runtime.run(soon(async {
            let group = Group::unused();
            let a = builder(group).start().await.expect("it starts");
            let b = builder(group).start().await.expect("it starts");
            let stopped = Seen::new();
            let list = stopped.clone();
            b.on_async_named("x", move |e: Received<Args>| {
                let list = list.clone();
                async move { list.push(e.bus().stop().await.is_ok()) }
            });
            a.emit_named("x", ()).expect("it runs");
            eventcast_tests::wait::eventually_async("it stopped", || stopped.len() == 1).await;
            assert_eq!(stopped.all(), [true]);
            assert!(!b.is_running());
        }));
    }
    // A quick listener runs on the thread that reads: it can stop the bus, and go on.
    let (a, b) = pair();
    let running = Seen::new();
    let list = running.clone();
    b.on_named("x", move |e: &Received<Args>| {
        let stopped = block_on(e.bus().stop());
        list.push((stopped.is_ok(), e.bus().is_running()));
    });
    a.emit_named("x", ()).expect("it runs");
    assert_eq!(running.wait_for(1), [(true, false)]);
}

fn stop_waits_for_no_listener() {
    let (a, b) = pair();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let entered = Count::default();
    let called = entered.clone();
    b.on_named("x", move |_: &Received<Args>| {
        called.add();
        // Until the test is over.
        let _ = released.lock().expect("called once").recv();
    });
    a.emit_named("x", ()).expect("it runs");
    entered.wait_for(1);
    block_on(b.stop()).expect("it stops all the same");
    block_on(b.start()).expect("and starts");
    let seen = count(&b, "y");
    a.emit_named("y", ()).expect("it runs");
    seen.wait_for(1);
    drop(release);
}

fn dropping_the_last_handle_leaves_no_thread() {
    let sockets = || {
        let files = fs::read_dir("/proc/self/fd").expect("Linux tells a process of its files");
        files
            .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
            .filter(|link| link.to_string_lossy().starts_with("socket:"))
            .count()
    };
    let threads = || {
        let names = thread_names();
        names
            .iter()
            .filter(|name| name.starts_with("eventcast"))
            .count()
    };
    let before = sockets();
    assert_eq!(threads(), 0);
    for _ in 0..5 {
        let (a, b) = pair();
        let seen = count(&b, "x");
        b.on_named("x", |_: &Received<Args>| {
            std::thread::sleep(Duration::from_millis(20));
        });
        b.on_notice(|_| {});
        let subscription = b.subscribe_named("x");
        let handle = b.clone();
        for _ in 0..10 {
            a.emit_named("x", ()).expect("it runs");
        }
        seen.wait_for(10);
        assert!(threads() > 0 && sockets() > before);
        drop(b);
        assert!(handle.is_running(), "one handle is left");
        drop((a, handle));
        eventually("no thread is left", || threads() == 0);
        assert_eq!(sockets(), before);
        drop(subscription);
    }
}

fn weak_handles() {
    let a = bus(Group::unused());
    let weak = a.downgrade();
    let again = weak.upgrade().expect("a handle is there");
    assert_eq!(again.id(), a.id());
    drop(a);
    assert!(again.is_running());
    drop(again);
    assert!(weak.upgrade().is_none());
}

fn options() {
    let group = Group::unused();
    for size in [0, 10, 63, 70_000] {
        let error = builder(group).max_payload_size(size).build();
        let text = error.expect_err("out of range").to_string();
        for part in ["max_payload_size", "64 to 60,000", &size.to_string()] {
            assert!(text.contains(part), "{text}");
        }
    }
    let error = builder(group).multicast_membership("10.0.0.1").build();
    let text = error.expect_err("no multicast address").to_string();
    assert!(
        text.contains("multicast_membership") && text.contains("10.0.0.1"),
        "{text}"
    );

    let bus: Bus = builder(group)
        .id("configured")
        .build()
        .expect("good options");
    assert_eq!((bus.id().as_str(), bus.port()), ("configured", group.port));
    let absent = builder(group).multicast_interface("10.99.0.1").build();
    let error = block_on(absent.expect("found out at start").start());
    let text = error.expect_err("not one of ours").to_string();
    assert!(text.contains("10.99.0.1"), "{text}");
    let absent = builder(group).multicast_interface("nosuch0").build();
    let error = block_on(absent.expect("found out at start").start());
    let text = error.expect_err("not one of ours").to_string();
    assert!(text.contains("nosuch0"), "{text}");
}

/// A listener that is called can emit, from the first event of a start on.
fn a_reply_during_start_is_sent() {
    let group = Group::unused();
    let a = bus(group);
    let b = builder(group).build().expect("good options");
    let stopping = Arc::new(AtomicBool::new(true));
    let (asked, refused) = (Count::default(), Seen::new());
    let (flag, count, list) = (Arc::clone(&stopping), asked.clone(), refused.clone());
    b.on_named("ask", move |e: &Received<Args>| {
        count.add();
        if let Err(error) = e.bus().emit_named("answer", ())
            && !flag.load(Ordering::SeqCst)
        {
            list.push(error.to_string());
        }
    });
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let asking = a.clone();
    let asker = std::thread::spawn(move || {
        while ended.try_recv() == Err(TryRecvError::Empty) {
            // A full queue is as good as any.
            let _ = asking.emit_named("ask", ());
            std::thread::sleep(Duration::from_micros(200));
        }
    });
    for _ in 0..50 {
        let before = asked.get();
        stopping.store(false, Ordering::SeqCst);
        block_on(b.start()).expect("it starts");
        asked.wait_for(before + 1);
        stopping.store(true, Ordering::SeqCst);
        block_on(b.stop()).expect("it stops");
    }
    end.send(()).expect("it asks");
    asker.join().expect("it does not panic");
    assert_eq!(refused.all(), Vec::<String>::new());
}

fn started_comes_before_peers() {
    let group = Group::unused();
    let a = bus(group);
    let b = builder(group).build().expect("good options");
    let notices = Seen::new();
    let list = notices.clone();
    b.on_notice(move |notice| match notice {
        Notice::Warning { .. } => {}
        notice => list.push(notice.to_string()),
    });
    for _ in 0..30 {
        // Its hello is on its way when the other starts.
        block_on(a.stop()).expect("it stops");
        block_on(a.start()).expect("it starts");
        block_on(b.start()).expect("it starts");
        let text = notices.wait_for(2);
        assert!(text[0].starts_with("started"), "{text:?}");
        block_on(b.stop()).expect("it stops");
        let text = notices.take();
        assert_eq!(text.last().map(String::as_str), Some("stopped"), "{text:?}");
    }
}

/// Is woken in no hurry.
struct Sleepy(std::sync::mpsc::Sender<()>);

impl Wake for Sleepy {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
        std::thread::sleep(Duration::from_millis(400));
    }
}

/// Also where the bus is stopped before all have been told that it has started.
fn started_comes_before_stopped() {
    let a = builder(Group::unused()).build().expect("good options");
    let (sender, told) = std::sync::mpsc::channel();
    let waker = Waker::from(Arc::new(Sleepy(sender)));
    let mut stream = a.notices();
    let is_pending = pin!(stream.next())
        .poll(&mut Context::from_waker(&waker))
        .is_pending();
    assert!(is_pending, "nothing has happened yet");
    let life = Seen::new();
    let list = life.clone();
    a.on_notice(move |notice| match notice {
        Notice::Started { .. } => list.push("started"),
        Notice::Stopped => list.push("stopped"),
        _ => {}
    });
    let starting = a.clone();
    let starter = std::thread::spawn(move || block_on(starting.start()));
    told.recv_timeout(PATIENCE).expect("the stream is woken");
    block_on(a.stop()).expect("it stops");
    assert_eq!(life.wait_for(2), ["started", "stopped"]);
    starter.join().expect("it ends").expect("it started");
}

/// What a program prints of it is printed when `stop` has been awaited and the process may end.
fn stopped_is_reported_before_stop_ends() {
    let group = Group::unused();
    let a = builder(group).build().expect("good options");
    let heard = Seen::new();
    let list = heard.clone();
    a.on_notice(move |notice| {
        if matches!(notice, Notice::Stopped) {
            list.push(());
        }
    });
    for round in 1..=20 {
        block_on(a.start()).expect("it starts");
        // Of two that stop it, both find it told.
        let other = a.stop();
        block_on(a.stop()).expect("it stops");
        assert_eq!(heard.len(), round);
        block_on(other).expect("it stops");
    }
}

fn stopped_is_reported_after_the_last_handle() {
    let group = Group::unused();
    let a = bus(group);
    let heard = Seen::new();
    let list = heard.clone();
    a.on_notice(move |notice| list.push(notice.to_string()));
    let mut stream = a.notices();
    drop(a);
    let last = block_on(async {
        let mut last = None;
        while let Some(notice) = stream.next().await {
            last = Some(notice);
        }
        last
    });
    assert!(matches!(last, Some(Notice::Stopped)), "{last:?}");
    let text = heard.wait_for(1);
    assert_eq!(text.last().map(String::as_str), Some("stopped"));

    // On a stopped bus there is nothing to wait for.
    let b = builder(group).build().expect("good options");
    let mut stream = b.notices();
    drop(b);
    assert!(block_on(stream.next()).is_none());
}

/// Which waits for it to hear that the bus has stopped.
fn a_notice_listener_may_await_stop() {
    let group = Group::unused();
    let a = builder(group).build().expect("good options");
    let stopped = Seen::new();
    let list = stopped.clone();
    let weak = a.downgrade();
    a.on_notice(move |notice| {
        if let (Notice::Started { .. }, Some(bus)) = (notice, weak.upgrade()) {
            list.push(block_on(bus.stop()).is_ok());
        }
    });
    block_on(a.start()).expect("it starts");
    assert_eq!(stopped.wait_for(1), [true]);
    assert!(!a.is_running());
}

/// Ten events a second, sent and heard: their threads are woken by them and by hellos, and
/// otherwise sleep.
fn single_events_wake_few_threads() {
    const SECONDS: usize = 4;
    // Six of each event are needed (the reader of each bus, its timers, and one watcher), and two
    // hellos for each.
    const MOST_A_SECOND: u64 = 250;
    let (a, b) = pair();
    let seen = count(&b, "x");
    a.emit_named("x", ()).expect("it runs");
    seen.wait_for(1);
    let before = switches_of("eventcast");
    for _ in 0..10 * SECONDS {
        a.emit_named("x", ()).expect("it runs");
        std::thread::sleep(Duration::from_millis(100));
    }
    let woken = switches_of("eventcast") - before;
    println!("{} wake-ups a second", woken / SECONDS as u64);
    assert!(
        woken < MOST_A_SECOND * SECONDS as u64,
        "{woken} in {SECONDS} s"
    );
    // And each was heard.
    seen.wait_for(1 + 10 * SECONDS);
}

fn outside_of_any_runtime() {
    let group = Group::unused();
    let (a, b) = (builder(group), builder(group));
    let (a, b) = std::thread::spawn(move || (common::started(a), common::started(b)))
        .join()
        .expect("a thread like any other");
    let seen = count(&b, "x");
    std::thread::spawn(move || a.emit_named("x", ()).map(drop))
        .join()
        .expect("a thread like any other")
        .expect("it runs");
    seen.wait_for(1);
}
