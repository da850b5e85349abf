//! Two stacks, a wire that misbehaves, and programs that check every octet.
//!
//! Everything follows from a seed: the wire, the programs, how bursts are cut, how much room the
//! sink has. The clock is virtual. Afterwards all memory must be back in its pools.

mod host;
mod link;
mod program;

use std::net::{Ipv4Addr, SocketAddr};

use host::Host;
use link::{Impairment, Link};
use superpage::{Placement, TierPolicy};
use tcpstack::{IpCidr, Limits, Stack, StackConfig, Steering, Timers};

const PORT: u16 = 7;
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// Virtual time after which a run is stuck.
const TIME_MAX_NS: u64 = 4_000 * 1_000_000_000;

const CLEAN: Impairment =
    Impairment { delay_us: 50, jitter_us: 0, loss_percent: 0, duplicate_percent: 0 };
const LOSSY: Impairment =
    Impairment { delay_us: 1_000, jitter_us: 100, loss_percent: 5, duplicate_percent: 0 };
const REORDERING: Impairment =
    Impairment { delay_us: 200, jitter_us: 3_000, loss_percent: 0, duplicate_percent: 5 };
const AWFUL: Impairment =
    Impairment { delay_us: 5_000, jitter_us: 20_000, loss_percent: 15, duplicate_percent: 10 };

/// What a run is made of.
#[derive(Clone, Copy)]
struct Plan {
    impairment: Impairment,
    connections: usize,
    octets_max: usize,
    limits: Limits,
}

fn limits() -> Limits {
    Limits {
        connections: 200,
        syn_entries: 200,
        time_wait_entries: 200,
        flights: 200,
        chunks: 20_000,
        chunk_bytes: 512,
        receive_buffer_bytes: 65_535,
        send_buffer_bytes: 65_535,
        neighbors: 16,
    }
}

fn stack(seed: u64, last: u8, address: Ipv4Addr, limits: Limits) -> Stack {
    let config = StackConfig {
        mac: [2, 0, 0, 0, 0, last],
        mtu: 1_500,
        addresses: vec![IpCidr::new(address, 24)],
        gateway: None,
        gateway_ipv6: None,
        listeners: vec![PORT],
        limits,
        timers: Timers {
            // With these losses FINs need many attempts; nobody shall give up before.
            rto_max_ms: 10_000,
            time_wait_ms: 600_000,
            fin_wait_2_ms: 600_000,
            user_timeout_ms: 1_000_000,
            keep_alive_idle_ms: 60_000,
            keep_alive_interval_ms: 5_000,
            ..Timers::default()
        },
        features: tcpstack::Features::default(),
        secret: [seed as u8 ^ last; 16],
        steering: Steering::single(),
        tx_checksum_offload: false,
        placement: Placement { tier: TierPolicy::BaseOnly, ..Placement::default() },
        segment_bytes_max: None,
    };
    Stack::new(config).expect("a small stack fits")
}

fn run(seed: u64, plan: Plan) {
    println!("seed {seed}, {:?}", plan.impairment);
    let host =
        |last, address| Host::new(stack(seed, last, address, plan.limits), seed, plan.octets_max);
    let (mut client, mut server) = (host(2, CLIENT), host(1, SERVER));
    let mut there = Link::new(seed ^ 1, plan.impairment);
    let mut back = Link::new(seed ^ 2, plan.impairment);
    let mut random = fastrand::Rng::with_seed(seed ^ 3);
    let mut now_ns = 1_000_000_000;
    let mut left = plan.connections;
    while left > 0 || !client.programs.is_empty() {
        if left > 0 && random.u8(..4) == 0 {
            client.connect(now_ns, SocketAddr::new(SERVER.into(), PORT));
            left -= 1;
        }
        client.turn(now_ns, &mut back, &mut there);
        server.turn(now_ns, &mut there, &mut back);
        let next = [there.next_ns(), back.next_ns(), client.next_ns(), server.next_ns()];
        let next_ns = next.into_iter().flatten().min().unwrap_or(now_ns);
        let soon_ns = if left > 0 { now_ns + 1_000_000 } else { u64::MAX };
        now_ns = (now_ns + 1_000 * random.u64(1..100)).max(next_ns.min(soon_ns));
        assert!(now_ns < TIME_MAX_NS, "stuck at seed {seed}: {:?}", client.programs);
    }
    finish(seed, now_ns, [&mut client, &mut server], [&mut there, &mut back]);
    let (clients, servers) = (&client.ended, &server.ended);
    assert_eq!(clients.len(), plan.connections, "seed {seed}");
    assert!(servers.len() <= clients.len(), "seed {seed}");
    client.check_endings();
    server.check_endings();
}

