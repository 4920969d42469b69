//! Sending: from the thread that emits where the socket takes it, else from a thread that waits for it to.
//!
//! What is to be sent stands in the engine. Whoever has put something there calls [`SendLoop::flush`], which sends
//! it at once unless another thread is just sending: then that one takes it along. Where the socket is full, the
//! system has no buffers, or the engine paces a large message, the sender thread ([`SendLoop::run`]) goes on with it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::context::Context;
use crate::bus::{process::user_code, telemetry::notice::Notice};
use crate::{
    net::{Egress, Rests, RetryBudget, SendError, Sent, Transmitter, UdpSocket},
    proto::{Destination, Transmit},
};

/// How long `stop` goes on sending what is queued.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often the sender thread looks whether it may close, while others may still ask for something.
const LOOK_AROUND: Duration = Duration::from_millis(10);

/// How often an emitting thread takes along what others have put there meanwhile, before it leaves the rest to the
/// sender thread and returns to its own work.
const ROUNDS: usize = 8;

/// For how many addresses failures wait to be told; those for others are only counted.
const MAX_FAILURES: usize = 256;

/// How long the sender thread waits for a full socket before it looks whether the bus has been stopped.
const WRITABLE_WAIT: Duration = Duration::from_millis(50);

pub(crate) struct SendLoop {
    context: Arc<Context>,
    sending: Mutex<Sending>,
    /// Something stands in the engine that no thread has taken on yet.
    unclaimed: AtomicBool,
    signal: Mutex<Signal>,
    notified: Condvar,
}

#[derive(Default)]
struct Signal {
    is_notified: bool,
    closing: bool,
}

struct Sending {
    /// Gone once the session has closed.
    transmitter: Option<Transmitter>,
    group: SocketAddr,
    buffer: Vec<u8>,
    unsent: Option<Unsent>,
    retry: RetryBudget,
    /// Interfaces that are left out for now, where there are several.
    rests: Rests,
    /// The sender thread is waiting for the socket: everything goes through it.
    held_up: bool,
    /// What waits does so because the interface cannot be used, which has been reported.
    refused: bool,
    tally: Tally,
    /// What could not be sent, to be told when this is no longer locked.
    failures: Vec<Failure>,
}

/// What there is to say when nothing is locked: those who hear of it may call the bus.
#[derive(Default)]
struct Said {
    failures: Vec<Failure>,
    /// For the log alone.
    note: Option<String>,
}

struct Failure {
    to: SocketAddr,
    error: SendError,
    bytes: usize,
    count: u64,
}

/// How often datagrams to the group were sent or refused.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    sent: u64,
    refused: u64,
}

/// What had become of an event's datagrams when `emit` returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendState {
    /// The system has taken all of them, by one interface at least.
    Sent,
    /// Some of them wait until the socket takes them or their turn comes, or another thread is sending them.
    Queued,
    /// The system has refused them: no interface could be used. They are tried again for up to a second, and peers can
    /// ask for them afterwards as for any that was lost, so the event need not be emitted again. A
    /// [`Notice::SendFailed`] names the interface.
    NotSent,
}

/// What of the buffer the socket has not taken yet.
struct Unsent {
    transmit: Transmit,
    from: usize,
}

/// What keeps the rest from going out now.
enum Next {
    /// Nothing: all has been sent.
    Idle,
    /// The pace: the next may go at this time.
    At(Duration),
    /// The socket is full.
    Full,
    /// The system asks for a pause.
    Pause(Duration),
}

/// What came in the way of a datagram.
enum Obstacle {
    Full,
    Pause(Duration, SendError),
    Never(SendError),
}

impl SendLoop {
    pub(crate) fn new(context: Arc<Context>, transmitter: Transmitter, group: SocketAddr) -> Self {
        Self {
            context,
            sending: Mutex::new(Sending {
                transmitter: Some(transmitter),
                group,
                buffer: Vec::new(),
                unsent: None,
                retry: RetryBudget::default(),
                rests: Rests::default(),
                held_up: false,
                refused: false,
                tally: Tally::default(),
                failures: Vec::new(),
            }),
            unclaimed: AtomicBool::new(false),
            signal: Mutex::default(),
            notified: Condvar::new(),
        }
    }

