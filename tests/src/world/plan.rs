//! What is to happen in a world: one seed decides who takes part, what goes wrong, and who says
//! what when.

mod choices;

use std::time::Duration;

use self::choices::{
    choose_attacks, choose_fates, choose_faults, choose_key_change, choose_members,
    choose_mild_faults, choose_namesakes, choose_nonsense, choose_pauses, choose_weather,
    choose_words,
};
use super::{
    history::{MILLI, Nanos, nanos},
    random::Random,
};

/// Each world has at least so many messages.
pub const LEAST_MESSAGES: u64 = 2000;

/// And so many kinds of fault.
const LEAST_FAULTS: u64 = 2;

/// After the faults are over, so long until nothing may be left to do, beside what follows from
/// `message_ttl`.
const SETTLING: Nanos = 7_000 * MILLI;

/// More than all members send in a world.
const ROOMY: usize = 4 << 20;

/// In so much time a number is asked for ten times.
const PATIENT: Duration = Duration::from_secs(3);

/// How far wall clocks are off at most, in milliseconds: either way.
const SKEW: i64 = 10_000;

/// The same in a sealed group, where a bus does not hear at first those whose clocks are more than
/// a second behind its own.
const SEALED_SKEW: i64 = 450;

/// The share of sealed groups that change their key.
const KEY_CHANGES: f64 = 0.25;

/// The share of groups, of those without old peers, in which some send events that are nonsense
/// inside: whole, with numbers, and in chunks.
const NONSENSE: f64 = 0.2;

/// The share of groups in which each bus greets whoever joins, with two events.
const GREETINGS: f64 = 0.2;

/// The share of groups that are not sealed in which clocks are set while buses run.
const SET_CLOCKS: f64 = 0.15;

/// The share of groups whose buses may hold very little.
const TIGHT: f64 = 0.08;

/// What these may hold, and how long a message may be there.
const LITTLE: Options = Options {
    max_payload_size: 1024,
    max_message_size: 64 << 10,
    max_held_bytes: 128 << 10,
    history_bytes: 2 << 20,
    message_ttl: Duration::from_secs(1),
};
const SHORT: usize = 50_000;

/// The share of groups in which two share an id.
const NAMESAKES: f64 = 0.15;

/// The share of groups, of those that do not change their key, in which the process of some is
/// stopped for a while; and of these, those in which that may be for long, and all else takes more
/// time as well.
const PAUSES: f64 = 0.2;
const LONG_PAUSES: f64 = 0.4;
const STRETCH: Nanos = 3;

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
    /// Somebody without the key has everything that was sent, and sends it again, and parts of it,
    /// and what it makes up. Only in sealed groups.
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
    /// Two share an id for some of the time.
    pub shares_ids: bool,
    /// The process of some is stopped for a while.
    pub pauses: bool,
    /// Somebody speaks in others' names.
    pub poses: bool,
    /// And seals as this member.
    pub posed_as: Option<usize>,
    /// The group is clear, little goes wrong, and somebody speaks in members' names from addresses
    /// of its own.
    pub poses_as_members: bool,
    /// And in the name of this one also from that one's address, and with numbers that it is about
    /// to use.
    pub usurped: Option<usize>,
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
    /// Whose id it has, beside that one.
    pub namesake: Option<usize>,
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
    /// The process of a member is stopped for a while.
    Pause {
        /// Who.
        member: usize,
        /// For how long.
        length: Nanos,
        /// How much its socket's buffer holds meanwhile, in bytes.
        room: u64,
    },
    /// The attacker does something.
    Attack,
    /// Somebody asks for what was sent, or speaks in a member's name or in those of others.
    Pose,
    /// Very many say hello of whom nobody has heard.
    Throng,
    /// A member, whether it runs or not, gets the keys of the next round of a change.
    ChangeKeys(usize),
}

/// The share of groups in which somebody poses: in the clear anybody who can send to them; in
/// sealed ones, of those that do not change their key, a member. In half of the latter it seals as
/// one of the others as well.
const POSERS: f64 = 0.3;

/// The share of groups that are clear and in which little goes wrong, so that somebody can speak in
/// the names of members that are heard; and of these, those in which one member is to be told from
/// somebody else by nothing at all.
const POSES_AS_MEMBERS: f64 = 0.25;
const USURPED: f64 = 0.5;

