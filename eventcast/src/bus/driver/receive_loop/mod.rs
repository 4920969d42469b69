//! Reads the network and calls listeners, so that neither waits for the other longer than it must.
//!
//! One thread leads: it reads a batch of datagrams, hands them to the engine, and calls the listeners of what comes out,
//! all by itself, so that a quick listener costs no hand-over. Everything that leading takes (the sockets, the batch, the
//! position in it) is in one [`LeaderState`]. During a call the leader parks its state in a slot, so that a second thread,
//! the watcher, can take over: when one call has lasted longer than `listener_budget`, the watcher takes the state from the
//! slot and leads on from the very next listener. The deposed leader comes back from its call and finds in the slot the
//! right to serve the queue of the listener that held it up, and does that from then on: that listener has been moved to
//! the queue for good, and gets its events in order, none of them twice. A thread that finds neither ends.
//!
//! A listener that was taken off the bus while it was being called is dropped in the same way, since it is the user's: while
//! the state is parked.
//!
//! The watcher samples twice a budget while calls follow each other closely. Where calls come singly each of them wakes it,
//! once, and it goes back to sleep as soon as the call is over: looking on between them would cost more than the events do.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use super::{context::Context, interfaces, send_loop::SendLoop, unicast::HeardUnicast};
use crate::bus::{
    listeners::{
        delivery::{Delivery, QueuedEvent},
        listener::{Listener, Offered},
        registry::Snapshot,
    },
    process::{runtime::CachedRuntime, user_code::Driving},
    queue::work_queue::Server,
    telemetry::{notice::Notice, origin::Origin},
};
use crate::{
    net::{CameBy, Receiver, Waker},
    proto::{Engine, Event, Events},
};

/// For so many ticks the watching thread goes on looking for each call that it has seen: where calls come more rarely,
/// being woken by each of them costs less.
const TICKS_A_CALL: u32 = 3;

/// It looks on for at most so many ticks after the last call.
const MOST_TICKS: u32 = 64;

/// What the threads do, as a notice says it when one of them panics.
pub(crate) const READING: &str = "reading the network and calling listeners";
const WATCHING: &str = "watching over listeners";

/// How often it looks at the least, so that it ends soon when the session does, whatever the budget.
const LONGEST_TICK: Duration = Duration::from_millis(50);

/// How often it looks at the most, so that a tiny budget does not keep a core busy.
const SHORTEST_TICK: Duration = Duration::from_micros(100);

/// So much later than it was to read, this thread was not late but away: the process had been stopped, or had no
/// processor.
const AWAY: Duration = Duration::from_millis(100);

/// After so many batches in a row the engine gives up what is overdue, although more input waits: as many as the sockets
/// can hold when they have not been read for a while. And after so long, where listeners take their time.
const MOST_BATCHES: u32 = 1_024;
const MOST_PATIENCE: Duration = Duration::from_secs(1);

/// How often the watching thread is tried to be started where the system gave none.
const BETWEEN_STARTS: Duration = Duration::from_secs(1);

/// How long after the start the bus says that it has heard nobody.
const ALONE: Duration = Duration::from_secs(10);

/// Pause after the sockets failed in a way that they should not, so that the reading thread does not spin.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

pub(crate) struct ReceiveLoop {
    context: Arc<Context>,
    send_loop: Arc<SendLoop>,
    slot: Mutex<Slot>,
    waker: Waker,
    closing: AtomicBool,
    watcher: Mutex<Watcher>,
    woken: Condvar,
    /// False while the watching thread sleeps without a limit.
    watching: AtomicBool,
    /// When the watching thread, which could not be started, is to be tried again, in microseconds. 0: it is there.
    watch_again: AtomicU64,
    /// Calls of listeners so far, of all leaders.
    calls: AtomicU64,
    kernel_drops: AtomicU64,
    socket_errors: AtomicU64,
    /// How often a socket could not be read.
    failures: AtomicU64,
    closed: Arc<Closed>,
    /// A test wants to see a panic on the watching thread.
    #[cfg(test)]
    pub(crate) watcher_panics: AtomicBool,
}

#[derive(Default)]
struct Slot {
    state: Option<Box<LeaderState>>,
    /// For threads that were deposed in a call: its number, and the right to serve the queue of the listener.
    servers: Vec<(u64, Server<QueuedEvent>)>,
}

#[derive(Default)]
struct Watcher {
    woken: bool,
}

