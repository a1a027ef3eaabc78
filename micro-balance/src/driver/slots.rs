//! Every endpoint that the driver knows of, by key and by serial number.
//!
//! There may be many, and most need little: they stand side by side, and what finds them is four bytes each.

use std::hash::{BuildHasher, Hash, RandomState};

use hashbrown::HashTable;

use super::slot::Slot;

/// How many stand in one block.
const BLOCK: usize = 16;
/// The lower bits of a serial number say where an endpoint stands, the others how many came before it: so that
/// numbers rise with time, and none is ever used again.
const PLACE: u32 = 24;

/// Some places, and who has them.
type Block<K, S> = Box<[Option<Slot<K, S>>]>;

/// The endpoints, at places that they keep.
pub(super) struct Slots<K, S> {
    blocks: Vec<Block<K, S>>,
    /// Places that nobody has.
    free: Vec<u32>,
    /// The places by key.
    keys: HashTable<u32>,
    hasher: RandomState,
    /// How many there ever were.
    ever: u64,
}

impl<K: Hash + Eq, S> Slots<K, S> {
    pub(super) fn new() -> Self {
        Self {
            blocks: Vec::new(),
            free: Vec::new(),
            keys: HashTable::new(),
            hasher: RandomState::new(),
            ever: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Takes the endpoint that `make` makes of its serial number, which is given back; `None` where there is no
    /// room, which is for 2²⁴.
    pub(super) fn insert(&mut self, make: impl FnOnce(u64) -> Slot<K, S>) -> Option<u64> {
        let place = self.vacant()?;
        self.ever += 1;
        let serial = self.ever << PLACE | u64::from(place);
        let slot = make(serial);
        let Self { blocks, keys, hasher, .. } = self;
        let hash = hasher.hash_one(&slot.key);
        *blocks.get_mut(place as usize / BLOCK)?.get_mut(place as usize % BLOCK)? = Some(slot);
        keys.insert_unique(hash, place, |&place| {
            at(blocks, place).map_or(0, |slot| hasher.hash_one(&slot.key))
        });
        Some(serial)
    }

    /// A place that nobody has.
    fn vacant(&mut self) -> Option<u32> {
        if self.free.is_empty() {
            let first = u32::try_from(self.blocks.len() * BLOCK).ok().filter(|first| first >> PLACE == 0)?;
            self.blocks.push((0..BLOCK).map(|_| None).collect());
            self.free.extend((first..first + BLOCK as u32).rev());
        }
        self.free.pop()
    }

    /// Gives the endpoint with this key away.
    pub(super) fn remove(&mut self, key: &K) -> Option<Slot<K, S>> {
        let Self { blocks, keys, hasher, .. } = self;
        let is_it = |&place: &u32| at(blocks, place).is_some_and(|slot| slot.key == *key);
        let (place, _) = keys.find_entry(hasher.hash_one(key), is_it).ok()?.remove();
        let slot = blocks.get_mut(place as usize / BLOCK)?.get_mut(place as usize % BLOCK)?.take();
        self.free.push(place);
        slot
    }

    /// The serial number of the endpoint with this key.
    pub(super) fn serial(&self, key: &K) -> Option<u64> {
        let is_it = |&place: &u32| at(&self.blocks, place).is_some_and(|slot| slot.key == *key);
        let &place = self.keys.find(self.hasher.hash_one(key), is_it)?;
        at(&self.blocks, place).map(Slot::serial)
    }
}

impl<K, S> Slots<K, S> {
    /// The endpoint with this serial number, if it is still there.
    pub(super) fn get(&self, serial: u64) -> Option<&Slot<K, S>> {
        at(&self.blocks, place(serial)).filter(|slot| slot.serial() == serial)
    }

    pub(super) fn get_mut(&mut self, serial: u64) -> Option<&mut Slot<K, S>> {
        let place = place(serial) as usize;
        let slot = self.blocks.get_mut(place / BLOCK)?.get_mut(place % BLOCK)?.as_mut();
        slot.filter(|slot| slot.serial() == serial)
    }

    /// All of them, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &Slot<K, S>> {
        self.blocks.iter().flat_map(|block| block.iter().flatten())
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Slot<K, S>> {
        self.blocks.iter_mut().flat_map(|block| block.iter_mut().flatten())
    }

    /// All serial numbers, in the order in which discovery named them.
    pub(super) fn serials(&self) -> Vec<u64> {
        let mut serials: Vec<_> = self.values().map(Slot::serial).collect();
        serials.sort_unstable();
        serials
    }
}

fn place(serial: u64) -> u32 {
    (serial & ((1 << PLACE) - 1)) as u32
}

fn at<K, S>(blocks: &[Block<K, S>], place: u32) -> Option<&Slot<K, S>> {
    blocks.get(place as usize / BLOCK)?.get(place as usize % BLOCK)?.as_ref()
}

#[cfg(all(test, not(micro_loom)))]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use std::sync::{Arc, Weak};

    use super::*;
    use crate::{
        Attributes, Ejection,
        endpoint::{About, Endpoint},
        settings::Settings,
        stats::{Home, Stats},
    };

    fn slot(key: u32, serial: u64) -> Slot<u32, ()> {
        let (reports, _) = tokio::sync::mpsc::unbounded_channel();
        let settings = Settings::new(None, Ejection::default());
        let home = Home::new(settings.into(), reports, Weak::<()>::new());
        let stats = Arc::new(Stats::new(serial, key.to_string().into(), home));
        Slot::new(key, Endpoint::new(About::new(Attributes::default()), stats), ())
    }

    #[test]
    fn all_are_found_by_key_and_number_and_who_is_gone_is_not_taken_for_who_has_its_place() {
        let mut slots = Slots::new();
        let serials: Vec<u64> =
            (0..200).map(|key| slots.insert(|serial| slot(key, serial)).unwrap()).collect();
        assert!(serials.is_sorted() && slots.serials() == serials && slots.len() == 200);
        for (key, &serial) in (0..200).zip(&serials) {
            assert_eq!((slots.serial(&key), slots.get(serial).unwrap().key), (Some(serial), key));
        }
        assert_eq!(slots.remove(&77).unwrap().key, 77);
        assert!(slots.remove(&77).is_none() && slots.serial(&77).is_none() && slots.len() == 199);
        let back = slots.insert(|serial| slot(77, serial)).unwrap();
        assert_eq!((place(back), back > serials[199]), (place(serials[77]), true));
        assert!(slots.get(serials[77]).is_none() && slots.get_mut(serials[77]).is_none());
        assert_eq!((slots.get(back).unwrap().key, slots.blocks.len()), (77, 13));
    }

    #[test]
    fn an_endpoint_that_is_well_takes_the_driver_a_line_of_the_cache_at_most() {
        assert!(size_of::<Option<Slot<u32, ()>>>() <= 48);
    }
}
