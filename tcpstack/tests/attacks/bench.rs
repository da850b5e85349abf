//! A stack under attack: packets made byte by byte, right or wrong, and a clock turned by hand.
//!
//! Sequence numbers are absolute, as an attacker sees them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use superpage::{Placement, TierPolicy};
use tcpstack::{
    ConnId, Event, Features, FrameSink, IpCidr, Limits, NeighborNews, REASSEMBLED_BYTES_MAX,
    RxFrame, Stack, StackConfig, StackCounters, Steering, Timers,
};

pub(crate) const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const PORT: u16 = 7;
pub(crate) const MS: u64 = 1_000_000;
pub(crate) const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

pub(crate) const FIN: u16 = 0x01;
pub(crate) const SYN: u16 = 0x02;
pub(crate) const RST: u16 = 0x04;
pub(crate) const PSH: u16 = 0x08;
pub(crate) const ACK: u16 = 0x10;
pub(crate) const URG: u16 = 0x20;
pub(crate) const ECE: u16 = 0x40;
pub(crate) const CWR: u16 = 0x80;
/// RFC 9768 calls it AE.
pub(crate) const NS: u16 = 0x100;

/// One TCP packet, as much of it as these tests care for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) ports: (u16, u16),
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    /// The twelve bits after the header's length.
    pub(crate) flags: u16,
    pub(crate) window: u16,
    pub(crate) urgent: u16,
    pub(crate) traffic_class: u8,
    pub(crate) ip_options: Vec<u8>,
    pub(crate) options: Vec<u8>,
    pub(crate) octets: Vec<u8>,
}

/// From the peer to the listener.
pub(crate) fn packet(port: u16, flags: u16, seq: u32, ack: u32) -> Packet {
    Packet {
        source: PEER,
        destination: OWN,
        ports: (port, PORT),
        seq,
        ack,
        flags,
        window: 60_000,
        urgent: 0,
        traffic_class: 0,
        ip_options: Vec::new(),
        options: Vec::new(),
        octets: Vec::new(),
    }
}

impl Packet {
    pub(crate) fn options(self, options: &[u8]) -> Self {
        Self { options: options.to_vec(), ..self }
    }

    pub(crate) fn octets(self, octets: &[u8]) -> Self {
        Self { octets: octets.to_vec(), ..self }
    }

    pub(crate) fn window(self, window: u16) -> Self {
        Self { window, ..self }
    }

    pub(crate) fn traffic_class(self, traffic_class: u8) -> Self {
        Self { traffic_class, ..self }
    }

    /// TSval and TSecr.
    pub(crate) fn stamps(&self) -> Option<(u32, u32)> {
        let value = option(&self.options, 8)?;
        let half = |at: usize| u32::from_be_bytes(value[at..at + 4].try_into().expect("four"));
        Some((half(0), half(4)))
    }

    /// The frame, all lengths and checksums right.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut tcp = Vec::new();
        tcp.extend(self.ports.0.to_be_bytes());
        tcp.extend(self.ports.1.to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let words = 5 + options.len() as u16 / 4;
        tcp.extend((words << 12 | self.flags).to_be_bytes());
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0, 0]);
        tcp.extend(self.urgent.to_be_bytes());
        tcp.extend(options);
        tcp.extend(&self.octets);
        seal_tcp(&mut tcp, self.source, self.destination);
        let mut ip = vec![0x45 + self.ip_options.len() as u8 / 4, self.traffic_class];
        let total = 20 + self.ip_options.len() + tcp.len();
        ip.extend((total as u16).to_be_bytes());
        ip.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        ip.extend(self.source.octets());
        ip.extend(self.destination.octets());
        ip.extend(&self.ip_options);
        seal_ip(&mut ip);
        let mut frame = OWN_MAC.to_vec();
        frame.extend(PEER_MAC);
        frame.extend([8, 0]);
        frame.extend(ip);
        frame.extend(tcp);
        if frame.len() < 60 {
            frame.resize(60, 0xee);
        }
        frame
    }

    fn parse(frame: &[u8]) -> Self {
        let ip = &frame[14..];
        let header = usize::from(ip[0] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let tcp = &ip[header..total];
        let word = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        let long = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().expect("four"));
        let address = |at: usize| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
        let octets_at = usize::from(tcp[12] >> 4) * 4;
        Self {
            source: address(12),
            destination: address(16),
            ports: (word(0), word(2)),
            seq: long(4),
            ack: long(8),
            flags: word(12) & 0xfff,
            window: word(14),
            urgent: word(18),
            traffic_class: ip[1],
            ip_options: ip[20..header].to_vec(),
            options: tcp[20..octets_at].to_vec(),
            octets: tcp[octets_at..].to_vec(),
        }
    }
}

