//! Data received out of order: a sorted chain of chunks without overlap, each with its own range.
//!
//! What arrives first is kept; later copies of the same octets are ignored. A chunk that lies
//! before RCV.NXT is acknowledged and waits only for the application to return what precedes it.

use superpage::NIL;

use crate::chunks::{Chunks, Use};
use crate::receive_buffer::{self, HEADER_BYTES, Header, header, set_header};
use crate::seq::SeqNum;
use crate::tcb::Tcb;

/// Stores `bytes` that begin at `seq`, in chunks up to twice as many as a buffer of `buffer_bytes`
/// needs when it is full. Returns whether all of them are there now: `false` means that the pool or
/// the connection's share ended, and that some are missing.
pub(crate) fn store(
    tcb: &mut Tcb,
    chunks: &mut Chunks,
    buffer_bytes: u32,
    seq: SeqNum,
    bytes: &[u8],
) -> bool {
    let limit = chunks_max(chunks, buffer_bytes);
    let mut missing = Missing { seq, bytes };
    // The usual case: the segment follows all that is there.
    let mut prev = NIL;
    let mut at = tcb.ooo_head;
    if tcb.ooo_tail != NIL && header(chunks, tcb.ooo_tail).end().at_or_before(seq) {
        (prev, at) = (tcb.ooo_tail, NIL);
    }
    while !missing.bytes.is_empty() {
        // Up to the next chunk there is a gap to fill, possibly an empty one.
        let next = (at != NIL).then(|| header(chunks, at));
        let gap = next.map_or(usize::MAX, |next| distance(missing.seq, next.seq));
        let piece = missing.split(gap);
        if !fill_gap(tcb, chunks, limit, (&mut prev, at), piece) {
            return false;
        }
        let Some(next) = next else { return true };
        missing.split(distance(missing.seq, next.end()));
        prev = at;
        at = chunks.next(at);
    }
    true
}

/// Octets not stored yet.
struct Missing<'a> {
    seq: SeqNum,
    bytes: &'a [u8],
}

impl<'a> Missing<'a> {
    /// Takes up to `count` octets off the front.
    fn split(&mut self, count: usize) -> Missing<'a> {
        let (front, rest) = self.bytes.split_at(count.min(self.bytes.len()));
        let piece = Missing { seq: self.seq, bytes: front };
        self.seq = self.seq + front.len() as u32;
        self.bytes = rest;
        piece
    }
}

/// Octets from `from` to `to`; 0 when `to` is not after it.
fn distance(from: SeqNum, to: SeqNum) -> usize {
    if to.after(from) { to.since(from) as usize } else { 0 }
}

/// Puts octets between the chunks `prev` and `next`, moving `prev` along.
fn fill_gap(
    tcb: &mut Tcb,
    chunks: &mut Chunks,
    limit: u16,
    (prev, next): (&mut u32, u32),
    mut piece: Missing<'_>,
) -> bool {
    if *prev != NIL && !piece.bytes.is_empty() && header(chunks, *prev).end() == piece.seq {
        extend(chunks, *prev, &mut piece);
    }
    while !piece.bytes.is_empty() {
        let free = if tcb.ooo_chunks < limit { chunks.alloc(Use::OutOfOrder) } else { None };
        let Some(chunk) = free else { return false };
        tcb.ooo_chunks += 1;
        set_header(chunks, chunk, Header { seq: piece.seq, start: 0, len: 0 });
        chunks.set_next(chunk, next);
        match *prev {
            NIL => tcb.ooo_head = chunk,
            prev => chunks.set_next(prev, chunk),
        }
        if next == NIL {
            tcb.ooo_tail = chunk;
        }
        *prev = chunk;
        extend(chunks, chunk, &mut piece);
    }
    true
}

/// Moves octets of `piece` to the end of a chunk, as many as fit.
fn extend(chunks: &mut Chunks, chunk: u32, piece: &mut Missing<'_>) {
    let old = header(chunks, chunk);
    let at = HEADER_BYTES + usize::from(old.start) + usize::from(old.len);
    let room = &mut chunks.bytes_mut(chunk)[at..];
    let front = piece.split(room.len());
    room[..front.bytes.len()].copy_from_slice(front.bytes);
    set_header(chunks, chunk, Header { len: old.len + front.bytes.len() as u16, ..old });
}

/// A window full of single octets must not take a chunk for each: twice what a full window needs.
fn chunks_max(chunks: &Chunks, buffer_bytes: u32) -> u16 {
    let full = (buffer_bytes as usize).div_ceil(chunks.receive_capacity());
    u16::try_from(2 * full + CHUNKS_SPARE).unwrap_or(u16::MAX)
}

