//! One direction of a wire that delays, loses, repeats and reorders frames.

use std::collections::BinaryHeap;

/// What the wire does to frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Impairment {
    pub(crate) delay_us: u64,
    /// Up to so much is added to the delay: frames overtake each other.
    pub(crate) jitter_us: u64,
    pub(crate) loss_percent: u32,
    pub(crate) duplicate_percent: u32,
}

pub(crate) struct Link {
    random: fastrand::Rng,
    impairment: Impairment,
    frames: BinaryHeap<Frame>,
    sent: u64,
}

#[derive(PartialEq, Eq)]
struct Frame {
    at_ns: u64,
    number: u64,
    bytes: Vec<u8>,
}

impl Ord for Frame {
    /// The greatest is the next to arrive.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at_ns, other.number).cmp(&(self.at_ns, self.number))
    }
}

impl PartialOrd for Frame {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Link {
    pub(crate) fn new(seed: u64, impairment: Impairment) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { random, impairment, frames: BinaryHeap::new(), sent: 0 }
    }

    pub(crate) fn send(&mut self, now_ns: u64, bytes: Vec<u8>) {
        if self.random.u32(..100) < self.impairment.loss_percent {
            return;
        }
        if self.random.u32(..100) < self.impairment.duplicate_percent {
            self.schedule(now_ns, bytes.clone());
        }
        self.schedule(now_ns, bytes);
    }

    fn schedule(&mut self, now_ns: u64, bytes: Vec<u8>) {
        let delay_us = self.impairment.delay_us + self.random.u64(..=self.impairment.jitter_us);
        self.sent += 1;
        self.frames.push(Frame { at_ns: now_ns + delay_us * 1_000, number: self.sent, bytes });
    }

    /// The next frame that has arrived.
    pub(crate) fn receive(&mut self, now_ns: u64) -> Option<Vec<u8>> {
        if self.next_ns()? > now_ns {
            return None;
        }
        self.frames.pop().map(|frame| frame.bytes)
    }

    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.frames.peek().map(|frame| frame.at_ns)
    }
}
