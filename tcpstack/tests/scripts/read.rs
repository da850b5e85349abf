//! Our frames, read with smoltcp's wire formats. Whatever is wrong with one is a fault.

use std::net::{IpAddr, SocketAddr};

use smoltcp::wire::{
    EthernetAddress, EthernetFrame, Icmpv4Packet, Icmpv6Packet, IpAddress, Ipv4Packet, Ipv6Packet,
    TcpPacket,
};

use crate::build::echo_octets;
use crate::script::{
    Body, Envelope, Host, ICMP_ERRORS, Icmp, Link, Num, Opt, Options, Packet, Payload, Segment,
};
use crate::setup::OWN_MAC;
use crate::words::Fault;

/// A frame of ours.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) packet: Packet,
    /// Peer's and own end of a segment.
    pub(crate) ends: Option<(SocketAddr, SocketAddr)>,
}

pub(crate) fn frame(bytes: &[u8]) -> Result<Heard, Fault> {
    let ethernet = EthernetFrame::new_checked(bytes).map_err(|_| "a frame cut short")?;
    if ethernet.src_addr() != EthernetAddress(OWN_MAC) {
        return Err(format!("a frame from {}, which is not our address", ethernet.src_addr()));
    }
    let mut envelope =
        Envelope { mac_to: Some(Link::Is(ethernet.dst_addr().0)), ..Envelope::default() };
    let (mut kind, mut payload) = (u16::from(ethernet.ethertype()), ethernet.payload());
    if let (0x8100, [a, b, c, d, rest @ ..]) = (kind, payload) {
        envelope.vlan = Some(u16::from_be_bytes([*a, *b]) & 0xfff);
        (kind, payload) = (u16::from_be_bytes([*c, *d]), rest);
    }
    match kind {
        0x0806 => arp(envelope, payload),
        0x0800 => ipv4(envelope, payload),
        0x86dd => ipv6(envelope, payload),
        _ => Err(format!("a frame of type {kind:04x}")),
    }
}

fn arp(envelope: Envelope, bytes: &[u8]) -> Result<Heard, Fault> {
    let [0, 1, 8, 0, 6, 4, 0, operation, rest @ ..] = bytes else {
        return Err("ARP that is not for Ethernet and IPv4".to_owned());
    };
    let ip =
        |at: usize| Host::Is(IpAddr::from([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]));
    if rest.len() < 20 {
        return Err("ARP cut short".to_owned());
    }
    let sender_mac: [u8; 6] = rest[..6].try_into().unwrap_or_default();
    let (sender, target) = (ip(6), ip(16));
    let body = match operation {
        1 if sender_mac == OWN_MAC => Body::WhoHas { target, sender },
        2 => Body::IsAt { sender, mac: Link::Is(sender_mac) },
        _ => return Err(format!("ARP operation {operation} from {sender_mac:02x?}")),
    };
    Ok(Heard { packet: Packet { envelope, body }, ends: None })
}

fn ipv4(mut envelope: Envelope, bytes: &[u8]) -> Result<Heard, Fault> {
    let packet = Ipv4Packet::new_checked(bytes).map_err(|_| "a malformed IPv4 header")?;
    if !packet.verify_checksum() {
        return Err("a wrong IPv4 checksum".to_owned());
    }
    if usize::from(packet.total_len()) != bytes.len() {
        return Err(format!(
            "{} octets after the packet",
            bytes.len() - usize::from(packet.total_len())
        ));
    }
    envelope.from = Some(Host::Is(packet.src_addr().into()));
    envelope.to = Some(Host::Is(packet.dst_addr().into()));
    envelope.ecn = Some(packet.ecn());
    envelope.ttl = Some(packet.hop_limit());
    envelope.df = Some(packet.dont_frag());
    envelope.id = Some(packet.ident().into());
    let ends = (IpAddr::V4(packet.src_addr()), IpAddr::V4(packet.dst_addr()));
    internet(envelope, ends, u8::from(packet.next_header()), packet.payload())
}

fn ipv6(mut envelope: Envelope, bytes: &[u8]) -> Result<Heard, Fault> {
    let packet = Ipv6Packet::new_checked(bytes).map_err(|_| "a malformed IPv6 header")?;
    if packet.total_len() != bytes.len() {
        return Err(format!("{} octets after the packet", bytes.len() - packet.total_len()));
    }
    envelope.from = Some(Host::Is(packet.src_addr().into()));
    envelope.to = Some(Host::Is(packet.dst_addr().into()));
    envelope.ecn = Some(packet.traffic_class() & 3);
    envelope.ttl = Some(packet.hop_limit());
    let ends = (IpAddr::V6(packet.src_addr()), IpAddr::V6(packet.dst_addr()));
    internet(envelope, ends, u8::from(packet.next_header()), packet.payload())
}

