//! The flow table: from a flow's hash to the record that stands for it.
//!
//! Buckets are cache lines of eight slots {tag, index}; the full key is compared in the record, so
//! a lookup costs one line here and one line there. A key whose bucket is full goes to the next
//! bucket with room, and every bucket it passed counts it: a lookup goes on only past a bucket that
//! was overflowed, and a removal takes the counts back. So there is neither a rehash nor a
//! tombstone. At load 0.8 (ten bytes a flow) one flow in twelve is not in its first bucket, and finding
//! one that is there takes 1.15 buckets on average.

use superpage::{Array, Placement, RegionError, Tier, record};

record! {
    /// Eight slots: `tag << 32 | index + 1`, 0 when empty. The tag has 24 bits. The top byte of the
    /// first slot counts the flows that found this bucket full.
    pub(crate) struct Bucket {
        slots: [u64; SLOTS],
    }
}

/// What a flow's entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A connection with a TCB.
    Connection(u32),
    /// A passive open waiting for its last ACK.
    Syn(u32),
    /// A connection in TIME-WAIT.
    TimeWait(u32),
}

impl Entry {
    const fn encode(self) -> u64 {
        (match self {
            Self::Connection(index) => index,
            Self::Syn(index) => index | KIND_SYN,
            Self::TimeWait(index) => index | KIND_TIME_WAIT,
        }) as u64
            + 1
    }

    const fn decode(slot: u64) -> Self {
        let index = (slot as u32).wrapping_sub(1);
        match index & (KIND_SYN | KIND_TIME_WAIT) {
            0 => Self::Connection(index),
            KIND_SYN => Self::Syn(index & !KIND_SYN),
            _ => Self::TimeWait(index & !KIND_TIME_WAIT),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct FlowTable {
    buckets: Array<Bucket>,
    entries: u32,
    capacity: u32,
}

impl FlowTable {
    pub(crate) fn create(capacity: u32, placement: Placement) -> Result<Self, RegionError> {
        let buckets = Array::create("flow-table", Self::buckets_for(capacity), placement)?;
        Ok(Self { buckets, entries: 0, capacity })
    }

    const fn buckets_for(capacity: u32) -> usize {
        // Load 0.8: ten slots for eight flows. One more bucket, so that there is always one.
        capacity as usize * 10 / 8 / SLOTS + 1
    }

    /// Asks for the line of the bucket where a lookup of `hash` begins.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        self.buckets.prefetch(self.home(hash));
    }

    /// The first entry with the tag of `hash` for which `is_it` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(Entry) -> bool) -> Option<Entry> {
        let tag = tag(hash);
        let mut at = self.home(hash);
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[at];
            for slot in bucket.slots {
                if slot as u32 != 0 && slot & TAG == tag {
                    let entry = Entry::decode(slot);
                    if is_it(entry) {
                        return Some(entry);
                    }
                }
            }
            if bucket.overflowed() == 0 {
                return None;
            }
            at = self.after(at);
        }
        None
    }

    /// Adds an entry. The caller has made sure that its key is not in the table.
    ///
    /// # Panics
    /// When the table is full: every kind of record is bounded, and the table holds all of them.
    pub(crate) fn insert(&mut self, hash: u64, entry: Entry) {
        assert!(self.entries < self.capacity, "the flow table holds every record there can be");
        self.entries += 1;
        let mut at = self.home(hash);
        loop {
            let bucket = &mut self.buckets[at];
            if let Some(slot) = bucket.slots.iter_mut().find(|slot| **slot as u32 == 0) {
                *slot = *slot & COUNT | tag(hash) | entry.encode();
                return;
            }
            bucket.count_overflow();
            at = self.after(at);
        }
    }

    /// Takes an entry out.
    ///
    /// # Panics
    /// When it is not in the table.
    pub(crate) fn remove(&mut self, hash: u64, entry: Entry) {
        let (bucket, slot) = self.place_of(hash, entry);
        let mut at = self.home(hash);
        while at != bucket {
            self.buckets[at].discount_overflow();
            at = self.after(at);
        }
        self.buckets[bucket].slots[slot] &= COUNT;
        self.entries -= 1;
    }

    /// Puts `new` in the place of `old`: the same flow, another kind of record.
    ///
    /// # Panics
    /// When `old` is not in the table.
    pub(crate) fn replace(&mut self, hash: u64, old: Entry, new: Entry) {
        let (bucket, slot) = self.place_of(hash, old);
        let slot = &mut self.buckets[bucket].slots[slot];
        *slot = *slot & COUNT | tag(hash) | new.encode();
    }

    /// Entries in the table.
    pub(crate) fn len(&self) -> u32 {
        self.entries
    }

    pub(crate) fn tier(&self) -> Tier {
        self.buckets.tier()
    }

    pub(crate) fn region_bytes(&self) -> usize {
        self.buckets.region_bytes()
    }

