//! Below TCP: ARP (RFC 826), ICMP echo (RFC 792), and what is dropped on the way up.

use std::net::{Ipv4Addr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Packet,
};
use tcpstack::{ConnectError, Event, Stack};

use crate::bench::{Bench, OWN, OWN_MAC, PEER, PEER_MAC, config, ip_frame, seg};

const BROADCAST: [u8; 6] = [0xff; 6];

fn arp(operation: ArpOperation, sender: (Ipv4Addr, [u8; 6]), target: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0; 60];
    let mut ethernet = EthernetFrame::new_unchecked(&mut frame[..]);
    ethernet.set_src_addr(EthernetAddress(sender.1));
    ethernet.set_dst_addr(EthernetAddress(BROADCAST));
    ethernet.set_ethertype(EthernetProtocol::Arp);
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: EthernetAddress(sender.1),
        source_protocol_addr: sender.0,
        target_hardware_addr: EthernetAddress(OWN_MAC),
        target_protocol_addr: target,
    };
    repr.emit(&mut ArpPacket::new_unchecked(&mut frame[14..]));
    frame
}

fn sent_arp(bench: &mut Bench) -> Vec<([u8; 6], ArpRepr)> {
    let parse = |frame: Vec<u8>| {
        let ethernet = EthernetFrame::new_checked(&frame[..]).expect("Ethernet");
        assert_eq!(ethernet.ethertype(), EthernetProtocol::Arp);
        let packet = ArpPacket::new_checked(ethernet.payload()).expect("ARP");
        (ethernet.dst_addr().0, ArpRepr::parse(&packet).expect("ARP"))
    };
    bench.sent_frames().into_iter().map(parse).collect()
}

/// A stack that knows nobody.
fn stranger() -> Bench {
    let mut bench = Bench::new();
    bench.stack = Stack::new(config()).expect("a small stack fits");
    bench
}

#[test]
fn arp_request_for_us_is_answered_and_its_sender_remembered() {
    let mut bench = stranger();
    bench.receive_frames(&[arp(ArpOperation::Request, (PEER, PEER_MAC), OWN)]);
    assert_eq!(bench.events, [Event::Neighbor { ip: PEER.into(), mac: PEER_MAC }]);
    let reply = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: EthernetAddress(OWN_MAC),
        source_protocol_addr: OWN,
        target_hardware_addr: EthernetAddress(PEER_MAC),
        target_protocol_addr: PEER,
    };
    assert_eq!(sent_arp(&mut bench), [(PEER_MAC, reply)]);
    bench.receive(seg("S", 0, 0));
    assert_eq!(bench.lines(), ["SA 0:0 ack 1"], "no question needed");
}

#[test]
fn arp_that_does_not_concern_us_is_dropped() {
    let mut bench = stranger();
    let other = Ipv4Addr::new(10, 0, 0, 9);
    bench.receive_frames(&[
        arp(ArpOperation::Request, (PEER, PEER_MAC), other),
        arp(ArpOperation::Request, (Ipv4Addr::new(192, 0, 2, 1), PEER_MAC), OWN),
        arp(ArpOperation::Reply, (OWN, PEER_MAC), OWN),
    ]);
    assert!(bench.events.is_empty() && bench.sent_frames().is_empty());
    let counters = bench.counters();
    assert_eq!((counters.drop_arp_foreign, counters.drop_arp_sender), (1, 2));
    assert_eq!(counters.arp_conflict, 1);
}

#[test]
fn address_probe_is_answered_and_its_sender_not_remembered() {
    // RFC 5227 §2.1.1: the sender has no address yet.
    let mut bench = stranger();
    bench.receive_frames(&[arp(ArpOperation::Request, (Ipv4Addr::UNSPECIFIED, PEER_MAC), OWN)]);
    assert_eq!(sent_arp(&mut bench).len(), 1);
    assert_eq!((bench.events.len(), bench.stack.gauges().known), (0, 0));
}

#[test]
fn announcement_tells_all_addresses() {
    let mut bench = stranger();
    bench.stack.announce();
    bench.turn();
    let [(to, ArpRepr::EthernetIpv4 { source_protocol_addr, target_protocol_addr, .. })] =
        sent_arp(&mut bench)[..]
    else {
        panic!("one announcement");
    };
    assert_eq!((to, source_protocol_addr, target_protocol_addr), (BROADCAST, OWN, OWN));
}

