//! From `emit` to the network and to the local listeners.
//!
//! The order is a promise: encode and check, reserve room, take the number and send, then call the
//! local listeners. A refused event has no effect.
//!
//! Listeners with a queue receive the bus's own events in the order of their numbers, also if
//! several threads emit or a listener emits during its call: an event takes its number and enters
//! the queues under one lock
//! ([`Listeners::lock_local_order`](super::listeners::Listeners::lock_local_order)). The others run
//! within the call of `emit`, without any lock.

use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
    panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind},
    sync::{Arc, MutexGuard},
};

use tokio::runtime::Handle;

use super::{
    core::Core,
    driver::{send_loop::SendState, session::Session},
    listeners::{
        delivery::{Delivery, QueuedEvent},
        listener::Listener,
        nesting::{self, Deeper, MAX_DEPTH},
        owner::Owner,
        received::Received,
        registry::Snapshot,
    },
    process::user_code::{self, Panicked},
    shared::Shared,
    telemetry::{notice::Notice, origin::Origin},
};
use crate::{
    codec::{self, IntoArgs, RawArgs},
    error::{EmitError, EmitErrorKind},
    event::{self, InvalidKey, NetEvent, ShapeKind},
    proto::{MessageId, Now, Outgoing, Refusal},
};

/// What became of an event that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Emitted {
    /// How many local listeners were called, or have it in their queues.
    pub listeners: usize,
    /// The id of the message, as it stands on the wire (`seqId`).
    pub message_id: MessageId,
    /// The number of the event among those that this incarnation of the bus has sent to be
    /// delivered in order. `None` for a best-effort event.
    pub number: Option<u64>,
    /// Whether it went out to the network.
    pub sent: SendState,
}

/// An event that the engine has accepted and numbered.
struct Numbered {
    message_id: MessageId,
    number: Option<u64>,
    session: Arc<Session>,
}

impl Numbered {
    /// Sends the event, or leaves that to a thread that is sending already. `None`: the session
    /// failed meanwhile.
    ///
    /// Drops the handle of the session before the local listeners run, since one may take long, and
    /// must not delay a stop.
    fn sent(self) -> Option<Sent> {
        Some(Sent {
            message_id: self.message_id,
            number: self.number,
            state: self.session.flush()?,
        })
    }
}

/// The outcome of sending an event.
struct Sent {
    message_id: MessageId,
    number: Option<u64>,
    state: SendState,
}

pub(crate) fn emit_typed<E: NetEvent>(
    core: &Arc<Core>,
    event: E,
    place: &'static Location<'static>,
) -> Result<Emitted, EmitError<E>> {
    let prepare = |event: &E| {
        check(core)?;
        let list = core.shared.listeners.of_type::<E>(place)?;
        let mut payload = Scratch::take();
        codec::encode_readable_event_with_room(event, E::SHAPE.kind, &mut payload)?;
        if core.shared.options.old_peers {
            spare_old_peers(E::KEY, &payload, Some(E::SHAPE.kind))?;
        }
        Ok((list, payload))
    };
    let (event, (list, payload)) = match prepared(event, prepare) {
        Ok(prepared) => prepared,
        Err((event, kind)) => return Err(EmitError::new(event, E::KEY, kind)),
    };
    let outgoing = Outgoing {
        key: E::KEY,
        payload: &payload,
        schema: None,
        best_effort: E::BEST_EFFORT,
    };
    let Some(list) = list else {
        return match send(core, outgoing).and_then(|sent| finish(sent, 0)) {
            Ok(emitted) => Ok(discard(core, event, E::KEY, emitted)),
            Err(kind) => Err(EmitError::new(event, E::KEY, kind)),
        };
    };
    let local = match Local::send(core, outgoing, &list) {
        Ok(local) => local,
        Err(kind) => return Err(EmitError::new(event, E::KEY, kind)),
    };
    let key = list[0].identity.key_of(E::KEY);
    let received = Received::new(event, key, local.origin.clone(), core.owner());
    let listeners =
        local.deliver(|listener, runtime| listener.run_same_type(&local.owner, runtime, &received));
    match finish(local.sent, listeners) {
        Ok(emitted) => Ok(discard(core, received, E::KEY, emitted)),
        Err(kind) => Err(EmitError::new(received.into_inner(), E::KEY, kind)),
    }
}

