//! A small stack, the peer's view of what it sends, and what must always hold.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use superpage::{Placement, TierPolicy};
use tcpstack::{
    ConnId, Event, Features, FrameSink, IpCidr, Limits, NeighborNews, REASSEMBLED_BYTES_MAX,
    RxFrame, Stack, StackConfig, StackCounters, State, Steering, SynCookies, TcbStatus, Timers,
};

use super::packet::{OUR_IPV4, OUR_IPV6, OUR_MAC, PEER_IPV4, PEER_IPV6, PEER_MAC, flag, sum};

/// Ports listened on.
pub const LISTENERS: [u16; 2] = [7, 9];
/// Flights there are.
const FLIGHTS: u32 = 3;
const MTU: usize = 1_500;

/// The stack and everybody around it.
#[derive(Debug)]
pub struct World {
    /// The stack.
    pub stack: Stack,
    /// The time.
    pub now_ns: u64,
    /// Open connections, with what was seen of them last.
    pub conns: BTreeMap<ConnId, Option<TcbStatus>>,
    /// A stand-in for the timer wheel.
    wheel: BTreeMap<ConnId, u64>,
    /// The latest segment of the stack on each flow, the latest flow last.
    pub seen: Vec<Seen>,
    /// How the application treats fresh octets.
    pub appetite: Appetite,
}

/// What an application does with octets just come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appetite {
    /// Sends them back.
    Echo,
    /// Takes them.
    All,
    /// Takes half of them.
    Half,
    /// Takes nothing.
    None,
}

/// A segment of the stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether it went over IPv6.
    pub is_ipv6: bool,
    /// The stack's port.
    pub our_port: u16,
    /// The peer's port.
    pub peer_port: u16,
    /// Control bits.
    pub flags: u8,
    /// Its sequence number.
    pub seq: u32,
    /// After its last octet.
    pub seq_end: u32,
    /// Its acknowledgment number.
    pub ack: u32,
    /// Its timestamp, 0 without.
    pub timestamp: u32,
}

impl World {
    /// A stack in which everything is scarce.
    pub fn new(syn_cookies: SynCookies) -> World {
        let mut config = StackConfig {
            mac: OUR_MAC,
            mtu: MTU as u16,
            addresses: vec![IpCidr::new(OUR_IPV4, 24), IpCidr::new(OUR_IPV6, 64)],
            gateway: Some([10, 0, 0, 254].into()),
            gateway_ipv6: None,
            listeners: LISTENERS.to_vec(),
            limits: Limits {
                connections: 4,
                syn_entries: 3,
                time_wait_entries: 2,
                flights: FLIGHTS,
                sent_ranges: 1_000,
                chunks: 48,
                chunk_bytes: 128,
                receive_buffer_bytes: 4096,
                send_buffer_bytes: 4096,
                neighbors: 4,
                fragments: 2,
                paths: 2,
            },
            timers: Timers {
                keep_alive_idle_ms: 100_000,
                // Scenes begin at once.
                duplicate_address_probes: 0,
                ..Timers::default()
            },
            features: Features::default(),
            secret: [7; 16],
            steering: Steering::single(),
            tx_checksum_offload: false,
            placement: Placement { tier: TierPolicy::BaseOnly, numa_node: None },
            segment_bytes_max: None,
            vlan: None,
        };
        config.features.syn_cookies = syn_cookies;
        let mut stack = Stack::new(config).expect("a small stack fits");
        stack.learn_neighbor(PEER_IPV4.into(), PEER_MAC, NeighborNews::Asked);
        stack.learn_neighbor(PEER_IPV6.into(), PEER_MAC, NeighborNews::Asked);
        World {
            stack,
            now_ns: 1_000_000_000,
            conns: BTreeMap::new(),
            wheel: BTreeMap::new(),
            seen: Vec::new(),
            appetite: Appetite::Echo,
        }
    }

    /// Frames in one burst, and what became whole by them.
    pub fn input(&mut self, frames: &[Vec<u8>]) {
        let burst: Vec<RxFrame<'_>> =
            frames.iter().map(|bytes| RxFrame { bytes, checksum_verified: false }).collect();
        self.stack.input(self.now_ns, &burst);
        self.events(&burst);
        let mut room = [0; REASSEMBLED_BYTES_MAX];
        while let Some(len) = self.stack.poll_reassembled(&mut room) {
            let whole = [RxFrame { bytes: &room[..len], checksum_verified: false }];
            self.stack.input(self.now_ns, &whole);
            self.events(&whole);
        }
    }

