//! Connections in TIME-WAIT: one cache line each, forgotten after 2 MSL, or earlier when the table
//! is full or a new connection takes over the address pair.

use superpage::{Placement, RegionError, Slab, Tier, record};

use crate::counters::Drop;
use crate::flow::FlowKey;
use crate::list::{Linked, Links, List};
use crate::segment::{Segment, control};
use crate::seq::SeqNum;

record! {
    /// One connection.
    pub(crate) struct TimeWaitEntry {
        pub(crate) key: FlowKey,
        /// The window last advertised, as on the wire.
        pub(crate) window: u16,
        /// SND.NXT: after our FIN.
        pub(crate) snd_nxt: SeqNum,
        /// RCV.NXT: after the peer's FIN.
        pub(crate) rcv_nxt: SeqNum,
        /// When it is forgotten.
        pub(crate) expires_ns: u64,
        /// TS.Recent.
        pub(crate) ts_recent: u32,
        /// 1: both ends send timestamps.
        pub(crate) timestamps: u32,
        pub(crate) links: Links,
        pub(crate) spare: [u8; 8],
    }
}

/// What a segment for a connection in TIME-WAIT leads to. The caller carries it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnTimeWait {
    /// It changes nothing.
    Ignore(Drop),
    /// It is acknowledged once more.
    Acknowledge(Drop),
    /// The peer repeats its FIN: acknowledged, and 2 MSL begin again.
    Restart,
    /// A new connection may begin.
    Reuse,
}

/// RFC 9293 §3.10.7.4 for TIME-WAIT, with RFC 1337 and RFC 6191.
pub(crate) fn on_segment(entry: &TimeWaitEntry, segment: &Segment) -> OnTimeWait {
    // RFC 1337 §3, fix (F1): a reset does not end TIME-WAIT.
    if segment.has(control::RST) {
        return OnTimeWait::Ignore(Drop::TcpTimeWait);
    }
    if segment.has(control::SYN) && !segment.has(control::ACK) {
        let is_newer = match segment.options.timestamp {
            // RFC 6191 §2: a later timestamp, or an equal one with a later sequence number.
            Some(timestamp) if entry.timestamps != 0 => {
                let newer = timestamp.value.wrapping_sub(entry.ts_recent) as i32;
                newer > 0 || (newer == 0 && segment.seq.after(entry.rcv_nxt))
            }
            // RFC 9293 §3.10.7.4 and RFC 1122 §4.2.2.13: a later sequence number.
            _ => segment.seq.after(entry.rcv_nxt),
        };
        return if is_newer { OnTimeWait::Reuse } else { OnTimeWait::Acknowledge(Drop::TcpSyn) };
    }
    if !segment.has(control::ACK) {
        return OnTimeWait::Ignore(Drop::TcpAckMissing);
    }
    if segment.has(control::FIN) && segment.end() == entry.rcv_nxt {
        return OnTimeWait::Restart;
    }
    // Only what occupies sequence space is answered: two ends in TIME-WAIT stay silent.
    if segment.len() > 0 {
        OnTimeWait::Acknowledge(Drop::TcpWindow)
    } else {
        OnTimeWait::Ignore(Drop::TcpTimeWait)
    }
}

/// All connections in TIME-WAIT, in the order they will be forgotten.
#[derive(Debug)]
pub(crate) struct TimeWaitTable {
    entries: Slab<TimeWaitEntry>,
    order: List<ByExpiry>,
    duration_ns: u64,
}

impl TimeWaitTable {
    pub(crate) fn create(
        capacity: u32,
        time_wait_ms: u32,
        placement: Placement,
    ) -> Result<Self, RegionError> {
        Ok(Self {
            entries: Slab::create("time-wait-entries", capacity, placement)?,
            order: List::new(),
            duration_ns: u64::from(time_wait_ms) * 1_000_000,
        })
    }

    /// A new entry; `None` when the table is full.
    pub(crate) fn insert(&mut self, now_ns: u64, entry: TimeWaitEntry) -> Option<u32> {
        let expires_ns = now_ns + self.duration_ns;
        let index = self.entries.insert(TimeWaitEntry { expires_ns, ..entry })?;
        self.order.push_back(&mut self.entries, index);
        Some(index)
    }

    pub(crate) fn remove(&mut self, index: u32) -> TimeWaitEntry {
        self.order.remove(&mut self.entries, index);
        self.entries.remove(index)
    }

