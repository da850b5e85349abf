//! PUBLISH from clients: acknowledgements, aliases, properties, refusals.

use broker::Close;
use broker::codec::{AckKind, Property, ReasonCode, Version};

use crate::basics::{VERSIONS, join, sub};
use crate::net::{MILLI, Net, SECOND};
use crate::packet::{Packet, Prop, ack_packet, publish};

fn ack(kind: AckKind, packet_id: u16) -> Packet {
    Packet::Ack { kind, packet_id, reason: 0 }
}

#[test]
fn acknowledgement_waits_for_every_shard() {
    let version = Version::V5;
    let mut net = Net::new(3, |_| {});
    let publisher = join(&mut net, 0, version, "p");
    for shard in [1, 2] {
        let subscriber = join(&mut net, shard, version, &format!("s{shard}"));
        sub(&mut net, subscriber, "t", 1);
    }
    // Only this shard works: the others' answers are missing.
    let link = net.conns[publisher].link.expect("a link");
    let bytes = publish("t", b"x", 1, 5).bytes(version);
    assert_eq!(net.brokers[0].feed(net.now_ns, link, &bytes), bytes.len());
    assert_eq!(net.brokers[0].next_ready(), None);
    assert_eq!(net.brokers[0].gauges().pending, 1);
    net.pump();
    assert_eq!(net.received(publisher), [ack(AckKind::Puback, 5)]);
    assert_eq!(net.brokers[0].gauges().pending, 0);
}

/// MQTT 5 §4.6: acknowledgements in the order of the publishes, even when a later one had nobody to
/// wait for.
#[test]
fn acknowledgements_keep_the_order_of_the_publishes() {
    let version = Version::V5;
    let mut net = Net::new(2, |_| {});
    let publisher = join(&mut net, 0, version, "p");
    let subscriber = join(&mut net, 1, version, "s");
    sub(&mut net, subscriber, "far", 1);
    sub(&mut net, publisher, "near", 0);
    let mut bytes = Vec::new();
    for id in 1..=20 {
        bytes.extend(publish(if id % 3 == 0 { "near" } else { "far" }, b"x", 1, id).bytes(version));
    }
    net.send(publisher, &bytes);
    let ids: Vec<_> = net
        .received(publisher)
        .into_iter()
        .filter_map(|packet| match packet {
            Packet::Ack { packet_id, .. } => Some(packet_id),
            _ => None,
        })
        .collect();
    assert_eq!(ids, (1..=20).collect::<Vec<_>>());
}

#[test]
fn order_is_kept_per_publisher_and_topic_across_shards() {
    for shards in 1..=3 {
        let version = Version::V5;
        let mut net = Net::new(shards, |config| config.limits.inflight = 1_000);
        net.ring_slots = 3;
        let publisher = join(&mut net, 0, version, "p");
        let subscriber = join(&mut net, shards - 1, version, "s");
        sub(&mut net, subscriber, "t", 1);
        for chunk in 0..10u8 {
            let mut bytes = Vec::new();
            for i in 0..30 {
                bytes.extend(publish("t", &[chunk, i], 1, u16::from(i) + 1).bytes(version));
            }
            net.send(publisher, &bytes);
        }
        let got: Vec<_> = net
            .received(subscriber)
            .into_iter()
            .map(|packet| match packet {
                Packet::Publish { payload, .. } => (payload[0], payload[1]),
                other => panic!("{other:?}"),
            })
            .collect();
        let sent: Vec<_> = (0..10).flat_map(|c| (0..30).map(move |i| (c, i))).collect();
        assert_eq!(got, sent, "{shards} shards");
    }
}