    /// Everything the stack has to say.
    pub fn events(&mut self, burst: &[RxFrame<'_>]) {
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Accepted { conn, .. } => {
                    assert!(self.conns.insert(conn, None).is_none(), "accepted twice");
                }
                Event::Data { conn, frame, start, len } => {
                    assert!(self.conns.contains_key(&conn), "data of nobody");
                    let bytes = &burst[usize::from(frame)].bytes;
                    let bytes = &bytes[usize::from(start)..][..usize::from(len)];
                    let taken = self.taken(conn, bytes);
                    self.stack.keep(conn, &bytes[taken..]);
                }
                Event::Closed { conn, .. } => {
                    assert!(self.conns.remove(&conn).is_some(), "closed twice");
                    self.wheel.remove(&conn);
                }
                Event::PeerClosed { conn }
                | Event::Connected { conn }
                | Event::Readable { conn }
                | Event::Writable { conn } => {
                    assert!(self.conns.contains_key(&conn), "{event:?} of nobody");
                }
                Event::Neighbor { .. } | Event::Duplicate { .. } => {}
            }
        }
        while let Some((conn, at_ns)) = self.stack.poll_rearm() {
            self.wheel.insert(conn, at_ns);
        }
    }

    fn taken(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
        if self.stack.backlog(conn) > 0 {
            return 0;
        }
        match self.appetite {
            Appetite::Echo => self.stack.send(self.now_ns, conn, bytes),
            Appetite::All => bytes.len(),
            Appetite::Half => bytes.len() / 2,
            Appetite::None => 0,
        }
    }

    /// An active open.
    pub fn connect(&mut self, is_ipv6: bool, port: u16) {
        let peer: IpAddr = if is_ipv6 { PEER_IPV6.into() } else { PEER_IPV4.into() };
        if let Ok(conn) = self.stack.connect(self.now_ns, SocketAddr::new(peer, port)) {
            assert!(self.conns.insert(conn, None).is_none(), "a number of another");
        }
        self.events(&[]);
    }

    /// Time passes, and everything that is due happens.
    pub fn wait_ns(&mut self, ns: u64) {
        self.now_ns += ns;
        let is_due = |due: &(&ConnId, &u64)| *due.1 <= self.now_ns;
        let due: Vec<ConnId> = self.wheel.iter().filter(is_due).map(|due| *due.0).collect();
        for conn in due {
            self.fire(conn);
        }
        self.expire(64);
    }

    /// The wheel fires for a connection, whether it is time or not.
    pub fn fire(&mut self, conn: ConnId) {
        self.wheel.remove(&conn);
        if let Some(next_ns) = self.stack.on_timer(self.now_ns, conn) {
            assert!(next_ns > self.now_ns, "due again at once");
            self.wheel.insert(conn, next_ns);
        }
        self.events(&[]);
    }

    /// Housekeeping.
    pub fn expire(&mut self, budget: usize) {
        self.stack.expire(self.now_ns, budget);
        self.events(&[]);
    }

    /// Output to a sink with so much room.
    pub fn output(&mut self, frames_max: usize) {
        let mut sink = Sink { frames: Vec::new(), frames_max };
        self.stack.output(self.now_ns, &mut sink);
        for frame in &sink.frames {
            self.look_at(frame);
        }
        self.events(&[]);
    }

    /// Everything the stack sends must be well-formed; TCP tells the numbers to go on with.
    fn look_at(&mut self, frame: &[u8]) {
        assert!(frame.len() <= 14 + MTU, "larger than the MTU");
        assert_eq!(frame[6..12], OUR_MAC, "from another");
        let is_ipv6 = frame[12..14] == [0x86, 0xdd];
        if !is_ipv6 && frame[12..14] != [0x08, 0x00] {
            return;
        }
        let packet = &frame[14..];
        let (header_bytes, next, addresses) = if is_ipv6 {
            let payload_bytes = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
            assert_eq!(40 + payload_bytes, packet.len(), "payload length");
            (40, packet[6], &packet[8..40])
        } else {
            let total_bytes = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            assert_eq!(total_bytes, packet.len(), "total length");
            assert_eq!(sum(0, &packet[..20]), 0xffff, "IPv4 checksum");
            (20, packet[9], &packet[12..20])
        };
        if !is_ipv6 && u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff != 0 {
            // A fragment of an echo: the checksum is that of the whole.
            return;
        }
        let payload = &packet[header_bytes..];
        let pseudo = u32::from(sum(0, addresses)) + u32::from(next) + payload.len() as u32;
        if next == 58 {
            assert_eq!(sum(pseudo, payload), 0xffff, "ICMPv6 checksum");
        } else if next == 1 {
            assert_eq!(sum(0, payload), 0xffff, "ICMP checksum");
        } else if next == 6 {
            assert_eq!(sum(pseudo, payload), 0xffff, "TCP checksum");
            self.look_at_segment(is_ipv6, payload);
        }
    }

    fn look_at_segment(&mut self, is_ipv6: bool, tcp: &[u8]) {
        let u16_at = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        let u32_at =
            |at: usize| u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]);
        let header_bytes = usize::from(tcp[12] >> 4) * 4;
        assert!((20..=tcp.len()).contains(&header_bytes), "data offset");
        let flags = tcp[13];
        let controls = u32::from(flags & flag::SYN != 0) + u32::from(flags & flag::FIN != 0);
        let octets = (tcp.len() - header_bytes) as u32;
        let seen = Seen {
            is_ipv6,
            our_port: u16_at(0),
            peer_port: u16_at(2),
            flags,
            seq: u32_at(4),
            seq_end: u32_at(4).wrapping_add(octets + controls),
            ack: u32_at(8),
            timestamp: timestamp(&tcp[20..header_bytes]),
        };
        let flow = |seen: &Seen| (seen.is_ipv6, seen.our_port, seen.peer_port);
        self.seen.retain(|old| flow(old) != flow(&seen));
        if self.seen.len() == FLOWS_MAX {
            self.seen.remove(0);
        }
        self.seen.push(seen);
    }

    /// What must hold between any two calls.
    pub fn check(&mut self) {
        let gauges = self.stack.gauges();
        assert!(gauges.free <= gauges.total, "{gauges:?}");
        assert_eq!(gauges.in_use, self.conns.len() as u64, "TCBs and connections: {gauges:?}");
        let is_sending = self.stack.has_output() || gauges.available == 0;
        for (&conn, last) in &mut self.conns {
            let status = self.stack.status(conn).expect("a connection that is open");
            let state = status.state();
            let is_armed = is_sending || self.wheel.contains_key(&conn);
            assert!(is_armed || !needs_timer(state, &status.tcb), "no timer: {status}");
            // What is not acknowledged has a timer of its own, whatever else is armed.
            let is_timed = status.tcb.flight_size == 0 || status.tcb.retransmission_timer > 0;
            let is_over = state == State::Closed;
            assert!(is_timed || is_over || is_sending, "unacknowledged for ever: {status}");
            if state != State::Closed {
                check_numbers(last.as_ref(), &status.tcb);
            }
            *last = Some(status.tcb);
        }
    }

    /// Aborts what is left, lets every table expire, and looks for leaks.
    pub fn end(mut self) {
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in conns {
            if self.conns.contains_key(&conn) {
                self.stack.abort(self.now_ns, conn);
                self.events(&[]);
            }
        }
        for _ in 0..40 {
            self.wait_ns(10_000_000_000);
            self.output(64);
        }
        let counters = self.stack.counters();
        let drops: u64 = StackCounters::FIELDS
            .iter()
            .zip(counters.values())
            .filter(|(field, _)| field.name.starts_with("drop_"))
            .map(|(_, value)| value)
            .sum();
        assert_eq!(counters.received, counters.accepted + drops, "{counters:?}");
        let gauges = self.stack.gauges();
        assert_eq!(gauges.in_use, 0, "a connection is left: {gauges:?}");
        assert_eq!(gauges.leaving, 0, "a removed address is named: {gauges:?}");
        assert_eq!(gauges.flows, 0, "a flow is left: {gauges:?}");
        assert_eq!(gauges.free, gauges.total, "a chunk is left: {gauges:?}");
        assert_eq!(gauges.available, u64::from(FLIGHTS), "a flight is left: {gauges:?}");
        assert_eq!(gauges.syn_received, 0, "a half-open connection is left: {gauges:?}");
        assert_eq!(gauges.time_wait, 0, "a connection is left in TIME-WAIT: {gauges:?}");
    }
}

