//! What arrives, where it says it came from, and what is told when it does not fit.

use std::{collections::HashSet, sync::Arc, time::SystemTime};

use bson::{Bson, bson};
use eventcast::{Args, DropCause, NetEvent, Notice, Received, args};
use eventcast_tests::{
    craft::{self, Message},
    group::Group,
    runner::Case,
    tap::Tap,
    wait::{Seen, block_on, eventually},
};
use serde::{Deserialize, Serialize};

use crate::common::{self, Count, Runtime, bus, collect, count, fence, fence_between, paced, pair};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "delivery::typed_and_named_ends_meet",
            typed_and_named_ends_meet,
        ),
        Case::new(
            "delivery::local_once_and_not_again_from_the_network",
            local_once,
        ),
        Case::new(
            "delivery::same_type_gets_the_very_value",
            same_type_gets_the_very_value,
        ),
        Case::new("delivery::origin", origin),
        Case::new(
            "delivery::a_decode_failure_is_reported",
            a_decode_failure_is_reported,
        ),
        Case::new(
            "delivery::reading_thread_runs_quick_listeners",
            reading_thread_runs_quick_listeners,
        ),
        Case::new("delivery::generic_events", generic_events),
        Case::new("delivery::raw_names", raw_names),
        Case::new("delivery::subscribe", subscribe),
        Case::new(
            "delivery::subscription_drops_the_oldest",
            subscription_drops_the_oldest,
        ),
        Case::new("delivery::wait_for", wait_for),
        Case::new("delivery::stats", stats),
        Case::new("delivery::notices_as_a_stream", notices_as_a_stream),
        Case::new(
            "delivery::an_event_called_error_is_an_event",
            error_is_an_event,
        ),
    ]
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Joined {
    user: u64,
    name: String,
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Moved(f64, f64);

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Ping;

fn ada() -> Joined {
    Joined {
        user: 7,
        name: "Ada".to_owned(),
    }
}

/// What typed listeners of this type got.
fn typed<E: NetEvent + Clone>(bus: &eventcast::Bus) -> Seen<E> {
    let seen = Seen::new();
    let list = seen.clone();
    bus.on::<E>(move |e: &Received<E>| list.push((**e).clone()));
    seen
}

fn typed_and_named_ends_meet() {
    let (a, b) = pair();
    for listening in [&a, &b] {
        fence_between(&a, &b);
        let joined = (typed::<Joined>(listening), collect(listening, "Joined"));
        let moved = (typed::<Moved>(listening), collect(listening, "Moved"));
        let ping = (typed::<Ping>(listening), collect(listening, "Ping"));

        a.emit(ada()).expect("the bus runs");
        a.emit(Moved(1.0, 2.5)).expect("the bus runs");
        a.emit(Ping).expect("the bus runs");
        assert_eq!(joined.0.wait_for(1), [ada()]);
        assert_eq!(moved.0.wait_for(1), [Moved(1.0, 2.5)]);
        assert_eq!(ping.0.wait_for(1), [Ping]);
        let expected = bson!({ "user": 7, "name": "Ada" });
        assert_eq!(joined.1.wait_for(1)[0][..], [expected]);
        assert_eq!(
            moved.1.wait_for(1)[0][..],
            [Bson::Double(1.0), Bson::Double(2.5)]
        );
        assert!(ping.1.wait_for(1)[0].is_empty());

        a.emit_named("Joined", bson!({ "name": "Bob", "user": 8.0 }))
            .expect("the bus runs");
        a.emit_named("Moved", (1, 2_i64, "surplus"))
            .expect("the bus runs");
        a.emit_named("Ping", args![1, "surplus"])
            .expect("the bus runs");
        let bob = Joined {
            user: 8,
            name: "Bob".to_owned(),
        };
        assert_eq!(joined.0.wait_for(2)[1], bob);
        assert_eq!(moved.0.wait_for(2)[1], Moved(1.0, 2.0));
        assert_eq!(ping.0.wait_for(2)[1], Ping);
        assert_eq!(moved.1.wait_for(2)[1].len(), 3);
    }
}

fn local_once() {
    let (a, b) = pair();
    let local = count(&a, "tick");
    let remote = count(&b, "tick");
    for round in 1..=20 {
        let emitted = a.emit_named("tick", round).expect("the bus runs");
        assert_eq!(emitted.listeners, 1);
        assert_eq!(local.get(), round, "the call is over when emit returns");
    }
    remote.wait_for(20);
    // What b emits after it heard a, a hears after its own echoes.
    fence_between(&a, &b);
    fence_between(&b, &a);
    assert_eq!((local.get(), remote.get()), (20, 20));
    // Its own datagrams are nothing that it lost.
    assert_eq!(a.stats().kernel_drops, 0);
}

fn same_type_gets_the_very_value() {
    #[derive(NetEvent, Serialize, Deserialize, Debug)]
    struct Job {
        id: u32,
        #[serde(skip)]
        handle: Option<Arc<str>>,
    }
    #[derive(NetEvent, Serialize, Deserialize, Debug)]
    #[net_event(name = "Job")]
    struct SameJob {
        id: u32,
        #[serde(skip)]
        handle: Option<Arc<str>>,
    }
    let (a, b) = pair();
    let handle: Arc<str> = "a handle".into();
    let local = Seen::new();
    let list = local.clone();
    a.on::<Job>(move |e: &Received<Job>| list.push((e.id, e.handle.clone())));
    let other = Seen::new();
    let list = other.clone();
    a.on::<SameJob>(move |e: &Received<SameJob>| list.push((e.id, e.handle.clone())));
    let named = collect(&a, "Job");
    let remote = Seen::new();
    let list = remote.clone();
    b.on::<Job>(move |e: &Received<Job>| list.push((e.id, e.handle.clone())));

    let job = Job {
        id: 1,
        handle: Some(Arc::clone(&handle)),
    };
    a.emit(job).expect("the bus runs");
    let [(1, Some(seen))] = &local.wait_for(1)[..] else {
        panic!("the listener of the same type got {:?}", local.all());
    };
    assert!(Arc::ptr_eq(seen, &handle));
    assert_eq!(other.wait_for(1), [(1, None)]);
    assert_eq!(named.wait_for(1)[0][..], [bson!({ "id": 1 })]);
    assert_eq!(remote.wait_for(1), [(1, None)]);
}

fn origin() {
    let (a, b) = pair();
    let list = Seen::new();
    for bus in [&a, &b] {
        let list = list.clone();
        bus.on::<Ping>(move |e: &Received<Ping>| list.push(e.origin().clone()));
    }
    let before = SystemTime::now();
    a.emit(Ping).expect("the bus runs");
    for origin in list.wait_for(2) {
        assert_eq!(origin.id(), a.id());
        assert_eq!(origin.hostname(), a.hostname());
        assert_eq!(origin.host(), "127.0.0.1");
        assert_eq!(Some(origin.address()), a.unicast_address());
        assert!(origin.incarnation().is_some());
        assert!(!origin.is_sealed());
        let time = origin.time().expect("our own time can be read");
        let apart = time
            .duration_since(before)
            .or_else(|_| before.duration_since(time));
        let apart = apart.expect("one is before the other");
        assert!(apart.as_secs() < 60, "{apart:?}");
    }
    // The other bus may hear it first: the own listeners are called last.
    let local = list.all().iter().filter(|one| one.is_local()).count();
    assert_eq!(local, 1);

    // A stranger's event says what the stranger wrote, and where it really came from.
    let group = Group::unused();
    let c = bus(group);
    let tap = Tap::join(group);
    let seen = Seen::new();
    let list = seen.clone();
    c.on_named("x", move |e: &Received<Args>| list.push(e.origin().clone()));
    let message = Message::event(group, "x", vec![]).set("host", "198.51.100.7");
    tap.send(&message.bytes());
    let message = Message::event(group, "x", vec![]).set("time", "yesterday");
    tap.send(&message.bytes());
    let heard = seen.wait_for(2);
    assert_eq!(heard[0].host(), "198.51.100.7");
    assert_eq!(heard[0].hostname(), "crafted");
    assert_eq!(heard[0].id(), "00000000c0ffee00");
    assert_eq!(heard[0].address().port(), tap.port());
    assert_eq!((heard[0].incarnation(), heard[0].number()), (None, None));
    let since = heard[0].time().expect("a good time");
    let since = since.duration_since(SystemTime::UNIX_EPOCH);
    assert_eq!(since.expect("after 1970").as_millis(), 1_795_585_423_172);
    assert_eq!(heard[1].time(), None);
}

fn a_decode_failure_is_reported() {
    let (a, b) = pair();
    let told = Seen::new();
    let list = told.clone();
    b.on_notice(move |notice: &Notice| {
        if let Notice::DecodeFailure {
            key, sender, error, ..
        } = notice
        {
            list.push((key.clone(), sender.id().to_owned(), error.to_string()));
        }
    });
    let joined = typed::<Joined>(&b);
    let named = count(&b, "Joined");
    for _ in 0..20 {
        a.emit_named("Joined", bson!({ "user": 3.5, "name": "Ada" }))
            .expect("the bus runs");
    }
    named.wait_for(20);
    a.emit(ada()).expect("the bus runs");
    assert_eq!(joined.wait_for(1), [ada()]);
    assert_eq!(b.stats().decode_failures, 20);
    let told = told.wait_for(1);
    assert!(
        told.len() < 5,
        "twenty failures are not twenty notices: {told:?}"
    );
    let (event, sender, error) = &told[0];
    assert_eq!(
        (event.as_str(), sender.as_str()),
        ("Joined", a.id().as_str())
    );
    assert!(error.contains("user") && error.contains("3.5"), "{error}");
}

fn reading_thread_runs_quick_listeners() {
    let group = Group::unused();
    let a = bus(group);
    // The scheduler may put any thread aside for longer than the usual budget.
    let patient = common::builder(group).listener_budget(std::time::Duration::from_secs(30));
    let b = common::started(patient);
    let threads = Seen::new();
    let count = Count::default();
    let (list, counted) = (threads.clone(), count.clone());
    b.on_named("quick", move |_: &Received<Args>| {
        let thread = std::thread::current();
        list.push((thread.id(), thread.name().map(str::to_owned)));
        counted.add();
    });
    paced(
        10_000,
        || count.get(),
        |index| {
            a.emit_named("quick", index as i32).expect("the bus runs");
        },
    );
    let threads: HashSet<_> = threads.all().into_iter().collect();
    assert_eq!(threads.len(), 1, "{threads:?}");
    let (id, name) = threads.into_iter().next().expect("one");
    assert_ne!(id, std::thread::current().id());
    assert_eq!(name.as_deref(), Some("eventcast-read"));
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Sample<T>(T);

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct Frame<const N: usize> {
    #[serde(with = "serde_arrays_of_four")]
    bytes: [u8; N],
}

/// Serde itself has arrays of a fixed length only for lengths that it knows.
mod serde_arrays_of_four {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer, const N: usize>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        bytes.as_slice().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        bytes
            .try_into()
            .map_err(|_| D::Error::custom(format!("expected {N} bytes")))
    }
}

#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
enum Either<T> {
    One(T),
    Neither,
}

fn generic_events() {
    let (a, b) = pair();
    assert_eq!(Sample::<u8>::KEY, "Sample<u8>");
    assert_eq!(Frame::<4>::KEY, "Frame<4>");
    let bytes = typed::<Sample<u8>>(&b);
    let texts = typed::<Sample<Vec<String>>>(&b);
    let frames = typed::<Frame<4>>(&b);
    let others = typed::<Frame<5>>(&b);
    let either = typed::<Either<i64>>(&b);
    let named = collect(&b, "Sample<Vec<String>>");
    a.emit(Sample(200_u8)).expect("the bus runs");
    a.emit(Sample(vec!["a".to_owned()])).expect("the bus runs");
    a.emit(Frame {
        bytes: [1, 2, 3, 4],
    })
    .expect("the bus runs");
    a.emit(Either::One(1_i64 << 40)).expect("the bus runs");
    a.emit(Either::<i64>::Neither).expect("the bus runs");
    assert_eq!(bytes.wait_for(1), [Sample(200)]);
    assert_eq!(texts.wait_for(1), [Sample(vec!["a".to_owned()])]);
    assert_eq!(
        frames.wait_for(1),
        [Frame {
            bytes: [1, 2, 3, 4]
        }]
    );
    assert_eq!(either.wait_for(2), [Either::One(1 << 40), Either::Neither]);
    assert_eq!(named.wait_for(1)[0][..], [bson!(["a"])]);
    assert!(others.is_empty());
}

#[allow(non_camel_case_types, reason = "the very thing that is tried")]
#[derive(NetEvent, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct r#type {
    r#match: u8,
}

