//! Fragments arrive, and datagrams whose fragments are all here leave as frames of their own.

use crate::counters::Drop;
use crate::ethernet::{self, HEADER_BYTES, Station, TAG_BYTES};
use crate::fragments::{Collected, DATAGRAM_BYTES_MAX, Fragment, Taken};
use crate::icmp_answer::IcmpError;
use crate::ip::{self, HOP_LIMIT, protocol};
use crate::stack::Stack;
use crate::{ipv4, ipv6};

impl Stack {
    /// Takes a fragment whose addresses were checked.
    pub(super) fn fragment_arrives(
        &mut self,
        now_ns: u64,
        fragment: &Fragment<'_>,
    ) -> Result<(), Drop> {
        let taken = self.fragments.take(now_ns, fragment);
        match taken? {
            Taken::Kept => {}
            Taken::Duplicate => self.counters.fragment_duplicate += 1,
            Taken::Completed => self.counters.fragment_reassembled += 1,
        }
        Ok(())
    }

    /// Gives up datagrams whose fragments did not all come in time.
    pub(crate) fn expire_fragments(&mut self, now_ns: u64, budget: usize) {
        for _ in 0..budget {
            let mut packet = [0; QUOTED_BYTES_MAX];
            let Some((at, first)) = self.fragments.expired(now_ns) else { break };
            let told = first.map(|first| {
                let len = quote(&first, &mut packet);
                (ip::address(first.source), ip::address(first.destination), len)
            });
            self.fragments.free(at);
            self.counters.fragment_expired += 1;
            // RFC 1122 §3.3.2 and RFC 8200 §4.5: the sender is told if the first fragment came.
            let Some((remote, own, len)) = told else { continue };
            if let Some(local) = self.settings.local(own) {
                let error = IcmpError::reassembly_time(remote.is_ipv6());
                self.tell_error(now_ns, remote, local, error, &packet[..len]);
            }
        }
        self.counters.fragment_evicted = self.fragments.evicted();
    }

    /// Writes the next datagram whose fragments are all here to `into`, as a frame without
    /// fragmentation, and returns how many bytes that takes. Asked after [`input`](Self::input)
    /// until there is none. The frame is for the shard that owns its flow, which gives it to its
    /// own stack: the fragments came here by their addresses, since they have no ports. One that
    /// does not fit `into` is dropped.
    pub fn poll_reassembled(&mut self, into: &mut [u8]) -> Option<usize> {
        while let Some((at, datagram)) = self.fragments.complete() {
            let bytes = emit(&datagram, self.settings.station, into);
            self.fragments.free(at);
            if bytes.is_some() {
                return bytes;
            }
            self.counters.fragment_oversized += 1;
        }
        None
    }
}

/// Writes a datagram as a frame; `None` when there is not enough room.
fn emit(datagram: &Collected<'_>, own: Station, into: &mut [u8]) -> Option<usize> {
    let header = ip::Header {
        source: ip::address(datagram.source),
        destination: ip::address(datagram.destination),
        protocol: datagram.protocol,
        traffic_class: datagram.ecn,
        flow_label: 0,
        hop_limit: HOP_LIMIT,
        payload_bytes: datagram.octets.len(),
        part: None,
    };
    let from = Station { mac: datagram.mac, ..own };
    let len = from.header_bytes() + header.bytes() + datagram.octets.len();
    let frame = into.get_mut(..len)?;
    let packet = ethernet::emit(frame, from, own.mac, header.ethernet_payload());
    header.emit(packet);
    packet[header.bytes()..].copy_from_slice(datagram.octets);
    Some(len)
}

/// Writes the beginning of a first fragment as it came, as far as it is remembered. Returns how many
/// bytes there are.
fn quote(first: &Collected<'_>, packet: &mut [u8; QUOTED_BYTES_MAX]) -> usize {
    let is_ipv6 = ip::address(first.source).is_ipv6();
    let extra = if is_ipv6 { ipv6::FRAGMENT_HEADER_BYTES } else { 0 };
    let part = ipv4::Part { id: first.id as u16, offset: 0, more: true };
    let header = ip::Header {
        source: ip::address(first.source),
        destination: ip::address(first.destination),
        protocol: if is_ipv6 { protocol::FRAGMENT } else { first.protocol },
        traffic_class: first.ecn,
        flow_label: 0,
        hop_limit: HOP_LIMIT,
        payload_bytes: extra + first.octets.len(),
        part: (!is_ipv6).then_some(part),
    };
    header.emit(packet);
    let (before, octets) = packet[header.bytes()..].split_at_mut(extra);
    if is_ipv6 {
        let part = ipv6::Part { id: first.id, offset: 0, more: true };
        ipv6::emit_fragment(before, first.protocol, part);
    }
    let count = octets.len().min(first.octets.len());
    octets[..count].copy_from_slice(&first.octets[..count]);
    header.bytes() + extra + count
}

/// Bytes of a packet that an error quotes at most.
const QUOTED_BYTES_MAX: usize = 1_280;
/// Bytes of the largest frame that [`Stack::poll_reassembled`] writes.
pub const REASSEMBLED_BYTES_MAX: usize = HEADER_BYTES + TAG_BYTES + 40 + DATAGRAM_BYTES_MAX;
