//! The peer's frames, made with smoltcp's wire formats and checksums: the stack's own are not their
//! own judge.

use std::net::IpAddr;

use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv4Packet, Icmpv6Packet, IpAddress,
    IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, TcpSeqNumber,
};

use crate::flow::Flow;
use crate::script::{
    Body, Envelope, Host, ICMP_ERRORS, Icmp, Link, Mac, Num, Opt, Options, Packet, Quote, Segment,
    flag,
};

const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const FRAGMENT: u8 = 44;

/// The frames for a packet of the peer: one, or its fragments.
pub(crate) fn frames(flow: &mut Flow, packet: &Packet) -> Vec<Vec<u8>> {
    let envelope = &packet.envelope;
    let own = Link::Us;
    let mut frames = match &packet.body {
        Body::Frame(bytes) => vec![bytes.clone()],
        Body::WhoHas { target, sender } => {
            let bytes = arp(flow, 1, *sender, Link::Peer, *target, Link::Is([0; 6]));
            vec![ethernet(flow, envelope, flow.mac(Link::Broadcast), ARP, &bytes)]
        }
        Body::IsAt { sender, mac } => {
            let bytes = arp(flow, 2, *sender, *mac, Host::Us, Link::Us);
            vec![ethernet(flow, envelope, flow.mac(own), ARP, &bytes)]
        }
        Body::Solicitation { target, mac } => {
            neighbor_discovery(flow, envelope, 135, *target, *mac, 0)
        }
        Body::Advertisement { target, mac, flags } => {
            neighbor_discovery(flow, envelope, 136, *target, *mac, *flags)
        }
        Body::Tcp(segment) => {
            let bytes = tcp(flow, envelope, segment);
            internet(flow, envelope, TCP, &bytes)
        }
        Body::Icmp(message) => {
            let (protocol, bytes) = icmp(flow, envelope, message);
            internet(flow, envelope, protocol, &bytes)
        }
        Body::Ip(protocol, bytes) => internet(flow, envelope, *protocol, bytes),
    };
    for frame in &mut frames {
        frame.truncate(frame.len().saturating_sub(envelope.cut));
    }
    frames
}

fn ethernet(flow: &Flow, envelope: &Envelope, to: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 14];
    let mut header = EthernetFrame::new_unchecked(&mut bytes[..]);
    let from = envelope.mac_from.unwrap_or(Link::Peer);
    header.set_src_addr(EthernetAddress(flow.mac(from)));
    header.set_dst_addr(EthernetAddress(envelope.mac_to.map_or(to, |link| flow.mac(link))));
    header.set_ethertype(EthernetProtocol::from(envelope.vlan.map_or(kind, |_| VLAN)));
    if let Some(vlan) = envelope.vlan {
        bytes.extend(vlan.to_be_bytes());
        bytes.extend(kind.to_be_bytes());
    }
    bytes.extend(payload);
    // Short frames are padded, and not with zeros.
    if bytes.len() < 60 {
        bytes.resize(60, 0xee);
    }
    bytes
}

fn arp(flow: &Flow, operation: u8, sender: Host, mac: Link, target: Host, to: Link) -> Vec<u8> {
    let ip = |host| match flow.ip(host) {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(_) => [0; 4],
    };
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    [&head[..], &flow.mac(mac), &ip(sender), &flow.mac(to), &ip(target)].concat()
}

/// RFC 4861 §4.3 and §4.4. Without an address of the link, the option is left out.
fn neighbor_discovery(
    flow: &Flow,
    envelope: &Envelope,
    kind: u8,
    target: Host,
    mac: Option<Link>,
    flags: u8,
) -> Vec<Vec<u8>> {
    let IpAddr::V6(target) = flow.ip(target) else { return Vec::new() };
    let mut bytes = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    bytes.extend(target.octets());
    if let Some(mac) = mac {
        bytes.extend([if kind == 135 { 1 } else { 2 }, 1]);
        bytes.extend(flow.mac(mac));
    }
    let [.., a, b, c] = target.octets();
    let mut envelope = envelope.clone();
    envelope.ttl.get_or_insert(255);
    if kind == 135 {
        let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c];
        envelope.to.get_or_insert(Host::Is(group.into()));
        envelope.mac_to.get_or_insert(Link::Is([0x33, 0x33, 0xff, a, b, c]));
    }
    seal_icmpv6(flow, &envelope, &mut bytes);
    internet(flow, &envelope, ICMPV6, &bytes)
}

