//! Histories written by hand.

use std::net::SocketAddr;

use eventcast_tests::world::{
    checker::{self, Promise},
    history::{
        Content, End, History, Kind, Life, LifeFacts, MILLI, MessageKey, Nanos, Record, What,
    },
};

/// Those who live in these histories: a sender that starts last, a receiver that was there, one
/// that comes later, an old peer, and the sender's next life.
pub(super) const SENDER: Life = 0;
pub(super) const RECEIVER: Life = 1;
pub(super) const LATECOMER: Life = 2;
pub(super) const OLD: Life = 3;
pub(super) const REBORN: Life = 4;

/// When nothing is to be done any more in these histories, which end a heartbeat later.
pub(super) const QUIET_FROM: Nanos = 9_000 * MILLI;
pub(super) const HEARTBEAT: Nanos = 1_000 * MILLI;

/// A history in the making.
#[derive(Clone)]
pub(super) struct Story {
    pub(super) history: History,
    now: Nanos,
    hellos: bool,
    knows_all: bool,
}

impl Story {
    pub(super) fn new() -> Self {
        let life = |id: &str, started: Nanos, old| LifeFacts {
            id: id.to_owned(),
            started: started * MILLI,
            ended: None,
            old,
        };
        let mut reborn = life("sender", 300, false);
        // It plays no part but where it is asked for.
        reborn.ended = Some((300 * MILLI, End::Crashed));
        Self {
            history: History {
                lives: vec![
                    life("sender", 100, false),
                    life("receiver", 0, false),
                    life("latecomer", 500, false),
                    life("old", 0, true),
                    reborn,
                ],
                records: Vec::new(),
                quiet_from: QUIET_FROM,
                end: QUIET_FROM + HEARTBEAT,
                heartbeat: HEARTBEAT,
                mild: false,
                sealed: false,
                posers: false,
            },
            now: 1_000 * MILLI,
            hellos: true,
            knows_all: true,
        }
    }

    pub(super) fn then(mut self, what: What) -> Self {
        self.history.records.push(Record { at: self.now, what });
        self
    }

    pub(super) fn at(mut self, at: Nanos) -> Self {
        self.now = at;
        self
    }

    pub(super) fn after(self, pause: Nanos) -> Self {
        let at = self.now + pause;
        self.at(at)
    }

    pub(super) fn mild(mut self) -> Self {
        self.history.mild = true;
        self
    }

    pub(super) fn sealed(mut self) -> Self {
        self.history.sealed = true;
        self
    }

    pub(super) fn without_hellos(mut self) -> Self {
        self.hellos = false;
        // In one heartbeat there may be none.
        self.history.end = QUIET_FROM + 2 * HEARTBEAT;
        self
    }

    /// Nobody is told who is there but where the story says so.
    pub(super) fn knowing_nobody(mut self) -> Self {
        self.knows_all = false;
        self
    }

    pub(super) fn ends(mut self, life: Life, how: End) -> Self {
        self.history.lives[life as usize].ended = Some((self.now, how));
        self
    }

    /// The sender sends numbers from 1 on.
    pub(super) fn sends(self, count: u64) -> Self {
        (0..count).fold(self, |story, place| {
            story.sends_numbered(place, Some(place + 1))
        })
    }

    pub(super) fn sends_numbered(self, place: u64, number: Option<u64>) -> Self {
        self.then(What::Sent {
            message: message(place),
            ordered: true,
            number,
            digest: digest(place),
        })
    }

    pub(super) fn sends_best_effort(self, place: u64) -> Self {
        self.then(What::Sent {
            message: message(place),
            ordered: false,
            number: None,
            digest: digest(place),
        })
    }

    pub(super) fn hears(self, by: Life, number: u64) -> Self {
        self.then(heard(by, SENDER, number))
    }

    pub(super) fn hears_late(self, number: u64) -> Self {
        // The other one is not what these histories are about.
        self.ends(RECEIVER, End::Crashed)
            .then(heard(LATECOMER, SENDER, number))
    }

    pub(super) fn hears_altered(self, by: Life, number: u64) -> Self {
        self.then(What::Heard {
            by,
            of: SENDER,
            number,
            claimed: false,
            altered: true,
        })
    }

    pub(super) fn gets(self, to: Life, place: u64) -> Self {
        let numbered = self
            .history
            .records
            .iter()
            .find_map(|record| match record.what {
                What::Sent {
                    message: sent,
                    number,
                    ..
                } if sent == message(place) => Some(number),
                _ => None,
            });
        self.then(What::Delivered {
            to,
            from: Some(SENDER),
            number: numbered.flatten(),
            content: Content::Whole {
                message: message(place),
                digest: digest(place),
            },
        })
    }

