//! Clients that send rubbish, break off, and come and go: nothing panics and nothing leaks.

use broker::codec::{AckKind, Property, Version};
use broker::{Broker, BrokerGauges};
use fastrand::Rng;
use proptest::prelude::*;

use crate::net::{MILLI, Net, SECOND};
use crate::packet::{
    PINGREQ, Packet, ack_packet, block, connect_with, disconnect, puback, publish, subscribe,
    unsubscribe,
};

const IDS: [&str; 6] = ["a", "b", "c", "d", "", "an identifier of more than sixteen bytes"];
const TOPICS: [&str; 5] = ["a", "a/b", "a/b/c", "/", "long/er/topic/name/for/more/units"];
const FILTERS: [&str; 8] = ["a", "a/b", "a/+", "#", "+/b/#", "$SYS/#", "a/#/b", "$share/g/a"];

/// Bytes of some packet, mostly a right one.
fn packet(rng: &mut Rng, version: Version) -> Vec<u8> {
    let topic = TOPICS[rng.usize(..TOPICS.len())];
    let id = rng.u16(1..6);
    let mut bytes = match rng.u8(..12) {
        0 => connect(rng, version),
        1..4 => {
            let payload = vec![rng.u8(..); rng.usize(..600)];
            let mut packet = publish(topic, &payload, rng.u8(..2), id);
            packet.retain = rng.u8(..4) == 0;
            if version == Version::V5 && rng.bool() {
                packet.properties = block(&[
                    Property::MessageExpiryInterval(rng.u32(..4)),
                    Property::TopicAlias(rng.u16(1..4)),
                    Property::UserProperty("k", "v"),
                ]);
            }
            packet.bytes(version)
        }
        4 => publish(topic, b"twice", 2, id).bytes(version),
        5 | 6 => {
            let filters: Vec<_> = (0..rng.usize(1..4))
                .map(|_| (FILTERS[rng.usize(..FILTERS.len())], rng.u8(..3)))
                .collect();
            subscribe(version, id, &filters)
        }
        7 => unsubscribe(version, id, &[FILTERS[rng.usize(..FILTERS.len())]]),
        8 => puback(version, id),
        9 => ack_packet(version, AckKind::Pubrel, id),
        10 => disconnect(version, if rng.bool() { 0 } else { 4 }, &[]),
        _ => PINGREQ.to_vec(),
    };
    match rng.u8(..16) {
        0 => {
            let at = rng.usize(..bytes.len());
            // A topic under `$` could not be found again below.
            bytes[at] = rng.u8(b'$' + 1..);
        }
        1 => bytes.truncate(rng.usize(..bytes.len())),
        2 => bytes = (0..rng.usize(..40)).map(|_| rng.u8(..)).collect(),
        _ => {}
    }
    bytes
}

fn connect(rng: &mut Rng, version: Version) -> Vec<u8> {
    let mut with = connect_with(version, IDS[rng.usize(..IDS.len())]);
    with.clean = rng.bool() || with.id.is_empty();
    with.keep_alive_s = rng.u16(..3) * 10;
    if version == Version::V5 && rng.bool() {
        with.properties = block(&[
            Property::SessionExpiryInterval(rng.u32(..3) * 20),
            Property::ReceiveMaximum(rng.u16(1..4)),
        ]);
    }
    if rng.bool() {
        let delay = match version {
            Version::V3 => Vec::new(),
            Version::V5 => block(&[Property::WillDelayInterval(rng.u32(..3) * 5)]),
        };
        with.will = Some(("a/b", "will", rng.u8(..2), rng.bool(), delay));
    }
    with.bytes()
}

/// Gauges that must be back where they were once everyone is gone.
fn held(gauges: BrokerGauges) -> BrokerGauges {
    BrokerGauges { queues_non_empty: 0, queue_longest: 0, ..gauges }
}

