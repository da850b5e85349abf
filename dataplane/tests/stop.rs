//! The clean stop of whole shards.

mod common;

use capsule::twin::TwinConfig;
use common::mqtt::{connect_v5, take_packets};
use common::{DISCARD, ECHO, MQTT, MS, SECOND, World};

#[test]
fn stop_says_goodbye_to_everybody_and_ends_early() {
    for shards in [1, 2] {
        let mut world = World::new(shards, TwinConfig::default());
        let mut conns = Vec::new();
        for port in [ECHO, DISCARD, MQTT] {
            conns.extend((0..20).map(|_| world.connect(port)));
        }
        let clients = conns.split_off(40);
        for (client, number) in clients.iter().zip(0..) {
            world.peer.send(*client, &connect_v5(&format!("client{number}"), 60));
            world.until(SECOND, "CONNACK", |world| !world.peer.conn(*client).received.is_empty());
            world.peer.take(*client);
        }
        let began_ns = world.now_ns;
        world.stop.request(5_000);
        world.until(5 * SECOND, "stopped", |world| {
            world.shards.iter().all(|shard| shard.is_stopped())
        });
        assert!(world.now_ns - began_ns < 4 * SECOND, "nobody was left to wait for");
        world.pass(MS);
        for conn in conns.iter().chain(&clients) {
            assert!(world.peer.conn(*conn).got_fin, "a FIN for {conn}");
        }
        for client in clients {
            let packets = take_packets(&mut world.peer.conn(client).received);
            assert_eq!(packets.len(), 1, "{packets:?}");
            assert_eq!((packets[0].0, packets[0].1[0]), (0xE0, 0x8B), "server shutting down");
        }
    }
}

#[test]
fn peer_that_does_not_close_is_reset_at_the_deadline() {
    let mut world = World::new(1, TwinConfig::default());
    let conn = world.connect(ECHO);
    world.peer.conn(conn).answers_fin = false;
    world.stop.request(300);
    world.pass(290 * MS);
    assert!(world.peer.conn(conn).got_fin && world.peer.conn(conn).closed.is_none());
    assert!(!world.shards[0].is_stopped());
    world.until(200 * MS, "reset", |world| world.peer.conn(conn).closed.is_some());
    world.until(200 * MS, "stopped", |world| world.shards[0].is_stopped());
}

#[test]
fn nobody_gets_in_while_the_shard_stops() {
    let mut world = World::new(1, TwinConfig::default());
    let first = world.connect(ECHO);
    world.peer.conn(first).answers_fin = false;
    world.stop.request(1_000);
    world.pass(10 * MS);
    let late = world.peer.connect(world.now_ns, ECHO);
    world.until(500 * MS, "refused", |world| world.peer.conn(late).closed.is_some());
    assert!(!world.peer.conn(late).got_fin);
}

#[test]
fn second_request_can_make_it_shorter() {
    let mut world = World::new(1, TwinConfig::default());
    let conn = world.connect(ECHO);
    world.peer.conn(conn).answers_fin = false;
    world.stop.request(60_000);
    world.pass(20 * MS);
    world.stop.request(0);
    world.until(200 * MS, "stopped", |world| world.shards[0].is_stopped());
}

#[test]
fn shard_without_connections_stops_at_once() {
    let mut world = World::new(2, TwinConfig::default());
    world.stop.request(60_000);
    world.until(10 * MS, "stopped", |world| world.shards.iter().all(|s| s.is_stopped()));
}
