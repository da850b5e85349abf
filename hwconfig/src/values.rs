//! Small values that a profile writes as text.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// An address with the length of its network prefix, written `10.77.0.1/24` or `fd54:4c::1/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    /// The address itself, never the network's or the broadcast address.
    pub address: IpAddr,
    /// Bits of the network, 1 to 32 or, for IPv6, 128.
    pub prefix: u8,
}

impl Cidr {
    /// What an address may look like, for error messages.
    pub const FORM: &'static str = "a unicast address with its prefix length, such as \
                                    10.77.0.1/24 or fd54:4c::1/64";

    /// Whether `other` is on this network.
    pub fn contains(self, other: IpAddr) -> bool {
        let family_is_same = self.address.is_ipv4() == other.is_ipv4();
        family_is_same && (left_aligned(self.address) ^ left_aligned(other)) & self.mask() == 0
    }

    /// The bits of the network, left in 128 as the addresses of both families are here.
    fn mask(self) -> u128 {
        u128::MAX << (128 - u32::from(self.prefix))
    }

    /// Whether the address means one host of the network.
    fn is_host(self) -> bool {
        let host = left_aligned(self.address) & !self.mask();
        let special = |is_odd: bool| {
            is_odd
                || self.address.is_multicast()
                || self.address.is_unspecified()
                || self.address.is_loopback()
        };
        match self.address {
            IpAddr::V4(address) => {
                let all_ones = !self.mask() & u128::from(u32::MAX) << 96;
                // RFC 3021: a /31 has neither a network nor a broadcast address.
                let is_edge = self.prefix < 31 && (host == 0 || host == all_ones);
                !is_edge && !special(address.is_broadcast())
            }
            IpAddr::V6(address) => {
                // RFC 4291 §2.6.1: the first address of a network means its routers. RFC 6164: not
                // on a link of two.
                let is_anycast = self.prefix < 127 && host == 0;
                !is_anycast && !special(is_made_by_the_stack(address))
            }
        }
    }
}

/// Addresses that nobody gives: link-local ones are made from the Ethernet address, and IPv4 goes by
/// IPv4.
fn is_made_by_the_stack(address: Ipv6Addr) -> bool {
    address.is_unicast_link_local() || address.to_ipv4_mapped().is_some()
}

fn left_aligned(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl FromStr for Cidr {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Cidr, Self::Err> {
        let (address, prefix) = text.split_once('/').ok_or(Self::FORM)?;
        let address: IpAddr = address.parse().map_err(|_| Self::FORM)?;
        let prefix: u8 = prefix.parse().map_err(|_| Self::FORM)?;
        let prefix_max = if address.is_ipv4() { 32 } else { 128 };
        let cidr = Cidr { address, prefix };
        if (1..=prefix_max).contains(&prefix) && cidr.is_host() {
            Ok(cidr)
        } else {
            Err(Self::FORM)
        }
    }
}

impl TryFrom<String> for Cidr {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Cidr, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> String {
        cidr.to_string()
    }
}

/// A unicast Ethernet address, written `02:54:4c:00:00:01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// What an address may look like, for error messages.
    pub const FORM: &'static str =
        "a unicast Ethernet address of six hexadecimal bytes, such as 02:54:4c:00:00:01";
}

impl FromStr for Mac {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Mac, Self::Err> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or(Self::FORM)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| Self::FORM)?;
        }
        let is_group = bytes[0] & 1 == 1;
        if parts.next().is_some() || is_group || bytes == [0; 6] {
            return Err(Self::FORM);
        }
        Ok(Mac(bytes))
    }
}

impl TryFrom<String> for Mac {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Mac, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}
