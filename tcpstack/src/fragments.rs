//! Fragments of datagrams, until all are here (RFC 791 §3.2, RFC 8200 §4.5) or are given up.
//!
//! Room is a fixed number of datagrams of bounded length. A datagram's place is in the set of eight
//! that a keyed hash of its source selects: so one source has eight datagrams at most, and a flood
//! from it evicts, oldest first, only what shares its set.
//!
//! Octets that arrive twice must be the same octets; anything else that overlaps discards the
//! datagram, in both families (RFC 5722 §3, RFC 1858 §4, RFC 3128), and what still comes of it until
//! it would have timed out. A first fragment of IPv6 must show the whole header of what it carries
//! (RFC 7112 §5). In IPv4 fragments may be as small as they like: a host must take them (RFC 1122
//! §3.3.2), and hides nothing from itself.

use std::collections::VecDeque;

use superpage::{Array, Placement, RegionError, Tier, record};

use crate::counters::Drop;
use crate::ethernet::Mac;
use crate::sets::Sets;

record! {
    /// A datagram of which some fragments are here.
    pub(crate) struct Datagram {
        /// When it is given up.
        expires_ns: u64,
        /// Source; IPv4 as `::ffff:a.b.c.d`.
        source: [u8; 16],
        /// Which address of ours; likewise.
        destination: [u8; 16],
        /// Identification of the fragments.
        id: u32,
        /// Octets that are here.
        received: u32,
        /// Octets of the whole payload; 0 until the last fragment is here.
        len: u32,
        /// Octets of the first fragment; 0 until it is here.
        first: u32,
        /// Source of the first fragment that arrived.
        mac: Mac,
        /// What the payload is.
        protocol: u8,
        /// [`Stage`].
        stage: u8,
        /// A bit for each ECN codepoint (RFC 3168 §5) of the fragments.
        ecn: u8,
        spare: [u8; 7],
        /// A bit for each block of eight octets that is here.
        blocks: [u64; BLOCK_WORDS],
    }
}

/// What becomes of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    /// It is free.
    Free = 0,
    /// Its datagram was discarded: what still comes of it is dropped.
    Discarded = 1,
    /// Fragments are missing.
    Collecting = 2,
    /// All are here; the datagram waits to be taken.
    Complete = 3,
}

/// A received fragment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment<'a> {
    /// Source; IPv4 as `::ffff:a.b.c.d`.
    pub(crate) source: [u8; 16],
    /// Which address of ours; likewise.
    pub(crate) destination: [u8; 16],
    pub(crate) id: u32,
    /// Protocol or next header.
    pub(crate) protocol: u8,
    /// Where the octets belong in the payload.
    pub(crate) offset: u32,
    /// It is not the last.
    pub(crate) more: bool,
    /// ECN codepoint.
    pub(crate) ecn: u8,
    pub(crate) mac: Mac,
    pub(crate) octets: &'a [u8],
}

/// A datagram that is complete, or one that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Collected<'a> {
    pub(crate) source: [u8; 16],
    pub(crate) destination: [u8; 16],
    pub(crate) id: u32,
    pub(crate) protocol: u8,
    pub(crate) mac: Mac,
    /// ECN codepoint of the whole.
    pub(crate) ecn: u8,
    /// The payload; of a datagram that is given up, its first fragment.
    pub(crate) octets: &'a [u8],
}

/// What a fragment led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// More must come.
    Kept,
    /// It was here already.
    Duplicate,
    /// Its datagram is complete: [`Fragments::complete`].
    Completed,
}

/// The datagrams being reassembled on a shard.
#[derive(Debug)]
pub(crate) struct Fragments {
    datagrams: Array<Datagram>,
    payloads: Array<[u8; DATAGRAM_BYTES_MAX]>,
    sets: Sets<WAYS>,
    /// Places with a complete datagram, in the order of completion.
    complete: VecDeque<u32>,
    collecting: u32,
    evicted: u64,
    /// No place expires earlier.
    next_expiry_ns: u64,
}

