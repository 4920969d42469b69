//! Plays a plan: virtual time, the members, and what goes between them.

mod arrivals;
mod attacks;
mod departures;
mod pauses;
mod senses;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use self::{pauses::Paused, senses::Sense};
use super::{
    attacker::{Attacker, Injection},
    bus::{Bus, Identity, WORLD_BEGAN_MS, Who},
    figures::Figures,
    history::{End, History, Life, LifeFacts, MILLI, MessageKey, Nanos, Record, What},
    network::{Copy, Network},
    old_peer::OldPeer,
    payload,
    plan::{Act, Fault, Plan},
    poser::Poser,
    random::Random,
    reading::Reading,
    sealed::{GROUP, Gate, Label, Opener, ROUNDS, Roots},
};
use crate::seal::Key;

/// A bus may find so many things to do one after the other without time going on.
const MOST_TURNS: u32 = 10_000;

/// When a send queue is full, the application tries again so much later.
const EMIT_RETRY: Nanos = 20 * MILLI;

/// What metadata take at most here.
const MOST_METADATA: usize = 500;

/// And what is around a sealed datagram.
const MOST_SEAL: usize = 400;

/// What an old peer sends at most at a time: it is asked for what is missing twice a second.
const MOST_OLD: usize = 10_000;

/// How often it is looked at what a bus holds: each so many turns.
const LOOK_EACH: u32 = 16;

/// Plays the plan to its end.
#[must_use]
pub fn play(plan: &Plan) -> (History, Figures) {
    let mut simulation = Simulation::new(plan);
    simulation.run();
    simulation.finish()
}

struct Simulation<'p> {
    plan: &'p Plan,
    now: Nanos,
    random: Random,
    network: Network,
    /// The roots of the group's keys, and what opens what is sealed with them.
    seal: Option<(Roots, Opener)>,
    attacker: Option<Attacker>,
    poser: Poser,
    /// What came to a bus from an address that is no member's, and what it sent there.
    strangers: HashMap<(Life, IpAddr), [u64; 2]>,
    /// Who can know, as far as it is noted, that two share an id.
    namesakes: HashSet<(Life, [Life; 2])>,
    seats: Vec<Seat>,
    agenda: BinaryHeap<Reverse<Entry>>,
    entries: u64,

    lives: Vec<LifeFacts>,
    incarnations: Vec<Option<u64>>,
    records: Vec<Record>,
    messages: HashMap<[u8; 20], MessageKey>,
    /// When they were emitted.
    emitted: HashMap<MessageKey, Nanos>,
    /// How many messages each life has sent.
    places: Vec<u64>,
    /// What was sent once.
    had: HashSet<(MessageKey, u32)>,
    payload: Vec<u8>,
    figures: Figures,
}

/// A member, whoever sits there at the time.
struct Seat {
    actor: Actor,
    life: Life,
    address: SocketAddr,
    starts: u16,
    left: bool,
    clock_ms: i64,
    wake_at: Option<Nanos>,
    turns: u32,
    /// The highest numbers known of each life: by hellos and goodbyes, and by messages.
    known: HashMap<Life, [Option<u64>; 2]>,
    met: HashSet<SocketAddr>,
    /// In whose name somebody else has sealed something for it.
    posed: HashSet<Life>,
    /// What has come of each life.
    senses: HashMap<Life, Sense>,
    /// Its process is stopped, or was just now.
    paused: Option<Box<Paused>>,
    /// What it takes in a sealed group.
    gate: Gate,
    /// How far it is in a change of keys.
    round: usize,
    /// The last counters that it sealed with: to the group, and to single peers.
    sealed: [u64; 2],
    /// Of what messages a repair came.
    repaired: HashSet<MessageKey>,
    held: usize,
    queued: usize,
    kept: usize,
    /// How much was sent in chunks.
    large: usize,
}

enum Actor {
    Absent,
    Bus(Box<Bus>),
    Old(Box<OldPeer>),
}

/// What a bus does of what is due.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Timeouts {
    All,
    /// What is done while input waits.
    AmidInput,
}

/// Something that will happen.
struct Entry {
    at: Nanos,
    order: u64,
    what: Future,
}

enum Future {
    Act(Act),
    Wake(usize),
    /// A datagram comes to a member's socket.
    Arrive(usize, Rc<Cast>, Copy),
    /// A member that reads slowly comes to it.
    HandOver(usize, Rc<Cast>, Copy),
    /// A member that was stopped reads what waits for it.
    Read(usize, Life),
    Inject(usize, Injection),
}

