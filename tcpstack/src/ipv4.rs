//! IPv4 (RFC 791, RFC 1122 §3).

use std::net::Ipv4Addr;
use std::ops::Range;

use smoltcp::wire::{IpProtocol, Ipv4Packet};

use crate::checksum::Sum;
use crate::counters::Drop;
use crate::ip::Header;

/// A datagram that was received, or a fragment of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    /// What the payload is.
    pub(crate) protocol: u8,
    /// Type of service: DSCP and ECN.
    pub(crate) traffic_class: u8,
    /// Where the payload is in what was parsed; Ethernet's padding is left out.
    pub(crate) range: Range<usize>,
    /// Whether there were options, which are ignored.
    pub(crate) has_options: bool,
    /// What the payload is a fragment of, if it is one.
    pub(crate) fragment: Option<Part>,
}

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Identification of its datagram.
    pub(crate) id: u16,
    /// Octets of the payload before it.
    pub(crate) offset: u16,
    /// It is not the last.
    pub(crate) more: bool,
}

/// Looks at a received datagram. `bytes` may be longer: short frames are padded.
pub(crate) fn parse(bytes: &[u8], checksum_verified: bool) -> Result<Datagram, Drop> {
    let packet = Ipv4Packet::new_checked(bytes).map_err(|_| Drop::Ipv4Malformed)?;
    let header_bytes = usize::from(packet.header_len());
    if packet.version() != 4 {
        return Err(Drop::Ipv4Malformed);
    }
    if !checksum_verified && !Sum::default().add(&bytes[..header_bytes]).is_valid() {
        return Err(Drop::Ipv4Checksum);
    }
    check_options(&bytes[MIN_HEADER_BYTES..header_bytes])?;
    let source = packet.src_addr();
    // RFC 1122 §3.2.1.3: addresses that cannot be a sender's.
    let is_this_network = source.octets()[0] == 0;
    if source.is_multicast() || source.is_loopback() || source.is_broadcast() || is_this_network {
        return Err(Drop::Ipv4Source);
    }
    Ok(Datagram {
        source,
        destination: packet.dst_addr(),
        protocol: packet.next_header().into(),
        traffic_class: packet.dscp() << 2 | packet.ecn(),
        range: header_bytes..usize::from(packet.total_len()),
        has_options: header_bytes > MIN_HEADER_BYTES,
        fragment: (packet.more_frags() || packet.frag_offset() != 0).then(|| Part {
            id: packet.ident(),
            offset: packet.frag_offset(),
            more: packet.more_frags(),
        }),
    })
}

/// RFC 1122 §3.2.1.8: unknown options are passed over. Source routes are refused, as everybody
/// does: their answers would go where the sender wants.
fn check_options(mut options: &[u8]) -> Result<(), Drop> {
    loop {
        options = match *options {
            [] | [OPTION_END, ..] => return Ok(()),
            [OPTION_NOP, ref rest @ ..] => rest,
            [OPTION_LSRR | OPTION_SSRR, ..] => return Err(Drop::Ipv4SourceRoute),
            [_, len, ..] if len >= 2 => {
                options.get(usize::from(len)..).ok_or(Drop::Ipv4Malformed)?
            }
            _ => return Err(Drop::Ipv4Malformed),
        };
    }
}

/// Writes the header of a datagram, without options.
pub(crate) fn emit(bytes: &mut [u8], header: &Header, source: Ipv4Addr, destination: Ipv4Addr) {
    let mut packet = Ipv4Packet::new_unchecked(&mut *bytes);
    packet.set_version(4);
    packet.set_header_len(MIN_HEADER_BYTES as u8);
    packet.set_dscp(header.traffic_class >> 2);
    packet.set_ecn(header.traffic_class & 3);
    packet.set_total_len((MIN_HEADER_BYTES + header.payload_bytes) as u16);
    // RFC 6864 §4.1: a datagram that is never fragmented needs no identification.
    let part = header.part.unwrap_or(Part { id: 0, offset: 0, more: false });
    packet.set_ident(part.id);
    packet.clear_flags();
    packet.set_dont_frag(header.part.is_none());
    packet.set_more_frags(part.more);
    packet.set_frag_offset(part.offset);
    packet.set_hop_limit(header.hop_limit);
    packet.set_next_header(IpProtocol::from(header.protocol));
    packet.set_src_addr(source);
    packet.set_dst_addr(destination);
    packet.set_checksum(0);
    let [high, low] = Sum::default().add(&bytes[..MIN_HEADER_BYTES]).checksum();
    [bytes[CHECKSUM], bytes[CHECKSUM + 1]] = [high, low];
}

