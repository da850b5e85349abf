//! A stack on the bench: hand-made frames in, parsed frames out, and a clock turned by hand.
//!
//! Frames are made and read with smoltcp's wire formats, checksums included, so that the stack's
//! own are not their own judge. Sequence numbers are relative: 0 is the SYN of whoever sends.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr,
    TcpOption, TcpPacket, TcpSeqNumber,
};
use superpage::{Placement, TierPolicy};
use tcpstack::{
    ConnId, Event, FrameSink, IpCidr, Limits, RxFrame, Stack, StackConfig, StackCounters, Steering,
    Timers,
};

pub(crate) const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const PORT: u16 = 7;
pub(crate) const PEER_PORT: u16 = 4_000;
/// The peer's MSS in [`Bench::established`].
pub(crate) const MSS: usize = 1_000;
/// The peer's initial sequence number: the first kilobytes cross the wrap.
const IRS: u32 = u32::MAX - 1_500;
const MS: u64 = 1_000_000;

/// A segment, with relative numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seg {
    /// Letters of `SFRPA`, in this order.
    pub(crate) control: String,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) window: u16,
    pub(crate) mss: Option<u16>,
    pub(crate) shift: Option<u8>,
    pub(crate) stamp: Option<(u32, u32)>,
    pub(crate) sack_permitted: bool,
    pub(crate) sack: Vec<(u32, u32)>,
    pub(crate) octets: Vec<u8>,
}

pub(crate) fn seg(control: &str, seq: u32, ack: u32) -> Seg {
    Seg {
        control: control.into(),
        seq,
        ack,
        window: 60_000,
        mss: None,
        shift: None,
        stamp: None,
        sack_permitted: false,
        sack: Vec::new(),
        octets: Vec::new(),
    }
}

impl Seg {
    pub(crate) fn window(self, window: u16) -> Self {
        Self { window, ..self }
    }

    pub(crate) fn mss(self, mss: u16) -> Self {
        Self { mss: Some(mss), ..self }
    }

    pub(crate) fn shift(self, shift: u8) -> Self {
        Self { shift: Some(shift), ..self }
    }

    pub(crate) fn stamp(self, value: u32, echo: u32) -> Self {
        Self { stamp: Some((value, echo)), ..self }
    }

    pub(crate) fn sack_permitted(self) -> Self {
        Self { sack_permitted: true, ..self }
    }

    pub(crate) fn octets(self, octets: &[u8]) -> Self {
        Self { octets: octets.to_vec(), ..self }
    }

    /// Control bits, numbers and length in one line: `A 1:1001 ack 5`.
    pub(crate) fn line(&self) -> String {
        let end = self.seq.wrapping_add(self.octets.len() as u32);
        format!("{} {}:{end} ack {}", self.control, self.seq, self.ack)
    }
}

