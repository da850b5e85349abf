//! What a host of ours may send, judged from the wire alone.
//!
//! A watch sees every frame that reaches the host and every frame that leaves it. It knows nothing
//! of the stack's inside, so it says what any peer could say: a frame is too large, its numbers go
//! backwards, it goes beyond the window, or acknowledges what never came.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::frame::{Segment, flag, segment};
use crate::link::ETHERNET_BYTES;
use crate::wire::MTU;

/// The flows of one host.
#[derive(Debug)]
pub(crate) struct Watch {
    /// By local and remote end.
    flows: HashMap<(SocketAddr, SocketAddr), Flow>,
    /// Whether what opened a connection may open it again: so it is with SYN cookies.
    may_repeat: bool,
}

/// One address pair, through all its connections.
#[derive(Debug, Default)]
struct Flow {
    /// What the peer's latest SYNs said, by their sequence number.
    offers: Vec<Offer>,
    /// Initial sequence numbers of ours and the peer's that may become a connection.
    opens: Vec<Open>,
    connection: Option<Connection>,
}

#[derive(Clone, Copy, Debug)]
struct Offer {
    irs: u32,
    mss: u16,
    shift: Option<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    iss: u32,
    shift: Option<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Connection {
    iss: u32,
    irs: u32,
    mss: u16,
    our_shift: u8,
    peer_shift: u8,
    /// After the last octet sent.
    snd_max: u32,
    /// Sequence number of our FIN.
    fin: Option<u32>,
    /// Right edge of the peer's window.
    edge: u32,
    /// After the last octet that came.
    rcv_max: u32,
    ack: u32,
    /// Right edge of our window.
    adv: u32,
    /// The host has sent a reset.
    is_reset: bool,
}

impl Watch {
    pub(crate) fn new(may_repeat: bool) -> Self {
        Self { flows: HashMap::new(), may_repeat }
    }

    /// A watch of the same kind that has seen nothing yet.
    pub(crate) fn renewed(&self) -> Self {
        Self::new(self.may_repeat)
    }

    /// A frame that is given to the host.
    pub(crate) fn arrives(&mut self, bytes: &[u8]) {
        let Some(segment) = segment(bytes) else { return };
        let flow = self.flows.entry((segment.dst, segment.src)).or_default();
        if segment.has(flag::SYN) {
            let offer = Offer { irs: segment.seq, mss: segment.peer_mss(), shift: segment.shift };
            if !flow.offers.iter().any(|known| known.irs == segment.seq) {
                flow.offers.push(offer);
            }
        }
        if segment.has(flag::RST) {
            return;
        }
        if flow.connection.is_none() && segment.has(flag::ACK) {
            flow.begin(segment.ack, segment.seq);
        }
        let Some(connection) = &mut flow.connection else { return };
        let is_current = distance(connection.irs, segment.seq) < HALF;
        let shift = if segment.has(flag::SYN) { 0 } else { connection.peer_shift };
        if is_current {
            connection.rcv_max = later(connection.rcv_max, segment.end());
        }
        let is_of_ours =
            distance(connection.iss, segment.ack) <= distance(connection.iss, connection.snd_max);
        if segment.has(flag::ACK) && is_of_ours {
            let edge = segment.ack.wrapping_add(u32::from(segment.window) << shift);
            connection.edge = later(connection.edge, edge);
        }
    }

    /// A frame that the host sends.
    pub(crate) fn leaves(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= usize::from(MTU) + ETHERNET_BYTES, "larger than the MTU");
        let Some(segment) = segment(bytes) else { return };
        assert!(segment.is_intact, "a wrong checksum: {segment:?}");
        let flow = self.flows.entry((segment.src, segment.dst)).or_default();
        if segment.has(flag::RST) {
            if let Some(connection) = &mut flow.connection {
                connection.is_reset = true;
            }
            return;
        }
        if segment.has(flag::SYN) {
            flow.opens.retain(|open| open.iss != segment.seq);
            flow.opens.push(Open { iss: segment.seq, shift: segment.shift });
            let is_repeated =
                flow.connection.is_some_and(|connection| connection.iss == segment.seq);
            if !is_repeated {
                flow.connection = None;
            }
            return;
        }
        let is_other = |connection: &Connection| {
            distance(connection.iss, segment.seq) > distance(connection.iss, connection.snd_max)
        };
        let is_repeated = |connection: &Connection| {
            let is_first = segment.seq == connection.iss.wrapping_add(1);
            let is_back = later(segment.ack, connection.ack) != segment.ack;
            let is_beyond = |fin: u32| distance(fin, segment.end()).wrapping_sub(2) < HALF;
            let is_over = connection.is_reset || connection.fin.is_some_and(is_beyond);
            self.may_repeat && is_first && (is_back || is_over)
        };
        let old = flow.connection;
        if old.as_ref().is_none_or(|old| is_other(old) || is_repeated(old)) {
            flow.begin(segment.seq, segment.ack);
            if let (Some(new), Some(old)) = (&mut flow.connection, old)
                && new.iss == old.iss
            {
                // What came before opens it again.
                (new.rcv_max, new.edge) = (old.rcv_max, old.edge);
            }
        }
        let Some(connection) = flow.connection.as_mut() else {
            // After a restart with the same secret, cookies of before are good.
            assert!(self.may_repeat, "neither a handshake nor the numbers of one: {segment:?}");
            return;
        };
        connection.check_sent(&segment);
        connection.check_acknowledged(&segment);
    }
}

