//! Plays a plan: virtual time, the members, and what goes between them.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    net::SocketAddr,
    rc::Rc,
};

use super::{
    attacker::{Attacker, Injection, Victim},
    bus::{Bus, Identity, Told, WORLD_BEGAN_MS, Who},
    figures::Figures,
    history::{
        Content, End, History, Kind, Life, LifeFacts, MILLI, MessageKey, Nanos, Record, What,
    },
    network::{Copy, Network, State},
    old_peer::{Deed, OldPeer},
    payload,
    plan::{Act, Fault, Plan},
    random::Random,
    reading::{self, Reading, Said},
    sealed::{Gate, Label, Opener, Verdict},
};

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
    /// The root of the group's key, and what opens what is sealed with it.
    seal: Option<([u8; 32], Opener)>,
    attacker: Option<Attacker>,
    seats: Vec<Seat>,
    agenda: BinaryHeap<Reverse<Entry>>,
    entries: u64,

    lives: Vec<LifeFacts>,
    incarnations: Vec<Option<u64>>,
    records: Vec<Record>,
    messages: HashMap<[u8; 20], MessageKey>,
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
    /// What it takes in a sealed group.
    gate: Gate,
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

/// Something that will happen.
struct Entry {
    at: Nanos,
    order: u64,
    what: Future,
}

enum Future {
    Act(Act),
    Wake(usize),
    Arrive(usize, Rc<Cast>, Copy),
    Read(usize, Rc<Cast>, Copy),
    Inject(usize, Injection),
}

