//! The checker on histories written by hand: for each promise those that keep it, and those that
//! break it.

mod story;

use eventcast_tests::{
    runner::Case,
    world::{
        checker::Promise,
        history::{Content, End, Kind, Life, MILLI, MessageKey, Nanos, Record, What},
    },
};

use self::story::{
    LATECOMER, OLD, QUIET_FROM, REBORN, RECEIVER, SENDER, Story, address, breaks, digest, keeps,
    message,
};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("checker::once", once),
        Case::new("checker::order", order),
        Case::new("checker::all_or_reported", all_or_reported),
        Case::new("checker::what_is_owed", what_is_owed),
        Case::new("checker::true_reports", true_reports),
        Case::new("checker::nothing_invented", nothing_invented),
        Case::new("checker::memory", memory),
        Case::new("checker::quiet", quiet),
        Case::new("checker::no_storm", no_storm),
        Case::new("checker::no_strangers", no_strangers),
        Case::new("checker::old_peers", old_peers),
        Case::new("checker::one_group", one_group),
        Case::new("checker::no_spin", no_spin),
        Case::new("checker::presence", presence),
        Case::new("checker::two_that_share_an_id", two_that_share_an_id),
        Case::new("checker::stopped", stopped),
    ]
}

fn once() {
    let best_effort = || Story::new().sends_best_effort(0);
    keeps(best_effort().gets(RECEIVER, 0).gets(LATECOMER, 0));
    keeps(best_effort());
    breaks(
        Promise::Once,
        best_effort().gets(RECEIVER, 0).gets(RECEIVER, 0),
    );
    // Given up and then finished after all, or the other way round.
    breaks(
        Promise::Once,
        best_effort().gives_up(RECEIVER, 0).gets(RECEIVER, 0),
    );
    breaks(
        Promise::Once,
        best_effort().gets(RECEIVER, 0).gives_up(RECEIVER, 0),
    );
    breaks(
        Promise::Once,
        Story::new()
            .sends(1)
            .hears(RECEIVER, 1)
            .gets(RECEIVER, 0)
            .gets(RECEIVER, 0),
    );
}

fn order() {
    let three = || Story::new().sends(3).hears(RECEIVER, 3);
    keeps(
        three()
            .gets(RECEIVER, 0)
            .gets(RECEIVER, 1)
            .gets(RECEIVER, 2),
    );
    breaks(
        Promise::Order,
        three()
            .gets(RECEIVER, 0)
            .gets(RECEIVER, 2)
            .gets(RECEIVER, 1),
    );
    // What is not waited for may come in any order.
    let loose = Story::new().sends_best_effort(0).sends_best_effort(1);
    keeps(loose.gets(RECEIVER, 1).gets(RECEIVER, 0));
    // Numbers are counted by whoever writes the history too.
    breaks(Promise::Order, Story::new().sends_numbered(0, Some(2)));
    breaks(Promise::Order, Story::new().sends_numbered(0, None));
}

fn all_or_reported() {
    let three = || Story::new().sends(3).hears(RECEIVER, 3);
    keeps(three().gets(RECEIVER, 0).loses(RECEIVER, 2, 3));
    keeps(
        three()
            .gets(RECEIVER, 0)
            .gives_up(RECEIVER, 1)
            .gets(RECEIVER, 2),
    );
    // A hole in the middle, unless it is told within ten seconds.
    breaks(
        Promise::AllOrReported,
        three().gets(RECEIVER, 0).gets(RECEIVER, 2),
    );
    let told_after = |pause| {
        let story = three().gets(RECEIVER, 0).gets(RECEIVER, 2).lasts(2 * pause);
        story.after(pause).loses(RECEIVER, 2, 2)
    };
    keeps(told_after(10_000 * MILLI));
    breaks(Promise::AllOrReported, told_after(10_100 * MILLI));
    // Who ends before that need not have been told; who ends later must have been.
    let ends_after = |pause| {
        let story = three().gets(RECEIVER, 0).gets(RECEIVER, 2).lasts(2 * pause);
        story.after(pause).ends(RECEIVER, End::Crashed)
    };
    keeps(ends_after(9_000 * MILLI));
    breaks(Promise::AllOrReported, ends_after(10_100 * MILLI));
    // In sum with others, of which one is named by its message.
    keeps(
        three()
            .gets(RECEIVER, 0)
            .loses(RECEIVER, 2, 3)
            .gives_up_without_number(RECEIVER, 2),
    );
    // The end, and the beginning.
    breaks(
        Promise::AllOrReported,
        three().gets(RECEIVER, 0).gets(RECEIVER, 1),
    );
    breaks(
        Promise::AllOrReported,
        three().gets(RECEIVER, 1).gets(RECEIVER, 2),
    );
    // A bus of which nothing was ever heard, though it lived on.
    breaks(Promise::AllOrReported, Story::new().sends(1));
}

