//! Where keys come from, and how others take their place.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bson::Bson;
use eventcast::{Error, Keys, Notice, Secret};
use eventcast_tests::{
    group::Group,
    runner::Case,
    wait::{Seen, block_on, eventually},
};

use super::{dropped, key, sealed};
use crate::common::{builder, collect, count, fence_between, started};

pub(super) fn cases() -> Vec<Case> {
    let case = |name: &str, body: fn()| Case::new(name, body);
    vec![
        case("sealed::keys_change_without_a_lost_event", keys_change),
        case(
            "sealed::set_keys_says_what_is_wrong",
            set_keys_says_what_is_wrong,
        ),
        case(
            "sealed::deriving_a_key_blocks_no_runtime_thread",
            deriving_a_key_blocks_no_runtime_thread,
        ),
        case("sealed::stopped_while_it_starts", stopped_while_it_starts),
        case("sealed::keys_set_while_it_starts", keys_set_while_it_starts),
        case("sealed::blanks_at_an_end_are_warned_about", stray_blanks),
        Case::new(
            "sealed::short_passphrases_are_warned_about",
            short_passphrases,
        ),
    ]
}

fn keys_change() {
    let group = Group::unused();
    let buses = Arc::new([started(sealed(group, 10)), started(sealed(group, 10))]);
    let heard = collect(&buses[1], "sealed/change");
    let emitted = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let emitting = {
        let (buses, emitted, over) = (Arc::clone(&buses), Arc::clone(&emitted), Arc::clone(&over));
        std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                let number = emitted.fetch_add(1, Ordering::SeqCst) as i32;
                buses[0]
                    .emit_named("sealed/change", number)
                    .expect("there is room");
                std::thread::sleep(Duration::from_micros(300));
            }
        })
    };
    let [old, new] = [key(10), key(11)];
    for round in [
        Keys::new(old.clone()).and_receive(new.clone()),
        Keys::new(new.clone()).and_receive(old),
        Keys::new(new.clone()),
    ] {
        for bus in &*buses {
            let so_far = emitted.load(Ordering::SeqCst);
            eventually("more are emitted", || {
                emitted.load(Ordering::SeqCst) > so_far + 50
            });
            block_on(bus.set_keys(round.clone())).expect("these are keys");
        }
        // The next round begins when this one is through everywhere, what is on its way included.
        let so_far = emitted.load(Ordering::SeqCst) as usize;
        eventually("all have come", || heard.len() >= so_far);
    }
    over.store(true, Ordering::SeqCst);
    emitting.join().expect("it ended well");
    let emitted = emitted.load(Ordering::SeqCst);
    eventually("all have come", || heard.len() as u64 == emitted);
    let numbers: Vec<_> = heard.all().iter().map(|args| args[0].clone()).collect();
    let wrong = (0..)
        .zip(&numbers)
        .find(|(index, number)| **number != Bson::Int32(*index));
    assert_eq!(wrong, None, "in order");
    assert_eq!(buses[1].stats().events_lost, 0);
    // A bus with the old key alone is not heard any more, and one with the new is.
    let (old, new) = (
        started(sealed(group, 10)),
        started(builder(group).passphrase(new)),
    );
    let refused = dropped(&buses[1], "key");
    old.emit_named("sealed/change", "old").expect("it runs");
    eventually("it is refused", || dropped(&buses[1], "key") > refused);
    fence_between(&new, &buses[1]);
    assert_eq!(heard.len() as u64, emitted);
}

fn set_keys_says_what_is_wrong() {
    let group = Group::unused();
    let open = builder(group).build().expect("good options");
    let error = block_on(open.set_keys(Keys::new(key(1)))).unwrap_err();
    assert!(matches!(error, Error::NotSealed), "{error}");
    let closed = sealed(group, 1).build().expect("good options");
    for keys in [
        Keys::new(""),
        Keys::new(key(1)).and_receive(Secret::ready_key([1; 31])),
    ] {
        let error = block_on(closed.set_keys(keys)).unwrap_err();
        assert!(matches!(error, Error::SealKey(_)), "{error}");
    }
    // On a stopped bus too: it starts with them.
    block_on(closed.set_keys(Keys::new(key(2)))).expect("it is a key");
    block_on(closed.start()).expect("it starts");
    let other = started(sealed(group, 2));
    let heard = count(&closed, "sealed/set");
    other.emit_named("sealed/set", ()).expect("it runs");
    heard.wait_for(1);
}

