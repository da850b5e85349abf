//! The trace: the last transitions and drops of a shard, kept while it runs, for whoever asks why.
//!
//! Writing costs one record of 48 bytes in a ring, where it replaces the oldest; nothing waits and
//! nothing is formatted. So that a flood of bad segments does not wash away what led to it, drops
//! beyond [`DROPS_PER_ROUND_MAX`] between two rounds of housekeeping are left out, and counted.

use std::fmt;

use superpage::{Array, Placement, RegionError, Tier, record};

use crate::counters::Drop;
use crate::flow::FlowKey;
use crate::seq::SeqNum;
use crate::stack::Stack;
use crate::tcb::State;
use crate::{ConnId, status};

record! {
    /// One thing that happened.
    pub(crate) struct TraceRecord {
        /// When.
        pub(crate) at_ns: u64,
        /// The connection; NIL when there was none.
        pub(crate) conn: ConnId,
        /// SEG.SEQ of a dropped segment, RCV.NXT of a transition.
        pub(crate) seq: SeqNum,
        /// SEG.ACK of a dropped segment, SND.NXT of a transition.
        pub(crate) ack: SeqNum,
        /// Octets of a dropped segment.
        pub(crate) octets: u16,
        /// Both ends.
        pub(crate) key: FlowKey,
        /// [`What`].
        what: u8,
        /// State before.
        from: u8,
        /// State after, or the [`Drop`].
        to: u8,
        /// Control bits of a dropped segment.
        pub(crate) control: u8,
    }
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traced {
    /// A connection went from one state to another.
    Transition {
        /// State before.
        from: State,
        /// State after.
        to: State,
    },
    /// A segment was dropped; the name of the counter that counted it.
    Dropped(&'static str),
    /// The retransmission timer expired.
    TimedOut {
        /// The state it happened in.
        state: State,
    },
}

/// Values of [`TraceRecord::what`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum What {
    Transition = 0,
    Dropped = 1,
    TimedOut = 2,
}

record! {
    /// A record of the trace, for whoever asks. Plain bytes, so that it can cross a ring; for people,
    /// print it.
    pub struct TraceEntry {
        /// Its number: they count from 0 since the start.
        pub number: u64,
        /// When, on the shard's clock.
        pub at_ns: u64,
        /// Our address; IPv4 as `::ffff:a.b.c.d`.
        pub local: [u8; 16],
        /// The peer's address.
        pub remote: [u8; 16],
        /// The connection; NIL when there was none.
        pub conn: ConnId,
        /// SEG.SEQ of a dropped segment, RCV.NXT otherwise.
        pub seq: u32,
        /// SEG.ACK of a dropped segment, SND.NXT otherwise.
        pub ack: u32,
        /// Our port.
        pub local_port: u16,
        /// The peer's port.
        pub remote_port: u16,
        /// Octets of a dropped segment.
        pub octets: u16,
        what: u8,
        from: u8,
        to: u8,
        /// Control bits of a dropped segment.
        pub control: u8,
        spare: u16,
    }
}

impl TraceEntry {
    /// What happened.
    #[must_use]
    pub fn traced(&self) -> Traced {
        let [from, to] = [self.from, self.to].map(State::from_code);
        match self.what {
            what if what == What::Dropped as u8 => Traced::Dropped(Drop::name_of(self.to)),
            what if what == What::TimedOut as u8 => Traced::TimedOut { state: from },
            _ => Traced::Transition { from, to },
        }
    }
}

/// Seconds since the start, the flow, and what happened, on one line.
impl fmt::Display for TraceEntry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.at_ns / 1_000_000_000, self.at_ns / 1_000 % 1_000_000);
        let local = status::socket(self.local, self.local_port);
        let remote = status::socket(self.remote, self.remote_port);
        write!(out, "{seconds}.{micros:06} {remote} > {local} ")?;
        let Self { seq, ack, octets, .. } = self;
        match self.traced() {
            Traced::Transition { from, to } => {
                let [from, to] = [from, to].map(State::name);
                write!(out, "{from} -> {to}, RCV.NXT={seq} SND.NXT={ack}")
            }
            Traced::TimedOut { state } => {
                write!(out, "{}, retransmission time-out, SND.NXT={ack}", state.name())
            }
            Traced::Dropped(reason) => {
                let bits = Bits(self.control);
                write!(out, "{reason}: [{bits}] SEG.SEQ={seq} SEG.ACK={ack} SEG.LEN={octets}")
            }
        }
    }
}

