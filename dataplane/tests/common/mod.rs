//! A whole appliance in one thread: shards over the in-memory wire, and a peer at its other end that is
//! a TCP stack of its own. Time only passes when [`World::step`] says so.

#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod mqtt;

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use broker::BrokerConfig;
use capsule::clock::Clock;
use capsule::twin::{TwinConfig, TwinLink};
use capsule::{PortQueue, RxBatch, TxBatch};
use dataplane::drain::StopSwitch;
use dataplane::idle::IdlePolicy;
use dataplane::peers::Peers;
use dataplane::shard::{Shard, ShardConfig};
use dataplane::sink::QueueSink;
use dataplane::wheel::Wheel;
use hwconfig::ListenerKind;
use superpage::{Placement, TierPolicy};
use tcpstack::{
    CloseReason, ConnId, Event, IpCidr, Limits, MICROSOFT_KEY, RxFrame, Stack, StackConfig,
    Steering, Timers,
};

pub(crate) const MQTT: u16 = 1883;
pub(crate) const ECHO: u16 = 7;
pub(crate) const DISCARD: u16 = 9;
pub(crate) const ECHO_ONCE: u16 = 1007;
pub(crate) const CHARGEN: u16 = 19;
const LISTENERS: [(u16, ListenerKind); 5] = [
    (MQTT, ListenerKind::Mqtt),
    (ECHO, ListenerKind::Echo),
    (DISCARD, ListenerKind::Discard),
    (ECHO_ONCE, ListenerKind::EchoOnce),
    (CHARGEN, ListenerKind::Chargen),
];
const APPLIANCE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const START_NS: u64 = 1_000_000_000;
/// Time that passes between two rounds of turns while there is work.
const STEP_NS: u64 = 50_000;
/// Time that passes when nobody has any.
const IDLE_STEP_NS: u64 = 1_000_000;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MS;

fn placement() -> Placement {
    Placement { tier: TierPolicy::BaseOnly, ..Placement::default() }
}

fn stack_config(address: Ipv4Addr, mac: u8, steering: Steering) -> StackConfig {
    StackConfig {
        mac: [2, 0, 0, 0, 0, mac],
        mtu: 1_500,
        addresses: vec![IpCidr::new(address, 24)],
        gateway: None,
        gateway_ipv6: None,
        listeners: Vec::new(),
        limits: Limits { connections: 2_000, ..Limits::default() },
        timers: Timers { time_wait_ms: 1_000, ..Timers::default() },
        features: tcpstack::Features::default(),
        secret: [mac; 16],
        steering,
        tx_checksum_offload: false,
        placement: placement(),
        segment_bytes_max: None,
        vlan: None,
    }
}

pub(crate) fn shard_config(shard: u16, shards: u16) -> ShardConfig {
    let reta = (0..128).map(|entry| entry % shards).collect();
    let steering = Steering { key: MICROSOFT_KEY, reta, shard };
    ShardConfig {
        stack: StackConfig {
            listeners: LISTENERS.map(|(port, _)| port).to_vec(),
            ..stack_config(APPLIANCE, 1, steering)
        },
        broker: BrokerConfig {
            shard,
            shards,
            secret: [7; 16],
            placement: placement(),
            limits: broker::Limits {
                links: 2_000,
                sessions: 2_000,
                clients: 2_000,
                ..broker::Limits::default()
            },
            ..BrokerConfig::default()
        },
        listeners: LISTENERS.map(|(_, kind)| kind).to_vec(),
        software_steering: shards > 1,
        batch_frames: 32,
        idle: IdlePolicy::Poll,
        placement: placement(),
        impairment: None,
    }
}

/// The appliance, its peer, and the time.
pub(crate) struct World {
    pub(crate) now_ns: u64,
    pub(crate) shards: Vec<Shard>,
    pub(crate) stop: Arc<StopSwitch>,
    pub(crate) peer: Peer,
}

impl World {
    pub(crate) fn new(shards: u16, wire: TwinConfig) -> World {
        World::with(shards, wire, |_| {})
    }

    /// A world whose shards are changed a little before they are made.
    pub(crate) fn with(shards: u16, wire: TwinConfig, change: impl Fn(&mut ShardConfig)) -> World {
        let (ours, theirs) = TwinLink::pair(TwinConfig { queues: shards, ..wire });
        let clock = Clock::calibrate();
        let stop = Arc::new(StopSwitch::default());
        let peers = Peers::mesh(shards, 256 << 10);
        let shards = (0..shards)
            .zip(ours.into_iter().zip(peers))
            .map(|(index, (queue, peers))| {
                let mut config = shard_config(index, shards);
                change(&mut config);
                let stop = Arc::clone(&stop);
                Shard::new(config, queue, peers, clock, stop, START_NS).expect("a legal shard")
            })
            .collect();
        World { now_ns: START_NS, shards, stop, peer: Peer::new(theirs, clock) }
    }

