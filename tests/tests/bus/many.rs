//! Listeners for many names, streams with their policies, and async listeners that run side by
//! side.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use eventcast::{Args, Bus, NetEvent, Overflow, Received, SubscribeOptions};
use eventcast_tests::{
    runner::Case,
    wait::{Seen, block_on, eventually},
};
use serde::{Deserialize, Serialize};

use crate::common::{count, pair};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("many::patterns_hear_what_they_match", patterns),
        Case::new("many::one_list_in_order_of_registration", one_list),
        Case::new("many::on_every_gets_all_but_the_protocols_own", every),
        Case::new("many::an_invalid_pattern_is_refused", no_pattern),
        Case::new("many::streams_by_key_and_pattern", streams),
        Case::new(
            "many::a_full_stream_drops_the_oldest_or_the_newest",
            policies,
        ),
        Case::new("many::async_side_by_side", side_by_side),
    ]
}

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "trade.placed")]
struct Placed {
    number: u32,
}

/// What a listener to many saw: the names and the arguments.
fn names(seen: &Seen<(String, Args)>) -> Vec<String> {
    seen.all().into_iter().map(|(name, _)| name).collect()
}

fn note(seen: &Seen<(String, Args)>) -> impl Fn(&Received<Args>) + Send + Sync + use<> {
    let seen = seen.clone();
    move |e| seen.push((e.key().to_owned(), (**e).clone()))
}

fn patterns() {
    let (a, b) = pair();
    let (short, long, local) = (Seen::new(), Seen::new(), Seen::new());
    b.on_pattern("trade.*", note(&short));
    b.on_pattern("trade.**", note(&long));
    a.on_pattern("trade.p*", note(&local));
    let end = count(&b, "end");

    a.emit(Placed { number: 7 }).unwrap();
    a.emit_named("trade.item.added", ("a", 1)).unwrap();
    a.emit_named("Trade.placed", ()).unwrap();
    a.emit_named("retrade.placed", ()).unwrap();
    a.emit_named("end", ()).unwrap();
    end.wait_for(1);

    assert_eq!(names(&short), ["trade.placed"]);
    assert_eq!(names(&long), ["trade.placed", "trade.item.added"]);
    assert_eq!(names(&local), ["trade.placed"]);
    let placed: Placed = short.all()[0].1.decode().unwrap();
    assert_eq!(placed.number, 7);
    let (text, number): (String, u8) = long.all()[1].1.decode().unwrap();
    assert_eq!((text.as_str(), number), ("a", 1));
}

fn one_list() {
    let (a, b) = pair();
    let order = Seen::new();
    let say = |what: &'static str| {
        let order = order.clone();
        move || order.push(what)
    };
    let (typed, pattern, named, every, first) = (
        say("typed"),
        say("pattern"),
        say("named"),
        say("every"),
        say("first"),
    );
    b.on::<Placed>(move |_| typed());
    let taken_off = b.on_pattern("trade.*", move |_| pattern());
    b.on_named("trade.placed", move |_| named());
    b.on_every(move |_| every());
    b.prepend::<Placed>(move |_| first());
    assert_eq!(b.listener_count::<Placed>(), 3);
    assert_eq!(b.event_keys(), ["trade.placed"]);

    for bus in [&a, &b] {
        bus.emit(Placed { number: 1 }).unwrap();
        eventually("all five were called", || order.all().len() >= 5);
        assert_eq!(
            order.take(),
            ["first", "typed", "pattern", "named", "every"]
        );
    }
    assert!(b.off(taken_off));
    b.emit(Placed { number: 2 }).unwrap();
    assert_eq!(order.take(), ["first", "typed", "named", "every"]);
    assert_eq!(b.off_all::<Placed>(), 3);
    b.emit(Placed { number: 3 }).unwrap();
    assert_eq!(order.take(), ["every"]);
    assert_eq!(b.off_everything(), 1);
}

fn every() {
    let (a, b) = pair();
    let seen = Seen::new();
    b.on_every(note(&seen));
    for name in ["error", "start", "a.b", "日本"] {
        a.emit_named(name, name).unwrap();
    }
    eventually("all of them came", || seen.all().len() >= 4);
    assert_eq!(names(&seen), ["error", "start", "a.b", "日本"]);
}

