//! A port's twin in memory: two ends of a wire that can lose, reorder and duplicate frames.
//!
//! Everything a wire does is drawn from a seeded generator per direction and queue, in the order
//! of sends and receives on that queue: the same calls see the same fate. A held-back frame comes
//! out after a few later frames or, when none follow, after a few empty receives, so that it
//! cannot be lost by waiting.
//!
//! A direction holds at most `slots` frames, as a TX ring does; beyond that `send` refuses.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::batch::{BATCH_FRAMES_MAX, TxChecksum};
use crate::checksum;
use crate::impairment::{self, Dice, Impairments};
use crate::port::QueueId;
use crate::queue::{PortQueue, QueueCounters};

/// Largest frame on the wire: a jumbo frame with Ethernet header and VLAN tags.
pub const FRAME_BYTES_MAX: usize = 9_216;

/// Room of a frame buffer: a frame of MTU 1,500 with Ethernet header and VLAN tag.
const FRAME_BYTES_USUAL: usize = 1_518;

/// A reordered frame is overtaken by at most this many others.
pub const REORDER_DEPTH_MAX: u8 = 4;

/// Most frames that are held back for reordering at a time, per direction and queue.
const HELD_BACK_MAX: usize = 16;

/// The nature of a wire, the same in both directions. Rates are in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwinConfig {
    /// Where all randomness comes from.
    pub seed: u64,
    /// Frames lost.
    pub loss_ppm: u32,
    /// Frames that later ones overtake.
    pub reorder_ppm: u32,
    /// Frames delivered twice.
    pub duplicate_ppm: u32,
    /// Queue pairs at each end; queue i is wired to queue i.
    pub queues: u16,
    /// Most frames under way per direction and queue.
    pub slots: usize,
}

impl Default for TwinConfig {
    /// A perfect wire with one queue and 512 slots.
    fn default() -> Self {
        Self { seed: 0, loss_ppm: 0, reorder_ppm: 0, duplicate_ppm: 0, queues: 1, slots: 512 }
    }
}

/// The maker of wires.
#[derive(Debug)]
pub struct TwinLink;

impl TwinLink {
    /// Both ends of a new wire, each as its queues in order.
    ///
    /// # Panics
    /// If a rate is above 1,000,000.
    pub fn pair(config: TwinConfig) -> (Vec<PortQueue>, Vec<PortQueue>) {
        impairment::assert_rates([config.loss_ppm, config.reorder_ppm, config.duplicate_ppm]);
        let mut ends = (Vec::new(), Vec::new());
        for queue in 0..config.queues {
            let there = Arc::new(Mutex::new(Lane::new(&config, queue, 0)));
            let back = Arc::new(Mutex::new(Lane::new(&config, queue, 1)));
            let id = QueueId(queue);
            let left = TwinQueue { id, tx: Arc::clone(&there), rx: Arc::clone(&back) };
            let right = TwinQueue { id, tx: back, rx: there };
            ends.0.push(PortQueue::twin(left));
            ends.1.push(PortQueue::twin(right));
        }
        ends
    }
}

/// One queue at one end.
#[derive(Debug)]
pub(crate) struct TwinQueue {
    id: QueueId,
    tx: Arc<Mutex<Lane>>,
    rx: Arc<Mutex<Lane>>,
}

impl TwinQueue {
    pub(crate) fn id(&self) -> QueueId {
        self.id
    }

    pub(crate) fn impairments(&self) -> Impairments {
        lock(&self.tx).impairments
    }

    pub(crate) fn receive(
        &mut self,
        batch: &mut RxBuffers,
        frames_max: usize,
        counters: &mut QueueCounters,
    ) -> usize {
        let mut lane = lock(&self.rx);
        for used in batch.frames.drain(..) {
            lane.recycle(used);
        }
        while batch.frames.len() < frames_max {
            let Some(frame) = lane.take() else { break };
            counters.rx_bytes += frame.len() as u64;
            batch.frames.push(frame);
        }
        counters.rx_frames += batch.len() as u64;
        batch.len()
    }

    pub(crate) fn send(&mut self, batch: &mut TxBuffers, counters: &mut QueueCounters) -> usize {
        let mut lane = lock(&self.tx);
        let taken = batch.len().min(lane.room());
        for (mut frame, checksum) in batch.frames.drain(..taken) {
            checksum::complete(&mut frame, checksum);
            counters.tx_bytes += frame.len() as u64;
            lane.put(frame);
            batch.spare.extend(lane.spare.pop());
        }
        counters.tx_frames += taken as u64;
        counters.tx_refused += batch.len() as u64;
        taken
    }
}

