//! One host: a stack, a stand-in for the timer wheel, and a program on each connection.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use tcpstack::{CloseReason, ConnId, Event, FrameSink, RxFrame, Stack};

use crate::link::Link;
use crate::program::{Ending, Program, Script, Side};

pub(crate) struct Host {
    pub(crate) stack: Stack,
    pub(crate) programs: HashMap<ConnId, Program>,
    /// How connections ended, by their client's address.
    pub(crate) ended: HashMap<SocketAddr, (CloseReason, Program)>,
    random: fastrand::Rng,
    run: u64,
    octets_max: usize,
    wheel: BTreeSet<(u64, ConnId)>,
    armed: BTreeMap<ConnId, u64>,
    busy: BTreeSet<ConnId>,
    next_tick_ns: u64,
}

impl Host {
    pub(crate) fn new(stack: Stack, run: u64, octets_max: usize) -> Self {
        Self {
            stack,
            programs: HashMap::new(),
            ended: HashMap::new(),
            random: fastrand::Rng::with_seed(run),
            run,
            octets_max,
            wheel: BTreeSet::new(),
            armed: BTreeMap::new(),
            busy: BTreeSet::new(),
            next_tick_ns: 0,
        }
    }

    pub(crate) fn connect(&mut self, now_ns: u64, remote: SocketAddr) {
        let conn = self.stack.connect(now_ns, remote).expect("room for a connection");
        let client = self.stack.local(conn).expect("there");
        let script = Script::of(self.run, client, self.octets_max);
        self.programs.insert(conn, Program::new(Side::Client, script));
        self.arm(conn);
    }

    /// One turn: frames, timers, programs, output.
    pub(crate) fn turn(&mut self, now_ns: u64, incoming: &mut Link, outgoing: &mut Link) {
        loop {
            let count = self.random.usize(1..=64);
            let burst: Vec<Vec<u8>> =
                std::iter::from_fn(|| incoming.receive(now_ns)).take(count).collect();
            if burst.is_empty() {
                break;
            }
            let frames: Vec<RxFrame<'_>> =
                burst.iter().map(|bytes| RxFrame { bytes, checksum_verified: false }).collect();
            self.stack.input(now_ns, &frames);
            self.drain(now_ns, &burst);
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
        for frame in sink.frames {
            outgoing.send(now_ns, frame);
        }
        self.drain(now_ns, &[]);
    }

    pub(crate) fn next_ns(&self) -> Option<u64> {
        let output = self.stack.has_output().then_some(0);
        let tick = (!self.busy.is_empty()).then_some(self.next_tick_ns);
        let wheel = self.wheel.first().map(|due| due.0);
        [output, tick, wheel, self.stack.next_expiry()].into_iter().flatten().min()
    }

    fn drain(&mut self, now_ns: u64, burst: &[Vec<u8>]) {
        while let Some(event) = self.stack.poll_event() {
            self.on_event(now_ns, event, burst);
        }
        while let Some((conn, at_ns)) = self.stack.poll_rearm() {
            self.set_wheel(conn, at_ns);
        }
    }

    fn arm(&mut self, conn: ConnId) {
        self.busy.insert(conn);
    }

    fn set_wheel(&mut self, conn: ConnId, at_ns: u64) {
        if let Some(old_ns) = self.armed.insert(conn, at_ns) {
            self.wheel.remove(&(old_ns, conn));
        }
        self.wheel.insert((at_ns, conn));
    }

    fn on_event(&mut self, now_ns: u64, event: Event, burst: &[Vec<u8>]) {
        match event {
            Event::Accepted { conn, .. } => {
                let client = self.stack.peer(conn).expect("there");
                let script = Script::of(self.run, client, self.octets_max);
                self.programs.insert(conn, Program::new(Side::Server, script));
                self.arm(conn);
            }
            Event::Data { conn, frame, start, len } => {
                let octets = &burst[usize::from(frame)][usize::from(start)..][..usize::from(len)];
                let taken = self.take(now_ns, conn, octets);
                self.stack.keep(conn, &octets[taken..]);
                self.arm(conn);
            }
            Event::Connected { conn } => {
                self.programs.get_mut(&conn).expect("known").connected = true;
                self.arm(conn);
            }
            Event::Readable { conn } | Event::Writable { conn } => self.arm(conn),
            Event::PeerClosed { conn } => {
                self.programs.get_mut(&conn).expect("known").peer_closed = true;
                self.arm(conn);
            }
            Event::Closed { conn, reason } => {
                let program = self.programs.remove(&conn).expect("known");
                let client = match program.side {
                    Side::Client => self.stack.local(conn),
                    Side::Server => self.stack.peer(conn),
                };
                self.ended.insert(client.expect("there"), (reason, program));
                self.busy.remove(&conn);
                if let Some(at_ns) = self.armed.remove(&conn) {
                    self.wheel.remove(&(at_ns, conn));
                }
            }
            Event::Neighbor { .. } => {}
        }
    }

    /// How much of fresh octets the program takes at once.
    fn take(&mut self, now_ns: u64, conn: ConnId, octets: &[u8]) -> usize {
        let program = self.programs.get_mut(&conn).expect("known");
        if self.stack.backlog(conn) > 0 || program.sleeps_until_ns > now_ns {
            return 0;
        }
        let taken = match self.random.u8(..4) {
            0 => self.random.usize(..=octets.len()),
            _ => octets.len(),
        };
        program.check(&octets[..taken]);
        taken
    }

    /// What the program does when it has time.
    fn work(&mut self, now_ns: u64, conn: ConnId) {
        let Some(program) = self.programs.get_mut(&conn).filter(|program| !program.closed) else {
            return;
        };
        if program.sleeps_until_ns <= now_ns {
            let mut octets = vec![0; self.random.usize(1..20_000)];
            let count = self.stack.peek(conn, &mut octets);
            program.check(&octets[..count]);
            self.stack.consume(conn, count);
            if self.random.u8(..40) == 0 {
                program.sleeps_until_ns = now_ns + 1_000_000 * self.random.u64(1..2_000);
            }
        }
        if program.sendable() > 0 {
            let octets = program.next_octets(program.sendable().min(self.random.usize(1..30_000)));
            program.sent += self.stack.send(now_ns, conn, &octets);
        }
        if !program.connected {
            return;
        }
        if program.wants_abort() {
            program.closed = true;
            self.stack.abort(now_ns, conn);
        } else if program.wants_close() {
            program.closed = true;
            self.stack.close(now_ns, conn);
        } else if self.stack.backlog(conn) > 0 {
            self.busy.insert(conn);
        } else if program.sendable() > 0 {
            if self.random.bool() {
                self.stack.want_writable(conn);
            } else {
                self.busy.insert(conn);
            }
        }
    }

    /// Checks how every connection ended.
    pub(crate) fn check_endings(&self) {
        for (client, (reason, program)) in &self.ended {
            if let Ending::AbortedBy(..) = program.script.ending {
                let is_reset = matches!(reason, CloseReason::Aborted | CloseReason::Reset);
                // The reset may be lost: then keep-alive ends it.
                assert!(is_reset || *reason == CloseReason::TimedOut, "{client}: {reason:?}");
                continue;
            }
            assert_eq!(*reason, CloseReason::Finished, "{client}: {program:?}");
            assert_eq!(program.received, program.expected(), "{client}");
        }
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
