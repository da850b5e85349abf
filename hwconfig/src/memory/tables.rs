//! The terms of the sum: every region of a shard, and why it is so large.

use super::*;

/// What a container of `superpage` adds around its records.
#[derive(Debug, Clone, Copy)]
enum Container {
    /// A live bit and four bytes (generation or link) for each record.
    Slots,
    /// Nothing.
    Array,
}

/// One region for `records` of `record_bytes` each.
fn region(name: &'static str, container: Container, records: u64, record_bytes: u64) -> Region {
    const LINE_BYTES: u64 = 64;
    let around = match container {
        Container::Slots => {
            let bits = (records.div_ceil(64) * 8).next_multiple_of(LINE_BYTES);
            bits + (records * SLOT_BYTES).next_multiple_of(LINE_BYTES)
        }
        Container::Array => 0,
    };
    let bytes = REGION_HEADER_BYTES + around + records * record_bytes;
    Region { name, bytes: bytes.next_multiple_of(HUGEPAGE_BYTES) }
}

/// A slab of records, or a pool of chunks.
fn slots(name: &'static str, records: u64, record_bytes: u64) -> Region {
    region(name, Container::Slots, records, record_bytes)
}

/// A hash index over `records`: buckets of twelve slots at load 0.8.
fn index(name: &'static str, records: u64) -> Region {
    region(name, Container::Array, (records * 100).div_ceil(80 * 12), INDEX_BUCKET_BYTES)
}

/// The three regions of a tree of topic levels.
fn tree([nodes, levels, by_name]: [&'static str; 3], count: u64, level_units: u64) -> [Region; 3] {
    [
        slots(nodes, count + 1, TREE_NODE_BYTES),
        slots(levels, level_units, TEXT_UNIT_BYTES),
        index(by_name, count),
    ]
}

/// Units that every store of texts has for a few of the greatest length.
const LONG_TEXT_UNITS: u64 = 8 * 65_536 / ID_UNIT_BYTES;
/// Sessions for each that may be moving to another shard at a time.
const MOVES_DIVISOR: u64 = 16;
/// A wildcard filter of another shard.
const WILDCARD_BYTES: u64 = 8;
/// Subscriptions whose retained messages are being fetched, on each shard.
const RETAINED_JOBS: u64 = 4_096;

/// Longest part of a packet that the broker takes in one piece.
const HEADER_BYTES_MAX: u64 = 65 << 10;
/// Least room for messages to a shard.
const STAGING_BYTES: u64 = 4 << 20;

/// All terms of a profile.
pub(super) fn terms(profile: &Profile, has_mqtt: bool) -> Vec<Term> {
    let mut sum = Sum { profile, terms: Vec::new() };
    sum.port();
    sum.tcp();
    if has_mqtt {
        sum.connections_of_mqtt();
        sum.sessions();
        sum.subscriptions();
        sum.messages();
        sum.interest();
    }
    sum.terms
}

struct Sum<'p> {
    profile: &'p Profile,
    terms: Vec<Term>,
}

