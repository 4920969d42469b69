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

/// The token of a console. What is kept of it is an HMAC, so that comparing takes the same time whatever is said.
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

/// How many addresses are remembered that said a wrong token.
const MAX_GUESSERS: usize = 256;

/// For so long an address is remembered.
const MEMORY: Duration = Duration::from_secs(60);

/// So many wrong ones cost nothing: a slip of the finger, and another.
const FREE: u32 = 2;

/// The pause before the next is looked at, and the longest that it doubles up to. Somebody who knows the token waits
/// no longer than that, whoever else guesses from the same machine.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Who said a wrong token, and how often: each costs the next from the same address a pause, before it is looked at.
#[derive(Debug, Default)]
pub(super) struct Guesses(Mutex<HashMap<IpAddr, Wrong>>);

#[derive(Debug)]
struct Wrong {
    count: u32,
    last: Instant,
}

impl Guesses {
    /// How long the next token from this address has to wait.
    pub(super) fn delay(&self, from: IpAddr, now: Instant) -> Duration {
        let guessers = self.lock();
        let Some(wrong) = guessers.get(&whose(from)) else {
            return Duration::ZERO;
        };
        if now.saturating_duration_since(wrong.last) > MEMORY || wrong.count < FREE {
            return Duration::ZERO;
        }
        let doublings = (wrong.count - FREE).min(8);
        (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
    }

    /// A token from this address was wrong.
    pub(super) fn wrong(&self, from: IpAddr, now: Instant) {
        let mut guessers = self.lock();
        let from = whose(from);
        if guessers.len() >= MAX_GUESSERS && !guessers.contains_key(&from) {
            let oldest = guessers.iter().min_by_key(|(_, wrong)| wrong.last);
            if let Some(oldest) = oldest.map(|(&from, _)| from) {
                guessers.remove(&oldest);
            }
        }
        let wrong = guessers.entry(from).or_insert(Wrong {
            count: 0,
            last: now,
        });
        if now.saturating_duration_since(wrong.last) > MEMORY {
            wrong.count = 0;
        }
        wrong.count = wrong.count.saturating_add(1);
        wrong.last = now;
    }

    /// Somebody at this address knows the token.
    pub(super) fn right(&self, from: IpAddr) {
        self.lock().remove(&whose(from));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Wrong>> {
        // Nothing that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whom an address belongs to: of IPv6, a machine has as many as it likes of 64 bits each (RFC 4291, section 2.5.1).
fn whose(address: IpAddr) -> IpAddr {
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
        for _ in 0..10 {
            delays.push(guesses.delay(mine, begin).as_millis());
            guesses.wrong(mine, begin);
        }
        assert_eq!(
            delays,
            [0, 0, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000, 8_000]
        );
        assert_eq!(guesses.delay(other, begin), Duration::ZERO);
        let later = begin + MEMORY + Duration::from_secs(1);
        assert_eq!(guesses.delay(mine, later), Duration::ZERO);
        guesses.wrong(mine, later);
        assert_eq!(guesses.delay(mine, later), Duration::ZERO);
        for _ in 0..5 {
            guesses.wrong(mine, later);
        }
        guesses.right(mine);
        assert_eq!(guesses.delay(mine, later), Duration::ZERO);
    }

    #[test]
    fn any_number_of_addresses_takes_no_memory() {
        let guesses = Guesses::default();
        let begin = Instant::now();
        for i in 0..10_000_u32 {
            let now = begin + Duration::from_millis(i.into());
            guesses.wrong(IpAddr::V4(i.into()), now);
            guesses.wrong(
                IpAddr::V6(Ipv6Addr::from_bits(u128::from(i) << 64 | 7)),
                now,
            );
        }
        assert_eq!(guesses.lock().len(), MAX_GUESSERS);
        // Those of one machine are one.
        let v6 = |low: u128| IpAddr::V6(Ipv6Addr::from_bits(9_999 << 64 | low));
        for low in 0..4 {
            guesses.wrong(v6(low), begin + Duration::from_secs(10));
        }
        assert!(guesses.delay(v6(99), begin + Duration::from_secs(10)) > Duration::ZERO);
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
