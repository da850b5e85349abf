//! Addresses of the two hosts, and how a stack is made of them.

use std::net::{Ipv4Addr, SocketAddr};

use superpage::{Placement, TierPolicy};
use tcpstack::{
    ConnId, ConnectError, Features, IpCidr, Limits, Stack, StackConfig, Steering, Timers,
};

pub(crate) const PORT: u16 = 7;
pub(crate) const MTU: u16 = 1_500;
pub(crate) const PREFIX: u8 = 24;

/// One of the two ends of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End(pub(crate) u8);

impl End {
    pub(crate) fn mac(self) -> [u8; 6] {
        [2, 0, 0, 0, 0, self.0 + 1]
    }

    pub(crate) fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, self.0 + 1)
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
        addresses: vec![IpCidr::new(end.address(), PREFIX)],
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

/// Opens a connection to the host at `to`.
pub(crate) fn connect(stack: &mut Stack, now_ns: u64, to: End) -> Result<ConnId, ConnectError> {
    stack.connect(now_ns, SocketAddr::new(to.address().into(), PORT))
}
