//! The 64-bit words shared memory is made of.

use crate::sync::{AtomicU64, Ordering};

/// One word that several threads or processes may read and write at any time.
///
/// Access is relaxed: what orders several words is said where they are used.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Word(AtomicU64);

impl Word {
    pub(crate) fn zero() -> Self {
        Self(AtomicU64::new(0))
    }

    #[inline]
    pub(crate) fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn store(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// Words that may be read only: their memory may be mapped without the right to write.
///
/// Relaxed loads of 64 bits are the one atomic operation that is sound there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a>(&'a [Word]);

impl<'a> View<'a> {
    pub(crate) fn of(words: &'a [Word]) -> Self {
        Self(words)
    }

    /// The word at `index`; 0 beyond the view, as in memory that nobody wrote.
    #[inline]
    pub(crate) fn load(self, index: usize) -> u64 {
        self.0.get(index).map_or(0, Word::load)
    }

    /// The `len` words from `start`; `None` when they are not all in view.
    pub(crate) fn part(self, start: usize, len: usize) -> Option<Self> {
        self.0.get(start..start.checked_add(len)?).map(Self)
    }

    /// All words, in order.
    pub(crate) fn iter(self) -> impl Iterator<Item = u64> + 'a {
        self.0.iter().map(Word::load)
    }
}

/// Bytes of a word.
pub(crate) const WORD_BYTES: usize = size_of::<u64>();

/// Words that `bytes` bytes take.
pub(crate) const fn words_for(bytes: usize) -> usize {
    bytes.div_ceil(WORD_BYTES)
}
