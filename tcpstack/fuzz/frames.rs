//! Ethernet frames, well-formed, nearly well-formed and not at all, into a whole stack.
//!
//! The input is a programme: each step is an operation byte and its operands. Random bytes alone
//! never get past a handshake, so besides raw frames there are segments whose addresses and
//! checksums are right and whose numbers are relative to what the stack last sent: the fuzzer then
//! reaches every state. At the end all is aborted and every pool must be full again.

use std::net::{Ipv4Addr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpAddress, IpProtocol,
    Ipv4Packet, Ipv4Repr, TcpPacket, TcpSeqNumber,
};
use superpage::{Placement, TierPolicy};
use tcpstack::{
    ConnId, Event, FrameSink, IpCidr, Limits, RxFrame, Stack, StackConfig, Steering, Timers,
};

const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const OUR_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const LISTENERS: [u16; 2] = [7, 9];
const FLIGHTS: u32 = 3;
const PEER_PORTS: u16 = 4;
const HEADER_BYTES: usize = 14 + 20 + 20;
/// Options come in words of 4 bytes, 0 to 10 of them.
const OPTION_WORDS: usize = 11;
const STEPS_MAX: usize = 256;

/// Runs one programme.
pub(crate) fn run(data: &[u8]) {
    let mut world = World::new();
    let mut input = Input(data);
    for _ in 0..STEPS_MAX {
        let Some(operation) = input.byte() else { break };
        world.step(operation, &mut input);
    }
    world.end();
}

struct World {
    stack: Stack,
    now_ns: u64,
    conns: Vec<ConnId>,
    /// What the stack last sent: ports, sequence and acknowledgement numbers.
    seen: Seen,
    /// Connections echo, or read nothing.
    echo: bool,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    our_port: u16,
    peer_port: u16,
    seq_end: u32,
    ack: u32,
}

impl World {
    fn new() -> World {
        let config = StackConfig {
            mac: OUR_MAC,
            mtu: 1500,
            addresses: vec![IpCidr::new(OUR_ADDRESS, 24)],
            gateway: Some(Ipv4Addr::new(10, 0, 0, 254)),
            gateway_ipv6: None,
            listeners: LISTENERS.to_vec(),
            limits: Limits {
                connections: 4,
                syn_entries: 4,
                time_wait_entries: 2,
                flights: FLIGHTS,
                chunks: 24,
                chunk_bytes: 128,
                receive_buffer_bytes: 2048,
                send_buffer_bytes: 2048,
                neighbors: 4,
                paths: 4,
                fragments: 8,
            },
            timers: Timers::default(),
            features: tcpstack::Features::default(),
            secret: [7; 16],
            steering: Steering::single(),
            tx_checksum_offload: false,
            placement: Placement { tier: TierPolicy::BaseOnly, numa_node: None },
            segment_bytes_max: None,
        };
        let stack = Stack::new(config).expect("a small stack fits");
        World { stack, now_ns: 0, conns: Vec::new(), seen: Seen::default(), echo: true }
    }

    fn step(&mut self, operation: u8, input: &mut Input<'_>) {
        match operation % 10 {
            0 => {
                let len = usize::from(input.u16() % 1600);
                let frame = input.bytes(len).to_vec();
                self.input(&frame);
            }
            1..=4 => {
                let frame = self.segment(input);
                self.input(&frame);
            }
            5 => {
                // From a microsecond to some minutes.
                self.now_ns += 1_000 << (input.byte().unwrap_or(0) % 28);
                self.fire_timers();
            }
            6 => self.output(usize::from(input.byte().unwrap_or(8))),
            7 => self.application(input),
            8 => self.echo = !self.echo,
            _ => {
                let remote = SocketAddr::new(PEER_ADDRESS.into(), 1000 + input.u16() % PEER_PORTS);
                if let Ok(conn) = self.stack.connect(self.now_ns, remote) {
                    self.conns.push(conn);
                }
                self.events(&[]);
            }
        }
    }