/// What buses may hold there, and how long a message may be there: enough for everything that a
/// world sends.
const AMPLE: Options = Options {
    max_payload_size: 1024,
    max_message_size: 512 << 10,
    max_held_bytes: 96 << 20,
    history_bytes: 64 << 20,
    message_ttl: PATIENT,
};

/// The share of datagrams that is lost there at most, to each and to all: a chunk is asked for
/// three times, which is not enough for sure where more is lost.
const LITTLE_LOSS: f64 = 0.01;

/// The share of these in which so many newcomers come that there is no room for all.
const THRONGS: f64 = 0.1;

impl Plan {
    /// What this seed decides.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // From numbers of its own, so that the same worlds without it stay as they are.
        let mut random = Random::new(16, seed);
        let poses_as_members = random.chance(POSES_AS_MEMBERS);
        let is_usurped = poses_as_members && random.chance(USURPED);
        let mut random = Random::new(1, seed);
        let sealed = random.chance(1.0 / 3.0) && !poses_as_members;
        let faults = if poses_as_members {
            choose_mild_faults(&mut random)
        } else {
            choose_faults(&mut random, sealed)
        };
        let has = |fault| faults.contains(&fault);
        let mut members = choose_members(&mut random, &faults);
        if poses_as_members {
            for member in &mut members {
                let max_payload_size = member.options.max_payload_size;
                member.options = Options {
                    max_payload_size,
                    ..AMPLE
                };
            }
        }
        if sealed {
            for member in &mut members {
                member.skew_ms = member.skew_ms * SEALED_SKEW / SKEW;
            }
        }
        let mut calm_from = random.between(1_500, 4_000) * MILLI;
        let ttl = members[0].options.message_ttl;
        let mut quiet_from = calm_from + SETTLING + 2 * nanos(ttl);
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
        let mut weather = choose_weather(&mut random, &faults, members.len());
        if poses_as_members {
            weather.loss = weather.loss.min(LITTLE_LOSS);
            weather.shared_loss = weather.shared_loss.min(LITTLE_LOSS);
        }
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
        let nonsense = !has(Fault::OldPeers) && random.chance(NONSENSE) && !poses_as_members;
        if nonsense {
            acts.extend(choose_nonsense(&mut random, members.len(), calm_from));
        }
        let greets = random.chance(GREETINGS) && !poses_as_members;
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
        let poses = !changes_key && random.chance(POSERS) || poses_as_members;
        let mut posed_as = None;
        if poses {
            let count = random.between(100, 1_500);
            let at = |_| (random.between(calm_from / 20, calm_from), Act::Pose);
            acts.extend((0..count).map(at));
            if random.chance(THRONGS) {
                acts.push((random.between(calm_from / 20, calm_from), Act::Throng));
            }
            if sealed && random.chance(0.5) {
                posed_as = Some(random.index(members.len()));
            }
        }
        let buses = members.iter().filter(|member| !member.old).count();
        let usurped = is_usurped.then(|| random.index(buses));
        let mut random = Random::new(13, seed);
        let tight = random.chance(TIGHT) && !poses_as_members;
        if tight {
            for member in &mut members {
                member.options = LITTLE;
            }
            for (_, act) in &mut acts {
                if let Act::Emit { len, .. } = act {
                    *len = SHORT.min(*len);
                }
            }
        }
        let mut random = Random::new(14, seed);
        let shares_ids = random.chance(NAMESAKES) && !poses_as_members;
        if shares_ids {
            choose_namesakes(&mut random, &mut members, &mut acts, calm_from);
        }
        let mut random = Random::new(15, seed);
        let pauses = !changes_key && random.chance(PAUSES);
        let long_pauses = pauses && random.chance(LONG_PAUSES) && !poses_as_members;
        if long_pauses {
            calm_from *= STRETCH;
            for (at, _) in &mut acts {
                *at *= STRETCH;
            }
        }
        if pauses {
            acts.extend(choose_pauses(&mut random, &members, calm_from, long_pauses));
        }
        quiet_from = calm_from + SETTLING + 2 * nanos(members[0].options.message_ttl);
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
            mild: mild && !(nonsense || greets || tight || shares_ids || long_pauses),
            shares_ids,
            pauses,
            poses,
            posed_as,
            poses_as_members,
            usurped,
            greets,
            faults,
        }
    }
}
