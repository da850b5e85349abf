//! The chunk pool with its promises: room that was promised for received data is kept free, and no
//! use of chunks can starve the others.
//!
//! Chunks are used for data to send, for data received in order and not consumed, and for data
//! received out of order. Two hosts full of data for each other could receive none of it, and a
//! pool full of out-of-order data could not take the segment that is missing: so a share can only
//! be used by data in order. Connections that wait to send what they have received could not
//! send: so another share can only be used by data to send.

use superpage::{ChunkPool, Placement, RegionError, Tier};

/// What a chunk is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Data to send.
    Sending,
    /// Data received in order.
    InOrder,
    /// Data received out of order.
    OutOfOrder,
}

/// Chunks of a shard, shared by all connections and all uses.
#[derive(Debug)]
pub(crate) struct Chunks {
    pool: ChunkPool,
    /// Chunks in use, by [`Use`].
    used: [u32; 3],
    /// Chunks promised to Data events of this burst.
    promised: u32,
    /// Data events that may still cash in on the promise.
    events: u32,
    /// Chunks that can only be used by data in order, and as many only by data to send.
    share: u32,
}

impl Chunks {
    pub(crate) fn create(
        chunk_bytes: u32,
        capacity: u32,
        placement: Placement,
    ) -> Result<Self, RegionError> {
        let pool = ChunkPool::create("chunks", chunk_bytes, capacity, placement)?;
        let share = capacity / SHARE_PARTS;
        Ok(Self { pool, used: [0; 3], promised: 0, events: 0, share })
    }

    /// Promises room for the `bytes` of one Data event, until it is cashed in; `false` when there
    /// is none.
    pub(crate) fn promise(&mut self, bytes: usize) -> bool {
        let needed = bytes.div_ceil(self.receive_capacity()) as u32;
        if self.room(Use::InOrder) < needed {
            return false;
        }
        self.promised += needed;
        self.events += 1;
        true
    }

    /// One Data event was dealt with. With the last one the promises end.
    pub(crate) fn end_promise(&mut self) {
        self.events -= 1;
        if self.events == 0 {
            self.promised = 0;
        }
    }

    /// A chunk that was promised.
    ///
    /// # Panics
    /// When there was no promise.
    pub(crate) fn alloc_promised(&mut self) -> u32 {
        assert!(self.promised > 0, "a chunk was promised");
        self.promised -= 1;
        self.used[Use::InOrder as usize] += 1;
        self.pool.alloc().expect("promised chunks are kept free")
    }

    /// A chunk, if there is one for this use.
    pub(crate) fn alloc(&mut self, purpose: Use) -> Option<u32> {
        if self.room(purpose) == 0 {
            return None;
        }
        self.used[purpose as usize] += 1;
        self.pool.alloc()
    }

    /// Chunks there are for a use.
    pub(crate) fn room(&self, purpose: Use) -> u32 {
        let [sending, in_order, out_of_order] = self.used;
        let shared = self.pool.capacity() - self.share;
        let for_sending = shared.saturating_sub(sending + out_of_order);
        let for_receiving = shared.saturating_sub(in_order + self.promised + out_of_order);
        self.free().min(match purpose {
            Use::Sending => for_sending,
            Use::InOrder => for_receiving,
            // Of what receiving may have, a share is for data in order alone.
            Use::OutOfOrder => for_sending.min(for_receiving.saturating_sub(self.share)),
        })
    }

    /// Chunks neither used nor promised.
    pub(crate) fn free(&self) -> u32 {
        self.pool.free_count() - self.promised
    }

    /// A chunk of data that came out of order is in order now.
    pub(crate) fn put_in_order(&mut self) {
        self.used[Use::OutOfOrder as usize] -= 1;
        self.used[Use::InOrder as usize] += 1;
    }

    /// Gives a chunk back.
    pub(crate) fn release(&mut self, chunk: u32, purpose: Use) {
        self.used[purpose as usize] -= 1;
        self.pool.free(chunk);
    }

    /// Gives a chain back.
    pub(crate) fn release_chain(&mut self, head: u32, purpose: Use) {
        self.used[purpose as usize] -= self.pool.free_chain(head);
    }

    /// Bytes of received data that fit in a chunk beside its header.
    pub(crate) fn receive_capacity(&self) -> usize {
        self.pool.chunk_bytes() as usize - crate::receive_buffer::HEADER_BYTES
    }

    /// Bytes of a chunk.
    pub(crate) fn chunk_bytes(&self) -> usize {
        self.pool.chunk_bytes() as usize
    }

    pub(crate) fn bytes(&self, chunk: u32) -> &[u8] {
        self.pool.bytes(chunk)
    }

    pub(crate) fn bytes_mut(&mut self, chunk: u32) -> &mut [u8] {
        self.pool.bytes_mut(chunk)
    }

    pub(crate) fn next(&self, chunk: u32) -> u32 {
        self.pool.next(chunk)
    }

    pub(crate) fn set_next(&mut self, chunk: u32, next: u32) {
        self.pool.set_next(chunk, next);
    }

    pub(crate) fn capacity(&self) -> u32 {
        self.pool.capacity()
    }

    pub(crate) fn tier(&self) -> Tier {
        self.pool.tier()
    }

    pub(crate) fn region_bytes(&self) -> usize {
        self.pool.region_bytes()
    }
}

/// A share is an eighth of the pool.
const SHARE_PARTS: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> Chunks {
        Chunks::create(64, 8, Placement::default()).expect("pool")
    }

    #[test]
    fn promised_chunks_are_given_to_nobody_else() {
        let mut chunks = pool();
        let room = chunks.receive_capacity();
        assert!(chunks.promise(3 * room));
        assert!(chunks.promise(3 * room - 1));
        assert!(!chunks.promise(2 * room), "a share is left to sending");
        assert!(chunks.promise(room));
        let sent = chunks.alloc(Use::Sending).expect("the share of sending");
        assert_eq!(chunks.alloc(Use::Sending), None);
        assert_eq!(chunks.alloc(Use::OutOfOrder), None);
        let kept: Vec<u32> = (0..7).map(|_| chunks.alloc_promised()).collect();
        for _ in 0..3 {
            chunks.end_promise();
        }
        chunks.release(sent, Use::Sending);
        for chunk in kept {
            chunks.release(chunk, Use::InOrder);
        }
        assert_eq!((chunks.free(), chunks.used), (8, [0; 3]));
    }

    #[test]
    fn promises_not_cashed_in_end_with_the_last_event() {
        let mut chunks = pool();
        assert!(chunks.promise(100) && chunks.promise(100));
        chunks.end_promise();
        assert_eq!(chunks.free(), 4);
        chunks.end_promise();
        assert_eq!(chunks.free(), 8);
    }

    #[test]
    fn what_cannot_move_on_leaves_a_share_to_data_in_order() {
        for (purpose, most) in [(Use::Sending, 7), (Use::OutOfOrder, 6)] {
            let mut chunks = pool();
            let taken = std::iter::from_fn(|| chunks.alloc(purpose)).count();
            assert_eq!(taken, most, "{purpose:?}");
            assert!(chunks.promise(1), "{purpose:?}");
        }
        let mut chunks = pool();
        for _ in 0..4 {
            chunks.alloc(Use::OutOfOrder).expect("free");
        }
        assert_eq!(std::iter::from_fn(|| chunks.alloc(Use::Sending)).count(), 3);
        assert!(chunks.promise(1));
    }
}
