//! The worlds, and what is printed of them.

use std::{
    env,
    io::{Write as _, stderr},
    process::ExitCode,
    time::Duration,
};

use eventcast_tests::{
    runner::Case,
    world::{
        self,
        figures::Figures,
        history::Record,
        many::{self, Outcome, Report},
        plan::{FAULTS, Plan},
    },
};

/// How many worlds are played unless `EVENTCAST_WORLDS` says otherwise.
const WORLDS: u64 = 100;

/// How many: for `.ci/run`.
const WORLDS_VARIABLE: &str = "EVENTCAST_WORLDS";

/// How many plans are looked at for their kinds.
const PLANNED: u64 = 2_000;

/// What is listed of one failure.
const LISTED: usize = 10;

pub(crate) fn cases() -> Vec<Case> {
    let worlds = Case::new("promises_hold_in_every_world", || {
        let count = env::var(WORLDS_VARIABLE).map_or(WORLDS, |text| {
            text.parse()
                .unwrap_or_else(|_| panic!("{WORLDS_VARIABLE} is a number, not {text:?}"))
        });
        let report = many::run(1, count, many::ENOUGH, |_| {});
        println!("{}", report.figures);
        assert!(report.failures.is_empty(), "{}", failures(&report));
        let Figures {
            worlds,
            posed_as_members,
            usurped,
            posed,
            not_obeyed,
            ..
        } = report.figures;
        if worlds >= WORLDS {
            assert!(posed_as_members * 6 >= worlds && usurped * 15 >= worlds);
            assert!(posed >= 100 * posed_as_members && not_obeyed >= 20 * posed_as_members);
        }
    });
    let kinds = Case::new("worlds_of_every_kind_occur", || {
        let plans: Vec<Plan> = (1..=PLANNED).map(Plan::new).collect();
        let least = |kind: &str, share: f64, is_one: &dyn Fn(&Plan) -> bool| {
            let count = plans.iter().filter(|plan| is_one(plan)).count();
            println!("{kind}: {count} of {PLANNED}");
            assert!(count as f64 >= share * PLANNED as f64, "{kind}: {count}");
        };
        least("sealed", 0.2, &|plan| plan.sealed);
        least("changes its key", 0.03, &|plan| plan.changes_key);
        least("shares an id", 0.08, &|plan| plan.shares_ids);
        least("pauses", 0.1, &|plan| plan.pauses);
        least("mild", 0.2, &|plan| plan.mild);
        least("poses", 0.3, &|plan| plan.poses);
        least("seals as a member", 0.02, &|plan| plan.posed_as.is_some());
        least("poses as members", 0.2, &|plan| {
            plan.poses_as_members && plan.poses && plan.mild && !plan.sealed
        });
        least("usurps a member", 0.1, &|plan| plan.usurped.is_some());
        for fault in FAULTS {
            let kind = format!("{fault:?}");
            least(&kind, 0.05, &|plan| plan.faults.contains(&fault));
        }
    });
    vec![
        kinds,
        // A thousand take two minutes at most on two cores, where nothing else runs.
        worlds.within(Duration::from_secs(1200)),
    ]
}

/// What the arguments ask for beside the runner's. `None`: nothing.
pub(crate) fn by_arguments(arguments: &[String]) -> Option<ExitCode> {
    let number = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        let text = arguments.get(at + 1).map_or("nothing", String::as_str);
        Some(
            text.parse::<u64>()
                .unwrap_or_else(|_| panic!("{name} takes a number, not {text}")),
        )
    };
    let report = if let Some(seed) = number("--seed") {
        let plan = Plan::new(seed);
        println!("{:#?}", Summary(&plan));
        if arguments.iter().any(|argument| argument == "--history") {
            for Record { at, what } in world::play(&plan).0.records {
                println!("{at:>14} {what:?}");
            }
        }
        many::run(seed, 1, 1, |_| {})
    } else {
        let count = number("--seeds")?;
        let enough = number("--enough").map_or(many::ENOUGH, |enough| enough as usize);
        many::run(number("--from").unwrap_or(1), count, enough, |done| {
            if done % 1000 == 0 {
                // Whether anybody sees it does not matter.
                let _ = writeln!(stderr(), "{done} of {count}");
            }
        })
    };
    println!("{}", report.figures);
    if report.failures.is_empty() {
        return Some(ExitCode::SUCCESS);
    }
    println!("{}", failures(&report));
    Some(ExitCode::FAILURE)
}

fn failures(report: &Report) -> String {
    report.failures.iter().map(failure).collect()
}

fn failure(outcome: &Outcome) -> String {
    let Outcome { seed, faults, .. } = outcome;
    let mut text = format!("\nthe world of seed {seed} breaks what is promised:\n");
    for fault in faults.iter().take(LISTED) {
        text += &format!("  {fault}\n");
    }
    if faults.len() > LISTED {
        text += &format!("  and {} more\n", faults.len() - LISTED);
    }
    text += &format!("again: cargo test -p eventcast-tests --test world -- --seed {seed}\n");
    text
}

/// A plan without what everybody says.
struct Summary<'p>(&'p Plan);

impl std::fmt::Debug for Summary<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Plan {
            seed,
            sealed,
            changes_key,
            shares_ids,
            pauses,
            poses,
            posed_as,
            poses_as_members,
            usurped,
            faults,
            members,
            weather,
            mild,
            ..
        } = self.0;
        f.debug_struct("Plan")
            .field("seed", seed)
            .field("sealed", sealed)
            .field("changes_key", changes_key)
            .field("shares_ids", shares_ids)
            .field("pauses", pauses)
            .field("poses", poses)
            .field("posed_as", posed_as)
            .field("poses_as_members", poses_as_members)
            .field("usurped", usurped)
            .field("faults", faults)
            .field("members", &members.len())
            .field("options", &members[0].options)
            .field("weather", weather)
            .field("mild", mild)
            .finish_non_exhaustive()
    }
}
