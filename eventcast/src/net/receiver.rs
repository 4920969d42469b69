//! Waiting for datagrams on all sockets of a bus, and reading the sockets in turn.
//!
//! Contract: one thread at a time calls [`Receiver::wait`], then [`Receiver::receive`] until it
//! returns 0, and so on; and [`Receiver::look_around`] each time in between, which mostly does
//! nothing. An error that passes by itself is counted and skipped, and repeated ones lead to
//! pauses: neither deafness nor a busy loop. Only a descriptor that is no socket any more is an
//! error of the call.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Registry, Token, net::UdpSocket};
use socket2::Socket;

use super::{
    busy_poll::{BusyPoll, SHORT},
    error::OpenWarning,
    interface_monitor::{InterfaceEvent, InterfaceMonitor, OpenedSocket},
    round_robin::RoundRobin,
    self_filter::SelfFilter,
    sink::Egress,
    source::{Source, UdpSource},
    watch::Watch,
};

/// Batches after which the other sockets are looked at, although this one still has some.
const BATCHES_BETWEEN_LOOKS: u32 = 16;

/// How many ready sockets one call of the system reports; the next call reports the others.
const EVENTS: usize = 32;

/// How long after the first word of a change the interfaces are looked at: most changes come in
/// several steps.
const SETTLING: Duration = Duration::from_millis(100);

/// How often the interfaces are listed while something is missing, or where the system does not
/// report changes.
const BETWEEN_LOOKS_AROUND: Duration = Duration::from_secs(1);

const WAKER: Token = Token(usize::MAX);
const WATCH: Token = Token(usize::MAX - 1);

/// Reads the datagrams of a bus.
pub(crate) struct Receiver {
    poll: Poll,
    events: Events,
    waker: Waker,
    origin: Instant,
    sockets: RoundRobin<UdpSource>,
    /// Batches read since the system last reported which sockets are ready.
    batches: u32,
    /// The last look found the waker's call.
    woken: bool,
    busy_poll: BusyPoll,
    monitor: InterfaceMonitor,
    /// The id of the unicast socket.
    unicast: u32,
    /// Reports changes. `None`: the system does not.
    watch: Option<Watch>,
    /// Why it does not, as it was reported.
    unwatched: Option<String>,
    /// When the interfaces are to be looked at.
    next_look_around: Option<Duration>,
    /// Of sockets that have been closed.
    earlier_drops: u64,
    kernel_drops: u64,
}

/// What has changed about the interfaces.
pub(crate) struct Change {
    /// By where to send to the group from now on.
    pub(crate) egress: Vec<Egress>,
    /// The socket from which to send from now on; `None`: the one before.
    pub(crate) socket: Option<Arc<UdpSocket>>,
    /// The address by which the bus alone is reached. `None`: by none for now.
    pub(crate) unicast: Option<SocketAddr>,
    /// What people may want to know.
    pub(crate) events: Vec<InterfaceEvent>,
}

impl Receiver {
    /// Takes the sockets that were opened; gives the unicast socket back, to send from.
    pub(super) fn new(
        monitor: InterfaceMonitor,
        groups: Vec<OpenedSocket>,
        unicast: OpenedSocket,
        warnings: &mut Vec<OpenWarning>,
    ) -> io::Result<(Self, Arc<UdpSocket>)> {
        let poll = Poll::new()?;
        let waker = Waker(Arc::new(mio::Waker::new(poll.registry(), WAKER)?));
        let mut sockets = RoundRobin::new();
        for fresh in groups {
            add(&mut sockets, poll.registry(), fresh)?;
        }
        let unicast_id = unicast.id;
        let unicast = add(&mut sockets, poll.registry(), unicast)?;
        let mut receiver = Self {
            poll,
            events: Events::with_capacity(EVENTS),
            waker,
            origin: Instant::now(),
            sockets,
            batches: 0,
            woken: false,
            busy_poll: BusyPoll::default(),
            monitor,
            unicast: unicast_id,
            watch: None,
            unwatched: None,
            next_look_around: None,
            earlier_drops: 0,
            kernel_drops: 0,
        };
        warnings.extend(receiver.watch());
        receiver.plan_to_look_around();
        Ok((receiver, unicast))
    }

