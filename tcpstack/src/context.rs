//! What handling one connection may touch beside its TCB.

use superpage::NIL;

use crate::chunks::{Chunks, Use};
use crate::counters::{Drop, StackCounters};
use crate::event::{CloseReason, Event, EventQueue};
use crate::flight::{Flight, FlightPool};
use crate::path_mtu::Paths;
use crate::segment::Header;
use crate::settings::{NS_PER_MS, Settings, milliseconds};
use crate::tcb::{STATES, State, Tcb, flag};
use crate::trace::Trace;
use crate::{ConnId, reassembly, sack};

/// Borrowed from the stack for one segment, timer or call.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) now_ns: u64,
    pub(crate) conn: ConnId,
    pub(crate) settings: &'a Settings,
    pub(crate) chunks: &'a mut Chunks,
    pub(crate) flights: &'a mut FlightPool,
    pub(crate) paths: &'a mut Paths,
    pub(crate) counters: &'a mut StackCounters,
    /// Connections by state.
    pub(crate) states: &'a mut [u32; STATES],
    pub(crate) events: &'a mut EventQueue,
    pub(crate) trace: &'a mut Trace,
}

/// What becomes of a connection after a segment, a timer or a call. The stack carries it out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    /// It goes on.
    GoOn,
    /// It is over; with a reset to the peer or without.
    End { reason: CloseReason, reset: bool },
    /// Both ends have closed, ours first.
    TimeWait,
    /// It goes on, and a segment that is none of its own is to be sent.
    Answer(Header),
}

/// A segment that was not taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: Drop,
    pub(crate) then: Then,
}

impl From<Drop> for Refusal {
    fn from(reason: Drop) -> Self {
        Self { reason, then: Then::GoOn }
    }
}

impl Context<'_> {
    pub(crate) fn set_state(&mut self, tcb: &mut Tcb, state: State) {
        if tcb.state() != state {
            self.trace.transition(self.now_ns, tcb.spot(self.conn), tcb.state(), state);
        }
        self.count_as(tcb, state);
    }

    /// As [`Self::set_state`], for an end that was noted already.
    pub(crate) fn count_as(&mut self, tcb: &mut Tcb, state: State) {
        self.states[usize::from(tcb.state)] -= 1;
        self.states[state as usize] += 1;
        tcb.state = state as u8;
    }

    /// The connection's flight, if it has one.
    pub(crate) fn flight(&mut self, tcb: &Tcb) -> Option<&mut Flight> {
        self.flights.get_mut(self.conn, tcb.flight)
    }

    /// The handshake is done. An application that has closed meanwhile gets its FIN sent.
    pub(crate) fn establish(&mut self, tcb: &mut Tcb) {
        self.set_state(tcb, State::Established);
        if tcb.has(flag::APP_CLOSED) {
            self.set_state(tcb, State::FinWait1);
        }
        tcb.heard_ms = milliseconds(self.now_ns);
        let idle_ms = u64::from(self.settings.timers.keep_alive_idle_ms);
        tcb.state_due_ns = if idle_ms == 0 { 0 } else { self.now_ns + idle_ms * NS_PER_MS };
        tcb.set(flag::OUTPUT);
    }

    /// RFC 5961 §7: an acknowledgement that a forged segment may have caused. Ten in five seconds.
    pub(crate) fn challenge(&mut self, tcb: &mut Tcb) {
        let now = (milliseconds(self.now_ns) >> 8) as u16;
        if now.wrapping_sub(tcb.challenge_age) > CHALLENGE_PERIOD {
            (tcb.challenge_age, tcb.challenges) = (now, 0);
        }
        if tcb.challenges >= CHALLENGES_MAX {
            self.counters.tcp_challenge_ack_limited += 1;
            return;
        }
        tcb.challenges += 1;
        self.counters.tcp_challenge_ack += 1;
        tcb.set(flag::ACK_NOW);
    }

    /// Tells what could not be told while the application still had octets to return.
    pub(crate) fn tell_in_order(&mut self, tcb: &mut Tcb) {
        if tcb.keeps_due > 0 || tcb.has(flag::APP_CLOSED) {
            return;
        }
        if reassembly::splice(tcb, self.chunks) {
            self.events.push(Event::Readable { conn: self.conn });
        }
        if tcb.has(flag::FIN_UNTOLD) {
            tcb.clear(flag::FIN_UNTOLD);
            self.events.push(Event::PeerClosed { conn: self.conn });
        }
    }

    /// Drops all data received and not consumed.
    pub(crate) fn discard_received(&mut self, tcb: &mut Tcb) {
        self.chunks.release_chain(tcb.rcv_head, Use::InOrder);
        reassembly::release(tcb, self.chunks);
        sack::release(tcb, self.chunks);
        (tcb.rcv_head, tcb.rcv_tail, tcb.rcv_len) = (NIL, NIL, 0);
    }

    /// Gives back everything the connection holds but its TCB.
    pub(crate) fn release_all(&mut self, tcb: &mut Tcb) {
        self.discard_received(tcb);
        self.chunks.release_chain(tcb.snd_head, Use::Sending);
        (tcb.snd_head, tcb.snd_tail, tcb.snd_len) = (NIL, NIL, 0);
        self.flights.release(self.conn, tcb.flight);
        tcb.flight = NIL;
        (tcb.ack_due_ns, tcb.state_due_ns) = (0, 0);
    }

    /// When the connection's timer shall fire; 0: never.
    pub(crate) fn deadline_ns(&self, tcb: &Tcb) -> u64 {
        let flight = self.flights.get(self.conn, tcb.flight);
        [tcb.ack_due_ns, tcb.state_due_ns, flight.map_or(0, |flight| flight.due_ns)]
            .into_iter()
            .filter(|due_ns| *due_ns != 0)
            .min()
            .unwrap_or(0)
    }
}

/// 5 s, in units of 2⁸ ms.
const CHALLENGE_PERIOD: u16 = 5_000 >> 8;
/// Challenge ACKs of a connection in that time, and of a passive open while it lasts.
pub(crate) const CHALLENGES_MAX: u8 = 10;
