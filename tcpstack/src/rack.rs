//! RACK: losses found by time (RFC 8985 §6). A segment is lost if one that left later was delivered
//! and what reordering may take has passed since.

use superpage::record;

use crate::scoreboard::{Delivered, Sent};
use crate::seq::SeqNum;

record! {
    /// What a flight knows of the transmissions delivered. Times are µs, modulo 2³².
    pub(crate) struct Rack {
        /// RACK.xmit_ts: when the transmission delivered that left last was sent.
        xmit_us: u32,
        /// RACK.end_seq: where it ended.
        end_seq: SeqNum,
        /// RACK.rtt: how long it took to be acknowledged; 0: there was none yet.
        rtt_us: u32,
        /// RACK.fack: highest octet delivered.
        fack: SeqNum,
        /// RACK.min_RTT; 0: not measured.
        pub(crate) min_rtt_us: u32,
        /// RACK.reo_wnd_mult.
        mult: u8,
        /// RACK.reo_wnd_persist.
        persist: u8,
        /// RACK.reordering_seen.
        reordering: u8,
        /// 1: the window has grown in this round.
        adapting: u8,
    }
}

/// What reordering window to use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation {
    pub(crate) srtt_us: u32,
    pub(crate) recovering: bool,
    /// As many octets are acknowledged selectively as three segments have.
    pub(crate) is_past_threshold: bool,
}

impl Rack {
    /// State of a flight that begins. `rtt_us` is what is known of the path.
    pub(crate) fn new(una: SeqNum, rtt_us: u32) -> Self {
        Self {
            xmit_us: 0,
            end_seq: una,
            rtt_us: 0,
            fack: una,
            min_rtt_us: rtt_us,
            mult: 1,
            persist: 0,
            reordering: 0,
            adapting: 0,
        }
    }

    /// Steps 1 to 3 of RFC 8985 §6.2. `is_echo_older` says whether the echoed timestamp is older
    /// than a transmission.
    pub(crate) fn update(
        &mut self,
        now_us: u32,
        delivered: &Delivered,
        is_echo_older: impl Fn(u32) -> bool,
    ) {
        if let Some(newest) = delivered.newest {
            let rtt_us = now_us.wrapping_sub(newest.at_us).max(1);
            // Step 2: which of the copies of a segment was acknowledged?
            let is_doubtful =
                newest.again && (is_echo_older(newest.at_us) || rtt_us < self.min_rtt_us);
            if !is_doubtful {
                // Step 1.
                if !newest.again && (self.min_rtt_us == 0 || rtt_us < self.min_rtt_us) {
                    self.min_rtt_us = rtt_us;
                }
                self.rtt_us = rtt_us;
                if newest.is_after(&self.newest()) || self.xmit_us == 0 {
                    (self.xmit_us, self.end_seq) = (newest.at_us, newest.end);
                }
            }
        }
        // Step 3: something sent once arrived after what was sent behind it.
        if delivered.lowest.is_some_and(|lowest| lowest.before(self.fack)) {
            self.reordering = 1;
        }
        if let Some(highest) = delivered.highest {
            self.fack = self.fack.latest(highest);
        }
    }

    /// A copy was sent for nothing: the network reorders, and by more than the window, which grows
    /// once in a round trip. RFC 8985 §6.2, step 4.
    pub(crate) fn on_duplicate(&mut self) {
        self.reordering = 1;
        if self.adapting == 0 {
            self.adapting = 1;
            self.mult = self.mult.saturating_add(1);
            self.persist = REO_WND_PERSIST;
        }
    }

    /// A round trip ended.
    pub(crate) fn on_round(&mut self) {
        self.adapting = 0;
    }

