//! The process `trunkline-dataplane`: what happens once, before and after the shards turn.
//!
//! [`run`] reads top to bottom in the order of events. Everything it acquires is given back in the
//! reverse order by dropping it: shards, queues, port, packet buffers, EAL, socket, lock.

pub mod args;
mod configure;
mod eal_args;
mod host;
mod inquiry;
mod link;
mod log;
mod run_dir;
mod threads;

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use capsule::clock::Clock;
use capsule::{Eal, Mempool, MempoolConfig, Offloads, Port, PortFacts};
use hwconfig::{Overrides, Profile};
use superpage::Tier;

use args::Args;
use configure::Secrets;
use eal_args::EalMemory;
use link::Link;
use run_dir::RunDir;

use crate::drain::StopSwitch;
use crate::peers::Peers;
use crate::publish::PortBoard;
use crate::shard::Shard;

/// Runs the dataplane until it is told to stop.
///
/// # Errors
/// When something of the machine or the profile does not allow a start, with what to do about it.
pub fn run(args: &Args) -> Result<()> {
    let profile = load(args)?;
    let dir = args.run_dir.as_ref().map_or_else(|| profile.run_dir(), hwconfig::RunDir::at);
    let run_dir = RunDir::claim(&dir)?;
    let signals = threads::Signals::catch()?;
    host::take_only_ending_signals()?;
    host::leave_terminal();
    host::set_limits()?;
    log::line(format_args!(
        "trunkline-dataplane {} starting: profile {}, instance {}, pid {}",
        env!("CARGO_PKG_VERSION"),
        profile.name,
        profile.instance,
        std::process::id()
    ));
    if let Some(netns) = &profile.port.netns {
        host::join_netns(netns)?;
    }
    serve(&profile, &run_dir, &signals)?;
    log::line("stopped: port, memory and files are given back");
    Ok(())
}

/// From the first page of memory to the last: everything made here is gone when it returns.
fn serve(profile: &Profile, run_dir: &RunDir, signals: &threads::Signals) -> Result<()> {
    let (eal, mempool, mut port) = open_port(profile)?;
    port.start().context("starting the port")?;
    log_port(&eal, port.facts());

    let stop = Arc::new(StopSwitch::default());
    let mut shards = make_shards(profile, &mut port, &stop)?;
    let board = Arc::new(PortBoard::default());
    let link = Link::open(profile, &eal, run_dir, &mut shards, &board)?;
    log_memory(&shards);
    for shard in &mut shards {
        shard.announce();
    }

    let running = threads::start(profile, eal, shards, Arc::clone(&stop))?;
    link.running();
    log::line(format_args!(
        "running: {} shard(s) on core(s) {:?}, idle policy {:?}",
        profile.shard_count(),
        profile.shards.cores,
        profile.shards.idle
    ));
    let deadline_ms = profile.stop.drain_ms;
    let mut watch = threads::Watch { port: &port, mempool: &mempool, board: &board, link: &link };
    watch.until_stopped(&running, signals, &stop, deadline_ms);
    running.join()?;

    if !port.stop() {
        bail!("the port could not be stopped: a queue is still in use");
    }
    link.stopped();
    Ok(())
}

fn load(args: &Args) -> Result<Profile> {
    let overrides = Overrides { instance: args.instance.clone(), ..Overrides::default() };
    let profile = hwconfig::load_or_embedded(args.profile.as_deref(), &overrides)?;
    for warning in profile.warnings() {
        log::line(format_args!("warning: {warning}"));
    }
    Ok(profile)
}

