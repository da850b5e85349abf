//! A shard's link made worse, for tests: the two lanes that stand between its port and its stack when
//! the profile's `[impairment]` is on.
//!
//! Frames come from the port, go through the inbound lane and reach the stack when they are due; what
//! the stack sends goes through the outbound lane. Checksums are made and verified in software then,
//! for the port never sees a frame together with what it should do about it.

use capsule::clock::Clock;
use capsule::impairment::{Direction, Impairment, Lane, LaneCounters};
use capsule::{BATCH_FRAMES_MAX, PortQueue, RxBatch, TxBatch};
use superpage::counters;
use tcpstack::FrameSink;

use crate::inbox::Inbox;
use crate::shard::Engine;
use crate::sink::{QueueSink, TX_FRAMES_PER_TURN_MAX};

counters! {
    /// Frames in one direction of an impaired link. Invariant: `offered` + `duplicated` = `lost` +
    /// every `drop_*` + `delivered` + those under way.
    pub struct ImpairmentCounters {
        /// Frames that came into the stage.
        offered: frames,
        /// Frames that came out of it.
        delivered: frames,
        /// Frames lost, as configured.
        lost: frames,
        /// Frames delivered twice, as configured.
        duplicated: frames,
        /// Frames that others could overtake, as configured.
        reordered: frames,
        /// Frames dropped: more bytes waited for the configured rate than may.
        drop_queue: frames,
        /// Frames dropped: as many were under way as there are buffers for.
        drop_memory: frames,
        /// Frames dropped: longer than a buffer.
        drop_long: frames,
    }
}

/// The lanes of one shard.
#[derive(Debug)]
pub(crate) struct Impaired {
    inbound: Lane,
    outbound: Lane,
    /// The frame that the stack is writing.
    staged: Box<[u8]>,
}

impl Impaired {
    /// Lanes for the frames of `queue`.
    pub(crate) fn new(impairment: Impairment, queue: &PortQueue) -> Impaired {
        let bytes = queue.frame_bytes_max();
        let lane = |direction| Lane::new(impairment, bytes, queue.id().0, direction);
        Impaired {
            inbound: lane(Direction::Inbound),
            outbound: lane(Direction::Outbound),
            staged: vec![0; bytes].into_boxed_slice(),
        }
    }

    /// What the port gave enters; what is due goes on, at most a burst of it. Returns whether there
    /// was either.
    pub(crate) fn receive(
        &mut self,
        now_ns: u64,
        rx: &RxBatch,
        inbox: &mut Inbox,
        engine: &mut Engine,
    ) -> bool {
        for i in 0..rx.len() {
            self.inbound.offer(now_ns, rx.frame(i));
        }
        let mut delivered = 0;
        while delivered < BATCH_FRAMES_MAX
            && let Some(frame) = self.inbound.front(now_ns)
        {
            match engine.foreign_owner(frame) {
                Some(owner) => engine.peers.send_frame(owner, frame, false),
                None => inbox.frames.push(frame, false),
            }
            self.inbound.pop();
            delivered += 1;
        }
        inbox.frames.drain(|frames| engine.input(now_ns, frames));
        !rx.is_empty() || delivered > 0
    }

    /// What the stack has to send enters; what is due goes to the port.
    pub(crate) fn transmit(
        &mut self,
        now_ns: u64,
        queue: &mut PortQueue,
        tx: &mut TxBatch,
        clock: &Clock,
        engine: &mut Engine,
    ) -> bool {
        let mut worked = false;
        if engine.stack.has_output() {
            let mut sink = LaneSink {
                now_ns,
                lane: &mut self.outbound,
                staged: &mut self.staged,
                len: 0,
                frames_left: TX_FRAMES_PER_TURN_MAX,
            };
            engine.stack.output(now_ns, &mut sink);
            sink.flush();
            worked = sink.frames_left < TX_FRAMES_PER_TURN_MAX;
        }
        let mut sink = QueueSink::new(queue, tx, clock);
        while let Some(frame) = self.outbound.front(now_ns)
            && let Some(room) = sink.frame(frame.len())
        {
            room.copy_from_slice(frame);
            self.outbound.pop();
        }
        sink.flush();
        let (sent, driver_cycles) = sink.done();
        engine.settle(now_ns);
        engine.stopwatch.lap_transmit(driver_cycles);
        worked || sent > 0
    }

    /// When the next frame comes out of either lane.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        let lanes = [&self.inbound, &self.outbound];
        lanes.into_iter().filter_map(Lane::next_due_ns).min()
    }

    /// Whether nothing is on its way to the port.
    pub(crate) fn has_sent_all(&self) -> bool {
        self.outbound.is_empty()
    }

    /// What happened: inbound, then outbound, as [`DIRECTIONS`] names them.
    pub(crate) fn counters(&self) -> [ImpairmentCounters; 2] {
        [&self.inbound, &self.outbound].map(|lane| counters(lane.counters()))
    }
}

/// The lanes in the order of their counters.
pub(crate) const DIRECTIONS: [&str; 2] = ["inbound", "outbound"];

fn counters(lane: LaneCounters) -> ImpairmentCounters {
    ImpairmentCounters {
        offered: lane.offered,
        delivered: lane.delivered,
        lost: lane.dice.lost,
        duplicated: lane.dice.duplicated,
        reordered: lane.dice.reordered,
        drop_queue: lane.drop_queue,
        drop_memory: lane.drop_memory,
        drop_long: lane.drop_long,
    }
}

/// The stack's view of the outbound lane for one turn. A frame enters when the next one begins, for
/// only then is it written.
struct LaneSink<'a> {
    now_ns: u64,
    lane: &'a mut Lane,
    staged: &'a mut [u8],
    len: usize,
    frames_left: u32,
}

impl LaneSink<'_> {
    fn flush(&mut self) {
        if self.len > 0 {
            self.lane.offer(self.now_ns, &self.staged[..self.len]);
            self.len = 0;
        }
    }
}

impl FrameSink for LaneSink<'_> {
    fn frame(&mut self, len: usize) -> Option<&mut [u8]> {
        self.flush();
        if self.frames_left == 0 || len > self.staged.len() {
            return None;
        }
        self.frames_left -= 1;
        self.len = len;
        Some(&mut self.staged[..len])
    }

    fn checksum(&mut self, _l2: usize, _l3: usize) {
        unreachable!("a stack behind lanes is made without tx_checksum_offload");
    }
}
