//! The bursts.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dpdk_sys as sys;

use super::interrupt::Interrupt;
use super::mbufs::{NoFrame, RxMbufs, TxMbufs};
use super::port::Open;
use crate::port::QueueId;
use crate::queue::QueueCounters;

/// One RX and one TX queue of a DPDK port.
#[derive(Debug)]
pub(crate) struct DpdkQueue {
    port: Arc<Open>,
    id: QueueId,
    has_tx_checksum: bool,
    /// Looked up when it is first armed.
    interrupt: Option<Interrupt>,
}

impl DpdkQueue {
    pub(super) fn new(port: Arc<Open>, id: QueueId, has_tx_checksum: bool) -> Self {
        Self { port, id, has_tx_checksum, interrupt: None }
    }

    pub(crate) fn id(&self) -> QueueId {
        self.id
    }

    pub(crate) fn has_tx_checksum(&self) -> bool {
        self.has_tx_checksum
    }

    pub(crate) fn frame_bytes_max(&self) -> usize {
        usize::from(self.port.pool.data_room_bytes - sys::SHIM_HEADROOM_BYTES)
    }

    #[inline]
    pub(crate) fn receive(
        &mut self,
        batch: &mut RxMbufs,
        frames_max: usize,
        counters: &mut QueueCounters,
    ) -> usize {
        batch.clear();
        if !self.is_started() {
            return 0;
        }
        // SAFETY: the port is started and stays so while `self` holds it; it has this queue, which
        // was handed out once, and `&mut self` means no other thread uses it.
        unsafe { batch.fill(self.port.id().0, self.id.0, frames_max, &self.port.pool) };
        if batch.len() == 0 {
            return 0;
        }
        let (mut bytes, in_pieces) = batch.measure();
        if in_pieces {
            let joined = batch.join_segments();
            counters.rx_linearised += joined.linearised;
            counters.rx_drop_segments += joined.dropped;
            bytes = batch.measure().0;
        }
        counters.rx_frames += batch.len() as u64;
        counters.rx_bytes += bytes;
        batch.len()
    }

    #[inline]
    pub(crate) fn reserve<'b>(
        &mut self,
        batch: &'b mut TxMbufs,
        len: usize,
        counters: &mut QueueCounters,
    ) -> Option<&'b mut [u8]> {
        match batch.reserve(&self.port.pool, len) {
            Ok(frame) => Some(frame),
            Err(NoFrame::NoMbuf) => {
                counters.tx_no_mbuf += 1;
                None
            }
            Err(NoFrame::Refused) => None,
        }
    }

    #[inline]
    pub(crate) fn send(&mut self, batch: &mut TxMbufs, counters: &mut QueueCounters) -> usize {
        assert!(batch.is_of(&self.port.pool), "a batch goes to the port it was reserved for");
        if batch.len() == 0 {
            return 0;
        }
        if !self.is_started() {
            counters.tx_refused += batch.len() as u64;
            return 0;
        }
        // SAFETY: as in `receive`.
        let (taken, bytes) = unsafe { batch.offer(self.port.id().0, self.id.0) };
        counters.tx_frames += taken as u64;
        counters.tx_bytes += bytes;
        counters.tx_refused += batch.len() as u64;
        taken
    }

    pub(crate) fn arm_interrupt(&mut self) -> Option<BorrowedFd<'_>> {
        if !self.is_started() || !self.port.has_interrupts() {
            return None;
        }
        if self.interrupt.is_none() {
            self.interrupt = Interrupt::find(self.port.id(), self.id);
        }
        self.interrupt.as_ref().filter(|interrupt| interrupt.arm()).map(Interrupt::fd)
    }

    pub(crate) fn disarm_interrupt(&mut self) {
        if let Some(interrupt) = &self.interrupt {
            interrupt.disarm();
        }
    }

    /// Once true it stays true while there are queues: see `Port::stop`.
    fn is_started(&self) -> bool {
        self.port.started.load(Ordering::Acquire)
    }
}
