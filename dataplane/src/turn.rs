//! One turn of a shard: the whole appliance on one screen.
//!
//! Input decides, output sends. Frames in, bytes and events to the applications, messages from other
//! shards, timers; then everything that became ready goes out, coalesced. No stage calls back into an
//! earlier one, and back-pressure is a number (room in a send queue, room in a ring) read when it is
//! needed. `now_ns` is read once, by the caller; the same turn runs over DPDK on the TSC and over the
//! in-memory wire on a clock that a test moves.

use capsule::{BATCH_FRAMES_MAX, RxChecksum};
use tcpstack::{Event, RxFrame};

use crate::shard::{Engine, Shard};
use crate::sink::QueueSink;
use crate::{drain, peers};

/// Timers handed out or moved in one turn; the wheel goes on in the next one where it stopped.
const TIMERS_PER_TURN_MAX: u32 = 256;
/// Entries the stack may expire in one round of housekeeping.
const EXPIRIES_PER_ROUND_MAX: usize = 256;
/// Time between two rounds of housekeeping.
pub(crate) const HOUSEKEEPING_NS: u64 = 1_000_000;

impl Shard {
    /// One pass of the shard's loop at `now_ns`. Returns whether there was anything to do.
    pub fn turn(&mut self, now_ns: u64) -> bool {
        let mut worked = self.receive(now_ns);
        worked |= self.read_inbox(now_ns);
        worked |= self.engine.run_timers(now_ns);
        worked |= self.engine.fill_outbox(now_ns);
        worked |= self.transmit(now_ns);
        if now_ns >= self.housekeeping_due_ns {
            self.housekeeping_due_ns = now_ns + HOUSEKEEPING_NS;
            self.keep_house(now_ns);
        }
        self.engine.stopwatch.end_turn(worked);
        worked
    }

    /// rx burst → frames of other shards to their rings → stack → events.
    fn receive(&mut self, now_ns: u64) -> bool {
        let Shard { queue, rx, engine, inbox, impaired, .. } = self;
        let count = queue.receive(rx);
        if let Some(impaired) = impaired {
            return impaired.receive(now_ns, rx, inbox, engine);
        }
        if count == 0 {
            return false;
        }
        engine.stopwatch.lap(|cycles| &mut cycles.receive);
        let mut frames = [RxFrame { bytes: &[], checksum_verified: false }; BATCH_FRAMES_MAX];
        let mut count = 0;
        for i in 0..rx.len() {
            let bytes = rx.frame(i);
            let checksum_verified = rx.checksum(i) == RxChecksum::Good;
            if let Some(owner) = engine.foreign_owner(bytes) {
                engine.peers.send_frame(owner, bytes, checksum_verified);
            } else {
                frames[count] = RxFrame { bytes, checksum_verified };
                count += 1;
            }
        }
        engine.input(now_ns, &frames[..count]);
        true
    }

    /// Records from the other shards: frames of our flows, neighbours, broker messages.
    fn read_inbox(&mut self, now_ns: u64) -> bool {
        let Shard { inbox, engine, .. } = self;
        let mut any = false;
        for from in 0..engine.peers.shards() {
            for _ in 0..peers::RECORDS_PER_TURN_MAX {
                let Some(record) = engine.peers.receive(from, &mut inbox.record) else { break };
                any = true;
                match record {
                    peers::Record::Frame { bytes, checksum_verified } => {
                        if inbox.frames.takes(bytes) {
                            inbox.frames.push(bytes, checksum_verified);
                        } else {
                            engine.input(now_ns, &[RxFrame { bytes, checksum_verified }]);
                        }
                    }
                    peers::Record::Neighbor { ip, mac, news } => {
                        engine.stack.learn_neighbor(ip, mac, news);
                    }
                    peers::Record::Duplicate { ip } => engine.stack.lose_address(ip),
                    peers::Record::Broker(message) => {
                        engine.applications.broker_mut().inbox(now_ns, from, message);
                    }
                }
                if inbox.frames.is_full() {
                    inbox.frames.drain(|frames| engine.input(now_ns, frames));
                }
            }
        }
        inbox.frames.drain(|frames| engine.input(now_ns, frames));
        any |= engine.pass_reassembled(now_ns, &mut inbox.record);
        if engine.applications.resume(now_ns, &mut engine.stack) || any {
            engine.settle(now_ns);
            engine.stopwatch.lap(|cycles| &mut cycles.inbox);
            return true;
        }
        false
    }

    /// stack → tx burst.
    fn transmit(&mut self, now_ns: u64) -> bool {
        let Shard { queue, tx, clock, engine, impaired, .. } = self;
        if let Some(impaired) = impaired {
            return impaired.transmit(now_ns, queue, tx, clock, engine);
        }
        if tx.is_empty() && !engine.stack.has_output() {
            return false;
        }
        let mut sink = QueueSink::new(queue, tx, clock);
        engine.stack.output(now_ns, &mut sink);
        sink.flush();
        let (sent, driver_cycles) = sink.done();
        engine.settle(now_ns);
        engine.stopwatch.lap_transmit(driver_cycles);
        sent > 0
    }