#[test]
fn publisher_of_qos1_is_parked_while_another_shard_is_full_and_loses_nothing() {
    let version = Version::V3;
    let mut net = Net::new(2, |config| {
        config.limits.packet_bytes_max = 4_096;
        config.limits.header_bytes_max = 512;
        config.limits.staging_bytes = 32_768;
        config.limits.pending = 64;
        config.limits.retained_jobs = 16;
        config.limits.session_queue_messages = 1_000;
        config.limits.inflight = 1_000;
        config.receive_maximum = 1_000;
    });
    let publisher = join(&mut net, 0, version, "p");
    let subscriber = join(&mut net, 1, version, "s");
    sub(&mut net, subscriber, "t", 1);
    let link = net.conns[publisher].link.expect("a link");
    let mut bytes = Vec::new();
    for id in 1..=40u16 {
        bytes.extend(publish("t", &[id as u8; 2_000], 1, id).bytes(version));
    }
    let taken = net.brokers[0].feed(net.now_ns, link, &bytes);
    assert!(taken < bytes.len(), "the other shard cannot have taken all");
    assert_eq!(net.brokers[0].gauges().parked_links, 1);
    assert_eq!(net.brokers[0].feed(net.now_ns, link, &bytes[taken..]), 0);
    net.conns[publisher].held = bytes[taken..].to_vec();
    for _ in 0..20 {
        net.advance(5 * MILLI);
    }
    let acks = net.received(publisher);
    assert_eq!(acks, (1..=40).map(|id| ack(AckKind::Puback, id)).collect::<Vec<_>>());
    let payloads: Vec<_> = net
        .received(subscriber)
        .into_iter()
        .map(|packet| match packet {
            Packet::Publish { payload, .. } => payload[0],
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(payloads, (1..=40).collect::<Vec<_>>());
}

#[test]
fn qos0_for_a_full_shard_is_dropped_and_counted() {
    let version = Version::V3;
    let mut net = Net::new(2, |config| {
        config.limits.packet_bytes_max = 4_096;
        config.limits.header_bytes_max = 512;
        config.limits.staging_bytes = 32_768;
    });
    let publisher = join(&mut net, 0, version, "p");
    let subscriber = join(&mut net, 1, version, "s");
    sub(&mut net, subscriber, "t", 1);
    let link = net.conns[publisher].link.expect("a link");
    for _ in 0..40 {
        let bytes = publish("t", &[0; 2_000], 0, 0).bytes(version);
        assert_eq!(net.brokers[0].feed(net.now_ns, link, &bytes), bytes.len());
    }
    net.pump();
    let got = net.received(subscriber).len() as u64;
    assert!(got > 0);
    assert_eq!(got + net.brokers[0].counters().drop_out_shard_full, 40);
}

#[test]
fn large_payload_crosses_shards_in_parts() {
    for shards in 1..=2 {
        let version = Version::V5;
        let mut net = Net::new(shards, |_| {});
        let publisher = join(&mut net, 0, version, "p");
        let subscriber = join(&mut net, shards - 1, version, "s");
        sub(&mut net, subscriber, "t", 1);
        let payload: Vec<u8> = (0..1_000_000u32).map(|i| (i * 7 / 3) as u8).collect();
        let bytes = publish("t", &payload, 1, 1).bytes(version);
        for chunk in bytes.chunks(1_460) {
            net.send(publisher, chunk);
        }
        let packets = net.received(subscriber);
        assert!(matches!(&packets[..], [Packet::Publish { payload: got, .. }] if *got == payload));
        assert_eq!(net.received(publisher), [ack(AckKind::Puback, 1)]);
        assert_eq!(net.sum(|broker| broker.gauges().messages), 1);
    }
}

#[test]
fn properties_are_passed_on_untouched() {
    for shards in 1..=2 {
        let mut net = Net::new(shards, |_| {});
        let publisher = join(&mut net, 0, Version::V5, "p");
        let new = join(&mut net, shards - 1, Version::V5, "new");
        let old = join(&mut net, shards - 1, Version::V3, "old");
        sub(&mut net, new, "t", 0);
        sub(&mut net, old, "t", 0);
        let passed = [
            Property::PayloadFormatIndicator(1),
            Property::ContentType("text/plain"),
            Property::ResponseTopic("answers/7"),
            Property::CorrelationData(&[0, 255, 3]),
            Property::UserProperty("b", "2"),
            Property::UserProperty("a", "1"),
            Property::UserProperty("a", "1"),
        ];
        net.send(publisher, &publish("t", b"x", 0, 0).with(&passed).bytes(Version::V5));
        let packets = net.received(new);
        let [Packet::Publish { properties, .. }] = &packets[..] else { panic!("{packets:?}") };
        assert_eq!(*properties, passed.map(Prop::of));
        let packets = net.received(old);
        let [Packet::Publish { payload, .. }] = &packets[..] else { panic!("{packets:?}") };
        assert_eq!(payload, b"x");
    }
}

#[test]
fn topic_alias_stands_for_the_topic_it_was_set_to() {
    let version = Version::V5;
    let mut net = Net::new(1, |_| {});
    let publisher = join(&mut net, 0, version, "p");
    let subscriber = join(&mut net, 0, version, "s");
    sub(&mut net, subscriber, "#", 0);
    let mut send = |topic: &str, alias: u16| {
        let packet = publish(topic, b"x", 0, 0).with(&[Property::TopicAlias(alias)]);
        net.send(publisher, &packet.bytes(version));
        net.received(subscriber)
    };
    let topic_of = |packets: Vec<Packet>| match &packets[..] {
        [Packet::Publish { topic, properties, .. }] => {
            assert_eq!(*properties, []);
            topic.clone()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(topic_of(send("first", 1)), "first");
    assert_eq!(topic_of(send("second", 16)), "second");
    assert_eq!(topic_of(send("", 1)), "first");
    assert_eq!(topic_of(send("", 16)), "second");
    assert_eq!(topic_of(send("third", 1)), "third");
    assert_eq!(topic_of(send("", 1)), "third");
}

fn refused_publish(bytes: &[u8], tune: impl Fn(&mut broker::BrokerConfig)) -> Vec<Packet> {
    let mut net = Net::new(1, tune);
    let conn = join(&mut net, 0, Version::V5, "p");
    net.send(conn, bytes);
    assert_eq!(net.conns[conn].closed, Some(Close::Graceful), "{bytes:?}");
    assert_eq!(net.sum(|broker| broker.gauges().messages), 0);
    net.received(conn)
}

#[test]
fn broken_publishes_close_the_connection_with_their_reason() {
    let alias = |topic, alias| publish(topic, b"x", 0, 0).with(&[Property::TopicAlias(alias)]);
    let v5 = Version::V5;
    let cases = [
        (alias("t", 0).bytes(v5), ReasonCode::TOPIC_ALIAS_INVALID),
        (alias("t", 17).bytes(v5), ReasonCode::TOPIC_ALIAS_INVALID),
        (alias("", 3).bytes(v5), ReasonCode::PROTOCOL_ERROR),
        (publish("", b"x", 0, 0).bytes(v5), ReasonCode::PROTOCOL_ERROR),
        (publish("a/+", b"x", 0, 0).bytes(v5), ReasonCode::TOPIC_NAME_INVALID),
        (publish("a/#", b"x", 1, 1).bytes(v5), ReasonCode::TOPIC_NAME_INVALID),
        (publish("a\0b", b"x", 1, 1).bytes(v5), ReasonCode::MALFORMED_PACKET),
        (publish("t", b"x", 1, 0).bytes(v5), ReasonCode::PROTOCOL_ERROR),
        (publish("t", b"x", 2, 1).bytes(v5), ReasonCode::QOS_NOT_SUPPORTED),
        (
            publish("t", b"x", 0, 0).with(&[Property::SubscriptionIdentifier(1)]).bytes(v5),
            ReasonCode::PROTOCOL_ERROR,
        ),
        (b"\x36\x05\x00\x01t\x00\x01".to_vec(), ReasonCode::MALFORMED_PACKET),
        (b"\x30\x04\x00\x01\xff\x00".to_vec(), ReasonCode::MALFORMED_PACKET),
        (b"\x30\x03\x00\x09t".to_vec(), ReasonCode::MALFORMED_PACKET),
        (b"\x30\xff\xff\xff\xff\x01".to_vec(), ReasonCode::MALFORMED_PACKET),
        (b"\x30\x81\x80\x40".to_vec(), ReasonCode::PACKET_TOO_LARGE),
        (b"\x00\x00".to_vec(), ReasonCode::MALFORMED_PACKET),
        (b"\xf0\x00".to_vec(), ReasonCode::PROTOCOL_ERROR),
        (b"\xc1\x00".to_vec(), ReasonCode::MALFORMED_PACKET),
        (b"\xc0\x01\x00".to_vec(), ReasonCode::MALFORMED_PACKET),
        (b"\x20\x02\x00\x00".to_vec(), ReasonCode::PROTOCOL_ERROR),
        (b"\x82\x05\x00\x01\x00\x00\x01".to_vec(), ReasonCode::MALFORMED_PACKET),
        (b"\x82\x03\x00\x01\x00".to_vec(), ReasonCode::PROTOCOL_ERROR),
    ];
    for (bytes, reason) in cases {
        let packets = refused_publish(&bytes, |_| {});
        assert_eq!(packets, [Packet::Disconnect { reason: reason.0 }], "{bytes:?}");
    }
}

#[test]
fn packet_beyond_the_limit_is_refused_by_its_header_alone() {
    let tune = |config: &mut broker::BrokerConfig| config.limits.packet_bytes_max = 1_000;
    let bytes = publish("t", &[0; 1_000], 0, 0).bytes(Version::V5);
    assert_eq!(refused_publish(&bytes[..3], tune), [Packet::Disconnect { reason: 0x95 }]);
}

#[test]
fn more_publishes_in_flight_than_allowed_are_refused() {
    let version = Version::V5;
    let mut net = Net::new(2, |config| config.receive_maximum = 3);
    let publisher = join(&mut net, 0, version, "p");
    let subscriber = join(&mut net, 1, version, "s");
    sub(&mut net, subscriber, "t", 0);
    let mut bytes = Vec::new();
    for id in 1..=4 {
        bytes.extend(publish("t", b"x", 1, id).bytes(version));
    }
    net.send(publisher, &bytes);
    assert_eq!(net.received(publisher), [Packet::Disconnect { reason: 0x93 }]);
}

#[test]
fn old_client_with_many_publishes_in_flight_is_slowed_down() {
    let version = Version::V3;
    let mut net = Net::new(2, |config| config.receive_maximum = 3);
    let publisher = join(&mut net, 0, version, "p");
    let subscriber = join(&mut net, 1, version, "s");
    sub(&mut net, subscriber, "t", 0);
    let mut bytes = Vec::new();
    for id in 1..=20 {
        bytes.extend(publish("t", b"x", 1, id).bytes(version));
    }
    net.send(publisher, &bytes);
    net.advance(50 * MILLI);
    let acks = net.received(publisher);
    assert_eq!(acks, (1..=20).map(|id| ack(AckKind::Puback, id)).collect::<Vec<_>>());
}

#[test]
fn qos2_publish_of_an_old_client_is_taken_once() {
    for shards in 1..=2 {
        let version = Version::V3;
        let mut net = Net::new(shards, |_| {});
        let publisher = join(&mut net, 0, version, "p");
        let subscriber = join(&mut net, shards - 1, version, "s");
        sub(&mut net, subscriber, "t", 1);
        let mut packet = publish("t", b"once", 2, 9);
        net.send(publisher, &packet.bytes(version));
        assert_eq!(net.received(publisher), [ack(AckKind::Pubrec, 9)]);
        packet.dup = true;
        net.send(publisher, &packet.bytes(version));
        assert_eq!(net.received(publisher), [ack(AckKind::Pubrec, 9)]);
        net.send(publisher, &ack_packet(version, AckKind::Pubrel, 9));
        assert_eq!(net.received(publisher), [ack(AckKind::Pubcomp, 9)]);
        let packets = net.received(subscriber);
        assert!(matches!(packets[..], [Packet::Publish { qos: 1, .. }]), "{packets:?}");
        packet.dup = false;
        net.send(publisher, &packet.bytes(version));
        assert_eq!(net.received(publisher), [ack(AckKind::Pubrec, 9)]);
        assert_eq!(net.received(subscriber).len(), 1);
    }
}

#[test]
fn message_without_subscribers_is_acknowledged_and_forgotten() {
    for version in VERSIONS {
        let mut net = Net::new(2, |_| {});
        let publisher = join(&mut net, 0, version, "p");
        net.send(publisher, &publish("t", b"x", 1, 1).bytes(version));
        let reason = if version == Version::V5 { 0x10 } else { 0 };
        let packet = Packet::Ack { kind: AckKind::Puback, packet_id: 1, reason };
        assert_eq!(net.received(publisher), [packet]);
        assert_eq!(net.sum(|broker| broker.gauges().messages), 0);
    }
}

#[test]
fn message_that_finds_no_memory_is_refused_and_the_next_one_taken() {
    for version in VERSIONS {
        let mut net = Net::new(1, |config| config.limits.payload_units = 8);
        let publisher = join(&mut net, 0, version, "p");
        let subscriber = join(&mut net, 0, version, "s");
        sub(&mut net, subscriber, "t", 1);
        net.send(publisher, &publish("t", &[1; 5_000], 1, 1).bytes(version));
        assert_eq!(net.brokers[0].counters().drop_in_store_full, 1);
        if version == Version::V5 {
            let packet = Packet::Ack { kind: AckKind::Puback, packet_id: 1, reason: 0x97 };
            assert_eq!(net.received(publisher), [packet]);
            net.send(publisher, &publish("t", &[1; 500], 1, 2).bytes(version));
            assert_eq!(net.received(publisher), [ack(AckKind::Puback, 2)]);
            assert_eq!(net.received(subscriber).len(), 1);
        } else {
            assert_eq!(net.conns[publisher].closed, Some(Close::Graceful));
            assert_eq!(net.received(publisher), []);
        }
    }
}

#[test]
fn half_a_publish_leaves_nothing_behind() {
    let mut net = Net::new(1, |_| {});
    let publisher = join(&mut net, 0, Version::V5, "p");
    let bytes = publish("t", &[1; 5_000], 1, 1).bytes(Version::V5);
    net.send(publisher, &bytes[..3_000]);
    assert_eq!(net.brokers[0].gauges().messages, 1);
    net.cut(publisher);
    net.advance(SECOND);
    let gauges = net.brokers[0].gauges();
    assert_eq!((gauges.messages, gauges.active_links), (0, 0));
    assert_eq!(gauges.payload_units_free, 16_384);
}
