//! What a shard publishes, as a control plane reads it.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use capsule::impairment::Impairment;
use capsule::twin::TwinConfig;
use capsule::{Link, PortStats};
use common::{ECHO, MS, SECOND, World, pattern};
use corelink::{LinkClient, LinkServer, LinkSpec, Slot};
use dataplane::catalogue::ABSENT;
use dataplane::publish::{PortBoard, Publisher, catalogue};

/// A world whose shards publish, and what a control plane attached to it sees.
fn published(shards: u16, impairment: Option<Impairment>) -> (World, LinkClient) {
    let mut world =
        World::with(shards, TwinConfig::default(), |config| config.impairment = impairment);
    let board = Arc::new(PortBoard::default());
    let stats = PortStats { rx_missed: 5, ..PortStats::default() };
    board.post(stats, Link { up: true, speed_mbps: 10_000, full_duplex: true }, 1_000, 24);
    let (catalogue, slots) = catalogue("twin0", &world.shards[0].regions(), impairment.is_some());
    let spec = LinkSpec { shards, catalogue, counters_per_shard: slots, ..LinkSpec::default() };
    let (server, pages) = LinkServer::create(&spec).expect("a legal catalogue");
    for (index, (shard, page)) in world.shards.iter_mut().zip(pages).enumerate() {
        let board = (index == 0).then(|| Arc::clone(&board));
        let regions = shard.regions();
        shard.publish_to(Publisher::new(page, slots, board, &regions));
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let socket = dir.path().join("dataplane.sock");
    let listener = corelink::listen(&socket).expect("a socket");
    let greeter = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a control plane");
        corelink::hello(&stream, &server).expect("greeted");
    });
    let client = LinkClient::attach(&socket).expect("attached");
    greeter.join().expect("greeted");
    (world, client)
}

/// The value of the slot with this name and these labels on a shard.
fn value(client: &LinkClient, shard: u16, name: &str, labels: &[(&str, &str)]) -> u64 {
    let is_it = |slot: &&Slot| {
        let has = |(key, value): &(&str, &str)| {
            slot.labels.contains(&(key.to_string(), value.to_string()))
        };
        slot.name == name && labels.iter().all(has)
    };
    let at = client.catalogue().iter().position(|slot| is_it(&slot)).expect(name);
    let mut values = Vec::new();
    client.read(shard, &mut values).expect("nobody writes now");
    values[at]
}

#[test]
fn counters_of_the_wire_the_stack_and_the_port_arrive_under_their_names() {
    let (mut world, client) = published(2, None);
    let conn = world.connect(ECHO);
    world.peer.send(conn, &pattern(1, 10_000));
    world.pass(100 * MS);
    let sum = |name: &str, labels: &[(&str, &str)]| -> u64 {
        (0..2).map(|shard| value(&client, shard, name, labels)).sum()
    };
    assert!(
        sum("trunkline_port_bytes_total", &[("queue", "{shard}"), ("direction", "rx")]) > 10_000
    );
    assert!(sum("trunkline_port_packets_total", &[("port", "twin0"), ("direction", "tx")]) > 7);
    assert_eq!(sum("trunkline_tcpstack_connections", &[("state", "established")]), 1);
    assert_eq!(sum("trunkline_tcpstack_tcp_received_stream_bytes_total", &[]), 10_000);
    assert!(sum("trunkline_stage_cycles_total", &[("stage", "input")]) > 0);
    let missed = ("trunkline_port_drop_packets_total", [("reason", "rx_missed")]);
    assert_eq!(value(&client, 0, missed.0, &missed.1), 5);
    assert_eq!(value(&client, 1, missed.0, &missed.1), ABSENT, "shard 0 speaks for the port");
    let wheel = [("region", "wheel"), ("tier", "base-4k")];
    assert!(value(&client, 0, "trunkline_memory_bytes", &wheel) > 0);
    assert!(client.heartbeat(0) > 0);
}

#[test]
fn an_impaired_link_counts_what_it_does_to_frames_by_direction() {
    let lossy = Impairment { loss_ppm: 100_000, frames_max: 512, ..Impairment::default() };
    let (mut world, client) = published(1, Some(lossy));
    let conn = world.connect(ECHO);
    world.peer.send(conn, &pattern(1, 200_000));
    world
        .until(600 * SECOND, "the echo", |world| world.peer.conns[&conn].received.len() == 200_000);
    world.pass(100 * MS);
    for direction in ["inbound", "outbound"] {
        let labels = [("direction", direction)];
        let count = |what: &str| {
            value(&client, 0, &format!("trunkline_impairment_{what}_frames_total"), &labels)
        };
        assert!(count("lost") > 0, "{direction}");
        assert_eq!(count("offered"), count("lost") + count("delivered"), "{direction}");
    }
}

#[test]
fn no_two_slots_are_the_same_metric_and_one_name_has_one_kind() {
    let (_, client) = published(1, Some(Impairment { frames_max: 64, ..Impairment::default() }));
    let mut seen = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    for slot in client.catalogue() {
        assert!(seen.insert((&slot.name, &slot.labels)), "twice: {} {:?}", slot.name, slot.labels);
        kinds.insert((&slot.name, format!("{:?}", slot.kind)));
        let is_counter = slot.name.ends_with("_total");
        assert_eq!(is_counter, slot.kind == corelink::Kind::Counter, "{}", slot.name);
        assert!(!slot.help.is_empty(), "{}", slot.name);
    }
    let names: BTreeSet<_> = kinds.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), kinds.len());
}