    /// Every millisecond: what must happen at some time but not on a packet's way.
    fn keep_house(&mut self, now_ns: u64) {
        self.engine.stack.expire(now_ns, EXPIRIES_PER_ROUND_MAX);
        self.engine.deliver_events(now_ns, &[]);
        self.engine.applications.broker_mut().tick(now_ns);
        self.engine.settle(now_ns);
        drain::step(self, now_ns);
        if let Some(desk) = &mut self.desk {
            desk.step(&self.engine.stack);
        }
        if let Some(mut publisher) = self.publisher.take() {
            publisher.publish(self, now_ns);
            self.publisher = Some(publisher);
        }
        self.engine.stopwatch.lap(|cycles| &mut cycles.housekeeping);
    }
}

impl Engine {
    /// The shard a frame must go to when that is not this one.
    pub(crate) fn foreign_owner(&self, frame: &[u8]) -> Option<u16> {
        let owner = if self.software_steering {
            self.steering.owner_of_frame(frame)
        } else {
            self.steering.owner_of_hidden(frame)
        };
        owner.filter(|owner| *owner != self.index)
    }

    /// Datagrams whose fragments came to this shard by their addresses: to the owners of their flows.
    fn pass_reassembled(&mut self, now_ns: u64, room: &mut [u8]) -> bool {
        let mut any = false;
        while let Some(len) = self.stack.poll_reassembled(room) {
            any = true;
            let bytes = &room[..len];
            let owner = self.steering.owner_of_frame(bytes);
            match owner.filter(|owner| *owner != self.index) {
                Some(owner) => self.peers.send_frame(owner, bytes, false),
                None => self.input(now_ns, &[RxFrame { bytes, checksum_verified: false }]),
            }
        }
        any
    }

    /// A burst of our own frames through the stack and on to the applications.
    pub(crate) fn input(&mut self, now_ns: u64, frames: &[RxFrame<'_>]) {
        self.stack.input(now_ns, frames);
        self.stopwatch.lap(|cycles| &mut cycles.input);
        self.deliver_events(now_ns, frames);
        self.settle(now_ns);
        self.stopwatch.lap(|cycles| &mut cycles.events);
    }

    /// What the stack has to say, to whom it concerns.
    fn deliver_events(&mut self, now_ns: u64, frames: &[RxFrame<'_>]) {
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Neighbor { ip, mac, news } => self.peers.tell_neighbor(ip, mac, news),
                Event::Duplicate { ip } => self.peers.tell_duplicate(ip),
                _ => {}
            }
            self.applications.on_event(now_ns, &mut self.stack, &event, frames);
            if let Event::Closed { conn, .. } = event {
                self.wheel.cancel(conn);
            }
        }
    }

    /// After anything that may have closed connections or moved deadlines.
    pub(crate) fn settle(&mut self, now_ns: u64) {
        self.deliver_events(now_ns, &[]);
        while let Some((conn, at_ns)) = self.stack.poll_rearm() {
            self.wheel.arm_earlier(conn, at_ns);
        }
        self.applications.arm_timers(&mut self.wheel, self.connections);
    }

    /// Connections and detached sessions whose time has come.
    fn run_timers(&mut self, now_ns: u64) -> bool {
        self.wheel.advance(now_ns);
        let mut budget = TIMERS_PER_TURN_MAX;
        while let Some(entry) = self.wheel.expire(&mut budget) {
            let next_ns = match entry.checked_sub(self.connections) {
                None => self.applications.on_timer(now_ns, &mut self.stack, entry),
                Some(session) => self.applications.broker_mut().on_session_timer(now_ns, session),
            };
            if let Some(next_ns) = next_ns {
                self.wheel.arm_earlier(entry, next_ns);
            }
            self.deliver_events(now_ns, &[]);
        }
        if budget == TIMERS_PER_TURN_MAX {
            return false;
        }
        self.settle(now_ns);
        self.stopwatch.lap(|cycles| &mut cycles.timers);
        true
    }

    /// What the broker has to send: to its clients through the stack, to other shards by ring.
    fn fill_outbox(&mut self, now_ns: u64) -> bool {
        let mut any = self.applications.fill(now_ns, &mut self.stack);
        let broker = self.applications.broker_mut();
        for to in 0..self.peers.shards() {
            while let Some(message) = broker.peek_message(to) {
                if !self.peers.send_message(to, message) {
                    break;
                }
                broker.pop_message(to);
                any = true;
            }
        }
        if any {
            self.settle(now_ns);
            self.stopwatch.lap(|cycles| &mut cycles.outbox);
        }
        any
    }
}
