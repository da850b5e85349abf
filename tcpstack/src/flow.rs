//! Flows: the address pair that names a connection, and its keyed hash.

use std::net::{Ipv4Addr, SocketAddrV4};

use siphasher::sip::SipHasher13;
use superpage::record;
use zerocopy::IntoBytes;

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Our end.
    pub local: SocketAddrV4,
    /// The peer's end.
    pub remote: SocketAddrV4,
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
    /// The key of an IPv4 flow.
    pub(crate) fn new(remote: Ipv4Addr, remote_port: u16, local: u16, local_port: u16) -> Self {
        Self { remote: remote.to_ipv6_mapped().octets(), local, local_port, remote_port }
    }

    /// The peer's IPv4 address.
    pub(crate) fn remote_ipv4(&self) -> Ipv4Addr {
        let [.., a, b, c, d] = self.remote;
        Ipv4Addr::new(a, b, c, d)
    }

    /// The peer's end.
    pub(crate) fn remote_socket(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.remote_ipv4(), self.remote_port)
    }
}

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
