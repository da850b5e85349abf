//! What follows from the configuration. Only the addresses change.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::addresses::Addresses;
use crate::config::{Features, Limits, StackConfig, Timers};
use crate::ethernet::{self, Mac, Station};
use crate::flow::{FlowKey, FlowLabels};
use crate::ip::{self, IpCidr};
use crate::isn::IsnGenerator;
use crate::options::{Options, TIMESTAMP_BYTES, WINDOW_SHIFT_MAX};
use crate::rto::rto_ns;
use crate::rtt::RttEstimate;
use crate::tcb::{Tcb, flag};
use crate::{ndp, segment};

/// See the module.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) station: Station,
    pub(crate) addresses: Addresses,
    pub(crate) has_ipv6: bool,
    gateway: Option<Ipv4Addr>,
    gateway_ipv6: Option<Ipv6Addr>,
    pub(crate) listeners: Vec<u16>,
    pub(crate) limits: Limits,
    pub(crate) timers: Timers,
    pub(crate) features: Features,
    pub(crate) tx_checksum_offload: bool,
    pub(crate) mtu: u16,
    segment_bytes_max: u16,
    flow_labels: FlowLabels,
    /// The window shift we offer, RFC 7323 §2.3.
    pub(crate) window_shift: u8,
    timestamp_offset: u32,
}

impl Settings {
    pub(crate) fn new(config: &StackConfig, isn: &IsnGenerator) -> Self {
        let has_ipv6 = config.addresses.iter().any(|own| own.addr.is_ipv6());
        // RFC 4291 §2.8: every interface has one.
        let link_local = has_ipv6.then(|| IpCidr::new(link_local(config.mac), 64));
        let addresses = config.addresses.iter().copied().chain(link_local);
        let window = u64::from(config.limits.receive_buffer_bytes);
        let shift = (0..WINDOW_SHIFT_MAX).find(|shift| window >> shift <= u64::from(u16::MAX));
        Self {
            station: Station { mac: config.mac, vlan: config.vlan },
            addresses: Addresses::new(addresses),
            has_ipv6,
            gateway: config.gateway,
            gateway_ipv6: config.gateway_ipv6,
            listeners: config.listeners.clone(),
            limits: config.limits,
            timers: config.timers,
            features: config.features,
            tx_checksum_offload: config.tx_checksum_offload,
            mtu: config.mtu,
            segment_bytes_max: config.segment_bytes_max.unwrap_or(u16::MAX),
            flow_labels: FlowLabels::new(&config.secret),
            window_shift: shift.unwrap_or(WINDOW_SHIFT_MAX),
            timestamp_offset: isn.timestamp_offset(),
        }
    }

    /// Which of our addresses this is.
    pub(crate) fn local(&self, address: IpAddr) -> Option<u16> {
        self.addresses.ours().find(|(_, own)| own.addr == address).map(|(local, _)| local)
    }

    /// Whether a frame for `mac` is for us: for the port, or for one of our groups.
    pub(crate) fn is_for_us(&self, mac: Mac) -> bool {
        mac == self.station.mac
            || self.has_ipv6 && self.groups().any(|group| ethernet::group(group) == mac)
    }

    /// Whether we are in a group of IPv6: RFC 4291 §2.8.
    pub(crate) fn is_in_group(&self, group: Ipv6Addr) -> bool {
        self.has_ipv6 && self.groups().any(|own| own == group)
    }

    fn groups(&self) -> impl Iterator<Item = Ipv6Addr> {
        let own = self.addresses.ours().filter_map(|(_, own)| match own.addr {
            IpAddr::V6(address) => Some(ndp::solicited_node(address)),
            IpAddr::V4(_) => None,
        });
        own.chain([ndp::ALL_NODES])
    }

    /// Whether it is the address that the stack made itself.
    pub(crate) fn is_made_link_local(&self, address: IpAddr) -> bool {
        self.has_ipv6 && address == IpAddr::V6(link_local(self.station.mac))
    }

