//! What the other shards of the process are subscribed to, so that a message crosses to those only.

use superpage::{Array, NIL, Placement, RegionError, Slab, record};
use thiserror::Error;

use super::name::{TopicFilter, TopicName};
use super::tree::{LevelTree, Place, TreeLimits, TreeNames};
use super::walk::Walk;
use crate::store::RegionFact;
use crate::store::hash::Secret;

/// Shards of a process: one bit each.
pub(crate) const SHARDS_MAX: u16 = 64;

/// A set of shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardSet(u64);

impl ShardSet {
    /// Whether no shard is in it.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `shard` is in it.
    pub(crate) fn contains(self, shard: u16) -> bool {
        self.0 & bit(shard) != 0
    }

    /// The shards, in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = u16> {
        (0..SHARDS_MAX).filter(move |&shard| self.contains(shard))
    }
}

/// No room for another filter with wildcards.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the tables of other shards' wildcard filters are full")]
pub(crate) struct InterestFull;

record! {
    /// The shards that are subscribed with one filter with wildcards.
    struct Wildcard {
        shards: u64,
    }
}

const _: () = assert!(size_of::<Wildcard>() == 8);

/// How much an [`Interest`] holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InterestLimits {
    /// Shards of the process.
    pub(crate) shards: u16,
    /// Counters for each shard. With eight for each of its exact filters, 5 % of the topics nobody
    /// there is subscribed to are taken for subscribed.
    pub(crate) exact_slots: u32,
    /// Distinct filters with wildcards.
    pub(crate) wildcards: u32,
    /// Their levels.
    pub(crate) nodes: u32,
    /// Units for the texts of the levels.
    pub(crate) level_units: u32,
}

/// Which shards may have subscribers for a topic. It never misses one.
///
/// Each shard tells the others the first subscription to a filter and the end of the last one.
/// Exact filters are told by hash and counted in a Bloom filter of byte counters, the counters of
/// all shards side by side; a counter that reached 255 stays there. Filters with wildcards are kept
/// as they are.
#[derive(Debug)]
pub(crate) struct Interest {
    shards: u16,
    slots: usize,
    counters: Array<u8>,
    wildcards: Slab<Wildcard>,
    tree: LevelTree,
    walk: Walk,
    /// Shards whose filters did not all fit: everything may be for them.
    everything: u64,
}

impl Interest {
    /// Makes one in which no shard is subscribed to anything.
    ///
    /// # Panics
    /// When there are more than [`SHARDS_MAX`] shards.
    pub(crate) fn create(
        limits: &InterestLimits,
        secret: Secret,
        placement: Placement,
    ) -> Result<Self, RegionError> {
        assert!(limits.shards <= SHARDS_MAX, "a set of shards has a bit for each");
        let slots = slots(limits);
        let counters = slots * usize::from(limits.shards);
        let tree = LevelTree::create(TREE_NAMES, tree_limits(limits), secret, placement)?;
        Ok(Self {
            shards: limits.shards,
            slots,
            counters: Array::create(COUNTERS_NAME, counters, placement)?,
            wildcards: Slab::create(WILDCARDS_NAME, limits.wildcards, placement)?,
            tree,
            walk: Walk::new(),
            everything: 0,
        })
    }

    /// Bytes of such an interest.
    pub(crate) const fn bytes_for(limits: &InterestLimits) -> usize {
        Array::<u8>::bytes_for(slots(limits) * limits.shards as usize)
            + Slab::<Wildcard>::bytes_for(limits.wildcards)
            + LevelTree::bytes_for(tree_limits(limits))
    }

    /// A shard has its first subscription to the exact filter with this hash.
    ///
    /// # Panics
    /// When there is no such shard, here and below.
    pub(crate) fn add_exact(&mut self, shard: u16, filter_hash: u64) {
        for slot in self.slots_of(filter_hash) {
            let counter = self.counter(slot, shard);
            self.counters[counter] = self.counters[counter].saturating_add(1);
        }
    }

    /// A shard has no subscription to this exact filter any more. `false` when it never told of
    /// one, as far as can be seen; nothing is changed then.
    pub(crate) fn remove_exact(&mut self, shard: u16, filter_hash: u64) -> bool {
        let counters = self.slots_of(filter_hash).map(|slot| self.counter(slot, shard));
        if counters.iter().any(|&counter| self.counters[counter] == 0) {
            return false;
        }
        for counter in counters {
            // A counter that may have missed increments must not come down again.
            if self.counters[counter] < u8::MAX {
                self.counters[counter] -= 1;
            }
        }
        true
    }

