//! A connection as a script sees it: its ends, its two number spaces, its two streams.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use tcpstack::ConnId;

use crate::script::{Envelope, Host, Link, Mac, Num, Opt, Packet, Payload, Segment, Told, flag};
use crate::setup::OWN_MAC;

#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) peer: SocketAddr,
    pub(crate) own: SocketAddr,
    /// Where frames for the peer go.
    pub(crate) mac: Mac,
    /// The peer's initial sequence number: its relative 0.
    pub(crate) irs: u32,
    /// Ours, once a SYN of ours was seen.
    iss: Option<u32>,
    /// The first TSval of ours.
    stamp: Option<u32>,
    /// After all that we ever sent on this flow.
    sent_end: Option<u32>,
    /// Whether the last ISS was after all that.
    iss_is_later: bool,
    pub(crate) conn: Option<ConnId>,
    /// What the application wrote.
    pub(crate) written: Vec<u8>,
    /// Relative number of the octet that the application gets next.
    next: u32,
    /// Relative number of the peer's last SYN.
    syn: u32,
    /// Relative numbers of octets that a script says itself.
    said: BTreeSet<u32>,
    /// What the application got and the script has not mentioned.
    pub(crate) fresh: Vec<u8>,
    /// The application leaves what comes in the stack.
    pub(crate) holding: bool,
    pub(crate) told: VecDeque<Told>,
}

impl Flow {
    pub(crate) fn new(peer: SocketAddr, own: SocketAddr, mac: Mac, irs: u32) -> Self {
        Self {
            peer,
            own,
            mac,
            irs,
            iss: None,
            stamp: None,
            sent_end: None,
            iss_is_later: true,
            conn: None,
            written: Vec::new(),
            next: 1,
            syn: 0,
            said: BTreeSet::new(),
            fresh: Vec::new(),
            holding: false,
            told: VecDeque::new(),
        }
    }

    /// A connection begins.
    pub(crate) fn begin(&mut self, conn: ConnId) {
        self.conn = Some(conn);
        self.written.clear();
        self.next = self.syn.wrapping_add(1);
        self.fresh.clear();
    }

    pub(crate) fn ip(&self, host: Host) -> IpAddr {
        match host {
            Host::Peer => self.peer.ip(),
            Host::Us => self.own.ip(),
            Host::Nobody if self.peer.is_ipv4() => IpAddr::from([0_u8; 4]),
            Host::Nobody => IpAddr::from([0_u8; 16]),
            Host::Is(ip) => ip,
        }
    }

    pub(crate) fn mac(&self, link: Link) -> Mac {
        match link {
            Link::Peer => self.mac,
            Link::Us => OWN_MAC,
            Link::Broadcast => [0xff; 6],
            Link::Is(mac) => mac,
        }
    }

    /// A number in the peer's sequence space, as on the wire.
    pub(crate) fn of_peer(&self, num: Num) -> u32 {
        raw(num, self.irs)
    }

    /// A number in our sequence space, as on the wire.
    pub(crate) fn of_us(&self, num: Num) -> u32 {
        raw(num, self.iss.unwrap_or(0))
    }

    /// A timestamp of ours, as on the wire.
    pub(crate) fn our_stamp(&self, num: Num) -> u32 {
        raw(num, self.stamp.unwrap_or(0))
    }

    pub(crate) fn iss_is_later(&self) -> bool {
        self.iss_is_later
    }

    /// The octets of a segment that the peer is about to send.
    pub(crate) fn peers_octets(&mut self, segment: &Segment) -> Vec<u8> {
        let seq = self.of_peer(segment.seq.unwrap_or(Num::Raw(0))).wrapping_sub(self.irs);
        let has_syn = segment.flags & flag::SYN != 0;
        if has_syn {
            self.syn = seq;
        }
        let first = seq.wrapping_add(has_syn.into());
        match &segment.payload {
            Payload::Empty => Vec::new(),
            Payload::Len(len) => {
                (0..*len as u32).map(|at| of_peer_at(first.wrapping_add(at))).collect()
            }
            Payload::Text(octets) => {
                self.said.extend((0..octets.len() as u32).map(|at| first.wrapping_add(at)));
                octets.clone()
            }
        }
    }

    /// What the application writes.
    pub(crate) fn our_octets(&self, what: &Payload) -> Vec<u8> {
        let first = self.written.len() as u32;
        match what {
            Payload::Empty => Vec::new(),
            Payload::Len(len) => (0..*len as u32).map(|at| of_us_at(first + at)).collect(),
            Payload::Text(octets) => octets.clone(),
        }
    }

