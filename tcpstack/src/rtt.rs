//! Round-trip time estimation (RFC 6298 §2).

/// What is known about a path's round-trip time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RttEstimate {
    /// SRTT in µs; 0 before the first measurement.
    pub(crate) srtt_us: u32,
    /// RTTVAR in µs.
    pub(crate) rttvar_us: u32,
}

impl RttEstimate {
    /// The estimate after one more measurement.
    #[must_use]
    pub(crate) fn with_sample(self, sample_ns: u64) -> Self {
        let sample_us =
            u32::try_from(sample_ns / 1_000).unwrap_or(u32::MAX).clamp(1, SAMPLE_US_MAX);
        if self.srtt_us == 0 {
            // RFC 6298 §2, (2.2): the first measurement.
            return Self { srtt_us: sample_us, rttvar_us: sample_us / 2 };
        }
        // RFC 6298 §2, (2.3): RTTVAR first, with the old SRTT; alpha 1/8, beta 1/4.
        let error_us = self.srtt_us.abs_diff(sample_us);
        let rttvar_us = self.rttvar_us - self.rttvar_us / 4 + error_us / 4;
        let srtt_us = self.srtt_us - self.srtt_us / 8 + sample_us / 8;
        Self { srtt_us: srtt_us.max(1), rttvar_us }
    }
}

/// No path takes longer; keeps the arithmetic far from overflow.
const SAMPLE_US_MAX: u32 = 120_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_move_the_estimate_as_rfc_6298_says() {
        let none = RttEstimate { srtt_us: 0, rttvar_us: 0 };
        let cases: [(RttEstimate, u64, RttEstimate); 5] = [
            (none, 80_000_000, RttEstimate { srtt_us: 80_000, rttvar_us: 40_000 }),
            (
                RttEstimate { srtt_us: 80_000, rttvar_us: 40_000 },
                80_000_000,
                RttEstimate { srtt_us: 80_000, rttvar_us: 30_000 },
            ),
            (
                RttEstimate { srtt_us: 80_000, rttvar_us: 40_000 },
                160_000_000,
                RttEstimate { srtt_us: 90_000, rttvar_us: 50_000 },
            ),
            (none, 10, RttEstimate { srtt_us: 1, rttvar_us: 0 }),
            (none, u64::MAX, RttEstimate { srtt_us: 120_000_000, rttvar_us: 60_000_000 }),
        ];
        for (before, sample_ns, after) in cases {
            assert_eq!(before.with_sample(sample_ns), after, "{before:?} with {sample_ns}");
        }
    }
}
