//! How much may be sent to single addresses (WIRE.md section 6, "Answering").
//!
//! A request is small and its answer is not, and the source address of a request can be forged. So
//! an address has to prove that it receives what is sent to it, as with QUIC (RFC 9000, section
//! 8.1): it puts a token that was sent to it into its requests. Until then its IP address, whatever
//! the port, is sent no more than three times the bytes that came from it, plus [`A_MINUTE`] bytes.
//! A token is a MAC of the address and the time, so nothing is stored for addresses that have not
//! echoed one.
//!
//! Each table has a limit; addresses beyond it share one budget, so that filling the table gives no
//! sender a new budget. Bytes that come from one of them are credited to no budget, since another
//! address would spend them: they stay with the address while it is known.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::proto::{hash::HashKey, rate::TokenBucket, repair::retransmit_queue::Requester};

/// What an IP address gets beside three times what came from it, in bytes a minute.
pub(in crate::proto) const A_MINUTE: u64 = 256 << 10;

/// How many times what came from an IP address it gets.
pub(in crate::proto) const TIMES: u64 = 3;

/// Most that an IP address may have left of that.
pub(in crate::proto) const MAX_CREDIT: u64 = 1 << 20;

/// What may be sent to one address that has echoed a token, in bytes a second, or a quarter of the
/// rate of new messages if that is more.
const FOR_PEER: u64 = 4 << 20;

/// Most IP addresses, and most addresses, with budgets of their own.
const MAX_BUDGETS: usize = 4096;

const MINUTE: Duration = Duration::from_secs(60);

/// A token holds for the period in which it was made, and the next one.
const TOKEN_PERIOD: u64 = 60;

/// What a token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Echoed {
    Nothing,
    /// It is good, and about to expire.
    Old,
    Fresh,
}

/// Makes tokens, and knows its own again.
pub(in crate::proto) struct Tokens {
    key: [u8; 32],
}

impl Tokens {
    /// `seed` is known to this process alone.
    pub(in crate::proto) fn new(seed: &[u8; 32]) -> Self {
        let mut mac = keyed(seed);
        mac.update(b"address tokens");
        Self {
            key: mac.finalize().into_bytes().into(),
        }
    }

    /// The token for an address: below 2⁶³, as every number on the wire.
    pub(in crate::proto) fn make(&self, now: Duration, to: SocketAddr) -> u64 {
        self.of_period(now.as_secs() / TOKEN_PERIOD, to)
    }

    pub(in crate::proto) fn check(
        &self,
        now: Duration,
        from: SocketAddr,
        token: Option<u64>,
    ) -> Echoed {
        let Some(token) = token else {
            return Echoed::Nothing;
        };
        let period = now.as_secs() / TOKEN_PERIOD;
        if token == self.of_period(period, from) {
            Echoed::Fresh
        } else if period > 0 && token == self.of_period(period - 1, from) {
            Echoed::Old
        } else {
            Echoed::Nothing
        }
    }