    /// One turn of everybody. Returns whether anybody had work.
    pub(crate) fn step(&mut self) -> bool {
        let mut worked = false;
        for shard in &mut self.shards {
            worked |= shard.turn(self.now_ns);
        }
        worked |= self.peer.turn(self.now_ns);
        self.now_ns += if worked { STEP_NS } else { IDLE_STEP_NS };
        worked
    }

    /// Steps until `done`, or panics when that takes longer than `limit_ns` of the world's time.
    #[track_caller]
    pub(crate) fn until(
        &mut self,
        limit_ns: u64,
        what: &str,
        mut done: impl FnMut(&mut World) -> bool,
    ) {
        let deadline_ns = self.now_ns + limit_ns;
        while !done(self) {
            assert!(self.now_ns < deadline_ns, "not within {} ms: {what}", limit_ns / MS);
            self.step();
        }
    }

    /// Lets `ns` pass.
    pub(crate) fn pass(&mut self, ns: u64) {
        let end_ns = self.now_ns + ns;
        while self.now_ns < end_ns {
            self.step();
        }
    }

    /// Opens a connection from the peer and waits until both ends have it.
    #[track_caller]
    pub(crate) fn connect(&mut self, port: u16) -> ConnId {
        let conn = self.peer.connect(self.now_ns, port);
        self.until(20 * SECOND, "connecting", |world| world.peer.conns[&conn].is_connected);
        self.until(20 * SECOND, "accepting", |world| world.owner(conn).is_some());
        conn
    }

    /// A connection for each shard, by who owns its flow.
    pub(crate) fn connect_to_each_shard(&mut self, port: u16) -> Vec<ConnId> {
        let shards = self.shards.len();
        let mut found = vec![None; shards];
        while found.contains(&None) {
            let conn = self.connect(port);
            let owner = self.owner(conn).expect("accepted");
            // More than one on a shard is harmless.
            found[owner] = Some(conn);
        }
        found.into_iter().flatten().collect()
    }

    /// The shard that has a connection of the peer.
    pub(crate) fn owner(&self, conn: ConnId) -> Option<usize> {
        let local = self.peer.stack.local(conn)?;
        let holds = |shard: &Shard| (0..2_000).any(|conn| shard.stack().peer(conn) == Some(local));
        self.shards.iter().position(holds)
    }
}

/// What the peer knows about one of its connections.
#[derive(Debug, Default)]
pub(crate) struct PeerConn {
    pub(crate) is_connected: bool,
    pub(crate) received: Vec<u8>,
    pub(crate) to_send: VecDeque<u8>,
    /// Close as soon as everything is sent.
    pub(crate) close_after_sending: bool,
    pub(crate) got_fin: bool,
    pub(crate) closed: Option<CloseReason>,
    /// Read nothing: let the window close.
    pub(crate) is_stuck: bool,
    /// Answer a FIN with one of our own.
    pub(crate) answers_fin: bool,
}

/// The machine at the other end of the wire.
pub(crate) struct Peer {
    pub(crate) stack: Stack,
    pub(crate) conns: BTreeMap<ConnId, PeerConn>,
    queues: Vec<PortQueue>,
    rx: RxBatch,
    tx: Vec<TxBatch>,
    wheel: Wheel,
    clock: Clock,
    /// The queue of the next output: frames go out on any of them, as a switch would do it.
    next_queue: usize,
}

impl Peer {
    fn new(queues: Vec<PortQueue>, clock: Clock) -> Peer {
        let config = stack_config(CLIENT, 2, Steering::single());
        let connections = config.limits.connections;
        Peer {
            stack: Stack::new(config).expect("a legal stack"),
            conns: BTreeMap::new(),
            rx: RxBatch::new(),
            tx: queues.iter().map(|_| TxBatch::new()).collect(),
            queues,
            wheel: Wheel::create(connections, START_NS, placement()).expect("memory"),
            clock,
            next_queue: 0,
        }
    }

    pub(crate) fn connect(&mut self, now_ns: u64, port: u16) -> ConnId {
        let remote = SocketAddr::new(APPLIANCE.into(), port);
        let conn = self.stack.connect(now_ns, remote).expect("a port is free");
        self.conns.insert(conn, PeerConn { answers_fin: true, ..PeerConn::default() });
        conn
    }

