//! What buses send, when, and to whom; and what they hold.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
};

use super::{Named, Promise, Violations};
use crate::world::history::{History, Kind, Life, MILLI, MessageKey, Nanos, What};

/// A number is asked for again after 20 ms, a chunk after 50, and the same datagram goes to the
/// same address, or to the group, again after 50 ms. What waits for its turn to be sent may come
/// closer to the next one, and a gap that was about to be given up when something of it came is
/// asked for at that moment. So three in a row are looked at, which take twice as long by the
/// rules: they may not take less than this.
const THREE_NUMBERS: Nanos = 20 * MILLI;
const THREE_CHUNKS: Nanos = 50 * MILLI;
const THREE_ANSWERS: Nanos = 50 * MILLI;

/// With pauses that begin at these and double up to 500 ms, nothing is asked for more often in a
/// second; but the pauses of chunks begin anew whenever one comes.
const MOST_ASKED: usize = 20;

const SECOND: Nanos = 1000 * MILLI;

pub(super) fn check(history: &History, violations: &mut Violations) {
    let mut conduct = Conduct {
        history,
        violations,
        met: HashSet::new(),
        bare: HashSet::new(),
        answers: HashMap::new(),
        asked: HashMap::new(),
        numbers: HashMap::new(),
        sent: HashMap::new(),
        altered: HashSet::new(),
        hellos: HashMap::new(),
    };
    for record in &history.records {
        conduct.take(record.at, &record.what);
    }
    conduct.count_hellos();
}

struct Conduct<'h, 'v> {
    history: &'h History,
    violations: &'v mut Violations,
    met: HashSet<(Life, SocketAddr)>,
    /// What went to the group as it is.
    bare: HashSet<(MessageKey, u32)>,
    /// When a repair went somewhere, the last two times.
    answers: HashMap<(MessageKey, u32, Option<SocketAddr>), [Option<Nanos>; 2]>,
    /// When something was asked for lately.
    asked: HashMap<(Life, Asked), VecDeque<Nanos>>,
    numbers: HashMap<MessageKey, u64>,
    /// The last number of each.
    sent: HashMap<Life, u64>,
    /// What came altered: when it is useless in the end, it is asked for as if it had never been.
    altered: HashSet<(Life, Asked)>,
    /// How many came in the quiet time.
    hellos: HashMap<Life, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Asked {
    Number(Life, u64),
    Chunk(MessageKey, u32),
}

impl Conduct<'_, '_> {
    fn take(&mut self, at: Nanos, what: &What) {
        let history = self.history;
        match what {
            What::Met { by, address } => {
                self.met.insert((*by, *address));
            }
            What::Sent {
                message,
                number: Some(number),
                ..
            } => {
                self.numbers.insert(*message, *number);
                self.sent.insert(message.sender, *number);
            }
            What::Altered { to, message } => {
                if let Some(&number) = self.numbers.get(message) {
                    let number = Asked::Number(message.sender, number);
                    self.altered.insert((*to, number));
                }
                self.altered.insert((*to, Asked::Chunk(*message, 0)));
            }
            What::Cast { by, to, kind } => self.cast(at, *by, *to, kind),
            What::Peak {
                of,
                what,
                bytes,
                limit,
            } if bytes > limit => {
                self.violations.add(at, Promise::Memory, || {
                    let of = Named(history, *of);
                    format!("{of} holds {bytes} {what}, and may hold {limit}")
                });
            }
            What::Refused { by, of } => {
                self.violations.add(at, Promise::OneGroup, || {
                    let (by, of) = (Named(history, *by), Named(history, *of));
                    format!("{by} refuses what {of} has sealed for it")
                });
            }
            What::Spun { by } => {
                self.violations.add(at, Promise::NoSpin, || {
                    let by = Named(history, *by);
                    format!("{by} always has something to do at once, and does nothing")
                });
            }
            _ => {}
        }
    }

