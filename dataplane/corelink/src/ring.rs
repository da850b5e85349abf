//! Byte rings: records from one thread to another, in order, without locks and without waiting.
//!
//! ```text
//!            head (consumer's)            tail (producer's)
//!              ▼                            ▼
//!   ┌──────────┬──────┬─────────┬──────┬────┬───────────┐
//!   │ free     │ mark │ payload │ mark │ …  │ free      │   64-bit words, as a circle
//!   └──────────┴──────┴─────────┴──────┴────┴───────────┘
//! ```
//!
//! `head` and `tail` count words since the start and are never reduced, so full and empty differ
//! without a spare word. A record is a mark (its length in bytes, and that length inverted) and the
//! payload, padded to a word; it may wrap anywhere. Each side keeps the last index it saw of the
//! other and looks again only when that says full or empty, so that a burst moves the cache lines
//! of the indices once.
//!
//! Payload moves by 64-bit relaxed atomics, which cost what plain moves cost, and which make a ring
//! in memory shared with a hostile process no more dangerous than one between our own threads.

use crossbeam_utils::CachePadded;

use crate::sync::{Arc, AtomicU64, Ordering};
use crate::word::{WORD_BYTES, Word, words_for};

/// Makes a ring of at least `bytes` bytes, rounded up to a power of two and to 64.
///
/// A record takes 8 bytes besides its own, padded to 8, and may be half a ring long in all.
///
/// ```
/// let (mut producer, mut consumer) = corelink::ring(4096);
/// producer.push(&[b"topic", b": ", b"payload"]).unwrap();
/// let mut record = [0; 64];
/// let len = consumer.pop(&mut record).unwrap().unwrap();
/// assert_eq!(&record[..len], b"topic: payload");
/// assert_eq!(consumer.pop(&mut record), Ok(None));
/// ```
///
/// # Panics
/// When `bytes` is more than the address space holds.
#[must_use]
pub fn ring(bytes: usize) -> (Producer, Consumer) {
    let bytes = bytes.max(RING_BYTES_MIN).checked_next_power_of_two();
    ring_of_words(bytes.expect("a ring must fit the address space") / WORD_BYTES)
}

/// The writing end of a ring.
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    tail: u64,
    /// The consumer's head when last looked at; the real one is here or further.
    head_seen: u64,
}

/// The reading end of a ring.
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    head: u64,
    /// The producer's tail when last looked at; the real one is here or further.
    tail_seen: u64,
}

/// Why a record was not pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// There is no room now.
    #[error("ring is full")]
    Full,
    /// There will never be room: see [`Producer::record_bytes_max`].
    #[error("record is longer than half the ring")]
    TooLong,
}

/// Why no record was popped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// The next record has this many bytes, more than the buffer. It stays in the ring.
    #[error("the next record has {0} bytes, more than the buffer")]
    TooSmall(usize),
    /// The ring holds what no producer of ours writes. It stays so: drop the ring.
    #[error("ring is corrupt")]
    Corrupt,
}

#[derive(Debug)]
struct Shared {
    /// Written by the consumer only.
    head: CachePadded<AtomicU64>,
    /// Written by the producer only.
    tail: CachePadded<AtomicU64>,
    /// A power of two of them.
    words: Box<[Word]>,
}

impl Shared {
    fn capacity(&self) -> u64 {
        self.words.len() as u64
    }

    #[inline]
    fn word(&self, position: u64) -> &Word {
        // The length is a power of two, so this is the remainder, and always an index.
        &self.words[position as usize & (self.words.len() - 1)]
    }
}

fn ring_of_words(words: usize) -> (Producer, Consumer) {
    assert!(words.is_power_of_two() && words >= 4, "no record fits {words} words");
    let shared = Arc::new(Shared {
        head: CachePadded::new(AtomicU64::new(0)),
        tail: CachePadded::new(AtomicU64::new(0)),
        words: (0..words).map(|_| Word::zero()).collect(),
    });
    let producer = Producer { shared: Arc::clone(&shared), tail: 0, head_seen: 0 };
    (producer, Consumer { shared, head: 0, tail_seen: 0 })
}

impl Producer {
    /// Appends one record, the concatenation of `parts`, and makes it visible to the consumer.
    ///
    /// # Errors
    /// [`PushError`]; the ring is as before.
    pub fn push(&mut self, parts: &[&[u8]]) -> Result<(), PushError> {
        let mut bytes = 0usize;
        for part in parts {
            bytes = bytes.checked_add(part.len()).ok_or(PushError::TooLong)?;
        }
        if bytes > self.record_bytes_max() {
            return Err(PushError::TooLong);
        }
        let words = record_words(bytes);
        if words > self.free_words_seen() {
            self.look_at_head();
            if words > self.free_words_seen() {
                return Err(PushError::Full);
            }
        }
        self.shared.word(self.tail).store(mark(bytes));
        let mut packer = Packer { shared: &self.shared, at: self.tail + 1, carry: 0, filled: 0 };
        for part in parts {
            packer.put(part);
        }
        packer.finish();
        self.tail += words;
        // Release: whoever sees this tail sees the words before it.
        self.shared.tail.store(self.tail, Ordering::Release);
        Ok(())
    }

