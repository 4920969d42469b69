//! One start of a bus, up to its stop: the sockets, the engine, and the threads that drive them.
//!
//! Three threads, all asleep while nothing happens: one reads and calls listeners, one watches over its calls
//! (both in [`reading`](super::reading)), one sends what the emitting threads could not ([`Outbox`]).

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

#[cfg(feature = "classic")]
use super::secret::Secret;
use super::{
    core::Core,
    failure::{Failure, caught, guarded},
    life::Life,
    notice::Notice,
    options::Options,
    outbox::{Outbox, SendState},
    random::{random, random_u64},
    reading::{self, Reading},
    stats::SessionFigures,
    user_code::Driving,
};
use crate::{
    error::Error,
    net::{self, InterfaceChoice, OpenError, SocketOptions},
    proto::{self, Accepted, Engine, Host, Now, Outgoing, Peer, Refusal},
};

pub(crate) struct Session {
    engine: Mutex<Engine>,
    /// Set under the lock of the engine: nothing is to be put into it any more.
    closed: AtomicBool,
    /// A panic ends it.
    failing: AtomicBool,
    /// A panic has ended it, and that has been told.
    failed: AtomicBool,
    pub(crate) outbox: Outbox,
    pub(crate) reading: Reading,
    /// The bus itself, as the origin of what it emits.
    me: Mutex<Arc<Peer>>,
}

impl Session {
    /// Opens the sockets and starts the threads. The notices are for the caller to tell.
    pub(crate) fn open(core: &Arc<Core>) -> Result<(Arc<Self>, Vec<Notice>), Error> {
        let options = &core.options;
        let sockets = net::open(&socket_options(options)?)?;
        let (group, unicast) = (sockets.group, sockets.unicast);
        let host = unicast.ip();
        let now = core.now();
        let incarnation = next_incarnation(now.unix_ms);

        let drawn = random_u64()?;
        let id = options.id_for_start(|| drawn);
        let mut config = proto::Config::new(id.clone(), incarnation, host, unicast.port());
        config.hostname.clone_from(&core.hostname);
        config.max_payload_size = options.max_payload_size;
        config.max_message_size = options.max_message_size;
        config.max_held_bytes = options.max_held_bytes;
        config.send_queue = options.send_queue;
        config.history_bytes = options.history_bytes;
        config.message_ttl = options.message_ttl;
        config.message_retransmit_attempts = options.message_retransmit_attempts;
        config.heartbeat = options.heartbeat;
        config.peer_timeout = options.peer_timeout;
        config.seal = core.keys.config(options);
        #[cfg(feature = "classic")]
        if options.classic_cipher {
            let passphrase = options.passphrase.as_ref().and_then(Secret::as_passphrase);
            let key = passphrase.map(proto::ClassicKey::from_passphrase);
            config.classic = key.transpose()?;
        }
        let me = Arc::new(Peer {
            id,
            incarnation: Some(incarnation),
            hostname: core.hostname.clone(),
            host: host.to_string(),
            port: unicast.port(),
            address: unicast,
        });

        core.set_identity(Arc::clone(&me));
        let (reading, lane) = Reading::new(sockets.receiver, now.elapsed);
        let mut engine = Engine::new(config, random()?, now);
        let hosts = sockets.hosts.iter().map(|&(id, host)| Host::new(id, host));
        engine.set_hosts(&hosts.collect::<Vec<_>>());
        let session = Arc::new(Self {
            engine: Mutex::new(engine),
            closed: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            outbox: Outbox::new(sockets.transmitter, group),
            reading,
            me: Mutex::new(me),
        });
        session.spawn("eventcast-read", READING, core, |core, session| {
            session.reading.wait_to_begin();
            reading::lead(core, session, lane);
        })?;
        // From here on what was started has to be closed again when something fails.
        let unwatched = reading::start_watching(core, &session);
        if let Err(error) = session.spawn("eventcast-send", "closing", core, send) {
            session.reading.close();
            return Err(error);
        }
        let warnings = sockets.warnings.iter().map(|warning| Notice::Warning {
            text: warning.to_string(),
        });
        let notices = warnings
            .chain(unwatched)
            .chain(core.keys.warnings(options))
            .chain(options.classic_cipher.then(classic))
            .chain([Notice::Started { group, unicast }])
            .collect();
        Ok((session, notices))
    }

    /// Tells the threads to send what is left, and then to close. The last of them says when that is done.
    pub(crate) fn begin_to_close(&self) {
        self.outbox.close();
    }

    /// Gives an event to the engine; [`Self::flush`] has to be called afterwards. `None`: the session has closed. A failure
    /// ends the session, which is the caller's to say ([`Life::fail`]).
    pub(crate) fn accept(
        &self,
        now: Now,
        event: Outgoing<'_>,
    ) -> Result<Option<Result<Accepted, Refusal>>, Failure> {
        caught(EMITTING, || self.try_accept(now, event))
    }

    /// Sends what stands in the engine. `None`: the session has failed over that.
    pub(crate) fn flush(self: &Arc<Self>, core: &Arc<Core>) -> Option<SendState> {
        guarded(core, self, EMITTING, || self.outbox.flush(core, self))
    }

    #[inline]
    fn try_accept(&self, now: Now, event: Outgoing<'_>) -> Option<Result<Accepted, Refusal>> {
        let mut engine = self.lock_engine()?;
        if self.closed.load(Ordering::Relaxed) {
            return None;
        }
        let accepted = engine.emit(now, event);
        self.reading.wake_for(engine.poll_timeout());
        Some(accepted)
    }