    /// A shard has its first subscription to a filter with wildcards.
    ///
    /// # Errors
    /// [`InterestFull`]: call [`Self::fall_back`], or messages would miss the shard.
    pub(crate) fn add_wildcard(
        &mut self,
        shard: u16,
        filter: &TopicFilter<'_>,
    ) -> Result<(), InterestFull> {
        let shards = self.checked_bit(shard);
        let (path, place) = path(filter);
        let node = self.tree.make(path).ok_or(InterestFull)?;
        match self.value(node, place) {
            NIL => {
                let Some(index) = self.wildcards.insert(Wildcard { shards }) else {
                    self.tree.prune(node);
                    return Err(InterestFull);
                };
                self.tree.set(node, place, index);
            }
            index => self.wildcards[index].shards |= shards,
        }
        Ok(())
    }

    /// A shard has no subscription to this filter with wildcards any more. `false` when it never
    /// told of one.
    pub(crate) fn remove_wildcard(&mut self, shard: u16, filter: &TopicFilter<'_>) -> bool {
        let shards = self.checked_bit(shard);
        // Filters that did not fit are not there, and that is no mistake of the shard.
        let unknown = self.everything & shards != 0;
        let (path, place) = path(filter);
        let Some(node) = self.tree.find(path) else { return unknown };
        let index = self.value(node, place);
        if index == NIL || self.wildcards[index].shards & shards == 0 {
            return unknown;
        }
        let wildcard = &mut self.wildcards[index];
        wildcard.shards &= !shards;
        if wildcard.shards == 0 {
            self.wildcards.remove(index);
            self.tree.set(node, place, NIL);
        }
        true
    }

    /// From now on every message may be for this shard: its filters do not fit here.
    pub(crate) fn fall_back(&mut self, shard: u16) {
        self.everything |= self.checked_bit(shard);
    }

    /// The shards that may have subscribers for `topic`, whose keyed hash is `topic_hash`.
    pub(crate) fn shards_for(&mut self, topic: TopicName<'_>, topic_hash: u64) -> ShardSet {
        let mut shards = self.everything;
        let [first, second] = self.slots_of(topic_hash).map(|slot| self.counter(slot, 0));
        for shard in 0..usize::from(self.shards) {
            let both = self.counters[first + shard].min(self.counters[second + shard]);
            shards |= u64::from(both > 0) << shard;
        }
        self.walk.start(&self.tree, topic);
        while let Some(index) = self.walk.next(&self.tree, topic) {
            shards |= self.wildcards[index].shards;
        }
        ShardSet(shards)
    }

    /// Distinct filters with wildcards of other shards.
    pub(crate) fn wildcards(&self) -> u32 {
        self.wildcards.len()
    }

    /// Shards that get every message because their filters do not fit.
    pub(crate) fn fallen_back(&self) -> u32 {
        self.everything.count_ones()
    }

    /// What it lies on.
    pub(crate) fn regions(&self) -> Vec<RegionFact> {
        let mut regions = vec![
            (COUNTERS_NAME, self.counters.tier(), self.counters.region_bytes()),
            (WILDCARDS_NAME, self.wildcards.tier(), self.wildcards.region_bytes()),
        ];
        regions.extend(self.tree.regions());
        regions
    }

    /// The two slots of a hash, never the same one.
    fn slots_of(&self, hash: u64) -> [usize; 2] {
        let choose = |half: u32| ((u64::from(half) * self.slots as u64) >> 32) as usize;
        let (first, second) = (choose((hash >> 32) as u32), choose(hash as u32));
        [first, if first == second { (first + 1) % self.slots } else { second }]
    }

    fn counter(&self, slot: usize, shard: u16) -> usize {
        assert!(shard < self.shards || shard == 0, "shard of this process");
        slot * usize::from(self.shards) + usize::from(shard)
    }

    fn checked_bit(&self, shard: u16) -> u64 {
        assert!(shard < self.shards, "shard of this process");
        bit(shard)
    }

    fn value(&self, node: u32, place: Place) -> u32 {
        let node = self.tree.get(node);
        match place {
            Place::Here => node.here,
            Place::Below => node.below,
        }
    }
}

fn bit(shard: u16) -> u64 {
    1 << shard
}

fn path<'a>(filter: &TopicFilter<'a>) -> (super::name::Levels<'a>, Place) {
    let (path, multi) = filter.path();
    (path, if multi { Place::Below } else { Place::Here })
}

/// Two slots at least, since each hash has two of them.
const fn slots(limits: &InterestLimits) -> usize {
    if limits.exact_slots < 2 { 2 } else { limits.exact_slots as usize }
}

const fn tree_limits(limits: &InterestLimits) -> TreeLimits {
    TreeLimits { nodes: limits.nodes, level_units: limits.level_units }
}

const COUNTERS_NAME: &str = "interest-counters";
const WILDCARDS_NAME: &str = "interest-wildcards";
const TREE_NAMES: TreeNames = TreeNames {
    nodes: "interest-tree",
    levels: "interest-tree-levels",
    index: "interest-tree-index",
};

#[cfg(test)]
mod tests;
