//! The console's listening socket, and its connected clients.

use std::{
    cmp::Reverse,
    collections::HashMap,
    fmt,
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use mio::{
    Events, Interest, Poll, Waker,
    net::{TcpListener, TcpStream},
};
use socket2::{SockRef, TcpKeepalive};

use super::{
    ReplError,
    client::{Bell, Client, IDLE_TIME, turn_away},
    session::Session,
    token::{Guesses, Token, whose},
    warnings::Warnings,
};
use crate::{
    ConsoleRefusedCause, WeakBus,
    bus::{Failure, caught},
};

/// The most clients at once. Each costs a thread, and no console needs more readers.
pub(super) const MAX_CLIENTS: usize = 32;

/// The most threads of clients, those included that are about to end.
const MAX_THREADS: usize = 2 * MAX_CLIENTS;

/// More clients than this without the right token are no accident.
const MAX_LOCKED: usize = MAX_CLIENTS / 2;

/// A client whose machine has vanished is disconnected after some minutes of silence.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// After an error that is none of the client's, such as too many open files, clients wait so long.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What the threads of a console do, as a warning says it when one of them panics.
const ACCEPTING: &str = "accepting clients of the console";
const SERVING: &str = "serving a client of the console";

const LISTENER: mio::Token = mio::Token(0);
const STOP: mio::Token = mio::Token(1);

/// A console that listens. It ends, with all its clients, when this is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    bus: WeakBus,
    token: Option<Arc<Token>>,
    guesses: Arc<Guesses>,
    waker: Waker,
    /// `None` once the console is closed.
    listener: Mutex<Option<TcpListener>>,
    clients: Mutex<HashMap<u64, Arc<Bell>>>,
    warnings: Arc<Warnings>,
    /// What a test wants to see panic.
    #[cfg(test)]
    trip: Mutex<Option<&'static str>>,
}

impl Server {
    pub(super) fn open(
        host: IpAddr,
        port: u16,
        token: Option<Token>,
        bus: WeakBus,
    ) -> Result<Self, ReplError> {
        let asked = SocketAddr::new(host, port);
        let refuse = |error| ReplError::new(asked, error);
        let mut listener = TcpListener::bind(asked).map_err(refuse)?;
        let address = listener.local_addr().map_err(refuse)?;
        let poll = Poll::new().map_err(refuse)?;
        let registry = poll.registry();
        registry
            .register(&mut listener, LISTENER, Interest::READABLE)
            .map_err(refuse)?;
        let shared = Arc::new(Shared {
            warnings: Arc::new(Warnings::new(bus.clone())),
            bus,
            token: token.map(Arc::new),
            guesses: Arc::default(),
            waker: Waker::new(registry, STOP).map_err(refuse)?,
            listener: Mutex::new(Some(listener)),
            clients: Mutex::default(),
            #[cfg(test)]
            trip: Mutex::default(),
        });
        let server = Self {
            address,
            shared: Arc::clone(&shared),
        };
        thread::Builder::new()
            .name("eventcast-repl".into())
            .spawn(move || shared.run(poll))
            .map_err(refuse)?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Here and not by its thread: another bus may want the port as soon as the last handle of
        // this one was dropped.
        drop(self.shared.listener().take());
        // It fails where the thread has ended.
        let _ = self.shared.waker.wake();
        for bell in self.shared.clients().values() {
            bell.close();
        }
    }
}

impl Shared {
    /// The thread that accepts clients, until the console is closed. A panic in it is a fault of this
    /// crate: it is reported, and the next client is accepted all the same.
    fn run(self: Arc<Self>, mut poll: Poll) {
        while let Err(failure) = caught(ACCEPTING, || self.accept(&mut poll)) {
            self.warn_of_failure(None, failure);
            thread::sleep(ACCEPT_PAUSE);
            // It may have been notified of the end before the panic.
            if self.listener().is_none() {
                return;
            }
            let _ = self.waker.wake();
        }
    }

