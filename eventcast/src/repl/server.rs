//! The console's listening socket, and who is connected to it.

use std::{
    collections::HashMap,
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
    client::{Bell, Client, turn_away},
    session::Session,
    token::Token,
};
use crate::{Notice, WeakBus};

/// How many clients there are at once. Each costs a thread, and nobody looks over so many shoulders.
pub(super) const MAX_CLIENTS: usize = 32;

/// A client whose machine has vanished is given up after some minutes of silence.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// After an error that is none of the client's, such as too many open files, clients wait so long.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

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
    waker: Waker,
    /// `None` once the console is closed.
    listener: Mutex<Option<TcpListener>>,
    clients: Mutex<HashMap<u64, Arc<Bell>>>,
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
            bus,
            token: token.map(Arc::new),
            waker: Waker::new(registry, STOP).map_err(refuse)?,
            listener: Mutex::new(Some(listener)),
            clients: Mutex::default(),
        });
        let server = Self {
            address,
            shared: Arc::clone(&shared),
        };
        thread::Builder::new()
            .name("eventcast-repl".into())
            .spawn(move || shared.accept(poll))
            .map_err(refuse)?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Here and not by its thread: another bus may want the port as soon as the last handle of this one has gone.
        drop(self.shared.listener().take());
        // It fails where the thread has ended.
        let _ = self.shared.waker.wake();
        for bell in self.shared.clients().values() {
            bell.close();
        }
    }
}

impl Shared {
    fn accept(self: Arc<Self>, mut poll: Poll) {
        let mut events = Events::with_capacity(4);
        let mut patience = None;
        let mut next_id = 0;
        loop {
            // What fails here is the process's end, or a signal.
            let _ = poll.poll(&mut events, patience.take());
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
                            tracing::warn!(target: "eventcast::repl", %error, "the console takes no clients for now");
                            patience = Some(ACCEPT_PAUSE);
                            break;
                        }
                    },
                }
            }
        }
    }

    /// Gives the client a thread, unless there are too many.
    fn admit(self: &Arc<Self>, stream: TcpStream, from: SocketAddr, id: u64) {
        if self.clients().len() >= MAX_CLIENTS {
            let why = format!(
                "this console serves at most {MAX_CLIENTS} clients at once: try again later"
            );
            return turn_away(stream, from, &why);
        }
        // A client is served without any of these.
        let socket = SockRef::from(&stream);
        let _ = socket.set_tcp_nodelay(true);
        // RFC 854, "The TELNET Synch signal": its last byte is urgent, and has its place among the others.
        let _ = socket.set_out_of_band_inline(true);
        let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));

        let session = Session::new(self.bus.clone(), self.token.clone(), from);
        let client = match Client::new(stream, session) {
            Ok(client) => client,
            Err(error) => {
                tracing::warn!(target: "eventcast::repl", %error, "{from} could not be served");
                return;
            }
        };
        self.clients().insert(id, client.bell());
        let shared = Arc::clone(self);
        let spawned = thread::Builder::new()
            .name("eventcast-repl".into())
            .spawn(move || shared.serve(client, from, id));
        if let Err(error) = spawned {
            self.clients().remove(&id);
            tracing::warn!(target: "eventcast::repl", %error, "{from} could not be served");
        }
    }

    fn serve(&self, client: Client, from: SocketAddr, id: u64) {
        // The console was closed between its admission and now.
        if self.listener().is_none() {
            client.bell().close();
        }
        self.bus.tell(Notice::ConsoleConnected { from });
        client.run();
        self.clients().remove(&id);
        self.bus.tell(Notice::ConsoleDisconnected { from });
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
