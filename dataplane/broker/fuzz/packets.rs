//! MQTT bytes, valid, nearly valid and not at all, into the brokers of two shards.
//!
//! The input is a programme: each step is an operation byte and its operands. Besides raw bytes
//! there are packets made from small tables of client ids, topics and filters, so that sessions,
//! take-overs and routes really come about, and they may be cut short or have a byte changed. At
//! the end every client is gone and every session expired, and nothing may be left in any pool.

use std::collections::BTreeMap;

use broker::{Broker, BrokerConfig, Limits, TimerOwner, Timers};
use superpage::{Placement, TierPolicy};

const SHARDS: u16 = 2;
const LINKS_MAX: usize = 6;
const STEPS_MAX: usize = 256;
/// Longer than any session lives.
const HOURS_MAX: usize = 256;
const CLIENT_IDS: [&str; 4] =
    ["", "a", "client-two", "a client id longer than a unit of the store"];
const NAMES: [&str; 8] = ["a", "a/b", "a/b/c", "+", "a/+", "a/#", "#", "$share/g/a"];

/// Runs one programme.
pub(crate) fn run(data: &[u8]) {
    let mut world = World::new();
    let mut input = Input(data);
    for _ in 0..STEPS_MAX {
        let Some(operation) = input.next() else { break };
        world.step(operation, &mut input);
        match operation >> 3 & 3 {
            // More bytes may come, and buffers be sent, before the shards hear of each other.
            1 => {}
            2 => world.pass_messages(1),
            _ => world.pump(),
        }
    }
    world.end();
}

struct Client {
    shard: usize,
    link: u32,
    level: u8,
    /// Bytes the broker has not taken yet.
    held: Vec<u8>,
}

struct World {
    now_ns: u64,
    shards: Vec<Broker>,
    clients: Vec<Client>,
    timers: BTreeMap<(usize, bool, u32), u64>,
}

impl World {
    fn new() -> World {
        let shards = (0..SHARDS).map(|shard| Broker::new(config(shard)).expect("small tables fit"));
        World { now_ns: 0, shards: shards.collect(), clients: Vec::new(), timers: BTreeMap::new() }
    }

    fn step(&mut self, operation: u8, input: &mut Input<'_>) {
        let choice = input.next().unwrap_or(0);
        match operation % 8 {
            0 => self.open(choice),
            1 => self.close(choice),
            2 => self.fill(choice, input.next().unwrap_or(255)),
            3 => {
                // From a microsecond to some days.
                self.now_ns += 1_000 << (input.next().unwrap_or(0) % 39);
                self.fire_timers();
            }
            4 => {
                let len = usize::from(input.next().unwrap_or(0));
                let bytes = input.bytes(len).to_vec();
                self.feed(choice, &bytes);
            }
            _ => {
                let Some(client) = self.client(choice) else { return };
                let mut packet = packet(self.clients[client].level, input);
                match input.next() {
                    Some(at @ 1..=63) => packet.truncate(usize::from(at)),
                    Some(at @ 64..=127) if !packet.is_empty() => {
                        let at = usize::from(at - 64) % packet.len();
                        packet[at] = input.next().unwrap_or(0);
                    }
                    _ => {}
                }
                self.feed(choice, &packet);
            }
        }
    }

    fn client(&self, choice: u8) -> Option<usize> {
        (!self.clients.is_empty()).then(|| usize::from(choice) % self.clients.len())
    }

    fn open(&mut self, choice: u8) {
        let shard = usize::from(choice & 1);
        if self.clients.len() == LINKS_MAX {
            return;
        }
        if let Some(link) = self.shards[shard].accept(self.now_ns, self.clients.len() as u32) {
            let level = if choice & 2 == 0 { 5 } else { 4 };
            self.clients.push(Client { shard, link, level, held: Vec::new() });
        }
    }

    fn close(&mut self, choice: u8) {
        let Some(at) = self.client(choice) else { return };
        let client = self.clients.remove(at);
        self.timers.remove(&(client.shard, true, client.link));
        self.shards[client.shard].transport_closed(self.now_ns, client.link);
    }

