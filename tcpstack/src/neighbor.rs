//! Neighbours on the link: IP address to MAC address, learnt by ARP (RFC 826, RFC 1122 §2.3.2).
//!
//! Sets of eight by a keyed hash, so that a lookup is one set and nothing ever needs rehashing. A
//! full set forgets an unanswered question first, then the neighbour longest unused.
//!
//! No packet waits here. A connection whose next hop is unknown behaves as if its segment had been
//! sent and lost, and is kicked as soon as any neighbour is learnt; everything else (SYN-ACKs,
//! resets, echo replies) is dropped, counted, and sent again by whoever has the timer for it.

use std::net::IpAddr;

use siphasher::sip::SipHasher13;
use superpage::{Array, Placement, RegionError, Tier, record};

use crate::ethernet::{BROADCAST, Mac};
use crate::ip;

record! {
    /// One neighbour.
    pub(crate) struct Neighbor {
        /// When it was last heard to have this MAC address.
        confirmed_ns: u64,
        /// When something was last sent to it.
        used_ns: u64,
        /// When it may be asked for again.
        ask_ns: u64,
        /// IPv4 as `::ffff:a.b.c.d`.
        address: [u8; 16],
        mac: Mac,
        /// [`Knowledge`].
        knowledge: u8,
        /// Questions without an answer.
        asked: u8,
    }
}

/// What is known of a place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Knowledge {
    /// Nothing: the place is free.
    Free = 0,
    /// Asked for, no answer yet.
    Incomplete = 1,
    /// The MAC address is known.
    Known = 2,
}

impl Neighbor {
    fn is(&self, knowledge: Knowledge) -> bool {
        self.knowledge == knowledge as u8
    }
}

/// What is to be done to reach a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resolution {
    /// Where to send, and its place in the table; `None` while unknown.
    pub(crate) known: Option<(Mac, u16)>,
    /// An ARP request is due, to this address.
    pub(crate) ask: Option<Mac>,
}

/// What an ARP message changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learnt {
    /// Nothing: the sender is unknown and not worth knowing.
    Ignored,
    /// Its MAC address was known or is known now.
    Known,
    /// As `Known`, and somebody was waiting for it.
    Answered,
}

/// All neighbours.
#[derive(Debug)]
pub(crate) struct Neighbors {
    places: Array<Neighbor>,
    hasher: SipHasher13,
    known: u32,
    /// Places that are incomplete.
    asking: Vec<u16>,
    evicted: u64,
}

impl Neighbors {
    pub(crate) fn create(
        capacity: u32,
        secret: &[u8; 16],
        placement: Placement,
    ) -> Result<Self, RegionError> {
        let places = (capacity as usize / WAYS).max(1) * WAYS;
        Ok(Self {
            places: Array::create("neighbors", places, placement)?,
            hasher: SipHasher13::new_with_key(secret),
            known: 0,
            asking: Vec::with_capacity(ASKING_MAX),
            evicted: 0,
        })
    }

    /// How to reach `address`; `hint` is the place it had last time.
    pub(crate) fn resolve(&mut self, now_ns: u64, address: IpAddr, hint: u16) -> Resolution {
        let wanted = ip::octets(address);
        let hinted = self
            .places
            .get(usize::from(hint))
            .is_some_and(|place| place.address == wanted && !place.is(Knowledge::Free));
        let found = if hinted { Some(usize::from(hint)) } else { self.find(&wanted) };
        let Some(at) = found.or_else(|| self.begin_asking(now_ns, wanted)) else {
            return Resolution { known: None, ask: None };
        };
        let place = &mut self.places[at];
        place.used_ns = now_ns;
        if place.is(Knowledge::Incomplete) {
            return Resolution { known: None, ask: ask(place, now_ns, BROADCAST) };
        }
        let mut resolution = Resolution { known: Some((place.mac, at as u16)), ask: None };
        if now_ns.saturating_sub(place.confirmed_ns) > CONFIRMED_NS {
            // RFC 1122 §2.3.2.1, (2): poll by unicast. Then ask everybody: who has moved is found
            // that way, and until an answer comes the old address is as good as none.
            let to = if place.asked < POLLS_MAX { place.mac } else { BROADCAST };
            resolution.ask = ask(place, now_ns, to);
        }
        resolution
    }

