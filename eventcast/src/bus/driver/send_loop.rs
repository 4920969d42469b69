//! Sends what is in the engine: on the thread that emits while the socket takes it, else on the
//! sender thread.
//!
//! A thread that has put something into the engine calls [`SendLoop::flush`], which sends it at
//! once, unless another thread is sending: then that thread sends it too. Where the socket is full,
//! the system has no buffers, or the engine paces a large message, the sender thread
//! ([`SendLoop::run`]) goes on.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::context::Context;
use crate::{
    bus::{process::user_code, telemetry::notice::Notice},
    net::{Egress, Rests, RetryBudget, SendError, Sent, Transmitter, UdpSocket},
    proto::{Destination, Transmit},
};

/// How long `stop` goes on sending what is queued.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often the sender thread checks whether it may close, while peers may still send requests.
const LOOK_AROUND: Duration = Duration::from_millis(10);

/// How often an emitting thread sends what other threads have put into the engine meanwhile, before
/// it leaves the rest to the sender thread and returns to its own work.
const ROUNDS: usize = 8;

/// For how many addresses failures wait to be reported; failures for further addresses are only
/// counted.
const MAX_FAILURES: usize = 256;

/// How long the sender thread waits for a full socket before it checks whether the bus is stopping.
const WRITABLE_WAIT: Duration = Duration::from_millis(50);

pub(crate) struct SendLoop {
    context: Arc<Context>,
    sending: Mutex<Sending>,
    /// Something is in the engine that no thread has begun to send yet.
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
    /// `None` once the session has closed.
    transmitter: Option<Transmitter>,
    group: SocketAddr,
    buffer: Vec<u8>,
    unsent: Option<Unsent>,
    retry: RetryBudget,
    /// Interfaces that are left out for now, where there are several.
    rests: Rests,
    /// The sender thread is waiting for the socket: everything goes through it.
    held_up: bool,
    /// The queue waits because the interface cannot be used, which has been reported.
    refused: bool,
    tally: Tally,
    /// Failures, to be reported without the lock.
    failures: Vec<Failure>,
}

/// What is reported without the lock: a listener of notices and a subscriber of the log may call
/// the bus.
#[derive(Default)]
struct Report {
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

/// How far the datagrams of an event were sent when `emit` returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendState {
    /// The system has taken all of them, by one interface at least.
    Sent,
    /// Some of them wait until the socket takes them or their turn comes, or another thread is
    /// sending them.
    Queued,
    /// The system has refused them: no interface could be used. They are tried again for up to a
    /// second, and peers can ask for them afterwards as for any that was lost, so the event need
    /// not be emitted again. A [`Notice::SendFailed`] names the interface.
    NotSent,
}

/// The part of the buffer that the socket has not taken yet.
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