    /// Sends what stands in the engine, or leaves it to whoever is sending already. Never waits. Gives what became of
    /// it.
    pub(crate) fn flush(&self) -> SendState {
        self.unclaimed.store(true, Ordering::SeqCst);
        let mut state = SendState::Queued;
        for _ in 0..ROUNDS {
            let mut sending = match self.sending.try_lock() {
                Ok(sending) => sending,
                // A panic while something was sent: the session is over.
                Err(TryLockError::Poisoned(_)) => return state,
                // Whoever holds it looks at `unclaimed` again after letting go.
                Err(TryLockError::WouldBlock) => return state,
            };
            if sending.held_up {
                return if sending.refused {
                    SendState::NotSent
                } else {
                    state
                };
            }
            self.unclaimed.store(false, Ordering::SeqCst);
            let before = sending.tally;
            let next = sending.pump(&self.context);
            sending.held_up = matches!(next, Next::Full | Next::Pause(_));
            // Later rounds are about what others have put there meanwhile.
            if state == SendState::Queued {
                state = sending.state_since(before, &next);
            }
            let said = sending.take_said(self.context.gate.is_open());
            drop(sending);
            self.report(said);
            self.context.shared.room.notify();
            if !matches!(next, Next::Idle) {
                self.notify();
            }
            if !self.unclaimed.load(Ordering::SeqCst) {
                return state;
            }
        }
        self.notify();
        state
    }

    /// The sender thread: sends what the emitting threads could not, until the session closes; then what is left for
    /// up to a second more; and then what others still ask for. Where a panic ends the session it returns once that has
    /// been told.
    pub(crate) fn run(&self) {
        let Context {
            engine,
            gate,
            shared,
            ..
        } = &*self.context;
        let mut deadline = None;
        let mut leaving = false;
        while !engine.has_failed() {
            // A panic on another thread is about to be told, and nothing more can be sent.
            let sending = self.lock_sending().filter(|_| !engine.is_broken());
            let Some(mut sending) = sending else {
                self.sleep(Some(LOOK_AROUND));
                continue;
            };
            self.unclaimed.store(false, Ordering::SeqCst);
            let mut next = sending.pump(&self.context);
            while matches!(next, Next::Full) {
                // Emitting threads find the lock taken meanwhile, and leave to this one what they have.
                if let Some(transmitter) = &sending.transmitter
                    && transmitter.wait_writable(WRITABLE_WAIT).is_err()
                {
                    std::thread::sleep(WRITABLE_WAIT);
                }
                if self.closing() {
                    break;
                }
                next = sending.pump(&self.context);
                // A socket that is always full takes something all the same.
                shared.room.notify();
            }
            sending.held_up = matches!(next, Next::Full | Next::Pause(_));
            let said = sending.take_said(gate.is_open() || self.closing());
            drop(sending);
            self.report(said);
            shared.room.notify();

            if self.closing() && !leaving {
                let end = *deadline.get_or_insert_with(|| Instant::now() + LAST_WORDS);
                let late = Instant::now() >= end;
                let sent = matches!(next, Next::Idle);
                if let Some(left) = engine.close_if(|left| late || sent && left == 0) {
                    shared.telemetry.counters.bytes_unsent.add(left as u64);
                    engine.begin_to_leave(self.context.now());
                    leaving = true;
                }
            }
            if leaving {
                if engine.leave(self.context.now()) {
                    break;
                }
                let locked = engine.lock();
                if locked.is_none_or(|engine| engine.next_transmit().is_none()) {
                    self.sleep(Some(LOOK_AROUND));
                    continue;
                }
            }
            match next {
                Next::Full if leaving => std::thread::sleep(LOOK_AROUND),
                Next::Full => {}
                // Whatever has come meanwhile waits too: the system asked for it.
                Next::Pause(pause) => std::thread::sleep(pause),
                _ if self.unclaimed.load(Ordering::SeqCst) => {}
                Next::Idle => self.sleep(None),
                Next::At(time) => self.sleep(Some(time.saturating_sub(self.context.now().elapsed))),
            }
        }
    }