/// What it takes to lead.
pub(crate) struct LeaderState {
    receiver: Receiver,
    /// What was read and is being delivered. Shared with the calls that look into it, so that it outlives the turn
    /// of a leader that is deposed in the middle of one.
    batch: Arc<Events>,
    spare: Events,
    /// The event of the batch whose turn it is, its listeners, and the next of these.
    event: usize,
    list: Option<Snapshot>,
    listener: usize,
    /// While a call is made: its number, by which the thread that comes back from it knows whether the state is still its own, and the
    /// listener.
    call: u64,
    called: Option<Arc<Listener>>,
    /// More may be waiting in the sockets.
    more: bool,
    /// When this thread was to read at the latest.
    expected: Duration,
    patience: Patience,
    /// What the kernel had dropped when that was reported last.
    reported_drops: u64,
    /// Which peers have been heard by unicast.
    unicast: HeardUnicast,
    /// While nobody has been heard, and that has not been told.
    alone: Option<Alone>,
    _closed: TellClosed,
}

/// What there is to say of a bus that hears nobody.
struct Alone {
    /// When it is to be told.
    due: Duration,
    /// How many datagrams have been refused.
    refused: u64,
}

/// Notified when the state is dropped, and the receiving sockets with it.
#[derive(Default)]
struct Closed {
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
    fn lock(&self) -> MutexGuard<'_, bool> {
        // Nothing that can panic runs under this lock.
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReceiveLoop {
    pub(crate) fn new(
        context: Arc<Context>,
        send_loop: Arc<SendLoop>,
        receiver: Receiver,
        now: Duration,
    ) -> (Arc<Self>, Box<LeaderState>) {
        let closed = Arc::<Closed>::default();
        let receive_loop = Arc::new(Self {
            context,
            send_loop,
            slot: Mutex::default(),
            waker: receiver.waker(),
            closing: AtomicBool::new(false),
            watcher: Mutex::default(),
            woken: Condvar::new(),
            watching: AtomicBool::new(true),
            watch_again: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            kernel_drops: AtomicU64::new(0),
            socket_errors: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            closed: Arc::clone(&closed),
            #[cfg(test)]
            watcher_panics: AtomicBool::new(false),
        });
        let state = Box::new(LeaderState {
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
        });
        (receive_loop, state)
    }

    pub(crate) fn kernel_drops(&self) -> u64 {
        self.kernel_drops.load(Ordering::Relaxed)
    }

    pub(crate) fn socket_errors(&self) -> u64 {
        let failures = self.failures.load(Ordering::Relaxed) + self.context.engine.failed_wakes();
        self.socket_errors.load(Ordering::Relaxed) + failures
    }

    /// Ends the threads, closes the sockets, and returns when they are closed. Does not wait for a listener that
    /// is running: its thread ends when it comes back.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        if let Err(error) = self.waker.wake() {
            tracing::error!(target: "eventcast", %error, "cannot wake the reading thread");
        }
        self.context.gate.close();
        self.wake_watcher();
        // The sockets of a leader that is in a call are closed here; any other closes them itself.
        let state = self.lock_slot().state.take();
        if let Some(state) = state {
            self.report(&state.batch, state.event);
        }
        let mut closed = self.closed.lock();
        while !*closed {
            closed = self
                .closed
                .changed
                .wait(closed)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Reports what the engine still has to report when nothing drives it any more.
    pub(crate) fn report_rest(&self) {
        let rest = self.context.engine.rest(self.context.now());
        self.report(&rest, 0);
    }

    /// Reports what is no event for listeners in a batch that is not delivered any more, from its place `from` on.
    fn report(&self, batch: &Events, from: usize) {
        let rest = (from..).map_while(|at| batch.get(at));
        // Which peers were heard by unicast is known to the state alone: without it nothing is made of that.
        for notice in rest.filter_map(|event| Notice::of_protocol(&event, |_| true)) {
            self.context.shared.telemetry.report(notice);
        }
    }

    fn closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    fn wake_watcher(&self) {
        self.lock_watcher().woken = true;
        self.woken.notify_all();
    }

    /// Calls code of the user on this thread, while the state is parked in the slot.
    fn call(
        &self,
        mut state: Box<LeaderState>,
        listener: Option<&Arc<Listener>>,
        work: impl FnOnce(),
    ) -> Result<Box<LeaderState>, Deposed> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        state.call = call;
        state.called = listener.map(Arc::clone);
        let mut slot = self.lock_slot();
        // `close` sets the mark before it looks into the slot: either it finds the state, or this finds the mark.
        if self.closing() {
            drop(slot);
            return Ok(state);
        }
        slot.state = Some(state);
        drop(slot);
        // The watcher clears the mark before it looks into the slot for the last time: likewise.
        if !self.watching.load(Ordering::SeqCst) {
            self.wake_watcher();
        }

        let pause = Driving::pause();
        work();
        drop(pause);
        if self.context.shared.process.is_forked() {
            // The user's code has forked, and this is the child: the parent has a thread of its own that leads, and what
            // others have locked stays locked here.
            return Err(None);
        }

        let mut slot = self.lock_slot();
        if let Some(mut state) = slot.state.take_if(|state| state.call == call) {
            drop(slot);
            // It may have been taken off meanwhile, and nothing is kept of it.
            state.called = None;
            return Ok(state);
        }
        let at = slot.servers.iter().position(|(number, _)| *number == call);
        let server = at.map(|at| slot.servers.swap_remove(at).1);
        drop(slot);
        let listener = listener.map(Arc::clone);
        Err(listener.zip(server))
    }

