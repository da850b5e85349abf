//! The stack of one shard: all its tables, made once.

use superpage::{RegionError, Slab, Tier};

use crate::acd::Defences;
use crate::addresses::Sweep;
use crate::answers::Answers;
use crate::arp::ArpQueue;
use crate::chunks::Chunks;
use crate::config::{StackConfig, StackError};
use crate::context::Context;
use crate::cookies::Cookies;
use crate::counters::{StackCounters, StackGauges};
use crate::dad::Claims;
use crate::event::EventQueue;
use crate::flight::FlightPool;
use crate::flow::FlowHasher;
use crate::flow_table::FlowTable;
use crate::fragments::Fragments;
use crate::held::Held;
use crate::icmp_answer::ErrorBudget;
use crate::icmp_queue::IcmpQueue;
use crate::isn::IsnGenerator;
use crate::list::List;
use crate::ndp::NdpQueue;
use crate::neighbor::Neighbors;
use crate::path_mtu::Paths;
use crate::places::Places;
use crate::ports::Ports;
use crate::reclaim::Reclaimer;
use crate::segment::Segment;
use crate::settings::Settings;
use crate::steering::Steering;
use crate::syn_table::SynTable;
use crate::tcb::{ByRearm, STATES, State, Tcb};
use crate::time_wait::TimeWaitTable;
use crate::trace::Trace;
use crate::{BURST_FRAMES_MAX, ConnId};

/// TCP/IP of one shard. The crate's documentation has the order of calls.
#[derive(Debug)]
pub struct Stack {
    pub(crate) settings: Settings,
    pub(crate) steering: Steering,
    pub(crate) tcbs: Slab<Tcb>,
    pub(crate) table: FlowTable,
    pub(crate) syns: SynTable,
    pub(crate) time_waits: TimeWaitTable,
    pub(crate) flights: FlightPool,
    pub(crate) chunks: Chunks,
    pub(crate) neighbors: Neighbors,
    pub(crate) paths: Paths,
    pub(crate) fragments: Fragments,
    pub(crate) arp: ArpQueue,
    pub(crate) defences: Defences,
    pub(crate) ndp: NdpQueue,
    /// Which of our addresses are ours.
    pub(crate) claims: Claims,
    pub(crate) sweep: Sweep,
    pub(crate) icmp: IcmpQueue,
    pub(crate) icmp_budget: ErrorBudget,
    pub(crate) answers: Answers,
    pub(crate) held: Held,
    pub(crate) events: EventQueue,
    pub(crate) places: Places,
    pub(crate) rearm: List<ByRearm>,
    /// Connections by state.
    pub(crate) states: [u32; STATES],
    pub(crate) counters: StackCounters,
    pub(crate) hasher: FlowHasher,
    pub(crate) isn: IsnGenerator,
    pub(crate) cookies: Cookies,
    pub(crate) ports: Ports,
    /// No connection is accepted any more.
    pub(crate) refuses_new: bool,
    pub(crate) reclaimer: Reclaimer,
    pub(crate) trace: Trace,
    /// The segments of the burst at hand.
    pub(crate) segments: Vec<Segment>,
    /// The connection whose end was reported last: its TCB is still there.
    pub(crate) reported: Option<ConnId>,
    /// The latest time the stack was given, for calls that have none.
    pub(crate) now_ns: u64,
}

