//! What IPv4 and IPv6 have in common: addresses as tables keep them, and the header of a packet to
//! send.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ethernet::Payload;
use crate::{ipv4, ipv6};

/// An address and the length of its network prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpCidr {
    /// The address itself.
    pub addr: IpAddr,
    /// Length of the network prefix, 0 to 32 bits, or 128 for IPv6.
    pub prefix: u8,
}

impl IpCidr {
    /// An address with the length of its prefix.
    #[must_use]
    pub fn new(addr: impl Into<IpAddr>, prefix: u8) -> Self {
        Self { addr: addr.into(), prefix }
    }

    /// Whether `other` is on this network.
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.addr, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()) & self.mask_ipv4() == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let host_bits = 128 - u32::from(self.prefix.min(128));
                (own.to_bits() ^ other.to_bits()).checked_shr(host_bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// The directed broadcast address. IPv6 has none, and neither do prefixes of 31 and 32 bits
    /// (RFC 3021).
    #[must_use]
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.addr {
            IpAddr::V4(own) if self.prefix < 31 => {
                Some(Ipv4Addr::from_bits(own.to_bits() | !self.mask_ipv4()))
            }
            _ => None,
        }
    }

    fn mask_ipv4(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0)
    }
}

/// An address as tables keep it: IPv4 as `::ffff:a.b.c.d`. IPv6 packets with such an address are
/// dropped, so that the two never meet.
pub(crate) fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The address that tables keep as `octets`.
pub(crate) fn address(octets: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(octets).to_canonical()
}

/// The header of a packet to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) source: IpAddr,
    /// Of the same family.
    pub(crate) destination: IpAddr,
    /// One of [`protocol`].
    pub(crate) protocol: u8,
    /// DSCP and ECN: IPv4 calls it type of service.
    pub(crate) traffic_class: u8,
    /// RFC 6437; IPv4 has none.
    pub(crate) flow_label: u32,
    /// What IPv4 calls time to live.
    pub(crate) hop_limit: u8,
    pub(crate) payload_bytes: usize,
    /// The payload is a fragment. In IPv4; in IPv6 the fragment header is in the payload.
    pub(crate) part: Option<ipv4::Part>,
}

impl Header {
    /// Bytes of the header.
    pub(crate) fn bytes(&self) -> usize {
        header_bytes(self.destination.is_ipv6())
    }

    /// What the frame carries.
    pub(crate) fn ethernet_payload(&self) -> Payload {
        if self.destination.is_ipv6() { Payload::Ipv6 } else { Payload::Ipv4 }
    }

    /// Writes the header.
    pub(crate) fn emit(&self, bytes: &mut [u8]) {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                ipv4::emit(bytes, self, source, destination);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                ipv6::emit(bytes, self, source, destination);
            }
            _ => unreachable!("both ends of a flow are of one family"),
        }
    }
}

/// Bytes of a header without options or extension headers.
pub(crate) const fn header_bytes(is_ipv6: bool) -> usize {
    if is_ipv6 { ipv6::HEADER_BYTES } else { ipv4::MIN_HEADER_BYTES }
}

/// Numbers of what a packet carries, and of what an IPv6 header is followed by.
pub(crate) mod protocol {
    pub(crate) const ICMP: u8 = 1;
    pub(crate) const TCP: u8 = 6;
    pub(crate) const FRAGMENT: u8 = 44;
    pub(crate) const UDP: u8 = 17;
    pub(crate) const ICMPV6: u8 = 58;
}

/// RFC 1122 §3.2.1.7 and RFC 8200 §3: the assigned number.
pub(crate) const HOP_LIMIT: u8 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn cidr_knows_its_network_and_broadcast() {
        let cidr = IpCidr::new(Ipv4Addr::new(10, 77, 0, 1), 24);
        assert!(cidr.contains(ip("10.77.0.200")));
        assert!(!cidr.contains(ip("10.77.1.1")) && !cidr.contains(ip("::ffff:10.77.0.200")));
        assert_eq!(cidr.broadcast(), Some(Ipv4Addr::new(10, 77, 0, 255)));
        assert!(IpCidr::new(ip("10.0.0.1"), 0).contains(ip("192.168.1.1")));
        let one = IpCidr::new(ip("10.0.0.1"), 32);
        assert!(one.contains(ip("10.0.0.1")) && !one.contains(ip("10.0.0.2")));
        assert_eq!(one.broadcast(), None);
    }

    #[test]
    fn ipv6_prefixes_of_every_length_end_where_they_say() {
        let own = Ipv6Addr::from_bits(0xfd54_004c << 96 | 1);
        for prefix in 0..=128 {
            let cidr = IpCidr::new(own, prefix);
            assert!(cidr.contains(own.into()));
            let flipped = |bit: u32| IpAddr::from(Ipv6Addr::from_bits(own.to_bits() ^ 1 << bit));
            if prefix > 0 {
                assert!(!cidr.contains(flipped(128 - u32::from(prefix))), "{prefix}: last of it");
            }
            if prefix < 128 {
                assert!(cidr.contains(flipped(127 - u32::from(prefix))), "{prefix}: first after");
            }
            assert_eq!(cidr.broadcast(), None);
        }
    }

    #[test]
    fn addresses_survive_their_octets() {
        for text in ["10.0.0.1", "255.255.255.255", "fe80::1", "::1", "::", "64:ff9b::a00:1"] {
            assert_eq!(address(octets(ip(text))), ip(text));
        }
    }
}