/// A datagram that was sent.
pub(super) struct Cast {
    by: Life,
    /// When it was sent.
    at: Nanos,
    pub(super) from: SocketAddr,
    to: Option<SocketAddr>,
    /// What stands around it in a sealed group.
    label: Option<Label>,
    reading: Option<Reading>,
    message: Option<MessageKey>,
    repair: bool,
}

impl<'p> Simulation<'p> {
    fn new(plan: &'p Plan) -> Self {
        let mut random = Random::new(2, plan.seed);
        let network_random = Random::new(random.word(), plan.seed);
        let members = plan.members.len();
        let seal = plan.sealed.then(|| {
            let mut random = Random::new(3, plan.seed);
            let roots = [random.bytes(), random.bytes()];
            (roots, Opener::new(&roots))
        });
        let attacker = plan.faults.contains(&Fault::Attacker);
        let attacker = attacker.then(|| Attacker::new(Random::new(5, plan.seed)));
        let key = seal.as_ref().map(|(roots, _)| Key::new(&roots[0], GROUP));
        let poser = Poser::new(Random::new(12, plan.seed), key);
        let weather = plan.weather.clone();
        let mut simulation = Self {
            plan,
            now: 0,
            random,
            network: Network::new(weather, members, plan.sealed, network_random),
            seal,
            attacker,
            poser,
            strangers: HashMap::new(),
            namesakes: HashSet::new(),
            seats: (0..members).map(|_| Seat::default()).collect(),
            agenda: BinaryHeap::new(),
            entries: 0,
            lives: Vec::new(),
            incarnations: Vec::new(),
            records: Vec::new(),
            messages: HashMap::new(),
            emitted: HashMap::new(),
            places: Vec::new(),
            had: HashSet::new(),
            payload: Vec::new(),
            figures: Figures::default(),
        };
        for (at, act) in &plan.acts {
            simulation.plan_for(*at, Future::Act(act.clone()));
        }
        simulation
    }

    fn run(&mut self) {
        let mut calm = false;
        while let Some(Reverse(entry)) = self.agenda.pop() {
            if entry.at > self.plan.end {
                break;
            }
            if !calm && entry.at >= self.plan.calm_from {
                calm = true;
                self.network.calm();
            }
            self.now = entry.at;
            match entry.what {
                Future::Act(act) => self.act(act),
                Future::Wake(member) => self.wake(member),
                Future::Arrive(to, cast, copy) => self.arrive(to, cast, copy),
                Future::HandOver(to, cast, copy) => self.hand_over(to, &cast, &copy),
                Future::Read(member, life) => self.read_waiting(member, life),
                Future::Inject(to, injection) => self.inject(to, &injection),
            }
        }
    }

    fn finish(mut self) -> (History, Figures) {
        self.now = self.plan.end;
        for member in 0..self.seats.len() {
            // What it has held back, to tell it in sum, it tells when it is stopped.
            if let Actor::Bus(bus) = &mut self.seats[member].actor {
                bus.leave(self.now);
                for told in bus.told() {
                    self.tell(member, told);
                }
            }
            self.note_peaks(member);
            // Long after the last message nothing is kept of any.
            let seat = &self.seats[member];
            if let Actor::Bus(bus) = &seat.actor {
                self.note(What::Peak {
                    of: seat.life,
                    what: "bytes of history in the end",
                    bytes: bus.stats().history_bytes,
                    limit: 0,
                });
            }
        }
        // An address that never echoed a token.
        let minutes = self.plan.end / (60_000 * MILLI) + 1;
        let mut strangers: Vec<_> = std::mem::take(&mut self.strangers).into_iter().collect();
        strangers.sort_unstable();
        for ((of, _), [came, sent]) in strangers {
            self.note(What::Peak {
                of,
                what: "bytes sent to a stranger",
                bytes: sent as usize,
                limit: (3 * came + minutes * (256 << 10)) as usize,
            });
        }
        let history = History {
            lives: self.lives,
            records: self.records,
            quiet_from: self.plan.quiet_from,
            end: self.plan.end,
            heartbeat: 1000 * MILLI,
            mild: self.plan.mild,
            sealed: self.plan.sealed,
            posers: self.plan.poses,
        };
        self.figures.worlds = 1;
        self.figures.sealed = self.plan.sealed.into();
        self.figures.key_changes = self.plan.changes_key.into();
        self.figures.posed_as_members = self.plan.poses_as_members.into();
        self.figures.usurped = self.plan.usurped.is_some().into();
        self.figures.network = self.network.losses;
        self.figures.virtual_time = self.plan.end;
        (history, self.figures)
    }

