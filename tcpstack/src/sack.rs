//! Selective acknowledgment, the receiver's part (RFC 2018, RFC 2883): which blocks to report, in
//! which order.
//!
//! What a connection received out of order is in chunks sorted by sequence. RFC 2018 §4 wants the
//! blocks sorted by recency, so while there is anything to report, one more chunk holds the blocks
//! that changed last, the latest first, and the duplicate to report once. Blocks beyond those are
//! forgotten, not the data: the peer sends it again at worst.

use superpage::{NIL, record};
use zerocopy::{FromBytes, IntoBytes};

use crate::chunks::{Chunks, Use};
use crate::seq::SeqNum;
use crate::tcb::Tcb;

record! {
    /// Octets from `start` up to `end`, which is not among them.
    #[derive(PartialEq, Eq, Default)]
    pub(crate) struct Block {
        pub(crate) start: SeqNum,
        pub(crate) end: SeqNum,
    }
}

/// Blocks of one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blocks {
    blocks: [Block; BLOCKS_MAX],
    len: u8,
}

impl Blocks {
    /// Adds a block, if there is room.
    pub(crate) fn push(&mut self, block: Block) {
        if let Some(free) = self.blocks.get_mut(usize::from(self.len)) {
            *free = block;
            self.len += 1;
        }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Block> + '_ {
        self.blocks[..self.len()].iter().copied()
    }
}

record! {
    /// What to report. A block that is not there is empty.
    struct Arrivals {
        /// The latest first.
        recent: [Block; RECENT_MAX],
        /// Received once more, RFC 2883 §4.
        duplicate: Block,
    }
}

impl Arrivals {
    /// `block` is there from now on, and the first to report: RFC 2018 §4. What of it was there
    /// before is a duplicate.
    fn note(&mut self, block: Block) {
        let mut whole = block;
        let mut others = [Block::default(); RECENT_MAX];
        let mut kept = 0;
        for old in self.recent.into_iter().filter(|old| !old.is_empty()) {
            let start = old.start.latest(block.start);
            let end = old.end.earliest(block.end);
            if start.after(end) {
                others[kept] = old;
                kept += 1;
                continue;
            }
            self.note_duplicate(Block { start, end });
            whole.start = whole.start.earliest(old.start);
            whole.end = whole.end.latest(old.end);
        }
        self.recent[0] = whole;
        self.recent[1..].copy_from_slice(&others[..RECENT_MAX - 1]);
    }

    /// One acknowledgment may answer all segments of a burst: it reports the first duplicate.
    fn note_duplicate(&mut self, block: Block) {
        if self.duplicate.is_empty() {
            self.duplicate = block;
        }
    }

    /// RCV.NXT has moved: what lies before it needs no block any more.
    fn drop_before(&mut self, rcv_nxt: SeqNum) {
        let mut kept = [Block::default(); RECENT_MAX];
        let later = self.recent.iter().filter(|old| !old.is_empty() && old.start.after(rcv_nxt));
        for (free, block) in kept.iter_mut().zip(later) {
            *free = *block;
        }
        self.recent = kept;
    }
}

impl Block {
    fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

/// `block` was received out of order and stored.
pub(crate) fn note(tcb: &mut Tcb, chunks: &mut Chunks, block: Block) {
    change(tcb, chunks, |arrivals| arrivals.note(block));
}

/// `block` was received once more: RFC 2883 §4. It is reported once.
pub(crate) fn note_duplicate(tcb: &mut Tcb, chunks: &mut Chunks, block: Block) {
    change(tcb, chunks, |arrivals| arrivals.note_duplicate(block));
}

/// RCV.NXT has moved.
pub(crate) fn advance(tcb: &mut Tcb, chunks: &mut Chunks) {
    if tcb.arrivals != NIL {
        let rcv_nxt = tcb.rcv_nxt;
        change(tcb, chunks, |arrivals| arrivals.drop_before(rcv_nxt));
    }
}

/// Up to `most` blocks for an acknowledgment: a duplicate first (RFC 2883 §4), then those that
/// changed last (RFC 2018 §4). With `more` acknowledgments to follow at once, those that changed
/// last can wait: the report begins with older ones, if there are more than fit.
pub(crate) fn report(tcb: &Tcb, chunks: &Chunks, most: usize, more: usize) -> Blocks {
    let mut blocks = Blocks::default();
    if tcb.arrivals != NIL {
        let Arrivals { recent, duplicate } = read(chunks, tcb.arrivals);
        let count = recent.iter().filter(|block| !block.is_empty()).count();
        let skipped = more.min(count.saturating_sub(most));
        let recent = recent.into_iter().skip(skipped);
        let all = std::iter::once(duplicate).chain(recent).filter(|block| !block.is_empty());
        all.take(most).for_each(|block| blocks.push(block));
    }
    blocks
}

/// An acknowledgment with the report has left.
pub(crate) fn reported(tcb: &mut Tcb, chunks: &mut Chunks) {
    if tcb.arrivals != NIL {
        change(tcb, chunks, |arrivals| arrivals.duplicate = Block::default());
    }
}

/// Forgets everything there is to report.
pub(crate) fn release(tcb: &mut Tcb, chunks: &mut Chunks) {
    if tcb.arrivals != NIL {
        chunks.release(tcb.arrivals, Use::OutOfOrder);
        tcb.arrivals = NIL;
    }
}

/// Changes the report, which gets a chunk when it begins and gives it back when it is empty. When
/// there is no chunk, there is no report.
fn change(tcb: &mut Tcb, chunks: &mut Chunks, how: impl FnOnce(&mut Arrivals)) {
    let mut arrivals = superpage::Record::zeroed();
    if tcb.arrivals == NIL {
        let Some(chunk) = chunks.alloc(Use::OutOfOrder) else { return };
        chunks.set_next(chunk, NIL);
        tcb.arrivals = chunk;
    } else {
        arrivals = read(chunks, tcb.arrivals);
    }
    how(&mut arrivals);
    if arrivals.duplicate.is_empty() && arrivals.recent[0].is_empty() {
        release(tcb, chunks);
    } else {
        chunks.bytes_mut(tcb.arrivals)[..size_of::<Arrivals>()]
            .copy_from_slice(arrivals.as_bytes());
    }
}

fn read(chunks: &Chunks, chunk: u32) -> Arrivals {
    Arrivals::read_from_prefix(chunks.bytes(chunk)).expect("a chunk has 64 bytes at least").0
}

/// RFC 2018 §3.
pub(crate) const BLOCKS_MAX: usize = 4;
/// Blocks remembered: each is reported in two or more acknowledgments (RFC 2018 §4).
const RECENT_MAX: usize = 7;
const _: () = assert!(size_of::<Arrivals>() <= crate::config::CHUNK_BYTES_MIN as usize);

#[cfg(test)]
mod tests {
    use superpage::{Placement, Record};

