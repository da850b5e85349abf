//! Regions: memory files mapped shared, on the best pages there are.

mod pages;
pub(crate) mod sys;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use memmap2::{Advice, MmapRaw};

use crate::section::Section;
use crate::{Layout, Record, record};

/// What kind of pages memory lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// 2 MB pages from the kernel's reserved pool, all present from the start.
    Hugetlb,
    /// Ordinary memory that the kernel was asked, and is configured, to back with 2 MB pages.
    Transparent,
    /// Ordinary 4 KB pages.
    Base,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hugetlb => "hugetlb-2m",
            Self::Transparent => "transparent",
            Self::Base => "base-4k",
        })
    }
}

/// Which tiers may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TierPolicy {
    /// Hugetlb, else transparent, else 4 KB.
    #[default]
    Best,
    /// Hugetlb or an error.
    HugetlbOnly,
    /// 4 KB pages, even where better ones are free.
    BaseOnly,
}

/// Where memory shall be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// On which pages.
    pub tier: TierPolicy,
    /// On which NUMA node; `None` leaves it to the kernel.
    pub numa_node: Option<u32>,
}

/// One memory file, mapped shared and writable, whose header page says what lies in it.
///
/// The file is sealed: nobody can shrink it under the mapping. A region is held by one owner at a
/// time, enforced by a lock on the file that every `create` and `open` takes and dropping the
/// region gives back. Only processes that are handed the file descriptor can reach the memory;
/// they are trusted to go through this type.
///
/// The memory is left out of core dumps and is not inherited by `fork`.
#[derive(Debug)]
pub struct Region {
    // Declared in the order of release: the mapping, then the lock, then the file.
    map: MmapRaw,
    _lock: File,
    file: File,
    tier: Tier,
    layout: Layout,
}

/// Why there is no region.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// The kernel refused a step.
    #[error("memory `{name}`: cannot {step} ({bytes} bytes, {tier}): {source}")]
    System {
        /// The region's name.
        name: String,
        /// What was tried.
        step: &'static str,
        /// Size of the mapping.
        bytes: usize,
        /// On which pages.
        tier: Tier,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A size that no address space holds.
    #[error("memory `{name}`: {bytes} bytes are more than can be mapped")]
    TooLarge {
        /// The region's name.
        name: String,
        /// The size asked for.
        bytes: usize,
    },
    /// The memory file could not be examined.
    #[error("memory file: {0}")]
    File(#[from] io::Error),
    /// The file is not a sealed memory file with our header.
    #[error("memory file is no region")]
    NotARegion,
    /// Another owner holds the region.
    #[error("region is in use by another owner")]
    InUse,
    /// The header has another version.
    #[error("region has header version {found}, not {VERSION}")]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// Something else lies in the region.
    #[error(
        "region has layout {:016x} with records of {} bytes, not {:016x} with {}",
        found.hash, found.record_bytes, expected.hash, expected.record_bytes
    )]
    Layout {
        /// What the header says.
        found: Layout,
        /// What was asked for.
        expected: Layout,
    },
    /// The header contradicts the size or the bookkeeping of what it describes.
    #[error("region is corrupt")]
    Corrupt,
}

record! {
    /// The first bytes of every region.
    struct Header {
        magic: u64,
        version: u32,
        tier: u32,
        layout_hash: u64,
        capacity: u64,
        record_bytes: u32,
        unused: u32,
    }
}

