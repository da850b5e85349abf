//! The receive buffer of a connection: a chain of chunks with octets received in order that the
//! application has not consumed. Every chunk begins with a header saying what is in it, so that
//! out-of-order chunks join the chain without copying.

use superpage::{NIL, record};
use zerocopy::{FromBytes, IntoBytes};

use crate::chunks::{Chunks, Use};
use crate::seq::SeqNum;
use crate::tcb::Tcb;

record! {
    /// What a chunk of received data holds.
    #[derive(PartialEq, Eq)]
    pub(crate) struct Header {
        /// Sequence number of the first octet. Only kept for out-of-order data.
        pub(crate) seq: SeqNum,
        /// Where the octets begin, after the header.
        pub(crate) start: u16,
        /// How many there are.
        pub(crate) len: u16,
    }
}

/// Bytes of [`Header`].
pub(crate) const HEADER_BYTES: usize = size_of::<Header>();

impl Header {
    /// After the last octet.
    pub(crate) fn end(&self) -> SeqNum {
        self.seq + u32::from(self.len)
    }

    /// Bytes of the chunk used, without the header.
    fn used(&self) -> usize {
        usize::from(self.start) + usize::from(self.len)
    }
}

pub(crate) fn header(chunks: &Chunks, chunk: u32) -> Header {
    Header::read_from_prefix(chunks.bytes(chunk)).expect("a chunk is longer than its header").0
}

pub(crate) fn set_header(chunks: &mut Chunks, chunk: u32, header: Header) {
    chunks.bytes_mut(chunk)[..HEADER_BYTES].copy_from_slice(header.as_bytes());
}

/// The octets of a chunk.
fn octets(chunks: &Chunks, chunk: u32) -> &[u8] {
    let header = header(chunks, chunk);
    &chunks.bytes(chunk)[HEADER_BYTES + usize::from(header.start)..HEADER_BYTES + header.used()]
}

/// Appends as many of `bytes` as fit in what is free of the last chunk.
fn fill_tail(tcb: &mut Tcb, chunks: &mut Chunks, bytes: &[u8]) -> usize {
    if tcb.rcv_tail == NIL {
        return 0;
    }
    let header = header(chunks, tcb.rcv_tail);
    let room = &mut chunks.bytes_mut(tcb.rcv_tail)[HEADER_BYTES + header.used()..];
    let count = room.len().min(bytes.len());
    room[..count].copy_from_slice(&bytes[..count]);
    set_header(chunks, tcb.rcv_tail, Header { len: header.len + count as u16, ..header });
    tcb.rcv_len += count as u32;
    count
}

/// Links a chunk at the end.
fn push(tcb: &mut Tcb, chunks: &mut Chunks, chunk: u32) {
    chunks.set_next(chunk, NIL);
    match tcb.rcv_tail {
        NIL => tcb.rcv_head = chunk,
        tail => chunks.set_next(tail, chunk),
    }
    tcb.rcv_tail = chunk;
}

/// Keeps `bytes`, for which chunks were promised.
pub(crate) fn append_promised(tcb: &mut Tcb, chunks: &mut Chunks, bytes: &[u8]) {
    let mut kept = fill_tail(tcb, chunks, bytes);
    while kept < bytes.len() {
        let chunk = chunks.alloc_promised();
        set_header(chunks, chunk, Header { seq: SeqNum(0), start: 0, len: 0 });
        push(tcb, chunks, chunk);
        kept += fill_tail(tcb, chunks, &bytes[kept..]);
    }
}

/// Takes over a chunk of data that came out of order. Small ones are copied to the last chunk, so
/// that two neighbours always hold more than one chunk's worth.
pub(crate) fn append_chunk(tcb: &mut Tcb, chunks: &mut Chunks, chunk: u32) {
    chunks.put_in_order();
    let joining = header(chunks, chunk);
    let fits = tcb.rcv_tail != NIL && {
        let used = header(chunks, tcb.rcv_tail).used();
        used + usize::from(joining.len) <= chunks.receive_capacity()
    };
    if !fits {
        push(tcb, chunks, chunk);
        tcb.rcv_len += u32::from(joining.len);
        return;
    }
    // Both chunks are borrowed from the same pool: the octets go through the stack.
    let mut piece = [0; PIECE_BYTES];
    let mut at = 0;
    while at < usize::from(joining.len) {
        let source = &octets(chunks, chunk)[at..];
        let count = source.len().min(PIECE_BYTES);
        piece[..count].copy_from_slice(&source[..count]);
        fill_tail(tcb, chunks, &piece[..count]);
        at += count;
    }
    chunks.release(chunk, Use::InOrder);
}

