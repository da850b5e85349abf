//! The Internet checksum (RFC 1071), eight bytes at a time.

use std::net::IpAddr;

/// A running one's complement sum. The order of bytes within words does not matter to it (RFC 1071
/// §2), so words are added as they lie in memory and swapped once at the end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds bytes. All calls but the last of a sum must have an even number of bytes.
    pub(crate) fn add(self, bytes: &[u8]) -> Self {
        let mut sum = self.0;
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            let word = u64::from_ne_bytes(*word);
            // Two halves of 32 bits: the sum cannot overflow below 2³¹ words.
            sum += (word & 0xffff_ffff) + (word >> 32);
        }
        let (pairs, odd) = rest.as_chunks::<2>();
        for pair in pairs {
            sum += u64::from(u16::from_ne_bytes(*pair));
        }
        if let [last] = odd {
            sum += u64::from(u16::from_ne_bytes([*last, 0]));
        }
        Self(sum)
    }

    /// Adds the pseudo-header of what an IP packet carries: RFC 9293 §3.1 for IPv4, RFC 8200 §8.1
    /// for IPv6. The latter's fields are longer, by nothing but zeros.
    pub(crate) fn add_pseudo_header(
        self,
        source: IpAddr,
        destination: IpAddr,
        protocol: u8,
        payload_bytes: u16,
    ) -> Self {
        let [high, low] = payload_bytes.to_be_bytes();
        self.add_address(source).add_address(destination).add(&[0, protocol, high, low])
    }

    fn add_address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.add(&address.octets()),
            IpAddr::V6(address) => self.add(&address.octets()),
        }
    }

    /// The folded sum, as the two bytes go on the wire.
    pub(crate) fn folded(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (sum as u16).to_ne_bytes()
    }

    /// The checksum, as the two bytes go on the wire.
    pub(crate) fn checksum(self) -> [u8; 2] {
        let [first, second] = self.folded();
        [!first, !second]
    }

    /// Whether the summed bytes contain their own right checksum.
    pub(crate) fn is_valid(self) -> bool {
        self.folded() == [0xff, 0xff]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1071 §3, the worked example.
    #[test]
    fn sums_the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().add(&bytes).folded(), [0xdd, 0xf2]);
        assert_eq!(Sum::default().add(&bytes).checksum(), [0x22, 0x0d]);
    }

    #[test]
    fn agrees_with_sixteen_bits_at_a_time_for_every_length() {
        let mut random = fastrand::Rng::with_seed(1071);
        for len in 0..200 {
            let bytes: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
            let mut plain = 0_u32;
            for pair in bytes.chunks(2) {
                plain += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
            }
            while plain > 0xffff {
                plain = (plain & 0xffff) + (plain >> 16);
            }
            assert_eq!(Sum::default().add(&bytes).folded(), (plain as u16).to_be_bytes(), "{len}");
        }
    }

    #[test]
    fn a_checksum_in_place_makes_the_sum_valid() {
        let mut bytes = [1_u8, 2, 0, 0, 5, 6, 7];
        let checksum = Sum::default().add(&bytes).checksum();
        bytes[2..4].copy_from_slice(&checksum);
        assert!(Sum::default().add(&bytes).is_valid());
        bytes[0] ^= 1;
        assert!(!Sum::default().add(&bytes).is_valid());
    }
}
