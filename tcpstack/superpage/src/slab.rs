//! Slabs: records with indices that are handed out and taken back.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::occupancy::Occupancy;
use crate::region::{HEADER_BYTES, LINE_BYTES, Placement, Region, RegionError, Tier};
use crate::section::Section;
use crate::{Layout, Record, record};

record! {
    /// A reference to a slab's record that notices when the record has been replaced.
    ///
    /// The zeroed handle refers to nothing.
    #[derive(PartialEq, Eq, Hash)]
    pub struct Handle {
        /// The record's index.
        pub index: u32,
        /// The index's generation when the handle was made; odd for a live record.
        pub generation: u32,
    }
}

/// Records of one type, found by dense `u32` index, in one region.
///
/// A slab of capacity C costs C × (record + 4 bytes of generation + 1 live bit). Looking at a
/// record touches its own line and its live bit; the bits of a million records are 128 KB and stay
/// cached. Fresh indices come in order 0, 1, 2, …; returned ones are used again last-in-first-out.
///
/// The generation of an index goes up by one when a record is inserted and again when it is
/// removed, so it is odd while the record lives, and a [`Handle`] to an earlier one does not
/// resolve. It comes round after 2³¹ uses of the same index.
#[derive(Debug)]
pub struct Slab<T: Record> {
    // Declared before the region: sections must not outlive the mapping.
    occupancy: Occupancy,
    generations: Section<u32>,
    records: Section<T>,
    region: Region,
    marker: PhantomData<T>,
}

impl<T: Record> Slab<T> {
    /// Makes an empty slab for `capacity` records. On the lazy tiers this takes constant time.
    ///
    /// # Errors
    /// See [`Region::create`].
    pub fn create(name: &str, capacity: u32, placement: Placement) -> Result<Self, RegionError> {
        let layout = Layout::of::<T>(KIND, u64::from(capacity));
        let region = Region::create(name, Self::bytes_for(capacity), layout, placement)?;
        let mut slab = Self::over(region, capacity);
        slab.occupancy.start();
        Ok(slab)
    }

    /// Takes over the slab in a memory file, with its records, indices and generations.
    ///
    /// # Errors
    /// See [`Region::open`].
    pub fn open(fd: OwnedFd) -> Result<Self, RegionError> {
        let region = Region::open(fd, Layout::of::<T>(KIND, 0))?;
        let capacity = u32::try_from(region.layout().capacity).map_err(|_| RegionError::Corrupt)?;
        if Self::bytes_for(capacity) > region.bytes() {
            return Err(RegionError::Corrupt);
        }
        let slab = Self::over(region, capacity);
        if slab.occupancy.is_plausible() { Ok(slab) } else { Err(RegionError::Corrupt) }
    }

    fn over(region: Region, capacity: u32) -> Self {
        const {
            assert!(size_of::<T>() >= LINK_BYTES, "a dead record must hold a free-list link");
            assert!(align_of::<T>() <= LINE_BYTES, "records start on a cache line");
        }
        // SAFETY: the region is ours alone and stored beside the sections; the three ranges (bits,
        // generations, records) and the bookkeeping in the header page do not overlap.
        let occupancy = unsafe { Occupancy::over(&region, HEADER_BYTES, capacity) };
        // SAFETY: as above.
        let generations =
            unsafe { region.section(generations_offset(capacity), capacity as usize) };
        // SAFETY: as above.
        let records = unsafe { region.section(records_offset(capacity), capacity as usize) };
        Self { occupancy, generations, records, region, marker: PhantomData }
    }

    /// Bytes of a region for `capacity` records, before rounding up to pages.
    #[must_use]
    pub const fn bytes_for(capacity: u32) -> usize {
        records_offset(capacity) + capacity as usize * size_of::<T>()
    }

    /// Puts a record in a free place; `None` when the slab is full.
    #[inline]
    pub fn insert(&mut self, record: T) -> Option<u32> {
        let Self { occupancy, records, .. } = self;
        let index = occupancy.claim(|free| link(&records.slice()[free as usize]))?;
        let at = index as usize;
        self.records.slice_mut()[at] = record;
        let generation = &mut self.generations.slice_mut()[at];
        *generation = generation.wrapping_add(1);
        Some(index)
    }

