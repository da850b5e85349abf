//! The congestion window: slow start with HyStart++ (RFC 9406), congestion avoidance by CUBIC
//! (RFC 9438) or as NewReno (RFC 5681), proportional reduction in recovery (RFC 9937), and taking
//! a reduction back that was for nothing (RFC 4015, RFC 3708). Initial window: RFC 6928.

use superpage::record;

use crate::config::CongestionControl;
use crate::cubic::{self, Cubic, Round};
use crate::hystart::{HyStart, Verdict};
use crate::prr::{Progress, Prr};
use crate::seq::SeqNum;

record! {
    /// Congestion state of a flight. All sizes are octets. The slow start threshold is in the TCB,
    /// since it outlives the flight.
    pub(crate) struct Congestion {
        /// cwnd.
        cwnd: u32,
        /// In recovery, and after a time-out: SND.NXT when it began, which ends it ("recover" of
        /// RFC 6582). Otherwise TLP.end_seq of RFC 8985, while a tail probe is out.
        pub(crate) recover: SeqNum,
        /// [`HyStart`] until the first loss, [`Prr`] in recovery, [`Cubic`] otherwise.
        area: [u32; 4],
        /// cwnd before the last reduction; 0: it stands.
        prior_cwnd: u32,
        /// ssthresh before it.
        prior_ssthresh: u32,
        /// Octets sent again since, and not reported as duplicates.
        resent: u32,
        /// Timestamp of the first retransmission since; 0: there was none.
        resent_stamp: u32,
        /// [`Phase`].
        phase: u8,
        /// 1 when the window held output back at last.
        limited: u8,
        /// Of [`HyStart`].
        samples: u8,
        /// Of [`HyStart`].
        css_rounds: u8,
    }
}

/// Where a flight is after a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Nothing is lost, as far as we know.
    Open = 0,
    /// Fast recovery.
    Recovery = 1,
    /// The retransmission timer expired.
    TimedOut = 2,
}

/// An acknowledgment of new data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    pub(crate) control: CongestionControl,
    pub(crate) mss: u32,
    /// Octets acknowledged.
    pub(crate) acked: u32,
    pub(crate) now_ms: u32,
    pub(crate) srtt_us: u32,
    /// Round-trip time of what was sent last of it, if it was sent once.
    pub(crate) sample_us: Option<u32>,
    /// Everything sent when the round trip began is acknowledged.
    pub(crate) ends_round: bool,
}

/// What a reduction goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loss {
    pub(crate) control: CongestionControl,
    pub(crate) mss: u32,
    /// Octets sent and not acknowledged: FlightSize.
    pub(crate) flight_size: u32,
    pub(crate) nxt: SeqNum,
}

impl Congestion {
    /// State for a connection that starts to send, or starts again after its state was given away.
    pub(crate) fn new(mss: u16, ssthresh: u32, una: SeqNum) -> Self {
        let mut congestion = Self {
            cwnd: initial_window(mss),
            recover: una - 1,
            area: [0; 4],
            prior_cwnd: 0,
            prior_ssthresh: 0,
            resent: 0,
            resent_stamp: 0,
            phase: Phase::Open as u8,
            limited: 0,
            samples: 0,
            css_rounds: 0,
        };
        congestion.begin_growth(ssthresh, 0);
        congestion
    }

    pub(crate) fn cwnd(&self) -> u32 {
        self.cwnd
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase {
            1 => Phase::Recovery,
            2 => Phase::TimedOut,
            _ => Phase::Open,
        }
    }

    /// Segments have become larger: one of them fits in any case.
    pub(crate) fn admit(&mut self, mss: u16) {
        self.cwnd = self.cwnd.max(mss.into());
    }

    /// What output stopped for: the window, or something else with `pipe` octets on their way. A
    /// window that is not used does not grow (RFC 7661 §4.1); in slow start it may be twice what is
    /// used.
    pub(crate) fn note_limit(&mut self, by_window: bool, pipe: u32, ssthresh: u32) {
        let is_used = self.cwnd < ssthresh && self.cwnd / 2 < pipe;
        self.limited = (by_window || is_used).into();
    }

    /// RFC 5681 §4.1: after an idle time longer than the RTO, begin from the restart window.
    pub(crate) fn restart(&mut self, mss: u16, ssthresh: u32) {
        self.cwnd = self.cwnd.min(initial_window(mss));
        self.begin_growth(ssthresh, self.w_max());
    }

    /// All is acknowledged: nothing is left to be taken back.
    pub(crate) fn rest(&mut self, ssthresh: u32) {
        if self.phase() != Phase::Open {
            self.leave(ssthresh);
        }
        (self.prior_cwnd, self.resent, self.resent_stamp) = (0, 0, 0);
    }

