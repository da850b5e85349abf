//! Our stack, as the host on this end of the wire, with an application on it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tcpstack::{ConnId, Event, FrameSink, RxFrame, Stack};

const BURST_FRAMES: usize = 32;

/// What our host does with its connections.
#[derive(Debug)]
pub(crate) enum Application {
    /// Sends back what it gets; closes after the peer did.
    Echo,
    /// Sends `payload`, gathers the answer, closes when that is as long.
    Client { payload: Vec<u8>, sent: usize, received: Vec<u8> },
}

/// One host.
pub(crate) struct Host {
    pub(crate) stack: Stack,
    pub(crate) application: Application,
    deadlines: BTreeMap<ConnId, u64>,
    peer_closed: Vec<ConnId>,
}

impl Host {
    pub(crate) fn new(stack: Stack, application: Application) -> Host {
        Host { stack, application, deadlines: BTreeMap::new(), peer_closed: Vec::new() }
    }

    pub(crate) fn connect(&mut self, now_ns: u64, remote: SocketAddr) {
        self.stack.connect(now_ns, remote).expect("an empty stack has room");
        self.settle(now_ns, &[]);
    }

    /// Takes in `frames`, does what is due, returns what it sends.
    pub(crate) fn poll(&mut self, now_ns: u64, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
        for burst in frames.chunks(BURST_FRAMES) {
            let burst: Vec<_> =
                burst.iter().map(|bytes| RxFrame { bytes, checksum_verified: false }).collect();
            self.stack.input(now_ns, &burst);
            self.settle(now_ns, &burst);
        }
        let due: Vec<_> =
            self.deadlines.iter().filter(|&(_, &at)| at <= now_ns).map(|(&conn, _)| conn).collect();
        for conn in due {
            self.deadlines.remove(&conn);
            if let Some(at_ns) = self.stack.on_timer(now_ns, conn) {
                self.deadlines.insert(conn, at_ns);
            }
            self.settle(now_ns, &[]);
        }
        self.stack.expire(now_ns, 64);
        self.settle(now_ns, &[]);
        let mut sink = Sent(Vec::new());
        self.stack.output(now_ns, &mut sink);
        self.settle(now_ns, &[]);
        sink.0
    }

    pub(crate) fn next_poll_ns(&self) -> Option<u64> {
        self.deadlines.values().copied().chain(self.stack.next_expiry()).min()
    }

    fn settle(&mut self, now_ns: u64, frames: &[RxFrame<'_>]) {
        while let Some(event) = self.stack.poll_event() {
            self.on_event(now_ns, event, frames);
        }
        while let Some((conn, at_ns)) = self.stack.poll_rearm() {
            let deadline = self.deadlines.entry(conn).or_insert(at_ns);
            *deadline = (*deadline).min(at_ns);
        }
    }

    fn on_event(&mut self, now_ns: u64, event: Event, frames: &[RxFrame<'_>]) {
        match event {
            Event::Data { conn, frame, start, len } => {
                let bytes =
                    &frames[usize::from(frame)].bytes[usize::from(start)..][..usize::from(len)];
                let taken =
                    if self.stack.backlog(conn) == 0 { self.take(now_ns, conn, bytes) } else { 0 };
                self.stack.keep(conn, &bytes[taken..]);
                self.advance(now_ns, conn);
            }
            Event::Connected { conn } | Event::Readable { conn } | Event::Writable { conn } => {
                self.advance(now_ns, conn);
            }
            Event::PeerClosed { conn } => {
                self.peer_closed.push(conn);
                self.advance(now_ns, conn);
            }
            Event::Closed { conn, .. } => {
                self.deadlines.remove(&conn);
                self.peer_closed.retain(|&other| other != conn);
            }
            Event::Accepted { .. } | Event::Neighbor { .. } => {}
        }
    }

    /// Bytes from the peer, as many as the application takes now.
    fn take(&mut self, now_ns: u64, conn: ConnId, bytes: &[u8]) -> usize {
        match &mut self.application {
            Application::Echo => {
                let taken = self.stack.send(now_ns, conn, bytes);
                if taken < bytes.len() {
                    self.stack.want_writable(conn);
                }
                taken
            }
            Application::Client { received, .. } => {
                received.extend_from_slice(bytes);
                bytes.len()
            }
        }
    }

    /// Whatever the application can do now: take what waits, send, close.
    fn advance(&mut self, now_ns: u64, conn: ConnId) {
        let mut bytes = [0; 4096];
        loop {
            let offered = self.stack.peek(conn, &mut bytes);
            let taken = self.take(now_ns, conn, &bytes[..offered]);
            self.stack.consume(conn, taken);
            if taken == 0 || taken < offered {
                break;
            }
        }
        let done = match &mut self.application {
            Application::Echo => self.peer_closed.contains(&conn),
            Application::Client { payload, sent, received } => {
                *sent += self.stack.send(now_ns, conn, &payload[*sent..]);
                if *sent < payload.len() {
                    self.stack.want_writable(conn);
                }
                received.len() == payload.len()
            }
        };
        if done && self.stack.backlog(conn) == 0 {
            self.stack.close(now_ns, conn);
        }
    }
}

struct Sent(Vec<Vec<u8>>);

impl FrameSink for Sent {
    fn frame(&mut self, len: usize) -> Option<&mut [u8]> {
        self.0.push(vec![0; len]);
        self.0.last_mut().map(Vec::as_mut_slice)
    }

    fn checksum(&mut self, _: usize, _: usize) {
        unreachable!("this host does not offer checksums");
    }
}
