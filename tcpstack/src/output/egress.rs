//! From a header to a frame: next hop, Ethernet, IP, checksums.

use std::net::IpAddr;

use super::FrameSink;
use crate::arp::{ArpQueue, Outgoing};
use crate::counters::StackCounters;
use crate::ethernet::{self, BROADCAST, Mac, Station};
use crate::held::Held;
use crate::icmp_queue::Waiting;
use crate::ip::{self, HOP_LIMIT, protocol};
use crate::ndp::{self, NdpQueue};
use crate::neighbor::{NO_HINT, Neighbors};
use crate::segment::{self, Header, control};
use crate::settings::Settings;
use crate::{ipv4, ipv6};

/// The way out of the stack.
#[derive(Debug)]
pub(super) struct Egress<'a, S> {
    pub(super) now_ns: u64,
    pub(super) settings: &'a Settings,
    pub(super) neighbors: &'a mut Neighbors,
    pub(super) arp: &'a mut ArpQueue,
    pub(super) ndp: &'a mut NdpQueue,
    pub(super) counters: &'a mut StackCounters,
    /// Where a packet waits for its next hop's address; `None`: its sender has a timer for it.
    pub(super) held: Option<&'a mut Held>,
    /// It was asked for the next hop before, in vain, and does not ask in place of others.
    pub(super) is_patient: bool,
    pub(super) sink: &'a mut S,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It is in the sink. The next hop's place in the neighbour table is a hint for the next one.
    Done(u16),
    /// It is not, and neither is any other this turn.
    NoRoom,
    /// The next hop is not known; it was asked for.
    Unresolved,
}

