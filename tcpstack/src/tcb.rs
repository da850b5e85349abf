//! The transmission control block of a connection: all that an idle connection costs.
//!
//! ```text
//!        1         2          3          4            1 - acknowledged by the peer
//!   ----------|----------|----------|----------       2 - sent, not acknowledged
//!          SND.UNA    SND.NXT    SND.UNA              3 - may be sent
//!                                +SND.WND             4 - not yet allowed
//!
//!        1          2          3                      1 - received and acknowledged
//!   ----------|----------|----------                  2 - the peer may send it
//!          RCV.NXT    RCV.ADV                         3 - not yet allowed
//! ```
//!
//! RCV.ADV is RCV.NXT + RCV.WND, the right edge ever advertised: it never moves back.

use superpage::{NIL, record};

use crate::ConnId;
use crate::flow::FlowKey;
use crate::list::{Linked, Links};
use crate::rtt::RttEstimate;
use crate::seq::SeqNum;
use crate::trace::Spot;

record! {
    /// One connection. Three cache lines: what every segment needs, what data in transit needs,
    /// and the rest. Loss and congestion state is in [`Flight`](crate::flight::Flight).
    pub(crate) struct Tcb {
        /// Both ends.
        pub(crate) key: FlowKey,
        /// [`State`].
        pub(crate) state: u8,
        /// [`Place`]: the list the connection waits in.
        pub(crate) place: u8,
        /// [`flag`]s.
        pub(crate) flags: u32,
        /// RCV.NXT: next octet expected.
        pub(crate) rcv_nxt: SeqNum,
        /// RCV.ADV: right edge of the window ever advertised.
        pub(crate) rcv_adv: SeqNum,
        /// SND.UNA: oldest unacknowledged octet.
        pub(crate) snd_una: SeqNum,
        /// SND.NXT: after the last octet ever sent.
        pub(crate) snd_nxt: SeqNum,
        /// SND.WND: octets the peer takes from SND.UNA on.
        pub(crate) snd_wnd: u32,
        /// SND.WL1: sequence number of the last window update.
        pub(crate) snd_wl1: SeqNum,
        /// SND.WL2: acknowledgment number of the last window update.
        pub(crate) snd_wl2: SeqNum,
        /// TS.Recent, RFC 7323 §4.3.
        pub(crate) ts_recent: u32,
        /// The flight, when there is unacknowledged data. May be another connection's by now:
        /// always ask [`FlightPool`](crate::flight::FlightPool).
        pub(crate) flight: u32,

        /// Last.ACK.sent, RFC 7323 §4.3.
        pub(crate) last_ack_sent: SeqNum,
        /// When the peer was last heard, in ms, modulo 2³².
        pub(crate) heard_ms: u32,
        /// Chunks with data from SND.UNA on.
        pub(crate) snd_head: u32,
        /// Last of them.
        pub(crate) snd_tail: u32,
        /// Octets in them.
        pub(crate) snd_len: u32,
        /// Where SND.UNA is in the first of them.
        pub(crate) snd_start: u16,
        /// Payload of a full segment, options deducted: what RFC 9293 §3.7.1 calls Eff.snd.MSS.
        pub(crate) mss: u16,
        /// Chunks with data received in order and not consumed.
        pub(crate) rcv_head: u32,
        /// Last of them.
        pub(crate) rcv_tail: u32,
        /// Octets in them.
        pub(crate) rcv_len: u32,
        /// Chunks with data received out of order, sorted, without overlap.
        pub(crate) ooo_head: u32,
        /// Last of them.
        pub(crate) ooo_tail: u32,
        /// How many.
        pub(crate) ooo_chunks: u16,
        /// Data events whose rest the application has not returned yet.
        pub(crate) keeps_due: u16,
        /// When a delayed acknowledgement is due; 0: none.
        pub(crate) ack_due_ns: u64,
        /// When the state itself ends (connect, FIN-WAIT-2) or keep-alive acts; 0: never.
        pub(crate) state_due_ns: u64,

