//! The shares of senders in a table of limited size, so that an address with many entries loses one
//! to an address with few.
//!
//! Entries are counted by IP address, and within one by address. Not responsible for the table, nor
//! for which entry of an address is removed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
};

use crate::proto::hash::HashKey;

/// How many addresses are looked at where several have as many entries.
const FEW_ADDRESSES: usize = 8;

/// How many entries of a table each sender has.
pub(in crate::proto) struct Shares {
    ips: HashMap<IpAddr, IpShare, HashKey>,
    /// The IP addresses by how many streams they have.
    by_count: BTreeSet<(usize, IpAddr)>,
}

#[derive(Default)]
struct IpShare {
    count: usize,
    /// The streams of each address, in the order in which they began: by generation.
    addresses: BTreeMap<SocketAddr, BTreeMap<u64, usize>>,
    by_count: BTreeSet<(usize, SocketAddr)>,
}

impl Shares {
    pub(in crate::proto) fn new(key: HashKey) -> Self {
        Self {
            ips: HashMap::with_hasher(key),
            by_count: BTreeSet::new(),
        }
    }

    pub(in crate::proto) fn add(&mut self, address: SocketAddr, generation: u64, index: usize) {
        let ip = self.ips.entry(address.ip()).or_default();
        self.by_count.remove(&(ip.count, address.ip()));
        ip.count += 1;
        self.by_count.insert((ip.count, address.ip()));
        let streams = ip.addresses.entry(address).or_default();
        ip.by_count.remove(&(streams.len(), address));
        streams.insert(generation, index);
        ip.by_count.insert((streams.len(), address));
    }

    pub(in crate::proto) fn remove(&mut self, address: SocketAddr, generation: u64) {
        let Some(ip) = self.ips.get_mut(&address.ip()) else {
            return;
        };
        self.by_count.remove(&(ip.count, address.ip()));
        ip.count -= 1;
        if let Some(streams) = ip.addresses.get_mut(&address) {
            ip.by_count.remove(&(streams.len(), address));
            streams.remove(&generation);
            if streams.is_empty() {
                ip.addresses.remove(&address);
            } else {
                ip.by_count.insert((streams.len(), address));
            }
        }
        if ip.count == 0 {
            self.ips.remove(&address.ip());
        } else {
            self.by_count.insert((ip.count, address.ip()));
        }
    }

    /// The entries, by age, of each of a few addresses of which one has to give its place to a
    /// newcomer, if one has.
    pub(in crate::proto) fn fullest(
        &self,
        newcomer: SocketAddr,
    ) -> Option<impl Iterator<Item = &BTreeMap<u64, usize>>> {
        let (most, fullest) = self.by_count.last()?;
        let own = self.ips.get(&newcomer.ip());
        let own_count = own.map_or(0, |own| own.count);
        let ip = if *most > own_count + 1 {
            self.ips.get(fullest)?
        } else {
            // No IP address has more than the newcomer's own: within that the share of its address
            // decides.
            let own = own?;
            let (most, _) = own.by_count.last()?;
            let count = own.addresses.get(&newcomer).map_or(0, BTreeMap::len);
            (*most > count + 1).then_some(own)?
        };
        let (most, _) = *ip.by_count.last()?;
        let alike = ip.by_count.iter().rev().take(FEW_ADDRESSES);
        let alike = alike.take_while(move |(count, _)| *count == most);
        Some(alike.filter_map(|(_, address)| ip.addresses.get(address)))
    }

    /// The entries that are nearest to a newcomer's: of its own address, or of its IP address.
    pub(in crate::proto) fn nearest(&self, newcomer: SocketAddr) -> Option<&BTreeMap<u64, usize>> {
        let own = self.ips.get(&newcomer.ip())?;
        let (_, fullest) = own.by_count.last()?;
        let alike = own.addresses.get(&newcomer);
        alike.or_else(|| own.addresses.get(fullest))
    }

    #[cfg(test)]
    pub(in crate::proto) fn is_empty(&self) -> bool {
        self.ips.is_empty() && self.by_count.is_empty()
    }
}
