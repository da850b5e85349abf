//! Echo requests larger than the link: they come in fragments, and so do their replies.

use std::net::Ipv4Addr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv4Packet, Icmpv4Repr, IpProtocol,
    Ipv4Packet,
};
use superpage::{Placement, TierPolicy};
use tcpstack::{
    Features, FrameSink, IpCidr, Limits, NeighborNews, REASSEMBLED_BYTES_MAX, RxFrame, Stack,
    StackConfig, Steering, Timers,
};

const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

#[derive(Default)]
struct Wire(Vec<Vec<u8>>);

impl FrameSink for Wire {
    fn frame(&mut self, len: usize) -> Option<&mut [u8]> {
        self.0.push(vec![0xee; len]);
        self.0.last_mut().map(Vec::as_mut_slice)
    }

    fn checksum(&mut self, _: usize, _: usize) {}
}

fn stack() -> Stack {
    let mut stack = Stack::new(StackConfig {
        mac: OWN_MAC,
        mtu: 1_500,
        addresses: vec![IpCidr::new(OWN, 24)],
        gateway: None,
        gateway_ipv6: None,
        listeners: Vec::new(),
        limits: Limits::default(),
        timers: Timers::default(),
        features: Features::default(),
        secret: [3; 16],
        steering: Steering::single(),
        tx_checksum_offload: false,
        placement: Placement { tier: TierPolicy::BaseOnly, ..Placement::default() },
        segment_bytes_max: None,
        vlan: None,
    })
    .expect("a small stack fits");
    stack.learn_neighbor(PEER.into(), PEER_MAC, NeighborNews::Asked);
    stack
}

/// The fragments of an echo request with `octets`.
fn request(octets: &[u8]) -> Vec<Vec<u8>> {
    let repr = Icmpv4Repr::EchoRequest { ident: 7, seq_no: 3, data: octets };
    let mut message = vec![0; repr.buffer_len()];
    repr.emit(&mut Icmpv4Packet::new_unchecked(&mut message), &ChecksumCapabilities::default());
    let count = message.len().div_ceil(1_480);
    let fragment = |(at, piece): (usize, &[u8])| {
        let mut frame = vec![0; 34];
        frame.extend(piece);
        let mut ethernet = EthernetFrame::new_unchecked(&mut frame[..]);
        ethernet.set_src_addr(EthernetAddress(PEER_MAC));
        ethernet.set_dst_addr(EthernetAddress(OWN_MAC));
        ethernet.set_ethertype(EthernetProtocol::Ipv4);
        let mut packet = Ipv4Packet::new_unchecked(&mut frame[14..]);
        packet.set_version(4);
        packet.set_header_len(20);
        packet.set_total_len((20 + piece.len()) as u16);
        packet.set_ident(0x1234);
        packet.set_more_frags(at + 1 < count);
        packet.set_frag_offset((at * 1_480) as u16);
        packet.set_hop_limit(64);
        packet.set_next_header(IpProtocol::Icmp);
        packet.set_src_addr(PEER);
        packet.set_dst_addr(OWN);
        packet.fill_checksum();
        frame
    };
    message.chunks(1_480).enumerate().map(fragment).collect()
}

/// Gives the stack fragments, and what they make together.
fn receive(stack: &mut Stack, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    for bytes in frames {
        stack.input(1, &[RxFrame { bytes, checksum_verified: false }]);
        while stack.poll_event().is_some() {}
    }
    let mut room = vec![0; REASSEMBLED_BYTES_MAX];
    while let Some(len) = stack.poll_reassembled(&mut room) {
        stack.input(1, &[RxFrame { bytes: &room[..len], checksum_verified: false }]);
        while stack.poll_event().is_some() {}
    }
    let mut wire = Wire::default();
    stack.output(1, &mut wire);
    wire.0
}

#[test]
fn reply_to_a_large_echo_request_comes_in_fragments() {
    for len in [1_472, 1_473, 3_000, 8_000, 16_376] {
        let mut stack = stack();
        let octets: Vec<u8> = (0..len).map(|at| (at * 7) as u8).collect();
        let frames = receive(&mut stack, &request(&octets));
        let mut whole = Vec::new();
        let mut ids = Vec::new();
        for (at, frame) in frames.iter().enumerate() {
            assert!(frame.len() <= 14 + 1_500, "every fragment fits the link");
            let packet = Ipv4Packet::new_checked(&frame[14..]).expect("IPv4");
            assert!(packet.verify_checksum());
            assert_eq!(usize::from(packet.frag_offset()), whole.len(), "{len} octets");
            assert_eq!(packet.more_frags(), at + 1 < frames.len(), "{len} octets");
            assert_eq!(packet.dont_frag(), frames.len() == 1, "{len} octets");
            ids.push(packet.ident());
            whole.extend(packet.payload());
        }
        ids.dedup();
        assert_eq!((frames.len(), ids.len()), ((len + 8usize).div_ceil(1_480), 1));
        let packet = Icmpv4Packet::new_checked(&whole[..]).expect("ICMP");
        let reply = Icmpv4Repr::parse(&packet, &ChecksumCapabilities::default()).expect("checksum");
        assert_eq!(reply, Icmpv4Repr::EchoReply { ident: 7, seq_no: 3, data: &octets });
        assert_eq!(stack.counters().icmp_echo, 1);
    }
}

#[test]
fn echo_request_larger_than_what_is_reassembled_is_dropped() {
    let mut stack = stack();
    assert!(receive(&mut stack, &request(&[1; 16_377])).is_empty());
    assert_eq!(stack.counters().drop_fragment_length, 1);
}