    /// A recovery ended: RFC 8985 §6.2, step 4.
    pub(crate) fn on_recovered(&mut self) {
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            self.mult = 1;
        }
    }

    /// RACK_update_reo_wnd of RFC 8985 §6.2, step 4.
    pub(crate) fn reordering_us(&self, situation: Situation) -> u32 {
        if self.reordering == 0 && (situation.recovering || situation.is_past_threshold) {
            return 0;
        }
        let quarter_us = self.min_rtt_us / 4;
        (u32::from(self.mult) * quarter_us).min(situation.srtt_us)
    }

    /// Step 5 of RFC 8985 §6.2: how long from now until a transmission is lost; 0: it is. `None`:
    /// nothing that left later was delivered.
    pub(crate) fn patience_us(&self, now_us: u32, sent: &Sent, reordering_us: u32) -> Option<u32> {
        if self.rtt_us == 0 || !self.newest().is_after(sent) {
            return None;
        }
        let passed_us = now_us.wrapping_sub(sent.at_us);
        Some((self.rtt_us + reordering_us).saturating_sub(passed_us))
    }

    fn newest(&self) -> Sent {
        Sent { at_us: self.xmit_us, end: self.end_seq, again: false }
    }
}

/// RFC 8985 §6.2: recoveries for which a larger window is kept.
const REO_WND_PERSIST: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const UNA: SeqNum = SeqNum(u32::MAX - 500);

    fn sent(at_us: u32, end: u32) -> Sent {
        Sent { at_us, end: UNA + end, again: false }
    }

    fn delivered(sent: Sent) -> Delivered {
        let lowest = (!sent.again).then_some(sent.end);
        Delivered {
            octets: 1_000,
            newest: Some(sent),
            lowest,
            highest: Some(sent.end),
            ..Delivered::default()
        }
    }

    fn situation(recovering: bool, is_past_threshold: bool) -> Situation {
        Situation { srtt_us: 40_000, recovering, is_past_threshold }
    }

    #[test]
    fn what_left_earlier_is_lost_when_the_reordering_window_has_passed() {
        let mut rack = Rack::new(UNA, 0);
        rack.update(50_000, &delivered(sent(10_000, 2_000)), |_| false);
        assert_eq!((rack.min_rtt_us, rack.rtt_us), (40_000, 40_000));
        let window_us = rack.reordering_us(situation(false, false));
        assert_eq!(window_us, 10_000, "a quarter of the round-trip time");
        let cases = [
            (sent(10_000, 1_000), 50_000, Some(10_000)), // the same burst, before it
            (sent(8_000, 1_000), 50_000, Some(8_000)),
            (sent(8_000, 1_000), 58_000, Some(0)),
            (sent(10_000, 3_000), 90_000, None), // the same burst, behind it
            (sent(10_001, 1_000), 90_000, None),
        ];
        for (sent, now_us, expected) in cases {
            assert_eq!(rack.patience_us(now_us, &sent, window_us), expected, "{sent:?} {now_us}");
        }
    }

    #[test]
    fn three_segments_behind_a_gap_need_no_window_unless_the_path_reorders() {
        let mut rack = Rack::new(UNA, 8_000);
        assert_eq!(rack.reordering_us(situation(false, true)), 0);
        assert_eq!(rack.reordering_us(situation(true, false)), 0);
        rack.update(20_000, &delivered(sent(10_000, 5_000)), |_| false);
        rack.update(20_000, &delivered(sent(9_000, 1_000)), |_| false);
        assert_eq!(rack.reordering_us(situation(true, true)), 2_000, "it does");
        for round in 0..30 {
            rack.on_duplicate();
            rack.on_duplicate();
            rack.on_round();
            let expected = (2_000 * (round + 2)).min(40_000);
            assert_eq!(rack.reordering_us(situation(true, true)), expected, "once a round");
        }
        for _ in 0..16 {
            assert_eq!(rack.reordering_us(situation(true, true)), 40_000);
            rack.on_recovered();
        }
        assert_eq!(rack.reordering_us(situation(true, true)), 2_000);
    }

    #[test]
    fn acknowledgment_of_the_original_says_nothing_about_its_copy() {
        let mut rack = Rack::new(UNA, 0);
        rack.update(50_000, &delivered(sent(10_000, 2_000)), |_| false);
        let copy = Sent { again: true, ..sent(45_000, 1_000) };
        let before = rack;
        rack.update(90_000, &delivered(copy), |_| true);
        assert_eq!(rack.rtt_us, before.rtt_us, "the echo is older");
        rack.update(50_100, &delivered(copy), |_| false);
        assert_eq!(rack.rtt_us, before.rtt_us, "it would have been faster than light");
        rack.update(90_000, &delivered(copy), |_| false);
        assert_eq!((rack.rtt_us, rack.reordering), (45_000, 0));
    }
}
