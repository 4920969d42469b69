//! Several engines over a network that drops what it is told to.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::*;

/// The time that a datagram travels.
const TRAVEL: Duration = Duration::from_millis(1);

/// A datagram under way: when it arrives, which one it is, to whom, to whom alone or not, from
/// where, and what it holds.
type Copy = (Duration, u64, usize, bool, SocketAddr, Vec<u8>);

/// Engines 0, 1, 2, .. at the ports 9000, 9001, ..
pub(super) struct Net {
    pub(super) engines: Vec<Engine>,
    pub(super) now: Duration,
    /// How far each engine's wall clock is ahead, in milliseconds.
    pub(super) ahead: Vec<i64>,
    under_way: BinaryHeap<Reverse<Copy>>,
    sent: u64,
    /// Every datagram that was handed out: when, by whom, where to.
    pub(super) log: Vec<(Duration, usize, Destination, Vec<u8>)>,
    pub(super) events: Vec<Vec<String>>,
}

impl Net {
    pub(super) fn new(count: usize) -> Self {
        Self::with(count, |_| ())
    }

    pub(super) fn with(count: usize, change: impl Fn(&mut Config)) -> Self {
        let engines = (0..count).map(|i| {
            let mut config = Config::new(
                format!("engine-{i}"),
                1_795_585_000_000 + i as u64,
                HOST,
                9000 + i as u16,
            );
            change(&mut config);
            Engine::new(config, [i as u8 + 1; 32], at(0))
        });
        Self {
            engines: engines.collect(),
            now: Duration::ZERO,
            ahead: vec![0; count],
            under_way: BinaryHeap::new(),
            sent: 0,
            log: Vec::new(),
            events: vec![Vec::new(); count],
        }
    }

    pub(super) fn now(&self) -> Now {
        Now {
            elapsed: self.now,
            unix_ms: at(0).unix_ms + self.now.as_millis() as u64,
        }
    }

    /// The time by an engine's clocks.
    pub(super) fn now_of(&self, i: usize) -> Now {
        let now = self.now();
        Now {
            unix_ms: now
                .unix_ms
                .saturating_add_signed(self.ahead.get(i).copied().unwrap_or(0)),
            ..now
        }
    }

    /// One more engine, which starts now; gives which.
    pub(super) fn start(&mut self, change: impl Fn(&mut Config)) -> usize {
        let i = self.engines.len();
        self.ahead.push(0);
        self.events.push(Vec::new());
        let now = self.now();
        let port = 9000 + i as u16;
        let mut config = Config::new(format!("engine-{i}"), now.unix_ms, HOST, port);
        change(&mut config);
        self.engines
            .push(Engine::new(config, [i as u8 + 1; 32], now));
        i
    }

    /// Takes an engine out, so that nobody drives it.
    pub(super) fn stop(&mut self, i: usize) -> Engine {
        let config = Config::new("another", 1, HOST, 9_999);
        let now = self.now();
        std::mem::replace(&mut self.engines[i], Engine::new(config, [9; 32], now))
    }

    pub(super) fn emit(&mut self, by: usize, text: &str) -> Option<u64> {
        let payload = payload(vec![text.into()]);
        let event = Outgoing {
            best_effort: false,
            ..outgoing("e", &payload)
        };
        let now = self.now_of(by);
        self.engines[by].emit(now, event).unwrap().number
    }

