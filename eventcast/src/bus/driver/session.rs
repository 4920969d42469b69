//! One start of a bus, up to its stop: the sockets, the engine, and the threads that drive them.
//!
//! Three threads, all asleep while nothing happens: one reads and calls listeners, one watches over
//! its calls (both in [`receive_loop`](mod@super::receive_loop)), one sends what the emitting
//! threads could not ([`SendLoop`]).

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    context::{Context, Supervisor},
    engine_cell::EngineCell,
    receive_loop::{self, LeaderState, READING, ReceiveLoop},
    send_loop::{SendLoop, SendState},
};
#[cfg(feature = "classic")]
use crate::bus::config::secret::Secret;
use crate::{
    bus::{
        config::options::Options,
        listeners::owner::Owner,
        process::{
            failure::{Failure, caught},
            random::{random, random_u64},
            user_code::Driving,
        },
        shared::Shared,
        telemetry::{notice::Notice, stats::SessionStats},
    },
    error::Error,
    net::{self, InterfaceChoice, OpenError, SocketOptions},
    proto::{self, Accepted, Engine, Host, Now, Outgoing, Peer, Refusal, SealConfig},
};

#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) context: Arc<Context>,
    pub(crate) send_loop: Arc<SendLoop>,
    pub(crate) receive_loop: Arc<ReceiveLoop>,
    group: SocketAddr,
}

impl Session {
    /// Opens the sockets and starts the threads, and returns what is to be reported. `seal` has the
    /// keys of a sealed bus.
    pub(crate) fn open(
        shared: &Arc<Shared>,
        owner: Arc<dyn Owner>,
        supervisor: Arc<dyn Supervisor>,
        seal: Option<SealConfig>,
    ) -> Result<(Self, Vec<Notice>), Error> {
        let options = &shared.options;
        let sockets = net::open(&socket_options(options)?)?;
        let (group, unicast) = (sockets.group, sockets.unicast);
        let now = shared.process.now();
        let incarnation = next_incarnation(now.unix_ms);
        let drawn = random_u64()?;
        let id = options.id_for_start(|| drawn);

        let me = Arc::new(Peer {
            id,
            incarnation: Some(incarnation),
            hostname: shared.hostname.clone(),
            host: unicast.ip().to_string(),
            port: unicast.port(),
            address: unicast,
        });
        shared.set_identity(Arc::clone(&me));
        let config = engine_config(options, &me, incarnation, seal)?;
        let mut engine = Engine::new(config, random()?, now);
        let hosts = sockets.hosts.iter().map(|&(id, host)| Host::new(id, host));
        engine.set_hosts(&hosts.collect::<Vec<_>>());
        let engine = EngineCell::new(engine, sockets.receiver.waker());
        let context = Context::new(Arc::clone(shared), owner, supervisor, engine, me);
        let context = Arc::new(context);

        let send_loop = Arc::new(SendLoop::new(
            Arc::clone(&context),
            sockets.transmitter,
            group,
        ));
        let (receive_loop, state) = ReceiveLoop::new(
            Arc::clone(&context),
            Arc::clone(&send_loop),
            sockets.receiver,
            now.elapsed,
        );
        let session = Self {
            context,
            send_loop,
            receive_loop,
            group,
        };
        let unwatched = session.spawn_threads(state)?;
        let warnings = sockets.warnings.iter().map(|warning| Notice::Warning {
            text: warning.to_string(),
        });
        let notices = warnings
            .chain(unwatched)
            .chain(options.classic_cipher.then(classic))
            .collect();
        Ok((session, notices))
    }

