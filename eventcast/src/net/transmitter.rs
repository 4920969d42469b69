//! Sending without ever blocking, and saying what to do when the system does not take a datagram.
//!
//! Everything goes out by one socket, which is set to each interface in turn where there are
//! several.
//!
//! Contract: [`Transmitter::try_send`] gets datagrams of one length to one address, one behind the
//! other in a buffer, and returns how many bytes of them are out. The caller keeps the rest and
//! calls again with it: after [`Writability::wait`] when it was [`Sent::Blocked`], after the pause
//! when it was [`Sent::Pause`], for at most the time that a [`RetryBudget`](super::RetryBudget)
//! grants. No queue and no clock in here.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use mio::net::UdpSocket;

use super::{
    errno::{self, SendRefusal},
    error::SendError,
    retry::Pauses,
    sink::{Egress, Sink, UdpSink},
};

pub(crate) use super::sink::Writability;

/// Datagrams that the kernel cuts out of one call at most (`UDP_MAX_SEGMENTS` of older kernels).
const SEGMENTS: usize = 64;

/// Bytes that one call takes at most: what fits into an IPv4 packet beside its headers.
const CALL_SIZE: usize = 65_507;

/// Errors in a row that say nothing about this datagram before there is a pause after all.
const AT_ONCE: u32 = 8;

/// What became of datagrams that were to be sent.
#[derive(Debug)]
#[must_use]
pub(crate) enum Sent {
    /// All are out.
    Done,
    /// The socket takes no more for now. Wait until it is writable, and send the rest.
    Blocked {
        /// Bytes of whole datagrams that are out.
        sent_bytes: usize,
    },
    /// The system is short of something, or the network is away for now. Pause, and send the rest.
    Pause {
        /// Bytes of whole datagrams that are out.
        sent_bytes: usize,
        /// How long: 1 ms, doubling up to 100 ms until something is sent.
        pause: Duration,
        /// The error to report when it does not end.
        error: SendError,
    },
    /// The datagram that begins at `sent_bytes` can never be sent. Leave it out, by as many bytes
    /// as a datagram has; those after it may be sent.
    Failed {
        /// Bytes of whole datagrams that are out.
        sent_bytes: usize,
        /// Why.
        error: SendError,
    },
}

/// Sends the datagrams of a bus, all from its unicast socket.
pub(crate) struct Transmitter<S = UdpSink> {
    sink: S,
    egress: Vec<EgressState>,
    /// What the interfaces were called when there were any.
    last_egress: String,
    pauses: Pauses,
    passing_errors: u64,
    /// For the log.
    note: Option<String>,
}

/// An interface, and what was found out about it.
struct EgressState {
    egress: Egress,
    /// Datagrams longer than this go out one by one: the interface refused to cut them.
    longest_segment: usize,
}

impl Transmitter {
    /// From now on datagrams leave by this socket.
    pub(crate) fn replace_socket(&mut self, socket: Arc<UdpSocket>) {
        self.sink.replace(socket);
    }

    /// Waits until the socket takes datagrams again, at most for `timeout`; whether it does.
    pub(crate) fn wait_writable(&self, timeout: Duration) -> io::Result<bool> {
        self.writability().wait(timeout)
    }

    /// The same for a thread that must not hold the transmitter while it waits.
    pub(crate) fn writability(&self) -> Writability {
        self.sink.writability()
    }
}

impl<S: Sink> Transmitter<S> {
    pub(super) fn new(sink: S, egress: Vec<Egress>) -> Self {
        let mut transmitter = Self {
            egress: Vec::new(),
            last_egress: String::new(),
            sink,
            pauses: Pauses::new(),
            passing_errors: 0,
            note: None,
        };
        transmitter.set_egress(egress);
        transmitter
    }

    /// From now on these are the interfaces. Those that were there before go on as they were.
    pub(crate) fn set_egress(&mut self, egress: Vec<Egress>) {
        let mut before = std::mem::take(&mut self.egress);
        let has_segments = self.sink.has_segments();
        for egress in egress {
            let known = before.iter().position(|state| state.egress.id == egress.id);
            let state = known.map(|index| before.swap_remove(index));
            let label = Arc::clone(&egress.label);
            let mut state = state.unwrap_or_else(|| {
                let longest_segment = if has_segments && egress.cuts {
                    CALL_SIZE
                } else {
                    0
                };
                EgressState {
                    egress,
                    longest_segment,
                }
            });
            // It may have got its name by now.
            state.egress.label = label;
            self.egress.push(state);
        }
        if !self.egress.is_empty() {
            let labels: Vec<_> = self
                .egress
                .iter()
                .map(|state| &*state.egress.label)
                .collect();
            self.last_egress = labels.join(", ");
        }
    }