    /// It has been told that the bus has started: tells what came before that.
    pub(crate) fn begin(&self) {
        let said = self
            .lock_sending()
            .map(|mut sending| sending.take_said(true));
        self.report(said.unwrap_or_default());
    }

    /// As if nothing could be sent to the group just now.
    #[cfg(test)]
    pub(crate) fn fail(&self) {
        if let Some(mut sending) = self.lock_sending() {
            let to = sending.group;
            let error = SendError::Refused {
                to,
                interface: None,
                source: Arc::new(std::io::ErrorKind::NetworkDown.into()),
            };
            note_failure(&mut sending.failures, to, error, 1);
        }
        self.flush();
    }

    /// The sender thread is done: gives up what is left, and the socket.
    pub(crate) fn finish(&self) {
        // After a panic too: it is taken apart, whatever state it is in.
        let sending = self.sending.lock();
        let mut sending = sending.unwrap_or_else(PoisonError::into_inner);
        sending.transmitter = None;
        if let Some(unsent) = sending.unsent.take() {
            let left = sending.buffer.len().saturating_sub(unsent.from);
            let counters = &self.context.shared.telemetry.counters;
            counters.bytes_unsent.add(left as u64);
        }
    }

    /// From now on these are the interfaces by which to send, and this is the socket, if it is another one.
    pub(crate) fn change_egress(&self, egress: Vec<Egress>, socket: Option<Arc<UdpSocket>>) {
        if let Some(mut sending) = self.lock_sending()
            && let Some(transmitter) = &mut sending.transmitter
        {
            if let Some(socket) = socket {
                transmitter.replace_socket(socket);
            }
            transmitter.set_egress(egress);
        }
    }

    /// Tells the sender thread that the session closes.
    pub(crate) fn close(&self) {
        self.lock_signal().closing = true;
        self.notified.notify_all();
    }

    fn closing(&self) -> bool {
        self.lock_signal().closing
    }

    pub(crate) fn notify(&self) {
        self.lock_signal().is_notified = true;
        self.notified.notify_all();
    }

