//! One bus of a world: an engine with its clocks. All that the world knows of the engine's
//! interface stands here.

use std::{net::SocketAddr, sync::Mutex, time::Duration};

use eventcast::proto::{
    Accepted, Config, Destination, DropCause, Engine, EngineStats, Event, Events, IvSource,
    LeftReason, Now, Outgoing, Peer, Refusal, SealConfig, SealKey, SealKeys,
};

use super::{
    attacker::is_strange,
    history::{MILLI, Nanos, nanos},
    payload::{self, Stamp},
    plan::Options,
    random::Random,
    sealed::{self, Holds, Roots},
};

/// The wall clock when the world begins.
pub(super) const WORLD_BEGAN_MS: u64 = 1_795_585_423_172;

/// An engine and the clocks of its machine.
pub(super) struct Bus {
    engine: Engine,
    events: Events,
    buf: Vec<u8>,
    /// What its monotonic clock showed when the world began.
    monotonic: Nanos,
    /// What its wall clock showed then.
    wall_ms: u64,
}

/// Who a bus is, and what it says of itself.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// Its id.
    pub id: String,
    /// Its incarnation.
    pub incarnation: u64,
    /// Where it says it can be reached.
    pub named: SocketAddr,
    /// The roots of the group's keys, and which it has, if its group is sealed.
    pub keys: Option<(Roots, Holds)>,
}

/// Something that an engine tells, as far as a world looks at it.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// A message.
    Message {
        /// Who sent it.
        from: Who,
        /// Its number.
        number: Option<u64>,
        /// Its id.
        id: [u8; 20],
        /// What it says of itself, if its content is good.
        stamp: Option<Stamp>,
    },
    /// A message in chunks was given up.
    Expired {
        /// Whose.
        of: Who,
        /// Its number.
        number: Option<u64>,
        /// Its id.
        id: [u8; 20],
    },
    /// A peer is there.
    Joined(Who),
    /// A peer is gone.
    Left {
        /// Who.
        of: Who,
        /// It has said goodbye.
        goodbye: bool,
    },
    /// Two buses share an id.
    Clash {
        /// One of them.
        of: Who,
        /// The other one; `None`: it is this bus.
        other: Option<Who>,
    },
    /// Numbers are lost.
    Lost {
        /// Whose.
        of: Who,
        /// From and to, both included.
        ranges: Vec<(u64, u64)>,
    },
}

/// A peer by id and incarnation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Who {
    /// Its id.
    pub id: String,
    /// Its incarnation.
    pub incarnation: Option<u64>,
}

impl Bus {
    /// Starts one at this time on a machine whose wall clock is so far ahead.
    pub(super) fn start(
        at: Nanos,
        identity: &Identity,
        options: &Options,
        ahead_ms: i64,
        random: &mut Random,
    ) -> Self {
        let mut config = Config::new(
            identity.id.clone(),
            identity.incarnation,
            identity.named.ip(),
            identity.named.port(),
        );
        config.hostname = "world".to_owned();
        config.max_payload_size = options.max_payload_size;
        config.max_message_size = options.max_message_size;
        config.max_held_bytes = options.max_held_bytes;
        config.history_bytes = options.history_bytes;
        config.message_ttl = options.message_ttl;
        if let Some((roots, holds)) = &identity.keys {
            config.seal = Some(seal(seal_keys(roots, *holds), random));
        }
        let monotonic = random.below(3600) * 1000 * MILLI;
        let wall_ms = WORLD_BEGAN_MS.saturating_add_signed(ahead_ms);
        Self {
            engine: Engine::new(config, random.bytes(), moment(at, monotonic, wall_ms)),
            events: Events::new(),
            buf: Vec::new(),
            monotonic,
            wall_ms,
        }
    }

    /// Emits an event.
    ///
    /// # Errors
    ///
    /// What the engine says.
    pub(super) fn emit(
        &mut self,
        at: Nanos,
        name: &str,
        payload: &[u8],
        best_effort: bool,
    ) -> Result<Accepted, Refusal> {
        let now = self.now(at);
        let event = Outgoing {
            key: name,
            payload,
            schema: None,
            best_effort,
        };
        self.engine.emit(now, event)
    }

    /// Its wall clock is set, so far ahead of what it showed.
    pub(super) fn set_clock(&mut self, ahead_ms: i64) {
        self.wall_ms = self.wall_ms.saturating_add_signed(ahead_ms);
    }

    /// From now on it has these keys.
    pub(super) fn set_keys(&mut self, roots: &Roots, holds: Holds) {
        self.engine.set_seal_keys(&seal_keys(roots, holds));
    }

    /// Says goodbye.
    pub(super) fn leave(&mut self, at: Nanos) {
        let now = self.now(at);
        self.engine.leave(now);
    }

    /// Whether nobody needs it any more.
    pub(super) fn has_left(&self) -> bool {
        self.engine.has_left()
    }

    /// Takes a datagram, from the socket that belongs to it alone or from the group's.
    pub(super) fn hear(&mut self, at: Nanos, from: SocketAddr, bytes: &[u8], to_one: bool) {
        let now = self.now(at);
        if to_one {
            self.engine.handle_unicast(now, from, bytes);
        } else {
            self.engine.handle_datagram(now, from, bytes);
        }
    }

