//! Every message on its way to every application: once, in order, all or reported, nothing
//! invented.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Named, Promise, Violations};
use crate::world::history::{
    Content, History, Kind, Life, LifeFacts, MILLI, MessageKey, Nanos, What,
};

/// Clocks are read in milliseconds: a bus that started so little before another may take itself for
/// the younger one, and a message that was sent so little before the start for a later one.
const CLOCK_GRAIN: Nanos = 2 * MILLI;

/// What is passed is told so soon: losses of one sender are told at most once in ten seconds, in
/// sum.
const TOLD_WITHIN: Nanos = 10_010 * MILLI;

pub(super) fn check(history: &History, violations: &mut Violations) {
    let mut deliveries = Deliveries {
        history,
        violations,
        streams: (0..history.lives.len())
            .map(|_| Stream::default())
            .collect(),
        pairs: HashMap::new(),
        altered: HashSet::new(),
        posed: HashSet::new(),
        out: HashMap::new(),
        chunks: HashSet::new(),
    };
    for record in &history.records {
        deliveries.take(record.at, &record.what);
    }
    deliveries.settle();
}

struct Deliveries<'h, 'v> {
    history: &'h History,
    violations: &'v mut Violations,
    /// By life.
    streams: Vec<Stream>,
    /// By receiver and sender.
    pairs: HashMap<(Life, Life), Pair>,
    altered: HashSet<(Life, MessageKey)>,
    /// Receiver and sender: somebody else has sealed a datagram to the receiver in the sender's
    /// name, so its reports about the sender may be wrong.
    posed: HashSet<(Life, Life)>,
    /// When the last piece of a message went out for the first time, and the pieces that have gone
    /// out.
    out: HashMap<MessageKey, Nanos>,
    chunks: HashSet<(MessageKey, u32)>,
}

/// What a life has sent, in order.
#[derive(Default)]
struct Stream {
    sent: Vec<Sent>,
    /// The places of those that have numbers: number 1 is the first.
    numbered: Vec<u64>,
}

#[derive(Clone, Copy)]
struct Sent {
    number: Option<u64>,
    digest: u64,
}

