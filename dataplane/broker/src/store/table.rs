//! A hash table of record indices in cache-line buckets.

use superpage::{Array, Placement, RegionError, Tier, record};

record! {
    /// One cache line of a [`HashIndex`].
    struct Bucket {
        /// Indices of records; only those with a tag mean something.
        indices: [u32; SLOTS],
        /// Eight bits of each entry's hash, never 0; 0 is a free slot.
        tags: [u8; SLOTS],
        /// Entries that found this bucket full and went on to a later one. A search that does not
        /// find its entry here may stop when this is 0.
        passed: u32,
    }
}

/// Finds a record's index by the hash of its key.
///
/// The keys stay in the records: the caller hashes, and compares what a search proposes. Slots are
/// filled to [`LOAD_PERCENT`], so an entry costs 6.7 bytes. There is no growth and no rehashing;
/// removal leaves no tombstone.
#[derive(Debug)]
pub(crate) struct HashIndex {
    buckets: Array<Bucket>,
}

impl HashIndex {
    /// Makes an empty table in which `capacity` entries find a place.
    pub(crate) fn create(
        name: &str,
        capacity: u32,
        placement: Placement,
    ) -> Result<Self, RegionError> {
        Ok(Self { buckets: Array::create(name, buckets_for(capacity), placement)? })
    }

    /// Bytes of a table for `capacity` entries.
    pub(crate) const fn bytes_for(capacity: u32) -> usize {
        Array::<Bucket>::bytes_for(buckets_for(capacity))
    }

    /// The entry with this hash that `is_it` accepts.
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = tag(hash);
        for at in self.probe(hash) {
            let bucket = &self.buckets[at];
            for slot in 0..SLOTS {
                if bucket.tags[slot] == tag && is_it(bucket.indices[slot]) {
                    return Some(bucket.indices[slot]);
                }
            }
            if bucket.passed == 0 {
                return None;
            }
        }
        None
    }

    /// Adds an entry, which must not be there yet.
    ///
    /// # Panics
    /// When all slots are taken: callers enter no more than the capacity they asked for.
    pub(crate) fn insert(&mut self, hash: u64, index: u32) {
        for at in self.probe(hash) {
            let bucket = &mut self.buckets[at];
            if let Some(slot) = bucket.tags.iter().position(|&tag| tag == FREE) {
                bucket.tags[slot] = tag(hash);
                bucket.indices[slot] = index;
                return;
            }
            bucket.passed += 1;
        }
        panic!("more entries than the table was made for");
    }

    /// Removes the entry `index` that was added with `hash`.
    ///
    /// # Panics
    /// When it is not there.
    pub(crate) fn remove(&mut self, hash: u64, index: u32) {
        for at in self.probe(hash) {
            let bucket = &mut self.buckets[at];
            let is_it =
                |slot: &usize| bucket.tags[*slot] == tag(hash) && bucket.indices[*slot] == index;
            if let Some(slot) = (0..SLOTS).find(is_it) {
                bucket.tags[slot] = FREE;
                return;
            }
            bucket.passed = bucket.passed.checked_sub(1).expect("entry is in the table");
        }
        panic!("entry is in the table");
    }

    /// What the table lies on and how much of it.
    pub(crate) fn region(&self) -> (Tier, usize) {
        (self.buckets.tier(), self.buckets.region_bytes())
    }

    /// All buckets, beginning with the one where `hash` is at home.
    fn probe(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let count = self.buckets.len();
        // The high bits choose the bucket, the low ones are the tag.
        let home = ((u128::from(hash) * count as u128) >> 64) as usize;
        (home..count).chain(0..home)
    }
}

fn tag(hash: u64) -> u8 {
    (hash as u8).max(1)
}

const fn buckets_for(capacity: u32) -> usize {
    (capacity as usize * 100).div_ceil(LOAD_PERCENT * SLOTS)
}

/// Slots of a bucket: what fits beside 4 bytes of `passed` with 5 bytes each.
const SLOTS: usize = 12;
/// Share of slots in use when the table holds its capacity. Above it, searches leave their first
/// bucket ever more often.
const LOAD_PERCENT: usize = 80;
const FREE: u8 = 0;

const _: () = assert!(size_of::<Bucket>() == 64);

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::store::test_support::SMALL;

    fn is_empty(table: &HashIndex) -> bool {
        table.buckets.iter().all(|bucket| bucket.tags == [FREE; SLOTS] && bucket.passed == 0)
    }

    #[test]
    fn empty_table_finds_nothing() {
        let table = HashIndex::create("t", 0, SMALL).unwrap();
        assert_eq!(table.find(7, |_| true), None);
    }

    #[test]
    fn capacity_fits_even_when_all_hashes_are_equal() {
        let mut table = HashIndex::create("t", 500, SMALL).unwrap();
        for index in 0..500 {
            table.insert(u64::MAX, index);
        }
        for index in 0..500 {
            assert_eq!(table.find(u64::MAX, |found| found == index), Some(index));
        }
        for index in (0..500).rev() {
            table.remove(u64::MAX, index);
            assert_eq!(table.find(u64::MAX, |found| found == index), None);
        }
        assert!(is_empty(&table));
    }

    proptest! {
        #[test]
        fn table_behaves_like_a_map(
            // Few distinct hashes, in few home buckets, so that buckets overflow.
            steps in prop::collection::vec((any::<bool>(), 0..96_u32, 0..4_u64), 1..400)
        ) {
            let mut table = HashIndex::create("t", 96, SMALL).unwrap();
            let mut model = HashMap::new();
            for (add, index, spread) in steps {
                let hash = (spread << 62) | u64::from(index % 3);
                if add && !model.contains_key(&index) {
                    table.insert(hash, index);
                    model.insert(index, hash);
                } else if let Some(hash) = model.remove(&index) {
                    table.remove(hash, index);
                }
                for index in 0..96 {
                    let hash = model.get(&index).copied();
                    let found = hash.and_then(|hash| table.find(hash, |found| found == index));
                    prop_assert_eq!(found.is_some(), hash.is_some());
                }
            }
            for (index, hash) in model {
                table.remove(hash, index);
            }
            prop_assert!(is_empty(&table));
        }
    }
}
