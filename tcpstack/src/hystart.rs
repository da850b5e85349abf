//! HyStart++ (RFC 9406): slow start ends when round trips become longer, before packets are lost.
//!
//! Each round of slow start compares the least round-trip time of its samples with that of the
//! round before. When it grew, growth slows to a quarter for five rounds ("conservative slow
//! start"); should the round-trip time fall back, slow start goes on.

/// State of a slow start. Times are µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HyStart {
    /// lastRoundMinRTT.
    pub(crate) last_us: u32,
    /// currentRoundMinRTT.
    pub(crate) current_us: u32,
    /// cssBaselineMinRtt.
    pub(crate) baseline_us: u32,
    /// rttSampleCount of this round.
    pub(crate) samples: u8,
    /// Rounds of conservative slow start left; 0: it is plain slow start.
    pub(crate) css_rounds: u8,
}

/// Whether slow start goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    GoOn,
    /// Congestion avoidance begins.
    Exit,
}

impl HyStart {
    pub(crate) const fn new() -> Self {
        Self {
            last_us: UNKNOWN,
            current_us: UNKNOWN,
            baseline_us: UNKNOWN,
            samples: 0,
            css_rounds: 0,
        }
    }

    /// New data was acknowledged, with a sample if it gave one; perhaps the last of a round.
    /// RFC 9406 §4.2.
    pub(crate) fn on_ack(&mut self, ends_round: bool, sample_us: Option<u32>) -> Verdict {
        if let Some(sample_us) = sample_us {
            self.current_us = self.current_us.min(sample_us);
            self.samples = self.samples.saturating_add(1);
        }
        if self.samples >= N_RTT_SAMPLE && self.current_us != UNKNOWN {
            self.compare();
        }
        if ends_round {
            (self.last_us, self.current_us) = (self.current_us, UNKNOWN);
            self.samples = 0;
            if self.css_rounds > 0 {
                self.css_rounds -= 1;
                if self.css_rounds == 0 {
                    return Verdict::Exit;
                }
            }
        }
        Verdict::GoOn
    }

    fn compare(&mut self) {
        if self.css_rounds > 0 {
            if self.current_us < self.baseline_us {
                // The delay was not ours: back to slow start.
                (self.baseline_us, self.css_rounds) = (UNKNOWN, 0);
            }
        } else if self.last_us != UNKNOWN {
            let threshold_us =
                (self.last_us / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH_US, MAX_RTT_THRESH_US);
            if self.current_us >= self.last_us + threshold_us {
                (self.baseline_us, self.css_rounds) = (self.current_us, CSS_ROUNDS);
            }
        }
    }

    /// What `octets` acknowledged add to the window.
    pub(crate) fn growth(&self, octets: u32, mss: u32) -> u32 {
        let octets = octets.min(L * mss);
        if self.css_rounds > 0 { octets / CSS_GROWTH_DIVISOR } else { octets }
    }
}

/// No measurement: longer than all.
const UNKNOWN: u32 = u32::MAX;
// RFC 9406 §4.3.
const MIN_RTT_THRESH_US: u32 = 4_000;
const MAX_RTT_THRESH_US: u32 = 16_000;
const MIN_RTT_DIVISOR: u32 = 8;
const N_RTT_SAMPLE: u8 = 8;
const CSS_GROWTH_DIVISOR: u32 = 4;
const CSS_ROUNDS: u8 = 5;
/// Segments that one acknowledgment may add, without pacing.
const L: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_000;

    /// A round of ten acknowledgments that took `rtt_us` each.
    fn round(hystart: &mut HyStart, rtt_us: u32) -> Verdict {
        for _ in 0..9 {
            assert_eq!(hystart.on_ack(false, Some(rtt_us)), Verdict::GoOn);
        }
        hystart.on_ack(true, Some(rtt_us))
    }

    #[test]
    fn longer_rounds_slow_growth_and_end_slow_start_after_five() {
        let mut hystart = HyStart::new();
        assert_eq!(round(&mut hystart, 50_000), Verdict::GoOn);
        assert_eq!(round(&mut hystart, 53_000), Verdict::GoOn);
        assert_eq!(hystart.growth(2_000, MSS), 2_000, "an eighth longer would count");
        assert_eq!(round(&mut hystart, 60_000), Verdict::GoOn);
        assert_eq!(hystart.growth(2_000, MSS), 500);
        let rounds = (0..9).find(|_| round(&mut hystart, 60_000) == Verdict::Exit);
        assert_eq!(rounds, Some(3), "the round in which it began counts");
    }

    #[test]
    fn delay_that_passes_lets_slow_start_go_on() {
        let mut hystart = HyStart::new();
        for rtt_us in [50_000, 70_000] {
            assert_eq!(round(&mut hystart, rtt_us), Verdict::GoOn);
        }
        assert_ne!(hystart.css_rounds, 0);
        assert_eq!(round(&mut hystart, 50_000), Verdict::GoOn);
        assert_eq!(hystart.growth(100_000, MSS), 8_000, "eight segments an acknowledgment");
    }

    #[test]
    fn few_samples_decide_nothing() {
        let mut hystart = HyStart::new();
        for rtt_us in [10_000, 20_000, 40_000, 80_000] {
            assert_eq!(hystart.on_ack(true, Some(rtt_us)), Verdict::GoOn);
        }
        assert_eq!(hystart.css_rounds, 0);
    }
}
