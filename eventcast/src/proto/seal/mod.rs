//! Sealed datagrams: no outsider can read, make, change or replay them (WIRE.md section 8).
//!
//! [`Sealing`] turns a finished datagram into the sealed one that travels, and back. It is
//! responsible for the counters of this bus and for the counters received of others; not for the
//! content of a datagram, only for the proof that a holder of the key sent it, lately, to this bus,
//! and for the first time.
//!
//! | file | what |
//! | --- | --- |
//! | `keys` | from a passphrase to keys |
//! | `boxes` | the bytes of a box |
//! | `window`, `replays` | which counters were received |
//! | `ivs` | initialisation vectors |
//!
//! Everything up to the HMAC looks the same from outside: nothing is kept, nothing is sent. Nothing
//! is allocated for a datagram, and no key is derived for one.

mod boxes;
mod ivs;
mod keys;
mod replays;
#[cfg(test)]
pub(super) mod vectors;
mod window;

use std::{net::IpAddr, time::Duration};

use sha2::{Digest, Sha256};

use self::{
    boxes::{Ring, SealHeader, box_len, longest_in},
    ivs::Ivs,
    replays::{Replays, TO_ONE},
};
pub use self::{
    ivs::IvSource,
    keys::{SealKey, SealKeyError, SealKeys},
};
use super::{
    DropCause, Now,
    hash::HashKey,
    wire::{AROUND_BOX, Fault, SealedFrame, SeqIdText, write_sealed},
};

/// How far a datagram's time may be from this bus's clock, unless it is configured.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(30);

/// For so long after its start a bus refuses what was sent more than [`BEFORE_START`] before it.
const YOUNG: Duration = Duration::from_secs(60);
const BEFORE_START: u64 = 1000;

/// A network that doubles datagrams does so within so many milliseconds.
const DOUBLED_WITHIN: u64 = 1000;

/// How a bus seals. What is common to a group is the same on all its buses: key, salt, group and
/// port.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SealConfig {
    /// The keys at the start; [`Engine::set_seal_keys`](super::Engine::set_seal_keys) changes them.
    pub keys: SealKeys,
    /// The multicast group, which every datagram is bound to.
    pub group: IpAddr,
    /// The group's port, likewise.
    pub port: u16,
    /// Where initialisation vectors come from.
    pub ivs: IvSource,
    /// How far the time of a datagram may be from this bus's clock, either way. 30 s by default.
    pub clock_tolerance: Duration,
}

impl SealConfig {
    /// The defaults for everything that is not named.
    #[must_use]
    pub fn new(keys: SealKeys, group: IpAddr, port: u16, ivs: IvSource) -> Self {
        Self {
            keys,
            group,
            port,
            ivs,
            clock_tolerance: CLOCK_TOLERANCE,
        }
    }
}

/// The length of the sealed datagram that holds one of so many bytes.
pub(super) const fn sealed_len(datagram: usize) -> usize {
    AROUND_BOX + box_len(datagram)
}

/// The length of the longest datagram that has at most so many bytes when it is sealed.
pub(super) const fn longest_sealed_in(len: usize) -> usize {
    longest_in(len.saturating_sub(AROUND_BOX))
}

/// What is known of a sealed datagram once it is open.
#[derive(Clone, Copy)]
pub(super) struct Opened {
    pub(super) authenticated: AuthenticatedSender,
    /// It was sealed for this bus alone, not for the group.
    pub(super) to_one: bool,
    /// When it was sealed, by its sender's clock: milliseconds since 1970.
    pub(super) sent_ms: u64,
}

/// The sender that the HMAC of a box proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct AuthenticatedSender {
    pub(super) sender: [u8; 8],
    pub(super) incarnation: u64,
}

impl AuthenticatedSender {
    /// That of a bus with this id.
    pub(super) fn new(id: &str, incarnation: u64) -> Self {
        Self {
            sender: id_bytes(id),
            incarnation,
        }
    }

    /// Whether the sender that a datagram names can be the one that sealed it.
    pub(super) fn fits(self, id: &str, incarnation: Option<u64>) -> bool {
        self.fits_incarnation(incarnation) && id_bytes(id) == self.sender
    }