    /// `address` is at `mac`. A stranger is remembered only if `create`: RFC 826 remembers those
    /// who talk to us.
    pub(crate) fn learn(&mut self, now_ns: u64, address: IpAddr, mac: Mac, create: bool) -> Learnt {
        let wanted = ip::octets(address);
        let at = match self.find(&wanted) {
            Some(at) => at,
            None if create => self.make_room(&wanted),
            None => return Learnt::Ignored,
        };
        let old = self.places[at];
        let used_ns = if old.is(Knowledge::Free) { now_ns } else { old.used_ns };
        self.places[at] = Neighbor {
            confirmed_ns: now_ns,
            used_ns,
            ask_ns: 0,
            address: wanted,
            mac,
            knowledge: Knowledge::Known as u8,
            asked: 0,
        };
        if old.is(Knowledge::Known) {
            return Learnt::Known;
        }
        self.known += 1;
        if !old.is(Knowledge::Incomplete) {
            return Learnt::Known;
        }
        self.asking.retain(|place| usize::from(*place) != at);
        Learnt::Answered
    }

    /// Gives up questions that nobody answered.
    pub(crate) fn expire(&mut self, now_ns: u64) {
        let Self { places, asking, .. } = self;
        asking.retain(|at| {
            let place = &mut places[usize::from(*at)];
            let keep = now_ns.saturating_sub(place.used_ns) < ASKING_NS;
            if !keep {
                place.knowledge = Knowledge::Free as u8;
            }
            keep
        });
    }

    /// When [`Self::expire`] has something to do.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        let used_ns = |at: &u16| self.places[usize::from(*at)].used_ns;
        Some(self.asking.iter().map(used_ns).min()? + ASKING_NS)
    }

    /// Neighbours known.
    pub(crate) fn known(&self) -> u32 {
        self.known
    }

    /// Neighbours forgotten for others so far.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(crate) fn tier(&self) -> Tier {
        self.places.tier()
    }

    pub(crate) fn region_bytes(&self) -> usize {
        self.places.region_bytes()
    }

    fn begin_asking(&mut self, now_ns: u64, address: [u8; 16]) -> Option<usize> {
        if self.asking.len() == ASKING_MAX {
            return None;
        }
        let at = self.make_room(&address);
        self.asking.push(at as u16);
        self.places[at] = Neighbor {
            used_ns: now_ns,
            address,
            knowledge: Knowledge::Incomplete as u8,
            ..superpage::Record::zeroed()
        };
        Some(at)
    }

    /// A free place in the set of `address`, made by forgetting somebody if need be.
    fn make_room(&mut self, address: &[u8; 16]) -> usize {
        let set = self.set(address);
        let rank = |at: &usize| {
            let place = &self.places[*at];
            (place.knowledge, place.used_ns.max(place.confirmed_ns))
        };
        let at = (set..set + WAYS).min_by_key(rank).expect("a set has places");
        let place = &mut self.places[at];
        if place.is(Knowledge::Incomplete) {
            self.asking.retain(|asking| usize::from(*asking) != at);
        }
        if place.is(Knowledge::Known) {
            self.known -= 1;
            self.evicted += 1;
        }
        place.knowledge = Knowledge::Free as u8;
        at
    }

    fn find(&self, address: &[u8; 16]) -> Option<usize> {
        let set = self.set(address);
        (set..set + WAYS).find(|at| {
            let place = &self.places[*at];
            place.address == *address && !place.is(Knowledge::Free)
        })
    }

    fn set(&self, address: &[u8; 16]) -> usize {
        let sets = self.places.len() / WAYS;
        self.hasher.hash(address) as usize % sets * WAYS
    }
}

/// RFC 1122 §2.3.2.1: at most one request a second for a neighbour.
fn ask(place: &mut Neighbor, now_ns: u64, to: Mac) -> Option<Mac> {
    if now_ns < place.ask_ns {
        return None;
    }
    place.ask_ns = now_ns + ASK_INTERVAL_NS;
    place.asked = place.asked.saturating_add(1);
    Some(to)
}

