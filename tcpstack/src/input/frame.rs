//! Frames up to TCP's header: Ethernet, ARP, IPv4, ICMP.

use std::net::IpAddr;

use super::RxFrame;
use crate::counters::Drop;
use crate::ethernet;
use crate::event::{Event, NeighborNews};
use crate::fragments::Fragment;
use crate::icmp_error::quoted_ipv4;
use crate::icmp_queue::Kind;
use crate::ip::{self, IpCidr, protocol};
use crate::neighbor::Learnt;
use crate::segment::{self, Origin, Segment};
use crate::settings::Settings;
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
        let Settings { station, .. } = &self.settings;
        let (payload, start) =
            ethernet::parse(frame.bytes, station.vlan, |mac| self.settings.is_for_us(mac))?;
        let bytes = &frame.bytes[start..];
        match payload {
            ethernet::Payload::Arp => self.arp_arrives(now_ns, arp::parse(bytes)?).map(|()| None),
            ethernet::Payload::Ipv4 => self.ipv4_arrives(now_ns, frame, at, bytes),
            ethernet::Payload::Ipv6 => self.ipv6_arrives(now_ns, frame, at, bytes),
        }
    }

    fn ipv4_arrives(
        &mut self,
        now_ns: u64,
        frame: &RxFrame<'_>,
        at: u16,
        bytes: &[u8],
    ) -> Result<Option<Segment>, Drop> {
        let datagram = ipv4::parse(bytes, frame.checksum_verified)?;
        let (source, destination) = (datagram.source.into(), datagram.destination.into());
        let local = self.settings.local(destination).ok_or(Drop::Ipv4Destination)?;
        if !self.is_possible_sender(source) {
            return Err(Drop::Ipv4Source);
        }
        if datagram.has_options {
            self.counters.ipv4_options += 1;
        }
        let payload = &bytes[datagram.range.clone()];
        let packet = &bytes[..datagram.range.end];
        match datagram.protocol {
            protocol::TCP | protocol::ICMP => {}
            // RFC 1122 §3.2.2: nobody is told about a part of a datagram.
            _ if datagram.fragment.is_some() => return Err(Drop::Ipv4Protocol),
            protocol::UDP => {
                return self.udp_arrives(now_ns, (source, destination), local, packet, payload);
            }
            _ => return self.unknown_protocol_arrives(now_ns, source, local, packet),
        }
        if let Some(part) = datagram.fragment {
            let fragment = Fragment {
                source: ip::octets(source),
                destination: ip::octets(destination),
                id: part.id.into(),
                protocol: datagram.protocol,
                offset: part.offset.into(),
                more: part.more,
                ecn: bytes[1] & 3,
                mac: ethernet::source(frame.bytes),
                octets: payload,
            };
            return self.fragment_arrives(now_ns, &fragment).map(|()| None);
        }
        let origin = Origin {
            source,
            destination,
            local,
            traffic_class: datagram.traffic_class,
            frame: at,
            start: frame.bytes.len() - bytes.len() + datagram.range.start,
            checksum_verified: frame.checksum_verified,
        };
        match datagram.protocol {
            protocol::TCP => segment::parse(payload, &origin).map(Some),
            _ => self.icmp_arrives(now_ns, source, local, payload).map(|()| None),
        }
    }

    /// RFC 1122 §3.2.1.3 and §4.2.3.10: nobody sends from our address or a broadcast address.
    fn is_possible_sender(&self, source: IpAddr) -> bool {
        let is_own = |own: &IpCidr| {
            own.addr == source || own.broadcast().is_some_and(|broadcast| source == broadcast)
        };
        !source.is_unspecified() && !self.settings.addresses.ours().any(|(_, own)| is_own(own))
    }

    /// RFC 826, with the conflicts of RFC 5227 §2.4 counted.
    fn arp_arrives(&mut self, now_ns: u64, message: arp::Message) -> Result<(), Drop> {
        let (sender, is_probe) = (message.sender.into(), message.sender.is_unspecified());
        let is_for_us = self.settings.local(message.target.into()).is_some();
        if let Some(local) = self.settings.local(sender) {
            if message.sender_mac != self.settings.station.mac {
                self.defend(now_ns, local);
            }
            return Err(Drop::ArpSender);
        }
        if !is_probe {
            if self.settings.on_link(sender).is_none() {
                return Err(Drop::ArpSender);
            }
            let (ip, mac) = (sender, message.sender_mac);
            let asks_us = is_for_us && message.is_request;
            let learnt = self.neighbors.learn(now_ns, ip, mac, asks_us);
            // Also what was known: other shards must hear that it is still true. And they may have
            // asked, or know who announces itself, when this one did not and does not.
            let is_announcement = !message.is_request || message.target == message.sender;
            if is_for_us || is_announcement || learnt != Learnt::Ignored {
                let news = if asks_us { NeighborNews::Asked } else { NeighborNews::Told };
                self.events.push(Event::Neighbor { ip, mac, news });
            }
            self.after_learning(learnt);
            if !is_for_us && learnt == Learnt::Ignored {
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

    fn icmp_arrives(
        &mut self,
        now_ns: u64,
        source: IpAddr,
        local: u16,
        bytes: &[u8],
    ) -> Result<(), Drop> {
        match icmp::parse(bytes)? {
            icmp::Message::EchoRequest => {
                let room = self
                    .icmp
                    .push(source, local, Kind::EchoReply, bytes.len())
                    .ok_or(Drop::IcmpQueueFull)?;
                room.copy_from_slice(bytes);
                icmp::reply(room);
                Ok(())
            }
            icmp::Message::Error(report) => {
                self.icmp_error_arrives(now_ns, report, &quoted_ipv4(bytes)?)
            }
        }
    }
}