    fn of_period(&self, period: u64, address: SocketAddr) -> u64 {
        let mut mac = keyed(&self.key);
        match address.ip() {
            IpAddr::V4(ip) => mac.update(&ip.to_ipv6_mapped().octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&address.port().to_be_bytes());
        mac.update(&period.to_be_bytes());
        let mac = mac.finalize().into_bytes();
        let (first, _) = mac.split_first_chunk().expect("it has 32 bytes");
        u64::from_be_bytes(*first) >> 1
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    KeyInit::new_from_slice(key).expect("a key may have any length")
}

/// The budgets of all requesters.
pub(in crate::proto) struct Budgets {
    strangers: Table<IpAddr, Stranger>,
    peers: Table<SocketAddr, Peer>,
}

impl Budgets {
    pub(in crate::proto) fn new(key: HashKey) -> Self {
        Self {
            strangers: Table::new(key),
            peers: Table::new(key),
        }
    }

    /// Whether an IP address has a budget of its own, or can have one. Where it has none, nothing
    /// can be [credited](Self::credit) to it: others would have it.
    pub(in crate::proto) fn has_own(&mut self, now: Duration, ip: IpAddr) -> bool {
        self.strangers.has_own(now, ip)
    }

    /// Notes that so many bytes have come from an IP address, of which so many have been answered
    /// already.
    pub(in crate::proto) fn credit(
        &mut self,
        now: Duration,
        ip: IpAddr,
        received: u64,
        answered: u64,
    ) {
        if !self.strangers.has_own(now, ip) {
            return;
        }
        let stranger = self.strangers.get(now, ip);
        let more = received.saturating_mul(TIMES).saturating_sub(answered);
        stranger.credit = stranger.credit.saturating_add(more).min(MAX_CREDIT);
    }

    /// Whether a requester may be sent so many bytes, while so many bytes a second of new messages
    /// are sent.
    pub(in crate::proto) fn has(
        &mut self,
        now: Duration,
        to: Requester,
        bytes: usize,
        anew: u64,
    ) -> bool {
        match to {
            Requester::Peer(address) => {
                let peer = self.peers.get(now, address);
                peer.0.has(now, bytes, for_peer(anew))
            }
            Requester::Stranger(ip) => self.strangers.get(now, ip).has(now, bytes),
            Requester::Group => false,
        }
    }

    /// Takes so many bytes, if they are left.
    pub(in crate::proto) fn take(
        &mut self,
        now: Duration,
        to: Requester,
        bytes: usize,
        anew: u64,
    ) -> bool {
        match to {
            Requester::Peer(address) => {
                let peer = self.peers.get(now, address);
                peer.0.take(now, bytes, for_peer(anew))
            }
            Requester::Stranger(ip) => self.strangers.get(now, ip).take(now, bytes),
            Requester::Group => false,
        }
    }
}

fn for_peer(anew: u64) -> u64 {
    FOR_PEER.max(anew / 4)
}

/// The budget of an IP address.
#[derive(Default)]
struct Stranger {
    /// What is left of three times what came from it.
    credit: u64,
    /// When the present minute began, and what was sent in it beside.
    minute: Duration,
    spent: u64,
}

impl Stranger {
    fn has(&mut self, now: Duration, bytes: usize) -> bool {
        if self.spent == 0 || self.minute + MINUTE <= now {
            (self.minute, self.spent) = (now, 0);
        }
        bytes as u64 <= self.credit + (A_MINUTE - self.spent)
    }

    fn take(&mut self, now: Duration, bytes: usize) -> bool {
        let has = self.has(now, bytes);
        if has {
            let from_credit = self.credit.min(bytes as u64);
            self.credit -= from_credit;
            self.spent += bytes as u64 - from_credit;
        }
        has
    }
}

/// The budget of an address that has echoed a token.
#[derive(Default)]
struct Peer(TokenBucket);

/// A budget that may be forgotten when it is as a new one.
trait Budget: Default {
    fn is_full(&mut self, now: Duration) -> bool;
}

impl Budget for Stranger {
    fn is_full(&mut self, now: Duration) -> bool {
        self.minute + MINUTE <= now || self.spent == 0
    }
}

impl Budget for Peer {
    fn is_full(&mut self, now: Duration) -> bool {
        self.0.is_full(now)
    }
}

struct Table<K, B> {
    budgets: HashMap<K, B, HashKey>,
    /// That of all for which there was no room.
    others: B,
    /// When the table may be searched for full ones again.
    next_sweep: Duration,
}

impl<K: Copy + Eq + Hash, B: Budget> Table<K, B> {
    fn new(key: HashKey) -> Self {
        Self {
            budgets: HashMap::with_hasher(key),
            others: B::default(),
            next_sweep: Duration::ZERO,
        }
    }

    /// Whether a key has a budget of its own, or there is room for it.
    fn has_own(&mut self, now: Duration, key: K) -> bool {
        if self.budgets.len() < MAX_BUDGETS || self.budgets.contains_key(&key) {
            return true;
        }
        if self.next_sweep <= now {
            self.next_sweep = now + Duration::from_secs(1);
            self.budgets.retain(|_, budget| !budget.is_full(now));
        }
        self.budgets.len() < MAX_BUDGETS
    }

    fn get(&mut self, now: Duration, key: K) -> &mut B {
        if !self.has_own(now, key) {
            return &mut self.others;
        }
        self.budgets.entry(key).or_default()
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn budgets() -> Budgets {
        Budgets::new(HashKey::random(&mut StdRng::from_seed([1; 32])))
    }

    fn address(i: u32) -> SocketAddr {
        (std::net::Ipv4Addr::from(0x0a00_0000 + i), 9000).into()
    }

    fn stranger(i: u32) -> Requester {
        Requester::Stranger(address(i).ip())
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// Takes all that there is, in datagrams of a kilobyte.
    fn all(budgets: &mut Budgets, now: Duration, to: Requester) -> u64 {
        (0..)
            .take_while(|_| budgets.take(now, to, 1_024, 0))
            .count() as u64
            * 1_024
    }

    #[test]
    fn a_token_holds_for_its_address_and_its_time() {
        let tokens = Tokens::new(&[1; 32]);
        let token = tokens.make(secs(59), address(1));
        assert!(i64::try_from(token).is_ok());
        let check = |at, from| tokens.check(secs(at), from, Some(token));
        assert_eq!(check(0, address(1)), Echoed::Fresh);
        assert_eq!(check(60, address(1)), Echoed::Old);
        assert_eq!(check(120, address(1)), Echoed::Nothing);
        assert_eq!(check(59, address(2)), Echoed::Nothing);
        let other_port = SocketAddr::new(address(1).ip(), 9001);
        assert_eq!(check(59, other_port), Echoed::Nothing);
        assert_eq!(tokens.check(secs(59), address(1), None), Echoed::Nothing);
        let other = Tokens::new(&[2; 32]);
        assert_ne!(other.make(secs(59), address(1)), token);
    }

    #[test]
    fn an_ip_address_gets_three_times_what_came_from_it_and_so_much_a_minute() {
        let mut budgets = budgets();
        assert_eq!(all(&mut budgets, secs(5), stranger(1)), A_MINUTE);
        assert_eq!(all(&mut budgets, secs(64), stranger(1)), 0);
        budgets.credit(secs(64), address(1).ip(), 10 << 10, 2 << 10);
        assert_eq!(all(&mut budgets, secs(64), stranger(1)), 28 << 10);
        assert_eq!(all(&mut budgets, secs(65), stranger(1)), A_MINUTE);
        assert_eq!(all(&mut budgets, secs(65), stranger(2)), A_MINUTE);
        budgets.credit(secs(65), address(3).ip(), u64::MAX, 0);
        let most = A_MINUTE + MAX_CREDIT;
        assert_eq!(all(&mut budgets, secs(65), stranger(3)), most);
    }

    #[test]
    fn one_that_has_echoed_a_token_gets_so_much_a_second() {
        let mut budgets = budgets();
        let peer = Requester::Peer(address(1));
        let at_once = all(&mut budgets, secs(5), peer);
        assert_eq!(at_once, FOR_PEER / 4);
        let mut more = 0;
        for i in 1..=100 {
            more += all(&mut budgets, secs(5) + i * Duration::from_millis(10), peer);
        }
        assert!(at_once + more <= FOR_PEER && more > FOR_PEER / 2);
    }

    #[test]
    fn addresses_beyond_the_table_share_one_budget() {
        let mut budgets = budgets();
        assert_eq!(all(&mut budgets, secs(0), stranger(0)), A_MINUTE);
        let mut sum = 0;
        for i in 1..20_000 {
            sum += all(&mut budgets, secs(1), stranger(i));
        }
        assert_eq!(sum, MAX_BUDGETS as u64 * A_MINUTE);
        assert_eq!(all(&mut budgets, secs(2), stranger(0)), 0);
        assert_eq!(budgets.strangers.budgets.len(), MAX_BUDGETS);
        // What came from one of the others is not left to all of them.
        assert!(budgets.has_own(secs(2), address(0).ip()));
        assert!(!budgets.has_own(secs(2), address(19_999).ip()));
        budgets.credit(secs(2), address(19_999).ip(), 1 << 20, 0);
        assert_eq!(all(&mut budgets, secs(2), stranger(19_998)), 0);
        // A minute later there is room again.
        assert_eq!(all(&mut budgets, secs(70), stranger(30_000)), A_MINUTE);
        assert_eq!(budgets.strangers.budgets.len(), 1);
    }
}
