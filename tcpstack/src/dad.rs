//! Duplicate address detection: which of our IPv6 addresses are ours (RFC 4862 §5.4).
//!
//! An address is tentative until nobody has answered to it for a second. One that somebody else has
//! is never used; operators see it in a gauge, and restart when they have settled the matter. An
//! address in use stays in use whatever others say: claims are counted, and a station that wants to
//! silence us by them does not succeed. One stack of a port asks, those beside it only wait.
//!
//! The random delay before the first question (§5.4.2) is left out: it keeps apart hosts that a
//! router advertisement wakes at once, and ours come from the configuration.

use crate::config::ADDRESSES_MAX;
use crate::ip::IpCidr;

/// How far an address has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// It is ours: connections may use it.
    Preferred,
    /// It is being asked for; so many questions are left, and the next step is due then.
    Tentative { probes: u8, due_ns: u64 },
    /// Somebody else has it.
    Duplicate,
}

/// What is to be done about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask whether anybody has it.
    Probe(u16),
    /// It is ours from now on: say so.
    Announce(u16),
}

/// All addresses, by their numbers.
#[derive(Debug)]
pub(crate) struct Claims([Claim; ADDRESSES_MAX]);

impl Claims {
    /// With so many questions for each IPv6 address; without any, all are ours at once.
    pub(crate) fn new<'a>(own: impl Iterator<Item = (u16, &'a IpCidr)>, probes: u8) -> Self {
        let mut claims = Self([Claim::Preferred; ADDRESSES_MAX]);
        own.for_each(|(local, own)| claims.claim(local, own, probes));
        claims
    }

    /// The address with this number is to be ours.
    pub(crate) fn claim(&mut self, local: u16, own: &IpCidr, probes: u8) {
        let is_asked_for = own.addr.is_ipv6() && probes > 0;
        let tentative = Claim::Tentative { probes, due_ns: 0 };
        self.0[usize::from(local)] = if is_asked_for { tentative } else { Claim::Preferred };
    }

    /// The address is not to be ours any more.
    pub(crate) fn forget(&mut self, local: u16) {
        self.0[usize::from(local)] = Claim::Preferred;
    }

    /// Whether connections may use the address.
    pub(crate) fn is_preferred(&self, local: u16) -> bool {
        self.0[usize::from(local)] == Claim::Preferred
    }

    /// Somebody else has or wants the address. Whether it is lost by that.
    pub(crate) fn contest(&mut self, local: u16) -> bool {
        let claim = &mut self.0[usize::from(local)];
        let is_lost = matches!(claim, Claim::Tentative { .. });
        if is_lost {
            *claim = Claim::Duplicate;
        }
        is_lost
    }

    /// The next thing due.
    pub(crate) fn next_due(&mut self, now_ns: u64) -> Option<Step> {
        let is_due =
            |claim: &Claim| matches!(claim, Claim::Tentative { due_ns, .. } if *due_ns <= now_ns);
        let at = self.0.iter().position(is_due)?;
        let local = at as u16;
        match &mut self.0[at] {
            Claim::Tentative { probes, due_ns } if *probes > 0 => {
                *probes -= 1;
                *due_ns = now_ns + RETRANS_TIMER_NS;
                Some(Step::Probe(local))
            }
            claim => {
                *claim = Claim::Preferred;
                Some(Step::Announce(local))
            }
        }
    }

    /// When [`Self::next_due`] has something to say.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        let due_ns = |claim: &Claim| match claim {
            Claim::Tentative { due_ns, .. } => Some(*due_ns),
            _ => None,
        };
        self.0.iter().filter_map(due_ns).min()
    }

    /// Addresses that are being asked for, and those that somebody else has.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let count = |is: fn(&Claim) -> bool| self.0.iter().filter(|claim| is(claim)).count() as u64;
        let tentative = count(|claim| matches!(claim, Claim::Tentative { .. }));
        (tentative, count(|claim| *claim == Claim::Duplicate))
    }
}

/// RFC 4861 §10: RETRANS_TIMER.
const RETRANS_TIMER_NS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn addresses() -> [IpCidr; 3] {
        [
            IpCidr::new(Ipv4Addr::new(10, 0, 0, 1), 24),
            IpCidr::new(Ipv6Addr::from_bits(1 << 120), 64),
            IpCidr::new(Ipv6Addr::from_bits(2 << 120), 64),
        ]
    }

    #[test]
    fn address_is_ours_when_nobody_answers_for_a_second() {
        let mut claims = Claims::new((0..).zip(&addresses()), 1);
        assert!(claims.is_preferred(0) && !claims.is_preferred(1));
        assert_eq!((claims.next_expiry(), claims.counts()), (Some(0), (2, 0)));
        assert_eq!(claims.next_due(5), Some(Step::Probe(1)));
        assert_eq!(claims.next_due(5), Some(Step::Probe(2)));
        assert_eq!(claims.next_due(5), None);
        assert_eq!(claims.next_expiry(), Some(5 + RETRANS_TIMER_NS));
        assert!(claims.contest(2), "somebody has it");
        assert_eq!(claims.next_due(5 + RETRANS_TIMER_NS), Some(Step::Announce(1)));
        assert_eq!((claims.next_due(u64::MAX), claims.next_expiry()), (None, None));
        assert!(claims.is_preferred(1) && !claims.is_preferred(2));
        assert_eq!(claims.counts(), (0, 1));
        assert!(!claims.contest(1), "what is in use stays in use");
        assert!(claims.is_preferred(1));
    }

    #[test]
    fn without_questions_all_addresses_are_ours() {
        let mut claims = Claims::new((0..).zip(&addresses()), 0);
        assert!((0..3).all(|local| claims.is_preferred(local)));
        assert_eq!((claims.next_due(u64::MAX), claims.next_expiry()), (None, None));
    }
}