impl Sum<'_> {
    /// What one shard gets of a table of `total` records.
    fn share(&self, total: u32) -> u64 {
        u64::from(self.profile.per_shard(total))
    }

    fn add(
        &mut self,
        owner: Owner,
        name: &'static str,
        records_per_shard: u64,
        regions: impl Into<Vec<Region>>,
        reason: &'static str,
    ) {
        let regions = regions.into();
        let bytes: u64 = regions.iter().map(|region| region.bytes).sum();
        let bytes = bytes * u64::from(self.profile.shard_count());
        self.terms.push(Term { name, owner, records_per_shard, regions, bytes, reason });
    }

    fn port(&mut self) {
        let memory = &self.profile.memory;
        self.terms.push(Term {
            name: "EAL and mbufs",
            owner: Owner::Port,
            records_per_shard: u64::from(memory.mbufs) / u64::from(self.profile.shard_count()),
            regions: Vec::new(),
            bytes: (u64::from(memory.eal_mb) << 20) + EAL_SPARE_PAGES * HUGEPAGE_BYTES,
            reason: "memory.eal_mb: packet buffers, device rings, EAL's own",
        });
        let buffers = Region { name: "scratch", bytes: HUGEPAGE_BYTES };
        self.add(Owner::Port, "scratch", 1, [buffers], "buffers that live within a turn");
    }

    fn tcp(&mut self) {
        let memory = self.profile.memory.clone();
        let connections = self.share(memory.connections);
        let syns = self.share(memory.syn_entries);
        let waits = self.share(memory.time_wait_entries);
        let tcbs = slots("tcbs", connections, TCB_BYTES);
        self.add(Owner::Tcp, "connections", connections, [tcbs], "memory.connections");
        // Ten slots for eight flows, in buckets of eight, and one more bucket.
        let flows = connections + syns + waits;
        let table = region("flow-table", Container::Array, flows * 10 / 64 + 1, FLOW_BUCKET_BYTES);
        self.add(Owner::Tcp, "flow table", flows, [table], "connections, half-open, TIME-WAIT");
        let timers = connections + self.share(memory.sessions);
        let wheel = region("wheel", Container::Array, timers + TIMER_SLOTS, TIMER_BYTES);
        self.add(Owner::Tcp, "timers", timers, [wheel], "one for each connection and session");
        let flights = self.share(memory.flights);
        let why = "memory.flights: connections with data under way";
        self.add(Owner::Tcp, "flights", flights, [slots("flights", flights, FLIGHT_BYTES)], why);
        let ranges = flights * RANGES_PER_FLIGHT + self.share(memory.sent_ranges);
        let why = "memory.sent_ranges, and two for each flight: bursts and gaps";
        self.add(
            Owner::Tcp,
            "sent ranges",
            ranges,
            [slots("sent-ranges", ranges, RANGE_BYTES)],
            why,
        );
        let chunks = self.share(memory.chunks);
        let pool = slots("chunks", chunks, memory.chunk_bytes.into());
        let why = "memory.chunks: data sent or received, not yet done with";
        self.add(Owner::Tcp, "TCP chunks", chunks, [pool], why);
        let table = slots("syn-entries", syns, SYN_ENTRY_BYTES);
        self.add(Owner::Tcp, "half-open", syns, [table], "memory.syn_entries");
        let table = slots("time-wait-entries", waits, TIME_WAIT_ENTRY_BYTES);
        self.add(Owner::Tcp, "TIME-WAIT", waits, [table], "memory.time_wait_entries");
        let neighbors = u64::from(memory.neighbors);
        let table = region("neighbors", Container::Array, neighbors, NEIGHBOR_BYTES);
        let why = "memory.neighbors: every shard knows all of them";
        self.add(Owner::Tcp, "neighbours", neighbors, [table], why);
        let ring = region("trace", Container::Array, TRACE_RECORDS, TRACE_RECORD_BYTES);
        self.add(Owner::Tcp, "trace", TRACE_RECORDS, [ring], "the last transitions and drops");
        let (paths, datagrams) = (u64::from(memory.paths), u64::from(memory.fragments));
        let table = region("paths", Container::Array, paths / 4 * 4, PATH_BYTES);
        self.add(Owner::Port, "narrow paths", paths, [table], "memory.paths, on every shard");
        let places = datagrams / 8 * 8;
        let table = region("fragments", Container::Array, places, FRAGMENTS_BYTES);
        let payloads = region("fragment-payloads", Container::Array, places, DATAGRAM_BYTES);
        let why = "memory.fragments: datagrams in pieces, on every shard";
        self.add(Owner::Port, "fragments", datagrams, [table, payloads], why);
    }

    fn connections_of_mqtt(&mut self) {
        let memory = self.profile.memory.clone();
        let links = self.share(memory.connections);
        let why = "one for each connection";
        self.add(Owner::Mqtt, "links", links, [slots("links", links, LINK_BYTES)], why);
        let works = self.share(memory.active_links);
        let regions = [slots("works", works, WORK_BYTES), slots("aliases", works, ALIAS_BYTES)];
        let why = "memory.active_links: something in progress";
        self.add(Owner::Mqtt, "active links", works, regions, why);
        let chunks = self.share(memory.output_chunks);
        let pool = slots("output", chunks, OUTPUT_CHUNK_BYTES);
        let why = "memory.output_chunks: answers waiting to be sent";
        self.add(Owner::Mqtt, "output chunks", chunks, [pool], why);
        let pending = self.share(memory.pending);
        let regions =
            [slots("pending", pending, PENDING_BYTES), slots("claims", pending, CLAIM_BYTES)];
        let why = "memory.pending: answers waiting for another shard";
        self.add(Owner::Mqtt, "pending", pending, regions, why);
    }

    fn sessions(&mut self) {
        let memory = self.profile.memory.clone();
        let sessions = self.share(memory.sessions);
        let works = self.share(memory.active_links);
        let names = sessions + sessions / 4 + 2 * works + 2 * RETAINED_JOBS + LONG_TEXT_UNITS;
        let regions = [
            slots("sessions", sessions, SESSION_BYTES),
            slots("names", names, ID_UNIT_BYTES),
            slots("moves", sessions.div_ceil(MOVES_DIVISOR), MOVE_BYTES),
        ];
        let why = "memory.sessions, with a client id of 16 bytes";
        self.add(Owner::Mqtt, "sessions", sessions, regions, why);
        let regions = [
            slots("directory", sessions, CLIENT_BYTES),
            slots("directory-ids", 2 * sessions + LONG_TEXT_UNITS, ID_UNIT_BYTES),
            index("directory-index", sessions),
        ];
        let why = "one for each session, on its home shard";
        self.add(Owner::Mqtt, "client directory", sessions, regions, why);
    }

    fn subscriptions(&mut self) {
        let memory = self.profile.memory.clone();
        let subscriptions = self.share(memory.subscriptions);
        let regions = [
            slots("subscriptions", subscriptions, SUBSCRIPTION_BYTES),
            index("subscription-index", subscriptions),
        ];
        let why = "memory.subscriptions";
        self.add(Owner::Mqtt, "subscriptions", subscriptions, regions, why);
        let filters = self.share(memory.filters);
        let texts = filters + filters / 2 + LONG_TEXT_UNITS;
        let regions = [
            slots("filters", filters, FILTER_BYTES),
            slots("filter-texts", texts, TEXT_UNIT_BYTES),
            index("filter-index", filters),
        ];
        self.add(
            Owner::Mqtt,
            "topic filters",
            filters,
            regions,
            "memory.filters, with their texts",
        );
        let nodes = self.share(memory.wildcard_nodes);
        let names = ["filter-tree", "filter-tree-levels", "filter-tree-index"];
        let regions = tree(names, nodes, nodes + LONG_TEXT_UNITS);
        self.add(Owner::Mqtt, "wildcard tree", nodes, regions, "memory.wildcard_nodes");
        let identifiers = self.share(memory.identifiers);
        let regions = [
            slots("subscription-ids", identifiers, IDENTIFIER_BYTES),
            index("subscription-id-index", identifiers),
        ];
        self.add(Owner::Mqtt, "identifiers", identifiers, regions, "memory.identifiers");
    }

    fn messages(&mut self) {
        let memory = self.profile.memory.clone();
        let messages = self.share(memory.messages);
        let names = 2 * messages + LONG_TEXT_UNITS;
        let regions = [
            slots("messages", messages, MESSAGE_BYTES),
            slots("message-names", names, TEXT_UNIT_BYTES),
        ];
        let why = "memory.messages, with topic and properties";
        self.add(Owner::Mqtt, "messages", messages, regions, why);
        let units = self.share(memory.payload_units);
        let pool = slots("message-payloads", units, memory.payload_unit_bytes.into());
        self.add(Owner::Mqtt, "payload units", units, [pool], "memory.payload_units");
        let deliveries = self.share(memory.deliveries);
        let pool = slots("deliveries", deliveries, DELIVERY_BYTES);
        let why = "memory.deliveries: one for each session a message waits for";
        self.add(Owner::Mqtt, "deliveries", deliveries, [pool], why);
        let retained = self.share(memory.retained);
        let names = ["retained", "retained-levels", "retained-index"];
        let mut regions = vec![slots("retained-jobs", RETAINED_JOBS, RETAINED_JOB_BYTES)];
        regions.extend(tree(names, 2 * retained, 2 * retained + LONG_TEXT_UNITS));
        self.add(Owner::Mqtt, "retained", retained, regions, "memory.retained: two levels each");
    }

    /// What the other shards are subscribed to; next to nothing when there are none.
    fn interest(&mut self) {
        let memory = self.profile.memory.clone();
        let shards = u64::from(self.profile.shard_count());
        let if_others = |count: u64| if shards > 1 { count } else { 0 };
        let counters = if_others(8 * self.share(memory.filters)).max(2) * shards;
        let nodes = if_others(self.share(memory.wildcard_nodes));
        let levels = if_others(nodes + LONG_TEXT_UNITS);
        let names = ["interest-tree", "interest-tree-levels", "interest-tree-index"];
        let mut regions = vec![
            region("interest-counters", Container::Array, counters, 1),
            slots("interest-wildcards", nodes, WILDCARD_BYTES),
        ];
        regions.extend(tree(names, nodes, levels));
        let why = "filters and wildcards of other shards";
        self.add(Owner::Mqtt, "interest", nodes, regions, why);
        let header_bytes = HEADER_BYTES_MAX.min(memory.receive_buffer_bytes.into());
        let largest_two = 2 * u64::from(self.profile.mqtt.packet_bytes_max) + 4 * header_bytes;
        let bytes = (shards * largest_two.max(STAGING_BYTES)).next_multiple_of(HUGEPAGE_BYTES);
        let why = "messages on their way to each shard: two of the largest";
        self.add(Owner::Mqtt, "staging", shards, [Region { name: "staging", bytes }], why);
    }
}
