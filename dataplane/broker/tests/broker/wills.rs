//! Will messages.

use broker::codec::{Property, Version};

use crate::basics::{VERSIONS, join, sub};
use crate::connect::connect;
use crate::net::{MILLI, Net, SECOND};
use crate::packet::{
    ConnectWith, PINGREQ, Packet, Prop, block, connect_with, disconnect, subscribe,
};

fn with_will<'a>(version: Version, id: &'a str, properties: &[Property<'_>]) -> ConnectWith<'a> {
    let mut with = connect_with(version, id);
    with.will = Some(("will/t", "gone", 1, false, block(properties)));
    with
}

/// A listener on `will/t`, on the last shard.
fn listener(net: &mut Net, shards: u16) -> usize {
    let conn = join(net, shards - 1, Version::V5, "listener");
    sub(net, conn, "will/#", 1);
    conn
}

#[test]
fn will_is_published_when_the_connection_breaks() {
    for shards in 1..=3 {
        for version in VERSIONS {
            let mut net = Net::new(shards, |_| {});
            let listener = listener(&mut net, shards);
            let (conn, _) = connect(&mut net, 0, &with_will(version, "w", &[]));
            net.cut(conn);
            net.advance(2 * MILLI);
            let packets = net.received(listener);
            let [Packet::Publish { topic, payload, qos: 1, .. }] = &packets[..] else {
                panic!("{packets:?}")
            };
            assert_eq!((topic.as_str(), &payload[..]), ("will/t", &b"gone"[..]));
            assert_eq!(net.sum(|broker| broker.counters().wills_published), 1);
            assert_eq!(net.sum(|broker| broker.gauges().sessions), 1);
        }
    }
}

#[test]
fn normal_disconnect_voids_the_will_and_others_do_not() {
    for (version, reason, published) in
        [(Version::V3, 0, 0), (Version::V5, 0, 0), (Version::V5, 4, 1), (Version::V5, 0x80, 1)]
    {
        let mut net = Net::new(1, |_| {});
        let listener = listener(&mut net, 1);
        let (conn, _) = connect(&mut net, 0, &with_will(version, "w", &[]));
        net.send(conn, &disconnect(version, reason, &[]));
        assert_eq!(net.received(listener).len(), published, "{version:?} {reason}");
    }
}

#[test]
fn protocol_error_and_silence_publish_the_will() {
    let mut net = Net::new(1, |_| {});
    let listener = listener(&mut net, 1);
    let (conn, _) = connect(&mut net, 0, &with_will(Version::V5, "w", &[]));
    net.send(conn, &[0xFF, 0xFF]);
    assert_eq!(net.received(listener).len(), 1);
    let mut with = with_will(Version::V3, "w", &[]);
    with.keep_alive_s = 2;
    connect(&mut net, 0, &with);
    net.advance(4 * SECOND);
    assert_eq!(net.received(listener).len(), 1);
}

#[test]
fn delayed_will_waits_and_is_void_when_the_client_returns() {
    for shards in 1..=2 {
        let version = Version::V5;
        let mut net = Net::new(shards, |_| {});
        let listener = listener(&mut net, shards);
        let mut with = with_will(version, "w", &[Property::WillDelayInterval(10)]);
        with.properties = block(&[Property::SessionExpiryInterval(100)]);
        with.clean = false;
        let (conn, _) = connect(&mut net, 0, &with);
        net.cut(conn);
        net.advance(9 * SECOND);
        let (conn, present) = connect(&mut net, shards - 1, &with);
        assert!(present);
        net.advance(20 * SECOND);
        assert_eq!(net.received(listener), []);
        net.cut(conn);
        net.advance(9 * SECOND);
        assert_eq!(net.received(listener), []);
        net.advance(2 * SECOND);
        assert_eq!(net.received(listener).len(), 1);
        assert_eq!(net.sum(|broker| broker.gauges().messages), 1, "only the listener's copy");
    }
}

#[test]
fn will_comes_at_the_latest_when_the_session_ends() {
    let mut net = Net::new(1, |_| {});
    let listener = listener(&mut net, 1);
    let with = with_will(Version::V5, "w", &[Property::WillDelayInterval(1_000)]);
    let (conn, _) = connect(&mut net, 0, &with);
    net.cut(conn);
    assert_eq!(net.received(listener).len(), 1);
}

#[test]
fn take_over_publishes_an_undelayed_will() {
    for shards in 1..=2 {
        let mut net = Net::new(shards, |_| {});
        let listener = listener(&mut net, shards);
        let mut with = with_will(Version::V5, "w", &[]);
        with.clean = false;
        with.properties = block(&[Property::SessionExpiryInterval(100)]);
        connect(&mut net, 0, &with);
        connect(&mut net, shards - 1, &with);
        assert_eq!(net.received(listener).len(), 1, "{shards} shards");
        assert_eq!(net.sum(|broker| broker.gauges().connected), 2);
    }
}

#[test]
fn will_has_its_properties_and_its_life_begins_when_it_is_published() {
    let mut net = Net::new(2, |_| {});
    let listener = listener(&mut net, 2);
    let properties = [
        Property::MessageExpiryInterval(30),
        Property::ContentType("c"),
        Property::UserProperty("a", "b"),
    ];
    let (conn, _) = connect(&mut net, 0, &with_will(Version::V5, "w", &properties));
    net.advance(1_000 * SECOND);
    net.cut(conn);
    net.advance(2 * MILLI);
    let packets = net.received(listener);
    let [Packet::Publish { properties: got, .. }] = &packets[..] else { panic!("{packets:?}") };
    assert_eq!(*got, properties.map(Prop::of));
}

#[test]
fn retained_will_is_there_for_later_subscribers() {
    let mut net = Net::new(2, |_| {});
    let mut with = connect_with(Version::V3, "w");
    with.will = Some(("status/w", "offline", 0, true, Vec::new()));
    let (conn, _) = connect(&mut net, 0, &with);
    net.send(conn, &PINGREQ);
    net.cut(conn);
    net.advance(2 * MILLI);
    let conn = join(&mut net, 1, Version::V3, "s");
    net.send(conn, &subscribe(Version::V3, 1, &[("status/#", 0)]));
    net.advance(5 * MILLI);
    let packets = net.received(conn);
    assert!(
        packets.iter().any(|packet| matches!(packet, Packet::Publish { retain: true, .. })),
        "{packets:?}"
    );
}

#[test]
fn will_to_no_topic_or_with_qos2_is_refused() {
    let mut net = Net::new(1, |_| {});
    for (topic, qos, reason) in [("a/+", 0, 0x90), ("t", 2, 0x9B)] {
        let conn = net.open(0, Version::V5);
        let mut with = connect_with(Version::V5, "w");
        with.will = Some((topic, "x", qos, false, Vec::new()));
        net.send(conn, &with.bytes());
        let packets = net.received(conn);
        assert!(
            matches!(packets[..], [Packet::Connack { reason: got, .. }] if got == reason),
            "{packets:?}"
        );
    }
    assert_eq!(net.brokers[0].gauges().messages, 0);
}
