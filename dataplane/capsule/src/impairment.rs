//! A worse network on purpose: frames are lost, sent twice, overtaken, delayed and held to a rate.
//!
//! `Dice` draws what happens to a frame, for the twin's wire and for a [`Lane`] alike. A lane is one
//! direction of a link: frames and time go in, the frames that survive come out when they are due.
//!
//! ```text
//!            lost?   twice?      waits for the rate        on the way          overtaken?
//!  offer ─▶ dice ──▶ dice ──▶ [queue_bytes, tail drop] ─▶ [delay_ns] ──▶ [+ reorder_ns] ─▶ front
//! ```
//!
//! All memory is taken when a lane is made. What finds no room is dropped and counted, as a network
//! does it. A lane knows no port: a shard puts one between its port and its stack in each direction,
//! and a benchmark bridges two ports with the same code.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

const PPM: u32 = 1_000_000;
const NS_PER_S: u128 = 1_000_000_000;

/// How bad one direction is. Rates of frames are in parts per million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Impairment {
    /// Where all randomness comes from.
    pub seed: u64,
    /// Frames lost.
    pub loss_ppm: u32,
    /// Frames delivered twice.
    pub duplicate_ppm: u32,
    /// Frames that take longer than others, so that later ones overtake them.
    pub reorder_ppm: u32,
    /// How much longer.
    pub reorder_ns: u64,
    /// Time that every frame takes.
    pub delay_ns: u64,
    /// Bits that enter the link in a second; 0 for any number.
    pub rate_bps: u64,
    /// Bytes that may wait to enter it; beyond that the last to come are dropped.
    pub queue_bytes: u64,
    /// Frames that may be under way, waiting ones included: what the lane's memory is for.
    pub frames_max: usize,
}

/// What dice did to frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Impairments {
    /// Frames lost.
    pub lost: u64,
    /// Frames held back so that others could overtake them.
    pub reordered: u64,
    /// Frames delivered twice.
    pub duplicated: u64,
}

/// What happened in a lane. Every frame offered, and every duplicate, is counted once:
/// `offered + dice.duplicated = dice.lost + drop_queue + drop_memory + drop_long + delivered`, plus
/// those under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneCounters {
    /// Frames that came in.
    pub offered: u64,
    /// Frames that came out.
    pub delivered: u64,
    /// What was drawn.
    pub dice: Impairments,
    /// Frames dropped because too many bytes waited for the rate.
    pub drop_queue: u64,
    /// Frames dropped because the lane's memory was full.
    pub drop_memory: u64,
    /// Frames dropped because they were longer than a frame of the port.
    pub drop_long: u64,
}

/// Draws the fate of frames. The same seed and stream give the same draws.
#[derive(Debug)]
pub(crate) struct Dice {
    random: fastrand::Rng,
}

impl Dice {
    /// Dice for one of the streams of a seed: each queue and direction has one of its own.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let seed = seed ^ (stream + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { random: fastrand::Rng::with_seed(seed) }
    }

    /// Whether something that happens `ppm` times in a million happens now.
    pub(crate) fn happens(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.random.u32(0..PPM) < ppm
    }

    /// A number from 1 to `most`.
    pub(crate) fn up_to(&mut self, most: u8) -> u8 {
        self.random.u8(1..=most)
    }
}

/// Refuses rates that are more than all.
///
/// # Panics
/// If one is above a million.
pub(crate) fn assert_rates(rates: [u32; 3]) {
    for rate in rates {
        assert!(rate <= PPM, "a rate of {rate} ppm is more than all");
    }
}

/// A direction of a queue, for the dice: no two lanes of a link draw the same.
pub(crate) fn stream(queue: u16, direction: u64) -> u64 {
    (u64::from(queue) << 1) | direction
}

/// One direction of an impaired link.
#[derive(Debug)]
pub struct Lane {
    impairment: Impairment,
    dice: Dice,
    /// `frames_max` places for a frame each.
    places: Box<[u8]>,
    place_bytes: usize,
    free: Vec<u32>,
    /// The next frame to come out is on top.
    under_way: BinaryHeap<Reverse<UnderWay>>,
    /// Frames let in so far: equal times come out in the order of entry.
    entries: u64,
    /// When everything let in so far has entered the link.
    entered_ns: u64,
    counters: LaneCounters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    due_ns: u64,
    entry: u64,
    place: u32,
    len: u32,
}

