//! SEGMENT ARRIVES: what comes in decides, and output sends (RFC 9293 §3.10.7).
//!
//! A burst passes in stages, each over all frames, so that the cold lines of one stage are on
//! their way while the others are worked on: headers and hash, prefetching the flow table's bucket;
//! look-up, prefetching the record; the segment itself.

mod ack;
mod fragment;
mod frame;
mod icmp_error;
mod ipv6;
mod listen;
mod ndp;
mod passive;
mod sequence;
mod syn_received;
mod syn_sent;
mod synchronized;
mod text;
mod unknown;

pub use fragment::REASSEMBLED_BYTES_MAX;
pub(crate) use syn_received::{syn_ack, syn_window};

use superpage::NIL;

use crate::counters::Drop;
use crate::flow::FlowKey;
use crate::flow_table::Entry;
use crate::segment::Segment;
use crate::stack::Stack;
use crate::tcb::{Place, State};
use crate::time_wait::{self, OnTimeWait};
use crate::trace::Spot;
use crate::{BURST_FRAMES_MAX, ConnId, lifecycle};

/// A received frame.
#[derive(Clone, Copy, Debug)]
pub struct RxFrame<'a> {
    /// The frame from the destination address on, without the check sequence.
    pub bytes: &'a [u8],
    /// Whether the port has verified all checksums.
    pub checksum_verified: bool,
}