    /// Sends `bytes` to `to`: one datagram, or with `segment_size` several of that length, the last
    /// of which may be shorter. See [`Sent`] for what to do next.
    ///
    /// With the id of an interface they leave by that one alone; there are others then, so a
    /// failure of one leads to no pause. Datagrams for an interface that was removed are dropped
    /// silently. Without an id datagrams to the group leave by the first interface.
    pub(crate) fn try_send(
        &mut self,
        to: SocketAddr,
        by: Option<u32>,
        bytes: &[u8],
        segment_size: Option<usize>,
    ) -> Sent {
        let to_group = to.ip().is_multicast();
        let state = match by {
            None => 0,
            Some(id) => match self.egress.iter().position(|state| state.egress.id == id) {
                Some(index) => index,
                None => return Sent::Done,
            },
        };
        let chosen = match self.egress.get(state) {
            _ if !to_group => Ok(()),
            Some(state) => self.sink.choose(&state.egress),
            None => Err(io::Error::new(
                io::ErrorKind::NetworkDown,
                "it is down, or has gone",
            )),
        };
        if let Err(error) = chosen {
            return self.without_egress(to, by, state, error);
        }
        let size = segment_size.filter(|size| *size > 0).unwrap_or(bytes.len());
        let (mut sent_bytes, mut at_once) = (0, 0);
        // Set while the first datagram of a refused call is tried alone.
        let mut refused_together = None;
        loop {
            let rest = &bytes[sent_bytes..];
            let alone = refused_together.is_some();
            let step = if alone {
                size.min(rest.len())
            } else {
                step(rest.len(), size, self.longest_segment(to_group, state))
            };
            let together = step > size;
            let result = if together {
                // `step` is at most `CALL_SIZE`, and `size` less than it.
                self.sink.send_segments(to, &rest[..step], size as u16)
            } else {
                self.sink.send(to, &rest[..step])
            };
            let error = match result {
                Ok(()) => {
                    self.pauses.after_success();
                    at_once = 0;
                    // Alone it went: so it was the cutting that was refused.
                    if let Some(error) = refused_together.take() {
                        self.limit_segments(to_group.then_some(state), size, &error);
                    }
                    sent_bytes += step;
                    if sent_bytes == bytes.len() {
                        return Sent::Done;
                    }
                    continue;
                }
                Err(error) => error,
            };
            // Other interfaces wait behind this one: a failure is not tried again.
            match errno::classify_send(&error, to_group && by.is_none()) {
                SendRefusal::Full => return Sent::Blocked { sent_bytes },
                SendRefusal::TryAgain if at_once < AT_ONCE => {
                    self.passing_errors += 1;
                    at_once += 1;
                }
                SendRefusal::TryAgain | SendRefusal::Passing => {
                    self.passing_errors += 1;
                    return Sent::Pause {
                        sent_bytes,
                        pause: self.pauses.after_failure(),
                        error: self.refused(to, state, error),
                    };
                }
                SendRefusal::TooLong | SendRefusal::Final if together => {
                    refused_together = Some(error);
                }
                SendRefusal::TooLong => {
                    let error = SendError::TooLong {
                        to,
                        len: step,
                        mtu: self.sink.mtu(to),
                        source: Arc::new(error),
                    };
                    return Sent::Failed { sent_bytes, error };
                }
                SendRefusal::Final => {
                    let error = self.refused(to, state, error);
                    return Sent::Failed { sent_bytes, error };
                }
            }
        }
    }

    /// How many errors passed by themselves so far.
    pub(crate) fn passing_errors(&self) -> u64 {
        self.passing_errors
    }

    /// What to answer where the interface could not be chosen.
    fn without_egress(
        &mut self,
        to: SocketAddr,
        by: Option<u32>,
        state: usize,
        error: io::Error,
    ) -> Sent {
        let error = self.refused(to, state, error);
        if by.is_some() {
            return Sent::Failed {
                sent_bytes: 0,
                error,
            };
        }
        self.passing_errors += 1;
        Sent::Pause {
            sent_bytes: 0,
            pause: self.pauses.after_failure(),
            error,
        }
    }

    fn refused(&self, to: SocketAddr, state: usize, error: io::Error) -> SendError {
        let egress = self.egress.get(state).map(|state| &*state.egress.label);
        let egress = egress.unwrap_or(&self.last_egress);
        SendError::Refused {
            to,
            interface: to.ip().is_multicast().then(|| egress.to_owned()),
            source: Arc::new(error),
        }
    }

    /// How long datagrams may be that go together: to the group by one interface, elsewhere by any.
    fn longest_segment(&self, to_group: bool, state: usize) -> usize {
        let mut states = self.egress.iter().map(|state| state.longest_segment);
        let limit = if to_group {
            states.nth(state)
        } else {
            states.min()
        };
        limit.unwrap_or(0)
    }

    /// Notes that datagrams of `size` cannot be cut out of one call on this interface (`None`: on
    /// none).
    ///
    /// An error that says "too long for the interface" does not apply to shorter ones; any other
    /// one concerns cutting as such, which some interfaces and tunnels cannot do.
    fn limit_segments(&mut self, state: Option<usize>, size: usize, error: &io::Error) {
        let about_length = error.kind() == io::ErrorKind::InvalidInput
            || errno::classify_send(error, true) == SendRefusal::TooLong;
        let longest_segment = if about_length { size - 1 } else { 0 };
        for (index, one) in self.egress.iter_mut().enumerate() {
            if state.is_none_or(|state| state == index) {
                one.longest_segment = one.longest_segment.min(longest_segment);
            }
        }
        self.note = Some(format!(
            "datagrams longer than {longest_segment} bytes are sent one by one: {error}"
        ));
    }

    /// Messages for the log since the last call. The caller logs them while no lock is held, since
    /// a subscriber of the log may call the bus.
    pub(crate) fn take_note(&mut self) -> Option<String> {
        self.note.take()
    }
}

/// How many bytes of `rest` the next call takes: whole datagrams of `size`.
fn step(rest: usize, size: usize, longest_segment: usize) -> usize {
    if size > longest_segment || rest <= size {
        return rest.min(size);
    }
    let datagrams = (CALL_SIZE / size).clamp(1, SEGMENTS);
    rest.min(datagrams * size)
}

#[cfg(all(test, unix))]
mod tests;
