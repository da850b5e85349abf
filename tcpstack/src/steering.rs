//! Which shard owns a flow: the Toeplitz hash of receive-side scaling.
//!
//! A port with RSS computes the same function in hardware. Where it does not, and when a port is
//! chosen for an active open, it is computed here, so that both always agree.

use std::net::IpAddr;

use crate::flow::Flow;
use crate::ip;
use crate::placement::{self, Placement};

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
        self.owner_of(flow.remote.ip(), flow.local.ip(), &[a, b, c, d])
    }

    /// The shard that an incoming frame is for: the owner of its flow, or of the flow that it
    /// reports an error of, or, of a fragment, the one where its datagram is reassembled. `None`
    /// when any shard may have it.
    #[must_use]
    pub fn owner_of_frame(&self, frame: &[u8]) -> Option<u16> {
        match placement::of_frame(frame)? {
            Placement::Flow(source, destination, ports)
            | Placement::Hidden(source, destination, ports) => {
                Some(self.owner_of(source, destination, &ports))
            }
            Placement::Addresses(source, destination) => {
                Some(self.owner_of(source, destination, &[]))
            }
        }
    }

    /// As [`Self::owner_of_frame`], but only of what a port with receive-side scaling misplaces:
    /// ICMP errors, and segments behind extension headers.
    #[must_use]
    pub fn owner_of_hidden(&self, frame: &[u8]) -> Option<u16> {
        match placement::of_frame(frame)? {
            Placement::Hidden(source, destination, ports) => {
                Some(self.owner_of(source, destination, &ports))
            }
            Placement::Flow(..) | Placement::Addresses(..) => None,
        }
    }

    fn owner_of(&self, source: IpAddr, destination: IpAddr, ports: &[u8]) -> u16 {
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
        let end = len + ports.len();
        input[len..end].copy_from_slice(ports);
        self.reta[toeplitz(&self.key, &input[..end]) as usize % self.reta.len()]
    }
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
    }

    #[test]
    fn fragments_of_a_datagram_go_to_one_shard() {
        let steering = identity();
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0x20, 0, 64, 6, 0, 0]);
        frame.extend(ends(flow(VECTORS[0])));
        // The published hash of the addresses alone.
        assert_eq!(steering.owner_of_frame(&frame), Some(0x323e_8fc2_u32 as u16));
        (frame[20], frame[21]) = (0, 5);
        frame[34..].fill(0xa5);
        assert_eq!(steering.owner_of_frame(&frame), Some(0x323e_8fc2_u32 as u16));
        assert_eq!(steering.owner_of_hidden(&frame), None, "the port agrees");
    }

    #[test]
    fn icmp_errors_go_to_the_owner_of_the_flow_they_quote() {
        let steering = identity();
        let Flow { local, remote } = flow(VECTORS[0]);
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0]);
        frame.extend([192, 0, 2, 1]);
        frame.extend(address_bytes(local.ip()));
        frame.extend([3, 4, 0, 0, 0, 0, 5, 0, 0x45, 0, 5, 220, 0, 0, 0x40, 0, 63, 6, 0, 0]);
        frame.extend(ends(Flow { local: remote, remote: local }));
        frame.extend([0, 0, 0, 1]);
        let owner = Some(steering.owner(&Flow { local, remote }));
        assert_eq!(steering.owner_of_frame(&frame), owner);
        assert_eq!(steering.owner_of_hidden(&frame), owner);
        frame[34] = 8;
        assert_eq!(steering.owner_of_frame(&frame), None, "an echo request");
    }
}