/// One direction of one queue.
#[derive(Debug)]
struct Lane {
    dice: Dice,
    config: TwinConfig,
    on_the_wire: VecDeque<Vec<u8>>,
    held_back: VecDeque<HeldBack>,
    /// Buffers on their way back to the sender.
    spare: Vec<Vec<u8>>,
    impairments: Impairments,
}

/// A frame that waits until `overtakers` others, or empty receives, have gone by.
#[derive(Debug)]
struct HeldBack {
    overtakers: u8,
    frame: Vec<u8>,
}

impl Lane {
    fn new(config: &TwinConfig, queue: u16, direction: u64) -> Self {
        Self {
            dice: Dice::new(config.seed, impairment::stream(queue, direction)),
            config: *config,
            on_the_wire: VecDeque::with_capacity(config.slots),
            held_back: VecDeque::with_capacity(HELD_BACK_MAX),
            spare: Vec::new(),
            impairments: Impairments::default(),
        }
    }

    /// Frames that can still be put, whatever happens to them.
    fn room(&self) -> usize {
        self.config.slots.saturating_sub(self.on_the_wire.len() + self.held_back.len())
    }

    fn put(&mut self, frame: Vec<u8>) {
        if self.dice.happens(self.config.loss_ppm) {
            self.impairments.lost += 1;
            self.recycle(frame);
            return;
        }
        // A duplicate needs a slot of its own beside the frame's.
        if self.dice.happens(self.config.duplicate_ppm) && self.room() >= 2 {
            self.impairments.duplicated += 1;
            self.on_the_wire.push_back(frame.clone());
        }
        if self.dice.happens(self.config.reorder_ppm) && self.held_back.len() < HELD_BACK_MAX {
            self.impairments.reordered += 1;
            let overtakers = self.dice.up_to(REORDER_DEPTH_MAX);
            self.held_back.push_back(HeldBack { overtakers, frame });
            return;
        }
        self.on_the_wire.push_back(frame);
        self.let_one_by();
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        if self.on_the_wire.is_empty() {
            self.let_one_by();
        }
        self.on_the_wire.pop_front()
    }

    /// Counts one frame, or one empty receive, that went by the held-back frames.
    fn let_one_by(&mut self) {
        for held in &mut self.held_back {
            held.overtakers -= 1;
        }
        while let Some(at) = self.held_back.iter().position(|held| held.overtakers == 0) {
            let held = self.held_back.remove(at).expect("position is in range");
            self.on_the_wire.push_back(held.frame);
        }
    }

    fn recycle(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < BATCH_FRAMES_MAX {
            self.spare.push(buffer);
        }
    }
}

/// A panic of the other end leaves a lane whole: every method leaves it so before it can panic.
fn lock(lane: &Mutex<Lane>) -> MutexGuard<'_, Lane> {
    lane.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Received frames.
#[derive(Debug, Default)]
pub(crate) struct RxBuffers {
    frames: Vec<Vec<u8>>,
}

impl RxBuffers {
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(crate) fn frame(&self, i: usize) -> &[u8] {
        &self.frames[i]
    }

    pub(crate) fn clear(&mut self) {
        self.frames.clear();
    }
}

/// Frames to send, and buffers for more.
#[derive(Debug, Default)]
pub(crate) struct TxBuffers {
    frames: Vec<(Vec<u8>, TxChecksum)>,
    spare: Vec<Vec<u8>>,
}

impl TxBuffers {
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(crate) fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        if self.frames.len() == BATCH_FRAMES_MAX || len == 0 || len > FRAME_BYTES_MAX {
            return None;
        }
        // At once as large as nearly every frame, so that reused ones need not grow.
        let fresh = || Vec::with_capacity(FRAME_BYTES_USUAL);
        let mut buffer = self.spare.pop().unwrap_or_else(fresh);
        buffer.resize(len, 0);
        self.frames.push((buffer, TxChecksum::None));
        self.frames.last_mut().map(|(buffer, _)| buffer.as_mut_slice())
    }

    pub(crate) fn set_checksum(&mut self, checksum: TxChecksum) {
        let (frame, kept) = self.frames.last_mut().expect("a frame was reserved");
        checksum::prepare(frame, checksum);
        *kept = checksum;
    }

    pub(crate) fn clear(&mut self) {
        let cleared = self.frames.drain(..).map(|(buffer, _)| buffer);
        self.spare.extend(cleared);
        self.spare.truncate(BATCH_FRAMES_MAX);
    }
}

#[cfg(test)]
mod tests;
