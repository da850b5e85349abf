//! Paths narrower than the link (RFC 1191, RFC 8201, RFC 4821), by destination.
//!
//! A connection begins with segments as large as its peer and the link take. What is learnt of the
//! path is kept here, for all connections to the same destination: routers say so by ICMP, or full
//! segments vanish again and again. A connection with less than its full segment size has
//! `flag::NARROWED`, and gets its size back when the estimate has aged: RFC 1191 §6.3, a larger
//! size is tried by sending it.
//!
//! What it means for one connection is in [`narrowing`]. Sets of four by a keyed hash; a full set forgets the estimate that was made first. Its
//! connections then keep their size, and new ones find out for themselves.
//!
//! ICMP can be forged (RFC 5927 §7.2). A report is believed at once only while no full segment of
//! its connection was ever acknowledged. After that it is a doubt, kept here until the segment it
//! is about is either acknowledged (then it was a lie) or times out (then it was true).

pub(crate) mod narrowing;

use superpage::{Array, NIL, Placement, RegionError, Tier, record};

use crate::seq::SeqNum;
use crate::sets::Sets;

record! {
    /// What is known of the path to one destination.
    pub(crate) struct Path {
        /// When the estimate was made.
        since_ns: u64,
        /// The destination; IPv4 as `::ffff:a.b.c.d`. Zero: the place is free.
        address: [u8; 16],
        /// The connection that a report was about which is not believed yet; NIL: none.
        doubt_conn: u32,
        /// The sequence number that the report was about.
        doubt_seq: SeqNum,
        /// The MTU it reported.
        doubt_mtu: u16,
        /// The estimate; 0: there is none.
        mtu: u16,
        /// What the connections had before, the smallest of them.
        full_mtu: u16,
        /// Times in a row that the estimate was guessed, without ICMP.
        guesses: u8,
        /// 1: the estimate is not trusted any more, however young.
        forgiven: u8,
    }
}

/// How large packets to a destination may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Estimate {
    /// Nothing is known.
    Unknown,
    /// At most so large.
    AtMost(u16),
    /// There was an estimate, which is no longer trusted: so large once more.
    Again(u16),
}

impl Estimate {
    /// As large as this and `mtu` allow.
    pub(crate) fn at_most(self, mtu: u16) -> u16 {
        match self {
            Self::AtMost(known) => known.min(mtu),
            Self::Unknown | Self::Again(_) => mtu,
        }
    }
}

/// What a doubted report turns out to be when its connection times out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// There was none.
    None,
    /// What it was about was acknowledged since: it was not true.
    Disproved,
    /// What it was about is still missing: the path has this MTU.
    Confirmed(u16),
}

/// The paths of a shard's connections.
#[derive(Debug)]
pub(crate) struct Paths {
    places: Array<Path>,
    sets: Sets<WAYS>,
    used: u32,
}

impl Paths {
    pub(crate) fn create(
        capacity: u32,
        secret: &[u8; 16],
        placement: Placement,
    ) -> Result<Self, RegionError> {
        let sets = Sets::new(capacity, secret);
        let places = sets.places();
        Ok(Self { places: Array::create("paths", places, placement)?, sets, used: 0 })
    }

    /// Destinations of which anything was ever learnt.
    pub(crate) fn len(&self) -> u32 {
        self.used
    }

    /// How large packets to `address` may be.
    pub(crate) fn estimate(&self, now_ns: u64, address: &[u8; 16]) -> Estimate {
        let Some(path) = self.find(address).map(|at| &self.places[at]) else {
            return Estimate::Unknown;
        };
        match path.mtu {
            0 => Estimate::Unknown,
            _ if path.forgiven != 0 || path.is_aged(now_ns) => Estimate::Again(path.full_mtu),
            mtu => Estimate::AtMost(mtu),
        }
    }

