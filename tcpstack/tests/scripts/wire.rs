//! The stack under test, its clock and its timers: frames in, frames and events out.

use std::collections::{BTreeMap, VecDeque};

use tcpstack::{BURST_FRAMES_MAX, ConnId, Event, FrameSink, RxFrame, Stack};

/// What the stack says that no frame shows.
#[derive(Debug)]
pub(crate) enum News {
    Event(Event),
    /// Octets that lie in a frame.
    Octets(ConnId, Vec<u8>),
}

#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) stack: Stack,
    pub(crate) now_ns: u64,
    /// Frames sent and not looked at, with their times.
    pub(crate) sent: VecDeque<(u64, Vec<u8>)>,
    timers: BTreeMap<ConnId, u64>,
}

impl Wire {
    pub(crate) fn new(stack: Stack) -> Self {
        Self { stack, now_ns: START_NS, sent: VecDeque::new(), timers: BTreeMap::new() }
    }

    /// Time since the beginning of the script.
    pub(crate) fn elapsed_ns(&self, at_ns: u64) -> u64 {
        at_ns - START_NS
    }

    /// Frames arrive. `news` is called for everything the stack has to say.
    pub(crate) fn input(&mut self, frames: &[Vec<u8>], mut news: impl FnMut(&mut Stack, News)) {
        for burst in frames.chunks(BURST_FRAMES_MAX) {
            let burst: Vec<RxFrame<'_>> =
                burst.iter().map(|bytes| RxFrame { bytes, checksum_verified: false }).collect();
            self.stack.input(self.now_ns, &burst);
            self.drain(&burst, &mut news);
            let mut room = vec![0; tcpstack::REASSEMBLED_BYTES_MAX];
            while let Some(len) = self.stack.poll_reassembled(&mut room) {
                let burst = [RxFrame { bytes: &room[..len], checksum_verified: false }];
                self.stack.input(self.now_ns, &burst);
                self.drain(&burst, &mut news);
            }
        }
    }

    /// The end of a turn: the stack sends.
    pub(crate) fn output(&mut self, mut news: impl FnMut(&mut Stack, News)) {
        self.drain(&[], &mut news);
        let mut sink = Sink::default();
        self.stack.output(self.now_ns, &mut sink);
        self.sent.extend(sink.0.into_iter().map(|frame| (self.now_ns, frame)));
        self.drain(&[], &mut news);
        while let Some((conn, at_ns)) = self.stack.poll_rearm() {
            self.timers.insert(conn, at_ns);
        }
    }

    fn drain(&mut self, burst: &[RxFrame<'_>], news: &mut impl FnMut(&mut Stack, News)) {
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Data { conn, frame, start, len } => {
                    let (start, len) = (usize::from(start), usize::from(len));
                    let octets = &burst[usize::from(frame)].bytes[start..start + len];
                    news(&mut self.stack, News::Octets(conn, octets.to_vec()));
                }
                Event::Closed { conn, .. } => {
                    self.timers.remove(&conn);
                    news(&mut self.stack, News::Event(event));
                }
                _ => news(&mut self.stack, News::Event(event)),
            }
        }
    }

    /// Lets time pass up to `end_ns`, or until the next timer that is due before. `false`: there is
    /// none, and it is `end_ns`.
    pub(crate) fn pass(&mut self, end_ns: u64, news: impl FnMut(&mut Stack, News)) -> bool {
        let timer = self.timers.iter().min_by_key(|(_, at_ns)| **at_ns);
        let timer = timer.map(|(conn, at_ns)| (*at_ns, Some(*conn)));
        let expiry = self.stack.next_expiry().map(|at_ns| (at_ns, None));
        let next = [timer, expiry].into_iter().flatten().min_by_key(|due| due.0);
        let Some((at_ns, conn)) = next.filter(|due| due.0 <= end_ns) else {
            self.now_ns = end_ns;
            return false;
        };
        self.now_ns = self.now_ns.max(at_ns);
        match conn {
            Some(conn) => {
                self.timers.remove(&conn);
                if let Some(next_ns) = self.stack.on_timer(self.now_ns, conn) {
                    self.timers.insert(conn, next_ns);
                }
            }
            None => self.stack.expire(self.now_ns, 64),
        }
        self.output(news);
        true
    }
}

/// The clock does not begin at 0.
const START_NS: u64 = 1_000_000_000;

#[derive(Default)]
struct Sink(Vec<Vec<u8>>);

impl FrameSink for Sink {
    fn frame(&mut self, len: usize) -> Option<&mut [u8]> {
        // What the stack does not write shows.
        self.0.push(vec![0xee; len]);
        self.0.last_mut().map(Vec::as_mut_slice)
    }

    fn checksum(&mut self, _: usize, _: usize) {
        unreachable!("the port was not said to fill in checksums");
    }
}