/// Source and destination of a packet of the peer.
fn addresses(flow: &Flow, envelope: &Envelope) -> (IpAddr, IpAddr) {
    (flow.ip(envelope.from.unwrap_or(Host::Peer)), flow.ip(envelope.to.unwrap_or(Host::Us)))
}

fn internet(flow: &Flow, envelope: &Envelope, protocol: u8, payload: &[u8]) -> Vec<Vec<u8>> {
    let whole = [(0, None)];
    let parts = if envelope.fragments.is_empty() { &whole[..] } else { &envelope.fragments };
    parts
        .iter()
        .map(|(from, to)| {
            let end = to.unwrap_or(payload.len()).min(payload.len());
            let more = to.is_some_and(|to| to < payload.len());
            let part = &payload[(*from).min(end)..end];
            let is_fragment = !envelope.fragments.is_empty();
            let place = Place { offset: *from, more, is_fragment };
            let (kind, bytes) = match addresses(flow, envelope) {
                (IpAddr::V4(_), IpAddr::V4(_)) => {
                    (IPV4, ipv4(flow, envelope, protocol, part, place))
                }
                _ => (IPV6, ipv6(flow, envelope, protocol, part, place)),
            };
            ethernet(flow, envelope, flow.mac(Link::Us), kind, &bytes)
        })
        .collect()
}

/// Where a fragment lies in its packet.
#[derive(Clone, Copy)]
struct Place {
    offset: usize,
    more: bool,
    is_fragment: bool,
}

fn ipv4(flow: &Flow, envelope: &Envelope, protocol: u8, payload: &[u8], place: Place) -> Vec<u8> {
    let (IpAddr::V4(from), IpAddr::V4(to)) = addresses(flow, envelope) else { return Vec::new() };
    let options = &envelope.ip_options;
    let header_bytes = 20 + options.len().next_multiple_of(4);
    let mut bytes = vec![0; header_bytes];
    bytes[20..20 + options.len()].copy_from_slice(options);
    bytes.extend(payload);
    let total = bytes.len() as u16;
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes[..]);
    packet.set_version(4);
    packet.set_header_len(header_bytes as u8);
    packet.set_ecn(envelope.ecn.unwrap_or(0));
    packet.set_total_len(total);
    packet.set_ident(envelope.id.unwrap_or(1) as u16);
    packet.clear_flags();
    packet.set_dont_frag(envelope.df.unwrap_or(!place.is_fragment));
    packet.set_more_frags(place.more);
    packet.set_frag_offset(place.offset as u16);
    packet.set_hop_limit(envelope.ttl.unwrap_or(64));
    packet.set_next_header(IpProtocol::from(protocol));
    packet.set_src_addr(from);
    packet.set_dst_addr(to);
    packet.fill_checksum();
    if envelope.bad_ip_checksum {
        let wrong = packet.checksum() ^ 0x0101;
        packet.set_checksum(wrong);
    }
    bytes
}