    fn accept(self: &Arc<Self>, poll: &mut Poll) {
        let mut events = Events::with_capacity(4);
        let mut patience = None;
        let mut next_id = 0;
        loop {
            // What fails here is the process's end, or a signal.
            let _ = poll.poll(&mut events, patience.take());
            #[cfg(test)]
            self.trip(ACCEPTING);
            loop {
                let accepted = match &*self.listener() {
                    Some(listener) => listener.accept(),
                    None => return,
                };
                match accepted {
                    Ok((stream, from)) => {
                        next_id += 1;
                        self.admit(stream, from, next_id);
                    }
                    Err(error) => match error.kind() {
                        ErrorKind::WouldBlock => break,
                        ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                        _ => {
                            self.warn(
                                None,
                                format_args!("the console takes no clients for now: {error}"),
                            );
                            patience = Some(ACCEPT_PAUSE);
                            break;
                        }
                    },
                }
            }
        }
    }

    /// Whether there is a place for one more client from this address. Where there is none, another
    /// client is disconnected: of those without the right token the oldest of the address that has
    /// most of them, so that no address can shut out the others; where these are few, or from the
    /// same address, the client that was idle longest, preferably one that is not shown anything.
    /// So an address that has most of the clients costs no more threads by connecting again and
    /// again.
    fn has_room(&self, from: IpAddr) -> bool {
        let clients = self.clients();
        let staying = || clients.iter().filter(|(_, bell)| !bell.is_displaced());
        if staying().count() < MAX_CLIENTS {
            return true;
        }
        if clients.len() >= MAX_THREADS {
            return false;
        }
        let from = whose(from);
        let locked = || staying().filter_map(|(&id, bell)| Some((id, bell, bell.locked()?)));
        let count = |of: IpAddr| {
            let itself = usize::from(of == from);
            locked().filter(|&(_, _, whose)| whose == of).count() + itself
        };
        let crowding =
            locked().max_by_key(|&(id, _, whose)| (count(whose), whose != from, Reverse(id)));
        let is_crowded = locked().count() > MAX_LOCKED;
        let displaced = match crowding {
            Some((_, bell, whose))
                if whose != from && (is_crowded || count(whose) > count(from)) =>
            {
                Some(bell)
            }
            Some((_, _, whose)) if whose == from && is_crowded => longest_idle(
                locked()
                    .filter(|&(_, _, whose)| whose == from)
                    .map(|(id, bell, _)| (id, bell)),
            ),
            _ => longest_idle(staying().map(|(&id, bell)| (id, bell))),
        };
        displaced.inspect(|bell| bell.displace()).is_some()
    }

