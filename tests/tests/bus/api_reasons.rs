//! Reasons and causes are enums: a program matches them, and their `Display` is what the notice says.

use std::collections::BTreeSet;

use eventcast::{DropCause, ExpiredReason, LeftReason, LostReason, Notice, RefusedCause};
use eventcast_tests::{
    craft::Message,
    group::Group,
    runner::Case,
    tap::Tap,
    wait::{Seen, eventually},
};

use crate::common::{builder, fence, pair, started};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("api::causes_of_refusals_are_matched", refusals),
        Case::new("api::every_cause_is_counted_from_the_start", every_cause),
        Case::new("api::reasons_are_shown_as_the_notices_say_them", reasons),
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
        (LostReason::Crowded.to_string(), "too much waited"),
        (ExpiredReason::Overdue.to_string(), "not complete"),
        (LeftReason::Goodbye.to_string(), "goodbye"),
    ] {
        assert!(shown.contains(text), "{shown}");
    }
}
