//! Neighbours on the link: IP address to MAC address, learnt by ARP (RFC 826, RFC 1122 §2.3.2) and
//! by neighbour discovery (RFC 4861 §7.2 and §7.3).
//!
//! Sets of eight by a keyed hash, so that a lookup is one set and nothing ever needs rehashing. A
//! full set forgets who was only heard first, then an unanswered question, then the neighbour
//! longest unused. Whoever is only heard takes no place from a question, nor from a neighbour in
//! use: a flood of strangers disturbs nobody.
//!
//! No packet waits here. A connection whose next hop is unknown behaves as if its segment had been
//! sent and lost, and is kicked as soon as any neighbour is learnt; so is a SYN-ACK. Resets and ICMP
//! messages have no timer: they wait in `held`.
//!
//! The states of RFC 4861 §7.3.2, for both families: INCOMPLETE is `Asked`; REACHABLE is a
//! confirmation not long ago, by an answer or by TCP's progress. Afterwards an entry is STALE until
//! it is used, then in DELAY while `ask_ns` is to come, then in PROBE. It is never removed for want
//! of an answer: everybody is asked, and until somebody answers the old address is as good as none
//! (RFC 7048 §3). Nothing happens to an entry that nobody uses, so it needs no timer.

use std::net::IpAddr;

use superpage::{Array, Placement, RegionError, Tier, record};

use crate::ethernet::{BROADCAST, Mac};
use crate::ip;
use crate::sets::Sets;

record! {
    /// One neighbour.
    pub(crate) struct Neighbor {
        /// When it was last known to have this MAC address and to hear us; 0: never. While it is
        /// asked for: since when.
        confirmed_ns: u64,
        /// When something was last sent to it, or when it was heard first.
        used_ns: u64,
        /// When it may be asked for again; 0: it was not asked for yet.
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

/// What is known of a place in the table. The lower, the sooner it is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Knowledge {
    /// Nothing: the place is free.
    Free = 0,
    /// The MAC address is known, and was of no use yet.
    Heard = 1,
    /// Asked for, no answer yet.
    Asked = 2,
    /// The MAC address is known.
    Known = 3,
}

impl Neighbor {
    fn is(&self, knowledge: Knowledge) -> bool {
        self.knowledge == knowledge as u8
    }

    fn has_mac(&self) -> bool {
        self.is(Knowledge::Heard) || self.is(Knowledge::Known)
    }

    fn is_reachable(&self, now_ns: u64) -> bool {
        self.has_mac()
            && self.confirmed_ns != 0
            && now_ns.saturating_sub(self.confirmed_ns) <= REACHABLE_NS
    }

    /// It has the MAC address and hears us.
    fn confirm(&mut self, now_ns: u64) {
        (self.confirmed_ns, self.ask_ns, self.asked) = (now_ns.max(1), 0, 0);
    }

    /// It has another MAC address, or may have.
    fn doubt(&mut self) {
        (self.confirmed_ns, self.ask_ns, self.asked) = (0, 0, 0);
    }
}

/// What is to be done to reach a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resolution {
    /// Where to send, and its place in the table; `None` while unknown.
    pub(crate) known: Option<(Mac, u16)>,
    /// A question is due, to this address: everybody's or the neighbour's own.
    pub(crate) ask: Option<Mac>,
}

/// What a message changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learnt {
    /// Nothing: the sender is unknown and not worth knowing, or says nothing new.
    Ignored,
    /// Its MAC address was known or is known now.
    Known,
    /// As `Known`, and somebody was waiting for it.
    Answered,
}

/// What a neighbour advertises of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) mac: Option<Mac>,
    /// Somebody asked: it hears us.
    pub(crate) solicited: bool,
    /// It knows better than who said something else before.
    pub(crate) overrides: bool,
}

/// All neighbours.
#[derive(Debug)]
pub(crate) struct Neighbors {
    places: Array<Neighbor>,
    sets: Sets<WAYS>,
    known: u32,
    /// Places that are asked for.
    asking: Vec<u16>,
    evicted: u64,
    /// Strangers for whom there was no place.
    refused: u64,
}

impl Neighbors {
    pub(crate) fn create(
        capacity: u32,
        secret: &[u8; 16],
        placement: Placement,
    ) -> Result<Self, RegionError> {
        let sets = Sets::new(capacity, secret);
        let places = sets.places();
        Ok(Self {
            places: Array::create("neighbors", places, placement)?,
            sets,
            known: 0,
            asking: Vec::with_capacity(ASKING_MAX),
            evicted: 0,
            refused: 0,
        })
    }