/// CR-04, second half: the slow derivation is on no thread of the runtime.
fn deriving_a_key_blocks_no_runtime_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let bus = builder(Group::unused())
            .passphrase("a passphrase that nothing else here uses")
            .build()
            .expect("good options");
        let started = bus.start();
        let mut ticks = 0_u32;
        let ticking = async {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            loop {
                tick.tick().await;
                ticks += 1;
            }
        };
        tokio::select! {
            started = started => started.expect("it starts"),
            () = ticking => unreachable!("it ticks for ever"),
        }
        // It takes more than a tenth of a second on the fastest machine; had it been here, none had
        // come.
        assert!(ticks >= 3, "{ticks} ticks");
        assert!(bus.is_running());
        // The next start has the key.
        bus.stop().await.expect("it stops");
        drop(bus.start());
        assert!(bus.is_running());
    });
}

fn stopped_while_it_starts() {
    let secret = "another passphrase that nothing else here uses";
    let bus = builder(Group::unused())
        .passphrase(secret)
        .build()
        .expect("good options");
    let started = bus.start();
    let again = bus.start();
    assert!(!bus.is_running());
    block_on(bus.stop()).expect("it stops");
    for started in [started, again] {
        assert!(matches!(block_on(started), Err(Error::Stopped)));
    }
    block_on(bus.start()).expect("it starts");
    assert!(bus.is_running());
    // Nothing is left of one that goes while it starts.
    let other = builder(Group::unused()).passphrase("and one that never gets so far");
    let other = other.build().expect("good options");
    let started = other.start();
    drop(other);
    assert!(matches!(block_on(started), Err(Error::Stopped)));
}

fn keys_set_while_it_starts() {
    let group = Group::unused();
    let secret = "a passphrase that is replaced before it was ever used";
    let bus = builder(group).passphrase(secret);
    let bus = bus.build().expect("good options");
    let started_meanwhile = bus.start();
    let set = bus.set_keys(Keys::new(key(13)));
    block_on(started_meanwhile).expect("it starts");
    block_on(set).expect("it is a key");
    let other = started(sealed(group, 13));
    let heard = count(&other, "sealed/meanwhile");
    bus.emit_named("sealed/meanwhile", ()).expect("it runs");
    heard.wait_for(1);
    // Never, not even at first, in the clear.
    assert_eq!(dropped(&other, "clear"), 0);
}

/// A variable or a file brought one along.
fn stray_blanks() {
    let group = Group::unused();
    let told = |with: fn(eventcast::Builder) -> eventcast::Builder| {
        let bus = with(builder(group)).build().expect("good options");
        let told = Seen::new();
        let list = told.clone();
        bus.on_notice(move |notice: &Notice| list.push(notice.to_string()));
        block_on(bus.start()).expect("it starts");
        (bus, told)
    };
    let (_good, good_told) = told(|builder| builder.passphrase("alpha bravo charlie"));
    let (bad, bad_told) = told(|builder| builder.passphrase("alpha bravo charlie\n"));
    let (_salted, salted_told) = told(|builder| {
        builder
            .passphrase(Secret::ready_key([7; 32]))
            .key_salt("a salt ")
    });
    let says = |told: &Seen<String>, text: &str| told.all().iter().any(|line| line.contains(text));
    eventually("it is warned about", || {
        says(
            &bad_told,
            "the passphrase begins or ends with a blank or a line break",
        ) && says(&salted_told, "the key_salt begins or ends with a blank")
    });
    bad.emit_named("x", ()).expect("the bus runs");
    eventually("the other side names it as well", || {
        says(
            &good_told,
            "another passphrase (a blank or a line break at its end counts, too)",
        )
    });
    assert!(!says(&good_told, "begins or ends"), "{good_told:?}");
    for line in bad_told.all().iter().chain(&good_told.all()) {
        assert!(!line.contains("alpha"), "{line}");
    }
}

fn short_passphrases() {
    let group = Group::unused();
    for (passphrase, warned) in [("elevenbytes", true), ("twelve bytes", false)] {
        let bus = builder(group)
            .passphrase(passphrase)
            .build()
            .expect("good options");
        let told = Seen::new();
        let list = told.clone();
        bus.on_notice(move |notice: &Notice| list.push(notice.to_string()));
        block_on(bus.start()).expect("it starts");
        eventually("it says that it runs", || {
            told.all().iter().any(|text| text.starts_with("started"))
        });
        let warnings = told
            .all()
            .iter()
            .filter(|text| text.contains("is short"))
            .count();
        assert_eq!(warnings, usize::from(warned));
        for shown in told.all().iter().chain([&format!("{bus:?} {bus:#?}")]) {
            assert!(!shown.contains(passphrase), "{shown}");
        }
    }
}