fn what_is_owed() {
    // Who came later is owed what follows the first number that it heard.
    let late = || Story::new().sends(3).hears_late(2);
    keeps(late().gets(LATECOMER, 2));
    keeps(late().gets(LATECOMER, 1).gets(LATECOMER, 2));
    breaks(Promise::AllOrReported, late().gets(LATECOMER, 1));
    // What an altered datagram said may have counted, or not.
    let doubtful = Story::new().sends(3).hears_altered(LATECOMER, 3);
    keeps(doubtful.hears_late(1));

    // What was sent after its sender had heard of it is owed, whatever it heard first.
    let greeted = || {
        let heard_of = What::Heard {
            by: SENDER,
            of: LATECOMER,
            number: 0,
            claimed: true,
            altered: false,
        };
        Story::new().then(heard_of).sends(3).hears_late(3)
    };
    keeps(
        greeted()
            .gets(LATECOMER, 0)
            .gets(LATECOMER, 1)
            .gets(LATECOMER, 2),
    );
    keeps(greeted().gets(LATECOMER, 2).loses(LATECOMER, 1, 2));
    breaks(Promise::AllOrReported, greeted().gets(LATECOMER, 2));

    // Who ended is owed for as far as anybody could know.
    let ended = |how| {
        Story::new()
            .sends(3)
            .hears(RECEIVER, 2)
            .ends(SENDER, how)
            .gets(RECEIVER, 0)
    };
    keeps(ended(End::Crashed).gets(RECEIVER, 1));
    keeps(ended(End::Left).loses(RECEIVER, 2, 2));
    breaks(Promise::AllOrReported, ended(End::Crashed));
    breaks(Promise::AllOrReported, ended(End::Left));
    // A receiver that ended is owed nothing.
    keeps(
        Story::new()
            .sends(3)
            .hears(RECEIVER, 3)
            .ends(RECEIVER, End::Crashed),
    );

    // Who knew an earlier life is owed all of the next, though it started before that one.
    let reborn = |knew: bool| {
        let story = Story::new().at(250 * MILLI).ends(SENDER, End::Crashed);
        let story = story.at(1_000 * MILLI);
        let story = if knew { story.hears_late(0) } else { story };
        story.reborn_sends_two_and_latecomer_hears_the_second()
    };
    keeps(reborn(false));
    breaks(Promise::AllOrReported, reborn(true));
    // Not where that one lives on: then it is another bus with the same id.
    let story = Story::new().at(400 * MILLI).ends(SENDER, End::Crashed);
    let story = story.at(1_000 * MILLI).hears_late(0);
    keeps(story.reborn_sends_two_and_latecomer_hears_the_second());
}

