//! One direction of a wire that delays, loses, repeats, reorders and damages frames.

use std::collections::BinaryHeap;

use smoltcp::wire::Ipv4Packet;

/// What the wire does to frames.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Impairment {
    pub(crate) delay_us: u64,
    /// Up to so much is added to the delay: frames overtake each other.
    pub(crate) jitter_us: u64,
    pub(crate) loss_permille: u32,
    /// How often a burst of losses begins, in which most frames are lost.
    pub(crate) burst_permille: u32,
    /// How often a congested router marks a frame instead of dropping it, if the ends know that.
    pub(crate) mark_permille: u32,
    pub(crate) duplicate_permille: u32,
    /// How often bits of a frame flip, in a way that no checksum overlooks.
    pub(crate) corrupt_permille: u32,
    /// How often a frame is held back for `reorder_us` more.
    pub(crate) reorder_permille: u32,
    pub(crate) reorder_us: u64,
    /// Octets a millisecond; 0: no limit.
    pub(crate) octets_per_ms: u64,
    /// Frames that wait for the rate; those beyond are lost.
    pub(crate) queue_frames: usize,
    /// Largest IP packet that passes; 0: all do.
    pub(crate) mtu: usize,
}

impl Impairment {
    /// Nothing is lost any more that fits.
    pub(crate) fn heal(&mut self) {
        let Self { delay_us, octets_per_ms, queue_frames, mtu, .. } = *self;
        *self = Self { delay_us, octets_per_ms, queue_frames, mtu, ..Self::default() };
    }
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Passed,
    Corrupted,
    Lost,
    Overflowed,
    TooBig,
}

pub(crate) struct Link {
    random: fastrand::Rng,
    pub(crate) impairment: Impairment,
    frames: BinaryHeap<Frame>,
    sent: u64,
    in_burst: bool,
    /// When the last frame accepted will have left the queue.
    busy_until_ns: u64,
    /// Nothing passes before that.
    pub(crate) dark_until_ns: u64,
}

/// A frame on its way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    at_ns: u64,
    number: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_corrupted: bool,
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
        Self {
            random: fastrand::Rng::with_seed(seed),
            impairment,
            frames: BinaryHeap::new(),
            sent: 0,
            in_burst: false,
            busy_until_ns: 0,
            dark_until_ns: 0,
        }
    }

    pub(crate) fn send(&mut self, now_ns: u64, mut bytes: Vec<u8>) -> Fate {
        let impairment = self.impairment;
        if impairment.mtu > 0 && bytes.len() - ETHERNET_BYTES > impairment.mtu {
            return Fate::TooBig;
        }
        if now_ns < self.dark_until_ns || self.is_lost() {
            return Fate::Lost;
        }
        let Some(leaves_ns) = self.queue(now_ns, bytes.len()) else { return Fate::Overflowed };
        if self.chance(impairment.mark_permille) {
            mark(&mut bytes);
        }
        if self.chance(impairment.duplicate_permille) {
            self.schedule(leaves_ns, bytes.clone(), false);
        }
        let is_corrupted = has_checksum(&bytes) && self.chance(impairment.corrupt_permille);
        if is_corrupted {
            // A sum of 16-bit words changes when any bits of one octet do.
            let at = self.random.usize(first_checked(&bytes)..bytes.len());
            bytes[at] ^= self.random.u8(1..);
        }
        self.schedule(leaves_ns, bytes, is_corrupted);
        if is_corrupted { Fate::Corrupted } else { Fate::Passed }
    }

    fn chance(&mut self, permille: u32) -> bool {
        permille > 0 && self.random.u32(..1_000) < permille
    }

    fn is_lost(&mut self) -> bool {
        if self.in_burst {
            self.in_burst = self.random.u8(..8) != 0;
        } else {
            self.in_burst = self.chance(self.impairment.burst_permille);
        }
        self.chance(if self.in_burst { 700 } else { self.impairment.loss_permille })
    }

    /// When the frame will have left the queue, if there is room in it.
    fn queue(&mut self, now_ns: u64, len: usize) -> Option<u64> {
        let Impairment { octets_per_ms, queue_frames, .. } = self.impairment;
        if octets_per_ms == 0 {
            return Some(now_ns);
        }
        let begins_ns = self.busy_until_ns.max(now_ns);
        let waiting = (begins_ns - now_ns) * octets_per_ms / (FULL_FRAME_BYTES * 1_000_000);
        if waiting as usize >= queue_frames {
            return None;
        }
        self.busy_until_ns = begins_ns + len as u64 * 1_000_000 / octets_per_ms;
        Some(self.busy_until_ns)
    }

    fn schedule(&mut self, leaves_ns: u64, bytes: Vec<u8>, is_corrupted: bool) {
        let impairment = self.impairment;
        let mut delay_us = impairment.delay_us + self.random.u64(..=impairment.jitter_us);
        if self.chance(impairment.reorder_permille) {
            delay_us += impairment.reorder_us;
        }
        self.sent += 1;
        let at_ns = leaves_ns + delay_us * 1_000;
        self.frames.push(Frame { at_ns, number: self.sent, bytes, is_corrupted });
    }

    /// The next frame that has arrived.
    pub(crate) fn receive(&mut self, now_ns: u64) -> Option<Frame> {
        if self.next_ns()? > now_ns {
            return None;
        }
        self.frames.pop()
    }

    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.frames.peek().map(|frame| frame.at_ns)
    }
}

/// RFC 3168 §5: ECT(0) and ECT(1) become CE.
fn mark(bytes: &mut [u8]) {
    let (kind, packet) = bytes.split_at_mut(ETHERNET_BYTES);
    if kind[12..] == [0x08, 0x00] && packet[1] & 3 != 0 {
        packet[1] |= 3;
        Ipv4Packet::new_unchecked(packet).fill_checksum();
    } else if kind[12..] == [0x86, 0xdd] && packet[1] & 0x30 != 0 {
        packet[1] |= 0x30;
    }
}

/// The first octet that a checksum covers. Of IPv6's header these are the addresses; what is
/// before them changes nothing for TCP, or makes the packet one of nobody.
fn first_checked(bytes: &[u8]) -> usize {
    if bytes[12..ETHERNET_BYTES] == [0x86, 0xdd] { ETHERNET_BYTES + 8 } else { ETHERNET_BYTES }
}

/// ARP has none: what is damaged there would be believed.
fn has_checksum(bytes: &[u8]) -> bool {
    bytes[12..ETHERNET_BYTES] != [0x08, 0x06]
}

pub(crate) const ETHERNET_BYTES: usize = 14;
const FULL_FRAME_BYTES: u64 = 1_514;