impl Flow {
    /// A connection whose numbers are just after the initial ones.
    fn begin(&mut self, ours: u32, peers: u32) {
        let open = self.opens.iter().copied().min_by_key(|open| distance(open.iss, ours));
        let offer = self.offers.iter().copied().min_by_key(|offer| distance(offer.irs, peers));
        let (Some(open), Some(offer)) = (open, offer) else { return };
        if distance(open.iss, ours) > HANDSHAKE_MAX || distance(offer.irs, peers) > HALF {
            return;
        }
        let scales = open.shift.is_some() && offer.shift.is_some();
        let snd_nxt = open.iss.wrapping_add(1);
        let rcv_nxt = offer.irs.wrapping_add(1);
        self.connection = Some(Connection {
            iss: open.iss,
            irs: offer.irs,
            mss: offer.mss,
            our_shift: open.shift.filter(|_| scales).unwrap_or(0),
            peer_shift: offer.shift.filter(|_| scales).unwrap_or(0),
            snd_max: snd_nxt,
            fin: None,
            edge: snd_nxt.wrapping_add(u16::MAX.into()),
            rcv_max: rcv_nxt,
            ack: rcv_nxt,
            adv: rcv_nxt,
            is_reset: false,
        });
        self.opens.retain(|kept| kept.iss == open.iss);
        self.offers.retain(|kept| kept.irs == offer.irs);
    }
}

impl Connection {
    fn check_sent(&mut self, segment: &Segment) {
        let mss_used = segment.octets + segment.options_bytes;
        assert!(mss_used <= usize::from(self.mss), "beyond the peer's MSS: {segment:?} {self:?}");
        let end = segment.end();
        let beyond = end.wrapping_sub(self.edge);
        let is_within = beyond == 0 || beyond > HALF;
        assert!(is_within || end.wrapping_sub(segment.seq) <= 1, "{segment:?} {self:?}");
        if segment.has(flag::FIN) {
            let fin = end.wrapping_sub(1);
            assert_eq!(*self.fin.get_or_insert(fin), fin, "FIN at two places: {segment:?}");
        }
        if let Some(fin) = self.fin {
            let end = distance(self.iss, end);
            assert!(end <= distance(self.iss, fin) + 1, "data after the FIN: {segment:?}");
        }
        let gap = segment.seq.wrapping_sub(self.snd_max);
        assert!(gap == 0 || gap > HALF, "octets left out: {segment:?} {self:?}");
        self.snd_max = later(self.snd_max, end);
    }

    fn check_acknowledged(&mut self, segment: &Segment) {
        assert!(segment.has(flag::ACK), "no acknowledgment: {segment:?}");
        let ack = segment.ack;
        assert!(later(self.ack, ack) == ack, "RCV.NXT moved back: {segment:?} {self:?}");
        assert!(later(self.rcv_max, ack) == self.rcv_max, "never came: {segment:?} {self:?}");
        self.ack = ack;
        let edge = ack.wrapping_add(u32::from(segment.window) << self.our_shift);
        // Scaled windows are rounded down.
        let rounded = edge.wrapping_add((1 << self.our_shift) - 1);
        assert!(later(self.adv, rounded) == rounded, "the window shrank: {segment:?} {self:?}");
        self.adv = later(self.adv, edge);
    }
}

fn distance(from: u32, to: u32) -> u32 {
    to.wrapping_sub(from)
}

fn later(one: u32, other: u32) -> u32 {
    if distance(one, other) < HALF { other } else { one }
}

const HALF: u32 = 1 << 31;
/// Octets a host may have sent before the watch first sees one: none but the SYN.
const HANDSHAKE_MAX: u32 = 1;