    fn place_of(&self, hash: u64, entry: Entry) -> (usize, usize) {
        let wanted = tag(hash) | entry.encode();
        let mut at = self.home(hash);
        for _ in 0..self.buckets.len() {
            let slots = &self.buckets[at].slots;
            if let Some(slot) = slots.iter().position(|slot| slot & !COUNT == wanted) {
                return (at, slot);
            }
            at = self.after(at);
        }
        panic!("{entry:?} is not in the flow table");
    }

    /// The high bits of the hash choose the bucket, the low bits are the tag.
    fn home(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.buckets.len() as u128) >> 64) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.buckets.len() { 0 } else { at + 1 }
    }
}

impl Bucket {
    fn overflowed(&self) -> u64 {
        self.slots[0] >> COUNT_SHIFT
    }

    /// A count that reached its maximum stays there: lookups may then go one bucket too far, but
    /// never stop too early.
    fn count_overflow(&mut self) {
        if self.overflowed() < COUNT_MAX {
            self.slots[0] += 1 << COUNT_SHIFT;
        }
    }

    fn discount_overflow(&mut self) {
        if self.overflowed() < COUNT_MAX {
            self.slots[0] -= 1 << COUNT_SHIFT;
        }
    }
}

const fn tag(hash: u64) -> u64 {
    (hash & 0x00ff_ffff) << 32
}

const SLOTS: usize = 8;
const TAG: u64 = 0x00ff_ffff << 32;
const COUNT_SHIFT: u32 = 56;
const COUNT: u64 = 0xff << COUNT_SHIFT;
const COUNT_MAX: u64 = 0xff;
const KIND_SYN: u32 = 1 << 30;
const KIND_TIME_WAIT: u32 = 1 << 31;
const _: () = assert!(size_of::<Bucket>() == 64, "a bucket is a cache line");

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn table(capacity: u32) -> FlowTable {
        FlowTable::create(capacity, Placement::default()).expect("table")
    }

    #[test]
    fn full_table_finds_every_entry_and_nothing_else() {
        let seed = 42;
        let mut random = fastrand::Rng::with_seed(seed);
        let mut table = table(5_000);
        let hashes: Vec<u64> = (0..5_000).map(|_| random.u64(..)).collect();
        for (index, hash) in (0..).zip(&hashes) {
            table.insert(*hash, Entry::Connection(index));
        }
        for (index, hash) in (0..).zip(&hashes) {
            let entry = Entry::Connection(index);
            assert_eq!(table.find(*hash, |found| found == entry), Some(entry), "seed {seed}");
        }
        for _ in 0..10_000 {
            let hash = random.u64(..);
            table.find(hash, |entry| match entry {
                Entry::Connection(index) => {
                    assert_eq!(tag(hashes[index as usize]), tag(hash), "seed {seed}");
                    false
                }
                other => panic!("{other:?}, seed {seed}"),
            });
        }
    }

    #[test]
    fn entries_of_one_bucket_spill_over_and_come_back() {
        let mut table = table(64);
        // All at home in the last bucket: they wrap around to the first.
        let hash = |index: u32| u64::MAX << 24 | u64::from(index);
        for index in 0..40 {
            table.insert(hash(index), Entry::Syn(index));
        }
        for index in (0..40).step_by(2) {
            table.remove(hash(index), Entry::Syn(index));
        }
        for index in 0..40 {
            let found = table.find(hash(index), |entry| entry == Entry::Syn(index));
            assert_eq!(found.is_some(), index % 2 == 1, "{index}");
        }
        for index in (1..40).step_by(2) {
            table.remove(hash(index), Entry::Syn(index));
        }
        assert_eq!(table.len(), 0);
        assert!(table.buckets.iter().all(|bucket| bucket.slots == [0; SLOTS]));
    }

    #[test]
    fn random_work_agrees_with_a_map() {
        let seed = 7;
        let mut random = fastrand::Rng::with_seed(seed);
        let mut table = table(500);
        let mut model: HashMap<u64, Entry> = HashMap::new();
        for step in 0..50_000_u32 {
            let kinds = [Entry::Connection, Entry::Syn, Entry::TimeWait];
            let entry = kinds[random.usize(..3)](step % (1 << 28));
            let known = model.keys().nth(random.usize(..model.len().max(1))).copied();
            match (random.u8(..3), known) {
                (0, Some(hash)) => {
                    let old = model.remove(&hash).expect("known");
                    table.remove(hash, old);
                }
                (1, Some(hash)) => {
                    table.replace(hash, model[&hash], entry);
                    model.insert(hash, entry);
                }
                _ if model.len() < 500 => {
                    let hash = random.u64(..);
                    table.insert(hash, entry);
                    model.insert(hash, entry);
                }
                _ => {}
            }
        }
        assert_eq!(table.len() as usize, model.len());
        for (hash, entry) in &model {
            assert_eq!(table.find(*hash, |found| found == *entry), Some(*entry), "seed {seed}");
        }
    }

    #[test]
    fn a_table_costs_ten_bytes_a_flow() {
        let buckets = FlowTable::buckets_for(1_000_000);
        assert!(buckets * size_of::<Bucket>() <= 10_000_064);
    }
}