fn true_reports() {
    let two = || Story::new().sends(2).hears(RECEIVER, 2);
    keeps(two().loses(RECEIVER, 1, 2));
    // What was only claimed when it was told may come after all, in its turn.
    let claimed = || {
        let story = Story::new().sends(2).hears(RECEIVER, 1);
        story.then(What::Heard {
            by: RECEIVER,
            of: SENDER,
            number: 2,
            claimed: true,
            altered: false,
        })
    };
    keeps(claimed().loses(RECEIVER, 1, 2).gets(RECEIVER, 1));
    for broken in [
        // Never sent.
        two().loses(RECEIVER, 1, 3),
        two().loses(RECEIVER, 0, 2),
        two().loses(RECEIVER, 2, 1).loses(RECEIVER, 1, 2),
        // Told twice.
        two().loses(RECEIVER, 1, 2).loses(RECEIVER, 2, 2),
        // Delivered before, or after.
        two().gets(RECEIVER, 0).loses(RECEIVER, 1, 2),
        two()
            .loses(RECEIVER, 1, 1)
            .gets(RECEIVER, 0)
            .gets(RECEIVER, 1),
        // The same where only the second was claimed.
        claimed()
            .loses(RECEIVER, 1, 2)
            .gets(RECEIVER, 0)
            .gets(RECEIVER, 1),
        claimed().loses(RECEIVER, 1, 2).loses(RECEIVER, 2, 2),
        // Of nobody.
        two().loses_of_nobody().loses(RECEIVER, 1, 2),
        // In a network in which nothing has to be lost, but what is asked for a few times only.
        two().mild().loses(RECEIVER, 1, 2),
    ] {
        breaks(Promise::TrueReports, broken);
    }
    let mild = two().mild();
    keeps(mild.gives_up(RECEIVER, 0).gives_up(RECEIVER, 1));
    let unknown = What::Expired {
        to: RECEIVER,
        message: None,
        number: None,
    };
    breaks(Promise::TrueReports, Story::new().then(unknown));
}

fn nothing_invented() {
    let one = || Story::new().sends(1).hears(RECEIVER, 1);
    let delivered = |from, number, content| {
        one().then(What::Delivered {
            to: RECEIVER,
            from,
            number,
            content,
        })
    };
    let message = message(0);
    let digest = digest(0);
    let whole = Content::Whole { message, digest };
    keeps(delivered(Some(SENDER), Some(1), whole));
    let other = Content::Whole { message, digest: 7 };
    let never = Content::Whole {
        message: MessageKey {
            place: 9,
            ..message
        },
        digest,
    };
    for broken in [
        delivered(Some(OLD), Some(1), whole),
        delivered(None, Some(1), whole),
        delivered(Some(SENDER), Some(2), whole),
        delivered(Some(SENDER), None, whole),
        delivered(Some(SENDER), Some(1), other),
        delivered(Some(SENDER), Some(1), never),
        delivered(Some(SENDER), Some(1), Content::Broken(Some(message))),
        delivered(Some(SENDER), Some(1), Content::Broken(None)),
        // An application gets its own bus's events by another way.
        one().gets(SENDER, 0),
    ] {
        breaks(Promise::NothingInvented, broken);
    }
    // What the network altered where nobody can see it is the network's fault, for this receiver.
    let altered = |to| {
        one()
            .then(What::Altered { to, message })
            .then(What::Delivered {
                to: RECEIVER,
                from: Some(SENDER),
                number: Some(1),
                content: Content::Broken(Some(message)),
            })
    };
    keeps(altered(RECEIVER));
    breaks(Promise::NothingInvented, altered(LATECOMER));

    let asks = |missing| Kind::Nack { of: None, missing };
    breaks(
        Promise::NothingInvented,
        Story::new().casts(RECEIVER, None, asks(vec![(1, 1)])),
    );
    let data = |message| Kind::Data {
        message,
        chunk: 0,
        again: false,
    };
    keeps(
        one()
            .gets(RECEIVER, 0)
            .casts(SENDER, None, data(Some(message))),
    );
    for (by, message) in [(SENDER, None), (RECEIVER, Some(message))] {
        breaks(
            Promise::NothingInvented,
            one().gets(RECEIVER, 0).casts(by, None, data(message)),
        );
    }
}

fn memory() {
    let peak = |bytes| {
        Story::new().then(What::Peak {
            of: RECEIVER,
            what: "held bytes",
            bytes,
            limit: 100,
        })
    };
    keeps(peak(100));
    breaks(Promise::Memory, peak(101));
}

