//! Ethernet II framing.

use std::net::Ipv6Addr;

use smoltcp::wire::{EthernetAddress, EthernetFrame, EthernetProtocol};

use crate::counters::Drop;

/// A MAC address.
pub(crate) type Mac = [u8; 6];

/// What a frame for us carries; the payload begins at [`HEADER_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    Arp,
    Ipv4,
    Ipv6,
}

/// Looks at the header of a received frame. Taken is what goes to everybody or to an address that
/// `is_ours`: the port's own, or that of a group of IPv6.
pub(crate) fn parse(bytes: &[u8], is_ours: impl Fn(Mac) -> bool) -> Result<Payload, Drop> {
    let frame = EthernetFrame::new_checked(bytes).map_err(|_| Drop::EthernetShort)?;
    let destination = frame.dst_addr();
    if !destination.is_broadcast() && !is_ours(destination.0) {
        return Err(Drop::EthernetDestination);
    }
    let is_group = destination.is_multicast();
    match frame.ethertype() {
        // The groups are IPv6's alone.
        EthernetProtocol::Arp if is_group && !destination.is_broadcast() => {
            Err(Drop::EthernetDestination)
        }
        EthernetProtocol::Arp => Ok(Payload::Arp),
        // RFC 1122 §3.3.6: a datagram for one host is not sent to all stations.
        EthernetProtocol::Ipv4 if is_group => Err(Drop::EthernetDestination),
        EthernetProtocol::Ipv4 => Ok(Payload::Ipv4),
        EthernetProtocol::Ipv6 if destination.is_broadcast() => Err(Drop::EthernetDestination),
        EthernetProtocol::Ipv6 => Ok(Payload::Ipv6),
        _ => Err(Drop::EthernetType),
    }
}

/// Who sent a frame whose header was looked at.
pub(crate) fn source(bytes: &[u8]) -> Mac {
    EthernetFrame::new_unchecked(bytes).src_addr().0
}

/// Whether a frame whose header was looked at went to many.
pub(crate) fn is_group(bytes: &[u8]) -> bool {
    EthernetFrame::new_unchecked(bytes).dst_addr().is_multicast()
}

/// RFC 2464 §7: where packets for a group of IPv6 go.
pub(crate) fn group(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

/// Writes the header of a frame to send.
pub(crate) fn emit(bytes: &mut [u8], source: Mac, destination: Mac, payload: Payload) {
    let mut frame = EthernetFrame::new_unchecked(bytes);
    frame.set_src_addr(EthernetAddress(source));
    frame.set_dst_addr(EthernetAddress(destination));
    frame.set_ethertype(match payload {
        Payload::Arp => EthernetProtocol::Arp,
        Payload::Ipv4 => EthernetProtocol::Ipv4,
        Payload::Ipv6 => EthernetProtocol::Ipv6,
    });
}

/// Whether an address can be one station's.
pub(crate) fn is_unicast(mac: Mac) -> bool {
    EthernetAddress(mac).is_unicast() && mac != [0; 6]
}

/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 14;
/// All stations.
pub(crate) const BROADCAST: Mac = [0xff; 6];

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: Mac = [0x33, 0x33, 0, 0, 0, 1];

    #[test]
    fn only_frames_for_us_are_taken() {
        let own = [2, 0, 0, 0, 0, 1];
        let frame = |destination, kind: [u8; 2]| {
            let mut bytes = [0; 60];
            emit(&mut bytes, [2, 0, 0, 0, 0, 2], destination, Payload::Arp);
            bytes[12..14].copy_from_slice(&kind);
            parse(&bytes, |mac| mac == own || mac == GROUP)
        };
        assert_eq!(frame(own, [0x08, 0x06]), Ok(Payload::Arp));
        assert_eq!(frame(own, [0x08, 0x00]), Ok(Payload::Ipv4));
        assert_eq!(frame(BROADCAST, [0x08, 0x06]), Ok(Payload::Arp));
        assert_eq!(frame(BROADCAST, [0x08, 0x00]), Err(Drop::EthernetDestination));
        assert_eq!(frame(own, [0x86, 0xdd]), Ok(Payload::Ipv6));
        assert_eq!(frame(BROADCAST, [0x86, 0xdd]), Err(Drop::EthernetDestination));
        assert_eq!(frame(own, [0x88, 0xcc]), Err(Drop::EthernetType));
        assert_eq!(frame([2, 0, 0, 0, 0, 9], [0x08, 0x06]), Err(Drop::EthernetDestination));
        assert_eq!(frame([1, 0, 0x5e, 0, 0, 1], [0x08, 0x00]), Err(Drop::EthernetDestination));
        assert_eq!(frame(GROUP, [0x86, 0xdd]), Ok(Payload::Ipv6));
        assert_eq!(frame(GROUP, [0x08, 0x00]), Err(Drop::EthernetDestination));
        assert_eq!(frame(GROUP, [0x08, 0x06]), Err(Drop::EthernetDestination));
        assert_eq!(frame([0x33, 0x33, 0, 0, 0, 2], [0x86, 0xdd]), Err(Drop::EthernetDestination));
        assert_eq!(parse(&[0; 13], |_| true), Err(Drop::EthernetShort));
    }
}
