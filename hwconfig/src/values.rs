//! Small values that a profile writes as text.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 address with the length of its network prefix, written `10.77.0.1/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    /// The address itself, never the network's or the broadcast address.
    pub address: Ipv4Addr,
    /// Bits of the network, 1 to 32.
    pub prefix: u8,
}

impl Cidr {
    /// What an address may look like, for error messages.
    pub const FORM: &'static str =
        "a unicast IPv4 address with its prefix length, such as 10.77.0.1/24";

    /// The bits of the network.
    pub fn mask(self) -> u32 {
        u32::MAX << (32 - u32::from(self.prefix))
    }

    /// Whether `other` is on this network.
    pub fn contains(self, other: Ipv4Addr) -> bool {
        (self.address.to_bits() ^ other.to_bits()) & self.mask() == 0
    }
}

impl FromStr for Cidr {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Cidr, Self::Err> {
        let (address, prefix) = text.split_once('/').ok_or(Self::FORM)?;
        let address: Ipv4Addr = address.parse().map_err(|_| Self::FORM)?;
        let prefix: u8 = prefix.parse().map_err(|_| Self::FORM)?;
        if !(1..=32).contains(&prefix) {
            return Err(Self::FORM);
        }
        let cidr = Cidr { address, prefix };
        let host = address.to_bits() & !cidr.mask();
        // RFC 3021: a /31 has neither a network nor a broadcast address.
        let is_edge = prefix < 31 && (host == 0 || host == !cidr.mask());
        let is_special =
            address.is_multicast() || address.is_unspecified() || address.is_loopback();
        if is_edge || is_special || address.is_broadcast() { Err(Self::FORM) } else { Ok(cidr) }
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
