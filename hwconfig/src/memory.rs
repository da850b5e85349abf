//! Connections → bytes → huge pages, before anything starts.
//!
//! The constants are the sizes of the real records, and [`Region`]s carry the names that the
//! dataplane gives them. This crate is below the crates that define both, so a test of the dataplane
//! compares every region of a [`Plan`] with the one that a shard really maps.

mod tables;

use crate::profile::{ListenerKind, Profile};
use std::fmt;

/// A huge page. Every region is rounded up to it.
pub const HUGEPAGE_BYTES: u64 = 2 << 20;
/// Header page of a region: magic, version, layout.
pub const REGION_HEADER_BYTES: u64 = 4_096;
/// What a slab adds to a record (its generation) and a pool to a chunk (its link).
pub const SLOT_BYTES: u64 = 4;

/// An established TCP connection at rest.
pub const TCB_BYTES: u64 = 192;
/// A bucket of the flow table: eight slots, of which 0.8 are used.
pub const FLOW_BUCKET_BYTES: u64 = 64;
/// Loss and congestion state of a connection with unacknowledged data.
pub const FLIGHT_BYTES: u64 = 120;
/// Bytes of a record of what was sent.
pub const RANGE_BYTES: u64 = 16;
/// Records of what was sent that are there for each flight.
pub const RANGES_PER_FLIGHT: u64 = 2;
/// A half-open connection.
pub const SYN_ENTRY_BYTES: u64 = 64;
/// A connection in TIME-WAIT.
pub const TIME_WAIT_ENTRY_BYTES: u64 = 64;
/// A link-layer neighbour.
pub const NEIGHBOR_BYTES: u64 = 48;
/// A record of the trace.
pub const TRACE_RECORD_BYTES: u64 = 48;
/// Records of a shard's trace.
pub const TRACE_RECORDS: u64 = 4_096;
/// What is known of the path to a destination.
pub const PATH_BYTES: u64 = 40;
/// What is known of a datagram's fragments.
pub const FRAGMENTS_BYTES: u64 = 328;
/// Room for the payload of a datagram in fragments.
pub const DATAGRAM_BYTES: u64 = 16_384;
/// An entry of the shard's timer wheel.
pub const TIMER_BYTES: u64 = 16;
/// Entries that a wheel has for its slots.
pub const TIMER_SLOTS: u64 = 1_024;
/// A broker's link: one connection at rest.
pub const LINK_BYTES: u64 = 32;
/// What is in progress on a link.
pub const WORK_BYTES: u64 = 68;
/// A topic alias.
pub const ALIAS_BYTES: u64 = 12;
/// An acknowledgement that waits.
pub const PENDING_BYTES: u64 = 32;
/// A session on its way to its client id.
pub const CLAIM_BYTES: u64 = 16;
/// A session that moves to another shard.
pub const MOVE_BYTES: u64 = 28;
/// A subscription whose retained messages are being fetched.
pub const RETAINED_JOB_BYTES: u64 = 32;
/// A chunk of acknowledgements and other small answers.
pub const OUTPUT_CHUNK_BYTES: u64 = 120;
/// An MQTT session at rest.
pub const SESSION_BYTES: u64 = 96;
/// Where a client id lives: an entry of the directory on its home shard.
pub const CLIENT_BYTES: u64 = 20;
/// A unit for client ids.
pub const ID_UNIT_BYTES: u64 = 24;
/// A unit for filters, topics and topic levels.
pub const TEXT_UNIT_BYTES: u64 = 32;
/// An MQTT subscription.
pub const SUBSCRIPTION_BYTES: u64 = 24;
/// A distinct topic filter.
pub const FILTER_BYTES: u64 = 24;
/// A node of a tree of topic levels.
pub const TREE_NODE_BYTES: u64 = 48;
/// A Subscription Identifier.
pub const IDENTIFIER_BYTES: u64 = 8;
/// A message held.
pub const MESSAGE_BYTES: u64 = 40;
/// A message's place in a session's queue.
pub const DELIVERY_BYTES: u64 = 16;
/// A bucket of a hash index: twelve slots, of which 0.8 are used.
pub const INDEX_BUCKET_BYTES: u64 = 64;

/// What EAL takes besides `memory.eal_mb`, in huge pages.
pub const EAL_SPARE_PAGES: u64 = 2;
/// `rte_mbuf` with its headroom, and what the mempool puts around each element.
pub const MBUF_OVERHEAD_BYTES: u64 = 128 + 128 + 64;
/// Descriptors and software rings of the driver, a slot: the largest of the drivers we know.
pub const PORT_SLOT_BYTES: u64 = 64;

/// Who needs a table, for the sum of bytes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Every TCP connection.
    Tcp,
    /// Every MQTT session on top.
    Mqtt,
    /// The port, whatever connects.
    Port,
}

