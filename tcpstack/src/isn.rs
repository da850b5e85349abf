//! Initial sequence numbers (RFC 9293 §3.4.1).

use siphasher::sip::SipHasher13;
use zerocopy::IntoBytes;

use crate::flow::FlowKey;
use crate::seq::SeqNum;

/// ISN = M + F(local address, local port, remote address, remote port, secret).
#[derive(Clone, Copy, Debug)]
pub(crate) struct IsnGenerator(SipHasher13);

impl IsnGenerator {
    pub(crate) fn new(secret: &[u8; 16]) -> Self {
        // Another function of the secret than the flow table's: knowing buckets says nothing here.
        Self(SipHasher13::new_with_key(&secret.map(|byte| byte ^ DOMAIN)))
    }

    /// The number a connection begins with.
    pub(crate) fn isn(&self, now_ns: u64, key: &FlowKey) -> SeqNum {
        let clock = (now_ns / CLOCK_TICK_NS) as u32;
        SeqNum(clock.wrapping_add(self.0.hash(key.as_bytes()) as u32))
    }

    /// The number a connection begins with that takes over an address pair in TIME-WAIT: RFC 6191
    /// §2 wants it after all the old connection has sent.
    pub(crate) fn isn_after(&self, now_ns: u64, key: &FlowKey, old_nxt: SeqNum) -> SeqNum {
        let isn = self.isn(now_ns, key);
        if isn.after(old_nxt + REUSE_GAP) { isn } else { old_nxt + REUSE_GAP }
    }

    /// What timestamps begin with, so that they do not tell the time since the start.
    pub(crate) fn timestamp_offset(&self) -> u32 {
        self.0.hash(b"timestamp offset") as u32
    }
}

/// M of RFC 9293: a tick about every 4 µs.
const CLOCK_TICK_NS: u64 = 4_000;
const REUSE_GAP: u32 = 65_537;
const DOMAIN: u8 = 0x5c;

#[cfg(test)]
mod tests {
    use superpage::Record;

    use super::*;

    #[test]
    fn numbers_follow_the_clock_for_a_flow_and_differ_between_flows() {
        let generator = IsnGenerator::new(&[9; 16]);
        let key = FlowKey::zeroed();
        let other = FlowKey { remote_port: 1, ..key };
        let first = generator.isn(0, &key);
        assert_eq!(generator.isn(8_000, &key), first + 2);
        assert_ne!(generator.isn(0, &other), first);
        assert_ne!(IsnGenerator::new(&[8; 16]).isn(0, &key), first);
        assert!(generator.isn_after(0, &key, first + 1_000_000).after(first + 1_000_000));
        assert_eq!(generator.isn_after(0, &key, first - 1_000_000), first);
    }
}
