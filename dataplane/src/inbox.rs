//! Frames that came by ring, collected to a burst of their own for the stack.

use capsule::BATCH_FRAMES_MAX;
use superpage::ArenaBytes;
use tcpstack::RxFrame;

/// Buffers for reading what other shards sent. Nothing stays in them from one turn to the next.
#[derive(Debug)]
pub(crate) struct Inbox {
    /// The record being read.
    pub(crate) record: ArenaBytes,
    /// Frames waiting to be a burst.
    pub(crate) frames: FrameBuffer,
}

impl Inbox {
    /// An inbox for records as long as `record`, and for a burst of equally long frames in `frames`.
    pub(crate) fn new(record: ArenaBytes, frames: ArenaBytes) -> Inbox {
        Inbox { record, frames: FrameBuffer::new(frames) }
    }
}

/// A burst of copied frames.
#[derive(Debug)]
pub(crate) struct FrameBuffer {
    bytes: ArenaBytes,
    slot_bytes: usize,
    held: [Held; BATCH_FRAMES_MAX],
    count: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    len: usize,
    checksum_verified: bool,
}

impl FrameBuffer {
    fn new(bytes: ArenaBytes) -> FrameBuffer {
        FrameBuffer {
            slot_bytes: bytes.len() / BATCH_FRAMES_MAX,
            bytes,
            held: [Held::default(); BATCH_FRAMES_MAX],
            count: 0,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.count == BATCH_FRAMES_MAX
    }

    /// Whether a frame is as short as those that the port receives: a reassembled datagram may be
    /// longer.
    pub(crate) fn takes(&self, frame: &[u8]) -> bool {
        frame.len() <= self.slot_bytes
    }

    /// Adds a frame.
    ///
    /// # Panics
    /// When the buffer is full, or the frame longer than any that the port receives.
    pub(crate) fn push(&mut self, frame: &[u8], checksum_verified: bool) {
        let start = self.count * self.slot_bytes;
        assert!(self.takes(frame), "frames of other shards came from the same port");
        self.bytes[start..][..frame.len()].copy_from_slice(frame);
        self.held[self.count] = Held { len: frame.len(), checksum_verified };
        self.count += 1;
    }

    /// Hands the burst over, if there is one, and is empty afterwards.
    pub(crate) fn drain(&mut self, take: impl FnOnce(&[RxFrame<'_>])) {
        if self.count == 0 {
            return;
        }
        let mut frames = [RxFrame { bytes: &[], checksum_verified: false }; BATCH_FRAMES_MAX];
        let slots = self.bytes.chunks_exact(self.slot_bytes).zip(&self.held);
        for (frame, (slot, held)) in frames.iter_mut().zip(slots.take(self.count)) {
            let Held { len, checksum_verified } = *held;
            *frame = RxFrame { bytes: &slot[..len], checksum_verified };
        }
        take(&frames[..self.count]);
        self.count = 0;
    }
}
