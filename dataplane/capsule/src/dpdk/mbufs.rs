//! The memory behind batches on a DPDK port.
//!
//! Flat records describe the frames; the shim fills them from mbufs and writes them back, once a
//! burst, so no mbuf field is read here.

use std::ptr;
use std::slice;
use std::sync::Arc;

use dpdk_sys as sys;

use super::mempool::Pool;
use crate::batch::{BATCH_FRAMES_MAX, RxChecksum, TxChecksum};
use crate::checksum;

const _: () = assert!(BATCH_FRAMES_MAX == sys::SHIM_BATCH_FRAMES_MAX as usize);

/// Room to join frames that arrived in several mbufs: the largest one possible, or a few jumbo
/// frames. The rest of a burst beyond it is dropped and counted.
const SCRATCH_BYTES: usize = 64 * 1024;

/// Fresh mbufs fetched from the pool at a time: one trip for half a batch.
const REFILL_FRAMES: usize = BATCH_FRAMES_MAX / 2;

/// Received mbufs. `mbufs[..len]` are owned; `frames[..len]` describe them.
#[derive(Debug)]
pub(crate) struct RxMbufs {
    /// Keeps the mbufs' memory.
    pool: Option<Arc<Pool>>,
    len: usize,
    mbufs: [*mut sys::rte_mbuf; BATCH_FRAMES_MAX],
    frames: [sys::shim_rx_frame; BATCH_FRAMES_MAX],
    /// Joined frames; records point into it, so it never grows after its first use.
    scratch: Vec<u8>,
    scratch_used: usize,
}

// SAFETY: the mbufs are owned by this value alone and can be read and freed by any thread.
unsafe impl Send for RxMbufs {}

impl Default for RxMbufs {
    fn default() -> Self {
        Self {
            pool: None,
            len: 0,
            mbufs: [ptr::null_mut(); BATCH_FRAMES_MAX],
            frames: [sys::shim_rx_frame::default(); BATCH_FRAMES_MAX],
            scratch: Vec::new(),
            scratch_used: 0,
        }
    }
}

/// What [`RxMbufs::join_segments`] did.
#[derive(Debug, Default)]
pub(super) struct Joined {
    pub(super) linearised: u64,
    pub(super) dropped: u64,
}

impl RxMbufs {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn frame(&self, i: usize) -> &[u8] {
        let frame = &self.frames[..self.len][i];
        // SAFETY: `data` has `first_len` bytes: in mbuf `i`, which is owned until `clear`, or in
        // `scratch`, which is written only by `join_segments`, through `&mut self`.
        unsafe { slice::from_raw_parts(frame.data, frame.first_len as usize) }
    }

    pub(crate) fn checksum(&self, i: usize) -> RxChecksum {
        match self.frames[i].checksum {
            sys::SHIM_RX_CHECKSUM_GOOD => RxChecksum::Good,
            sys::SHIM_RX_CHECKSUM_BAD => RxChecksum::Bad,
            _ => RxChecksum::Unknown,
        }
    }

    pub(crate) fn rss_hash(&self, i: usize) -> Option<u32> {
        let frame = &self.frames[i];
        (frame.has_rss_hash != 0).then_some(frame.rss_hash)
    }

    pub(crate) fn clear(&mut self) {
        if self.len > 0 {
            // SAFETY: the first `len` pointers are owned mbufs, given back here exactly once.
            unsafe { sys::rte_pktmbuf_free_bulk(self.mbufs.as_mut_ptr(), self.len as u32) };
        }
        self.len = 0;
        self.scratch_used = 0;
    }

    /// Receives a burst of at most `frames_max` from a queue whose mbufs come from `pool`. The batch
    /// must be clear.
    ///
    /// # Safety
    /// `port` is started, has `queue`, and nobody else receives from it during the call.
    pub(super) unsafe fn fill(
        &mut self,
        port: u16,
        queue: u16,
        frames_max: usize,
        pool: &Arc<Pool>,
    ) {
        debug_assert_eq!(self.len, 0, "a batch is cleared before it is filled");
        hold(&mut self.pool, pool);
        let frames_max = frames_max.min(BATCH_FRAMES_MAX);
        // SAFETY: both arrays have room for BATCH_FRAMES_MAX records; the rest is the caller's.
        let got = unsafe {
            sys::shim_rx_burst(
                port,
                queue,
                self.mbufs.as_mut_ptr(),
                self.frames.as_mut_ptr(),
                frames_max as u16,
            )
        };
        self.len = usize::from(got);
    }

