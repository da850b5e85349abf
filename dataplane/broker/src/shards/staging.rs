//! Messages for one other shard, until the dataplane has put them into its ring.

use superpage::ArenaBytes;

/// A bounded queue of byte records, each in one piece.
///
/// Records lie behind one another in a fixed buffer, each after its length; a record that would not
/// fit before the end starts over at the front. A part of the buffer is kept for answers, so that
/// requests and data can never keep an answer from being given: two shards never wait for each
/// other.
#[derive(Debug)]
pub(crate) struct Staging {
    buffer: ArenaBytes,
    /// Where the oldest record starts.
    head: usize,
    /// Where the next record goes.
    tail: usize,
    /// Bytes between head and tail, those skipped at the end included.
    used: usize,
    /// Bytes that only answers may use.
    reserve: usize,
}

/// Bytes of a record besides itself: its length.
pub(crate) const LENGTH_BYTES: usize = 4;
/// Stands where a length would: the next record starts at the front.
const SKIP: u32 = u32::MAX;

impl Staging {
    /// An empty queue in `buffer`, of which only answers may use the last `reserve` bytes.
    pub(crate) fn new(buffer: ArenaBytes, reserve: usize) -> Staging {
        Staging { buffer, head: 0, tail: 0, used: 0, reserve }
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Whether requests and data of `bytes` in all, cut into records of at most `largest`, fit.
    pub(crate) fn has_room(&self, bytes: usize, largest: usize) -> bool {
        // A record skips at most its own length at the end of the buffer, and that only once.
        self.used + self.reserve + bytes + largest + LENGTH_BYTES <= self.buffer.len()
    }

    /// Adds a record of at most `len` bytes; `write` returns how many it is, or `None` to give up.
    pub(crate) fn push(
        &mut self,
        len: usize,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        if self.used == 0 {
            self.head = 0;
            self.tail = 0;
        }
        let Some(at) = self.place(LENGTH_BYTES + len) else { return false };
        let body = &mut self.buffer[at + LENGTH_BYTES..at + LENGTH_BYTES + len];
        let Some(written) = write(body) else { return false };
        if at != self.tail {
            if let Some(length) = self.buffer.get_mut(self.tail..self.tail + LENGTH_BYTES) {
                length.copy_from_slice(&SKIP.to_ne_bytes());
            }
            self.used += self.buffer.len() - self.tail;
        }
        let length = (written as u32).to_ne_bytes();
        self.buffer[at..at + LENGTH_BYTES].copy_from_slice(&length);
        self.tail = at + LENGTH_BYTES + written;
        self.used += LENGTH_BYTES + written;
        true
    }

    /// Where `len` bytes fit in one piece: behind the last record or at the front.
    fn place(&self, len: usize) -> Option<usize> {
        let wrapped = self.tail < self.head || (self.tail == self.head && self.used > 0);
        let end = if wrapped { self.head } else { self.buffer.len() };
        if self.tail + len <= end {
            Some(self.tail)
        } else if !wrapped && len <= self.head {
            Some(0)
        } else {
            None
        }
    }

    /// The oldest record.
    pub(crate) fn peek(&self) -> Option<&[u8]> {
        let (at, len) = self.first()?;
        Some(&self.buffer[at..at + len])
    }

    /// Drops the oldest record.
    pub(crate) fn pop(&mut self) {
        let Some((at, len)) = self.first() else { return };
        if at < self.head {
            self.used -= self.buffer.len() - self.head;
        }
        self.head = at + len;
        self.used -= LENGTH_BYTES + len;
    }

    /// Body of the oldest record: where it starts, and its length.
    fn first(&self) -> Option<(usize, usize)> {
        if self.used == 0 {
            return None;
        }
        match self.length_at(self.head) {
            Some(len) => Some((self.head + LENGTH_BYTES, len)),
            None => self.length_at(0).map(|len| (LENGTH_BYTES, len)),
        }
    }

    /// The length at `at`, or `None` when the next record starts at the front.
    fn length_at(&self, at: usize) -> Option<usize> {
        let bytes = self.buffer.get(at..at + LENGTH_BYTES)?;
        match u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) {
            SKIP => None,
            len => Some(len as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use superpage::Arena;

    fn staging(bytes: usize, reserve: usize) -> Staging {
        let mut arena = Arena::create("staging", bytes).unwrap();
        Staging::new(arena.alloc_bytes(bytes).unwrap(), reserve)
    }

    #[test]
    fn reserve_is_left_to_answers() {
        let mut staging = staging(1_000, 300);
        assert!(staging.has_room(300, 300));
        assert!(!staging.has_room(500, 300));
        assert!(staging.push(900, |body| Some(body.len())));
        assert!(!staging.push(900, |body| Some(body.len())));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn behaves_like_a_queue(steps in prop::collection::vec((any::<bool>(), 0usize..120, 0usize..40), 1..400)) {
            let mut staging = staging(512, 0);
            let mut model: VecDeque<Vec<u8>> = VecDeque::new();
            for (index, (push, len, spare)) in steps.into_iter().enumerate() {
                if push {
                    let promised = staging.has_room(LENGTH_BYTES + len + spare, len + spare);
                    let pushed = staging.push(len + spare, |body| {
                        body[..len].fill(index as u8);
                        Some(len)
                    });
                    prop_assert!(pushed || !promised);
                    if pushed {
                        model.push_back(vec![index as u8; len]);
                    }
                } else {
                    prop_assert_eq!(staging.peek(), model.front().map(Vec::as_slice));
                    staging.pop();
                    model.pop_front();
                }
                prop_assert_eq!(staging.peek().is_none(), model.is_empty());
                prop_assert_eq!(staging.used() == 0, model.is_empty());
            }
        }
    }
}
