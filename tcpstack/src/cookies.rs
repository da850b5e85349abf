//! SYN cookies (RFC 4987 §3.6): passive opens that cost nothing until their last ACK.
//!
//! The initial sequence number of the SYN-ACK says all that an entry would have held. 29 bits are
//! a keyed hash of the flow, the peer's initial sequence number and the time in slots of 64 s; 11
//! of them leave out that number, so that what overtook the last ACK is known again and not
//! refused. The other three, masked by the same hash, are the class of the peer's MSS. Window scale,
//! SACK and ECN have no room there: they travel in the low bits of the timestamp, which the peer
//! echoes; a peer without timestamps goes without them, as it is with Linux.
//!
//! A cookie is good in its own slot and the next. Who guesses hits one of the 16 right numbers
//! with 2⁻²⁸ an attempt, and only while cookies are out: without one sent in this slot or the last
//! no acknowledgment is looked at.

use siphasher::sip::SipHasher13;
use superpage::record;
use zerocopy::IntoBytes;

use crate::flow::FlowKey;
use crate::options::WINDOW_SHIFT_MAX;
use crate::seq::SeqNum;

/// Makes and checks cookies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cookies {
    hasher: SipHasher13,
    /// One past the slot in which the last cookie was made; 0: none ever.
    last_slot_end: u32,
}

/// What a SYN asked for beside its MSS, and the SYN-ACK granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Granted {
    /// The peer's window shift, if it scales.
    pub(crate) shift: Option<u8>,
    /// Selective acknowledgments.
    pub(crate) sack: bool,
    /// Explicit congestion notification.
    pub(crate) ecn: bool,
}

impl Cookies {
    pub(crate) fn new(secret: &[u8; 16]) -> Self {
        // Another function of the secret than those for buckets, sequence numbers and ports.
        let hasher = SipHasher13::new_with_key(&secret.map(|byte| byte ^ DOMAIN));
        Self { hasher, last_slot_end: 0 }
    }

    /// The initial sequence number that answers a SYN without an entry.
    pub(crate) fn make(&mut self, now_ns: u64, key: &FlowKey, irs: SeqNum, mss: u16) -> SeqNum {
        let slot = slot(now_ns);
        self.last_slot_end = slot + 1;
        SeqNum(self.mask(key, irs, slot) ^ class(mss))
    }

    /// Whether an acknowledgment may be that of a cookie: one was made in this slot or the last.
    pub(crate) fn are_out(&self, now_ns: u64) -> bool {
        self.last_slot_end != 0 && slot(now_ns) <= self.last_slot_end
    }

    /// The peer's MSS, rounded down, if `iss` is a cookie of this flow and young enough.
    pub(crate) fn check(
        &self,
        now_ns: u64,
        key: &FlowKey,
        irs: SeqNum,
        iss: SeqNum,
    ) -> Option<u16> {
        let newest = slot(now_ns);
        [Some(newest), newest.checked_sub(1)].into_iter().flatten().find_map(|slot| {
            let class = iss.0 ^ self.mask(key, irs, slot);
            MSS_CLASSES.get(class as usize).copied()
        })
    }

    /// Whether a cookie of this flow is acknowledged, though not by the segment that comes first
    /// after the peer's SYN: that one is still on its way, overtaken.
    pub(crate) fn is_overtaken(&self, now_ns: u64, key: &FlowKey, iss: SeqNum) -> bool {
        let newest = slot(now_ns);
        [Some(newest), newest.checked_sub(1)]
            .into_iter()
            .flatten()
            .any(|slot| (iss.0 ^ self.hash(key, NO_IRS, slot)) & FLOW_MASK == 0)
    }

    /// What a cookie is before the class of the MSS is put into it. Some bits do not depend on
    /// the peer's initial sequence number.
    fn mask(&self, key: &FlowKey, irs: SeqNum, slot: u32) -> u32 {
        self.hash(key, NO_IRS, slot) & FLOW_MASK | self.hash(key, irs, slot) & !FLOW_MASK
    }

    fn hash(&self, key: &FlowKey, irs: SeqNum, slot: u32) -> u32 {
        self.hasher.hash(Hashed { key: *key, irs, slot, ..superpage::Record::zeroed() }.as_bytes())
            as u32
    }
}

impl Granted {
    /// The timestamp of a SYN-ACK: the latest that is not in the future and has these bits. The
    /// clock's resolution suffers by 64 ms, once.
    pub(crate) fn write(self, now_stamp: u32) -> u32 {
        let bits = u32::from(self.shift.unwrap_or(NO_SHIFT))
            | u32::from(self.sack) << SACK_BIT
            | u32::from(self.ecn) << ECN_BIT;
        let stamp = now_stamp & !GRANTED_MASK | bits;
        if stamp & GRANTED_MASK > now_stamp & GRANTED_MASK {
            stamp.wrapping_sub(GRANTED_MASK + 1)
        } else {
            stamp
        }
    }

    /// What an echoed timestamp says.
    pub(crate) fn read(echo: u32) -> Self {
        let shift = (echo & SHIFT_MASK) as u8;
        Self {
            shift: (shift <= WINDOW_SHIFT_MAX).then_some(shift),
            sack: echo >> SACK_BIT & 1 != 0,
            ecn: echo >> ECN_BIT & 1 != 0,
        }
    }
}

record! {
    /// What is hashed.
    struct Hashed {
        key: FlowKey,
        spare: u16,
        irs: SeqNum,
        slot: u32,
    }
}

