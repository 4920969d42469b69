//! A panic of the bus's own ends its session, and the bus can be started again.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{Bus, EmitErrorKind, Keys, Notice, Secret, bus::Builder, proto::Trip};

const PATIENCE: Duration = Duration::from_secs(30);

fn builder(group: u32) -> Builder {
    let [high, low] = (group as u16).to_be_bytes();
    Bus::builder()
        .environment(false)
        .multicast_interface("127.0.0.1")
        .multicast_membership(format!("239.194.{high}.{low}"))
        .port(20_000 + (std::process::id() % 20_000) as u16)
}

/// Two buses of a group of their own.
fn pair(options: impl Fn(Builder) -> Builder) -> (Bus, Bus) {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let group = NEXT.fetch_add(1, Ordering::Relaxed);
    let bus = || options(builder(group)).build().unwrap();
    let (a, b) = (bus(), bus());
    wait(a.start()).unwrap();
    wait(b.start()).unwrap();
    (a, b)
}

#[track_caller]
fn wait<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let soon = async { tokio::time::timeout(PATIENCE, future).await };
    runtime.block_on(soon).expect("it ends")
}

#[track_caller]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Starts and stops, and what has failed, in its order.
fn life_of(bus: &Bus) -> Arc<Mutex<Vec<String>>> {
    let life = Arc::<Mutex<Vec<String>>>::default();
    let list = Arc::clone(&life);
    bus.on_notice(move |notice| match notice {
        Notice::Failed { .. } | Notice::Stopped => {
            list.lock().unwrap().push(notice.to_string());
        }
        Notice::Started { .. } => list.lock().unwrap().push("started".into()),
        _ => {}
    });
    life
}

/// From now on the engine panics there.
fn arm(bus: &Bus, at: Trip) {
    let session = bus.core.lifecycle.session().unwrap();
    session.context.engine.lock().unwrap().trip = Some(at);
}

#[track_caller]
fn flows(from: &Bus, to: &Bus) {
    let came = to.wait_for_named("flows");
    from.emit_named("flows", ()).unwrap();
    wait(came).unwrap();
}

/// The bus has failed, says so once, and works again.
#[track_caller]
fn failed_and_works_again(a: &Bus, b: &Bus, life: &Mutex<Vec<String>>, said: &str) {
    eventually("it has failed", || !a.is_running());
    let refused = a.emit_named("refused", 5).unwrap_err();
    assert!(matches!(refused.kind(), EmitErrorKind::NotStarted));
    assert!(a.peers().is_empty());
    wait(a.stop()).unwrap();
    eventually("both are told", || life.lock().unwrap().len() >= 2);
    let told = std::mem::take(&mut *life.lock().unwrap());
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains(said), "{told:?}");
    assert!(told[0].contains("call `start` to try again"), "{told:?}");
    assert_eq!(told[1], "stopped");
    a.stats();

    wait(a.start()).unwrap();
    assert!(a.is_running());
    flows(a, b);
    flows(b, a);
    eventually("it is told", || *life.lock().unwrap() == ["started"]);
}

#[test]
fn a_panic_on_a_datagram_ends_the_session() {
    let (a, b) = pair(|builder| builder);
    let life = life_of(&a);
    arm(&a, Trip::Datagram);
    b.emit_named("x", ()).unwrap();
    failed_and_works_again(&a, &b, &life, "reading the network");
}

#[test]
fn a_panic_on_a_timeout_ends_the_session() {
    let (a, b) = pair(|builder| builder);
    let life = life_of(&a);
    arm(&a, Trip::Timeout);
    failed_and_works_again(&a, &b, &life, "on purpose: Timeout");
}

#[test]
fn a_panic_in_an_emit_stays_there_and_ends_the_session() {
    let (a, b) = pair(|builder| builder);
    let life = life_of(&a);
    arm(&a, Trip::Emit);
    let refused = a.emit_named("x", "kept").unwrap_err();
    assert!(matches!(refused.kind(), EmitErrorKind::NotStarted));
    assert_eq!(refused.into_event(), "kept");
    failed_and_works_again(&a, &b, &life, "emitting");
}