    fn feed(&mut self, choice: u8, bytes: &[u8]) {
        let Some(client) = self.client(choice) else { return };
        let Client { shard, link, held, .. } = &mut self.clients[client];
        held.extend_from_slice(bytes);
        let taken = self.shards[*shard].feed(self.now_ns, *link, held);
        held.drain(..taken);
    }

    /// Sends what is ready, into small buffers, and leaves the rest to the next time.
    fn fill(&mut self, choice: u8, len: u8) {
        let shard = usize::from(choice) % self.shards.len();
        while let Some(link) = self.shards[shard].next_ready() {
            let mut out = [0; 255];
            let out = &mut out[..usize::from(len)];
            let fill = self.shards[shard].fill(self.now_ns, link, out);
            assert!(fill.written <= out.len());
            if fill.close.is_some() {
                self.timers.remove(&(shard, true, link));
                self.clients.retain(|client| (client.shard, client.link) != (shard, link));
            } else if fill.more {
                self.shards[shard].mark_ready(link);
                if len < 8 {
                    break;
                }
            }
        }
    }

    /// Passes on up to `most` messages from each shard to each other one.
    fn pass_messages(&mut self, most: usize) {
        for from in 0..self.shards.len() {
            for to in 0..self.shards.len() {
                for _ in 0..most {
                    let Some(message) = self.shards[from].peek_message(to as u16) else { break };
                    let message = message.to_vec();
                    self.shards[from].pop_message(to as u16);
                    self.shards[to].inbox(self.now_ns, from as u16, &message);
                }
            }
        }
    }

    /// What the dataplane does every turn.
    fn pump(&mut self) {
        self.pass_messages(usize::MAX);
        for shard in 0..self.shards.len() {
            while let Some(link) = self.shards[shard].next_resumed() {
                let now_ns = self.now_ns;
                let ours = |client: &&mut Client| (client.shard, client.link) == (shard, link);
                if let Some(client) = self.clients.iter_mut().find(ours) {
                    let taken = self.shards[shard].feed(now_ns, link, &client.held);
                    client.held.drain(..taken);
                }
            }
            while let Some(request) = self.shards[shard].next_timer() {
                let key = key(shard, request.owner);
                let at_ns = self.timers.entry(key).or_insert(request.at_ns);
                *at_ns = (*at_ns).min(request.at_ns);
            }
            self.shards[shard].tick(self.now_ns);
        }
    }

    fn fire_timers(&mut self) {
        let due: Vec<_> =
            self.timers.iter().filter(|&(_, &at)| at <= self.now_ns).map(|(&key, _)| key).collect();
        for key @ (shard, is_link, id) in due {
            self.timers.remove(&key);
            let broker = &mut self.shards[shard];
            let next = if is_link {
                broker.on_link_timer(self.now_ns, id)
            } else {
                broker.on_session_timer(self.now_ns, id)
            };
            if let Some(at_ns) = next {
                self.timers.insert(key, at_ns);
            }
        }
    }

    /// Everybody leaves, everything expires, nothing is left.
    fn end(mut self) {
        while self.clients.len() > 1 {
            self.close(0);
            self.pump();
        }
        self.check_last_client();
        while !self.clients.is_empty() {
            self.close(0);
            self.pump();
        }
        for _ in 0..HOURS_MAX {
            self.now_ns += 3_600_000_000_000;
            self.fire_timers();
            for shard in 0..SHARDS {
                self.fill(shard as u8, 255);
            }
            self.pump();
            if self.left() == 0 {
                return;
            }
        }
        let gauges: Vec<_> = self.shards.iter().map(Broker::gauges).collect();
        panic!("something is left: {gauges:?}");
    }

    /// A client for whom all others have made room is not held up by anything.
    fn check_last_client(&mut self) {
        for _ in 0..4 {
            self.now_ns += 3_600_000_000_000;
            self.fire_timers();
            for shard in 0..SHARDS {
                self.fill(shard as u8, 255);
            }
            self.pump();
        }
        for client in &self.clients {
            let held = self.shards[client.shard].is_held(client.link);
            assert!(!held, "a link on shard {} is held for ever", client.shard);
        }
    }

    /// Everything that should be gone.
    fn left(&self) -> u64 {
        let left = self.shards.iter().map(|broker| {
            let gauges = broker.gauges();
            [
                gauges.links,
                gauges.active_links,
                gauges.sessions,
                gauges.clients,
                gauges.subscriptions,
                gauges.filters,
                gauges.deliveries,
                gauges.pending,
                gauges.moves,
                gauges.staged_bytes,
                gauges.messages - gauges.retained,
            ]
        });
        left.flatten().sum()
    }
}

