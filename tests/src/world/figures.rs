//! What is counted over worlds.

use std::fmt;

use super::{
    history::{MILLI, Nanos},
    network::Losses,
};

/// Sums over one world, or over many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// How many worlds.
    pub worlds: u64,
    /// How long they lasted, all together.
    pub virtual_time: Nanos,
    /// Messages that were taken to be sent.
    pub messages: u64,
    /// How often a send queue was full.
    pub refused: u64,
    /// Datagrams sent.
    pub datagrams: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of these datagrams, those that were sent before.
    pub repairs: u64,
    /// Of these datagrams, those that buses and old peers say to each other.
    pub control: u64,
    /// What became of their copies.
    pub network: Losses,
    /// Worlds whose group is sealed.
    pub sealed: u64,
    /// Of these, those whose group changes its key.
    pub key_changes: u64,
    /// Worlds in clear groups in which somebody speaks in the names of members.
    pub posed_as_members: u64,
    /// Of these, those in which it speaks as one of them from that one's address.
    pub usurped: u64,
    /// Datagrams that came to buses in their names.
    pub posed: u64,
    /// Of these, the greetings and goodbyes that a bus has counted as somebody else's.
    pub not_obeyed: u64,
    /// Datagrams that an attacker brought to a bus.
    pub injected: u64,
    /// Messages given to the applications of buses.
    pub delivered: u64,
    /// And of old peers.
    pub delivered_to_old: u64,
    /// Of those that buses delivered, those of which a repair had come.
    pub repaired: u64,
    /// Numbers told as lost.
    pub told_lost: u64,
    /// Messages in chunks given up.
    pub expired: u64,
}

impl Figures {
    /// Adds those of other worlds.
    pub fn add(&mut self, other: &Self) {
        self.worlds += other.worlds;
        self.virtual_time += other.virtual_time;
        self.messages += other.messages;
        self.refused += other.refused;
        self.datagrams += other.datagrams;
        self.bytes += other.bytes;
        self.repairs += other.repairs;
        self.control += other.control;
        self.network.copies += other.network.copies;
        self.network.lost += other.network.lost;
        self.network.crowded_out += other.network.crowded_out;
        self.network.doubled += other.network.doubled;
        self.network.reordered += other.network.reordered;
        self.network.altered += other.network.altered;
        self.sealed += other.sealed;
        self.key_changes += other.key_changes;
        self.posed_as_members += other.posed_as_members;
        self.usurped += other.usurped;
        self.posed += other.posed;
        self.not_obeyed += other.not_obeyed;
        self.injected += other.injected;
        self.delivered += other.delivered;
        self.delivered_to_old += other.delivered_to_old;
        self.repaired += other.repaired;
        self.told_lost += other.told_lost;
        self.expired += other.expired;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = &self.network;
        writeln!(
            f,
            "{} worlds ({} of them sealed, of which {} change their key), {} s of their time, {} messages",
            self.worlds,
            self.sealed,
            self.key_changes,
            self.virtual_time / (1000 * MILLI),
            self.messages
        )?;
        writeln!(
            f,
            "datagrams: {} sent ({} of them repairs, {} control), {} copies",
            self.datagrams, self.repairs, self.control, network.copies
        )?;
        writeln!(
            f,
            "copies: {} lost ({} of them for want of room), {} doubled, {} reordered, {} corrupted; {} injected by an attacker",
            network.lost,
            network.crowded_out,
            network.doubled,
            network.reordered,
            network.altered,
            self.injected
        )?;
        writeln!(
            f,
            "members posed as in {} worlds in the clear ({} of them from their own addresses too): {} datagrams came in \
             their names, of which {} were greetings or goodbyes that were not obeyed",
            self.posed_as_members, self.usurped, self.posed, self.not_obeyed
        )?;
        write!(
            f,
            "messages: {} delivered ({} of them repaired), {} to old peers, {} told as lost, {} expired",
            self.delivered, self.repaired, self.delivered_to_old, self.told_lost, self.expired
        )
    }
}