/// No place is known.
pub(crate) const NO_HINT: u16 = u16::MAX;
/// Places of a set.
const WAYS: usize = 8;
/// Neighbours asked for at the same time: forged senders shall not fill the table.
const ASKING_MAX: usize = 64;
/// How long an unanswered question is remembered after its last use.
const ASKING_NS: u64 = 3_000_000_000;
const ASK_INTERVAL_NS: u64 = 1_000_000_000;
/// How long a MAC address is used without doubt, RFC 1122 §2.3.2.1.
const CONFIRMED_NS: u64 = 60_000_000_000;
/// Questions to the old address before everybody is asked.
const POLLS_MAX: u8 = 2;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    const MAC: Mac = [2, 0, 0, 0, 0, 2];
    const SECOND: u64 = 1_000_000_000;

    fn table(capacity: u32) -> Neighbors {
        Neighbors::create(capacity, &[7; 16], Placement::default()).expect("table")
    }

    fn known(table: &mut Neighbors, now_ns: u64) -> Option<Mac> {
        table.resolve(now_ns, PEER, u16::MAX).known.map(|(mac, _)| mac)
    }

    #[test]
    fn unknown_neighbour_is_asked_for_once_a_second_until_it_answers() {
        let mut table = table(16);
        let ask = |table: &mut Neighbors, now_ns| table.resolve(now_ns, PEER, u16::MAX).ask;
        assert_eq!(ask(&mut table, 0), Some(BROADCAST));
        assert_eq!(ask(&mut table, SECOND - 1), None);
        assert_eq!(ask(&mut table, SECOND), Some(BROADCAST));
        assert_eq!(table.learn(SECOND, PEER, MAC, false), Learnt::Answered);
        let resolution = table.resolve(SECOND, PEER, u16::MAX);
        let (mac, place) = resolution.known.expect("known");
        assert_eq!((mac, resolution.ask), (MAC, None));
        assert_eq!(table.resolve(SECOND, PEER, place), resolution, "by its place");
        assert_eq!(table.resolve(SECOND, PEER, place ^ 1), resolution, "by a wrong place");
    }

    #[test]
    fn unanswered_question_is_forgotten() {
        let mut table = table(16);
        table.resolve(5, PEER, u16::MAX);
        assert_eq!(table.next_expiry(), Some(5 + ASKING_NS));
        table.expire(4 + ASKING_NS);
        assert_eq!(table.learn(6, PEER, MAC, false), Learnt::Answered);
        table.expire(u64::MAX);
        assert_eq!(known(&mut table, 7), Some(MAC), "who has answered stays");
        assert_eq!(table.next_expiry(), None);
    }

    #[test]
    fn strangers_are_ignored_and_those_who_ask_us_remembered() {
        let mut table = table(16);
        assert_eq!(table.learn(0, PEER, MAC, false), Learnt::Ignored);
        assert_eq!(table.learn(0, PEER, MAC, true), Learnt::Known);
        let moved = [2, 0, 0, 0, 0, 3];
        assert_eq!(table.learn(1, PEER, moved, false), Learnt::Known);
        assert_eq!((known(&mut table, 1), table.known()), (Some(moved), 1));
    }

    #[test]
    fn old_knowledge_is_polled_then_asked_of_everybody_and_used_meanwhile() {
        let mut table = table(16);
        table.learn(0, PEER, MAC, true);
        let start = CONFIRMED_NS + 1;
        let asked: Vec<Option<Mac>> = (0..4)
            .map(|second| {
                let resolution = table.resolve(start + second * SECOND, PEER, u16::MAX);
                assert_eq!(resolution.known.map(|(mac, _)| mac), Some(MAC));
                resolution.ask
            })
            .collect();
        assert_eq!(asked, [Some(MAC), Some(MAC), Some(BROADCAST), Some(BROADCAST)]);
        table.learn(start + 4 * SECOND, PEER, MAC, false);
        assert_eq!(table.resolve(start + 5 * SECOND, PEER, u16::MAX).ask, None);
    }

    #[test]
    fn full_table_forgets_questions_first_then_the_longest_unused() {
        let mut table = table(8);
        let peer = |last| IpAddr::from([10, 0, 0, last]);
        for last in 1..=7 {
            table.learn(u64::from(last), peer(last), MAC, true);
        }
        table.resolve(100, peer(8), u16::MAX);
        table.learn(101, peer(9), MAC, true);
        assert_eq!((table.known(), table.evicted()), (8, 0));
        table.resolve(102, peer(1), u16::MAX);
        table.learn(103, peer(10), MAC, true);
        assert_eq!((table.known(), table.evicted()), (8, 1));
        assert!(table.resolve(104, peer(1), u16::MAX).known.is_some(), "used lately");
        assert!(table.find(&ip::octets(peer(2))).is_none(), "longest unused");
    }

    #[test]
    fn questions_at_the_same_time_are_bounded() {
        let mut table = table(32_768);
        for at in 0..1_000_u32 {
            table.resolve(0, Ipv4Addr::from(0x0a00_0000 + at).into(), u16::MAX);
        }
        assert_eq!(table.asking.len(), ASKING_MAX);
    }
}
