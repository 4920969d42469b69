//! Every message is requested in its turn, and none for ever.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn key() -> HashKey {
    HashKey::random(&mut StdRng::from_seed([1; 32]))
}

fn peer() -> Arc<Peer> {
    Arc::new(Peer {
        id: "p".into(),
        incarnation: Some(1),
        hostname: String::new(),
        host: String::new(),
        port: 1,
        address: ([127, 0, 0, 1], 1).into(),
    })
}

/// A message that is being sent.
#[derive(Clone, Copy)]
struct Sent {
    id: u32,
    from: u16,
    chunks: u32,
    slice_len: usize,
    repair: Repair,
}

impl Sent {
    fn seq_id(self) -> String {
        format!("{:040}", self.id)
    }

    /// Gives one chunk to the assembler.
    fn give(
        self,
        assembler: &mut Assembler,
        peer: &Arc<Peer>,
        now: Duration,
        seq: u32,
    ) -> Result<Taken, DropCause> {
        let from = SocketAddr::from(([10, 0, 0, 1], 1_000 + self.from));
        let seq_id = self.seq_id();
        let chunk = Chunk {
            origin: Origin::Address(from),
            from,
            seq_id: seq_id.as_bytes(),
            message_id: MessageId::default(),
            seq,
            seq_len: self.chunks,
            name: "n",
            peer,
            number: Some(self.id.into()),
            slice: &vec![seq as u8; self.slice_len],
            repair: self.repair,
            stream: None,
            ask_at: now + ms(5),
        };
        assembler.take(now, &chunk)
    }
}

fn large(id: u32) -> Sent {
    Sent {
        id,
        from: 0,
        chunks: 100,
        slice_len: 10_000,
        repair: Repair::Quick,
    }
}

/// The requests from one moment to another, by message, with the number of chunks. None is
/// answered.
fn run(
    assembler: &mut Assembler,
    from: Duration,
    until: Duration,
) -> Vec<(Duration, String, usize)> {
    let mut asked = Vec::new();
    let mut missing = Vec::new();
    while let Some(due) = assembler.poll_timeout().filter(|at| *at <= until) {
        let now = due.max(from);
        let mut looks = usize::MAX;
        while let Some(ask) = assembler.poll_ask(now, &mut looks, &mut missing) {
            assembler.asked(&ask, missing.len(), true);
            let id = String::from_utf8_lossy(ask.seq_id.as_bytes());
            asked.push((now, id.trim_start_matches('0').to_owned(), missing.len()));
        }
        assembler.handle_timeout(now);
    }
    asked
}

fn given_up(assembler: &mut Assembler) -> Vec<String> {
    let given_up = std::iter::from_fn(|| assembler.poll_given_up());
    given_up
        .map(|one| {
            String::from_utf8_lossy(one.header.seq_id.as_bytes())
                .trim_start_matches('0')
                .to_owned()
        })
        .collect()
}

fn assembler(attempts: u32) -> Assembler {
    Assembler::new(32 << 20, 96 << 20, Duration::from_secs(3), attempts, key())
}

#[test]
fn the_first_request_never_waits_and_the_next_one_in_vain_does() {
    let (mut assembler, peer) = (assembler(3), peer());
    for id in 1..=3 {
        large(id).give(&mut assembler, &peer, ms(0), 0).ok();
    }
    // Nothing comes for 50 ms. Each message requests 64 chunks of 10 kB, which is more than may be
    // outstanding.
    let asked = run(&mut assembler, ms(0), ms(120));
    let asked: Vec<_> = asked
        .iter()
        .map(|(at, id, _)| (at.as_millis(), id.as_str()))
        .collect();
    // The first may request again when the requests of the others are over, and they wait for it
    // then.
    assert_eq!(asked, [(50, "1"), (50, "2"), (50, "3"), (100, "1")]);
}

