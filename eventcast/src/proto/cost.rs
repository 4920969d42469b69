//! The memory that entries of tables take beyond their own size. Limits of tables that a stranger
//! can fill count what the process really pays.

/// What an entry of so many bytes takes in a `BTreeMap` or `BTreeSet`. A node has 11 entries and a
/// header of 16 bytes; when entries come in ascending order, as numbers do, all nodes but the last
/// stay just over half full, and every twelfth node holds 12 pointers more.
pub(super) const fn tree_entry(size: usize) -> usize {
    size * 9 / 4 + 8
}

/// What an allocation of so many bytes takes: allocators keep a header, and round up.
pub(super) const fn allocation(size: usize) -> usize {
    (size + 8).next_multiple_of(16)
}
