//! Fixed tables.

use std::ops::{Deref, DerefMut};
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::region::{HEADER_BYTES, Placement, Region, RegionError, Tier};
use crate::section::Section;
use crate::{Layout, Record};

/// A fixed array of records that are born zeroed: hash buckets, timer wheels, directories.
///
/// It is used as the slice it dereferences to. It starts on a page boundary.
#[derive(Debug)]
pub struct Array<T: Record> {
    // Declared before the region: a section must not outlive the mapping.
    records: Section<T>,
    region: Region,
}

impl<T: Record> Array<T> {
    /// Makes an array of `len` zeroed records.
    ///
    /// # Errors
    /// See [`Region::create`].
    pub fn create(name: &str, len: usize, placement: Placement) -> Result<Self, RegionError> {
        let layout = Layout::of::<T>(KIND, len as u64);
        Ok(Self::over(Region::create(name, Self::bytes_for(len), layout, placement)?, len))
    }

    /// Takes over the array in a memory file, with its contents.
    ///
    /// # Errors
    /// See [`Region::open`].
    pub fn open(fd: OwnedFd) -> Result<Self, RegionError> {
        let region = Region::open(fd, Layout::of::<T>(KIND, 0))?;
        let len = usize::try_from(region.layout().capacity).map_err(|_| RegionError::Corrupt)?;
        let end = len.checked_mul(size_of::<T>()).and_then(|bytes| bytes.checked_add(HEADER_BYTES));
        if end.is_none_or(|end| end > region.bytes()) {
            return Err(RegionError::Corrupt);
        }
        Ok(Self::over(region, len))
    }

    fn over(region: Region, len: usize) -> Self {
        // SAFETY: the region is ours alone and stored beside the section; this is the only
        // section on it.
        let records = unsafe { region.section(HEADER_BYTES, len) };
        Self { records, region }
    }

    /// Bytes of a region for `len` records, before rounding up to pages.
    #[must_use]
    pub const fn bytes_for(len: usize) -> usize {
        HEADER_BYTES + len * size_of::<T>()
    }

    /// Asks for the cache line where record `index` begins. Any index is harmless.
    #[inline]
    pub fn prefetch(&self, index: usize) {
        self.records.prefetch(index);
    }

    /// What kind of pages the array lies on.
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

impl<T: Record> Deref for Array<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.records.slice()
    }
}

impl<T: Record> DerefMut for Array<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        self.records.slice_mut()
    }
}

const KIND: &str = "array";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::tests::SMALL;

    #[test]
    fn fresh_array_is_zero_and_keeps_what_is_written() {
        let mut array = Array::<u64>::create("array", 1000, SMALL).unwrap();
        assert!(array.iter().all(|&value| value == 0));
        array[999] = 7;
        assert_eq!((array.len(), array[999], array.get(1000)), (1000, 7, None));
    }

    #[test]
    fn empty_array_is_an_empty_slice() {
        let array = Array::<[u8; 3]>::create("empty", 0, SMALL).unwrap();
        array.prefetch(5);
        assert!(array.is_empty());
    }

    #[test]
    fn successor_finds_length_and_contents() {
        let mut array = Array::<u32>::create("array", 300, SMALL).unwrap();
        array[299] = 41;
        let fd = array.as_fd().try_clone_to_owned().unwrap();
        drop(array);
        let array = Array::<u32>::open(fd).unwrap();
        assert_eq!((array.len(), array[299]), (300, 41));
    }
}
