//! Connections → bytes → huge pages, before anything starts.
//!
//! The constants are the sizes of the real records. This crate is below the crates that define
//! those, so the dataplane ties the two together with `const` asserts, and compares the whole
//! [`Plan`] with what its regions really mapped.

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
/// A slot of the flow table: tag and index.
pub const FLOW_SLOT_BYTES: u64 = 8;
/// Slots that a bucket of the flow table has, hence what its size is a multiple of.
pub const FLOW_BUCKET_SLOTS: u64 = 8;
/// Loss and congestion state of a connection with unacknowledged data.
pub const FLIGHT_BYTES: u64 = 136;
/// A half-open connection.
pub const SYN_ENTRY_BYTES: u64 = 64;
/// A connection in TIME-WAIT.
pub const TIME_WAIT_ENTRY_BYTES: u64 = 48;
/// A link-layer neighbour.
pub const NEIGHBOR_BYTES: u64 = 32;
/// An entry of the shard's timer wheel.
pub const TIMER_BYTES: u64 = 16;
/// A broker's link: the parser's state of one connection.
pub const LINK_BYTES: u64 = 32;
/// An MQTT session at rest.
pub const SESSION_BYTES: u64 = 96;
/// Where a client id lives: an entry of the directory on its home shard.
pub const DIRECTORY_BYTES: u64 = 24;
/// An MQTT connection with something in progress.
pub const ACTIVE_LINK_BYTES: u64 = 64;
/// An MQTT subscription.
pub const SUBSCRIPTION_BYTES: u64 = 24;
/// A distinct topic filter.
pub const FILTER_BYTES: u64 = 24;
/// A node of a wildcard tree: a topic level.
pub const TREE_NODE_BYTES: u64 = 48;
/// A distinct Subscription Identifier.
pub const IDENTIFIER_BYTES: u64 = 8;
/// A unit for texts: client ids, filters, topics, topic levels.
pub const TEXT_UNIT_BYTES: u64 = 32;
/// A message held.
pub const MESSAGE_BYTES: u64 = 40;
/// A message's place in a session's queue.
pub const DELIVERY_BYTES: u64 = 16;
/// A chunk of acknowledgements.
pub const OUTPUT_CHUNK_BYTES: u64 = 64;
/// An acknowledgement that waits for another shard.
pub const PENDING_BYTES: u64 = 32;

/// What EAL takes besides `memory.eal_mb`, in huge pages.
pub const EAL_SPARE_PAGES: u64 = 2;
/// `rte_mbuf` with its headroom, and what the mempool puts around each element.
pub const MBUF_OVERHEAD_BYTES: u64 = 128 + 128 + 64;
/// Descriptors and software rings of the driver, a slot: the largest of the drivers we know.
pub const PORT_SLOT_BYTES: u64 = 64;

/// How a table lies in its region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A slab or a pool of chunks: each record has a slot and a bit beside it.
    Slots,
    /// A plain array.
    Array,
}

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

