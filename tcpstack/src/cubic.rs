//! CUBIC (RFC 9438): congestion avoidance that grows with time, not with round trips. All in
//! integers: octets and ms, with 64-bit intermediates that cannot overflow.

/// State of an epoch of congestion avoidance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cubic {
    /// When it began, in ms, modulo 2³². Meaningless while `w_max` is 0.
    pub(crate) epoch_ms: u32,
    /// K in ms; [`NO_EPOCH`]: it has not begun.
    pub(crate) k_ms: u32,
    /// Octets acknowledged towards the next segment.
    pub(crate) credit: u32,
    /// W_max: the window before the last reduction; 0: there was none.
    pub(crate) w_max: u32,
}

/// One acknowledgment in congestion avoidance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) now_ms: u32,
    pub(crate) srtt_us: u32,
    pub(crate) mss: u32,
    pub(crate) ssthresh: u32,
    /// Octets acknowledged.
    pub(crate) acked: u32,
}

impl Cubic {
    /// No epoch yet.
    pub(crate) const fn new(w_max: u32) -> Self {
        Self { epoch_ms: 0, k_ms: NO_EPOCH, credit: 0, w_max }
    }

    /// W_max after a loss at `cwnd`: RFC 9438 §4.7, fast convergence.
    pub(crate) fn w_max_after_loss(&self, cwnd: u32) -> u32 {
        if cwnd < self.w_max {
            // (1 + beta) / 2: others shall have what this flow does not reach.
            scaled(cwnd, BETA_DIVISOR + BETA, 2 * BETA_DIVISOR)
        } else {
            cwnd
        }
    }

    /// The window after an acknowledgment: RFC 9438 §4.2 to §4.5.
    pub(crate) fn grown(&mut self, cwnd: u32, round: Round) -> u32 {
        if self.k_ms == NO_EPOCH {
            self.begin(cwnd, round);
        }
        let elapsed_ms = round.now_ms.wrapping_sub(self.epoch_ms);
        let ahead_ms = elapsed_ms.saturating_add(round.srtt_us / 1_000);
        // §4.2: not more than half as much again in a round trip.
        let target = self.w_cubic(ahead_ms, round.mss).clamp(cwnd, cwnd.saturating_add(cwnd / 2));
        let friendly = friendly(elapsed_ms, round);
        if friendly > cwnd && friendly > self.w_cubic(elapsed_ms, round.mss) {
            // §4.3: where Reno would be larger, be as large.
            self.credit = 0;
            return friendly.min(cwnd.saturating_add(round.acked));
        }
        // §4.4 and §4.5: (target - cwnd) / cwnd for each segment acknowledged. Never less than a
        // segment in a hundred windows.
        let gain = (target - cwnd).max(cwnd.min(round.mss) / 100).max(1);
        let needed = u64::from(cwnd) * u64::from(round.mss) / u64::from(gain);
        self.credit = self.credit.saturating_add(round.acked);
        let segments = u64::from(self.credit) / needed.max(1);
        let segments = u32::try_from(segments).unwrap_or(u32::MAX).min(SEGMENTS_PER_ACK_MAX);
        let used = u64::from(segments) * needed;
        self.credit = u32::try_from(u64::from(self.credit).saturating_sub(used)).unwrap_or(0);
        cwnd.saturating_add(segments * round.mss)
    }

    fn begin(&mut self, cwnd: u32, round: Round) {
        self.epoch_ms = round.now_ms;
        self.credit = 0;
        if cwnd >= self.w_max {
            // The window is past the last loss, or there was none.
            (self.w_max, self.k_ms) = (cwnd, 0);
            return;
        }
        // §4.2: K = cbrt((W_max - cwnd_epoch) / C), with the difference in segments. In ms:
        // cbrt(difference * 10^9 * 10 / 4).
        let segments_milli = u64::from(self.w_max - cwnd) * 1_000 / u64::from(round.mss);
        let cubed = segments_milli * (1_000_000 * C_DIVISOR / C);
        self.k_ms = cube_root(cubed).min(K_MS_MAX);
    }

    /// W_cubic(t) = C (t - K)^3 + W_max, RFC 9438 §4.2.
    fn w_cubic(&self, at_ms: u32, mss: u32) -> u32 {
        let distance_ms = i64::from(at_ms) - i64::from(self.k_ms);
        let distance_ms = distance_ms.clamp(-DISTANCE_MS_MAX, DISTANCE_MS_MAX);
        // In ms^3 * C at most 0.4 * 10^18: fits.
        let cubed = i128::from(distance_ms.pow(3)) * i128::from(C) / i128::from(C_DIVISOR);
        let octets = cubed * i128::from(mss) / 1_000_000_000;
        let window = i128::from(self.w_max) + octets;
        window.clamp(0, i128::from(u32::MAX)) as u32
    }
}

/// W_est of RFC 9438 §4.3: where Reno would be that grows so slowly that it is as large on
/// average, until it is where it was reduced; from there like Reno. Computed from the time, so that
/// it needs no state.
fn friendly(elapsed_ms: u32, round: Round) -> u32 {
    let rounds_milli = u64::from(elapsed_ms) * 1_000_000 / u64::from(round.srtt_us.max(1_000));
    let start = u64::from(round.ssthresh);
    let mss = u64::from(round.mss);
    // alpha = 3 (1 - beta) / (1 + beta) = 9 / 17.
    let slow = rounds_milli * mss * 9 / 17 / 1_000;
    let distance = start * u64::from(BETA_DIVISOR - BETA) / u64::from(BETA);
    let grown = if slow <= distance { slow } else { distance + (slow - distance) * 17 / 9 };
    u32::try_from(start + grown).unwrap_or(u32::MAX)
}