/// Why a datagram was not sent.
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

    /// Sends what is in the engine, or leaves it to the thread that is sending already. Never
    /// waits.
    pub(crate) fn flush(&self) -> SendState {
        self.unclaimed.store(true, Ordering::SeqCst);
        let mut state = SendState::Queued;
        for _ in 0..ROUNDS {
            let mut sending = match self.sending.try_lock() {
                Ok(sending) => sending,
                // A panic while something was sent: the session is over.
                Err(TryLockError::Poisoned(_)) => return state,
                // The thread that holds the lock checks `unclaimed` again after it has released it.
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
            // Later rounds send what other threads have put there meanwhile.
            if state == SendState::Queued {
                state = sending.state_since(before, &next);
            }
            let report = sending.take_report(self.context.gate.is_open());
            drop(sending);
            self.report(report);
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

    /// The sender thread. Until the session closes it sends what the emitting threads could not;
    /// then, for up to a second, what is left; and then what peers still request. Where a panic
    /// ends the session, it returns once that has been reported.
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
            // A panic on another thread is about to be reported, and nothing more can be sent.
            let sending = self.lock_sending().filter(|_| !engine.is_broken());
            let Some(mut sending) = sending else {
                self.sleep(Some(LOOK_AROUND));
                continue;
            };
            self.unclaimed.store(false, Ordering::SeqCst);
            let mut next = sending.pump(&self.context);
            while matches!(next, Next::Full) {
                // Emitting threads find the lock taken meanwhile, and leave to this one what they
                // have.
                if let Some(transmitter) = &sending.transmitter
                    && transmitter.wait_writable(WRITABLE_WAIT).is_err()
                {
                    std::thread::sleep(WRITABLE_WAIT);
                }
                if self.closing() {
                    break;
                }
                next = sending.pump(&self.context);
                // A socket that stays full has taken something all the same.
                shared.room.notify();
            }
            sending.held_up = matches!(next, Next::Full | Next::Pause(_));
            let report = sending.take_report(gate.is_open() || self.closing());
            drop(sending);
            self.report(report);
            shared.room.notify();

            if self.closing() && !leaving {
                let end = *deadline.get_or_insert_with(|| Instant::now() + LAST_WORDS);
                let late = Instant::now() >= end;
                let sent = matches!(next, Next::Idle);
                if let Some(left) = engine.close_if(|left| late || sent && left == 0) {
                    shared.telemetry.counters.bytes_unsent.add(left as u64);
                    if left > 0 {
                        shared.telemetry.report(unsent_at_stop(left));
                    }
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
                // What has been added meanwhile waits too: the system asked for a pause.
                Next::Pause(pause) => std::thread::sleep(pause),
                _ if self.unclaimed.load(Ordering::SeqCst) => {}
                Next::Idle => self.sleep(None),
                Next::At(time) => self.sleep(Some(time.saturating_sub(self.context.now().elapsed))),
            }
        }
    }

    /// The start has been reported: reports the failures from before it.
    pub(crate) fn begin(&self) {
        let report = self
            .lock_sending()
            .map(|mut sending| sending.take_report(true));
        self.report(report.unwrap_or_default());
    }

    /// Behaves as if nothing could be sent to the group just now.
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

    /// Gives up what is left, and closes the socket, at the end of the sender thread.
    pub(crate) fn finish(&self) {
        // After a panic too: closing needs no consistent state.
        let sending = self.sending.lock();
        let mut sending = sending.unwrap_or_else(PoisonError::into_inner);
        sending.transmitter = None;
        if let Some(unsent) = sending.unsent.take() {
            let left = sending.buffer.len().saturating_sub(unsent.from);
            let counters = &self.context.shared.telemetry.counters;
            counters.bytes_unsent.add(left as u64);
        }
    }

    /// Sets the interfaces to send by, and replaces the socket where there is a new one.
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

    /// Has the sender thread close the session.
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

    /// Sleeps until it is notified or the time is over; without a time, until it is notified or the
    /// session closes.
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

    fn report(&self, report: Report) {
        if let Some(note) = report.note {
            // A subscriber of the log is the user's.
            let _ = user_code::run(|| tracing::debug!(target: "eventcast", "{note}"));
        }
        for failure in report.failures {
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

    /// `None`: a panic during a send has ended the session.
    fn lock_sending(&self) -> Option<MutexGuard<'_, Sending>> {
        self.sending.lock().ok()
    }
}

impl Sending {
    /// How far everything in the engine was sent by a [`Self::pump`].
    fn state_since(&self, before: Tally, next: &Next) -> SendState {
        match next {
            Next::Pause(_) if self.refused => SendState::NotSent,
            Next::Idle if self.tally.sent > before.sent => SendState::Sent,
            Next::Idle if self.tally.refused > before.refused => SendState::NotSent,
            _ => SendState::Queued,
        }
    }

    /// Takes what is to be reported; failures only once the start has been reported.
    fn take_report(&mut self, start_is_reported: bool) -> Report {
        let failures = match start_is_reported {
            true => std::mem::take(&mut self.failures),
            false => Vec::new(),
        };
        let note = self.transmitter.as_mut().and_then(Transmitter::take_note);
        Report { failures, note }
    }

    /// Sends until nothing is left or the rest has to wait.
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
                        // Reported now, and not only when the datagram is given up.
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
                // One datagram is left out; those after it may fare better. An interface among
                // several is given a rest, so that it does not hold up the others.
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

fn unsent_at_stop(bytes: usize) -> Notice {
    let text = format!(
        "the bus stops with {bytes} bytes of its events unsent, because the network did not take them \
         within a second: peers report these events as lost. A program that has much to send before it \
         ends should wait until `Stats::queued_bytes` is 0"
    );
    Notice::Warning { text }
}

/// Adds a failure to those that have not been reported yet: one sum for each address and interface.
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