fn quiet() {
    let says = |kind, at| Story::new().at(at).casts(RECEIVER, None, kind);
    keeps(says(Kind::Gone, QUIET_FROM - 1));
    breaks(Promise::Quiet, says(Kind::Gone, QUIET_FROM));
    keeps(says(Kind::Hello, QUIET_FROM));
    // Too many hellos, too few, or to one alone.
    breaks(
        Promise::Quiet,
        says(Kind::Hello, QUIET_FROM).casts(RECEIVER, None, Kind::Hello),
    );
    breaks(Promise::Quiet, Story::new().without_hellos());
    breaks(
        Promise::Quiet,
        Story::new()
            .meets(RECEIVER, address(1))
            .at(QUIET_FROM)
            .casts(RECEIVER, Some(address(1)), Kind::Hello),
    );
}

fn no_storm() {
    let asks = |pauses: &[Nanos]| {
        let mut story = Story::new().sends(1).hears(RECEIVER, 1).gets(RECEIVER, 0);
        for pause in pauses {
            let missing = vec![(1, 1)];
            let of = Some(SENDER);
            story = story
                .after(*pause)
                .casts(RECEIVER, None, Kind::Nack { of, missing });
        }
        story
    };
    keeps(asks(&[0, 20 * MILLI, 40 * MILLI, 80 * MILLI]));
    breaks(Promise::NoStorm, asks(&[0, 5 * MILLI, 5 * MILLI]));
    breaks(Promise::NoStorm, asks(&[20 * MILLI; 21]));
    let three = |pause, by, kind: Kind| {
        let story = Story::new().sends_best_effort(0);
        (0..3).fold(story, |story, _| {
            story.after(pause).casts(by, None, kind.clone())
        })
    };
    let (missing, message_0) = (vec![1], Some(message(0)));
    let asks_chunk = Kind::Retx {
        message: message_0,
        missing,
    };
    keeps(three(50 * MILLI, RECEIVER, asks_chunk.clone()));
    breaks(Promise::NoStorm, three(10 * MILLI, RECEIVER, asks_chunk));
    // What came and was useless is asked for as if it were new.
    let again = |to| {
        let (of, message) = (Some(SENDER), message(0));
        let missing = vec![(1, 1)];
        asks(&[0, 2 * MILLI])
            .after(5 * MILLI)
            .then(What::Altered { to, message })
            .casts(RECEIVER, None, Kind::Nack { of, missing })
    };
    keeps(again(RECEIVER));
    breaks(Promise::NoStorm, again(LATECOMER));
    let repeats = Kind::Data {
        message: message_0,
        chunk: 0,
        again: true,
    };
    keeps(three(50 * MILLI, SENDER, repeats.clone()));
    breaks(Promise::NoStorm, three(10 * MILLI, SENDER, repeats));
}

fn no_strangers() {
    let sends = |story: Story| story.casts(RECEIVER, Some(address(1)), Kind::Gone);
    keeps(sends(Story::new().meets(RECEIVER, address(1))));
    breaks(Promise::NoStrangers, sends(Story::new()));
    breaks(
        Promise::NoStrangers,
        sends(Story::new().meets(RECEIVER, address(2))),
    );
    breaks(
        Promise::NoStrangers,
        sends(Story::new().meets(SENDER, address(1))),
    );
}

fn old_peers() {
    let says = |kinds: &[Kind]| {
        let story = Story::new().sends_best_effort(0);
        kinds.iter().fold(story, |story, kind| {
            story.after(100 * MILLI).casts(SENDER, None, kind.clone())
        })
    };
    let data = |chunk, again| Kind::Data {
        message: Some(message(0)),
        chunk,
        again,
    };
    keeps(says(&[data(0, false), data(1, false), data(0, true)]));
    breaks(Promise::OldPeers, says(&[data(0, false), data(0, false)]));
    // Nobody else opens what is sealed, so a repair needs no wrapping; but it keeps its pauses.
    let twice = || says(&[data(0, false), data(0, false)]).sealed();
    keeps(twice());
    let repair = || data(0, false);
    breaks(
        Promise::NoStorm,
        twice()
            .after(0)
            .casts(SENDER, None, repair())
            .after(10 * MILLI)
            .casts(SENDER, None, repair()),
    );
    breaks(Promise::OldPeers, says(&[Kind::Unreadable]));
    // It knows no numbers, so nothing comes to it in order, but once.
    let two = || {
        Story::new()
            .sends(2)
            .hears(RECEIVER, 2)
            .loses(RECEIVER, 1, 2)
    };
    keeps(two().gets(OLD, 1).gets(OLD, 0));
    breaks(Promise::Once, two().gets(OLD, 0).gets(OLD, 0));
}