    /// A connection uses smaller packets from now on.
    pub(crate) fn reduce(&mut self, now_ns: u64, address: &[u8; 16], to: Reduction) {
        let at = self.place(address);
        let path = &mut self.places[at];
        if path.mtu == 0 {
            path.full_mtu = to.full_mtu;
        } else if !to.is_narrowed {
            path.full_mtu = path.full_mtu.min(to.full_mtu);
        }
        path.guesses = match path.guesses {
            _ if !to.is_guess => 0,
            0 => 1,
            _ if to.has_passed || path.is_aged(now_ns) => 1,
            guesses => guesses + path.forgiven,
        };
        (path.mtu, path.since_ns, path.forgiven) = (to.mtu, now_ns, 0);
        path.doubt_conn = NIL;
    }

    /// Another connection uses the estimate, which would have had packets of `full_mtu` bytes.
    pub(crate) fn share(&mut self, address: &[u8; 16], full_mtu: u16) {
        if let Some(at) = self.find(address) {
            let path = &mut self.places[at];
            path.full_mtu = path.full_mtu.min(full_mtu);
        }
    }

    /// The peer answers again. If the estimate was guessed for the first time, the peer may have
    /// been silent for another reason, and larger packets are tried at once. Should they vanish
    /// again, the next guess stands.
    pub(crate) fn forgive(&mut self, address: &[u8; 16]) {
        if let Some(at) = self.find(address).filter(|at| self.places[*at].guesses == 1) {
            self.places[at].forgiven = 1;
        }
    }

    /// A report that is not believed yet.
    pub(crate) fn doubt(&mut self, address: &[u8; 16], conn: u32, seq: SeqNum, mtu: u16) {
        let at = self.place(address);
        let path = &mut self.places[at];
        (path.doubt_conn, path.doubt_seq, path.doubt_mtu) = (conn, seq, mtu);
    }

    /// What became of the doubt about a connection of which everything before `una` is
    /// acknowledged. The doubt is over.
    pub(crate) fn resolve(&mut self, address: &[u8; 16], conn: u32, una: SeqNum) -> Doubt {
        let Some(at) = self.find(address).filter(|at| self.places[*at].doubt_conn == conn) else {
            return Doubt::None;
        };
        let path = &mut self.places[at];
        path.doubt_conn = NIL;
        if path.doubt_seq.before(una) { Doubt::Disproved } else { Doubt::Confirmed(path.doubt_mtu) }
    }

    pub(crate) fn tier(&self) -> Tier {
        self.places.tier()
    }

    pub(crate) fn region_bytes(&self) -> usize {
        self.places.region_bytes()
    }

    fn find(&self, address: &[u8; 16]) -> Option<usize> {
        if self.used == 0 {
            return None;
        }
        let mut set = self.sets.of(address);
        set.find(|at| self.places[*at].address == *address)
    }

    /// The place of `address`, made by forgetting the oldest estimate of its set if need be.
    fn place(&mut self, address: &[u8; 16]) -> usize {
        if let Some(at) = self.find(address) {
            return at;
        }
        let set = self.sets.of(address);
        let rank = |at: &usize| {
            let path = &self.places[*at];
            (path.address != [0; 16], path.since_ns)
        };
        let at = set.min_by_key(rank).expect("a set has places");
        self.used += u32::from(self.places[at].address == [0; 16]);
        self.places[at] =
            Path { address: *address, doubt_conn: NIL, ..superpage::Record::zeroed() };
        at
    }
}

impl Path {
    fn is_aged(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.since_ns) > AGE_NS
    }
}

/// A smaller size for the packets of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reduction {
    /// Bytes of its packets from now on, headers included.
    pub(crate) mtu: u16,
    /// Bytes of its packets before.
    pub(crate) full_mtu: u16,
    /// That was less than its full size already.
    pub(crate) is_narrowed: bool,
    /// Packets of that size did pass on this connection.
    pub(crate) has_passed: bool,
    /// Nobody has said so.
    pub(crate) is_guess: bool,
}

