//! CONNECT and what follows it: refusals, time-outs, sessions that go on.

use broker::Close;
use broker::codec::{Property, Version};

use crate::basics::{VERSIONS, join, sub};
use crate::net::{MILLI, Net, SECOND};
use crate::packet::{
    ConnectWith, PINGREQ, Packet, Prop, block, connect_with, disconnect, puback, publish,
};

/// Connects and returns whether a session was present.
pub(crate) fn connect(net: &mut Net, shard: u16, with: &ConnectWith<'_>) -> (usize, bool) {
    let conn = net.open(shard, with.version);
    net.send(conn, &with.bytes());
    let bytes = net.conns[conn].received.clone();
    let (packets, _) = crate::packet::decode_all(with.version, &bytes);
    let Some(Packet::Connack { session_present, reason: 0, .. }) = packets.first() else {
        panic!("{packets:?}")
    };
    let connack_bytes = 2 + usize::from(bytes[1]);
    net.conns[conn].received.drain(..connack_bytes);
    (conn, *session_present)
}

/// A client whose session outlives its connection.
pub(crate) fn lasting(version: Version, id: &str) -> ConnectWith<'_> {
    let mut with = connect_with(version, id);
    with.clean = false;
    if version == Version::V5 {
        with.properties = block(&[Property::SessionExpiryInterval(3_600)]);
    }
    with
}

fn refused(
    version: Version,
    bytes: &[u8],
    tune: impl Fn(&mut broker::BrokerConfig),
) -> Vec<Packet> {
    let mut net = Net::new(1, tune);
    let conn = net.open(0, version);
    net.send(conn, bytes);
    assert_eq!(net.conns[conn].closed, Some(Close::Graceful));
    assert_eq!(net.sum(|broker| broker.gauges().sessions), 0);
    net.received(conn)
}

fn connack(reason: u8) -> Packet {
    Packet::Connack { session_present: false, reason, properties: vec![] }
}

