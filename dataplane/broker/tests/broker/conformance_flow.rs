//! What a client must be able to rely on when links, sessions and shards are busy at the same time.

use broker::codec::{AckKind, Version};

use crate::basics::{join, sub};
use crate::net::{Conn, MILLI, Net};
use crate::packet::{Packet, connect_with, publish};

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