    /// New data was acknowledged outside of fast recovery.
    pub(crate) fn on_ack(&mut self, ssthresh: &mut u32, growth: Growth) {
        let Growth { mss, acked, .. } = growth;
        if self.cwnd >= *ssthresh {
            if self.limited != 0 {
                self.avoid(*ssthresh, growth);
            }
            return;
        }
        let is_first = *ssthresh == u32::MAX;
        let mut octets = match self.phase() {
            // RFC 3465 §2.3: what a retransmission fills up was not sent in this window.
            Phase::TimedOut => acked.min(mss),
            _ => acked.min(SLOW_START_SEGMENTS_MAX * mss),
        };
        if is_first {
            let mut hystart = self.hystart();
            let verdict = hystart.on_ack(growth.ends_round, growth.sample_us);
            octets = octets.min(hystart.growth(acked, mss));
            self.set_hystart(hystart);
            if verdict == Verdict::Exit {
                *ssthresh = self.cwnd;
                self.begin_growth(*ssthresh, 0);
                return;
            }
        }
        if self.limited != 0 {
            self.cwnd = self.cwnd.saturating_add(octets).min(CWND_MAX);
        }
    }

    fn avoid(&mut self, ssthresh: u32, growth: Growth) {
        let Growth { mss, acked, now_ms, srtt_us, .. } = growth;
        let mut cubic = self.cubic();
        self.cwnd = match growth.control {
            CongestionControl::Cubic => {
                cubic.grown(self.cwnd, Round { now_ms, srtt_us, mss, ssthresh, acked })
            }
            CongestionControl::NewReno => {
                // RFC 5681 §3.1: one segment for each window acknowledged.
                cubic.credit = cubic.credit.saturating_add(acked);
                if cubic.credit < self.cwnd {
                    self.cwnd
                } else {
                    cubic.credit -= self.cwnd;
                    self.cwnd + mss
                }
            }
        }
        .min(CWND_MAX);
        self.set_cubic(cubic);
    }

    /// A loss was found: RFC 9937 §6.
    pub(crate) fn enter_recovery(&mut self, ssthresh: &mut u32, loss: Loss, recover_fs: u32) {
        self.remember(*ssthresh);
        let w_max = self.reduce(ssthresh, loss);
        self.recover = loss.nxt;
        self.phase = Phase::Recovery as u8;
        self.area = [0, 0, recover_fs, w_max];
    }

    /// An acknowledgment in recovery.
    pub(crate) fn on_recovery_ack(&mut self, progress: Progress, ssthresh: u32, mss: u32) {
        let mut prr = self.prr();
        let count = prr.on_ack(progress, ssthresh, mss);
        self.set_prr(prr);
        self.cwnd = progress.pipe.saturating_add(count).min(CWND_MAX);
    }

    /// `octets` were sent, again or for the first time, during recovery.
    pub(crate) fn on_sent(&mut self, octets: u32, is_again: bool, stamp: u32) {
        if self.phase() == Phase::Recovery {
            let mut prr = self.prr();
            prr.out = prr.out.saturating_add(octets);
            self.set_prr(prr);
        }
        if is_again && self.phase() != Phase::Open {
            self.resent = self.resent.saturating_add(octets);
            if self.resent_stamp == 0 {
                self.resent_stamp = stamp.max(1);
            }
        }
    }

    /// SND.UNA is `una`: an old `recover` must not come to lie ahead as numbers wrap.
    pub(crate) fn follow(&mut self, una: SeqNum) {
        self.recover = self.recover.latest(una - 1);
    }

    /// Everything up to `recover` is acknowledged.
    pub(crate) fn leave(&mut self, ssthresh: u32) {
        if self.phase() == Phase::Recovery {
            // RFC 9937 §6, at the end of recovery.
            self.cwnd = ssthresh;
            self.begin_growth(ssthresh, self.w_max());
        }
        self.phase = Phase::Open as u8;
    }

    /// The retransmission timer expired; `first` when the same data had not timed out before.
    pub(crate) fn on_timeout(&mut self, ssthresh: &mut u32, loss: Loss, first: bool) {
        let mut w_max = self.w_max();
        if first {
            if self.phase() == Phase::Open {
                self.remember(*ssthresh);
            }
            // RFC 5681 §3.1: ssthresh is reduced once for a loss, not for each expiry.
            w_max = self.reduce(ssthresh, loss);
        }
        self.cwnd = loss.mss;
        self.recover = loss.nxt;
        self.phase = Phase::TimedOut as u8;
        self.begin_growth(*ssthresh, w_max);
    }