/// Lets all timers run out, and looks whether everything was given back.
fn finish(seed: u64, mut now_ns: u64, hosts: [&mut Host; 2], links: [&mut Link; 2]) {
    let ([client, server], [there, back]) = (hosts, links);
    while let Some(next_ns) = [there.next_ns(), back.next_ns(), client.next_ns(), server.next_ns()]
        .into_iter()
        .flatten()
        .min()
    {
        now_ns = (now_ns + 10_000).max(next_ns);
        assert!(now_ns < 2 * TIME_MAX_NS, "seed {seed} never comes to rest");
        client.turn(now_ns, back, there);
        server.turn(now_ns, there, back);
    }
    for host in [client, server] {
        let gauges = host.stack.gauges();
        assert!(host.programs.is_empty(), "seed {seed}: {:?}", host.programs);
        assert_eq!((gauges.in_use, gauges.flows), (0, 0), "seed {seed}: {gauges:?}");
        assert_eq!(gauges.free, gauges.total, "seed {seed}: {gauges:?}");
        let states = [gauges.syn_sent, gauges.established, gauges.close_wait, gauges.time_wait];
        assert_eq!(states, [0; 4], "seed {seed}: {gauges:?}");
        let counters = host.stack.counters();
        let drops: u64 = tcpstack::StackCounters::FIELDS
            .iter()
            .zip(counters.values())
            .filter(|(field, _)| field.name.starts_with("drop_"))
            .map(|(_, value)| value)
            .sum();
        assert_eq!(counters.received, counters.accepted + drops, "seed {seed}");
    }
}

/// A few seeds, or as many as `SIMULATION_SEEDS` says.
fn run_seeds(first: u64, count: u64, plan: Plan) {
    let count = std::env::var("SIMULATION_SEEDS")
        .map_or(count, |count| count.parse().expect("SIMULATION_SEEDS is a number"));
    for seed in first..first + count {
        run(seed, plan);
    }
}

#[test]
fn clean_wire() {
    let plan = Plan { impairment: CLEAN, connections: 50, octets_max: 300_000, limits: limits() };
    run_seeds(0, 3, plan);
}

#[test]
fn lossy_wire() {
    let plan = Plan { impairment: LOSSY, connections: 40, octets_max: 200_000, limits: limits() };
    run_seeds(100000, 5, plan);
}

#[test]
fn reordering_and_duplicating_wire() {
    let plan =
        Plan { impairment: REORDERING, connections: 40, octets_max: 200_000, limits: limits() };
    run_seeds(200000, 5, plan);
}

#[test]
fn awful_wire() {
    let plan = Plan { impairment: AWFUL, connections: 30, octets_max: 60_000, limits: limits() };
    run_seeds(300000, 10, plan);
}

#[test]
fn pools_too_small_for_everybody() {
    let limits = Limits {
        flights: 3,
        chunks: 300,
        receive_buffer_bytes: 20_000,
        send_buffer_bytes: 20_000,
        ..limits()
    };
    let plan = Plan { impairment: LOSSY, connections: 30, octets_max: 50_000, limits };
    run_seeds(400000, 5, plan);
}

#[test]
fn large_scaled_windows() {
    let limits = Limits {
        receive_buffer_bytes: 1 << 20,
        send_buffer_bytes: 1 << 20,
        chunks: 60_000,
        ..limits()
    };
    let plan = Plan { impairment: LOSSY, connections: 10, octets_max: 3_000_000, limits };
    run_seeds(500000, 2, plan);
}
