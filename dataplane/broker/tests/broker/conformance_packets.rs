//! Packets by their bytes, and what the specifications say must come back.

use broker::codec::{Property, Qos, SubscribeOptions, Version};

use crate::basics::{VERSIONS, join, sub};
use crate::connect::{connect, lasting};
use crate::net::{MILLI, Net, SECOND};
use crate::packet::{PINGREQ, Packet, block, connect_with, puback, publish, subscribe_with};

#[test]
fn every_ping_is_answered() {
    for version in VERSIONS {
        for fill_bytes in [1, 3, 4_096] {
            let mut net = Net::new(1, |_| {});
            net.fill_bytes = fill_bytes;
            let client = join(&mut net, 0, version, "c");
            net.send(client, &PINGREQ.repeat(5_000));
            assert_eq!(net.received(client), vec![Packet::Pingresp; 5_000], "{fill_bytes}");
        }
    }
}

#[test]
fn pings_of_a_client_that_does_not_read_are_bounded() {
    let mut net = Net::new(1, |_| {});
    let client = join(&mut net, 0, Version::V3, "c");
    net.widen(client, 0);
    net.send(client, &PINGREQ.repeat(100_000));
    assert!(net.conns[client].held.len() > 100_000);
    net.widen(client, usize::MAX);
    assert_eq!(net.received(client).len(), 100_000);
}

#[test]
fn no_local_for_a_group_is_a_protocol_error() {
    let mut net = Net::new(1, |_| {});
    let client = join(&mut net, 0, Version::V5, "c");
    let options = SubscribeOptions { no_local: true, ..SubscribeOptions::plain(Qos::AtMostOnce) };
    net.send(client, &subscribe_with(Version::V5, 1, &[], &[("$share/g/t", options)]));
    assert_eq!(net.received(client), [Packet::Disconnect { reason: 0x82 }]);
}

/// Everything a session can hold goes through windows of any size, also while it moves.
#[test]
fn one_byte_at_a_time_is_enough() {
    for (shards, to) in [(1, 0), (2, 1), (3, 2)] {
        let version = Version::V5;
        let mut net = Net::new(shards, |_| {});
        net.fill_bytes = 1;
        net.ring_slots = 1;
        let publisher = join(&mut net, 0, version, "p");
        let (mut client, _) = connect(&mut net, 0, &lasting(version, "s"));
        sub(&mut net, client, "t/#", 1);
        sub(&mut net, client, "+/x", 0);
        let payload = vec![7; 1_000];
        for id in 1..=20 {
            let packet = publish("t/x", &payload, 1, id).with(&[
                Property::MessageExpiryInterval(100),
                Property::UserProperty("key", "value"),
            ]);
            net.send(publisher, &packet.bytes(version));
        }
        net.cut(client);
        client = connect(&mut net, to, &lasting(version, "s")).0;
        net.send(client, &PINGREQ);
        net.advance(20 * MILLI);
        let packets = net.received(client);
        let ids: Vec<_> = packets
            .iter()
            .filter_map(|packet| match packet {
                Packet::Publish { packet_id, payload: p, dup: true, .. } if *p == payload => {
                    Some(*packet_id)
                }
                _ => None,
            })
            .collect();
        assert_eq!(ids, (1..=20).collect::<Vec<_>>(), "{shards} shards");
        assert!(packets.contains(&Packet::Pingresp));
        for id in ids {
            net.send(client, &puback(version, id));
        }
        assert_eq!(net.sum(|broker| broker.gauges().deliveries), 0);
    }
}

/// The longest expiry is none, and what the server says about it is what then holds.
#[test]
fn session_without_end_is_told_its_end_or_lasts() {
    for (maximum_s, told) in [(u32::MAX, None), (100, Some("SessionExpiryInterval(100)"))] {
        let version = Version::V5;
        let mut net = Net::new(2, |config| config.timers.session_expiry_max_s = maximum_s);
        let mut with = connect_with(version, "s");
        with.clean = false;
        with.properties = block(&[Property::SessionExpiryInterval(u32::MAX)]);
        let client = net.open(0, version);
        net.send(client, &with.bytes());
        let packets = net.received(client);
        let [Packet::Connack { properties, .. }] = &packets[..] else { panic!("{packets:?}") };
        let found = properties.iter().map(|p| p.0.as_str()).find(|p| p.starts_with("SessionE"));
        assert_eq!(found, told);
        net.cut(client);
        net.advance(200 * SECOND);
        let sessions = net.sum(|broker| broker.gauges().sessions);
        assert_eq!(sessions, u64::from(maximum_s == u32::MAX));
    }
}
