//! A typed span inside a region.

use std::ptr::NonNull;

use crate::Record;

/// `len` records of `T` inside a mapped region.
///
/// Invariant, established by `Region::section` and kept by the containers of this crate: the span
/// lies inside a mapping that the container holding this section owns exclusively and keeps as
/// long as the section; it is aligned for `T`; no other section overlaps it. Borrowing the section
/// is therefore borrowing the memory.
#[derive(Debug)]
pub(crate) struct Section<T> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: a section is the exclusive owner of `len` values of `T` (see the invariant), like a
// `Box<[T]>`, and `Record` values are `Send`.
unsafe impl<T: Record> Send for Section<T> {}
// SAFETY: `&Section<T>` gives out only `&T`, and `Record` values are `Sync`.
unsafe impl<T: Record> Sync for Section<T> {}

impl<T: Record> Section<T> {
    /// A section from its first record and its length.
    ///
    /// # Safety
    /// The invariant of the type must hold.
    pub(crate) unsafe fn new(start: NonNull<T>, len: usize) -> Self {
        Self { start, len }
    }

    /// All records.
    #[inline]
    pub(crate) fn slice(&self) -> &[T] {
        // SAFETY: the span is mapped, aligned and ours while `self` is borrowed; every byte
        // pattern is a valid `T`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// All records, writable.
    #[inline]
    pub(crate) fn slice_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `slice`, and `&mut self` makes this borrow the only one.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// The record at `index`, without a bounds check.
    ///
    /// # Safety
    /// `index` must be below the section's length.
    #[inline]
    pub(crate) unsafe fn get_unchecked(&self, index: usize) -> &T {
        // SAFETY: the caller keeps `index` below the length.
        unsafe { self.slice().get_unchecked(index) }
    }

    /// The record at `index`, writable, without a bounds check.
    ///
    /// # Safety
    /// `index` must be below the section's length.
    #[inline]
    pub(crate) unsafe fn get_unchecked_mut(&mut self, index: usize) -> &mut T {
        // SAFETY: the caller keeps `index` below the length.
        unsafe { self.slice_mut().get_unchecked_mut(index) }
    }

    /// Asks for the cache line where the record at `index` begins. Any index is harmless.
    #[inline]
    pub(crate) fn prefetch(&self, index: usize) {
        crate::prefetch::line(self.start.as_ptr().wrapping_add(index));
    }
}