    fn plan_for(&mut self, at: Nanos, what: Future) {
        self.entries += 1;
        let order = self.entries;
        self.agenda.push(Reverse(Entry { at, order, what }));
    }

    fn note(&mut self, what: What) {
        self.records.push(Record { at: self.now, what });
    }

    fn act(&mut self, act: Act) {
        if let Act::Leave(member) | Act::ChangeKeys(member) = act
            && let Some(until) = self.seats[member].stopped_until()
        {
            self.plan_for(until, Future::Act(act));
            return;
        }
        match act {
            Act::Start(member) => self.start(member),
            Act::Restart {
                member,
                after,
                clock_ms,
            } => {
                let seat = &mut self.seats[member];
                if seat.left || !matches!(seat.actor, Actor::Bus(_)) {
                    return;
                }
                seat.clock_ms += clock_ms;
                self.end(member, End::Crashed);
                self.plan_for(self.now + after, Future::Act(Act::Start(member)));
            }
            Act::Leave(member) => self.leave(member),
            Act::Part(side) => self.network.part(side),
            Act::Heal => self.network.part(0),
            Act::Emit {
                member,
                len,
                best_effort,
                nonsense,
            } => self.emit(member, len, best_effort, nonsense),
            Act::SetClock { member, by_ms } => {
                let seat = &mut self.seats[member];
                seat.clock_ms += by_ms;
                if let Actor::Bus(bus) = &mut seat.actor {
                    bus.set_clock(by_ms);
                }
            }
            Act::Pause {
                member,
                length,
                room,
            } => self.pause(member, length, room),
            Act::Attack => self.attack(),
            Act::Pose => self.pose(),
            Act::Throng => self.throng(),
            Act::ChangeKeys(member) => self.change_keys(member),
        }
    }

    fn change_keys(&mut self, member: usize) {
        let seat = &mut self.seats[member];
        seat.round += 1;
        let holds = ROUNDS[seat.round];
        seat.gate.holds = holds;
        if let (Actor::Bus(bus), Some((roots, _))) = (&mut seat.actor, &self.seal) {
            bus.set_keys(roots, holds);
            self.pump(member);
        }
    }

    fn start(&mut self, member: usize) {
        if self.seats[member].left {
            return;
        }
        let facts = &self.plan.members[member];
        let seat = &mut self.seats[member];
        seat.starts += 1;
        let life = self.lives.len() as Life;
        let moves = if facts.keeps_port { 1 } else { seat.starts };
        let number = member as u8;
        let named_as = facts.namesake.map_or(number, |namesake| namesake as u8);
        let (address, named) = if facts.old {
            let address = SocketAddr::from(([10, 0, 1, number], 5000));
            (address, address)
        } else {
            let port = 40_000 + 100 * moves + u16::from(number);
            let address = SocketAddr::from(([10, 0, 0, number], port));
            let named = SocketAddr::from(([10, 9, 9, number], port));
            (address, if facts.misnamed { named } else { address })
        };
        let renewed = if facts.keeps_id { 1 } else { seat.starts };
        let id = format!(
            "{:016x}",
            0xb05_0000 + u64::from(renewed) * 256 + u64::from(named_as)
        );
        let clock_ms = facts.skew_ms + seat.clock_ms;
        let began = WORLD_BEGAN_MS.saturating_add_signed(clock_ms) + self.now / MILLI;
        let incarnation = (began..)
            .find(|&incarnation| self.life_of(&id, Some(incarnation)).is_none())
            .expect("there are many more numbers than lives");
        let seat = &mut self.seats[member];
        let holds = ROUNDS[seat.round];
        seat.actor = if facts.old {
            Actor::Old(Box::new(OldPeer::new(&id, address)))
        } else {
            let identity = Identity {
                id: id.clone(),
                incarnation,
                named,
                keys: self.seal.as_ref().map(|(roots, _)| (*roots, holds)),
            };
            let bus = Bus::start(
                self.now,
                &identity,
                &facts.options,
                clock_ms,
                &mut self.random,
            );
            Actor::Bus(Box::new(bus))
        };
        *seat = Seat {
            actor: std::mem::replace(&mut seat.actor, Actor::Absent),
            life,
            address,
            starts: seat.starts,
            clock_ms: seat.clock_ms,
            gate: Gate::new(&id, began, holds),
            round: seat.round,
            ..Seat::default()
        };
        self.lives.push(LifeFacts {
            id,
            started: self.now,
            ended: None,
            old: facts.old,
        });
        self.incarnations.push((!facts.old).then_some(incarnation));
        self.places.push(0);
        self.pump(member);
    }

