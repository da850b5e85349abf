//! What a client must be able to rely on when links, sessions and shards are busy at the same time.

use broker::codec::{AckKind, Property, Version};

use crate::basics::{join, sub};
use crate::connect::{connect, lasting};
use crate::net::{Conn, MILLI, Net};
use crate::packet::{Packet, block, connect_with, puback, publish};

/// Sends bytes without letting anything else happen. What the broker leaves is held.
fn feed(net: &mut Net, conn: usize, bytes: &[u8]) {
    let Conn { shard, link, .. } = net.conns[conn];
    let link = link.expect("an open link");
    net.conns[conn].held.extend_from_slice(bytes);
    let held = std::mem::take(&mut net.conns[conn].held);
    let taken = net.brokers[usize::from(shard)].feed(net.now_ns, link, &held);
    net.conns[conn].held = held[taken..].to_vec();
}

/// A link that has sent its CONNECT; nothing else has happened.
fn begin(net: &mut Net, shard: u16, version: Version, connect: &[u8]) -> usize {
    let transport = net.conns.len() as u32;
    let link = net.brokers[usize::from(shard)].accept(net.now_ns, transport);
    net.conns.push(Conn {
        shard,
        link,
        held: Vec::new(),
        received: Vec::new(),
        closed: None,
        version,
        window: usize::MAX,
        waits_for_room: false,
    });
    feed(net, transport as usize, connect);
    transport as usize
}

/// The number that is the payload of every PUBLISH, in the order of arrival.
fn numbers(packets: &[Packet]) -> Vec<u16> {
    let number = |packet: &Packet| match packet {
        Packet::Publish { payload, .. } => Some(u16::from_be_bytes([payload[0], payload[1]])),
        _ => None,
    };
    packets.iter().filter_map(number).collect()
}

#[test]
fn link_that_is_parked_before_it_was_resumed_goes_on() {
    let version = Version::V3;
    let mut net = Net::new(2, |config| config.receive_maximum = 1);
    let subscriber = join(&mut net, 1, version, "s");
    sub(&mut net, subscriber, "t", 1);
    // An id whose home is the publisher's shard: its CONNECT is answered at once.
    let mut publisher = begin(&mut net, 0, version, &connect_with(version, "p").bytes());
    for n in 0.. {
        if !net.brokers[0].is_held(net.conns[publisher].link.expect("a link")) {
            break;
        }
        let connect = connect_with(version, &format!("p{n}")).bytes();
        publisher = begin(&mut net, 0, version, &connect);
    }
    for n in 1..=3 {
        feed(&mut net, publisher, &publish("t", &[n as u8], 1, n).bytes(version));
    }
    net.pump();
    net.advance(20 * MILLI);
    let acks = net.received(publisher).split_off(1);
    let wanted: Vec<_> =
        (1..=3).map(|id| Packet::Ack { kind: AckKind::Puback, packet_id: id, reason: 0 }).collect();
    assert_eq!(acks, wanted);
    assert_eq!(net.received(subscriber).len(), 3);
}

#[test]
fn session_that_goes_on_never_uses_a_packet_identifier_twice() {
    for to in 0..2 {
        let version = Version::V5;
        let mut net = Net::new(2, |config| config.limits.inflight = 4);
        let publisher = join(&mut net, 0, version, "p");
        let (mut subscriber, _) = connect(&mut net, 0, &lasting(version, "s"));
        sub(&mut net, subscriber, "t", 0);
        sub(&mut net, subscriber, "t", 1);
        let send = |net: &mut Net, conn: usize, ack: &mut dyn FnMut(u16) -> bool| {
            net.send(publisher, &publish("t", b"xx", 1, 1).bytes(version));
            let mut acks = Vec::new();
            let mut ids = Vec::new();
            for packet in net.received(conn) {
                if let Packet::Publish { packet_id, .. } = packet {
                    ids.push(packet_id);
                    if ack(packet_id) {
                        acks.extend(puback(version, packet_id));
                    }
                }
            }
            net.send(conn, &acks);
            ids
        };
        // 100 is never acknowledged, and all identifiers but those before it are used up.
        for _ in 0..u32::from(u16::MAX) + 50 {
            send(&mut net, subscriber, &mut |id| id != 100);
        }
        net.cut(subscriber);
        let (again, present) = connect(&mut net, to, &lasting(version, "s"));
        assert!(present);
        subscriber = again;
        let packets = net.received(subscriber);
        assert!(matches!(packets[..], [Packet::Publish { packet_id: 100, dup: true, .. }]));
        for _ in 0..60 {
            let ids = send(&mut net, subscriber, &mut |_| true);
            assert!(!ids.contains(&100), "100 is still in flight");
        }
    }
}

