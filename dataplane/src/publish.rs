//! A shard's counters on their way to the control plane: one catalogue, and values in its order.
//!
//! [`catalogue`] and [`Publisher::collect`] stand one below the other, because line n of the one must
//! be value n of the other; [`Publisher::publish`] asserts that at least their lengths agree.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use broker::{BrokerCounters, BrokerGauges};
use capsule::{Link, PortStats};
use corelink::{Kind, ShardPage};
use superpage::{Tier, counters};
use tcpstack::{StackCounters, StackGauges};

use crate::catalogue::{ABSENT, Catalogue, TIERS};
use crate::impaired::{DIRECTIONS, ImpairmentCounters};
use crate::peers::PeerCounters;
use crate::shard::Shard;
use crate::stopwatch::{StageCycles, TurnCounters};

counters! {
    /// What did not simply pass one queue pair of a port.
    pub struct QueueCounters {
        /// Received frames that lay in several buffers and were copied into one.
        rx_linearised: packets,
        /// Received frames dropped: too many buffers, or longer than any legal frame.
        drop_rx_segments: packets,
        /// Frames that waited for the next turn because the port's ring was full.
        tx_refused: packets,
        /// Times that output waited because no packet buffer was free.
        tx_no_buffer: waits,
    }
}

counters! {
    /// What only the port as a whole knows. Published by shard 0.
    pub struct PortCounters {
        /// Frames the port dropped because no descriptor was free.
        drop_rx_missed: packets,
        /// Frames the port dropped as damaged.
        drop_rx_error: packets,
        /// Frames the port dropped because no packet buffer was free.
        drop_rx_no_buffer: packets,
        /// Frames the port could not send.
        drop_tx_error: packets,
    }
}

counters! {
    /// What only the port as a whole knows, now. Published by shard 0.
    pub struct PortGauges {
        /// Whether the link is up: 1 or 0.
        link_up: up,
        /// Speed of the link; 0 when the port does not say.
        link_speed: megabits,
        /// Packet buffers free.
        mbufs_free: buffers,
        /// Packet buffers in use: in rings, and with shards during a turn.
        mbufs_in_use: buffers,
    }
}

/// Port-wide values, written by whoever holds the port and published by shard 0.
#[derive(Debug, Default)]
pub struct PortBoard {
    slots: [AtomicU64; PORT_SLOTS],
}

const PORT_SLOTS: usize = PortCounters::FIELDS.len() + PortGauges::FIELDS.len();

impl PortBoard {
    /// Puts the port's present numbers up.
    pub fn post(&self, stats: PortStats, link: Link, mbufs_free: u32, mbufs_in_use: u32) {
        let counters = PortCounters {
            drop_rx_missed: stats.rx_missed,
            drop_rx_error: stats.rx_errors,
            drop_rx_no_buffer: stats.rx_no_mbuf,
            drop_tx_error: stats.tx_errors,
        };
        let gauges = PortGauges {
            link_up: link.up.into(),
            link_speed: link.speed_mbps.into(),
            mbufs_free: mbufs_free.into(),
            mbufs_in_use: mbufs_in_use.into(),
        };
        for (slot, value) in self.slots.iter().zip(counters.values().iter().chain(gauges.values()))
        {
            slot.store(*value, Ordering::Relaxed);
        }
    }
}