    /// Takes a record out; its index is free from now on.
    ///
    /// # Panics
    /// When no record is at `index`.
    #[inline]
    #[track_caller]
    pub fn remove(&mut self, index: u32) -> T {
        let next_free = self.occupancy.release(index);
        let at = index as usize;
        let generation = &mut self.generations.slice_mut()[at];
        *generation = generation.wrapping_add(1);
        let place = &mut self.records.slice_mut()[at];
        let record = *place;
        place.as_mut_bytes()[..LINK_BYTES].copy_from_slice(&next_free.to_ne_bytes());
        record
    }

    /// The record at `index`, if there is one.
    #[inline]
    #[must_use]
    pub fn get(&self, index: u32) -> Option<&T> {
        if !self.occupancy.is_live(index) {
            return None;
        }
        // SAFETY: a live index is below the capacity, for which there are records.
        Some(unsafe { self.records.get_unchecked(index as usize) })
    }

    /// The record at `index`, writable, if there is one.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        if !self.occupancy.is_live(index) {
            return None;
        }
        // SAFETY: a live index is below the capacity, for which there are records.
        Some(unsafe { self.records.get_unchecked_mut(index as usize) })
    }

    /// A handle to the record at `index`.
    ///
    /// # Panics
    /// When no record is at `index`.
    #[inline]
    #[must_use]
    #[track_caller]
    pub fn handle(&self, index: u32) -> Handle {
        self.occupancy.assert_live(index);
        Handle { index, generation: self.generation(index) }
    }

    /// The index of the record that `handle` was made for, if it is still there.
    #[inline]
    #[must_use]
    pub fn resolve(&self, handle: Handle) -> Option<u32> {
        let generation = *self.generations.slice().get(handle.index as usize)?;
        (generation == handle.generation && generation % 2 == 1).then_some(handle.index)
    }

    /// The generation of an index, live or not; 0 when it was never used.
    ///
    /// # Panics
    /// When `index` is not below the capacity.
    #[inline]
    #[must_use]
    #[track_caller]
    pub fn generation(&self, index: u32) -> u32 {
        self.generations.slice()[index as usize]
    }

    /// Whether a record is at `index`.
    #[inline]
    #[must_use]
    pub fn is_live(&self, index: u32) -> bool {
        self.occupancy.is_live(index)
    }

    /// Records in the slab.
    #[inline]
    #[must_use]
    pub fn len(&self) -> u32 {
        self.occupancy.len()
    }

    /// Whether the slab holds no record.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Records there is room for.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.occupancy.capacity()
    }

    /// The first index at or after `from` with a record. A cursor: go on from the result plus one.
    /// Looks at one bit of each index it passes.
    #[must_use]
    pub fn next_live(&self, from: u32) -> Option<u32> {
        self.occupancy.next_live(from)
    }

    /// Asks for the cache line where record `index` begins. Any index is harmless.
    #[inline]
    pub fn prefetch(&self, index: u32) {
        self.records.prefetch(index as usize);
    }

    /// What kind of pages the slab lies on.
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

impl<T: Record> Index<u32> for Slab<T> {
    type Output = T;

    /// The record at `index`.
    ///
    /// # Panics
    /// When there is none.
    #[inline]
    #[track_caller]
    fn index(&self, index: u32) -> &T {
        self.occupancy.assert_live(index);
        // SAFETY: a live index is below the capacity, for which there are records.
        unsafe { self.records.get_unchecked(index as usize) }
    }
}

impl<T: Record> IndexMut<u32> for Slab<T> {
    #[inline]
    #[track_caller]
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.occupancy.assert_live(index);
        // SAFETY: a live index is below the capacity, for which there are records.
        unsafe { self.records.get_unchecked_mut(index as usize) }
    }
}

/// The free-list link in the first bytes of a dead record.
#[inline]
fn link<T: Record>(dead: &T) -> u32 {
    let mut bytes = [0; LINK_BYTES];
    bytes.copy_from_slice(&dead.as_bytes()[..LINK_BYTES]);
    u32::from_ne_bytes(bytes)
}

const fn generations_offset(capacity: u32) -> usize {
    (HEADER_BYTES + Occupancy::bits_bytes(capacity)).next_multiple_of(LINE_BYTES)
}

const fn records_offset(capacity: u32) -> usize {
    (generations_offset(capacity) + capacity as usize * size_of::<u32>())
        .next_multiple_of(LINE_BYTES)
}

const KIND: &str = "slab";
const LINK_BYTES: usize = size_of::<u32>();

#[cfg(test)]
mod tests;
