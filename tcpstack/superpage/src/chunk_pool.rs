//! Chunk pools: bytes in fixed pieces that can be chained.

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::occupancy::Occupancy;
use crate::region::{HEADER_BYTES, LINE_BYTES, Placement, Region, RegionError, Tier};
use crate::section::Section;
use crate::{Layout, NIL, record};

record! {
    /// Marks a region as a chunk pool in its layout hash; the header tells the size of a chunk.
    struct Chunk(u8);
}

/// Fixed-size byte chunks, each with a link to another: buffers of any length are chains of chunks.
///
/// A pool of C chunks costs C × (chunk + 4 bytes of link + 1 live bit). A chunk keeps the bytes of
/// its last user until they are overwritten: whoever allocates it writes before reading.
#[derive(Debug)]
pub struct ChunkPool {
    // Declared before the region: sections must not outlive the mapping.
    occupancy: Occupancy,
    links: Section<u32>,
    bytes: Section<u8>,
    chunk_bytes: u32,
    region: Region,
}

impl ChunkPool {
    /// Makes a pool of `capacity` chunks of `chunk_bytes` bytes, all free. On the lazy tiers this
    /// takes constant time.
    ///
    /// # Errors
    /// See [`Region::create`].
    pub fn create(
        name: &str,
        chunk_bytes: u32,
        capacity: u32,
        placement: Placement,
    ) -> Result<Self, RegionError> {
        let layout = Layout { record_bytes: chunk_bytes, ..layout(capacity) };
        let bytes = Self::bytes_for(chunk_bytes, capacity);
        let mut pool = Self::over(Region::create(name, bytes, layout, placement)?, layout);
        pool.occupancy.start();
        Ok(pool)
    }

    /// Takes over the pool in a memory file, with its chunks and links.
    ///
    /// # Errors
    /// See [`Region::open`].
    pub fn open(fd: OwnedFd, chunk_bytes: u32) -> Result<Self, RegionError> {
        let region = Region::open(fd, Layout { record_bytes: chunk_bytes, ..layout(0) })?;
        let layout = region.layout();
        let capacity = u32::try_from(layout.capacity).map_err(|_| RegionError::Corrupt)?;
        if Self::bytes_for(chunk_bytes, capacity) > region.bytes() {
            return Err(RegionError::Corrupt);
        }
        let pool = Self::over(region, layout);
        if pool.occupancy.is_plausible() { Ok(pool) } else { Err(RegionError::Corrupt) }
    }

    fn over(region: Region, layout: Layout) -> Self {
        let Layout { record_bytes: chunk_bytes, capacity, .. } = layout;
        // Both callers made the layout from a `u32` capacity.
        let capacity = capacity as u32;
        let pool_bytes = capacity as usize * chunk_bytes as usize;
        // SAFETY: the region is ours alone and stored beside the sections; the three ranges (bits,
        // links, bytes) and the bookkeeping in the header page do not overlap.
        let occupancy = unsafe { Occupancy::over(&region, HEADER_BYTES, capacity) };
        // SAFETY: as above.
        let links = unsafe { region.section(links_offset(capacity), capacity as usize) };
        // SAFETY: as above.
        let bytes = unsafe { region.section(bytes_offset(capacity), pool_bytes) };
        Self { occupancy, links, bytes, chunk_bytes, region }
    }

    /// Bytes of a region for such a pool, before rounding up to pages.
    #[must_use]
    pub const fn bytes_for(chunk_bytes: u32, capacity: u32) -> usize {
        bytes_offset(capacity) + capacity as usize * chunk_bytes as usize
    }

    /// Takes a free chunk, linked to nothing; `None` when none is free.
    #[inline]
    #[must_use]
    pub fn alloc(&mut self) -> Option<u32> {
        let Self { occupancy, links, .. } = self;
        let index = occupancy.claim(|free| links.slice()[free as usize])?;
        self.links.slice_mut()[index as usize] = NIL;
        Some(index)
    }