fn internet(
    envelope: Envelope,
    (from, to): (IpAddr, IpAddr),
    protocol: u8,
    bytes: &[u8],
) -> Result<Heard, Fault> {
    let mut ends = None;
    let body = match (protocol, from, to) {
        (6, ..) => {
            let (segment, ports) = tcp(from, to, bytes)?;
            ends = Some((SocketAddr::new(to, ports.1), SocketAddr::new(from, ports.0)));
            Body::Tcp(segment)
        }
        (1, IpAddr::V4(_), _) => {
            let packet = Icmpv4Packet::new_checked(bytes).map_err(|_| "malformed ICMP")?;
            if !packet.verify_checksum() {
                return Err("a wrong ICMP checksum".to_owned());
            }
            icmp(bytes, false)
        }
        (58, IpAddr::V6(from), IpAddr::V6(to)) => {
            let packet = Icmpv6Packet::new_checked(bytes).map_err(|_| "malformed ICMPv6")?;
            if !packet.verify_checksum(&from, &to) {
                return Err("a wrong ICMPv6 checksum".to_owned());
            }
            icmp(bytes, true)
        }
        _ => Body::Ip(protocol, bytes.to_vec()),
    };
    Ok(Heard { packet: Packet { envelope, body }, ends })
}

fn tcp(from: IpAddr, to: IpAddr, bytes: &[u8]) -> Result<(Segment, (u16, u16)), Fault> {
    let packet = TcpPacket::new_checked(bytes).map_err(|_| "a malformed TCP header")?;
    if !packet.verify_checksum(&IpAddress::from(from), &IpAddress::from(to)) {
        return Err("a wrong TCP checksum".to_owned());
    }
    let segment = Segment {
        flags: bytes[13],
        seq: Some(Num::Raw(packet.seq_number().0.cast_unsigned())),
        ack: Some(Num::Raw(packet.ack_number().0.cast_unsigned())),
        win: Some(packet.window_len()),
        urg: packet.urg().then(|| packet.urgent_at()),
        options: Some(Options { list: options(packet.options())?, open: false }),
        payload: Payload::Text(packet.payload().to_vec()),
        ..Segment::default()
    };
    Ok((segment, (packet.src_port(), packet.dst_port())))
}

/// Options but padding.
fn options(mut bytes: &[u8]) -> Result<Vec<Opt>, Fault> {
    let mut list = Vec::new();
    while let [kind, after @ ..] = bytes {
        if *kind <= 1 {
            bytes = after;
            continue;
        }
        let len = after.first().map_or(0, |len| usize::from(*len));
        let Some(value) = bytes.get(2..len) else {
            return Err(format!("option {kind} with an impossible length"));
        };
        let word = |at: usize| {
            Num::Raw(u32::from_be_bytes([value[at], value[at + 1], value[at + 2], value[at + 3]]))
        };
        list.push(match (kind, value) {
            (2, [a, b]) => Opt::Mss(u16::from_be_bytes([*a, *b])),
            (3, [shift]) => Opt::Ws(*shift),
            (4, []) => Opt::SackOk,
            (5, _) if !value.is_empty() && value.len() % 8 == 0 => {
                Opt::Sack((0..value.len()).step_by(8).map(|at| (word(at), word(at + 4))).collect())
            }
            (8, _) if value.len() == 8 => Opt::Ts(word(0), word(4)),
            _ => Opt::Raw(bytes[..len].to_vec()),
        });
        bytes = &bytes[len..];
    }
    Ok(list)
}

fn icmp(bytes: &[u8], is_v6: bool) -> Body {
    let [kind, code, _, _, a, b, c, d, rest @ ..] = bytes else {
        return Body::Ip(1, bytes.to_vec());
    };
    let (id, seq) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
    let mac = |option: u8| match rest.get(16..24) {
        Some([kind, 1, mac @ ..]) if *kind == option => mac.try_into().ok().map(Link::Is),
        _ => None,
    };
    let target = || {
        let octets: [u8; 16] = rest.get(..16)?.try_into().ok()?;
        Some(Host::Is(octets.into()))
    };
    match (is_v6, kind, target()) {
        (true, 135, Some(target)) => return Body::Solicitation { target, mac: mac(1) },
        (true, 136, Some(target)) => {
            return Body::Advertisement { target, mac: mac(2), flags: *a };
        }
        _ => {}
    }
    let is_echo = if is_v6 { [128, 129] } else { [8, 0] };
    if is_echo.contains(kind) && rest == echo_octets(rest.len()) {
        return Body::Icmp(Icmp::Echo { reply: *kind == is_echo[1], id, seq, len: rest.len() });
    }
    let known = ICMP_ERRORS.iter().find(|(_, v4, v6)| {
        let of = if is_v6 { v6 } else { v4 };
        *of == Some((*kind, *code))
    });
    Body::Icmp(match known {
        Some((name, ..)) => {
            let value = u32::from_be_bytes([*a, *b, *c, *d]);
            let is_pointer = !is_v6 && *kind == 12;
            let value = if is_pointer { value >> 24 } else { value };
            Icmp::Error { name: (*name).to_owned(), value: Some(value), about: None }
        }
        None => Icmp::Other { kind: *kind, code: *code, bytes: bytes[4..].to_vec() },
    })
}