#[test]
fn all_for_whom_there_is_room_have_their_turn_at_once() {
    for answered in [false, true] {
        let (mut assembler, peer) = (assembler(3), peer());
        let small = |id| Sent {
            chunks: 10,
            slice_len: 1_000,
            ..large(id)
        };
        for id in 1..=3 {
            small(id).give(&mut assembler, &peer, ms(0), 0).ok();
        }
        run(&mut assembler, ms(0), ms(39));
        large(4).give(&mut assembler, &peer, ms(40), 0).ok();
        // At 100 they would request again, but until 140 the large one is to be answered.
        let asked = run(&mut assembler, ms(40), ms(119));
        assert_eq!(asked.len(), 4, "{asked:?}");
        let mut room_at = ms(140);
        if answered {
            room_at = ms(120);
            for seq in 1..=20 {
                large(4).give(&mut assembler, &peer, room_at, seq).ok();
            }
        }
        let asked = run(&mut assembler, ms(120), ms(149));
        let small_ones = asked.iter().filter(|(_, id, _)| id != "4");
        let small_ones: Vec<_> = small_ones.map(|(at, id, _)| (*at, id.as_str())).collect();
        assert_eq!(small_ones, [(room_at, "1"), (room_at, "2"), (room_at, "3")]);
    }
}

#[test]
fn a_waiting_message_that_is_answered_requests_again_at_once() {
    let (mut assembler, peer) = (assembler(3), peer());
    for id in 1..=3 {
        large(id).give(&mut assembler, &peer, ms(0), 0).ok();
    }
    run(&mut assembler, ms(0), ms(119));
    for seq in 1..=64 {
        large(3).give(&mut assembler, &peer, ms(120), seq).ok();
    }
    let asked = run(&mut assembler, ms(120), ms(125));
    assert_eq!(asked, [(ms(120), "3".to_owned(), 35)]);
}

#[test]
fn who_waits_is_given_up_in_time() {
    // Without any answer: `message_ttl` after the last request, like any other.
    let (mut assembler, peer) = (assembler(3), peer());
    for id in 1..=40 {
        large(id).give(&mut assembler, &peer, ms(0), 0).ok();
    }
    run(&mut assembler, ms(0), ms(3_049));
    assert_eq!(given_up(&mut assembler), [""; 0]);
    let waiting = assembler
        .partials
        .iter()
        .flatten()
        .filter(|partial| partial.turn == Turn::Waits)
        .count();
    assert!(waiting > 5, "{waiting}");
    run(&mut assembler, ms(3_050), ms(3_050));
    assert!(given_up(&mut assembler).len() >= waiting);
    assert!(
        assembler
            .partials
            .iter()
            .flatten()
            .all(|partial| partial.turn == Turn::Free)
    );
}

/// Two messages of which one chunk after the other is answered, so slowly that much is always under
/// way from their sender; from one moment to another.
struct Busy {
    messages: [Sent; 2],
    next: u32,
}

impl Busy {
    fn begin(assembler: &mut Assembler, peer: &Arc<Peer>) -> Self {
        let messages = [100, 101].map(|id| Sent {
            chunks: 500,
            slice_len: 60_000,
            ..large(id)
        });
        messages[0].give(assembler, peer, ms(0), 0).ok();
        run(assembler, ms(0), ms(25));
        messages[1].give(assembler, peer, ms(25), 0).ok();
        // Until both have sent a request.
        run(assembler, ms(25), ms(75));
        Self { messages, next: 1 }
    }

    fn go_on(
        &mut self,
        assembler: &mut Assembler,
        peer: &Arc<Peer>,
        from: Duration,
        until: Duration,
    ) -> Vec<(Duration, String, usize)> {
        let mut now = from;
        let mut asked = Vec::new();
        while now < until {
            for message in self.messages {
                asked.extend(run(assembler, now, now + ms(20)));
                now += ms(20);
                message.give(assembler, peer, now, self.next).ok();
            }
            self.next += 1;
        }
        asked
    }
}