/// What a router reported that had to drop a packet of `packet_bytes`: the MTU to use from now on,
/// or `None` when the report is impossible or below what every path must carry.
pub(crate) fn reported_mtu(is_ipv4: bool, mtu: u32, packet_bytes: u16) -> Option<u16> {
    if !is_ipv4 {
        // RFC 8201 §4: a report below the least MTU of IPv6 is discarded.
        let mtu = u16::try_from(mtu).ok().filter(|mtu| *mtu >= IPV6_MTU_MIN)?;
        return (mtu < packet_bytes).then_some(mtu);
    }
    let mtu = match mtu {
        // RFC 1191 §5: an old router. The next of the sizes that links have.
        0 => PLATEAUS.into_iter().find(|plateau| *plateau < packet_bytes)?,
        // RFC 791: every link carries 68 bytes.
        1..IPV4_LINK_MTU_MIN => return None,
        mtu => u16::try_from(mtu).ok()?,
    };
    // No link in use is narrower than this, and a forged report shall not make us send slivers.
    (mtu < packet_bytes).then_some(mtu.max(IPV4_MTU_MIN))
}

/// RFC 4821 §7.7 and RFC 2923 §2.1: full packets of `mtu` bytes vanish and nobody says why. The
/// next size to try; `None` when it is small enough to blame something else.
pub(crate) fn next_guess(is_ipv4: bool, mtu: u16) -> Option<u16> {
    let least = if is_ipv4 { IPV4_MTU_MIN } else { IPV6_MTU_MIN };
    GUESSES.into_iter().find(|guess| *guess < mtu && *guess >= least)
}

