//! Retained messages.

use broker::codec::{Property, Qos, SubscribeOptions, Version};

use crate::basics::{VERSIONS, join, sub};
use crate::net::{MILLI, Net, SECOND};
use crate::packet::{Packet, puback, publish, subscribe, subscribe_with};

fn retained_payloads(net: &mut Net, conn: usize) -> Vec<String> {
    let mut got: Vec<_> = net
        .received(conn)
        .into_iter()
        .filter_map(|packet| match packet {
            Packet::Publish { topic, payload, retain: true, .. } => {
                Some(format!("{topic}={}", String::from_utf8(payload).expect("text")))
            }
            Packet::Suback { .. } => None,
            other => panic!("{other:?}"),
        })
        .collect();
    got.sort();
    got
}

#[test]
fn new_subscription_gets_the_last_retained_message_of_each_topic() {
    for shards in 1..=3 {
        for version in VERSIONS {
            let mut net = Net::new(shards, |_| {});
            let publisher = join(&mut net, 0, version, "p");
            for i in 0..12 {
                for text in ["old", "new"] {
                    let topic = format!("r/{i}/x");
                    let packet = publish(&topic, text.as_bytes(), i % 2, 1).retained();
                    net.send(publisher, &packet.bytes(version));
                }
            }
            net.received(publisher);
            net.send(publisher, &publish("r/3/x", b"", 1, 1).retained().bytes(version));
            assert_eq!(net.sum(|broker| broker.gauges().retained), 11);
            for shard in 0..shards {
                let conn = join(&mut net, shard, version, &format!("s{shard}"));
                net.send(conn, &subscribe(version, 1, &[("r/7/x", 1)]));
                net.advance(2 * MILLI);
                assert_eq!(retained_payloads(&mut net, conn), ["r/7/x=new"]);
                net.send(conn, &subscribe(version, 2, &[("r/+/x", 1)]));
                net.advance(5 * MILLI);
                let got = retained_payloads(&mut net, conn);
                assert_eq!(got.len(), 11, "{shards} shards, {version:?}: {got:?}");
                net.send(conn, &subscribe(version, 2, &[("r/3/#", 1)]));
                net.advance(5 * MILLI);
                assert_eq!(retained_payloads(&mut net, conn), [""; 0]);
            }
            assert_eq!(net.sum(|broker| broker.gauges().retained_jobs), 0);
        }
    }
}

#[test]
fn retain_flag_is_off_for_those_already_subscribed_unless_asked_for() {
    for shards in 1..=2 {
        let version = Version::V5;
        let mut net = Net::new(shards, |_| {});
        let publisher = join(&mut net, 0, version, "p");
        let plain = join(&mut net, shards - 1, version, "s");
        let keeping = join(&mut net, shards - 1, version, "k");
        sub(&mut net, plain, "t", 0);
        let options = SubscribeOptions {
            retain_as_published: true,
            ..SubscribeOptions::plain(Qos::AtMostOnce)
        };
        net.send(keeping, &subscribe_with(version, 1, &[], &[("t", options)]));
        net.received(keeping);
        net.send(publisher, &publish("t", b"x", 0, 0).retained().bytes(version));
        let packets = net.received(plain);
        assert!(matches!(packets[..], [Packet::Publish { retain: false, .. }]), "{packets:?}");
        let packets = net.received(keeping);
        assert!(matches!(packets[..], [Packet::Publish { retain: true, .. }]), "{packets:?}");
    }
}

#[test]
fn retain_handling_says_when_retained_messages_are_sent() {
    let version = Version::V5;
    let mut net = Net::new(1, |_| {});
    let conn = join(&mut net, 0, version, "s");
    net.send(conn, &publish("t", b"x", 0, 0).retained().bytes(version));
    let mut subscribe_handling = |retain_handling| {
        let plain = SubscribeOptions::plain(Qos::AtMostOnce);
        let options = SubscribeOptions { retain_handling, ..plain };
        net.send(conn, &subscribe_with(version, 1, &[], &[("t", options)]));
        retained_payloads(&mut net, conn).len()
    };
    assert_eq!(subscribe_handling(2), 0);
    assert_eq!(subscribe_handling(1), 0);
    assert_eq!(subscribe_handling(0), 1);
    assert_eq!(subscribe_handling(0), 1);
}

