//! Our IPv4 addresses on the link: announcing and defending them (RFC 5227).
//!
//! An address is used from the moment it is given, without the probes of RFC 5227 §2.1, which would
//! keep it silent for five to seven seconds: it was configured by hand for a server, often to take
//! over from one that died a moment ago. Kernels do the same. It is announced twice. Another station
//! that uses it is answered as §2.4 (c) has it for such hosts: the address is never given up, and
//! defended by one announcement in ten seconds at most, so that two that both insist do not flood
//! the link. Operators see it in a gauge.

use std::net::IpAddr;

use crate::arp::Outgoing;
use crate::config::ADDRESSES_MAX;
use crate::stack::Stack;

/// What goes on about one address.
#[derive(Clone, Copy, Debug, Default)]
struct Defence {
    /// When the next announcement is due; 0: as long after the first look as between two.
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
pub(crate) struct Defences([Defence; ADDRESSES_MAX]);

impl Defences {
    pub(crate) fn new() -> Self {
        Self([Defence::default(); ADDRESSES_MAX])
    }

    /// The address was announced for the first time. RFC 5227 §2.3: there are two announcements.
    pub(crate) fn announced(&mut self, local: u16) {
        let defence = &mut self.0[usize::from(local)];
        (defence.due_ns, defence.announcements) = (0, ANNOUNCEMENTS - 1);
    }

    /// The address is not ours any more.
    pub(crate) fn forget(&mut self, local: u16) {
        self.0[usize::from(local)] = Defence::default();
    }

    /// Another station says that the address is its own. Whether it is to be defended now.
    fn contest(&mut self, now_ns: u64, local: u16) -> bool {
        let defence = &mut self.0[usize::from(local)];
        defence.contested_ns = now_ns.max(1);
        let since_ns = now_ns.saturating_sub(defence.defended_ns);
        let is_quiet = defence.defended_ns != 0 && since_ns < DEFEND_INTERVAL_NS;
        if !is_quiet {
            defence.defended_ns = now_ns.max(1);
        }
        !is_quiet
    }

    /// An address whose announcement is due.
    fn next_due(&mut self, now_ns: u64) -> Option<u16> {
        for (local, defence) in (0..).zip(&mut self.0) {
            if defence.announcements == 0 {
                continue;
            }
            if defence.due_ns == 0 {
                defence.due_ns = now_ns + ANNOUNCE_INTERVAL_NS;
            }
            if defence.due_ns <= now_ns {
                defence.announcements -= 1;
                defence.due_ns = now_ns + ANNOUNCE_INTERVAL_NS;
                return Some(local);
            }
        }
        None
    }

    /// When there is something to announce.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        let waits = |defence: &&Defence| defence.announcements > 0;
        self.0.iter().filter(waits).map(|defence| defence.due_ns).min()
    }

    /// Addresses that another station has used within the last minute.
    pub(crate) fn contested(&self, now_ns: u64) -> u64 {
        let is_contested = |defence: &&Defence| {
            let since_ns = now_ns.saturating_sub(defence.contested_ns);
            defence.contested_ns != 0 && since_ns < CONTESTED_NS
        };
        self.0.iter().filter(is_contested).count() as u64
    }
}

impl Stack {
    /// RFC 5227 §2.4 (c): another station uses one of our addresses.
    pub(crate) fn defend(&mut self, now_ns: u64, local: u16) {
        self.counters.arp_conflict += 1;
        if self.defences.contest(now_ns, local) {
            self.counters.arp_defended += 1;
            self.announce_ipv4(local);
        }
    }

    /// Announces what is due.
    pub(crate) fn expire_announcements(&mut self, now_ns: u64) {
        while let Some(local) = self.defences.next_due(now_ns) {
            self.announce_ipv4(local);
        }
    }

    fn announce_ipv4(&mut self, local: u16) {
        if let IpAddr::V4(own) = self.settings.address(local) {
            // Should the queue be full, neighbours ask.
            let _ = self.arp.push(Outgoing::Announcement { own });
        }
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
    fn address_is_announced_again_after_two_seconds() {
        let mut defences = Defences::new();
        assert_eq!(defences.next_expiry(), None);
        defences.announced(3);
        assert_eq!((defences.next_expiry(), defences.next_due(5)), (Some(0), None));
        assert_eq!(defences.next_expiry(), Some(5 + 2 * SECOND));
        assert_eq!(defences.next_due(5 + 2 * SECOND), Some(3));
        assert_eq!((defences.next_due(u64::MAX), defences.next_expiry()), (None, None));
    }

    #[test]
    fn address_is_defended_once_in_ten_seconds() {
        let mut defences = Defences::new();
        let defended: Vec<u64> =
            (0..25).filter(|second| defences.contest(second * SECOND + 1, 0)).collect();
        assert_eq!(defended, [0, 10, 20]);
        assert!(defences.contest(25 * SECOND, 1), "another address");
    }

    #[test]
    fn conflict_is_shown_for_a_minute() {
        let mut defences = Defences::new();
        assert_eq!(defences.contested(0), 0);
        defences.contest(SECOND, 7);
        assert_eq!((defences.contested(60 * SECOND), defences.contested(61 * SECOND)), (1, 0));
    }
}
