//! Which word of the page and of the command slot means what.
//!
//! ```text
//! page    0  identity: magic, version, sizes, profile hash, start time, generation, state, build
//!        64  last words: length, then up to 4 KiB of text
//!       640  catalogue: text, padded to a cache line pair
//!         …  one block a shard: sequence, heartbeat, padding to 8 words, the counters, padding
//!
//! slot    0  ticket, opcode, argument, check
//! ```
//! All numbers are words of 64 bits; text is packed 8 bytes a word, first byte lowest.

use crate::word::words_for;

/// Words of the page's identity.
pub(super) mod identity {
    pub(in crate::link) const MAGIC: usize = 0;
    pub(in crate::link) const VERSION: usize = 1;
    pub(in crate::link) const PAGE_WORDS: usize = 2;
    pub(in crate::link) const SHARDS: usize = 3;
    pub(in crate::link) const COUNTERS_PER_SHARD: usize = 4;
    pub(in crate::link) const CATALOGUE_BYTES: usize = 5;
    pub(in crate::link) const BUILD_BYTES: usize = 6;
    pub(in crate::link) const STARTED_AT_UNIX_MS: usize = 7;
    pub(in crate::link) const PROFILE_HASH: usize = 8;
    pub(in crate::link) const GENERATION: usize = 12;
    pub(in crate::link) const STATE: usize = 13;
    pub(in crate::link) const BUILD: usize = 16;
}

/// Words of a command slot.
pub(super) mod slot {
    pub(in crate::link) const TICKET: usize = 0;
    pub(in crate::link) const OPCODE: usize = 1;
    pub(in crate::link) const ARGUMENT: usize = 2;
    pub(in crate::link) const CHECK: usize = 3;
    pub(in crate::link) const WORDS: usize = 512;
}

/// Opcode of [`super::Command::Stop`]; its argument is the deadline in milliseconds.
pub(super) const OPCODE_STOP: u64 = 1;

/// The word that says a command was read whole. It tells accidents, not lies: whoever can write
/// the slot may give commands.
pub(super) fn command_check(ticket: u64, opcode: u64, argument: u64) -> u64 {
    let mix =
        |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    [ticket, opcode, argument].into_iter().fold(PAGE_MAGIC, mix)
}

/// Where everything is, for given sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageLayout {
    pub(super) shards: usize,
    pub(super) counters_per_shard: usize,
    pub(super) catalogue_bytes: usize,
}

/// Where one shard's words are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShardLayout {
    pub(super) sequence: usize,
    pub(super) heartbeat: usize,
    pub(super) counters: usize,
}

impl PageLayout {
    /// The layout for these sizes, unless one is beyond its limit.
    pub(super) fn new(shards: u64, counters_per_shard: u64, catalogue_bytes: u64) -> Option<Self> {
        let within = |size: u64, max: usize| usize::try_from(size).ok().filter(|&size| size <= max);
        let layout = Self {
            shards: within(shards, SHARDS_MAX)?,
            counters_per_shard: within(counters_per_shard, COUNTERS_PER_SHARD_MAX)?,
            catalogue_bytes: within(catalogue_bytes, CATALOGUE_BYTES_MAX)?,
        };
        (layout.words() <= PAGE_WORDS_MAX).then_some(layout)
    }

    /// Words of the whole page.
    pub(super) fn words(&self) -> usize {
        self.shards_start() + self.shards * self.shard_words()
    }

    /// Where shard number `shard` is, if there is one.
    pub(super) fn shard(&self, shard: usize) -> Option<ShardLayout> {
        let start = self.shards_start() + shard.checked_mul(self.shard_words())?;
        let sequence = start;
        let (heartbeat, counters) = (start + 1, start + SHARD_HEADER_WORDS);
        (shard < self.shards).then_some(ShardLayout { sequence, heartbeat, counters })
    }

    fn shards_start(&self) -> usize {
        CATALOGUE + words_for(self.catalogue_bytes).next_multiple_of(PAIR_WORDS)
    }

    fn shard_words(&self) -> usize {
        (SHARD_HEADER_WORDS + self.counters_per_shard).next_multiple_of(PAIR_WORDS)
    }
}

pub(super) const PAGE_MAGIC: u64 = u64::from_le_bytes(*b"TRNKLINK");
/// Raised by every change of the page, the slot or the hello.
pub(super) const VERSION: u64 = 1;

/// First word of the last words: their length in bytes. The text follows.
pub(super) const LAST_WORDS: usize = 64;
/// First word of the catalogue.
pub(super) const CATALOGUE: usize = 640;

/// Sequence, heartbeat, and room to keep the counters on cache lines of their own.
const SHARD_HEADER_WORDS: usize = 8;
/// Two cache lines: CPUs fetch lines in pairs, and shards must not share one.
const PAIR_WORDS: usize = 16;

pub(super) const BUILD_BYTES_MAX: usize = 256;
pub(super) const LAST_WORDS_BYTES_MAX: usize = 4096;
pub(super) const CATALOGUE_BYTES_MAX: usize = 1 << 20;
pub(super) const SHARDS_MAX: usize = 1024;
pub(super) const COUNTERS_PER_SHARD_MAX: usize = 1 << 16;
/// 64 MiB: a page must be cheap to map and to scan.
const PAGE_WORDS_MAX: usize = 8 << 20;

const _: () = assert!(identity::BUILD + words_for(BUILD_BYTES_MAX) <= LAST_WORDS);
const _: () = assert!(LAST_WORDS + 1 + words_for(LAST_WORDS_BYTES_MAX) <= CATALOGUE);
const _: () = assert!(CATALOGUE.is_multiple_of(PAIR_WORDS));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_lie_apart_and_inside_the_page() {
        let layout = PageLayout::new(3, 9, 17).unwrap();
        let shards: Vec<_> = (0..3).map(|shard| layout.shard(shard).unwrap()).collect();
        assert_eq!(shards[0].sequence, CATALOGUE + 16);
        for pair in shards.windows(2) {
            assert!(pair[0].counters + 9 <= pair[1].sequence);
        }
        assert!(shards[2].counters + 9 <= layout.words());
        assert_eq!(layout.shard(3), None);
        assert_eq!(layout.shard(usize::MAX), None);
    }

    #[test]
    fn sizes_beyond_the_limits_have_no_layout() {
        assert!(PageLayout::new(0, 0, 0).is_some());
        assert!(PageLayout::new(SHARDS_MAX as u64 + 1, 0, 0).is_none());
        assert!(PageLayout::new(0, COUNTERS_PER_SHARD_MAX as u64 + 1, 0).is_none());
        assert!(PageLayout::new(0, 0, CATALOGUE_BYTES_MAX as u64 + 1).is_none());
        assert!(PageLayout::new(SHARDS_MAX as u64, COUNTERS_PER_SHARD_MAX as u64, 0).is_none());
        assert!(PageLayout::new(u64::MAX, u64::MAX, u64::MAX).is_none());
    }

    #[test]
    fn check_depends_on_every_word() {
        let check = command_check(1, 2, 3);
        assert_ne!(check, command_check(2, 2, 3));
        assert_ne!(check, command_check(1, 3, 3));
        assert_ne!(check, command_check(1, 2, 4));
        assert_ne!(check, command_check(2, 1, 3));
        assert_ne!(command_check(0, 0, 0), 0);
    }
}
