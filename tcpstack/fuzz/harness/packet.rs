//! Frames as a peer would make them, byte by byte: no wire format of the stack's is used, so that
//! the two cannot be wrong together.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The stack's MAC address.
pub const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The peer's MAC address.
pub const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The stack's IPv4 address.
pub const OUR_IPV4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The peer's IPv4 address.
pub const PEER_IPV4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// The stack's IPv6 address.
pub const OUR_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
/// The peer's IPv6 address.
pub const PEER_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

/// Control bits of a segment.
pub mod flag {
    /// No more data.
    pub const FIN: u8 = 1;
    /// Synchronize.
    pub const SYN: u8 = 2;
    /// The acknowledgment number counts.
    pub const ACK: u8 = 16;
}

/// Numbers of protocols and of IPv6 extension headers.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
}

/// A segment from the peer to the stack.
#[derive(Clone, Debug, Default)]
pub struct Segment<'a> {
    /// Whether it travels over IPv6.
    pub is_ipv6: bool,
    /// The peer's port.
    pub source: u16,
    /// The stack's port.
    pub destination: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// [`flag`]s.
    pub flags: u8,
    /// Window field.
    pub window: u16,
    /// Options, padded here.
    pub options: &'a [u8],
    /// Text.
    pub octets: &'a [u8],
}

impl Segment<'_> {
    /// The frame, all checksums right.
    pub fn frame(&self) -> Vec<u8> {
        let options_bytes = self.options.len().min(40).next_multiple_of(4);
        let mut tcp = Vec::with_capacity(20 + options_bytes + self.octets.len());
        tcp.extend(self.source.to_be_bytes());
        tcp.extend(self.destination.to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.push(((20 + options_bytes) as u8) << 2);
        tcp.push(self.flags);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0; 4]);
        tcp.extend(&self.options[..self.options.len().min(40)]);
        tcp.resize(20 + options_bytes, 0);
        tcp.extend(self.octets);
        packet(self.is_ipv6, protocol::TCP, &tcp)
    }
}

/// An IP packet from the peer to the stack, all checksums right.
pub fn packet(is_ipv6: bool, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(54 + payload.len());
    frame.extend(OUR_MAC);
    frame.extend(PEER_MAC);
    if is_ipv6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend((payload.len() as u16).to_be_bytes());
        // Neighbour discovery wants a hop limit of 255.
        frame.extend([protocol, 255]);
        frame.extend(PEER_IPV6.octets());
        frame.extend(OUR_IPV6.octets());
    } else {
        frame.extend([0x08, 0x00, 0x45, 0]);
        frame.extend((20 + payload.len() as u16).to_be_bytes());
        frame.extend([0x12, 0x34, 0, 0, 64, protocol, 0, 0]);
        frame.extend(PEER_IPV4.octets());
        frame.extend(OUR_IPV4.octets());
    }
    frame.extend(payload);
    seal(&mut frame);
    frame
}

/// The packet in `frame` as fragments: `cut` octets of payload go into the first.
pub fn fragments(frame: &[u8], cut: usize, identification: u16) -> [Vec<u8>; 2] {
    let is_ipv6 = frame[12] == 0x86;
    let header = if is_ipv6 { 54 } else { 34 };
    let payload = &frame[header..];
    let cut = (cut & !7).min(payload.len() & !7);
    let (first, second) = payload.split_at(cut);
    [(first, 0, true), (second, cut, false)].map(|(part, offset, has_more)| {
        let place = offset as u16 | u16::from(has_more);
        let mut whole = frame[..header].to_vec();
        if is_ipv6 {
            whole[18..20].copy_from_slice(&(8 + part.len() as u16).to_be_bytes());
            let next = std::mem::replace(&mut whole[20], protocol::FRAGMENT);
            whole.extend([next, 0]);
            whole.extend(place.to_be_bytes());
            whole.extend([0, 0]);
            whole.extend(identification.to_be_bytes());
        } else {
            let field = (offset / 8) as u16 | u16::from(has_more) << 13;
            whole[16..18].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
            whole[18..20].copy_from_slice(&identification.to_be_bytes());
            whole[20..22].copy_from_slice(&field.to_be_bytes());
        }
        whole.extend(part);
        if !is_ipv6 {
            seal_ipv4(&mut whole[14..]);
        }
        whole
    })
}

