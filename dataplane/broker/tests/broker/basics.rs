//! CONNECT, PING, SUBSCRIBE and PUBLISH on one shard and across shards.

use broker::codec::{AckKind, Version};

use crate::net::Net;
use crate::packet::{PINGREQ, Packet, connect_with, puback, publish, subscribe, unsubscribe};

pub(crate) const VERSIONS: [Version; 2] = [Version::V3, Version::V5];

/// Connects with a clean start and swallows the CONNACK.
pub(crate) fn join(net: &mut Net, shard: u16, version: Version, id: &str) -> usize {
    let conn = net.open(shard, version);
    net.send(conn, &connect_with(version, id).bytes());
    let packets = net.received(conn);
    assert!(
        matches!(packets[..], [Packet::Connack { session_present: false, reason: 0, .. }]),
        "{packets:?}"
    );
    conn
}

/// Subscribes and checks what was granted.
pub(crate) fn sub(net: &mut Net, conn: usize, filter: &str, qos: u8) {
    let version = net.conns[conn].version;
    net.send(conn, &subscribe(version, 7, &[(filter, qos)]));
    let packets = net.received(conn);
    let granted = Packet::Suback { packet_id: 7, reasons: vec![qos] };
    assert!(packets.contains(&granted), "{packets:?}");
}

#[test]
fn ping_is_answered() {
    for version in VERSIONS {
        let mut net = Net::new(1, |_| {});
        let conn = join(&mut net, 0, version, "a");
        net.send(conn, &PINGREQ);
        assert_eq!(net.received(conn), [Packet::Pingresp]);
    }
}

#[test]
fn message_goes_to_every_matching_subscriber() {
    for shards in 1..=3 {
        for version in VERSIONS {
            let mut net = Net::new(shards, |_| {});
            let conns: Vec<usize> =
                (0..6).map(|i| join(&mut net, i % shards, version, &format!("c{i}"))).collect();
            sub(&mut net, conns[1], "a/b", 0);
            sub(&mut net, conns[2], "a/+", 1);
            sub(&mut net, conns[3], "#", 1);
            sub(&mut net, conns[4], "a/c", 1);
            net.send(conns[0], &publish("a/b", b"hello", 1, 9).bytes(version));
            let acks = net.received(conns[0]);
            assert_eq!(acks, [Packet::Ack { kind: AckKind::Puback, packet_id: 9, reason: 0 }]);
            for (conn, qos) in [(1, 0), (2, 1), (3, 1)] {
                let packets = net.received(conns[conn]);
                let [Packet::Publish { topic, payload, qos: sent, retain, .. }] = &packets[..]
                else {
                    panic!("{shards} shards, client {conn}: {packets:?}")
                };
                assert_eq!(
                    (topic.as_str(), &payload[..], *sent, *retain),
                    ("a/b", &b"hello"[..], qos, false)
                );
            }
            assert_eq!(net.received(conns[4]), []);
            assert_eq!(net.received(conns[5]), []);
        }
    }
}

#[test]
fn unsubscribed_client_gets_nothing_more() {
    for shards in 1..=2 {
        for version in VERSIONS {
            let mut net = Net::new(shards, |_| {});
            let subscriber = join(&mut net, 0, version, "s");
            let publisher = join(&mut net, shards - 1, version, "p");
            sub(&mut net, subscriber, "x/#", 0);
            net.send(subscriber, &unsubscribe(version, 8, &["x/#", "never"]));
            let reasons = if version == Version::V5 { vec![0, 0x11] } else { vec![] };
            assert_eq!(net.received(subscriber), [Packet::Unsuback { packet_id: 8, reasons }]);
            net.send(publisher, &publish("x/y", b"", 0, 0).bytes(version));
            assert_eq!(net.received(subscriber), []);
            assert_eq!(net.sum(|broker| broker.counters().forwards_out), 0);
        }
    }
}

#[test]
fn acknowledged_delivery_leaves_flight() {
    let mut net = Net::new(1, |_| {});
    let subscriber = join(&mut net, 0, Version::V5, "s");
    let publisher = join(&mut net, 0, Version::V5, "p");
    sub(&mut net, subscriber, "t", 1);
    net.send(publisher, &publish("t", b"m", 1, 1).bytes(Version::V5));
    let packets = net.received(subscriber);
    let [Packet::Publish { packet_id, .. }] = packets[..] else { panic!("{packets:?}") };
    assert_eq!(net.sum(|broker| broker.gauges().deliveries), 1);
    net.send(subscriber, &puback(Version::V5, packet_id));
    assert_eq!(net.sum(|broker| broker.gauges().deliveries), 0);
    assert_eq!(net.sum(|broker| broker.gauges().messages), 0);
}

#[test]
fn packets_may_come_byte_by_byte() {
    for version in VERSIONS {
        let mut net = Net::new(1, |_| {});
        let subscriber = join(&mut net, 0, version, "s");
        let publisher = net.open(0, version);
        let mut bytes = connect_with(version, "p").bytes();
        let payload = vec![7; 1_000];
        sub(&mut net, subscriber, "t", 1);
        bytes.extend(publish("t", &payload, 1, 3).bytes(version));
        bytes.extend(PINGREQ);
        for byte in bytes {
            net.send(publisher, &[byte]);
        }
        let packets = net.received(publisher);
        assert!(
            matches!(
                packets[..],
                [Packet::Connack { .. }, Packet::Ack { packet_id: 3, .. }, Packet::Pingresp]
            ),
            "{packets:?}"
        );
        let packets = net.received(subscriber);
        assert!(matches!(&packets[..], [Packet::Publish { payload: got, .. }] if *got == payload));
    }
}
