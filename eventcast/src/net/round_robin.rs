//! Several sources of datagrams, read in turn.
//!
//! Contract: a source that was reported ready is read until it is empty. An error that passes by
//! itself is counted and skipped, and repeated ones lead to pauses: neither deafness nor a busy
//! loop. Only a descriptor that is no socket any more is an error of the call. No clock in here.

use std::{io, net::SocketAddr, time::Duration};

use super::{
    errno,
    retry::Pauses,
    source::{Buffers, Source},
};

/// Errors in a row after which a socket rests: one ICMP answer brings one error, so a few in a row
/// are ordinary and many are a condition that lasts.
const ERRORS_IN_A_ROW: u32 = 8;

/// Sources that are read in turn.
pub(super) struct RoundRobin<S> {
    slots: Vec<Slot<S>>,
    next: usize,
    buffers: Buffers,
    passing_errors: u64,
}

struct Slot<S> {
    /// What names the source.
    id: u32,
    source: S,
    /// There may be something: the source was reported ready, and was not empty since.
    ready: bool,
    errors_in_a_row: u32,
    pauses: Pauses,
    /// After too many errors: not read before this time.
    rests_until: Option<Duration>,
}

impl<S: Source> RoundRobin<S> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            next: 0,
            buffers: Buffers::new(),
            passing_errors: 0,
        }
    }

    /// Adds a source under an id that no other has.
    pub(super) fn add(&mut self, id: u32, source: S) {
        self.slots.push(Slot {
            id,
            source,
            ready: false,
            errors_in_a_row: 0,
            pauses: Pauses::new(),
            rests_until: None,
        });
    }

    /// Takes a source away, if it is there.
    pub(super) fn remove(&mut self, id: u32) -> Option<S> {
        let index = self.slots.iter().position(|slot| slot.id == id)?;
        self.next = 0;
        Some(self.slots.remove(index).source)
    }

    /// There may be something to read from it. One that was taken away is never ready.
    pub(super) fn set_ready(&mut self, id: u32) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.id == id) {
            slot.ready = true;
        }
    }

    /// The sources, each with its id.
    pub(super) fn sources(&self) -> impl Iterator<Item = (u32, &S)> {
        self.slots.iter().map(|slot| (slot.id, &slot.source))
    }

    /// How many errors were skipped that passed by themselves.
    pub(super) fn passing_errors(&self) -> u64 {
        self.passing_errors
    }

    /// Whether a read may find something now.
    pub(super) fn is_ready(&self, now: Duration) -> bool {
        self.slots.iter().any(|slot| slot.is_ready(now))
    }

    /// How long until a source that rests may be read again.
    pub(super) fn rest(&self, now: Duration) -> Option<Duration> {
        self.slots
            .iter()
            .filter(|slot| slot.ready)
            .filter_map(|slot| slot.rests_until)
            .map(|until| until.saturating_sub(now))
            .min()
    }

    /// Reads one batch from one of those that are ready, and hands each datagram to `each` with the
    /// id of its source. 0: nothing is left.
    pub(super) fn read(
        &mut self,
        clock: impl Fn() -> Duration,
        each: &mut dyn FnMut(u32, SocketAddr, &[u8]),
    ) -> io::Result<usize> {
        let count = self.slots.len();
        for _ in 0..count {
            let slot = &mut self.slots[self.next];
            self.next = (self.next + 1) % count;
            let id = slot.id;
            let mut of_source = |from, bytes: &[u8]| each(id, from, bytes);
            let datagrams = slot.read(
                &clock,
                &mut self.buffers,
                &mut self.passing_errors,
                &mut of_source,
            )?;
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

    /// Returns its script, then nothing.
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

    fn round_robin(scripts: [&[Result<&'static [u8], ErrorKind>]; 2]) -> RoundRobin<Fake> {
        let mut sockets = RoundRobin::new();
        for (id, script) in (0..).zip(scripts) {
            let script = script.iter().copied().collect();
            sockets.add(
                id,
                Fake {
                    script,
                    ..Fake::default()
                },
            );
            sockets.set_ready(id);
        }
        sockets
    }

    fn read_all(sockets: &mut RoundRobin<Fake>) -> Vec<Vec<u8>> {
        let mut got = Vec::new();
        while sockets
            .read(|| Duration::ZERO, &mut |_, _, bytes| {
                got.push(bytes.to_vec());
            })
            .unwrap()
            > 0
        {}
        got
    }

    #[test]
    fn passing_errors_are_skipped_and_counted() {
        let mut sockets = round_robin([
            &[
                Err(ErrorKind::ConnectionReset),
                Err(ErrorKind::ConnectionRefused),
                Err(ErrorKind::Interrupted),
                Ok(b"good"),
            ],
            &[],
        ]);
        assert_eq!(read_all(&mut sockets), [b"good"]);
        assert_eq!(sockets.passing_errors, 3);
    }

    #[test]
    fn sources_are_read_in_turn() {
        let mut sockets = round_robin([&[Ok(b"a"), Ok(b"b"), Ok(b"c")], &[Ok(b"1"), Ok(b"2")]]);
        assert_eq!(read_all(&mut sockets), [b"a", b"1", b"b", b"2", b"c"]);
        assert!(!sockets.is_ready(Duration::ZERO));
    }

    #[test]
    fn sources_come_and_go() {
        let mut sockets = round_robin([&[Ok(b"a"), Ok(b"b"), Ok(b"c")], &[Ok(b"1")]]);
        let mut got = Vec::new();
        let mut read = |sockets: &mut RoundRobin<Fake>| {
            let each = &mut |_, _, bytes: &[u8]| got.push(bytes.to_vec());
            sockets.read(|| Duration::ZERO, each).unwrap()
        };
        assert_eq!(read(&mut sockets), 1);
        assert!(sockets.remove(1).is_some());
        assert!(sockets.remove(1).is_none());
        assert_eq!(read(&mut sockets), 1);
        let script = [Ok(&b"new"[..])].into();
        sockets.add(
            7,
            Fake {
                script,
                ..Fake::default()
            },
        );
        // Readiness of a source that was removed is ignored.
        sockets.set_ready(1);
        sockets.set_ready(7);
        while read(&mut sockets) > 0 {}
        assert_eq!(got, [&b"a"[..], b"b", b"c", b"new"]);
        assert!(sockets.remove(0).is_some() && sockets.remove(7).is_some());
        assert_eq!(
            sockets.read(|| Duration::ZERO, &mut |_, _, _| ()).unwrap(),
            0
        );
    }

    #[test]
    fn an_empty_datagram_is_handed_over() {
        let mut sockets = round_robin([&[Ok(b"")], &[]]);
        assert_eq!(read_all(&mut sockets), [b""]);
    }

    #[test]
    fn an_error_that_stays_brings_rests_and_not_a_busy_loop() {
        let mut sockets = round_robin([&[], &[Ok(b"fine")]]);
        sockets.slots[0].source.then = Some(ErrorKind::NetworkDown);
        assert_eq!(read_all(&mut sockets), [b"fine"]);

        let now = Cell::new(Duration::ZERO);
        while now.get() < Duration::from_secs(1) {
            assert!(!sockets.is_ready(now.get()));
            let rest = sockets.rest(now.get()).expect("still wants to be read");
            assert!(!rest.is_zero());
            now.set(now.get() + rest);
            assert!(sockets.is_ready(now.get()));
            assert_eq!(sockets.read(|| now.get(), &mut |_, _, _| ()).unwrap(), 0);
        }
        let reads = sockets.slots[0].source.reads;
        assert!(reads < 20 * ERRORS_IN_A_ROW as usize, "{reads}");

        // It heals by itself.
        sockets.slots[0].source.then = None;
        sockets.slots[0].source.script.push_back(Ok(b"back"));
        now.set(now.get() + Duration::from_secs(1));
        let mut got = Vec::new();
        sockets
            .read(|| now.get(), &mut |_, _, bytes| got.push(bytes.to_vec()))
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
        let mut sockets = RoundRobin::new();
        sockets.add(0, Gone);
        sockets.set_ready(0);
        assert!(sockets.read(|| Duration::ZERO, &mut |_, _, _| ()).is_err());
    }
}
