//! How fast bulk data gets through, as a table that is kept: a change of behaviour shows as a diff.
//!
//! Time is virtual and everything follows from seeds, so the figures are exact. They are those of
//! the protocol, not of the machine.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use tcpstack::{
    CongestionControl, ConnId, Event, Features, FrameSink, Limits, REASSEMBLED_BYTES_MAX, RxFrame,
    Stack, Timers,
};

use crate::link::{Frame, Impairment, Link};
use crate::wire::{self, End};

const OCTETS: usize = 5_000_000;
const SEEDS: u64 = 5;
const RTTS_MS: [u64; 4] = [1, 10, 50, 200];
/// Name, lost and overtaken frames in a thousand.
const COLUMNS: [(&str, u32, u32); 5] =
    [("0 %", 0, 0), ("0.1 %", 1, 0), ("1 %", 10, 0), ("5 %", 50, 0), ("reordered", 0, 100)];
/// 100 Mbit/s.
const OCTETS_PER_MS: u64 = 12_500;
const QUEUE_FRAMES: usize = 250;
const UPDATE: &str = "GOODPUT_UPDATE";
/// Virtual time in which the slowest transfer must be through.
const TIME_MAX_NS: u64 = 100_000 * 1_000_000_000;

const LIMITS: Limits = Limits {
    connections: 4,
    syn_entries: 4,
    time_wait_entries: 4,
    flights: 4,
    sent_ranges: 8_192,
    chunks: 16_384,
    chunk_bytes: 1_024,
    receive_buffer_bytes: 4 << 20,
    send_buffer_bytes: 4 << 20,
    neighbors: 4,
    paths: 4,
    fragments: 8,
};

#[test]
fn goodput_is_what_the_golden_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/goodput.txt");
    let table = table();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &table).expect("the table can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == table,
        "goodput differs from {}.\nGolden:\n{golden}\nNow:\n{table}\nIf the change is meant: \
         {UPDATE}=1 cargo test -p tcpstack --test simulation goodput",
        path.display()
    );
}

fn table() -> String {
    let mut text = format!(
        "Goodput in kB/s of {OCTETS} octets from one of our stacks to another, handshake included:\n\
         median of {SEEDS} runs, 100 Mbit/s with room for {QUEUE_FRAMES} frames, losses in both\n\
         directions. Reordered: a tenth of all frames comes an eighth of the RTT later.\n"
    );
    for (name, control) in
        [("CUBIC", CongestionControl::Cubic), ("NewReno", CongestionControl::NewReno)]
    {
        rows(&mut text, name, control);
    }
    text
}

/// The part of the table for one kind of congestion control.
fn rows(text: &mut String, name: &str, control: CongestionControl) {
    write!(text, "\n{name}\n  RTT ms").expect("a string takes it");
    for (name, ..) in COLUMNS {
        write!(text, "{name:>11}").expect("a string takes it");
    }
    for rtt_ms in RTTS_MS {
        write!(text, "\n{rtt_ms:>8}").expect("a string takes it");
        for (_, loss_permille, reorder_permille) in COLUMNS {
            let impairment = Impairment {
                delay_us: rtt_ms * 500,
                loss_permille,
                reorder_permille,
                reorder_us: rtt_ms * 125,
                octets_per_ms: OCTETS_PER_MS,
                queue_frames: QUEUE_FRAMES,
                ..Impairment::default()
            };
            let mut runs: Vec<u64> =
                (0..SEEDS).map(|seed| goodput(seed, control, impairment)).collect();
            runs.sort_unstable();
            write!(text, "{:>11}", runs[runs.len() / 2]).expect("a string takes it");
        }
    }
    text.push('\n');
}

/// Transfers the octets once; kB/s.
fn goodput(seed: u64, control: CongestionControl, impairment: Impairment) -> u64 {
    let mut ends = [0, 1].map(|end| Transfer::new(seed, End(end), control));
    let mut links = [Link::new(seed ^ 0x11, impairment), Link::new(seed ^ 0x22, impairment)];
    let mut now_ns = START_NS;
    ends[0].stack.connect(now_ns, End(1).listener(false)).expect("room for one");
    while ends[1].received < OCTETS {
        for end in [0, 1] {
            let frames: Vec<Frame> =
                std::iter::from_fn(|| links[1 - end].receive(now_ns)).collect();
            for bytes in ends[end].turn(now_ns, &frames) {
                links[end].send(now_ns, bytes);
            }
        }
        let next = ends.iter().filter_map(Transfer::next_ns);
        let arrivals = links.iter().filter_map(Link::next_ns);
        let next_ns = next.chain(arrivals).min().expect("somebody has something to do");
        now_ns = next_ns.max(now_ns + TURN_NS);
        assert!(now_ns < TIME_MAX_NS, "stuck at {} octets, {impairment:?}", ends[1].received);
    }
    OCTETS as u64 * 1_000_000 / (now_ns - START_NS)
}

