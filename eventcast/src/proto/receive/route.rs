//! The address of a stream's sender, and which hellos count as its own.
//!
//! Anybody can write another's id into a datagram, so the last address that does so is not
//! necessarily the sender's. A stream keeps the address from which it was heard first for as long
//! as something comes from there. Another address that says hello in its name is remembered:
//! requests that the first one does not answer go to both, and the one that answers stays. When
//! nothing has come from the first one for [`SILENT`], the other takes its place, and gives it back
//! to the first hello from there unless it has answered a request meanwhile.
//!
//! A sender with several interfaces is heard from several addresses; all of them carry the same
//! datagrams, so nothing is lost by using one of them alone.

use std::{net::SocketAddr, time::Duration};

/// How long nothing must have come from an address for another one to take its place: two hellos at
/// the default `heartbeat`.
const SILENT: Duration = Duration::from_secs(2);

/// An address that was silent for so long is not sent requests beside the first one.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// Requests without an answer after which the other address is sent requests, too.
const IN_VAIN: u32 = 2;

/// The source of a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Speaker {
    /// The sender itself, as far as this bus can tell.
    Own,
    /// The sender's, at an address that has just taken the place of another.
    Moved,
    /// Another address that claims to be the sender.
    Other,
}

#[derive(Debug)]
pub(in crate::proto) struct Route {
    address: SocketAddr,
    heard: Duration,
    /// Another address that has said hello, and when.
    other: Option<(SocketAddr, Duration)>,
    /// `other` was the address before, and `address` has answered nothing yet.
    provisional: bool,
    /// Requests since the last answer.
    unanswered: u32,
}

impl Route {
    pub(in crate::proto) fn new(now: Duration, address: SocketAddr) -> Self {
        Self {
            address,
            heard: now,
            other: None,
            provisional: false,
            unanswered: 0,
        }
    }

    /// The address that requests go to.
    #[inline]
    pub(in crate::proto) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the sender's address is the one from before, or has answered a request.
    #[inline]
    pub(in crate::proto) fn is_settled(&self) -> bool {
        !self.provisional
    }

    /// Notes that something has come from an address.
    #[inline]
    pub(in crate::proto) fn note(&mut self, now: Duration, from: SocketAddr) {
        if from == self.address {
            self.heard = now;
        }
    }

    /// For this long until now nothing could be received: the address was not silent then.
    pub(in crate::proto) fn excuse(&mut self, now: Duration, away: Duration) {
        self.heard = self.heard.saturating_add(away).min(now);
    }

    /// Whether the word of this address counts as the sender's.
    pub(in crate::proto) fn is_own(&self, now: Duration, from: SocketAddr) -> bool {
        from == self.address || self.is_silent(now)
    }

    /// Notes a hello.
    pub(in crate::proto) fn note_hello(&mut self, now: Duration, from: SocketAddr) -> Speaker {
        if from == self.address {
            self.heard = now;
            return Speaker::Own;
        }
        let was_before = self.provisional && self.other.is_some_and(|(other, _)| other == from);
        if was_before || self.is_silent(now) {
            self.move_to(now, from);
            self.provisional = !was_before;
            return Speaker::Moved;
        }
        // The first one stays while it goes on, so that a third one cannot push it out.
        match &mut self.other {
            Some((other, heard)) if *other == from => *heard = now,
            Some((_, heard)) if self.provisional || *heard + SILENT > now => {}
            other => *other = Some((from, now)),
        }
        Speaker::Other
    }

    /// Notes that the sender is asked, for something that it has named itself or not; gives a
    /// second address that is to be asked as well.
    pub(in crate::proto) fn ask(&mut self, now: Duration, is_named: bool) -> Option<SocketAddr> {
        let both = self.provisional || is_named && self.unanswered >= IN_VAIN;
        self.unanswered = self.unanswered.saturating_add(u32::from(is_named));
        let (other, heard) = self.other.filter(|_| both)?;
        (heard + FORGOTTEN > now).then_some(other)
    }