    /// Until it is notified, the time is over, or, where there is no time to wait for, the session closes.
    fn sleep(&self, time: Option<Duration>) {
        let mut signal = self.lock_signal();
        if !signal.is_notified && (!signal.closing || time.is_some()) {
            signal = match time {
                None => self
                    .notified
                    .wait(signal)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(time) => {
                    self.notified
                        .wait_timeout(signal, time)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        signal.is_notified = false;
    }

    fn report(&self, said: Said) {
        if let Some(note) = said.note {
            // A subscriber of the log is the user's.
            let _ = user_code::run(|| tracing::debug!(target: "eventcast", "{note}"));
        }
        for failure in said.failures {
            let Failure {
                to,
                error,
                bytes,
                count,
            } = failure;
            let interface = error.interface().map(str::to_owned);
            self.context.shared.telemetry.report(Notice::SendFailed {
                to,
                interface,
                error,
                bytes,
                count,
            });
        }
    }

    fn lock_signal(&self) -> MutexGuard<'_, Signal> {
        // Nothing that can panic runs under this lock.
        self.signal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: a panic while something was sent has ended the session.
    fn lock_sending(&self) -> Option<MutexGuard<'_, Sending>> {
        self.sending.lock().ok()
    }
}

impl Sending {
    /// What became of everything that stood in the engine, after [`Self::pump`].
    fn state_since(&self, before: Tally, next: &Next) -> SendState {
        match next {
            Next::Pause(_) if self.refused => SendState::NotSent,
            Next::Idle if self.tally.sent > before.sent => SendState::Sent,
            Next::Idle if self.tally.refused > before.refused => SendState::NotSent,
            _ => SendState::Queued,
        }
    }

    /// What there is to say, but no failures before it has been told that the bus has started.
    fn take_said(&mut self, is_told: bool) -> Said {
        let failures = match is_told {
            true => std::mem::take(&mut self.failures),
            false => Vec::new(),
        };
        let note = self.transmitter.as_mut().and_then(Transmitter::take_note);
        Said { failures, note }
    }

    /// Sends until nothing is left or something is in the way.
    fn pump(&mut self, context: &Context) -> Next {
        let counters = &context.shared.telemetry.counters;
        let Some(transmitter) = &mut self.transmitter else {
            return Next::Idle;
        };
        loop {
            let now = context.now();
            let unsent = match &mut self.unsent {
                Some(unsent) => unsent,
                none => {
                    let Some(mut engine) = context.engine.lock() else {
                        return Next::Idle;
                    };
                    let Some(transmit) = engine.poll_transmit(now, &mut self.buffer) else {
                        return engine.next_transmit().map_or(Next::Idle, Next::At);
                    };
                    drop(engine);
                    none.insert(Unsent { transmit, from: 0 })
                }
            };
            let (to, to_group) = match unsent.transmit.to {
                Destination::Group => (self.group, true),
                Destination::Peer(address) => (address, false),
            };
            let Transmit {
                segment_size: segment,
                interface,
                ..
            } = unsent.transmit;
            let rest = &self.buffer[unsent.from..];
            if interface.is_some_and(|interface| self.rests.is_resting(now.elapsed, interface)) {
                counters.bytes_unsent.add(rest.len() as u64);
                self.tally.refused += 1;
                self.unsent = None;
                continue;
            }
            let errors_before = transmitter.passing_errors();
            let (taken, obstacle) = match transmitter.try_send(to, interface, rest, segment) {
                Sent::Done => (rest.len(), None),
                Sent::Blocked { sent_bytes } => (sent_bytes, Some(Obstacle::Full)),
                Sent::Pause {
                    sent_bytes,
                    pause,
                    error,
                } => (sent_bytes, Some(Obstacle::Pause(pause, error))),
                Sent::Failed { sent_bytes, error } => (sent_bytes, Some(Obstacle::Never(error))),
            };
            let errors = transmitter.passing_errors() - errors_before;
            counters.send_errors.add(errors);
            counters.count_sent(taken, segment);
            unsent.from += taken;
            if taken > 0 {
                self.retry.reset();
            }
            if taken > 0 && to_group {
                self.refused = false;
                self.tally.sent += 1;
            }
            let lost = match obstacle {
                None => None,
                Some(Obstacle::Full) => return Next::Full,
                Some(Obstacle::Never(error)) => Some(error),
                Some(Obstacle::Pause(pause, error)) => match self.retry.grant(now.elapsed, pause) {
                    Some(pause) => {
                        let refused = to_group && error.is_about_interface();
                        // That it will not be sent is told now, not only when it is given up.
                        if refused && !self.refused {
                            note_failure(&mut self.failures, to, error, 0);
                        }
                        self.refused = refused;
                        return Next::Pause(pause);
                    }
                    None => Some(error),
                },
            };
            if let Some(error) = lost {
                // One datagram is left out; those after it may fare better. An interface among several is given a
                // rest, so that it does not hold up the others.
                let left = self.buffer.len() - unsent.from;
                let mut bytes = segment.map_or(left, |size| size.min(left));
                if let (Some(interface), SendError::Refused { .. }) = (interface, &error) {
                    self.rests.begin(now.elapsed, interface);
                    bytes = left;
                }
                unsent.from += bytes;
                self.retry.reset();
                self.tally.refused += u64::from(to_group);
                counters.bytes_unsent.add(bytes as u64);
                note_failure(&mut self.failures, to, error, bytes);
            }
            if unsent.from == self.buffer.len() {
                self.unsent = None;
            }
        }
    }
}

/// Adds a failure to those that have not been told yet, in one sum for each address and interface.
fn note_failure(failures: &mut Vec<Failure>, to: SocketAddr, error: SendError, bytes: usize) {
    let is_same =
        |failure: &&mut Failure| failure.to == to && failure.error.interface() == error.interface();
    if let Some(same) = failures.iter_mut().find(is_same) {
        same.bytes += bytes;
        same.count += 1;
    } else if failures.len() < MAX_FAILURES {
        failures.push(Failure {
            to,
            error,
            bytes,
            count: 1,
        });
    }
}
