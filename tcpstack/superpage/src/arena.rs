//! Process-private scratch memory on huge pages.

use std::alloc::Layout;
use std::cell::Cell;
use std::io;
use std::path::Path;
use std::ptr::NonNull;

use memmap2::{Advice, MmapRaw};

use crate::Tier;

/// A block of zeroed memory that is given out in pieces and taken back all at once.
///
/// For tables that no successor process needs. It is one allocation on 2 MB pages where enough
/// are free, and ordinary memory with transparent huge pages asked for elsewhere. It can move to
/// another thread, but only one at a time uses it.
#[derive(Debug)]
pub struct Arena {
    block: Block,
    bytes: usize,
    used: Cell<usize>,
}

impl Arena {
    /// Makes an arena of `bytes` bytes.
    ///
    /// # Errors
    /// When the kernel has no memory of that size to give.
    pub fn new(bytes: usize) -> io::Result<Self> {
        let block = match HugeBlock::new(bytes) {
            Some(huge) => Block::Huge(huge),
            None => Block::Mapped(map_private(bytes)?),
        };
        Ok(Self { block, bytes, used: Cell::new(0) })
    }

    /// Gives out the next `len` bytes, zeroed, on a cache line of their own; `None` when fewer are
    /// left. They stay the caller's as long as the arena lives.
    #[expect(clippy::mut_from_ref, reason = "every call gives out bytes never given out before")]
    #[must_use]
    pub fn alloc_bytes(&self, len: usize) -> Option<&mut [u8]> {
        let start = self.used.get();
        let end = start.checked_add(len).filter(|&end| end <= self.bytes)?;
        // The rounding may pass the end, and then nothing (but empty pieces) fits any more.
        self.used.set(end.next_multiple_of(LINE_BYTES).min(self.bytes));
        let start = self.block.start().wrapping_add(start);
        // SAFETY: `start..end` lies inside the block, which lives as long as `self` and was
        // zeroed by the kernel; `used` only grows, so no two pieces overlap.
        Some(unsafe { std::slice::from_raw_parts_mut(start, len) })
    }

    /// Bytes not given out.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        self.bytes - self.used.get()
    }

    /// What kind of pages the arena lies on: hugetlb, or whatever the kernel makes of a request
    /// for transparent ones.
    #[must_use]
    pub fn tier(&self) -> Tier {
        match self.block {
            Block::Huge(_) => Tier::Hugetlb,
            Block::Mapped(_) => Tier::Transparent,
        }
    }
}

#[derive(Debug)]
enum Block {
    Huge(HugeBlock),
    Mapped(MmapRaw),
}

impl Block {
    fn start(&self) -> *mut u8 {
        match self {
            Self::Huge(huge) => huge.start.as_ptr(),
            Self::Mapped(map) => map.as_mut_ptr(),
        }
    }
}

/// An allocation of hugepage-rs.
#[derive(Debug)]
struct HugeBlock {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the block is plain memory that only its owner points to.
unsafe impl Send for HugeBlock {}

impl HugeBlock {
    /// Takes 2 MB pages and faults them in; `None` when the kernel has too few.
    fn new(bytes: usize) -> Option<Self> {
        // hugepage-rs panics on a kernel without hugetlb.
        if bytes == 0 || !Path::new("/sys/kernel/mm/hugepages").exists() {
            return None;
        }
        let layout = Layout::from_size_align(bytes, LINE_BYTES).ok()?;
        // SAFETY: the layout's size is not 0.
        let start = NonNull::new(unsafe { hugepage_rs::alloc(layout) })?;
        let block = Self { start, layout };
        // SAFETY: the range lies inside the block just allocated; populating changes no byte.
        let result =
            unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_POPULATE_WRITE) };
        // Reserved pages may still be out of reach (NUMA policy, cgroup): then touching is SIGBUS.
        (result == 0).then_some(block)
    }
}

impl Drop for HugeBlock {
    fn drop(&mut self) {
        // SAFETY: allocated by `hugepage_rs::alloc` with this very layout, and freed only here.
        unsafe { hugepage_rs::dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// Private zeroed memory, taken when first touched.
fn map_private(bytes: usize) -> io::Result<MmapRaw> {
    let map = memmap2::MmapMut::map_anon(bytes)?;
    // Refused by kernels without transparent huge pages, and then not needed.
    let _ = map.advise(Advice::HugePage);
    Ok(map.into())
}

const LINE_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_zeroed_apart_and_aligned() {
        let arena = Arena::new(1 << 16).unwrap();
        let first = arena.alloc_bytes(100).unwrap();
        first.fill(0xff);
        let second = arena.alloc_bytes(50).unwrap();
        assert!(second.iter().all(|&byte| byte == 0));
        assert_eq!(second.as_ptr() as usize % LINE_BYTES, 0);
        assert!(first.iter().all(|&byte| byte == 0xff));
    }

    #[test]
    fn full_arena_says_no_and_stays_usable() {
        let arena = Arena::new(200).unwrap();
        assert!(arena.alloc_bytes(201).is_none());
        assert_eq!(arena.alloc_bytes(200).unwrap().len(), 200);
        assert_eq!(arena.free_bytes(), 0);
        assert!(arena.alloc_bytes(1).is_none());
        assert!(arena.alloc_bytes(usize::MAX).is_none());
        assert!(arena.alloc_bytes(0).unwrap().is_empty());
    }

    #[test]
    fn empty_arena_gives_only_empty_pieces() {
        let arena = Arena::new(0).unwrap();
        assert!(arena.alloc_bytes(1).is_none());
        assert!(arena.alloc_bytes(0).unwrap().is_empty());
    }

    #[test]
    fn more_than_the_huge_pages_falls_back() {
        // 1 TB: beyond any pool of huge pages, and untouched it costs nothing.
        if let Ok(arena) = Arena::new(1 << 40) {
            arena.alloc_bytes(64).unwrap().fill(1);
            assert_eq!(arena.tier(), Tier::Transparent);
        }
    }
}
