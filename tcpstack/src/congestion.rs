//! Congestion control: slow start and congestion avoidance (RFC 5681), fast retransmit and fast
//! recovery (RFC 6582, NewReno), limited transmit (RFC 3042), initial window (RFC 6928).

use superpage::record;

use crate::seq::SeqNum;

record! {
    /// Congestion state of a flight. All sizes are octets.
    pub(crate) struct Congestion {
        /// cwnd.
        cwnd: u32,
        /// ssthresh.
        ssthresh: u32,
        /// Octets acknowledged towards the next growth in congestion avoidance.
        credit: u32,
        /// One past "recover" of RFC 6582: what was sent when the last loss was found.
        recover: SeqNum,
        /// Duplicate acknowledgements in a row.
        dup_acks: u8,
        /// 1 in fast recovery.
        recovering: u8,
        /// 1 when the window held output back since it last grew.
        limited: u8,
        spare: u8,
    }
}

/// What a duplicate or new acknowledgement asks for beyond the window's change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    /// Nothing.
    Proceed,
    /// The first unacknowledged segment is lost: send it again at once.
    Retransmit,
}

impl Congestion {
    /// State for a connection that starts to send, or starts again after its state was given away.
    pub(crate) fn new(mss: u16, ssthresh: u32, una: SeqNum) -> Self {
        Self {
            cwnd: initial_window(mss),
            ssthresh,
            credit: 0,
            recover: una - 1,
            dup_acks: 0,
            recovering: 0,
            limited: 0,
            spare: 0,
        }
    }

    /// Octets that may be in flight.
    pub(crate) fn window(&self, mss: u16) -> u32 {
        // RFC 3042: a segment for each of the first two duplicates, without growing cwnd.
        let extra = if self.recovering == 0 { u32::from(self.dup_acks.min(2)) } else { 0 };
        self.cwnd.saturating_add(extra * u32::from(mss))
    }

    /// Segments have become larger: one of them fits in any case.
    pub(crate) fn admit(&mut self, mss: u16) {
        self.cwnd = self.cwnd.max(mss.into());
    }

    pub(crate) fn ssthresh(&self) -> u32 {
        self.ssthresh
    }

    pub(crate) fn is_recovering(&self) -> bool {
        self.recovering != 0
    }

    /// Output had data and peer window left, but not congestion window.
    pub(crate) fn note_limited(&mut self) {
        self.limited = 1;
    }

    /// RFC 5681 §4.1: after an idle time longer than the RTO, begin from the restart window.
    pub(crate) fn restart(&mut self, mss: u16) {
        self.cwnd = self.cwnd.min(initial_window(mss));
        self.credit = 0;
    }

    /// An acknowledgement repeated SND.UNA while data was outstanding.
    pub(crate) fn on_duplicate_ack(&mut self, mss: u16, una: SeqNum, nxt: SeqNum) -> Advice {
        let mss = u32::from(mss);
        self.dup_acks = self.dup_acks.saturating_add(1);
        if self.recovering != 0 {
            // RFC 6582 §3.2, step 3 (as RFC 5681 §3.2, step 4): a segment has left the network.
            self.cwnd = self.cwnd.saturating_add(mss);
            return Advice::Proceed;
        }
        // RFC 6582 §3.2, step 2: only if this loss is not the one found last.
        if self.dup_acks != DUP_ACKS || !una.after(self.recover) {
            return Advice::Proceed;
        }
        self.recover = nxt;
        self.recovering = 1;
        self.credit = 0;
        self.ssthresh = half_flight(una, nxt, mss);
        self.cwnd = self.ssthresh + u32::from(DUP_ACKS) * mss;
        Advice::Retransmit
    }

    /// RFC 3168 §6.1.2: the peer has received a marked segment. `true`: the window was reduced for
    /// it, which happens once for the segments of a window.
    pub(crate) fn on_congestion_experienced(
        &mut self,
        mss: u16,
        ack: SeqNum,
        una: SeqNum,
        nxt: SeqNum,
    ) -> bool {
        if self.recovering != 0 || !ack.after(self.recover) {
            return false;
        }
        self.recover = nxt;
        self.credit = 0;
        self.ssthresh = half_flight(una, nxt, mss.into());
        self.cwnd = self.ssthresh;
        true
    }

    /// SND.UNA advanced by `acked` octets to `una`.
    pub(crate) fn on_new_ack(&mut self, mss: u16, acked: u32, una: SeqNum, nxt: SeqNum) -> Advice {
        let mss = u32::from(mss);
        self.dup_acks = 0;
        if self.recovering != 0 {
            return self.on_ack_in_recovery(mss, acked, una, nxt);
        }
        // RFC 7661 §4.3 in its simplest form: a window that is not used does not grow.
        if std::mem::take(&mut self.limited) == 0 {
            return Advice::Proceed;
        }
        if self.cwnd < self.ssthresh {
            // RFC 3465 §2.3: count octets, at most two segments an acknowledgement.
            self.cwnd = self.cwnd.saturating_add(acked.min(2 * mss));
        } else {
            // RFC 5681 §3.1: one segment for each window acknowledged.
            self.credit = self.credit.saturating_add(acked);
            if self.credit >= self.cwnd {
                self.credit -= self.cwnd;
                self.cwnd = self.cwnd.saturating_add(mss);
            }
        }
        Advice::Proceed
    }