pub(crate) fn emit_named<A: IntoArgs>(
    core: &Arc<Core>,
    key: &str,
    args: A,
) -> Result<Emitted, EmitError<A>> {
    let prepare = |args: &A| {
        check(core)?;
        event::check_key(key).map_err(|invalid| match invalid {
            InvalidKey::Reserved => EmitErrorKind::Reserved,
            _ => EmitErrorKind::InvalidKey(invalid),
        })?;
        let mut payload = Scratch::take();
        args.encode_args(&mut payload)?;
        if core.shared.options.old_peers {
            spare_old_peers(key, &payload, None)?;
        }
        Ok(payload)
    };
    let (args, payload) = match prepared(args, prepare) {
        Ok(prepared) => prepared,
        Err((args, kind)) => return Err(EmitError::new(args, key, kind)),
    };
    let emit = || {
        let outgoing = Outgoing {
            key,
            payload: &payload,
            schema: None,
            best_effort: false,
        };
        let Some(list) = core.shared.listeners.registry.list(key) else {
            return finish(send(core, outgoing)?, 0);
        };
        let local = Local::send(core, outgoing, &list)?;
        let listeners = local.deliver(|_, _| None);
        finish(local.sent, listeners)
    };
    match emit() {
        Ok(emitted) => Ok(discard(core, args, key, emitted)),
        Err(kind) => Err(EmitError::new(args, key, kind)),
    }
}

/// Drops the emitted value, which is the user's. A panic in its drop is reported, and `emit`
/// returns as usual.
fn discard<T>(core: &Arc<Core>, value: T, key: &str, emitted: Emitted) -> Emitted {
    if let Err(Panicked { message }) = user_code::discard(value) {
        let text =
            format!("event `{key}` panicked when it was dropped after it was emitted: {message}");
        core.shared.telemetry.report(Notice::Warning { text });
    }
    emitted
}

/// Encodes the event. A panic in its `Serialize` reaches the caller after the event was dropped,
/// since a panic in its `Drop` during the unwinding would abort the process.
fn prepared<E, P>(
    event: E,
    prepare: impl FnOnce(&E) -> Result<P, EmitErrorKind>,
) -> Result<(E, P), (E, EmitErrorKind)> {
    match catch_unwind(AssertUnwindSafe(|| prepare(&event))) {
        Ok(Ok(prepared)) => Ok((event, prepared)),
        Ok(Err(kind)) => Err((event, kind)),
        Err(payload) => {
            let _ = user_code::discard(event);
            resume_unwind(payload)
        }
    }
}

/// Refuses events that would crash an old peer.
fn spare_old_peers(
    key: &str,
    payload: &[u8],
    shape: Option<ShapeKind>,
) -> Result<(), EmitErrorKind> {
    if key == codec::FATAL_NAME {
        return Err(EmitErrorKind::KeyEndsOldPeers);
    }
    Ok(codec::check_for_old_peers(payload, shape)?)
}

/// Emits as soon as there is room: waits after each refusal for a full queue, and passes the
/// returned event to `emit` again.
pub(crate) async fn when_there_is_room<E>(
    core: Arc<Core>,
    event: E,
    emit: impl Fn(&Arc<Core>, E) -> Result<Emitted, EmitError<E>>,
) -> Result<Emitted, EmitError<E>> {
    let mut event = Some(event);
    let attempt = || match emit(&core, event.take()?) {
        Err(error) if matches!(error.kind(), EmitErrorKind::QueueFull { .. }) => {
            event = Some(error.into_event());
            None
        }
        done => Some(done),
    };
    let shared = &core.shared;
    shared.room.wait(&shared.process, attempt).await
}

/// Sends the event to the network. `None`: the bus is not running.
fn send(core: &Arc<Core>, event: Outgoing<'_>) -> Result<Option<Sent>, EmitErrorKind> {
    let (numbered, _) = accept(
        &core.shared,
        core.lifecycle.session(),
        core.shared.process.now(),
        event,
        None,
    )?;
    Ok(numbered.and_then(Numbered::sent))
}

