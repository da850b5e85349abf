//! Our addresses on the link: announcing them and defending them (RFC 5227; RFC 9131 for IPv6).
//!
//! An IPv4 address is used from the moment it is given, without the probes of RFC 5227 §2.1, which
//! would keep it silent for five to seven seconds: it was configured by hand for a server, often to
//! take over from one that died a moment ago. Kernels do the same. It is announced twice. Another
//! station that uses it is answered as §2.4 (c) has it for such hosts: it is never given up, and
//! defended by one announcement in ten seconds at most, so that two that both insist do not flood
//! the link. Operators see it in a gauge.

use crate::config::ADDRESSES_MAX;

/// What goes on about one address.
#[derive(Clone, Copy, Debug, Default)]
struct Claim {
    /// When the next announcement is due.
    due_ns: u64,
    /// When it was last defended; 0: never.
    defended_ns: u64,
    /// When another station last used it; 0: never.
    contested_ns: u64,
    /// Announcements to make.
    announcements: u8,
}

/// What goes on about our addresses, by their numbers.
#[derive(Debug)]
pub(crate) struct Claims([Claim; ADDRESSES_MAX]);

impl Claims {
    pub(crate) fn new() -> Self {
        Self([Claim::default(); ADDRESSES_MAX])
    }

    /// The address is ours from now on. RFC 5227 §2.3: two announcements.
    pub(crate) fn announce(&mut self, now_ns: u64, local: u16) {
        let claim = &mut self.0[usize::from(local)];
        (claim.due_ns, claim.announcements) = (now_ns, ANNOUNCEMENTS);
    }

    /// The address is ours no more.
    pub(crate) fn forget(&mut self, local: u16) {
        self.0[usize::from(local)] = Claim::default();
    }

    /// Another station says that the address is its own. Whether it is to be defended now.
    pub(crate) fn contest(&mut self, now_ns: u64, local: u16) -> bool {
        let claim = &mut self.0[usize::from(local)];
        claim.contested_ns = now_ns.max(1);
        let is_quiet = claim.defended_ns != 0 && now_ns - claim.defended_ns < DEFEND_INTERVAL_NS;
        if !is_quiet {
            claim.defended_ns = now_ns.max(1);
        }
        !is_quiet
    }

    /// An address whose announcement is due.
    pub(crate) fn next_due(&mut self, now_ns: u64) -> Option<u16> {
        let is_due = |claim: &Claim| claim.announcements > 0 && claim.due_ns <= now_ns;
        let at = self.0.iter().position(is_due)?;
        let claim = &mut self.0[at];
        claim.announcements -= 1;
        claim.due_ns = now_ns + ANNOUNCE_INTERVAL_NS;
        Some(at as u16)
    }

    /// When [`Self::next_due`] has something to say.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        self.0.iter().filter(|claim| claim.announcements > 0).map(|claim| claim.due_ns).min()
    }

    /// Addresses that another station has used within the last minute.
    pub(crate) fn contested(&self, now_ns: u64) -> u64 {
        let is_contested = |claim: &&Claim| {
            claim.contested_ns != 0 && now_ns.saturating_sub(claim.contested_ns) < CONTESTED_NS
        };
        self.0.iter().filter(is_contested).count() as u64
    }
}

/// RFC 5227 §1.1: ANNOUNCE_NUM.
const ANNOUNCEMENTS: u8 = 2;
/// RFC 5227 §1.1: ANNOUNCE_INTERVAL.
const ANNOUNCE_INTERVAL_NS: u64 = 2_000_000_000;
/// RFC 5227 §1.1: DEFEND_INTERVAL.
const DEFEND_INTERVAL_NS: u64 = 10_000_000_000;
/// How long a conflict is shown.
const CONTESTED_NS: u64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn address_is_announced_twice_two_seconds_apart() {
        let mut claims = Claims::new();
        claims.announce(5, 3);
        assert_eq!((claims.next_due(5), claims.next_due(5)), (Some(3), None));
        assert_eq!(claims.next_expiry(), Some(5 + 2 * SECOND));
        assert_eq!((claims.next_due(5 + 2 * SECOND), claims.next_expiry()), (Some(3), None));
        claims.announce(9 * SECOND, 3);
        claims.forget(3);
        assert_eq!(claims.next_due(u64::MAX), None);
    }

    #[test]
    fn address_is_defended_once_in_ten_seconds() {
        let mut claims = Claims::new();
        let defended: Vec<u64> =
            (0..25).filter(|second| claims.contest(second * SECOND + 1, 0)).collect();
        assert_eq!(defended, [0, 10, 20]);
        assert!(claims.contest(25 * SECOND, 1), "another address");
    }

    #[test]
    fn conflict_is_shown_for_a_minute() {
        let mut claims = Claims::new();
        assert_eq!(claims.contested(0), 0);
        claims.contest(SECOND, 7);
        assert_eq!((claims.contested(60 * SECOND), claims.contested(61 * SECOND)), (1, 0));
    }
}