    /// Sum of the frames' bytes, and whether one is in several pieces.
    pub(super) fn measure(&self) -> (u64, bool) {
        let frames = &self.frames[..self.len];
        let bytes = frames.iter().map(|frame| u64::from(frame.len)).sum();
        (bytes, frames.iter().any(|frame| frame.len != frame.first_len))
    }

    /// Copies frames of several pieces together; drops those for which there is no room.
    #[cold]
    pub(super) fn join_segments(&mut self) -> Joined {
        if self.scratch.is_empty() {
            self.scratch.resize(SCRATCH_BYTES, 0);
        }
        let mut joined = Joined::default();
        let mut kept = 0;
        for i in 0..self.len {
            if self.frames[i].len == self.frames[i].first_len {
                // One piece already.
            } else if self.join(i) {
                joined.linearised += 1;
            } else {
                joined.dropped += 1;
                // SAFETY: mbuf `i` is owned, and is not among those kept, so it is freed once.
                unsafe { sys::rte_pktmbuf_free_bulk(&mut self.mbufs[i], 1) };
                continue;
            }
            self.mbufs[kept] = self.mbufs[i];
            self.frames[kept] = self.frames[i];
            kept += 1;
        }
        self.len = kept;
        joined
    }

    fn join(&mut self, i: usize) -> bool {
        let len = self.frames[i].len as usize;
        let free = &mut self.scratch[self.scratch_used..];
        if len > free.len() {
            return false;
        }
        // SAFETY: mbuf `i` is owned and `len` bytes long in all, and `free` has room for them.
        unsafe { sys::shim_linearise(self.mbufs[i], free.as_mut_ptr(), len as u32) };
        self.frames[i].data = free.as_ptr();
        self.frames[i].first_len = len as u32;
        self.scratch_used += len;
        true
    }
}

impl Drop for RxMbufs {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Mbufs being written. All of them come from `pool`.
#[derive(Debug)]
pub(crate) struct TxMbufs {
    pool: Option<Arc<Pool>>,
    /// `frames[..len]` are reserved, in order.
    len: usize,
    frames: [sys::shim_tx_frame; BATCH_FRAMES_MAX],
    /// `fresh[..fresh_len]` are allocated and unused.
    fresh_len: usize,
    fresh: [sys::shim_tx_frame; REFILL_FRAMES],
}

// SAFETY: the mbufs are owned by this value alone and can be written and freed by any thread.
unsafe impl Send for TxMbufs {}

impl Default for TxMbufs {
    fn default() -> Self {
        Self {
            pool: None,
            len: 0,
            frames: [sys::shim_tx_frame::default(); BATCH_FRAMES_MAX],
            fresh_len: 0,
            fresh: [sys::shim_tx_frame::default(); REFILL_FRAMES],
        }
    }
}

/// Why no frame could be reserved.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoFrame {
    /// The batch is full, or the length cannot be had.
    Refused,
    /// The pool is empty.
    NoMbuf,
}

impl TxMbufs {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// A frame of `len` bytes in an mbuf of `pool`.
    pub(super) fn reserve(&mut self, pool: &Arc<Pool>, len: usize) -> Result<&mut [u8], NoFrame> {
        if self.len == BATCH_FRAMES_MAX || len == 0 {
            return Err(NoFrame::Refused);
        }
        if self.fresh_len == 0 || !holds(&self.pool, pool) {
            self.refill(pool)?;
        }
        let fresh = &self.fresh[self.fresh_len - 1];
        if len > fresh.room as usize {
            return Err(NoFrame::Refused);
        }
        let frame = &mut self.frames[self.len];
        *frame = *fresh;
        frame.len = len as u32;
        self.fresh_len -= 1;
        self.len += 1;
        // SAFETY: `data` has `room` ≥ `len` writable bytes in an mbuf that this batch owns alone;
        // the memory was zeroed by the kernel or written since, so it is initialised; the slice
        // borrows the batch.
        Ok(unsafe { slice::from_raw_parts_mut(frame.data, len) })
    }