/// What one receiver has had from one sender.
#[derive(Default)]
struct Pair {
    /// Everything after this number is owed, once anything was heard.
    base: Option<u64>,
    /// The sender had sent so many numbers when it heard of the receiver: what follows is owed,
    /// whatever the receiver heard first, if it hears the sender say so.
    heard_at: Option<u64>,
    /// Of what had gone out when the receiver began, it may miss numbers from this one on.
    recalled: Option<u64>,
    /// What was heard in altered datagrams before anything else: the bus may have taken it for the
    /// beginning.
    doubtful: u64,
    /// The highest number that the receiver can know of.
    known: u64,
    /// The highest number that a message had.
    seen: u64,
    /// By place.
    ends: Vec<End>,
    /// By number, from 1 on.
    fates: Vec<Fate>,
    /// Nothing is open up to this number, but what is not owed, or was passed.
    settled: u64,
    /// What was open when something later was delivered, and since when.
    passed: BTreeMap<u64, Nanos>,
    /// The last one that was delivered in order.
    last: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum End {
    #[default]
    Open,
    Delivered,
    GivenUp,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Fate {
    #[default]
    Open,
    Delivered,
    Told,
    /// Told while only a hello or a goodbye had claimed it. On a clear bus that may have been a
    /// lie, so such a number is not passed: it may come after all.
    ToldOfClaim,
}

impl Deliveries<'_, '_> {
    fn take(&mut self, at: Nanos, what: &What) {
        match *what {
            What::Sent {
                message,
                ordered,
                number,
                digest,
            } => self.sent(at, message, ordered, number, digest),
            What::Heard {
                by,
                of,
                number,
                claimed,
                altered,
            } => self.heard(by, of, number, claimed, altered),
            What::Recalled { by, of, from } => {
                let pair = self.pairs.entry((by, of)).or_default();
                let least = pair.recalled.map_or(from, |before| before.min(from));
                pair.recalled = Some(least);
            }
            What::Altered { to, message } => {
                self.altered.insert((to, message));
            }
            What::Delivered {
                to,
                from,
                number,
                content,
            } => self.delivered(at, to, from, number, content),
            What::Lost {
                to,
                of,
                first,
                last,
            } => self.lost(at, to, of, first, last),
            What::Expired {
                to,
                message,
                number,
            } => self.expired(at, to, message, number),
            What::Stopped { who, stopped_for } => {
                for (_, pair) in self.pairs.iter_mut().filter(|((to, _), _)| *to == who) {
                    pair.passed
                        .values_mut()
                        .for_each(|since| *since += stopped_for);
                }
            }
            What::Posed { to, of } => {
                self.posed.insert((to, of));
            }
            What::Cast {
                kind:
                    Kind::Data {
                        message: Some(message),
                        chunk,
                        ..
                    },
                ..
            } => {
                if self.chunks.insert((message, chunk)) {
                    self.out.insert(message, at);
                }
            }
            What::Cast { .. }
            | What::Joined { .. }
            | What::Left { .. }
            | What::Namesakes { .. }
            | What::Clash { .. }
            | What::Met { .. }
            | What::Obeyed { .. }
            | What::Peak { .. }
            | What::Refused { .. }
            | What::Spun { .. } => {}
        }
    }

    fn sent(
        &mut self,
        at: Nanos,
        message: MessageKey,
        ordered: bool,
        number: Option<u64>,
        digest: u64,
    ) {
        let stream = &mut self.streams[message.sender as usize];
        assert_eq!(
            stream.sent.len() as u64,
            message.place,
            "a history lists what was sent in order"
        );
        stream.sent.push(Sent { number, digest });
        let expected = ordered.then_some(stream.numbered.len() as u64 + 1);
        if expected.is_some() {
            stream.numbered.push(message.place);
        }
        if number != expected {
            self.violations.add(at, Promise::Order, || {
                format!("{message} has the number {number:?}, and should have {expected:?}")
            });
        }
    }

    fn heard(&mut self, by: Life, of: Life, number: u64, claimed: bool, altered: bool) {
        if !altered {
            let sent = self.streams[by as usize].numbered.len() as u64;
            let back = self.pairs.entry((of, by)).or_default();
            back.heard_at.get_or_insert(sent);
        }
        let there = self.was_there(by, of);
        let pair = self.pairs.entry((by, of)).or_default();
        if altered {
            pair.doubtful = pair.doubtful.max(number);
            return;
        }
        if !claimed {
            pair.seen = pair.seen.max(number);
        }
        let base = if there { 0 } else { number.max(pair.doubtful) };
        let base = *pair.base.get_or_insert(base);
        pair.settled = pair.settled.max(base);
        pair.known = pair.known.max(number);
    }

    /// Whether everything from 1 on is owed.
    fn was_there(&self, by: Life, of: Life) -> bool {
        let (receiver, sender) = (self.life(by), self.life(of));
        receiver.started + CLOCK_GRAIN <= sender.started || self.knew_an_earlier(by, of)
    }

    fn knew_an_earlier(&self, by: Life, of: Life) -> bool {
        let started = self.life(of).started;
        let is_earlier = |other: &LifeFacts| other.ended.is_some_and(|(at, _)| at <= started);
        (0..of)
            .filter(|&other| self.life(other).id == self.life(of).id)
            .filter(|&other| is_earlier(self.life(other)))
            .any(|other| {
                self.pairs
                    .get(&(by, other))
                    .is_some_and(|pair| pair.base.is_some())
            })
    }

    fn life(&self, life: Life) -> &LifeFacts {
        &self.history.lives[life as usize]
    }

    fn delivered(
        &mut self,
        at: Nanos,
        to: Life,
        from: Option<Life>,
        number: Option<u64>,
        content: Content,
    ) {
        let Some(message) = self.recognised(at, to, from, number, content) else {
            return;
        };
        let pair = self.pairs.entry((to, message.sender)).or_default();
        let end = place(&mut pair.ends, message.place);
        let before = std::mem::replace(end, End::Delivered);
        if before != End::Open {
            let history = self.history;
            self.violations.add(at, Promise::Once, || {
                let how = if before == End::Delivered {
                    "a second time"
                } else {
                    "after it was given up"
                };
                format!("{message} is delivered to {} {how}", Named(history, to))
            });
            return;
        }
        let (Some(number), false) = (number, self.life(to).old) else {
            return;
        };
        let pair = self.pairs.entry((to, message.sender)).or_default();
        let late = pair.last.is_some_and(|last| last >= number);
        pair.last = pair.last.max(Some(number));
        let fate = std::mem::replace(place(&mut pair.fates, number), Fate::Delivered);
        pair.pass_below(number, at);
        let history = self.history;
        let name = || format!("{message}, number {number}, to {}", Named(history, to));
        if late {
            self.violations.add(at, Promise::Order, || {
                format!("{}, comes after a later one", name())
            });
        }
        if fate == Fate::Told && !self.posed.contains(&(to, message.sender)) {
            self.violations.add(at, Promise::TrueReports, || {
                format!("{}, had been told as lost", name())
            });
        }
    }

    /// Which message it is, if it was sent by whom the bus says, with this content and number.
    fn recognised(
        &mut self,
        at: Nanos,
        to: Life,
        from: Option<Life>,
        number: Option<u64>,
        content: Content,
    ) -> Option<MessageKey> {
        let (message, digest) = match content {
            Content::Whole { message, digest } => (Some(message), Some(digest)),
            Content::Broken(message) => (message, None),
        };
        let sent = message.and_then(|message| self.find(message));
        let wrong = match (message, sent) {
            (Some(message), Some(sent)) => {
                if message.sender == to {
                    Some("is the receiver's own")
                } else if from != Some(message.sender) {
                    Some("is said to be another's")
                } else if number != sent.number && !self.life(to).old {
                    Some("is said to have another number")
                } else if digest.is_none() && !self.altered.contains(&(to, message)) {
                    Some("has other content")
                } else if digest.is_some_and(|digest| digest != sent.digest) {
                    Some("has other content under a good checksum")
                } else {
                    None
                }
            }
            _ => Some("was never sent"),
        };
        let Some(wrong) = wrong else {
            return message;
        };
        let history = self.history;
        self.violations.add(at, Promise::NothingInvented, || {
            format!("what is delivered to {} {wrong}: {content:?} from {from:?} with number {number:?}, sent with {:?}", Named(history, to), sent.map(|sent| sent.number))
        });
        None
    }

    fn find(&self, message: MessageKey) -> Option<Sent> {
        let stream = self.streams.get(message.sender as usize)?;
        stream.sent.get(message.place as usize).copied()
    }

    fn lost(&mut self, at: Nanos, to: Life, of: Option<Life>, first: u64, last: u64) {
        let history = self.history;
        let sent = of.map_or(0, |of| self.streams[of as usize].numbered.len() as u64);
        if of.is_some_and(|of| self.posed.contains(&(to, of))) {
            return;
        }
        let (Some(of), true) = (of, (1..=last).contains(&first) && last <= sent) else {
            self.violations.add(at, Promise::TrueReports, || {
                format!(
                    "{} is told that {first} to {last} of {of:?} are lost; {sent} were sent",
                    Named(history, to)
                )
            });
            return;
        };
        if history.mild {
            self.violations.add(at, Promise::TrueReports, || {
                let (to, of) = (Named(history, to), Named(history, of));
                format!("{to} is told that {first} to {last} of {of} are lost, in a mild network")
            });
        }
        for number in first..=last {
            self.told(at, to, of, number);
        }
    }

    fn expired(&mut self, at: Nanos, to: Life, message: Option<MessageKey>, number: Option<u64>) {
        let history = self.history;
        let sent = message.and_then(|message| Some((message, self.find(message)?)));
        // One with a number is told without it where the number is told with others, or may still
        // come.
        let Some((message, sent)) =
            sent.filter(|(_, sent)| number.is_none() || sent.number == number)
        else {
            self.violations.add(at, Promise::TrueReports, || {
                format!(
                    "{} is told that {message:?} with number {number:?} expired; it was sent as {:?}",
                    Named(history, to),
                    sent.map(|(_, sent)| sent.number)
                )
            });
            return;
        };
        if number != sent.number || self.posed.contains(&(to, message.sender)) {
            return;
        }
        let pair = self.pairs.entry((to, message.sender)).or_default();
        let end = place(&mut pair.ends, message.place);
        let before = std::mem::replace(end, End::GivenUp);
        if before != End::Open {
            *end = before;
            self.violations.add(at, Promise::Once, || {
                format!(
                    "{message} is given up by {} although it was finished",
                    Named(history, to)
                )
            });
        } else if let Some(number) = number {
            self.told(at, to, message.sender, number);
        }
    }

    /// Whether a number had gone out when a receiver began, which has heard nothing since that was
    /// sent before it.
    fn precedes(&self, to: Life, of: Life, number: u64) -> bool {
        let places = &self.streams[of as usize].numbered;
        let place = number
            .checked_sub(1)
            .and_then(|index| places.get(index as usize));
        let message = place.map(|&place| MessageKey { sender: of, place });
        let out = message.and_then(|message| self.out.get(&message));
        let recalled = self.pairs.get(&(to, of)).and_then(|pair| pair.recalled);
        out.is_some_and(|out| out + CLOCK_GRAIN < self.life(to).started)
            && recalled.is_none_or(|from| number < from)
    }

    fn told(&mut self, at: Nanos, to: Life, of: Life, number: u64) {
        if self.precedes(to, of, number) {
            let history = self.history;
            self.violations.add(at, Promise::TrueReports, || {
                let (to, of) = (Named(history, to), Named(history, of));
                format!("{to} is told that number {number} of {of} is lost, which had gone out before it began")
            });
        }
        let pair = self.pairs.entry((to, of)).or_default();
        let now = if number > pair.seen {
            Fate::ToldOfClaim
        } else {
            Fate::Told
        };
        let fate = std::mem::replace(place(&mut pair.fates, number), now);
        let late = pair.passed.remove(&number);
        if let Some(since) = late.filter(|since| at > since + TOLD_WITHIN) {
            let history = self.history;
            self.violations.add(at, Promise::AllOrReported, || {
                let (to, of) = (Named(history, to), Named(history, of));
                let late = (at - since) / MILLI;
                format!("{to} is told {late} ms late that number {number} of {of} is lost")
            });
        }
        let wrong = match fate {
            Fate::Open => return,
            Fate::Delivered => "that was delivered",
            Fate::Told | Fate::ToldOfClaim => "that was told before",
        };
        let history = self.history;
        self.violations.add(at, Promise::TrueReports, || {
            let (to, of) = (Named(history, to), Named(history, of));
            format!("{to} is told that number {number} of {of} is lost, {wrong}")
        });
    }

    /// At the end nothing is open that a receiver is owed.
    fn settle(&mut self) {
        let history = self.history;
        for (&(to, of), pair) in &self.pairs {
            let end = self.life(to).ended.map_or(history.end, |(at, _)| at);
            let late = pair
                .passed
                .iter()
                .find(|(_, since)| end > *since + TOLD_WITHIN);
            if let Some((number, since)) = late.filter(|_| !self.posed.contains(&(to, of))) {
                self.violations.add(*since, Promise::AllOrReported, || {
                    let (to, of) = (Named(history, to), Named(history, of));
                    format!(
                        "{to} gets what follows number {number} of {of}, and is never told of that"
                    )
                });
            }
        }
        let living = |life: &LifeFacts| life.ended.is_none() && !life.old;
        for (to, _) in (0..).zip(&history.lives).filter(|(_, life)| living(life)) {
            for (of, sender) in (0..).zip(&history.lives).filter(|(_, life)| !life.old) {
                if to == of || self.posed.contains(&(to, of)) {
                    continue;
                }
                let sent = self.streams[of as usize].numbered.len() as u64;
                let there = self.was_there(to, of);
                let pair = self.pairs.entry((to, of)).or_default();
                let owed = if sender.ended.is_none() {
                    sent
                } else {
                    pair.known
                };
                let base = pair.base.unwrap_or(if there { 0 } else { sent });
                // Who has ended says it to nobody any more.
                let heard_at = pair.heard_at.filter(|_| sender.ended.is_none());
                let base = base.min(heard_at.unwrap_or(base));
                let open: Vec<u64> = (base + 1..=owed)
                    .filter(|&number| *place(&mut pair.fates, number) == Fate::Open)
                    .collect();
                if let (Some(first), Some(last)) = (open.first(), open.last()) {
                    self.violations.add(history.end, Promise::AllOrReported, || {
                        format!(
                            "{} numbers of {}, from {first} to {last}, are neither delivered to {} nor told as lost",
                            open.len(), Named(history, of), Named(history, to)
                        )
                    });
                }
            }
        }
    }
}

impl Pair {
    /// Something with this number was delivered: what is open below it, and owed, has been passed.
    fn pass_below(&mut self, number: u64, at: Nanos) {
        if self.base.is_none() {
            return;
        }
        while self.settled + 1 < number {
            self.settled += 1;
            if *place(&mut self.fates, self.settled) == Fate::Open {
                self.passed.insert(self.settled, at);
            }
        }
    }
}

fn place<T: Default + Clone>(list: &mut Vec<T>, index: u64) -> &mut T {
    let index = index as usize;
    if list.len() <= index {
        list.resize(index + 1, T::default());
    }
    &mut list[index]
}