/// One end of a transfer: what connects sends, what accepts reads at once.
struct Transfer {
    stack: Stack,
    wheel: BTreeMap<ConnId, u64>,
    sent: usize,
    received: usize,
}

impl Transfer {
    fn new(seed: u64, end: End, control: CongestionControl) -> Self {
        let mut features = [Features::default()];
        features[0].congestion_control = control;
        let [features] = features;
        let stack = wire::stack(seed, end, LIMITS, Timers::default(), features);
        Self { stack, wheel: BTreeMap::new(), sent: 0, received: 0 }
    }

    fn turn(&mut self, now_ns: u64, incoming: &[Frame]) -> Vec<Vec<u8>> {
        for burst in incoming.chunks(tcpstack::BURST_FRAMES_MAX) {
            let frames: Vec<RxFrame<'_>> = burst
                .iter()
                .map(|frame| RxFrame { bytes: &frame.bytes, checksum_verified: false })
                .collect();
            self.stack.input(now_ns, &frames);
            self.drain(now_ns);
            let whole = self.stack.poll_reassembled(&mut [0; REASSEMBLED_BYTES_MAX]);
            assert_eq!(whole, None, "no link of these cuts packets");
        }
        let due: Vec<ConnId> =
            self.wheel.iter().filter(|due| *due.1 <= now_ns).map(|due| *due.0).collect();
        for conn in due {
            self.wheel.remove(&conn);
            if let Some(next_ns) = self.stack.on_timer(now_ns, conn) {
                self.wheel.insert(conn, next_ns);
            }
            self.drain(now_ns);
        }
        self.stack.expire(now_ns, 16);
        self.drain(now_ns);
        let mut sink = Sink(Vec::new());
        self.stack.output(now_ns, &mut sink);
        self.drain(now_ns);
        sink.0
    }

    fn drain(&mut self, now_ns: u64) {
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Data { conn, len, .. } => {
                    self.received += usize::from(len);
                    self.stack.keep(conn, &[]);
                }
                Event::Readable { conn } => {
                    let count = self.stack.backlog(conn);
                    self.received += count;
                    self.stack.consume(conn, count);
                }
                Event::Connected { conn } | Event::Writable { conn } => {
                    loop {
                        let rest = (OCTETS - self.sent).min(DATA.len());
                        let taken = self.stack.send(now_ns, conn, &DATA[..rest]);
                        self.sent += taken;
                        if taken == 0 {
                            break;
                        }
                    }
                    self.stack.want_writable(conn);
                }
                Event::Closed { reason, .. } => panic!("the transfer ended: {reason:?}"),
                Event::Accepted { .. }
                | Event::PeerClosed { .. }
                | Event::Neighbor { .. }
                | Event::Duplicate { .. } => {}
            }
        }
        while let Some((conn, at_ns)) = self.stack.poll_rearm() {
            self.wheel.insert(conn, at_ns);
        }
    }

    fn next_ns(&self) -> Option<u64> {
        let output = self.stack.has_output().then_some(0);
        let wheel = self.wheel.values().copied().min();
        [output, wheel, self.stack.next_expiry()].into_iter().flatten().min()
    }
}

struct Sink(Vec<Vec<u8>>);

impl FrameSink for Sink {
    fn frame(&mut self, len: usize) -> Option<&mut [u8]> {
        self.0.push(vec![0; len]);
        self.0.last_mut().map(Vec::as_mut_slice)
    }

    fn checksum(&mut self, _: usize, _: usize) {
        unreachable!("the port was not said to fill in checksums");
    }
}

const START_NS: u64 = 1_000_000_000;
/// A turn of a shard takes so long.
const TURN_NS: u64 = 10_000;
static DATA: [u8; 65_536] = [0x5a; 65_536];
