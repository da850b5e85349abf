//! Neighbour discovery on the wire (RFC 4861 §4), and what is waiting to be sent.

use std::net::Ipv6Addr;

use crate::counters::Drop;
use crate::ethernet::{self, Mac, Station};
use crate::icmpv6::{self, kind};
use crate::ip::{self, protocol};
use crate::ipv6;
use crate::queue::{LINK_MESSAGES_MAX, Queue};

/// A neighbour solicitation, valid by RFC 4861 §7.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Solicitation {
    pub(crate) target: Ipv6Addr,
    /// Where who asks is; nobody who only probes for an address says it.
    pub(crate) source_mac: Option<Mac>,
}

/// A neighbour advertisement, valid by RFC 4861 §7.1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Advertisement {
    pub(crate) target: Ipv6Addr,
    pub(crate) target_mac: Option<Mac>,
    /// It answers a solicitation, so packets go both ways.
    pub(crate) solicited: bool,
    /// It shall replace what was known.
    pub(crate) overrides: bool,
}

/// What the IPv6 header says about a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carrier {
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    pub(crate) hop_limit: u8,
    /// There was a fragment header, if only one around a whole packet.
    pub(crate) was_fragment: bool,
}

/// Looks at a solicitation whose checksum is right.
pub(crate) fn solicitation(bytes: &[u8], carrier: &Carrier) -> Result<Solicitation, Drop> {
    let target = check(bytes, carrier)?;
    let source_mac = option(&bytes[FIXED_BYTES..], OPTION_SOURCE_MAC)?;
    let is_probe = carrier.source.is_unspecified();
    if is_probe && (source_mac.is_some() || carrier.destination != solicited_node(target)) {
        return Err(Drop::NdpMalformed);
    }
    Ok(Solicitation { target, source_mac })
}

/// Looks at an advertisement whose checksum is right.
pub(crate) fn advertisement(bytes: &[u8], carrier: &Carrier) -> Result<Advertisement, Drop> {
    let target = check(bytes, carrier)?;
    let target_mac = option(&bytes[FIXED_BYTES..], OPTION_TARGET_MAC)?;
    let solicited = bytes[FLAGS] & FLAG_SOLICITED != 0;
    if carrier.source.is_unspecified() || carrier.destination.is_multicast() && solicited {
        return Err(Drop::NdpMalformed);
    }
    let overrides = bytes[FLAGS] & FLAG_OVERRIDE != 0;
    Ok(Advertisement { target, target_mac, solicited, overrides })
}

/// What RFC 4861 §7.1.1 and §7.1.2 have in common; returns the target.
fn check(bytes: &[u8], carrier: &Carrier) -> Result<Ipv6Addr, Drop> {
    // A router would have lowered the hop limit: the message is from this link.
    let from_afar = carrier.hop_limit != HOP_LIMIT;
    // RFC 6980 §5.
    let has_code = bytes.get(1) != Some(&0);
    if from_afar || carrier.was_fragment || has_code || bytes.len() < FIXED_BYTES {
        return Err(Drop::NdpMalformed);
    }
    let octets: [u8; 16] = *bytes[TARGET..].first_chunk().ok_or(Drop::NdpMalformed)?;
    let target = Ipv6Addr::from(octets);
    if target.is_multicast() { Err(Drop::NdpMalformed) } else { Ok(target) }
}

/// The MAC address in the option `wanted`. RFC 4861 §4.6: an option without length condemns the
/// message; unknown ones are passed over.
fn option(mut options: &[u8], wanted: u8) -> Result<Option<Mac>, Drop> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let (option, rest) =
            options.split_at_checked(usize::from(units) * 8).ok_or(Drop::NdpMalformed)?;
        if units == 0 {
            return Err(Drop::NdpMalformed);
        }
        if kind == wanted {
            let mac: Mac = *option[2..].first_chunk().ok_or(Drop::NdpMalformed)?;
            if !ethernet::is_unicast(mac) {
                return Err(Drop::NdpMalformed);
            }
            found = Some(mac);
        }
        options = rest;
    }
    if options.is_empty() { Ok(found) } else { Err(Drop::NdpMalformed) }
}

