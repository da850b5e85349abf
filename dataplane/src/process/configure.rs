//! From the profile, and what the port turned out to be, to what each shard is made from.

use broker::BrokerConfig;
use capsule::impairment::Impairment;
use capsule::{Offloads, PortConfig, PortFacts};
use hwconfig::memory as plan;
use hwconfig::{Idle, ListenerKind, Profile, TierChoice};
use superpage::{Placement, TierPolicy};
use tcpstack::{IpCidr, StackConfig, Steering};

use crate::idle::IdlePolicy;
use crate::shard::ShardConfig;

/// Entries of the indirection table when software steers; as many as most NICs have.
const SOFTWARE_RETA_ENTRIES: u16 = 128;
/// More than the payload that a broker puts into one message to another shard.
const PEER_PAYLOAD_BYTES_MAX: usize = 32 << 10;
/// Sessions of a shard that may be moving to another one at a time, as a part of all.
const MOVES_DIVISOR: u32 = 16;

// What a profile's memory plan counts for a record is the record's size. Those that only their own
// crate knows are held by the test below: it compares every region of a plan with the mapped one.
const _: () = assert!(tcpstack::TCB_BYTES as u64 == plan::TCB_BYTES);
const _: () = assert!(tcpstack::FLIGHT_BYTES as u64 == plan::FLIGHT_BYTES);
const _: () = assert!(tcpstack::RANGE_BYTES as u64 == plan::RANGE_BYTES);
const _: () = assert!(tcpstack::RANGES_PER_FLIGHT as u64 == plan::RANGES_PER_FLIGHT);
const _: () = assert!(tcpstack::SYN_ENTRY_BYTES as u64 == plan::SYN_ENTRY_BYTES);
const _: () = assert!(tcpstack::TIME_WAIT_ENTRY_BYTES as u64 == plan::TIME_WAIT_ENTRY_BYTES);
const _: () = assert!(tcpstack::PATH_BYTES as u64 == plan::PATH_BYTES);
const _: () = assert!(tcpstack::FRAGMENTS_BYTES as u64 == plan::FRAGMENTS_BYTES);
const _: () = assert!(broker::OUTPUT_CHUNK_BYTES as u64 == plan::OUTPUT_CHUNK_BYTES);