/// The lock that keeps other events from taking numbers and entering queues in between.
type Order<'a> = Option<MutexGuard<'a, ()>>;

/// Passes the event to the engine, which numbers it. The caller has to call [`Session::flush`]
/// afterwards. `None`: the bus is not running.
fn accept<'a>(
    shared: &Shared,
    session: Option<Arc<Session>>,
    now: Now,
    mut event: Outgoing<'_>,
    order: Order<'a>,
) -> Result<(Option<Numbered>, Order<'a>), EmitErrorKind> {
    event.best_effort |= shared.options.best_effort;
    let size = event.payload.len();
    let mut accepted = None;
    if let Some(session) = session {
        match session.accept(now, event) {
            Ok(answer) => accepted = answer.map(|answer| (session, answer)),
            Err(failure) => {
                // Released before the failure is reported: a listener of notices may emit.
                drop(order);
                session.fail(failure);
                return Ok((None, None));
            }
        }
    }
    let Some((session, accepted)) = accepted else {
        let limit = shared.options.max_message_size;
        if size > limit {
            return Err(too_large(size, limit, event.payload));
        }
        return Ok((None, order));
    };
    let accepted = accepted.map_err(|refusal| match refusal {
        Refusal::TooLarge { size, limit } => too_large(size, limit, event.payload),
        Refusal::NoRoomForData {
            key_len,
            max_payload_size,
        } => EmitErrorKind::NoRoomForData {
            key_len,
            max_payload_size,
        },
        Refusal::QueueFull { queued, limit } => {
            shared.telemetry.counters.queue_full.add(1);
            EmitErrorKind::QueueFull { queued, limit }
        }
        Refusal::KeyLength { .. } | Refusal::ReservedKey => {
            unreachable!("the caller has checked the key")
        }
    })?;
    let numbered = Numbered {
        message_id: accepted.message_id,
        number: accepted.number,
        session,
    };
    Ok((Some(numbered), order))
}

/// The error for an event that is too large, with the reason for its size.
#[cold]
fn too_large(size: usize, limit: usize, payload: &[u8]) -> EmitErrorKind {
    EmitErrorKind::TooLarge {
        size,
        limit,
        bytes_as_numbers: codec::longest_byte_list(payload),
    }
}

/// An event on its way to the listeners of this bus.
struct Local<'a> {
    owner: Arc<dyn Owner>,
    key: &'a str,
    args: RawArgs<'a>,
    list: &'a Snapshot,
    /// The listeners that have it in their queues.
    queued: Marks,
    /// The listeners whose queues dropped an event, which has to be reported.
    missed: Marks,
    runtime: Option<Handle>,
    origin: Origin,
    sent: Option<Sent>,
}

impl<'a> Local<'a> {
    /// Sends the event to the network, and puts it into the queues of listeners with a queue.
    fn send(
        core: &'a Arc<Core>,
        event: Outgoing<'a>,
        list: &'a Snapshot,
    ) -> Result<Self, EmitErrorKind> {
        let (key, payload) = (event.key, event.payload);
        let args = RawArgs::from_payload(payload).expect("what was just encoded has arguments");
        let shared = &core.shared;
        let now = shared.process.now();
        let session = core.lifecycle.session();
        let runtime = shared.process.runtime.get();
        let origin = |numbered: Option<&Numbered>| {
            let me = match numbered {
                Some(numbered) => numbered.session.me(),
                None => shared.identity(),
            };
            let number = numbered.and_then(|numbered| numbered.number);
            Origin::local(me, now.unix_ms, number)
        };
        let (mut queued, mut missed) = (Marks::default(), Marks::default());
        let (numbered, origin) = if list.iter().any(|listener| listener.has_queue()) {
            // Copied before the lock is taken, to hold it shortly.
            let mut waiting = QueuedEvent::copy(key, args, origin(None));
            let order = Some(shared.listeners.lock_local_order());
            let (numbered, order) = accept(shared, session, now, event, order)?;
            let origin = origin(numbered.as_ref());
            waiting.set_origin(origin.clone());
            for (at, listener) in list.iter().enumerate() {
                if listener.has_queue() {
                    queued.set(at);
                    if listener.queue(waiting.clone()) {
                        missed.set(at);
                    }
                }
            }
            drop(order);
            (numbered, origin)
        } else {
            let (numbered, _) = accept(shared, session, now, event, None)?;
            let origin = origin(numbered.as_ref());
            (numbered, origin)
        };
        let sent = numbered.and_then(Numbered::sent);
        Ok(Self {
            owner: core.owner(),
            key,
            args,
            list,
            queued,
            missed,
            runtime,
            origin,
            sent,
        })
    }

