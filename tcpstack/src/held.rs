//! Packets that wait for the address of their next hop: the latest ones for each.
//!
//! Connections and passive opens do not wait here: they have timers, and are kicked when a neighbour
//! is learnt. But what answers a packet without leaving anything behind, a reset or an echo reply,
//! would be lost whenever a host is heard for the first time. RFC 1122 §2.3.2.2 and RFC 4861 §7.2.2
//! want at least one kept.

use std::net::IpAddr;

/// Frames without the Ethernet address they go to.
#[derive(Debug)]
pub(crate) struct Held {
    bytes: Box<[u8]>,
    slot_bytes: usize,
    slots: [Slot; SLOTS],
    /// Frames that waited so far.
    number: u64,
    /// Somebody was learnt since these were last tried.
    is_kicked: bool,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Where the frame goes first; `None`: the place is free.
    hop: Option<IpAddr>,
    since_ns: u64,
    /// Its place in the order of all frames that ever waited.
    number: u64,
    len: u16,
}

impl Held {
    /// Room for frames of `frame_bytes` at most.
    pub(crate) fn new(frame_bytes: usize) -> Self {
        Self {
            bytes: vec![0; frame_bytes * SLOTS].into_boxed_slice(),
            slot_bytes: frame_bytes,
            slots: [Slot { hop: None, since_ns: 0, number: 0, len: 0 }; SLOTS],
            number: 0,
            is_kicked: false,
        }
    }

    /// Room for a frame that waits for `hop`. If there are many for it already it takes the place of
    /// the oldest of them, if all room is taken that of the oldest. The caller writes it. `None`: it
    /// is longer than any frame of the link.
    pub(crate) fn keep(&mut self, now_ns: u64, hop: IpAddr, len: usize) -> Option<&mut [u8]> {
        if len > self.slot_bytes {
            return None;
        }
        let is_for_hop = |at: &usize| self.slots[*at].hop == Some(hop);
        let has_many = (0..SLOTS).filter(is_for_hop).count() >= HOP_SLOTS_MAX;
        let rank = |at: &usize| (self.slots[*at].hop.is_some(), self.slots[*at].number);
        let at = (0..SLOTS).filter(|at| !has_many || is_for_hop(at)).min_by_key(rank)?;
        self.number += 1;
        let number = self.number;
        self.slots[at] = Slot { hop: Some(hop), since_ns: now_ns, number, len: len as u16 };
        Some(&mut self.bytes[at * self.slot_bytes..][..len])
    }

    /// A neighbour was learnt: perhaps a frame can go.
    pub(crate) fn kick(&mut self) {
        self.is_kicked = self.slots.iter().any(|slot| slot.hop.is_some());
    }

    /// Whether frames are to be tried again.
    pub(crate) fn is_kicked(&self) -> bool {
        self.is_kicked
    }

    /// Each frame with its next hop. What `go` returns `true` for has gone; what waits too long goes
    /// without it.
    pub(crate) fn retry<E>(
        &mut self,
        now_ns: u64,
        mut go: impl FnMut(IpAddr, &mut [u8]) -> Result<bool, E>,
    ) -> Result<(), E> {
        for (at, slot) in self.slots.iter_mut().enumerate() {
            let Some(hop) = slot.hop else { continue };
            let frame = &mut self.bytes[at * self.slot_bytes..][..usize::from(slot.len)];
            let is_late = now_ns.saturating_sub(slot.since_ns) > HELD_NS;
            if is_late || go(hop, frame)? {
                slot.hop = None;
            }
        }
        self.is_kicked = false;
        Ok(())
    }
}

/// Frames for one next hop: a large echo reply in its fragments, or some small ones.
const HOP_SLOTS_MAX: usize = 8;
/// Frames at a time. More strangers at once than this are attackers, or send again.
const SLOTS: usize = 64;
/// How long an answer is worth sending: as long as a neighbour is asked for.
const HELD_NS: u64 = 3_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn hop(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn keep(held: &mut Held, now_ns: u64, last: u8, octet: u8) {
        held.keep(now_ns, hop(last), 4).expect("it fits").fill(octet);
    }

    fn retry(held: &mut Held, now_ns: u64, known: &[u8]) -> Vec<u8> {
        let mut gone = Vec::new();
        held.retry::<()>(now_ns, |to, frame| {
            let is_known = known.iter().any(|last| hop(*last) == to);
            gone.extend(is_known.then_some(frame[0]));
            Ok(is_known)
        })
        .expect("there is room");
        gone
    }

    #[test]
    fn the_latest_frames_for_a_hop_wait_and_go_once() {
        let mut held = Held::new(60);
        keep(&mut held, 1, 3, 100);
        for octet in 0..10 {
            keep(&mut held, 1, 2, octet);
        }
        assert!(!held.is_kicked());
        held.kick();
        assert!(held.is_kicked());
        let mut gone = retry(&mut held, 2, &[2]);
        gone.sort_unstable();
        assert_eq!(gone, [2, 3, 4, 5, 6, 7, 8, 9]);
        assert!(!held.is_kicked());
        assert_eq!(retry(&mut held, 2, &[2, 3]), [100]);
        held.kick();
        assert!(!held.is_kicked(), "nothing waits");
    }

    #[test]
    fn what_waited_too_long_is_dropped() {
        let mut held = Held::new(60);
        keep(&mut held, 0, 2, 1);
        assert_eq!(retry(&mut held, 3 * SECOND + 1, &[2]), []);
        assert_eq!(retry(&mut held, 3 * SECOND + 1, &[2]), []);
        assert!(held.keep(0, hop(2), 61).is_none());
    }

    #[test]
    fn a_flood_replaces_the_oldest() {
        let mut held = Held::new(60);
        for last in 0..=SLOTS as u8 {
            keep(&mut held, last.into(), last, last);
        }
        let known: Vec<u8> = (0..=SLOTS as u8).collect();
        let mut gone = retry(&mut held, 100, &known);
        gone.sort_unstable();
        assert_eq!(gone, known[1..]);
    }

    #[test]
    fn a_full_sink_ends_the_retry_and_loses_nothing() {
        let mut held = Held::new(60);
        keep(&mut held, 0, 2, 1);
        held.kick();
        assert_eq!(held.retry(1, |_, _| Err("full")), Err("full"));
        assert!(held.is_kicked());
        assert_eq!(retry(&mut held, 1, &[2]), [1]);
    }
}