/// RFC 4291 §2.7.1: the group of everybody whose address ends as this one.
pub(crate) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let low = address.to_bits() & 0x00ff_ffff;
    Ipv6Addr::from_bits(0xff02_0000_0000_0000_0000_0001_ff00_0000 | low)
}

/// A message to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// Who has `target`? To everybody, or only to where it was last.
    Solicit { own: Ipv6Addr, target: Ipv6Addr, to: Option<Mac> },
    /// RFC 4862 §5.4.2: does anybody have `target`, which shall be ours?
    Probe { target: Ipv6Addr },
    /// `own` is here: the answer to `to`.
    Reply { own: Ipv6Addr, to: Ipv6Addr, mac: Mac },
    /// RFC 4861 §7.2.6 and §7.2.4: `own` is here, and everybody shall know.
    Announcement { own: Ipv6Addr },
}

impl Outgoing {
    /// Bytes of the frame.
    pub(crate) fn packet_bytes(&self) -> usize {
        ipv6::HEADER_BYTES + self.message_bytes()
    }

    fn message_bytes(&self) -> usize {
        // Who has no address yet does not say where it is (RFC 4861 §4.3).
        FIXED_BYTES + if matches!(self, Self::Probe { .. }) { 0 } else { OPTION_BYTES }
    }

    /// Writes the message as a frame around [`Self::packet_bytes`].
    pub(crate) fn emit(&self, frame: &mut [u8], station: Station) {
        let group = |group| (group, ethernet::group(group));
        let (source, (destination, mac)) = match *self {
            Self::Solicit { own, target, to: Some(mac) } => (own, (target, mac)),
            Self::Solicit { own, target, to: None } => (own, group(solicited_node(target))),
            Self::Probe { target } => (Ipv6Addr::UNSPECIFIED, group(solicited_node(target))),
            Self::Reply { own, to, mac } => (own, (to, mac)),
            Self::Announcement { own } => (own, group(ALL_NODES)),
        };
        let packet = ethernet::emit(frame, station, mac, ethernet::Payload::Ipv6);
        let header = ip::Header {
            source: source.into(),
            destination: destination.into(),
            protocol: protocol::ICMPV6,
            traffic_class: 0,
            flow_label: 0,
            hop_limit: HOP_LIMIT,
            payload_bytes: self.message_bytes(),
            part: None,
        };
        header.emit(packet);
        let message = &mut packet[ipv6::HEADER_BYTES..];
        let (kind, flags, target, option) = match *self {
            Self::Solicit { target, .. } | Self::Probe { target } => {
                (kind::NEIGHBOR_SOLICITATION, 0, target, OPTION_SOURCE_MAC)
            }
            Self::Reply { own, .. } => {
                let flags = FLAG_SOLICITED | FLAG_OVERRIDE;
                (kind::NEIGHBOR_ADVERTISEMENT, flags, own, OPTION_TARGET_MAC)
            }
            Self::Announcement { own } => {
                (kind::NEIGHBOR_ADVERTISEMENT, FLAG_OVERRIDE, own, OPTION_TARGET_MAC)
            }
        };
        message[..TARGET].copy_from_slice(&[kind, 0, 0, 0, flags, 0, 0, 0]);
        message[TARGET..FIXED_BYTES].copy_from_slice(&target.octets());
        if let Some(room) = message.get_mut(FIXED_BYTES..FIXED_BYTES + OPTION_BYTES) {
            room[..2].copy_from_slice(&[option, 1]);
            room[2..].copy_from_slice(&station.mac);
        }
        icmpv6::seal(message, source, destination);
    }
}

/// Messages waiting to be sent.
pub(crate) type NdpQueue = Queue<Outgoing, LINK_MESSAGES_MAX>;

/// RFC 4291 §2.7.1: everybody on the link.
pub(crate) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// RFC 4861 §4: no router has passed such a message on.
const HOP_LIMIT: u8 = 255;
const FLAGS: usize = 4;
const TARGET: usize = 8;
/// Bytes before the options.
const FIXED_BYTES: usize = 24;
const OPTION_BYTES: usize = 8;
const OPTION_SOURCE_MAC: u8 = 1;
const OPTION_TARGET_MAC: u8 = 2;
const FLAG_SOLICITED: u8 = 0x40;
const FLAG_OVERRIDE: u8 = 0x20;

#[cfg(test)]
mod tests;