    /// Lists the interfaces, if it is time to, joins and leaves what is due, and returns what has
    /// to be done elsewhere.
    pub(crate) fn look_around(&mut self) -> Option<Change> {
        let now = self.origin.elapsed();
        self.next_look_around.filter(|at| *at <= now)?;
        // Before the look: nothing that changes in between is missed.
        let warning = self.watch();
        let changes = self.monitor.reconcile();
        self.plan_to_look_around();
        let mut events = changes.events;
        events.extend(warning.map(|warning| InterfaceEvent::Trouble(warning.to_string())));
        for (id, self_filter) in changes.closed {
            self.close(id, self_filter.as_ref());
        }
        for fresh in changes.opened {
            if let Err(error) = add(&mut self.sockets, self.poll.registry(), fresh) {
                events.push(InterfaceEvent::Trouble(format!(
                    "cannot watch a socket ({error})"
                )));
            }
        }
        let mut socket = None;
        if let Some(fresh) = changes.unicast {
            let before = self.unicast;
            self.unicast = fresh.id;
            match add(&mut self.sockets, self.poll.registry(), fresh) {
                Ok(unicast) => socket = Some(unicast),
                Err(error) => {
                    events.push(InterfaceEvent::Trouble(format!(
                        "cannot watch a socket ({error})"
                    )));
                }
            }
            self.close(before, None);
        }
        if events.is_empty() && socket.is_none() {
            return None;
        }
        Some(Change {
            egress: self.monitor.egress(),
            socket,
            unicast: self.monitor.unicast(),
            events,
        })
    }

    /// The interfaces on which the bus is, each as `name (address)`.
    pub(crate) fn interfaces(&self) -> Vec<String> {
        self.monitor.interfaces()
    }

    /// Asks the system to report changes, if it does not do so yet. A failure is reported once.
    fn watch(&mut self) -> Option<OpenWarning> {
        if self.watch.is_some() {
            return None;
        }
        let watch = Watch::open().and_then(|watch| {
            watch.register(self.poll.registry(), WATCH)?;
            Ok(watch)
        });
        let source = match watch {
            Ok(watch) => {
                self.watch = Some(watch);
                self.unwatched = None;
                return None;
            }
            Err(source) => source,
        };
        let text = source.to_string();
        // Only Linux has it; and where interfaces cannot be listed, that was reported already.
        let is_known = source.kind() == io::ErrorKind::Unsupported && !cfg!(target_os = "linux");
        if is_known || self.monitor.is_unlisted() || self.unwatched.as_ref() == Some(&text) {
            tracing::debug!(target: "eventcast", error = %source, "interfaces are looked at each second");
            return None;
        }
        self.unwatched = Some(text);
        let source = Arc::new(source);
        Some(OpenWarning::Unwatched { source })
    }

    fn plan_to_look_around(&mut self) {
        let soon = self.watch.is_none() || self.monitor.lacks_something();
        self.next_look_around = soon.then(|| self.origin.elapsed() + BETWEEN_LOOKS_AROUND);
    }

    fn close(&mut self, id: u32, self_filter: Option<&SelfFilter>) {
        if let Some(source) = self.sockets.remove(id) {
            self.earlier_drops += drops_of(&source, self_filter);
        }
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
        if self.sockets.is_ready(now) {
            return Ok(());
        }
        let look_around = self.next_look_around.map(|at| at.saturating_sub(now));
        let timeout = [timeout, self.sockets.rest(now), look_around];
        let timeout = timeout.into_iter().flatten().min();
        if self.busy_poll.pays() && timeout.is_none_or(|timeout| timeout >= SHORT) {
            while self.origin.elapsed() - now < SHORT {
                self.reconcile(Some(Duration::ZERO))?;
                if self.woken || self.sockets.is_ready(now) {
                    self.busy_poll.waited(Duration::ZERO);
                    return Ok(());
                }
                // The thread that sends the next datagram may be waiting for this very core.
                std::thread::yield_now();
            }
        }
        self.reconcile(timeout)?;
        self.busy_poll.waited(self.origin.elapsed() - now);
        Ok(())
    }

