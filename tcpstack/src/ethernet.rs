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
/// `is_ours`: the port's own, or that of a group of IPv6. Returns also where the payload begins.
pub(crate) fn parse(
    bytes: &[u8],
    vlan: Option<u16>,
    is_ours: impl Fn(Mac) -> bool,
) -> Result<(Payload, usize), Drop> {
    let frame = EthernetFrame::new_checked(bytes).map_err(|_| Drop::EthernetShort)?;
    let destination = frame.dst_addr();
    if !destination.is_broadcast() && !is_ours(destination.0) {
        return Err(Drop::EthernetDestination);
    }
    let is_group = destination.is_multicast();
    let (ethertype, start) = untag(bytes, frame.ethertype(), vlan)?;
    let payload = match ethertype {
        // The groups are IPv6's alone.
        EthernetProtocol::Arp if is_group && !destination.is_broadcast() => {
            return Err(Drop::EthernetDestination);
        }
        EthernetProtocol::Arp => Payload::Arp,
        // RFC 1122 §3.3.6: a datagram for one host is not sent to all stations.
        EthernetProtocol::Ipv4 if is_group => return Err(Drop::EthernetDestination),
        EthernetProtocol::Ipv4 => Payload::Ipv4,
        EthernetProtocol::Ipv6 if destination.is_broadcast() => {
            return Err(Drop::EthernetDestination);
        }
        EthernetProtocol::Ipv6 => Payload::Ipv6,
        _ => return Err(Drop::EthernetType),
    };
    Ok((payload, start))
}

/// IEEE 802.1Q: what is behind a tag, and where it begins. The tag must be our network's, if we are
/// on one, or carry a priority only (network 0).
fn untag(
    bytes: &[u8],
    ethertype: EthernetProtocol,
    vlan: Option<u16>,
) -> Result<(EthernetProtocol, usize), Drop> {
    if ethertype != EthernetProtocol::Unknown(TAG) {
        let is_ours = vlan.is_none();
        return if is_ours { Ok((ethertype, HEADER_BYTES)) } else { Err(Drop::EthernetVlan) };
    }
    let tag: [u8; TAG_BYTES] =
        *bytes.get(HEADER_BYTES..).and_then(<[u8]>::first_chunk).ok_or(Drop::EthernetShort)?;
    let network = u16::from_be_bytes([tag[0], tag[1]]) & VLAN_MAX;
    if network != 0 && Some(network) != vlan {
        return Err(Drop::EthernetVlan);
    }
    let ethertype = EthernetProtocol::from(u16::from_be_bytes([tag[2], tag[3]]));
    Ok((ethertype, HEADER_BYTES + TAG_BYTES))
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

/// Which station sends, and on which network of IEEE 802.1Q, if on one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Station {
    pub(crate) mac: Mac,
    pub(crate) vlan: Option<u16>,
}

impl Station {
    /// Bytes of the header of a frame to send.
    pub(crate) fn header_bytes(self) -> usize {
        HEADER_BYTES + if self.vlan.is_some() { TAG_BYTES } else { 0 }
    }
}

/// Writes the header of a frame to send, and gives what follows it.
pub(crate) fn emit(
    bytes: &mut [u8],
    source: Station,
    destination: Mac,
    payload: Payload,
) -> &mut [u8] {
    let mut frame = EthernetFrame::new_unchecked(&mut *bytes);
    frame.set_dst_addr(EthernetAddress(destination));
    frame.set_src_addr(EthernetAddress(source.mac));
    let ethertype = match payload {
        Payload::Arp => EthernetProtocol::Arp,
        Payload::Ipv4 => EthernetProtocol::Ipv4,
        Payload::Ipv6 => EthernetProtocol::Ipv6,
    };
    let Some(vlan) = source.vlan else {
        frame.set_ethertype(ethertype);
        return &mut bytes[HEADER_BYTES..];
    };
    frame.set_ethertype(EthernetProtocol::Unknown(TAG));
    let (tag, rest) = bytes[HEADER_BYTES..].split_at_mut(TAG_BYTES);
    tag[..2].copy_from_slice(&vlan.to_be_bytes());
    tag[2..].copy_from_slice(&u16::from(ethertype).to_be_bytes());
    rest
}

/// Changes where a frame goes.
pub(crate) fn readdress(bytes: &mut [u8], destination: Mac) {
    EthernetFrame::new_unchecked(bytes).set_dst_addr(EthernetAddress(destination));
}

/// Whether an address can be one station's.
pub(crate) fn is_unicast(mac: Mac) -> bool {
    EthernetAddress(mac).is_unicast() && mac != [0; 6]
}

/// Bytes of the header, without a tag.
pub(crate) const HEADER_BYTES: usize = 14;
/// Bytes of a tag of IEEE 802.1Q, its type counted.
pub(crate) const TAG_BYTES: usize = 4;
/// The largest number of a network; 4,095 is reserved, and 0 is none.
pub(crate) const VLAN_MAX: u16 = 0x0fff;
const TAG: u16 = 0x8100;
/// All stations.
pub(crate) const BROADCAST: Mac = [0xff; 6];

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: Mac = [0x33, 0x33, 0, 0, 0, 1];
    const PEER: Station = Station { mac: [2, 0, 0, 0, 0, 2], vlan: None };

    #[test]
    fn tagged_frames_are_taken_on_our_network_and_with_a_priority_only() {
        let frame = |vlan| {
            let mut bytes = [0; 60];
            let rest = emit(&mut bytes, Station { vlan, ..PEER }, BROADCAST, Payload::Arp);
            rest[0] = 0xa5;
            bytes
        };
        let taken = |bytes: &[u8], vlan| parse(bytes, vlan, |_| true);
        assert_eq!(taken(&frame(Some(7)), Some(7)), Ok((Payload::Arp, 18)));
        assert_eq!(frame(Some(7))[18], 0xa5);
        assert_eq!(taken(&frame(Some(0)), Some(7)), Ok((Payload::Arp, 18)));
        assert_eq!(taken(&frame(Some(0xe000)), None), Ok((Payload::Arp, 18)), "a priority");
        assert_eq!(taken(&frame(None), None), Ok((Payload::Arp, 14)));
        for (on, ours) in [(Some(8), Some(7)), (None, Some(7)), (Some(7), None)] {
            assert_eq!(taken(&frame(on), ours), Err(Drop::EthernetVlan), "{on:?} {ours:?}");
        }
        assert_eq!(taken(&frame(Some(7))[..17], Some(7)), Err(Drop::EthernetShort));
    }

    #[test]
    fn only_frames_for_us_are_taken() {
        let own = [2, 0, 0, 0, 0, 1];
        let frame = |destination, kind: [u8; 2]| {
            let mut bytes = [0; 60];
            emit(&mut bytes, PEER, destination, Payload::Arp);
            bytes[12..14].copy_from_slice(&kind);
            parse(&bytes, None, |mac| mac == own || mac == GROUP).map(|(payload, _)| payload)
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
        assert_eq!(parse(&[0; 13], None, |_| true), Err(Drop::EthernetShort));
    }
}