pub(crate) struct Bench {
    pub(crate) stack: Stack,
    pub(crate) now_ns: u64,
    pub(crate) events: Vec<Event>,
    /// What the application took of Data events.
    pub(crate) received: Vec<u8>,
    /// It returns everything.
    pub(crate) takes_nothing: bool,
    /// Our initial sequence number, once it was seen.
    pub(crate) iss: u32,
    pub(crate) peer_port: u16,
    pub(crate) own_port: u16,
    sent: Vec<(u64, Vec<u8>)>,
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
            connections: 4,
            syn_entries: 3,
            time_wait_entries: 2,
            flights: 4,
            chunks: 1_000,
            chunk_bytes: 512,
            receive_buffer_bytes: 60_000,
            send_buffer_bytes: 60_000,
            neighbors: 8,
            paths: 4,
            fragments: 8,
        },
        timers: Timers::default(),
        features: tcpstack::Features::default(),
        secret: [3; 16],
        steering: Steering::single(),
        tx_checksum_offload: false,
        placement: Placement { tier: TierPolicy::BaseOnly, ..Placement::default() },
        segment_bytes_max: None,
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(config())
    }

    /// A stack that knows its peer's MAC address.
    pub(crate) fn with(config: StackConfig) -> Self {
        let mut stack = Stack::new(config).expect("a small stack fits");
        stack.learn_neighbor(PEER.into(), PEER_MAC);
        Self {
            stack,
            now_ns: 1_000 * MS,
            events: Vec::new(),
            received: Vec::new(),
            takes_nothing: false,
            iss: 0,
            peer_port: PEER_PORT,
            own_port: PORT,
            sent: Vec::new(),
            wheel: BTreeMap::new(),
        }
    }

    /// A passive open without window scale and timestamps; the connection is number 0.
    pub(crate) fn established() -> Self {
        Self::established_with(config())
    }

    pub(crate) fn established_with(config: StackConfig) -> Self {
        let mut bench = Self::with(config);
        bench.open(seg("S", 0, 0).mss(MSS as u16));
        bench
    }

    /// The handshake that `syn` begins. The events and segments of it are taken away.
    pub(crate) fn open(&mut self, syn: Seg) {
        let stamp = syn.stamp;
        let window = syn.window;
        self.receive(syn);
        let answer = self.sent();
        assert_eq!(answer.len(), 1, "one SYN-ACK");
        assert_eq!(answer[0].line(), "SA 0:0 ack 1");
        let mut ack = seg("A", 1, 1).window(window);
        if let Some((value, _)) = stamp {
            ack = ack.stamp(value, answer[0].stamp.expect("both have timestamps").0);
        }
        self.receive(ack);
        assert!(self.sent().is_empty());
        assert!(matches!(self.events[..], [Event::Accepted { conn: 0, listener: 1 }]));
        self.events.clear();
    }

    pub(crate) fn connect(&mut self) -> ConnId {
        let remote = SocketAddr::new(PEER.into(), self.peer_port);
        let conn = self.stack.connect(self.now_ns, remote).expect("room");
        self.own_port = self.stack.local(conn).expect("there").port();
        self.turn();
        conn
    }

    pub(crate) fn counters(&self) -> &StackCounters {
        self.stack.counters()
    }

    pub(crate) fn receive(&mut self, segment: Seg) {
        self.receive_all(&[segment]);
    }

    /// One burst.
    pub(crate) fn receive_all(&mut self, segments: &[Seg]) {
        let frames: Vec<Vec<u8>> = segments.iter().map(|segment| self.frame(segment)).collect();
        self.receive_frames(&frames);
    }

    pub(crate) fn receive_frames(&mut self, frames: &[Vec<u8>]) {
        let burst: Vec<RxFrame<'_>> =
            frames.iter().map(|bytes| RxFrame { bytes, checksum_verified: false }).collect();
        self.stack.input(self.now_ns, &burst);
        self.drain(frames);
        let mut room = vec![0; tcpstack::REASSEMBLED_BYTES_MAX];
        while let Some(len) = self.stack.poll_reassembled(&mut room) {
            let frame = room[..len].to_vec();
            let burst = [RxFrame { bytes: &frame, checksum_verified: false }];
            self.stack.input(self.now_ns, &burst);
            self.drain(&[frame]);
        }
        self.turn();
    }

    /// Events, output, timers to set.
    pub(crate) fn turn(&mut self) {
        self.drain(&[]);
        let mut sink = Sink::default();
        self.stack.output(self.now_ns, &mut sink);
        self.sent.extend(sink.0.into_iter().map(|frame| (self.now_ns, frame)));
        self.drain(&[]);
        while let Some((conn, at_ns)) = self.stack.poll_rearm() {
            self.wheel.insert(conn, at_ns);
        }
    }

    fn drain(&mut self, frames: &[Vec<u8>]) {
        while let Some(event) = self.stack.poll_event() {
            if let Event::Data { conn, frame, start, len } = event {
                let octets = &frames[usize::from(frame)][usize::from(start)..][..usize::from(len)];
                if self.takes_nothing {
                    self.stack.keep(conn, octets);
                } else {
                    self.received.extend(octets);
                    self.stack.keep(conn, &[]);
                }
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
            self.turn();
        }
        self.now_ns = end_ns;
    }

    pub(crate) fn send(&mut self, conn: ConnId, octets: &[u8]) -> usize {
        let taken = self.stack.send(self.now_ns, conn, octets);
        self.turn();
        taken
    }

    pub(crate) fn close(&mut self, conn: ConnId) {
        self.stack.close(self.now_ns, conn);
        self.turn();
    }

    pub(crate) fn abort(&mut self, conn: ConnId) {
        self.stack.abort(self.now_ns, conn);
        self.turn();
    }

    /// Frames sent since the last look.
    pub(crate) fn sent_frames(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.sent).into_iter().map(|(_, frame)| frame).collect()
    }

    /// Segments sent since the last look.
    pub(crate) fn sent(&mut self) -> Vec<Seg> {
        self.sent_at().into_iter().map(|(_, segment)| segment).collect()
    }

    /// Segments sent since the last look, as lines.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        self.sent().iter().map(Seg::line).collect()
    }

    /// As [`Self::sent`], each with the time in ms.
    pub(crate) fn sent_at(&mut self) -> Vec<(u64, Seg)> {
        let frames = std::mem::take(&mut self.sent);
        frames.into_iter().map(|(at_ns, frame)| (at_ns / MS, self.parse(&frame))).collect()
    }

    fn parse(&mut self, frame: &[u8]) -> Seg {
        let ethernet = EthernetFrame::new_checked(frame).expect("Ethernet");
        assert_eq!(ethernet.src_addr(), EthernetAddress(OWN_MAC));
        assert_eq!(ethernet.dst_addr(), EthernetAddress(PEER_MAC));
        assert_eq!(ethernet.ethertype(), EthernetProtocol::Ipv4);
        let ip = Ipv4Packet::new_checked(ethernet.payload()).expect("IPv4");
        let repr = Ipv4Repr::parse(&ip, &ChecksumCapabilities::default()).expect("IPv4 checksum");
        assert_eq!((repr.src_addr, repr.dst_addr), (OWN, PEER));
        assert_eq!(frame.len(), 14 + usize::from(ip.total_len()), "no stray bytes");
        let tcp = TcpPacket::new_checked(ip.payload()).expect("TCP");
        let (own, peer) = (IpAddress::Ipv4(OWN), IpAddress::Ipv4(PEER));
        assert!(tcp.verify_checksum(&own, &peer), "TCP checksum");
        assert_eq!((tcp.src_port(), tcp.dst_port()), (self.own_port, self.peer_port));
        let seq = tcp.seq_number().0 as u32;
        if tcp.syn() {
            self.iss = seq;
        }
        let bits = [tcp.syn(), tcp.fin(), tcp.rst(), tcp.psh(), tcp.ack()];
        let control = "SFRPA".chars().zip(bits).filter(|(_, bit)| *bit).map(|(letter, _)| letter);
        let mut segment = Seg {
            control: control.collect(),
            seq: seq.wrapping_sub(self.iss),
            ack: if tcp.ack() { (tcp.ack_number().0 as u32).wrapping_sub(IRS) } else { 0 },
            window: tcp.window_len(),
            octets: tcp.payload().to_vec(),
            ..seg("", 0, 0)
        };
        let mut options = tcp.options();
        while !options.is_empty() {
            let (rest, option) = TcpOption::parse(options).expect("options");
            match option {
                TcpOption::MaxSegmentSize(mss) => segment.mss = Some(mss),
                TcpOption::WindowScale(shift) => segment.shift = Some(shift),
                TcpOption::TimeStamp { tsval, tsecr } => segment.stamp = Some((tsval, tsecr)),
                TcpOption::SackPermitted => segment.sack_permitted = true,
                TcpOption::SackRange(blocks) => {
                    let relative =
                        |(start, end): (u32, u32)| (start.wrapping_sub(IRS), end.wrapping_sub(IRS));
                    segment.sack = blocks.into_iter().flatten().map(relative).collect();
                }
                TcpOption::NoOperation => {}
                other => panic!("{other:?} must not be offered"),
            }
            options = rest;
        }
        segment
    }

    pub(crate) fn frame(&self, segment: &Seg) -> Vec<u8> {
        let mut options = Vec::new();
        let mut add = |option: TcpOption<'_>| {
            let at = options.len();
            options.resize(at + option.buffer_len(), 0);
            option.emit(&mut options[at..]);
        };
        if let Some(mss) = segment.mss {
            add(TcpOption::MaxSegmentSize(mss));
        }
        if let Some(shift) = segment.shift {
            add(TcpOption::WindowScale(shift));
        }
        if segment.sack_permitted {
            add(TcpOption::SackPermitted);
        }
        if let Some((tsval, tsecr)) = segment.stamp {
            add(TcpOption::TimeStamp { tsval, tsecr });
        }
        options.resize(options.len().next_multiple_of(4), 1);
        let header_bytes = 20 + options.len();
        let mut bytes = vec![0; header_bytes];
        bytes.extend(&segment.octets);
        let mut tcp = TcpPacket::new_unchecked(&mut bytes[..]);
        tcp.set_src_port(self.peer_port);
        tcp.set_dst_port(self.own_port);
        tcp.set_seq_number(TcpSeqNumber(IRS.wrapping_add(segment.seq) as i32));
        let has_ack = segment.control.contains('A');
        let ack = if has_ack { self.iss.wrapping_add(segment.ack) } else { 0 };
        tcp.set_ack_number(TcpSeqNumber(ack as i32));
        tcp.set_header_len(header_bytes as u8);
        tcp.set_syn(segment.control.contains('S'));
        tcp.set_fin(segment.control.contains('F'));
        tcp.set_rst(segment.control.contains('R'));
        tcp.set_psh(segment.control.contains('P'));
        tcp.set_ack(has_ack);
        tcp.set_window_len(segment.window);
        tcp.options_mut().copy_from_slice(&options);
        tcp.fill_checksum(&IpAddress::Ipv4(PEER), &IpAddress::Ipv4(OWN));
        ip_frame(IpProtocol::Tcp, &bytes)
    }
}

