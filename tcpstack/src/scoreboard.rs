//! The scoreboard: what became of the octets from SND.UNA to SND.NXT (RFC 6675 §3).
//!
//! A flight's scoreboard is a chain of ranges in the order of the sequence, without gaps: each
//! ends where the next begins, and the last at SND.NXT. A range is what left in the same turn and
//! met the same fate since, so that a burst costs one record, and what is acknowledged selectively
//! or lost joins its neighbours. Ranges come from a pool that all flights share. Each flight owns
//! two of them; beyond those it takes what is free, up to [`RANGES_MAX`]. So a peer that acknowledges
//! single octets costs a bounded number of records and steps. Whoever gets no record makes do with
//! a coarser picture: what follows is added to the last range, a selective acknowledgment is
//! ignored, and at worst the scoreboard is forgotten but for its ends, as if there were no SACK.

use superpage::{NIL, Placement, RegionError, Slab, Tier, record};

use crate::flight::Flight;
use crate::list::Links;
use crate::sack::Block;
use crate::seq::SeqNum;

record! {
    /// A part of what was sent. It ends where the next begins.
    pub(crate) struct Range {
        start: SeqNum,
        /// When it was sent last, in µs, modulo 2³².
        sent_us: u32,
        next: u32,
        /// [`Fate`].
        fate: u8,
        /// 1: sent more than once.
        again: u8,
        spare: [u8; 2],
    }
}

/// What became of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fate {
    /// On its way, as far as we know.
    InFlight = 0,
    /// Acknowledged selectively.
    Sacked = 1,
    /// Lost, and to be sent again.
    Lost = 2,
}

/// Ranges of all flights.
#[derive(Debug)]
pub(crate) struct Ranges {
    slab: Slab<Range>,
    /// Records kept free for flights that have less than they own.
    owed: u32,
}

impl Ranges {
    /// A pool for as many flights, with `shared` ranges beyond those they own.
    pub(crate) fn create(
        flights: u32,
        shared: u32,
        placement: Placement,
    ) -> Result<Self, RegionError> {
        let owed = flights * RANGES_OWNED;
        Ok(Self { slab: Slab::create("sent-ranges", owed + shared, placement)?, owed })
    }

    /// A record for a flight that has `count` already.
    fn insert(&mut self, count: u16, range: Range) -> Option<u32> {
        let is_owned = u32::from(count) < RANGES_OWNED;
        if count >= RANGES_MAX || (!is_owned && self.free() <= self.owed) {
            return None;
        }
        self.owed -= u32::from(is_owned);
        self.slab.insert(range)
    }

    /// A record of a flight that has `count`, this one counted.
    fn remove(&mut self, count: u16, index: u32) {
        self.owed += u32::from(u32::from(count) <= RANGES_OWNED);
        self.slab.remove(index);
    }

    /// Records not in use.
    pub(crate) fn free(&self) -> u32 {
        self.slab.capacity() - self.slab.len()
    }

    pub(crate) fn tier(&self) -> Tier {
        self.slab.tier()
    }

    pub(crate) fn region_bytes(&self) -> usize {
        self.slab.region_bytes()
    }
}

record! {
    /// A flight's chain of ranges. Sums are in octets.
    pub(crate) struct Chain {
        /// Its first and its last range; while the flight is idle and has none, its neighbours in
        /// the list of idle flights.
        ends: Links,
        /// Acknowledged selectively.
        pub(crate) sacked: u32,
        /// Lost and not sent again.
        pub(crate) lost: u32,
        count: u16,
        /// Duplicate acknowledgments in a row, without SACK.
        pub(crate) dup_acks: u16,
    }
}

impl Chain {
    pub(crate) const EMPTY: Self =
        Self { ends: Links::NONE, sacked: 0, lost: 0, count: 0, dup_acks: 0 };

    pub(crate) fn links(&self) -> &Links {
        &self.ends
    }

    pub(crate) fn links_mut(&mut self) -> &mut Links {
        &mut self.ends
    }
}

/// One transmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// When, in µs, modulo 2³².
    pub(crate) at_us: u32,
    /// After its last octet.
    pub(crate) end: SeqNum,
    /// Whether it was not the first of its octets.
    pub(crate) again: bool,
}

impl Sent {
    /// Whether it left after `other`, RFC 8985 §6.1.
    pub(crate) fn is_after(&self, other: &Self) -> bool {
        let later_us = self.at_us.wrapping_sub(other.at_us) as i32;
        later_us > 0 || (later_us == 0 && self.end.after(other.end))
    }
}