/// EAL, the packet buffers and the port, which is not started yet.
fn open_port(profile: &Profile) -> Result<(Eal, Mempool, Port)> {
    let memory = EalMemory::choose(profile, host::free_hugepages()).map_err(anyhow::Error::msg)?;
    if memory == EalMemory::NoHuge {
        log::line(
            "WARNING: too few free huge pages: DPDK runs on 4 KiB pages. \
             This is slower; `trunkline check` says how many to reserve.",
        );
    }
    // EAL pins the thread that starts it; shards are pinned one by one, the rest stays free.
    let before = host::affinity()?;
    let args = eal_args::eal_args(profile, memory);
    log::line(format_args!("EAL arguments: {}", args.join(" ")));
    let eal = Eal::init(&args)?;
    host::set_affinity(&before)?;

    let config = MempoolConfig {
        name: "mbufs".to_owned(),
        mbufs: profile.memory.mbufs,
        // What a shard keeps at hand, so that it rarely goes to the pool that all share.
        cache: profile.shards.batch_frames.into(),
        data_room_bytes: u16::try_from(profile.mbuf_data_bytes() + MBUF_HEADROOM_BYTES)
            .context("port.mtu needs larger packet buffers than DPDK has")?,
        numa_node: profile.memory.numa_node.map(u32::from),
    };
    let mempool = Mempool::create(&eal, &config)?;
    let port = Port::open(&eal, &configure::port_config(profile), &mempool)?;
    Ok((eal, mempool, port))
}

/// Says what the port is and what it does for us.
fn log_port(eal: &Eal, facts: &PortFacts) {
    let [a, b, c, d, e, f] = facts.mac;
    let Offloads { rx_checksum, tx_checksum, rss } = facts.granted;
    log::line(format_args!(
        "{}: {} ({}), MAC {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}, MTU {}, {} queue(s) of \
         {} + {} slots; does rx checksums: {rx_checksum}, tx checksums: {tx_checksum}, RSS: {rss}",
        eal.version(),
        facts.device,
        facts.driver,
        facts.mtu,
        facts.rx_queues,
        facts.rx_slots,
        facts.tx_slots,
    ));
}

/// What DPDK keeps free in front of a frame.
const MBUF_HEADROOM_BYTES: u64 = 128;

/// One shard for each core. Each is made on its core, so that its memory is near it.
fn make_shards(profile: &Profile, port: &mut Port, stop: &Arc<StopSwitch>) -> Result<Vec<Shard>> {
    let secrets = Secrets { stack: host::random()?, broker: host::random()? };
    let clock = Clock::calibrate();
    if !clock.tsc_is_invariant() {
        log::line("WARNING: the time stamp counter is not invariant: the kernel's clock is used");
    }
    let before = host::affinity()?;
    let queues = port.take_queues();
    let frame_bytes_max = queues.iter().map(|q| q.frame_bytes_max()).max().unwrap_or(0);
    let body_bytes_max = configure::peer_body_bytes_max(profile, frame_bytes_max);
    let peers = Peers::mesh(profile.shard_count(), body_bytes_max);
    let mut shards = Vec::new();
    for (index, (queue, peers)) in (0..).zip(queues.into_iter().zip(peers)) {
        host::pin_to(profile.shards.cores[usize::from(index)])?;
        let config = configure::shard_config(profile, port.facts(), &secrets, index);
        let shard = Shard::new(config, queue, peers, clock, Arc::clone(stop), clock.now_ns())
            .with_context(|| format!("making shard {index}"))?;
        shards.push(shard);
    }
    host::set_affinity(&before)?;
    Ok(shards)
}

/// Says what kind of pages the tables got, loudly when it is the slow kind.
fn log_memory(shards: &[Shard]) {
    for tier in crate::catalogue::TIERS {
        let of_tier = |shard: &Shard| -> usize {
            shard.regions().iter().filter(|r| r.1 == tier).map(|(_, _, bytes)| bytes).sum()
        };
        let bytes: usize = shards.iter().map(of_tier).sum();
        if bytes > 0 {
            let warning = if tier == Tier::Base { "WARNING: slow pages: " } else { "" };
            log::line(format_args!("{warning}tables: {} MiB on {tier} pages", bytes >> 20));
        }
    }
}
