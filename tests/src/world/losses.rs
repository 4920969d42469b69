//! What repair costs and how long it takes: one bus emits small events at a steady pace, others
//! listen, and a share of all datagrams is lost.
//!
//! Nothing else goes wrong here, and nobody but the first emits. What must hold whatever happens is
//! for the worlds.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    fmt,
    net::SocketAddr,
    rc::Rc,
    thread,
};

use super::{
    bus::{Bus, Identity, Told, WORLD_BEGAN_MS},
    history::{MILLI, MessageKey, Nanos},
    payload,
    plan::Options,
    random::Random,
    reading::{self, Said},
};

/// How long a datagram is on its way.
pub const LATENCY: Nanos = MILLI;

/// How many events are emitted.
pub const EVENTS: u64 = 2000;

/// The pause between two events.
const PAUSE: Nanos = MILLI;

/// What an event carries, in bytes.
const LENGTH: usize = 100;

/// The first event comes when everybody has heard everybody say hello.
const BEGIN: Nanos = 2_500 * MILLI;

/// What has not come so long after the last event comes no more: three times `message_ttl`.
const AFTER: Nanos = 9_000 * MILLI;

/// The shares that are lost, in thousandths.
const LOSSES: [u32; 5] = [0, 1, 10, 50, 200];

/// How many listen.
const RECEIVERS: [usize; 3] = [1, 10, 50];

/// Who misses what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// Each receiver by itself.
    Each,
    /// All the same.
    All,
}

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The share of datagrams that is lost, in thousandths.
    pub loss: u32,
    /// By whom.
    pub draw: Draw,
    /// How many listen.
    pub receivers: usize,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was tried.
    pub setup: Setup,
    /// Events that were given to an application, over all receivers.
    pub delivered: u64,
    /// Events that were told as lost.
    pub told_lost: u64,
    /// Datagrams that the sender sent again.
    pub repairs_sent: u64,
    /// Those that reached a receiver, over all of them.
    pub repairs_received: u64,
    /// Datagrams in which receivers asked.
    pub requests: u64,
    /// How long after it should have come each lost event was given to the application, from short
    /// to long.
    pub recoveries: Vec<Nanos>,
}