/// What an acknowledgment says was delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delivered {
    /// Octets that were not known to be.
    pub(crate) octets: u32,
    /// Those of them that were acknowledged selectively.
    pub(crate) sacked: u32,
    /// The transmission among them that left last.
    pub(crate) newest: Option<Sent>,
    /// The one that left first, of those sent once.
    pub(crate) oldest: Option<Sent>,
    /// Lowest end of what was sent once.
    pub(crate) lowest: Option<SeqNum>,
    /// Highest end.
    pub(crate) highest: Option<SeqNum>,
}

impl Delivered {
    fn add(&mut self, octets: u32, sent: Sent) {
        self.octets += octets;
        if self.newest.is_none_or(|newest| sent.is_after(&newest)) {
            self.newest = Some(sent);
        }
        if !sent.again {
            if self.oldest.is_none_or(|oldest| oldest.is_after(&sent)) {
                self.oldest = Some(sent);
            }
            self.lowest = Some(self.lowest.map_or(sent.end, |lowest| lowest.earliest(sent.end)));
        }
        self.highest = Some(self.highest.map_or(sent.end, |highest| highest.latest(sent.end)));
    }
}

/// A flight's scoreboard, with the pool its ranges come from.
#[derive(Debug)]
pub(crate) struct Scoreboard<'a> {
    pub(crate) flight: &'a mut Flight,
    pub(crate) ranges: &'a mut Ranges,
    /// SND.NXT.
    pub(crate) nxt: SeqNum,
}

