//! From a header to a frame: next hop, Ethernet, IPv4, checksums.

use std::net::Ipv4Addr;

use super::FrameSink;
use crate::arp::{ArpQueue, Outgoing};
use crate::counters::StackCounters;
use crate::ethernet::{self, HEADER_BYTES, Mac};
use crate::ipv4;
use crate::neighbor::{NO_HINT, Neighbors};
use crate::segment::{self, Header, control};
use crate::settings::Settings;

/// The way out of the stack.
#[derive(Debug)]
pub(super) struct Egress<'a, S> {
    pub(super) now_ns: u64,
    pub(super) settings: &'a Settings,
    pub(super) neighbors: &'a mut Neighbors,
    pub(super) arp: &'a mut ArpQueue,
    pub(super) counters: &'a mut StackCounters,
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
        let (source, remote) = (self.settings.address(header.key.local), header.key.remote_ipv4());
        let Some((mac, place)) = self.resolve(remote, hint) else { return Sent::Unresolved };
        let (header_bytes, by_port) = (header.bytes(), self.settings.tx_checksum_offload);
        let tcp_bytes = header_bytes + octets;
        let len = HEADERS_BYTES + tcp_bytes;
        let Some(frame) = self.sink.frame(len) else { return Sent::NoRoom };
        ethernet::emit(frame, self.settings.mac, mac, ethernet::Payload::Ipv4);
        let packet = &mut frame[HEADER_BYTES..];
        ipv4::emit(packet, source, remote, ipv4::Payload::Tcp, tcp_bytes);
        let tcp = &mut packet[ipv4::MIN_HEADER_BYTES..];
        header.emit(tcp);
        fill(&mut tcp[header_bytes..]);
        segment::seal(tcp, source, remote, by_port);
        if by_port {
            self.sink.checksum(HEADER_BYTES, ipv4::MIN_HEADER_BYTES);
        }
        self.count(len);
        self.counters.tcp_sent += 1;
        self.counters.tcp_reset_sent += u64::from(header.control & control::RST != 0);
        self.counters.tcp_pure_ack += u64::from(octets == 0 && header.control == control::ACK);
        Sent::Done(place)
    }

    /// Sends an ICMP message from one of our addresses.
    pub(super) fn echo(&mut self, remote: Ipv4Addr, local: u16, bytes: &[u8]) -> Sent {
        let Some((mac, place)) = self.resolve(remote, NO_HINT) else { return Sent::Unresolved };
        let len = HEADERS_BYTES + bytes.len();
        let Some(frame) = self.sink.frame(len) else { return Sent::NoRoom };
        ethernet::emit(frame, self.settings.mac, mac, ethernet::Payload::Ipv4);
        let packet = &mut frame[HEADER_BYTES..];
        let source = self.settings.address(local);
        ipv4::emit(packet, source, remote, ipv4::Payload::Icmp, bytes.len());
        packet[ipv4::MIN_HEADER_BYTES..].copy_from_slice(bytes);
        self.count(len);
        Sent::Done(place)
    }

    fn count(&mut self, len: usize) {
        self.counters.sent += 1;
        self.counters.sent_frame += len as u64;
    }

    /// The MAC address of the next hop to `remote`, and its place in the table.
    fn resolve(&mut self, remote: Ipv4Addr, hint: u16) -> Option<(Mac, u16)> {
        let known = self.settings.next_hop(remote).and_then(|(hop, own)| {
            let resolution = self.neighbors.resolve(self.now_ns, hop, hint);
            if let Some(to) = resolution.ask {
                // Should the queue be full, the next packet asks again.
                let _ = self.arp.push(Outgoing::Request { own, target: hop, to });
            }
            resolution.known
        });
        self.counters.neighbor_unresolved += u64::from(known.is_none());
        known
    }
}

/// Bytes before TCP's header.
const HEADERS_BYTES: usize = HEADER_BYTES + ipv4::MIN_HEADER_BYTES;
