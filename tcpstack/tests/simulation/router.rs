//! What a router in the middle says about a packet that is too big for its next link.

use smoltcp::wire::{Icmpv4Packet, Icmpv6Packet};

use crate::link::ETHERNET_BYTES;

/// The frame that tells the sender of `frame` (RFC 792 with RFC 1191 §4, RFC 4443 §3.2).
pub(crate) fn too_big(frame: &[u8], mtu: usize) -> Vec<u8> {
    let packet = &frame[ETHERNET_BYTES..];
    let mut answer = Vec::with_capacity(frame.len());
    answer.extend(&frame[6..12]);
    answer.extend(&frame[..6]);
    answer.extend(&frame[12..ETHERNET_BYTES]);
    if packet[0] >> 4 == 4 {
        let quoted = &packet[..28];
        answer.extend([0x45, 0, 0, (20 + 8 + quoted.len()) as u8, 0, 0, 0, 0, 64, 1, 0, 0]);
        // As if from the other end: routers have addresses of their own, but nobody minds.
        answer.extend(&packet[16..20]);
        answer.extend(&packet[12..16]);
        let mut ip = smoltcp::wire::Ipv4Packet::new_unchecked(&mut answer[ETHERNET_BYTES..]);
        ip.fill_checksum();
        answer.extend([3, 4, 0, 0, 0, 0]);
        answer.extend((mtu as u16).to_be_bytes());
        answer.extend(quoted);
        Icmpv4Packet::new_unchecked(&mut answer[ETHERNET_BYTES + 20..]).fill_checksum();
    } else {
        let quoted = &packet[..packet.len().min(1_232)];
        answer.extend([0x60, 0, 0, 0]);
        answer.extend((8 + quoted.len() as u16).to_be_bytes());
        answer.extend([58, 64]);
        answer.extend(&packet[24..40]);
        answer.extend(&packet[8..24]);
        answer.extend([2, 0, 0, 0]);
        answer.extend((mtu as u32).to_be_bytes());
        answer.extend(quoted);
        let address = |at: usize| <[u8; 16]>::try_from(&packet[at..at + 16]).expect("16").into();
        let mut icmp = Icmpv6Packet::new_unchecked(&mut answer[ETHERNET_BYTES + 40..]);
        icmp.fill_checksum(&address(24), &address(8));
    }
    answer
}