/// One table or pool of every shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// What it holds.
    pub name: &'static str,
    /// Who needs it.
    pub owner: Owner,
    /// Records on each shard.
    pub records_per_shard: u64,
    /// Bytes of one record.
    pub record_bytes: u64,
    /// Bytes of all shards, each region rounded up to huge pages.
    pub bytes: u64,
    /// Why there are so many.
    pub reason: &'static str,
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
        writeln!(f, "{:<22} {:>12} {:>7} {:>10}  why", "table", "records", "bytes", "MiB")?;
        for term in &self.terms {
            writeln!(
                f,
                "{:<22} {:>12} {:>7} {:>10.1}  {}",
                term.name,
                term.records_per_shard * u64::from(self.shards),
                term.record_bytes,
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

/// Bytes of one region, rounded up to huge pages. An empty table has no region worth counting.
fn region_bytes(shape: Shape, records: u64, record_bytes: u64) -> u64 {
    let beside = match shape {
        Shape::Slots => (records.div_ceil(8) + records * SLOT_BYTES).next_multiple_of(64),
        Shape::Array => 0,
    };
    (REGION_HEADER_BYTES + beside + records * record_bytes).next_multiple_of(HUGEPAGE_BYTES)
}

/// Collects the terms of one profile.
struct Sum<'p> {
    profile: &'p Profile,
    terms: Vec<Term>,
}

impl Sum<'_> {
    /// A table of `total` records over all shards.
    fn spread(
        &mut self,
        owner: Owner,
        name: &'static str,
        total: u32,
        size: u64,
        why: &'static str,
    ) {
        let records = u64::from(self.profile.per_shard(total));
        self.each(owner, (name, Shape::Slots), records, size, why);
    }

    /// A table with `records` on each shard.
    fn each(
        &mut self,
        owner: Owner,
        (name, shape): (&'static str, Shape),
        records: u64,
        record_bytes: u64,
        reason: &'static str,
    ) {
        let bytes = region_bytes(shape, records, record_bytes);
        let bytes = bytes * u64::from(self.profile.shard_count());
        let term = Term { name, owner, records_per_shard: records, record_bytes, bytes, reason };
        self.terms.push(term);
    }
}

impl Profile {
    /// The memory this profile takes.
    pub fn plan(&self) -> Plan {
        let has_mqtt = self.listeners.iter().any(|l| l.kind == ListenerKind::Mqtt);
        let mut sum = Sum { profile: self, terms: Vec::new() };
        add_port(&mut sum);
        add_tcp(&mut sum);
        if has_mqtt {
            add_mqtt(&mut sum);
        }
        Plan {
            shards: self.shard_count(),
            connections: self.memory.connections,
            sessions: if has_mqtt { self.memory.sessions } else { 0 },
            terms: sum.terms,
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
        u64::from(self.queue_count()) * rings + u64::from(self.shard_count()) * working
    }

    /// MiB that EAL needs for mbufs and rings.
    pub fn eal_mb_min(&self) -> u64 {
        let mbufs = u64::from(self.memory.mbufs) * (self.mbuf_data_bytes() + MBUF_OVERHEAD_BYTES);
        let rings = u64::from(self.port.rx_slots) + u64::from(self.port.tx_slots);
        let rings = u64::from(self.queue_count()) * rings * PORT_SLOT_BYTES;
        // EAL's own tables, its trace and timer memory, heap headers, alignment.
        let own = 16 << 20;
        (mbufs + rings + own).div_ceil(1 << 20)
    }
}

fn add_port(sum: &mut Sum<'_>) {
    sum.terms.push(Term {
        name: "EAL and mbufs",
        owner: Owner::Port,
        records_per_shard: u64::from(sum.profile.memory.mbufs)
            / u64::from(sum.profile.shard_count()),
        record_bytes: sum.profile.mbuf_data_bytes() + MBUF_OVERHEAD_BYTES,
        bytes: (u64::from(sum.profile.memory.eal_mb) << 20) + EAL_SPARE_PAGES * HUGEPAGE_BYTES,
        reason: "memory.eal_mb: packet buffers, device rings, EAL's own",
    });
}

fn add_tcp(sum: &mut Sum<'_>) {
    let memory = &sum.profile.memory;
    let connections = u64::from(sum.profile.per_shard(memory.connections));
    let sessions = u64::from(sum.profile.per_shard(memory.sessions));
    // Load 0.8, whole buckets.
    let slots = (connections * 5).div_ceil(4).next_multiple_of(FLOW_BUCKET_SLOTS);
    let chunk_bytes = u64::from(memory.chunk_bytes);
    let (flow, timers) = (("flow table", Shape::Array), ("timers", Shape::Array));
    sum.spread(Owner::Tcp, "connections", memory.connections, TCB_BYTES, "memory.connections");
    sum.each(Owner::Tcp, flow, slots, FLOW_SLOT_BYTES, "connections at load 0.8");
    let why = "one for each connection and session";
    sum.each(Owner::Tcp, timers, connections + sessions, TIMER_BYTES, why);
    let why = "memory.flights: only connections with data under way";
    sum.spread(Owner::Tcp, "flights", memory.flights, FLIGHT_BYTES, why);
    let why = "memory.chunks: data sent or received, not yet done with";
    sum.spread(Owner::Tcp, "TCP chunks", memory.chunks, chunk_bytes, why);
    let why = "memory.syn_entries";
    sum.spread(Owner::Tcp, "half-open", memory.syn_entries, SYN_ENTRY_BYTES, why);
    let why = "memory.time_wait_entries";
    sum.spread(Owner::Tcp, "TIME-WAIT", memory.time_wait_entries, TIME_WAIT_ENTRY_BYTES, why);
    let why = "memory.neighbors: every shard knows all of them";
    let neighbors = u64::from(memory.neighbors);
    sum.each(Owner::Tcp, ("neighbours", Shape::Slots), neighbors, NEIGHBOR_BYTES, why);
}

fn add_mqtt(sum: &mut Sum<'_>) {
    let memory = &sum.profile.memory;
    let directory = memory.sessions;
    let why = "one for each connection";
    sum.spread(Owner::Mqtt, "broker links", memory.connections, LINK_BYTES, why);
    sum.spread(Owner::Mqtt, "sessions", memory.sessions, SESSION_BYTES, "memory.sessions");
    let why = "one for each session, on its home shard";
    sum.spread(Owner::Mqtt, "client id directory", directory, DIRECTORY_BYTES, why);
    let why = "memory.active_links: only connections with something in progress";
    sum.spread(Owner::Mqtt, "active links", memory.active_links, ACTIVE_LINK_BYTES, why);
    let why = "memory.subscriptions";
    sum.spread(Owner::Mqtt, "subscriptions", memory.subscriptions, SUBSCRIPTION_BYTES, why);
    let why = "memory.filters, and the text of each";
    let size = FILTER_BYTES + TEXT_UNIT_BYTES;
    sum.spread(Owner::Mqtt, "topic filters", memory.filters, size, why);
    let why = "memory.wildcard_nodes, own and of other shards";
    let size = 2 * (TREE_NODE_BYTES + TEXT_UNIT_BYTES);
    sum.spread(Owner::Mqtt, "wildcard trees", memory.wildcard_nodes, size, why);
    let why = "memory.identifiers";
    sum.spread(Owner::Mqtt, "identifiers", memory.identifiers, IDENTIFIER_BYTES, why);
    let why = "memory.messages, and the topic of each";
    let size = MESSAGE_BYTES + TEXT_UNIT_BYTES;
    sum.spread(Owner::Mqtt, "messages", memory.messages, size, why);
    let (why, size) = ("memory.payload_units", u64::from(memory.payload_unit_bytes));
    sum.spread(Owner::Mqtt, "payload units", memory.payload_units, size, why);
    let why = "memory.deliveries: one for each session a message waits for";
    sum.spread(Owner::Mqtt, "deliveries", memory.deliveries, DELIVERY_BYTES, why);
    let why = "memory.retained: the topic levels";
    let size = 4 * (TREE_NODE_BYTES + TEXT_UNIT_BYTES);
    sum.spread(Owner::Mqtt, "retained", memory.retained, size, why);
    let why = "memory.output_chunks: answers waiting to be sent";
    sum.spread(Owner::Mqtt, "output chunks", memory.output_chunks, OUTPUT_CHUNK_BYTES, why);
    let why = "memory.pending: acknowledgements waiting for another shard";
    sum.spread(Owner::Mqtt, "pending", memory.pending, PENDING_BYTES, why);
}

#[cfg(test)]
mod tests;
