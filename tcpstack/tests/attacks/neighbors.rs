//! Floods of the neighbour table: everybody on the link may fill it, nobody may stop connections.

use std::net::Ipv4Addr;

use tcpstack::StackConfig;

use crate::bench::{ACK, Bench, OWN, OWN_MAC, PEER, Packet, SYN, config, packet};

/// A link with room for many.
fn wide() -> Bench {
    let addresses = config().addresses.into_iter().map(|mut own| {
        own.prefix = 8;
        own
    });
    Bench::with(StackConfig { addresses: addresses.collect(), ..config() })
}

fn stranger(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a10_0000 + number)
}

/// "Who has our address?", as told by a stranger.
fn question(sender: Ipv4Addr) -> Vec<u8> {
    let [_, b, c, d] = sender.octets();
    let mac = [2, 1, 0, b, c, d];
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(OWN.octets());
    frame.resize(60, 0);
    frame
}

/// The peer says where it is.
fn reply() -> Vec<u8> {
    let mac = [2, 0, 0, 0, 0, 2];
    let mut frame = OWN_MAC.to_vec();
    frame.extend(mac);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    frame.extend(mac);
    frame.extend(PEER.octets());
    frame.extend(OWN_MAC);
    frame.extend(OWN.octets());
    frame.resize(60, 0);
    frame
}

#[test]
fn flood_of_arp_questions_keeps_the_table_bounded_and_connections_alive() {
    let mut bench = wide();
    let (seq, ack) = bench.open(4_000);
    for number in 0..10_000 {
        bench.answer_frame(question(stranger(number)));
    }
    bench.stack.expire(bench.now_ns, 1);
    assert!(bench.stack.gauges().known <= 8, "as many as there are places");
    assert!(bench.counters().neighbor_evicted > 1_000);
    bench.answer(&packet(4_000, ACK, seq, ack).octets(b"still "));
    bench.answer(&packet(4_000, ACK, seq + 6, ack).octets(b"here"));
    assert_eq!(bench.received, b"still here");
    // Should the peer's place be gone, it is asked for, and the answer finds its way.
    bench.answer_frame(reply());
    assert_eq!(bench.stack.send(bench.now_ns, 0, b"yes"), 3);
    bench.turn();
    bench.wait_ms(1_000);
    assert!(bench.sent().iter().any(|packet| packet.octets == b"yes"));
}

#[test]
fn syns_from_hosts_that_are_not_there_do_not_keep_others_out() {
    let mut bench = wide();
    for number in 0..2_000 {
        let forged = Packet { source: stranger(number), ..packet(4_000, SYN, 1, 0) };
        bench.answer(&forged);
    }
    assert!(bench.stack.gauges().syn_received <= 32);
    bench.answer_frame(reply());
    let (seq, ack) = bench.open(4_000);
    bench.answer(&packet(4_000, ACK, seq, ack).octets(b"in"));
    assert_eq!(bench.received, b"in");
}