    fn on_ack_in_recovery(&mut self, mss: u32, acked: u32, una: SeqNum, nxt: SeqNum) -> Advice {
        if una.at_or_after(self.recover) {
            // RFC 6582 §3.2, step 3, full acknowledgement, option 1: no burst afterwards.
            self.cwnd = self.ssthresh.min(nxt.since(una).max(mss) + mss);
            self.recovering = 0;
            return Advice::Proceed;
        }
        // RFC 6582 §3.2, step 3, partial acknowledgement: the next hole is lost as well.
        self.cwnd = self.cwnd.saturating_sub(acked);
        if acked >= mss {
            self.cwnd += mss;
        }
        self.cwnd = self.cwnd.max(mss);
        Advice::Retransmit
    }

    /// The retransmission timer expired; `first` when the same data had not timed out before.
    pub(crate) fn on_timeout(&mut self, mss: u16, una: SeqNum, nxt: SeqNum, first: bool) {
        let mss = u32::from(mss);
        if first {
            // RFC 5681 §3.1: ssthresh is halved once for a loss, not for each expiry.
            self.ssthresh = half_flight(una, nxt, mss);
        }
        self.cwnd = mss;
        self.credit = 0;
        self.dup_acks = 0;
        self.recovering = 0;
        // RFC 6582 §4: duplicates of what is outstanding now are no new loss.
        self.recover = nxt;
    }
}

/// RFC 5681 §3.1, equation (4).
fn half_flight(una: SeqNum, nxt: SeqNum, mss: u32) -> u32 {
    (nxt.since(una) / 2).max(2 * mss)
}

/// RFC 6928 §2: min (10 × MSS, max (2 × MSS, 14600)).
fn initial_window(mss: u16) -> u32 {
    let mss = u32::from(mss);
    (10 * mss).min((2 * mss).max(14_600))
}

/// Duplicates that mean a loss, RFC 5681 §3.2.
const DUP_ACKS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u16 = 1_000;
    const UNA: SeqNum = SeqNum(5_000);

    fn fresh() -> Congestion {
        Congestion::new(MSS, u32::MAX, UNA)
    }

    #[test]
    fn initial_window_follows_rfc_6928() {
        for (mss, window) in [(536, 5_360), (1_460, 14_600), (2_000, 14_600), (8_960, 17_920)] {
            assert_eq!(initial_window(mss), window, "MSS {mss}");
        }
    }

    #[test]
    fn slow_start_doubles_and_avoidance_adds_a_segment_per_window() {
        let mut congestion = fresh();
        congestion.ssthresh = 12_000;
        let mut una = UNA;
        let mut ack = |congestion: &mut Congestion, acked| {
            una = una + acked;
            congestion.note_limited();
            assert_eq!(congestion.on_new_ack(MSS, acked, una, una + 5_000), Advice::Proceed);
        };
        ack(&mut congestion, 5_000);
        assert_eq!(congestion.window(MSS), 12_000, "at most two segments an acknowledgement");
        ack(&mut congestion, 6_000);
        assert_eq!(congestion.window(MSS), 12_000);
        ack(&mut congestion, 6_000);
        assert_eq!(congestion.window(MSS), 13_000);
    }

    #[test]
    fn window_that_limits_nobody_does_not_grow() {
        let mut congestion = fresh();
        congestion.on_new_ack(MSS, 1_000, UNA + 1_000, UNA + 1_000);
        assert_eq!(congestion.window(MSS), 10_000);
    }

    #[test]
    fn third_duplicate_retransmits_and_full_ack_ends_recovery() {
        let mut congestion = fresh();
        let nxt = UNA + 10_000;
        assert_eq!(congestion.on_duplicate_ack(MSS, UNA, nxt), Advice::Proceed);
        assert_eq!(congestion.window(MSS), 11_000, "limited transmit");
        assert_eq!(congestion.on_duplicate_ack(MSS, UNA, nxt), Advice::Proceed);
        assert_eq!(congestion.window(MSS), 12_000, "limited transmit");
        assert_eq!(congestion.on_duplicate_ack(MSS, UNA, nxt), Advice::Retransmit);
        assert_eq!(congestion.window(MSS), 8_000);
        assert_eq!(congestion.on_duplicate_ack(MSS, UNA, nxt), Advice::Proceed);
        assert_eq!(congestion.window(MSS), 9_000, "inflated");
        let partial = congestion.on_new_ack(MSS, 4_000, UNA + 4_000, nxt);
        assert_eq!(partial, Advice::Retransmit);
        assert_eq!(congestion.window(MSS), 6_000, "deflated by what left, plus one segment");
        assert_eq!(congestion.on_new_ack(MSS, 6_000, nxt, nxt), Advice::Proceed);
        assert!(!congestion.is_recovering());
        assert_eq!(congestion.window(MSS), 2_000, "nothing in flight: no burst");
    }

    #[test]
    fn duplicates_after_a_time_out_start_no_fast_retransmit() {
        let mut congestion = fresh();
        let nxt = UNA + 10_000;
        congestion.on_timeout(MSS, UNA, nxt, true);
        assert_eq!((congestion.window(MSS), congestion.ssthresh()), (1_000, 5_000));
        congestion.on_timeout(MSS, UNA, UNA + 1_000, false);
        assert_eq!(congestion.ssthresh(), 5_000, "halved once");
        for _ in 0..5 {
            assert_eq!(congestion.on_duplicate_ack(MSS, UNA, nxt), Advice::Proceed);
        }
    }

    #[test]
    fn restart_window_is_at_most_the_initial_window() {
        let mut congestion = fresh();
        congestion.cwnd = 90_000;
        congestion.restart(MSS);
        assert_eq!(congestion.window(MSS), 10_000);
        congestion.cwnd = 3_000;
        congestion.restart(MSS);
        assert_eq!(congestion.window(MSS), 3_000);
    }
}