    /// Until this moment; `drops` says what does not arrive at whom: sender, receiver, datagram.
    pub(super) fn run(&mut self, until: u64, mut drops: impl FnMut(usize, usize, &[u8]) -> bool) {
        let until = Duration::from_millis(until);
        loop {
            self.transmit(&mut drops);
            for (engine, told) in self.engines.iter_mut().zip(&mut self.events) {
                let mut events = Events::new();
                engine.take_events(&mut events);
                told.extend(events.iter().map(|event| words(&event)));
            }
            let timeouts = self.engines.iter().filter_map(Engine::poll_timeout);
            let transmits = self.engines.iter().filter_map(Engine::next_transmit);
            let arrival = self.under_way.peek().map(|next| next.0.0);
            let next = timeouts.chain(transmits).chain(arrival).min();
            let Some(next) = next.filter(|next| *next <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            while let Some(next) = self.under_way.peek()
                && next.0.0 <= self.now
            {
                let Reverse((_, _, to, alone, from, bytes)) = self.under_way.pop().unwrap();
                let now = self.now_of(to);
                if alone {
                    self.engines[to].handle_unicast(now, from, &bytes);
                } else {
                    self.engines[to].handle_datagram(now, from, &bytes);
                }
            }
            for i in 0..self.engines.len() {
                let now = self.now_of(i);
                let engine = &mut self.engines[i];
                if engine.poll_timeout().is_some_and(|due| due <= now.elapsed) {
                    engine.handle_timeout(now);
                }
            }
        }
    }

    fn transmit(&mut self, drops: &mut impl FnMut(usize, usize, &[u8]) -> bool) {
        let mut buf = Vec::new();
        for by in 0..self.engines.len() {
            let now = self.now_of(by);
            while let Some(transmit) = self.engines[by].poll_transmit(now, &mut buf) {
                for datagram in buf.chunks(transmit.segment_size.unwrap_or(buf.len())) {
                    self.log
                        .push((self.now, by, transmit.to, datagram.to_vec()));
                    for to in 0..self.engines.len() {
                        let meant = match transmit.to {
                            Destination::Group => true,
                            Destination::Peer(address) => address == engine_address(to),
                        };
                        if meant && !drops(by, to, datagram) {
                            self.sent += 1;
                            let arrival = self.now + TRAVEL;
                            let from = engine_address(by);
                            let alone = transmit.to != Destination::Group;
                            let copy = (arrival, self.sent, to, alone, from, datagram.to_vec());
                            self.under_way.push(Reverse(copy));
                        }
                    }
                }
            }
        }
    }

    /// What engine `i` has told since the last time, without peers that come.
    pub(super) fn told(&mut self, i: usize) -> Vec<String> {
        let mut told = std::mem::take(&mut self.events[i]);
        told.retain(|line| !line.starts_with("joined"));
        told
    }

    /// How many datagrams of this name were sent.
    pub(super) fn count(&self, name: &str) -> usize {
        let named = |(_, _, _, datagram): &&(_, _, _, Vec<u8>)| name_of(datagram) == name;
        self.log.iter().filter(named).count()
    }
}

/// An event in words; of a message the text, or how long it is.
pub(super) fn words(event: &Event<'_>) -> String {
    let Event::Message(message) = event else {
        return in_words(event);
    };
    // An array is a document with numbers as keys.
    let array = bson::RawDocument::from_bytes(message.args.parts().1).unwrap();
    let text = array.get_str("0").unwrap();
    if text.len() > 20 {
        format!("{} bytes", text.len())
    } else {
        text.to_owned()
    }
}

pub(super) fn engine_address(i: usize) -> SocketAddr {
    address(9000 + i as u16)
}

pub(super) fn name_of(datagram: &[u8]) -> String {
    let described = parse(datagram).metadata.described;
    described.map_or_else(String::new, |described| described.name.to_owned())
}

pub(super) fn number_of(datagram: &[u8]) -> Option<u64> {
    parse(datagram).metadata.described?.number
}

pub(super) fn nothing(_: usize, _: usize, _: &[u8]) -> bool {
    false
}

/// Drops the first copy of each of these numbers on the way to each receiver.
pub(super) fn first_of(numbers: &[u64]) -> impl FnMut(usize, usize, &[u8]) -> bool {
    let mut left: Vec<(u64, usize)> = numbers
        .iter()
        .flat_map(|number| (0..60).map(|to| (*number, to)))
        .collect();
    move |_, to, datagram| {
        let number = number_of(datagram);
        let place = left
            .iter()
            .position(|(n, r)| Some(*n) == number && *r == to);
        place.map(|place| left.swap_remove(place)).is_some()
    }
}