    /// 2 MSL begin again.
    pub(crate) fn restart(&mut self, now_ns: u64, index: u32) {
        self.order.remove(&mut self.entries, index);
        self.entries[index].expires_ns = now_ns + self.duration_ns;
        self.order.push_back(&mut self.entries, index);
    }

    pub(crate) fn get(&self, index: u32) -> Option<&TimeWaitEntry> {
        self.entries.get(index)
    }

    /// The entry that will be forgotten first.
    pub(crate) fn oldest(&self) -> Option<u32> {
        self.order.head()
    }

    /// When the oldest entry is to be forgotten.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        Some(self.entries[self.oldest()?].expires_ns)
    }

    pub(crate) fn len(&self) -> u32 {
        self.entries.len()
    }

    pub(crate) fn prefetch(&self, index: u32) {
        self.entries.prefetch(index);
    }

    pub(crate) fn tier(&self) -> Tier {
        self.entries.tier()
    }

    pub(crate) fn region_bytes(&self) -> usize {
        self.entries.region_bytes()
    }
}

/// Entries by `links`.
#[derive(Debug)]
struct ByExpiry;

impl Linked for ByExpiry {
    type Record = TimeWaitEntry;
    fn links(entry: &TimeWaitEntry) -> &Links {
        &entry.links
    }
    fn links_mut(entry: &mut TimeWaitEntry) -> &mut Links {
        &mut entry.links
    }
}

const _: () = assert!(size_of::<TimeWaitEntry>() == 64, "TIME-WAIT costs a cache line");

#[cfg(test)]
mod tests {
    use superpage::Record;

    use super::*;
    use crate::options::{Options, Timestamp};

    fn segment(control: u8, seq: u32, timestamp: Option<u32>) -> Segment {
        Segment {
            key: FlowKey::zeroed(),
            hash: 0,
            seq: SeqNum(seq),
            ack: SeqNum(0),
            window: 0,
            control,
            ecn: 0,
            options: Options {
                timestamp: timestamp.map(|value| Timestamp { value, echo: 0 }),
                ..Options::default()
            },
            frame: 0,
            start: 0,
            octets: 0,
        }
    }

    #[test]
    fn segments_are_answered_as_rfcs_9293_1337_and_6191_say() {
        use control::{ACK, FIN, RST, SYN};
        let mut plain = TimeWaitEntry::zeroed();
        plain.rcv_nxt = SeqNum(1_000);
        let timed = TimeWaitEntry { timestamps: 1, ts_recent: 50, ..plain };
        let ignored = OnTimeWait::Ignore(Drop::TcpTimeWait);
        let refused = OnTimeWait::Acknowledge(Drop::TcpSyn);
        let cases = [
            (plain, segment(RST, 1_000, None), ignored),
            (plain, segment(SYN, 1_001, None), OnTimeWait::Reuse),
            (plain, segment(SYN, 1_000, None), refused),
            (timed, segment(SYN, 5, Some(51)), OnTimeWait::Reuse),
            (timed, segment(SYN, 5, Some(50)), refused),
            (timed, segment(SYN, 1_001, Some(50)), OnTimeWait::Reuse),
            (timed, segment(SYN, 1_001, Some(49)), refused),
            (timed, segment(SYN, 1_001, None), OnTimeWait::Reuse),
            (plain, segment(0, 1_000, None), OnTimeWait::Ignore(Drop::TcpAckMissing)),
            (plain, segment(ACK | FIN, 999, None), OnTimeWait::Restart),
            (plain, segment(ACK | FIN, 900, None), OnTimeWait::Acknowledge(Drop::TcpWindow)),
            (plain, segment(ACK, 1_000, None), ignored),
        ];
        for (at, (entry, segment, outcome)) in cases.into_iter().enumerate() {
            assert_eq!(on_segment(&entry, &segment), outcome, "case {at}");
        }
    }

    #[test]
    fn entries_are_forgotten_in_order_and_restarted_ones_last() {
        let mut table = TimeWaitTable::create(3, 1, Placement::default()).expect("table");
        let [a, b, c] = [0, 1, 2].map(|now| table.insert(now, Record::zeroed()).expect("room"));
        assert_eq!(table.insert(3, Record::zeroed()), None);
        table.restart(10, a);
        let mut order = Vec::new();
        while let Some(index) = table.oldest() {
            order.push((index, table.next_expiry().expect("some") - 1_000_000));
            table.remove(index);
        }
        assert_eq!(order, [(b, 1), (c, 2), (a, 10)]);
    }
}
