//! Where the stack's frames go: a queue's transmit batch, sent whenever it is full.

use capsule::clock::Clock;
use capsule::{PortQueue, TxBatch, TxChecksum};
use tcpstack::FrameSink;

/// Frames one turn may send. Beyond it the rest waits for the next turn, so that a crowd of ready
/// senders cannot keep the shard from its receive queue.
pub const TX_FRAMES_PER_TURN_MAX: u32 = 512;

/// The stack's IPv4 headers have 20 bytes.
const IPV6_HEADER_BYTES: usize = 40;

/// The stack's view of a port queue for one turn.
#[derive(Debug)]
pub struct QueueSink<'a> {
    queue: &'a mut PortQueue,
    batch: &'a mut TxBatch,
    clock: &'a Clock,
    frames_left: u32,
    /// The driver refused a frame this turn: its ring is full.
    refused: bool,
    sent: u32,
    driver_cycles: u64,
}

impl<'a> QueueSink<'a> {
    /// A sink that may send [`TX_FRAMES_PER_TURN_MAX`] frames. What `batch` still holds from the last
    /// turn goes out first.
    pub fn new(queue: &'a mut PortQueue, batch: &'a mut TxBatch, clock: &'a Clock) -> Self {
        QueueSink {
            queue,
            batch,
            clock,
            frames_left: TX_FRAMES_PER_TURN_MAX,
            refused: false,
            sent: 0,
            driver_cycles: 0,
        }
    }

    /// Offers the batch to the driver; what it refuses stays for the next turn.
    pub fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let began = self.clock.tsc();
        self.sent += self.queue.send(self.batch) as u32;
        self.driver_cycles += self.clock.tsc().wrapping_sub(began);
        self.refused = !self.batch.is_empty();
    }

    /// Frames the driver took and the cycles it spent on them.
    pub fn done(self) -> (u32, u64) {
        (self.sent, self.driver_cycles)
    }
}

impl FrameSink for QueueSink<'_> {
    fn frame(&mut self, len: usize) -> Option<&mut [u8]> {
        if self.batch.is_full() {
            self.flush();
        }
        if self.refused || self.frames_left == 0 {
            return None;
        }
        self.frames_left -= 1;
        self.queue.reserve(self.batch, len)
    }

    fn checksum(&mut self, l2: usize, l3: usize) {
        let checksum = match l3 {
            IPV6_HEADER_BYTES => TxChecksum::TcpOverIpv6 { l2, l3 },
            _ => TxChecksum::TcpOverIpv4 { l2, l3 },
        };
        self.queue.set_checksum(self.batch, checksum);
    }
}
