//! A shard: everything one core owns, and the loop around its turn.
//!
//! Shards share nothing but the byte rings between them ([`crate::peers`]). What a shard does in a
//! turn stands in [`crate::turn`].

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use broker::{Broker, BrokerConfig, BrokerError};
use capsule::clock::Clock;
use capsule::impairment::Impairment;
use capsule::{BATCH_FRAMES_MAX, PortQueue, RxBatch, TxBatch};
use hwconfig::ListenerKind;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use superpage::{Arena, Placement, RegionError, Tier};
use tcpstack::{Stack, StackConfig, StackError, Steering};

use crate::desk::Desk;
use crate::drain::{Phase, StopSwitch};
use crate::idle::{Idle, IdlePolicy};
use crate::impaired::Impaired;
use crate::inbox::Inbox;
use crate::listeners::{Applications, OFFER_BYTES_MIN};
use crate::peers::Peers;
use crate::publish::Publisher;
use crate::stopwatch::Stopwatch;
use crate::wheel::Wheel;

/// What a shard is made from, besides its queue and its rings.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// The shard's TCP/IP.
    pub stack: StackConfig,
    /// The shard's MQTT.
    pub broker: BrokerConfig,
    /// What is behind the stack's listening ports, in their order.
    pub listeners: Vec<ListenerKind>,
    /// Whether frames of other shards' flows can arrive on this one's queue: the port does not steer.
    pub software_steering: bool,
    /// Frames taken from the queue in one turn.
    pub batch_frames: usize,
    /// What to do when there is nothing to do.
    pub idle: IdlePolicy,
    /// Where the wheel shall lie.
    pub placement: Placement,
    /// What the link does to frames beyond what it does by itself, in tests. The stack must then be
    /// one without checksum offload.
    pub impairment: Option<Impairment>,
}

/// Why a shard cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// Its TCP/IP stack.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// Its broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Its timer wheel.
    #[error("no memory for the timer wheel: {0}")]
    Wheel(#[from] RegionError),
}

/// Everything one core owns.
#[derive(Debug)]
pub struct Shard {
    pub(crate) engine: Engine,
    pub(crate) queue: PortQueue,
    pub(crate) rx: RxBatch,
    pub(crate) tx: TxBatch,
    pub(crate) inbox: Inbox,
    pub(crate) impaired: Option<Box<Impaired>>,
    /// What the buffers within a turn are pieces of.
    scratch: Arena,
    pub(crate) clock: Clock,
    pub(crate) housekeeping_due_ns: u64,
    pub(crate) publisher: Option<Publisher>,
    pub(crate) desk: Option<Desk>,
    pub(crate) stop: Arc<StopSwitch>,
    pub(crate) phase: Phase,
    idle: Idle,
    /// The queue's interrupt has been asked for, since the shard has nothing to do.
    is_armed: bool,
}

/// The part of a shard behind the frames: what events and deadlines act on.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) index: u16,
    /// Connections the stack can have: the wheel's first entries. Sessions follow.
    pub(crate) connections: u32,
    pub(crate) stack: Stack,
    pub(crate) applications: Applications,
    pub(crate) wheel: Wheel,
    pub(crate) peers: Peers,
    pub(crate) stopwatch: Stopwatch,
    /// Who owns a frame's flow.
    pub(crate) steering: Steering,
    /// The port does not see to it.
    pub(crate) software_steering: bool,
}