/// Puts extension headers (IPv6) or options (IPv4) between the IP header and what follows.
pub fn wrapped(frame: &[u8], next: u8, bytes: &[u8]) -> Vec<u8> {
    let mut whole = frame.to_vec();
    if frame[12] == 0x86 {
        let len = (2 + bytes.len()).next_multiple_of(8).min(264);
        let mut header = vec![std::mem::replace(&mut whole[20], next), (len / 8 - 1) as u8];
        header.extend(&bytes[..bytes.len().min(len - 2)]);
        header.resize(len, 0);
        let payload_bytes = (whole.len() - 54 + len) as u16;
        whole[18..20].copy_from_slice(&payload_bytes.to_be_bytes());
        whole.splice(54..54, header);
    } else {
        let mut options = bytes[..bytes.len().min(40)].to_vec();
        options.resize(options.len().next_multiple_of(4), 0);
        let total_bytes = (whole.len() - 14 + options.len()) as u16;
        whole[14] = 0x45 + (options.len() / 4) as u8;
        whole[16..18].copy_from_slice(&total_bytes.to_be_bytes());
        whole.splice(34..34, options);
        seal_ipv4(&mut whole[14..]);
    }
    whole
}

/// Makes every checksum right that can be found; leaves alone what is no packet.
pub fn seal(frame: &mut [u8]) {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => seal_ipv4(&mut frame[14..]),
        Some([0x86, 0xdd]) => seal_ipv6(&mut frame[14..]),
        _ => {}
    }
}

fn seal_ipv4(packet: &mut [u8]) {
    let header_bytes = packet.first().map_or(0, |first| usize::from(first & 15) * 4);
    if header_bytes < 20 || packet.len() < header_bytes {
        return;
    }
    packet[10..12].fill(0);
    let sum = !sum(0, &packet[..header_bytes]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let total_bytes = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let is_fragment = packet[6] & 0x3f != 0 || packet[7] != 0;
    if is_fragment || !(header_bytes..=packet.len()).contains(&total_bytes) {
        return;
    }
    let (header, payload) = packet.split_at_mut(header_bytes);
    let pseudo = sum_of(&header[12..20]);
    seal_payload(header[9], pseudo, &mut payload[..total_bytes - header_bytes]);
}

fn seal_ipv6(packet: &mut [u8]) {
    if packet.len() < 40 {
        return;
    }
    let payload_bytes = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    let (header, payload) = packet.split_at_mut(40);
    let Some(mut payload) = payload.get_mut(..payload_bytes) else { return };
    let mut next = header[6];
    // Hop-by-hop, routing, destination options.
    while matches!(next, 0 | 43 | 60) && payload.len() >= 8 {
        let len = 8 * (1 + usize::from(payload[1]));
        next = payload[0];
        let Some(rest) = payload.get_mut(len..) else { return };
        payload = rest;
    }
    seal_payload(next, sum_of(&header[8..40]), payload);
}

fn seal_payload(protocol: u8, addresses: u32, payload: &mut [u8]) {
    let (at, has_pseudo) = match protocol {
        protocol::TCP => (16, true),
        protocol::ICMP => (2, false),
        protocol::ICMPV6 => (2, true),
        _ => return,
    };
    if payload.len() < at + 2 {
        return;
    }
    payload[at..at + 2].fill(0);
    let pseudo = addresses + u32::from(protocol) + payload.len() as u32;
    let sum = !sum(if has_pseudo { pseudo } else { 0 }, payload);
    payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// RFC 1071, not folded.
fn sum_of(bytes: &[u8]) -> u32 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    bytes.chunks(2).map(word).sum()
}

/// RFC 1071.
pub fn sum(begin: u32, bytes: &[u8]) -> u16 {
    let mut sum = begin + sum_of(bytes);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
