//! Datagrams with what we do not speak: their senders are told (RFC 1122 §3.2.2.1 and §4.1.3.1, RFC
//! 4443 §3.1).

use std::net::IpAddr;

use crate::checksum::Sum;
use crate::counters::Drop;
use crate::icmp_answer::IcmpError;
use crate::ip::protocol;
use crate::segment::Segment;
use crate::stack::Stack;

impl Stack {
    /// UDP for one of our addresses. Nobody listens: `ends` are source and destination, `packet` is
    /// what is told about.
    pub(super) fn udp_arrives(
        &mut self,
        now_ns: u64,
        ends: (IpAddr, IpAddr),
        local: u16,
        packet: &[u8],
        payload: &[u8],
    ) -> Result<Option<Segment>, Drop> {
        if !is_valid_udp(payload, ends) {
            return Err(Drop::UdpMalformed);
        }
        let (remote, _) = ends;
        let error = if remote.is_ipv6() { IcmpError::IPV6_PORT } else { IcmpError::IPV4_PORT };
        if may_be_told(remote) {
            self.tell_error(now_ns, remote, local, error, packet);
        }
        Err(Drop::UdpPort)
    }

    /// IPv4 for one of our addresses, with a protocol that we do not speak.
    pub(super) fn unknown_protocol_arrives(
        &mut self,
        now_ns: u64,
        remote: IpAddr,
        local: u16,
        packet: &[u8],
    ) -> Result<Option<Segment>, Drop> {
        if may_be_told(remote) {
            self.tell_error(now_ns, remote, local, IcmpError::IPV4_PROTOCOL, packet);
        }
        Err(Drop::Ipv4Protocol)
    }
}

/// RFC 768: the length, and the checksum, which only IPv4 can do without (RFC 8200 §8.1).
fn is_valid_udp(payload: &[u8], (source, destination): (IpAddr, IpAddr)) -> bool {
    let Some([_, _, _, _, high, low, checksum @ ..]) = payload.first_chunk::<UDP_HEADER_BYTES>()
    else {
        return false;
    };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    let Some(datagram) = payload.get(..len).filter(|_| len >= UDP_HEADER_BYTES) else {
        return false;
    };
    if *checksum == [0, 0] {
        return source.is_ipv4();
    }
    let pseudo = Sum::default().add_pseudo_header(source, destination, protocol::UDP, len as u16);
    pseudo.add(datagram).is_valid()
}

/// RFC 1122 §3.2.2: errors go to single hosts only.
fn may_be_told(remote: IpAddr) -> bool {
    match remote {
        // Network 0 and class E; the rest is refused earlier.
        IpAddr::V4(remote) => (1..240).contains(&remote.octets()[0]),
        IpAddr::V6(_) => true,
    }
}

const UDP_HEADER_BYTES: usize = 8;
