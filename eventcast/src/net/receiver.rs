//! Waiting for datagrams on both sockets of a bus, and reading them in turn.
//!
//! Contract: one thread at a time calls [`Receiver::wait`], then [`Receiver::receive`] until it
//! returns 0, and so on. An error that passes by itself is counted and skipped, and repeated ones
//! bring pauses: neither deafness nor a busy loop. Only a socket that is none any more is told.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::UdpSocket};

use super::{
    echo::Echoes,
    errno,
    haste::{Haste, SHORT},
    retry::Pauses,
    source::{Buffers, Source, UdpSource},
};

/// Errors in a row after which a socket rests: one ICMP answer brings one error, so a few in a row
/// are ordinary and many are a condition that lasts.
const ERRORS_IN_A_ROW: u32 = 8;

/// Batches after which the other socket is looked at, although this one still has some.
const BATCHES_BETWEEN_LOOKS: u32 = 16;

const GROUP: Token = Token(0);
const UNICAST: Token = Token(1);
const WAKER: Token = Token(2);

/// Reads the datagrams of a bus.
pub(crate) struct Receiver {
    poll: Poll,
    events: Events,
    waker: Waker,
    origin: Instant,
    turns: Turns<UdpSource>,
    /// Batches read since the system was last asked which socket is ready.
    batches: u32,
    /// The last look found the waker's call.
    woken: bool,
    haste: Haste,
    /// What the kernel counts among its drops of the group's socket although it is none.
    echoes: Option<Echoes>,
    kernel_drops: u64,
}

impl Receiver {
    pub(super) fn new(
        mut group: UdpSocket,
        unicast: UdpSocket,
        echoes: Option<Echoes>,
    ) -> io::Result<(Self, Arc<UdpSocket>)> {
        let mut unicast = unicast;
        let poll = Poll::new()?;
        let registry = poll.registry();
        registry.register(&mut group, GROUP, Interest::READABLE)?;
        registry.register(&mut unicast, UNICAST, Interest::READABLE)?;
        let waker = Waker(Arc::new(mio::Waker::new(registry, WAKER)?));
        let unicast = Arc::new(unicast);
        let sources = [
            UdpSource::new(Arc::new(group)),
            UdpSource::new(Arc::clone(&unicast)),
        ];
        let receiver = Self {
            poll,
            events: Events::with_capacity(4),
            waker,
            origin: Instant::now(),
            turns: Turns::new(sources),
            batches: 0,
            woken: false,
            haste: Haste::default(),
            echoes,
            kernel_drops: 0,
        };
        Ok((receiver, unicast))
    }

    /// Ends a [`Self::wait`] from any thread, the next one if none is waiting.
    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Waits until there may be something to receive, at most for `timeout` (`None`: for ever).
    ///
    /// Returns at once while something is left to read. May return early without a reason.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let now = self.origin.elapsed();
        if self.turns.is_ready(now) {
            return Ok(());
        }
        let rest = self.turns.rest(now);
        let timeout = match (timeout, rest) {
            (Some(timeout), Some(rest)) => Some(timeout.min(rest)),
            (timeout, rest) => timeout.or(rest),
        };
        if self.haste.pays() && timeout.is_none_or(|timeout| timeout >= SHORT) {
            while self.origin.elapsed() - now < SHORT {
                self.look(Some(Duration::ZERO))?;
                if self.woken || self.turns.is_ready(now) {
                    self.haste.waited(Duration::ZERO);
                    return Ok(());
                }
                // Whoever has the next datagram to send may be waiting for this very core.
                std::thread::yield_now();
            }
        }
        self.look(timeout)?;
        self.haste.waited(self.origin.elapsed() - now);
        Ok(())
    }

    /// Reads one batch from one of the sockets that are ready, in turn, and hands each datagram
    /// to `each` with the address it came from. Never blocks.
    ///
    /// Returns how many there were; 0: nothing is left, [`Self::wait`]. An error means that a
    /// socket cannot be used any more.
    pub(crate) fn receive(&mut self, mut each: impl FnMut(SocketAddr, &[u8])) -> io::Result<usize> {
        if self.batches >= BATCHES_BETWEEN_LOOKS {
            self.look(Some(Duration::ZERO))?;
        }
        let origin = self.origin;
        let datagrams = self.turns.read(|| origin.elapsed(), &mut each)?;
        self.batches += 1;
        Ok(datagrams)
    }

    /// How many datagrams the kernel has dropped because they were not read in time; it tells
    /// with the next that arrives. Always 0 but on Linux.
    pub(crate) fn kernel_drops(&mut self) -> u64 {
        let [group, unicast] = &self.turns.slots;
        let mut drops = group.source.kernel_drops();
        if let Some(echoes) = &self.echoes {
            drops = echoes.without(drops);
        }
        drops += unicast.source.kernel_drops();
        self.kernel_drops = self.kernel_drops.max(drops);
        self.kernel_drops
    }

    /// How many errors were skipped that passed by themselves.
    pub(crate) fn passing_errors(&self) -> u64 {
        self.turns.passing_errors
    }

    /// Asks the system which sockets are ready.
    fn look(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.batches = 0;
        self.woken = false;
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Err(_) => return Ok(()),
            Ok(()) => {}
        }
        for event in &self.events {
            match event.token() {
                GROUP => self.turns.slots[0].ready = true,
                UNICAST => self.turns.slots[1].ready = true,
                _ => self.woken = true,
            }
        }
        Ok(())
    }
}