    /// Our address with this number, if it is of IPv6.
    pub(crate) fn ipv6_address(&self, local: u16) -> Option<Ipv6Addr> {
        match self.address(local) {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        }
    }

    /// Our address with this number.
    pub(crate) fn address(&self, local: u16) -> IpAddr {
        self.addresses.get(local)
    }

    /// The label of a flow's packets; IPv4 has none.
    pub(crate) fn flow_label(&self, key: &FlowKey) -> u32 {
        if key.is_ipv6() { self.flow_labels.label(key) } else { 0 }
    }

    /// Whom to hand a packet for `remote` to.
    pub(crate) fn next_hop(&self, remote: IpAddr) -> Option<IpAddr> {
        if self.on_link(remote).is_some() {
            return Some(remote);
        }
        match remote {
            IpAddr::V4(_) => self.gateway.map(IpAddr::V4),
            IpAddr::V6(_) => self.gateway_ipv6.map(IpAddr::V6),
        }
    }

    /// Number of the address of ours on the same network as `neighbor`.
    pub(crate) fn on_link(&self, neighbor: IpAddr) -> Option<u16> {
        self.addresses.on_link(neighbor)
    }

    /// Number of the address of ours to speak to `remote` from, if it can be reached: the one on
    /// its network, else the one on the gateway's, else the first. An address that is good for the
    /// link alone is not for peers beyond it (RFC 6724 §5, rule 2).
    pub(crate) fn source_for(&self, remote: IpAddr) -> Option<u16> {
        self.source_among(remote, |_| true)
    }

    /// As [`Self::source_for`], of those addresses that are `wanted`.
    pub(crate) fn source_among(&self, remote: IpAddr, wanted: impl Fn(u16) -> bool) -> Option<u16> {
        let hop = self.next_hop(remote)?;
        let reaches = |own: &IpCidr| {
            own.addr.is_ipv4() == remote.is_ipv4() && (hop == remote || !is_link_local(own.addr))
        };
        let mut good =
            self.addresses.ours().filter(|(local, own)| wanted(*local) && reaches(own)).peekable();
        let first = good.peek().map(|(local, _)| *local);
        good.find(|(_, own)| own.contains(hop)).map(|(local, _)| local).or(first)
    }

    /// The MSS option we send in a flow: what we can take, RFC 9293 §3.7.1.
    pub(crate) fn mss(&self, key: &FlowKey) -> u16 {
        let headers = ip::header_bytes(key.is_ipv6()) + segment::MIN_HEADER_BYTES;
        (self.mtu - headers as u16).min(self.segment_bytes_max).max(MSS_MIN)
    }

    /// Payload of a full segment of a flow whose peer announced `peer_mss`.
    pub(crate) fn send_mss(&self, key: &FlowKey, peer_mss: Option<u16>, timestamps: bool) -> u16 {
        // Tiny ones would multiply our work.
        let mss = peer_mss.unwrap_or(default_mss(key)).clamp(MSS_MIN, self.mss(key));
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
        tcb.mss = self.send_mss(&tcb.key, theirs.mss, theirs.timestamp.is_some());
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
/// RFC 4291 §2.5.6 and appendix A; RFC 2464 §4.
fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    let interface = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(interface))
}

/// RFC 4291 §2.5.6: such an address is good for the link alone.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// RFC 9293 §3.7.1, MUST-15: the MSS of a peer that announced none, which is what the least MTU of
/// the family leaves.
pub(crate) fn default_mss(key: &FlowKey) -> u16 {
    if key.is_ipv6() { 1_220 } else { 536 }
}