    /// Notes that a requested message came from an address. `true`: it is the sender's from now on.
    pub(in crate::proto) fn note_answer(&mut self, now: Duration, from: SocketAddr) -> bool {
        if from == self.address {
            (self.unanswered, self.provisional, self.heard) = (0, false, now);
            return false;
        }
        let asked = self.provisional || self.unanswered > IN_VAIN;
        if !asked || self.other.is_none_or(|(other, _)| other != from) {
            return false;
        }
        self.move_to(now, from);
        true
    }

    fn is_silent(&self, now: Duration) -> bool {
        self.heard + SILENT <= now
    }

    fn move_to(&mut self, now: Duration, address: SocketAddr) {
        self.other = Some((self.address, now));
        (self.address, self.heard) = (address, now);
        (self.unanswered, self.provisional) = (0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_address_stays_while_it_is_heard() {
        let mut route = Route::new(ms(0), at(1));
        for i in 1..100 {
            if i % 5 == 0 {
                route.note(ms(300 * i), at(1));
            }
            assert_eq!(route.note_hello(ms(300 * i), at(2)), Speaker::Other);
            assert!(!route.is_own(ms(300 * i), at(2)));
        }
        assert_eq!(route.address(), at(1));
        assert_eq!(route.note_hello(ms(30_000), at(1)), Speaker::Own);
    }

    #[test]
    fn one_that_is_silent_gives_way_and_both_are_asked_until_one_answers() {
        let mut route = Route::new(ms(0), at(1));
        assert_eq!(route.note_hello(ms(1_999), at(2)), Speaker::Other);
        assert_eq!(route.note_hello(ms(2_000), at(2)), Speaker::Moved);
        assert_eq!(
            (route.address(), route.ask(ms(2_001), true)),
            (at(2), Some(at(1)))
        );
        // A third address does not take over.
        assert_eq!(route.note_hello(ms(2_002), at(3)), Speaker::Other);
        assert_eq!(route.ask(ms(2_003), true), Some(at(1)));
        assert!(!route.note_answer(ms(2_010), at(2)));
        assert_eq!((route.address(), route.ask(ms(2_020), true)), (at(2), None));
        assert_eq!(route.note_hello(ms(2_030), at(1)), Speaker::Other);
    }

    #[test]
    fn one_that_was_only_paused_has_its_place_back() {
        let mut route = Route::new(ms(0), at(1));
        assert_eq!(route.note_hello(ms(8_000), at(2)), Speaker::Moved);
        assert_eq!(route.note_hello(ms(8_001), at(1)), Speaker::Moved);
        assert_eq!(route.note_hello(ms(8_002), at(2)), Speaker::Other);
        assert_eq!(route.note_hello(ms(8_003), at(1)), Speaker::Own);
    }

    #[test]
    fn another_is_asked_when_requests_are_in_vain_and_stays_if_it_answers() {
        let mut route = Route::new(ms(0), at(1));
        assert_eq!(route.note_hello(ms(10), at(2)), Speaker::Other);
        assert_eq!(
            (route.ask(ms(11), true), route.ask(ms(31), true)),
            (None, None)
        );
        assert!(!route.note_answer(ms(32), at(2)), "it was not asked");
        assert_eq!(route.ask(ms(71), true), Some(at(2)));
        assert!(!route.note_answer(ms(72), at(3)));
        assert!(route.note_answer(ms(73), at(2)));
        assert_eq!((route.address(), route.ask(ms(80), true)), (at(2), None));
        // An address that has long said nothing is not asked.
        route.ask(ms(90), true);
        assert_eq!(route.ask(ms(10_072), true), Some(at(1)));
        assert_eq!(route.ask(ms(10_073), true), None);
    }

    #[test]
    fn one_that_is_asked_for_what_it_has_not_named_keeps_its_place() {
        let mut route = Route::new(ms(0), at(1));
        assert_eq!(route.note_hello(ms(10), at(2)), Speaker::Other);
        for i in 0..100 {
            assert_eq!(route.ask(ms(11 + i), false), None);
        }
        assert!(!route.note_answer(ms(120), at(2)));
        assert_eq!(route.address(), at(1));
    }
}