/// Control bits by their letters.
struct Bits(u8);

impl fmt::Display for Bits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
        let mut names = names.iter().enumerate().filter(|(bit, _)| self.0 >> bit & 1 != 0);
        if let Some((_, name)) = names.next() {
            out.write_str(name)?;
        }
        names.try_for_each(|(_, name)| write!(out, ",{name}"))
    }
}

impl Stack {
    /// The oldest record of the trace that is still there and whose number is at least `number`.
    #[must_use]
    pub fn trace(&self, number: u64) -> Option<TraceEntry> {
        let (number, record) = self.trace.read(number)?;
        let TraceRecord { at_ns, conn, seq, ack, octets, key, what, from, to, control } = *record;
        Some(TraceEntry {
            number,
            at_ns,
            local: self.local_octets(key.local),
            remote: key.remote,
            conn,
            seq: seq.0,
            ack: ack.0,
            local_port: key.local_port,
            remote_port: key.remote_port,
            octets,
            what,
            from,
            to,
            control,
            spare: 0,
        })
    }

    /// The number that the next record of the trace will have.
    #[must_use]
    pub fn trace_end(&self) -> u64 {
        self.trace.written()
    }
}

/// The ring of a shard.
#[derive(Debug)]
pub(crate) struct Trace {
    records: Array<TraceRecord>,
    /// Records ever written; the last of them are in the ring.
    written: u64,
    /// Drops that may still be written before the next round of housekeeping.
    drops_left: u32,
}

impl Trace {
    pub(crate) fn create(placement: Placement) -> Result<Self, RegionError> {
        let records = Array::create("trace", TRACE_RECORDS, placement)?;
        Ok(Self { records, written: 0, drops_left: DROPS_PER_ROUND_MAX })
    }

    /// A connection goes from state `from` to another.
    pub(crate) fn transition(&mut self, now_ns: u64, at: Spot, from: State, to: State) {
        self.write(now_ns, at, What::Transition, [from as u8, to as u8]);
    }

    /// The retransmission timer of a connection expired.
    pub(crate) fn timed_out(&mut self, now_ns: u64, at: Spot, state: State) {
        self.write(now_ns, at, What::TimedOut, [state as u8, state as u8]);
    }

    /// A segment was dropped. Returns whether there was room to note it.
    pub(crate) fn dropped(
        &mut self,
        now_ns: u64,
        at: Spot,
        control: u8,
        octets: u16,
        reason: Drop,
    ) -> bool {
        let Some(left) = self.drops_left.checked_sub(1) else { return false };
        self.drops_left = left;
        let record = self.write(now_ns, at, What::Dropped, [0, reason as u8]);
        (record.octets, record.control) = (octets, control);
        true
    }

    /// Drops may be written again.
    pub(crate) fn new_round(&mut self) {
        self.drops_left = DROPS_PER_ROUND_MAX;
    }

    /// The number of the next record.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// The oldest record still there whose number is at least `number`, and its number.
    pub(crate) fn read(&self, number: u64) -> Option<(u64, &TraceRecord)> {
        let number = number.max(self.written.saturating_sub(TRACE_RECORDS as u64));
        (number < self.written).then(|| (number, &self.records[place(number)]))
    }

    pub(crate) fn tier(&self) -> Tier {
        self.records.tier()
    }

    pub(crate) fn region_bytes(&self) -> usize {
        self.records.region_bytes()
    }

