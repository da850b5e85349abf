//! One connection's segments: reset, handshake, data with acknowledgements, and pure
//! acknowledgements.

use super::FrameSink;
use super::egress::{Egress, Sent};
use super::plan::{Piece, Plan, Reason, plan};
use superpage::NIL;

use crate::chunks::Chunks;
use crate::flight::{FlightPool, Probe, Timer};
use crate::options::{Options, Timestamp};
use crate::path_mtu::{Paths, narrowing};
use crate::sack::{self, Block};
use crate::scoreboard::Scoreboard;
use crate::segment::{Header, control};
use crate::seq::SeqNum;
use crate::settings::Settings;
use crate::tcb::{State, Tcb, flag};
use crate::{ConnId, answers, ecn, recovery, send_buffer};

/// Where a connection goes after it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    /// It has sent what it may.
    Done,
    /// The sink is full: it stays first in line.
    NoRoom,
    /// It has more, and others are waiting.
    Again,
    /// It needs a flight, and none is free.
    AwaitFlight,
    /// It needs its next hop's MAC address.
    AwaitNeighbor,
    /// It is over and its peer knows.
    Ended,
}

/// What sending for a connection may touch beside its TCB.
#[derive(Debug)]
pub(super) struct Transmit<'a, S> {
    pub(super) conn: ConnId,
    pub(super) flights: &'a mut FlightPool,
    pub(super) chunks: &'a mut Chunks,
    pub(super) paths: &'a mut Paths,
    pub(super) egress: Egress<'a, S>,
}