    /// Fetches fresh mbufs: half a batch, or one when the pool is nearly empty.
    fn refill(&mut self, pool: &Arc<Pool>) -> Result<(), NoFrame> {
        if !holds(&self.pool, pool) {
            assert_eq!(self.len, 0, "a batch with frames of one port was used with another port");
            self.free_fresh();
            hold(&mut self.pool, pool);
        }
        for count in [REFILL_FRAMES, 1] {
            // SAFETY: the pool lives, and `fresh` has room for `count` records.
            if unsafe { sys::shim_tx_alloc(pool.raw(), self.fresh.as_mut_ptr(), count as u16) } {
                self.fresh_len = count;
                return Ok(());
            }
        }
        Err(NoFrame::NoMbuf)
    }

    pub(crate) fn set_checksum(&mut self, checksum: TxChecksum) {
        let frame = self.frames[..self.len].last_mut().expect("a frame was reserved");
        // SAFETY: as in `reserve`; the record is borrowed mutably, so nobody else has the bytes.
        let bytes = unsafe { slice::from_raw_parts_mut(frame.data, frame.len as usize) };
        checksum::prepare(bytes, checksum);
        let (kind, l2, l3) = match checksum {
            TxChecksum::None => (sys::SHIM_TX_CHECKSUM_NONE, 0, 0),
            TxChecksum::Ipv4Only { l2, l3 } => (sys::SHIM_TX_CHECKSUM_IPV4, l2, l3),
            TxChecksum::Ipv4Tcp { l2, l3 } => (sys::SHIM_TX_CHECKSUM_IPV4_TCP, l2, l3),
            TxChecksum::TcpOverIpv4 { l2, l3 } => (sys::SHIM_TX_CHECKSUM_TCP_IPV4, l2, l3),
            TxChecksum::TcpOverIpv6 { l2, l3 } => (sys::SHIM_TX_CHECKSUM_TCP_IPV6, l2, l3),
        };
        frame.checksum = kind;
        // The headers lie within the frame, whose length is that of a 16-bit buffer.
        frame.l2_len = l2 as u16;
        frame.l3_len = l3 as u16;
    }

    /// Whether all mbufs here are of `pool`.
    pub(super) fn is_of(&self, pool: &Arc<Pool>) -> bool {
        self.len == 0 || holds(&self.pool, pool)
    }

    /// Offers all frames to a queue; returns how many it took and their bytes.
    ///
    /// # Safety
    /// `port` is started, has `queue`, and nobody else sends to it during the call.
    pub(super) unsafe fn offer(&mut self, port: u16, queue: u16) -> (usize, u64) {
        // SAFETY: the first `len` records have owned mbufs; the rest is the caller's.
        let taken =
            unsafe { sys::shim_tx_burst(port, queue, self.frames.as_mut_ptr(), self.len as u16) };
        let taken = usize::from(taken);
        let bytes = self.frames[..taken].iter().map(|frame| u64::from(frame.len)).sum();
        // The driver owns those now: forget them.
        self.frames.copy_within(taken..self.len, 0);
        self.len -= taken;
        (taken, bytes)
    }

    pub(crate) fn clear(&mut self) {
        if self.len > 0 {
            // SAFETY: the first `len` records have owned mbufs, given back here exactly once.
            unsafe { sys::shim_tx_free(self.frames.as_mut_ptr(), self.len as u16) };
        }
        self.len = 0;
    }

    fn free_fresh(&mut self) {
        if self.fresh_len > 0 {
            // SAFETY: the first `fresh_len` records have owned mbufs, given back exactly once.
            unsafe { sys::shim_tx_free(self.fresh.as_mut_ptr(), self.fresh_len as u16) };
        }
        self.fresh_len = 0;
    }
}

impl Drop for TxMbufs {
    fn drop(&mut self) {
        self.clear();
        self.free_fresh();
    }
}

fn holds(held: &Option<Arc<Pool>>, pool: &Arc<Pool>) -> bool {
    held.as_ref().is_some_and(|held| Arc::ptr_eq(held, pool))
}

/// Makes `held` keep `pool`, without touching the count when it does already.
fn hold(held: &mut Option<Arc<Pool>>, pool: &Arc<Pool>) {
    if !holds(held, pool) {
        *held = Some(Arc::clone(pool));
    }
}
