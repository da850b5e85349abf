//! What follows from the configuration and never changes.

use std::net::Ipv4Addr;

use crate::config::{Features, Ipv4Cidr, Limits, StackConfig, Timers};
use crate::ethernet::Mac;
use crate::isn::IsnGenerator;
use crate::options::{Options, TIMESTAMP_BYTES, WINDOW_SHIFT_MAX};
use crate::rto::rto_ns;
use crate::rtt::RttEstimate;
use crate::tcb::{Tcb, flag};
use crate::{ipv4, segment};

/// See the module.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) mac: Mac,
    pub(crate) addresses: Vec<Ipv4Cidr>,
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) listeners: Vec<u16>,
    pub(crate) limits: Limits,
    pub(crate) timers: Timers,
    pub(crate) features: Features,
    pub(crate) tx_checksum_offload: bool,
    /// The MSS option we send: what we can take, RFC 9293 §3.7.1.
    pub(crate) mss: u16,
    /// The window shift we offer, RFC 7323 §2.3.
    pub(crate) window_shift: u8,
    timestamp_offset: u32,
}

impl Settings {
    pub(crate) fn new(config: &StackConfig, isn: &IsnGenerator) -> Self {
        let headers = (ipv4::MIN_HEADER_BYTES + segment::MIN_HEADER_BYTES) as u16;
        let mss = config.mtu - headers;
        let window = u64::from(config.limits.receive_buffer_bytes);
        let shift = (0..WINDOW_SHIFT_MAX).find(|shift| window >> shift <= u64::from(u16::MAX));
        Self {
            mac: config.mac,
            addresses: config.addresses.clone(),
            gateway: config.gateway,
            listeners: config.listeners.clone(),
            limits: config.limits,
            timers: config.timers,
            features: config.features,
            tx_checksum_offload: config.tx_checksum_offload,
            mss: config.segment_bytes_max.map_or(mss, |max| mss.min(max)).max(MSS_MIN),
            window_shift: shift.unwrap_or(WINDOW_SHIFT_MAX),
            timestamp_offset: isn.timestamp_offset(),
        }
    }

    /// Which of our addresses this is.
    pub(crate) fn local(&self, address: Ipv4Addr) -> Option<u16> {
        self.addresses.iter().position(|own| own.addr == address).map(|at| at as u16)
    }

    /// Our address with this number.
    pub(crate) fn address(&self, local: u16) -> Ipv4Addr {
        self.addresses[usize::from(local)].addr
    }

    /// Whom to hand a packet for `remote` to, and the address of ours on the same network.
    pub(crate) fn next_hop(&self, remote: Ipv4Addr) -> Option<(Ipv4Addr, Ipv4Addr)> {
        let on_link = |hop: Ipv4Addr| self.addresses.iter().find(|own| own.contains(hop));
        match (on_link(remote), self.gateway) {
            (Some(own), _) => Some((remote, own.addr)),
            (None, Some(gateway)) => {
                Some((gateway, on_link(gateway).unwrap_or(&self.addresses[0]).addr))
            }
            (None, None) => None,
        }
    }

    /// Payload of a full segment for a peer that announced `peer_mss`.
    pub(crate) fn send_mss(&self, peer_mss: Option<u16>, timestamps: bool) -> u16 {
        // RFC 9293 §3.7.1, MUST-15: without the option, 536. Tiny ones would multiply our work.
        let mss = peer_mss.unwrap_or(MSS_DEFAULT).clamp(MSS_MIN, self.mss.max(MSS_MIN));
        // RFC 6691 §2: options are deducted by who sends them.
        mss - if timestamps { TIMESTAMP_BYTES as u16 } else { 0 }
    }