    #[inline]
    pub(super) fn fits_incarnation(self, incarnation: Option<u64>) -> bool {
        incarnation.is_none_or(|incarnation| incarnation == self.incarnation)
    }
}

/// Why a datagram was not opened, or not taken when it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsealable {
    /// Nothing is known of it: from outside, all of these are the same.
    Unknown(DropCause),
    /// It is of another protocol version.
    Version(u64),
    /// A holder of the key has sealed it, and its time is off by so many milliseconds: positive if
    /// it is ahead.
    Clock(i64),
    /// It was received before, and by its time it was sent so many milliseconds ago: longer than a
    /// network takes to duplicate it.
    Recorded(u64),
    /// By its time it was sent `age_ms` milliseconds ago, before this bus was started, which a
    /// young bus refuses for `left_ms` more.
    BeforeStart { age_ms: u64, left_ms: u64 },
    /// Any other cause.
    For(DropCause),
}

/// What a bus needs to seal and to open.
pub(super) struct Sealing {
    own: AuthenticatedSender,
    group: IpAddr,
    port: u16,
    ring: Ring,
    /// The last counter that was given out, without its highest bit.
    to_group: u64,
    to_one: u64,
    ivs: Ivs,
    tolerance_ms: u64,
    started: Now,
    replays: Replays,
}

impl Sealing {
    pub(super) fn new(
        config: SealConfig,
        (id, incarnation): (&str, u64),
        now: Now,
        key: HashKey,
    ) -> Self {
        Self {
            own: AuthenticatedSender::new(id, incarnation),
            group: config.group,
            port: config.port,
            ring: Ring::new(&config.keys, config.group, config.port),
            to_group: 0,
            to_one: 0,
            ivs: Ivs::new(config.ivs),
            tolerance_ms: u64::try_from(config.clock_tolerance.as_millis()).unwrap_or(u64::MAX),
            started: now,
            replays: Replays::new(config.clock_tolerance, key),
        }
    }

    /// Replaces the keys. Counters go on, and counters received before stay known.
    pub(super) fn set_keys(&mut self, keys: &SealKeys) {
        self.ring = if cfg!(eventcast_sabotage = "one_key") {
            Ring::new(&SealKeys::new(keys.send.clone()), self.group, self.port)
        } else {
            Ring::new(keys, self.group, self.port)
        };
    }

    /// Appends the sealed datagram for the group, or for the peer with these 8 bytes.
    pub(super) fn seal(
        &mut self,
        unix_ms: u64,
        seq_id: &SeqIdText,
        to: Option<[u8; 8]>,
        datagram: &[u8],
        out: &mut Vec<u8>,
    ) {
        let counter = match to {
            None => {
                self.to_group += 1;
                self.to_group
            }
            Some(_) => {
                self.to_one += 1;
                self.to_one | TO_ONE
            }
        };
        let header = SealHeader {
            sealer: (self.own.sender, self.own.incarnation),
            counter,
            iv: self.ivs.next(),
            send_time: unix_ms,
            recipient: to.unwrap_or_default(),
        };
        write_sealed(seq_id, box_len(datagram.len()), out, |out| {
            self.ring.seal(&header, datagram, out);
        });
    }

