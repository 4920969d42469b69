//! Whether a key stands twice in one document.
//!
//! Each key sets two bits in a word as it passes. Only where both bits were set already are the
//! keys of that document compared: each with each while they are few, through a hash table when
//! they are many. So the time is in proportion to the keys, whatever they are, and most documents
//! cost no memory but the word.

use std::{
    cell::RefCell,
    hash::{BuildHasher, RandomState},
};

use super::super::raw::RawElements;

/// Up to so many keys each is compared with each; beyond, they go through a hash table.
const FEW_KEYS: usize = 16;

/// A hash table larger than this (in slots of four bytes) is given back after use.
const KEPT_SLOTS: usize = 16 * 1024;

/// What is remembered of the keys of an open document.
#[derive(Clone, Copy, Default)]
pub(in crate::codec) struct Keys {
    /// Two bits for each key, chosen by its bytes.
    marks: u64,
    /// Both bits of a key were there when it came, so that the keys have to be compared.
    suspect: bool,
    /// An array: its names are not read.
    pub(super) unnamed: bool,
}

impl Keys {
    pub(super) fn of_array(unnamed: bool) -> Self {
        Self {
            unnamed,
            ..Self::default()
        }
    }

    /// Takes note of a key by a word that is equal for equal keys.
    #[inline(always)]
    pub(in crate::codec) fn note(&mut self, word: u64) {
        const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
        let mixed = word.wrapping_mul(ODD);
        let mark = 1 << (mixed >> 58) | 1 << (mixed >> 52 & 63);
        // Without a branch: this is done for every key that comes or goes.
        self.suspect |= self.marks & mark == mark;
        self.marks |= mark;
    }

    /// A key that stands twice in the document whose `elements` were noted.
    #[inline]
    pub(in crate::codec) fn double<'a>(&self, elements: &'a [u8]) -> Option<&'a [u8]> {
        if self.suspect {
            find_double(elements)
        } else {
            None
        }
    }
}

/// Compares the keys of one document whose elements are all good.
#[cold]
fn find_double(elements: &[u8]) -> Option<&[u8]> {
    let mut seen = [&[][..]; FEW_KEYS];
    for (count, element) in RawElements::new(elements).enumerate() {
        let key = element.key_bytes();
        if count == FEW_KEYS {
            return in_table(elements);
        }
        if seen[..count].contains(&key) {
            return Some(key);
        }
        seen[count] = key;
    }
    None
}

fn in_table(elements: &[u8]) -> Option<&[u8]> {
    let found = KEY_TABLE.try_with(|table| table.borrow_mut().find_double(elements));
    // While the thread ends there is none that is kept.
    found.unwrap_or_else(|_| KeyTable::default().find_double(elements))
}

thread_local! {
    static KEY_TABLE: RefCell<KeyTable> = RefCell::default();
}

/// Finds two equal keys among many. They are hashed with a random secret, so that no sender can
/// choose keys that collide.
#[derive(Default)]
struct KeyTable {
    /// Where a key begins, plus one; 0 is empty.
    slots: Vec<u32>,
    secret: RandomState,
}

impl KeyTable {
    fn find_double<'a>(&mut self, elements: &'a [u8]) -> Option<&'a [u8]> {
        let count = RawElements::new(elements).count();
        self.slots.clear();
        self.slots.resize(count + count / 2, 0);
        let mut walk = RawElements::new(elements);
        let double = loop {
            // Behind the type of the element to come.
            let key_at = elements.len() - walk.rest().len() + 1;
            let Some(element) = walk.next() else {
                break None;
            };
            let key = element.key_bytes();
            if !self.insert(elements, key, key_at) {
                break Some(key);
            }
        };
        if self.slots.capacity() > KEPT_SLOTS {
            self.slots = Vec::new();
        }
        double
    }

    /// False when an equal key is there.
    fn insert(&mut self, elements: &[u8], key: &[u8], key_at: usize) -> bool {
        let size = self.slots.len();
        // The hash scaled down to the table: its high bits choose.
        let hash = self.secret.hash_one(key);
        let mut slot = ((u128::from(hash) * size as u128) >> 64) as usize;
        loop {
            match self.slots[slot] {
                0 => break,
                taken => {
                    let other = &elements[taken as usize - 1..];
                    if other.get(key.len()) == Some(&0) && other.starts_with(key) {
                        return false;
                    }
                }
            }
            slot = if slot + 1 == size { 0 } else { slot + 1 };
        }
        self.slots[slot] = key_at as u32 + 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_not_kept_large() {
        let mut elements = Vec::new();
        for i in 0..50_000 {
            elements.extend(format!("\x0A{i}\0").as_bytes());
        }
        assert_eq!(find_double(&elements), None);
        KEY_TABLE.with_borrow(|table| assert!(table.slots.capacity() <= KEPT_SLOTS));
        elements.extend(b"\x0A7\0");
        assert_eq!(find_double(&elements), Some(&b"7"[..]));
    }
}