    /// Takes what both ends' SYNs agree on.
    pub(crate) fn negotiate(&self, tcb: &mut Tcb, theirs: &Options) {
        // RFC 7323 §3.2 and §2.2: in force only if both SYNs carry the option; ours always does.
        if let Some(timestamp) = theirs.timestamp {
            tcb.set(flag::TIMESTAMPS);
            tcb.ts_recent = timestamp.value;
        }
        if let Some(shift) = theirs.window_shift {
            (tcb.snd_shift, tcb.rcv_shift) = (shift, self.window_shift);
        }
        // RFC 2018 §2.
        if theirs.sack_permitted {
            tcb.set(flag::SACK);
        }
        tcb.mss = self.send_mss(theirs.mss, theirs.timestamp.is_some());
    }

    /// TSval, RFC 7323 §5.4: a clock of 1 ms.
    pub(crate) fn timestamp(&self, now_ns: u64) -> u32 {
        milliseconds(now_ns).wrapping_add(self.timestamp_offset)
    }

    /// A connection's retransmission time-out after `backoff` expiries.
    pub(crate) fn rto_ns(&self, tcb: &Tcb, backoff: u8) -> u64 {
        let estimate = RttEstimate { srtt_us: tcb.srtt_us, rttvar_us: tcb.rttvar_us };
        rto_ns(estimate, &self.timers, backoff)
    }
}

/// The clock in ms, modulo 2³².
pub(crate) fn milliseconds(now_ns: u64) -> u32 {
    (now_ns / NS_PER_MS) as u32
}

/// The clock that the age of TS.Recent is measured by: in units of 2¹⁶ ms.
pub(crate) fn ts_age(now_ns: u64) -> u16 {
    ((now_ns / NS_PER_MS) >> 16) as u16
}

/// Nanoseconds of a millisecond.
pub(crate) const NS_PER_MS: u64 = 1_000_000;
/// RFC 9293 §3.7.1.
pub(crate) const MSS_DEFAULT: u16 = 536;
/// Segments are never cut smaller, whatever the peer says.
const MSS_MIN: u16 = 88;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steering::Steering;

    fn settings(receive_buffer_bytes: u32, gateway: Option<Ipv4Addr>) -> Settings {
        let cidr = |last, prefix| Ipv4Cidr { addr: Ipv4Addr::new(10, 77, last, 1), prefix };
        let config = StackConfig {
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1_500,
            addresses: vec![cidr(0, 24), cidr(1, 24)],
            gateway,
            listeners: Vec::new(),
            limits: Limits { receive_buffer_bytes, ..Limits::default() },
            timers: Timers::default(),
            features: Features::default(),
            secret: [0; 16],
            steering: Steering::single(),
            tx_checksum_offload: false,
            placement: superpage::Placement::default(),
            segment_bytes_max: None,
        };
        Settings::new(&config, &IsnGenerator::new(&config.secret))
    }

    #[test]
    fn window_shift_is_the_smallest_that_fits() {
        let shift = |bytes| settings(bytes, None).window_shift;
        assert_eq!([shift(65_535), shift(65_536), shift(1 << 20)], [0, 1, 5]);
        assert_eq!(shift(64 << 20), 11);
    }

    #[test]
    fn next_hop_is_the_peer_on_our_networks_and_the_gateway_elsewhere() {
        let gateway = Ipv4Addr::new(10, 77, 1, 254);
        let [first, second] = [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 1, 1)];
        let (near, far) = (Ipv4Addr::new(10, 77, 0, 9), Ipv4Addr::new(192, 0, 2, 1));
        let routed = settings(65_535, Some(gateway));
        assert_eq!(routed.next_hop(near), Some((near, first)));
        assert_eq!(routed.next_hop(far), Some((gateway, second)));
        assert_eq!(settings(65_535, None).next_hop(far), None);
    }

    #[test]
    fn segments_fit_the_peer_and_the_link() {
        let settings = settings(65_535, None);
        let cases = [
            (Some(1_460), true, 1_448),
            (Some(9_000), false, 1_460),
            (None, false, 536),
            (None, true, 524),
            (Some(0), false, 88),
        ];
        for (peer, timestamps, mss) in cases {
            assert_eq!(settings.send_mss(peer, timestamps), mss, "{peer:?}");
        }
    }
}