#[test]
fn syn_leaves_as_soon_as_the_neighbour_answers() {
    let mut bench = stranger();
    bench.connect();
    let [(BROADCAST, ArpRepr::EthernetIpv4 { operation, target_protocol_addr, .. })] =
        sent_arp(&mut bench)[..]
    else {
        panic!("one question");
    };
    assert_eq!((operation, target_protocol_addr), (ArpOperation::Request, PEER));
    bench.wait_ms(10);
    bench.receive_frames(&[arp(ArpOperation::Reply, (PEER, PEER_MAC), OWN)]);
    assert_eq!(bench.lines(), ["S 0:0 ack 0"]);
    bench.receive(seg("SA", 0, 1));
    assert_eq!(bench.lines(), ["A 1:1 ack 1"]);
}

#[test]
fn syn_ack_leaves_as_soon_as_the_neighbour_answers() {
    let mut bench = stranger();
    bench.receive(seg("S", 0, 0));
    assert_eq!(sent_arp(&mut bench).len(), 1);
    bench.receive_frames(&[arp(ArpOperation::Reply, (PEER, PEER_MAC), OWN)]);
    assert_eq!(bench.lines(), ["SA 0:0 ack 1"]);
}

#[test]
fn unanswered_question_is_asked_again_with_every_retransmission() {
    let mut bench = stranger();
    bench.connect();
    bench.wait_ms(7_500);
    assert_eq!(sent_arp(&mut bench).len(), 4, "at 0, 1, 3 and 7 s");
}

#[test]
fn peers_that_cannot_be_are_refused() {
    let mut bench = stranger();
    let mut connect = |ip: [u8; 4], port| bench.stack.connect(0, SocketAddr::new(ip.into(), port));
    for ip in [[10, 0, 0, 1], [0, 0, 0, 0], [224, 0, 0, 1], [255; 4], [192, 0, 2, 1]] {
        assert_eq!(connect(ip, 80), Err(ConnectError::Unreachable), "{ip:?}");
    }
    assert_eq!(connect([10, 0, 0, 2], 0), Err(ConnectError::Unreachable));
    for _ in 0..4 {
        connect([10, 0, 0, 2], 80).expect("room");
    }
    assert_eq!(connect([10, 0, 0, 2], 80), Err(ConnectError::Full));
}

#[test]
fn echo_request_comes_back() {
    let mut bench = Bench::new();
    let request = Icmpv4Repr::EchoRequest { ident: 7, seq_no: 3, data: b"are you there" };
    let mut bytes = vec![0; request.buffer_len()];
    let mut packet = Icmpv4Packet::new_unchecked(&mut bytes[..]);
    request.emit(&mut packet, &ChecksumCapabilities::default());
    bench.receive_frames(&[ip_frame(IpProtocol::Icmp, &bytes)]);
    let [frame] = &bench.sent_frames()[..] else { panic!("one reply") };
    let ip = Ipv4Packet::new_checked(&frame[14..]).expect("IPv4");
    let icmp = Icmpv4Packet::new_checked(ip.payload()).expect("ICMP");
    let reply = Icmpv4Repr::parse(&icmp, &ChecksumCapabilities::default()).expect("ICMP");
    assert_eq!(reply, Icmpv4Repr::EchoReply { ident: 7, seq_no: 3, data: b"are you there" });
    assert_eq!(bench.counters().icmp_echo, 1);
}

#[test]
fn every_frame_is_accounted_for() {
    let mut bench = Bench::established();
    let good = ip_frame(IpProtocol::Tcp, &[0; 20]);
    let damaged = |at: usize, byte: u8| {
        let mut frame = good.clone();
        frame[at] = byte;
        frame
    };
    bench.receive_frames(&[
        vec![0; 13],
        damaged(0, 4),
        damaged(12, 9),
        damaged(14, 0x46),
        damaged(25, 1),
        damaged(33, 9),
        ip_frame(IpProtocol::Udp, &[0; 20]),
        ip_frame(IpProtocol::Icmp, &[0; 4]),
        ip_frame(IpProtocol::Tcp, &[0; 19]),
        good.clone(),
    ]);
    let counters = *bench.counters();
    assert_eq!(counters.drop_ethernet_short, 1);
    assert_eq!(counters.drop_ethernet_destination, 1);
    assert_eq!(counters.drop_ethernet_type, 1);
    assert_eq!(counters.drop_ipv4_checksum, 3);
    assert_eq!(counters.drop_ipv4_protocol, 1);
    assert_eq!(counters.drop_icmp_malformed, 1);
    assert_eq!(counters.drop_tcp_malformed, 2, "too short, and without a header length");
    let drops = tcpstack::StackCounters::FIELDS.iter().zip(counters.values());
    let drops = drops.filter(|(field, _)| field.name.starts_with("drop_"));
    let dropped: u64 = drops.map(|(_, value)| value).sum();
    assert_eq!(counters.received, counters.accepted + dropped);
}
