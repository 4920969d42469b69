//! From `emit` to the network and to the local listeners.
//!
//! The order is the promise: encode and check, reserve room, take the number and send, and last call the local
//! listeners. Whatever is refused is refused before anything has happened.

use std::{
    any::TypeId,
    cell::{Cell, RefCell},
    ops::{Deref, DerefMut},
    panic::Location,
    sync::Arc,
};

use super::{
    core::Core,
    listener::{Delivery, Offered},
    outbox::SendState,
    received::{Origin, Received},
    table::{List, Lookup},
};
use crate::{
    codec::{self, IntoArgs, RawArgs},
    error::{EmitError, EmitErrorKind},
    event::{self, InvalidKey, KeyConflict, NetEvent, ShapeKind},
    proto::{MessageId, Now, Outgoing, Peer, Refusal},
};

/// How deep events may be delivered within events. Each level takes stack, and a circle would take all of it.
const MAX_DEPTH: usize = 32;

/// What became of an event that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Emitted {
    /// How many local listeners were called, or have it in their queues.
    pub listeners: usize,
    /// The id of the message, as it stands on the wire (`seqId`).
    pub message_id: MessageId,
    /// The number of the event among those that this incarnation of the bus has sent to be delivered in order.
    /// `None` for a best-effort event.
    pub number: Option<u64>,
    /// Whether it went out to the network.
    pub sent: SendState,
}

/// What the network side made of an event.
struct Sent {
    message_id: MessageId,
    number: Option<u64>,
    state: SendState,
    me: Arc<Peer>,
}

pub(crate) fn emit_typed<E: NetEvent>(
    core: &Arc<Core>,
    event: E,
    place: &'static Location<'static>,
) -> Result<Emitted, EmitError<E>> {
    let prepare = || {
        check_depth()?;
        let list = listeners_of_type::<E>(core, place)?;
        let mut payload = Scratch::take();
        codec::encode_event(&event, E::SHAPE.kind, &mut payload)?;
        if core.options.old_peers {
            spare_old_peers(E::KEY, &payload, Some(E::SHAPE.kind))?;
        }
        Ok((list, payload))
    };
    let (list, payload) = match prepare() {
        Ok(prepared) => prepared,
        Err(kind) => return Err(EmitError::new(event, E::KEY, kind)),
    };
    let now = core.now();
    let sent = match send(core, now, E::KEY, &payload, E::BEST_EFFORT) {
        Ok(sent) => sent,
        Err(kind) => return Err(EmitError::new(event, E::KEY, kind)),
    };
    let Some(list) = list else {
        return finish(sent, 0).map_err(|kind| EmitError::new(event, E::KEY, kind));
    };
    let origin = local_origin(core, sent.as_ref(), now.unix_ms);
    let name = list[0].name_of(E::KEY);
    let received = Received::new(event, name, origin.clone(), Arc::clone(core));
    let listeners = deliver_locally(core, E::KEY, &list, &payload, &origin, |listener| {
        listener.run_same_type(core, &received)
    });
    finish(sent, listeners).map_err(|kind| EmitError::new(received.into_inner(), E::KEY, kind))
}

pub(crate) fn emit_named<A: IntoArgs>(
    core: &Arc<Core>,
    name: &str,
    args: A,
) -> Result<Emitted, EmitError<A>> {
    let prepare = || {
        check_depth()?;
        event::check_key(name).map_err(|invalid| match invalid {
            InvalidKey::Reserved => EmitErrorKind::Reserved,
            _ => EmitErrorKind::Name(invalid),
        })?;
        let mut payload = Scratch::take();
        args.encode_args(&mut payload)?;
        if core.options.old_peers {
            spare_old_peers(name, &payload, None)?;
        }
        Ok(payload)
    };
    let sent = prepare().and_then(|payload| {
        let now = core.now();
        let sent = send(core, now, name, &payload, false)?;
        let Some(list) = core.table.list(name) else {
            return finish(sent, 0);
        };
        let origin = local_origin(core, sent.as_ref(), now.unix_ms);
        let listeners = deliver_locally(core, name, &list, &payload, &origin, |_| None);
        finish(sent, listeners)
    });
    sent.map_err(|kind| EmitError::new(args, name, kind))
}

/// Refuses what an old peer does not survive.
fn spare_old_peers(
    name: &str,
    payload: &[u8],
    shape: Option<ShapeKind>,
) -> Result<(), EmitErrorKind> {
    if name == codec::FATAL_NAME {
        return Err(EmitErrorKind::NameEndsOldPeers);
    }
    Ok(codec::check_for_old_peers(payload, shape)?)
}

/// Emits as soon as there is room. What `emit` gives back as refused it is given again.
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
    core.when_there_is_room(attempt).await
}

