//! Where a key may lie in a table of sets: a keyed hash chooses a few neighbouring places, and only
//! they are searched and compete. So whoever floods a table displaces nobody outside the sets it hits,
//! and without the key cannot aim.

use std::ops::Range;

use siphasher::sip::SipHasher13;

/// A table's sets of `WAYS` places each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sets<const WAYS: usize> {
    hasher: SipHasher13,
    count: usize,
}

impl<const WAYS: usize> Sets<WAYS> {
    /// Sets for `capacity` places, rounded down to whole ones, but one at least.
    pub(crate) fn new(capacity: u32, secret: &[u8; 16]) -> Self {
        let count = (capacity as usize / WAYS).max(1);
        Self { hasher: SipHasher13::new_with_key(secret), count }
    }

    /// Places in all.
    pub(crate) fn places(&self) -> usize {
        self.count * WAYS
    }

    /// The places for an address.
    pub(crate) fn of(&self, address: &[u8; 16]) -> Range<usize> {
        let first = self.hasher.hash(address) as usize % self.count * WAYS;
        first..first + WAYS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_whole_and_inside_the_table() {
        for (capacity, places) in [(0, 4), (3, 4), (4, 4), (11, 8), (1_024, 1_024)] {
            let sets = Sets::<4>::new(capacity, &[7; 16]);
            assert_eq!(sets.places(), places);
            for last in 0..=255 {
                let set = sets.of(&[last; 16]);
                assert!(set.len() == 4 && set.start.is_multiple_of(4) && set.end <= places);
            }
        }
    }
}
