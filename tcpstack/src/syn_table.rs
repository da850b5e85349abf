//! Passive opens that wait for the handshake's last ACK: one cache line each instead of a TCB.
//!
//! SYN-ACKs are sent again after 1, 2, 4, … times the initial time-out. Entries that were sent as
//! often wait in one list, in the order of their deadlines, so that no timer is needed. When the
//! table is full, a new SYN takes the place of the entry repeated most: its peer has let a
//! time-out pass, which flooders do and clients seldom. With SYN cookies ([`crate::cookies`]) that
//! is needed only for a SYN that takes over an address pair in TIME-WAIT.

use superpage::{Placement, RegionError, Slab, Tier, record};

use crate::flow::FlowKey;
use crate::list::{Linked, Links, List};
use crate::seq::SeqNum;

record! {
    /// One passive open.
    pub(crate) struct SynEntry {
        pub(crate) key: FlowKey,
        /// The peer's maximum segment size, without its option the default.
        pub(crate) mss: u16,
        /// ISS.
        pub(crate) iss: SeqNum,
        /// IRS.
        pub(crate) irs: SeqNum,
        /// When the SYN-ACK is repeated or the entry forgotten.
        pub(crate) due_ns: u64,
        /// TS.Recent.
        pub(crate) ts_recent: u32,
        pub(crate) links: Links,
        /// SEG.WND of the SYN: it is never scaled.
        pub(crate) window: u16,
        /// Which listener.
        pub(crate) listener: u16,
        /// The peer's window shift, or [`NO_SHIFT`].
        pub(crate) shift: u8,
        /// Whether the SYN had a timestamp.
        pub(crate) timestamps: u8,
        /// How often the SYN-ACK was repeated.
        pub(crate) repeats: u8,
        /// Which list it is in.
        pub(crate) place: u8,
        /// Whether the SYN had SACK-permitted.
        pub(crate) sack_permitted: u8,
        /// Whether the SYN asked for ECN, and gets it.
        pub(crate) ecn: u8,
        /// Segments that were questioned.
        pub(crate) challenges: u8,
        /// Whether its next hop was not known when the SYN-ACK was to be sent.
        pub(crate) has_waited: u8,
    }
}

/// The peer does not scale windows.
pub(crate) const NO_SHIFT: u8 = u8::MAX;

/// What became of an entry whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Its SYN-ACK is queued again.
    Repeated,
    /// It was repeated often enough: the caller forgets it.
    Expired(u32),
}

/// All passive opens.
#[derive(Debug)]
pub(crate) struct SynTable {
    entries: Slab<SynEntry>,
    /// By [`SynEntry::place`]: to be sent; unresolved next hop; sent 1, 2, … times.
    lists: [List<ByPlace>; PLACES],
    rto_initial_ns: u64,
    repeats_max: u8,
}

impl SynTable {
    pub(crate) fn create(
        capacity: u32,
        rto_initial_ms: u32,
        repeats_max: u8,
        placement: Placement,
    ) -> Result<Self, RegionError> {
        Ok(Self {
            entries: Slab::create("syn-entries", capacity, placement)?,
            lists: [const { List::new() }; PLACES],
            rto_initial_ns: u64::from(rto_initial_ms) * 1_000_000,
            repeats_max: repeats_max.min(REPEATS_MAX),
        })
    }

    /// A new entry; its SYN-ACK is queued. `None` when the table is full.
    pub(crate) fn insert(&mut self, entry: SynEntry) -> Option<u32> {
        let index = self.entries.insert(SynEntry { place: QUEUED, repeats: 0, ..entry })?;
        self.lists[usize::from(QUEUED)].push_back(&mut self.entries, index);
        Some(index)
    }

    /// Forgets an entry.
    pub(crate) fn remove(&mut self, index: u32) -> SynEntry {
        let place = usize::from(self.entries[index].place);
        self.lists[place].remove(&mut self.entries, index);
        self.entries.remove(index)
    }