#[test]
fn client_without_id_is_given_one() {
    let mut net = Net::new(2, |_| {});
    let mut ids = Vec::new();
    for shard in [0, 1, 0] {
        let conn = net.open(shard, Version::V5);
        net.send(conn, &connect_with(Version::V5, "").bytes());
        let packets = net.received(conn);
        let [Packet::Connack { reason: 0, properties, .. }] = &packets[..] else {
            panic!("{packets:?}")
        };
        let id = properties.iter().find(|prop| prop.0.starts_with("AssignedClientIdentifier"));
        ids.push(id.expect("an id").clone());
    }
    ids.sort_by(|a, b| a.0.cmp(&b.0));
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[test]
fn old_client_without_id_must_start_clean() {
    let mut with = connect_with(Version::V3, "");
    with.clean = false;
    assert_eq!(refused(Version::V3, &with.bytes(), |_| {}), [connack(2)]);
}

#[test]
fn connack_tells_what_the_broker_can_do() {
    let mut net = Net::new(1, |config| {
        config.timers.keep_alive_max_s = 60;
        config.timers.session_expiry_max_s = 100;
    });
    let conn = net.open(0, Version::V5);
    let mut with = connect_with(Version::V5, "a");
    with.keep_alive_s = 90;
    with.properties = block(&[Property::SessionExpiryInterval(1_000)]);
    net.send(conn, &with.bytes());
    let packets = net.received(conn);
    let [Packet::Connack { properties, .. }] = &packets[..] else { panic!("{packets:?}") };
    let expected = [
        Property::SessionExpiryInterval(100),
        Property::ReceiveMaximum(64),
        Property::MaximumQos(1),
        Property::MaximumPacketSize(1 << 20),
        Property::TopicAliasMaximum(16),
        Property::ServerKeepAlive(60),
        Property::SharedSubscriptionAvailable(false),
    ];
    assert_eq!(*properties, expected.map(Prop::of));
}

#[test]
fn unsupported_protocol_is_refused_in_words_the_client_knows() {
    let mut bytes = connect_with(Version::V5, "a").bytes();
    bytes[8] = 6;
    assert_eq!(refused(Version::V5, &bytes, |_| {}), [connack(0x84)]);
    bytes[8] = 3;
    assert_eq!(refused(Version::V3, &bytes, |_| {}), [connack(1)]);
    let mqtt31 = b"\x10\x11\x00\x06MQIsdp\x03\x02\x00\x00\x00\x03abc";
    assert_eq!(refused(Version::V3, mqtt31, |_| {}), [connack(1)]);
    assert_eq!(refused(Version::V3, b"\x10\x0c\x00\x04HTTP\x04\x02\x00\x00\x00\x00", |_| {}), []);
}

#[test]
fn anonymous_clients_are_refused_when_not_allowed() {
    for (version, reason) in [(Version::V3, 5), (Version::V5, 0x87)] {
        let bytes = connect_with(version, "a").bytes();
        let packets = refused(version, &bytes, |config| config.allow_anonymous = false);
        assert_eq!(packets, [connack(reason)]);
    }
}

#[test]
fn enhanced_authentication_is_refused() {
    let mut with = connect_with(Version::V5, "a");
    with.properties = block(&[Property::AuthenticationMethod("SCRAM-SHA-1")]);
    assert_eq!(refused(Version::V5, &with.bytes(), |_| {}), [connack(0x8C)]);
}

#[test]
fn first_packet_must_be_a_connect_and_the_only_one() {
    assert_eq!(refused(Version::V5, &PINGREQ, |_| {}), []);
    let mut net = Net::new(1, |_| {});
    let conn = join(&mut net, 0, Version::V5, "a");
    net.send(conn, &connect_with(Version::V5, "a").bytes());
    assert_eq!(net.received(conn), [Packet::Disconnect { reason: 0x82 }]);
}

#[test]
fn silent_link_is_closed_after_the_connect_timeout() {
    let mut net = Net::new(1, |_| {});
    let conn = net.open(0, Version::V5);
    net.send(conn, &connect_with(Version::V5, "a").bytes()[..5]);
    net.advance(9 * SECOND);
    assert_eq!(net.conns[conn].closed, None);
    net.advance(2 * SECOND);
    assert_eq!(net.conns[conn].closed, Some(Close::Graceful));
    assert_eq!(net.brokers[0].counters().connect_timeouts, 1);
}

#[test]
fn client_is_dropped_after_one_and_a_half_keep_alives() {
    for version in VERSIONS {
        let mut net = Net::new(1, |_| {});
        let mut with = connect_with(version, "a");
        with.keep_alive_s = 10;
        let (conn, _) = connect(&mut net, 0, &with);
        for _ in 0..4 {
            net.advance(14 * SECOND);
            net.send(conn, &PINGREQ);
            assert_eq!(net.received(conn), [Packet::Pingresp]);
        }
        net.advance(15 * SECOND + MILLI);
        assert_eq!(net.conns[conn].closed, Some(Close::Graceful));
        let goodbye: &[Packet] = match version {
            Version::V3 => &[],
            Version::V5 => &[Packet::Disconnect { reason: 0x8D }],
        };
        assert_eq!(net.received(conn), goodbye);
    }
}

#[test]
fn client_without_keep_alive_may_be_silent() {
    let mut net = Net::new(1, |_| {});
    let conn = join(&mut net, 0, Version::V5, "a");
    net.advance(100_000 * SECOND);
    assert_eq!(net.conns[conn].closed, None);
}

#[test]
fn packets_behind_the_connect_wait_for_its_answer() {
    for shards in 1..=3 {
        let mut net = Net::new(shards, |_| {});
        for shard in 0..shards {
            let conn = net.open(shard, Version::V5);
            let mut bytes = connect_with(Version::V5, &format!("c{shard}")).bytes();
            bytes.extend(PINGREQ);
            bytes.extend(publish("t", b"x", 1, 1).bytes(Version::V5));
            net.send(conn, &bytes);
            let packets = net.received(conn);
            assert!(
                matches!(
                    packets[..],
                    [Packet::Connack { .. }, Packet::Ack { .. }, Packet::Pingresp]
                        | [Packet::Connack { .. }, Packet::Pingresp, Packet::Ack { .. }]
                ),
                "{packets:?}"
            );
        }
    }
}

#[test]
fn session_goes_on_with_its_subscriptions_and_messages() {
    for shards in 1..=3 {
        for version in VERSIONS {
            let mut net = Net::new(shards, |_| {});
            let publisher = join(&mut net, 0, version, "p");
            let (conn, present) = connect(&mut net, 0, &lasting(version, "s"));
            assert!(!present);
            sub(&mut net, conn, "t/#", 1);
            net.cut(conn);
            net.send(publisher, &publish("t/1", b"one", 1, 1).bytes(version));
            net.send(publisher, &publish("t/2", b"lost", 0, 0).bytes(version));
            assert_eq!(net.sum(|broker| broker.counters().drop_offline_qos0), 1);
            let back = shards - 1;
            let (conn, present) = connect(&mut net, back, &lasting(version, "s"));
            assert!(present, "{shards} shards");
            net.send(publisher, &publish("t/3", b"two", 1, 2).bytes(version));
            let payloads: Vec<_> = net
                .received(conn)
                .into_iter()
                .map(|packet| match packet {
                    Packet::Publish { payload, dup: false, .. } => payload,
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(payloads, [b"one", b"two"], "{shards} shards");
        }
    }
}

#[test]
fn unacknowledged_messages_come_again_with_dup() {
    for shards in 1..=2 {
        let version = Version::V5;
        let mut net = Net::new(shards, |_| {});
        let publisher = join(&mut net, 0, version, "p");
        let (conn, _) = connect(&mut net, 0, &lasting(version, "s"));
        sub(&mut net, conn, "t", 1);
        for id in 1..=3 {
            net.send(publisher, &publish("t", &[id as u8], 1, id).bytes(version));
        }
        let before = net.received(conn);
        assert_eq!(before.len(), 3);
        net.send(conn, &puback(version, 2));
        net.cut(conn);
        net.send(publisher, &publish("t", &[4], 1, 4).bytes(version));
        let (conn, _) = connect(&mut net, shards - 1, &lasting(version, "s"));
        let again: Vec<_> = net
            .received(conn)
            .into_iter()
            .map(|packet| match packet {
                Packet::Publish { payload, dup, packet_id, .. } => (payload[0], dup, packet_id),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(again, [(1, true, 1), (3, true, 3), (4, false, 4)]);
        for id in [1, 3, 4] {
            net.send(conn, &puback(version, id));
        }
        assert_eq!(net.sum(|broker| broker.gauges().deliveries), 0);
    }
}

#[test]
fn clean_start_forgets_the_session() {
    for shards in 1..=3 {
        for version in VERSIONS {
            let mut net = Net::new(shards, |_| {});
            let publisher = join(&mut net, 0, version, "p");
            let (conn, _) = connect(&mut net, 0, &lasting(version, "s"));
            sub(&mut net, conn, "t", 1);
            net.cut(conn);
            let conn = join(&mut net, shards - 1, version, "s");
            net.advance(2 * MILLI);
            net.send(publisher, &publish("t", b"x", 1, 1).bytes(version));
            assert_eq!(net.received(conn), []);
            assert_eq!(net.sum(|broker| broker.gauges().subscriptions), 0);
            assert_eq!(net.sum(|broker| broker.gauges().sessions), 2);
        }
    }
}

#[test]
fn session_ends_when_it_expires() {
    let mut net = Net::new(2, |_| {});
    let mut with = lasting(Version::V5, "s");
    with.properties = block(&[Property::SessionExpiryInterval(10)]);
    let (conn, _) = connect(&mut net, 0, &with);
    sub(&mut net, conn, "t", 1);
    net.cut(conn);
    net.advance(9 * SECOND);
    assert_eq!(net.sum(|broker| broker.gauges().sessions), 1);
    net.advance(2 * SECOND);
    assert_eq!(net.sum(|broker| broker.gauges().sessions), 0);
    assert_eq!(net.sum(|broker| broker.gauges().clients), 0);
    let (_, present) = connect(&mut net, 1, &with);
    assert!(!present);
}

#[test]
fn disconnect_may_change_the_session_expiry() {
    let mut net = Net::new(1, |_| {});
    let (conn, _) = connect(&mut net, 0, &lasting(Version::V5, "s"));
    net.send(conn, &disconnect(Version::V5, 0, &[Property::SessionExpiryInterval(0)]));
    assert_eq!(net.conns[conn].closed, Some(Close::Graceful));
    assert_eq!(net.sum(|broker| broker.gauges().sessions), 0);

    let conn = join(&mut net, 0, Version::V5, "s");
    net.send(conn, &disconnect(Version::V5, 0, &[Property::SessionExpiryInterval(5)]));
    assert_eq!(net.received(conn), [Packet::Disconnect { reason: 0x82 }]);
}

#[test]
fn full_tables_refuse_clients_and_recover() {
    let mut net = Net::new(2, |config| {
        config.limits.sessions = 2;
        config.limits.clients = 2;
    });
    let mut open = Vec::new();
    let mut refused = 0;
    for i in 0..8 {
        let conn = net.open(i % 2, Version::V5);
        net.send(conn, &connect_with(Version::V5, &format!("c{i}")).bytes());
        match &net.received(conn)[..] {
            [Packet::Connack { reason: 0, .. }] => open.push(conn),
            [Packet::Connack { reason: 0x97, .. }] => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!((1..=4).contains(&open.len()) && refused == 8 - open.len());
    for conn in open {
        net.cut(conn);
    }
    net.advance(2 * MILLI);
    assert_eq!(net.sum(|broker| broker.gauges().sessions), 0);
    assert_eq!(net.sum(|broker| broker.gauges().clients), 0);
    join(&mut net, 0, Version::V5, "again");
}

#[test]
fn shutdown_tells_clients_and_takes_no_new_ones() {
    let mut net = Net::new(1, |_| {});
    let conns: Vec<_> =
        (0..10).map(|i| join(&mut net, 0, VERSIONS[i % 2], &format!("c{i}"))).collect();
    let mut calls = 0;
    while net.brokers[0].shutdown(net.now_ns, 3) > 0 {
        net.pump();
        calls += 1;
    }
    assert_eq!(calls, 4);
    for (i, conn) in conns.into_iter().enumerate() {
        assert_eq!(net.conns[conn].closed, Some(Close::Graceful));
        let goodbye: &[Packet] =
            if i % 2 == 0 { &[] } else { &[Packet::Disconnect { reason: 0x8B }] };
        assert_eq!(net.received(conn), goodbye);
    }
    assert_eq!(net.brokers[0].accept(net.now_ns, 0), None);
}