impl Region {
    /// Makes a region of at least `bytes` bytes, header included, zeroed behind the header. The
    /// mapping is rounded up to whole pages of its tier.
    ///
    /// `name` appears in `/proc/PID/maps` and in errors. On hugetlb all pages are faulted in now;
    /// on the other tiers memory is taken when it is first touched.
    ///
    /// # Errors
    /// [`RegionError::TooLarge`], or [`RegionError::System`] when no permitted tier has room or
    /// the NUMA node does not exist.
    pub fn create(
        name: &str,
        bytes: usize,
        layout: Layout,
        placement: Placement,
    ) -> Result<Self, RegionError> {
        let build = |tier| Self::create_on(name, bytes, layout, tier, placement.numa_node);
        match placement.tier {
            TierPolicy::HugetlbOnly => build(Tier::Hugetlb),
            TierPolicy::BaseOnly => build(Tier::Base),
            // Whatever kept us from the better tier, the next one is a working answer, and
            // `tier()` tells.
            TierPolicy::Best => build(Tier::Hugetlb)
                .or_else(|_| {
                    let wanted = if bytes >= HUGE_BYTES && pages::transparent_for_shared() {
                        Tier::Transparent
                    } else {
                        Tier::Base
                    };
                    build(wanted)
                })
                .or_else(|_| build(Tier::Base)),
        }
    }

    /// Maps the region in a memory file that a predecessor made, with everything in it.
    ///
    /// The capacity in `expected` is not compared: the file decides how much there is, see
    /// [`Region::layout`].
    ///
    /// # Errors
    /// Every kind but [`RegionError::TooLarge`].
    pub fn open(fd: OwnedFd, expected: Layout) -> Result<Self, RegionError> {
        let file = File::from(fd);
        if !sys::is_sealed(&file) {
            return Err(RegionError::NotARegion);
        }
        let lock = lock(&file)?;
        let bytes = usize::try_from(file.metadata()?.len()).map_err(|_| RegionError::NotARegion)?;
        if bytes < HEADER_BYTES || isize::try_from(bytes).is_err() {
            return Err(RegionError::NotARegion);
        }
        let map = memmap2::MmapOptions::new().len(bytes).map_raw(&lock)?;
        let mut region = Self { map, _lock: lock, file, tier: Tier::Base, layout: expected };

        // SAFETY: the lock makes this the only mapping in use, the section is gone before the
        // function ends, and there is no other.
        let header = unsafe { region.section::<Header>(0, 1) }.slice()[0];
        if header.magic != MAGIC {
            return Err(RegionError::NotARegion);
        }
        if header.version != VERSION {
            return Err(RegionError::Version { found: header.version });
        }
        let Header { layout_hash: hash, capacity, record_bytes, .. } = header;
        let found = Layout { hash, record_bytes, capacity };
        if (found.hash, found.record_bytes) != (expected.hash, expected.record_bytes) {
            return Err(RegionError::Layout { found, expected });
        }
        region.layout = found;
        region.tier = tier_from_code(header.tier).ok_or(RegionError::Corrupt)?;
        region.hide_from_dumps_and_forks()?;
        if region.tier == Tier::Hugetlb {
            // A hole would be a SIGBUS later.
            sys::populate(&region.map)?;
        }
        Ok(region)
    }

    fn create_on(
        name: &str,
        bytes: usize,
        layout: Layout,
        tier: Tier,
        numa_node: Option<u32>,
    ) -> Result<Self, RegionError> {
        let too_large = || RegionError::TooLarge { name: name.to_owned(), bytes };
        let page_bytes = if tier == Tier::Base { BASE_BYTES } else { HUGE_BYTES };
        let bytes = bytes
            .max(HEADER_BYTES)
            .checked_next_multiple_of(page_bytes)
            .filter(|&bytes| isize::try_from(bytes).is_ok())
            .ok_or_else(too_large)?;
        let failed = |step| {
            let name = name.to_owned();
            move |source| RegionError::System { name, step, bytes, tier, source }
        };

        let file =
            sys::memory_file(name, tier == Tier::Hugetlb).map_err(failed("make a memory file"))?;
        file.set_len(bytes as u64).map_err(failed("size the memory file"))?;
        sys::seal(&file).map_err(failed("seal the memory file"))?;
        let lock = lock(&file)?;
        // On hugetlb this reserves the pages, or fails when too few are free.
        let map = memmap2::MmapOptions::new()
            .len(bytes)
            .map_raw(&lock)
            .map_err(failed("map the memory file"))?;
        if let Some(node) = numa_node {
            sys::bind_to_node(&map, node).map_err(failed("bind to the NUMA node"))?;
        }
        match tier {
            // Faulting in can fail although the pages are reserved: on another node, or behind a
            // cgroup's limit. Here that is an error; at first touch it would be a SIGBUS.
            Tier::Hugetlb => sys::populate(&map).map_err(failed("fault in hugetlb pages"))?,
            Tier::Transparent => {
                map.advise(Advice::HugePage).map_err(failed("ask for transparent huge pages"))?;
            }
            // A kernel without transparent huge pages refuses the advice, and needs none.
            Tier::Base => drop(map.advise(Advice::NoHugePage)),
        }

        let region = Self { map, _lock: lock, file, tier, layout };
        region.hide_from_dumps_and_forks().map_err(failed("keep out of core dumps"))?;
        // SAFETY: the file is new, so this is the only mapping; the section is gone before the
        // function ends, and there is no other.
        let mut header = unsafe { region.section::<Header>(0, 1) };
        header.slice_mut()[0] = Header {
            magic: MAGIC,
            version: VERSION,
            tier: tier_code(tier),
            layout_hash: layout.hash,
            capacity: layout.capacity,
            record_bytes: layout.record_bytes,
            unused: 0,
        };
        Ok(region)
    }

