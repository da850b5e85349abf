//! IPv6 (RFC 8200).

use std::net::Ipv6Addr;
use std::ops::Range;

use smoltcp::wire::{IpProtocol, Ipv6Packet};

use crate::counters::Drop;
use crate::ip::Header;

/// A whole packet that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    /// What the payload is.
    pub(crate) protocol: u8,
    /// DSCP and ECN.
    pub(crate) traffic_class: u8,
    /// Where the payload is in what was parsed; Ethernet's padding is left out.
    pub(crate) range: Range<usize>,
}

/// Looks at a received packet. `bytes` may be longer: short frames are padded.
pub(crate) fn parse(bytes: &[u8]) -> Result<Packet, Drop> {
    let packet = Ipv6Packet::new_checked(bytes).map_err(|_| Drop::Ipv6Malformed)?;
    if packet.version() != 6 {
        return Err(Drop::Ipv6Malformed);
    }
    let source = packet.src_addr();
    if !is_possible_sender(source) {
        return Err(Drop::Ipv6Source);
    }
    Ok(Packet {
        source,
        destination: packet.dst_addr(),
        protocol: packet.next_header().into(),
        traffic_class: packet.traffic_class(),
        range: HEADER_BYTES..packet.total_len(),
    })
}

/// RFC 4291 §2.7 and §2.5.3: groups and loopback never send over a link. An IPv4 address in IPv6's
/// clothes would be taken for an IPv4 peer.
fn is_possible_sender(source: Ipv6Addr) -> bool {
    !(source.is_multicast() || source.is_loopback() || source.to_ipv4_mapped().is_some())
}

/// Writes the header of a packet, without extension headers.
pub(crate) fn emit(bytes: &mut [u8], header: &Header, source: Ipv6Addr, destination: Ipv6Addr) {
    let mut packet = Ipv6Packet::new_unchecked(bytes);
    packet.set_version(6);
    packet.set_traffic_class(header.traffic_class);
    packet.set_flow_label(header.flow_label);
    packet.set_payload_len(header.payload_bytes as u16);
    packet.set_next_header(IpProtocol::from(header.protocol));
    packet.set_hop_limit(header.hop_limit);
    packet.set_src_addr(source);
    packet.set_dst_addr(destination);
}

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 40;
/// RFC 8200 §5: every link takes packets of this size.
pub(crate) const MTU_MIN: u16 = 1_280;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ip::protocol;

    const SOURCE: Ipv6Addr = Ipv6Addr::new(0xfd54, 0x4c, 0, 0, 0, 0, 0, 2);
    const DESTINATION: Ipv6Addr = Ipv6Addr::new(0xfd54, 0x4c, 0, 0, 0, 0, 0, 1);

    fn packet() -> Vec<u8> {
        let mut bytes = vec![0; 66];
        let header = Header {
            source: SOURCE.into(),
            destination: DESTINATION.into(),
            protocol: protocol::TCP,
            traffic_class: 0xb9,
            flow_label: 0xabcde,
            hop_limit: 64,
            payload_bytes: 20,
        };
        header.emit(&mut bytes);
        bytes
    }

    #[test]
    fn emitted_header_parses_and_padding_is_left_out() {
        let bytes = packet();
        assert_eq!(bytes[..8], [0x6b, 0x9a, 0xbc, 0xde, 0, 20, 6, 64]);
        let parsed = parse(&bytes).expect("valid");
        assert_eq!((parsed.source, parsed.destination), (SOURCE, DESTINATION));
        assert_eq!((parsed.protocol, parsed.range), (protocol::TCP, 40..60));
    }

    #[test]
    fn malformed_headers_and_impossible_senders_are_refused() {
        let reason = |damage: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = packet();
            damage(&mut bytes);
            parse(&bytes).expect_err("dropped")
        };
        let from = |text: &str| {
            let source: Ipv6Addr = text.parse().expect("address");
            reason(&|bytes| bytes[8..24].copy_from_slice(&source.octets()))
        };
        assert_eq!(reason(&|bytes| bytes.truncate(39)), Drop::Ipv6Malformed);
        assert_eq!(reason(&|bytes| bytes.truncate(59)), Drop::Ipv6Malformed);
        assert_eq!(reason(&|bytes| bytes[0] = 0x40), Drop::Ipv6Malformed);
        for source in ["ff02::1", "::1", "::ffff:10.0.0.2"] {
            assert_eq!(from(source), Drop::Ipv6Source, "{source}");
        }
    }
}