fn raw_names() {
    let (a, b) = pair();
    assert_eq!(r#type::KEY, "type");
    let seen = typed::<r#type>(&b);
    let named = collect(&b, "type");
    a.emit(r#type { r#match: 1 }).expect("the bus runs");
    assert_eq!(seen.wait_for(1), [r#type { r#match: 1 }]);
    assert_eq!(named.wait_for(1)[0][..], [bson!({ "match": 1 })]);
}

fn subscribe() {
    for runtime in Runtime::ALL {
        runtime.run(eventcast_tests::wait::soon(async {
            let group = Group::unused();
            let a = common::builder(group).start().await.expect("a bus starts");
            let b = common::builder(group).start().await.expect("a bus starts");
            let mut joined = b.subscribe::<Joined>();
            let mut named = b.subscribe_named("Joined");
            assert!(joined.try_next().is_err());
            a.emit(ada()).expect("the bus runs");
            let first = joined.next().await.expect("the bus is there");
            assert_eq!(*first, ada());
            assert_eq!(first.origin().id(), a.id());
            assert_eq!(first.into_inner(), ada());
            let by_name = named.next().await.expect("the bus is there");
            assert_eq!(by_name[..], [bson!({ "user": 7, "name": "Ada" })]);
            // Local ones come too.
            b.emit(ada()).expect("the bus runs");
            let local = joined.next().await.expect("the bus is there");
            assert!(local.origin().is_local());
            // It outlives a stop.
            b.stop().await.expect("it stops");
            b.start().await.expect("it starts");
            a.emit(ada()).expect("the bus runs");
            joined.next().await.expect("the bus is there");
            assert_eq!(joined.missed(), 0);
            assert_eq!(b.listener_count::<Joined>(), 2);
            drop(named);
            assert_eq!(b.listener_count::<Joined>(), 1);
            // It ends with the last handle, after what waits in it.
            b.emit(ada()).expect("the bus runs");
            drop(b);
            assert!(joined.next().await.is_some());
            assert!(joined.next().await.is_none());
        }));
    }
}

fn subscription_drops_the_oldest() {
    let bus = bus(Group::unused());
    let mut numbers = bus.subscribe_named("number");
    for number in 0..1_500 {
        bus.emit_named("number", number).expect("the bus runs");
    }
    assert_eq!(numbers.missed(), 1_500 - 1_024);
    let mut expected = 1_500 - 1_024;
    while let Ok(number) = numbers.try_next() {
        assert_eq!(number[..], [Bson::Int32(expected)]);
        expected += 1;
    }
    assert_eq!(expected, 1_500);
}

fn wait_for() {
    let (a, b) = pair();
    // It is registered when it is made, not when it is first polled.
    let first = b.wait_for::<Joined>();
    let named = b.wait_for_named("Joined");
    let passed = count(&b, "Joined");
    a.emit(ada()).expect("the bus runs");
    a.emit(Joined { user: 8, ..ada() }).expect("the bus runs");
    passed.wait_for(2);
    assert_eq!(
        block_on(first).expect("the bus is there").into_inner(),
        ada()
    );
    let named = block_on(named).expect("the bus is there");
    assert_eq!(named[..], [bson!({ "user": 7, "name": "Ada" })]);
    assert_eq!(b.listener_count::<Joined>(), 1);

    let never = b.wait_for::<Ping>();
    drop(b);
    assert!(block_on(never).is_err(), "the last handle went");
}

fn stats() {
    let (a, b) = pair();
    let (seen, big) = (count(&b, "x"), count(&b, "big"));
    let before = (a.stats(), b.stats());
    for _ in 0..10 {
        a.emit_named("x", "ten times").expect("the bus runs");
    }
    a.emit_named("big", "b".repeat(3_000))
        .expect("the bus runs");
    seen.wait_for(10);
    big.wait_for(1);
    fence_between(&a, &b);
    let after = (a.stats(), b.stats());
    // Ten, three or four chunks, the fence, and the hellos: one a second, and at most three beside.
    assert_eq!(after.0.events_emitted - before.0.events_emitted, 12);
    assert_eq!(after.1.events_received - before.1.events_received, 12);
    let sent = after.0.datagrams_sent - before.0.datagrams_sent;
    assert!((14..=19).contains(&sent), "{sent} datagrams");
    let bytes = after.0.bytes_sent - before.0.bytes_sent;
    assert!((5_000..10_000).contains(&bytes), "{bytes} bytes");
    assert!(after.1.datagrams_received - before.1.datagrams_received >= sent);
    assert!(after.1.bytes_received - before.1.bytes_received >= bytes);
    assert_eq!(after.1.kernel_drops, 0);
    // They stay when the bus stops, and go on when it starts again.
    block_on(a.stop()).expect("it stops");
    assert!(a.stats().datagrams_sent >= after.0.datagrams_sent);
    block_on(a.start()).expect("it starts");
    a.emit_named("x", ()).expect("the bus runs");
    assert!(a.stats().events_emitted > after.0.events_emitted);
}

fn notices_as_a_stream() {
    let bus = common::builder(Group::unused())
        .build()
        .expect("good options");
    let mut notices = bus.notices();
    block_on(async {
        bus.start().await.expect("it starts");
        assert!(matches!(notices.next().await, Some(Notice::Started { .. })));
        bus.stop().await.expect("it stops");
        assert!(matches!(notices.next().await, Some(Notice::Stopped)));
        drop(bus);
        assert!(notices.next().await.is_none());
    });
}

fn error_is_an_event() {
    let group = Group::unused();
    let (a, b) = (bus(group), bus(group));
    let tap = Tap::join(group);
    let mismatches = Seen::new();
    let list = mismatches.clone();
    b.on_notice(move |notice: &Notice| {
        if let Notice::VersionMismatch {
            from, theirs, ours, ..
        } = notice
        {
            list.push((from.port(), *theirs, *ours));
        }
    });
    let strange = Message::event(group, "x", vec![]).set("v", 99);
    let unreadable = craft::join(b"no document", b"");
    for round in 1..=2 {
        let errors = (round == 2).then(|| {
            let seen = Seen::new();
            let list = seen.clone();
            b.on_named("error", move |e: &Received<Args>| {
                list.push((e.origin().is_local(), (**e).clone()));
            });
            seen
        });
        a.emit_named("error", "boom").expect("an ordinary event");
        common::send_paced(&tap, &b, (0..1_000).map(|_| strange.bytes()));
        common::send_paced(&tap, &b, (0..10).map(|_| &unreadable));
        fence(&tap, &b, group);
        if let Some(errors) = errors {
            let errors = errors.wait_for(1);
            assert_eq!(
                errors.len(),
                1,
                "internal failures are no events: {errors:?}"
            );
            assert!(!errors[0].0);
            assert_eq!(errors[0].1[..], [Bson::String("boom".to_owned())]);
        }
        assert_eq!(b.stats().dropped_for(DropCause::Version), round * 1_000);
    }
    let mismatches = mismatches.wait_for(1);
    assert!(mismatches.len() <= 3, "{} notices", mismatches.len());
    assert_eq!(mismatches[0], (tap.port(), 99, 3));
    eventually("it still runs", || b.is_running());
}
