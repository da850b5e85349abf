//! Counters that one thread publishes and others read, whole or not at all.
//!
//! A block is a sequence word and the values. The writer makes the sequence odd, stores the values
//! and makes it even again; it never waits. A reader that saw the same even sequence before and
//! after has values that were published together.

use std::hint::spin_loop;

use crate::sync::{Ordering, fence, yield_now};
use crate::word::{View, Word};

/// The values changed during every attempt to read them, or the writer died while changing them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("counters changed while being read")]
pub struct Torn;

/// Publishes `values`. There must be one writer at a time.
///
/// # Panics
/// When there are not as many as the block has room for.
pub(crate) fn publish(sequence: &Word, block: &[Word], values: &[u64]) {
    assert_eq!(block.len(), values.len(), "a block is published whole");
    let before = sequence.load();
    // A predecessor that died while publishing left it odd.
    let odd = before | 1;
    sequence.store(odd);
    // Whoever reads one of the values below sees, after its own fence, the odd sequence above.
    fence(Ordering::Release);
    for (word, &value) in block.iter().zip(values) {
        word.store(value);
    }
    // Whoever sees the even sequence below sees, after its own fence, the values above.
    fence(Ordering::Release);
    sequence.store(odd.wrapping_add(1));
}

/// Reads the values of `block` into `into`, which they replace.
///
/// # Errors
/// [`Torn`]; `into` is then empty.
pub(crate) fn read(
    sequence: View<'_>,
    block: View<'_>,
    attempts: u32,
    into: &mut Vec<u64>,
) -> Result<(), Torn> {
    for attempt in 0..attempts {
        let before = sequence.load(0);
        if before.is_multiple_of(2) {
            // Acquire by fence, for memory mapped read-only takes relaxed loads only.
            fence(Ordering::Acquire);
            into.clear();
            into.extend(block.iter());
            fence(Ordering::Acquire);
            if sequence.load(0) == before {
                return Ok(());
            }
        }
        // Publishing takes about a microsecond, unless the writer was preempted.
        if attempt % 8 == 7 { yield_now() } else { spin_loop() }
    }
    into.clear();
    Err(Torn)
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::sync::Arc;

    #[test]
    fn loom_reader_sees_values_published_together_or_none() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let words: Arc<[Word; 3]> = Arc::new(std::array::from_fn(|_| Word::zero()));
            let writer = Arc::clone(&words);
            let thread = loom::thread::spawn(move || {
                for value in 1..=2 {
                    publish(&writer[0], &writer[1..], &[value, value * 10]);
                }
            });
            let view = View::of(&words[..]);
            let (sequence, block) = (view.part(0, 1).unwrap(), view.part(1, 2).unwrap());
            let mut values = Vec::new();
            let mut last = 0;
            for _ in 0..2 {
                if read(sequence, block, 2, &mut values).is_ok() {
                    assert_eq!(values[1], values[0] * 10, "torn: {values:?}");
                    assert!(values[0] >= last, "went back from {last}: {values:?}");
                    last = values[0];
                }
            }
            thread.join().unwrap();
            assert_eq!(read(sequence, block, 1, &mut values), Ok(()));
            assert_eq!(values, [2, 20]);
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn words() -> Vec<Word> {
        (0..4).map(|_| Word::zero()).collect()
    }

    fn read_all(words: &[Word], into: &mut Vec<u64>) -> Result<(), Torn> {
        let view = View::of(words);
        read(view.part(0, 1).unwrap(), view.part(1, 3).unwrap(), 3, into)
    }

    #[test]
    fn published_values_are_read_back() {
        let words = words();
        let mut values = vec![9; 7];
        read_all(&words, &mut values).unwrap();
        assert_eq!(values, [0, 0, 0]);
        publish(&words[0], &words[1..], &[1, 2, u64::MAX]);
        read_all(&words, &mut values).unwrap();
        assert_eq!(values, [1, 2, u64::MAX]);
    }

    #[test]
    fn writer_that_died_leaves_a_torn_block_and_its_successor_mends_it() {
        let words = words();
        words[0].store(7);
        let mut values = vec![1];
        assert_eq!(read_all(&words, &mut values), Err(Torn));
        assert!(values.is_empty());
        publish(&words[0], &words[1..], &[4, 5, 6]);
        assert_eq!(read_all(&words, &mut values), Ok(()));
        assert_eq!(values, [4, 5, 6]);
    }

    #[test]
    fn sequence_that_wraps_is_no_matter() {
        let words = words();
        words[0].store(u64::MAX - 1);
        publish(&words[0], &words[1..], &[1, 1, 1]);
        assert_eq!(words[0].load(), 0);
    }

    #[test]
    #[should_panic(expected = "a block is published whole")]
    fn block_is_published_whole() {
        let words = words();
        publish(&words[0], &words[1..], &[1]);
    }
}
