//! Proportional rate reduction (RFC 9937): what may be sent during recovery.
//!
//! While more is on its way than the reduced window, sending slows in proportion to what is
//! delivered; once there is less, for instance because much was lost, sending catches up, by slow
//! start only if the acknowledgment shows progress without more loss.

/// Octets counted since the recovery began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prr {
    /// prr_delivered.
    pub(crate) delivered: u32,
    /// prr_out.
    pub(crate) out: u32,
    /// RecoverFS: what was on its way at the beginning.
    pub(crate) recover_fs: u32,
}

/// One acknowledgment during recovery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// DeliveredData.
    pub(crate) delivered: u32,
    /// Octets on their way, "inflight".
    pub(crate) pipe: u32,
    /// SafeACK: SND.UNA advanced and no more is lost.
    pub(crate) is_safe: bool,
}

impl Prr {
    /// RFC 9937 §6: how much may be sent in answer to an acknowledgment.
    pub(crate) fn on_ack(&mut self, progress: Progress, ssthresh: u32, mss: u32) -> u32 {
        let Progress { delivered, pipe, is_safe } = progress;
        self.delivered = self.delivered.saturating_add(delivered);
        let mut count = if pipe > ssthresh {
            let target = u64::from(self.delivered) * u64::from(ssthresh);
            let target = target.div_ceil(u64::from(self.recover_fs.max(1)));
            u32::try_from(target).unwrap_or(u32::MAX).saturating_sub(self.out)
        } else {
            // PRR-CRB, and PRR-SSRB when it is safe.
            let conserved = self.delivered.saturating_sub(self.out).max(delivered);
            let count = if is_safe { conserved + mss } else { conserved };
            count.min(ssthresh - pipe)
        };
        if self.out == 0 && count < mss {
            // The fast retransmission itself.
            count = mss;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_000;

    /// What is sent for each of `acks` segments delivered, when `lost` of 100 in flight were.
    fn sent_per_ack(lost: u32, ssthresh: u32, acks: u32, is_safe: bool) -> Vec<u32> {
        let mut prr = Prr { delivered: 0, out: 0, recover_fs: 100 * MSS };
        let mut pipe = (100 - lost) * MSS;
        let on_ack = |_| {
            pipe -= MSS;
            let progress = Progress { delivered: MSS, pipe, is_safe };
            let count = prr.on_ack(progress, ssthresh, MSS) / MSS;
            prr.out += count * MSS;
            pipe += count * MSS;
            count
        };
        (0..acks).map(on_ack).collect()
    }

    #[test]
    fn sending_slows_in_proportion_to_what_is_delivered() {
        let sent = sent_per_ack(1, 70 * MSS, 99, false);
        assert_eq!(sent[0], 1, "the fast retransmission");
        let total: u32 = sent.iter().sum();
        assert_eq!(total, 70, "seven for ten");
        for ten in sent[..90].chunks(10) {
            assert!((6..=8).contains(&ten.iter().sum::<u32>()), "evenly: {sent:?}");
        }
    }

    #[test]
    fn after_heavy_loss_packets_are_conserved_or_slow_start_catches_up() {
        assert_eq!(sent_per_ack(60, 70 * MSS, 10, false), [1; 10]);
        assert_eq!(sent_per_ack(60, 70 * MSS, 10, true), [2; 10]);
        let sent = sent_per_ack(32, 70 * MSS, 10, true);
        assert_eq!(sent[..5], [2, 2, 1, 1, 1], "not beyond the reduced window: {sent:?}");
    }
}