/// RFC 1191 §7.1, table 7-1, as far as it is below our largest MTU.
const PLATEAUS: [u16; 6] = [8_166, 4_352, 2_002, 1_492, 1_006, 508];
/// Sizes tried when full packets vanish: Ethernet's, what every tunnel carries, the least.
const GUESSES: [u16; 3] = [1_500, IPV6_MTU_MIN, IPV4_MTU_MIN];
/// RFC 8200 §5.
const IPV6_MTU_MIN: u16 = 1_280;
/// A payload of 512 bytes with two headers of 20: Linux's bound as well.
const IPV4_MTU_MIN: u16 = 552;
/// RFC 791 §3.2.
const IPV4_LINK_MTU_MIN: u32 = 68;
/// Timeouts in a row after which full segments are taken to vanish.
pub(crate) const BLACK_HOLE_TIMEOUTS: u8 = 3;
/// RFC 1191 §6.3 and RFC 8201 §4: a larger size is tried after 10 minutes.
const AGE_NS: u64 = 600_000_000_000;
/// Places of a set.
const WAYS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: [u8; 16] = [7; 16];
    const MINUTE: u64 = 60_000_000_000;

    fn paths(capacity: u32) -> Paths {
        Paths::create(capacity, &[7; 16], Placement::default()).expect("table")
    }

    fn to(mtu: u16, full_mtu: u16) -> Reduction {
        Reduction { mtu, full_mtu, is_narrowed: false, has_passed: false, is_guess: false }
    }

    #[test]
    fn estimate_is_shared_by_destination_and_ages() {
        let mut paths = paths(16);
        assert_eq!(paths.estimate(0, &PEER), Estimate::Unknown);
        paths.reduce(MINUTE, &PEER, to(1_400, 1_500));
        assert_eq!(paths.estimate(11 * MINUTE, &PEER), Estimate::AtMost(1_400));
        assert_eq!(paths.estimate(11 * MINUTE + 1, &PEER), Estimate::Again(1_500));
        assert_eq!(paths.estimate(0, &[8; 16]), Estimate::Unknown);
    }

    #[test]
    fn size_that_is_tried_again_suits_every_connection() {
        let mut paths = paths(16);
        paths.reduce(0, &PEER, to(1_000, 1_500));
        paths.share(&PEER, 1_300);
        paths.reduce(0, &PEER, to(900, 1_400));
        assert_eq!(paths.estimate(11 * MINUTE, &PEER), Estimate::Again(1_300));
    }

    #[test]
    fn doubt_ends_with_what_became_of_the_packet() {
        let mut paths = paths(16);
        assert_eq!(paths.resolve(&PEER, 3, SeqNum(0)), Doubt::None);
        paths.doubt(&PEER, 3, SeqNum(u32::MAX), 1_000);
        assert_eq!(paths.estimate(0, &PEER), Estimate::Unknown);
        assert_eq!(paths.resolve(&PEER, 4, SeqNum(u32::MAX)), Doubt::None, "another's");
        assert_eq!(paths.resolve(&PEER, 3, SeqNum(u32::MAX)), Doubt::Confirmed(1_000));
        assert_eq!(paths.resolve(&PEER, 3, SeqNum(u32::MAX)), Doubt::None, "it is over");
        paths.doubt(&PEER, 3, SeqNum(u32::MAX), 1_000);
        assert_eq!(paths.resolve(&PEER, 3, SeqNum(5)), Doubt::Disproved);
    }

    #[test]
    fn first_guess_is_forgiven_and_the_second_stands() {
        let mut paths = paths(16);
        let guess = Reduction { is_guess: true, ..to(1_280, 1_500) };
        paths.reduce(MINUTE, &PEER, guess);
        let smaller = Reduction { is_narrowed: true, is_guess: true, ..to(552, 1_280) };
        paths.reduce(MINUTE, &PEER, smaller);
        paths.forgive(&PEER);
        assert_eq!(paths.estimate(MINUTE, &PEER), Estimate::Again(1_500));
        paths.reduce(2 * MINUTE, &PEER, guess);
        paths.forgive(&PEER);
        assert_eq!(paths.estimate(2 * MINUTE, &PEER), Estimate::AtMost(1_280));
        paths.reduce(13 * MINUTE, &PEER, guess);
        paths.forgive(&PEER);
        assert_eq!(paths.estimate(13 * MINUTE, &PEER), Estimate::Again(1_500), "long ago");
        paths.reduce(14 * MINUTE, &PEER, Reduction { has_passed: true, ..guess });
        paths.forgive(&PEER);
        assert_eq!(paths.estimate(14 * MINUTE, &PEER), Estimate::Again(1_500), "an outage");
    }

    #[test]
    fn report_is_not_forgiven() {
        let mut paths = paths(16);
        paths.reduce(0, &PEER, to(1_280, 1_500));
        paths.forgive(&PEER);
        assert_eq!(paths.estimate(1, &PEER), Estimate::AtMost(1_280));
    }

    #[test]
    fn full_set_forgets_the_oldest_estimate() {
        let mut paths = paths(4);
        for last in 1..=5_u8 {
            paths.reduce(last.into(), &[last; 16], to(1_000, 1_500));
        }
        assert_eq!(paths.len(), 4);
        assert_eq!(paths.estimate(6, &[1; 16]), Estimate::Unknown);
        assert_eq!(paths.estimate(6, &[5; 16]), Estimate::AtMost(1_000));
    }

    #[test]
    fn reports_are_taken_within_bounds() {
        let cases = [
            (true, 1_400, 1_500, Some(1_400)),
            (true, 1_500, 1_500, None),
            (true, 9_000, 1_500, None),
            (true, 100_000, 1_500, None),
            (true, 68, 1_500, Some(552)),
            (true, 67, 1_500, None),
            (true, 0, 1_500, Some(1_492)),
            (true, 0, 1_492, Some(1_006)),
            (true, 0, 900, Some(552)),
            (true, 0, 508, None),
            (false, 1_400, 1_500, Some(1_400)),
            (false, 1_279, 1_500, None),
            (false, 0, 1_500, None),
        ];
        for (is_ipv4, mtu, packet_bytes, expected) in cases {
            assert_eq!(reported_mtu(is_ipv4, mtu, packet_bytes), expected, "{mtu} {packet_bytes}");
        }
    }

    #[test]
    fn guesses_go_down_to_what_every_path_carries() {
        let guesses = |is_ipv4, mtu| {
            std::iter::successors(Some(mtu), |mtu| next_guess(is_ipv4, *mtu)).collect::<Vec<_>>()
        };
        assert_eq!(guesses(true, 9_000), [9_000, 1_500, 1_280, 552]);
        assert_eq!(guesses(true, 1_400), [1_400, 1_280, 552]);
        assert_eq!(guesses(false, 1_500), [1_500, 1_280]);
    }
}