    /// The longest record this ring takes, in bytes.
    #[must_use]
    pub fn record_bytes_max(&self) -> usize {
        let words = self.shared.words.len() / 2 - 1;
        // A mark holds 32 bits of length.
        (words * WORD_BYTES).min(u32::MAX as usize)
    }

    /// The longest record that fits now, in bytes.
    #[must_use]
    pub fn free_bytes(&mut self) -> usize {
        self.look_at_head();
        let words = self.free_words_seen().saturating_sub(1) as usize;
        (words * WORD_BYTES).min(self.record_bytes_max())
    }

    fn free_words_seen(&self) -> u64 {
        let used = self.tail.wrapping_sub(self.head_seen);
        // A head that lies makes the ring look full, or costs the liar records.
        self.shared.capacity().saturating_sub(used)
    }

    fn look_at_head(&mut self) {
        // Acquire: the consumer has read the words before this head, they may be overwritten.
        self.head_seen = self.shared.head.load(Ordering::Acquire);
    }
}

impl Consumer {
    /// Copies the next record to the start of `into` and returns its length; `None` when the ring
    /// is empty.
    ///
    /// # Errors
    /// [`RingError`]; the ring is as before.
    pub fn pop(&mut self, into: &mut [u8]) -> Result<Option<usize>, RingError> {
        if self.head == self.tail_seen && !self.look_at_tail() {
            return Ok(None);
        }
        let available = self.tail_seen.wrapping_sub(self.head);
        if available > self.shared.capacity() {
            return Err(RingError::Corrupt);
        }
        let bytes = length(self.shared.word(self.head).load()).ok_or(RingError::Corrupt)?;
        let words = record_words(bytes);
        if words > available {
            return Err(RingError::Corrupt);
        }
        let Some(into) = into.get_mut(..bytes) else {
            return Err(RingError::TooSmall(bytes));
        };
        self.copy_out(into);
        self.head = self.head.wrapping_add(words);
        // Release: the words before this head have been read.
        self.shared.head.store(self.head, Ordering::Release);
        Ok(Some(bytes))
    }

    /// Whether there is no record to pop.
    #[must_use]
    pub fn is_empty(&mut self) -> bool {
        self.head == self.tail_seen && !self.look_at_tail()
    }

    /// Looks whether the producer has moved on.
    fn look_at_tail(&mut self) -> bool {
        // Acquire: pairs with the release in `push`.
        self.tail_seen = self.shared.tail.load(Ordering::Acquire);
        self.head != self.tail_seen
    }

    /// Copies the payload of the record at `head`; the caller has checked that it is all there.
    fn copy_out(&self, into: &mut [u8]) {
        let words = &self.shared.words;
        let start = self.head.wrapping_add(1) as usize & (words.len() - 1);
        let (wrapped, straight) = words.split_at(start);
        let mut source = straight.iter().chain(wrapped);
        let mut chunks = into.chunks_exact_mut(WORD_BYTES);
        for (chunk, word) in chunks.by_ref().zip(source.by_ref()) {
            chunk.copy_from_slice(&word.load().to_le_bytes());
        }
        let rest = chunks.into_remainder();
        if let (false, Some(word)) = (rest.is_empty(), source.next()) {
            rest.copy_from_slice(&word.load().to_le_bytes()[..rest.len()]);
        }
    }
}

/// Joins parts of any length into words.
struct Packer<'a> {
    shared: &'a Shared,
    /// Where the next word goes.
    at: u64,
    /// The bytes that do not fill a word yet, from the low end.
    carry: u64,
    /// How many those are: 0 to 7.
    filled: usize,
}

impl Packer<'_> {
    fn put(&mut self, part: &[u8]) {
        let mut chunks = part.chunks_exact(WORD_BYTES);
        for chunk in chunks.by_ref() {
            let word = u64::from_le_bytes(chunk.try_into().expect("chunks have 8 bytes"));
            self.store(self.carry | word << (8 * self.filled));
            // What the shift pushed out; a shift by all 64 bits must give 0.
            self.carry = word.checked_shr(64 - 8 * self.filled as u32).unwrap_or(0);
        }
        for &byte in chunks.remainder() {
            self.carry |= u64::from(byte) << (8 * self.filled);
            self.filled += 1;
            if self.filled == WORD_BYTES {
                self.store(self.carry);
                (self.carry, self.filled) = (0, 0);
            }
        }
    }

    fn finish(mut self) {
        if self.filled > 0 {
            self.store(self.carry);
        }
    }

    fn store(&mut self, word: u64) {
        self.shared.word(self.at).store(word);
        self.at += 1;
    }
}

/// Words of a record of so many bytes, mark included.
fn record_words(bytes: usize) -> u64 {
    1 + words_for(bytes) as u64
}

/// The word before a record: its length, and in the upper half the same bits inverted.
fn mark(bytes: usize) -> u64 {
    let bytes = bytes as u32;
    u64::from(!bytes) << 32 | u64::from(bytes)
}

/// The length in a mark, if it is one.
fn length(mark: u64) -> Option<usize> {
    let bytes = mark as u32;
    ((mark >> 32) as u32 == !bytes).then_some(bytes as usize)
}

/// The smallest ring: one cache line.
const RING_BYTES_MIN: usize = 64;

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod tests;
