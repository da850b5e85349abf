//! The world around brokers: transports, wheels and rings of several shards, all in one thread.

use std::collections::{BTreeMap, VecDeque};

use broker::codec::Version;
use broker::{Broker, BrokerConfig, Close, TimerOwner};

use crate::packet::{Packet, decode_all};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const MILLI: u64 = 1_000_000;

/// One transport connection with what stands for its TCP buffers.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) shard: u16,
    pub(crate) link: Option<u32>,
    /// Bytes the broker has not taken.
    pub(crate) held: Vec<u8>,
    /// Bytes the client has not read.
    pub(crate) received: Vec<u8>,
    pub(crate) closed: Option<Close>,
    pub(crate) version: Version,
    /// Bytes the transport takes before it says that it is full; the test empties it.
    pub(crate) window: usize,
    /// There was more to write than room; time brings room.
    pub(crate) waits_for_room: bool,
}

/// All shards of a process and everything around them.
pub(crate) struct Net {
    pub(crate) brokers: Vec<Broker>,
    pub(crate) now_ns: u64,
    pub(crate) conns: Vec<Conn>,
    /// Deadlines by shard and owner (true: link).
    wheel: BTreeMap<(u16, bool, u32), u64>,
    rings: Vec<Vec<VecDeque<Vec<u8>>>>,
    /// Messages that a ring takes in one round; smaller values show what happens under pressure.
    pub(crate) ring_slots: usize,
    /// Bytes that one fill may write.
    pub(crate) fill_bytes: usize,
}

pub(crate) fn config() -> BrokerConfig {
    let mut config = BrokerConfig::default();
    config.limits.links = 256;
    config.limits.active_links = 128;
    config.limits.sessions = 256;
    config.limits.clients = 256;
    config.limits.subscriptions = 1_024;
    config.limits.filters = 1_024;
    config.limits.wildcard_nodes = 4_096;
    config.limits.identifiers = 256;
    config.limits.messages = 2_048;
    config.limits.payload_units = 16_384;
    config.limits.deliveries = 8_192;
    config.limits.retained = 1_024;
    config.limits.output_chunks = 1_024;
    config.limits.pending = 256;
    config.limits.retained_jobs = 128;
    config.limits.moves = 16;
    config.placement.tier = superpage::TierPolicy::BaseOnly;
    config
}

impl Net {
    pub(crate) fn new(shards: u16, tune: impl Fn(&mut BrokerConfig)) -> Net {
        let brokers = (0..shards)
            .map(|shard| {
                let mut config = BrokerConfig { shard, shards, ..config() };
                tune(&mut config);
                Broker::new(config).expect("a broker")
            })
            .collect();
        let row = || (0..shards).map(|_| VecDeque::new()).collect();
        Net {
            brokers,
            now_ns: SECOND,
            conns: Vec::new(),
            wheel: BTreeMap::new(),
            rings: (0..shards).map(|_| row()).collect(),
            ring_slots: 16,
            fill_bytes: 4_096,
        }
    }

    /// Opens a transport connection.
    pub(crate) fn open(&mut self, shard: u16, version: Version) -> usize {
        let transport = self.conns.len() as u32;
        let link = self.brokers[usize::from(shard)].accept(self.now_ns, transport);
        self.conns.push(Conn {
            shard,
            closed: link.is_none().then_some(Close::Abort),
            link,
            held: Vec::new(),
            received: Vec::new(),
            version,
            window: usize::MAX,
            waits_for_room: false,
        });
        self.pump();
        self.conns.len() - 1
    }

    /// The client sends bytes.
    pub(crate) fn send(&mut self, conn: usize, bytes: &[u8]) {
        self.conns[conn].held.extend_from_slice(bytes);
        self.offer(conn);
        self.pump();
    }

    /// The client's connection breaks.
    pub(crate) fn cut(&mut self, conn: usize) {
        let Conn { shard, link, .. } = self.conns[conn];
        if let Some(link) = link {
            self.conns[conn].link = None;
            self.conns[conn].closed = Some(Close::Abort);
            self.wheel.remove(&(shard, true, link));
            self.brokers[usize::from(shard)].transport_closed(self.now_ns, link);
        }
        self.pump();
    }

    /// Everything a client has received since it last looked.
    pub(crate) fn received(&mut self, conn: usize) -> Vec<Packet> {
        let conn = &mut self.conns[conn];
        let (packets, used) = decode_all(conn.version, &conn.received);
        conn.received.drain(..used);
        packets
    }

    /// Lets time pass, millisecond by millisecond while short, with all due timers.
    pub(crate) fn advance(&mut self, by_ns: u64) {
        let until = self.now_ns + by_ns;
        while self.now_ns < until {
            let next = self.wheel.values().min().copied().unwrap_or(u64::MAX);
            let step = if until - self.now_ns <= 100 * MILLI { self.now_ns + MILLI } else { next };
            self.now_ns = step.clamp(self.now_ns + 1, until);
            self.fire();
            self.make_room();
            for broker in &mut self.brokers {
                broker.tick(self.now_ns);
            }
            self.pump();
        }
    }

