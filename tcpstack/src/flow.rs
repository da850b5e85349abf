//! Flows: the address pair that names a connection, and its keyed hash.

use std::net::{IpAddr, SocketAddr};

use siphasher::sip::SipHasher13;
use superpage::record;
use zerocopy::IntoBytes;

use crate::ip;

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
}

record! {
    /// A flow as tables keep it. Own addresses are few, so that a number stands for them.
    #[derive(PartialEq, Eq)]
    pub struct FlowKey {
        /// The peer's address; IPv4 as `::ffff:a.b.c.d`.
        pub remote: [u8; 16],
        /// Which of our addresses.
        pub local: u16,
        /// Our port.
        pub local_port: u16,
        /// The peer's port.
        pub remote_port: u16,
    }
}

impl FlowKey {
    /// The key of a flow.
    pub(crate) fn new(remote: IpAddr, remote_port: u16, local: u16, local_port: u16) -> Self {
        Self { remote: ip::octets(remote), local, local_port, remote_port }
    }

    /// The peer's address.
    pub(crate) fn remote_ip(&self) -> IpAddr {
        ip::address(self.remote)
    }

    /// Whether the flow is over IPv6.
    pub(crate) fn is_ipv6(&self) -> bool {
        self.remote_ip().is_ipv6()
    }

    /// The peer's end.
    pub(crate) fn remote_socket(&self) -> SocketAddr {
        SocketAddr::new(self.remote_ip(), self.remote_port)
    }
}

/// Labels the packets of a flow alike and of different flows differently (RFC 6437 §3), by a keyed
/// hash that tells nothing about the flow table's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlowLabels(SipHasher13);

impl FlowLabels {
    pub(crate) fn new(secret: &[u8; 16]) -> Self {
        Self(SipHasher13::new_with_key(&secret.map(|byte| byte ^ LABEL_DOMAIN)))
    }

    /// The label of a flow: 20 bits, and never the zero that says there is none.
    pub(crate) fn label(&self, key: &FlowKey) -> u32 {
        (self.0.hash(key.as_bytes()) as u32 & 0x000f_ffff).max(1)
    }
}

const LABEL_DOMAIN: u8 = 0x6a;

/// Keyed hash of flows: SipHash-1-3, so that no peer can aim flows at one bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlowHasher(SipHasher13);

impl FlowHasher {
    pub(crate) fn new(secret: &[u8; 16]) -> Self {
        Self(SipHasher13::new_with_key(secret))
    }

    pub(crate) fn hash(&self, key: &FlowKey) -> u64 {
        self.0.hash(key.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use superpage::Record;

    use super::*;

    #[test]
    fn keys_keep_both_families_apart() {
        for text in ["10.0.0.2:80", "[fd54:4c::2]:80", "[::1]:1"] {
            let remote: SocketAddr = text.parse().expect("address");
            let key = FlowKey::new(remote.ip(), remote.port(), 0, 7);
            assert_eq!((key.remote_socket(), key.is_ipv6()), (remote, remote.is_ipv6()));
        }
    }

    #[test]
    fn labels_have_twenty_bits_and_follow_flow_and_secret() {
        let labels = FlowLabels::new(&[5; 16]);
        let key = |remote_port| FlowKey { remote_port, ..FlowKey::zeroed() };
        let all: Vec<u32> = (0..100).map(|port| labels.label(&key(port))).collect();
        assert!(all.iter().all(|label| (1..1 << 20).contains(label)));
        assert_eq!(labels.label(&key(3)), all[3]);
        assert!(all.iter().filter(|label| **label == all[0]).count() < 3, "flows differ");
        assert_ne!(FlowLabels::new(&[6; 16]).label(&key(0)), all[0]);
    }
}