#[test]
fn a_message_that_waits_for_others_that_are_answered_is_given_up_later() {
    let (mut assembler, peer) = (assembler(3), peer());
    large(1).give(&mut assembler, &peer, ms(0), 0).ok();
    let mut busy = Busy::begin(&mut assembler, &peer);
    busy.go_on(&mut assembler, &peer, ms(70), ms(8_990));
    assert_eq!(given_up(&mut assembler), [""; 0]);
    // Three times `message_ttl` after its last chunk.
    busy.go_on(&mut assembler, &peer, ms(8_990), ms(9_030));
    assert_eq!(given_up(&mut assembler), ["1"]);
}

#[test]
fn a_message_that_was_answered_before_requests_first() {
    let (mut assembler, peer) = (assembler(3), peer());
    large(1).give(&mut assembler, &peer, ms(0), 0).ok();
    large(2).give(&mut assembler, &peer, ms(0), 0).ok();
    let mut busy = Busy::begin(&mut assembler, &peer);
    large(2).give(&mut assembler, &peer, ms(75), 1).ok();
    busy.go_on(&mut assembler, &peer, ms(70), ms(110));
    let waits = |assembler: &Assembler| {
        let waiting = assembler
            .partials
            .iter()
            .flatten()
            .filter(|partial| partial.turn == Turn::Waits);
        waiting.map(|partial| partial.birth).collect::<Vec<_>>()
    };
    assert!(waits(&assembler).starts_with(&[0, 1]));
    let mut asked = busy.go_on(&mut assembler, &peer, ms(110), ms(430));
    asked.extend(run(&mut assembler, ms(430), ms(2_000)));
    let place = |id| asked.iter().position(|(_, asked, _)| asked == id);
    assert!(place("2").is_some() && place("2") < place("1"), "{asked:?}");
}

#[test]
fn a_peer_that_knows_no_turns_is_asked_as_ever() {
    let (mut assembler, peer) = (assembler(3), peer());
    for id in 1..=20 {
        let old = Sent {
            repair: Repair::Slow,
            ..large(id)
        };
        old.give(&mut assembler, &peer, ms(0), 0).ok();
    }
    let asked = run(&mut assembler, ms(0), ms(3_000));
    for id in 1..=20 {
        let times = asked
            .iter()
            .filter(|(_, asked, _)| *asked == id.to_string())
            .map(|(at, _, _)| at.as_millis());
        assert!(times.eq([50, 550, 1_550]), "{id}");
    }
    assert!(assembler.window.is_empty());
}

/// The whole schedule, checked after each step.
fn check(assembler: &Assembler, drained: bool) {
    let partials = || {
        let slots = assembler.partials.iter().enumerate();
        slots.filter_map(|(index, slot)| Some((index, slot.as_ref()?)))
    };
    for (index, partial) in partials() {
        let waits = partial.turn == Turn::Waits;
        assert_eq!(waits, assembler.window.is_waiting(partial.requester(index)));
        assert!(assembler.due.contains(&(partial.due, index)));
        assert!(
            partial.due <= assembler.deadline(index),
            "it is looked at too late"
        );
        if let Some(due) = partial.ask_due {
            assert!(assembler.asks.contains(&(due, index)));
        }
        let ask_at = partial.ask_at(assembler.attempts);
        if !waits {
            let never_late = |at| partial.ask_due.is_some_and(|due| due <= at);
            assert!(ask_at.is_none_or(never_late), "it is never asked for again");
            continue;
        }
        assert!(partial.ask_due.is_none() && ask_at.is_some() && partial.nacks.open() > 0);
        let of_sender = |other: &Partial| other.holder == partial.holder && other.ask_due.is_some();
        let passed_on = assembler.window.is_full(partial.holder)
            || partials().any(|(_, other)| of_sender(other));
        assert!(!drained || passed_on, "its turn never comes");
    }
}

