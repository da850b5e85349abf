//! One RX and one TX queue of a port, or one end of the twin's wire.

use std::os::fd::BorrowedFd;

use crate::batch::{RxBatch, TxBatch, TxChecksum};
#[cfg(feature = "dpdk")]
use crate::dpdk::DpdkQueue;
use crate::impairment::Impairments;
use crate::port::QueueId;
use crate::twin::TwinQueue;

/// What passed through one queue pair since it was made.
///
/// Every frame the driver handed over is in `rx_frames` or in `rx_drop_segments`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounters {
    /// Frames handed to the caller.
    pub rx_frames: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames handed to the caller that came in several pieces and were copied together.
    pub rx_linearised: u64,
    /// Frames dropped because they came in several pieces and the batch had no room to join them.
    pub rx_drop_segments: u64,
    /// Frames the port took.
    pub tx_frames: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Frames the port did not take when offered; a frame offered three times counts three times.
    pub tx_refused: u64,
    /// Reservations that failed because the mempool was empty.
    pub tx_no_mbuf: u64,
}

/// One RX and one TX queue with the same index. It has one owner: `Send`, handed out once, and
/// every operation takes `&mut self`.
#[derive(Debug)]
pub struct PortQueue {
    backend: Backend,
    counters: QueueCounters,
}

#[derive(Debug)]
enum Backend {
    #[cfg(feature = "dpdk")]
    Dpdk(DpdkQueue),
    Twin(TwinQueue),
}

impl PortQueue {
    #[cfg(feature = "dpdk")]
    pub(crate) fn dpdk(queue: DpdkQueue) -> Self {
        Self { backend: Backend::Dpdk(queue), counters: QueueCounters::default() }
    }

    pub(crate) fn twin(queue: TwinQueue) -> Self {
        Self { backend: Backend::Twin(queue), counters: QueueCounters::default() }
    }

    /// The number of this queue on its port.
    pub fn id(&self) -> QueueId {
        match &self.backend {
            #[cfg(feature = "dpdk")]
            Backend::Dpdk(queue) => queue.id(),
            Backend::Twin(queue) => queue.id(),
        }
    }

    /// Largest frame that [`Self::reserve`] gives, in bytes.
    pub fn frame_bytes_max(&self) -> usize {
        match &self.backend {
            #[cfg(feature = "dpdk")]
            Backend::Dpdk(queue) => queue.frame_bytes_max(),
            Backend::Twin(_) => crate::twin::FRAME_BYTES_MAX,
        }
    }

    /// Replaces the frames of `batch` by those that have arrived, oldest first, at most
    /// [`BATCH_FRAMES_MAX`](crate::BATCH_FRAMES_MAX). Returns how many there are.
    #[inline]
    pub fn receive(&mut self, batch: &mut RxBatch) -> usize {
        let frames_max = batch.frames_max;
        match &mut self.backend {
            #[cfg(feature = "dpdk")]
            Backend::Dpdk(queue) => queue.receive(batch.mbufs(), frames_max, &mut self.counters),
            Backend::Twin(queue) => queue.receive(batch.buffers(), frames_max, &mut self.counters),
        }
    }

    /// Appends a frame of exactly `len` bytes to `batch` and returns its bytes. They are stale:
    /// write all of them. `None` if the batch is full, `len` is 0 or above
    /// [`Self::frame_bytes_max`], or the mempool is empty (counted).
    #[inline]
    pub fn reserve<'b>(&mut self, batch: &'b mut TxBatch, len: usize) -> Option<&'b mut [u8]> {
        match &mut self.backend {
            #[cfg(feature = "dpdk")]
            Backend::Dpdk(queue) => queue.reserve(batch.mbufs(), len, &mut self.counters),
            Backend::Twin(_) => batch.buffers().reserve(len),
        }
    }

    /// Leaves checksums of the last reserved frame, whose headers are written by now, to the port.
    /// Checksum fields may hold anything; the port's demands on them are met here.
    ///
    /// # Panics
    /// If there is no frame, its headers are longer than itself, or the port did not grant
    /// `tx_checksum`.
    #[inline]
    pub fn set_checksum(&mut self, batch: &mut TxBatch, checksum: TxChecksum) {
        match &mut self.backend {
            #[cfg(feature = "dpdk")]
            Backend::Dpdk(queue) => {
                assert!(queue.has_tx_checksum(), "this port was not granted tx_checksum");
                batch.mbufs().set_checksum(checksum);
            }
            Backend::Twin(_) => batch.buffers().set_checksum(checksum),
        }
    }

    /// Offers `batch` to the port, which takes a prefix and owns it afterwards. What it refused
    /// stays in `batch`, in order. Returns how many were taken.
    #[inline]
    pub fn send(&mut self, batch: &mut TxBatch) -> usize {
        match &mut self.backend {
            #[cfg(feature = "dpdk")]
            Backend::Dpdk(queue) => queue.send(batch.mbufs(), &mut self.counters),
            Backend::Twin(queue) => queue.send(batch.buffers(), &mut self.counters),
        }
    }

    /// Asks for a signal when frames arrive, and returns the file descriptor that becomes readable
    /// then; `None` if the port has no interrupts. Frames that arrived before the call may give no
    /// signal: receive once more after it, and only if that finds nothing wait (for reading, with
    /// `poll` or `epoll`; never read from it). Then call [`Self::disarm_interrupt`].
    pub fn arm_interrupt(&mut self) -> Option<BorrowedFd<'_>> {
        match &mut self.backend {
            #[cfg(feature = "dpdk")]
            Backend::Dpdk(queue) => queue.arm_interrupt(),
            Backend::Twin(_) => None,
        }
    }

    /// Ends what [`Self::arm_interrupt`] began; also after a time-out.
    pub fn disarm_interrupt(&mut self) {
        match &mut self.backend {
            #[cfg(feature = "dpdk")]
            Backend::Dpdk(queue) => queue.disarm_interrupt(),
            Backend::Twin(_) => {}
        }
    }

    /// What passed through so far.
    pub fn counters(&self) -> QueueCounters {
        self.counters
    }

    /// What the twin's wire did to frames sent from this end; `None` on a real port.
    pub fn impairments(&self) -> Option<Impairments> {
        match &self.backend {
            #[cfg(feature = "dpdk")]
            Backend::Dpdk(_) => None,
            Backend::Twin(queue) => Some(queue.impairments()),
        }
    }
}
