//! The table of what repair costs, against the one that is kept, and what it must show.

use std::{env, fs, path::Path};

use eventcast_tests::{
    runner::Case,
    world::{
        history::MILLI,
        losses::{self, Draw, EVENTS, HEADINGS, LATENCY, Row},
    },
};

/// What decides all losses in the table.
const SEED: u64 = 1;

/// Set to 1, it writes the table anew.
const RENEW: &str = "EVENTCAST_RENEW";

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("losses_and_what_repair_costs", || {
        let rows = losses::table(SEED);
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        let table = format!("{HEADINGS}{lines}");
        println!("{table}");
        for row in &rows {
            check(row);
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/world/losses.txt");
        if env::var(RENEW).is_ok_and(|value| value == "1") {
            fs::write(&path, &table).expect("the table can be written");
        }
        let kept = fs::read_to_string(&path).expect("the table is kept");
        assert_eq!(
            table, kept,
            "the engine repairs otherwise than {path:?} says. If that is meant, write it anew: \
             {RENEW}=1 cargo test -p eventcast-tests --test world losses"
        );
    })]
}

fn check(row: &Row) {
    let told = row.delivered + row.told_lost;
    assert_eq!(told, row.wanted(), "delivered or told: {row}");
    if row.setup.loss == 0 {
        let unasked = row.repairs_sent + row.requests;
        assert_eq!(unasked, 0, "nothing was missing: {row}");
    }
    if row.setup.loss <= 10 {
        assert_eq!(row.told_lost, 0, "everything can be had: {row}");
    }
    if row.setup.loss != 10 {
        return;
    }
    let (sent, received) = (row.sent_again(), row.received_again());
    match (row.setup.draw, row.setup.receivers) {
        (_, 1) | (Draw::All, _) => assert!(sent < 0.03 && received < 0.03, "{row}"),
        (Draw::Each, 50) => {
            assert!(sent <= 1.3 * row.least_sent_again(), "{row}");
            assert!(received < 0.12, "{row}");
        }
        (Draw::Each, _) => assert!(sent <= 1.3 * row.least_sent_again(), "{row}"),
    }
    let lost = row.recoveries.len() as f64 / row.wanted() as f64;
    assert!((0.005..0.02).contains(&lost), "{lost} of {EVENTS}: {row}");
    let median = row.median_recovery().expect("some were lost");
    assert!(median <= 4 * LATENCY + 20 * MILLI, "{row}");
}