    /// The next datagrams: where they go (`None`: to the group), and all of them.
    pub(super) fn transmit(&mut self, at: Nanos) -> Option<(Option<SocketAddr>, Vec<Vec<u8>>)> {
        let now = self.now(at);
        let transmit = self.engine.poll_transmit(now, &mut self.buf)?;
        let size = transmit.segment_size.unwrap_or(self.buf.len()).max(1);
        let to = match transmit.to {
            Destination::Group => None,
            Destination::Peer(address) => Some(address),
        };
        Some((to, self.buf.chunks(size).map(<[u8]>::to_vec).collect()))
    }

    /// What there is to tell.
    pub(super) fn told(&mut self) -> Vec<Told> {
        if !self.engine.take_events(&mut self.events) {
            return Vec::new();
        }
        self.events
            .iter()
            .filter_map(|event| told(&event))
            .collect()
    }

    /// Lets it do what time brings, if it is due; gives whether it was.
    pub(super) fn time_out(&mut self, at: Nanos) -> bool {
        let now = self.now(at);
        let due = self
            .engine
            .poll_timeout()
            .is_some_and(|due| due <= now.elapsed);
        if due {
            self.engine.handle_timeout(now);
        }
        due
    }

    /// The same while input waits for it.
    pub(super) fn time_out_amid_input(&mut self, at: Nanos) {
        let now = self.now(at);
        if self
            .engine
            .poll_timeout()
            .is_some_and(|due| due <= now.elapsed)
        {
            self.engine.handle_timeout_amid_input(now);
        }
    }

    /// Until now it was not driven for so long.
    pub(super) fn excuse(&mut self, at: Nanos, away: Nanos) {
        let now = self.now(at);
        self.engine.handle_pause(now, Duration::from_nanos(away));
    }

    /// When it is to be driven, whatever comes.
    pub(super) fn due(&self) -> Option<Nanos> {
        let due = self.engine.poll_timeout()?;
        Some(nanos(due).saturating_sub(self.monotonic))
    }

    /// When it has something to do by itself.
    pub(super) fn next(&self) -> Option<Nanos> {
        let next = [self.engine.next_transmit(), self.engine.poll_timeout()];
        let next: Option<Duration> = next.into_iter().flatten().min();
        next.map(|next| nanos(next).saturating_sub(self.monotonic))
    }

    /// What it has done, and holds.
    pub(super) fn stats(&self) -> EngineStats {
        self.engine.stats()
    }

    /// How often it has refused something for its seal, but not because it was had.
    pub(super) fn refused_seals(&self) -> u64 {
        let drops = self.engine.stats().drops;
        UNSEALED.iter().map(|cause| drops.get(*cause)).sum()
    }

    /// What its wall clock shows.
    pub(super) fn clock_ms(&self, at: Nanos) -> u64 {
        self.now(at).unix_ms
    }

    fn now(&self, at: Nanos) -> Now {
        moment(at, self.monotonic, self.wall_ms)
    }
}

/// Why what was sealed for a bus, and not had, is never refused.
const UNSEALED: [DropCause; 8] = [
    DropCause::Clear,
    DropCause::Suite,
    DropCause::Key,
    DropCause::Mac,
    DropCause::Time,
    DropCause::Recipient,
    DropCause::Old,
    DropCause::Sender,
];

fn seal_keys(roots: &Roots, holds: Holds) -> SealKeys {
    let key = |place: usize| SealKey::from_root(&roots[place]);
    let receive = holds.receive.iter().map(|place| key(*place));
    receive.fold(SealKeys::new(key(holds.send)), SealKeys::and_receive)
}

fn seal(keys: SealKeys, random: &mut Random) -> SealConfig {
    let source = Mutex::new(Random::new(4, random.word()));
    let ivs = IvSource::new(move |bytes| {
        let mut source = source.lock().expect("nothing panics with this lock");
        bytes.fill_with(|| source.word() as u8);
    });
    let (group, port) = sealed::GROUP;
    SealConfig::new(keys, group, port, ivs)
}

fn moment(at: Nanos, monotonic: Nanos, wall_ms: u64) -> Now {
    Now {
        elapsed: Duration::from_nanos(at + monotonic),
        unix_ms: wall_ms + at / MILLI,
    }
}

fn told(event: &Event<'_>) -> Option<Told> {
    match event {
        Event::Message(message) => Some(Told::Message {
            from: who(message.peer),
            number: message.number,
            id: message.message_id.0,
            stamp: payload::read(message.key, message.args),
        }),
        Event::Expired(expired) => Some(Told::Expired {
            of: who(expired.peer),
            number: expired.number,
            id: expired.message_id.0,
        }),
        Event::Lost(lost) => {
            let listed: u64 = lost
                .ranges
                .iter()
                .map(|(first, last)| last - first + 1)
                .sum();
            let all_listed = (listed, lost.peers) == (lost.count, 1);
            let from_afar = is_strange(lost.peer.address);
            assert!(all_listed || from_afar, "all are listed");
            Some(Told::Lost {
                of: who(lost.peer),
                ranges: lost.ranges.to_vec(),
            })
        }
        Event::PeerJoined { peer } => Some(Told::Joined(who(peer))),
        Event::PeerLeft { peer, reason } => Some(Told::Left {
            of: who(peer),
            goodbye: *reason == LeftReason::Goodbye,
        }),
        Event::IdClash { peer, other, .. } => Some(Told::Clash {
            of: who(peer),
            other: other.map(|other| who(other)),
        }),
        _ => None,
    }
}

fn who(peer: &Peer) -> Who {
    Who {
        id: peer.id.clone(),
        incarnation: peer.incarnation,
    }
}
