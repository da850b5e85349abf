//! A client id that connects again while it is connected.

use broker::Close;
use broker::codec::{Property, Version};

use crate::basics::{VERSIONS, join, sub};
use crate::connect::{connect, lasting};
use crate::net::{MILLI, Net};
use crate::packet::{Packet, puback, publish, subscribe_with};
use broker::codec::{AckKind, Qos, SubscribeOptions};

#[test]
fn second_connection_takes_the_session_over() {
    for shards in 1..=3 {
        for version in VERSIONS {
            for to in 0..shards {
                let mut net = Net::new(shards, |_| {});
                let (first, _) = connect(&mut net, 0, &lasting(version, "s"));
                sub(&mut net, first, "t/+", 1);
                let (second, present) = connect(&mut net, to, &lasting(version, "s"));
                assert!(present, "from shard 0 to {to} of {shards}");
                assert_eq!(net.conns[first].closed, Some(Close::Graceful));
                let goodbye: &[Packet] = match version {
                    Version::V3 => &[],
                    Version::V5 => &[Packet::Disconnect { reason: 0x8E }],
                };
                assert_eq!(net.received(first), goodbye);
                for (shard, id) in (0..shards).zip(["p0", "p1", "p2"]) {
                    let publisher = join(&mut net, shard, version, id);
                    net.send(publisher, &publish("t/x", id.as_bytes(), 1, 1).bytes(version));
                    let packets = net.received(second);
                    assert!(matches!(packets[..], [Packet::Publish { .. }]), "{packets:?}");
                }
                assert_eq!(net.sum(|broker| broker.gauges().subscriptions), 1);
                assert_eq!(net.sum(|broker| broker.gauges().clients), 1 + u64::from(shards));
                let connected = net.sum(|broker| broker.gauges().connected);
                assert_eq!(connected, 1 + u64::from(shards));
            }
        }
    }
}

#[test]
fn clean_second_connection_ends_the_session() {
    for shards in 1..=3 {
        for to in 0..shards {
            let mut net = Net::new(shards, |_| {});
            let (first, _) = connect(&mut net, 0, &lasting(Version::V5, "s"));
            sub(&mut net, first, "t", 1);
            let second = join(&mut net, to, Version::V5, "s");
            assert_eq!(net.received(first), [Packet::Disconnect { reason: 0x8E }]);
            net.send(second, &publish("t", b"x", 1, 1).bytes(Version::V5));
            let packets = net.received(second);
            let none = Packet::Ack { kind: AckKind::Puback, packet_id: 1, reason: 0x10 };
            assert_eq!(packets, [none]);
            assert_eq!(net.sum(|broker| broker.gauges().sessions), 1);
        }
    }
}

#[test]
fn session_without_expiry_does_not_survive_a_take_over() {
    let mut net = Net::new(2, |_| {});
    let first = join(&mut net, 0, Version::V5, "s");
    sub(&mut net, first, "t", 1);
    let (_, present) = connect(&mut net, 1, &lasting(Version::V5, "s"));
    assert!(!present);
    assert_eq!(net.sum(|broker| broker.gauges().subscriptions), 0);
}

/// Every part of a session's state comes through: options of subscriptions, deliveries in flight
/// and waiting with their packet identifiers, QoS 2 publishes not released, large payloads.
#[test]
fn whole_state_moves_between_shards() {
    let version = Version::V3;
    let mut net = Net::new(2, |_| {});
    let publisher = join(&mut net, 0, Version::V5, "p");
    let (first, _) = connect(&mut net, 0, &lasting(version, "s"));
    for i in 0..40 {
        sub(&mut net, first, &format!("many/{i}"), 1);
    }
    let large: Vec<u8> = (0..100_000u32).map(|i| i as u8).collect();
    net.send(publisher, &publish("many/1", b"in flight", 1, 1).bytes(Version::V5));
    net.send(first, &publish("elsewhere", b"twice", 2, 77).bytes(version));
    assert_eq!(net.received(first).len(), 2);
    net.cut(first);
    net.send(publisher, &publish("many/2", &large, 1, 2).bytes(Version::V5));

    let (second, present) = connect(&mut net, 1, &lasting(version, "s"));
    assert!(present);
    let packets = net.received(second);
    let [
        Packet::Publish { payload: one, dup: true, packet_id: 1, .. },
        Packet::Publish { payload: two, dup: false, packet_id: 2, .. },
    ] = &packets[..]
    else {
        panic!("{packets:?}")
    };
    assert_eq!((&one[..], two), (&b"in flight"[..], &large));
    net.send(second, &puback(version, 1));
    net.send(second, &puback(version, 2));
    let mut again = publish("elsewhere", b"twice", 2, 77);
    again.dup = true;
    let before = net.sum(|broker| broker.gauges().messages);
    net.send(second, &again.bytes(version));
    assert_eq!(
        net.received(second),
        [Packet::Ack { kind: AckKind::Pubrec, packet_id: 77, reason: 0 }]
    );
    assert_eq!(net.sum(|broker| broker.gauges().messages), before);
    for i in 0..40 {
        net.send(publisher, &publish(&format!("many/{i}"), b"", 1, 3).bytes(Version::V5));
    }
    assert_eq!(net.received(second).len(), 40);
    assert_eq!(net.brokers[0].gauges().subscriptions, 0);
    assert_eq!(net.brokers[1].counters().sessions_moved_in, 1);
}