    pub(crate) fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        self.conn(conn).to_send.extend(bytes);
    }

    pub(crate) fn conn(&mut self, conn: ConnId) -> &mut PeerConn {
        self.conns.get_mut(&conn).expect("opened by this test")
    }

    /// The bytes received so far, which are then forgotten.
    pub(crate) fn take(&mut self, conn: ConnId) -> Vec<u8> {
        std::mem::take(&mut self.conn(conn).received)
    }

    fn turn(&mut self, now_ns: u64) -> bool {
        let mut worked = false;
        for queue in 0..self.queues.len() {
            worked |= self.receive(now_ns, queue);
        }
        self.wheel.advance(now_ns);
        let mut budget = u32::MAX;
        while let Some(conn) = self.wheel.expire(&mut budget) {
            if let Some(at_ns) = self.stack.on_timer(now_ns, conn) {
                self.wheel.arm_earlier(conn, at_ns);
            }
            self.events(now_ns, &[]);
            worked = true;
        }
        self.stack.expire(now_ns, 64);
        self.events(now_ns, &[]);
        self.write(now_ns);
        self.events(now_ns, &[]);
        worked | self.output(now_ns)
    }

    fn receive(&mut self, now_ns: u64, queue: usize) -> bool {
        let mut rx = std::mem::take(&mut self.rx);
        let count = self.queues[queue].receive(&mut rx);
        let frames: Vec<RxFrame<'_>> =
            (0..count).map(|i| RxFrame { bytes: rx.frame(i), checksum_verified: false }).collect();
        self.stack.input(now_ns, &frames);
        self.events(now_ns, &frames);
        drop(frames);
        self.rx = rx;
        count > 0
    }

    fn events(&mut self, now_ns: u64, frames: &[RxFrame<'_>]) {
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Connected { conn } => self.conn(conn).is_connected = true,
                Event::Data { conn, frame, start, len } => {
                    let bytes = &frames[usize::from(frame)].bytes[usize::from(start)..];
                    let bytes = &bytes[..usize::from(len)];
                    let stuck = self.conn(conn).is_stuck;
                    if stuck || self.stack.backlog(conn) > 0 {
                        self.stack.keep(conn, bytes);
                        self.read(conn);
                    } else {
                        self.conn(conn).received.extend(bytes);
                        self.stack.keep(conn, &[]);
                    }
                }
                Event::Readable { conn } => self.read(conn),
                Event::PeerClosed { conn } => {
                    let known = self.conn(conn);
                    known.got_fin = true;
                    if known.answers_fin {
                        self.stack.close(now_ns, conn);
                    }
                }
                Event::Closed { conn, reason } => {
                    self.conn(conn).closed = Some(reason);
                    self.wheel.cancel(conn);
                }
                Event::Accepted { .. }
                | Event::Writable { .. }
                | Event::Neighbor { .. }
                | Event::Duplicate { .. } => {}
            }
        }
        while let Some((conn, at_ns)) = self.stack.poll_rearm() {
            self.wheel.arm_earlier(conn, at_ns);
        }
    }

    /// Takes what was kept, unless the connection is stuck.
    pub(crate) fn read(&mut self, conn: ConnId) {
        if self.conn(conn).is_stuck {
            return;
        }
        let mut bytes = vec![0; self.stack.backlog(conn)];
        let len = self.stack.peek(conn, &mut bytes);
        self.stack.consume(conn, len);
        self.conn(conn).received.extend(&bytes[..len]);
    }

    fn write(&mut self, now_ns: u64) {
        let live = self.conns.iter_mut().filter(|(_, c)| c.is_connected && c.closed.is_none());
        for (conn, known) in live {
            while !known.to_send.is_empty() {
                let (bytes, _) = known.to_send.as_slices();
                let sent = self.stack.send(now_ns, *conn, bytes);
                known.to_send.drain(..sent);
                if sent == 0 {
                    break;
                }
            }
            if known.to_send.is_empty() && std::mem::take(&mut known.close_after_sending) {
                self.stack.close(now_ns, *conn);
            }
        }
    }

    fn output(&mut self, now_ns: u64) -> bool {
        let queue = self.next_queue;
        self.next_queue = (queue + 1) % self.queues.len();
        let mut sink = QueueSink::new(&mut self.queues[queue], &mut self.tx[queue], &self.clock);
        self.stack.output(now_ns, &mut sink);
        sink.flush();
        sink.done().0 > 0
    }
}

/// Bytes that differ everywhere and are the same for the same seed.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| random.u8(..)).collect()
}