impl Fragments {
    pub(crate) fn create(
        capacity: u32,
        secret: &[u8; 16],
        placement: Placement,
    ) -> Result<Self, RegionError> {
        let sets = Sets::new(capacity, secret);
        let places = sets.places();
        Ok(Self {
            datagrams: Array::create("fragments", places, placement)?,
            payloads: Array::create("fragment-payloads", places, placement)?,
            sets,
            complete: VecDeque::with_capacity(places),
            collecting: 0,
            evicted: 0,
            next_expiry_ns: u64::MAX,
        })
    }

    /// Takes a fragment whose addresses were checked.
    pub(crate) fn take(&mut self, now_ns: u64, fragment: &Fragment<'_>) -> Result<Taken, Drop> {
        check(fragment)?;
        let at = self.find(fragment).unwrap_or_else(|| self.begin(now_ns, fragment));
        if self.is_at(at, Stage::Discarded) {
            return Err(Drop::FragmentDiscarded);
        }
        if self.is_at(at, Stage::Complete) {
            return Ok(Taken::Duplicate);
        }
        match self.store(at, fragment) {
            Ok(Taken::Completed) => {
                if combined_ecn(self.datagrams[at].ecn).is_none() {
                    self.discard(at);
                    return Err(Drop::FragmentEcn);
                }
                self.datagrams[at].stage = Stage::Complete as u8;
                self.collecting -= 1;
                self.complete.push_back(at as u32);
                Ok(Taken::Completed)
            }
            Err(reason) => {
                self.discard(at);
                Err(reason)
            }
            kept => kept,
        }
    }

    /// The datagram that was completed first, to be freed.
    pub(crate) fn complete(&self) -> Option<(u32, Collected<'_>)> {
        let at = *self.complete.front()?;
        let len = self.datagrams[at as usize].len;
        Some((at, self.collected(at, len)))
    }

    /// A datagram whose time is over, to be freed; `None` in the second place when its first
    /// fragment is not here or it was discarded.
    pub(crate) fn expired(&mut self, now_ns: u64) -> Option<(u32, Option<Collected<'_>>)> {
        if now_ns < self.next_expiry_ns {
            return None;
        }
        let in_use = |datagram: &&Datagram| datagram.stage != Stage::Free as u8;
        let Some(at) = self
            .datagrams
            .iter()
            .position(|datagram| in_use(&datagram) && datagram.expires_ns <= now_ns)
        else {
            let expiries = self.datagrams.iter().filter(in_use).map(|datagram| datagram.expires_ns);
            self.next_expiry_ns = expiries.min().unwrap_or(u64::MAX);
            return None;
        };
        let first = self.datagrams[at].first;
        let is_reportable = first > 0 && self.is_at(at, Stage::Collecting);
        let at = at as u32;
        Some((at, is_reportable.then(|| self.collected(at, first))))
    }

    /// Forgets a datagram.
    pub(crate) fn free(&mut self, at: u32) {
        let stage = self.datagrams[at as usize].stage;
        if stage == Stage::Complete as u8 {
            self.complete.retain(|complete| *complete != at);
        }
        self.collecting -= u32::from(stage == Stage::Collecting as u8);
        self.datagrams[at as usize].stage = Stage::Free as u8;
    }

