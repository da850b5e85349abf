//! How connections begin and end, and how they come into the lists and timers they wait in.

use crate::context::Then;
use crate::event::{CloseReason, Event};
use crate::flow_table::Entry;
use crate::options::{Options, Timestamp};
use crate::segment::{Header, control};
use crate::stack::Stack;
use crate::tcb::{Place, State, Tcb, flag};
use crate::time_wait::TimeWaitEntry;
use crate::{ConnId, window};

impl Stack {
    /// The next thing the application should know. Drained after every `input`, `on_timer` and
    /// `expire`, before the next of them.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(conn) = self.reported.take() {
            self.free(conn);
        }
        while let Some(event) = self.events.pop() {
            if self.is_wanted(event) {
                return Some(event);
            }
        }
        let conn = self.places.first(Place::Ended)?;
        self.places.put(&mut self.tcbs, conn, Place::Idle);
        self.reported = Some(conn);
        let reason = CloseReason::decode(self.tcbs[conn].flags >> flag::REASON_SHIFT);
        Some(Event::Closed { conn, reason })
    }

    /// An application that has closed hears only of the end; and of a connection that ended
    /// meanwhile it hears no more data, since what it left of earlier data is gone.
    fn is_wanted(&mut self, event: Event) -> bool {
        let (conn, is_news) = match event {
            Event::Neighbor { .. } | Event::Duplicate { .. } => return true,
            Event::Accepted { conn, .. } | Event::Connected { conn } => (conn, true),
            Event::Data { conn, .. }
            | Event::Readable { conn }
            | Event::Writable { conn }
            | Event::PeerClosed { conn }
            | Event::Closed { conn, .. } => (conn, false),
        };
        let tcb = &self.tcbs[conn];
        let is_wanted = !tcb.has(flag::APP_CLOSED) && (is_news || tcb.state() != State::Closed);
        if !is_wanted && matches!(event, Event::Data { .. }) {
            self.keep(conn, &[]);
        }
        is_wanted
    }

    /// Whether there is a TCB left for one more connection, those being opened counted.
    pub(crate) fn has_room(&self) -> bool {
        self.tcbs.len() + self.syns.len() < self.tcbs.capacity()
    }

    /// Whether every TCB is in use.
    pub(crate) fn is_full(&self) -> bool {
        self.tcbs.len() == self.tcbs.capacity()
    }

    /// Makes a connection of a new TCB. The caller has made sure that there is room.
    pub(crate) fn begin(&mut self, now_ns: u64, tcb: Tcb) -> ConnId {
        self.states[usize::from(tcb.state)] += 1;
        let conn = self.tcbs.insert(tcb).expect("room was checked for");
        let is_passive = tcb.state() == State::Established;
        let from = if is_passive { State::SynReceived } else { State::Closed };
        self.trace.transition(now_ns, tcb.spot(conn), from, tcb.state());
        conn
    }

    /// Carries out what was decided about a connection.
    pub(crate) fn carry_out(&mut self, now_ns: u64, conn: ConnId, then: Then) {
        match then {
            Then::GoOn => {}
            Then::Answer(header) => self.answer(header),
            Then::End { reason, reset } => self.end(now_ns, conn, reason, reset),
            Then::TimeWait => self.enter_time_wait(now_ns, conn),
        }
        self.settle(conn);
    }

    /// Queues a segment that belongs to no connection.
    pub(crate) fn answer(&mut self, header: Header) {
        if !self.answers.push(header) {
            self.counters.tcp_answer_lost += 1;
        }
    }

    /// Puts a connection where its flags and deadlines want it.
    pub(crate) fn settle(&mut self, conn: ConnId) {
        let tcb = &self.tcbs[conn];
        if tcb.state() != State::Closed && (tcb.has(OUTPUT_FLAGS) || tcb.dup_acks_due > 0) {
            self.places.put(&mut self.tcbs, conn, Place::Output);
        }
        self.request_timer(conn);
    }

    /// The connection is over: everything but the TCB is given back at once.
    pub(crate) fn end(&mut self, now_ns: u64, conn: ConnId, reason: CloseReason, reset: bool) {
        let Some((tcb, context)) = self.connection(now_ns, conn) else { return };
        context.trace.transition(now_ns, tcb.spot(conn), tcb.state(), State::Closed);
        self.release(now_ns, conn, reason, reset);
    }

    fn release(&mut self, now_ns: u64, conn: ConnId, reason: CloseReason, reset: bool) {
        let Some((tcb, mut context)) = self.connection(now_ns, conn) else { return };
        let was = tcb.state();
        context.release_all(tcb);
        context.count_as(tcb, State::Closed);
        let counters = &mut *context.counters;
        *match reason {
            _ if was == State::SynSent => &mut counters.tcp_connect_failed,
            CloseReason::Finished => &mut counters.tcp_finished,
            CloseReason::Reset | CloseReason::Refused => &mut counters.tcp_reset,
            CloseReason::TimedOut => &mut counters.tcp_timed_out,
            CloseReason::Aborted => &mut counters.tcp_aborted,
        } += 1;
        tcb.flags = tcb.flags & flag::REARM | (reason as u32) << flag::REASON_SHIFT;
        tcb.dup_acks_due = 0;
        if reset {
            tcb.set(flag::RESET_DUE);
        }
        let key = tcb.key;
        self.table.remove(self.hasher.hash(&key), Entry::Connection(conn));
        let place = if reset { Place::Output } else { Place::Ended };
        self.places.put(&mut self.tcbs, conn, place);
    }

    /// The TCB ends, the address pair stays taken, and the peer's FIN is acknowledged, unless it was
    /// in CLOSING already.
    fn enter_time_wait(&mut self, now_ns: u64, conn: ConnId) {
        let timestamp = self.settings.timestamp(now_ns);
        let tcb = &mut self.tcbs[conn];
        let window = window::field(tcb);
        let is_ack_due = tcb.has(flag::ACK_NOW);
        let entry = TimeWaitEntry {
            key: tcb.key,
            window,
            snd_nxt: tcb.snd_nxt,
            rcv_nxt: tcb.rcv_nxt,
            ts_recent: tcb.ts_recent,
            timestamps: u32::from(tcb.has(flag::TIMESTAMPS)),
            ..superpage::Record::zeroed()
        };
        self.trace.transition(now_ns, tcb.spot(conn), tcb.state(), State::TimeWait);
        if is_ack_due {
            self.answer(acknowledge(&entry, timestamp));
        }
        self.release(now_ns, conn, CloseReason::Finished, false);
        if self.settings.limits.time_wait_entries == 0 {
            return;
        }
        let is_full = self.time_waits.len() == self.settings.limits.time_wait_entries;
        if let Some(oldest) = self.time_waits.oldest().filter(|_| is_full) {
            self.counters.tcp_time_wait_evicted += 1;
            self.forget_time_wait(oldest);
        }
        let index = self.time_waits.insert(now_ns, entry).expect("room was made");
        self.table.insert(self.hasher.hash(&entry.key), Entry::TimeWait(index));
    }

    pub(crate) fn forget_time_wait(&mut self, index: u32) {
        let entry = self.time_waits.remove(index);
        self.table.remove(self.hasher.hash(&entry.key), Entry::TimeWait(index));
    }

    pub(crate) fn forget_syn(&mut self, index: u32) {
        let entry = self.syns.remove(index);
        self.table.remove(self.hasher.hash(&entry.key), Entry::Syn(index));
    }

    /// The application knows: the number may be used again.
    fn free(&mut self, conn: ConnId) {
        self.places.put(&mut self.tcbs, conn, Place::Idle);
        if self.tcbs[conn].has(flag::REARM) {
            self.rearm.remove(&mut self.tcbs, conn);
        }
        self.states[State::Closed as usize] -= 1;
        let tcb = self.tcbs.remove(conn);
        for _ in 0..tcb.keeps_due {
            self.chunks.end_promise();
        }
    }
}

/// The acknowledgement of a connection in TIME-WAIT.
pub(crate) fn acknowledge(entry: &TimeWaitEntry, timestamp: u32) -> Header {
    let has_timestamps = entry.timestamps != 0;
    Header {
        key: entry.key,
        seq: entry.snd_nxt,
        ack: entry.rcv_nxt,
        control: control::ACK,
        window: entry.window,
        options: Options {
            timestamp: has_timestamps
                .then_some(Timestamp { value: timestamp, echo: entry.ts_recent }),
            ..Options::default()
        },
        traffic_class: 0,
    }
}

/// Any of these brings a connection to the next output.
const OUTPUT_FLAGS: u32 = flag::ACK_NOW | flag::OUTPUT | flag::PROBE_DUE;
