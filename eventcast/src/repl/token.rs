//! What a client of a guarded console has to say first.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The token of a console, kept as an HMAC, so that comparing takes the same time for every input.
pub(super) struct Token(Hmac<Sha256>);

impl Token {
    pub(super) fn new(token: &[u8]) -> Self {
        let empty =
            Hmac::new_from_slice(b"eventcast console").expect("HMAC takes keys of any length");
        Self(Mac::chain_update(empty, token))
    }

    /// Whether this is it.
    pub(super) fn is(&self, said: &str) -> bool {
        let said = Self::new(said.as_bytes()).0.finalize();
        self.0.clone().verify(&said.into_bytes()).is_ok()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// The most addresses that are remembered for a wrong token.
const MAX_GUESSERS: usize = 256;

/// For so long an address is remembered.
const MEMORY: Duration = Duration::from_secs(60);

/// So many wrong ones cost nothing: a slip of the finger, and another.
const FREE: u32 = 2;

/// The pause before the next is looked at, and the longest that it doubles up to.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// The tokens of one address are checked one after the other, over however many connections they
/// come. One that would wait for longer than this is not checked: so a client with the right token
/// waits no longer either, and guesses from connections that were closed meanwhile cannot delay
/// others for ever.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(24);

/// The addresses that send tokens, and how often: each token costs the next one from the same
/// address a pause before it is checked. A token counts as wrong until it is found to be right, so
/// that many at once gain nothing.
#[derive(Debug, Default)]
pub(super) struct Guesses(Mutex<HashMap<IpAddr, Guesser>>);

#[derive(Debug)]
struct Guesser {
    count: u32,
    /// When the last of them is looked at.
    last: Instant,
}

impl Guesser {
    fn pause(&self) -> Duration {
        let Some(doublings) = self.count.checked_sub(FREE) else {
            return Duration::ZERO;
        };
        (FIRST_PAUSE * 2_u32.pow(doublings.min(8))).min(LONGEST_PAUSE)
    }
}

impl Guesses {
    /// Registers a token that was sent, and returns how long it waits for its check. `None`: it is
    /// not checked, since too many from this address wait already.
    pub(super) fn turn(&self, from: IpAddr, now: Instant) -> Option<Duration> {
        let mut guessers = self.lock();
        let from = whose(from);
        if guessers.len() >= MAX_GUESSERS && !guessers.contains_key(&from) {
            let oldest = guessers.iter().min_by_key(|(_, guesser)| guesser.last);
            if let Some(oldest) = oldest.map(|(&from, _)| from) {
                guessers.remove(&oldest);
            }
        }
        let guesser = guessers.entry(from).or_insert(Guesser {
            count: 0,
            last: now,
        });
        if now.saturating_duration_since(guesser.last) > MEMORY {
            guesser.count = 0;
        }
        let turn = guesser.last.max(now) + guesser.pause();
        let wait = turn.saturating_duration_since(now);
        if wait > LONGEST_WAIT {
            return None;
        }
        guesser.count = guesser.count.saturating_add(1);
        guesser.last = turn;
        Some(wait)
    }

    /// A client of this address has the right token.
    pub(super) fn right(&self, from: IpAddr) {
        self.lock().remove(&whose(from));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Guesser>> {
        // Nothing that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The owner of an address: of IPv6 a machine has as many addresses as it likes within 64 bits (RFC
/// 4291, section 2.5.1).
pub(super) fn whose(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => address.into(),
            None => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_token_costs_the_next_of_its_address_more() {
        let guesses = Guesses::default();
        let (mine, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let begin = Instant::now();
        let mut delays = Vec::new();
        let mut now = begin;
        // Each waits for the answer to the one before.
        for _ in 0..10 {
            let wait = guesses.turn(mine, now).unwrap();
            delays.push(wait.as_millis());
            now += wait + Duration::from_secs(1);
        }
        assert_eq!(
            delays,
            [0, 0, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000, 8_000]
        );
        assert_eq!(guesses.turn(other, now), Some(Duration::ZERO));
        let later = now + MEMORY + Duration::from_secs(1);
        for _ in 0..2 {
            assert_eq!(guesses.turn(mine, later), Some(Duration::ZERO));
        }
        for _ in 0..5 {
            assert!(guesses.turn(mine, later) > Some(Duration::ZERO));
        }
        guesses.right(mine);
        assert_eq!(guesses.turn(mine, later), Some(Duration::ZERO));
    }

    /// Also where one that is turned away comes again at once, and one that waits goes away.
    #[test]
    fn many_connections_of_one_address_guess_no_faster_than_one() {
        let guesses = Guesses::default();
        let (mine, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let begin = Instant::now();
        let minutes = Duration::from_secs(600);
        let mut looked_at = 0;
        for tick in 0..6_000 {
            let now = begin + tick * minutes / 6_000;
            for _ in 0..32 {
                let turn = guesses.turn(mine, now);
                assert!(turn <= Some(LONGEST_WAIT));
                looked_at += u32::from(turn.is_some_and(|wait| now + wait <= begin + minutes));
            }
        }
        assert!(
            looked_at <= 8 + 600 / 8,
            "{looked_at} guesses in ten minutes"
        );
        assert_eq!(guesses.turn(other, begin + minutes), Some(Duration::ZERO));
        // Once they have stopped, a client with the right token waits no longer than those that
        // still wait.
        let after = begin + minutes + LONGEST_WAIT;
        assert!(guesses.turn(mine, after).is_some());
    }

    #[test]
    fn any_number_of_addresses_takes_no_memory() {
        let guesses = Guesses::default();
        let begin = Instant::now();
        for i in 0..10_000_u32 {
            let now = begin + Duration::from_millis(i.into());
            guesses.turn(IpAddr::V4(i.into()), now);
            guesses.turn(
                IpAddr::V6(Ipv6Addr::from_bits(u128::from(i) << 64 | 7)),
                now,
            );
        }
        assert_eq!(guesses.lock().len(), MAX_GUESSERS);
        // Those of one machine are one.
        let v6 = |low: u128| IpAddr::V6(Ipv6Addr::from_bits(9_999 << 64 | low));
        for low in 0..4 {
            guesses.turn(v6(low), begin + Duration::from_secs(10));
        }
        let last = guesses.turn(v6(99), begin + Duration::from_secs(10));
        assert!(last > Some(Duration::ZERO));
    }

    #[test]
    fn the_token_alone_is_it() {
        let token = Token::new("alpha bravo".as_bytes());
        assert!(token.is("alpha bravo"));
        for said in ["", "alpha", "alpha bravo ", "alpha bravO"] {
            assert!(!token.is(said), "{said}");
        }
        assert_eq!(format!("{token:?}"), "Token");
    }
}