/// All that stands in the table.
#[must_use]
pub fn table(seed: u64) -> Vec<Row> {
    let mut setups = Vec::new();
    for loss in LOSSES {
        for draw in [Draw::Each, Draw::All] {
            setups.extend(RECEIVERS.map(|receivers| Setup {
                loss,
                draw,
                receivers,
            }));
        }
    }
    // Those with many receivers take nearly all of the time: each thread gets as many of them.
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut rows = vec![None; setups.len()];
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores)
            .map(|core| {
                let mine = setups.iter().enumerate();
                let mine = mine.filter(move |(index, _)| index / RECEIVERS.len() % cores == core);
                scope.spawn(move || {
                    mine.map(|(index, setup)| (index, measure(*setup, seed)))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        for thread in threads {
            for (index, row) in thread.join().expect("nothing panics there") {
                rows[index] = Some(row);
            }
        }
    });
    rows.into_iter().flatten().collect()
}

/// Tries one. The same seed gives the same row.
#[must_use]
pub fn measure(setup: Setup, seed: u64) -> Row {
    let mut trial = Trial::new(setup, seed);
    trial.run();
    trial.row.recoveries.sort_unstable();
    trial.row
}

/// The sender has index 0, the receivers those after it.
struct Trial {
    row: Row,
    now: Nanos,
    random: Random,
    members: Vec<Member>,
    agenda: BinaryHeap<Reverse<(Nanos, u64, Future)>>,
    entries: u64,
    emitted: u64,
    /// The numbers that were sent once.
    had: u64,
}

struct Member {
    bus: Bus,
    wake_at: Option<Nanos>,
    /// When what was lost on its first way would have come, by number.
    missed: HashMap<u64, Nanos>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Future {
    Emit,
    Wake(usize),
    Arrive {
        from: usize,
        to: usize,
        to_one: bool,
        bytes: Rc<[u8]>,
    },
}

/// What a datagram is for the one who counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    First(u64),
    Repair,
    Request,
    Other,
}

impl Trial {
    fn new(setup: Setup, seed: u64) -> Self {
        let mut random = Random::new(3, seed);
        let options = Options {
            max_payload_size: 1024,
            max_message_size: 32 << 20,
            max_held_bytes: 96 << 20,
            history_bytes: 64 << 20,
            message_ttl: std::time::Duration::from_secs(3),
        };
        let members = (0..=setup.receivers)
            .map(|index| Member {
                bus: Bus::start(
                    0,
                    &Identity {
                        id: format!("{:016x}", 0x1055_0000 + index),
                        incarnation: WORLD_BEGAN_MS,
                        named: address(index),
                        keys: None,
                    },
                    &options,
                    0,
                    &mut random,
                ),
                wake_at: None,
                missed: HashMap::new(),
            })
            .collect();
        Self {
            row: Row {
                setup,
                delivered: 0,
                told_lost: 0,
                repairs_sent: 0,
                repairs_received: 0,
                requests: 0,
                recoveries: Vec::new(),
            },
            now: 0,
            random,
            members,
            agenda: BinaryHeap::new(),
            entries: 0,
            emitted: 0,
            had: 0,
        }
    }

    fn run(&mut self) {
        for member in 0..self.members.len() {
            self.pump(member);
        }
        self.plan_for(BEGIN, Future::Emit);
        let end = BEGIN + EVENTS * PAUSE + AFTER;
        while let Some(Reverse((at, _, what))) = self.agenda.pop() {
            if at > end {
                break;
            }
            self.now = at;
            match what {
                Future::Emit => self.emit(),
                Future::Wake(member) => {
                    if self.members[member].wake_at == Some(at) {
                        self.members[member].wake_at = None;
                        self.pump(member);
                    }
                }
                Future::Arrive {
                    from,
                    to,
                    to_one,
                    bytes,
                } => {
                    self.members[to].bus.hear(at, address(from), &bytes, to_one);
                    self.pump(to);
                }
            }
        }
    }

    fn plan_for(&mut self, at: Nanos, what: Future) {
        self.entries += 1;
        self.agenda.push(Reverse((at, self.entries, what)));
    }

    fn emit(&mut self) {
        let message = MessageKey {
            sender: 0,
            place: self.emitted,
        };
        let mut bytes = Vec::new();
        payload::write(message, LENGTH, &mut bytes);
        let bus = &mut self.members[0].bus;
        bus.emit(self.now, payload::name_of(message), &bytes, false)
            .expect("there is room for one event at a time");
        self.emitted += 1;
        if self.emitted < EVENTS {
            self.plan_for(self.now + PAUSE, Future::Emit);
        }
        self.pump(0);
    }

    /// Lets a member do all that it has to do now.
    fn pump(&mut self, member: usize) {
        loop {
            while let Some((to, datagrams)) = self.members[member].bus.transmit(self.now) {
                for datagram in datagrams {
                    self.cast(member, to, &datagram);
                }
            }
            self.note_told(member);
            if !self.members[member].bus.time_out(self.now) {
                break;
            }
        }
        let Some(next) = self.members[member].bus.next() else {
            return;
        };
        let next = next.max(self.now);
        let wake_at = &mut self.members[member].wake_at;
        if wake_at.is_none_or(|at| next < at) {
            *wake_at = Some(next);
            self.plan_for(next, Future::Wake(member));
        }
    }

    fn cast(&mut self, from: usize, to: Option<SocketAddr>, datagram: &[u8]) {
        let sort = self.sort(datagram);
        match sort {
            Sort::First(number) => self.had = number,
            Sort::Repair => self.row.repairs_sent += 1,
            Sort::Request => self.row.requests += 1,
            Sort::Other => {}
        }
        let bytes: Rc<[u8]> = datagram.into();
        let loss = f64::from(self.row.setup.loss) / 1000.0;
        let all_miss_it = self.row.setup.draw == Draw::All && self.random.chance(loss);
        for receiver in 0..self.members.len() {
            if receiver == from || to.is_some_and(|to| to != address(receiver)) {
                continue;
            }
            let lost = match self.row.setup.draw {
                Draw::Each => self.random.chance(loss),
                Draw::All => all_miss_it,
            };
            let at = self.now + LATENCY;
            if !lost {
                self.row.repairs_received += u64::from(sort == Sort::Repair);
                let bytes = Rc::clone(&bytes);
                let arrival = Future::Arrive {
                    from,
                    to: receiver,
                    to_one: to.is_some(),
                    bytes,
                };
                self.plan_for(at, arrival);
            } else if let Sort::First(number) = sort {
                self.members[receiver].missed.insert(number, at);
            }
        }
    }

    fn sort(&self, datagram: &[u8]) -> Sort {
        let read = reading::read(datagram).expect("buses send what an old peer can read");
        match (read.said, read.number) {
            (Said::Event, Some(number)) if number > self.had => Sort::First(number),
            (Said::Event | Said::Again(_), _) => Sort::Repair,
            (Said::Nack { .. } | Said::Retx { .. }, _) => Sort::Request,
            (Said::Hello { .. } | Said::Gone | Said::Bye { .. } | Said::Sealed(_), _) => {
                Sort::Other
            }
        }
    }

    fn note_told(&mut self, member: usize) {
        for told in self.members[member].bus.told() {
            match told {
                Told::Message { number, .. } => {
                    self.row.delivered += 1;
                    let number = number.expect("what is not best effort has a number");
                    if let Some(due) = self.members[member].missed.remove(&number) {
                        self.row.recoveries.push(self.now - due);
                    }
                }
                Told::Lost { ranges, .. } => {
                    let counts = ranges.iter().map(|(first, last)| last - first + 1);
                    self.row.told_lost += counts.sum::<u64>();
                }
                Told::Joined(_) | Told::Left { .. } | Told::Clash { .. } => {}
                Told::Expired { .. } => unreachable!("nothing is long here"),
            }
        }
    }
}

fn address(index: usize) -> SocketAddr {
    ([10, 0, 0, index as u8 + 1], 9000).into()
}

impl Row {
    /// Events that were to be delivered, over all receivers.
    #[must_use]
    pub fn wanted(&self) -> u64 {
        EVENTS * self.setup.receivers as u64
    }

    /// What the sender sent again, for each event.
    #[must_use]
    pub fn sent_again(&self) -> f64 {
        self.repairs_sent as f64 / EVENTS as f64
    }

    /// What each receiver got of that, for each event.
    #[must_use]
    pub fn received_again(&self) -> f64 {
        self.repairs_received as f64 / self.wanted() as f64
    }

    /// What no sender can do without: each event that somebody misses is sent again once.
    #[must_use]
    pub fn least_sent_again(&self) -> f64 {
        let got = 1.0 - f64::from(self.setup.loss) / 1000.0;
        match self.setup.draw {
            Draw::Each => 1.0 - got.powi(self.setup.receivers as i32),
            Draw::All => 1.0 - got,
        }
    }

    /// Half of the lost events were there after this time.
    #[must_use]
    pub fn median_recovery(&self) -> Option<Nanos> {
        self.recoveries.get(self.recoveries.len() / 2).copied()
    }
}

/// The line above those of the table.
pub const HEADINGS: &str = concat!(
    "  loss  drawn for  receivers  delivered  told lost  ",
    "sent again  received  asked    median     worst\n"
);

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setup {
            loss,
            draw,
            receivers,
        } = self.setup;
        let drawn = match draw {
            Draw::Each => "each",
            Draw::All => "all",
        };
        let percent = |share: f64| format!("{:.2} %", share * 100.0);
        let time = |time: Option<&Nanos>| {
            time.map_or("-".to_owned(), |time| {
                format!("{:.1} ms", *time as f64 / MILLI as f64)
            })
        };
        write!(
            f,
            "{:>4.1} %  {drawn:>9}  {receivers:>9}  {:>9}  {:>9}  {:>10}  {:>8}  {:>5}  {:>8}  {:>8}",
            f64::from(loss) / 10.0,
            self.delivered,
            self.told_lost,
            percent(self.sent_again()),
            percent(self.received_again()),
            self.requests,
            time(self.median_recovery().as_ref()),
            time(self.recoveries.last()),
        )
    }
}