/// One region of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// What the dataplane calls it.
    pub name: &'static str,
    /// Bytes, rounded up to huge pages.
    pub bytes: u64,
}

/// One line of the sum: records of one kind, with all regions that they need on every shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// What it holds.
    pub name: &'static str,
    /// Who needs it.
    pub owner: Owner,
    /// Records on each shard.
    pub records_per_shard: u64,
    /// Regions on each shard; none for what EAL allocates.
    pub regions: Vec<Region>,
    /// Bytes of all shards.
    pub bytes: u64,
    /// Why there are so many.
    pub reason: &'static str,
}

impl Term {
    /// Bytes for each record, everything included.
    pub fn bytes_each(&self, shards: u16) -> u64 {
        self.bytes.checked_div(self.records_per_shard * u64::from(shards)).unwrap_or(0)
    }
}

/// What a profile takes: the sum of all terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Shards that the tables are spread over.
    pub shards: u16,
    /// Connections that the tables are for.
    pub connections: u32,
    /// Sessions that the tables are for; 0 without an MQTT listener.
    pub sessions: u32,
    /// The terms of the sum.
    pub terms: Vec<Term>,
}

impl Plan {
    /// Bytes of everything.
    pub fn bytes(&self) -> u64 {
        self.terms.iter().map(|term| term.bytes).sum()
    }

    /// Huge pages of 2 MiB to reserve for everything.
    pub fn hugepages(&self) -> u64 {
        self.bytes().div_ceil(HUGEPAGE_BYTES)
    }

    /// Bytes that `owner` needs for one of its connections or sessions, shared pools included.
    pub fn bytes_each(&self, owner: Owner) -> u64 {
        let bytes: u64 = self.of(owner).map(|term| term.bytes).sum();
        let count = match owner {
            Owner::Tcp => u64::from(self.connections),
            Owner::Mqtt => u64::from(self.sessions),
            Owner::Port => 1,
        };
        bytes.checked_div(count).unwrap_or(0)
    }

    fn of(&self, owner: Owner) -> impl Iterator<Item = &Term> {
        self.terms.iter().filter(move |term| term.owner == owner)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<20} {:>10} {:>6} {:>9}  why", "table", "records", "bytes", "MiB")?;
        for term in &self.terms {
            writeln!(
                f,
                "{:<20} {:>10} {:>6} {:>9.1}  {}",
                term.name,
                term.records_per_shard * u64::from(self.shards),
                term.bytes_each(self.shards),
                mebibytes(term.bytes),
                term.reason
            )?;
        }
        writeln!(
            f,
            "connections: {}, sessions: {}, on {} shard(s): {:.1} MiB",
            self.connections,
            self.sessions,
            self.shards,
            mebibytes(self.bytes())
        )?;
        writeln!(f, "hugepages: {} of 2 MiB for everything", self.hugepages())?;
        write!(
            f,
            "a connection takes {} bytes, an MQTT session {} more (shared pools included)",
            self.bytes_each(Owner::Tcp),
            self.bytes_each(Owner::Mqtt)
        )
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Profile {
    /// The memory this profile takes.
    pub fn plan(&self) -> Plan {
        let has_mqtt = self.listeners.iter().any(|l| l.kind == ListenerKind::Mqtt);
        Plan {
            shards: self.shard_count(),
            connections: self.memory.connections,
            sessions: if has_mqtt { self.memory.sessions } else { 0 },
            terms: tables::terms(self, has_mqtt),
        }
    }

    /// Bytes of an mbuf's data room that a whole frame of this MTU fits in.
    pub fn mbuf_data_bytes(&self) -> u64 {
        // Ethernet header, one VLAN tag, FCS. Drivers want powers of two from 2 KiB.
        (u64::from(self.port.mtu) + 14 + 4 + 4).next_power_of_two().max(2_048)
    }

    /// Fewest mbufs with which every ring of the port can be full while each shard works on a
    /// batch both ways and its mempool cache holds as much again.
    pub fn mbufs_min(&self) -> u64 {
        let rings = u64::from(self.port.rx_slots) + u64::from(self.port.tx_slots);
        let working = 4 * u64::from(self.shards.batch_frames);
        u64::from(self.shard_count()) * (rings + working)
    }

    /// MiB that EAL needs for mbufs and rings.
    pub fn eal_mb_min(&self) -> u64 {
        let mbufs = u64::from(self.memory.mbufs) * (self.mbuf_data_bytes() + MBUF_OVERHEAD_BYTES);
        let rings = u64::from(self.port.rx_slots) + u64::from(self.port.tx_slots);
        let rings = u64::from(self.shard_count()) * rings * PORT_SLOT_BYTES;
        // EAL's own tables, its trace and timer memory, heap headers, alignment.
        let own = 16 << 20;
        (mbufs + rings + own).div_ceil(1 << 20)
    }
}

#[cfg(test)]
mod tests;