/// The value of a TCP option.
pub(crate) fn option(mut options: &[u8], kind: u8) -> Option<&[u8]> {
    loop {
        match *options {
            [] | [0, ..] => return None,
            [1, ref rest @ ..] => options = rest,
            [found, len, ..] if found == kind => return Some(&options[2..usize::from(len)]),
            [_, len, ..] => options = &options[usize::from(len)..],
            _ => panic!("malformed options"),
        }
    }
}

/// A timestamp option, padded.
pub(crate) fn stamp_option(value: u32, echo: u32) -> Vec<u8> {
    let mut bytes = vec![1, 1, 8, 10];
    bytes.extend(value.to_be_bytes());
    bytes.extend(echo.to_be_bytes());
    bytes
}

/// Makes the checksum of an IPv4 header right.
pub(crate) fn seal_ip(header: &mut [u8]) {
    header[10..12].fill(0);
    let checksum = checksum(&[header]);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// Makes the checksum of a segment right.
pub(crate) fn seal_tcp(tcp: &mut [u8], source: Ipv4Addr, destination: Ipv4Addr) {
    tcp[16..18].fill(0);
    let [high, low] = (tcp.len() as u16).to_be_bytes();
    let checksum = checksum(&[&source.octets(), &destination.octets(), &[0, 6, high, low], tcp]);
    tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
}

/// RFC 1071, over parts of which all but the last have an even length.
pub(crate) fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

pub(crate) struct Bench {
    pub(crate) stack: Stack,
    pub(crate) now_ns: u64,
    pub(crate) events: Vec<Event>,
    /// What the application took of Data events.
    pub(crate) received: Vec<u8>,
    sent: Vec<Vec<u8>>,
    wheel: BTreeMap<ConnId, u64>,
}

pub(crate) fn config() -> StackConfig {
    StackConfig {
        mac: OWN_MAC,
        mtu: 1_500,
        addresses: vec![IpCidr::new(OWN, 24)],
        gateway: None,
        gateway_ipv6: None,
        listeners: vec![9, PORT],
        limits: Limits {
            connections: 64,
            syn_entries: 32,
            time_wait_entries: 8,
            flights: 16,
            sent_ranges: 1_000,
            chunks: 1_000,
            chunk_bytes: 512,
            receive_buffer_bytes: 120_000,
            send_buffer_bytes: 60_000,
            neighbors: 8,
            paths: 4,
            fragments: 8,
        },
        timers: Timers::default(),
        features: Features::default(),
        secret: [3; 16],
        steering: Steering::single(),
        tx_checksum_offload: false,
        placement: Placement { tier: TierPolicy::BaseOnly, ..Placement::default() },
        segment_bytes_max: None,
        vlan: None,
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(config())
    }

    /// A stack that knows its peer's MAC address.
    pub(crate) fn with(config: StackConfig) -> Self {
        let mut stack = Stack::new(config).expect("a small stack fits");
        stack.learn_neighbor(PEER.into(), PEER_MAC, NeighborNews::Asked);
        Self {
            stack,
            now_ns: 1_000 * MS,
            events: Vec::new(),
            received: Vec::new(),
            sent: Vec::new(),
            wheel: BTreeMap::new(),
        }
    }

    pub(crate) fn counters(&self) -> &StackCounters {
        self.stack.counters()
    }

    /// What the stack answers to a packet.
    pub(crate) fn answer(&mut self, packet: &Packet) -> Vec<Packet> {
        self.answer_frame(packet.frame())
    }

    pub(crate) fn answer_frame(&mut self, frame: Vec<u8>) -> Vec<Packet> {
        self.sent.clear();
        self.input(&[frame]);
        self.turn();
        self.sent()
    }

    /// One burst, what became whole by it, and nothing else.
    pub(crate) fn input(&mut self, frames: &[Vec<u8>]) {
        self.burst(frames);
        let mut room = [0; REASSEMBLED_BYTES_MAX];
        while let Some(len) = self.stack.poll_reassembled(&mut room) {
            self.burst(&[room[..len].to_vec()]);
        }
    }

    fn burst(&mut self, frames: &[Vec<u8>]) {
        let burst: Vec<RxFrame<'_>> =
            frames.iter().map(|bytes| RxFrame { bytes, checksum_verified: false }).collect();
        self.stack.input(self.now_ns, &burst);
        self.drain(frames);
    }

    /// A connection from the peer's `port`; both ends' next sequence numbers.
    pub(crate) fn open(&mut self, port: u16) -> (u32, u32) {
        let seq: u32 = 1_001;
        let syn_acks = self.answer(&packet(port, SYN, seq - 1, 0).options(&[2, 4, 5, 180]));
        let [syn_ack] = &syn_acks[..] else { panic!("one SYN-ACK, not {}", syn_acks.len()) };
        assert_eq!((syn_ack.flags, syn_ack.ack), (SYN | ACK, seq));
        let ack = syn_ack.seq.wrapping_add(1);
        assert!(self.answer(&packet(port, ACK, seq, ack)).is_empty());
        (seq, ack)
    }

    /// Events, output, timers to set.
    pub(crate) fn turn(&mut self) {
        let mut sink = Sink(std::mem::take(&mut self.sent));
        self.stack.output(self.now_ns, &mut sink);
        self.sent = sink.0;
        self.drain(&[]);
        while let Some((conn, at_ns)) = self.stack.poll_rearm() {
            self.wheel.insert(conn, at_ns);
        }
    }

    fn drain(&mut self, frames: &[Vec<u8>]) {
        while let Some(event) = self.stack.poll_event() {
            if let Event::Data { conn, frame, start, len } = event {
                let octets = &frames[usize::from(frame)][usize::from(start)..][..usize::from(len)];
                self.received.extend(octets);
                self.stack.keep(conn, &[]);
            }
            if let Event::Closed { conn, .. } = event {
                self.wheel.remove(&conn);
            }
            self.events.push(event);
        }
    }

    /// Lets time pass; every timer fires at its time.
    pub(crate) fn wait_ms(&mut self, ms: u64) {
        let end_ns = self.now_ns + ms * MS;
        loop {
            let timer = self.wheel.iter().min_by_key(|(_, at_ns)| **at_ns);
            let timer = timer.map(|(conn, at_ns)| (*at_ns, Some(*conn)));
            let expiry = self.stack.next_expiry().map(|at_ns| (at_ns, None));
            let next = [timer, expiry].into_iter().flatten().min_by_key(|due| due.0);
            let Some((at_ns, conn)) = next.filter(|due| due.0 <= end_ns) else { break };
            self.now_ns = self.now_ns.max(at_ns);
            match conn {
                Some(conn) => {
                    self.wheel.remove(&conn);
                    if let Some(next_ns) = self.stack.on_timer(self.now_ns, conn) {
                        self.wheel.insert(conn, next_ns);
                    }
                }
                None => self.stack.expire(self.now_ns, 10),
            }
            self.drain(&[]);
            self.turn();
        }
        self.now_ns = end_ns;
    }

    /// TCP packets sent since the last look.
    pub(crate) fn sent(&mut self) -> Vec<Packet> {
        let frames = std::mem::take(&mut self.sent);
        let tcp = frames.iter().filter(|frame| frame[12..14] == [8, 0] && frame[23] == 6);
        tcp.map(|frame| Packet::parse(frame)).collect()
    }
}

struct Sink(Vec<Vec<u8>>);

impl FrameSink for Sink {
    fn frame(&mut self, len: usize) -> Option<&mut [u8]> {
        self.0.push(vec![0xee; len]);
        self.0.last_mut().map(Vec::as_mut_slice)
    }

    fn checksum(&mut self, _: usize, _: usize) {
        unreachable!("the port was not said to fill in checksums");
    }
}