#[test]
fn subscription_options_move_with_the_session() {
    let version = Version::V5;
    let mut net = Net::new(2, |_| {});
    let (first, _) = connect(&mut net, 0, &lasting(version, "s"));
    let options = SubscribeOptions {
        qos: Qos::AtLeastOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: 2,
    };
    let properties = [Property::SubscriptionIdentifier(300)];
    net.send(first, &subscribe_with(version, 1, &properties, &[("o/#", options)]));
    let (second, _) = connect(&mut net, 1, &lasting(version, "s"));
    net.send(second, &publish("o/own", b"x", 0, 0).bytes(version));
    assert_eq!(net.received(second), []);
    let other = join(&mut net, 0, version, "p");
    net.send(other, &publish("o/theirs", b"x", 0, 0).retained().bytes(version));
    let packets = net.received(second);
    let [Packet::Publish { retain: true, properties, .. }] = &packets[..] else {
        panic!("{packets:?}")
    };
    assert_eq!(properties[0].0, "SubscriptionIdentifier(300)");
}

/// However often and wherever a client connects, one connection is left, no session is lost, and
/// every message published meanwhile arrives.
#[test]
fn storm_of_take_overs_leaves_one_connection_and_loses_nothing() {
    for shards in 1..=3u16 {
        let version = Version::V5;
        let mut net = Net::new(shards, |_| {});
        net.ring_slots = 2;
        let publisher = join(&mut net, 0, version, "p");
        let (mut conn, _) = connect(&mut net, 0, &lasting(version, "s"));
        sub(&mut net, conn, "t/#", 1);
        let mut conns = vec![conn];
        let mut seen = [false; 60];
        for round in 0..60u16 {
            // Two connections at once, without waiting for either; the first may be on its way.
            for shard in [round % shards, (round / 2) % shards] {
                let transport = net.conns.len() as u32;
                let link = net.brokers[usize::from(shard)].accept(net.now_ns, transport);
                net.conns.push(crate::net::Conn {
                    shard,
                    link,
                    held: lasting(version, "s").bytes(),
                    received: Vec::new(),
                    closed: None,
                    version,
                    window: usize::MAX,
                    waits_for_room: false,
                });
                conn = net.conns.len() - 1;
                let held = std::mem::take(&mut net.conns[conn].held);
                let link = link.expect("a link");
                net.brokers[usize::from(shard)].feed(net.now_ns, link, &held);
                conns.push(conn);
                for _ in 0..round % 5 {
                    net.turn();
                }
            }
            net.send(publisher, &publish("t/x", &[round as u8], 1, round + 1).bytes(version));
            if round % 3 == 0 {
                net.advance(3 * MILLI);
            }
        }
        for _ in 0..10 {
            net.advance(50 * MILLI);
        }
        for conn in &conns {
            for packet in net.received(*conn) {
                if let Packet::Publish { payload, .. } = packet {
                    seen[usize::from(payload[0])] = true;
                }
            }
        }
        assert!(seen.iter().all(|seen| *seen), "{shards} shards: {seen:?}");
        let left = conns.iter().filter(|conn| net.conns[**conn].link.is_some()).count();
        assert_eq!(left, 1, "{shards} shards");
        assert_eq!(net.sum(|broker| broker.gauges().connected), 2);
        assert_eq!(net.sum(|broker| broker.gauges().sessions), 2);
        assert_eq!(net.sum(|broker| broker.gauges().clients), 2);
        assert_eq!(net.sum(|broker| broker.gauges().subscriptions), 1);
    }
}