    /// Reads one batch from one of the ready sockets, in turn, and hands each datagram to `each`
    /// with its sender's address and the socket it came by. Never blocks.
    ///
    /// Returns how many there were; 0: nothing is left, call [`Self::wait`]. An error means that a
    /// socket can no longer be used.
    pub(crate) fn receive(
        &mut self,
        mut each: impl FnMut(SocketAddr, &[u8], CameBy),
    ) -> io::Result<usize> {
        if self.batches >= BATCHES_BETWEEN_LOOKS {
            self.reconcile(Some(Duration::ZERO))?;
        }
        let (origin, unicast) = (self.origin, self.unicast);
        let mut each = |id, from, bytes: &[u8]| {
            let came_by = if id == unicast {
                CameBy::Unicast
            } else {
                CameBy::Group
            };
            each(from, bytes, came_by);
        };
        let datagrams = self.sockets.read(|| origin.elapsed(), &mut each)?;
        self.batches += 1;
        Ok(datagrams)
    }

    /// Whether there is something to receive after all, although [`Self::receive`] found nothing
    /// more: asks the system which sockets are ready by now.
    pub(crate) fn look_again(&mut self) -> io::Result<bool> {
        self.reconcile(Some(Duration::ZERO))?;
        Ok(self.sockets.is_ready(self.origin.elapsed()))
    }

    /// How many datagrams the kernel dropped because they were not read in time; it reports the
    /// count with the next one that arrives. 0 except on Linux.
    pub(crate) fn kernel_drops(&mut self) -> u64 {
        let mut drops = self.earlier_drops;
        for (id, source) in self.sockets.sources() {
            drops += drops_of(source, self.monitor.self_filter(id));
        }
        self.kernel_drops = self.kernel_drops.max(drops);
        self.kernel_drops
    }

    /// How many errors were skipped that passed by themselves.
    pub(crate) fn passing_errors(&self) -> u64 {
        self.sockets.passing_errors()
    }

    /// Asks the system which sockets are ready.
    fn reconcile(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.batches = 0;
        self.woken = false;
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Err(_) => return Ok(()),
            Ok(()) => {}
        }
        let mut changed = false;
        for event in &self.events {
            match event.token() {
                WAKER => self.woken = true,
                WATCH => changed = true,
                // Ids begin at 0, and are given one after the other.
                Token(id) => self.sockets.set_ready(id as u32),
            }
        }
        if changed && self.watch.as_ref().is_some_and(Watch::drain) {
            let soon = self.origin.elapsed() + SETTLING;
            let planned = self.next_look_around.unwrap_or(soon);
            self.next_look_around = Some(planned.min(soon));
        }
        Ok(())
    }
}

/// Which socket a datagram came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CameBy {
    /// One of the group's.
    Group,
    /// The one for what is sent to this bus alone.
    Unicast,
}

/// What the kernel dropped of what should have been read.
fn drops_of(source: &UdpSource, self_filter: Option<&SelfFilter>) -> u64 {
    let drops = source.kernel_drops();
    self_filter.map_or(drops, |self_filter| self_filter.without(drops))
}

/// From now on the socket is read.
fn add(
    sockets: &mut RoundRobin<UdpSource>,
    registry: &Registry,
    fresh: OpenedSocket,
) -> io::Result<Arc<UdpSocket>> {
    let mut socket = into_mio(fresh.socket);
    registry.register(&mut socket, Token(fresh.id as usize), Interest::READABLE)?;
    let socket = Arc::new(socket);
    sockets.add(fresh.id, UdpSource::new(Arc::clone(&socket)));
    Ok(socket)
}

fn into_mio(socket: Socket) -> UdpSocket {
    UdpSocket::from_std(socket.into())
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
