//! Bytes of an idle TCP connection: as laid out, and as the kernel counts pages.
//!
//! A stack, with the timer wheel that belongs to it, accepts that many connections from as many
//! peers, frame by frame, with the options of a Linux client. Each sends a message and gets it back,
//! as clients do that then fall silent; all timers run off. What is mapped then, divided by the
//! connections, is what an idle connection costs. The last line is the result as JSON.
#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use benches::residence::{Residence, residence};
use benches::tcp_peers::Peers;
use clap::Parser;
use dataplane::wheel::Wheel;
use serde_json::json;
use superpage::{Placement, TierPolicy};
use tcpstack::{
    BURST_FRAMES_MAX, ConnId, Event, Features, FrameSink, IpCidr, Limits, NeighborNews, RxFrame,
    Stack, StackConfig, Steering, TCB_BYTES, Timers,
};

/// Measures what an idle TCP connection takes.
#[derive(Debug, Parser)]
struct Args {
    /// Connections to open.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=50_000_000))]
    connections: u32,
    /// One of so many connections may have unacknowledged data at the same time.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    idle_per_active: u32,
}

/// What a connection may cost, and what it must never exceed.
const GOAL_BYTES: f64 = 256.0;
const LIMIT_BYTES: f64 = 384.0;
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const PORT: u16 = 7;
const MS: u64 = 1_000_000;

fn main() -> Result<()> {
    let args = Args::parse();
    let before = residence().context("reading /proc/self/smaps")?;
    let mut server = Server::new(&args)?;
    let mut peers = Peers::new(ADDRESS, PORT, MAC, GATEWAY_MAC);
    for first in (0..args.connections).step_by(BURST_FRAMES_MAX) {
        let last = args.connections.min(first + BURST_FRAMES_MAX as u32);
        server.exchange(&mut peers, first..last);
    }
    server.fall_silent();
    let established = server.stack.gauges().established;
    ensure!(established == u64::from(args.connections), "{established} connections are open");
    ensure!(server.echoed == u64::from(args.connections), "{} echoes", server.echoed);
    ensure!(server.stack.gauges().free == server.stack.gauges().total, "chunks are in use");

    let resident = residence()?;
    let regions = server.regions();
    report(&args, &regions, &resident.since(&before))
}

fn report(args: &Args, regions: &[(&str, usize)], resident: &Residence) -> Result<()> {
    let count = f64::from(args.connections);
    let each = |bytes: usize| bytes as f64 / count;
    let laid_out: usize = regions.iter().map(|(_, bytes)| bytes).sum();
    println!("| region | bytes mapped | a connection |\n|---|--:|--:|");
    for (name, bytes) in regions {
        println!("| {name} | {bytes} | {:.2} |", each(*bytes));
    }
    println!("| sum | {laid_out} | {:.2} |", each(laid_out));
    println!("| resident of it | {} | {:.2} |", resident.mapped, each(resident.mapped));
    println!("| heap | {} | {:.2} |", resident.heap, each(resident.heap));
    let result = json!({
        "benchmark": "memory",
        "connections": args.connections,
        "tcb_bytes": TCB_BYTES,
        "laid_out_bytes_per_connection": each(laid_out),
        "resident_bytes_per_connection": each(resident.mapped + resident.heap),
        "goal_bytes": GOAL_BYTES,
        "limit_bytes": LIMIT_BYTES,
        "ratio_to_goal": each(laid_out) / GOAL_BYTES,
    });
    println!("{result}");
    ensure!(each(laid_out) <= LIMIT_BYTES, "a connection takes more than {LIMIT_BYTES} bytes");
    Ok(())
}

/// The stack, its wheel, and an application that echoes.
struct Server {
    now_ns: u64,
    stack: Stack,
    wheel: Wheel,
    sink: Frames,
    echoed: u64,
}

