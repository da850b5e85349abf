//! Sequence numbers: arithmetic modulo 2³² (RFC 9293 §3.4).

use std::ops::{Add, Sub};

use superpage::record;

record! {
    /// A TCP sequence number.
    ///
    /// There is no `Ord`: "before" holds only between numbers less than 2³¹ apart, so it is not
    /// transitive and must not be sorted by.
    #[derive(PartialEq, Eq, Default)]
    pub struct SeqNum(pub u32);
}

impl SeqNum {
    /// Octets from `earlier` to `self`, modulo 2³².
    #[must_use]
    pub(crate) const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Whether `self` comes strictly before `other`.
    #[must_use]
    pub(crate) const fn before(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// Whether `self` comes strictly after `other`.
    #[must_use]
    pub(crate) const fn after(self, other: Self) -> bool {
        other.before(self)
    }

    /// Whether `self` is `other` or comes before it.
    #[must_use]
    pub(crate) const fn at_or_before(self, other: Self) -> bool {
        !self.after(other)
    }

    /// Whether `self` is `other` or comes after it.
    #[must_use]
    pub(crate) const fn at_or_after(self, other: Self) -> bool {
        !self.before(other)
    }

    /// The earlier of the two.
    #[must_use]
    pub(crate) const fn earliest(self, other: Self) -> Self {
        if self.before(other) { self } else { other }
    }

    /// The later of the two.
    #[must_use]
    pub(crate) const fn latest(self, other: Self) -> Self {
        if self.before(other) { other } else { self }
    }
}

impl Add<u32> for SeqNum {
    type Output = Self;

    fn add(self, octets: u32) -> Self {
        Self(self.0.wrapping_add(octets))
    }
}

impl Sub<u32> for SeqNum {
    type Output = Self;

    fn sub(self, octets: u32) -> Self {
        Self(self.0.wrapping_sub(octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_holds_across_the_wrap() {
        let high = SeqNum(u32::MAX - 1);
        let low = high + 4;
        assert_eq!(low, SeqNum(2));
        assert!(high.before(low) && low.after(high));
        assert!(high.at_or_before(high) && high.at_or_after(high));
        assert_eq!(low.since(high), 4);
        assert_eq!(low - 4, high);
        assert_eq!(high.latest(low), low);
        assert_eq!(low.latest(high), low);
    }
}