    /// Gives the client a thread, unless there are too many.
    fn admit(self: &Arc<Self>, stream: TcpStream, from: SocketAddr, id: u64) {
        if !self.has_room(from.ip()) {
            let why = format!(
                "this console serves at most {MAX_CLIENTS} clients at once: try again later"
            );
            let text = format_args!("{from} was turned away: {why}");
            self.warnings
                .warn(ConsoleRefusedCause::Crowd, Some(from), text);
            return turn_away(stream, &why);
        }
        // A client is served without any of these.
        let socket = SockRef::from(&stream);
        let _ = socket.set_tcp_nodelay(true);
        // RFC 854, "The TELNET Synch signal": its last byte is urgent, and has its place among the
        // others.
        let _ = socket.set_out_of_band_inline(true);
        let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));

        let warnings = Arc::clone(&self.warnings);
        let session = Session::new(
            self.bus.clone(),
            self.token.clone(),
            Arc::clone(&self.guesses),
            from,
            warnings,
        );
        let client = match Client::new(stream, session) {
            Ok(client) => client,
            Err(error) => {
                return self.warn(
                    Some(from),
                    format_args!("{from} could not be served: {error}"),
                );
            }
        };
        self.clients().insert(id, client.bell());
        let place = Place {
            shared: Arc::clone(self),
            id,
        };
        let shared = Arc::clone(self);
        let spawned = thread::Builder::new()
            .name("eventcast-repl".into())
            // What a client emits is handed to the listeners of this bus, on this thread.
            .stack_size(crate::codec::STACK_SIZE)
            .spawn(move || {
                if let Err(failure) = caught(SERVING, || place.serve(client)) {
                    shared.warn_of_failure(Some(from), failure);
                }
            });
        if let Err(error) = spawned {
            self.warn(
                Some(from),
                format_args!("{from} could not be served: {error}"),
            );
        }
    }

    #[cfg(test)]
    fn trip(&self, here: &'static str) {
        let mut trip = self.trip.lock().unwrap();
        if trip.take_if(|trip| *trip == here).is_some() {
            drop(trip);
            panic!("on purpose");
        }
    }

    fn warn_of_failure(&self, from: Option<SocketAddr>, failure: Failure) {
        let Failure { during, message } = failure;
        self.warn(
            from,
            format_args!(
                "a panic while {during} ({message}): please report this fault of eventcast; the \
                 console goes on"
            ),
        );
    }

    fn warn(&self, from: Option<SocketAddr>, text: fmt::Arguments<'_>) {
        self.warnings.warn(ConsoleRefusedCause::System, from, text);
    }

    fn listener(&self) -> MutexGuard<'_, Option<TcpListener>> {
        // Nothing that can panic runs under this lock.
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<u64, Arc<Bell>>> {
        // Nothing that can panic runs under this lock.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client that was idle longest, and for long enough, preferably one that is not shown
/// anything.
fn longest_idle<'a>(clients: impl Iterator<Item = (u64, &'a Arc<Bell>)>) -> Option<&'a Arc<Bell>> {
    let idle = clients.filter_map(|(id, bell)| {
        let (watching, idle) = bell.idle()?;
        (idle >= IDLE_TIME).then_some(((!watching, idle, id), bell))
    });
    idle.max_by_key(|&(order, _)| order).map(|(_, bell)| bell)
}

/// The place of one client among all; dropping it frees the place.
struct Place {
    shared: Arc<Shared>,
    id: u64,
}

impl Place {
    fn serve(self, client: Client) {
        // The console was closed between its admission and now.
        if self.shared.listener().is_none() {
            client.bell().close();
        }
        #[cfg(test)]
        self.shared.trip(SERVING);
        client.run();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.clients().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        net::{Ipv4Addr, TcpStream},
        sync::mpsc,
    };

    use super::*;
    use crate::{Bus, Notice};

    const PATIENCE: Duration = Duration::from_secs(60);

    /// What the console says first.
    fn greeting(server: &Server) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(server.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut greeting = vec![0; 1_024];
        let len = stream.read(&mut greeting)?;
        greeting.truncate(len);
        Ok(greeting)
    }

    #[test]
    fn a_panic_in_the_console_is_reported_and_the_next_client_is_served() {
        let bus = Bus::builder().environment(false).build().unwrap();
        let (sender, warnings) = mpsc::channel();
        bus.on_notice(move |notice| {
            if let Notice::ConsoleRefused { .. } = notice {
                let _ = sender.send(notice.to_string());
            }
        });
        let server = Server::open(Ipv4Addr::LOCALHOST.into(), 0, None, bus.downgrade()).unwrap();
        assert!(!greeting(&server).unwrap().is_empty());
        for during in [ACCEPTING, SERVING] {
            *server.shared.trip.lock().unwrap() = Some(during);
            // The client that is there at the panic of its own thread is disconnected.
            let _ = greeting(&server);
            let warning = warnings.recv_timeout(PATIENCE).unwrap();
            assert!(warning.contains(during), "{warning}");
            assert!(!greeting(&server).unwrap().is_empty(), "{during}");
        }
    }
}
