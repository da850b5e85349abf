//! Frames taken apart by smoltcp, for whoever looks at the wire.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, SocketAddr};

use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, TcpOption,
    TcpPacket,
};

/// Control bits.
pub(crate) mod flag {
    pub(crate) const FIN: u8 = 1;
    pub(crate) const SYN: u8 = 2;
    pub(crate) const RST: u8 = 4;
    pub(crate) const ACK: u8 = 16;
}

/// A TCP segment seen on the wire.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) flags: u8,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) window: u16,
    pub(crate) octets: usize,
    pub(crate) options_bytes: usize,
    pub(crate) shift: Option<u8>,
    mss: Option<u16>,
    sacks: Vec<(u32, u32)>,
    /// Both checksums are right.
    pub(crate) is_intact: bool,
}

impl Segment {
    pub(crate) fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// After the last octet, SYN and FIN counted.
    pub(crate) fn end(&self) -> u32 {
        let controls = u32::from(self.has(flag::SYN)) + u32::from(self.has(flag::FIN));
        self.seq.wrapping_add(self.octets as u32 + controls)
    }

    /// RFC 9293 §3.7.1: what a SYN says of its sender's largest segment.
    pub(crate) fn peer_mss(&self) -> u16 {
        self.mss.unwrap_or(if self.src.is_ipv4() { 536 } else { 1_220 })
    }
}

/// The segment in a frame, if it is one.
pub(crate) fn segment(bytes: &[u8]) -> Option<Segment> {
    let ethernet = EthernetFrame::new_checked(bytes).ok()?;
    match ethernet.ethertype() {
        EthernetProtocol::Ipv4 => {
            let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
            let is_tcp = ip.next_header() == IpProtocol::Tcp && ip.frag_offset() == 0;
            let ends = (ip.src_addr().into(), ip.dst_addr().into());
            let is_intact = ip.verify_checksum();
            is_tcp.then(|| tcp(ends, ip.payload(), is_intact))?
        }
        EthernetProtocol::Ipv6 => {
            let ip = Ipv6Packet::new_checked(ethernet.payload()).ok()?;
            let ends = (ip.src_addr().into(), ip.dst_addr().into());
            (ip.next_header() == IpProtocol::Tcp).then(|| tcp(ends, ip.payload(), true))?
        }
        _ => None,
    }
}

fn tcp(ends: (IpAddr, IpAddr), bytes: &[u8], is_intact: bool) -> Option<Segment> {
    let tcp = TcpPacket::new_checked(bytes).ok()?;
    let (src, dst) = ends;
    let mut segment = Segment {
        src: SocketAddr::new(src, tcp.src_port()),
        dst: SocketAddr::new(dst, tcp.dst_port()),
        flags: u8::from(tcp.fin())
            | u8::from(tcp.syn()) << 1
            | u8::from(tcp.rst()) << 2
            | u8::from(tcp.ack()) << 4,
        seq: tcp.seq_number().0 as u32,
        ack: tcp.ack_number().0 as u32,
        window: tcp.window_len(),
        octets: tcp.payload().len(),
        options_bytes: tcp.options().len(),
        shift: None,
        mss: None,
        sacks: Vec::new(),
        is_intact: is_intact && tcp.verify_checksum(&IpAddress::from(src), &IpAddress::from(dst)),
    };
    let mut options = tcp.options();
    while !options.is_empty() {
        let Ok((rest, option)) = TcpOption::parse(options) else { break };
        match option {
            TcpOption::MaxSegmentSize(mss) => segment.mss = Some(mss),
            TcpOption::WindowScale(shift) => segment.shift = Some(shift.min(14)),
            TcpOption::SackRange(ranges) => segment.sacks.extend(ranges.iter().flatten()),
            TcpOption::EndOfList => break,
            _ => {}
        }
        options = rest;
    }
    Some(segment)
}

impl Display for Segment {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{} > {} ", self.src, self.dst)?;
        let names = [(flag::SYN, 'S'), (flag::FIN, 'F'), (flag::RST, 'R'), (flag::ACK, '.')];
        for (_, name) in names.iter().filter(|(bit, _)| self.has(*bit)) {
            write!(out, "{name}")?;
        }
        write!(out, " {}:{}({}) ack {} win {}", self.seq, self.end(), self.octets, self.ack, {
            self.window
        })?;
        if let Some(mss) = self.mss {
            write!(out, " mss {mss}")?;
        }
        if let Some(shift) = self.shift {
            write!(out, " wscale {shift}")?;
        }
        for (start, end) in &self.sacks {
            write!(out, " sack {start}:{end}")?;
        }
        Ok(())
    }
}

/// A line about a frame.
pub(crate) fn describe(bytes: &[u8]) -> String {
    segment(bytes).map_or_else(
        || format!("{} octets, ethertype {:02x}{:02x}", bytes.len(), bytes[12], bytes[13]),
        |segment| segment.to_string(),
    )
}
