//! What is to happen in a world: one seed decides who takes part, what goes wrong, and who says what when.

use std::time::Duration;

use super::{
    history::{MILLI, Nanos, nanos},
    random::Random,
    sealed::ROUNDS,
};

/// Each world has at least so many messages.
pub const LEAST_MESSAGES: u64 = 2000;

/// And so many kinds of fault.
const LEAST_FAULTS: u64 = 2;

/// After the faults are over, so long until nothing may be left to do, beside what follows from `message_ttl`.
const SETTLING: Nanos = 7_000 * MILLI;

/// More than all members send in a world.
const ROOMY: usize = 4 << 20;

/// In so much time a number is asked for ten times.
const PATIENT: Duration = Duration::from_secs(3);

/// How far wall clocks are off at most, in milliseconds: either way.
const SKEW: i64 = 10_000;

/// The same in a sealed group, where a bus does not hear at first those whose clocks are more than a second behind its
/// own.
const SEALED_SKEW: i64 = 450;

/// The share of sealed groups that change their key.
const KEY_CHANGES: f64 = 0.25;

/// The share of groups, of those without old peers, in which some send events that are nonsense inside: whole, with
/// numbers, and in chunks.
const NONSENSE: f64 = 0.2;

/// The share of groups in which each bus greets whoever joins, with two events.
const GREETINGS: f64 = 0.2;

/// The share of groups that are not sealed in which clocks are set while buses run.
const SET_CLOCKS: f64 = 0.15;

/// How long it is looked whether anything is still done.
const QUIET: Nanos = 3_000 * MILLI;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// Each receiver misses some datagrams, independently of each other and of the others.
    Loss,
    /// The same, in bursts.
    BurstLoss,
    /// All receivers miss the same datagrams.
    SharedLoss,
    /// Some come twice.
    Duplication,
    /// Some come much later than those sent after them.
    Reordering,
    /// Some come altered.
    Corruption,
    /// Some receivers read slowly, and their socket's buffer is small.
    SlowReceivers,
    /// Some senders' links are slow.
    SlowLinks,
    /// Some cannot hear the others for a while.
    Partition,
    /// Some end without a word and start anew.
    Restart,
    /// Some come late.
    LateJoin,
    /// Some leave.
    Leave,
    /// Some are of another make. Only in groups that are not sealed.
    OldPeers,
    /// Somebody without the key has everything that was sent, and sends it again, and parts of it, and what it makes
    /// up. Only in sealed groups.
    Attacker,
}

/// All kinds.
pub const FAULTS: [Fault; 14] = [
    Fault::Loss,
    Fault::BurstLoss,
    Fault::SharedLoss,
    Fault::Duplication,
    Fault::Reordering,
    Fault::Corruption,
    Fault::SlowReceivers,
    Fault::SlowLinks,
    Fault::Partition,
    Fault::Restart,
    Fault::LateJoin,
    Fault::Leave,
    Fault::OldPeers,
    Fault::Attacker,
];

/// What is to happen.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What decided it.
    pub seed: u64,
    /// The group is sealed.
    pub sealed: bool,
    /// It changes its key while it runs.
    pub changes_key: bool,
    /// Each bus greets whoever joins.
    pub greets: bool,
    /// Its kinds of fault.
    pub faults: Vec<Fault>,
    /// Who takes part.
    pub members: Vec<Member>,
    /// What the network does.
    pub weather: Weather,
    /// What happens when, in order.
    pub acts: Vec<(Nanos, Act)>,
    /// When the faults are over.
    pub calm_from: Nanos,
    /// When nothing may be left to do.
    pub quiet_from: Nanos,
    /// When the world ends.
    pub end: Nanos,
    /// Nothing goes wrong but what can be repaired in time for sure.
    pub mild: bool,
}

/// One who takes part.
#[derive(Clone, Debug)]
pub struct Member {
    /// A peer of another make.
    pub old: bool,
    /// It comes back with its id after a restart.
    pub keeps_id: bool,
    /// It comes back at its port after a restart.
    pub keeps_port: bool,
    /// What it says of its host and port is not where its datagrams come from.
    pub misnamed: bool,
    /// It hears its own datagrams. An old peer does not listen to itself.
    pub echo: bool,
    /// Options of its bus.
    pub options: Options,
    /// How late at most it wakes up.
    pub sluggish: Nanos,
    /// How far its wall clock is ahead, in milliseconds.
    pub skew_ms: i64,
}

/// Options of a bus.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// `max_payload_size`.
    pub max_payload_size: usize,
    /// `max_message_size`.
    pub max_message_size: usize,
    /// `max_held_bytes`.
    pub max_held_bytes: usize,
    /// `history_bytes`.
    pub history_bytes: usize,
    /// `message_ttl`.
    pub message_ttl: Duration,
}

