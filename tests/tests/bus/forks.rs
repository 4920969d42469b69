//! A process that forks after it has started a bus: the child has no part in it, and harms nobody.

use std::{
    io::ErrorKind,
    os::unix::net::UnixDatagram,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use eventcast::{Args, Bus, EmitErrorKind, Error, Keys, Notice, Received, Secret, TryNextError};
use eventcast_tests::{
    group::Group,
    runner::Case,
    wait::{Seen, block_on, eventually},
};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, fork},
};

use crate::common::{Count, Runtime, builder, bus, count, started};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "forks::a_child_refuses_and_leaves_the_parent_alone",
            says_so,
        )
        .in_own_process(),
        Case::new("forks::a_child_waits_for_no_lock", waits_for_no_lock).in_own_process(),
        Case::new("forks::a_child_can_build_a_bus_of_its_own", builds_its_own).in_own_process(),
        Case::new(
            "forks::a_bus_that_was_never_started_starts_in_the_child",
            never_started,
        )
        .in_own_process(),
        Case::new(
            "forks::a_child_forked_in_a_listener_receives_nothing",
            of_a_listener,
        )
        .in_own_process(),
    ]
}

/// How long a child may take. Far above what it needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs this in a forked child, which must end well.
#[track_caller]
fn in_child(work: impl FnOnce()) {
    in_child_with((), |()| work());
}

/// Runs this in a forked child, which gets what is given; it stays with the parent all the same.
#[track_caller]
fn in_child_with<T>(given: T, work: impl FnOnce(T)) -> T {
    #[expect(unsafe_code, reason = "this is about what a program does that forks")]
    // SAFETY: glibc lets the child of a process with threads allocate and print; that nothing else
    // is in the way there is what is tested, and a child that hangs is killed.
    match unsafe { fork() }.expect("there is room for another process") {
        ForkResult::Child => {
            let done = catch_unwind(AssertUnwindSafe(|| work(given)));
            // SAFETY: it only ends the process, without what is to be done at the end of the
            // parent.
            unsafe { nix::libc::_exit(i32::from(done.is_err())) }
        }
        ForkResult::Parent { child } => {
            wait_for(child);
            given
        }
    }
}

#[track_caller]
fn wait_for(child: Pid) {
    let end = Instant::now() + PATIENCE;
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)).expect("it is a child of this one") {
            WaitStatus::StillAlive if Instant::now() < end => {
                thread::sleep(Duration::from_millis(5));
            }
            WaitStatus::StillAlive => {
                kill(child, Signal::SIGKILL).expect("it is a child of this one");
                waitpid(child, None).expect("it is a child of this one");
                panic!("the child hangs");
            }
            status => return assert_eq!(status, WaitStatus::Exited(child, 0)),
        }
    }
}

/// All that can be done with a bus that another process has started.
fn use_up(bus: Bus) {
    let error = bus.emit_named("x", 7).expect_err("nobody would get it");
    assert!(matches!(error.kind(), EmitErrorKind::Forked), "{error}");
    assert!(error.to_string().contains("build a new bus"), "{error}");
    assert_eq!(error.into_event(), 7);
    assert!(!bus.is_running());
    assert_eq!(bus.unicast_address(), None);
    assert!(bus.peers().is_empty());
    bus.stats();
    let runtime = Runtime::CurrentThread;
    runtime.run(async {
        let error = bus.start().await.expect_err("its threads are elsewhere");
        assert!(matches!(error, Error::Forked), "{error}");
        let error = bus.emit_wait_named("x", ()).await.expect_err("as before");
        assert!(matches!(error.kind(), EmitErrorKind::Forked), "{error}");
        let keys = Keys::new(Secret::ready_key([1; 32]));
        assert!(matches!(bus.set_keys(keys).await, Err(Error::Forked)));
        bus.stop().await.expect("nothing runs here");
    });
    hear_nothing(&bus);
    drop(bus);
}

/// Listeners, streams and lists of a bus that another process has started.
fn hear_nothing(bus: &Bus) {
    let id = bus.on_named("x", |_| panic!("nobody calls this"));
    bus.on_pattern("**", |_| panic!("nobody calls this"));
    bus.on_async_named("x", async |_| panic!("nobody calls this"));
    let by_error = bus.try_on_named("x", |_| panic!("nobody calls this"));
    bus.on_notice(|_| panic!("nobody calls this"));
    assert!(!bus.off(id) && by_error.is_ok_and(|id| !bus.off(id)));
    assert_eq!(bus.off_all_named("x") + bus.off_everything(), 0);
    assert_eq!(bus.listener_count_named("x"), 0);
    assert_eq!(bus.event_keys(), Vec::<String>::new());
    let mut events = bus.subscribe_named("y");
    assert!(matches!(events.try_next(), Err(TryNextError::Ended)));
    assert!(events.blocking_next().is_none());
    drop(bus.guard(bus.listen_pattern("**").once().call(|_| {})));
    assert!(bus.listeners().is_empty());
    assert_eq!(events.missed(), 0);
    let mut notices = bus.notices();
    block_on(async {
        assert!(events.next().await.is_none());
        assert!(notices.next().await.is_none());
        assert!(bus.wait_for_named("y").await.is_err());
        bus.closed().await;
    });
    assert!(matches!(notices.try_next(), Err(TryNextError::Ended)));
    assert!(matches!(bus.start_blocking(), Err(Error::Forked)));
    bus.stop_blocking().expect("nothing runs here");
    drop(events);
    assert_eq!(bus.id(), "");
    assert!(format!("{bus:?}").contains("running: false"));
}

