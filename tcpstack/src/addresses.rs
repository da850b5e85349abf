//! Our own addresses, which come and go while the stack runs.
//!
//! An address has a number, by which connections name it. The numbers of others do not change when
//! one comes or goes. A removed address is deaf at once, and *leaves*: a hand goes over all records,
//! a few each time, resets its connections and forgets its passive opens and what is in TIME-WAIT.
//! When a whole round found nobody that names it, its place is free for another address.

use std::net::IpAddr;

use crate::calls::may_be_host;
use crate::config::ADDRESSES_MAX;
use crate::context::Then;
use crate::event::CloseReason;
use crate::ip::IpCidr;
use crate::stack::Stack;
use crate::tcb::State;
use crate::{arp, ndp};

/// Why an address is not added or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No host can have it, or its prefix is too long.
    #[error("no host can have this address")]
    Impossible,
    /// It is the stack's already.
    #[error("the address is there already")]
    Known,
    /// All places are taken: some perhaps by addresses that were removed and still leave.
    #[error("there are {} addresses already", ADDRESSES_MAX)]
    Full,
    /// The stack was made without an IPv6 address: it has no link-local one, and perhaps too small
    /// an MTU.
    #[error("the stack was started without IPv6")]
    NoIpv6,
    /// The stack does not have it.
    #[error("the address is not there")]
    Unknown,
    /// The stack made it itself, and needs it to speak to its neighbours over IPv6.
    #[error("the link-local address stays")]
    LinkLocal,
}

/// What a place is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Ours,
    Leaving,
    Free,
}

/// All places, by number.
#[derive(Debug)]
pub(crate) struct Addresses(Vec<(IpCidr, Standing)>);

impl Addresses {
    /// With room for all there can ever be.
    pub(crate) fn new(addresses: impl Iterator<Item = IpCidr>) -> Self {
        let mut places = Vec::with_capacity(ADDRESSES_MAX);
        places.extend(addresses.map(|own| (own, Standing::Ours)));
        Self(places)
    }

    /// Those that are ours, with their numbers.
    pub(crate) fn ours(&self) -> impl Iterator<Item = (u16, &IpCidr)> {
        self.with(Standing::Ours)
    }

    /// Those whose connections are being reset.
    fn leaving(&self) -> impl Iterator<Item = (u16, &IpCidr)> {
        self.with(Standing::Leaving)
    }

    fn with(&self, wanted: Standing) -> impl Iterator<Item = (u16, &IpCidr)> {
        let places = (0..).zip(&self.0);
        places.filter(move |(_, place)| place.1 == wanted).map(|(local, place)| (local, &place.0))
    }

    /// The address with this number, also when it leaves: its resets come from it.
    pub(crate) fn get(&self, local: u16) -> IpAddr {
        self.0[usize::from(local)].0.addr
    }

    /// Number of an address on the same network as `neighbor`. One that leaves will do, so that its
    /// resets find their way.
    pub(crate) fn on_link(&self, neighbor: IpAddr) -> Option<u16> {
        let mut all = self.ours().chain(self.leaving());
        all.find(|(_, own)| own.contains(neighbor)).map(|(local, _)| local)
    }

    pub(crate) fn is_ours(&self, local: u16) -> bool {
        self.is(local, Standing::Ours)
    }

    fn is_leaving(&self, local: u16) -> bool {
        self.is(local, Standing::Leaving)
    }

    fn is(&self, local: u16, standing: Standing) -> bool {
        self.0.get(usize::from(local)).is_some_and(|place| place.1 == standing)
    }

    /// Gives an address a place, if there is one.
    fn add(&mut self, own: IpCidr) -> Option<u16> {
        let free = self.with(Standing::Free).next().map(|(local, _)| local);
        if let Some(local) = free {
            self.0[usize::from(local)] = (own, Standing::Ours);
            return Some(local);
        }
        let has_room = self.0.len() < ADDRESSES_MAX;
        has_room.then(|| {
            self.0.push((own, Standing::Ours));
            self.0.len() as u16 - 1
        })
    }