fn ipv6(flow: &Flow, envelope: &Envelope, protocol: u8, payload: &[u8], place: Place) -> Vec<u8> {
    let (IpAddr::V6(from), IpAddr::V6(to)) = addresses(flow, envelope) else { return Vec::new() };
    // Headers from the last to the first: each names the next.
    let (mut next, mut chain) = (protocol, payload.to_vec());
    if place.is_fragment {
        let offset = place.offset as u16 | u16::from(place.more);
        let mut header = vec![next, 0];
        header.extend(offset.to_be_bytes());
        header.extend(envelope.id.unwrap_or(1).to_be_bytes());
        (next, chain) = (FRAGMENT, [header, chain].concat());
    }
    for (number, rest) in envelope.extensions.iter().rev() {
        (next, chain) = (*number, [&[next], &rest[..], &chain].concat());
    }
    let mut bytes = vec![0; 40];
    bytes.extend(&chain);
    let mut packet = Ipv6Packet::new_unchecked(&mut bytes[..]);
    packet.set_version(6);
    packet.set_traffic_class(envelope.ecn.unwrap_or(0));
    packet.set_flow_label(0);
    packet.set_payload_len(chain.len() as u16);
    packet.set_next_header(IpProtocol::from(next));
    packet.set_hop_limit(envelope.ttl.unwrap_or(64));
    packet.set_src_addr(from);
    packet.set_dst_addr(to);
    bytes
}

fn tcp(flow: &mut Flow, envelope: &Envelope, segment: &Segment) -> Vec<u8> {
    let octets = flow.peers_octets(segment);
    let options = segment.options.as_ref().map_or(Vec::new(), |list| options(flow, list));
    let header_bytes = 20 + options.len();
    let mut bytes = vec![0; header_bytes];
    bytes[20..].copy_from_slice(&options);
    bytes.extend(&octets);
    let mut packet = TcpPacket::new_unchecked(&mut bytes[..]);
    packet.set_src_port(flow.peer.port());
    packet.set_dst_port(flow.own.port());
    packet.set_seq_number(TcpSeqNumber(
        flow.of_peer(segment.seq.unwrap_or(Num::Raw(0))).cast_signed(),
    ));
    let ack = segment.ack.map_or(0, |ack| flow.of_us(ack));
    packet.set_ack_number(TcpSeqNumber(ack.cast_signed()));
    packet.set_header_len(segment.offset.map_or(header_bytes as u8, |words| words.min(15) * 4));
    packet.set_window_len(segment.win.unwrap_or(u16::MAX));
    packet.set_urgent_at(segment.urg.unwrap_or(0));
    // The flags as they are, in whatever combination.
    bytes[13] = segment.flags;
    let (from, to) = addresses(flow, envelope);
    let mut packet = TcpPacket::new_unchecked(&mut bytes[..]);
    packet.fill_checksum(&IpAddress::from(from), &IpAddress::from(to));
    if envelope.bad_checksum {
        let wrong = packet.checksum() ^ 0x0101;
        packet.set_checksum(wrong);
    }
    bytes
}