/// Ends a [`Receiver::wait`] from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Waker(Arc<mio::Waker>);

impl Waker {
    /// Ends the present wait, or the next one.
    pub(crate) fn wake(&self) -> io::Result<()> {
        self.0.wake()
    }
}

/// Two sources that are read in turn.
struct Turns<S> {
    slots: [Slot<S>; 2],
    next: usize,
    buffers: Buffers,
    passing_errors: u64,
}

struct Slot<S> {
    source: S,
    /// There may be something: readiness was told, and the socket was not empty since.
    ready: bool,
    errors_in_a_row: u32,
    pauses: Pauses,
    /// After too many errors: not read before this time.
    rests_until: Option<Duration>,
}

impl<S: Source> Turns<S> {
    fn new(sources: [S; 2]) -> Self {
        Self {
            slots: sources.map(|source| Slot {
                source,
                ready: false,
                errors_in_a_row: 0,
                pauses: Pauses::new(),
                rests_until: None,
            }),
            next: 0,
            buffers: Buffers::new(),
            passing_errors: 0,
        }
    }

    /// Whether a read may find something now.
    fn is_ready(&self, now: Duration) -> bool {
        self.slots.iter().any(|slot| slot.is_ready(now))
    }

    /// How long until a source that rests may be read again.
    fn rest(&self, now: Duration) -> Option<Duration> {
        self.slots
            .iter()
            .filter(|slot| slot.ready)
            .filter_map(|slot| slot.rests_until)
            .map(|until| until.saturating_sub(now))
            .min()
    }

    fn read(
        &mut self,
        clock: impl Fn() -> Duration,
        each: &mut dyn FnMut(SocketAddr, &[u8]),
    ) -> io::Result<usize> {
        for _ in 0..self.slots.len() {
            let slot = &mut self.slots[self.next];
            self.next = (self.next + 1) % 2;
            let datagrams = slot.read(&clock, &mut self.buffers, &mut self.passing_errors, each)?;
            if datagrams > 0 {
                return Ok(datagrams);
            }
        }
        Ok(0)
    }
}

impl<S: Source> Slot<S> {
    fn is_ready(&self, now: Duration) -> bool {
        self.ready && self.rests_until.is_none_or(|until| until <= now)
    }