    fn cast(&mut self, at: Nanos, by: Life, to: Option<SocketAddr>, kind: &Kind) {
        let history = self.history;
        let name = || Named(history, by);
        if history.lives[by as usize].old {
            return;
        }
        if let Some(address) = to
            && !self.met.contains(&(by, address))
        {
            self.violations.add(at, Promise::NoStrangers, || {
                format!(
                    "{} sends {kind:?} to {address}, from where nothing came",
                    name()
                )
            });
        }
        if at >= history.quiet_from {
            if *kind == Kind::Hello && to.is_none() {
                *self.hellos.entry(by).or_default() += 1;
            } else {
                self.violations.add(at, Promise::Quiet, || {
                    format!(
                        "{} sends {kind:?} to {to:?} with nothing left to do",
                        name()
                    )
                });
            }
        }
        match kind {
            Kind::Unreadable => self.violations.add(at, Promise::OldPeers, || {
                format!("{} sends what an old peer cannot read", name())
            }),
            Kind::Data {
                message: Some(message),
                chunk,
                again,
            } => self.data(at, by, to, (*message, *chunk), *again),
            Kind::Data { message: None, .. } => {
                self.violations.add(at, Promise::NothingInvented, || {
                    format!("{} sends a message that nobody emitted", name())
                });
            }
            Kind::Nack {
                of: Some(of),
                missing,
            } => {
                // Numbers that were only made up are looked at as one.
                let sent = self.sent.get(of).copied().unwrap_or_default();
                for &(first, last) in missing {
                    let made_up = (last > sent).then_some(last);
                    for number in (first..=last.min(sent)).chain(made_up) {
                        self.ask(at, by, Asked::Number(*of, number), THREE_NUMBERS);
                    }
                }
            }
            Kind::Retx {
                message: Some(message),
                missing,
            } => {
                for &chunk in missing {
                    self.ask(at, by, Asked::Chunk(*message, chunk), THREE_CHUNKS);
                }
            }
            Kind::Nack { of: None, .. } | Kind::Retx { message: None, .. } if !history.posers => {
                self.violations.add(at, Promise::NothingInvented, || {
                    format!("{} asks for what nobody sent: {kind:?}", name())
                });
            }
            Kind::Nack { of: None, .. }
            | Kind::Retx { message: None, .. }
            | Kind::Hello
            | Kind::Gone
            | Kind::Bye => {}
        }
    }

    fn data(
        &mut self,
        at: Nanos,
        by: Life,
        to: Option<SocketAddr>,
        what: (MessageKey, u32),
        again: bool,
    ) {
        let name = Named(self.history, by);
        let (message, chunk) = what;
        if message.sender != by {
            self.violations.add(at, Promise::NothingInvented, || {
                format!("{name} sends {message}")
            });
        }
        if to.is_none() && !again {
            let first = self.bare.insert(what);
            if !first && !self.history.sealed {
                self.violations.add(at, Promise::OldPeers, || {
                    format!("{name} sends {message}, chunk {chunk}, to the group a second time, where an old peer takes it for new")
                });
            }
            if first || !self.history.sealed {
                return;
            }
        }
        let times = self.answers.entry((message, chunk, to)).or_default();
        let [before, last] = *times;
        *times = [last, Some(at)];
        if before.is_some_and(|before| at < before + THREE_ANSWERS) {
            self.violations.add(at, Promise::NoStorm, || {
                let pause = (at - before.unwrap_or(at)) / MILLI;
                format!(
                    "{name} sends {message}, chunk {chunk}, to {to:?} three times in {pause} ms"
                )
            });
        }
    }

    fn ask(&mut self, at: Nanos, by: Life, what: Asked, least: Nanos) {
        let name = Named(self.history, by);
        let whole = match what {
            Asked::Chunk(message, _) => Asked::Chunk(message, 0),
            Asked::Number(..) => what,
        };
        let altered = self.altered.contains(&(by, whole));
        let times = self.asked.entry((by, what)).or_default();
        let before = times.len().checked_sub(2).map(|index| times[index]);
        if !altered && before.is_some_and(|before| at < before + least) {
            self.violations.add(at, Promise::NoStorm, || {
                let pause = (at - before.unwrap_or(at)) / MILLI;
                format!("{name} asks for {what:?} three times in {pause} ms")
            });
        }
        times.push_back(at);
        if times.len() > MOST_ASKED
            && let Some(first) = times.pop_front()
            && at < first + SECOND
        {
            self.violations.add(at, Promise::NoStorm, || {
                format!("{name} asks for {what:?} more than {MOST_ASKED} times in a second")
            });
        }
    }

    fn count_hellos(&mut self) {
        let history = self.history;
        let beats = (history.end - history.quiet_from) / history.heartbeat;
        let (least, most) = (beats.saturating_sub(1), beats + 1);
        for (life, facts) in (0..).zip(&history.lives) {
            if facts.ended.is_some() || facts.old {
                continue;
            }
            let hellos = self.hellos.get(&life).copied().unwrap_or(0);
            if !(least..=most).contains(&hellos) {
                self.violations.add(history.end, Promise::Quiet, || {
                    let name = Named(history, life);
                    format!("{name} says hello {hellos} times in {beats} heartbeats")
                });
            }
        }
    }
}