    fn write(&mut self, at_ns: u64, at: Spot, what: What, states: [u8; 2]) -> &mut TraceRecord {
        let Spot { conn, key, seq, ack } = at;
        let [from, to] = states;
        let record = &mut self.records[place(self.written)];
        self.written += 1;
        *record = TraceRecord {
            at_ns,
            conn,
            seq,
            ack,
            octets: 0,
            key,
            what: what as u8,
            from,
            to,
            control: 0,
        };
        record
    }
}

/// Where in its stream a connection was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) conn: ConnId,
    pub(crate) key: FlowKey,
    pub(crate) seq: SeqNum,
    pub(crate) ack: SeqNum,
}

fn place(number: u64) -> usize {
    (number % TRACE_RECORDS as u64) as usize
}

/// Records of the ring.
pub(crate) const TRACE_RECORDS: usize = 4_096;
/// Drops noted between two rounds of housekeeping, which come each millisecond: at most 64 ms of
/// flood fill the ring.
pub(crate) const DROPS_PER_ROUND_MAX: u32 = 64;

const _: () = assert!(size_of::<TraceRecord>() == 48);

#[cfg(test)]
mod tests {
    use superpage::Record;

    use super::*;

    fn spot(conn: ConnId) -> Spot {
        Spot { conn, key: FlowKey::zeroed(), seq: SeqNum(1), ack: SeqNum(2) }
    }

    #[test]
    fn ring_keeps_the_latest_records_and_readers_skip_what_is_gone() {
        let mut trace = Trace::create(Placement::default()).expect("trace");
        assert!(trace.read(0).is_none());
        for conn in 0..TRACE_RECORDS as u32 + 10 {
            trace.transition(conn.into(), spot(conn), State::SynSent, State::Established);
        }
        let (number, record) = trace.read(0).expect("some");
        assert_eq!((number, record.conn), (10, 10), "the first ten are overwritten");
        let (number, record) = trace.read(4_000).expect("some");
        assert_eq!((number, record.at_ns), (4_000, 4_000));
        assert!(trace.read(trace.written()).is_none());
    }

    #[test]
    fn flood_of_drops_leaves_room_for_everything_else() {
        let mut trace = Trace::create(Placement::default()).expect("trace");
        let drop_one = |trace: &mut Trace| trace.dropped(5, spot(7), 0, 0, Drop::TcpPaws);
        let noted = (0..1_000).filter(|_| drop_one(&mut trace)).count();
        assert_eq!(noted, DROPS_PER_ROUND_MAX as usize);
        trace.timed_out(6, spot(7), State::Established);
        assert_eq!(trace.written(), u64::from(DROPS_PER_ROUND_MAX) + 1);
        trace.new_round();
        assert!(drop_one(&mut trace));
    }

    #[test]
    fn every_kind_of_entry_reads_well() {
        let entry = TraceEntry {
            at_ns: 12_000_345_678,
            local: *b"\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x4d\x00\x01",
            remote: *b"\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02",
            seq: 5,
            ack: 6,
            local_port: 7,
            remote_port: 4_000,
            octets: 10,
            what: What::Dropped as u8,
            to: Drop::TcpPaws as u8,
            control: 0b1_1000,
            ..TraceEntry::zeroed()
        };
        let flow = "12.000345 [fd00::2]:4000 > 10.77.0.1:7";
        let dropped = "drop_tcp_paws: [PSH,ACK] SEG.SEQ=5 SEG.ACK=6 SEG.LEN=10";
        assert_eq!(entry.to_string(), format!("{flow} {dropped}"));
        let (from, to) = (State::Established as u8, State::CloseWait as u8);
        let entry = TraceEntry { what: What::Transition as u8, from, to, ..entry };
        let transition = "ESTABLISHED -> CLOSE-WAIT, RCV.NXT=5 SND.NXT=6";
        assert_eq!(entry.to_string(), format!("{flow} {transition}"));
        let entry = TraceEntry { what: What::TimedOut as u8, ..entry };
        let timed_out = "ESTABLISHED, retransmission time-out, SND.NXT=6";
        assert_eq!(entry.to_string(), format!("{flow} {timed_out}"));
    }
}
