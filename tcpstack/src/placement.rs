//! What decides which shard an incoming frame is for.

use std::net::IpAddr;

use crate::icmp_error::{Quoted, quoted_ipv4, quoted_ipv6, report_ipv4, report_ipv6};
use crate::ip::protocol;
use crate::ipv6;

/// By what a frame finds its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Its flow: source, destination, and both ports in this order.
    Flow(IpAddr, IpAddr, [u8; 4]),
    /// As `Flow`, but ports with receive-side scaling do not see it: it is behind extension headers,
    /// or that of the segment which an ICMP error quotes.
    Hidden(IpAddr, IpAddr, [u8; 4]),
    /// Its addresses: fragments have no ports, and all of a datagram must come together.
    Addresses(IpAddr, IpAddr),
}

/// By what `frame` finds its shard; `None` when any shard may have it.
pub(crate) fn of_frame(frame: &[u8]) -> Option<Placement> {
    let (mut ethertype, mut packet) = (frame.get(12..14)?, frame.get(14..)?);
    if ethertype == [0x81, 0x00] {
        // IEEE 802.1Q: whether the tag is ours does not matter here.
        (ethertype, packet) = (packet.get(2..4)?, packet.get(4..)?);
    }
    match *ethertype {
        [0x08, 0x00] => of_ipv4(packet),
        [0x86, 0xdd] => of_ipv6(packet),
        _ => None,
    }
}

fn of_ipv4(packet: &[u8]) -> Option<Placement> {
    let header: &[u8; 20] = packet.first_chunk()?;
    let header_bytes = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_bytes < header.len() {
        return None;
    }
    let address = |at: usize| header[at..].first_chunk::<4>().map(|octets| IpAddr::from(*octets));
    let (source, destination) = (address(12)?, address(16)?);
    if u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0 {
        return Some(Placement::Addresses(source, destination));
    }
    let payload = packet.get(header_bytes..)?;
    match header[9] {
        protocol::TCP => Some(Placement::Flow(source, destination, *payload.first_chunk()?)),
        protocol::ICMP => {
            report_ipv4(payload)?;
            quoted_ipv4(payload).ok().map(of_quoted)
        }
        _ => None,
    }
}

fn of_ipv6(packet: &[u8]) -> Option<Placement> {
    let (first, payload) = packet.split_first_chunk::<40>()?;
    if first[0] >> 4 != 6 {
        return None;
    }
    let address = |at: usize| first[at..].first_chunk::<16>().map(|octets| IpAddr::from(*octets));
    let (source, destination) = (address(8)?, address(24)?);
    if first[6] == protocol::TCP {
        return Some(Placement::Flow(source, destination, *payload.first_chunk()?));
    }
    let inner = ipv6::walk(packet, &ipv6::parse(packet).ok()?).ok()?;
    if inner.part.is_some() {
        return Some(Placement::Addresses(source, destination));
    }
    let payload = packet.get(inner.range)?;
    match inner.protocol {
        protocol::TCP => Some(Placement::Hidden(source, destination, *payload.first_chunk()?)),
        protocol::ICMPV6 => {
            report_ipv6(payload)?;
            quoted_ipv6(payload).ok().map(of_quoted)
        }
        _ => None,
    }
}

/// What an error quotes was sent from here: its peer's frames come the other way round.
fn of_quoted(quoted: Quoted) -> Placement {
    let [s0, s1] = quoted.destination_port.to_be_bytes();
    let [d0, d1] = quoted.source_port.to_be_bytes();
    Placement::Hidden(quoted.destination, quoted.source, [s0, s1, d0, d1])
}
