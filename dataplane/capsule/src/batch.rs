//! Batches of frames: what one burst receives, and what one burst will send.
//!
//! A batch takes on the kind of memory of the queue it is used with, DPDK mbufs or the twin's
//! buffers, and keeps it. Batches are made once a shard and reused every turn.

#[cfg(feature = "dpdk")]
use crate::dpdk::{RxMbufs, TxMbufs};
use crate::twin::{RxBuffers, TxBuffers};

/// Most frames in one batch: one burst of the driver.
pub const BATCH_FRAMES_MAX: usize = 64;

/// A port's verdict on the checksums of a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RxChecksum {
    /// The IPv4 header's, if there is one, and TCP's or UDP's checksum were verified.
    Good,
    /// One of them is wrong.
    Bad,
    /// Nobody looked: verify in software.
    Unknown,
}

/// What the port fills in before a frame leaves. `l2` and `l3` are header lengths in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TxChecksum {
    /// Nothing.
    #[default]
    None,
    /// The IPv4 header's checksum.
    Ipv4Only {
        /// Length of the Ethernet header, VLAN tags included.
        l2: usize,
        /// Length of the IPv4 header.
        l3: usize,
    },
    /// The IPv4 header's checksum and TCP's.
    Ipv4Tcp {
        /// Length of the Ethernet header, VLAN tags included.
        l2: usize,
        /// Length of the IPv4 header.
        l3: usize,
    },
    /// TCP's checksum; that of the IPv4 header is already right.
    TcpOverIpv4 {
        /// Length of the Ethernet header, VLAN tags included.
        l2: usize,
        /// Length of the IPv4 header.
        l3: usize,
    },
    /// TCP's checksum over IPv6, whose header has none.
    TcpOverIpv6 {
        /// Length of the Ethernet header, VLAN tags included.
        l2: usize,
        /// Length of the IPv6 header, extension headers included.
        l3: usize,
    },
}

/// The frames of one receive burst, in order. They live until the next burst into this batch.
#[derive(Debug)]
pub struct RxBatch {
    pub(crate) held: RxHeld,
    pub(crate) frames_max: usize,
}

/// Whose memory the frames are in.
#[derive(Debug, Default)]
pub(crate) enum RxHeld {
    #[default]
    Nothing,
    #[cfg(feature = "dpdk")]
    Dpdk(Box<RxMbufs>),
    Twin(RxBuffers),
}

impl Default for RxBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl RxBatch {
    /// An empty batch, for any queue.
    pub fn new() -> Self {
        Self::with_frames_max(BATCH_FRAMES_MAX)
    }

    /// An empty batch that takes at most so many frames at a time, and never more than
    /// [`BATCH_FRAMES_MAX`].
    pub fn with_frames_max(frames_max: usize) -> Self {
        Self { held: RxHeld::default(), frames_max: frames_max.min(BATCH_FRAMES_MAX) }
    }

