//! MQTT through whole shards: exchange and take-over within a shard and between shards.

mod common;

use capsule::twin::TwinConfig;
use common::mqtt::{connect_v4, connect_v5, publish_v4, subscribe_v4, take_packets};
use common::{MQTT, MS, SECOND, World, pattern};
use tcpstack::ConnId;

const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const PUBLISH_QOS1: u8 = 0x32;
const PUBACK: u8 = 0x40;
const SUBACK: u8 = 0x90;
const DISCONNECT: u8 = 0xE0;

/// Waits for the next packets on a connection.
#[track_caller]
fn packets(world: &mut World, conn: ConnId, count: usize) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    world.until(10 * SECOND, "packets", |world| {
        let received = &mut world.peer.conn(conn).received;
        found.extend(take_packets(received));
        found.len() >= count
    });
    assert_eq!(found.len(), count, "{found:?}");
    found
}

/// One MQTT 3.1.1 client for each shard, by number.
fn clients(world: &mut World, keep_alive_s: u16) -> Vec<ConnId> {
    let conns = world.connect_to_each_shard(MQTT);
    for (conn, number) in conns.iter().zip(0..) {
        world.peer.send(*conn, &connect_v4(&format!("client{number}"), keep_alive_s));
        assert_eq!(packets(world, *conn, 1), [(CONNACK, vec![0, 0])]);
    }
    conns
}

fn publish_body(topic: &str, id: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let whole = publish_v4(topic, id, payload);
    take_packets(&mut whole.clone()).remove(0).1
}

#[test]
fn message_reaches_the_subscribers_of_every_shard() {
    for shards in [1, 2, 3] {
        println!("{shards} shard(s)");
        let mut world = World::new(shards, TwinConfig::default());
        let conns = clients(&mut world, 60);
        for (conn, filter) in conns.iter().zip(["news/today", "news/+", "#"]) {
            world.peer.send(*conn, &subscribe_v4(7, filter, 1));
            assert_eq!(packets(&mut world, *conn, 1), [(SUBACK, vec![0, 7, 1])]);
        }
        // What a shard wants to hear reaches the others within a turn or two.
        world.pass(5 * MS);
        for publisher in &conns {
            world.peer.send(*publisher, &publish_v4("news/today", None, b"quick"));
            for subscriber in &conns {
                let expected = (PUBLISH, publish_body("news/today", None, b"quick"));
                assert_eq!(packets(&mut world, *subscriber, 1), [expected]);
            }
        }
    }
}

#[test]
fn qos_1_is_acknowledged_to_the_publisher_and_delivered_with_an_id() {
    for shards in [1, 2] {
        let mut world = World::new(shards, TwinConfig::default());
        let conns = clients(&mut world, 60);
        let (subscriber, publisher) = (conns[0], conns[conns.len() - 1]);
        world.peer.send(subscriber, &subscribe_v4(1, "a/b", 1));
        packets(&mut world, subscriber, 1);
        world.pass(5 * MS);
        world.peer.send(publisher, &publish_v4("a/b", Some(300), b"sure"));
        let mut found = Vec::new();
        world.until(10 * SECOND, "delivery and PUBACK", |world| {
            for conn in [subscriber, publisher] {
                found.extend(take_packets(&mut world.peer.conn(conn).received));
            }
            found.len() >= 2
        });
        found.sort();
        assert_eq!(found[1], (PUBACK, vec![1, 44]));
        let (first, body) = &found[0];
        assert_eq!((*first, &body[..5]), (PUBLISH_QOS1, &b"\x00\x03a/b"[..]));
        assert_eq!(&body[7..], b"sure");
    }
}

#[test]
fn large_message_crosses_shards_over_a_bad_wire() {
    let wire =
        TwinConfig { seed: 9, loss_ppm: 5_000, reorder_ppm: 10_000, ..TwinConfig::default() };
    let mut world = World::new(2, wire);
    let conns = clients(&mut world, 600);
    world.peer.send(conns[0], &subscribe_v4(1, "big", 0));
    packets(&mut world, conns[0], 1);
    world.pass(5 * MS);
    let payload = pattern(3, 900_000);
    world.peer.send(conns[1], &publish_v4("big", None, &payload));
    let whole = publish_body("big", None, &payload);
    world.until(600 * SECOND, "the message", |world| {
        world.peer.conns[&conns[0]].received.len() >= whole.len()
    });
    let found = packets(&mut world, conns[0], 1);
    assert!(found[0] == (PUBLISH, whole), "the message arrived damaged");
}

#[test]
fn second_connect_with_a_client_id_takes_the_session_over_from_any_shard() {
    for shards in [1, 2] {
        let mut world = World::new(shards, TwinConfig::default());
        let mut conns = world.connect_to_each_shard(MQTT);
        conns.push(world.connect(MQTT));
        for conn in &conns {
            world.peer.send(*conn, &connect_v5("same", 60));
            let answer = packets(&mut world, *conn, 1);
            assert_eq!((answer[0].0, answer[0].1[1]), (CONNACK, 0), "{answer:?}");
        }
        for old in &conns[..conns.len() - 1] {
            world.until(SECOND, "closed", |world| world.peer.conn(*old).got_fin);
            let last = take_packets(&mut world.peer.conn(*old).received);
            assert_eq!((last[0].0, last[0].1[0]), (DISCONNECT, 0x8E), "session taken over");
        }
        let newest = *conns.last().expect("there are some");
        world.pass(100 * MS);
        assert!(!world.peer.conn(newest).got_fin);
    }
}

#[test]
fn silent_client_is_closed_after_one_and_a_half_keep_alives() {
    let mut world = World::new(1, TwinConfig::default());
    let conn = clients(&mut world, 2)[0];
    world.pass(2_900 * MS);
    assert!(!world.peer.conn(conn).got_fin);
    world.until(200 * MS, "closed", |world| {
        let known = world.peer.conn(conn);
        known.got_fin || known.closed.is_some()
    });
}

#[test]
fn connection_that_never_says_connect_is_closed_in_time() {
    let mut world = World::new(1, TwinConfig::default());
    let conn = world.connect(MQTT);
    world.pass(9_900 * MS);
    assert!(world.peer.conn(conn).closed.is_none() && !world.peer.conn(conn).got_fin);
    world.until(500 * MS, "closed", |world| {
        let known = world.peer.conn(conn);
        known.got_fin || known.closed.is_some()
    });
}

#[test]
fn half_a_packet_and_a_fin_end_the_connection() {
    let mut world = World::new(1, TwinConfig::default());
    let conn = clients(&mut world, 0)[0];
    let whole = publish_v4("a", None, b"never complete");
    world.peer.send(conn, &whole[..whole.len() - 3]);
    world.peer.conn(conn).close_after_sending = true;
    world.until(SECOND, "closed", |world| world.peer.conn(conn).closed.is_some());
    world.pass(10 * MS);
    assert_eq!(world.shards[0].broker().gauges().links, 0);
}

#[test]
fn garbage_closes_that_one_connection() {
    let mut world = World::new(1, TwinConfig::default());
    let good = clients(&mut world, 60)[0];
    let bad = world.connect(MQTT);
    world.peer.send(bad, b"GET / HTTP/1.1\r\n\r\n");
    world.until(SECOND, "closed", |world| {
        let known = world.peer.conn(bad);
        known.got_fin || known.closed.is_some()
    });
    world.peer.send(good, &subscribe_v4(1, "x", 0));
    packets(&mut world, good, 1);
}