#[test]
fn clean_take_over_publishes_a_delayed_will() {
    for shards in 1..=3 {
        let version = Version::V5;
        let mut net = Net::new(shards, |_| {});
        let listener = join(&mut net, 0, version, "listener");
        sub(&mut net, listener, "w", 1);
        let mut with = lasting(version, "c");
        with.will = Some(("w", "gone", 1, false, block(&[Property::WillDelayInterval(60)])));
        connect(&mut net, 0, &with);
        connect(&mut net, shards - 1, &connect_with(version, "c"));
        net.advance(10 * MILLI);
        // MQTT 5 §3.1.4: the original session ends on the take-over, hence its will is due.
        assert_eq!(net.received(listener).len(), 1, "{shards} shards");
    }
}

/// The same messages may come twice while a session moves, but none out of turn or not at all.
#[test]
fn moving_session_gets_its_messages_in_order() {
    for (ring_slots, lead) in [(1, 0), (1, 3), (2, 10), (4, 40), (16, 300)] {
        let version = Version::V5;
        let mut net = Net::new(3, |_| {});
        let publishers = [1, 2].map(|shard| join(&mut net, shard, version, &format!("p{shard}")));
        let (old, _) = connect(&mut net, 0, &lasting(version, "s"));
        sub(&mut net, old, "t/#", 1);
        net.cut(old);
        net.ring_slots = ring_slots;
        let mut next = 1u16;
        let mut both = |net: &mut Net| {
            for conn in publishers {
                let topic = format!("t/{conn}");
                feed(net, conn, &publish(&topic, &next.to_be_bytes(), 1, next).bytes(version));
            }
            next += 1;
        };
        for _ in 0..lead {
            both(&mut net);
            net.pump();
        }
        let new = begin(&mut net, 1, version, &lasting(version, "s").bytes());
        for _ in 0..100 {
            both(&mut net);
            net.turn();
        }
        for _ in 0..20 {
            net.advance(10 * MILLI);
            let mut acks = Vec::new();
            let bytes = net.conns[new].received.clone();
            for packet in crate::packet::decode_all(version, &bytes).0 {
                if let Packet::Publish { packet_id, .. } = packet {
                    acks.extend(puback(version, packet_id));
                }
            }
            net.send(new, &acks);
        }
        let packets = net.received(new);
        for conn in publishers {
            let topic = format!("t/{conn}");
            let of_topic: Vec<_> = packets
                .iter()
                .filter(|p| matches!(p, Packet::Publish { topic: t, .. } if *t == topic))
                .cloned()
                .collect();
            let seen = numbers(&of_topic);
            let mut highest = 0;
            for number in &seen {
                assert!(
                    *number <= highest + 1,
                    "{number} after {highest} of {topic}, {ring_slots} slots, {lead}: {seen:?}"
                );
                highest = highest.max(*number);
            }
            assert_eq!(highest, lead + 100, "{topic}, {ring_slots} slots, {lead} before: {seen:?}");
        }
    }
}

#[test]
fn unreleased_qos2_publishes_are_bounded() {
    let version = Version::V3;
    let mut net = Net::new(1, |config| config.limits.session_queue_messages = 100);
    let hoarder = join(&mut net, 0, version, "hoarder");
    for id in 1..=2_000u16 {
        if net.conns[hoarder].link.is_none() {
            break;
        }
        net.send(hoarder, &publish("t", b"x", 2, id).bytes(version));
    }
    assert!(net.brokers[0].gauges().deliveries <= 100);
    assert!(net.conns[hoarder].closed.is_some());
    // Whoever releases what it sent goes on for ever.
    let honest = join(&mut net, 0, version, "honest");
    for id in 1..=500u16 {
        net.send(honest, &publish("t", b"x", 2, id).bytes(version));
        net.send(honest, &crate::packet::ack_packet(version, AckKind::Pubrel, id));
    }
    assert_eq!(net.received(honest).len(), 1_000);
}

/// Sessions whose clients are away may fill the pool of deliveries for days.
#[test]
fn publisher_is_told_when_no_delivery_can_be_queued() {
    let mut net = Net::new(1, |config| config.limits.deliveries = 8);
    let (away, _) = connect(&mut net, 0, &lasting(Version::V5, "away"));
    sub(&mut net, away, "t", 1);
    net.cut(away);
    let publisher = join(&mut net, 0, Version::V5, "p");
    for id in 1..=9 {
        net.send(publisher, &publish("t", b"xx", 1, id).bytes(Version::V5));
    }
    net.advance(20 * MILLI);
    let acks = net.received(publisher);
    let reasons: Vec<_> = acks
        .iter()
        .map(|packet| match packet {
            Packet::Ack { reason, .. } => *reason,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(reasons, [0, 0, 0, 0, 0, 0, 0, 0, 0x97]);
    assert_eq!(net.brokers[0].counters().drop_in_store_full, 1);
    // MQTT 3.1.1 has no such answer.
    let old = join(&mut net, 0, Version::V3, "old");
    net.send(old, &publish("t", b"xx", 1, 1).bytes(Version::V3));
    assert!(net.conns[old].closed.is_some());
    assert_eq!(net.received(old), []);
    assert_eq!(net.brokers[0].gauges().messages, 8);
}