    /// Runs the listeners without a queue, and returns how many listeners received the event.
    /// `same_type` is tried first; it returns `None` for a listener of another type.
    fn deliver(&self, same_type: impl Fn(&Listener, Option<&Handle>) -> Option<bool>) -> usize {
        let _deeper = Deeper::new();
        let delivery = Delivery {
            key: self.key,
            args: self.args,
            origin: &self.origin,
        };
        let runtime = self.runtime.as_ref();
        let reached = self.list.iter().enumerate().filter(|(at, listener)| {
            if self.queued.has(*at) {
                listener.serve_queue(&self.owner, self.missed.has(*at));
                return true;
            }
            // A listener that was moved to a queue since then is still called here, since its queue
            // may hold later events already.
            same_type(listener, runtime)
                .unwrap_or_else(|| listener.run(&self.owner, runtime, &delivery))
        });
        reached.count()
    }
}

/// A set of listeners by their indices in the snapshot. The usual number of listeners needs no
/// allocation.
#[derive(Default)]
struct Marks {
    few: u64,
    more: Vec<bool>,
}

impl Marks {
    const FEW: usize = u64::BITS as usize;

    fn set(&mut self, at: usize) {
        if at < Self::FEW {
            self.few |= 1 << at;
            return;
        }
        let at = at - Self::FEW;
        if self.more.len() <= at {
            self.more.resize(at + 1, false);
        }
        self.more[at] = true;
    }

    fn has(&self, at: usize) -> bool {
        if at < Self::FEW {
            return self.few & 1 << at != 0;
        }
        self.more.get(at - Self::FEW).is_some_and(|mark| *mark)
    }
}

fn finish(sent: Option<Sent>, listeners: usize) -> Result<Emitted, EmitErrorKind> {
    let sent = sent.ok_or(EmitErrorKind::NotStarted)?;
    Ok(Emitted {
        listeners,
        message_id: sent.message_id,
        number: sent.number,
        sent: sent.state,
    })
}

thread_local! {
    /// Spare buffers for encoded events. Several, since a listener may emit while the buffer of its
    /// own event is in use.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Checks that the bus can emit: this is no forked child, and the nesting is not too deep.
#[inline]
fn check(core: &Core) -> Result<(), EmitErrorKind> {
    if core.is_forked() {
        return Err(EmitErrorKind::Forked);
    }
    if nesting::is_too_deep() {
        return Err(EmitErrorKind::TooDeep { limit: MAX_DEPTH });
    }
    Ok(())
}

/// A reused buffer, so that emitting does not allocate.
struct Scratch(Vec<u8>);

impl Scratch {
    /// Most bytes that a spare buffer keeps, so that one large event does not hold its memory on
    /// every thread that emitted one.
    const KEPT_CAPACITY: usize = 64 * 1024;

    /// Most spare buffers of a thread: the usual depth of events within events.
    const KEPT: usize = 4;

    fn take() -> Self {
        // Fails while the thread ends: its spare buffers are destroyed.
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop());
        Self(spare.ok().flatten().unwrap_or_default())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        if buffer.capacity() > Self::KEPT_CAPACITY {
            return;
        }
        buffer.clear();
        // Fails while the thread ends: the buffer is freed.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < Self::KEPT {
                spare.push(buffer);
            }
        });
    }
}

impl Deref for Scratch {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_set_at_their_indices() {
        let places = [0, 1, 63, 64, 65, 200];
        let mut marks = Marks::default();
        for at in places {
            assert!(!marks.has(at));
            marks.set(at);
        }
        let all: Vec<_> = (0..300).filter(|at| marks.has(*at)).collect();
        assert_eq!(all, places);
    }
}
