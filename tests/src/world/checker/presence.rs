//! Who is there, as each bus tells it.

use std::collections::{HashMap, HashSet};

use super::{Named, Promise, Violations};
use crate::world::history::{History, Life, MILLI, Nanos, What};

/// A peer that is reported gone without a goodbye has been silent for at least so long: 5 s by the
/// rules, less a second, since a hello that another one has overtaken does not count.
const SILENT: Nanos = 4_000 * MILLI;

/// In the clear a goodbye counts from any address once its sender has been silent for 2 s.
const DOUBTFUL: Nanos = 1_000 * MILLI;

/// A shared id is reported at most once in this time.
const TOLD_WITHIN: Nanos = 10_000 * MILLI;

pub(super) fn check(history: &History, violations: &mut Violations) {
    let mut presence = Presence {
        history,
        violations,
        present: HashSet::new(),
        posed: HashSet::new(),
        may_clash: HashSet::new(),
        must_clash: Vec::new(),
        clashes: HashMap::new(),
    };
    for record in &history.records {
        presence.take(record.at, &record.what);
    }
    presence.settle();
}

struct Presence<'h, 'v> {
    history: &'h History,
    violations: &'v mut Violations,
    /// Receiver and peer: the receiver has reported the peer as present.
    present: HashSet<(Life, Life)>,
    posed: HashSet<(Life, Life)>,
    may_clash: HashSet<(Life, [Life; 2])>,
    must_clash: Vec<(Nanos, Life, [Life; 2])>,
    /// When a receiver reported that two share an id, and whether that id is its own.
    clashes: HashMap<(Life, bool), Vec<Nanos>>,
}

impl Presence<'_, '_> {
    fn take(&mut self, at: Nanos, what: &What) {
        let history = self.history;
        match *what {
            What::Joined { to, of } => self.joined(at, to, of),
            What::Left {
                to,
                of,
                goodbye,
                silent_for,
                said_goodbye,
                input_waits,
            } => {
                let was_there = self.present.remove(&(to, of));
                let silent = |least| silent_for.is_none_or(|silent_for| silent_for >= least);
                let is_so = if goodbye {
                    said_goodbye || !history.sealed && silent(DOUBTFUL)
                } else {
                    silent(SILENT) && !input_waits
                };
                let is_right = was_there && is_so || self.posed.contains(&(to, of));
                if !is_right {
                    self.violations.add(at, Promise::Presence, || {
                        let (to, of) = (Named(history, to), Named(history, of));
                        let silent_for = silent_for.map(|silent_for| silent_for / MILLI);
                        format!(
                            "{to} is told that {of} is gone (goodbye: {goodbye}, said: {said_goodbye}), silent for \
                             {silent_for:?} ms, there before: {was_there}, input waits: {input_waits}"
                        )
                    });
                }
            }
            What::Posed { to, of } => {
                self.posed.insert((to, of));
            }
            What::Namesakes { by, lives, sure } => {
                self.may_clash.insert((by, lives));
                if sure {
                    self.must_clash.push((at, by, lives));
                }
            }
            What::Obeyed { by, of } => {
                self.violations.add(at, Promise::Presence, || {
                    let (by, of) = (Named(history, by), Named(history, of));
                    format!("{by} obeys what somebody says in the name of {of}, which it hears, from elsewhere")
                });
            }
            What::Clash { to, lives } => self.clash(at, to, lives),
            _ => {}
        }
    }

    fn joined(&mut self, at: Nanos, to: Life, of: Life) {
        let history = self.history;
        if !self.present.insert((to, of)) {
            self.violations.add(at, Promise::Presence, || {
                let (to, of) = (Named(history, to), Named(history, of));
                format!("{to} is told a second time that {of} is there")
            });
        }
    }

    fn clash(&mut self, at: Nanos, to: Life, lives: [Option<Life>; 2]) {
        let history = self.history;
        let known = match lives {
            [Some(first), Some(second)] => Some([first, second]),
            _ => None,
        };
        let is_own = lives.contains(&Some(to));
        self.clashes.entry((to, is_own)).or_default().push(at);
        let is_posed = lives.iter().any(|life| match life {
            Some(of) => self.posed.contains(&(to, *of)),
            None => history.posers,
        });
        if known.is_none_or(|lives| !self.may_clash.contains(&(to, lives))) && !is_posed {
            self.violations.add(at, Promise::Presence, || {
                let to = Named(history, to);
                format!("{to} is told that {lives:?} share an id, which it cannot know")
            });
        }
    }

    fn settle(&mut self) {
        let history = self.history;
        for &(at, by, lives) in &self.must_clash {
            let told = self.clashes.get(&(by, lives.contains(&by)));
            let is_told = told.is_some_and(|told| {
                told.iter()
                    .any(|told| (*told..=*told + TOLD_WITHIN).contains(&at))
            });
            if !is_told {
                self.violations.add(at, Promise::Presence, || {
                    let by = Named(history, by);
                    format!("{by} is not told that {lives:?} share an id")
                });
            }
        }
        let living = (0..)
            .zip(&history.lives)
            .filter(|(_, life)| life.ended.is_none() && !life.old);
        let living: Vec<Life> = living.map(|(life, _)| life).collect();
        for &to in &living {
            for &of in &living {
                let is_known = self.present.contains(&(to, of)) || self.posed.contains(&(to, of));
                if to != of && !is_known {
                    self.violations.add(history.end, Promise::Presence, || {
                        let (to, of) = (Named(history, to), Named(history, of));
                        format!("{to} does not know in the end that {of} is there")
                    });
                }
            }
        }
    }
}