    pub(crate) fn get(&self, index: u32) -> Option<&SynEntry> {
        self.entries.get(index)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> &mut SynEntry {
        &mut self.entries[index]
    }

    /// The entry to give up for a new one: the oldest of those repeated most.
    pub(crate) fn victim(&self) -> Option<u32> {
        self.lists[usize::from(SENT) + 1..].iter().rev().find_map(List::head)
    }

    /// The entry to give up for a connection: [`Self::victim`], or another.
    pub(crate) fn any_victim(&self) -> Option<u32> {
        self.lists.iter().rev().find_map(List::head)
    }

    /// The next SYN-ACK to send.
    pub(crate) fn next_output(&self) -> Option<u32> {
        self.lists[usize::from(QUEUED)].head()
    }

    /// The SYN-ACK of `index` was sent, or dropped because its next hop is not known yet.
    pub(crate) fn sent(&mut self, now_ns: u64, index: u32, resolved: bool) {
        let repeats = self.entries[index].repeats;
        self.entries[index].due_ns = now_ns + (self.rto_initial_ns << repeats);
        self.entries[index].has_waited |= u8::from(!resolved);
        let place = if resolved || repeats > 0 { SENT + repeats } else { UNRESOLVED };
        self.move_to(index, place);
    }

    /// The peer has repeated its SYN: so the SYN-ACK is queued again, without counting.
    pub(crate) fn resend(&mut self, index: u32) {
        self.move_to(index, QUEUED);
    }

    /// A neighbour was learnt: what waited for one is queued again.
    pub(crate) fn kick_unresolved(&mut self) {
        while let Some(index) = self.lists[usize::from(UNRESOLVED)].head() {
            self.move_to(index, QUEUED);
        }
    }

    /// Deals with one entry whose time has come.
    pub(crate) fn next_due(&mut self, now_ns: u64) -> Option<Due> {
        let due = |index: &u32| self.entries[*index].due_ns <= now_ns;
        let index =
            self.lists[usize::from(UNRESOLVED)..].iter().filter_map(List::head).find(due)?;
        let entry = &mut self.entries[index];
        if entry.repeats >= self.repeats_max {
            return Some(Due::Expired(index));
        }
        entry.repeats += 1;
        self.move_to(index, QUEUED);
        Some(Due::Repeated)
    }

    /// When [`Self::next_due`] has something to do.
    pub(crate) fn next_expiry(&self) -> Option<u64> {
        let heads = self.lists[usize::from(UNRESOLVED)..].iter().filter_map(List::head);
        heads.map(|index| self.entries[index].due_ns).min()
    }

    /// When the SYN-ACK was sent, if it was sent once: a measurement of the round-trip time.
    pub(crate) fn sent_once_ns(&self, index: u32) -> Option<u64> {
        let entry = &self.entries[index];
        (entry.place == SENT).then(|| entry.due_ns - self.rto_initial_ns)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() == self.entries.capacity()
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

    fn move_to(&mut self, index: u32, place: u8) {
        let from = usize::from(self.entries[index].place);
        self.lists[from].remove(&mut self.entries, index);
        self.entries[index].place = place;
        self.lists[usize::from(place)].push_back(&mut self.entries, index);
    }
}

/// Entries by `links`.
#[derive(Debug)]
struct ByPlace;

impl Linked for ByPlace {
    type Record = SynEntry;
    fn links(entry: &SynEntry) -> &Links {
        &entry.links
    }
    fn links_mut(entry: &mut SynEntry) -> &mut Links {
        &mut entry.links
    }
}

const QUEUED: u8 = 0;
const UNRESOLVED: u8 = 1;
/// Sent once; the next places are for each repetition.
const SENT: u8 = 2;
/// With the initial time-out of a second the last waits two minutes.
const REPEATS_MAX: u8 = 7;
const PLACES: usize = SENT as usize + REPEATS_MAX as usize + 1;
const _: () = assert!(size_of::<SynEntry>() == 64, "a passive open costs a cache line");

#[cfg(test)]
mod tests {
    use superpage::Record;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn table(capacity: u32) -> SynTable {
        SynTable::create(capacity, 1_000, 3, Placement::default()).expect("table")
    }

    #[test]
    fn syn_ack_is_repeated_with_growing_intervals_then_expires() {
        let mut table = table(4);
        let index = table.insert(SynEntry::zeroed()).expect("room");
        let mut now_ns = 0;
        for interval in [1, 2, 4] {
            assert_eq!(table.next_output(), Some(index));
            table.sent(now_ns, index, true);
            assert_eq!(table.next_output(), None);
            assert_eq!(table.next_expiry(), Some(now_ns + interval * SECOND));
            assert_eq!(table.next_due(now_ns + interval * SECOND - 1), None);
            now_ns += interval * SECOND;
            assert_eq!(table.next_due(now_ns), Some(Due::Repeated));
        }
        table.sent(now_ns, index, true);
        assert_eq!(table.next_due(now_ns + 8 * SECOND), Some(Due::Expired(index)));
        table.remove(index);
        assert_eq!((table.len(), table.next_expiry()), (0, None));
    }

    #[test]
    fn only_entries_that_let_a_time_out_pass_are_victims() {
        let mut table = table(2);
        let patient = table.insert(SynEntry::zeroed()).expect("room");
        let fresh = table.insert(SynEntry::zeroed()).expect("room");
        assert_eq!(table.insert(SynEntry::zeroed()), None);
        table.sent(0, patient, true);
        assert_eq!(table.victim(), None);
        assert_eq!(table.next_due(SECOND), Some(Due::Repeated));
        table.sent(SECOND, fresh, true);
        table.sent(SECOND, patient, true);
        assert_eq!(table.victim(), Some(patient));
    }

    #[test]
    fn unresolved_syn_ack_leaves_as_soon_as_a_neighbour_is_learnt() {
        let mut table = table(2);
        let index = table.insert(SynEntry::zeroed()).expect("room");
        table.sent(0, index, false);
        assert_eq!((table.next_output(), table.next_expiry()), (None, Some(SECOND)));
        table.kick_unresolved();
        assert_eq!(table.next_output(), Some(index));
        table.sent(5, index, true);
        assert_eq!(table.sent_once_ns(index), Some(5));
    }
}