/// What a network does to datagrams. Without any it delivers everything, in order, after `latency`.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    /// How long a datagram is on its way.
    pub latency: Nanos,
    /// How much longer at most.
    pub jitter: Nanos,
    /// The share that a receiver misses.
    pub loss: f64,
    /// The share that all miss.
    pub shared_loss: f64,
    /// Loss in bursts.
    pub bursts: Option<Bursts>,
    /// The share that comes twice.
    pub duplicates: f64,
    /// The share that is late.
    pub late: f64,
    /// How late at most, and how late a second copy.
    pub late_by: Nanos,
    /// The share that is altered.
    pub altered: f64,
    /// How fast some read.
    pub slow_receivers: Option<Limit>,
    /// How fast some send.
    pub slow_links: Option<Limit>,
}

/// A state that comes and goes, in which most is lost (Gilbert and Elliott).
#[derive(Clone, Copy, Debug)]
pub struct Bursts {
    /// How likely it begins with a datagram.
    pub begin: f64,
    /// How likely it ends with a datagram.
    pub end: f64,
    /// The share that is lost in it.
    pub loss: f64,
}

/// A queue that drops what finds no room.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// How fast it is emptied, in bytes a second.
    pub rate: u64,
    /// How much it holds, in bytes.
    pub room: u64,
    /// Whom it concerns: one bit for each member.
    pub whom: u32,
}

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Act {
    /// A member starts.
    Start(usize),
    /// A member ends without a word, and starts again after a while, with its clock moved.
    Restart {
        /// Who.
        member: usize,
        /// After how long.
        after: Nanos,
        /// How far its clock moves, in milliseconds.
        clock_ms: i64,
    },
    /// A member says goodbye.
    Leave(usize),
    /// The members with a bit hear only each other, the rest too.
    Part(u32),
    /// All hear all.
    Heal,
    /// A member emits an event.
    Emit {
        /// Who.
        member: usize,
        /// How much it carries.
        len: usize,
        /// It is not to be waited for.
        best_effort: bool,
        /// What it carries is no payload, which its bus does not look at.
        nonsense: bool,
    },
    /// The wall clock of a member is set while it runs.
    SetClock {
        /// Who.
        member: usize,
        /// How far, in milliseconds.
        by_ms: i64,
    },
    /// The attacker does something.
    Attack,
    /// Somebody who can send to a group in the clear asks for what was sent, or speaks in a member's name.
    Pose,
    /// A member, whether it runs or not, gets the keys of the next round of a change.
    ChangeKeys(usize),
}

/// The share of groups in the clear in which somebody poses.
const POSERS: f64 = 0.3;

impl Plan {
    /// What this seed decides.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(1, seed);
        let sealed = random.chance(1.0 / 3.0);
        let faults = choose_faults(&mut random, sealed);
        let has = |fault| faults.contains(&fault);
        let mut members = choose_members(&mut random, &faults);
        if sealed {
            for member in &mut members {
                member.skew_ms = member.skew_ms * SEALED_SKEW / SKEW;
            }
        }
        let calm_from = random.between(1_500, 4_000) * MILLI;
        let ttl = members[0].options.message_ttl;
        let quiet_from = calm_from + SETTLING + 2 * nanos(ttl);
        let mild = [
            Fault::BurstLoss,
            Fault::Corruption,
            Fault::SlowReceivers,
            Fault::SlowLinks,
            Fault::Partition,
            Fault::Restart,
            Fault::LateJoin,
            Fault::Leave,
        ];
        let weather = choose_weather(&mut random, &faults, members.len());
        // All that is sent fits, and there is time to ask for it often enough.
        let options = members[0].options;
        let mild = options.history_bytes >= ROOMY
            && options.max_held_bytes >= ROOMY
            && options.message_ttl >= PATIENT
            && !mild.into_iter().any(has)
            && weather.loss + weather.shared_loss <= 0.06;
        let mut acts = choose_fates(&mut random, (&faults, sealed), &members, calm_from);
        if has(Fault::Attacker) {
            acts.extend(choose_attacks(&mut random, calm_from, quiet_from + QUIET));
        }
        acts.extend(choose_words(&mut random, &members, calm_from));
        // From numbers of its own, so that the same worlds without it stay as they are.
        let mut random = Random::new(6, seed);
        let changes_key = sealed && random.chance(KEY_CHANGES);
        if changes_key {
            acts.extend(choose_key_change(&mut random, members.len(), calm_from));
        }
        let mut random = Random::new(7, seed);
        let nonsense = !has(Fault::OldPeers) && random.chance(NONSENSE);
        if nonsense {
            acts.extend(choose_nonsense(&mut random, members.len(), calm_from));
        }
        let greets = random.chance(GREETINGS);
        if !sealed && random.chance(SET_CLOCKS) {
            for _ in 0..random.between(1, 4) {
                let act = Act::SetClock {
                    member: random.index(members.len()),
                    by_ms: *random.pick(&[-3_600_000, -1_000, 1_000, 3_600_000]),
                };
                acts.push((random.below(calm_from), act));
            }
        }
        let mut random = Random::new(11, seed);
        if !sealed && random.chance(POSERS) {
            let count = random.between(100, 1_500);
            let at = |_| (random.between(calm_from / 20, calm_from), Act::Pose);
            acts.extend((0..count).map(at));
        }
        acts.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            sealed,
            changes_key,
            members,
            weather,
            acts,
            calm_from,
            quiet_from,
            end: quiet_from + QUIET,
            mild: mild && !nonsense && !greets,
            greets,
            faults,
        }
    }
}