#[test]
fn expired_retained_message_is_forgotten() {
    for shards in 1..=2 {
        let version = Version::V5;
        let mut net = Net::new(shards, |_| {});
        let conn = join(&mut net, 0, version, "s");
        let packet = publish("t", b"x", 0, 0).retained();
        let packet = packet.with(&[Property::MessageExpiryInterval(10)]);
        net.send(conn, &packet.bytes(version));
        assert_eq!(net.sum(|broker| broker.gauges().retained), 1);
        net.advance(11 * SECOND);
        net.send(conn, &subscribe(version, 1, &[("t", 0)]));
        assert_eq!(retained_payloads(&mut net, conn), [""; 0]);
        assert_eq!(net.sum(|broker| broker.gauges().retained), 0);
        assert_eq!(net.sum(|broker| broker.gauges().messages), 0);
    }
}

#[test]
fn full_retained_store_is_counted_and_messages_still_delivered() {
    let version = Version::V3;
    let mut net = Net::new(1, |config| config.limits.retained = 2);
    let conn = join(&mut net, 0, version, "s");
    sub(&mut net, conn, "#", 0);
    for topic in ["a", "b", "c"] {
        net.send(conn, &publish(topic, b"x", 0, 0).retained().bytes(version));
    }
    assert_eq!(net.received(conn).len(), 3);
    assert_eq!(net.brokers[0].counters().drop_retained_full, 1);
}

/// More retained messages than a session's queue holds, for a client that acknowledges slowly: they
/// come as it takes them, none is lost and it is not disconnected.
#[test]
fn many_retained_messages_wait_for_a_slow_client() {
    for shards in 1..=3 {
        let version = Version::V5;
        let mut net = Net::new(shards, |config| {
            config.limits.session_queue_messages = 200;
            config.limits.inflight = 4;
        });
        let publisher = join(&mut net, 0, version, "p");
        for i in 0..400 {
            let topic = format!("many/{i}");
            net.send(publisher, &publish(&topic, b"x", 0, 0).retained().bytes(version));
            let topic = format!("one/{i}");
            net.send(publisher, &publish(&topic, b"x", 1, 1).retained().bytes(version));
            net.received(publisher);
        }
        let conn = join(&mut net, shards - 1, version, "s");
        net.send(conn, &subscribe(version, 1, &[("one/#", 1)]));
        let mut got = 0;
        for _ in 0..2_000 {
            for packet in net.received(conn) {
                if let Packet::Publish { packet_id, .. } = packet {
                    got += 1;
                    net.send(conn, &puback(version, packet_id));
                }
            }
            net.advance(MILLI);
        }
        assert_eq!(got, 400, "{shards} shards");
        assert_eq!(net.sum(|broker| broker.gauges().retained_jobs), 0);
    }
}

#[test]
fn fetch_ends_with_its_session_and_frees_what_it_held() {
    let version = Version::V5;
    let mut net = Net::new(2, |config| {
        config.limits.session_queue_messages = 200;
        config.limits.inflight = 1;
    });
    let publisher = join(&mut net, 0, version, "p");
    for i in 0..600 {
        let topic = format!("one/{i}");
        net.send(publisher, &publish(&topic, b"x", 1, 1).retained().bytes(version));
    }
    for shard in [0, 1] {
        let conn = join(&mut net, shard, version, "s");
        net.send(conn, &subscribe(version, 1, &[("#", 1)]));
        net.advance(3 * MILLI);
        assert_eq!(net.sum(|broker| broker.gauges().retained_jobs), 1);
        net.cut(conn);
        net.advance(3 * MILLI);
        assert_eq!(net.sum(|broker| broker.gauges().retained_jobs), 0);
    }
    for i in 0..600 {
        let topic = format!("one/{i}");
        net.send(publisher, &publish(&topic, b"", 1, 1).retained().bytes(version));
    }
    assert_eq!(net.sum(|broker| broker.gauges().retained), 0);
    assert_eq!(net.sum(|broker| broker.gauges().messages), 0);
}