/// Bytes of a header without options.
pub(crate) const MIN_HEADER_BYTES: usize = 20;
const CHECKSUM: usize = 10;
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_LSRR: u8 = 131;
const OPTION_SSRR: u8 = 137;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ip::protocol;

    const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const DESTINATION: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn datagram(options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 60];
        let header = Header {
            source: SOURCE.into(),
            destination: DESTINATION.into(),
            protocol: protocol::TCP,
            traffic_class: 0xb9,
            flow_label: 0,
            hop_limit: 64,
            payload_bytes: 20,
            part: None,
        };
        header.emit(&mut bytes);
        bytes.splice(20..20, options.iter().copied());
        bytes[0] = 0x45 + (options.len() / 4) as u8;
        bytes[3] += options.len() as u8;
        seal(&mut bytes);
        bytes
    }

    fn seal(bytes: &mut [u8]) {
        let header_bytes = usize::from(bytes[0] & 15) * 4;
        bytes[10..12].fill(0);
        let checksum = Sum::default().add(&bytes[..header_bytes]).checksum();
        bytes[10..12].copy_from_slice(&checksum);
    }

    #[test]
    fn emitted_header_parses_and_padding_is_left_out() {
        let parsed = parse(&datagram(&[]), false).expect("valid");
        assert_eq!((parsed.source, parsed.destination), (SOURCE, DESTINATION));
        assert_eq!((parsed.protocol, parsed.range), (protocol::TCP, 20..40));
        assert_eq!(datagram(&[])[1], 0xb9, "traffic class");
    }

    #[test]
    fn malformed_headers_have_their_own_reasons() {
        type Damage = fn(&mut Vec<u8>);
        let cases: [(Damage, Drop); 6] = [
            (|bytes| bytes.truncate(19), Drop::Ipv4Malformed),
            (|bytes| bytes.truncate(39), Drop::Ipv4Malformed),
            (|bytes| bytes[0] = 0x44, Drop::Ipv4Malformed),
            (|bytes| bytes[0] = 0x65, Drop::Ipv4Malformed),
            (|bytes| bytes[3] = 19, Drop::Ipv4Malformed),
            (|bytes| bytes[12] = 224, Drop::Ipv4Source),
        ];
        for (at, (damage, reason)) in cases.into_iter().enumerate() {
            let mut bytes = datagram(&[]);
            damage(&mut bytes);
            if bytes.len() > 20 && bytes[0] == 0x45 {
                seal(&mut bytes);
            }
            assert_eq!(parse(&bytes, false), Err(reason), "case {at}");
        }
        let mut bytes = datagram(&[]);
        bytes[8] ^= 1;
        assert_eq!(parse(&bytes, false), Err(Drop::Ipv4Checksum));
        assert!(parse(&bytes, true).is_ok(), "the port has verified it");
    }

    #[test]
    fn fragments_say_where_they_belong() {
        let mut bytes = datagram(&[]);
        assert_eq!(parse(&bytes, false).expect("valid").fragment, None);
        for (flags, offset, more) in
            [([0x20, 0], 0, true), ([0x20, 3], 24, true), ([0, 3], 24, false)]
        {
            bytes[4..6].copy_from_slice(&[0x12, 0x34]);
            bytes[6..8].copy_from_slice(&flags);
            seal(&mut bytes);
            let part = Part { id: 0x1234, offset, more };
            assert_eq!(parse(&bytes, false).expect("valid").fragment, Some(part));
        }
    }

    #[test]
    fn options_are_passed_over_unless_they_route() {
        let record_route = [7, 7, 4, 0, 0, 0, 0, 0];
        let parsed = parse(&datagram(&record_route), false).expect("valid");
        assert!(parsed.has_options && parsed.range == (28..48));
        let reason = |options: &[u8]| parse(&datagram(options), false).expect_err("dropped");
        assert_eq!(reason(&[1, 131, 3, 4]), Drop::Ipv4SourceRoute);
        assert_eq!(reason(&[137, 3, 4, 0]), Drop::Ipv4SourceRoute);
        assert_eq!(reason(&[7, 9, 4, 0]), Drop::Ipv4Malformed);
        assert_eq!(reason(&[7, 1, 4, 0]), Drop::Ipv4Malformed);
        assert_eq!(reason(&[1, 1, 1, 7]), Drop::Ipv4Malformed);
    }
}