/// Where the octets that follow `from` without a gap end.
pub(crate) fn contiguous_end(tcb: &Tcb, chunks: &Chunks, from: SeqNum) -> SeqNum {
    let mut end = from;
    let mut at = tcb.ooo_head;
    while at != NIL {
        let range = header(chunks, at);
        if range.seq.after(end) {
            break;
        }
        end = end.latest(range.end());
        at = chunks.next(at);
    }
    end
}

/// Octets from RCV.NXT to the first that is stored.
pub(crate) fn gap(tcb: &Tcb, chunks: &Chunks) -> usize {
    match tcb.ooo_head {
        NIL => usize::MAX,
        head => distance(tcb.rcv_nxt, header(chunks, head).seq),
    }
}

/// Moves what lies before RCV.NXT to the receive buffer. Returns whether there was anything.
pub(crate) fn splice(tcb: &mut Tcb, chunks: &mut Chunks) -> bool {
    let mut any = false;
    while is_splice_due(tcb, chunks) {
        let chunk = pop(tcb, chunks);
        receive_buffer::append_chunk(tcb, chunks, chunk);
        any = true;
    }
    any
}

/// Drops everything stored. Nothing of it may be acknowledged.
pub(crate) fn release(tcb: &mut Tcb, chunks: &mut Chunks) {
    chunks.release_chain(tcb.ooo_head, Use::OutOfOrder);
    (tcb.ooo_head, tcb.ooo_tail, tcb.ooo_chunks) = (NIL, NIL, 0);
}

/// Whether the first stored octets are acknowledged.
pub(crate) fn is_splice_due(tcb: &Tcb, chunks: &Chunks) -> bool {
    tcb.ooo_head != NIL && header(chunks, tcb.ooo_head).seq.before(tcb.rcv_nxt)
}

fn pop(tcb: &mut Tcb, chunks: &Chunks) -> u32 {
    let chunk = tcb.ooo_head;
    tcb.ooo_head = chunks.next(chunk);
    if tcb.ooo_head == NIL {
        tcb.ooo_tail = NIL;
    }
    tcb.ooo_chunks -= 1;
    chunk
}

/// Chunks a connection may use beyond twice a full window.
const CHUNKS_SPARE: usize = 4;

#[cfg(test)]
mod tests {
    use superpage::{Placement, Record};

    use super::*;
    use crate::tcb::State;

    const BASE: SeqNum = SeqNum(u32::MAX - 1_000);

    fn fixture(window: u32) -> (Tcb, Chunks) {
        let mut tcb = Tcb::new(Record::zeroed(), State::Established);
        tcb.rcv_nxt = BASE;
        tcb.rcv_adv = BASE + window;
        (tcb, Chunks::create(64, 1_000, Placement::default()).expect("pool"))
    }

    #[test]
    fn any_order_with_overlaps_gives_the_stream_back() {
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut tcb, mut chunks) = fixture(4_000);
            let stream: Vec<u8> = (0..4_000).map(|_| random.u8(..)).collect();
            while tcb.rcv_nxt != BASE + 4_000 {
                let start = random.usize(..4_000);
                let end = (start + random.usize(1..400)).min(4_000);
                let seq = BASE + start as u32;
                if seq.before(tcb.rcv_nxt) {
                    continue;
                }
                assert!(
                    store(&mut tcb, &mut chunks, 4_000, seq, &stream[start..end]),
                    "seed {seed}"
                );
                tcb.rcv_nxt = contiguous_end(&tcb, &chunks, tcb.rcv_nxt);
                splice(&mut tcb, &mut chunks);
            }
            let mut out = vec![0; 4_000];
            assert_eq!(receive_buffer::peek(&tcb, &chunks, &mut out), 4_000, "seed {seed}");
            assert_eq!(out, stream, "seed {seed}");
            assert_eq!((tcb.ooo_head, tcb.ooo_tail, tcb.ooo_chunks), (NIL, NIL, 0));
            receive_buffer::consume(&mut tcb, &mut chunks, 4_000);
            assert_eq!(chunks.free(), chunks.capacity(), "seed {seed}");
        }
    }

    #[test]
    fn single_octets_with_gaps_take_a_bounded_number_of_chunks() {
        let (mut tcb, mut chunks) = fixture(2_000);
        let stored =
            (0..1_000).filter(|at| store(&mut tcb, &mut chunks, 2_000, BASE + 1 + 2 * at, &[7]));
        assert_eq!(stored.count(), 2 * 2_000_usize.div_ceil(56) + 4);
        assert!(chunks.free() > 900);
    }
}