fn run(seed: u64, shards: u16, tune: impl Fn(&mut broker::BrokerConfig)) {
    let mut rng = Rng::with_seed(seed);
    let mut net = Net::new(shards, |config| {
        config.limits.session_queue_messages = 8;
        config.timers.session_expiry_max_s = 100;
        tune(config);
    });
    net.ring_slots = rng.usize(1..8);
    net.fill_bytes = rng.usize(5..3_000);
    let before: Vec<_> = net.brokers.iter().map(Broker::gauges).map(held).collect();
    let mut open: Vec<usize> = Vec::new();
    for _ in 0..rng.usize(50..400) {
        match rng.u8(..20) {
            0..3 if open.len() < 12 => {
                let version = if rng.bool() { Version::V5 } else { Version::V3 };
                let conn = net.open(rng.u16(..shards), version);
                let bytes = connect(&mut rng, version);
                net.send(conn, &bytes);
                open.push(conn);
            }
            3 if !open.is_empty() => net.cut(open.swap_remove(rng.usize(..open.len()))),
            4 => net.advance(rng.u64(1..20) * MILLI),
            5 if rng.u8(..4) == 0 => net.advance(rng.u64(1..30) * SECOND),
            6 if !open.is_empty() => {
                let conn = open[rng.usize(..open.len())];
                net.conns[conn].received.clear();
                let window = if rng.bool() { usize::MAX } else { rng.usize(..200) };
                net.widen(conn, window);
            }
            _ if !open.is_empty() => {
                let conn = open[rng.usize(..open.len())];
                let bytes = packet(&mut rng, net.conns[conn].version);
                net.send(conn, &bytes);
            }
            _ => {}
        }
        open.retain(|conn| net.conns[*conn].link.is_some());
    }
    for conn in open {
        net.cut(conn);
    }
    net.advance(50 * MILLI);
    net.advance(1_000 * SECOND);
    clear_retained(&mut net);
    let after: Vec<_> = net.brokers.iter().map(Broker::gauges).map(held).collect();
    assert_eq!(after, before, "seed {seed}, {shards} shards");
    for broker in &net.brokers {
        let counters = broker.counters();
        assert_eq!(counters.links_accepted, counters.links_closed, "seed {seed}");
        assert_eq!(counters.shard_messages_bad, 0, "seed {seed}");
        assert_eq!(counters.shard_answers_lost, 0, "seed {seed}");
    }
}

/// Retained messages outlive everyone: finds those a run may have left, clears them, and leaves.
fn clear_retained(net: &mut Net) {
    let version = Version::V5;
    let conn = net.open(0, version);
    net.send(conn, &connect_with(version, "sweeper").bytes());
    net.send(conn, &subscribe(version, 1, &[("#", 0)]));
    for _ in 0..20 {
        net.advance(10 * MILLI);
        for received in net.received(conn) {
            if let Packet::Publish { topic, retain: true, .. } = received {
                let mut packet = publish(&topic, b"", 1, 1);
                packet.retain = true;
                net.send(conn, &packet.bytes(version));
            }
        }
    }
    net.cut(conn);
    net.advance(50 * MILLI);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everything_is_given_back(seed: u64, shards in 1u16..4) {
        run(seed, shards, |_| {});
    }

    #[test]
    fn everything_is_given_back_when_everything_is_scarce(seed: u64, shards in 1u16..4) {
        run(seed, shards, |config| {
            let limits = &mut config.limits;
            limits.links = 6;
            limits.active_links = 3;
            limits.sessions = 4;
            limits.clients = 3;
            limits.subscriptions = 6;
            limits.filters = 4;
            limits.wildcard_nodes = 8;
            limits.identifiers = 1;
            limits.messages = 10;
            limits.payload_units = 12;
            limits.deliveries = 8;
            limits.retained = 2;
            limits.output_chunks = 4;
            limits.pending = 2;
            limits.retained_jobs = 2;
            limits.moves = 1;
            limits.packet_bytes_max = 1_000;
            limits.header_bytes_max = 256;
            limits.staging_bytes = 4_096;
        });
    }

    #[test]
    fn raw_bytes_never_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), connected: bool) {
        for version in [Version::V3, Version::V5] {
            let mut net = Net::new(1, |_| {});
            let conn = net.open(0, version);
            if connected {
                net.send(conn, &connect_with(version, "a").bytes());
            }
            net.send(conn, &bytes);
            net.cut(conn);
            net.advance(5 * MILLI);
            prop_assert_eq!(net.brokers[0].gauges().links, 0);
            prop_assert_eq!(net.brokers[0].gauges().active_links, 0);
        }
    }
}
