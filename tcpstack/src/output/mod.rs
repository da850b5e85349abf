//! What input, timers and calls decided to send leaves here, once a turn.
//!
//! Small things first: ARP, neighbour discovery, ICMP, segments without a connection, SYN-ACKs; then the
//! connections that have something to send, in turns. When the sink has no room left, output stops
//! and goes on from there next time. Since a connection is looked at once a turn, everything the
//! application wrote since then leaves in as few segments as it fits in.

mod connection;
mod egress;
mod plan;

use std::net::IpAddr;

use crate::ConnId;
use crate::arp::{self, Outgoing};
use crate::config::ADDRESSES_MAX;
use crate::ethernet;
use crate::icmp_queue::Kind;
use crate::input::syn_ack;
use crate::ip;
use crate::ndp;
use crate::neighbor::NO_HINT;
use crate::stack::Stack;
use crate::tcb::{Place, State};
use connection::{Transmit, Visit};
use egress::{Egress, Sent};

/// Where frames go.
pub trait FrameSink {
    /// A writable frame of exactly `len` bytes, which the stack fills and is then done with.
    /// `None`: no room this turn; output stops and goes on next turn.
    fn frame(&mut self, len: usize) -> Option<&mut [u8]>;

    /// The port fills in the TCP checksum of the last frame: its field holds the sum of the
    /// pseudo-header. `l2` and `l3` are the bytes of the Ethernet and the IP header: 20 for
    /// IPv4, 40 for IPv6. Only called with `tx_checksum_offload`.
    fn checksum(&mut self, l2: usize, l3: usize);
}

/// The sink is full.
#[derive(Clone, Copy, Debug)]
struct NoRoom;

impl Stack {
    /// Sends what is due until nothing is or the sink has no room.
    pub fn output(&mut self, now_ns: u64, sink: &mut impl FrameSink) {
        self.now_ns = now_ns;
        let _ = self.output_all(now_ns, sink);
    }

    /// Whether [`Self::output`] has anything to do.
    #[must_use]
    pub fn has_output(&self) -> bool {
        let can_fly = self.places.len(Place::Flight) > 0 && self.flights.available() > 0;
        can_fly
            || self.places.len(Place::Output) > 0
            || !self.arp.is_empty()
            || !self.ndp.is_empty()
            || !self.icmp.is_empty()
            || !self.answers.is_empty()
            || self.held.is_kicked()
            || self.syns.next_output().is_some()
    }

    /// Tells the link where our addresses are (RFC 5227 §2.3, RFC 4861 §7.2.6).
    pub fn announce(&mut self) {
        for local in 0..ADDRESSES_MAX as u16 {
            if self.settings.addresses.is_ours(local) {
                self.announce_one(local);
            }
        }
    }

    pub(crate) fn announce_one(&mut self, local: u16) {
        // Should a queue be full, neighbours ask.
        let _ = match self.settings.address(local) {
            IpAddr::V4(own) => {
                self.defences.announced(local);
                self.arp.push(Outgoing::Announcement { own })
            }
            // What is not ours yet is announced when it is.
            IpAddr::V6(own) => {
                self.claims.is_preferred(local)
                    && self.ndp.push(ndp::Outgoing::Announcement { own })
            }
        };
    }

    fn output_all(&mut self, now_ns: u64, sink: &mut impl FrameSink) -> Result<(), NoRoom> {
        self.output_arp(sink)?;
        self.output_ndp(sink)?;
        self.output_held(now_ns, sink)?;
        self.output_icmp(now_ns, sink)?;
        self.output_answers(now_ns, sink)?;
        self.output_syn_acks(now_ns, sink)?;
        self.output_connections(now_ns, sink)?;
        // Whoever could not be reached was asked for meanwhile.
        self.output_arp(sink)?;
        self.output_ndp(sink)
    }

