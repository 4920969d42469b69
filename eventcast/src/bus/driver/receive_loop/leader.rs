//! The leading thread: reads, and calls listeners.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::runtime::Handle;

use super::{
    super::{context::Context, interfaces, unicast::HeardUnicast},
    ReceiveLoop,
};
use crate::{
    bus::{
        listeners::{
            delivery::{Delivery, QueuedEvent},
            listener::{Listener, Offered},
            registry::Snapshot,
        },
        process::{runtime::CachedRuntime, user_code::Driving},
        queue::work_queue::Server,
        telemetry::{notice::Notice, origin::Origin},
    },
    net::{CameBy, Receiver},
    proto::{Engine, Event, Events},
};

/// A thread that reads so much later than it planned was not late but away: the process was
/// stopped, or had no processor.
const AWAY: Duration = Duration::from_millis(100);

/// After so many batches in a row the engine gives up what is overdue, although more input waits:
/// as many as the sockets can hold when they have not been read for a while. And after so long,
/// where listeners take their time.
const MOST_BATCHES: u32 = 1_024;

const MOST_PATIENCE: Duration = Duration::from_secs(1);

/// How long after the start a bus reports that it has heard no other.
const ALONE: Duration = Duration::from_secs(10);

/// Pause after the sockets failed in a way that they should not, so that the reading thread does
/// not spin.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// What it takes to lead.
pub(crate) struct LeaderState {
    receiver: Receiver,
    /// What was read and is being delivered. Shared with the calls that look into it, so that it
    /// outlives the turn of a leader that is deposed in the middle of one.
    pub(super) batch: Arc<Events>,
    spare: Events,
    /// The event of the batch whose turn it is, its listeners, and the next of these.
    pub(super) event: usize,
    list: Option<Snapshot>,
    listener: usize,
    /// While a call is made: its number, by which the thread that comes back from it knows whether
    /// the state is still its own, and the listener.
    pub(super) call: u64,
    pub(super) called: Option<Arc<Listener>>,
    /// More may be waiting in the sockets.
    more: bool,
    /// When this thread was to read at the latest.
    expected: Duration,
    patience: Patience,
    /// The kernel's count of drops when it was last reported.
    reported_drops: u64,
    /// Which peers have been heard by unicast.
    unicast: HeardUnicast,
    /// `Some` until a peer is heard, or the silence is reported.
    alone: Option<Alone>,
    _closed: TellClosed,
}

/// A bus that has heard no other yet.
struct Alone {
    /// When that is reported.
    due: Duration,
    /// How many datagrams have been refused.
    refused: u64,
}

/// Notified when the state is dropped, and the receiving sockets with it.
#[derive(Default)]
pub(super) struct Closed {
    closed: Mutex<bool>,
    changed: Condvar,
}

struct TellClosed(Arc<Closed>);

impl Drop for TellClosed {
    fn drop(&mut self) {
        *self.0.lock() = true;
        self.0.changed.notify_all();
    }
}