    /// What kind of pages the region lies on.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Bytes mapped, header and rounding included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.map.len()
    }

    /// What lies in the region.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The memory file, to hand to a successor. It can [`open`](Region::open) the region when this
    /// one has been dropped.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The `len` records that start `offset` bytes into the region.
    ///
    /// # Safety
    /// No two sections of one region may overlap, and the caller must keep the region at least as
    /// long as the section.
    ///
    /// # Panics
    /// When they do not fit the region or are not aligned.
    pub(crate) unsafe fn section<T: Record>(&self, offset: usize, len: usize) -> Section<T> {
        let end = len.checked_mul(size_of::<T>()).and_then(|bytes| bytes.checked_add(offset));
        assert!(end.is_some_and(|end| end <= self.bytes()), "section reaches beyond its region");
        // Mappings start on a page, and no record asks for more than a page's alignment.
        assert!(offset.is_multiple_of(align_of::<T>()) && align_of::<T>() <= BASE_BYTES);
        let start = self.map.as_mut_ptr().wrapping_add(offset).cast::<T>();
        let start = NonNull::new(start).expect("a mapping is never at address 0");
        // SAFETY: inside the mapping and aligned, as just checked; the region's lock keeps other
        // owners out; the caller keeps sections apart and the region alive.
        unsafe { Section::new(start, len) }
    }

    /// Regions hold what users sent, passwords included; and a child process must not share them.
    fn hide_from_dumps_and_forks(&self) -> io::Result<()> {
        self.map.advise(Advice::DontDump)?;
        self.map.advise(Advice::DontFork)
    }
}

/// Opens the file once more and locks that opening: file descriptors handed around are copies of
/// the first opening, so they neither hold nor release the lock.
fn lock(file: &File) -> Result<File, RegionError> {
    let lock = sys::reopen(file)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(RegionError::InUse),
        Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
    }
}

fn tier_code(tier: Tier) -> u32 {
    match tier {
        Tier::Hugetlb => 1,
        Tier::Transparent => 2,
        Tier::Base => 3,
    }
}

fn tier_from_code(code: u32) -> Option<Tier> {
    [Tier::Hugetlb, Tier::Transparent, Tier::Base].into_iter().find(|&tier| tier_code(tier) == code)
}

/// Bytes before the first record: the header, the container's bookkeeping, and room to grow.
pub(crate) const HEADER_BYTES: usize = 4096;
/// Bytes of a cache line, where each part of a container starts.
pub(crate) const LINE_BYTES: usize = 64;

const MAGIC: u64 = u64::from_be_bytes(*b"TRNKPAGE");
const VERSION: u32 = 1;
const BASE_BYTES: usize = 4096;
const HUGE_BYTES: usize = 2 << 20;

const _: () = assert!(size_of::<Header>() <= LINE_BYTES);

#[cfg(test)]
pub(crate) mod tests;