/// Options in their order; the rest of the last word is zero (RFC 9293 §3.1).
fn options(flow: &Flow, options: &Options) -> Vec<u8> {
    let mut bytes = Vec::new();
    for option in &options.list {
        match option {
            Opt::Eol => bytes.push(0),
            Opt::Nop => bytes.push(1),
            Opt::Mss(mss) => {
                bytes.extend([2, 4]);
                bytes.extend(mss.to_be_bytes());
            }
            Opt::Ws(shift) => bytes.extend([3, 3, *shift]),
            Opt::SackOk => bytes.extend([4, 2]),
            Opt::Sack(blocks) => {
                bytes.extend([5, 2 + 8 * blocks.len() as u8]);
                for (from, to) in blocks {
                    bytes.extend(flow.of_us(*from).to_be_bytes());
                    bytes.extend(flow.of_us(*to).to_be_bytes());
                }
            }
            Opt::Ts(value, echo) => {
                bytes.extend([8, 10]);
                let value = match value {
                    Num::Rel(value) => *value as u32,
                    Num::Raw(value) => *value,
                    Num::Any => 0,
                };
                bytes.extend(value.to_be_bytes());
                bytes.extend(flow.our_stamp(*echo).to_be_bytes());
            }
            Opt::Raw(octets) => bytes.extend(octets),
        }
    }
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn icmp(flow: &mut Flow, envelope: &Envelope, message: &Icmp) -> (u8, Vec<u8>) {
    let is_v6 = flow.peer.is_ipv6();
    let mut bytes = match message {
        Icmp::Echo { reply, id, seq, len } => {
            let kind = match (is_v6, reply) {
                (false, false) => 8,
                (false, true) => 0,
                (true, reply) => 128 + u8::from(*reply),
            };
            let mut bytes = vec![kind, 0, 0, 0];
            bytes.extend(id.to_be_bytes());
            bytes.extend(seq.to_be_bytes());
            bytes.extend(echo_octets(*len));
            bytes
        }
        Icmp::Error { name, value, about } => {
            let known = ICMP_ERRORS.iter().find(|(known, ..)| known == name);
            let (kind, code) =
                known.and_then(|(_, v4, v6)| if is_v6 { *v6 } else { *v4 }).unwrap_or((0xff, 0));
            let mut bytes = vec![kind, code, 0, 0];
            // IPv4 has the MTU in the low half; the pointer is the first octet.
            let is_pointer = !is_v6 && kind == 12;
            bytes.extend((value.unwrap_or(0) << if is_pointer { 24 } else { 0 }).to_be_bytes());
            if let Some(about) = about {
                bytes.extend(quoted(flow, envelope, about));
            }
            bytes
        }
        Icmp::Other { kind, code, bytes } => [&[*kind, *code, 0, 0][..], bytes].concat(),
    };
    if bytes.len() < 8 {
        bytes.resize(8, 0);
    }
    if is_v6 {
        seal_icmpv6(flow, envelope, &mut bytes);
        return (ICMPV6, bytes);
    }
    let mut packet = Icmpv4Packet::new_unchecked(&mut bytes[..]);
    packet.fill_checksum();
    if envelope.bad_checksum {
        let wrong = packet.checksum() ^ 0x0101;
        packet.set_checksum(wrong);
    }
    (ICMP, bytes)
}

fn seal_icmpv6(flow: &Flow, envelope: &Envelope, bytes: &mut [u8]) {
    let (IpAddr::V6(from), IpAddr::V6(to)) = addresses(flow, envelope) else { return };
    let mut packet = Icmpv6Packet::new_unchecked(bytes);
    packet.fill_checksum(&from, &to);
    if envelope.bad_checksum {
        let wrong = packet.checksum() ^ 0x0101;
        packet.set_checksum(wrong);
    }
}

/// The beginning of a segment of ours, as an error quotes it: with IPv4 8 octets of TCP, with IPv6
/// the header.
fn quoted(flow: &Flow, envelope: &Envelope, quote: &Quote) -> Vec<u8> {
    let mut tcp = Vec::new();
    tcp.extend(flow.own.port().to_be_bytes());
    tcp.extend(quote.port.unwrap_or(flow.peer.port()).to_be_bytes());
    tcp.extend(flow.of_us(quote.seq).to_be_bytes());
    if flow.peer.is_ipv6() {
        tcp.extend([0, 0, 0, 0, 0x50, flag::ACK, 0xff, 0xff, 0, 0, 0, 0]);
    }
    let inner = Envelope {
        from: Some(envelope.to.unwrap_or(Host::Us)),
        to: Some(quote.to.unwrap_or(Host::Peer)),
        df: Some(true),
        ..Envelope::default()
    };
    let place = Place { offset: 0, more: false, is_fragment: false };
    if flow.peer.is_ipv6() {
        let mut bytes = ipv6(flow, &inner, TCP, &tcp, place);
        Ipv6Packet::new_unchecked(&mut bytes[..]).set_payload_len(quote.size.saturating_sub(40));
        return bytes;
    }
    let mut bytes = ipv4(flow, &inner, TCP, &tcp, place);
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes[..]);
    packet.set_total_len(quote.size);
    packet.fill_checksum();
    bytes
}

/// What an echo request carries.
pub(crate) fn echo_octets(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7) as u8).collect()
}
