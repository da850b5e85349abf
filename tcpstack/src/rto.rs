//! The retransmission time-out (RFC 6298 §2 and §5).

use crate::config::Timers;
use crate::rtt::RttEstimate;

/// The time-out in ns, after `backoff` expiries in a row.
pub(crate) fn rto_ns(estimate: RttEstimate, timers: &Timers, backoff: u8) -> u64 {
    let RttEstimate { srtt_us, rttvar_us } = estimate;
    let base_us = if srtt_us == 0 {
        // RFC 6298 §2, (2.1).
        u64::from(timers.rto_initial_ms) * 1_000
    } else {
        // RFC 6298 §2, (2.3): SRTT + max(G, K × RTTVAR); (2.4): not less than the minimum. A path
        // as long as the minimum would be left without any margin while its RTTVAR is small, for a
        // queue or a delayed acknowledgment: so half of SRTT is added at least, up to the minimum.
        let min_us = u64::from(timers.rto_min_ms) * 1_000;
        let margin_us = min_us.min(u64::from(srtt_us) / 2).max(CLOCK_GRANULARITY_US);
        let variation_us = (VARIATIONS * u64::from(rttvar_us)).max(margin_us);
        (u64::from(srtt_us) + variation_us).max(min_us)
    };
    // RFC 6298 §5, (5.5): back off; §2, (2.5): the upper bound.
    let backed_off = base_us << backoff.min(BACKOFF_MAX);
    backed_off.min(u64::from(timers.rto_max_ms) * 1_000) * 1_000
}

/// K of RFC 6298.
const VARIATIONS: u64 = 4;
/// G of RFC 6298: turns may be so far apart.
const CLOCK_GRANULARITY_US: u64 = 1_000;
/// Beyond this the upper bound holds anyway.
const BACKOFF_MAX: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_out_follows_rfc_6298() {
        let timers = Timers { rto_min_ms: 200, rto_max_ms: 60_000, ..Timers::default() };
        let none = RttEstimate { srtt_us: 0, rttvar_us: 0 };
        let lan = RttEstimate { srtt_us: 300, rttvar_us: 50 };
        let steady = RttEstimate { srtt_us: 250_000, rttvar_us: 0 };
        let satellite = RttEstimate { srtt_us: 600_000, rttvar_us: 100_000 };
        let cases = [
            (none, 0, 1_000), // (2.1)
            (none, 1, 2_000), // (5.5)
            (none, 3, 8_000),
            (lan, 0, 200), // (2.4)
            (lan, 2, 800),
            (steady, 0, 375),       // half of SRTT
            (satellite, 0, 1_000),  // SRTT + 4 RTTVAR
            (satellite, 9, 60_000), // (2.5)
            (satellite, 255, 60_000),
        ];
        for (estimate, backoff, ms) in cases {
            assert_eq!(
                rto_ns(estimate, &timers, backoff),
                ms * 1_000_000,
                "{estimate:?} {backoff}"
            );
        }
    }
}