impl Lane {
    /// A lane for frames of at most `frame_bytes_max` bytes. Lanes of one link have different
    /// queues or directions, and so different fates from the same seed.
    ///
    /// # Panics
    /// If a rate of frames is above a million, or `frames_max` beyond 32 bits.
    pub fn new(
        impairment: Impairment,
        frame_bytes_max: usize,
        queue: u16,
        direction: Direction,
    ) -> Self {
        let Impairment { loss_ppm, duplicate_ppm, reorder_ppm, frames_max, .. } = impairment;
        assert_rates([loss_ppm, duplicate_ppm, reorder_ppm]);
        let count = u32::try_from(frames_max).expect("places are numbered in 32 bits");
        Self {
            impairment,
            dice: Dice::new(impairment.seed, stream(queue, direction as u64)),
            places: vec![0; frames_max * frame_bytes_max].into_boxed_slice(),
            place_bytes: frame_bytes_max,
            free: (0..count).rev().collect(),
            under_way: BinaryHeap::with_capacity(frames_max),
            entries: 0,
            entered_ns: 0,
            counters: LaneCounters::default(),
        }
    }

    /// A frame enters at `now_ns`, if it is not lost.
    pub fn offer(&mut self, now_ns: u64, frame: &[u8]) {
        self.counters.offered += 1;
        if self.dice.happens(self.impairment.loss_ppm) {
            self.counters.dice.lost += 1;
            return;
        }
        if self.dice.happens(self.impairment.duplicate_ppm) {
            self.counters.dice.duplicated += 1;
            self.enter(now_ns, frame);
        }
        self.enter(now_ns, frame);
    }

    fn enter(&mut self, now_ns: u64, frame: &[u8]) {
        if frame.len() > self.place_bytes {
            self.counters.drop_long += 1;
            return;
        }
        let Some(entered_ns) = self.pass_rate(now_ns, frame.len()) else {
            self.counters.drop_queue += 1;
            return;
        };
        let Some(place) = self.free.pop() else {
            self.counters.drop_memory += 1;
            return;
        };
        self.entered_ns = entered_ns;
        let mut due_ns = entered_ns + self.impairment.delay_ns;
        if self.dice.happens(self.impairment.reorder_ppm) {
            self.counters.dice.reordered += 1;
            due_ns += self.impairment.reorder_ns;
        }
        let start = place as usize * self.place_bytes;
        self.places[start..][..frame.len()].copy_from_slice(frame);
        let (entry, len) = (self.entries, frame.len() as u32);
        self.entries += 1;
        self.under_way.push(Reverse(UnderWay { due_ns, entry, place, len }));
    }

    /// When the last bit of a frame will have entered the link; nothing when too much waits.
    fn pass_rate(&self, now_ns: u64, len: usize) -> Option<u64> {
        let Impairment { rate_bps, queue_bytes, .. } = self.impairment;
        if rate_bps == 0 {
            return Some(now_ns);
        }
        let rate = u128::from(rate_bps);
        let waiting_ns = u128::from(self.entered_ns.saturating_sub(now_ns));
        let waiting_bytes = waiting_ns * rate / (8 * NS_PER_S);
        if waiting_bytes + len as u128 > u128::from(queue_bytes) {
            return None;
        }
        let takes_ns = len as u128 * 8 * NS_PER_S / rate;
        Some(self.entered_ns.max(now_ns).saturating_add(takes_ns as u64))
    }

    /// The frame that comes out next, if it is due by `now_ns`. It stays until [`Self::pop`].
    pub fn front(&self, now_ns: u64) -> Option<&[u8]> {
        let Reverse(first) = self.under_way.peek().filter(|first| first.0.due_ns <= now_ns)?;
        Some(&self.places[first.place as usize * self.place_bytes..][..first.len as usize])
    }

    /// Takes the frame away that [`Self::front`] shows.
    pub fn pop(&mut self) {
        if let Some(Reverse(first)) = self.under_way.pop() {
            self.counters.delivered += 1;
            self.free.push(first.place);
        }
    }

    /// When the next frame comes out.
    pub fn next_due_ns(&self) -> Option<u64> {
        self.under_way.peek().map(|first| first.0.due_ns)
    }

    /// Whether no frame is under way.
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// What happened so far.
    pub fn counters(&self) -> LaneCounters {
        self.counters
    }
}

/// The two lanes of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the port.
    Inbound,
    /// To the port.
    Outbound,
}

#[cfg(test)]
mod tests;