    /// Gives one chunk back, whatever it is linked to.
    ///
    /// # Panics
    /// When the chunk is not in use.
    #[inline]
    #[track_caller]
    pub fn free(&mut self, index: u32) {
        let next_free = self.occupancy.release(index);
        self.links.slice_mut()[index as usize] = next_free;
    }

    /// Gives back a whole chain, from `head` (or `NIL`) along the links to `NIL`. Returns how many
    /// chunks that were.
    ///
    /// # Panics
    /// When a chunk of the chain is not in use, which a chain that loops comes to as well.
    #[track_caller]
    pub fn free_chain(&mut self, head: u32) -> u32 {
        let mut freed = 0;
        let mut index = head;
        while index != NIL {
            let next = self.next(index);
            self.free(index);
            freed += 1;
            index = next;
        }
        freed
    }

    /// The bytes of a chunk.
    ///
    /// # Panics
    /// When the chunk is not in use.
    #[inline]
    #[must_use]
    #[track_caller]
    pub fn bytes(&self, index: u32) -> &[u8] {
        self.occupancy.assert_live(index);
        let chunk_bytes = self.chunk_bytes as usize;
        let start = index as usize * chunk_bytes;
        &self.bytes.slice()[start..start + chunk_bytes]
    }

    /// The bytes of a chunk, writable.
    ///
    /// # Panics
    /// When the chunk is not in use.
    #[inline]
    #[must_use]
    #[track_caller]
    pub fn bytes_mut(&mut self, index: u32) -> &mut [u8] {
        self.occupancy.assert_live(index);
        let chunk_bytes = self.chunk_bytes as usize;
        let start = index as usize * chunk_bytes;
        &mut self.bytes.slice_mut()[start..start + chunk_bytes]
    }

    /// The chunk that follows, or `NIL`.
    ///
    /// # Panics
    /// When the chunk is not in use.
    #[inline]
    #[must_use]
    #[track_caller]
    pub fn next(&self, index: u32) -> u32 {
        self.occupancy.assert_live(index);
        self.links.slice()[index as usize]
    }

    /// Links a chunk to the one that follows, or to `NIL`.
    ///
    /// # Panics
    /// When the chunk is not in use.
    #[inline]
    #[track_caller]
    pub fn set_next(&mut self, index: u32, next: u32) {
        self.occupancy.assert_live(index);
        self.links.slice_mut()[index as usize] = next;
    }

    /// Bytes of one chunk.
    #[inline]
    #[must_use]
    pub fn chunk_bytes(&self) -> u32 {
        self.chunk_bytes
    }

    /// Chunks there are.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.occupancy.capacity()
    }

    /// Chunks that can be allocated now.
    #[inline]
    #[must_use]
    pub fn free_count(&self) -> u32 {
        self.capacity() - self.occupancy.len()
    }

    /// Asks for the cache line where chunk `index` begins. Any index is harmless.
    #[inline]
    pub fn prefetch(&self, index: u32) {
        self.bytes.prefetch((index as usize).wrapping_mul(self.chunk_bytes as usize));
    }

    /// What kind of pages the pool lies on.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.region.tier()
    }

    /// Bytes mapped.
    #[must_use]
    pub fn region_bytes(&self) -> usize {
        self.region.bytes()
    }

    /// The memory file, to hand to a successor.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.region.as_fd()
    }
}

const fn layout(capacity: u32) -> Layout {
    Layout::of::<Chunk>("chunk pool", capacity as u64)
}

const fn links_offset(capacity: u32) -> usize {
    (HEADER_BYTES + Occupancy::bits_bytes(capacity)).next_multiple_of(LINE_BYTES)
}

const fn bytes_offset(capacity: u32) -> usize {
    (links_offset(capacity) + capacity as usize * size_of::<u32>()).next_multiple_of(LINE_BYTES)
}

#[cfg(test)]
mod tests;
