//! A cable between two interfaces of the kernel, through the appliance's own impaired link: two ports
//! of DPDK, two lanes, one core. Kernel sockets at both ends meet the same code, rates and memory as
//! a kernel socket and the appliance do.
//!
//! Prints `running`, forwards until SIGTERM or SIGINT, then prints what happened in each lane as JSON.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result};
use benches::cores::pin;
use capsule::clock::Clock;
use capsule::impairment::{Direction, Impairment, Lane};
use capsule::{
    Eal, Mempool, MempoolConfig, Offloads, Port, PortConfig, PortQueue, RxBatch, TxBatch,
};
use clap::Parser;
use dataplane::idle::{Idle, IdlePolicy};
use nix::sys::prctl;
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Sleeps end this close to their time, as those of a shard do.
const TIMER_SLACK_NS: u64 = 1_000;
/// Frames that wait for a driver, and descriptors of its rings: as in a profile without these keys.
const RING_SLOTS: u16 = 1_024;
const MBUFS: u32 = 16_384;
/// A frame of MTU 1,500 in a power of two, and the headroom in front of it.
const DATA_ROOM_BYTES: u16 = 2_048 + 128;
/// A shard's own bounds, by default of the profile.
const IDLE: IdlePolicy = IdlePolicy::Adaptive { spin_turns: 2_000, sleep_us_max: 100 };

/// Forwards frames between two interfaces through an impaired link.
#[derive(Parser, Debug)]
struct Arguments {
    /// EAL's arguments, which make the devices `net_af_packet0` and `net_af_packet1`.
    #[arg(long, allow_hyphen_values = true)]
    eal: Vec<String>,
    /// The core that does all the work.
    #[arg(long)]
    core: usize,
    /// Where all randomness comes from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Frames lost each way, in millionths.
    #[arg(long, default_value_t = 0)]
    loss_ppm: u32,
    /// Frames that later ones overtake, each way, in millionths.
    #[arg(long, default_value_t = 0)]
    reorder_ppm: u32,
    /// How much later those come.
    #[arg(long, default_value_t = 5_000)]
    reorder_us: u64,
    /// Time that every frame takes, each way.
    #[arg(long, default_value_t = 0)]
    delay_us: u64,
    /// Rate each way in kbit/s; 0 for none.
    #[arg(long, default_value_t = 0)]
    rate_kbps: u64,
    /// Bytes that may wait for the rate each way.
    #[arg(long, default_value_t = 1_048_576)]
    queue_bytes: u64,
    /// Frames that may be under way each way.
    #[arg(long, default_value_t = 4_096)]
    frames: usize,
}

impl Arguments {
    fn impairment(&self) -> Impairment {
        Impairment {
            seed: self.seed,
            loss_ppm: self.loss_ppm,
            duplicate_ppm: 0,
            reorder_ppm: self.reorder_ppm,
            reorder_ns: self.reorder_us * 1_000,
            delay_ns: self.delay_us * 1_000,
            rate_bps: self.rate_kbps * 1_000,
            queue_bytes: self.queue_bytes,
            frames_max: self.frames,
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("catching signals")?;
    }
    let eal = Eal::init(&arguments.eal)?;
    let mempool = Mempool::create(
        &eal,
        &MempoolConfig {
            name: "mbufs".to_owned(),
            mbufs: MBUFS,
            cache: 64,
            data_room_bytes: DATA_ROOM_BYTES,
            numa_node: None,
        },
    )?;
    let mut left = open(&eal, &mempool, "net_af_packet0")?;
    let mut right = open(&eal, &mempool, "net_af_packet1")?;
    pin(arguments.core)?;
    prctl::set_timerslack(TIMER_SLACK_NS).context("making short sleeps short")?;
    let _registration = eal.register_thread()?;
    // The left end is where the client's port is, the right one where a stack would be.
    let impairment = arguments.impairment();
    let (one, other) = (take_queue(&mut left)?, take_queue(&mut right)?);
    let mut bridge = Bridge {
        inbound: Way::new(impairment, &other, Direction::Inbound),
        outbound: Way::new(impairment, &one, Direction::Outbound),
        left: one,
        right: other,
    };
    println!("running");
    bridge.run(&stop);
    println!("{}", bridge.report());
    Ok(())
}

fn open(eal: &Eal, mempool: &Mempool, device: &str) -> Result<Port> {
    let config = PortConfig {
        device: device.to_owned(),
        rx_queues: 1,
        tx_queues: 1,
        rx_slots: RING_SLOTS,
        tx_slots: RING_SLOTS,
        mtu: 1_500,
        promiscuous: true,
        all_groups: true,
        rss_key: None,
        want: Offloads::default(),
    };
    let mut port = Port::open(eal, &config, mempool)?;
    port.start().with_context(|| format!("starting {device}"))?;
    Ok(port)
}

fn take_queue(port: &mut Port) -> Result<PortQueue> {
    port.take_queues().pop().context("a port has a queue")
}

/// Both ways between two queues.
struct Bridge {
    left: PortQueue,
    right: PortQueue,
    inbound: Way,
    outbound: Way,
}

impl Bridge {
    fn run(&mut self, stop: &AtomicBool) {
        let clock = Clock::calibrate();
        let mut idle = Idle::new(IDLE);
        while !stop.load(Ordering::Relaxed) {
            let now_ns = clock.now_ns();
            let mut worked = self.inbound.forward(now_ns, &mut self.left, &mut self.right);
            worked |= self.outbound.forward(now_ns, &mut self.right, &mut self.left);
            let lanes = [&self.inbound.lane, &self.outbound.lane];
            let due_ns =
                || lanes.into_iter().filter_map(Lane::next_due_ns).min().unwrap_or(u64::MAX);
            if let Some(sleep) = idle.after_turn(worked, now_ns, due_ns) {
                thread::sleep(sleep);
            }
        }
    }

    fn report(&self) -> Value {
        json!({ "inbound": self.inbound.report(), "outbound": self.outbound.report() })
    }
}

/// One direction.
struct Way {
    lane: Lane,
    rx: RxBatch,
    tx: TxBatch,
}

impl Way {
    fn new(impairment: Impairment, to: &PortQueue, direction: Direction) -> Self {
        let lane = Lane::new(impairment, to.frame_bytes_max(), 0, direction);
        Self { lane, rx: RxBatch::with_frames_max(32), tx: TxBatch::new() }
    }

    /// What has arrived enters, what is due leaves. Returns whether there was either.
    fn forward(&mut self, now_ns: u64, from: &mut PortQueue, to: &mut PortQueue) -> bool {
        let arrived = from.receive(&mut self.rx);
        for i in 0..arrived {
            self.lane.offer(now_ns, self.rx.frame(i));
        }
        while !self.tx.is_full()
            && let Some(frame) = self.lane.front(now_ns)
            && let Some(room) = to.reserve(&mut self.tx, frame.len())
        {
            room.copy_from_slice(frame);
            self.lane.pop();
        }
        let left = to.send(&mut self.tx);
        arrived > 0 || left > 0
    }

    fn report(&self) -> Value {
        let counters = self.lane.counters();
        json!({
            "offered": counters.offered,
            "delivered": counters.delivered,
            "lost": counters.dice.lost,
            "reordered": counters.dice.reordered,
            "drop_queue": counters.drop_queue,
            "drop_memory": counters.drop_memory,
            "drop_long": counters.drop_long,
        })
    }
}
