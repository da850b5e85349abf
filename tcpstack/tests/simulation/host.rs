//! Our stack as a host: a stand-in for the timer wheel, and a program on each connection.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tcpstack::{
    CloseReason, ConnId, Event, FrameSink, REASSEMBLED_BYTES_MAX, RxFrame, Stack, State,
};

use crate::link::Frame;
use crate::program::{Applications, Habits, Program};
use crate::wire::End;

pub(crate) struct Host {
    pub(crate) stack: Stack,
    pub(crate) programs: HashMap<ConnId, Program>,
    /// How connections ended.
    pub(crate) ended: Vec<(CloseReason, Program)>,
    end: End,
    random: fastrand::Rng,
    applications: Applications,
    wheel: BTreeSet<(u64, ConnId)>,
    armed: BTreeMap<ConnId, u64>,
    busy: BTreeSet<ConnId>,
    next_tick_ns: u64,
}

impl Host {
    pub(crate) fn new(stack: Stack, end: End, run: u64, habits: Habits) -> Self {
        Self {
            stack,
            programs: HashMap::new(),
            ended: Vec::new(),
            end,
            random: fastrand::Rng::with_seed(run ^ u64::from(end.0)),
            applications: Applications::new(run, end.0, habits),
            wheel: BTreeSet::new(),
            armed: BTreeMap::new(),
            busy: BTreeSet::new(),
            next_tick_ns: 0,
        }
    }

    /// The machine is switched off and on again: everything is forgotten.
    pub(crate) fn restart(&mut self, stack: Stack) {
        self.stack = stack;
        self.programs.clear();
        self.wheel.clear();
        self.armed.clear();
        self.busy.clear();
    }

    /// Whether a connection could be begun.
    pub(crate) fn connect(&mut self, now_ns: u64, is_ipv6: bool) -> bool {
        let remote = self.end.other().listener(is_ipv6);
        let Ok(conn) = self.stack.connect(now_ns, remote) else { return false };
        let known = self.programs.insert(conn, self.applications.begin());
        assert!(known.is_none(), "connection {conn} is another's");
        self.busy.insert(conn);
        self.drain(now_ns, &[]);
        true
    }

