//! Which shard owns a flow: the Toeplitz hash of receive-side scaling.
//!
//! A port with RSS computes the same function in hardware. Where it does not, and when a port is
//! chosen for an active open, it is computed here, so that both always agree.

use std::net::IpAddr;

use crate::flow::Flow;
use crate::ip::{self, protocol};

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
        let [a, b] = flow.remote.port().to_be_bytes();
        let [c, d] = flow.local.port().to_be_bytes();
        self.owner_of(flow.remote.ip(), flow.local.ip(), [a, b, c, d])
    }

    /// The shard that owns the flow of an incoming frame. `None` when the frame is no unfragmented
    /// TCP over IP, or has IPv6 extension headers, which ports do not look behind either: any shard
    /// may have it.
    #[must_use]
    pub fn owner_of_frame(&self, frame: &[u8]) -> Option<u16> {
        let packet = frame.get(14..)?;
        let (source, destination, tcp) = match frame[12..14] {
            [0x08, 0x00] => tcp_over_ipv4(packet)?,
            [0x86, 0xdd] => tcp_over_ipv6(packet)?,
            _ => return None,
        };
        let ports: [u8; 4] = *tcp.first_chunk()?;
        Some(self.owner_of(source, destination, ports))
    }

    fn owner_of(&self, source: IpAddr, destination: IpAddr, ports: [u8; 4]) -> u16 {
        if self.reta.is_empty() {
            return self.shard;
        }
        let mut input = [0; INPUT_BYTES_MAX];
        let len = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                input[..4].copy_from_slice(&source.octets());
                input[4..8].copy_from_slice(&destination.octets());
                8
            }
            _ => {
                input[..16].copy_from_slice(&ip::octets(source));
                input[16..32].copy_from_slice(&ip::octets(destination));
                32
            }
        };
        input[len..len + 4].copy_from_slice(&ports);
        self.reta[toeplitz(&self.key, &input[..len + 4]) as usize % self.reta.len()]
    }
}

/// Source, destination and payload of an IPv4 packet, if that is a whole TCP segment.
fn tcp_over_ipv4(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let header: &[u8; 20] = packet.first_chunk()?;
    let header_bytes = usize::from(header[0] & 0x0f) * 4;
    let is_fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    if header[0] >> 4 != 4 || header_bytes < 20 || header[9] != protocol::TCP || is_fragment {
        return None;
    }
    let address = |at: usize| header[at..].first_chunk::<4>().map(|octets| IpAddr::from(*octets));
    Some((address(12)?, address(16)?, packet.get(header_bytes..)?))
}

/// Source, destination and payload of an IPv6 packet, if that is a TCP segment.
fn tcp_over_ipv6(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let (header, payload) = packet.split_first_chunk::<40>()?;
    if header[0] >> 4 != 6 || header[6] != protocol::TCP {
        return None;
    }
    let address = |at: usize| header[at..].first_chunk::<16>().map(|octets| IpAddr::from(*octets));
    Some((address(8)?, address(24)?, payload))
}

/// Addresses and ports of a flow over IPv6.
const INPUT_BYTES_MAX: usize = 36;

/// The Toeplitz hash: for every set bit of the input, the 32 key bits that begin there.
fn toeplitz(key: &[u8; 40], input: &[u8]) -> u32 {
    let mut padded = [0; 40 + 4];
    padded[..40].copy_from_slice(key);
    let mut hash = 0;
    for (at, byte) in input.iter().enumerate().take(INPUT_BYTES_MAX) {
        let window = u64::from_be_bytes(*padded[at..].first_chunk().expect("36 + 8 bytes of 44"));
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
    use std::net::SocketAddr;

    use super::*;

    /// "Verifying the RSS Hash Calculation", Microsoft, IPv4 with TCP and IPv6 with TCP.
    const VECTORS: [(&str, &str, u32); 8] = [
        ("66.9.149.187:2794", "161.142.100.80:1766", 0x51cc_c178),
        ("199.92.111.2:14230", "65.69.140.83:4739", 0xc626_b0ea),
        ("24.19.198.95:12898", "12.22.207.184:38024", 0x5c2b_394a),
        ("38.27.205.30:48228", "209.142.163.6:2217", 0xafc7_327f),
        ("153.39.163.191:44251", "202.188.127.2:1303", 0x10e8_28a2),
        ("[3ffe:2501:200:1fff::7]:2794", "[3ffe:2501:200:3::1]:1766", 0x4020_7d3d),
        ("[3ffe:501:8::260:97ff:fe40:efab]:14230", "[ff02::1]:4739", 0xdde5_1bbf),
        (
            "[3ffe:1900:4545:3:200:f8ff:fe21:67cf]:44251",
            "[fe80::200:f8ff:fe21:67cf]:38024",
            0x02d1_feef,
        ),
    ];

    fn identity() -> Steering {
        Steering { key: MICROSOFT_KEY, reta: (0..=u16::MAX).collect(), shard: 0 }
    }

    fn flow((source, destination, _): (&str, &str, u32)) -> Flow {
        let end = |text: &str| text.parse::<SocketAddr>().expect("address");
        Flow { remote: end(source), local: end(destination) }
    }

    fn address_bytes(address: IpAddr) -> Vec<u8> {
        match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        }
    }

    /// Both ends of a flow, as a header has them.
    fn ends(Flow { local, remote }: Flow) -> Vec<u8> {
        let mut bytes = address_bytes(remote.ip());
        bytes.extend(address_bytes(local.ip()));
        bytes.extend(remote.port().to_be_bytes());
        bytes.extend(local.port().to_be_bytes());
        bytes
    }

    #[test]
    fn owner_follows_the_published_hash_vectors() {
        for vector in VECTORS {
            let owner = identity().owner(&flow(vector));
            assert_eq!(u32::from(owner), vector.2 % 65_536, "{}", vector.0);
            assert_eq!(toeplitz(&MICROSOFT_KEY, &ends(flow(vector))), vector.2, "{}", vector.0);
        }
    }

    #[test]
    fn frame_and_flow_have_the_same_owner_and_other_frames_none() {
        let ipv4 = [0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
        let ipv6 = [0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64];
        let steering = identity();
        for (vector, header, protocol_at) in
            [(VECTORS[0], &ipv4[..], 23), (VECTORS[7], &ipv6[..], 20)]
        {
            let mut frame = vec![0; 12];
            frame.extend(header);
            frame.extend(ends(flow(vector)));
            let owner = Some(steering.owner(&flow(vector)));
            assert_eq!(steering.owner_of_frame(&frame), owner);
            for len in 0..frame.len() {
                assert_eq!(steering.owner_of_frame(&frame[..len]), None, "cut to {len}");
            }
            frame[protocol_at] = 17;
            assert_eq!(steering.owner_of_frame(&frame), None, "UDP");
        }
        let mut fragment = vec![0; 12];
        fragment.extend(ipv4);
        fragment.extend(ends(flow(VECTORS[0])));
        fragment[20] |= 0x20;
        assert_eq!(steering.owner_of_frame(&fragment), None);
    }
}