    /// The application got octets. Each must be the one of its place in the stream.
    pub(crate) fn deliver(&mut self, octets: &[u8]) -> Result<(), String> {
        for octet in octets {
            let at = self.next;
            if !self.said.contains(&at) && *octet != of_peer_at(at) {
                return Err(format!("the application got a wrong octet for sequence number {at}"));
            }
            self.next = at.wrapping_add(1);
        }
        self.fresh.extend(octets);
        Ok(())
    }

    /// Takes what can be learnt from a segment of ours.
    pub(crate) fn see(&mut self, segment: &Segment) {
        let Some(Num::Raw(seq)) = segment.seq else { return };
        let has_syn = segment.flags & flag::SYN != 0;
        if has_syn && self.iss != Some(seq) {
            self.iss_is_later =
                self.sent_end.is_none_or(|end| seq.wrapping_sub(end).cast_signed() >= 0);
            (self.iss, self.stamp) = (Some(seq), None);
        }
        let stamp = segment.options.iter().flat_map(|options| &options.list);
        for option in stamp {
            if let (Opt::Ts(Num::Raw(value), _), None) = (option, self.stamp) {
                self.stamp = Some(*value);
            }
        }
        if self.iss.is_some() {
            let fin = u32::from(segment.flags & flag::FIN != 0);
            let end = seq.wrapping_add(octets(segment).len() as u32 + u32::from(has_syn) + fin);
            let is_later = self.sent_end.is_none_or(|old| end.wrapping_sub(old).cast_signed() > 0);
            self.sent_end = if is_later { Some(end) } else { self.sent_end };
        }
    }

    /// Whether the octets of a segment of ours are those the application wrote there.
    pub(crate) fn is_ours(&self, segment: &Segment) -> bool {
        let Some(Num::Raw(seq)) = segment.seq else { return false };
        let at = seq.wrapping_sub(self.iss.unwrap_or(0).wrapping_add(1)) as usize;
        let octets = octets(segment);
        octets.is_empty() || self.written.get(at..at.saturating_add(octets.len())) == Some(octets)
    }

    /// A packet of ours as a script would have it, with relative numbers.
    pub(crate) fn show(&self, packet: &Packet) -> Packet {
        let mut shown = packet.clone();
        let crate::script::Body::Tcp(segment) = &mut shown.body else { return shown };
        let Envelope { vlan, ecn, .. } = shown.envelope;
        shown.envelope = Envelope { vlan, ecn, ..Envelope::default() };
        let is_ours = self.is_ours(segment);
        let iss = self.iss.unwrap_or(0);
        segment.seq = segment.seq.map(|seq| relative(seq, iss));
        let has_ack = segment.flags & flag::ACK != 0;
        segment.ack = segment.ack.filter(|_| has_ack).map(|ack| relative(ack, self.irs));
        for option in segment.options.iter_mut().flat_map(|options| &mut options.list) {
            match option {
                Opt::Ts(value, echo) => {
                    *value = relative(*value, self.stamp.unwrap_or(0));
                    *echo = relative_unsigned(*echo);
                }
                Opt::Sack(blocks) => {
                    for (from, to) in blocks {
                        (*from, *to) = (relative(*from, self.irs), relative(*to, self.irs));
                    }
                }
                _ => {}
            }
        }
        if is_ours {
            let len = octets(segment).len();
            segment.payload = if len == 0 { Payload::Empty } else { Payload::Len(len) };
        }
        shown
    }
}

/// Octets of a segment that was seen.
pub(crate) fn octets(segment: &Segment) -> &[u8] {
    match &segment.payload {
        Payload::Text(octets) => octets,
        _ => &[],
    }
}

fn raw(num: Num, base: u32) -> u32 {
    match num {
        Num::Rel(offset) => base.wrapping_add(offset as u32),
        Num::Raw(number) => number,
        Num::Any => 0,
    }
}

fn relative(num: Num, base: u32) -> Num {
    match num {
        Num::Raw(number) => Num::Rel(number.wrapping_sub(base).cast_signed().into()),
        other => other,
    }
}

fn relative_unsigned(num: Num) -> Num {
    match num {
        Num::Raw(number) => Num::Rel(number.into()),
        other => other,
    }
}

/// The octet that the peer's stream has at a relative sequence number.
fn of_peer_at(at: u32) -> u8 {
    (at.wrapping_mul(0x9e37_79b1) >> 24) as u8
}

/// The octet that our stream has at a position.
fn of_us_at(at: u32) -> u8 {
    !of_peer_at(at.wrapping_add(7_777))
}
