//! Which shard owns a flow: the Toeplitz hash of receive-side scaling.
//!
//! A port with RSS computes the same function in hardware. Where it does not, and when a port is
//! chosen for an active open, it is computed here, so that both always agree.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::flow::Flow;

/// The key and the indirection table of receive-side scaling, and which shard this is.
#[derive(Clone, Debug)]
pub struct Steering {
    /// Toeplitz key, as given to the port.
    pub key: [u8; 40],
    /// Owner by `hash % len`. Empty: this shard owns everything.
    pub reta: Vec<u16>,
    /// This shard.
    pub shard: u16,
}

impl Steering {
    /// One shard that owns every flow.
    #[must_use]
    pub fn single() -> Self {
        Self { key: MICROSOFT_KEY, reta: Vec::new(), shard: 0 }
    }

    /// The shard that owns `flow`, from frames the peer sends: source is the remote end.
    #[must_use]
    pub fn owner(&self, flow: &Flow) -> u16 {
        self.owner_of(flow.remote, flow.local)
    }

    /// The shard that owns the flow of an incoming frame. `None` when the frame is no unfragmented
    /// TCP over IPv4: any shard may have it.
    #[must_use]
    pub fn owner_of_frame(&self, frame: &[u8]) -> Option<u16> {
        let packet = frame.get(14..).filter(|_| frame[12..14] == [0x08, 0x00])?;
        let header: &[u8; 20] = packet.first_chunk()?;
        let header_bytes = usize::from(header[0] & 0x0f) * 4;
        let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
        if header[0] >> 4 != 4 || header_bytes < 20 || header[9] != 6 || fragment {
            return None;
        }
        let ports: &[u8; 4] = packet.get(header_bytes..)?.first_chunk()?;
        let [_, _, _, _, _, _, _, _, _, _, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *header;
        let source = SocketAddrV4::new(
            Ipv4Addr::new(s0, s1, s2, s3),
            u16::from_be_bytes([ports[0], ports[1]]),
        );
        let destination = SocketAddrV4::new(
            Ipv4Addr::new(d0, d1, d2, d3),
            u16::from_be_bytes([ports[2], ports[3]]),
        );
        Some(self.owner_of(source, destination))
    }

    fn owner_of(&self, source: SocketAddrV4, destination: SocketAddrV4) -> u16 {
        if self.reta.is_empty() {
            return self.shard;
        }
        let mut input = [0; 12];
        input[..4].copy_from_slice(&source.ip().octets());
        input[4..8].copy_from_slice(&destination.ip().octets());
        input[8..10].copy_from_slice(&source.port().to_be_bytes());
        input[10..].copy_from_slice(&destination.port().to_be_bytes());
        self.reta[toeplitz(&self.key, &input) as usize % self.reta.len()]
    }
}

/// The Toeplitz hash: for every set bit of the input, the 32 key bits that begin there.
fn toeplitz(key: &[u8; 40], input: &[u8; 12]) -> u32 {
    let mut hash = 0;
    for (at, byte) in input.iter().enumerate() {
        let window = u64::from_be_bytes(*key[at..].first_chunk().expect("12 + 8 key bytes of 40"));
        for bit in 0..8 {
            if byte & (0x80 >> bit) != 0 {
                hash ^= (window << bit >> 32) as u32;
            }
        }
    }
    hash
}

/// The key of Microsoft's specification, the default of most drivers.
pub const MICROSOFT_KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// "Verifying the RSS Hash Calculation", Microsoft, IPv4 with TCP.
    const VECTORS: [(&str, &str, u32); 5] = [
        ("66.9.149.187:2794", "161.142.100.80:1766", 0x51cc_c178),
        ("199.92.111.2:14230", "65.69.140.83:4739", 0xc626_b0ea),
        ("24.19.198.95:12898", "12.22.207.184:38024", 0x5c2b_394a),
        ("38.27.205.30:48228", "209.142.163.6:2217", 0xafc7_327f),
        ("153.39.163.191:44251", "202.188.127.2:1303", 0x10e8_28a2),
    ];

    fn identity() -> Steering {
        Steering { key: MICROSOFT_KEY, reta: (0..=u16::MAX).collect(), shard: 0 }
    }

    #[test]
    fn owner_follows_the_published_hash_vectors() {
        for (source, destination, hash) in VECTORS {
            let flow = Flow {
                remote: source.parse().expect("address"),
                local: destination.parse().expect("address"),
            };
            let owner = identity().owner(&flow);
            assert_eq!(u32::from(owner), hash % 65_536, "{source}");
        }
    }

    #[test]
    fn toeplitz_gives_the_published_hash_vectors_in_full() {
        for (source, destination, hash) in VECTORS {
            let source: SocketAddrV4 = source.parse().expect("address");
            let destination: SocketAddrV4 = destination.parse().expect("address");
            let mut input = Vec::new();
            input.extend(source.ip().octets());
            input.extend(destination.ip().octets());
            input.extend(source.port().to_be_bytes());
            input.extend(destination.port().to_be_bytes());
            assert_eq!(toeplitz(&MICROSOFT_KEY, input.as_slice().try_into().expect("12")), hash);
        }
    }

    #[test]
    fn frame_and_flow_have_the_same_owner_and_other_frames_none() {
        let (source, destination, _) = VECTORS[0];
        let remote: SocketAddrV4 = source.parse().expect("address");
        let local: SocketAddrV4 = destination.parse().expect("address");
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0]);
        frame.extend(remote.ip().octets());
        frame.extend(local.ip().octets());
        frame.extend(remote.port().to_be_bytes());
        frame.extend(local.port().to_be_bytes());
        let steering = identity();
        assert_eq!(steering.owner_of_frame(&frame), Some(steering.owner(&Flow { local, remote })));
        for len in 0..frame.len() {
            assert_eq!(steering.owner_of_frame(&frame[..len]), None, "cut to {len}");
        }
        let mut fragment = frame.clone();
        fragment[20] |= 0x20;
        assert_eq!(steering.owner_of_frame(&fragment), None);
        frame[23] = 17;
        assert_eq!(steering.owner_of_frame(&frame), None);
    }
}
