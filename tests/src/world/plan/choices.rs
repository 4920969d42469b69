//! The choices that make a plan, each from the random numbers that it is given.

use std::time::Duration;

use super::{
    Act, Bursts, FAULTS, Fault, LEAST_FAULTS, LEAST_MESSAGES, Limit, Member, Options, SKEW, Weather,
};
use crate::world::{
    history::{MILLI, Nanos},
    random::Random,
    sealed::ROUNDS,
};

pub(super) fn choose_faults(random: &mut Random, sealed: bool) -> Vec<Fault> {
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

/// Those after which everything can still be delivered in time.
pub(super) fn choose_mild_faults(random: &mut Random) -> Vec<Fault> {
    const MILD: [Fault; 5] = [
        Fault::Loss,
        Fault::SharedLoss,
        Fault::Duplication,
        Fault::Reordering,
        Fault::OldPeers,
    ];
    let count = LEAST_FAULTS + random.below(MILD.len() as u64 - LEAST_FAULTS);
    let mut faults: Vec<Fault> = Vec::new();
    while (faults.len() as u64) < count {
        let fault = *random.pick(&MILD);
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    faults.sort_unstable();
    faults
}

pub(super) fn choose_members(random: &mut Random, faults: &[Fault]) -> Vec<Member> {
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
            namesake: None,
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

pub(super) fn choose_weather(random: &mut Random, faults: &[Fault], members: usize) -> Weather {
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
pub(super) fn choose_fates(
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
pub(super) fn choose_attacks(
    random: &mut Random,
    calm_from: Nanos,
    end: Nanos,
) -> Vec<(Nanos, Act)> {
    let count = random.between(100, 1_500);
    (0..count)
        .map(|_| {
            let until = *random.pick(&[calm_from, calm_from, calm_from, end]);
            (random.between(calm_from / 20, until), Act::Attack)
        })
        .collect()
}

/// When each member gets which keys: in each of three rounds all of them, in any order, before the
/// next begins.
pub(super) fn choose_key_change(
    random: &mut Random,
    members: usize,
    calm_from: Nanos,
) -> Vec<(Nanos, Act)> {
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

/// Who has another one's id, and whether for some of the time alone. Whoever comes after that is
/// owed nothing of before.
pub(super) fn choose_namesakes(
    random: &mut Random,
    members: &mut [Member],
    acts: &mut Vec<(Nanos, Act)>,
    calm_from: Nanos,
) {
    let buses = members.iter().filter(|member| !member.old).count();
    let second = 1 + random.index(buses - 1);
    let first = random.index(second);
    members[second].namesake = Some(first);
    members[first].keeps_id = true;
    members[second].keeps_id = true;
    let some_time = |random: &mut Random| random.between(calm_from / 10, calm_from * 9 / 10);
    let mut comes_late = |random: &mut Random, member: usize| {
        for (at, act) in acts.iter_mut() {
            if matches!(act, Act::Start(starts) if *starts == member) {
                *at = some_time(random);
            }
        }
    };
    if random.chance(0.5) {
        comes_late(random, second);
    }
    let looks_on = 1 + random.index(buses - 1);
    if looks_on != first && looks_on != second {
        comes_late(random, looks_on);
    }
    if random.chance(0.5) {
        acts.push((some_time(random), Act::Leave(second)));
    }
}

/// Whose process is stopped when, and how much its socket holds meanwhile.
pub(super) fn choose_pauses(
    random: &mut Random,
    members: &[Member],
    calm_from: Nanos,
    long: bool,
) -> Vec<(Nanos, Act)> {
    let buses = members.iter().filter(|member| !member.old).count();
    let one = |random: &mut Random| {
        let at = random.between(calm_from / 20, calm_from * 9 / 10);
        let length = if long {
            random.between(2_000, 9_000)
        } else {
            *random.pick(&[20, 100, 300, 1_000])
        };
        let act = Act::Pause {
            member: random.index(buses),
            length: (length * MILLI).min(calm_from - at),
            room: *random.pick(&[212_992, 4 << 20, 8 << 20]),
        };
        (at, act)
    };
    (0..random.between(1, 4)).map(|_| one(random)).collect()
}

/// Who says what nobody can read, in more than one chunk.
pub(super) fn choose_nonsense(
    random: &mut Random,
    members: usize,
    calm_from: Nanos,
) -> Vec<(Nanos, Act)> {
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
pub(super) fn choose_words(
    random: &mut Random,
    members: &[Member],
    calm_from: Nanos,
) -> Vec<(Nanos, Act)> {
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