fn one_group() {
    let refused = What::Refused {
        by: RECEIVER,
        of: SENDER,
    };
    breaks(Promise::OneGroup, Story::new().then(refused));
}

fn no_spin() {
    breaks(
        Promise::NoSpin,
        Story::new().then(What::Spun { by: RECEIVER }),
    );
}

fn presence() {
    let joined = What::Joined {
        to: RECEIVER,
        of: SENDER,
    };
    let left = |goodbye, said_goodbye, silent_ms: u64, input_waits| {
        let left = What::Left {
            to: RECEIVER,
            of: SENDER,
            goodbye,
            silent_for: Some(silent_ms * MILLI),
            said_goodbye,
            input_waits,
        };
        let story = Story::new().then(joined.clone()).after(MILLI).then(left);
        story.ends(SENDER, End::Crashed)
    };
    keeps(left(false, false, 5_000, false));
    keeps(left(true, true, 0, false));
    // In the clear anybody can say goodbye for who is silent.
    keeps(left(true, false, 2_000, false));
    breaks(Promise::Presence, left(true, false, 2_000, false).sealed());
    breaks(Promise::Presence, left(true, false, 500, false));
    breaks(Promise::Presence, left(false, false, 3_000, false));
    breaks(Promise::Presence, left(false, true, 3_000, false));
    breaks(Promise::Presence, left(false, false, 5_000, true));
    // Told twice, of one that was not there, and not at all.
    let twice = Story::new().then(joined.clone()).then(joined.clone());
    breaks(Promise::Presence, twice);
    let gone = left(false, false, 5_000, false);
    let again = gone.history.records.last().cloned();
    let again = again.expect("that it is gone").what;
    breaks(Promise::Presence, gone.then(again));
    breaks(Promise::Presence, Story::new().knowing_nobody());
    // What a member says in another's name is as good as that one's own word.
    let posed = What::Posed {
        to: RECEIVER,
        of: SENDER,
    };
    let gone = left(false, false, 3_000, false);
    let mut early = gone.clone();
    early
        .history
        .records
        .insert(0, Record { at: 0, what: posed });
    keeps(early);
}

fn two_that_share_an_id() {
    let lives = [SENDER, REBORN];
    let knows = |sure| What::Namesakes {
        by: RECEIVER,
        lives,
        sure,
    };
    let clash = |lives: [Life; 2]| What::Clash {
        to: RECEIVER,
        lives: lives.map(Some),
    };
    let told = |pause| {
        let story = Story::new().then(knows(true)).then(clash(lives));
        story.lasts(2 * pause).after(pause).then(knows(true))
    };
    keeps(told(9_000 * MILLI));
    breaks(Promise::Presence, told(10_100 * MILLI));
    keeps(Story::new().then(knows(false)));
    breaks(Promise::Presence, Story::new().then(knows(true)));
    breaks(Promise::Presence, Story::new().then(clash(lives)));
    let other = clash([SENDER, LATECOMER]);
    let story = Story::new().then(knows(false)).then(clash(lives));
    keeps(story.clone());
    breaks(Promise::Presence, story.then(other));
}

fn stopped() {
    // What could not be told while the bus was stopped is not told late.
    let told_after = |pause, stopped_for| {
        let story = Story::new().sends(3).hears(RECEIVER, 3);
        let story = story.gets(RECEIVER, 0).gets(RECEIVER, 2).lasts(2 * pause);
        let stopped = What::Stopped {
            who: RECEIVER,
            stopped_for,
        };
        story.after(pause).then(stopped).loses(RECEIVER, 2, 2)
    };
    keeps(told_after(15_000 * MILLI, 6_000 * MILLI));
    breaks(
        Promise::AllOrReported,
        told_after(15_000 * MILLI, 4_000 * MILLI),
    );
}