/// The listeners of an event's key, once its type has been found to have a right to it.
fn listeners_of_type<E: NetEvent>(
    core: &Core,
    place: &'static Location<'static>,
) -> Result<Option<List>, KeyConflict> {
    let event = TypeId::of::<E>();
    if let Lookup::Known(list) = core.table.list_for(E::KEY, event) {
        return Ok(list);
    }
    claim_key::<E>(core, place)?;
    Ok(core.table.list(E::KEY))
}

/// Claims the key for the type, in this process and with this bus.
pub(crate) fn claim_key<E: NetEvent>(
    core: &Core,
    place: &'static Location<'static>,
) -> Result<(), KeyConflict> {
    let event = TypeId::of::<E>();
    event::claim(E::KEY, event, std::any::type_name::<E>(), E::SHAPE, place)?;
    core.table.allow(E::KEY, event);
    Ok(())
}

/// Gives the event to the network. `None`: the bus is not running.
fn send(
    core: &Arc<Core>,
    now: Now,
    name: &str,
    payload: &[u8],
    best_effort: bool,
) -> Result<Option<Sent>, EmitErrorKind> {
    let outgoing = Outgoing {
        name,
        payload,
        schema: None,
        best_effort: best_effort || core.options.best_effort,
    };
    let Some((session, accepted)) = core.session().and_then(|session| {
        let accepted = session.emit(core, now, outgoing)?;
        Some((session, accepted))
    }) else {
        let (size, limit) = (payload.len(), core.options.max_message_size);
        if size > limit {
            return Err(EmitErrorKind::TooLarge { size, limit });
        }
        return Ok(None);
    };
    let (accepted, state) = accepted.map_err(|refusal| match refusal {
        Refusal::TooLarge { size, limit } => EmitErrorKind::TooLarge { size, limit },
        Refusal::NoRoomForData {
            name_len,
            max_payload_size,
        } => EmitErrorKind::NoRoomForData {
            name_len,
            max_payload_size,
        },
        Refusal::QueueFull { queued, limit } => {
            core.counters.queue_full.add(1);
            EmitErrorKind::QueueFull { queued, limit }
        }
        Refusal::NameLength { .. } | Refusal::ReservedName => {
            unreachable!("names are checked before they come here")
        }
    })?;
    Ok(Some(Sent {
        message_id: accepted.message_id,
        number: accepted.number,
        state,
        me: Arc::clone(&session.me),
    }))
}

fn local_origin(core: &Core, sent: Option<&Sent>, unix_ms: u64) -> Origin {
    let me = sent.map_or_else(|| core.identity(), |sent| Arc::clone(&sent.me));
    Origin::local(me, unix_ms, sent.and_then(|sent| sent.number))
}

/// Hands the event to the listeners of this very bus, and says how many got it. `same_type` is tried first with
/// those that are called on this thread; `None` from it means that the listener wants another type.
fn deliver_locally(
    core: &Arc<Core>,
    name: &str,
    list: &List,
    payload: &[u8],
    origin: &Origin,
    same_type: impl Fn(&super::listener::Listener) -> Option<bool>,
) -> usize {
    let _deeper = Deeper::new();
    let delivery = Delivery {
        name,
        args: RawArgs::from_payload(payload).expect("what was just encoded has arguments"),
        origin,
    };
    let mut kept = None;
    let reached = list.iter().filter(|listener| {
        listener.offer(core, &delivery, &mut kept) == Offered::Queued
            || same_type(listener).unwrap_or_else(|| listener.run(core, &delivery))
    });
    reached.count()
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
    /// How many local deliveries this thread is inside of.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// Buffers that events are encoded into. More than one, because listeners emit while theirs is in use.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

fn check_depth() -> Result<(), EmitErrorKind> {
    if DEPTH.get() >= MAX_DEPTH {
        return Err(EmitErrorKind::TooDeep { limit: MAX_DEPTH });
    }
    Ok(())
}

/// One level deeper, until it is dropped.
struct Deeper;

impl Deeper {
    fn new() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self
    }
}

impl Drop for Deeper {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// A buffer that is used again, so that emitting does not allocate.
struct Scratch(Vec<u8>);

impl Scratch {
    /// What a buffer may keep: one large event shall not hold its memory in every thread that ever emitted one.
    const KEPT_CAPACITY: usize = 64 * 1024;

    /// How many buffers a thread keeps: the usual depth of events within events.
    const KEPT: usize = 4;

    fn take() -> Self {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        Self(spare.unwrap_or_default())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        if buffer.capacity() > Self::KEPT_CAPACITY {
            return;
        }
        buffer.clear();
        // While the thread ends there is nowhere to keep it.
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
