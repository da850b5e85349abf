//! Addresses of the two hosts, and how a stack is made of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use superpage::{Placement, TierPolicy};
use tcpstack::{Features, IpCidr, Limits, Stack, StackConfig, Steering, Timers};

pub(crate) const PORT: u16 = 7;
pub(crate) const MTU: u16 = 1_500;
pub(crate) const PREFIX_IPV4: u8 = 24;
pub(crate) const PREFIX_IPV6: u8 = 64;

/// One of the two ends of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End(pub(crate) u8);

impl End {
    pub(crate) fn mac(self) -> [u8; 6] {
        [2, 0, 0, 0, 0, self.0 + 1]
    }

    pub(crate) fn ipv4(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, self.0 + 1)
    }

    pub(crate) fn ipv6(self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(self.0) + 1)
    }

    /// Where it listens.
    pub(crate) fn listener(self, is_ipv6: bool) -> SocketAddr {
        let address = if is_ipv6 { IpAddr::from(self.ipv6()) } else { self.ipv4().into() };
        SocketAddr::new(address, PORT)
    }

    pub(crate) fn other(self) -> End {
        End(1 - self.0)
    }
}

/// A stack of ours at `end`.
pub(crate) fn stack(
    seed: u64,
    end: End,
    limits: Limits,
    timers: Timers,
    features: Features,
) -> Stack {
    let config = StackConfig {
        mac: end.mac(),
        mtu: MTU,
        addresses: vec![IpCidr::new(end.ipv4(), PREFIX_IPV4), IpCidr::new(end.ipv6(), PREFIX_IPV6)],
        gateway: None,
        gateway_ipv6: None,
        listeners: vec![PORT],
        limits,
        timers,
        features,
        secret: [seed as u8 ^ end.0; 16],
        steering: Steering::single(),
        tx_checksum_offload: false,
        placement: Placement { tier: TierPolicy::BaseOnly, ..Placement::default() },
        segment_bytes_max: None,
        vlan: None,
    };
    Stack::new(config).expect("a small stack fits")
}
