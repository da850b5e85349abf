//! Process-private scratch memory on huge pages.

use std::alloc::Layout;
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::{Advice, MmapRaw};

use crate::{RegionError, Tier};

/// A block of zeroed memory that is given out in pieces, and given back when the last piece and the
/// arena are gone.
///
/// For tables that no successor process needs. It is one allocation on 2 MB pages where enough
/// are free, and ordinary memory with transparent huge pages asked for elsewhere.
#[derive(Debug)]
pub struct Arena {
    block: Arc<Block>,
    bytes: usize,
    used: usize,
}

impl Arena {
    /// Makes an arena of `bytes` bytes: the sum of its pieces, each rounded up by
    /// [`Arena::piece_bytes`].
    ///
    /// # Errors
    /// When the kernel has no memory of that size to give.
    pub fn create(name: &str, bytes: usize) -> Result<Self, RegionError> {
        let block = match HugeBlock::new(bytes) {
            Some(huge) => Block::Huge(huge),
            None => Block::Mapped(map_private(bytes).map_err(|source| RegionError::System {
                name: name.to_owned(),
                step: "map it",
                bytes,
                tier: Tier::Transparent,
                source,
            })?),
        };
        Ok(Self { block: Arc::new(block), bytes, used: 0 })
    }

    /// What a piece of `len` bytes takes.
    #[must_use]
    pub const fn piece_bytes(len: usize) -> usize {
        len.next_multiple_of(LINE_BYTES)
    }

    /// Gives out the next `len` bytes, zeroed, on a cache line of their own; `None` when fewer are
    /// left.
    #[must_use]
    pub fn alloc_bytes(&mut self, len: usize) -> Option<ArenaBytes> {
        let end = self.used.checked_add(len).filter(|&end| end <= self.bytes)?;
        // Inside the block, or one past its end for an empty piece: never null.
        let start = NonNull::new(self.block.start().wrapping_add(self.used))?;
        // The rounding may pass the end, and then nothing (but empty pieces) fits any more.
        self.used = Self::piece_bytes(end).min(self.bytes);
        Some(ArenaBytes { start, len, _block: Arc::clone(&self.block) })
    }

    /// Bytes of the whole arena.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What kind of pages the arena lies on: hugetlb, or whatever the kernel makes of a request
    /// for transparent ones.
    #[must_use]
    pub fn tier(&self) -> Tier {
        match *self.block {
            Block::Huge(_) => Tier::Hugetlb,
            Block::Mapped(_) => Tier::Transparent,
        }
    }
}

/// A piece of an [`Arena`]: bytes that nobody else has.
///
/// Invariant: `start` and `len` are a range of the block that no other piece overlaps.
#[derive(Debug)]
pub struct ArenaBytes {
    start: NonNull<u8>,
    len: usize,
    /// Keeps the memory.
    _block: Arc<Block>,
}

// SAFETY: a piece is the only owner of its range (the invariant), like a `Box<[u8]>`, and the block
// that it shares is `Send` and `Sync`.
unsafe impl Send for ArenaBytes {}

impl Deref for ArenaBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the range lies inside the block, which lives as long as `self` and was zeroed by
        // the kernel; no other piece overlaps it, and nobody writes while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for ArenaBytes {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes this borrow the only one.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
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

// SAFETY: the block is plain memory; it may be freed from any thread.
unsafe impl Send for HugeBlock {}
// SAFETY: a shared block gives out nothing but its address.
unsafe impl Sync for HugeBlock {}

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
        let mut arena = Arena::create("test", 1 << 16).unwrap();
        let mut first = arena.alloc_bytes(100).unwrap();
        first.fill(0xff);
        let second = arena.alloc_bytes(50).unwrap();
        assert!(second.iter().all(|&byte| byte == 0));
        assert_eq!(second.as_ptr() as usize % LINE_BYTES, 0);
        assert!(first.iter().all(|&byte| byte == 0xff));
    }

    #[test]
    fn piece_outlives_its_arena_on_another_thread() {
        let mut arena = Arena::create("test", 1 << 12).unwrap();
        let mut piece = arena.alloc_bytes(100).unwrap();
        drop(arena);
        piece.fill(7);
        let sum =
            std::thread::spawn(move || piece.iter().map(|&byte| u32::from(byte)).sum::<u32>());
        assert_eq!(sum.join().unwrap(), 700);
    }

    #[test]
    fn full_arena_says_no_and_stays_usable() {
        let mut arena = Arena::create("test", 200).unwrap();
        assert!(arena.alloc_bytes(201).is_none());
        assert_eq!(arena.alloc_bytes(200).unwrap().len(), 200);
        assert!(arena.alloc_bytes(1).is_none());
        assert!(arena.alloc_bytes(usize::MAX).is_none());
        assert!(arena.alloc_bytes(0).unwrap().is_empty());
    }

    #[test]
    fn empty_arena_gives_only_empty_pieces() {
        let mut arena = Arena::create("test", 0).unwrap();
        assert!(arena.alloc_bytes(1).is_none());
        assert!(arena.alloc_bytes(0).unwrap().is_empty());
    }

    #[test]
    fn more_than_the_huge_pages_falls_back() {
        // 1 TB: beyond any pool of huge pages, and untouched it costs nothing.
        if let Ok(mut arena) = Arena::create("test", 1 << 40) {
            arena.alloc_bytes(64).unwrap().fill(1);
            assert_eq!(arena.tier(), Tier::Transparent);
        }
    }
}