    /// How to reach `address`; `hint` is the place it had last time.
    pub(crate) fn resolve(&mut self, now_ns: u64, address: IpAddr, hint: u16) -> Resolution {
        let wanted = ip::octets(address);
        let found = self.hinted(hint, &wanted).or_else(|| self.find(&wanted));
        let Some(at) = found.or_else(|| self.begin_asking(now_ns, wanted)) else {
            return Resolution { known: None, ask: None };
        };
        let place = &mut self.places[at];
        place.used_ns = now_ns;
        if place.is(Knowledge::Asked) {
            return Resolution { known: None, ask: ask(place, now_ns, BROADCAST) };
        }
        place.knowledge = Knowledge::Known as u8;
        let mut resolution = Resolution { known: Some((place.mac, at as u16)), ask: None };
        if place.is_reachable(now_ns) {
            return resolution;
        }
        if place.ask_ns == 0 {
            // RFC 4861 §7.3.3: TCP may confirm it meanwhile.
            place.ask_ns = now_ns + DELAY_NS;
            return resolution;
        }
        // RFC 4861 §7.3.3 and RFC 1122 §2.3.2.1, (2): poll by unicast. Then ask everybody: who has
        // moved is found that way.
        let to = if place.asked < POLLS_MAX { place.mac } else { BROADCAST };
        resolution.ask = ask(place, now_ns, to);
        resolution
    }

    /// `address` is at `mac`, by ARP or by another shard. A stranger is remembered only if `create`:
    /// RFC 826 remembers those who talk to us.
    pub(crate) fn learn(&mut self, now_ns: u64, address: IpAddr, mac: Mac, create: bool) -> Learnt {
        let learnt = self.hear(now_ns, address, mac, create);
        if let Some(at) = self.find(&ip::octets(address)) {
            self.places[at].confirm(now_ns);
            return if learnt == Learnt::Answered { learnt } else { Learnt::Known };
        }
        learnt
    }

    /// `address` says that it is at `mac`, and may not hear us: RFC 4861 §7.2.3. As
    /// [`Self::learn`], but known is only what is new.
    pub(crate) fn hear(&mut self, now_ns: u64, address: IpAddr, mac: Mac, create: bool) -> Learnt {
        let wanted = ip::octets(address);
        let at = match self.find(&wanted) {
            Some(at) => at,
            None if create => match self.make_room_for_stranger(now_ns, &wanted) {
                Some(at) => at,
                None => {
                    self.refused += 1;
                    return Learnt::Ignored;
                }
            },
            None => return Learnt::Ignored,
        };
        let old = self.places[at];
        if old.has_mac() {
            if old.mac == mac {
                return Learnt::Ignored;
            }
            self.places[at].mac = mac;
            self.places[at].doubt();
            return Learnt::Known;
        }
        let was_asked = old.is(Knowledge::Asked);
        let knowledge = if was_asked { Knowledge::Known } else { Knowledge::Heard };
        self.places[at] = Neighbor {
            used_ns: now_ns,
            address: wanted,
            mac,
            knowledge: knowledge as u8,
            ..superpage::Record::zeroed()
        };
        self.known += 1;
        if was_asked {
            self.asking.retain(|place| usize::from(*place) != at);
            return Learnt::Answered;
        }
        Learnt::Known
    }

    /// A neighbour advertises itself: RFC 4861 §7.2.5.
    pub(crate) fn advertised(&mut self, now_ns: u64, address: IpAddr, claim: Claim) -> Learnt {
        let Some(at) = self.find(&ip::octets(address)) else { return Learnt::Ignored };
        let old = self.places[at];
        let mac = claim.mac.unwrap_or(old.mac);
        if !old.has_mac() && claim.mac.is_none() {
            return Learnt::Ignored;
        }
        if old.has_mac() && mac != old.mac && !claim.overrides {
            // It is not to be believed; but if it is true, ours no longer is.
            if old.is_reachable(now_ns) {
                self.places[at].doubt();
            }
            return Learnt::Ignored;
        }
        let learnt = self.hear(now_ns, address, mac, false);
        if claim.solicited {
            self.places[at].confirm(now_ns);
        }
        if learnt == Learnt::Answered { learnt } else { Learnt::Known }
    }

    /// Whether the neighbour at `place` was last confirmed so long ago that news are worth keeping.
    pub(crate) fn is_aging(&self, now_ns: u64, place: u16) -> bool {
        let place = self.places.get(usize::from(place));
        place.is_some_and(|place| now_ns.saturating_sub(place.confirmed_ns) > AGING_NS)
    }

    /// RFC 4861 §7.3.1: an upper layer's progress shows that `address` hears us.
    pub(crate) fn confirm(&mut self, now_ns: u64, address: IpAddr, place: u16) {
        if let Some(at) = self.hinted(place, &ip::octets(address)) {
            let place = &mut self.places[at];
            if place.has_mac() {
                place.confirm(now_ns);
            }
        }
    }