/// Copies octets from the front to `into` without consuming them; returns how many.
pub(crate) fn peek(tcb: &Tcb, chunks: &Chunks, into: &mut [u8]) -> usize {
    let mut copied = 0;
    let mut chunk = tcb.rcv_head;
    while chunk != NIL && copied < into.len() {
        let source = octets(chunks, chunk);
        let count = source.len().min(into.len() - copied);
        into[copied..copied + count].copy_from_slice(&source[..count]);
        copied += count;
        chunk = chunks.next(chunk);
    }
    copied
}

/// Drops up to `octets` from the front.
pub(crate) fn consume(tcb: &mut Tcb, chunks: &mut Chunks, octets: usize) {
    let mut rest = octets.min(tcb.rcv_len as usize);
    tcb.rcv_len -= rest as u32;
    while tcb.rcv_head != NIL {
        let first = header(chunks, tcb.rcv_head);
        if usize::from(first.len) > rest {
            let rest = rest as u16;
            let shorter = Header { start: first.start + rest, len: first.len - rest, ..first };
            set_header(chunks, tcb.rcv_head, shorter);
            return;
        }
        rest -= usize::from(first.len);
        let next = chunks.next(tcb.rcv_head);
        chunks.release(tcb.rcv_head, Use::InOrder);
        tcb.rcv_head = next;
    }
    tcb.rcv_tail = NIL;
}

/// Bytes copied at a time between two chunks.
const PIECE_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use superpage::{Placement, Record};

    use super::*;
    use crate::tcb::State;

    #[test]
    fn octets_leave_in_the_order_they_came() {
        let seed = 9;
        let mut random = fastrand::Rng::with_seed(seed);
        let mut tcb = Tcb::new(Record::zeroed(), State::Established);
        let mut chunks = Chunks::create(64, 200, Placement::default()).expect("pool");
        let mut model: Vec<u8> = Vec::new();
        for _ in 0..5_000 {
            let bytes: Vec<u8> = (0..random.usize(1..150)).map(|_| random.u8(..)).collect();
            let bytes = if model.len() > 4_000 { &[] } else { &bytes[..] };
            if random.bool() {
                assert!(chunks.promise(bytes.len()));
                append_promised(&mut tcb, &mut chunks, bytes);
                chunks.end_promise();
            } else if let Some(chunk) = chunks.alloc(Use::OutOfOrder) {
                let bytes = &bytes[..bytes.len().min(50)];
                set_header(
                    &mut chunks,
                    chunk,
                    Header { seq: SeqNum(1), start: 2, len: bytes.len() as u16 },
                );
                chunks.bytes_mut(chunk)[HEADER_BYTES + 2..][..bytes.len()].copy_from_slice(bytes);
                append_chunk(&mut tcb, &mut chunks, chunk);
                model.extend(bytes);
                continue;
            }
            model.extend(bytes);
            let mut out = vec![0; random.usize(..200)];
            let count = peek(&tcb, &chunks, &mut out);
            assert_eq!(out[..count], model[..out.len().min(model.len())], "seed {seed}");
            let consumed = random.usize(..=count);
            consume(&mut tcb, &mut chunks, consumed);
            model.drain(..consumed);
            assert_eq!(tcb.rcv_len as usize, model.len(), "seed {seed}");
        }
        consume(&mut tcb, &mut chunks, usize::MAX);
        assert_eq!((tcb.rcv_len, tcb.rcv_head, tcb.rcv_tail), (0, NIL, NIL));
        assert_eq!(chunks.free(), chunks.capacity());
    }
}