/// Keys of this run, from the kernel's random source.
#[derive(Clone, Copy)]
pub(super) struct Secrets {
    /// Of the flow table and the initial sequence numbers.
    pub(super) stack: [u8; 16],
    /// Of the broker's hashes; all shards must have the same, for they find each other by it.
    pub(super) broker: [u8; 16],
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

/// What to ask of the port.
pub(super) fn port_config(profile: &Profile) -> PortConfig {
    let port = &profile.port;
    // Frames wait in the impaired link without what a port should do about them.
    let may_offload = !profile.impairment.enabled;
    PortConfig {
        device: port.device.clone(),
        rx_queues: profile.shard_count(),
        tx_queues: profile.shard_count(),
        rx_slots: port.rx_slots,
        tx_slots: port.tx_slots,
        mtu: port.mtu,
        promiscuous: port.promiscuous,
        all_groups: port.addresses.iter().any(|own| own.address.is_ipv6()),
        rss_key: Some(tcpstack::MICROSOFT_KEY),
        want: Offloads {
            rx_checksum: port.rx_checksum && may_offload,
            tx_checksum: port.tx_checksum && may_offload,
            rss: port.rss && profile.shard_count() > 1,
        },
    }
}

/// What one shard is made from.
pub(super) fn shard_config(
    profile: &Profile,
    facts: &PortFacts,
    secrets: &Secrets,
    shard: u16,
) -> ShardConfig {
    let port_steers = facts.granted.rss;
    ShardConfig {
        stack: stack_config(profile, facts, secrets, shard),
        broker: broker_config(profile, secrets, shard),
        listeners: profile.listeners.iter().map(|listener| listener.kind).collect(),
        software_steering: profile.shard_count() > 1 && !port_steers,
        batch_frames: profile.shards.batch_frames.into(),
        idle: match profile.shards.idle {
            Idle::Poll => IdlePolicy::Poll,
            Idle::Adaptive => IdlePolicy::Adaptive {
                spin_turns: profile.shards.spin_turns,
                sleep_us_max: profile.shards.sleep_us_max,
            },
        },
        placement: placement(profile),
        impairment: impairment(profile),
    }
}

/// What the profile wants the link to be, when it is for a test.
fn impairment(profile: &Profile) -> Option<Impairment> {
    const NS_PER_US: u64 = 1_000;
    let wanted = &profile.impairment;
    wanted.enabled.then(|| Impairment {
        seed: wanted.seed.into(),
        loss_ppm: wanted.loss_ppm,
        duplicate_ppm: wanted.duplicate_ppm,
        reorder_ppm: wanted.reorder_ppm,
        reorder_ns: u64::from(wanted.reorder_us) * NS_PER_US,
        delay_ns: u64::from(wanted.delay_us) * NS_PER_US,
        rate_bps: u64::from(wanted.rate_kbps) * 1_000,
        queue_bytes: wanted.queue_bytes.into(),
        frames_max: wanted.frames as usize,
    })
}

/// The largest thing that one shard says to another: a frame, or a broker's message, which has two
/// texts (a topic and properties, say) and one part of a payload.
pub(super) fn peer_body_bytes_max(profile: &Profile, frame_bytes_max: usize) -> usize {
    let texts = 2 * broker_limits(profile).header_bytes_max as usize;
    frame_bytes_max.max(texts + PEER_PAYLOAD_BYTES_MAX)
}

fn placement(profile: &Profile) -> Placement {
    Placement {
        tier: match profile.memory.tier {
            TierChoice::Best => TierPolicy::Best,
            TierChoice::Hugetlb => TierPolicy::HugetlbOnly,
            TierChoice::Base => TierPolicy::BaseOnly,
        },
        numa_node: profile.memory.numa_node.map(u32::from),
    }
}

fn stack_config(
    profile: &Profile,
    facts: &PortFacts,
    secrets: &Secrets,
    shard: u16,
) -> StackConfig {
    let (port, memory, tcp) = (&profile.port, &profile.memory, &profile.tcp);
    let addresses = port.addresses.iter();
    StackConfig {
        mac: port.mac.map_or(facts.mac, |mac| mac.0),
        mtu: port.mtu,
        addresses: addresses.map(|own| IpCidr::new(own.address, own.prefix)).collect(),
        gateway: port.gateway,
        gateway_ipv6: port.gateway_ipv6,
        listeners: profile.listeners.iter().map(|listener| listener.port).collect(),
        limits: tcpstack::Limits {
            connections: profile.per_shard(memory.connections),
            syn_entries: profile.per_shard(memory.syn_entries),
            time_wait_entries: profile.per_shard(memory.time_wait_entries),
            flights: profile.per_shard(memory.flights),
            sent_ranges: profile.per_shard(memory.sent_ranges),
            chunks: profile.per_shard(memory.chunks),
            chunk_bytes: memory.chunk_bytes,
            receive_buffer_bytes: memory.receive_buffer_bytes,
            send_buffer_bytes: memory.send_buffer_bytes,
            neighbors: memory.neighbors,
            paths: memory.paths,
            fragments: memory.fragments,
        },
        timers: tcpstack::Timers {
            time_wait_ms: tcp.time_wait_ms,
            fin_wait_2_ms: tcp.fin_wait_2_ms,
            delayed_ack_ms: tcp.delayed_ack_ms,
            rto_initial_ms: tcp.rto_initial_ms,
            rto_min_ms: tcp.rto_min_ms,
            rto_max_ms: tcp.rto_max_ms,
            user_timeout_ms: tcp.user_timeout_ms,
            connect_timeout_ms: tcp.connect_timeout_ms,
            syn_ack_retries: tcp.syn_ack_retries,
            keep_alive_idle_ms: tcp.keep_alive_idle_ms,
            keep_alive_interval_ms: tcp.keep_alive_interval_ms,
            keep_alive_probes: tcp.keep_alive_probes,
            duplicate_address_probes: port.duplicate_address_probes,
        },
        features: tcpstack::Features::default(),
        secret: secrets.stack,
        steering: steering(profile, facts, shard),
        tx_checksum_offload: facts.granted.tx_checksum,
        placement: placement(profile),
        segment_bytes_max: None,
        vlan: port.vlan,
    }
}

/// The port's key and table where it steers (queue i is shard i's), else the same function in software.
fn steering(profile: &Profile, facts: &PortFacts, shard: u16) -> Steering {
    if facts.granted.rss
        && let Some(key) = facts.rss_key.first_chunk::<40>()
    {
        return Steering { key: *key, reta: facts.reta.clone(), shard };
    }
    let reta = (0..SOFTWARE_RETA_ENTRIES).map(|entry| entry % profile.shard_count()).collect();
    Steering { key: tcpstack::MICROSOFT_KEY, reta, shard }
}

fn broker_config(profile: &Profile, secrets: &Secrets, shard: u16) -> BrokerConfig {
    let mqtt = &profile.mqtt;
    let serves_mqtt = profile.listeners.iter().any(|l| l.kind == ListenerKind::Mqtt);
    BrokerConfig {
        shard,
        shards: profile.shard_count(),
        allow_anonymous: mqtt.allow_anonymous,
        limits: if serves_mqtt { broker_limits(profile) } else { no_broker(profile) },
        timers: broker::Timers {
            connect_timeout_ms: mqtt.connect_timeout_ms,
            close_timeout_ms: mqtt.close_timeout_ms,
            keep_alive_max_s: mqtt.keep_alive_max_s,
            session_expiry_max_s: mqtt.session_expiry_max_s,
        },
        receive_maximum: mqtt.receive_maximum,
        topic_alias_maximum: mqtt.topic_alias_maximum,
        secret: secrets.broker,
        placement: placement(profile),
    }
}

fn broker_limits(profile: &Profile) -> broker::Limits {
    let (memory, mqtt) = (&profile.memory, &profile.mqtt);
    let defaults = broker::Limits::default();
    let sessions = profile.per_shard(memory.sessions);
    let header_bytes_max = defaults.header_bytes_max.min(memory.receive_buffer_bytes);
    broker::Limits {
        links: profile.per_shard(memory.connections),
        active_links: profile.per_shard(memory.active_links),
        sessions,
        clients: sessions,
        subscriptions: profile.per_shard(memory.subscriptions),
        filters: profile.per_shard(memory.filters),
        wildcard_nodes: profile.per_shard(memory.wildcard_nodes),
        identifiers: profile.per_shard(memory.identifiers),
        messages: profile.per_shard(memory.messages),
        payload_units: profile.per_shard(memory.payload_units),
        payload_unit_bytes: memory.payload_unit_bytes,
        deliveries: profile.per_shard(memory.deliveries),
        retained: profile.per_shard(memory.retained),
        session_queue_messages: mqtt.session_queue_messages,
        inflight: mqtt.inflight,
        packet_bytes_max: mqtt.packet_bytes_max,
        header_bytes_max,
        output_chunks: profile.per_shard(memory.output_chunks),
        pending: profile.per_shard(memory.pending),
        moves: sessions.div_ceil(MOVES_DIVISOR),
        staging_bytes: staging_bytes(mqtt.packet_bytes_max, header_bytes_max),
        ..defaults
    }
}

/// Room for two of the largest messages, and never less than the default.
fn staging_bytes(packet_bytes_max: u32, header_bytes_max: u32) -> u32 {
    let largest_two = 2 * packet_bytes_max + 4 * header_bytes_max;
    largest_two.max(broker::Limits::default().staging_bytes)
}

/// A profile without an MQTT listener pays nothing for the broker.
fn no_broker(profile: &Profile) -> broker::Limits {
    broker::Limits {
        links: 0,
        active_links: 0,
        sessions: 0,
        clients: 0,
        subscriptions: 0,
        filters: 0,
        wildcard_nodes: 0,
        identifiers: 0,
        messages: 0,
        payload_units: 0,
        deliveries: 0,
        retained: 0,
        output_chunks: 0,
        pending: 0,
        retained_jobs: 0,
        moves: 0,
        ..broker_limits(profile)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use capsule::clock::Clock;
    use capsule::twin::{TwinConfig, TwinLink};
    use hwconfig::Overrides;
    use hwconfig::memory::HUGEPAGE_BYTES;

    use super::*;
    use crate::drain::StopSwitch;
    use crate::peers::Peers;
    use crate::shard::Shard;

    fn facts(queues: u16) -> PortFacts {
        PortFacts {
            driver: "twin".to_owned(),
            device: "twin0".to_owned(),
            mac: [2, 0, 0, 0, 0, 9],
            granted: Offloads::default(),
            rx_queues: queues,
            tx_queues: queues,
            rx_slots: 64,
            tx_slots: 64,
            mtu: 1_500,
            reta: Vec::new(),
            rss_key: Vec::new(),
            numa_node: None,
            rx_interrupts: false,
        }
    }

    #[test]
    fn memory_plan_of_a_profile_is_what_its_shards_map() {
        for cores in [vec![0], vec![0, 1]] {
            let mut profile = hwconfig::embedded(&Overrides::default()).expect("embedded");
            profile.shards.cores = cores;
            profile.memory.tier = TierChoice::Base;
            let shards = profile.shard_count();
            let secrets = Secrets { stack: [1; 16], broker: [2; 16] };
            let config = shard_config(&profile, &facts(shards), &secrets, 0);
            let (mut queues, _) =
                TwinLink::pair(TwinConfig { queues: shards, ..TwinConfig::default() });
            let peers = Peers::mesh(shards, 4_096).remove(0);
            let stop = Arc::new(StopSwitch::default());
            let shard = Shard::new(config, queues.remove(0), peers, Clock::calibrate(), stop, 0)
                .expect("the embedded profile makes a shard");
            let mapped: BTreeMap<_, _> = shard
                .regions()
                .iter()
                .map(|(name, _, bytes)| (*name, (*bytes as u64).next_multiple_of(HUGEPAGE_BYTES)))
                .collect();
            let plan = profile.plan();
            let regions = plan.terms.iter().flat_map(|term| &term.regions);
            let planned: BTreeMap<_, _> = regions.map(|r| (r.name, r.bytes)).collect();
            assert_eq!(planned, mapped, "with {shards} shard(s)");
        }
    }

    #[test]
    fn port_without_rss_is_steered_by_software_over_all_shards() {
        let mut profile = hwconfig::embedded(&Overrides::default()).expect("embedded");
        profile.shards.cores = vec![0, 1];
        let steering = steering(&profile, &facts(2), 1);
        assert_eq!(steering.shard, 1);
        assert!([0, 1].iter().all(|shard| steering.reta.contains(shard)));
        let granted = Offloads { rss: true, ..Offloads::default() };
        let reta = vec![1, 0, 1];
        let facts = PortFacts { granted, reta, rss_key: vec![3; 52], ..facts(2) };
        let steering = super::steering(&profile, &facts, 1);
        assert_eq!((steering.reta, steering.key), (vec![1, 0, 1], [3; 40]), "the port's own");
    }
}