    fn egress<'a, S: FrameSink>(
        &'a mut self,
        now_ns: u64,
        is_patient: bool,
        sink: &'a mut S,
    ) -> Egress<'a, S> {
        Egress {
            now_ns,
            settings: &self.settings,
            neighbors: &mut self.neighbors,
            arp: &mut self.arp,
            ndp: &mut self.ndp,
            counters: &mut self.counters,
            held: None,
            is_patient,
            sink,
        }
    }

    fn output_arp(&mut self, sink: &mut impl FrameSink) -> Result<(), NoRoom> {
        let len = self.settings.station.header_bytes() + arp::MESSAGE_BYTES;
        while let Some(message) = self.arp.front() {
            let frame = sink.frame(len).ok_or(NoRoom)?;
            message.emit(frame, self.settings.station);
            match message {
                Outgoing::Reply { .. } => self.counters.arp_reply_sent += 1,
                _ => self.counters.arp_request_sent += 1,
            }
            self.counters.sent += 1;
            self.counters.sent_frame += len as u64;
            self.arp.pop();
        }
        Ok(())
    }

    fn output_ndp(&mut self, sink: &mut impl FrameSink) -> Result<(), NoRoom> {
        while let Some(message) = self.ndp.front() {
            let len = self.settings.station.header_bytes() + message.packet_bytes();
            let frame = sink.frame(len).ok_or(NoRoom)?;
            message.emit(frame, self.settings.station);
            match message {
                ndp::Outgoing::Solicit { .. } | ndp::Outgoing::Probe { .. } => {
                    self.counters.ndp_solicitation_sent += 1;
                }
                _ => self.counters.ndp_advertisement_sent += 1,
            }
            self.counters.sent += 1;
            self.counters.sent_frame += len as u64;
            self.ndp.pop();
        }
        Ok(())
    }

    /// What waited for a neighbour that is known now.
    fn output_held(&mut self, now_ns: u64, sink: &mut impl FrameSink) -> Result<(), NoRoom> {
        if !self.held.is_kicked() {
            return Ok(());
        }
        let Self { held, neighbors, counters, .. } = self;
        held.retry(now_ns, |hop, frame| {
            let Some(mac) = neighbors.known_mac(hop) else { return Ok(false) };
            let out = sink.frame(frame.len()).ok_or(NoRoom)?;
            out.copy_from_slice(frame);
            ethernet::readdress(out, mac);
            counters.sent += 1;
            counters.sent_frame += frame.len() as u64;
            Ok(true)
        })
    }

    fn output_icmp(&mut self, now_ns: u64, sink: &mut impl FrameSink) -> Result<(), NoRoom> {
        while let Some((waiting, bytes)) = self.icmp.front() {
            let mut egress = Egress {
                now_ns,
                settings: &self.settings,
                neighbors: &mut self.neighbors,
                arp: &mut self.arp,
                ndp: &mut self.ndp,
                counters: &mut self.counters,
                held: Some(&mut self.held),
                is_patient: false,
                sink: &mut *sink,
            };
            let known = self.paths.estimate(now_ns, &ip::octets(waiting.remote));
            let mtu = known.at_most(self.settings.mtu);
            let header_bytes = ip::header_bytes(waiting.remote.is_ipv6());
            if bytes.len() + header_bytes > usize::from(mtu) {
                let (sent, octets) = egress.icmp_fragment(&waiting, bytes, mtu);
                let is_last = usize::from(waiting.sent) + octets == bytes.len();
                match sent {
                    Sent::NoRoom => return Err(NoRoom),
                    Sent::Done(_) | Sent::Unresolved if !is_last => {
                        self.icmp.advance(octets);
                        continue;
                    }
                    Sent::Done(_) => self.counters.icmp_echo += 1,
                    Sent::Unresolved => {}
                }
                self.icmp.pop();
                continue;
            }
            match egress.icmp(waiting.remote, waiting.local, bytes) {
                Sent::NoRoom => return Err(NoRoom),
                Sent::Done(_) if waiting.kind == Kind::EchoReply => self.counters.icmp_echo += 1,
                Sent::Done(_) => self.counters.icmp_error_sent += 1,
                Sent::Unresolved => {}
            }
            self.icmp.pop();
        }
        Ok(())
    }

    fn output_answers(&mut self, now_ns: u64, sink: &mut impl FrameSink) -> Result<(), NoRoom> {
        while let Some(header) = self.answers.front() {
            let mut egress = Egress {
                now_ns,
                settings: &self.settings,
                neighbors: &mut self.neighbors,
                arp: &mut self.arp,
                ndp: &mut self.ndp,
                counters: &mut self.counters,
                held: Some(&mut self.held),
                is_patient: false,
                sink: &mut *sink,
            };
            if egress.segment(header, NO_HINT, 0, |_| {}) == Sent::NoRoom {
                return Err(NoRoom);
            }
            self.answers.pop();
        }
        Ok(())
    }

    fn output_syn_acks(&mut self, now_ns: u64, sink: &mut impl FrameSink) -> Result<(), NoRoom> {
        let timestamp = self.settings.timestamp(now_ns);
        while let Some(index) = self.syns.next_output() {
            let Some(entry) = self.syns.get(index) else { break };
            let header = syn_ack(entry, &self.settings, timestamp);
            // Whoever does not answer has to wait from then on.
            let has_waited = entry.has_waited != 0;
            let mut egress = self.egress(now_ns, has_waited, sink);
            match egress.segment(&header, NO_HINT, 0, |_| {}) {
                Sent::NoRoom => return Err(NoRoom),
                Sent::Done(_) => self.syns.sent(now_ns, index, true),
                Sent::Unresolved => self.syns.sent(now_ns, index, false),
            }
        }
        Ok(())
    }

    fn output_connections(&mut self, now_ns: u64, sink: &mut impl FrameSink) -> Result<(), NoRoom> {
        for _ in 0..self.flights.available() {
            let Some(conn) = self.places.first(Place::Flight) else { break };
            self.places.put(&mut self.tcbs, conn, Place::Output);
        }
        while let Some(conn) = self.places.first(Place::Output) {
            let visit = self.visit(now_ns, conn, sink);
            self.request_timer(conn);
            if visit == Visit::NoRoom {
                return Err(NoRoom);
            }
            self.places.put(&mut self.tcbs, conn, Place::Idle);
            let place = match visit {
                Visit::Again => Place::Output,
                Visit::AwaitFlight => Place::Flight,
                Visit::AwaitNeighbor => Place::Neighbor,
                Visit::Ended => Place::Ended,
                _ if self.is_waiting_for_chunks(conn) => Place::Chunks,
                _ => Place::Idle,
            };
            self.counters.tcp_flight_wait += u64::from(place == Place::Flight);
            self.places.put(&mut self.tcbs, conn, place);
        }
        Ok(())
    }

    fn visit(&mut self, now_ns: u64, conn: ConnId, sink: &mut impl FrameSink) -> Visit {
        let mut transmit = Transmit {
            conn,
            flights: &mut self.flights,
            chunks: &mut self.chunks,
            paths: &mut self.paths,
            egress: Egress {
                now_ns,
                settings: &self.settings,
                neighbors: &mut self.neighbors,
                arp: &mut self.arp,
                ndp: &mut self.ndp,
                counters: &mut self.counters,
                held: None,
                is_patient: false,
                sink,
            },
        };
        let tcb = &mut self.tcbs[conn];
        match tcb.state() {
            State::Closed => transmit.reset(tcb),
            State::SynSent | State::SynReceived => transmit.handshake(tcb),
            _ => transmit.synchronized(tcb),
        }
    }
}