    /// Number of frames.
    pub fn len(&self) -> usize {
        match &self.held {
            RxHeld::Nothing => 0,
            #[cfg(feature = "dpdk")]
            RxHeld::Dpdk(mbufs) => mbufs.len(),
            RxHeld::Twin(buffers) => buffers.len(),
        }
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of frame `i`, from its Ethernet header on, always in one piece.
    ///
    /// # Panics
    /// If `i` is not below `len()`.
    pub fn frame(&self, i: usize) -> &[u8] {
        match &self.held {
            RxHeld::Nothing => panic!("frame {i} of an empty batch"),
            #[cfg(feature = "dpdk")]
            RxHeld::Dpdk(mbufs) => mbufs.frame(i),
            RxHeld::Twin(buffers) => buffers.frame(i),
        }
    }

    /// What the port says about the checksums of frame `i`. The twin never looks.
    ///
    /// # Panics
    /// If `i` is not below `len()`.
    pub fn checksum(&self, i: usize) -> RxChecksum {
        assert!(i < self.len(), "frame {i} of a batch of {}", self.len());
        match &self.held {
            #[cfg(feature = "dpdk")]
            RxHeld::Dpdk(mbufs) => mbufs.checksum(i),
            RxHeld::Nothing | RxHeld::Twin(_) => RxChecksum::Unknown,
        }
    }

    /// The RSS hash the port computed for frame `i`, if it did.
    ///
    /// # Panics
    /// If `i` is not below `len()`.
    pub fn rss_hash(&self, i: usize) -> Option<u32> {
        assert!(i < self.len(), "frame {i} of a batch of {}", self.len());
        match &self.held {
            #[cfg(feature = "dpdk")]
            RxHeld::Dpdk(mbufs) => mbufs.rss_hash(i),
            RxHeld::Nothing | RxHeld::Twin(_) => None,
        }
    }

    /// Frees all frames.
    pub fn clear(&mut self) {
        match &mut self.held {
            RxHeld::Nothing => {}
            #[cfg(feature = "dpdk")]
            RxHeld::Dpdk(mbufs) => mbufs.clear(),
            RxHeld::Twin(buffers) => buffers.clear(),
        }
    }

    /// This batch as one of mbufs.
    #[cfg(feature = "dpdk")]
    pub(crate) fn mbufs(&mut self) -> &mut RxMbufs {
        if !matches!(self.held, RxHeld::Dpdk(_)) {
            self.held = RxHeld::Dpdk(Box::default());
        }
        let RxHeld::Dpdk(mbufs) = &mut self.held else { unreachable!("set above") };
        mbufs
    }

    /// This batch as one of the twin's buffers.
    pub(crate) fn buffers(&mut self) -> &mut RxBuffers {
        if !matches!(self.held, RxHeld::Twin(_)) {
            self.held = RxHeld::Twin(RxBuffers::default());
        }
        let RxHeld::Twin(buffers) = &mut self.held else { unreachable!("set above") };
        buffers
    }
}

/// Frames being written, in the order they will be sent.
#[derive(Debug, Default)]
pub struct TxBatch {
    pub(crate) held: TxHeld,
}

/// Whose memory the frames are in.
#[derive(Debug, Default)]
pub(crate) enum TxHeld {
    #[default]
    Nothing,
    #[cfg(feature = "dpdk")]
    Dpdk(Box<TxMbufs>),
    Twin(TxBuffers),
}

impl TxBatch {
    /// An empty batch, for any queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of frames reserved and not yet taken by the port.
    pub fn len(&self) -> usize {
        match &self.held {
            TxHeld::Nothing => 0,
            #[cfg(feature = "dpdk")]
            TxHeld::Dpdk(mbufs) => mbufs.len(),
            TxHeld::Twin(buffers) => buffers.len(),
        }
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no further frame can be reserved before some are sent.
    pub fn is_full(&self) -> bool {
        self.len() == BATCH_FRAMES_MAX
    }

    /// Frees all frames without sending them.
    pub fn clear(&mut self) {
        match &mut self.held {
            TxHeld::Nothing => {}
            #[cfg(feature = "dpdk")]
            TxHeld::Dpdk(mbufs) => mbufs.clear(),
            TxHeld::Twin(buffers) => buffers.clear(),
        }
    }

    /// This batch as one of mbufs.
    #[cfg(feature = "dpdk")]
    pub(crate) fn mbufs(&mut self) -> &mut TxMbufs {
        if !matches!(self.held, TxHeld::Dpdk(_)) {
            self.held = TxHeld::Dpdk(Box::default());
        }
        let TxHeld::Dpdk(mbufs) = &mut self.held else { unreachable!("set above") };
        mbufs
    }

    /// This batch as one of the twin's buffers.
    pub(crate) fn buffers(&mut self) -> &mut TxBuffers {
        if !matches!(self.held, TxHeld::Twin(_)) {
            self.held = TxHeld::Twin(TxBuffers::default());
        }
        let TxHeld::Twin(buffers) = &mut self.held else { unreachable!("set above") };
        buffers
    }
}