/// On the thread that emits, which also holds the lock of those who send.
#[test]
fn a_panic_while_sending_ends_the_session() {
    let (a, b) = pair(|builder| builder);
    let life = life_of(&a);
    arm(&a, Trip::Transmit);
    // Taken, where another thread is just sending a hello, and panics over that.
    if let Err(refused) = a.emit_named("x", ()) {
        assert!(matches!(refused.kind(), EmitErrorKind::NotStarted));
    }
    failed_and_works_again(&a, &b, &life, "on purpose: Transmit");
}

#[test]
fn a_panic_on_the_sender_thread_ends_the_session() {
    let (a, b) = pair(|builder| builder);
    let life = life_of(&a);
    let session = a.core.lifecycle.session().unwrap();
    arm(&a, Trip::Transmit);
    session.send_loop.notify();
    // Where the reading thread is just sending a hello, it panics in place of the sender thread.
    failed_and_works_again(&a, &b, &life, "on purpose: Transmit");
}

#[test]
fn a_panic_on_the_watching_thread_ends_the_session() {
    let (a, b) = pair(|builder| builder);
    let life = life_of(&a);
    a.on_named("x", |_| {});
    let session = a.core.lifecycle.session().unwrap();
    session
        .receive_loop
        .watcher_panics
        .store(true, Ordering::SeqCst);
    b.emit_named("x", ()).unwrap();
    failed_and_works_again(&a, &b, &life, "watching over listeners");
}

#[test]
fn a_panic_in_a_question_ends_the_session() {
    let (a, b) = pair(|builder| builder);
    let life = life_of(&a);
    arm(&a, Trip::Peers);
    assert!(a.peers().is_empty());
    failed_and_works_again(&a, &b, &life, "listing peers");
}

#[test]
fn a_panic_during_a_stop_ends_it() {
    let (a, b) = pair(|builder| builder);
    let life = life_of(&a);
    arm(&a, Trip::Leave);
    wait(a.stop()).unwrap();
    failed_and_works_again(&a, &b, &life, "on purpose: Leave");
}

#[test]
fn a_start_right_after_a_panic_waits_for_the_rest_to_be_closed() {
    let (a, b) = pair(|builder| builder);
    for _ in 0..5 {
        arm(&a, Trip::Emit);
        a.emit_named("x", ()).unwrap_err();
        wait(a.start()).unwrap();
        flows(&b, &a);
    }
}

#[test]
fn the_last_handle_goes_after_a_panic() {
    let (a, _b) = pair(|builder| builder);
    let weak = Arc::downgrade(&a.core);
    arm(&a, Trip::Emit);
    a.emit_named("x", ()).unwrap_err();
    drop(a);
    eventually("nothing is left of it", || weak.strong_count() == 0);
}

#[test]
fn a_panic_while_keys_are_derived_ends_the_start() {
    let bus = builder(40_000).passphrase("on purpose").build().unwrap();
    bus.core.lifecycle.keys.panics.store(true, Ordering::SeqCst);
    let failed = wait(bus.start()).unwrap_err().to_string();
    assert!(failed.contains("deriving keys"), "{failed}");
    assert!(!bus.is_running());
    wait(bus.stop()).unwrap();
}

#[test]
fn a_panic_over_new_keys_ends_the_session() {
    let key = |byte| Secret::ready_key([byte; 32]);
    let (a, b) = pair(|builder| builder.passphrase(key(1)));
    let life = life_of(&a);
    arm(&a, Trip::Keys);
    wait(a.set_keys(Keys::new(key(2)).and_receive(key(1)))).unwrap();
    wait(b.set_keys(Keys::new(key(2)).and_receive(key(1)))).unwrap();
    failed_and_works_again(&a, &b, &life, "setting keys");
}