    /// Says goodbye, once nothing more can be emitted. Gives whether others have been served, so that the sockets can
    /// be closed; to be asked again until then.
    pub(crate) fn leave(&self, now: Now) -> bool {
        let Some(mut engine) = self.lock_engine() else {
            return true;
        };
        engine.leave(now);
        // The reading thread does this as well, unless a listener holds it up.
        engine.handle_timeout(now);
        engine.has_left()
    }

    /// Lets nothing more into the engine, if `now` says so of the bytes that are left in it.
    pub(crate) fn close_engine(&self, now: impl FnOnce(usize) -> bool) -> Option<usize> {
        let left = self.lock_engine()?.queued_bytes();
        now(left).then(|| {
            self.closed.store(true, Ordering::Relaxed);
            left
        })
    }

    /// Whether nothing more can be emitted.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// A panic has ended it, and that has been told: the rest is to be closed now.
    #[cold]
    pub(crate) fn fail(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.failed.store(true, Ordering::SeqCst);
        self.outbox.close();
    }

    /// Whether a panic has ended it, and that has been told.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Whether a panic has ended it, or is just about to.
    pub(crate) fn is_broken(&self) -> bool {
        self.has_failed() || self.engine.is_poisoned()
    }

    /// True for the first panic.
    #[cold]
    pub(crate) fn is_first_failure(&self) -> bool {
        !self.failing.swap(true, Ordering::SeqCst)
    }

    /// What it has counted so far.
    pub(crate) fn figures(&self) -> SessionFigures {
        // What was counted until a panic came is worth having, and reading it changes nothing.
        let engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        let engine = caught("counting", || engine.stats()).unwrap_or_default();
        SessionFigures {
            engine,
            kernel_drops: self.reading.kernel_drops(),
            socket_errors: self.reading.socket_errors(),
        }
    }

    /// The engine. `None`: a panic inside it has poisoned the lock, nobody knows what state it is in, and the session is
    /// over.
    #[inline]
    pub(crate) fn lock_engine(&self) -> Option<MutexGuard<'_, Engine>> {
        self.engine.lock().ok()
    }

    /// The bus itself, as the origin of what it emits now.
    #[inline]
    pub(crate) fn me(&self) -> Arc<Peer> {
        Arc::clone(&self.lock_me())
    }

    /// The bus is reached at another address from now on. Gives who it is then, if that is new.
    pub(crate) fn rename(&self, unicast: SocketAddr) -> Option<Arc<Peer>> {
        let mut me = self.lock_me();
        if me.address == unicast {
            return None;
        }
        *me = Arc::new(Peer {
            host: unicast.ip().to_string(),
            port: unicast.port(),
            address: unicast,
            ..(**me).clone()
        });
        Some(Arc::clone(&me))
    }

    fn lock_me(&self) -> MutexGuard<'_, Arc<Peer>> {
        // It is replaced by one assignment.
        self.me.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a thread that takes part in this session. A panic on it ends the session.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        name: &str,
        during: &'static str,
        core: &Arc<Core>,
        run: impl FnOnce(&Arc<Core>, &Arc<Self>) + Send + 'static,
    ) -> Result<(), Error> {
        let (core, session) = (Arc::clone(core), Arc::clone(self));
        thread::Builder::new()
            .name(name.into())
            .stack_size(crate::codec::STACK_SIZE)
            .spawn(move || {
                guarded(&core, &session, during, || run(&core, &session));
            })
            .map(drop)
            .map_err(|error| Error::Thread(Arc::new(error)))
    }
}

/// What the threads do, as it is told when one of them panics.
pub(crate) const READING: &str = "reading the network and calling listeners";
pub(crate) const WATCHING: &str = "watching over listeners";

/// What a thread of the program does, likewise.
const EMITTING: &str = "emitting";

/// The sender thread. It closes the session too, whatever has come in between.
fn send(core: &Arc<Core>, session: &Arc<Session>) {
    let _driving = Driving::begin();
    let step = |during, step: &dyn Fn()| guarded(core, session, during, step);
    step("sending", &|| session.outbox.run(core, session));
    step("closing", &|| session.outbox.finish(core));
    step("closing", &|| session.reading.close());
    Life::stopped(core, session);
}

fn classic() -> Notice {
    Notice::Warning {
        text: "`classic_cipher` is on: anybody can forge and replay what this bus hears, and an old peer with another \
               passphrase or none ends when it gets such a datagram"
            .to_owned(),
    }
}

fn socket_options(options: &Options) -> Result<SocketOptions, OpenError> {
    let group = &options.multicast_membership;
    let interface = match &group.zone {
        Some(zone) => InterfaceChoice::Name(zone.clone()),
        None => options.multicast_interface.parse()?,
    };
    Ok(SocketOptions {
        address: options.address,
        port: options.port,
        group: group.address,
        interface,
        loopback: options.multicast_loopback,
        ttl: options.multicast_ttl.into(),
        unicast_port: options.unicast_port,
        receive_buffer: options.receive_buffer,
        send_buffer: options.send_buffer,
    })
}

/// The clock, but always more than the last that this process used: every start is an incarnation of its own, also
/// within one millisecond and when the clock goes back.
fn next_incarnation(unix_ms: u64) -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let next = |last: u64| unix_ms.max(last + 1);
    match LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
        Some(next(last))
    }) {
        Ok(last) | Err(last) => next(last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incarnations_never_repeat() {
        let first = next_incarnation(1_000);
        let second = next_incarnation(1_000);
        let third = next_incarnation(10);
        assert!(first >= 1_000 && first < second && second < third);
    }
}