impl Stack {
    /// Makes all tables. This is the only place where memory is allocated.
    ///
    /// # Errors
    /// When a value of the configuration is out of its bounds, or memory cannot be had.
    pub fn new(config: StackConfig) -> Result<Self, StackError> {
        config.check()?;
        let isn = IsnGenerator::new(&config.secret);
        let settings = Settings::new(&config, &isn);
        let (limits, timers, placement) = (config.limits, config.timers, config.placement);
        let claims = Claims::new(settings.addresses.ours(), timers.duplicate_address_probes);
        let held = Held::new(settings.station.header_bytes() + usize::from(config.mtu));
        let records = limits.connections + limits.syn_entries + limits.time_wait_entries;
        Ok(Self {
            settings,
            tcbs: region("tcbs", Slab::create("tcbs", limits.connections, placement))?,
            table: region("flow-table", FlowTable::create(records, placement))?,
            syns: region(
                "syn-entries",
                SynTable::create(
                    limits.syn_entries,
                    timers.rto_initial_ms,
                    timers.syn_ack_retries,
                    placement,
                ),
            )?,
            time_waits: region(
                "time-wait-entries",
                TimeWaitTable::create(limits.time_wait_entries, timers.time_wait_ms, placement),
            )?,
            flights: region(
                "flights",
                FlightPool::create(limits.flights, limits.sent_ranges, placement),
            )?,
            chunks: region("chunks", Chunks::create(limits.chunk_bytes, limits.chunks, placement))?,
            neighbors: region(
                "neighbors",
                Neighbors::create(limits.neighbors, &config.secret, placement),
            )?,
            paths: region("paths", Paths::create(limits.paths, &config.secret, placement))?,
            fragments: region(
                "fragments",
                Fragments::create(limits.fragments, &config.secret, placement),
            )?,
            arp: ArpQueue::new(),
            defences: Defences::new(),
            ndp: NdpQueue::new(),
            claims,
            sweep: Sweep::default(),
            icmp: IcmpQueue::new(&config.secret),
            icmp_budget: ErrorBudget::new(),
            answers: Answers::new(),
            held,
            events: EventQueue::new(),
            places: Places::new(),
            rearm: List::new(),
            states: [0; STATES],
            counters: StackCounters::default(),
            hasher: FlowHasher::new(&config.secret),
            isn,
            cookies: Cookies::new(&config.secret),
            ports: Ports::new(&config.secret),
            refuses_new: false,
            reclaimer: Reclaimer::default(),
            trace: region("trace", Trace::create(placement))?,
            segments: Vec::with_capacity(BURST_FRAMES_MAX),
            reported: None,
            now_ns: 0,
            steering: config.steering,
        })
    }

    /// What the stack has counted.
    #[must_use]
    pub fn counters(&self) -> &StackCounters {
        &self.counters
    }

    /// What the stack holds now.
    #[must_use]
    pub fn gauges(&self) -> StackGauges {
        let state = |state: State| u64::from(self.states[state as usize]);
        let (tentative, duplicate) = self.claims.counts();
        StackGauges {
            syn_sent: state(State::SynSent),
            syn_received: state(State::SynReceived) + u64::from(self.syns.len()),
            established: state(State::Established),
            fin_wait_1: state(State::FinWait1),
            fin_wait_2: state(State::FinWait2),
            close_wait: state(State::CloseWait),
            closing: state(State::Closing),
            last_ack: state(State::LastAck),
            time_wait: self.time_waits.len().into(),
            in_use: self.tcbs.len().into(),
            capacity: self.tcbs.capacity().into(),
            flows: self.table.len().into(),
            free: self.chunks.free().into(),
            total: self.chunks.capacity().into(),
            available: self.flights.available().into(),
            unused: self.flights.ranges().free().into(),
            known: self.neighbors.known().into(),
            narrow: self.paths.len().into(),
            contested: self.defences.contested(self.now_ns),
            collecting: self.fragments.collecting().into(),
            tentative,
            duplicate,
            leaving: self.leaving(),
        }
    }

    /// Every region: its name, the kind of pages it lies on, and the bytes mapped.
    #[must_use]
    pub fn regions(&self) -> Vec<(&'static str, Tier, usize)> {
        let [fragments, payloads] = self.fragments.regions();
        vec![
            ("tcbs", self.tcbs.tier(), self.tcbs.region_bytes()),
            ("flow-table", self.table.tier(), self.table.region_bytes()),
            ("syn-entries", self.syns.tier(), self.syns.region_bytes()),
            ("time-wait-entries", self.time_waits.tier(), self.time_waits.region_bytes()),
            ("flights", self.flights.tier(), self.flights.region_bytes()),
            ("sent-ranges", self.flights.ranges().tier(), self.flights.ranges().region_bytes()),
            ("chunks", self.chunks.tier(), self.chunks.region_bytes()),
            ("neighbors", self.neighbors.tier(), self.neighbors.region_bytes()),
            ("trace", self.trace.tier(), self.trace.region_bytes()),
            ("paths", self.paths.tier(), self.paths.region_bytes()),
            fragments,
            payloads,
        ]
    }

    /// A connection and what handling it may touch; `None` when there is none with this number.
    pub(crate) fn connection(
        &mut self,
        now_ns: u64,
        conn: ConnId,
    ) -> Option<(&mut Tcb, Context<'_>)> {
        let tcb = self.tcbs.get_mut(conn)?;
        let context = Context {
            now_ns,
            conn,
            settings: &self.settings,
            chunks: &mut self.chunks,
            flights: &mut self.flights,
            paths: &mut self.paths,
            counters: &mut self.counters,
            states: &mut self.states,
            events: &mut self.events,
            trace: &mut self.trace,
        };
        Some((tcb, context))
    }
}

fn region<T>(region: &'static str, made: Result<T, RegionError>) -> Result<T, StackError> {
    made.map_err(|source| StackError::Memory { region, source })
}