/// Messages of three senders that answer now and then, in times and amounts of all kinds: what is
/// expected comes, or is dropped, and nothing is left.
#[test]
fn nothing_is_forgotten_and_nothing_is_left() {
    for seed in 0..40 {
        let mut rng = StdRng::seed_from_u64(seed);
        let attempts = [0, 1, 3, 3, 10][rng.random_range(0..5)];
        let ttl = ms([20, 100, 500, 3_000][rng.random_range(0..4)]);
        let held = [300_000, 3_000_000, 96 << 20][rng.random_range(0..3)];
        let mut assembler = Assembler::new(32 << 20, held, ttl, attempts, key());
        let peer = peer();
        let answers = rng.random_range(0..100);
        let mut messages: Vec<Sent> = Vec::new();
        let mut under_way: Vec<(Duration, u32, u32)> = Vec::new();
        let (mut now, mut step) = (Duration::ZERO, 0);
        while step < 600 || assembler.incomplete() > 0 {
            step += 1;
            assert!(step < 100_000, "seed {seed}: it does not end");
            for _ in 0..if step < 600 {
                rng.random_range(0..4)
            } else {
                0
            } {
                if messages.is_empty() || rng.random_range(0..3) == 0 {
                    let repair = [Repair::Quick, Repair::Quick, Repair::Slow, Repair::Never];
                    messages.push(Sent {
                        id: messages.len() as u32,
                        from: rng.random_range(0..3),
                        chunks: [5, 90, 200][rng.random_range(0..3)],
                        slice_len: [100, 1_000, 8_192, 60_000][rng.random_range(0..4)],
                        repair: repair[rng.random_range(0..4)],
                    });
                }
                let recent = messages.len().saturating_sub(20)..messages.len();
                let message = messages[rng.random_range(recent)];
                under_way.push((now, message.id, rng.random_range(0..message.chunks)));
            }
            let arrived: Vec<_> = under_way.extract_if(.., |(at, _, _)| *at <= now).collect();
            for (_, id, seq) in arrived {
                messages[id as usize]
                    .give(&mut assembler, &peer, now, seq)
                    .ok();
                given_up(&mut assembler);
                check(&assembler, false);
            }
            let mut missing = Vec::new();
            while assembler.poll_timeout().is_some_and(|at| at <= now) {
                let mut asked = 0;
                // Few at a time, or as many as there are.
                let mut looks = match rng.random_range(0..2) {
                    0 => rng.random_range(1..20),
                    _ => usize::MAX,
                };
                while let Some(ask) = assembler.poll_ask(now, &mut looks, &mut missing) {
                    asked += 1;
                    let named = rng.random_range(1..=missing.len());
                    let id: u32 = String::from_utf8_lossy(ask.seq_id.as_bytes())
                        .parse()
                        .expect("an id");
                    for seq in &missing[..named] {
                        if rng.random_range(0..100) < answers {
                            under_way.push((now + ms(rng.random_range(1..150)), id, *seq));
                        }
                    }
                    assembler.asked(&ask, named, true);
                }
                check(&assembler, true);
                let before = assembler.incomplete();
                assembler.handle_timeout(now);
                check(&assembler, false);
                let gone = given_up(&mut assembler).len();
                assert_eq!(before - gone, assembler.incomplete());
                let again = assembler.poll_timeout().is_some_and(|at| at <= now);
                assert!(
                    !again || asked + gone > 0 || looks == 0,
                    "seed {seed}: it is busy with nothing"
                );
            }
            let next = under_way
                .iter()
                .map(|(at, _, _)| *at)
                .chain(assembler.poll_timeout())
                .min();
            now = match next {
                Some(next) if step >= 600 => next.max(now),
                _ => now + ms(rng.random_range(0..30)),
            };
        }
        assert!(assembler.asks.is_empty() && assembler.due.is_empty());
        assert!(
            assembler.window.is_empty() && assembler.held() == 0,
            "seed {seed}"
        );
    }
}