    /// Takes the state away from a leader that is still in call number `call`.
    fn depose(&self, call: u64) -> Option<Box<LeaderState>> {
        let mut slot = self.lock_slot();
        let mut state = slot.state.take_if(|state| state.call == call)?;
        let listener = state.called.take();
        // Under the lock of the slot: the old leader must find the queue when it comes back.
        let options = &self.context.shared.options;
        let server = listener
            .as_ref()
            .and_then(|listener| listener.move_to_queue(options.listener_queue.into()));
        let has_moved = server.is_some();
        slot.servers.extend(server.map(|server| (call, server)));
        drop(slot);
        if let Some(listener) = listener
            && has_moved
        {
            listener.identity.report_slow(options.listener_budget);
        }
        Some(state)
    }

    fn lock_slot(&self) -> MutexGuard<'_, Slot> {
        // The state is put in and taken out whole: a panic under this lock leaves it on one side or the other.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_watcher(&self) -> MutexGuard<'_, Watcher> {
        // Nothing that can panic runs under this lock.
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a leader finds where its state is gone: the listener that held it up, and the right to serve its queue; or
/// nothing, where that listener had been moved before, the session has closed, or this is a forked child.
type Deposed = Option<(Arc<Listener>, Server<QueuedEvent>)>;

/// The leading thread: delivers, reads, and so on, until the session closes or a call takes too long.
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
            // Who has stopped the bus hears no more events.
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
        // Of a list that another leader has begun with, it is not known whether it is still that of the table.
        let version = state.list.is_none().then(|| registry.version());
        let Some(list) = state.list.take().or_else(|| registry.list(message.name)) else {
            state.event += 1;
            continue;
        };
        let origin = Origin::remote(&message);
        let delivery = Delivery {
            key: message.name,
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
            keep_watched(receive_loop);
            state.list = Some(Arc::clone(&list));
            state = receive_loop.call(state, Some(listener), || {
                listener.run(owner, runtime, &delivery);
            })?;
        }
        state.event += 1;
        state.list = None;
        state.listener = 0;
        if version != Some(registry.version()) {
            // Whoever has been taken off may be in this list alone.
            state = receive_loop.call(state, None, || drop(list))?;
        }
    }
    drop(batch);
    state.recycle();
    Ok(state)
}

impl LeaderState {
    /// Notes whether anybody was heard.
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

    /// Tells that nobody has been heard, when it is time. Gives when that is, if it is to come.
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