/// Segments are never cut smaller, whatever the peer says.
const MSS_MIN: u16 = 88;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::steering::Steering;

    /// Settings of a stack with buffers of this size.
    pub(crate) fn settings_with_buffer(receive_buffer_bytes: u32) -> Settings {
        made(&settings(receive_buffer_bytes))
    }

    fn settings(receive_buffer_bytes: u32) -> StackConfig {
        StackConfig {
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1_500,
            addresses: vec![
                IpCidr::new([10, 77, 0, 1], 24),
                IpCidr::new([10, 77, 1, 1], 24),
                IpCidr::new([0xfe80, 0, 0, 0, 0, 0, 0, 1], 64),
                IpCidr::new([0xfd54, 0x4c, 0, 0, 0, 0, 0, 1], 64),
            ],
            gateway: None,
            gateway_ipv6: None,
            listeners: Vec::new(),
            limits: Limits { receive_buffer_bytes, ..Limits::default() },
            timers: Timers::default(),
            features: Features::default(),
            secret: [0; 16],
            steering: Steering::single(),
            tx_checksum_offload: false,
            placement: superpage::Placement::default(),
            segment_bytes_max: None,
            vlan: None,
        }
    }

    fn made(config: &StackConfig) -> Settings {
        Settings::new(config, &IsnGenerator::new(&config.secret))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn window_shift_is_the_smallest_that_fits() {
        let shift = |bytes| made(&settings(bytes)).window_shift;
        assert_eq!([shift(65_535), shift(65_536), shift(1 << 20)], [0, 1, 5]);
        assert_eq!(shift(64 << 20), 11);
    }

    #[test]
    fn next_hop_is_the_peer_on_our_networks_and_the_gateway_elsewhere() {
        let alone = settings(65_535);
        let routed = made(&StackConfig {
            gateway: Some(Ipv4Addr::new(10, 77, 1, 254)),
            gateway_ipv6: Some("fe80::fe".parse().expect("address")),
            ..alone.clone()
        });
        let alone = made(&alone);
        let cases = [
            ("10.77.0.9", "10.77.0.9", "10.77.0.1"),
            ("10.77.1.9", "10.77.1.9", "10.77.1.1"),
            ("fe80::9", "fe80::9", "fe80::1"),
            ("fd54:4c::9", "fd54:4c::9", "fd54:4c::1"),
        ];
        for (remote, hop, own) in cases {
            for settings in [&routed, &alone] {
                assert_eq!(settings.next_hop(ip(remote)), Some(ip(hop)), "{remote}");
                let own_at = settings.source_for(ip(remote)).expect("reachable");
                assert_eq!(settings.address(own_at), ip(own), "{remote}");
            }
        }
        // A gateway with a link-local address is not spoken through from such an address.
        let far =
            [("192.0.2.1", "10.77.1.254", "10.77.1.1"), ("2001:db8::1", "fe80::fe", "fd54:4c::1")];
        for (remote, hop, own) in far {
            assert_eq!(routed.next_hop(ip(remote)), Some(ip(hop)));
            assert_eq!(routed.address(routed.source_for(ip(remote)).expect("routed")), ip(own));
            assert_eq!((alone.next_hop(ip(remote)), alone.source_for(ip(remote))), (None, None));
        }
    }

    #[test]
    fn segments_fit_the_peer_and_the_link() {
        let settings = made(&settings(65_535));
        let cases = [
            ("10.77.0.9", Some(1_460), true, 1_448),
            ("10.77.0.9", Some(9_000), false, 1_460),
            ("10.77.0.9", None, false, 536),
            ("10.77.0.9", None, true, 524),
            ("10.77.0.9", Some(0), false, 88),
            ("fd54:4c::9", Some(1_460), true, 1_428),
            ("fd54:4c::9", Some(1_220), false, 1_220),
            ("fd54:4c::9", None, false, 1_220),
        ];
        for (remote, peer, timestamps, mss) in cases {
            let key = FlowKey::new(ip(remote), 1, 0, 1);
            assert_eq!(settings.send_mss(&key, peer, timestamps), mss, "{remote} {peer:?}");
        }
    }
}
