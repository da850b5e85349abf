//! ARP on the wire (RFC 826), and what is waiting to be sent.

use std::net::Ipv4Addr;

use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress};

use crate::counters::Drop;
use crate::ethernet::{self, BROADCAST, Mac, Station};
use crate::queue::{LINK_MESSAGES_MAX, Queue};

/// A received ARP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) is_request: bool,
    pub(crate) sender_mac: Mac,
    pub(crate) sender: Ipv4Addr,
    pub(crate) target: Ipv4Addr,
}

/// Looks at a received message.
pub(crate) fn parse(bytes: &[u8]) -> Result<Message, Drop> {
    let packet = ArpPacket::new_checked(bytes).map_err(|_| Drop::ArpMalformed)?;
    let Ok(ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: EthernetAddress(sender_mac),
        source_protocol_addr: sender,
        target_protocol_addr: target,
        ..
    }) = ArpRepr::parse(&packet)
    else {
        return Err(Drop::ArpMalformed);
    };
    let is_request = match operation {
        ArpOperation::Request => true,
        ArpOperation::Reply => false,
        ArpOperation::Unknown(_) => return Err(Drop::ArpMalformed),
    };
    if !ethernet::is_unicast(sender_mac) {
        return Err(Drop::ArpMalformed);
    }
    Ok(Message { is_request, sender_mac, sender, target })
}

/// A message to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// Who has `target`? To everybody, or only to the one who had it last.
    Request { own: Ipv4Addr, target: Ipv4Addr, to: Mac },
    /// `own` is here.
    Reply { own: Ipv4Addr, target: Ipv4Addr, to: Mac },
    /// RFC 5227 §2.3: `own` is here, and everybody shall know.
    Announcement { own: Ipv4Addr },
}

impl Outgoing {
    /// Writes the message as a frame with [`MESSAGE_BYTES`].
    pub(crate) fn emit(&self, frame: &mut [u8], station: Station) {
        let (operation, own, target, target_mac, to) = match *self {
            Self::Request { own, target, to } => (ArpOperation::Request, own, target, [0; 6], to),
            Self::Reply { own, target, to } => (ArpOperation::Reply, own, target, to, to),
            Self::Announcement { own } => (ArpOperation::Request, own, own, [0; 6], BROADCAST),
        };
        let rest = ethernet::emit(frame, station, to, ethernet::Payload::Arp);
        let message = ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: EthernetAddress(station.mac),
            source_protocol_addr: own,
            target_hardware_addr: EthernetAddress(target_mac),
            target_protocol_addr: target,
        };
        message.emit(&mut ArpPacket::new_unchecked(rest));
    }
}

/// Messages waiting to be sent.
pub(crate) type ArpQueue = Queue<Outgoing, LINK_MESSAGES_MAX>;

/// Bytes of an ARP message.
pub(crate) const MESSAGE_BYTES: usize = 28;

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const MAC: Mac = [2, 0, 0, 0, 0, 1];

    #[test]
    fn messages_survive_the_wire() {
        let to = [2, 0, 0, 0, 0, 2];
        let cases = [
            (Outgoing::Request { own: OWN, target: OTHER, to: BROADCAST }, true, OTHER, BROADCAST),
            (Outgoing::Reply { own: OWN, target: OTHER, to }, false, OTHER, to),
            (Outgoing::Announcement { own: OWN }, true, OWN, BROADCAST),
        ];
        for (message, is_request, target, to) in cases {
            let mut frame = [0; 14 + MESSAGE_BYTES];
            message.emit(&mut frame, Station { mac: MAC, vlan: None });
            assert_eq!(frame[..6], to);
            let parsed = parse(&frame[14..]).expect("valid");
            assert_eq!(parsed, Message { is_request, sender_mac: MAC, sender: OWN, target });
        }
    }

    #[test]
    fn malformed_messages_are_refused() {
        let mut frame = [0; 14 + MESSAGE_BYTES];
        Outgoing::Announcement { own: OWN }.emit(&mut frame, Station { mac: MAC, vlan: None });
        let refused = |damage: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = frame[14..].to_vec();
            damage(&mut bytes);
            parse(&bytes) == Err(Drop::ArpMalformed)
        };
        assert!(refused(&|bytes| bytes.truncate(27)), "cut short");
        assert!(refused(&|bytes| bytes[7] = 3), "operation");
        assert!(refused(&|bytes| bytes[4] = 8), "hardware length");
        assert!(refused(&|bytes| bytes[8] = 1), "group address as sender");
    }
}