    /// A segment to us with right addresses, lengths and checksums, numbered near what is expected.
    fn segment(&self, input: &mut Input<'_>) -> Vec<u8> {
        let follow = input.byte().unwrap_or(0);
        let flags = input.u16();
        let (seq_delta, ack_delta) = (input.u16(), input.u16());
        let window = input.u16();
        let options_len = usize::from(input.byte().unwrap_or(0)) % OPTION_WORDS * 4;
        let options = input.bytes(options_len);
        let payload_len = usize::from(input.u16() % 700);
        let mut frame = vec![0; HEADER_BYTES + options_len + payload_len];
        let ip_repr = Ipv4Repr {
            src_addr: PEER_ADDRESS,
            dst_addr: OUR_ADDRESS,
            next_header: IpProtocol::Tcp,
            payload_len: 20 + options_len + payload_len,
            hop_limit: 64,
        };
        let mut ethernet = EthernetFrame::new_unchecked(&mut frame[..]);
        let ethernet_repr = EthernetRepr {
            src_addr: EthernetAddress(PEER_MAC),
            dst_addr: EthernetAddress(OUR_MAC),
            ethertype: EthernetProtocol::Ipv4,
        };
        ethernet_repr.emit(&mut ethernet);
        let mut ip = Ipv4Packet::new_unchecked(ethernet.payload_mut());
        ip_repr.emit(&mut ip, &ChecksumCapabilities::default());
        let mut tcp = TcpPacket::new_unchecked(ip.payload_mut());
        let seen = self.seen;
        let known = follow & 1 == 0 && seen.our_port != 0;
        tcp.set_dst_port(if known {
            seen.our_port
        } else {
            LISTENERS[usize::from(follow >> 1 & 1)]
        });
        let peer_port = 1000 + u16::from(follow >> 2) % PEER_PORTS;
        tcp.set_src_port(if known { seen.peer_port } else { peer_port });
        tcp.set_seq_number(near(seen.ack, seq_delta));
        tcp.set_ack_number(near(seen.seq_end, ack_delta));
        tcp.set_window_len(window);
        tcp.set_header_len((20 + options_len) as u8);
        tcp.clear_flags();
        tcp.set_fin(flags & 1 != 0);
        tcp.set_syn(flags & 2 != 0);
        tcp.set_rst(flags & 4 != 0);
        tcp.set_psh(flags & 8 != 0);
        tcp.set_ack(flags & 16 != 0);
        tcp.set_urg(flags & 32 != 0);
        tcp.options_mut()[..options.len()].copy_from_slice(options);
        tcp.fill_checksum(&IpAddress::from(PEER_ADDRESS), &IpAddress::from(OUR_ADDRESS));
        frame
    }

    fn input(&mut self, frame: &[u8]) {
        let burst = [RxFrame { bytes: frame, checksum_verified: false }];
        self.stack.input(self.now_ns, &burst);
        self.events(&burst);
    }