impl Scoreboard<'_> {
    /// Octets on their way: "pipe" of RFC 6675 §4.
    pub(crate) fn pipe(&self, una: SeqNum) -> u32 {
        let Chain { sacked, lost, .. } = self.flight.chain;
        self.nxt.since(una).saturating_sub(sacked + lost)
    }

    /// `block` was sent: again what lies before SND.NXT, for the first time what follows.
    pub(crate) fn sent(&mut self, block: Block, now_us: u32) {
        let again = Block { end: block.end.earliest(self.nxt), ..block };
        if again.start.before(again.end) {
            self.resend(again, now_us);
        }
        if block.end.after(self.nxt) {
            self.push(block.end, now_us);
        }
    }

    /// New octets up to `end` were sent. SND.NXT is their beginning; it moves.
    fn push(&mut self, end: SeqNum, now_us: u32) {
        let (start, tail) = (self.nxt, self.flight.chain.ends.next);
        self.nxt = end;
        let range = Range { start, sent_us: now_us, next: NIL, fate: 0, again: 0, spare: [0; 2] };
        if tail != NIL && self.ranges.slab[tail].joins(&range) {
            return;
        }
        let Some(index) = self.insert(range) else {
            // A coarser picture: what follows a range joins it.
            if self.ranges.slab[tail].fate != Fate::InFlight as u8 {
                self.forget();
            }
            let tail = self.flight.chain.ends.next;
            self.ranges.slab[tail].sent_us = now_us;
            return;
        };
        match tail {
            NIL => self.flight.chain.ends.prev = index,
            tail => self.ranges.slab[tail].next = index,
        }
        self.flight.chain.ends.next = index;
    }

    /// Everything before `una` is acknowledged.
    pub(crate) fn acknowledge(&mut self, una: SeqNum, delivered: &mut Delivered) {
        while self.flight.chain.ends.prev != NIL {
            let head = self.flight.chain.ends.prev;
            let Range { start, next, .. } = self.ranges.slab[head];
            let end = self.end(head);
            let gone = end.earliest(una);
            if !gone.after(start) {
                return;
            }
            self.deliver(head, gone.since(start), gone, delivered);
            if end.after(una) {
                self.leave(head, gone.since(start));
                self.ranges.slab[head].start = una;
                return;
            }
            self.leave(head, gone.since(start));
            self.flight.chain.ends.prev = next;
            if next == NIL {
                self.flight.chain.ends.next = NIL;
            }
            self.remove(head);
        }
    }

    /// The peer has `block`, which lies between SND.UNA and SND.NXT. Returns whether there was a
    /// record for all of it.
    pub(crate) fn sack(&mut self, block: Block, delivered: &mut Delivered) -> bool {
        let before = delivered.octets;
        let whole = self.change(block, |board, at, octets, end| {
            if board.ranges.slab[at].fate() != Fate::Sacked {
                board.deliver(at, octets, end, delivered);
                board.set_fate(at, octets, Fate::Sacked);
            }
        });
        delivered.sacked += delivered.octets - before;
        whole
    }

    /// `block`, sent before, was sent again. Without a record for it the scoreboard is forgotten.
    fn resend(&mut self, block: Block, now_us: u32) {
        let mark = |board: &mut Self, at, octets, _| {
            board.set_fate(at, octets, Fate::InFlight);
            let range = &mut board.ranges.slab[at];
            (range.sent_us, range.again) = (now_us, 1);
        };
        if !self.change(block, mark) {
            self.forget();
            if !self.change(block, mark) {
                // It lies between two others: all of it counts as sent now.
                let head = self.flight.chain.ends.prev;
                self.ranges.slab[head].sent_us = now_us;
            }
        }
    }

    /// Gives the first `octets` up for lost, or all there are: RFC 6582 §3.2.
    pub(crate) fn lose_first(&mut self, una: SeqNum, octets: u32) {
        let end = (una + octets).earliest(self.nxt);
        let lose = |board: &mut Self, at, octets, _| board.set_fate(at, octets, Fate::Lost);
        if !self.change(Block { start: una, end }, lose) {
            self.forget();
            self.change(Block { start: una, end }, lose);
        }
    }

    /// Gives up for lost what `is_lost` says of transmissions on their way; `stop` ends the search
    /// at the first that is neither. Returns how many octets that were.
    pub(crate) fn lose(&mut self, mut is_lost: impl FnMut(&Sent) -> bool, stop: bool) -> u32 {
        let before = self.flight.chain.lost;
        let (mut prev, mut at) = (NIL, self.flight.chain.ends.prev);
        while at != NIL {
            let Range { start, next, .. } = self.ranges.slab[at];
            let end = self.end(at);
            if self.ranges.slab[at].fate() == Fate::InFlight {
                if is_lost(&self.transmission(at, end)) {
                    self.set_fate(at, end.since(start), Fate::Lost);
                } else if stop {
                    break;
                }
            }
            if !self.join(prev, at) {
                prev = at;
            }
            at = next;
        }
        self.flight.chain.lost - before
    }

    /// Everything is lost, selectively acknowledged or not: RFC 2018 §8, RFC 6298 §5.
    pub(crate) fn lose_all(&mut self) {
        self.forget();
        let head = self.flight.chain.ends.prev;
        if head != NIL {
            let octets = self.nxt.since(self.ranges.slab[head].start);
            self.set_fate(head, octets, Fate::Lost);
        }
    }

    /// Nothing is lost after all: what was not sent again is still on its way.
    pub(crate) fn find_all(&mut self) {
        let (mut prev, mut at) = (NIL, self.flight.chain.ends.prev);
        while at != NIL {
            let Range { start, next, .. } = self.ranges.slab[at];
            if self.ranges.slab[at].fate() == Fate::Lost {
                let octets = self.end(at).since(start);
                self.set_fate(at, octets, Fate::InFlight);
            }
            if !self.join(prev, at) {
                prev = at;
            }
            at = next;
        }
    }

    /// The first range given up for lost.
    pub(crate) fn first_lost(&self) -> Option<Block> {
        let mut at = if self.flight.chain.lost == 0 { NIL } else { self.flight.chain.ends.prev };
        while at != NIL && self.ranges.slab[at].fate() != Fate::Lost {
            at = self.ranges.slab[at].next;
        }
        (at != NIL).then(|| Block { start: self.ranges.slab[at].start, end: self.end(at) })
    }

    /// The first range: its last transmission and its fate.
    pub(crate) fn first(&self) -> Option<(Sent, Fate)> {
        let head = self.flight.chain.ends.prev;
        (head != NIL)
            .then(|| (self.transmission(head, self.end(head)), self.ranges.slab[head].fate()))
    }

    /// Gives all ranges back.
    pub(crate) fn clear(&mut self) {
        while self.flight.chain.ends.prev != NIL {
            let head = self.flight.chain.ends.prev;
            self.flight.chain.ends.prev = self.ranges.slab[head].next;
            self.remove(head);
        }
        self.flight.chain = Chain::EMPTY;
    }

    /// Forgets all but the ends: everything is on its way, sent who knows how often.
    fn forget(&mut self) {
        let head = self.flight.chain.ends.prev;
        if head == NIL {
            return;
        }
        while self.ranges.slab[head].next != NIL {
            let next = self.ranges.slab[head].next;
            let latest = self.ranges.slab[next];
            self.ranges.slab[head].next = latest.next;
            self.ranges.slab[head].sent_us = latest.sent_us;
            self.remove(next);
        }
        let range = &mut self.ranges.slab[head];
        (range.fate, range.again) = (Fate::InFlight as u8, 1);
        let chain = &mut self.flight.chain;
        (chain.ends.next, chain.sacked, chain.lost) = (head, 0, 0);
    }

    /// Does `how` to all of `block`, with the range, its length and its end, in pieces that are
    /// ranges; joins what can be joined. `false`: there was no record for a new border.
    fn change(&mut self, block: Block, mut how: impl FnMut(&mut Self, u32, u32, SeqNum)) -> bool {
        let (mut prev, mut at) = (NIL, self.flight.chain.ends.prev);
        while at != NIL {
            let (start, end) = (self.ranges.slab[at].start, self.end(at));
            if start.at_or_after(block.end) {
                self.join(prev, at);
                break;
            }
            if end.after(block.start) {
                if start.before(block.start) {
                    if !self.split(at, block.start) {
                        return false;
                    }
                } else {
                    if end.after(block.end) && !self.split(at, block.end) {
                        return false;
                    }
                    let end = end.earliest(block.end);
                    how(self, at, end.since(start), end);
                }
            }
            let next = self.ranges.slab[at].next;
            if !self.join(prev, at) {
                prev = at;
            }
            at = next;
        }
        true
    }

    /// Makes two ranges of one.
    fn split(&mut self, at: u32, border: SeqNum) -> bool {
        let whole = self.ranges.slab[at];
        let Some(index) = self.insert(Range { start: border, ..whole }) else { return false };
        self.ranges.slab[at].next = index;
        if self.flight.chain.ends.next == at {
            self.flight.chain.ends.next = index;
        }
        true
    }

    /// Makes one range of two neighbours, if they can be.
    fn join(&mut self, prev: u32, at: u32) -> bool {
        if prev == NIL || !self.ranges.slab[prev].joins(&self.ranges.slab[at]) {
            return false;
        }
        let second = self.ranges.slab[at];
        let first = &mut self.ranges.slab[prev];
        first.next = second.next;
        first.again |= second.again;
        if self.flight.chain.ends.next == at {
            self.flight.chain.ends.next = prev;
        }
        self.remove(at);
        true
    }

    fn insert(&mut self, range: Range) -> Option<u32> {
        let index = self.ranges.insert(self.flight.chain.count, range)?;
        self.flight.chain.count += 1;
        Some(index)
    }

    fn remove(&mut self, index: u32) {
        self.ranges.remove(self.flight.chain.count, index);
        self.flight.chain.count -= 1;
    }

    fn end(&self, at: u32) -> SeqNum {
        match self.ranges.slab[at].next {
            NIL => self.nxt,
            next => self.ranges.slab[next].start,
        }
    }

    fn transmission(&self, at: u32, end: SeqNum) -> Sent {
        let range = &self.ranges.slab[at];
        Sent { at_us: range.sent_us, end, again: range.again != 0 }
    }

    fn deliver(&self, at: u32, octets: u32, end: SeqNum, delivered: &mut Delivered) {
        if self.ranges.slab[at].fate() != Fate::Sacked {
            delivered.add(octets, self.transmission(at, end));
        }
    }

    fn set_fate(&mut self, at: u32, octets: u32, fate: Fate) {
        self.leave(at, octets);
        self.ranges.slab[at].fate = fate as u8;
        match fate {
            Fate::InFlight => {}
            Fate::Sacked => self.flight.chain.sacked += octets,
            Fate::Lost => self.flight.chain.lost += octets,
        }
    }

    /// Octets of a range leave the sums.
    fn leave(&mut self, at: u32, octets: u32) {
        match self.ranges.slab[at].fate() {
            Fate::InFlight => {}
            Fate::Sacked => self.flight.chain.sacked -= octets,
            Fate::Lost => self.flight.chain.lost -= octets,
        }
    }
}

impl Range {
    fn fate(&self) -> Fate {
        match self.fate {
            1 => Fate::Sacked,
            2 => Fate::Lost,
            _ => Fate::InFlight,
        }
    }

    /// Whether the range and the one behind it can be one.
    fn joins(&self, next: &Self) -> bool {
        let is_same = self.sent_us == next.sent_us && self.again == next.again;
        self.fate == next.fate && (is_same || self.fate() != Fate::InFlight)
    }
}

/// Bytes of a range.
pub(crate) const RANGE_BYTES: usize = size_of::<Range>();
/// Ranges that are there for every flight: what is lost first, and the rest.
pub(crate) const RANGES_OWNED: u32 = 2;
/// Ranges of a flight at most: bounds what an acknowledgment can cost.
const RANGES_MAX: u16 = 1_024;
const _: () = assert!(RANGE_BYTES == 16);

#[cfg(test)]
mod tests;