        /// What the caller's wheel is set to; 0: nothing.
        pub(crate) armed_ns: u64,
        /// SRTT, RFC 6298 §2, in µs; 0 before the first measurement.
        pub(crate) srtt_us: u32,
        /// RTTVAR, RFC 6298 §2, in µs.
        pub(crate) rttvar_us: u32,
        /// Slow start threshold, kept while there is no flight.
        pub(crate) ssthresh: u32,
        /// Largest window the peer ever offered, for silly window avoidance.
        pub(crate) snd_wnd_max: u32,
        /// The application's own number for the connection.
        pub(crate) user: u32,
        /// Sequence number of the peer's FIN, when it came before data that precedes it.
        pub(crate) fin_seq: SeqNum,
        /// What to report with SACK of the data received out of order, or NIL:
        /// [`sack`](crate::sack).
        pub(crate) arrivals: u32,
        /// When TS.Recent was set, in units of 2¹⁶ ms, modulo 2¹⁶: it is no longer trusted after
        /// 24 days.
        pub(crate) ts_recent_age: u16,
        /// When the current window of challenge ACKs began, in units of 2⁸ ms, modulo 2¹⁶.
        pub(crate) challenge_age: u16,
        /// Links of the list that `place` names.
        pub(crate) links: Links,
        /// Links of the list of connections whose deadline moved.
        pub(crate) rearm_links: Links,
        /// Next hop's place in the neighbour table, to be verified there.
        pub(crate) neighbor: u16,
        /// Snd.Wind.Shift, RFC 7323 §2.
        pub(crate) snd_shift: u8,
        /// Rcv.Wind.Shift, RFC 7323 §2.
        pub(crate) rcv_shift: u8,
        /// Segments with data since the last acknowledgement.
        pub(crate) unacked_segments: u8,
        /// Duplicate acknowledgements to send at once.
        pub(crate) dup_acks_due: u8,
        /// Challenge ACKs sent in the current window.
        pub(crate) challenges: u8,
        /// Keep-alive probes without an answer.
        pub(crate) probes: u8,
    }
}

/// RFC 9293 §3.3.2. LISTEN has no TCB; SYN-RECEIVED has one only after a simultaneous open, and
/// TIME-WAIT never: those are entries of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// Ended; the application has not been told yet.
    Closed = 0,
    /// Active open: SYN sent or about to be.
    SynSent = 1,
    /// SYN received, and SYN sent, not acknowledged.
    SynReceived = 2,
    /// Data may flow both ways.
    Established = 3,
    /// Our FIN is sent or queued behind data.
    FinWait1 = 4,
    /// Our FIN is acknowledged.
    FinWait2 = 5,
    /// The peer's FIN was received.
    CloseWait = 6,
    /// Both FINs crossed; ours is not acknowledged.
    Closing = 7,
    /// The peer's FIN came first; ours is not acknowledged.
    LastAck = 8,
    /// Both ends are closed; the address pair stays taken for 2 MSL.
    TimeWait = 9,
}

/// States, for counting by state.
pub(crate) const STATES: usize = 10;

impl State {
    const ALL: [Self; STATES] = [
        Self::Closed,
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::FinWait1,
        Self::FinWait2,
        Self::CloseWait,
        Self::Closing,
        Self::LastAck,
        Self::TimeWait,
    ];

    /// The state with this code; one that no state has counts as CLOSED.
    pub(crate) fn from_code(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::Closed)
    }

    /// The state's name, as RFC 9293 §3.3.2 writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::SynSent => "SYN-SENT",
            Self::SynReceived => "SYN-RECEIVED",
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::CloseWait => "CLOSE-WAIT",
            Self::Closing => "CLOSING",
            Self::LastAck => "LAST-ACK",
            Self::TimeWait => "TIME-WAIT",
        }
    }

    /// Whether the application may still queue data.
    pub(crate) const fn may_send(self) -> bool {
        matches!(self, Self::SynSent | Self::SynReceived | Self::Established | Self::CloseWait)
    }

    /// Whether our FIN has its place in the sequence and is not acknowledged.
    pub(crate) const fn fin_pending(self) -> bool {
        matches!(self, Self::FinWait1 | Self::Closing | Self::LastAck)
    }

    /// Whether the peer may still send data.
    pub(crate) const fn may_receive(self) -> bool {
        matches!(self, Self::SynReceived | Self::Established | Self::FinWait1 | Self::FinWait2)
    }
}

/// Which list a connection waits in: one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Place {
    /// None: nothing to send.
    Idle = 0,
    /// To be looked at by the next output.
    Output = 1,
    /// For a flight.
    Flight = 2,
    /// For the next hop's MAC address.
    Neighbor = 3,
    /// For chunks to write to.
    Chunks = 4,
    /// For the application to be told of its end.
    Ended = 5,
}