fn choose_faults(random: &mut Random, sealed: bool) -> Vec<Fault> {
    let count = LEAST_FAULTS + random.below(4);
    let mut faults: Vec<Fault> = Vec::new();
    if sealed && random.chance(0.6) {
        faults.push(Fault::Attacker);
        if random.chance(0.4) {
            faults.push(Fault::Restart);
        }
    }
    let impossible = if sealed {
        Fault::OldPeers
    } else {
        Fault::Attacker
    };
    while (faults.len() as u64) < count {
        let fault = *random.pick(&FAULTS);
        if fault != impossible && !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    faults.sort_unstable();
    faults
}

fn choose_members(random: &mut Random, faults: &[Fault]) -> Vec<Member> {
    // Small groups are as good for most things, and quicker.
    let most = *random.pick(&[3, 5, 8, 20]);
    let count = random.between(2, most);
    let old = if faults.contains(&Fault::OldPeers) {
        random.between(1, 2)
    } else {
        0
    };
    let misnamed = random.chance(0.5);
    let options = Options {
        max_payload_size: *random.pick(&[400, 1024, 1024, 1400, 4000]),
        max_message_size: 512 << 10,
        max_held_bytes: *random.pick(&[1 << 20, 4 << 20, 96 << 20]),
        history_bytes: *random.pick(&[512 << 10, 2 << 20, 64 << 20]),
        message_ttl: Duration::from_millis(*random.pick(&[600, 1000, 3000])),
    };
    (0..count + old)
        .map(|index| Member {
            old: index >= count,
            keeps_id: random.chance(0.5),
            keeps_port: random.chance(0.5),
            misnamed: misnamed && random.chance(0.5),
            echo: random.chance(0.5) && index < count,
            options,
            sluggish: *random.pick(&[0, 0, MILLI / 10, 2 * MILLI]),
            skew_ms: random.below(2 * SKEW as u64) as i64 - SKEW,
        })
        .collect()
}

fn choose_weather(random: &mut Random, faults: &[Fault], members: usize) -> Weather {
    let has = |fault| faults.contains(&fault);
    let some = |random: &mut Random| 1 << random.index(members) | random.word() as u32;
    let mut weather = Weather {
        latency: *random.pick(&[50_000, MILLI / 2, 2 * MILLI, 10 * MILLI]),
        ..Weather::default()
    };
    weather.jitter = weather.latency * random.below(3) / 2;
    weather.late_by = random.between(1, 60) * MILLI;
    if has(Fault::Loss) {
        weather.loss = *random.pick(&[0.001, 0.01, 0.05, 0.2]);
    }
    if has(Fault::SharedLoss) {
        weather.shared_loss = *random.pick(&[0.001, 0.01, 0.05, 0.2]);
    }
    if has(Fault::BurstLoss) {
        weather.bursts = Some(Bursts {
            begin: *random.pick(&[0.001, 0.005]),
            end: *random.pick(&[0.02, 0.1]),
            loss: *random.pick(&[0.5, 0.9, 1.0]),
        });
    }
    if has(Fault::Duplication) {
        weather.duplicates = *random.pick(&[0.01, 0.1, 0.5]);
    }
    if has(Fault::Reordering) {
        weather.late = *random.pick(&[0.01, 0.1, 0.5]);
    }
    if has(Fault::Corruption) {
        weather.altered = *random.pick(&[0.002, 0.02, 0.1]);
    }
    if has(Fault::SlowReceivers) {
        weather.slow_receivers = Some(Limit {
            rate: random.between(2, 30) << 20,
            room: 212_992,
            whom: some(random),
        });
    }
    if has(Fault::SlowLinks) {
        weather.slow_links = Some(Limit {
            rate: random.between(2, 12) << 20,
            room: 212_992,
            whom: some(random),
        });
    }
    weather
}

/// Who comes, goes, and is cut off.
fn choose_fates(
    random: &mut Random,
    (faults, sealed): (&[Fault], bool),
    members: &[Member],
    calm_from: Nanos,
) -> Vec<(Nanos, Act)> {
    let has = |fault| faults.contains(&fault);
    let buses = members.iter().filter(|member| !member.old).count();
    let some_time = |random: &mut Random| random.between(calm_from / 10, calm_from * 9 / 10);
    let mut acts = Vec::new();
    for member in 0..members.len() {
        // Somebody is there from the beginning, and stays.
        let late = member > 1 || (member == 1 && buses == 2);
        let late = late && member < buses && has(Fault::LateJoin) && random.chance(0.4);
        let at = if late {
            some_time(random)
        } else {
            random.below(5 * MILLI)
        };
        acts.push((at, Act::Start(member)));
    }
    if has(Fault::Restart) {
        for _ in 0..random.between(1, 3) {
            let clock_ms = if sealed {
                // Farther, and others take what it says for old or for a lie.
                *random.pick(&[0, 0, -500, -1_500, 1_000])
            } else {
                *random.pick(&[0, 0, -3_600_000, -500, 86_400_000])
            };
            let act = Act::Restart {
                member: 1 + random.index(buses - 1),
                after: *random.pick(&[0, MILLI, 100 * MILLI, 1000 * MILLI]),
                clock_ms,
            };
            acts.push((some_time(random), act));
        }
    }
    if has(Fault::Leave) {
        for _ in 0..random.between(1, 2) {
            acts.push((some_time(random), Act::Leave(1 + random.index(buses - 1))));
        }
    }
    if has(Fault::Partition) {
        for _ in 0..random.between(1, 2) {
            let at = some_time(random);
            let length = random.between(20, 2_000) * MILLI;
            acts.push((at, Act::Part(random.word() as u32)));
            acts.push(((at + length).min(calm_from), Act::Heal));
        }
    }
    acts
}

/// When the attacker does something: mostly while much else goes on, but not only.
fn choose_attacks(random: &mut Random, calm_from: Nanos, end: Nanos) -> Vec<(Nanos, Act)> {
    let count = random.between(100, 1_500);
    (0..count)
        .map(|_| {
            let until = *random.pick(&[calm_from, calm_from, calm_from, end]);
            (random.between(calm_from / 20, until), Act::Attack)
        })
        .collect()
}

/// When each member gets which keys: in each of three rounds all of them, in any order, before the next begins.
fn choose_key_change(random: &mut Random, members: usize, calm_from: Nanos) -> Vec<(Nanos, Act)> {
    let mut times = [0; ROUNDS.len()].map(|_| random.between(calm_from / 20, calm_from * 9 / 10));
    times.sort_unstable();
    let mut acts = Vec::new();
    for round in times.windows(2) {
        for member in 0..members {
            let at = random.between(round[0], round[1]);
            acts.push((at, Act::ChangeKeys(member)));
        }
    }
    acts
}

/// Who says what nobody can read, in more than one chunk.
fn choose_nonsense(random: &mut Random, members: usize, calm_from: Nanos) -> Vec<(Nanos, Act)> {
    let one = |random: &mut Random| {
        let act = Act::Emit {
            member: random.index(members),
            len: random.between(5_000, 20_000) as usize,
            best_effort: false,
            nonsense: true,
        };
        (random.between(calm_from / 20, calm_from), act)
    };
    (0..random.between(1, 6)).map(|_| one(random)).collect()
}

/// Who says what.
fn choose_words(random: &mut Random, members: &[Member], calm_from: Nanos) -> Vec<(Nanos, Act)> {
    let total = LEAST_MESSAGES + random.below(200);
    let speakers = 1 + random.index(members.len());
    let best_effort = *random.pick(&[0.0, 0.1, 0.5]);
    let large = *random.pick(&[0.0, 0.01, 0.03]);
    // What each receiver has to hold of large messages is bounded, so that every world is quick.
    let mut large_left: usize = 1_500_000;
    let mut acts = Vec::new();
    while (acts.len() as u64) < total {
        let member = random.index(speakers);
        let mut at = random.between(calm_from / 20, calm_from);
        let longest = *random.pick(&[1, 10, 60, 200]);
        let burst = random.between(1, longest);
        let pause = *random.pick(&[0, 20_000, MILLI / 2, 3 * MILLI]);
        for _ in 0..burst.min(total - acts.len() as u64) {
            let len = if random.chance(large) {
                *random.pick(&[2_000, 5_000, 20_000, 60_000, 150_000])
            } else {
                random.between(24, 500) as usize
            };
            let len = if len > large_left { 24 } else { len };
            if len >= 1_000 {
                large_left -= len;
            }
            let act = Act::Emit {
                member,
                len,
                best_effort: random.chance(best_effort),
                nonsense: false,
            };
            acts.push((at.min(calm_from), act));
            at += pause;
        }
    }
    acts
}
