//! Reasons and causes are enums: a program matches them, and their `Display` is what the notice
//! says.

use std::{collections::BTreeSet, time::Duration};

use eventcast::{
    Bus, Config, DropCause, EmitErrorKind, ExpiredReason, LeftReason, LostReason, NetEvent, Notice,
    RefusedCause,
};
use eventcast_tests::{
    craft::Message,
    group::Group,
    runner::Case,
    tap::Tap,
    wait::{Seen, eventually},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::common::{builder, fence, pair, started};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("api::causes_of_refusals_are_matched", refusals),
        Case::new("api::every_cause_is_counted_from_the_start", every_cause),
        Case::new("api::reasons_are_shown_as_the_notices_say_them", reasons),
        Case::new(
            "api::bytes_as_numbers_are_named_where_they_are_too_many",
            bytes_as_numbers,
        ),
        Case::new("api::config_has_the_values_in_force", config_in_force),
    ]
}

fn refusals() {
    let group = Group::unused();
    let bus = started(builder(group));
    let seen = Seen::new();
    let list = seen.clone();
    bus.on_notice(move |notice: &Notice| {
        if let Notice::Refused { cause, .. } = notice {
            assert!(notice.to_string().contains(cause.name()), "{notice}");
            list.push(*cause);
        }
    });
    let tap = Tap::join(group);
    tap.send(&[0xff, 0xff]);
    tap.send(&Message::event(group, "__ec_nobody", vec![]).bytes());
    fence(&tap, &bus, group);
    let mut seen = seen.wait_for(2);
    seen.sort_by_key(|cause| cause.name());
    let causes = [DropCause::Malformed, DropCause::Reserved].map(RefusedCause::Dropped);
    assert_eq!(seen, causes);
    assert_eq!(bus.stats().dropped_for(DropCause::Malformed), 1);

    // With another key, and in the clear.
    let sealed = builder(group).passphrase(eventcast::Secret::ready_key([1; 32]));
    let sealed = started(sealed);
    let seen = Seen::new();
    let list = seen.clone();
    sealed.on_notice(move |notice: &Notice| {
        if let Notice::Refused { cause, .. } = notice {
            list.push(*cause);
        }
    });
    let other = builder(group).passphrase(eventcast::Secret::ready_key([2; 32]));
    let other = started(other);
    other.emit_named("x", ()).expect("it runs");
    bus.emit_named("x", ()).expect("it runs");
    eventually("both are told", || {
        let all = seen.all();
        all.contains(&RefusedCause::Unopened)
            && all.contains(&RefusedCause::Dropped(DropCause::Clear))
    });
    assert_eq!(RefusedCause::Unopened.to_string(), "unopened");
}

fn every_cause() {
    let (a, _) = pair();
    let counted: BTreeSet<_> = a.stats().dropped.into_keys().collect();
    assert_eq!(counted, DropCause::ALL.into_iter().collect());
    assert_eq!(DropCause::Duplicate.to_string(), "duplicate");
}

fn reasons() {
    for (shown, text) in [
        (
            LostReason::Crowded.to_string(),
            "too many later events waited",
        ),
        (ExpiredReason::Overdue.to_string(), "not complete"),
        (LeftReason::Goodbye.to_string(), "goodbye"),
    ] {
        assert!(shown.contains(text), "{shown}");
    }
}

#[derive(NetEvent, Serialize, Deserialize)]
struct Picture {
    name: String,
    frames: Vec<Frame>,
}

#[derive(Serialize, Deserialize)]
struct Frame {
    pixels: Vec<u8>,
}

#[derive(NetEvent, Serialize, Deserialize)]
struct Text(String);

fn bytes_as_numbers() {
    let group = Group::unused();
    let bus = started(builder(group).max_message_size(64 << 10));
    let picture = |pixels| Picture {
        name: "p".into(),
        frames: vec![Frame {
            pixels: vec![7; pixels],
        }],
    };
    bus.emit(picture(4_000)).expect("it fits");
    let error = bus.emit(picture(20_000)).expect_err("it is too large");
    let EmitErrorKind::TooLarge {
        bytes_as_numbers, ..
    } = error.kind()
    else {
        panic!("{error}");
    };
    assert_eq!(*bytes_as_numbers, Some(("frames[0].pixels".into(), 20_000)));
    let text = error.to_string();
    assert!(
        text.contains("`frames[0].pixels` is a list of 20000 numbers"),
        "{text}"
    );
    assert!(text.contains("serde_bytes"), "{text}");
    // On a bus that does not run it is the same, and by key.
    bus.stop_blocking().expect("it stops");
    let stopped = bus.emit(picture(20_000)).expect_err("it is too large");
    let stopped = stopped.to_string();
    assert!(stopped.contains("`frames[0].pixels`"), "{stopped}");
    let by_name = bus.emit_named("x", (vec![7_u8; 20_000],));
    let by_name = by_name.expect_err("it is too large").to_string();
    assert!(by_name.contains("serde_bytes"), "{by_name}");
    let other = bus.emit(Text("x".repeat(100_000)));
    let other = other.expect_err("it is too large").to_string();
    assert!(!other.contains("serde_bytes"), "{other}");
}

fn config_in_force() {
    let group = Group::unused();
    let file: Config =
        serde_json::from_value(json!({ "multicastTtl": 3, "port": 1 })).expect("good options");
    let bus = builder(group)
        .config(file)
        .max_payload_size(1_200)
        .passphrase("correct horse battery staple")
        .build()
        .expect("good options");
    let config = bus.config();
    assert_eq!(config.port, Some(group.port), "the builder beats the file");
    assert_eq!(config.multicast_ttl, Some(3), "as the file says");
    assert_eq!(config.max_payload_size, Some(1_200), "as the builder says");
    assert_eq!(config.max_listeners, Some(10), "the default");
    assert_eq!(
        config.message_ttl,
        Some(Duration::from_secs(3)),
        "the default"
    );
    assert_eq!(config.id, None, "it has none that was given");
    let shown = format!("{config:?}");
    assert!(!shown.contains("horse"), "{shown}");
    // It makes a bus of the same kind.
    let again = Bus::builder().environment(false).config(config.clone());
    assert_eq!(again.build().expect("they are good").config(), config);
}