    /// Gives up questions that nobody answered.
    pub(crate) fn expire(&mut self, now_ns: u64) {
        let Self { places, asking, .. } = self;
        asking.retain(|at| {
            let place = &mut places[usize::from(*at)];
            let keep = now_ns.saturating_sub(place.confirmed_ns) < ASKING_NS;
            if !keep {
                place.knowledge = Knowledge::Free as u8;
            }
            keep
        });
    }

    /// When [`Self::expire`] has something to do.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        let begun_ns = |at: &u16| self.places[usize::from(*at)].confirmed_ns;
        Some(self.asking.iter().map(begun_ns).min()? + ASKING_NS)
    }

    /// The MAC address of `address`, if it is known.
    pub(crate) fn known_mac(&self, address: IpAddr) -> Option<Mac> {
        let place = &self.places[self.find(&ip::octets(address))?];
        place.has_mac().then_some(place.mac)
    }

    /// A question is about to be asked for the first time. It takes the place of the oldest one, if
    /// there are too many: forged senders do not answer, and whoever is real answers the newest
    /// question at once.
    pub(crate) fn make_room_to_ask(&mut self, address: IpAddr) {
        if self.asking.len() == ASKING_MAX && self.find(&ip::octets(address)).is_none() {
            self.forget(usize::from(self.asking[0]));
        }
    }

    /// Neighbours known.
    pub(crate) fn known(&self) -> u32 {
        self.known
    }

    /// Neighbours forgotten for others so far.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Strangers not remembered so far, because those in use have all places they could have.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
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
        let at = self.first_to_go(&address);
        self.forget(at);
        self.asking.push(at as u16);
        self.places[at] = Neighbor {
            confirmed_ns: now_ns,
            used_ns: now_ns,
            address,
            knowledge: Knowledge::Asked as u8,
            ..superpage::Record::zeroed()
        };
        Some(at)
    }

    /// A free place in the set of `address`, if need be that of somebody who does not need it.
    fn make_room_for_stranger(&mut self, now_ns: u64, address: &[u8; 16]) -> Option<usize> {
        let at = self.first_to_go(address);
        let place = &self.places[at];
        let is_idle = now_ns.saturating_sub(place.used_ns) > IN_USE_NS;
        let may_go = !place.is(Knowledge::Asked) && (!place.is(Knowledge::Known) || is_idle);
        may_go.then(|| {
            self.forget(at);
            at
        })
    }

    /// The place in the set of `address` that is worth least.
    fn first_to_go(&self, address: &[u8; 16]) -> usize {
        let set = self.sets.of(address);
        let rank = |at: &usize| (self.places[*at].knowledge, self.places[*at].used_ns);
        set.min_by_key(rank).expect("a set has places")
    }

    fn forget(&mut self, at: usize) {
        let place = &mut self.places[at];
        if place.is(Knowledge::Asked) {
            self.asking.retain(|asking| usize::from(*asking) != at);
        }
        if place.has_mac() {
            self.known -= 1;
            self.evicted += 1;
        }
        place.knowledge = Knowledge::Free as u8;
    }

    fn hinted(&self, hint: u16, address: &[u8; 16]) -> Option<usize> {
        let place = self.places.get(usize::from(hint))?;
        let is_it = place.address == *address && !place.is(Knowledge::Free);
        is_it.then_some(usize::from(hint))
    }

    fn find(&self, address: &[u8; 16]) -> Option<usize> {
        let mut set = self.sets.of(address);
        set.find(|at| {
            let place = &self.places[*at];
            place.address == *address && !place.is(Knowledge::Free)
        })
    }
}

/// RFC 1122 §2.3.2.1 and RFC 4861 §7.2.2: at most one question a second for a neighbour.
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
/// How long an unanswered question is remembered: others want its place.
const ASKING_NS: u64 = 3_000_000_000;
const ASK_INTERVAL_NS: u64 = 1_000_000_000;
/// How long a MAC address is used without doubt: REACHABLE_TIME of RFC 4861 §10. RFC 1122 §2.3.2.1
/// has a minute for ARP.
const REACHABLE_NS: u64 = 30_000_000_000;
/// How long TCP may confirm an address in doubt: DELAY_FIRST_PROBE_TIME of RFC 4861 §10.
const DELAY_NS: u64 = 5_000_000_000;
/// Questions to the old address before everybody is asked: MAX_UNICAST_SOLICIT of RFC 4861 §10.
const POLLS_MAX: u8 = 3;
/// A neighbour to which something was sent so lately keeps its place from strangers.
const IN_USE_NS: u64 = 60_000_000_000;
/// TCP confirms a neighbour no more often.
const AGING_NS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests;