/// ssthresh after a loss: beta * cwnd, RFC 9438 §4.6.
pub(crate) fn reduced(cwnd: u32, mss: u32) -> u32 {
    scaled(cwnd, BETA, BETA_DIVISOR).max(2 * mss)
}

fn scaled(octets: u32, by: u32, over: u32) -> u32 {
    (u64::from(octets) * u64::from(by) / u64::from(over)) as u32
}

/// The largest integer whose cube is not more than `of`.
fn cube_root(of: u64) -> u32 {
    let mut root = 0_u64;
    for bit in (0..21).rev() {
        let larger = root | 1 << bit;
        if larger * larger * larger <= of {
            root = larger;
        }
    }
    root as u32
}

/// beta_cubic = 0.7, RFC 9438 §4.6.
const BETA: u32 = 7;
const BETA_DIVISOR: u32 = 10;
/// C = 0.4, RFC 9438 §5.
const C: u64 = 4;
const C_DIVISOR: u64 = 10;
/// `k_ms` before the epoch.
const NO_EPOCH: u32 = u32::MAX;
/// 2,000 s: the window would have grown by more than 2³² octets long ago.
const K_MS_MAX: u32 = 2_000_000;
const DISTANCE_MS_MAX: i64 = 2_000_000;
/// One acknowledgment never adds more: it may cover much that was lost.
const SEGMENTS_PER_ACK_MAX: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_000;

    /// The window after so many ms of acknowledgments for all of it each round trip.
    fn run(cubic: &mut Cubic, mut cwnd: u32, rtt_ms: u32, ms: u32) -> u32 {
        let ssthresh = cwnd;
        for round in 0..ms / rtt_ms {
            for ack in 0..cwnd / (2 * MSS) {
                let now_ms = round * rtt_ms + ack * rtt_ms * 2 * MSS / cwnd;
                let srtt_us = rtt_ms * 1_000;
                let round = Round { now_ms, srtt_us, mss: MSS, ssthresh, acked: 2 * MSS };
                cwnd = cubic.grown(cwnd, round);
            }
        }
        cwnd
    }

    #[test]
    fn cube_roots_are_exact() {
        for root in [0_u64, 1, 2, 3, 99, 100, 2_097_151] {
            let cube = root * root * root;
            assert_eq!(u64::from(cube_root(cube)), root);
            if root > 0 {
                assert_eq!(u64::from(cube_root(cube - 1)), root - 1);
            }
        }
    }

    #[test]
    fn window_returns_to_where_it_was_after_k_and_grows_beyond() {
        // RFC 9438 §4.2: 1,000 segments, reduced to 700: K = cbrt(300 / 0.4) = 9.086 s.
        let mut cubic = Cubic::new(1_000 * MSS);
        assert_eq!(run(&mut cubic, 700 * MSS, 100, 100), 710 * MSS);
        assert_eq!(cubic.k_ms, 9_085);
        for (ms, least, most) in
            [(3_000, 890, 925), (6_000, 975, 995), (9_100, 995, 1_005), (15_000, 1_060, 1_090)]
        {
            let mut cubic = Cubic::new(1_000 * MSS);
            let segments = run(&mut cubic, 700 * MSS, 100, ms) / MSS;
            assert!((least..=most).contains(&segments), "{segments} after {ms} ms");
        }
    }

    #[test]
    fn short_round_trips_are_as_fast_as_reno() {
        // RFC 9438 §4.3: 9/17 of a segment a round trip until W_max, then one.
        let mut cubic = Cubic::new(20 * MSS);
        let segments = run(&mut cubic, 14 * MSS, 10, 100) / MSS;
        assert!((18..=20).contains(&segments), "{segments} after ten round trips");
        let mut cubic = Cubic::new(20 * MSS);
        let segments = run(&mut cubic, 14 * MSS, 10, 300) / MSS;
        assert!((36..=40).contains(&segments), "{segments} after thirty");
    }

    #[test]
    fn flow_that_shrinks_lets_others_have_more() {
        assert_eq!(Cubic::new(0).w_max_after_loss(100_000), 100_000);
        assert_eq!(Cubic::new(120_000).w_max_after_loss(100_000), 85_000);
        assert_eq!(reduced(100_000, MSS), 70_000);
        assert_eq!(reduced(1_000, MSS), 2 * MSS);
    }

    #[test]
    fn extreme_numbers_neither_overflow_nor_jump() {
        for cwnd in [88, 65_535, 1 << 30] {
            for w_max in [0, 1, cwnd, u32::MAX] {
                for now_ms in [0, 1, u32::MAX / 2, u32::MAX] {
                    let mut cubic = Cubic { k_ms: 0, ..Cubic::new(w_max) };
                    let round = Round { now_ms, srtt_us: 1, mss: 88, ssthresh: cwnd, acked: 88 };
                    let grown = cubic.grown(cwnd, round);
                    assert!(grown >= cwnd && grown <= cwnd + 8 * 88, "{cwnd} {w_max} {now_ms}");
                }
            }
        }
    }
}