/// A frame from the peer, padded as short ones are.
pub(crate) fn ip_frame(protocol: IpProtocol, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 34 + payload.len()];
    let mut ethernet = EthernetFrame::new_unchecked(&mut frame[..]);
    ethernet.set_src_addr(EthernetAddress(PEER_MAC));
    ethernet.set_dst_addr(EthernetAddress(OWN_MAC));
    ethernet.set_ethertype(EthernetProtocol::Ipv4);
    let repr = Ipv4Repr {
        src_addr: PEER,
        dst_addr: OWN,
        next_header: protocol,
        payload_len: payload.len(),
        hop_limit: 64,
    };
    let mut ip = Ipv4Packet::new_unchecked(&mut frame[14..]);
    repr.emit(&mut ip, &ChecksumCapabilities::default());
    frame[34..].copy_from_slice(payload);
    if frame.len() < 60 {
        frame.resize(60, 0xee);
    }
    frame
}

#[derive(Default)]
pub(crate) struct Sink(Vec<Vec<u8>>);

impl FrameSink for Sink {
    fn frame(&mut self, len: usize) -> Option<&mut [u8]> {
        self.0.push(vec![0xee; len]);
        self.0.last_mut().map(Vec::as_mut_slice)
    }

    fn checksum(&mut self, _: usize, _: usize) {
        unreachable!("the port was not said to fill in checksums");
    }
}
