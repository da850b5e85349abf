//! ICMPv6 on the wire (RFC 4443); what it carries for neighbours is in [`ndp`](crate::ndp).

use std::net::Ipv6Addr;

use crate::checksum::Sum;
use crate::counters::Drop;
use crate::ip::protocol;

/// What a received message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// To be sent back.
    EchoRequest,
    /// About a packet of ours.
    Error,
    /// RFC 4861 §4.3.
    NeighborSolicitation,
    /// RFC 4861 §4.4.
    NeighborAdvertisement,
    /// Solicitations and advertisements of routers, and redirects.
    Router,
}

/// Looks at a received message.
pub(crate) fn parse(
    bytes: &[u8],
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> Result<Message, Drop> {
    if bytes.len() < HEADER_BYTES {
        return Err(Drop::IcmpMalformed);
    }
    if !sum(bytes, source, destination).is_valid() {
        return Err(Drop::IcmpChecksum);
    }
    match bytes[0] {
        kind::ECHO_REQUEST => Ok(Message::EchoRequest),
        kind::NEIGHBOR_SOLICITATION => Ok(Message::NeighborSolicitation),
        kind::NEIGHBOR_ADVERTISEMENT => Ok(Message::NeighborAdvertisement),
        kind::ROUTER_SOLICITATION | kind::ROUTER_ADVERTISEMENT | kind::REDIRECT => {
            Ok(Message::Router)
        }
        // RFC 4443 §2.1: errors have types below 128.
        1..=4 => Ok(Message::Error),
        _ => Err(Drop::IcmpType),
    }
}

/// Turns a copied echo request into its reply.
pub(crate) fn reply(bytes: &mut [u8], source: Ipv6Addr, destination: Ipv6Addr) {
    (bytes[0], bytes[1]) = (kind::ECHO_REPLY, 0);
    seal(bytes, source, destination);
}

/// Fills in the checksum of a message to send.
pub(crate) fn seal(bytes: &mut [u8], source: Ipv6Addr, destination: Ipv6Addr) {
    bytes[CHECKSUM..CHECKSUM + 2].fill(0);
    let checksum = sum(bytes, source, destination).checksum();
    bytes[CHECKSUM..CHECKSUM + 2].copy_from_slice(&checksum);
}

fn sum(bytes: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> Sum {
    let len = bytes.len() as u16;
    Sum::default()
        .add_pseudo_header(source.into(), destination.into(), protocol::ICMPV6, len)
        .add(bytes)
}

/// Types of messages.
pub(crate) mod kind {
    pub(crate) const ECHO_REQUEST: u8 = 128;
    pub(crate) const ECHO_REPLY: u8 = 129;
    pub(crate) const ROUTER_SOLICITATION: u8 = 133;
    pub(crate) const ROUTER_ADVERTISEMENT: u8 = 134;
    pub(crate) const NEIGHBOR_SOLICITATION: u8 = 135;
    pub(crate) const NEIGHBOR_ADVERTISEMENT: u8 = 136;
    pub(crate) const REDIRECT: u8 = 137;
}

/// Bytes before what a message is about.
pub(crate) const HEADER_BYTES: usize = 8;
const CHECKSUM: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Ipv6Addr = Ipv6Addr::new(0xfd54, 0x4c, 0, 0, 0, 0, 0, 1);
    const PEER: Ipv6Addr = Ipv6Addr::new(0xfd54, 0x4c, 0, 0, 0, 0, 0, 2);

    fn message(kind: u8, bytes: usize) -> Vec<u8> {
        let mut message = vec![0xa5; bytes];
        message[0] = kind;
        seal(&mut message, PEER, OWN);
        message
    }

    #[test]
    fn messages_are_told_apart() {
        let cases = [
            (128, Ok(Message::EchoRequest)),
            (1, Ok(Message::Error)),
            (4, Ok(Message::Error)),
            (133, Ok(Message::Router)),
            (135, Ok(Message::NeighborSolicitation)),
            (136, Ok(Message::NeighborAdvertisement)),
            (137, Ok(Message::Router)),
            (129, Err(Drop::IcmpType)),
            (143, Err(Drop::IcmpType)),
            (5, Err(Drop::IcmpType)),
        ];
        for (kind, verdict) in cases {
            assert_eq!(parse(&message(kind, 40), PEER, OWN), verdict, "{kind}");
        }
        assert_eq!(parse(&message(128, 8)[..7], PEER, OWN), Err(Drop::IcmpMalformed));
    }

    #[test]
    fn every_flipped_bit_and_another_address_are_found() {
        let good = message(128, 41);
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&bytes, PEER, OWN), Err(Drop::IcmpChecksum), "bit {bit}");
        }
        assert_eq!(parse(&good, PEER, PEER), Err(Drop::IcmpChecksum));
    }

    #[test]
    fn reply_has_what_was_asked() {
        let request = message(128, 41);
        let mut bytes = request.clone();
        reply(&mut bytes, OWN, PEER);
        assert_eq!((bytes[0], bytes[1]), (129, 0));
        assert_eq!(bytes[4..], request[4..]);
        assert!(sum(&bytes, OWN, PEER).is_valid());
    }
}