    fn events(&mut self, burst: &[RxFrame<'_>]) {
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Accepted { conn, .. } => self.conns.push(conn),
                Event::Data { conn, frame, start, len } => {
                    let bytes = &burst[usize::from(frame)].bytes;
                    let bytes = &bytes[usize::from(start)..][..usize::from(len)];
                    let taken = if self.echo && self.stack.backlog(conn) == 0 {
                        self.stack.send(self.now_ns, conn, bytes)
                    } else {
                        0
                    };
                    self.stack.keep(conn, &bytes[taken..]);
                }
                Event::Closed { conn, .. } => self.conns.retain(|&open| open != conn),
                Event::PeerClosed { .. }
                | Event::Connected { .. }
                | Event::Readable { .. }
                | Event::Writable { .. }
                | Event::Neighbor { .. } => {}
            }
        }
        while self.stack.poll_rearm().is_some() {}
    }

    fn fire_timers(&mut self) {
        for conn in self.conns.clone() {
            if self.conns.contains(&conn) {
                self.stack.on_timer(self.now_ns, conn);
                self.events(&[]);
            }
        }
        self.stack.expire(self.now_ns, 64);
        self.events(&[]);
    }

    fn output(&mut self, frames_max: usize) {
        let mut sink = Sink { frames: Vec::new(), frames_max };
        self.stack.output(self.now_ns, &mut sink);
        for frame in &sink.frames {
            self.look_at(frame);
        }
        self.events(&[]);
    }

    /// Everything we send must be well-formed; TCP tells the numbers to go on with.
    fn look_at(&mut self, frame: &[u8]) {
        let ethernet = EthernetFrame::new_checked(frame).expect("we sent a frame");
        assert_eq!(ethernet.src_addr(), EthernetAddress(OUR_MAC));
        if ethernet.ethertype() != EthernetProtocol::Ipv4 {
            return;
        }
        let ip = Ipv4Packet::new_checked(ethernet.payload()).expect("we sent an IPv4 packet");
        assert!(ip.verify_checksum(), "we sent a wrong IPv4 checksum");
        if ip.next_header() != IpProtocol::Tcp {
            return;
        }
        let tcp = TcpPacket::new_checked(ip.payload()).expect("we sent a segment");
        assert!(tcp.verify_checksum(&ip.src_addr().into(), &ip.dst_addr().into()));
        self.seen = Seen {
            our_port: tcp.src_port(),
            peer_port: tcp.dst_port(),
            seq_end: (tcp.seq_number() + tcp.segment_len()).0 as u32,
            ack: tcp.ack_number().0 as u32,
        };
    }

    fn application(&mut self, input: &mut Input<'_>) {
        let choice = input.byte().unwrap_or(0);
        if self.conns.is_empty() {
            return;
        }
        let conn = self.conns[usize::from(choice >> 3) % self.conns.len()];
        match choice % 5 {
            0 => {
                let len = usize::from(input.u16() % 3000);
                self.stack.send(self.now_ns, conn, &[0x55; 3000][..len]);
            }
            1 => {
                let mut bytes = [0; 1000];
                let offered = self.stack.peek(conn, &mut bytes);
                self.stack.consume(conn, offered);
            }
            2 => self.stack.close(self.now_ns, conn),
            3 => self.stack.abort(self.now_ns, conn),
            _ => self.stack.want_writable(conn),
        }
        self.events(&[]);
    }

    /// Aborts what is left, lets every table expire, and looks for leaks.
    fn end(mut self) {
        for conn in self.conns.clone() {
            if self.conns.contains(&conn) {
                self.stack.abort(self.now_ns, conn);
                self.events(&[]);
            }
        }
        for _ in 0..64 {
            self.now_ns += 10_000_000_000;
            self.fire_timers();
            self.output(64);
        }
        let gauges = self.stack.gauges();
        assert_eq!(gauges.in_use, 0, "a connection is left: {gauges:?}");
        assert_eq!(gauges.free, gauges.total, "a chunk is left: {gauges:?}");
        assert_eq!(gauges.available, u64::from(FLIGHTS), "a flight is left: {gauges:?}");
        assert_eq!(gauges.syn_received, 0, "a half-open connection is left: {gauges:?}");
        assert_eq!(gauges.time_wait, 0, "a connection is left in TIME-WAIT: {gauges:?}");
    }
}

/// `base` itself, a little ahead of it, a little behind, or anywhere.
fn near(base: u32, delta: u16) -> TcpSeqNumber {
    let distance = u32::from(delta & 0x3fff);
    let offset = match delta >> 14 {
        0 => 0,
        1 => distance,
        2 => distance.wrapping_neg(),
        _ => distance << 18,
    };
    TcpSeqNumber(base.wrapping_add(offset) as i32)
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte().unwrap_or(0), self.byte().unwrap_or(0)])
    }

    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

struct Sink {
    frames: Vec<Vec<u8>>,
    frames_max: usize,
}

impl FrameSink for Sink {
    fn frame(&mut self, len: usize) -> Option<&mut [u8]> {
        if self.frames.len() == self.frames_max {
            return None;
        }
        self.frames.push(vec![0; len]);
        self.frames.last_mut().map(Vec::as_mut_slice)
    }

    fn checksum(&mut self, _: usize, _: usize) {
        unreachable!("this host does not offer checksums");
    }
}