/// A cookie's slot. With 32 bits it lasts for 8,000 years of running.
fn slot(now_ns: u64) -> u32 {
    (now_ns / SLOT_NS) as u32
}

/// The largest MSS of the table that the peer takes. One smaller than all is served like the
/// smallest, which is also the smallest that is ever sent.
fn class(mss: u16) -> u32 {
    MSS_CLASSES.iter().rposition(|class| *class <= mss).unwrap_or(0) as u32
}

/// Long enough for a peer that needs all its SYNs.
const SLOT_NS: u64 = 64_000_000_000;
/// The smallest and the default (RFC 9293 §3.7.1); IPv6's smallest MTU; tunnels; PPPoE; Ethernet
/// with IPv6 and with IPv4; jumbo frames.
const MSS_CLASSES: [u16; 8] = [88, 536, 1_220, 1_360, 1_400, 1_440, 1_460, 8_940];
const SHIFT_MASK: u32 = 15;
/// Above [`WINDOW_SHIFT_MAX`].
const NO_SHIFT: u8 = 15;
const SACK_BIT: u32 = 4;
const ECN_BIT: u32 = 5;
const GRANTED_MASK: u32 = 63;
const DOMAIN: u8 = 0xa3;
/// The part of a cookie that tells the flow and the time alone. Above the class, so that a slightly
/// wrong number is none of the flow; small, so that the rest tells the peer's initial number well.
const FLOW_MASK: u32 = 0x3ff8;
const NO_IRS: SeqNum = SeqNum(0);

const _: () = assert!(MSS_CLASSES.len() == 1 << 3, "a class takes three bits");

#[cfg(test)]
mod tests {
    use superpage::Record;

    use super::*;

    const IRS: SeqNum = SeqNum(77);
    const SECOND: u64 = 1_000_000_000;

    fn flow(remote_port: u16) -> FlowKey {
        FlowKey { remote_port, ..Record::zeroed() }
    }

    #[test]
    fn cookie_tells_the_mss_rounded_down_to_a_class() {
        let mut cookies = Cookies::new(&[1; 16]);
        for (mss, told) in
            [(0, 88), (535, 88), (536, 536), (1_459, 1_440), (1_460, 1_460), (u16::MAX, 8_940)]
        {
            let iss = cookies.make(0, &flow(1), IRS, mss);
            assert_eq!(cookies.check(0, &flow(1), IRS, iss), Some(told), "{mss}");
        }
    }

    #[test]
    fn cookie_is_good_for_its_flow_and_secret_only() {
        let mut cookies = Cookies::new(&[1; 16]);
        let iss = cookies.make(0, &flow(1), IRS, 1_460);
        assert_eq!(cookies.check(0, &flow(2), IRS, iss), None);
        assert_eq!(cookies.check(0, &flow(1), IRS + 1, iss), None);
        assert_eq!(cookies.check(0, &flow(1), IRS, iss + 8), None);
        assert_eq!(Cookies::new(&[2; 16]).check(0, &flow(1), IRS, iss), None);
    }

    #[test]
    fn cookie_acknowledged_by_a_later_segment_is_known_again() {
        let mut cookies = Cookies::new(&[1; 16]);
        let iss = cookies.make(0, &flow(1), IRS, 1_460);
        for seconds in [0, 127] {
            assert!(cookies.is_overtaken(seconds * SECOND, &flow(1), iss), "{seconds} s");
        }
        assert!(!cookies.is_overtaken(128 * SECOND, &flow(1), iss));
        assert!(!cookies.is_overtaken(0, &flow(2), iss));
        assert!(!cookies.is_overtaken(0, &flow(1), iss + 8));
    }

    #[test]
    fn cookie_is_good_in_its_slot_and_the_next() {
        let mut cookies = Cookies::new(&[1; 16]);
        assert!(!cookies.are_out(0), "none was made");
        let made_ns = 63 * SECOND;
        let iss = cookies.make(made_ns, &flow(1), IRS, 536);
        for (seconds, good) in [(63, true), (64, true), (127, true), (128, false), (10_000, false)]
        {
            let now_ns = seconds * SECOND;
            assert_eq!(cookies.check(now_ns, &flow(1), IRS, iss).is_some(), good, "{seconds} s");
            assert_eq!(cookies.are_out(now_ns), good, "{seconds} s");
        }
    }

    #[test]
    fn guesses_hit_no_more_often_than_by_chance() {
        let seed = 5;
        let mut random = fastrand::Rng::with_seed(seed);
        let cookies = Cookies::new(&[1; 16]);
        let now_ns = 100 * SECOND;
        let hits = (0..1_000_000)
            .filter(|_| cookies.check(now_ns, &flow(1), IRS, SeqNum(random.u32(..))).is_some());
        // 2⁻²⁸ each: one in a thousand times this many attempts would be found by 4.
        assert!(hits.count() <= 1, "seed {seed}");
    }

    #[test]
    fn grants_survive_the_timestamp_which_is_never_in_the_future() {
        for now_stamp in [0, 1, 63, 64, 1_000, u32::MAX] {
            for bits in 0..64 {
                let granted = Granted::read(bits);
                let stamp = granted.write(now_stamp);
                assert_eq!(Granted::read(stamp), granted, "{now_stamp} {bits}");
                assert!(now_stamp.wrapping_sub(stamp) <= 64, "{now_stamp} {bits}");
            }
        }
        assert_eq!(Granted::read(15), Granted::default(), "a shift beyond 14 is none");
    }
}