    /// When [`Self::expired`] has something to do.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        (self.next_expiry_ns != u64::MAX).then_some(self.next_expiry_ns)
    }

    /// Datagrams of which fragments are missing.
    pub(crate) fn collecting(&self) -> u32 {
        self.collecting
    }

    /// Datagrams given up for others so far.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Both regions: their names, kinds of pages and bytes.
    pub(crate) fn regions(&self) -> [(&'static str, Tier, usize); 2] {
        [
            ("fragments", self.datagrams.tier(), self.datagrams.region_bytes()),
            ("fragment-payloads", self.payloads.tier(), self.payloads.region_bytes()),
        ]
    }

    /// Copies a fragment to where it belongs. An error discards the datagram.
    fn store(&mut self, at: usize, fragment: &Fragment<'_>) -> Result<Taken, Drop> {
        let datagram = &mut self.datagrams[at];
        let start = fragment.offset as usize;
        let end = start + fragment.octets.len();
        let blocks = start / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES);
        let here = blocks.clone().filter(|block| datagram.has(*block)).count();
        let room = &mut self.payloads[at][start..end];
        if here == blocks.len() && room == fragment.octets {
            return Ok(Taken::Duplicate);
        }
        let ends_elsewhere = datagram.len != 0 && datagram.len as usize != end;
        let is_beyond = datagram.len != 0 && end > datagram.len as usize;
        let is_before_others = !fragment.more && datagram.has_after(blocks.end);
        if here > 0 || is_beyond || is_before_others || (!fragment.more && ends_elsewhere) {
            return Err(Drop::FragmentOverlap);
        }
        room.copy_from_slice(fragment.octets);
        for block in blocks {
            datagram.blocks[block / 64] |= 1 << (block % 64);
        }
        datagram.received += fragment.octets.len() as u32;
        datagram.ecn |= 1 << (fragment.ecn & 3);
        if fragment.offset == 0 {
            datagram.first = fragment.octets.len() as u32;
            // RFC 8200 §4.5: only the first fragment's next header counts.
            datagram.protocol = fragment.protocol;
        }
        if !fragment.more {
            datagram.len = end as u32;
        }
        let is_complete = datagram.len != 0 && datagram.received == datagram.len;
        Ok(if is_complete { Taken::Completed } else { Taken::Kept })
    }

    fn discard(&mut self, at: usize) {
        self.datagrams[at].stage = Stage::Discarded as u8;
        self.collecting -= 1;
    }

    fn collected(&self, at: u32, len: u32) -> Collected<'_> {
        let datagram = &self.datagrams[at as usize];
        Collected {
            source: datagram.source,
            destination: datagram.destination,
            id: datagram.id,
            protocol: datagram.protocol,
            mac: datagram.mac,
            ecn: combined_ecn(datagram.ecn).unwrap_or(0),
            octets: &self.payloads[at as usize][..len as usize],
        }
    }

    fn is_at(&self, at: usize, stage: Stage) -> bool {
        self.datagrams[at].stage == stage as u8
    }

    fn find(&self, fragment: &Fragment<'_>) -> Option<usize> {
        let mut set = self.sets.of(&fragment.source);
        set.find(|at| {
            let datagram = &self.datagrams[*at];
            datagram.stage != Stage::Free as u8
                && datagram.id == fragment.id
                && datagram.source == fragment.source
                && datagram.destination == fragment.destination
                // RFC 791 §3.2 names the protocol too; in IPv6 only the first fragment has it.
                && (datagram.protocol == fragment.protocol || !is_ipv4(&fragment.source))
        })
    }

    /// A place for a new datagram, made by giving up the oldest of its set if need be.
    fn begin(&mut self, now_ns: u64, fragment: &Fragment<'_>) -> usize {
        let set = self.sets.of(&fragment.source);
        let rank = |at: &usize| {
            let datagram = &self.datagrams[*at];
            (datagram.stage != Stage::Free as u8, datagram.expires_ns)
        };
        let at = set.min_by_key(rank).expect("a set has places");
        self.evicted += u64::from(!self.is_at(at, Stage::Free));
        self.free(at as u32);
        let life_ns = if is_ipv4(&fragment.source) { IPV4_LIFE_NS } else { IPV6_LIFE_NS };
        self.datagrams[at] = Datagram {
            expires_ns: now_ns + life_ns,
            source: fragment.source,
            destination: fragment.destination,
            id: fragment.id,
            mac: fragment.mac,
            protocol: fragment.protocol,
            stage: Stage::Collecting as u8,
            ..superpage::Record::zeroed()
        };
        self.next_expiry_ns = self.next_expiry_ns.min(now_ns + life_ns);
        self.collecting += 1;
        at
    }
}