fn key(shard: usize, owner: TimerOwner) -> (usize, bool, u32) {
    match owner {
        TimerOwner::Link(link) => (shard, true, link),
        TimerOwner::Session(session) => (shard, false, session),
    }
}

/// Tables so small that every one of them fills up.
fn config(shard: u16) -> BrokerConfig {
    BrokerConfig {
        shard,
        shards: SHARDS,
        limits: Limits {
            links: 5,
            active_links: 4,
            sessions: 4,
            clients: 4,
            subscriptions: 8,
            filters: 6,
            wildcard_nodes: 8,
            identifiers: 3,
            messages: 12,
            payload_units: 24,
            payload_unit_bytes: 64,
            deliveries: 16,
            retained: 3,
            session_queue_messages: 5,
            inflight: 3,
            packet_bytes_max: 512,
            header_bytes_max: 256,
            output_chunks: 16,
            pending: 8,
            retained_jobs: 2,
            moves: 2,
            staging_bytes: 4096,
        },
        timers: Timers { session_expiry_max_s: 7200, ..Timers::default() },
        placement: Placement { tier: TierPolicy::BaseOnly, numa_node: None },
        ..BrokerConfig::default()
    }
}

/// A packet that is right but for what the tables offer.
fn packet(level: u8, input: &mut Input<'_>) -> Vec<u8> {
    let (kind, flags) = (input.next().unwrap_or(0) % 9, input.next().unwrap_or(0));
    let name = NAMES[usize::from(input.next().unwrap_or(0)) % NAMES.len()];
    let number = input.next().unwrap_or(1);
    let qos = flags & 3;
    let mut body = Vec::new();
    let first = match kind {
        0 => {
            connect(&mut body, level, flags, number, name);
            0x10
        }
        1 | 2 => {
            string(&mut body, name);
            if qos > 0 {
                body.extend([0, number]);
            }
            properties(&mut body, level, &[0x02, 0, 0, 0, 9]);
            body.extend(std::iter::repeat_n(b'x', usize::from(number) * usize::from(flags >> 5)));
            0x30 | flags & 0x0f
        }
        3 | 4 => {
            body.extend([0, 1]);
            properties(&mut body, level, &[0x0b, number | 1][..usize::from(flags >> 7) * 2]);
            string(&mut body, name);
            body.push(if level == 5 { flags & 0x3f } else { qos });
            0x82
        }
        5 => {
            body.extend([0, 1]);
            properties(&mut body, level, &[]);
            string(&mut body, name);
            0xa2
        }
        6 => {
            body.extend([0, number]);
            [0x40, 0x50, 0x62, 0x70][usize::from(qos)]
        }
        7 => 0xc0,
        _ => {
            if level == 5 {
                body.extend([if flags & 1 == 0 { 0 } else { 4 }, 5, 0x11, 0, 0, 0, number]);
            }
            0xe0
        }
    };
    let mut packet = vec![first];
    variable_int(&mut packet, body.len());
    packet.extend(body);
    packet
}

fn connect(body: &mut Vec<u8>, level: u8, flags: u8, number: u8, will_topic: &str) {
    string(body, "MQTT");
    let will = flags & 4;
    let connect_flags = flags & 2 | will | if will != 0 { flags & 0x28 } else { 0 };
    body.extend([level, connect_flags, 0, number]);
    properties(body, level, &[0x11, 0, 0, number, 0]);
    string(body, CLIENT_IDS[usize::from(flags >> 6)]);
    if will != 0 {
        properties(body, level, &[0x18, 0, 0, 0, number]);
        string(body, will_topic);
        string(body, "gone");
    }
}

fn properties(body: &mut Vec<u8>, level: u8, bytes: &[u8]) {
    if level == 5 {
        variable_int(body, bytes.len());
        body.extend(bytes);
    }
}

fn string(body: &mut Vec<u8>, text: &str) {
    body.extend((text.len() as u16).to_be_bytes());
    body.extend(text.as_bytes());
}

fn variable_int(bytes: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
