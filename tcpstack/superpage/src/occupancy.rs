//! Which indices of a container are in use: a live bit each, a high-water mark, a free list.
//!
//! Fresh indices come from the high-water mark, returned ones from a last-in-first-out list, so
//! that an empty container needs no initialisation and a warm index is used again first. The list's
//! links live with the container, which has room for them where a dead record was.

use crate::section::Section;
use crate::{NIL, Region, record};

record! {
    /// The bookkeeping of one container, in its region.
    pub(crate) struct State {
        /// Indices from here on were never used.
        high_water: u32,
        /// Most recently returned index, or `NIL`.
        free_head: u32,
        /// Indices in use.
        live: u32,
        unused: u32,
    }
}

/// Tells used indices from free ones. Invariant: live bits are set only below `capacity`, and
/// `live` counts them.
#[derive(Debug)]
pub(crate) struct Occupancy {
    state: Section<State>,
    bits: Section<u64>,
    capacity: u32,
}

impl Occupancy {
    /// Bytes of the live bits for `capacity` indices.
    pub(crate) const fn bits_bytes(capacity: u32) -> usize {
        (capacity as usize).div_ceil(BITS) * size_of::<u64>()
    }

    /// Bookkeeping in the region's header page, with live bits at `bits_offset`.
    ///
    /// # Safety
    /// As for [`Region::section`]: the caller keeps `region` beside the result and puts nothing
    /// else at `bits_offset`, nor makes a second bookkeeping of the region.
    pub(crate) unsafe fn over(region: &Region, bits_offset: usize, capacity: u32) -> Self {
        let words = (capacity as usize).div_ceil(BITS);
        // SAFETY: the caller lets nobody else use the bits.
        let bits = unsafe { region.section(bits_offset, words) };
        // SAFETY: this part of the header page is the bookkeeping's, and there is only one.
        let state = unsafe { region.section(STATE_OFFSET, 1) };
        Self { state, bits, capacity }
    }

    /// Marks a fresh region as holding nothing.
    pub(crate) fn start(&mut self) {
        self.state_mut().free_head = NIL;
    }

    /// Whether the bookkeeping can be that of a container of this capacity.
    pub(crate) fn is_plausible(&self) -> bool {
        let State { high_water, free_head, live, unused: _ } = *self.state();
        high_water <= self.capacity
            && live <= high_water
            && (free_head == NIL || free_head < high_water)
    }

    /// Takes a free index into use; `link` reads the index that follows a returned one in the free
    /// list.
    ///
    /// # Panics
    /// When the free list leads to an index that is in use or was never used.
    #[inline]
    pub(crate) fn claim(&mut self, link: impl FnOnce(u32) -> u32) -> Option<u32> {
        let State { high_water, free_head, .. } = *self.state();
        let index = if free_head != NIL {
            assert!(
                free_head < high_water && !self.is_live(free_head),
                "free list is broken: index {free_head} is not a free one"
            );
            self.state_mut().free_head = link(free_head);
            free_head
        } else if high_water < self.capacity {
            self.state_mut().high_water = high_water + 1;
            high_water
        } else {
            return None;
        };
        *self.word_mut(index) |= bit(index);
        self.state_mut().live += 1;
        Some(index)
    }

    /// Returns an index. The caller stores the result as the link of `index`.
    ///
    /// # Panics
    /// When `index` is not in use.
    #[inline]
    pub(crate) fn release(&mut self, index: u32) -> u32 {
        self.assert_live(index);
        *self.word_mut(index) &= !bit(index);
        let state = self.state_mut();
        state.live -= 1;
        std::mem::replace(&mut state.free_head, index)
    }

    /// Whether `index` is in use. True only below the capacity.
    #[inline]
    pub(crate) fn is_live(&self, index: u32) -> bool {
        if index >= self.capacity {
            return false;
        }
        // SAFETY: `index` is below the capacity, for which the bits have words.
        let word = unsafe { self.bits.get_unchecked(index as usize / BITS) };
        word & bit(index) != 0
    }

    /// Refuses an index that is not in use.
    ///
    /// # Panics
    /// When `index` is not in use.
    #[inline]
    #[track_caller]
    pub(crate) fn assert_live(&self, index: u32) {
        if !self.is_live(index) {
            dead(index, self.capacity);
        }
    }

    /// The first index in use at or after `from`.
    pub(crate) fn next_live(&self, from: u32) -> Option<u32> {
        let high_water = self.state().high_water.min(self.capacity);
        if from >= high_water {
            return None;
        }
        let first = from as usize / BITS;
        let last = (high_water as usize).div_ceil(BITS);
        let mut mask = !0u64 << (from as usize % BITS);
        for (at, word) in self.bits.slice()[first..last].iter().enumerate() {
            let live = word & mask;
            if live != 0 {
                let index = (first + at) * BITS + live.trailing_zeros() as usize;
                // Words hold bits for indices that fit `u32`.
                return Some(index as u32);
            }
            mask = !0;
        }
        None
    }

    /// Indices in use.
    #[inline]
    pub(crate) fn len(&self) -> u32 {
        self.state().live
    }

    /// Indices there are.
    #[inline]
    pub(crate) fn capacity(&self) -> u32 {
        self.capacity
    }

    #[inline]
    fn state(&self) -> &State {
        &self.state.slice()[0]
    }

    #[inline]
    fn state_mut(&mut self) -> &mut State {
        &mut self.state.slice_mut()[0]
    }

    #[inline]
    fn word_mut(&mut self, index: u32) -> &mut u64 {
        &mut self.bits.slice_mut()[index as usize / BITS]
    }
}

#[inline]
const fn bit(index: u32) -> u64 {
    1 << (index as usize % BITS)
}

/// Out of line, so that the check costs its callers a compare and a jump.
#[cold]
#[inline(never)]
#[track_caller]
fn dead(index: u32, capacity: u32) -> ! {
    panic!("index {index} is not in use (capacity {capacity})");
}

const BITS: usize = u64::BITS as usize;

/// After the region's own header, on a cache line of its own.
const STATE_OFFSET: usize = 64;