fn says_so() {
    let group = Group::unused();
    let (a, b) = (bus(group), bus(group));
    let left = Seen::new();
    let list = left.clone();
    b.on_notice(move |notice| {
        if let Notice::PeerLeft { .. } | Notice::IdClash { .. } | Notice::Lost { .. } = notice {
            list.push(notice.to_string());
        }
    });
    let numbers = Seen::new();
    let list = numbers.clone();
    b.on_named("x", move |e: &Received<Args>| {
        list.push(e.origin().number());
    });
    a.emit_named("x", ()).expect("it runs");
    numbers.wait_for(1);
    eventually("they know each other", || b.peers().len() == 1);
    // The last handles of the child, though not of the parent.
    let (copy_of_a, copy_of_b) = (a.downgrade(), b.downgrade());
    let handles = [a, b];
    let [a, b] = in_child_with(handles, |handles| {
        for bus in handles {
            use_up(bus);
        }
        assert!(copy_of_a.upgrade().is_none() && copy_of_b.upgrade().is_none());
    });
    // The parent's bus is what it was.
    for _ in 0..20 {
        a.emit_named("x", ()).expect("it runs");
    }
    let numbers = numbers.wait_for(21);
    assert_eq!(numbers, (1..=21).map(Some).collect::<Vec<_>>());
    thread::sleep(Duration::from_millis(500));
    assert_eq!(left.all(), Vec::<String>::new());
    assert_eq!(b.peers().len(), 1);
}

/// Whatever the threads of the parent had locked when it forked.
fn waits_for_no_lock() {
    let group = Group::unused();
    let (a, b) = (bus(group), bus(group));
    let seen = count(&b, "x");
    let end = Arc::new(AtomicBool::new(false));
    let emitters: Vec<_> = (0..2)
        .map(|_| {
            let (bus, end) = (a.clone(), Arc::clone(&end));
            thread::spawn(move || {
                while !end.load(Ordering::Relaxed) {
                    let _ = bus.emit_named("x", ());
                    bus.stats();
                    // What it locks is held for most of the time.
                    for _ in 0..20 {
                        let id = bus.on_pattern("**", |_| ());
                        let stream = bus.subscribe_named("y");
                        drop((bus.notices(), bus.event_keys(), bus.id()));
                        bus.off(id);
                        drop(stream);
                    }
                }
            })
        })
        .collect();
    seen.wait_for(100);
    let streams = [a.subscribe_named("x"), b.subscribe_named("x")];
    for _ in 0..30 {
        let (a, b) = (a.clone(), b.clone());
        in_child(|| {
            for stream in &streams {
                assert_eq!(stream.missed(), 0);
            }
            for bus in [a, b] {
                hear_nothing(&bus);
                assert!(bus.emit_named("x", ()).is_err());
                assert!(!bus.is_running() && bus.peers().is_empty());
                bus.stats();
                drop(bus.start());
                drop(bus.stop());
            }
        });
    }
    end.store(true, Ordering::Relaxed);
    for emitter in emitters {
        emitter.join().expect("it does not panic");
    }
}

fn builds_its_own() {
    let group = Group::unused();
    let a = bus(group);
    let heard = count(&a, "from the child");
    in_child(|| {
        let own = bus(group);
        eventually("it knows the parent's", || own.peers().len() == 1);
        own.emit_named("from the child", ()).expect("it runs");
        block_on(own.stop()).expect("it stops");
    });
    heard.wait_for(1);
    assert!(a.is_running());
}

/// A server that is set up first, and forks its workers then.
fn never_started() {
    let group = Group::unused();
    let a = bus(group);
    let heard = count(&a, "from the child");
    let worker = builder(group).build().expect("good options");
    in_child(|| {
        block_on(worker.start()).expect("it starts");
        eventually("it knows the parent's", || worker.peers().len() == 1);
        worker.emit_named("from the child", ()).expect("it runs");
        block_on(worker.stop()).expect("it stops");
    });
    heard.wait_for(1);
    drop(started(builder(group)));
}

/// A listener that forks, on the thread that reads the network and on one that serves a queue: in
/// the child that thread ends when the listener comes back, and with it the process.
fn of_a_listener() {
    const EVENTS: usize = 20;
    for pause in [Duration::ZERO, Duration::from_millis(20)] {
        let group = Group::unused();
        let (a, b) = (bus(group), bus(group));
        let (children, calls) = (Seen::new(), Count::default());
        let (told, tells) = UnixDatagram::pair().expect("there is room for a socket");
        told.set_nonblocking(true).expect("it is a socket");
        let parent = std::process::id();
        let (forked, called) = (children.clone(), calls.clone());
        b.on_named("x", move |_: &Received<Args>| {
            if std::process::id() != parent {
                let _ = tells.send(b"heard");
                return;
            }
            thread::sleep(pause);
            called.add();
            if called.get() == 3 {
                #[expect(unsafe_code, reason = "this is about what a program does that forks")]
                // SAFETY: the child only comes back from here, which is what is tested.
                let fork = unsafe { fork() };
                if let ForkResult::Parent { child } = fork.expect("there is room for a process") {
                    forked.push(child);
                }
            }
        });
        for _ in 0..EVENTS {
            a.emit_named("x", ()).expect("it runs");
        }
        calls.wait_for(EVENTS);
        // Where the child still read the network it would get these.
        for _ in 0..EVENTS {
            a.emit_named("x", ()).expect("it runs");
        }
        calls.wait_for(2 * EVENTS);
        wait_for(children.wait_for(1)[0]);
        let heard = told.recv(&mut [0; 8]).expect_err("it hears nothing");
        assert_eq!(heard.kind(), ErrorKind::WouldBlock);
        assert_eq!(a.peers().len() + b.peers().len(), 2);
    }
}
