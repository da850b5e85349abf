//! ICMP errors that we send: what is said about a packet that was not taken (RFC 792, RFC 1122
//! §3.2.2; RFC 4443 §2.4 and §3), and how often.

use std::net::IpAddr;

use crate::checksum::Sum;
use crate::icmp_queue::Kind;
use crate::ipv6::{MTU_MIN, Problem};
use crate::stack::Stack;
use crate::{icmpv6, ipv4, ipv6};

/// An error to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IcmpError {
    kind: u8,
    code: u8,
    /// What the second half of the header holds.
    parameter: u32,
}

impl IcmpError {
    /// RFC 1122 §3.2.2.1: we have no such protocol.
    pub(crate) const IPV4_PROTOCOL: Self = Self { kind: 3, code: 2, parameter: 0 };
    /// RFC 1122 §3.2.2.1: nobody listens there.
    pub(crate) const IPV4_PORT: Self = Self { kind: 3, code: 3, parameter: 0 };
    /// RFC 4443 §3.1: nobody listens there.
    pub(crate) const IPV6_PORT: Self = Self { kind: 1, code: 4, parameter: 0 };

    /// RFC 792 and RFC 4443 §3.3: fragments of a datagram did not come in time.
    pub(crate) fn reassembly_time(is_ipv6: bool) -> Self {
        Self { kind: if is_ipv6 { 3 } else { 11 }, code: 1, parameter: 0 }
    }

    /// RFC 4443 §3.4.
    pub(crate) fn parameter_problem(problem: Problem) -> Self {
        Self { kind: 4, code: problem.code, parameter: problem.pointer.into() }
    }

    /// Writes the header; what it is about follows.
    fn emit(&self, bytes: &mut [u8]) {
        bytes[..4].copy_from_slice(&[self.kind, self.code, 0, 0]);
        bytes[4..icmpv6::HEADER_BYTES].copy_from_slice(&self.parameter.to_be_bytes());
    }
}

/// How many errors may be sent: a bucket of tokens that time fills.
#[derive(Debug)]
pub(crate) struct ErrorBudget {
    tokens: u64,
    /// When the bucket was last filled.
    filled_ns: u64,
}

impl ErrorBudget {
    pub(crate) fn new() -> Self {
        Self { tokens: BURST_MAX, filled_ns: 0 }
    }

    /// Whether one more may be sent now.
    fn take(&mut self, now_ns: u64) -> bool {
        let earned = now_ns.saturating_sub(self.filled_ns) / TOKEN_NS;
        if earned > 0 {
            self.filled_ns += earned * TOKEN_NS;
            self.tokens = (self.tokens + earned).min(BURST_MAX);
        }
        let has_token = self.tokens > 0;
        self.tokens -= u64::from(has_token);
        has_token
    }
}

impl Stack {
    /// Tells `remote` what is wrong with its packet, unless too many were told already. The caller
    /// has made sure that the packet is one that may be answered.
    pub(crate) fn tell_error(
        &mut self,
        now_ns: u64,
        remote: IpAddr,
        local: u16,
        error: IcmpError,
        packet: &[u8],
    ) {
        if !self.icmp_budget.take(now_ns) {
            self.counters.icmp_error_limited += 1;
            return;
        }
        let quoted_max = if remote.is_ipv6() { QUOTED_IPV6_MAX } else { QUOTED_IPV4_MAX };
        let quoted = &packet[..packet.len().min(quoted_max)];
        let own = self.settings.address(local);
        let bytes = icmpv6::HEADER_BYTES + quoted.len();
        let Some(room) = self.icmp.push(remote, local, Kind::Error, bytes) else {
            self.counters.icmp_error_limited += 1;
            return;
        };
        error.emit(room);
        room[icmpv6::HEADER_BYTES..].copy_from_slice(quoted);
        match (own, remote) {
            (IpAddr::V6(own), IpAddr::V6(remote)) => icmpv6::seal(room, own, remote),
            _ => {
                let checksum = Sum::default().add(room).checksum();
                room[2..4].copy_from_slice(&checksum);
            }
        }
    }
}

/// RFC 4443 §2.4 (f) asks for a limit. Linux sends as many at once, and some times as many a
/// second; so few are of no use to who would have us send them to somebody else.
const BURST_MAX: u64 = 50;
const TOKEN_NS: u64 = 5_000_000;
/// RFC 4443 §2.4 (c): as much as fits the least MTU.
const QUOTED_IPV6_MAX: usize = MTU_MIN as usize - ipv6::HEADER_BYTES - icmpv6::HEADER_BYTES;
/// RFC 1812 §4.3.2.3: the same with 576 bytes.
const QUOTED_IPV4_MAX: usize = 576 - ipv4::MIN_HEADER_BYTES - icmpv6::HEADER_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sent_in_a_burst_and_then_at_a_rate() {
        let mut budget = ErrorBudget::new();
        let mut sent = |now_ns| (0..1_000).filter(|_| budget.take(now_ns)).count();
        let second = 1_000_000_000;
        assert_eq!([sent(second), sent(second), sent(second + TOKEN_NS)], [50, 0, 1]);
        let later = (0..100).map(|at| sent(2 * second + at * second / 100)).sum::<usize>();
        assert_eq!(later, 50 + 198, "a burst, and 200 in a second");
        assert_eq!(sent(100 * second), 50, "the bucket has a rim");
    }
}