impl<S: FrameSink> Egress<'_, S> {
    /// Sends a segment with as many octets, which `fill` writes.
    pub(super) fn segment(
        &mut self,
        header: &Header,
        hint: u16,
        octets: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Sent {
        let (header_bytes, by_port) = (header.bytes(), self.is_summed_by_port());
        let packet = ip::Header {
            source: self.settings.address(header.key.local),
            destination: header.key.remote_ip(),
            protocol: protocol::TCP,
            traffic_class: header.traffic_class,
            flow_label: self.settings.flow_label(&header.key),
            hop_limit: HOP_LIMIT,
            payload_bytes: header_bytes + octets,
            part: None,
        };
        let sent = self.packet(&packet, hint, |tcp| {
            header.emit(tcp);
            fill(&mut tcp[header_bytes..]);
            segment::seal(tcp, packet.source, packet.destination, by_port);
        });
        let Sent::Done(_) = sent else { return sent };
        if by_port {
            self.sink.checksum(self.settings.station.header_bytes(), packet.bytes());
        }
        self.counters.tcp_sent += 1;
        self.counters.tcp_reset_sent += u64::from(header.control & control::RST != 0);
        self.counters.tcp_pure_ack +=
            u64::from(octets == 0 && header.control & !control::ECE == control::ACK);
        sent
    }

    /// Sends a fragment of an ICMP message that is larger than `mtu`: the next one. Returns how many
    /// of the message's octets it has.
    pub(super) fn icmp_fragment(
        &mut self,
        waiting: &Waiting,
        bytes: &[u8],
        mtu: u16,
    ) -> (Sent, usize) {
        let is_ipv6 = waiting.remote.is_ipv6();
        let extra = if is_ipv6 { ipv6::FRAGMENT_HEADER_BYTES } else { 0 };
        let room = (usize::from(mtu) - ip::header_bytes(is_ipv6) - extra) / 8 * 8;
        let rest = &bytes[usize::from(waiting.sent)..];
        let piece = &rest[..rest.len().min(room)];
        let (offset, more) = (waiting.sent, piece.len() < rest.len());
        let part = ipv4::Part { id: waiting.id as u16, offset, more };
        let header = ip::Header {
            source: self.settings.address(waiting.local),
            destination: waiting.remote,
            protocol: if is_ipv6 { protocol::FRAGMENT } else { protocol::ICMP },
            traffic_class: 0,
            flow_label: 0,
            hop_limit: HOP_LIMIT,
            payload_bytes: extra + piece.len(),
            part: (!is_ipv6).then_some(part),
        };
        let part = ipv6::Part { id: waiting.id, offset, more };
        let sent = self.packet(&header, NO_HINT, |payload| {
            let (before, octets) = payload.split_at_mut(extra);
            if is_ipv6 {
                ipv6::emit_fragment(before, protocol::ICMPV6, part);
            }
            octets.copy_from_slice(piece);
        });
        (sent, piece.len())
    }

    /// Sends an ICMP message from one of our addresses.
    pub(super) fn icmp(&mut self, remote: IpAddr, local: u16, bytes: &[u8]) -> Sent {
        let header = ip::Header {
            source: self.settings.address(local),
            destination: remote,
            protocol: if remote.is_ipv6() { protocol::ICMPV6 } else { protocol::ICMP },
            traffic_class: 0,
            flow_label: 0,
            hop_limit: HOP_LIMIT,
            payload_bytes: bytes.len(),
            part: None,
        };
        self.packet(&header, NO_HINT, |payload| payload.copy_from_slice(bytes))
    }

    /// Sends a packet whose payload `fill` writes.
    fn packet(&mut self, header: &ip::Header, hint: u16, fill: impl FnOnce(&mut [u8])) -> Sent {
        let station = self.settings.station;
        let len = station.header_bytes() + header.bytes() + header.payload_bytes;
        let Some((mac, place)) = self.resolve(header, hint) else {
            let hop = self.settings.next_hop(header.destination);
            let held = self.held.as_deref_mut().zip(hop);
            if let Some(frame) = held.and_then(|(held, hop)| held.keep(self.now_ns, hop, len)) {
                emit(frame, station, BROADCAST, header, fill);
                self.counters.neighbor_held += 1;
            }
            return Sent::Unresolved;
        };
        let Some(frame) = self.sink.frame(len) else { return Sent::NoRoom };
        emit(frame, station, mac, header, fill);
        self.counters.sent += 1;
        self.counters.sent_frame += len as u64;
        Sent::Done(place)
    }

    /// What may have to wait is whole when it waits.
    fn is_summed_by_port(&self) -> bool {
        self.settings.tx_checksum_offload && self.held.is_none()
    }

    /// The MAC address of a packet's next hop, and its place in the table.
    fn resolve(&mut self, header: &ip::Header, hint: u16) -> Option<(Mac, u16)> {
        let known = self.settings.next_hop(header.destination).and_then(|hop| {
            if !self.is_patient {
                self.neighbors.make_room_to_ask(hop);
            }
            let resolution = self.neighbors.resolve(self.now_ns, hop, hint);
            if let Some(to) = resolution.ask {
                self.ask(header.source, hop, to);
            }
            resolution.known
        });
        self.counters.neighbor_unresolved += u64::from(known.is_none());
        known
    }

    /// Asks for a next hop: by ARP from the address of its network, by neighbour discovery from the
    /// address that the packet comes from (RFC 4861 §7.2.2).
    fn ask(&mut self, source: IpAddr, hop: IpAddr, to: Mac) {
        let near = self.settings.on_link(hop).map(|own| self.settings.address(own));
        // Should a queue be full, the next packet asks again.
        let _ = match (near, source, hop) {
            (Some(IpAddr::V4(own)), _, IpAddr::V4(target)) => {
                self.arp.push(Outgoing::Request { own, target, to })
            }
            (_, IpAddr::V6(own), IpAddr::V6(target)) => {
                let to = (to != BROADCAST).then_some(to);
                self.ndp.push(ndp::Outgoing::Solicit { own, target, to })
            }
            _ => false,
        };
    }
}

fn emit(
    frame: &mut [u8],
    from: Station,
    to: Mac,
    header: &ip::Header,
    fill: impl FnOnce(&mut [u8]),
) {
    let packet = ethernet::emit(frame, from, to, header.ethernet_payload());
    header.emit(packet);
    fill(&mut packet[header.bytes()..]);
}
