//! IPv6 (RFC 8200): the header, and the extension headers behind it.

use std::net::Ipv6Addr;
use std::ops::Range;

use smoltcp::wire::{IpProtocol, Ipv6Packet};

use crate::counters::Drop;
use crate::ip::{self, protocol};

/// The header of a received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    /// DSCP and ECN.
    pub(crate) traffic_class: u8,
    pub(crate) hop_limit: u8,
    next_header: u8,
    /// Bytes of the packet; Ethernet's padding is left out.
    pub(crate) packet_bytes: usize,
}

/// What is behind all extension headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) protocol: u8,
    /// Where it is in the packet.
    pub(crate) range: Range<usize>,
    /// Where `protocol` is in the packet.
    pub(crate) protocol_at: u16,
    /// The packet is a part of a larger one, and the payload is what of it is here.
    pub(crate) part: Option<Part>,
    /// There was a fragment header. Without a `part` it was around a whole packet (RFC 6946).
    pub(crate) was_fragment: bool,
}

/// Which part of a packet a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) id: u32,
    /// Bytes before it.
    pub(crate) offset: u16,
    /// Others follow.
    pub(crate) more: bool,
}

/// A packet that is not taken, and what the sender may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Drop,
    pub(crate) problem: Option<Problem>,
}

/// RFC 4443 §3.4: what the sender of a packet can be told about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) code: u8,
    /// Where in the packet.
    pub(crate) pointer: u16,
    /// It is told even if the packet went to a group.
    pub(crate) for_groups: bool,
}

impl Problem {
    /// RFC 8200 §4.5, RFC 7112 §5: the first fragment has not all headers.
    pub(crate) const INCOMPLETE_CHAIN: Self = Self { code: 3, pointer: 0, for_groups: false };
}

impl From<Drop> for Refusal {
    fn from(reason: Drop) -> Self {
        Self { reason, problem: None }
    }
}

/// Looks at the header of a received packet. `bytes` may be longer: short frames are padded.
pub(crate) fn parse(bytes: &[u8]) -> Result<Header, Drop> {
    let packet = Ipv6Packet::new_checked(bytes).map_err(|_| Drop::Ipv6Malformed)?;
    if packet.version() != 6 {
        return Err(Drop::Ipv6Malformed);
    }
    let source = packet.src_addr();
    if !is_possible_sender(source) {
        return Err(Drop::Ipv6Source);
    }
    Ok(Header {
        source,
        destination: packet.dst_addr(),
        traffic_class: packet.traffic_class(),
        hop_limit: packet.hop_limit(),
        next_header: packet.next_header().into(),
        packet_bytes: packet.total_len(),
    })
}

/// RFC 4291 §2.7 and §2.5.3: groups and loopback never send over a link. An IPv4 address in IPv6's
/// clothes would be taken for an IPv4 peer.
fn is_possible_sender(source: Ipv6Addr) -> bool {
    !(source.is_multicast() || source.is_loopback() || source.to_ipv4_mapped().is_some())
}

/// Passes over the extension headers of a packet whose header was looked at (RFC 8200 §4).
pub(crate) fn walk(bytes: &[u8], header: &Header) -> Result<Payload, Refusal> {
    let bytes = &bytes[..header.packet_bytes];
    let mut walk = Walk {
        bytes,
        at: HEADER_BYTES,
        next: header.next_header,
        next_at: NEXT_HEADER,
        was_fragment: false,
    };
    for _ in 0..=EXTENSION_HEADERS_MAX {
        // RFC 8504 §5.3: a host may bound what it looks at.
        if walk.at > HEADER_BYTES + EXTENSION_BYTES_MAX {
            break;
        }
        match walk.next {
            // RFC 8200 §4: only directly behind the header.
            HOP_BY_HOP if walk.next_at != NEXT_HEADER => return Err(walk.unknown()),
            HOP_BY_HOP | DESTINATION_OPTIONS => walk.options()?,
            ROUTING => walk.routing()?,
            FRAGMENT => {
                if let Some(part) = walk.fragment()? {
                    return Ok(walk.payload(Some(part)));
                }
            }
            NO_NEXT_HEADER => return Err(Drop::Ipv6NoPayload.into()),
            protocol::TCP | protocol::UDP | protocol::ICMPV6 => return Ok(walk.payload(None)),
            _ => return Err(walk.unknown()),
        }
    }
    Err(Drop::Ipv6ExtensionHeaders.into())
}

/// The way through the extension headers.
struct Walk<'a> {
    bytes: &'a [u8],
    /// Where the next header is.
    at: usize,
    /// What it is.
    next: u8,
    /// Where that is said.
    next_at: usize,
    was_fragment: bool,
}

impl<'a> Walk<'a> {
    fn payload(&self, part: Option<Part>) -> Payload {
        Payload {
            protocol: self.next,
            range: self.at..self.bytes.len(),
            protocol_at: self.next_at as u16,
            part,
            was_fragment: self.was_fragment,
        }
    }

    /// RFC 8200 §4: a header of an unknown kind.
    fn unknown(&self) -> Refusal {
        problem(Drop::Ipv6Protocol, PROBLEM_NEXT_HEADER, self.next_at)
    }

    /// The header of `bytes` bytes that is next; the way goes on behind it.
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Refusal> {
        let header = self.bytes.get(self.at..self.at + bytes).ok_or(Drop::Ipv6Malformed)?;
        (self.next, self.next_at) = (header[0], self.at);
        self.at += bytes;
        Ok(header)
    }

