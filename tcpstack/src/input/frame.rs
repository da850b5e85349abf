//! Frames up to TCP's header: Ethernet, ARP, IPv4, ICMP.

use std::net::Ipv4Addr;

use super::RxFrame;
use crate::counters::Drop;
use crate::ethernet::{self, HEADER_BYTES};
use crate::event::Event;
use crate::segment::{self, Origin, Segment};
use crate::stack::Stack;
use crate::{arp, icmp, ipv4};

impl Stack {
    /// Takes one frame: a segment of TCP is returned, everything else is done with.
    pub(super) fn frame_arrives(
        &mut self,
        now_ns: u64,
        frame: &RxFrame<'_>,
        at: u16,
    ) -> Result<Option<Segment>, Drop> {
        let payload = ethernet::parse(frame.bytes, self.settings.mac)?;
        let bytes = &frame.bytes[HEADER_BYTES..];
        if payload == ethernet::Payload::Arp {
            return self.arp_arrives(now_ns, arp::parse(bytes)?).map(|()| None);
        }
        let datagram = ipv4::parse(bytes, frame.checksum_verified)?;
        let local = self.settings.local(datagram.destination).ok_or(Drop::Ipv4Destination)?;
        if !self.is_possible_sender(datagram.source) {
            return Err(Drop::Ipv4Source);
        }
        if datagram.has_options {
            self.counters.ipv4_options += 1;
        }
        let payload = &bytes[datagram.range.clone()];
        match datagram.payload {
            ipv4::Payload::Icmp => {
                self.icmp_arrives(datagram.source, local, payload)?;
                Ok(None)
            }
            ipv4::Payload::Tcp => {
                let origin = Origin {
                    source: datagram.source,
                    destination: datagram.destination,
                    local,
                    frame: at,
                    start: HEADER_BYTES + datagram.range.start,
                    checksum_verified: frame.checksum_verified,
                };
                segment::parse(payload, &origin).map(Some)
            }
        }
    }

    /// RFC 1122 §3.2.1.3 and §4.2.3.10: nobody sends from our address or a broadcast address.
    fn is_possible_sender(&self, source: Ipv4Addr) -> bool {
        !source.is_unspecified()
            && self
                .settings
                .addresses
                .iter()
                .all(|own| own.addr != source && own.broadcast() != Some(source))
    }

    /// RFC 826, with the conflicts of RFC 5227 §2.4 counted.
    fn arp_arrives(&mut self, now_ns: u64, message: arp::Message) -> Result<(), Drop> {
        let is_for_us = self.settings.local(message.target).is_some();
        let is_probe = message.sender.is_unspecified();
        if self.settings.local(message.sender).is_some() {
            if message.sender_mac != self.settings.mac {
                self.counters.arp_conflict += 1;
            }
            return Err(Drop::ArpSender);
        }
        if !is_probe {
            let is_on_link = self.settings.addresses.iter().any(|own| own.contains(message.sender));
            if !is_on_link {
                return Err(Drop::ArpSender);
            }
            let (ip, mac) = (message.sender, message.sender_mac);
            let learnt = self.neighbors.learn(now_ns, ip, mac, is_for_us);
            // Also what was known: other shards must hear that it is still true.
            if is_for_us || learnt != crate::neighbor::Learnt::Ignored {
                self.events.push(Event::Neighbor { ip, mac });
            }
            self.after_learning(learnt);
            if !is_for_us && learnt == crate::neighbor::Learnt::Ignored {
                return Err(Drop::ArpForeign);
            }
        }
        if message.is_request && is_for_us {
            let reply = arp::Outgoing::Reply {
                own: message.target,
                target: message.sender,
                to: message.sender_mac,
            };
            return if self.arp.push(reply) { Ok(()) } else { Err(Drop::ArpQueueFull) };
        }
        if is_probe { Err(Drop::ArpForeign) } else { Ok(()) }
    }

    fn icmp_arrives(&mut self, source: Ipv4Addr, local: u16, bytes: &[u8]) -> Result<(), Drop> {
        match icmp::parse(bytes)? {
            icmp::Message::EchoRequest => self.echoes.push(source, local, bytes)?,
            icmp::Message::FragmentationNeeded => self.counters.icmp_fragmentation_needed += 1,
            icmp::Message::PortUnreachable => self.counters.icmp_port_unreachable += 1,
            icmp::Message::Unreachable => self.counters.icmp_unreachable += 1,
        }
        Ok(())
    }
}