    /// Makes the batch ready to be filled again; one that a call still looks into is left to that call.
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
        // Locked only once something is there: those who emit do not wait for the system call.
        let mut locked = None;
        let unicast = &mut self.unicast;
        let received = self.receiver.receive(|from, bytes, came_by| {
            if came_by == CameBy::Unicast {
                unicast.note(from);
            }
            // One that has failed takes nothing any more.
            if let Some(engine) = locked.get_or_insert_with(|| context.engine.lock()) {
                match came_by {
                    CameBy::Group => engine.handle_datagram(now, from, bytes),
                    CameBy::Unicast => engine.handle_unicast(now, from, bytes),
                }
            }
        });
        let is_due = |engine: &Engine| engine.poll_timeout().is_some_and(|due| due <= now.elapsed);
        let input_waits = match received {
            // By what the system said before; what it says now counts.
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
        // The batch has just been recycled, so nobody else holds it.
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

/// For how long the engine's word that somebody is silent, or something lost, is put off because input waits.
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

/// Starts the watching thread. Reading goes on without it: where the system gives no thread it is tried again before
/// later calls of listeners, and that is to be told once.
pub(crate) fn start_watching(receive_loop: &Arc<ReceiveLoop>) -> Option<Notice> {
    let again = &receive_loop.watch_again;
    let watched = Arc::clone(receive_loop);
    let run = move || watch(&watched);
    let Err(error) = receive_loop.context.spawn("eventcast-read", WATCHING, run) else {
        again.store(0, Ordering::Relaxed);
        return None;
    };
    let due = receive_loop.context.now().elapsed + BETWEEN_STARTS;
    let was_there = again.swap(due.as_micros() as u64, Ordering::Relaxed) == 0;
    was_there.then(|| Notice::Warning {
        text: format!(
            "no thread watches for slow listeners: {error}; it is tried again each second, and until then a slow \
             listener delays all that comes after it"
        ),
    })
}

/// Tries again to start the watching thread, if it is not there.
#[inline]
fn keep_watched(receive_loop: &Arc<ReceiveLoop>) {
    let again = receive_loop.watch_again.load(Ordering::Relaxed);
    if again != 0
        && receive_loop.context.now().elapsed >= Duration::from_micros(again)
        && let Some(notice) = start_watching(receive_loop)
    {
        receive_loop.context.shared.telemetry.report(notice);
    }
}

/// The watching thread: leads in place of one whose call takes too long, after it has set another to watch.
fn watch(receive_loop: &Arc<ReceiveLoop>) {
    let _driving = Driving::begin();
    let Context { shared, .. } = &*receive_loop.context;
    let budget = shared.options.listener_budget;
    let tick = (budget / 2).clamp(SHORTEST_TICK, LONGEST_TICK);
    let mut seen: Option<(u64, Instant)> = None;
    let mut alertness = Alertness::new(tick);
    while !receive_loop.closing() {
        #[cfg(test)]
        assert!(
            !receive_loop.watcher_panics.load(Ordering::SeqCst),
            "on purpose: the watcher"
        );
        let call = receive_loop
            .lock_slot()
            .state
            .as_ref()
            .map(|state| state.call);
        match (call, seen) {
            (Some(call), Some((same, since))) if call == same => {
                if since.elapsed() >= budget
                    && let Some(state) = receive_loop.depose(call)
                {
                    if let Some(notice) = start_watching(receive_loop) {
                        shared.telemetry.report(notice);
                    }
                    return lead(receive_loop, state);
                }
            }
            (Some(call), _) => seen = Some((call, Instant::now())),
            (None, _) => seen = None,
        }

        let calls = receive_loop.calls.load(Ordering::Relaxed);
        alertness.look(calls, shared.process.now().elapsed);
        let asleep = call.is_none() && !alertness.pays() && {
            receive_loop.watching.store(false, Ordering::SeqCst);
            // A call that began before the mark was cleared does not wake this thread.
            receive_loop.lock_slot().state.is_none()
        };
        let mut watcher = receive_loop.lock_watcher();
        if asleep {
            while !watcher.woken {
                watcher = receive_loop
                    .woken
                    .wait(watcher)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        } else if !watcher.woken {
            watcher = receive_loop
                .woken
                .wait_timeout(watcher, tick)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        watcher.woken = false;
        drop(watcher);
        receive_loop.watching.store(true, Ordering::SeqCst);
    }
}

/// Whether it pays to look at each tick, rather than to be woken by the next call.
struct Alertness {
    tick: Duration,
    /// When it looked last, and how many calls there had been by then.
    looked: Duration,
    calls: u64,
    /// For so long it pays without any further call.
    left: Duration,
}

impl Alertness {
    fn new(tick: Duration) -> Self {
        Self {
            tick,
            looked: Duration::ZERO,
            calls: 0,
            left: Duration::ZERO,
        }
    }

    fn look(&mut self, calls: u64, now: Duration) {
        let new = calls.saturating_sub(self.calls).min(MOST_TICKS.into()) as u32;
        let most = self.tick * MOST_TICKS;
        let gained = (self.left + self.tick * TICKS_A_CALL * new).min(most);
        // The time since the last look counts against the calls in it: a single one after a long sleep is worth none.
        self.left = gained.saturating_sub(now.saturating_sub(self.looked));
        (self.looked, self.calls) = (now, calls);
    }

    fn pays(&self) -> bool {
        !self.left.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often the watching thread looks in a second, for so many calls in each tenth of a millisecond.
    fn looks(calls_at: impl Fn(u32) -> u64) -> u32 {
        let tick = Duration::from_micros(500);
        let mut alertness = Alertness::new(tick);
        let (mut looks, mut calls, mut sleeps) = (0, 0, true);
        for tenth in 0..10_000 {
            let now = Duration::from_micros(100) * tenth;
            let new = calls_at(tenth);
            calls += new;
            if (sleeps && new > 0) || (!sleeps && now >= alertness.looked + tick) {
                alertness.look(calls, now);
                looks += 1;
                sleeps = !alertness.pays();
            }
        }
        looks
    }

    #[test]
    fn single_calls_are_looked_at_once_and_many_at_each_tick() {
        let every = |tenths: u32| move |tenth: u32| u64::from((tenth + 1).is_multiple_of(tenths));
        assert_eq!(looks(every(1_000)), 10);
        assert_eq!(looks(every(100)), 100);
        assert_eq!(looks(every(20)), 500);
        for busy in [looks(every(5)), looks(|_| 4)] {
            assert!((1_900..=2_001).contains(&busy), "{busy}");
        }
        // Some 30 ms after the last of many.
        let burst = looks(|tenth| if tenth < 500 { 4 } else { 0 });
        assert!((160..=170).contains(&burst), "{burst}");
    }
}