impl Shard {
    /// A shard that has not turned yet; `now_ns` is the start of its time.
    ///
    /// # Errors
    /// When a value is out of bounds or memory for a table cannot be had.
    pub fn new(
        config: ShardConfig,
        queue: PortQueue,
        peers: Peers,
        clock: Clock,
        stop: Arc<StopSwitch>,
        now_ns: u64,
    ) -> Result<Shard, ShardError> {
        let connections = config.stack.limits.connections;
        let entries = connections + config.broker.limits.sessions;
        let offer_bytes = (config.broker.limits.header_bytes_max as usize).max(OFFER_BYTES_MIN);
        let frames_bytes = queue.frame_bytes_max() * BATCH_FRAMES_MAX;
        let pieces = [offer_bytes, peers.record_bytes_max(), frames_bytes];
        let mut scratch = Arena::create("scratch", pieces.map(Arena::piece_bytes).iter().sum())?;
        let [offer, record, frames] =
            pieces.map(|len| scratch.alloc_bytes(len).expect("the arena is the sum of its pieces"));
        let steering = config.stack.steering.clone();
        let engine = Engine {
            index: steering.shard,
            connections,
            applications: Applications::new(config.listeners, offer, Broker::new(config.broker)?),
            stack: Stack::new(config.stack)?,
            wheel: Wheel::create(entries, now_ns, config.placement)?,
            peers,
            stopwatch: Stopwatch::start(clock),
            steering,
            software_steering: config.software_steering,
        };
        Ok(Shard {
            inbox: Inbox::new(record, frames),
            impaired: config.impairment.map(|it| Box::new(Impaired::new(it, &queue))),
            scratch,
            engine,
            queue,
            rx: RxBatch::with_frames_max(config.batch_frames),
            tx: TxBatch::new(),
            clock,
            housekeeping_due_ns: now_ns,
            publisher: None,
            desk: None,
            stop,
            phase: Phase::Running,
            idle: Idle::new(config.idle),
            is_armed: false,
        })
    }

    /// From now on housekeeping publishes the shard's counters there.
    pub fn publish_to(&mut self, publisher: Publisher) {
        self.publisher = Some(publisher);
    }

    /// From now on housekeeping answers the questions that come there.
    pub fn sit_at(&mut self, desk: Desk) {
        self.desk = Some(desk);
    }

    /// Tells the link where our addresses are (gratuitous ARP), with the next turn.
    pub fn announce(&mut self) {
        self.engine.stack.announce();
    }

    /// Turns until the shard has stopped.
    pub fn run(&mut self) {
        while !self.is_stopped() {
            let now_ns = self.clock.now_ns();
            let worked = self.turn(now_ns);
            let Shard { engine, impaired, housekeeping_due_ns, idle, .. } = self;
            let due_ns = || {
                let impaired = impaired.as_ref().and_then(|impaired| impaired.next_due_ns());
                let dues = [engine.wheel.next_due_ns(), impaired, Some(*housekeeping_due_ns)];
                dues.into_iter().flatten().min().unwrap_or(now_ns)
            };
            match idle.after_turn(worked, now_ns, due_ns) {
                Some(sleep) => self.sleep(sleep),
                None if worked && self.is_armed => {
                    self.is_armed = false;
                    self.queue.disarm_interrupt();
                }
                None => {}
            }
        }
    }

    /// Sleeps, where the port has interrupts only until frames arrive.
    fn sleep(&mut self, length: Duration) {
        let was_armed = std::mem::replace(&mut self.is_armed, true);
        match self.queue.arm_interrupt() {
            // What arrived before the arming gives no signal: the next turn looks for it first.
            Some(_) if !was_armed => return,
            Some(fd) => {
                let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
                // Frames, a signal, the time is over: whatever ended it, the next turn sees to it.
                let _ = ppoll(&mut fds, Some(TimeSpec::from_duration(length)), None);
            }
            None => thread::sleep(length),
        }
        self.engine.stopwatch.lap(|cycles| &mut cycles.asleep);
    }

    /// Whether the shard was asked to stop and nothing is left to do.
    pub fn is_stopped(&self) -> bool {
        self.phase == Phase::Stopped
    }

    /// The shard's TCP/IP, to look at.
    pub fn stack(&self) -> &Stack {
        &self.engine.stack
    }

    /// The shard's broker, to look at.
    pub fn broker(&self) -> &Broker {
        self.engine.applications.broker()
    }

    /// What crossed between this shard and the others.
    pub fn peers(&self) -> &Peers {
        &self.engine.peers
    }

    /// Every region the shard keeps state in, with its tier and its mapped bytes.
    pub fn regions(&self) -> Vec<(&'static str, Tier, usize)> {
        let mut regions = self.engine.stack.regions();
        regions.extend(self.engine.applications.broker().regions());
        regions.push(self.engine.wheel.region());
        regions.push(("scratch", self.scratch.tier(), self.scratch.bytes()));
        regions
    }
}