    /// Opens a sealed datagram into `plain`, whose content is replaced, if it is acceptable;
    /// [`opened`] is then the sealed content. Each datagram is opened once.
    pub(super) fn open(
        &mut self,
        now: Now,
        bytes: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<Opened, Unsealable> {
        let sealed = match SealedFrame::read(bytes) {
            Ok(SealedFrame::Box(sealed)) => sealed,
            Ok(SealedFrame::Classic) => return Err(Unsealable::For(DropCause::Classic)),
            Ok(SealedFrame::Clear) => return Err(Unsealable::For(DropCause::Clear)),
            Err(Fault::Version(theirs)) => return Err(Unsealable::Version(theirs)),
            Err(Fault::Malformed | Fault::OverLimit) => {
                return Err(Unsealable::Unknown(DropCause::Malformed));
            }
        };
        let authentic = self
            .ring
            .authenticate(sealed)
            .map_err(Unsealable::Unknown)?;
        let (sender, incarnation) = authentic.sealer();
        let authenticated = AuthenticatedSender {
            sender,
            incarnation,
        };
        if authenticated == self.own {
            return Err(Unsealable::For(DropCause::Echo));
        }
        let header = authentic.decrypt(plain).map_err(Unsealable::For)?;
        self.check_time(now, header.send_time)?;
        if header.recipient != [0; 8] && header.recipient != self.own.sender {
            return Err(Unsealable::For(DropCause::Recipient));
        }
        let to_one = header.recipient != [0; 8];
        let contradicts = (header.counter & TO_ONE != 0) != to_one;
        if contradicts || header.counter & !TO_ONE == 0 {
            return Err(Unsealable::For(DropCause::Malformed));
        }
        let (sealer, counter) = (header.sealer, header.counter);
        let taken = self
            .replays
            .take(now.elapsed, sealer, counter, header.send_time);
        match taken {
            Ok(()) => Ok(Opened {
                authenticated,
                to_one,
                sent_ms: header.send_time,
            }),
            Err(DropCause::Duplicate) => Err(received_before(now, header.send_time)),
            Err(cause) => Err(Unsealable::For(cause)),
        }
    }

    /// Notes that an incarnation has said goodbye.
    pub(super) fn note_goodbye(&mut self, authenticated: AuthenticatedSender) {
        self.replays
            .note_goodbye((authenticated.sender, authenticated.incarnation));
    }

    fn check_time(&self, now: Now, sent: u64) -> Result<(), Unsealable> {
        if sent.abs_diff(now.unix_ms) > self.tolerance_ms {
            let ahead = i128::from(sent) - i128::from(now.unix_ms);
            let ahead = ahead.clamp(i64::MIN.into(), i64::MAX.into());
            return Err(Unsealable::Clock(ahead as i64));
        }
        let up = now.elapsed.saturating_sub(self.started.elapsed);
        if up < YOUNG && sent.saturating_add(BEFORE_START) < self.started_ms(now) {
            return Err(Unsealable::BeforeStart {
                age_ms: now.unix_ms.saturating_sub(sent),
                left_ms: (YOUNG - up).as_millis() as u64,
            });
        }
        Ok(())
    }

    /// What this bus's clock showed at its start, or would have shown where it has been set since.
    fn started_ms(&self, now: Now) -> u64 {
        let up = now.elapsed.saturating_sub(self.started.elapsed);
        let started = now.unix_ms.saturating_sub(up.as_millis() as u64);
        // Clocks that nobody has set differ by less than this.
        if started.abs_diff(self.started.unix_ms) < BEFORE_START {
            self.started.unix_ms
        } else {
            started
        }
    }
}

/// The fault of a datagram that was received before, by its time of sending.
fn received_before(now: Now, sent: u64) -> Unsealable {
    match now.unix_ms.saturating_sub(sent) {
        age if age < DOUBLED_WITHIN => Unsealable::For(DropCause::Duplicate),
        age => Unsealable::Recorded(age),
    }
}

/// The datagram in what [`Sealing::open`] gave.
pub(super) fn opened(plain: &[u8]) -> &[u8] {
    boxes::datagram(plain)
}

/// The 8 bytes that an id stands for: those that its 16 lower-case hex digits say, or the first of
/// its SHA-256.
pub(super) fn id_bytes(id: &str) -> [u8; 8] {
    let mut bytes = [0; 8];
    let is_digit = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if id.len() == 16 && id.as_bytes().iter().all(is_digit) {
        for (byte, pair) in bytes.iter_mut().zip(id.as_bytes().as_chunks::<2>().0) {
            let value = |digit: u8| (digit & 15) + if digit > b'9' { 9 } else { 0 };
            *byte = value(pair[0]) << 4 | value(pair[1]);
        }
    } else {
        let digest = Sha256::digest(id.as_bytes());
        bytes.copy_from_slice(&digest[..8]);
    }
    bytes
}

#[cfg(test)]
mod tests;