impl Closed {
    /// Waits until the sockets are closed.
    pub(super) fn wait(&self) {
        let mut closed = self.lock();
        while !*closed {
            closed = self
                .changed
                .wait(closed)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        // Nothing that can panic runs under this lock.
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a deposed leader finds in the slot: the listener that held it up, and the right to serve
/// the listener's queue. `None` where that listener was moved before, the session has closed, or
/// this is a forked child.
pub(super) type Deposed = Option<(Arc<Listener>, Server<QueuedEvent>)>;

/// The leading thread: delivers, reads, and so on, until the session closes or a call takes too
/// long.
pub(crate) fn lead(receive_loop: &Arc<ReceiveLoop>, mut state: Box<LeaderState>) {
    let _driving = Driving::begin();
    let context = &receive_loop.context;
    let slot = &context.shared.process.runtime;
    let mut runtime = CachedRuntime::of(slot);
    loop {
        state = match deliver(receive_loop, state, runtime.get(slot)) {
            Ok(still_mine) => still_mine,
            // Nothing of the batch is held any more, nor any other listener.
            Err(Some((listener, server))) => return listener.serve(&context.owner, server),
            Err(None) => return,
        };
        if receive_loop.closing() || context.engine.is_broken() {
            return;
        }
        if let Err(error) = state.read(receive_loop) {
            let text = format!("reading from the sockets failed ({error}); the bus tries again");
            context.shared.telemetry.report(Notice::Warning { text });
            receive_loop.failures.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(AFTER_FAILURE);
        }
    }
}

/// Calls the listeners of what has been read. An error: this thread leads no more.
fn deliver(
    receive_loop: &Arc<ReceiveLoop>,
    mut state: Box<LeaderState>,
    runtime: Option<&Handle>,
) -> Result<Box<LeaderState>, Deposed> {
    let Context { shared, owner, .. } = &*receive_loop.context;
    let registry = &shared.listeners.registry;
    let batch = Arc::clone(&state.batch);
    while let Some(event) = batch.get(state.event) {
        let message = match event {
            // A program that has stopped the bus receives no more events.
            Event::Message(_) if receive_loop.context.engine.is_closed() => {
                state.event += 1;
                continue;
            }
            Event::Message(message) => {
                state.alone = None;
                message
            }
            other => {
                state.note(&other);
                if let Some(notice) =
                    Notice::of_protocol(&other, |from| state.unicast.has_heard(from))
                {
                    shared.telemetry.report(notice);
                }
                state.event += 1;
                continue;
            }
        };
        // A snapshot that another leader took may be older than the registry by now, so `None`: it
        // is dropped in a watched call below.
        let version = state.list.is_none().then(|| registry.version());
        let Some(list) = state.list.take().or_else(|| registry.list(message.key)) else {
            state.event += 1;
            continue;
        };
        let origin = Origin::remote(&message);
        let delivery = Delivery {
            key: message.key,
            args: message.args,
            origin: &origin,
        };
        let mut kept = None;
        while let Some(listener) = list.get(state.listener) {
            state.listener += 1;
            if listener.offer(owner, &delivery, &mut kept) == Offered::Queued {
                continue;
            }
            if receive_loop.closing() {
                break;
            }
            receive_loop.keep_watched();
            state.list = Some(Arc::clone(&list));
            state = receive_loop.call(state, Some(listener), || {
                listener.run(owner, runtime, &delivery);
            })?;
        }
        state.event += 1;
        state.list = None;
        state.listener = 0;
        if version != Some(registry.version()) {
            // A listener that was taken off meanwhile may be in this snapshot alone.
            state = receive_loop.call(state, None, || drop(list))?;
        }
    }
    drop(batch);
    state.recycle();
    Ok(state)
}

impl LeaderState {
    /// `now` is when the session began; `closed` is notified when this is dropped.
    pub(super) fn new(receiver: Receiver, closed: Arc<Closed>, now: Duration) -> Self {
        Self {
            receiver,
            batch: Arc::default(),
            spare: Events::default(),
            event: 0,
            list: None,
            listener: 0,
            call: 0,
            called: None,
            more: false,
            expected: Duration::ZERO,
            patience: Patience::default(),
            reported_drops: 0,
            unicast: HeardUnicast::default(),
            alone: Some(Alone {
                due: now + ALONE,
                refused: 0,
            }),
            _closed: TellClosed(closed),
        }
    }

    /// Notes whether a peer was heard, and what was refused.
    fn note(&mut self, event: &Event<'_>) {
        let Some(alone) = &mut self.alone else {
            return;
        };
        match event {
            Event::Refused(refused) => alone.refused = alone.refused.saturating_add(refused.count),
            Event::VersionMismatch { count, .. } => {
                alone.refused = alone.refused.saturating_add(*count);
            }
            Event::PeerJoined { .. } => self.alone = None,
            _ => {}
        }
    }

    /// Reports that no other bus has been heard, when that is due. Returns when it will be due.
    fn report_alone(&mut self, context: &Context) -> Option<Duration> {
        let alone = self
            .alone
            .take_if(|alone| alone.due <= context.now().elapsed);
        if let Some(alone) = alone {
            let notice = Notice::NobodyHeard {
                group: context.shared.options.group(),
                interfaces: self.receiver.interfaces(),
                refused: alone.refused,
            };
            context.shared.telemetry.report(notice);
        }
        self.alone.as_ref().map(|alone| alone.due)
    }

    /// Makes the batch ready to be filled again; one that a call still looks into is left to that
    /// call.
    fn recycle(&mut self) {
        self.event = 0;
        match Arc::get_mut(&mut self.batch) {
            Some(batch) => batch.clear(),
            None => self.batch = Arc::default(),
        }
    }

    /// Waits for datagrams, and gives one batch of them to the engine.
    fn read(&mut self, receive_loop: &ReceiveLoop) -> std::io::Result<()> {
        let context = &*receive_loop.context;
        if !self.more {
            // Whatever waited has been read.
            let alone = self.report_alone(context);
            let Some(due) = context.engine.begin_sleep(alone) else {
                return Ok(());
            };
            self.expected = self.expected.max(due.unwrap_or(Duration::MAX));
            let timeout = due.map(|due| due.saturating_sub(context.now().elapsed));
            self.receiver.wait(timeout)?;
            context.engine.end_sleep();
        }
        if let Some(change) = self.receiver.look_around() {
            interfaces::follow(context, &receive_loop.send_loop, change);
        }
        let now = context.now();
        let away = now.elapsed.saturating_sub(self.expected);
        self.expected = now.elapsed;
        if away >= AWAY
            && let Some(mut engine) = context.engine.lock()
        {
            engine.handle_pause(now, away);
            self.patience = Patience::default();
        }
        // Locked only once a datagram is there: threads that emit do not wait for the system call.
        let mut locked = None;
        let unicast = &mut self.unicast;
        let received = self.receiver.receive(|from, bytes, came_by| {
            if came_by == CameBy::Unicast {
                unicast.note(from);
            }
            // After a panic in the engine there is none to take the datagram.
            if let Some(engine) = locked.get_or_insert_with(|| context.engine.lock()) {
                match came_by {
                    CameBy::Group => engine.handle_datagram(now, from, bytes),
                    CameBy::Unicast => engine.handle_unicast(now, from, bytes),
                }
            }
        });
        let is_due = |engine: &Engine| engine.poll_timeout().is_some_and(|due| due <= now.elapsed);
        let input_waits = match received {
            // The sockets that the system reported are empty. Others may have become ready since.
            Ok(0) if context.engine.lock().is_some_and(|engine| is_due(&engine)) => {
                self.receiver.look_again()?
            }
            Ok(datagrams) => datagrams > 0,
            Err(_) => false,
        };
        let Some(mut engine) = locked.unwrap_or_else(|| context.engine.lock()) else {
            return Ok(());
        };
        if input_waits && self.patience.lasts(now.elapsed) {
            if is_due(&engine) {
                engine.handle_timeout_amid_input(now);
            }
        } else {
            self.patience = Patience::default();
            if is_due(&engine) {
                engine.handle_timeout(now);
            }
        }
        // The batch has just been recycled, so no call holds it.
        if engine.take_events(&mut self.spare) {
            std::mem::swap(
                Arc::get_mut(&mut self.batch).expect("recycled after each delivery"),
                &mut self.spare,
            );
        }
        let has_to_send = engine.next_transmit().is_some();
        drop(engine);
        if has_to_send {
            receive_loop.send_loop.flush();
        }
        let (drops, errors) = (self.receiver.kernel_drops(), self.receiver.passing_errors());
        receive_loop.kernel_drops.store(drops, Ordering::Relaxed);
        receive_loop.socket_errors.store(errors, Ordering::Relaxed);
        if drops > self.reported_drops {
            let count = drops - self.reported_drops;
            self.reported_drops = drops;
            let telemetry = &context.shared.telemetry;
            telemetry.report(Notice::KernelDrops { count });
        }
        received?;
        self.more = input_waits;
        Ok(())
    }
}

/// How long the engine's timeouts of silent peers and lost messages are put off while input waits.
#[derive(Default)]
struct Patience {
    since: Option<Duration>,
    batches: u32,
}

impl Patience {
    fn lasts(&mut self, now: Duration) -> bool {
        let since = *self.since.get_or_insert(now);
        self.batches += 1;
        self.batches <= MOST_BATCHES && now.saturating_sub(since) < MOST_PATIENCE
    }
}