    fn make_room(&mut self) {
        for conn in &mut self.conns {
            if let Some(link) = conn.link.filter(|_| std::mem::take(&mut conn.waits_for_room)) {
                self.brokers[usize::from(conn.shard)].mark_ready(link);
            }
        }
    }

    fn fire(&mut self) {
        let due: Vec<_> =
            self.wheel.iter().filter(|(_, at)| **at <= self.now_ns).map(|(key, _)| *key).collect();
        for key in due {
            self.wheel.remove(&key);
            let (shard, is_link, index) = key;
            let broker = &mut self.brokers[usize::from(shard)];
            let next = if is_link {
                broker.on_link_timer(self.now_ns, index)
            } else {
                broker.on_session_timer(self.now_ns, index)
            };
            if let Some(at) = next {
                self.wheel.insert(key, at);
            }
        }
    }

    /// Turns until nothing happens any more.
    pub(crate) fn pump(&mut self) {
        let mut turns = 0;
        while self.turn() {
            turns += 1;
            assert!(turns < 100_000, "the shards never come to rest");
        }
    }

    /// One turn of every shard. Returns whether anything happened.
    pub(crate) fn turn(&mut self) -> bool {
        let mut busy = false;
        for shard in 0..self.brokers.len() {
            busy |= self.deliver_rings(shard);
            while let Some(request) = self.brokers[shard].next_timer() {
                let key = match request.owner {
                    TimerOwner::Link(link) => (shard as u16, true, link),
                    TimerOwner::Session(session) => (shard as u16, false, session),
                };
                let at = self.wheel.entry(key).or_insert(u64::MAX);
                *at = (*at).min(request.at_ns);
            }
            while let Some(link) = self.brokers[shard].next_resumed() {
                let conn = self.brokers[shard].transport_of(link) as usize;
                busy |= self.offer(conn);
            }
            while let Some(link) = self.brokers[shard].next_ready() {
                busy |= self.fill(shard, link);
            }
            busy |= self.push_rings(shard);
        }
        busy
    }

    fn offer(&mut self, conn: usize) -> bool {
        let Conn { shard, link, .. } = self.conns[conn];
        let Some(link) = link else { return false };
        let held = std::mem::take(&mut self.conns[conn].held);
        let taken = self.brokers[usize::from(shard)].feed(self.now_ns, link, &held);
        assert!(taken <= held.len());
        self.conns[conn].held = held[taken..].to_vec();
        taken > 0
    }

    fn fill(&mut self, shard: usize, link: u32) -> bool {
        let conn = self.brokers[shard].transport_of(link) as usize;
        let window = self.conns[conn].window.saturating_sub(self.conns[conn].received.len());
        let mut out = vec![0xEE; self.fill_bytes.min(window)];
        let filled = self.brokers[shard].fill(self.now_ns, link, &mut out);
        assert!(filled.written <= out.len());
        let conn = &mut self.conns[conn];
        conn.received.extend_from_slice(&out[..filled.written]);
        if filled.close.is_some() {
            conn.closed = filled.close;
            conn.link = None;
            self.wheel.remove(&(shard as u16, true, link));
        } else if filled.more && filled.written > 0 && conn.received.len() < conn.window {
            self.brokers[shard].mark_ready(link);
        } else if filled.more {
            conn.waits_for_room = true;
        }
        filled.written > 0 || filled.close.is_some()
    }

    /// Opens a client's window again after its bytes were read.
    pub(crate) fn widen(&mut self, conn: usize, window: usize) {
        self.conns[conn].window = window;
        let Conn { shard, link, .. } = self.conns[conn];
        if let Some(link) = link {
            self.brokers[usize::from(shard)].mark_ready(link);
        }
        self.pump();
    }

    fn push_rings(&mut self, from: usize) -> bool {
        let mut busy = false;
        for to in 0..self.brokers.len() {
            while self.rings[from][to].len() < self.ring_slots {
                let Some(message) = self.brokers[from].peek_message(to as u16) else { break };
                self.rings[from][to].push_back(message.to_vec());
                self.brokers[from].pop_message(to as u16);
                busy = true;
            }
        }
        busy
    }

    fn deliver_rings(&mut self, to: usize) -> bool {
        let mut busy = false;
        for from in 0..self.brokers.len() {
            while let Some(message) = self.rings[from][to].pop_front() {
                self.brokers[to].inbox(self.now_ns, from as u16, &message);
                busy = true;
            }
        }
        busy
    }

    /// Sum of a gauge or counter over all shards.
    pub(crate) fn sum(&self, of: impl Fn(&Broker) -> u64) -> u64 {
        self.brokers.iter().map(of).sum()
    }
}