    pub(super) fn loses(self, to: Life, first: u64, last: u64) -> Self {
        self.then(What::Lost {
            to,
            of: Some(SENDER),
            first,
            last,
        })
    }

    pub(super) fn loses_of_nobody(self) -> Self {
        self.then(What::Lost {
            to: RECEIVER,
            of: None,
            first: 1,
            last: 1,
        })
    }

    pub(super) fn gives_up(self, to: Life, place: u64) -> Self {
        let ordered = self.history.records.iter().any(|record| {
            matches!(record.what, What::Sent { message: sent, ordered: true, .. } if sent == message(place))
        });
        self.then(What::Expired {
            to,
            message: Some(message(place)),
            number: ordered.then_some(place + 1),
        })
    }

    pub(super) fn gives_up_without_number(self, to: Life, place: u64) -> Self {
        self.then(What::Expired {
            to,
            message: Some(message(place)),
            number: None,
        })
    }

    /// The history is so much longer.
    pub(super) fn lasts(mut self, longer: Nanos) -> Self {
        self.history.quiet_from += longer;
        self.history.end += longer;
        self
    }

    pub(super) fn meets(self, by: Life, address: SocketAddr) -> Self {
        self.then(What::Met { by, address })
    }

    pub(super) fn casts(self, by: Life, to: Option<SocketAddr>, kind: Kind) -> Self {
        self.then(What::Cast { by, to, kind })
    }

    pub(super) fn reborn_sends_two_and_latecomer_hears_the_second(mut self) -> Self {
        self.history.lives[REBORN as usize].ended = None;
        self = self.ends(RECEIVER, End::Crashed);
        for place in 0..2 {
            self = self.then(What::Sent {
                message: MessageKey {
                    sender: REBORN,
                    place,
                },
                ordered: true,
                number: Some(place + 1),
                digest: digest(place),
            });
        }
        self.then(heard(LATECOMER, REBORN, 2))
    }

    /// Whether the story itself says whether this one is told that the other one is there.
    fn says_of(&self, by: Life, other: Life) -> bool {
        by == other
            || self.history.records.iter().any(
                |record| matches!(record.what, What::Joined { to, of } if (to, of) == (by, other)),
            )
    }

    /// The history, with the hellos that every bus says, and with all knowing each other in the
    /// end.
    fn told(mut self) -> History {
        let lives = self.history.lives.iter();
        let living = (0..)
            .zip(lives)
            .filter(|(_, life)| life.ended.is_none() && !life.old);
        let living: Vec<Life> = living.map(|(life, _)| life).collect();
        for &to in living.iter().filter(|_| self.knows_all) {
            for &of in &living {
                if !self.says_of(to, of) {
                    self.history.records.push(Record {
                        at: self.history.quiet_from,
                        what: What::Joined { to, of },
                    });
                }
            }
        }
        self.history.records.sort_by_key(|record| record.at);
        if self.hellos {
            for (by, life) in (0..).zip(&self.history.lives) {
                if life.ended.is_none() && !life.old {
                    self.history.records.push(Record {
                        at: self.history.quiet_from + 1,
                        what: What::Cast {
                            by,
                            to: None,
                            kind: Kind::Hello,
                        },
                    });
                }
            }
        }
        self.history
    }
}

pub(super) fn message(place: u64) -> MessageKey {
    MessageKey {
        sender: SENDER,
        place,
    }
}

pub(super) fn digest(place: u64) -> u64 {
    place + 1000
}

fn heard(by: Life, of: Life, number: u64) -> What {
    What::Heard {
        by,
        of,
        number,
        claimed: false,
        altered: false,
    }
}

pub(super) fn address(last: u8) -> SocketAddr {
    ([10, 0, 0, last], 9000).into()
}

#[track_caller]
pub(super) fn keeps(story: Story) {
    let violations = checker::check(&story.told());
    assert!(violations.is_empty(), "{violations:#?}");
}

/// Breaks this promise, and no other, but that something may be missing for it in the end.
#[track_caller]
pub(super) fn breaks(promise: Promise, story: Story) {
    let violations = checker::check(&story.told());
    let of = |promise| {
        violations
            .iter()
            .any(|violation| violation.promise == promise)
    };
    assert!(of(promise), "{promise:?} is not among {violations:#?}");
    let others = violations.iter().filter(|violation| {
        violation.promise != promise && violation.promise != Promise::AllOrReported
    });
    let others: Vec<_> = others.collect();
    assert!(others.is_empty(), "{others:#?}");
}