    fn leave(&mut self, member: usize) {
        let seat = &mut self.seats[member];
        if seat.left || !matches!(seat.actor, Actor::Bus(_)) {
            return;
        }
        seat.left = true;
        if let Actor::Bus(bus) = &mut seat.actor {
            bus.leave(self.now);
        }
        self.pump(member);
    }

    fn end(&mut self, member: usize, how: End) {
        self.note_peaks(member);
        let seat = &mut self.seats[member];
        seat.actor = Actor::Absent;
        seat.wake_at = None;
        seat.paused = None;
        self.lives[seat.life as usize].ended = Some((self.now, how));
    }

    fn note_peaks(&mut self, member: usize) {
        self.look(member);
        let seat = &self.seats[member];
        if !matches!(seat.actor, Actor::Bus(_)) {
            return;
        }
        let (of, held, queued, kept) = (seat.life, seat.held, seat.queued, seat.kept);
        let options = &self.plan.members[member].options;
        // A message alone always has room in the queue.
        let queue = (4 << 20) + options.max_message_size * 2;
        // What is in chunks stays until they have gone out and some time more.
        let history = options.history_bytes + seat.large;
        for (what, bytes, limit) in [
            ("held bytes", held, options.max_held_bytes),
            ("queued bytes", queued, queue),
            ("bytes of history", kept, history),
        ] {
            self.note(What::Peak {
                of,
                what,
                bytes,
                limit,
            });
        }
    }

    fn look(&mut self, member: usize) {
        let seat = &mut self.seats[member];
        if let Actor::Bus(bus) = &seat.actor {
            let stats = bus.stats();
            seat.held = seat.held.max(stats.held_bytes);
            seat.queued = seat.queued.max(stats.queued_bytes);
            seat.kept = seat.kept.max(stats.history_bytes);
        }
    }

    fn emit(&mut self, wanted: usize, len: usize, best_effort: bool, nonsense: bool) {
        let members = self.seats.len();
        let lives = |seat: &Seat| !seat.left && !matches!(seat.actor, Actor::Absent);
        let speaks = |seat: &Seat| lives(seat) && seat.stopped_until().is_none();
        let Some(member) = (0..members)
            .map(|step| (wanted + step) % members)
            .find(|&member| speaks(&self.seats[member]))
        else {
            if self.seats.iter().any(lives) {
                let again = Act::Emit {
                    member: wanted,
                    len,
                    best_effort,
                    nonsense,
                };
                self.plan_for(self.now + EMIT_RETRY, Future::Act(again));
            }
            return;
        };
        let seat = &mut self.seats[member];
        let life = seat.life;
        let message = MessageKey {
            sender: life,
            place: self.places[life as usize],
        };
        let len = match &seat.actor {
            Actor::Old(_) => len.min(MOST_OLD),
            Actor::Bus(_) | Actor::Absent => len,
        };
        let mut payload = std::mem::take(&mut self.payload);
        let digest = payload::write(message, len, &mut payload);
        if nonsense {
            payload.fill(b'x');
        }
        let name = payload::name_of(message);
        let mut datagrams = Vec::new();
        let taken = match &mut seat.actor {
            Actor::Bus(bus) => match bus.emit(self.now, name, &payload, best_effort) {
                Ok(accepted) => Some((accepted.message_id.0, accepted.number)),
                Err(_) => None,
            },
            Actor::Old(peer) => {
                let (id, all) = peer.emit(message, &payload);
                datagrams = all;
                Some((id, None))
            }
            Actor::Absent => None,
        };
        let payload_len = payload.len();
        self.payload = payload;
        let ordered = !best_effort && matches!(seat.actor, Actor::Bus(_));
        let Some((id, number)) = taken else {
            let again = Act::Emit {
                member: wanted,
                len,
                best_effort,
                nonsense,
            };
            self.figures.refused += 1;
            self.plan_for(self.now + EMIT_RETRY, Future::Act(again));
            return;
        };
        let around = MOST_METADATA + if self.plan.sealed { MOST_SEAL } else { 0 };
        if payload_len + around > self.plan.members[member].options.max_payload_size {
            self.seats[member].large += payload_len + around;
        }
        self.figures.messages += 1;
        self.places[life as usize] += 1;
        self.messages.insert(id, message);
        self.emitted.insert(message, self.now);
        self.note(What::Sent {
            message,
            ordered,
            number,
            digest,
        });
        for datagram in datagrams {
            self.send(member, None, &datagram);
        }
        self.pump(member);
    }