    /// A header that says its length itself, in units of eight bytes after the first.
    fn take_sized(&mut self) -> Result<&'a [u8], Refusal> {
        let units = *self.bytes.get(self.at + 1).ok_or(Drop::Ipv6Malformed)?;
        self.take(8 + usize::from(units) * 8)
    }

    /// RFC 8200 §4.2, for both kinds of options.
    fn options(&mut self) -> Result<(), Refusal> {
        let start = self.at;
        let header = self.take_sized()?;
        let mut at = 2;
        let mut count = 0;
        while at < header.len() {
            if header[at] == OPTION_PAD1 {
                at += 1;
                continue;
            }
            let len = *header.get(at + 1).ok_or(Drop::Ipv6Malformed)?;
            let end = at + 2 + usize::from(len);
            if end > header.len() {
                return Err(Drop::Ipv6Malformed.into());
            }
            if !matches!(header[at], OPTION_PADN | OPTION_ROUTER_ALERT) {
                unknown_option(header[at], start + at)?;
            }
            // RFC 8504 §5.3: as with headers.
            count += 1;
            if count > OPTIONS_MAX {
                return Err(Drop::Ipv6ExtensionHeaders.into());
            }
            at = end;
        }
        Ok(())
    }

    /// RFC 8200 §4.4. We route for nobody, and type 0 is like all others (RFC 5095).
    fn routing(&mut self) -> Result<(), Refusal> {
        let start = self.at;
        let header = self.take_sized()?;
        if header[ROUTING_SEGMENTS_LEFT] == 0 {
            return Ok(());
        }
        Err(problem(Drop::Ipv6Routing, PROBLEM_FIELD, start + ROUTING_TYPE))
    }

    /// RFC 8200 §4.5. `None`: the fragment header is around a whole packet, and is passed over.
    fn fragment(&mut self) -> Result<Option<Part>, Refusal> {
        let start = self.at;
        let header = self.take(FRAGMENT_HEADER_BYTES)?;
        let [_, _, high, low, a, b, c, d] = *header else {
            return Err(Drop::Ipv6Malformed.into());
        };
        let field = u16::from_be_bytes([high, low]);
        let part =
            Part { id: u32::from_be_bytes([a, b, c, d]), offset: field & !7, more: field & 1 != 0 };
        self.was_fragment = true;
        let octets = self.bytes.len() - self.at;
        if part.more && !octets.is_multiple_of(8) {
            return Err(problem(Drop::Ipv6Fragment, PROBLEM_FIELD, PAYLOAD_LENGTH));
        }
        if usize::from(part.offset) + octets > usize::from(u16::MAX) {
            return Err(problem(Drop::Ipv6Fragment, PROBLEM_FIELD, start + 2));
        }
        Ok((part.offset != 0 || part.more).then_some(part))
    }
}

/// RFC 8200 §4.2: the two high bits of an option say what to do who does not know it.
fn unknown_option(option: u8, pointer: usize) -> Result<(), Refusal> {
    let for_groups = match option >> 6 {
        0 => return Ok(()),
        1 => return Err(Drop::Ipv6Option.into()),
        2 => true,
        _ => false,
    };
    let pointer = pointer as u16;
    let problem = Some(Problem { code: PROBLEM_OPTION, pointer, for_groups });
    Err(Refusal { reason: Drop::Ipv6Option, problem })
}

fn problem(reason: Drop, code: u8, pointer: usize) -> Refusal {
    let problem = Problem { code, pointer: pointer as u16, for_groups: false };
    Refusal { reason, problem: Some(problem) }
}

/// Writes a fragment header (RFC 8200 §4.5) before a part of `protocol`.
pub(crate) fn emit_fragment(bytes: &mut [u8], protocol: u8, part: Part) {
    let place = part.offset | u16::from(part.more);
    bytes[..2].copy_from_slice(&[protocol, 0]);
    bytes[2..4].copy_from_slice(&place.to_be_bytes());
    bytes[4..FRAGMENT_HEADER_BYTES].copy_from_slice(&part.id.to_be_bytes());
}

/// Writes the header of a packet, without extension headers.
pub(crate) fn emit(bytes: &mut [u8], header: &ip::Header, source: Ipv6Addr, destination: Ipv6Addr) {
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

/// Bytes of a fragment header.
pub(crate) const FRAGMENT_HEADER_BYTES: usize = 8;
/// Bytes of the header.
pub(crate) const HEADER_BYTES: usize = 40;
/// RFC 8200 §5: every link takes packets of this size.
pub(crate) const MTU_MIN: u16 = 1_280;
/// Extension headers of a packet, and their bytes.
const EXTENSION_HEADERS_MAX: usize = 8;
const EXTENSION_BYTES_MAX: usize = 512;
/// Options of a header, padding of more than one byte counted.
const OPTIONS_MAX: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = protocol::FRAGMENT;
const NO_NEXT_HEADER: u8 = 59;
const DESTINATION_OPTIONS: u8 = 60;
const OPTION_PAD1: u8 = 0;
const OPTION_PADN: u8 = 1;
const OPTION_ROUTER_ALERT: u8 = 5;
const ROUTING_TYPE: usize = 2;
const ROUTING_SEGMENTS_LEFT: usize = 3;
const PAYLOAD_LENGTH: usize = 4;
const NEXT_HEADER: usize = 6;
/// Codes of a Parameter Problem, RFC 4443 §3.4.
const PROBLEM_FIELD: u8 = 0;
const PROBLEM_NEXT_HEADER: u8 = 1;
const PROBLEM_OPTION: u8 = 2;

#[cfg(test)]
mod tests;