/// A datagram that was sent.
pub(super) struct Cast {
    by: Life,
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
            let root = Random::new(3, plan.seed).bytes();
            (root, Opener::new(&root))
        });
        let attacker = plan.faults.contains(&Fault::Attacker);
        let attacker = attacker.then(|| Attacker::new(Random::new(5, plan.seed)));
        let weather = plan.weather.clone();
        let mut simulation = Self {
            plan,
            now: 0,
            random,
            network: Network::new(weather, members, plan.sealed, network_random),
            seal,
            attacker,
            seats: (0..members).map(|_| Seat::default()).collect(),
            agenda: BinaryHeap::new(),
            entries: 0,
            lives: Vec::new(),
            incarnations: Vec::new(),
            records: Vec::new(),
            messages: HashMap::new(),
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
                Future::Read(to, cast, copy) => self.hand_over(to, &cast, &copy),
                Future::Inject(to, injection) => self.inject(to, &injection),
            }
        }
    }

    fn finish(mut self) -> (History, Figures) {
        self.now = self.plan.end;
        for member in 0..self.seats.len() {
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
        let history = History {
            lives: self.lives,
            records: self.records,
            quiet_from: self.plan.quiet_from,
            end: self.plan.end,
            heartbeat: 1000 * MILLI,
            mild: self.plan.mild,
            sealed: self.plan.sealed,
        };
        self.figures.worlds = 1;
        self.figures.sealed = self.plan.sealed.into();
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
            } => self.emit(member, len, best_effort),
            Act::Attack => self.attack(),
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
            0xb05_0000 + u64::from(renewed) * 256 + u64::from(number)
        );
        let clock_ms = facts.skew_ms + seat.clock_ms;
        let began = WORLD_BEGAN_MS.saturating_add_signed(clock_ms) + self.now / MILLI;
        let incarnation = (began..)
            .find(|&incarnation| self.life_of(&id, Some(incarnation)).is_none())
            .expect("there are many more numbers than lives");
        let seat = &mut self.seats[member];
        seat.actor = if facts.old {
            Actor::Old(Box::new(OldPeer::new(&id, address)))
        } else {
            let identity = Identity {
                id: id.clone(),
                incarnation,
                named,
                root: self.seal.as_ref().map(|(root, _)| *root),
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
            gate: Gate::new(&id, began),
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

    fn emit(&mut self, wanted: usize, len: usize, best_effort: bool) {
        let members = self.seats.len();
        let speaks = |seat: &Seat| !seat.left && !matches!(seat.actor, Actor::Absent);
        let Some(member) = (0..members)
            .map(|step| (wanted + step) % members)
            .find(|&member| speaks(&self.seats[member]))
        else {
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

    fn arrive(&mut self, to: usize, cast: Rc<Cast>, copy: Copy) {
        match self.network.arrive(self.now, to, copy.bytes.len()) {
            Some(at) if at > self.now => self.plan_for(at, Future::Read(to, cast, copy)),
            Some(_) => self.hand_over(to, &cast, &copy),
            None => {}
        }
    }

    fn hand_over(&mut self, to: usize, cast: &Rc<Cast>, copy: &Copy) {
        let seat = &mut self.seats[to];
        if cast.to.is_some_and(|address| address != seat.address) {
            return;
        }
        match &mut seat.actor {
            Actor::Absent => {}
            Actor::Old(peer) => {
                // What the network doubles is not the sender's fault; and what it destroys would end a real one.
                if copy.double || copy.state != State::Good {
                    return;
                }
                let Some(reading) = &cast.reading else {
                    return;
                };
                let deeds = peer.hear(self.now, cast.from, reading, &copy.bytes);
                self.do_deeds(to, deeds);
            }
            Actor::Bus(_) => {
                let state = if self.plan.sealed {
                    let intact = copy.state == State::Good;
                    self.pass_gate(to, cast, intact, &copy.bytes)
                } else {
                    Some(copy.state)
                };
                self.hear(to, cast.from, &copy.bytes, Some(cast).zip(state));
            }
        }
    }

    /// Lets a bus hear something, which may be what was sent, in that state.
    fn hear(
        &mut self,
        to: usize,
        from: SocketAddr,
        bytes: &[u8],
        cast: Option<(&Rc<Cast>, State)>,
    ) {
        if let Some((cast, state)) = cast {
            self.listen(to, from, cast, state);
        }
        if let Actor::Bus(bus) = &mut self.seats[to].actor {
            bus.hear(self.now, from, bytes);
        }
        self.pump(to);
    }

    /// What a bus in a sealed group makes of a datagram that has the box of this one, perhaps.
    fn judge(
        &self,
        to: usize,
        cast: &Cast,
        intact: bool,
        bytes: &[u8],
    ) -> Option<(Label, u64, Verdict)> {
        let seat = &self.seats[to];
        let (Actor::Bus(bus), Some((_, opener))) = (&seat.actor, &self.seal) else {
            return None;
        };
        let label = if intact {
            cast.label?
        } else {
            opener.find(bytes)?
        };
        let now_ms = bus.clock_ms(self.now);
        let verdict = seat.gate.judge(now_ms, cast.by, &label, intact);
        let own = cast.by == seat.life;
        (!own && verdict != Verdict::Refused).then_some((label, now_ms, verdict))
    }

    /// The same, and it comes. `None`: it is refused.
    fn pass_gate(&mut self, to: usize, cast: &Cast, intact: bool, bytes: &[u8]) -> Option<State> {
        let (label, now_ms, _) = self.judge(to, cast, intact, bytes)?;
        let gate = &mut self.seats[to].gate;
        match gate.take(now_ms, cast.by, &label, intact) {
            Verdict::Taken => Some(State::Good),
            Verdict::Perhaps => Some(State::Altered),
            Verdict::Refused => None,
        }
    }

    /// The attacker does something.
    fn attack(&mut self) {
        let addresses: Vec<SocketAddr> = self.seats.iter().map(|seat| seat.address).collect();
        let Some(attacker) = &mut self.attacker else {
            return;
        };
        if self.lives.is_empty() {
            return;
        }
        let life = attacker.choose(self.lives.len());
        let victim = Victim {
            life: life as Life,
            id: &self.lives[life].id,
            incarnation: self.incarnations[life].unwrap_or_default(),
            sent: self.places[life],
        };
        let injection = attacker.make(&addresses, &victim);
        match attacker.aim(addresses.len()) {
            Some(to) => self.inject(to, &injection),
            None => (0..addresses.len()).for_each(|to| self.inject(to, &injection)),
        }
    }

    /// The attacker brings something to a bus.
    fn inject(&mut self, to: usize, injection: &Injection) {
        if !matches!(self.seats[to].actor, Actor::Bus(_)) {
            return;
        }
        let Injection {
            from,
            bytes,
            of,
            intact,
        } = injection;
        let calm = self.now >= self.plan.calm_from;
        let mut state = None;
        if let Some(cast) = of
            && self.judge(to, cast, *intact, bytes).is_some()
        {
            if calm {
                // What was lost before would be news, and news are not quiet.
                return;
            }
            state = self.pass_gate(to, cast, *intact, bytes);
        }
        self.figures.injected += 1;
        self.hear(to, *from, bytes, of.as_ref().zip(state));
    }

    /// Notes what a bus can know from now on.
    fn listen(&mut self, to: usize, from: SocketAddr, cast: &Cast, state: State) {
        let sealed = self.plan.sealed;
        let seat = &mut self.seats[to];
        let life = seat.life;
        let mut news = Vec::new();
        if seat.met.insert(from) {
            news.push(What::Met {
                by: life,
                address: from,
            });
        }
        let altered = state == State::Altered;
        if let Some(reading) = &cast.reading
            && state != State::Destroyed
            && cast.by != life
        {
            let number = match &reading.said {
                Said::Event => reading.number,
                Said::Again(inner) => inner.number,
                Said::Hello { last, .. } | Said::Bye { last } => Some(*last),
                Said::Nack { .. } | Said::Retx { .. } | Said::Gone | Said::Sealed(_) => None,
            };
            let claimed = matches!(reading.said, Said::Hello { .. } | Said::Bye { .. });
            let known = seat.known.get(&cast.by).copied().unwrap_or_default();
            let [by_claim, by_message] = known;
            let before = if claimed { by_claim } else { by_message };
            // What others have asked for says nothing about where to begin.
            let begins = !matches!(reading.said, Said::Again(_));
            if let Some(number) = number
                && before.map_or(begins || by_claim.is_some(), |before| before < number)
            {
                if !altered {
                    let mut known = known;
                    known[usize::from(!claimed)] = Some(number);
                    seat.known.insert(cast.by, known);
                }
                news.push(What::Heard {
                    by: life,
                    of: cast.by,
                    number,
                    claimed,
                    altered,
                });
            }
            if let Some(message) = cast.message {
                // What is in a box is as it was, or not there.
                if altered && !sealed {
                    news.push(What::Altered { to: life, message });
                }
                if cast.repair {
                    seat.repaired.insert(message);
                }
            }
        }
        for what in news {
            self.note(what);
        }
    }

    fn do_deeds(&mut self, member: usize, deeds: Vec<Deed>) {
        let to = self.seats[member].life;
        for deed in deeds {
            match deed {
                Deed::Send(address, bytes) => self.send(member, Some(address), &bytes),
                Deed::Deliver(id, stamp) => {
                    let sender = self.messages.get(&id).copied();
                    // It knows nothing of incarnations.
                    let content = content(stamp, sender);
                    self.figures.delivered_to_old += 1;
                    self.note(What::Delivered {
                        to,
                        from: sender.map(|message| message.sender),
                        number: None,
                        content,
                    });
                }
            }
        }
        self.schedule(member);
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

    /// Lets a bus do all that it has to do now.
    fn pump(&mut self, member: usize) {
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
            if turns == MOST_TURNS || !bus.time_out(self.now) {
                break;
            }
            turns += 1;
        }
        let has_left = bus.has_left();
        let spins = bus.next().is_some_and(|next| next <= self.now);
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
        self.schedule(member);
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

    /// Notes what a bus tells its application.
    fn tell(&mut self, member: usize, told: Told) {
        let to = self.seats[member].life;
        let what = match told {
            Told::Message {
                from,
                number,
                id,
                stamp,
            } => {
                let sender = self.messages.get(&id).copied();
                let content = content(stamp, sender);
                self.figures.delivered += 1;
                let repaired =
                    sender.is_some_and(|message| self.seats[member].repaired.contains(&message));
                self.figures.repaired += u64::from(repaired);
                What::Delivered {
                    to,
                    from: self.life_by(&from),
                    number,
                    content,
                }
            }
            Told::Expired { number, id } => {
                self.figures.told_lost += u64::from(number.is_some());
                self.figures.expired += 1;
                What::Expired {
                    to,
                    message: self.messages.get(&id).copied(),
                    number,
                }
            }
            Told::Lost { of, first, last } => {
                self.figures.told_lost += (last + 1).saturating_sub(first);
                What::Lost {
                    to,
                    of: self.life_by(&of),
                    first,
                    last,
                }
            }
        };
        self.note(what);
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

    /// Puts a datagram of a member onto the network.
    fn send(&mut self, member: usize, to: Option<SocketAddr>, bytes: &[u8]) {
        let seat = &self.seats[member];
        let (by, from) = (seat.life, seat.address);
        let (label, reading) = self.read(seat.life, to, bytes);
        let kind = self.kind(reading.as_ref());
        let (message, repair) = match kind {
            Kind::Data {
                message,
                chunk,
                again,
            } => {
                let first = message.is_some_and(|message| self.had.insert((message, chunk)));
                (message, again || !first)
            }
            _ => (None, false),
        };
        self.figures.datagrams += 1;
        self.figures.bytes += bytes.len() as u64;
        self.figures.repairs += u64::from(repair);
        self.figures.control += u64::from(!matches!(kind, Kind::Data { .. }));
        self.note(What::Cast { by, to, kind });

        let receivers = match to {
            Some(address) => {
                let owner = |seat: &Seat| seat.address == address && seat.starts > 0;
                let owner = self.seats.iter().position(owner);
                owner.map_or(0..0, |owner| owner..owner + 1)
            }
            None => 0..self.seats.len(),
        };
        let Some((away, lost)) = self.network.leave(self.now, member, bytes.len()) else {
            let copies = receivers.len().saturating_sub(1).max(1) as u64;
            self.network.losses.copies += copies;
            self.network.losses.lost += copies;
            self.network.losses.crowded_out += copies;
            return;
        };
        let cast = Rc::new(Cast {
            by,
            from,
            to,
            label,
            reading,
            message,
            repair,
        });
        let bytes: Rc<[u8]> = bytes.into();
        if let Some(attacker) = &mut self.attacker {
            attacker.keep(&cast, &bytes);
        }
        for receiver in receivers {
            if self.seats[receiver].starts == 0
                || receiver == member && to.is_none() && !self.plan.members[member].echo
            {
                continue;
            }
            if self.now < self.plan.calm_from
                && let Some(attacker) = &mut self.attacker
                && let Some(pause) = attacker.hold_back()
            {
                let injection = Injection {
                    from,
                    bytes: Rc::clone(&bytes),
                    of: Some(Rc::clone(&cast)),
                    intact: true,
                };
                self.plan_for(self.now + pause, Future::Inject(receiver, injection));
                continue;
            }
            let way = (member, receiver);
            let copies = self
                .network
                .carry(away, way, &bytes, cast.reading.as_ref(), lost);
            for copy in copies.into_iter().flatten() {
                self.plan_for(copy.at, Future::Arrive(receiver, Rc::clone(&cast), copy));
            }
        }
    }

    /// What was sent, as far as its receivers can read it. In a sealed group all has to be sealed, as its sender's.
    fn read(
        &self,
        by: Life,
        to: Option<SocketAddr>,
        bytes: &[u8],
    ) -> (Option<Label>, Option<Reading>) {
        let Some((_, opener)) = &self.seal else {
            return (None, reading::read(bytes));
        };
        let read = opener.read(bytes).filter(|(label, _)| {
            let incarnation = self.incarnations[by as usize];
            label.fits(&self.lives[by as usize].id, incarnation, to.is_some())
        });
        read.unzip()
    }

    fn kind(&self, reading: Option<&Reading>) -> Kind {
        let Some(reading) = reading else {
            return Kind::Unreadable;
        };
        match &reading.said {
            Said::Event => Kind::Data {
                message: self.messages.get(&reading.seq_id).copied(),
                chunk: reading.seq,
                again: false,
            },
            Said::Again(inner) => Kind::Data {
                message: self.messages.get(&inner.seq_id).copied(),
                chunk: inner.seq,
                again: true,
            },
            Said::Hello { .. } => Kind::Hello,
            Said::Bye { .. } => Kind::Bye,
            Said::Gone => Kind::Gone,
            Said::Sealed(_) => Kind::Unreadable,
            Said::Nack { id, inc, missing } => Kind::Nack {
                of: self.life_of(id, Some(*inc)),
                missing: missing.clone(),
            },
            Said::Retx {
                seq_id, missing, ..
            } => Kind::Retx {
                message: self.messages.get(seq_id).copied(),
                missing: missing.clone(),
            },
        }
    }
}

fn content(stamp: Option<payload::Stamp>, by_id: Option<MessageKey>) -> Content {
    match stamp {
        Some(stamp) => Content::Whole {
            message: stamp.message,
            digest: stamp.digest,
        },
        None => Content::Broken(by_id),
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
            gate: Gate::default(),
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