    /// The network signals congestion without a loss (RFC 3168 §6.1.2), or a tail probe repaired
    /// one (RFC 8985 §7.4): the window is reduced at once.
    pub(crate) fn on_congestion(&mut self, ssthresh: &mut u32, loss: Loss) {
        let w_max = self.reduce(ssthresh, loss);
        self.cwnd = self.cwnd.min(*ssthresh);
        self.prior_cwnd = 0;
        self.begin_growth(*ssthresh, w_max);
    }

    /// Whether the acknowledgment's echo is older than the first retransmission since the last
    /// reduction: the original was not lost (RFC 3522 §3.2).
    pub(crate) fn is_echo_older(&self, echo: u32) -> bool {
        let older = echo.wrapping_sub(self.resent_stamp) as i32;
        self.prior_cwnd != 0 && self.resent_stamp != 0 && older < 0
    }

    /// `octets` that were sent again had arrived before. Returns whether that is true of all of
    /// them: RFC 3708.
    pub(crate) fn on_duplicate(&mut self, octets: u32) -> bool {
        let all = self.resent > 0 && octets >= self.resent;
        self.resent = self.resent.saturating_sub(octets);
        all && self.prior_cwnd != 0
    }

    /// The last reduction was for nothing: RFC 4015 §3.2.
    pub(crate) fn undo(&mut self, ssthresh: &mut u32) {
        self.cwnd = self.cwnd.max(self.prior_cwnd);
        // In congestion avoidance growth goes on from here.
        *ssthresh = if self.prior_ssthresh > self.cwnd { self.prior_ssthresh } else { self.cwnd };
        (self.prior_cwnd, self.resent, self.resent_stamp) = (0, 0, 0);
        self.phase = Phase::Open as u8;
        self.begin_growth(*ssthresh, self.cwnd);
    }

    fn remember(&mut self, ssthresh: u32) {
        (self.prior_cwnd, self.prior_ssthresh) = (self.cwnd, ssthresh);
        (self.resent, self.resent_stamp) = (0, 0);
    }

    /// Lowers ssthresh; returns W_max.
    fn reduce(&mut self, ssthresh: &mut u32, loss: Loss) -> u32 {
        let Loss { mss, flight_size, .. } = loss;
        let had = Cubic::new(if *ssthresh == u32::MAX { 0 } else { self.w_max() });
        let w_max = had.w_max_after_loss(self.cwnd);
        *ssthresh = match loss.control {
            CongestionControl::Cubic => cubic::reduced(self.cwnd, mss),
            // RFC 5681 §3.1, equation (4).
            CongestionControl::NewReno => (flight_size / 2).max(2 * mss),
        };
        w_max
    }

    /// What follows is slow start or congestion avoidance from its beginning.
    fn begin_growth(&mut self, ssthresh: u32, w_max: u32) {
        if ssthresh == u32::MAX {
            self.set_hystart(HyStart::new());
        } else {
            self.set_cubic(Cubic::new(w_max));
        }
    }

    fn w_max(&self) -> u32 {
        self.area[3]
    }

    fn hystart(&self) -> HyStart {
        let [last_us, current_us, baseline_us, _] = self.area;
        let (samples, css_rounds) = (self.samples, self.css_rounds);
        HyStart { last_us, current_us, baseline_us, samples, css_rounds }
    }

    fn set_hystart(&mut self, hystart: HyStart) {
        let HyStart { last_us, current_us, baseline_us, samples, css_rounds } = hystart;
        self.area = [last_us, current_us, baseline_us, 0];
        (self.samples, self.css_rounds) = (samples, css_rounds);
    }

    fn prr(&self) -> Prr {
        let [delivered, out, recover_fs, _] = self.area;
        Prr { delivered, out, recover_fs }
    }

    fn set_prr(&mut self, prr: Prr) {
        self.area = [prr.delivered, prr.out, prr.recover_fs, self.w_max()];
    }

    fn cubic(&self) -> Cubic {
        let [epoch_ms, k_ms, credit, w_max] = self.area;
        Cubic { epoch_ms, k_ms, credit, w_max }
    }

    fn set_cubic(&mut self, cubic: Cubic) {
        self.area = [cubic.epoch_ms, cubic.k_ms, cubic.credit, cubic.w_max];
    }
}

/// RFC 6928 §2: min (10 × MSS, max (2 × MSS, 14600)).
fn initial_window(mss: u16) -> u32 {
    let mss = u32::from(mss);
    (10 * mss).min((2 * mss).max(14_600))
}

/// L of RFC 3465 §2.2 in slow start, as RFC 9406 §4.3 has it without pacing.
const SLOW_START_SEGMENTS_MAX: u32 = 8;
/// Sums of windows stay far from overflow; no buffer is larger.
const CWND_MAX: u32 = 1 << 30;

#[cfg(test)]
mod tests;
