//! The chunk pool with its promises: room that was promised for received data is kept free.

use superpage::{ChunkPool, Placement, RegionError, Tier};

/// Chunks of a shard, shared by all connections and both directions.
#[derive(Debug)]
pub(crate) struct Chunks {
    pool: ChunkPool,
    /// Chunks promised to Data events of this burst.
    promised: u32,
    /// Data events that may still cash in on the promise.
    events: u32,
    /// Chunks that received data leaves for sending.
    send_share: u32,
}

impl Chunks {
    pub(crate) fn create(
        chunk_bytes: u32,
        capacity: u32,
        placement: Placement,
    ) -> Result<Self, RegionError> {
        let pool = ChunkPool::create("chunks", chunk_bytes, capacity, placement)?;
        Ok(Self { pool, promised: 0, events: 0, send_share: capacity / SEND_SHARE_PARTS })
    }

    /// Promises room for the `bytes` of one Data event, until it is cashed in; `false` when there
    /// is none.
    pub(crate) fn promise(&mut self, bytes: usize) -> bool {
        let needed = bytes.div_ceil(self.receive_capacity()) as u32;
        if self.free() < needed + self.send_share {
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
        self.pool.alloc().expect("promised chunks are kept free")
    }

    /// A chunk for out-of-order data: never the last ones, which sending may need to free others.
    pub(crate) fn alloc_received(&mut self) -> Option<u32> {
        if self.free() > self.send_share { self.pool.alloc() } else { None }
    }

    /// A chunk for data to send.
    pub(crate) fn alloc_send(&mut self) -> Option<u32> {
        if self.free() > 0 { self.pool.alloc() } else { None }
    }

    /// Chunks neither used nor promised.
    pub(crate) fn free(&self) -> u32 {
        self.pool.free_count() - self.promised
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

    pub(crate) fn release(&mut self, chunk: u32) {
        self.pool.free(chunk);
    }

    pub(crate) fn release_chain(&mut self, head: u32) {
        self.pool.free_chain(head);
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

/// An eighth of the pool is left to sending: connections that wait to send what they received
/// would otherwise hold all chunks against each other.
const SEND_SHARE_PARTS: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promised_chunks_are_given_to_nobody_else() {
        let mut chunks = Chunks::create(64, 8, Placement::default()).expect("pool");
        let room = chunks.receive_capacity();
        assert!(chunks.promise(3 * room));
        assert!(chunks.promise(3 * room - 1));
        assert!(!chunks.promise(2 * room), "an eighth is left to sending");
        assert!(chunks.promise(room));
        let sent = chunks.alloc_send().expect("the share of sending");
        assert_eq!(chunks.alloc_send(), None);
        assert_eq!(chunks.alloc_received(), None);
        let kept: Vec<u32> = (0..7).map(|_| chunks.alloc_promised()).collect();
        for _ in 0..3 {
            chunks.end_promise();
        }
        for chunk in kept.into_iter().chain([sent]) {
            chunks.release(chunk);
        }
        assert_eq!(chunks.free(), 8);
    }

    #[test]
    fn promises_not_cashed_in_end_with_the_last_event() {
        let mut chunks = Chunks::create(64, 8, Placement::default()).expect("pool");
        assert!(chunks.promise(100) && chunks.promise(100));
        chunks.end_promise();
        assert_eq!(chunks.free(), 4);
        chunks.end_promise();
        assert_eq!(chunks.free(), 8);
    }
}