impl Datagram {
    fn has(&self, block: usize) -> bool {
        self.blocks[block / 64] & 1 << (block % 64) != 0
    }

    /// Whether anything from this block on is here.
    fn has_after(&self, block: usize) -> bool {
        (block..BLOCK_WORDS * 64).any(|block| self.has(block))
    }
}

/// What can be said of a fragment without the others.
fn check(fragment: &Fragment<'_>) -> Result<(), Drop> {
    let len = fragment.octets.len();
    if len == 0 || (fragment.more && !len.is_multiple_of(BLOCK_BYTES)) {
        return Err(Drop::FragmentMalformed);
    }
    // Beyond 65,535 octets it is no datagram at all ("ping of death"); ours are shorter still.
    if fragment.offset as usize + len > DATAGRAM_BYTES_MAX {
        return Err(Drop::FragmentLength);
    }
    if fragment.offset == 0 && !is_ipv4(&fragment.source) && !shows_header(fragment) {
        return Err(Drop::FragmentTiny);
    }
    Ok(())
}

/// Whether a first fragment of IPv6 has the whole header of what it carries: RFC 7112 §5.
fn shows_header(fragment: &Fragment<'_>) -> bool {
    let (mut protocol, mut octets) = (fragment.protocol, fragment.octets);
    while protocol == PROTOCOL_DESTINATION_OPTIONS {
        let Some([next, units]) = octets.first_chunk() else { return false };
        let Some(rest) = octets.get((usize::from(*units) + 1) * BLOCK_BYTES..) else {
            return false;
        };
        (protocol, octets) = (*next, rest);
    }
    if protocol != PROTOCOL_TCP {
        return octets.len() >= ICMP_HEADER_BYTES;
    }
    let needed = octets.get(12).map_or(usize::MAX, |byte| usize::from(byte >> 4) * 4);
    octets.len() >= needed.max(TCP_HEADER_BYTES)
}

/// RFC 3168 §5.3: congestion met by one fragment was met by the datagram. `None`: some fragments
/// met congestion, and others say that their sender would not understand.
fn combined_ecn(codepoints: u8) -> Option<u8> {
    const NOT_CAPABLE: u8 = 1 << 0;
    const CAPABLE_1: u8 = 1 << 1;
    const CONGESTION: u8 = 1 << 3;
    match codepoints {
        _ if codepoints & CONGESTION != 0 && codepoints & NOT_CAPABLE != 0 => None,
        _ if codepoints & CONGESTION != 0 => Some(3),
        _ if codepoints & NOT_CAPABLE != 0 => Some(0),
        CAPABLE_1 => Some(1),
        _ => Some(2),
    }
}

/// Whether an address is `::ffff:a.b.c.d`.
fn is_ipv4(address: &[u8; 16]) -> bool {
    address[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
}

/// Octets of a datagram's payload: more than a link of ours carries at once. Only echo requests
/// use more than that, and 16 KiB of it are enough to try fragments with.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 16_384;
/// Fragments begin and end at multiples of it.
const BLOCK_BYTES: usize = 8;
const BLOCK_WORDS: usize = DATAGRAM_BYTES_MAX / BLOCK_BYTES / 64;
/// Places of a set: datagrams of one source.
const WAYS: usize = 8;
/// RFC 1122 §3.3.2 suggests 60 to 120 s; memory is scarcer than that, and Linux waits 30 s.
const IPV4_LIFE_NS: u64 = 30_000_000_000;
/// RFC 8200 §4.5.
const IPV6_LIFE_NS: u64 = 60_000_000_000;
const TCP_HEADER_BYTES: usize = 20;
const ICMP_HEADER_BYTES: usize = 8;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_DESTINATION_OPTIONS: u8 = 60;

#[cfg(test)]
mod tests;