impl<S: FrameSink> Transmit<'_, S> {
    /// The last segment of an aborted connection, RFC 9293 §3.10.5.
    pub(super) fn reset(&mut self, tcb: &mut Tcb) -> Visit {
        let header = Header {
            key: tcb.key,
            seq: tcb.snd_nxt,
            ack: tcb.rcv_nxt,
            control: control::RST | control::ACK,
            window: 0,
            options: Options::default(),
            traffic_class: 0,
        };
        match self.egress.segment(&header, tcb.neighbor, 0, |_| {}) {
            Sent::NoRoom => Visit::NoRoom,
            Sent::Done(_) | Sent::Unresolved => Visit::Ended,
        }
    }

    /// SYN, or SYN-ACK after a simultaneous open.
    pub(super) fn handshake(&mut self, tcb: &mut Tcb) -> Visit {
        let (now_ns, settings) = (self.egress.now_ns, self.egress.settings);
        let Some(flight) = self.flights.take(now_ns, self.conn, tcb, settings) else {
            return Visit::AwaitFlight;
        };
        let backoff = flight.backoff;
        if tcb.has_unacked() && flight.chain.lost == 0 {
            // The SYN is on its way: only an acknowledgement can be due.
            tcb.clear(flag::OUTPUT);
            return if tcb.has(flag::ACK_NOW) { self.acknowledge(tcb) } else { Visit::Done };
        }
        let is_answer = tcb.state() == State::SynReceived;
        if backoff > 0 && !is_answer {
            // RFC 3168 §6.1.1.1: perhaps somebody on the way drops what asks for ECN.
            tcb.clear(flag::ECN);
        }
        let ecn_bits = if tcb.has(flag::ECN) { ecn::setup_bits(is_answer) } else { 0 };
        let timestamp = Timestamp { value: settings.timestamp(now_ns), echo: tcb.ts_recent };
        let header = Header {
            key: tcb.key,
            seq: tcb.snd_una,
            ack: if is_answer { tcb.rcv_nxt } else { SeqNum(0) },
            control: control::SYN | if is_answer { control::ACK } else { 0 } | ecn_bits,
            window: crate::input::syn_window(settings) as u16,
            options: Options {
                mss: Some(settings.mss(&tcb.key)),
                // RFC 7323 §2.2 and §3.2: a SYN offers, a SYN-ACK has what the SYN had.
                window_shift: (!is_answer || tcb.rcv_shift == settings.window_shift)
                    .then_some(settings.window_shift),
                timestamp: (!is_answer || tcb.has(flag::TIMESTAMPS)).then_some(timestamp),
                // RFC 2018 §2, likewise.
                sack_permitted: !is_answer || tcb.has(flag::SACK),
                ..Options::default()
            },
            traffic_class: 0,
        };
        let sent = self.egress.segment(&header, tcb.neighbor, 0, |_| {});
        if sent == Sent::NoRoom {
            return Visit::NoRoom;
        }
        if let Some((flight, ranges)) = self.flights.parts(self.conn, tcb.flight) {
            flight.arm(Timer::Retransmit, now_ns + settings.rto_ns(tcb, backoff));
            let mut board = Scoreboard { flight, ranges, nxt: tcb.snd_nxt };
            let syn = Block { start: tcb.snd_una, end: tcb.snd_una + 1 };
            board.sent(syn, recovery::microseconds(now_ns));
        }
        self.egress.counters.tcp_retransmitted += u64::from(backoff > 0);
        tcb.snd_nxt = tcb.snd_una + 1;
        tcb.clear(flag::OUTPUT | flag::ACK_NOW);
        self.after(tcb, sent)
    }

    /// Everything a connection with both SYNs acknowledged has to send.
    pub(super) fn synchronized(&mut self, tcb: &mut Tcb) -> Visit {
        while tcb.dup_acks_due > 0 {
            match self.acknowledge(tcb) {
                Visit::Done => tcb.dup_acks_due -= 1,
                other => return other,
            }
        }
        // Blocks go in segments of their own, so that those with text keep their size.
        if tcb.has(flag::ACK_NOW) && tcb.arrivals != NIL {
            match self.acknowledge(tcb) {
                Visit::Done => {}
                other => return other,
            }
        }
        let visit = if tcb.has(flag::OUTPUT) { self.data(tcb) } else { Visit::Done };
        if matches!(visit, Visit::NoRoom | Visit::AwaitNeighbor) {
            return visit;
        }
        if tcb.has(flag::PROBE_DUE) {
            match self.probe_life(tcb) {
                Visit::Done => {}
                other => return other,
            }
        }
        if tcb.has(flag::ACK_NOW) {
            match self.acknowledge(tcb) {
                Visit::Done => {}
                other => return other,
            }
        }
        visit
    }

    fn data(&mut self, tcb: &mut Tcb) -> Visit {
        if !tcb.has_unacked() && !tcb.has_unsent() {
            tcb.clear(flag::OUTPUT);
            return Visit::Done;
        }
        let (now_ns, settings) = (self.egress.now_ns, self.egress.settings);
        let is_answered =
            self.flights.get(self.conn, tcb.flight).is_none_or(|flight| flight.backoff == 0);
        let has_grown = narrowing::fit(now_ns, tcb, self.paths, is_answered, self.egress.counters);
        if let Some(flight) = self.flights.get_mut(self.conn, tcb.flight).filter(|_| has_grown) {
            flight.congestion.admit(tcb.mss);
        }
        if self.flights.take(now_ns, self.conn, tcb, settings).is_none() {
            return Visit::AwaitFlight;
        }
        for _ in 0..SEGMENTS_PER_VISIT_MAX {
            let Some((flight, ranges)) = self.flights.parts(self.conn, tcb.flight) else { break };
            let mut board = Scoreboard { flight, ranges, nxt: tcb.snd_nxt };
            let piece = match plan(tcb, &board) {
                Plan::Send(piece) => piece,
                limit => {
                    on_limit(tcb, &mut board, limit, now_ns, settings);
                    tcb.clear(flag::OUTPUT);
                    return Visit::Done;
                }
            };
            match self.send_piece(tcb, &piece) {
                Visit::Done => {}
                other => return other,
            }
        }
        Visit::Again
    }

    fn send_piece(&mut self, tcb: &mut Tcb, piece: &Piece) -> Visit {
        let is_last = piece.seq + piece.octets == tcb.snd_end();
        let mut bits = control::ACK;
        bits |= if is_last && piece.octets > 0 { control::PSH } else { 0 };
        bits |= if piece.fin { control::FIN } else { 0 };
        let is_new =
            piece.octets > 0 && piece.reason == Reason::Due && piece.seq.at_or_after(tcb.snd_nxt);
        let (traffic_class, told) = ecn::mark_data(tcb, is_new);
        let header = Header { traffic_class, ..self.header(tcb, piece.seq, bits | told) };
        let Some(flight) = self.flights.get_mut(self.conn, tcb.flight) else { return Visit::Done };
        let chunks = &*self.chunks;
        let (octets, hint) = (piece.octets as usize, tcb.neighbor);
        let sent = self.egress.segment(&header, hint, octets, |out| {
            send_buffer::read(tcb, chunks, flight, piece.seq, out);
        });
        if sent == Sent::NoRoom {
            return Visit::NoRoom;
        }
        if told != 0 {
            tcb.clear(flag::CWR_DUE);
        }
        self.account(tcb, piece);
        answers::acknowledged(tcb);
        self.after(tcb, sent)
    }

    /// What having sent a piece means for the flight.
    fn account(&mut self, tcb: &mut Tcb, piece: &Piece) {
        let (now_ns, settings) = (self.egress.now_ns, self.egress.settings);
        let counters = &mut *self.egress.counters;
        let Some((flight, ranges)) = self.flights.parts(self.conn, tcb.flight) else { return };
        let (is_new, end) = (piece.seq.at_or_after(tcb.snd_nxt), piece.end());
        let fresh = end.latest(tcb.snd_nxt).since(tcb.snd_nxt);
        counters.tcp_sent_stream += u64::from(fresh.min(piece.octets));
        if flight.probe() == Probe::Window {
            flight.set_probe(Probe::None);
        }
        let mut board = Scoreboard { flight, ranges, nxt: tcb.snd_nxt };
        let block = Block { start: piece.seq, end };
        board.sent(block, recovery::microseconds(now_ns));
        tcb.snd_nxt = board.nxt;
        if piece.reason == Reason::Window {
            counters.tcp_window_probe += 1;
            if is_new {
                tcb.set(flag::PROBED);
            }
            return;
        }
        // What a closed window has refused was not lost.
        let was_refused = tcb.has(flag::PROBED) && piece.seq == tcb.snd_una;
        counters.tcp_retransmitted += u64::from(!is_new && !was_refused);
        tcb.clear(flag::PROBED);
        if piece.reason == Reason::Tail {
            counters.tcp_tail_probe += 1;
            let probe = if is_new { Probe::TailNew } else { Probe::TailCopy };
            recovery::on_tail_probe_sent(tcb, board.flight, settings, now_ns, (end, probe));
            return;
        }
        let (octets, stamp) = (end.since(piece.seq), settings.timestamp(now_ns));
        board.flight.congestion.on_sent(octets, !is_new, stamp);
        recovery::arm_after_sending(tcb, &mut board, settings, now_ns, (piece.seq, is_new));
    }

    fn acknowledge(&mut self, tcb: &mut Tcb) -> Visit {
        let mut header = self.header(tcb, answers::acceptable_seq(tcb), control::ACK);
        let (most, more) = (header.options.sack_blocks_max(), tcb.dup_acks_due.saturating_sub(1));
        header.options.sack = sack::report(tcb, self.chunks, most, more.into());
        let sent = self.egress.segment(&header, tcb.neighbor, 0, |_| {});
        if sent == Sent::NoRoom {
            return Visit::NoRoom;
        }
        sack::reported(tcb, self.chunks);
        answers::acknowledged(tcb);
        self.after(tcb, sent)
    }

    /// RFC 9293 §3.8.4: an octet the peer has acknowledged long ago, without sending it.
    fn probe_life(&mut self, tcb: &mut Tcb) -> Visit {
        let header = self.header(tcb, tcb.snd_nxt - 1, control::ACK);
        let sent = self.egress.segment(&header, tcb.neighbor, 0, |_| {});
        if sent == Sent::NoRoom {
            return Visit::NoRoom;
        }
        tcb.clear(flag::PROBE_DUE);
        self.egress.counters.tcp_keep_alive_probe += 1;
        self.after(tcb, sent)
    }

    fn header(&self, tcb: &mut Tcb, seq: SeqNum, control: u8) -> Header {
        answers::header_of(tcb, self.egress.settings, self.egress.now_ns, seq, control)
    }

    fn after(&mut self, tcb: &mut Tcb, sent: Sent) -> Visit {
        match sent {
            Sent::Done(place) => {
                tcb.neighbor = place;
                Visit::Done
            }
            Sent::NoRoom => Visit::NoRoom,
            Sent::Unresolved => Visit::AwaitNeighbor,
        }
    }
}

/// Output has stopped, and why.
fn on_limit(tcb: &Tcb, board: &mut Scoreboard<'_>, limit: Plan, now_ns: u64, settings: &Settings) {
    let pipe = recovery::pipe(tcb, board);
    let by_window = limit == Plan::CongestionLimited;
    let flight = &mut *board.flight;
    flight.congestion.note_limit(by_window, pipe, tcb.ssthresh);
    if flight.probe() == Probe::TailDue {
        // There is nothing to probe with.
        flight.set_probe(Probe::None);
    }
    if limit == Plan::WindowLimited && flight.due_ns == 0 {
        // RFC 9293 §3.8.6.1: nothing is on its way that would bring news.
        flight.arm(Timer::Persist, now_ns + settings.rto_ns(tcb, flight.backoff));
    }
}

/// Segments a connection sends before others have their turn.
const SEGMENTS_PER_VISIT_MAX: usize = 32;