/// Bits of [`Tcb::flags`].
pub(crate) mod flag {
    /// An acknowledgement is to be sent by the next output.
    pub(crate) const ACK_NOW: u32 = 1;
    /// Output shall look for something to send.
    pub(crate) const OUTPUT: u32 = 1 << 1;
    /// Both ends send timestamps, RFC 7323 §3.2.
    pub(crate) const TIMESTAMPS: u32 = 1 << 2;
    /// The application waits for room to send.
    pub(crate) const WANT_WRITABLE: u32 = 1 << 3;
    /// The application has closed: it gets no event but the last.
    pub(crate) const APP_CLOSED: u32 = 1 << 4;
    /// The peer's FIN is known (see `fin_seq`) and not yet reached.
    pub(crate) const FIN_AHEAD: u32 = 1 << 5;
    /// The peer's FIN was reached and the application not told yet.
    pub(crate) const FIN_UNTOLD: u32 = 1 << 6;
    /// A reset is to be sent by the next output.
    pub(crate) const RESET_DUE: u32 = 1 << 7;
    /// A keep-alive probe is to be sent by the next output.
    pub(crate) const PROBE_DUE: u32 = 1 << 8;
    /// In the list of connections whose deadline moved.
    pub(crate) const REARM: u32 = 1 << 9;
    /// Both SYNs had SACK-permitted, RFC 2018 §2.
    pub(crate) const SACK: u32 = 1 << 10;
    /// ECN is in force, or was asked for by our SYN: RFC 3168 §6.1.1.
    pub(crate) const ECN: u32 = 1 << 11;
    /// Segments echo that a mark was received, until the peer has slowed down.
    pub(crate) const ECE_DUE: u32 = 1 << 12;
    /// The next segment with new data tells that we have slowed down.
    pub(crate) const CWR_DUE: u32 = 1 << 13;
    /// Data has waited behind the same hole since chunks were short the last time.
    pub(crate) const HOLE_SEEN: u32 = 1 << 14;
    /// The octet at SND.UNA has only been sent to probe a closed window.
    pub(crate) const PROBED: u32 = 1 << 15;
    /// The peer has acknowledged more than its window seems to allow, in a segment that was refused:
    /// what we know of the window is old.
    pub(crate) const PEER_AHEAD: u32 = 1 << 16;
    /// Segments are smaller than the peer and the link would take: see `path_mtu`.
    pub(crate) const NARROWED: u32 = 1 << 26;
    /// A full segment of the present size was acknowledged.
    pub(crate) const FULL_ACKED: u32 = 1 << 27;
    /// How it ended, 3 bits: [`CloseReason`](crate::event::CloseReason).
    pub(crate) const REASON_SHIFT: u32 = 28;
}

impl Tcb {
    /// A connection with no buffer, no timer and no list.
    pub(crate) fn new(key: FlowKey, state: State) -> Self {
        Self {
            key,
            state: state as u8,
            flight: NIL,
            snd_head: NIL,
            snd_tail: NIL,
            rcv_head: NIL,
            rcv_tail: NIL,
            ooo_head: NIL,
            ooo_tail: NIL,
            arrivals: NIL,
            user: NIL,
            ssthresh: u32::MAX,
            neighbor: u16::MAX,
            ..superpage::Record::zeroed()
        }
    }

    pub(crate) fn state(&self) -> State {
        State::from_code(self.state)
    }

    pub(crate) fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    pub(crate) fn set(&mut self, flags: u32) {
        self.flags |= flags;
    }

    pub(crate) fn clear(&mut self, flags: u32) {
        self.flags &= !flags;
    }

    /// After the last octet queued, where a FIN has its place.
    pub(crate) fn snd_end(&self) -> SeqNum {
        self.snd_una + self.snd_len
    }

    /// Whether anything sent is not acknowledged.
    pub(crate) fn has_unacked(&self) -> bool {
        self.snd_una != self.snd_nxt
    }

    /// Whether our FIN was sent.
    pub(crate) fn fin_sent(&self) -> bool {
        self.state().fin_pending() && self.snd_nxt.after(self.snd_end())
    }

    /// Whether there is data or a FIN that was never sent.
    pub(crate) fn has_unsent(&self) -> bool {
        let end = self.snd_end() + u32::from(self.state().fin_pending());
        self.state() >= State::Established && self.snd_nxt.before(end)
    }

    /// Where the connection is in its streams, for the trace.
    pub(crate) fn spot(&self, conn: ConnId) -> Spot {
        Spot { conn, key: self.key, seq: self.rcv_nxt, ack: self.snd_nxt }
    }

    /// A measurement of the round-trip time, RFC 6298 §2.
    pub(crate) fn measure(&mut self, sample_ns: u64) {
        let old = RttEstimate { srtt_us: self.srtt_us, rttvar_us: self.rttvar_us };
        let new = old.with_sample(sample_ns);
        (self.srtt_us, self.rttvar_us) = (new.srtt_us, new.rttvar_us);
    }

    /// RCV.WND: octets the peer may still send.
    pub(crate) fn rcv_wnd(&self) -> u32 {
        self.rcv_adv.since(self.rcv_nxt)
    }
}

/// Connections by `links`.
#[derive(Debug)]
pub(crate) struct ByPlace;

impl Linked for ByPlace {
    type Record = Tcb;
    fn links(tcb: &Tcb) -> &Links {
        &tcb.links
    }
    fn links_mut(tcb: &mut Tcb) -> &mut Links {
        &mut tcb.links
    }
}

/// Connections by `rearm_links`.
#[derive(Debug)]
pub(crate) struct ByRearm;

impl Linked for ByRearm {
    type Record = Tcb;
    fn links(tcb: &Tcb) -> &Links {
        &tcb.rearm_links
    }
    fn links_mut(tcb: &mut Tcb) -> &mut Links {
        &mut tcb.rearm_links
    }
}

const _: () = assert!(size_of::<Tcb>() == 192, "an idle connection costs three cache lines");
const _: () = assert!(std::mem::offset_of!(Tcb, last_ack_sent) == 64);
const _: () = assert!(std::mem::offset_of!(Tcb, armed_ns) == 128);