    fn set(&mut self, local: u16, standing: Standing) {
        self.0[usize::from(local)].1 = standing;
    }
}

/// The hand that goes over passive opens, TIME-WAIT and connections.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// Which record is next: those of the three tables are numbered one after the other.
    next: u32,
    /// Records to look at in this round.
    left: u32,
    /// The addresses that leave and were found named in this round, by bits.
    named: u64,
    /// When the round begins.
    due_ns: u64,
}

const _: () = assert!(ADDRESSES_MAX <= u64::BITS as usize);

impl Stack {
    /// Gives the stack one more address; the result is its number. Every stack of a port is told.
    /// IPv4 addresses are announced twice (RFC 5227 §2.3); IPv6 ones are used and announced when
    /// nobody else is found to have them (RFC 4862 §5.4).
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn add_address(&mut self, now_ns: u64, own: IpCidr) -> Result<u16, AddressError> {
        self.now_ns = now_ns;
        let bits = if own.addr.is_ipv6() { 128 } else { 32 };
        let is_broadcast = |net: &IpCidr| net.broadcast().is_some_and(|ip| own.addr == ip);
        if !may_be_host(own.addr) || own.prefix > bits || is_broadcast(&own) {
            return Err(AddressError::Impossible);
        }
        if self.settings.addresses.ours().any(|(_, other)| is_broadcast(other)) {
            return Err(AddressError::Impossible);
        }
        if self.settings.local(own.addr).is_some() {
            return Err(AddressError::Known);
        }
        if own.addr.is_ipv6() && !self.settings.has_ipv6 {
            return Err(AddressError::NoIpv6);
        }
        let local = self.settings.addresses.add(own).ok_or(AddressError::Full)?;
        self.claims.claim(local, &own, self.settings.timers.duplicate_address_probes);
        if self.steering.shard == 0 {
            self.announce_one(local);
        }
        Ok(local)
    }

    /// Takes an address from the stack. It is deaf at once. Its connections are reset and reported
    /// as `Closed`, a part of them with each [`expire`](Stack::expire).
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn remove_address(&mut self, now_ns: u64, ip: IpAddr) -> Result<(), AddressError> {
        self.now_ns = now_ns;
        let local = self.settings.local(ip).ok_or(AddressError::Unknown)?;
        if self.settings.is_made_link_local(ip) {
            return Err(AddressError::LinkLocal);
        }
        self.settings.addresses.set(local, Standing::Leaving);
        self.claims.forget(local);
        self.defences.forget(local);
        // What was to be said about it is no longer true.
        match ip {
            IpAddr::V4(ip) => self.arp.retain(|message| match *message {
                arp::Outgoing::Request { own, .. }
                | arp::Outgoing::Reply { own, .. }
                | arp::Outgoing::Announcement { own } => own != ip,
            }),
            IpAddr::V6(ip) => self.ndp.retain(|message| match *message {
                ndp::Outgoing::Solicit { own, .. }
                | ndp::Outgoing::Probe { target: own }
                | ndp::Outgoing::Reply { own, .. }
                | ndp::Outgoing::Announcement { own } => own != ip,
            }),
        }
        (self.sweep.left, self.sweep.due_ns) = (self.records(), now_ns);
        Ok(())
    }

    /// Moves the hand over up to `budget` records if an address leaves.
    pub(crate) fn expire_addresses(&mut self, now_ns: u64, budget: usize) {
        if self.next_address_expiry().is_none_or(|due_ns| due_ns > now_ns) {
            return;
        }
        for _ in 0..budget {
            if self.sweep.left == 0 {
                self.end_round(now_ns);
                return;
            }
            let at = self.sweep.next;
            self.sweep.left -= 1;
            self.sweep.next = if at + 1 < self.records() { at + 1 } else { 0 };
            self.sweep_one(now_ns, at);
        }
    }

    /// When the hand goes on; `None` while no address leaves.
    pub(crate) fn next_address_expiry(&self) -> Option<u64> {
        let is_needed = self.settings.addresses.leaving().next().is_some();
        is_needed.then_some(self.sweep.due_ns)
    }