fn no_pattern() {
    let (_, b) = pair();
    for (pattern, why) in [("", "at least one character"), ("a\\", "cannot end with")] {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            b.on_pattern(pattern, |_| ());
        }));
        assert!(caught.is_err());
        let error = pattern.parse::<eventcast::Pattern>().unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(b.off_everything(), 0);
}

fn streams() {
    let (a, b) = pair();
    let mut named = b.subscribe_named("x.a");
    let mut matching = b.subscribe_pattern("x.*");
    let end = count(&b, "end");
    for name in ["x.a", "x.b", "y"] {
        a.emit_named(name, name).unwrap();
    }
    a.emit_named("end", ()).unwrap();
    end.wait_for(1);
    let mut heard = Vec::new();
    while let Ok(event) = matching.try_next() {
        heard.push((event.key().to_owned(), event.decode::<String>().unwrap()));
    }
    let both = |name: &str| (name.to_owned(), name.to_owned());
    assert_eq!(heard, [both("x.a"), both("x.b")]);
    assert_eq!(block_on(named.next()).unwrap().key(), "x.a");
    assert!(named.try_next().is_err());
    drop((named, matching));
    assert_eq!(b.off_everything(), 1);
}

fn policies() {
    let (_, b) = pair();
    let few = SubscribeOptions::default().capacity(3);
    let subscribe = |options| b.subscribe_named_with("n", options);
    let mut oldest = subscribe(few);
    let mut newest = subscribe(few.overflow(Overflow::DropNewest));
    let mut latest = subscribe(SubscribeOptions::latest());
    for n in 0..5 {
        b.emit_named("n", n).unwrap();
    }
    let rest = |stream: &mut eventcast::Subscription<Args>| -> (Vec<i32>, u64) {
        let heard = std::iter::from_fn(|| stream.try_next().ok());
        let heard = heard.map(|n| n.decode().unwrap()).collect();
        (heard, stream.missed())
    };
    assert_eq!(rest(&mut oldest), (vec![2, 3, 4], 2));
    assert_eq!(rest(&mut newest), (vec![0, 1, 2], 2));
    assert_eq!(rest(&mut latest), (vec![4], 4));
}

#[derive(NetEvent, Serialize, Deserialize)]
#[net_event(name = "many.job")]
struct Job(usize);

fn side_by_side() {
    const JOBS: usize = 12;
    const AT_ONCE: usize = 3;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let guard = runtime.enter();
    let (a, b) = pair();
    let (running, most, begun) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
        Seen::new(),
    );
    // Nobody goes on before as many as allowed are there, so a bound that is too small never ends.
    let gate = Arc::new(tokio::sync::Barrier::new(AT_ONCE));
    let done = {
        let done = Arc::new(AtomicUsize::new(0));
        let (running, most, begun, finished) =
            (running.clone(), most.clone(), begun.clone(), done.clone());
        b.on_async_concurrent::<Job>(NonZeroUsize::new(AT_ONCE).unwrap(), move |job| {
            let (running, most, begun, finished, gate) = (
                running.clone(),
                most.clone(),
                begun.clone(),
                finished.clone(),
                gate.clone(),
            );
            async move {
                begun.push(job.0);
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                gate.wait().await;
                running.fetch_sub(1, Ordering::SeqCst);
                finished.fetch_add(1, Ordering::SeqCst);
            }
        });
        done
    };
    emit_jobs(&a, JOBS);
    eventually("all jobs were done", || done.load(Ordering::SeqCst) == JOBS);
    assert_eq!(most.load(Ordering::SeqCst), AT_ONCE);
    let mut all = begun.all();
    all.sort_unstable();
    assert_eq!(all, (0..JOBS).collect::<Vec<_>>());
    drop(guard);
}

fn emit_jobs(bus: &Bus, jobs: usize) {
    for job in 0..jobs {
        bus.emit(Job(job)).unwrap();
    }
}
