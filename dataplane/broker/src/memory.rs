//! Sizes: what each table is given for the limits of a shard, and what that takes.

use superpage::{ChunkPool, Slab};

use crate::alias::Alias;
use crate::claim::Claim;
use crate::config::Limits;
use crate::link::{Link, Work};
use crate::output::OUTPUT_CHUNK_BYTES;
use crate::pending::Pending;
use crate::retained::RetainedJob;
use crate::session::Session;
use crate::shards::ANSWER_BYTES_MAX;
use crate::shards::staging::LENGTH_BYTES;
use crate::shards::wire::{FIXED_BYTES_MAX, PART_BYTES_MAX};
use crate::store::bytes::ByteStore;
use crate::store::directory::{ClientDirectory, DirectoryLimits};
use crate::store::message::{MessageLimits, MessageStore};
use crate::store::queue::DeliveryPool;
use crate::store::retained::{RetainedLimits, RetainedStore};
use crate::take_over::Move;
use crate::topic::index::{IndexLimits, SubscriptionIndex};
use crate::topic::interest::{Interest, InterestLimits};

/// Client ids of up to 16 bytes take one unit.
pub(crate) const NAME_UNIT_BYTES: u32 = 24;

/// Room for a few names of the greatest length.
const LONG_NAME_UNITS: u32 = 8 * 65_536 / NAME_UNIT_BYTES;

/// Counters for each exact filter another shard may tell of: five in a hundred topics that nobody
/// there is subscribed to are sent for nothing.
const INTEREST_SLOTS_A_FILTER: u32 = 8;

impl Limits {
    /// Bytes of a shard's regions in a process with `shards` of them, before rounding up to pages.
    /// Queues to other shards and scratch buffers come on top: `shards * staging_bytes`, and less
    /// than a megabyte.
    pub const fn memory_bytes(&self, shards: u16) -> usize {
        Slab::<Link>::bytes_for(self.links)
            + Slab::<Work>::bytes_for(self.active_links)
            + ChunkPool::bytes_for(OUTPUT_CHUNK_BYTES, self.output_chunks)
            + Slab::<Alias>::bytes_for(self.active_links)
            + Slab::<Pending>::bytes_for(self.pending)
            + Slab::<Claim>::bytes_for(self.pending)
            + Slab::<Session>::bytes_for(self.sessions)
            + Slab::<Move>::bytes_for(self.moves)
            + Slab::<RetainedJob>::bytes_for(self.retained_jobs)
            + ByteStore::bytes_for(NAME_UNIT_BYTES, self.name_units())
            + SubscriptionIndex::bytes_for(&self.index())
            + MessageStore::bytes_for(&self.message_store())
            + DeliveryPool::bytes_for(self.deliveries)
            + ClientDirectory::bytes_for(&self.directory())
            + RetainedStore::bytes_for(&self.retained_store())
            + Interest::bytes_for(&self.interest(shards))
    }

    /// Bytes of the largest message between shards: a ring must take records of that size.
    pub const fn shard_message_bytes_max(&self) -> usize {
        // Topic, properties and a part of a payload, twice wrapped (image record in a message).
        self.header_bytes_max as usize + PART_BYTES_MAX + 2 * FIXED_BYTES_MAX
    }

    /// Bytes that the queue to another shard keeps for answers to it: one for all it can wait for
    /// at the same time, but no more than a quarter of the queue.
    pub(crate) const fn answer_reserve(&self) -> usize {
        let answers = 2 * self.pending as usize + self.retained_jobs as usize + self.moves as usize;
        let wanted = answers * (ANSWER_BYTES_MAX + LENGTH_BYTES);
        let most = self.staging_bytes as usize / 4;
        if wanted < most { wanted } else { most }
    }

    /// One unit for every session's id and a quarter more for long ones; two for every alias and
    /// for the filter of every retained job.
    pub(crate) const fn name_units(&self) -> u32 {
        let ids = self.sessions + self.sessions / 4;
        ids + 2 * self.active_links + 2 * self.retained_jobs + LONG_NAME_UNITS
    }

    pub(crate) const fn index(&self) -> IndexLimits {
        IndexLimits {
            subscriptions: self.subscriptions,
            filters: self.filters,
            filter_units: self.filters + self.filters / 2 + LONG_NAME_UNITS,
            nodes: self.wildcard_nodes,
            level_units: self.wildcard_nodes + LONG_NAME_UNITS,
            identifiers: self.identifiers,
        }
    }

    /// Two units of names for every message: topics and properties of 24 bytes each, or one longer.
    pub(crate) const fn message_store(&self) -> MessageLimits {
        MessageLimits {
            messages: self.messages,
            name_units: 2 * self.messages + LONG_NAME_UNITS,
            payload_units: self.payload_units,
            payload_unit_bytes: self.payload_unit_bytes,
        }
    }

    pub(crate) const fn directory(&self) -> DirectoryLimits {
        DirectoryLimits { clients: self.clients, id_units: self.clients * 2 + LONG_NAME_UNITS }
    }

    /// Two levels a topic: equal beginnings share theirs.
    pub(crate) const fn retained_store(&self) -> RetainedLimits {
        RetainedLimits {
            topics: self.retained,
            nodes: self.retained * 2,
            level_units: self.retained * 2 + LONG_NAME_UNITS,
        }
    }

    /// A shard that is alone needs to know nothing of others.
    pub(crate) const fn interest(&self, shards: u16) -> InterestLimits {
        if shards == 1 {
            return InterestLimits {
                shards,
                exact_slots: 0,
                wildcards: 0,
                nodes: 0,
                level_units: 0,
            };
        }
        InterestLimits {
            shards,
            exact_slots: self.filters.saturating_mul(INTEREST_SLOTS_A_FILTER),
            wildcards: self.wildcard_nodes,
            nodes: self.wildcard_nodes,
            level_units: self.wildcard_nodes + LONG_NAME_UNITS,
        }
    }
}