    /// Addresses that leave.
    pub(crate) fn leaving(&self) -> u64 {
        self.settings.addresses.leaving().count() as u64
    }

    fn records(&self) -> u32 {
        let limits = &self.settings.limits;
        limits.syn_entries + limits.time_wait_entries + limits.connections
    }

    fn sweep_one(&mut self, now_ns: u64, at: u32) {
        let limits = &self.settings.limits;
        let (syns, time_waits) = (limits.syn_entries, limits.time_wait_entries);
        let addresses = &self.settings.addresses;
        if at < syns {
            if self.syns.get(at).is_some_and(|entry| addresses.is_leaving(entry.key.local)) {
                self.forget_syn(at);
            }
        } else if at - syns < time_waits {
            let index = at - syns;
            let entry = self.time_waits.get(index);
            if entry.is_some_and(|entry| addresses.is_leaving(entry.key.local)) {
                self.forget_time_wait(index);
            }
        } else {
            let conn = at - syns - time_waits;
            let Some(tcb) = self.tcbs.get(conn) else { return };
            let (local, state) = (tcb.key.local, tcb.state());
            if !addresses.is_leaving(local) {
                return;
            }
            self.sweep.named |= 1 << local;
            if state != State::Closed {
                self.counters.tcp_address_removed += 1;
                let reset = state != State::SynSent;
                let then = Then::End { reason: CloseReason::Aborted, reset };
                self.carry_out(now_ns, conn, then);
            }
        }
    }

    /// Every record was looked at. Who was found named will not be the next time: connections that
    /// ended go when the application was told, and answers when there is output.
    fn end_round(&mut self, now_ns: u64) {
        for local in 0..ADDRESSES_MAX as u16 {
            let is_named = self.sweep.named & 1 << local != 0
                || self.answers.iter().any(|header| header.key.local == local)
                || self.icmp.any_from(local);
            let addresses = &mut self.settings.addresses;
            if addresses.is_leaving(local) && !is_named {
                addresses.set(local, Standing::Free);
            }
        }
        let sweep = Sweep { left: self.records(), due_ns: now_ns + ROUND_NS, ..Sweep::default() };
        self.sweep = sweep;
    }
}

/// From the end of a round to the next one.
const ROUND_NS: u64 = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn own(last: u8) -> IpCidr {
        IpCidr::new([10, 0, 0, last], 24)
    }

    #[test]
    fn numbers_stay_and_free_places_are_taken_again() {
        let mut addresses = Addresses::new((0..3).map(own));
        addresses.set(1, Standing::Leaving);
        assert_eq!(addresses.add(own(3)), Some(3), "the place is not free yet");
        assert_eq!(addresses.get(1), own(1).addr, "resets come from it");
        addresses.set(1, Standing::Free);
        assert_eq!(addresses.ours().map(|(local, _)| local).collect::<Vec<_>>(), [0, 2, 3]);
        assert_eq!(addresses.add(own(4)), Some(1));
        let numbers: Vec<_> = (5..=u8::MAX).map_while(|last| addresses.add(own(last))).collect();
        assert_eq!(numbers, (4..ADDRESSES_MAX as u16).collect::<Vec<_>>());
        assert_eq!(addresses.0.capacity(), ADDRESSES_MAX, "nothing was allocated");
    }

    #[test]
    fn network_is_left_only_when_nobody_needs_it() {
        let mut addresses = Addresses::new([own(1), own(2)].into_iter());
        let neighbor = IpAddr::from([10, 0, 0, 9]);
        addresses.set(0, Standing::Leaving);
        assert_eq!(addresses.on_link(neighbor), Some(1), "one that stays is better");
        addresses.set(1, Standing::Leaving);
        assert_eq!(addresses.on_link(neighbor), Some(0));
        addresses.set(0, Standing::Free);
        addresses.set(1, Standing::Free);
        assert_eq!(addresses.on_link(neighbor), None);
    }
}