impl Stack {
    /// Takes a burst of frames. Events are waiting afterwards, and refer to `frames`.
    ///
    /// # Panics
    /// When there are more than [`BURST_FRAMES_MAX`] frames, or events of the last burst left.
    pub fn input(&mut self, now_ns: u64, frames: &[RxFrame<'_>]) {
        assert!(frames.len() <= BURST_FRAMES_MAX, "a burst has at most {BURST_FRAMES_MAX} frames");
        assert!(self.events.is_empty(), "events are drained between bursts");
        self.now_ns = now_ns;
        let mut segments = std::mem::take(&mut self.segments);
        segments.clear();
        self.parse_all(now_ns, frames, &mut segments);
        let found = self.look_up_all(&segments);
        for (segment, found) in segments.iter().zip(found) {
            let start = usize::from(segment.start);
            let bytes = frames[usize::from(segment.frame)].bytes;
            let octets = &bytes[start..start + usize::from(segment.octets)];
            let verdict = self.segment_arrives(now_ns, segment, found, octets);
            if let Err(reason) = verdict {
                self.trace_drop(now_ns, segment, reason);
            }
            self.counters.verdict(verdict);
        }
        self.segments = segments;
    }

    /// Notes a dropped segment with the connection it would have been for.
    fn trace_drop(&mut self, now_ns: u64, segment: &Segment, reason: Drop) {
        let conn = match self.table.find(segment.hash, |entry| self.is_for(segment, entry)) {
            Some(Entry::Connection(conn)) => conn,
            _ => NIL,
        };
        let spot = Spot { conn, key: segment.key, seq: segment.seq, ack: segment.ack };
        let (control, octets) = (segment.control, segment.octets);
        if !self.trace.dropped(now_ns, spot, control, octets, reason) {
            self.counters.trace_skipped += 1;
        }
    }

    /// First stage: everything up to TCP's header. What is not TCP is done with here.
    fn parse_all(&mut self, now_ns: u64, frames: &[RxFrame<'_>], segments: &mut Vec<Segment>) {
        self.counters.received += frames.len() as u64;
        for (at, frame) in (0..).zip(frames) {
            match self.frame_arrives(now_ns, frame, at) {
                Ok(Some(mut segment)) => {
                    segment.hash = self.hasher.hash(&segment.key);
                    self.table.prefetch(segment.hash);
                    segments.push(segment);
                }
                Ok(None) => self.counters.verdict(Ok(())),
                Err(reason) => self.counters.verdict(Err(reason)),
            }
        }
        self.counters.tcp_received += segments.len() as u64;
    }

    /// Second stage: what each segment is probably for. The key is compared in the next stage,
    /// when the record is here; other segments of the burst may have changed the table by then.
    fn look_up_all(&self, segments: &[Segment]) -> [Option<Entry>; BURST_FRAMES_MAX] {
        let mut found = [None; BURST_FRAMES_MAX];
        for (segment, found) in segments.iter().zip(&mut found) {
            *found = self.table.find(segment.hash, |_| true);
            match *found {
                Some(Entry::Connection(index)) => self.tcbs.prefetch(index),
                Some(Entry::Syn(index)) => self.syns.prefetch(index),
                Some(Entry::TimeWait(index)) => self.time_waits.prefetch(index),
                None => {}
            }
        }
        found
    }

    /// Whether an entry of the flow table is this segment's.
    fn is_for(&self, segment: &Segment, entry: Entry) -> bool {
        let key = match entry {
            Entry::Connection(index) => {
                let tcb = self.tcbs.get(index).filter(|tcb| tcb.state() != State::Closed);
                tcb.map(|tcb| tcb.key)
            }
            Entry::Syn(index) => self.syns.get(index).map(|entry| entry.key),
            Entry::TimeWait(index) => self.time_waits.get(index).map(|entry| entry.key),
        };
        key == Some(segment.key)
    }

    /// Third stage: one segment, with its text.
    fn segment_arrives(
        &mut self,
        now_ns: u64,
        segment: &Segment,
        found: Option<Entry>,
        octets: &[u8],
    ) -> Result<(), Drop> {
        let found = found
            .filter(|entry| self.is_for(segment, *entry))
            .or_else(|| self.table.find(segment.hash, |entry| self.is_for(segment, entry)));
        match found {
            Some(Entry::Connection(conn)) => self.connection_segment(now_ns, conn, segment, octets),
            Some(Entry::Syn(index)) => self.syn_received_segment(now_ns, index, segment, octets),
            Some(Entry::TimeWait(index)) => self.time_wait_segment(now_ns, index, segment),
            None => self.stray_segment(now_ns, segment, octets),
        }
    }

    fn connection_segment(
        &mut self,
        now_ns: u64,
        conn: ConnId,
        segment: &Segment,
        octets: &[u8],
    ) -> Result<(), Drop> {
        let Some((tcb, mut context)) = self.connection(now_ns, conn) else {
            return Err(Drop::TcpNoConnection);
        };
        let una = tcb.snd_una;
        let outcome = if tcb.state() == State::SynSent {
            syn_sent::on_segment(tcb, &mut context, segment, octets)
        } else {
            synchronized::on_segment(tcb, &mut context, segment, octets)
        };
        let hint = (tcb.snd_una != una).then_some(tcb.neighbor);
        let (verdict, then) = match outcome {
            Ok(then) => (Ok(()), then),
            Err(refusal) => (Err(refusal.reason), refusal.then),
        };
        if let Some(hint) = hint {
            self.progress_confirms(now_ns, &segment.key, hint);
        }
        self.carry_out(now_ns, conn, then);
        if self.is_waiting_for_chunks(conn) {
            self.places.put(&mut self.tcbs, conn, Place::Chunks);
        }
        verdict
    }

    /// RFC 4861 §7.3.1: what we have sent arrives, so the next hop is where we think it is. Nothing
    /// is looked for as long as that is known anyway.
    fn progress_confirms(&mut self, now_ns: u64, key: &FlowKey, hint: u16) {
        if !self.neighbors.is_aging(now_ns, hint) {
            return;
        }
        if let Some(hop) = self.settings.next_hop(key.remote_ip()) {
            self.neighbors.confirm(now_ns, hop, hint);
        }
    }

    fn time_wait_segment(
        &mut self,
        now_ns: u64,
        index: u32,
        segment: &Segment,
    ) -> Result<(), Drop> {
        let Some(entry) = self.time_waits.get(index).copied() else {
            return Err(Drop::TcpTimeWait);
        };
        let timestamp = self.settings.timestamp(now_ns);
        match time_wait::on_segment(&entry, segment) {
            OnTimeWait::Ignore(reason) => Err(reason),
            OnTimeWait::Acknowledge(reason) => {
                self.answer(lifecycle::acknowledge(&entry, timestamp));
                Err(reason)
            }
            OnTimeWait::Restart => {
                self.time_waits.restart(now_ns, index);
                self.answer(lifecycle::acknowledge(&entry, timestamp));
                Ok(())
            }
            OnTimeWait::Reuse => {
                let listens = self.settings.listeners.contains(&segment.key.local_port);
                if !listens || self.refuses_new || !self.has_room() {
                    self.answer(lifecycle::acknowledge(&entry, timestamp));
                    return Err(Drop::TcpTimeWait);
                }
                self.forget_time_wait(index);
                self.counters.tcp_time_wait_reused += 1;
                self.reopen(now_ns, segment, entry.snd_nxt)
            }
        }
    }
}
