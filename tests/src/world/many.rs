//! Many worlds, one after the other, on all cores.

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::{
    checker::{self, Violation},
    figures::Figures,
    plan::{LEAST_MESSAGES, Plan},
    simulation,
};

/// After so many failures it is no use to go on.
pub const ENOUGH: usize = 5;

/// How one world ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What decided it.
    pub seed: u64,
    /// What was counted.
    pub figures: Figures,
    /// What went wrong.
    pub faults: Vec<String>,
}

/// How many worlds ended.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Over all that were played.
    pub figures: Figures,
    /// Those in which something went wrong, by seed.
    pub failures: Vec<Outcome>,
}

/// Plays the world of one seed.
#[must_use]
pub fn one(seed: u64) -> Outcome {
    let plan = Plan::new(seed);
    let played = panic::catch_unwind(AssertUnwindSafe(|| {
        let (history, figures) = simulation::play(&plan);
        (checker::check(&history), figures)
    }));
    let (figures, mut faults) = match played {
        Ok((violations, figures)) => (
            figures,
            violations.iter().map(Violation::to_string).collect(),
        ),
        Err(panic) => (Figures::default(), vec![text(panic.as_ref())]),
    };
    if faults.is_empty() && figures.messages < LEAST_MESSAGES {
        faults.push(format!("only {} messages were sent", figures.messages));
    }
    Outcome {
        seed,
        figures,
        faults,
    }
}

/// Plays the worlds of `count` seeds from `first` on, until `enough` have failed. `tell` is called
/// now and then with how many are done.
pub fn run(first: u64, count: u64, enough: usize, tell: impl Fn(u64) + Sync) -> Report {
    let report = Mutex::new(Report::default());
    let next = AtomicU64::new(0);
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return;
            }
            let outcome = one(first + index);
            let mut report = report.lock().expect("nothing panics with this lock");
            report.figures.add(&outcome.figures);
            if !outcome.faults.is_empty() {
                report.failures.push(outcome);
            }
            if report.failures.len() >= enough {
                next.store(count, Ordering::Relaxed);
            }
            tell(report.figures.worlds);
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let mut report = report.into_inner().expect("nothing panics with this lock");
    report.failures.sort_by_key(|outcome| outcome.seed);
    report
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("without a text"))
}