/// The catalogue of every shard of this process, and the number of its slots. Only an impaired one has
/// counters of that.
pub fn catalogue(
    port: &str,
    regions: &[(&'static str, Tier, usize)],
    is_impaired: bool,
) -> (String, u32) {
    let mut catalogue = Catalogue::default();
    let port_label = ("port", port);
    let queue_label = ("queue", "{shard}");
    for direction in ["rx", "tx"] {
        let labels = [port_label, queue_label, ("direction", direction)];
        let help = "Packets (frames) that passed a queue of the port.";
        catalogue.slot("trunkline_port_packets_total", Kind::Counter, &labels, help);
        let help = "Bytes that passed a queue of the port, Ethernet headers included.";
        catalogue.slot("trunkline_port_bytes_total", Kind::Counter, &labels, help);
    }
    catalogue.counters("port", &[port_label, queue_label], QueueCounters::FIELDS);
    catalogue.counters("tcpstack", &[], StackCounters::FIELDS);
    catalogue.gauges("tcpstack", &[], StackGauges::FIELDS);
    catalogue.counters("broker", &[], BrokerCounters::FIELDS);
    catalogue.gauges("broker", &[], BrokerGauges::FIELDS);
    catalogue.counters("peers", &[], PeerCounters::FIELDS);
    catalogue.counters("shard", &[], TurnCounters::FIELDS);
    catalogue.parts("trunkline_stage_cycles_total", "stage", StageCycles::FIELDS);
    let help = "Time stamp counter's frequency: divide cycles by it for seconds.";
    catalogue.slot("trunkline_tsc_frequency_hertz", Kind::Gauge, &[], help);
    let help = "Timers armed: connections and detached sessions with a deadline.";
    catalogue.slot("trunkline_timers_armed", Kind::Gauge, &[], help);
    catalogue.counters("port", &[port_label], PortCounters::FIELDS);
    catalogue.gauges("port", &[port_label], PortGauges::FIELDS);
    for (region, _, _) in regions {
        catalogue.region(region);
    }
    for direction in DIRECTIONS.into_iter().filter(|_| is_impaired) {
        let labels = [("direction", direction)];
        catalogue.counters("impairment", &labels, ImpairmentCounters::FIELDS);
    }
    catalogue.finish()
}

/// One shard's page, and the values of the next publication.
#[derive(Debug)]
pub struct Publisher {
    page: ShardPage,
    /// Values of the last publication; the buffer is reused.
    values: Vec<u64>,
    slots: usize,
    /// Port-wide values, for the one shard that publishes them.
    board: Option<Arc<PortBoard>>,
    /// Regions do not change after the start.
    region_bytes: Vec<u64>,
}

impl Publisher {
    /// Publishes to `page`, which has as many slots as the catalogue.
    pub fn new(
        page: ShardPage,
        slots: u32,
        board: Option<Arc<PortBoard>>,
        regions: &[(&'static str, Tier, usize)],
    ) -> Publisher {
        let mut region_bytes = Vec::with_capacity(regions.len() * TIERS.len());
        for (_, tier, bytes) in regions {
            region_bytes.extend(TIERS.map(|t| if t == *tier { *bytes as u64 } else { ABSENT }));
        }
        let values = Vec::with_capacity(slots as usize);
        Publisher { page, values, slots: slots as usize, board, region_bytes }
    }

    /// Collects and publishes a shard's values, and says that its loop is alive.
    pub(crate) fn publish(&mut self, shard: &Shard, now_ns: u64) {
        self.collect(shard);
        assert_eq!(self.values.len(), self.slots, "the values must fit the catalogue");
        self.page.publish(&self.values);
        self.page.heartbeat(now_ns);
    }

    /// The values in the order of [`catalogue`].
    fn collect(&mut self, shard: &Shard) {
        let values = &mut self.values;
        let engine = &shard.engine;
        let broker = engine.applications.broker();
        values.clear();
        let queue = shard.queue.counters();
        values.extend([queue.rx_frames, queue.rx_bytes, queue.tx_frames, queue.tx_bytes]);
        values.extend(queue_counters(&queue).values());
        values.extend(engine.stack.counters().values());
        values.extend(engine.stack.gauges().values());
        values.extend(broker.counters().values());
        values.extend(broker.gauges().values());
        values.extend(engine.peers.counters().values());
        values.extend(engine.stopwatch.turns().values());
        values.extend(engine.stopwatch.cycles().values());
        values.push(shard.clock.tsc_hz());
        values.push(engine.wheel.armed().into());
        match &self.board {
            Some(board) => values.extend(board.slots.iter().map(|s| s.load(Ordering::Relaxed))),
            None => values.extend([ABSENT; PORT_SLOTS]),
        }
        values.extend(&self.region_bytes);
        if let Some(impaired) = &shard.impaired {
            impaired.counters().iter().for_each(|lane| values.extend(lane.values()));
        }
    }
}

fn queue_counters(counters: &capsule::QueueCounters) -> QueueCounters {
    QueueCounters {
        rx_linearised: counters.rx_linearised,
        drop_rx_segments: counters.rx_drop_segments,
        tx_refused: counters.tx_refused,
        tx_no_buffer: counters.tx_no_mbuf,
    }
}