    fn wake(&mut self, member: usize) {
        if self.seats[member].wake_at != Some(self.now) {
            return;
        }
        self.seats[member].wake_at = None;
        if let Actor::Old(peer) = &mut self.seats[member].actor {
            let deeds = peer.ask(self.now);
            self.do_deeds(member, deeds);
        } else {
            self.pump(member);
        }
    }

    /// Lets a bus do all that it has to do now, unless it is stopped or reads what has waited
    /// meanwhile.
    fn pump(&mut self, member: usize) {
        if self.seats[member].paused.is_none() {
            self.drive(member, Timeouts::All);
        }
    }

    fn drive(&mut self, member: usize, timeouts: Timeouts) {
        let actor = &mut self.seats[member].actor;
        let mut bus = match std::mem::replace(actor, Actor::Absent) {
            Actor::Bus(bus) => bus,
            other => {
                *actor = other;
                return;
            }
        };
        let mut turns = 0;
        loop {
            while let Some((to, datagrams)) = bus.transmit(self.now) {
                for datagram in datagrams {
                    self.send(member, to, &datagram);
                }
            }
            for told in bus.told() {
                self.tell(member, told);
            }
            let goes_on = match timeouts {
                Timeouts::All => turns < MOST_TURNS && bus.time_out(self.now),
                Timeouts::AmidInput => turns == 0,
            };
            if !goes_on {
                break;
            }
            if timeouts == Timeouts::AmidInput {
                bus.time_out_amid_input(self.now);
            }
            turns += 1;
        }
        let has_left = bus.has_left();
        let spins = timeouts == Timeouts::All && bus.next().is_some_and(|next| next <= self.now);
        let seat = &mut self.seats[member];
        seat.actor = Actor::Bus(bus);
        let by = seat.life;
        seat.turns += 1;
        if seat.turns.is_multiple_of(LOOK_EACH) {
            self.look(member);
        }
        if spins {
            self.note(What::Spun { by });
        }
        if has_left {
            self.end(member, End::Left);
        }
        if timeouts == Timeouts::All {
            self.schedule(member);
        }
    }

    /// Sees to it that a member wakes up when it has something to do.
    fn schedule(&mut self, member: usize) {
        let seat = &self.seats[member];
        let next = match &seat.actor {
            Actor::Absent => None,
            Actor::Old(peer) => peer.next(),
            Actor::Bus(bus) => bus.next(),
        };
        let Some(next) = next else {
            return;
        };
        // One that never rests has been noted.
        let next = if next <= self.now {
            self.now + MILLI
        } else {
            next
        };
        let late = self.random.below(self.plan.members[member].sluggish + 1);
        let at = next + late;
        let seat = &mut self.seats[member];
        if seat.wake_at.is_none_or(|wake_at| next < wake_at) {
            seat.wake_at = Some(at);
            self.plan_for(at, Future::Wake(member));
        }
    }

    fn life_by(&self, who: &Who) -> Option<Life> {
        self.life_of(&who.id, who.incarnation)
    }

    fn life_of(&self, id: &str, incarnation: Option<u64>) -> Option<Life> {
        let mut lives = (0..).zip(self.lives.iter().zip(&self.incarnations));
        let (life, _) =
            lives.find(|(_, (facts, other))| facts.id == id && **other == incarnation)?;
        Some(life)
    }
}

impl Default for Seat {
    fn default() -> Self {
        Self {
            actor: Actor::Absent,
            life: 0,
            address: ([0, 0, 0, 0], 0).into(),
            starts: 0,
            left: false,
            clock_ms: 0,
            wake_at: None,
            turns: 0,
            known: HashMap::new(),
            met: HashSet::new(),
            posed: HashSet::new(),
            senses: HashMap::new(),
            paused: None,
            gate: Gate::new("", 0, ROUNDS[0]),
            round: 0,
            sealed: [0; 2],
            repaired: HashSet::new(),
            held: 0,
            queued: 0,
            kept: 0,
            large: 0,
        }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