    /// A burst, and what became whole by it.
    fn input(&mut self, now_ns: u64, frames: &[RxFrame<'_>]) {
        self.stack.input(now_ns, frames);
        self.drain(now_ns, frames);
        let mut room = [0; REASSEMBLED_BYTES_MAX];
        while let Some(len) = self.stack.poll_reassembled(&mut room) {
            let whole = [RxFrame { bytes: &room[..len], checksum_verified: false }];
            self.stack.input(now_ns, &whole);
            self.drain(now_ns, &whole);
        }
    }

    /// One turn: frames, timers, programs, output.
    pub(crate) fn turn(&mut self, now_ns: u64, incoming: &[Frame]) -> Vec<Vec<u8>> {
        let mut rest = incoming;
        while !rest.is_empty() {
            let (burst, later) = rest.split_at(self.random.usize(1..=64).min(rest.len()));
            rest = later;
            let frames: Vec<RxFrame<'_>> = burst
                .iter()
                .map(|frame| RxFrame { bytes: &frame.bytes, checksum_verified: false })
                .collect();
            self.input(now_ns, &frames);
        }
        while let Some((at_ns, conn)) = self.wheel.first().copied().filter(|due| due.0 <= now_ns) {
            self.wheel.remove(&(at_ns, conn));
            self.armed.remove(&conn);
            if let Some(next_ns) = self.stack.on_timer(now_ns, conn) {
                assert!(next_ns > now_ns, "a timer that is due again at once spins");
                self.set_wheel(conn, next_ns);
            }
            self.drain(now_ns, &[]);
        }
        self.stack.expire(now_ns, 16);
        self.drain(now_ns, &[]);
        if now_ns >= self.next_tick_ns {
            self.next_tick_ns = now_ns + 1_000 * self.random.u64(200..3_000);
            for conn in std::mem::take(&mut self.busy) {
                self.work(now_ns, conn);
            }
            self.drain(now_ns, &[]);
        }
        let room = if self.random.u8(..8) == 0 { self.random.usize(..20) } else { usize::MAX };
        let mut sink = Sink { frames: Vec::new(), room };
        self.stack.output(now_ns, &mut sink);
        self.drain(now_ns, &[]);
        self.check_step();
        sink.frames
    }

    pub(crate) fn next_ns(&self) -> Option<u64> {
        let output = self.stack.has_output().then_some(0);
        let tick = (!self.busy.is_empty()).then_some(self.next_tick_ns);
        let wheel = self.wheel.first().map(|due| due.0);
        [output, tick, wheel, self.stack.next_expiry()].into_iter().flatten().min()
    }

    fn drain(&mut self, now_ns: u64, burst: &[RxFrame<'_>]) {
        while let Some(event) = self.stack.poll_event() {
            self.on_event(now_ns, event, burst);
        }
        while let Some((conn, at_ns)) = self.stack.poll_rearm() {
            self.set_wheel(conn, at_ns);
        }
    }

    fn set_wheel(&mut self, conn: ConnId, at_ns: u64) {
        if let Some(old_ns) = self.armed.insert(conn, at_ns) {
            self.wheel.remove(&(old_ns, conn));
        }
        self.wheel.insert((at_ns, conn));
    }

    fn program(&mut self, conn: ConnId) -> &mut Program {
        self.programs.get_mut(&conn).expect("an event of a connection that was begun, not closed")
    }

    fn on_event(&mut self, now_ns: u64, event: Event, burst: &[RxFrame<'_>]) {
        match event {
            Event::Accepted { conn, .. } => {
                let mut program = self.applications.begin();
                program.connected = true;
                let known = self.programs.insert(conn, program);
                assert!(known.is_none(), "connection {conn} is another's");
                self.busy.insert(conn);
            }
            Event::Data { conn, frame, start, len } => {
                let bytes = &burst[usize::from(frame)].bytes;
                let octets = &bytes[usize::from(start)..][..usize::from(len)];
                let taken = self.take(now_ns, conn, octets);
                self.stack.keep(conn, &octets[taken..]);
                self.busy.insert(conn);
            }
            Event::Connected { conn } => {
                self.program(conn).connected = true;
                self.busy.insert(conn);
            }
            Event::Readable { conn } | Event::Writable { conn } => {
                self.program(conn);
                self.busy.insert(conn);
            }
            Event::PeerClosed { conn } => {
                let program = self.program(conn);
                assert!(!program.peer_closed, "the peer closes once");
                program.peer_closed = true;
                self.busy.insert(conn);
            }
            Event::Closed { conn, reason } => {
                let program = self.programs.remove(&conn).expect("closed once");
                self.ended.push((reason, program));
                self.busy.remove(&conn);
                if let Some(at_ns) = self.armed.remove(&conn) {
                    self.wheel.remove(&(at_ns, conn));
                }
            }
            Event::Neighbor { .. } | Event::Duplicate { .. } => {}
        }
    }

    /// How much of fresh octets the program takes at once.
    fn take(&mut self, now_ns: u64, conn: ConnId, octets: &[u8]) -> usize {
        let program = self.programs.get_mut(&conn).expect("data of a connection that is open");
        if self.stack.backlog(conn) > 0 || program.sleeps_until_ns > now_ns {
            return 0;
        }
        let taken = self.applications.taken_of(octets.len());
        self.applications.check(program, &octets[..taken]);
        taken
    }

    /// What the program does when it has time.
    fn work(&mut self, now_ns: u64, conn: ConnId) {
        let Some(program) = self.programs.get_mut(&conn).filter(|program| !program.closed) else {
            return;
        };
        if program.sleeps_until_ns <= now_ns {
            let mut octets = vec![0; self.applications.portion()];
            let count = self.stack.peek(conn, &mut octets);
            self.applications.check(program, &octets[..count]);
            self.stack.consume(conn, count);
            self.applications.maybe_sleep(now_ns, program);
        }
        if !program.has_sent_all() {
            let octets = program.next_octets(self.applications.portion());
            program.sent += self.stack.send(now_ns, conn, &octets);
        }
        if !program.connected {
            return;
        }
        if program.wants_abort() {
            program.closed = true;
            self.stack.abort(now_ns, conn);
        } else if self.stack.backlog(conn) == 0 && program.wants_close() {
            program.closed = true;
            self.stack.close(now_ns, conn);
        } else if self.stack.backlog(conn) > 0 {
            self.busy.insert(conn);
        } else if !program.has_sent_all() {
            if self.applications.flip() {
                self.stack.want_writable(conn);
            } else {
                self.busy.insert(conn);
            }
        }
    }

    /// What must hold after every turn.
    fn check_step(&self) {
        let gauges = self.stack.gauges();
        assert!(gauges.free <= gauges.total, "{gauges:?}");
        assert_eq!(gauges.in_use, self.programs.len() as u64, "TCBs and connections: {gauges:?}");
        let counters = self.stack.counters();
        let drops: u64 = tcpstack::StackCounters::FIELDS
            .iter()
            .zip(counters.values())
            .filter(|(field, _)| field.name.starts_with("drop_"))
            .map(|(_, value)| value)
            .sum();
        assert_eq!(counters.received, counters.accepted + drops, "{counters:?}");
        let may_wait = self.stack.has_output() || gauges.available == 0;
        for &conn in self.programs.keys() {
            let status = self.stack.status(conn).expect("a connection that is open");
            let is_armed = self.armed.contains_key(&conn);
            assert!(is_armed || may_wait || !needs_timer(status.state()), "no timer: {status}");
            // What is not acknowledged has a timer of its own, whatever else is armed.
            let is_timed = status.tcb.flight_size == 0 || status.tcb.retransmission_timer > 0;
            let is_over = status.state() == State::Closed;
            assert!(is_timed || is_over || may_wait, "unacknowledged for ever: {status}");
        }
    }

    /// Every connection that is open, and what the stack holds.
    pub(crate) fn describe(&self) -> String {
        let line = |(&conn, program): (&ConnId, &Program)| {
            let (state, backlog) = (self.stack.state(conn), self.stack.backlog(conn));
            let due_ns = self.armed.get(&conn);
            format!("{conn} {state:?}, backlog {backlog}, timer {due_ns:?}: {program:?}\n")
        };
        let open: String = self.programs.iter().map(line).collect();
        let values = self.stack.counters().values();
        let counted: Vec<_> = tcpstack::StackCounters::FIELDS
            .iter()
            .zip(values)
            .filter(|(_, value)| **value > 0)
            .map(|(field, value)| format!("{} {value}", field.name))
            .collect();
        format!("{open}{:?}\n{}", self.stack.gauges(), counted.join(", "))
    }

    /// Everything has ended: all memory is back.
    pub(crate) fn check_rest(&self) {
        let gauges = self.stack.gauges();
        assert!(self.programs.is_empty(), "{:?}", self.programs);
        assert_eq!((gauges.in_use, gauges.flows), (0, 0), "{gauges:?}");
        assert_eq!(gauges.free, gauges.total, "{gauges:?}");
        let states = [gauges.syn_sent, gauges.established, gauges.close_wait, gauges.time_wait];
        assert_eq!(states, [0; 4], "{gauges:?}");
    }
}

/// Whether nothing but a timer will end the state when the peer is silent.
fn needs_timer(state: State) -> bool {
    match state {
        State::Closed | State::Established | State::CloseWait | State::TimeWait => false,
        State::SynSent
        | State::SynReceived
        | State::FinWait1
        | State::FinWait2
        | State::Closing
        | State::LastAck => true,
    }
}

struct Sink {
    frames: Vec<Vec<u8>>,
    room: usize,
}

impl FrameSink for Sink {
    fn frame(&mut self, len: usize) -> Option<&mut [u8]> {
        if self.frames.len() >= self.room {
            return None;
        }
        self.frames.push(vec![0xee; len]);
        self.frames.last_mut().map(Vec::as_mut_slice)
    }

    fn checksum(&mut self, _: usize, _: usize) {
        unreachable!("the port was not said to fill in checksums");
    }
}