/// Whether nothing but a timer will move the connection when its peer is silent.
fn needs_timer(state: State, tcb: &TcbStatus) -> bool {
    match state {
        State::Closed => false,
        State::Established | State::CloseWait => tcb.flight_size > 0,
        _ => true,
    }
}

/// RFC 9293 §3.3.1: how the variables stand to each other, and that they do not go back.
fn check_numbers(last: Option<&TcbStatus>, tcb: &TcbStatus) {
    let distance = |from: u64, to: u64| (to as u32).wrapping_sub(from as u32);
    let is_before = |from: u64, to: u64| distance(from, to) < 1 << 31;
    assert!(is_before(tcb.snd_una, tcb.snd_nxt), "{tcb:?}");
    assert!(is_before(tcb.rcv_nxt, tcb.rcv_adv), "{tcb:?}");
    assert!(tcb.flight_size <= tcb.send_queue + 1, "{tcb:?}");
    assert!(tcb.receive_queue <= 4_096, "{tcb:?}");
    let Some(last) = last.filter(|last| last.rcv_nxt != 0) else { return };
    let pairs = [
        (last.snd_una, tcb.snd_una),
        (last.snd_nxt, tcb.snd_nxt),
        (last.rcv_nxt, tcb.rcv_nxt),
        (last.rcv_adv, tcb.rcv_adv),
    ];
    for (before, now) in pairs {
        assert!(is_before(before, now), "went back:\n{last:?}\n{tcb:?}");
    }
}

/// The value of a timestamps option.
fn timestamp(mut options: &[u8]) -> u32 {
    while let [kind, rest @ ..] = options {
        match (kind, rest) {
            (0, _) => break,
            (1, _) => options = rest,
            (8, [10, a, b, c, d, ..]) => return u32::from_be_bytes([*a, *b, *c, *d]),
            (_, [len, ..]) => options = options.get(usize::from(*len).max(2)..).unwrap_or(&[]),
            _ => break,
        }
    }
    0
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

/// Flows the peer remembers.
const FLOWS_MAX: usize = 6;