    use super::*;
    use crate::tcb::State;

    const NXT: SeqNum = SeqNum(u32::MAX - 300);

    fn fixture() -> (Tcb, Chunks) {
        let mut tcb = Tcb::new(Record::zeroed(), State::Established);
        tcb.rcv_nxt = NXT;
        (tcb, Chunks::create(64, 8, Placement::default()).expect("pool"))
    }

    fn block(start: u32, end: u32) -> Block {
        Block { start: NXT + start, end: NXT + end }
    }

    fn reported_blocks(tcb: &Tcb, chunks: &Chunks) -> Vec<(u32, u32)> {
        let blocks = report(tcb, chunks, 3, 0);
        blocks.iter().map(|block| (block.start.since(NXT), block.end.since(NXT))).collect()
    }

    #[test]
    fn block_of_the_latest_segment_comes_first_and_grows_with_its_neighbours() {
        let (mut tcb, mut chunks) = fixture();
        for (start, end, expected) in [
            (100, 200, &[(100, 200)][..]),
            (300, 400, &[(300, 400), (100, 200)]),
            (500, 600, &[(500, 600), (300, 400), (100, 200)]),
            (700, 800, &[(700, 800), (500, 600), (300, 400)]),
            (200, 300, &[(100, 400), (700, 800), (500, 600)]),
            (350, 360, &[(350, 360), (100, 400), (700, 800)]),
            (550, 720, &[(700, 720), (500, 800), (100, 400)]),
        ] {
            note(&mut tcb, &mut chunks, block(start, end));
            assert_eq!(reported_blocks(&tcb, &chunks), expected, "{start} to {end}");
            reported(&mut tcb, &mut chunks);
        }
        tcb.rcv_nxt = NXT + 400;
        advance(&mut tcb, &mut chunks);
        assert_eq!(reported_blocks(&tcb, &chunks), [(500, 800)]);
        tcb.rcv_nxt = NXT + 800;
        advance(&mut tcb, &mut chunks);
        assert_eq!((tcb.arrivals, chunks.free()), (NIL, chunks.capacity()));
    }

    #[test]
    fn acknowledgments_of_a_burst_report_all_that_is_remembered() {
        let (mut tcb, mut chunks) = fixture();
        for at in 1..6 {
            note(&mut tcb, &mut chunks, block(at * 10, at * 10 + 1));
        }
        let firsts = |more| {
            let first = report(&tcb, &chunks, 3, more).iter().next().expect("a block");
            first.start.since(NXT)
        };
        assert_eq!([9, 2, 1, 0].map(firsts), [30, 30, 40, 50]);
    }

    #[test]
    fn duplicate_is_reported_first_and_once() {
        let (mut tcb, mut chunks) = fixture();
        note(&mut tcb, &mut chunks, block(100, 200));
        note_duplicate(&mut tcb, &mut chunks, block(150, 200));
        note_duplicate(&mut tcb, &mut chunks, block(110, 120));
        assert_eq!(reported_blocks(&tcb, &chunks), [(150, 200), (100, 200)]);
        reported(&mut tcb, &mut chunks);
        assert_eq!(reported_blocks(&tcb, &chunks), [(100, 200)]);
    }

    #[test]
    fn duplicate_alone_costs_a_chunk_only_until_it_is_reported() {
        let (mut tcb, mut chunks) = fixture();
        note_duplicate(&mut tcb, &mut chunks, Block { start: NXT - 100, end: NXT });
        assert_eq!(report(&tcb, &chunks, 4, 0).len(), 1);
        reported(&mut tcb, &mut chunks);
        assert_eq!((tcb.arrivals, chunks.free()), (NIL, chunks.capacity()));
    }

    #[test]
    fn more_blocks_than_are_remembered_do_no_harm() {
        let (mut tcb, mut chunks) = fixture();
        for at in 1..1_000 {
            note(&mut tcb, &mut chunks, block(at * 200, at * 200 + 1));
        }
        assert_eq!(reported_blocks(&tcb, &chunks)[0], (999 * 200, 999 * 200 + 1));
        assert_eq!(chunks.free(), chunks.capacity() - 1);
    }

    #[test]
    fn without_a_chunk_there_is_no_report() {
        let (mut tcb, mut chunks) = fixture();
        while chunks.alloc(Use::OutOfOrder).is_some() {}
        note(&mut tcb, &mut chunks, block(100, 200));
        assert!(report(&tcb, &chunks, 4, 0).is_empty());
    }
}
