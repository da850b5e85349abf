//! IPv6 packets up to what they carry: RFC 8200, RFC 4291 §2.8, RFC 4443.

use super::RxFrame;
use crate::counters::Drop;
use crate::ethernet;
use crate::fragments::Fragment;
use crate::icmp_answer::IcmpError;
use crate::icmp_error::{quoted_ipv6, report_ipv6};
use crate::icmp_queue::Kind;
use crate::icmpv6::{self, Message};
use crate::ip::{self, protocol};
use crate::ipv6::{self, Header, Problem};
use crate::segment::{self, Origin, Segment};
use crate::stack::Stack;

/// Whom a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Addressee {
    /// One of our addresses.
    Own(u16),
    /// A group that we are in.
    Group,
}

/// A packet that was received, with its frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received<'a> {
    pub(super) header: Header,
    /// What it carries.
    pub(super) payload: &'a [u8],
    /// Who sent the frame.
    pub(super) mac: ethernet::Mac,
    /// There was a fragment header.
    pub(super) was_fragment: bool,
}

impl Stack {
    pub(super) fn ipv6_arrives(
        &mut self,
        now_ns: u64,
        frame: &RxFrame<'_>,
        at: u16,
        bytes: &[u8],
    ) -> Result<Option<Segment>, Drop> {
        let header = ipv6::parse(bytes)?;
        let to = self.addressee(&header).ok_or(Drop::Ipv6Destination)?;
        if to != Addressee::Group && ethernet::is_group(frame.bytes) {
            // As RFC 1122 §3.3.6 has it: what is for one host is not sent to many.
            return Err(Drop::EthernetDestination);
        }
        let (source, destination) = (header.source.into(), header.destination.into());
        if self.settings.local(source).is_some() {
            return Err(Drop::Ipv6Source);
        }
        let before = frame.bytes.len() - bytes.len();
        let bytes = &bytes[..header.packet_bytes];
        let inner = ipv6::walk(bytes, &header).map_err(|refusal| {
            if let Some(problem) = refusal.problem {
                self.tell_problem(now_ns, &header, to, problem, bytes);
            }
            refusal.reason
        })?;
        let payload = &bytes[inner.range.clone()];
        if let Some(part) = inner.part {
            let fragment = Fragment {
                source: ip::octets(source),
                destination: ip::octets(destination),
                id: part.id,
                protocol: inner.protocol,
                offset: part.offset.into(),
                more: part.more,
                ecn: header.traffic_class & 3,
                mac: ethernet::source(frame.bytes),
                octets: payload,
            };
            let kept = self.ipv6_fragment_arrives(now_ns, to, &fragment);
            let may_be_error = inner.protocol == protocol::ICMPV6;
            if matches!(kept, Err(Drop::FragmentTiny)) && !may_be_error {
                self.tell_problem(now_ns, &header, to, Problem::INCOMPLETE_CHAIN, bytes);
            }
            return kept.map(|()| None);
        }
        if inner.protocol == protocol::ICMPV6 {
            let mac = ethernet::source(frame.bytes);
            let was_fragment = inner.was_fragment;
            let received = Received { header, payload, mac, was_fragment };
            return self.icmpv6_arrives(now_ns, &received, to).map(|()| None);
        }
        if header.source.is_unspecified() {
            return Err(Drop::Ipv6Source);
        }
        let Addressee::Own(local) = to else { return Err(Drop::Ipv6Destination) };
        if !self.claims.is_preferred(local) {
            return Err(Drop::Ipv6Tentative);
        }
        if inner.protocol == protocol::UDP {
            return self.udp_arrives(now_ns, (source, destination), local, bytes, payload);
        }
        let origin = Origin {
            source,
            destination,
            local,
            traffic_class: header.traffic_class,
            frame: at,
            start: before + inner.range.start,
            checksum_verified: frame.checksum_verified,
        };
        segment::parse(payload, &origin).map(Some)
    }

    /// What is for a group is never large.
    fn ipv6_fragment_arrives(
        &mut self,
        now_ns: u64,
        to: Addressee,
        fragment: &Fragment<'_>,
    ) -> Result<(), Drop> {
        match to {
            Addressee::Own(local) if self.claims.is_preferred(local) => {
                self.fragment_arrives(now_ns, fragment)
            }
            Addressee::Own(_) => Err(Drop::Ipv6Tentative),
            Addressee::Group => Err(Drop::Ipv6Destination),
        }
    }

    /// Whom a packet is for, if it is for us: one of our addresses, all nodes, or the group of those
    /// who end as one of our addresses does (RFC 4291 §2.8).
    fn addressee(&self, header: &Header) -> Option<Addressee> {
        if header.destination.is_multicast() {
            let is_joined = self.settings.is_in_group(header.destination);
            return is_joined.then_some(Addressee::Group);
        }
        self.settings.local(header.destination.into()).map(Addressee::Own)
    }

    fn icmpv6_arrives(
        &mut self,
        now_ns: u64,
        received: &Received<'_>,
        to: Addressee,
    ) -> Result<(), Drop> {
        let header = &received.header;
        match icmpv6::parse(received.payload, header.source, header.destination)? {
            Message::NeighborSolicitation => return self.solicitation_arrives(now_ns, received),
            Message::NeighborAdvertisement => return self.advertisement_arrives(now_ns, received),
            Message::Router => return Err(Drop::NdpRouter),
            Message::Error => {
                let report = report_ipv6(received.payload).ok_or(Drop::IcmpType)?;
                return self.icmp_error_arrives(now_ns, report, &quoted_ipv6(received.payload)?);
            }
            Message::EchoRequest => {}
        }
        if header.source.is_unspecified() {
            return Err(Drop::Ipv6Source);
        }
        let local = self.answering(header, to)?;
        let own = self.settings.ipv6_address(local).ok_or(Drop::Ipv6Destination)?;
        let request = received.payload;
        let room = self
            .icmp
            .push(header.source.into(), local, Kind::EchoReply, request.len())
            .ok_or(Drop::IcmpQueueFull)?;
        room.copy_from_slice(request);
        icmpv6::reply(room, own, header.source);
        Ok(())
    }

    /// Which of our addresses answers a packet: the one it was for, or, when it was for a group, the
    /// one to speak to its sender from (RFC 4443 §4.2).
    fn answering(&self, header: &Header, to: Addressee) -> Result<u16, Drop> {
        let local = match to {
            Addressee::Own(local) => local,
            Addressee::Group => {
                self.settings.source_for(header.source.into()).ok_or(Drop::Ipv6Source)?
            }
        };
        if self.claims.is_preferred(local) { Ok(local) } else { Err(Drop::Ipv6Tentative) }
    }

    /// RFC 4443 §3.4, within the limits of §2.4 (e): never about an error, to nobody, or about what
    /// many have got, with the one exception.
    fn tell_problem(
        &mut self,
        now_ns: u64,
        header: &Header,
        to: Addressee,
        problem: Problem,
        packet: &[u8],
    ) {
        if header.source.is_unspecified() || to == Addressee::Group && !problem.for_groups {
            return;
        }
        if let Ok(local) = self.answering(header, to) {
            let error = IcmpError::parameter_problem(problem);
            self.tell_error(now_ns, header.source.into(), local, error, packet);
        }
    }
}
