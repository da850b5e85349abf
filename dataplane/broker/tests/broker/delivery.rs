//! Deliveries to clients: windows, queues, expiry, options of subscriptions.

use broker::Close;
use broker::codec::{Property, Qos, SubscribeOptions, Version};

use crate::basics::{VERSIONS, join, sub};
use crate::connect::{connect, lasting};
use crate::net::{Net, SECOND};
use crate::packet::{
    Packet, Prop, block, connect_with, puback, publish, subscribe, subscribe_with,
};

fn payloads(packets: Vec<Packet>) -> Vec<u8> {
    packets
        .into_iter()
        .map(|packet| match packet {
            Packet::Publish { payload, .. } => payload[0],
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn no_more_is_in_flight_than_the_client_takes() {
    let version = Version::V5;
    let mut net = Net::new(1, |_| {});
    let publisher = join(&mut net, 0, version, "p");
    let mut with = connect_with(version, "s");
    with.properties = block(&[Property::ReceiveMaximum(2)]);
    let (subscriber, _) = connect(&mut net, 0, &with);
    sub(&mut net, subscriber, "t", 1);
    for id in 1..=5 {
        net.send(publisher, &publish("t", &[id as u8], 1, id).bytes(version));
    }
    assert_eq!(payloads(net.received(subscriber)), [1, 2]);
    // QoS 0 does not count.
    net.send(publisher, &publish("t", &[99], 0, 0).bytes(version));
    assert_eq!(payloads(net.received(subscriber)), [99]);
    net.send(subscriber, &puback(version, 1));
    assert_eq!(payloads(net.received(subscriber)), [3]);
    net.send(subscriber, &puback(version, 3));
    net.send(subscriber, &puback(version, 2));
    assert_eq!(payloads(net.received(subscriber)), [4, 5]);
    net.send(subscriber, &puback(version, 2));
    assert_eq!(net.brokers[0].counters().acks_unknown, 1);
}

#[test]
fn packet_identifiers_start_over_and_skip_those_in_flight() {
    let version = Version::V3;
    let mut net = Net::new(1, |config| config.limits.inflight = 4);
    let publisher = join(&mut net, 0, version, "p");
    let subscriber = join(&mut net, 0, version, "s");
    sub(&mut net, subscriber, "t", 1);
    let bytes = publish("t", b"x", 1, 1).bytes(version);
    let mut stuck = None;
    let mut seen = 0;
    while seen < 66_000 {
        net.send(publisher, &bytes);
        for packet in net.received(subscriber) {
            let Packet::Publish { packet_id, .. } = packet else { panic!("{packet:?}") };
            seen += 1;
            assert_ne!(packet_id, 0);
            assert_ne!(Some(packet_id), stuck, "still in flight");
            if seen == 100 {
                stuck = Some(packet_id);
            } else {
                net.send(subscriber, &puback(version, packet_id));
            }
        }
        net.conns[publisher].received.clear();
    }
}

#[test]
fn full_queue_drops_the_oldest_qos0() {
    let version = Version::V5;
    let mut net = Net::new(1, |config| config.limits.session_queue_messages = 10);
    let publisher = join(&mut net, 0, version, "p");
    let subscriber = join(&mut net, 0, version, "s");
    sub(&mut net, subscriber, "t", 0);
    net.conns[subscriber].window = 0;
    for i in 0..30 {
        net.send(publisher, &publish("t", &[i], 0, 0).bytes(version));
    }
    assert_eq!(net.brokers[0].counters().drop_queue_full_qos0, 20);
    net.widen(subscriber, usize::MAX);
    assert_eq!(payloads(net.received(subscriber)), (20..30).collect::<Vec<_>>());
}

#[test]
fn full_queue_disconnects_a_connected_client_and_keeps_its_messages() {
    for version in VERSIONS {
        let mut net = Net::new(1, |config| {
            config.limits.session_queue_messages = 10;
            config.limits.inflight = 2;
        });
        let publisher = join(&mut net, 0, version, "p");
        let (subscriber, _) = connect(&mut net, 0, &lasting(version, "s"));
        sub(&mut net, subscriber, "t", 1);
        for id in 1..=20 {
            net.send(publisher, &publish("t", &[id as u8], 1, id).bytes(version));
        }
        assert_eq!(net.conns[subscriber].closed, Some(Close::Graceful));
        let packets = net.received(subscriber);
        assert_eq!(packets.len(), if version == Version::V5 { 3 } else { 2 });
        if version == Version::V5 {
            assert_eq!(packets[2], Packet::Disconnect { reason: 0x97 });
        }
        // 2 in flight, 10 waiting; offline the newest are refused.
        assert_eq!(net.brokers[0].counters().drop_queue_full_qos1, 8);
        let (subscriber, present) = connect(&mut net, 0, &lasting(version, "s"));
        assert!(present);
        let mut got = Vec::new();
        loop {
            let packets = net.received(subscriber);
            if packets.is_empty() {
                break;
            }
            for packet in packets {
                let Packet::Publish { packet_id, payload, .. } = packet else { panic!() };
                got.push(payload[0]);
                net.send(subscriber, &puback(version, packet_id));
            }
        }
        assert_eq!(got, (1..=12).collect::<Vec<_>>());
    }
}

#[test]
fn expired_message_is_not_delivered_and_others_tell_what_is_left() {
    for shards in 1..=2 {
        let version = Version::V5;
        let mut net = Net::new(shards, |_| {});
        let publisher = join(&mut net, 0, version, "p");
        let (subscriber, _) = connect(&mut net, shards - 1, &lasting(version, "s"));
        sub(&mut net, subscriber, "t", 1);
        net.cut(subscriber);
        for (id, seconds) in [(1, 10), (2, 100)] {
            let payload = [id as u8];
            let packet = publish("t", &payload, 1, id);
            let packet = packet.with(&[Property::MessageExpiryInterval(seconds)]);
            net.send(publisher, &packet.bytes(version));
        }
        net.advance(30 * SECOND);
        let (subscriber, _) = connect(&mut net, shards - 1, &lasting(version, "s"));
        let packets = net.received(subscriber);
        let [Packet::Publish { payload, properties, .. }] = &packets[..] else {
            panic!("{packets:?}")
        };
        assert_eq!(payload, &[2]);
        assert_eq!(*properties, [Prop::of(Property::MessageExpiryInterval(70))]);
        assert_eq!(net.sum(|broker| broker.counters().drop_expired), 1);
    }
}

#[test]
fn packet_larger_than_the_client_takes_is_left_out() {
    let version = Version::V5;
    let mut net = Net::new(1, |_| {});
    let publisher = join(&mut net, 0, version, "p");
    let mut with = connect_with(version, "s");
    with.properties = block(&[Property::MaximumPacketSize(100)]);
    let (subscriber, _) = connect(&mut net, 0, &with);
    sub(&mut net, subscriber, "t", 1);
    for (id, len) in [(1, 93), (2, 92), (3, 200), (4, 1)] {
        net.send(publisher, &publish("t", &vec![id as u8; len], 1, id).bytes(version));
    }
    assert_eq!(payloads(net.received(subscriber)), [2, 4]);
    assert_eq!(net.brokers[0].counters().drop_too_large, 2);
}

#[test]
fn subscription_identifiers_come_with_the_deliveries() {
    let version = Version::V5;
    let mut net = Net::new(1, |_| {});
    let conn = join(&mut net, 0, version, "s");
    let plain = SubscribeOptions::plain(Qos::AtMostOnce);
    for (identifier, filter) in [(1, "a/#"), (268_435_455, "a/b")] {
        let properties = [Property::SubscriptionIdentifier(identifier)];
        net.send(conn, &subscribe_with(version, 1, &properties, &[(filter, plain)]));
    }
    sub(&mut net, conn, "+/b", 0);
    net.send(conn, &publish("a/b", b"x", 0, 0).bytes(version));
    let mut identifiers: Vec<_> = net
        .received(conn)
        .into_iter()
        .filter_map(|packet| match packet {
            Packet::Publish { properties, .. } => Some(properties),
            _ => None,
        })
        .flatten()
        .map(|prop| prop.0)
        .collect();
    identifiers.sort();
    assert_eq!(identifiers, ["SubscriptionIdentifier(1)", "SubscriptionIdentifier(268435455)"]);
}

#[test]
fn overlapping_filters_of_one_quality_give_one_copy() {
    for version in VERSIONS {
        let mut net = Net::new(1, |_| {});
        let conn = join(&mut net, 0, version, "s");
        net.send(conn, &subscribe(version, 1, &[("a/#", 1), ("a/b", 1), ("+/b", 1), ("#", 1)]));
        net.received(conn);
        net.send(conn, &publish("a/b", b"x", 1, 1).bytes(version));
        let copies = net
            .received(conn)
            .into_iter()
            .filter(|packet| matches!(packet, Packet::Publish { .. }))
            .count();
        assert_eq!(copies, 1);
    }
}

#[test]
fn no_local_keeps_own_messages_away() {
    let version = Version::V5;
    let mut net = Net::new(1, |_| {});
    let conn = join(&mut net, 0, version, "s");
    let other = join(&mut net, 0, version, "o");
    let options = SubscribeOptions { no_local: true, ..SubscribeOptions::plain(Qos::AtMostOnce) };
    net.send(conn, &subscribe_with(version, 1, &[], &[("t", options)]));
    net.received(conn);
    net.send(conn, &publish("t", b"x", 0, 0).bytes(version));
    assert_eq!(net.received(conn), []);
    net.send(other, &publish("t", b"x", 0, 0).bytes(version));
    assert_eq!(net.received(conn).len(), 1);
}

#[test]
fn refused_filters_are_named_one_by_one() {
    for (version, invalid, shared) in [(Version::V3, 0x80, 0x80), (Version::V5, 0x8F, 0x9E)] {
        let mut net = Net::new(1, |_| {});
        let conn = join(&mut net, 0, version, "s");
        let filters = [("ok/+", 2), ("bad/#/x", 0), ("$share/g/t", 1), ("fine", 0), ("", 1)];
        net.send(conn, &subscribe(version, 3, &filters));
        let reasons = vec![1, invalid, shared, 0, invalid];
        assert_eq!(net.received(conn), [Packet::Suback { packet_id: 3, reasons }]);
        assert_eq!(net.brokers[0].gauges().subscriptions, 2);
    }
}

#[test]
fn full_subscription_table_refuses_and_recovers() {
    let version = Version::V5;
    let mut net = Net::new(2, |config| {
        config.limits.subscriptions = 4;
        config.limits.filters = 4;
    });
    let conn = join(&mut net, 0, version, "s");
    let filters: Vec<_> = (0..6).map(|i| format!("t/{i}")).collect();
    let asked: Vec<_> = filters.iter().map(|filter| (filter.as_str(), 0)).collect();
    net.send(conn, &subscribe(version, 1, &asked));
    let reasons = vec![0, 0, 0, 0, 0x97, 0x97];
    assert_eq!(net.received(conn), [Packet::Suback { packet_id: 1, reasons }]);
    net.cut(conn);
    let conn = join(&mut net, 0, version, "s");
    sub(&mut net, conn, "t/5", 0);
}

#[test]
fn messages_are_written_through_any_small_window() {
    for version in VERSIONS {
        for window in [5, 7, 16, 100] {
            let mut net = Net::new(1, |_| {});
            let publisher = join(&mut net, 0, version, "p");
            let subscriber = join(&mut net, 0, version, "s");
            net.send(
                subscriber,
                &subscribe_with(
                    version,
                    1,
                    if version == Version::V5 {
                        &[Property::SubscriptionIdentifier(70_000)]
                    } else {
                        &[]
                    },
                    &[("topic/of/some/length", SubscribeOptions::plain(Qos::AtLeastOnce))],
                ),
            );
            net.received(subscriber);
            net.fill_bytes = window;
            let mut sent = publish("topic/of/some/length", b"0123456789abcdefghij", 1, 1);
            if version == Version::V5 {
                sent = sent.with(&[
                    Property::MessageExpiryInterval(1_000),
                    Property::ContentType("some/content"),
                ]);
            }
            for _ in 0..3 {
                net.send(publisher, &sent.bytes(version));
            }
            let packets = net.received(subscriber);
            assert_eq!(packets.len(), 3);
            for packet in packets {
                let Packet::Publish { topic, payload, properties, .. } = packet else { panic!() };
                assert_eq!((topic.as_str(), &payload[..]), (sent.topic, sent.payload));
                let count = if version == Version::V5 { 3 } else { 0 };
                assert_eq!(properties.len(), count);
            }
        }
    }
}

/// A client that does not read holds nobody else up and what it cannot take is bounded.
#[test]
fn answers_to_a_client_that_does_not_read_are_bounded() {
    let version = Version::V5;
    let mut net = Net::new(1, |_| {});
    let conn = join(&mut net, 0, version, "s");
    net.conns[conn].window = 0;
    let bytes = crate::packet::unsubscribe(version, 1, &["a", "b", "c", "d"]);
    for _ in 0..2_000 {
        net.send(conn, &bytes);
    }
    assert!(!net.conns[conn].held.is_empty(), "input is held back");
    assert!(net.brokers[0].gauges().output_chunks_free > 900);
    net.widen(conn, usize::MAX);
    for _ in 0..100 {
        net.pump();
    }
    assert_eq!(net.received(conn).len(), 2_000);
    assert_eq!(net.brokers[0].gauges().output_chunks_free, 1_024);
}

#[test]
fn full_queue_disconnects_a_client_that_does_not_read() {
    let version = Version::V5;
    let mut net = Net::new(1, |config| config.limits.session_queue_messages = 10);
    let publisher = join(&mut net, 0, version, "p");
    let (subscriber, _) = connect(&mut net, 0, &lasting(version, "s"));
    sub(&mut net, subscriber, "t", 1);
    net.conns[subscriber].window = 0;
    for id in 1..=20 {
        net.send(publisher, &publish("t", &[id as u8], 1, id).bytes(version));
    }
    assert_eq!(net.brokers[0].gauges().connected, 1);
    net.advance(6 * SECOND);
    assert_eq!(net.conns[subscriber].closed, Some(Close::Abort));
    let (subscriber, present) = connect(&mut net, 0, &lasting(version, "s"));
    assert!(present);
    assert_eq!(payloads(net.received(subscriber)), (1..=10).collect::<Vec<_>>());
}