    fn spawn_threads(&self, state: Box<LeaderState>) -> Result<Option<Notice>, Error> {
        let (context, receive_loop) = (Arc::clone(&self.context), Arc::clone(&self.receive_loop));
        self.context.spawn("eventcast-read", READING, move || {
            context.gate.wait();
            receive_loop::lead(&receive_loop, state);
        })?;
        // From here on what was started has to be closed again when something fails.
        let unwatched = self.receive_loop.start_watching();
        let session = self.clone();
        let sent = self
            .context
            .spawn("eventcast-send", "closing", move || session.run_sender());
        if let Err(error) = sent {
            self.receive_loop.close();
            return Err(error);
        }
        Ok(unwatched)
    }

    /// The sender thread. It closes the session too, whatever has come in between.
    fn run_sender(&self) {
        let _driving = Driving::begin();
        let step = |during, step: &dyn Fn()| self.context.guard(during, step);
        step("sending", &|| self.send_loop.run());
        step("closing", &|| self.send_loop.finish());
        step("closing", &|| self.receive_loop.close());
        step("closing", &|| self.receive_loop.report_rest());
        self.context.report_closed();
    }

    /// The group, and the address to which others send what is meant for this bus alone.
    pub(crate) fn started(&self) -> Notice {
        Notice::Started {
            group: self.group,
            unicast: self.context.me().address,
        }
    }

    /// Lets the session hear others, once its start has been reported.
    pub(crate) fn begin(&self) {
        self.context.gate.open();
        self.send_loop.begin();
    }

    /// Tells the threads to send what is left, and then to close. The last of them reports when
    /// that is done.
    pub(crate) fn begin_to_close(&self) {
        self.send_loop.close();
    }

    /// Gives an event to the engine; [`Self::flush`] has to be called afterwards. `None`: the
    /// session has closed. A failure ends the session, once the caller gives it to [`Self::fail`].
    pub(crate) fn accept(
        &self,
        now: Now,
        event: Outgoing<'_>,
    ) -> Result<Option<Result<Accepted, Refusal>>, Failure> {
        caught(EMITTING, || self.context.engine.emit(now, event))
    }

    /// Sends what stands in the engine. `None`: the session has failed over that.
    pub(crate) fn flush(&self) -> Option<SendState> {
        self.context.guard(EMITTING, || self.send_loop.flush())
    }

    /// A panic ends the session.
    #[cold]
    pub(crate) fn fail(&self, failure: Failure) {
        self.context.fail(failure);
    }

    /// What it has counted so far.
    pub(crate) fn stats(&self) -> SessionStats {
        SessionStats {
            engine: self.context.engine.stats(),
            kernel_drops: self.receive_loop.kernel_drops(),
            socket_errors: self.receive_loop.socket_errors(),
        }
    }

    /// The bus itself, as the origin of what it emits now.
    #[inline]
    pub(crate) fn me(&self) -> Arc<Peer> {
        self.context.me()
    }
}

/// What a thread of the program does, as a notice says it when that panics.
const EMITTING: &str = "emitting";

fn engine_config(
    options: &Options,
    me: &Peer,
    incarnation: u64,
    seal: Option<SealConfig>,
) -> Result<proto::Config, Error> {
    let mut config = proto::Config::new(me.id.clone(), incarnation, me.address.ip(), me.port);
    config.hostname.clone_from(&me.hostname);
    config.max_payload_size = options.max_payload_size;
    config.max_message_size = options.max_message_size;
    config.max_held_bytes = options.max_held_bytes;
    config.send_queue = options.send_queue;
    config.history_bytes = options.history_bytes;
    config.message_ttl = options.message_ttl;
    config.message_retransmit_attempts = options.message_retransmit_attempts;
    config.heartbeat = options.heartbeat;
    config.peer_timeout = options.peer_timeout;
    config.seal = seal;
    #[cfg(feature = "classic")]
    if options.classic_cipher {
        let passphrase = options.passphrase.as_ref().and_then(Secret::as_passphrase);
        let key = passphrase.map(proto::ClassicKey::from_passphrase);
        config.classic = key.transpose()?;
    }
    Ok(config)
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

/// The clock, but always more than the last that this process used: every start is an incarnation
/// of its own, also within one millisecond and when the clock goes back.
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