impl Server {
    fn new(args: &Args) -> Result<Server> {
        let placement = Placement { tier: TierPolicy::Best, numa_node: None };
        let connections = args.connections;
        let active = (connections / args.idle_per_active).max(1_024);
        let limits = Limits {
            connections,
            syn_entries: (connections / 256).max(1_024),
            time_wait_entries: (connections / 256).max(1_024),
            flights: active,
            chunks: active,
            sent_ranges: active,
            ..Limits::default()
        };
        let config = StackConfig {
            mac: MAC,
            mtu: 1_500,
            addresses: vec![IpCidr::new(ADDRESS, 24)],
            gateway: Some(GATEWAY),
            gateway_ipv6: None,
            listeners: vec![PORT],
            limits,
            timers: Timers::default(),
            features: Features::default(),
            secret: [7; 16],
            steering: Steering::single(),
            tx_checksum_offload: true,
            placement,
            segment_bytes_max: None,
            vlan: None,
        };
        let mut stack = Stack::new(config)?;
        stack.learn_neighbor(IpAddr::V4(GATEWAY), GATEWAY_MAC, NeighborNews::Asked);
        let wheel = Wheel::create(connections, MS, placement)?;
        Ok(Server { now_ns: MS, stack, wheel, sink: Frames::default(), echoed: 0 })
    }

    /// Some peers connect, say something, hear it back and acknowledge it.
    fn exchange(&mut self, peers: &mut Peers, numbers: std::ops::Range<u32>) {
        self.round(&numbers.clone().map(|peer| peers.syn(peer)).collect::<Vec<_>>());
        self.answers(|answer| peers.heard_syn_ack(answer));
        self.round(&numbers.clone().map(|peer| peers.message(peer)).collect::<Vec<_>>());
        let before = self.sink.frames.len();
        self.answers(|answer| peers.heard_echo(answer));
        self.echoed += before as u64;
        self.round(&numbers.map(|peer| peers.last_ack(peer)).collect::<Vec<_>>());
        self.answers(|_| {});
    }

    fn answers(&mut self, mut each: impl FnMut(&[u8])) {
        self.sink.frames.drain(..).for_each(|frame| each(&frame));
    }

    fn round(&mut self, frames: &[Vec<u8>]) {
        self.now_ns += MS / 20;
        let burst: Vec<RxFrame<'_>> =
            frames.iter().map(|bytes| RxFrame { bytes, checksum_verified: true }).collect();
        self.stack.input(self.now_ns, &burst);
        self.events(&burst);
        self.time();
        self.stack.output(self.now_ns, &mut self.sink);
        self.events(&[]);
    }

    fn events(&mut self, burst: &[RxFrame<'_>]) {
        while let Some(event) = self.stack.poll_event() {
            if let Event::Data { conn, frame, start, len } = event {
                let bytes = &burst[usize::from(frame)].bytes[usize::from(start)..];
                self.stack.send(self.now_ns, conn, &bytes[..usize::from(len)]);
                self.stack.keep(conn, &[]);
            }
        }
        while let Some((conn, due_ns)) = self.stack.poll_rearm() {
            self.wheel.arm_earlier(conn, due_ns);
        }
    }

    fn time(&mut self) {
        self.wheel.advance(self.now_ns);
        let mut budget = u32::MAX;
        while let Some(conn) = self.wheel.expire(&mut budget) {
            self.fire(conn);
        }
        self.stack.expire(self.now_ns, 64);
        self.events(&[]);
    }

    fn fire(&mut self, conn: ConnId) {
        if let Some(due_ns) = self.stack.on_timer(self.now_ns, conn) {
            self.wheel.arm_earlier(conn, due_ns);
        }
    }

    /// Everything that was due happens.
    fn fall_silent(&mut self) {
        for _ in 0..200 {
            self.now_ns += 50 * MS;
            self.round(&[]);
        }
        self.answers(|_| {});
    }

    fn regions(&self) -> Vec<(&'static str, usize)> {
        let mut regions: Vec<_> =
            self.stack.regions().into_iter().map(|(name, _, bytes)| (name, bytes)).collect();
        let (name, _, bytes) = self.wheel.region();
        regions.push((name, bytes));
        regions
    }
}

/// What the stack sends.
#[derive(Debug, Default)]
struct Frames {
    frames: Vec<Vec<u8>>,
}

impl FrameSink for Frames {
    fn frame(&mut self, len: usize) -> Option<&mut [u8]> {
        self.frames.push(vec![0; len]);
        self.frames.last_mut().map(Vec::as_mut_slice)
    }

    fn checksum(&mut self, _: usize, _: usize) {}
}