    fn read(
        &mut self,
        clock: &impl Fn() -> Duration,
        buffers: &mut Buffers,
        passing_errors: &mut u64,
        each: &mut dyn FnMut(SocketAddr, &[u8]),
    ) -> io::Result<usize> {
        if !self.ready || self.rests_until.is_some_and(|until| until > clock()) {
            return Ok(0);
        }
        self.rests_until = None;
        loop {
            let error = match self.source.read(buffers, each) {
                Ok(batch) => {
                    self.errors_in_a_row = 0;
                    self.pauses.after_success();
                    self.ready = !batch.drained;
                    return Ok(batch.datagrams);
                }
                Err(error) => error,
            };
            if error.kind() == io::ErrorKind::WouldBlock {
                self.errors_in_a_row = 0;
                self.ready = false;
                return Ok(0);
            }
            if !errno::receive_passes(&error) {
                return Err(error);
            }
            *passing_errors += 1;
            self.errors_in_a_row += 1;
            if self.errors_in_a_row >= ERRORS_IN_A_ROW {
                self.errors_in_a_row = 0;
                self.rests_until = Some(clock() + self.pauses.after_failure());
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::source::Batch;
    use std::{cell::Cell, collections::VecDeque, io::ErrorKind};

    /// Gives what it was told to give, then nothing.
    #[derive(Default)]
    struct Fake {
        script: VecDeque<Result<&'static [u8], ErrorKind>>,
        /// Given again and again once the script is over.
        then: Option<ErrorKind>,
        reads: usize,
    }

    impl Source for Fake {
        fn read(
            &mut self,
            _: &mut Buffers,
            each: &mut dyn FnMut(SocketAddr, &[u8]),
        ) -> io::Result<Batch> {
            self.reads += 1;
            match self.script.pop_front() {
                Some(Ok(bytes)) => each("127.0.0.1:5".parse().unwrap(), bytes),
                Some(Err(kind)) => return Err(kind.into()),
                None => return Err(self.then.unwrap_or(ErrorKind::WouldBlock).into()),
            }
            Ok(Batch {
                datagrams: 1,
                drained: false,
            })
        }

        fn kernel_drops(&self) -> u64 {
            0
        }
    }

    fn turns(scripts: [&[Result<&'static [u8], ErrorKind>]; 2]) -> Turns<Fake> {
        let mut turns = Turns::new(scripts.map(|script| Fake {
            script: script.iter().copied().collect(),
            ..Fake::default()
        }));
        for slot in &mut turns.slots {
            slot.ready = true;
        }
        turns
    }

    fn read_all(turns: &mut Turns<Fake>) -> Vec<Vec<u8>> {
        let mut got = Vec::new();
        while turns
            .read(|| Duration::ZERO, &mut |_, bytes| got.push(bytes.to_vec()))
            .unwrap()
            > 0
        {}
        got
    }

    #[test]
    fn passing_errors_are_skipped_and_counted() {
        let mut turns = turns([
            &[
                Err(ErrorKind::ConnectionReset),
                Err(ErrorKind::ConnectionRefused),
                Err(ErrorKind::Interrupted),
                Ok(b"good"),
            ],
            &[],
        ]);
        assert_eq!(read_all(&mut turns), [b"good"]);
        assert_eq!(turns.passing_errors, 3);
    }

    #[test]
    fn sources_are_read_in_turn() {
        let mut turns = turns([&[Ok(b"a"), Ok(b"b"), Ok(b"c")], &[Ok(b"1"), Ok(b"2")]]);
        assert_eq!(read_all(&mut turns), [b"a", b"1", b"b", b"2", b"c"]);
        assert!(!turns.is_ready(Duration::ZERO));
    }

    #[test]
    fn an_empty_datagram_is_handed_over() {
        let mut turns = turns([&[Ok(b"")], &[]]);
        assert_eq!(read_all(&mut turns), [b""]);
    }

    #[test]
    fn an_error_that_stays_brings_rests_and_not_a_busy_loop() {
        let mut turns = turns([&[], &[Ok(b"fine")]]);
        turns.slots[0].source.then = Some(ErrorKind::NetworkDown);
        assert_eq!(read_all(&mut turns), [b"fine"]);

        let now = Cell::new(Duration::ZERO);
        while now.get() < Duration::from_secs(1) {
            assert!(!turns.is_ready(now.get()));
            let rest = turns.rest(now.get()).expect("still wants to be read");
            assert!(!rest.is_zero());
            now.set(now.get() + rest);
            assert!(turns.is_ready(now.get()));
            assert_eq!(turns.read(|| now.get(), &mut |_, _| ()).unwrap(), 0);
        }
        let reads = turns.slots[0].source.reads;
        assert!(reads < 20 * ERRORS_IN_A_ROW as usize, "{reads}");

        // It heals by itself.
        turns.slots[0].source.then = None;
        turns.slots[0].source.script.push_back(Ok(b"back"));
        now.set(now.get() + Duration::from_secs(1));
        let mut got = Vec::new();
        turns
            .read(|| now.get(), &mut |_, bytes| got.push(bytes.to_vec()))
            .unwrap();
        assert_eq!(got, [b"back"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_that_is_none_is_told() {
        struct Gone;
        impl Source for Gone {
            fn read(
                &mut self,
                _: &mut Buffers,
                _: &mut dyn FnMut(SocketAddr, &[u8]),
            ) -> io::Result<Batch> {
                Err(errno::testing::os(nix::errno::Errno::EBADF))
            }
            fn kernel_drops(&self) -> u64 {
                0
            }
        }
        let mut turns = Turns::new([Gone, Gone]);
        turns.slots[0].ready = true;
        assert!(turns.read(|| Duration::ZERO, &mut |_, _| ()).is_err());
    }
}
