//! The send buffer of a connection: a chain of full chunks with the octets from SND.UNA on.

use superpage::NIL;

use crate::chunks::{Chunks, Use};
use crate::flight::Flight;
use crate::seq::SeqNum;
use crate::tcb::Tcb;

/// Copies as much of `bytes` to the end as `limit` octets in the buffer and the pool allow.
/// Returns how much that was.
pub(crate) fn append(tcb: &mut Tcb, chunks: &mut Chunks, limit: u32, bytes: &[u8]) -> usize {
    let room = limit.saturating_sub(tcb.snd_len) as usize;
    let wanted = &bytes[..bytes.len().min(room)];
    let mut taken = 0;
    while taken < wanted.len() {
        let at = (usize::from(tcb.snd_start) + tcb.snd_len as usize) % chunks.chunk_bytes();
        if at == 0 || tcb.snd_head == NIL {
            let Some(chunk) = chunks.alloc(Use::Sending) else { break };
            chunks.set_next(chunk, NIL);
            match tcb.snd_tail {
                NIL => tcb.snd_head = chunk,
                tail => chunks.set_next(tail, chunk),
            }
            tcb.snd_tail = chunk;
        }
        let room = &mut chunks.bytes_mut(tcb.snd_tail)[at..];
        let count = room.len().min(wanted.len() - taken);
        room[..count].copy_from_slice(&wanted[taken..taken + count]);
        tcb.snd_len += count as u32;
        taken += count;
    }
    taken
}

/// Drops the first `octets`, which the peer has acknowledged. The caller moves SND.UNA.
pub(crate) fn release(tcb: &mut Tcb, chunks: &mut Chunks, octets: u32) {
    tcb.snd_len -= octets;
    if tcb.snd_len == 0 {
        chunks.release_chain(tcb.snd_head, Use::Sending);
        (tcb.snd_head, tcb.snd_tail, tcb.snd_start) = (NIL, NIL, 0);
        return;
    }
    let mut start = usize::from(tcb.snd_start) + octets as usize;
    while start >= chunks.chunk_bytes() {
        let next = chunks.next(tcb.snd_head);
        chunks.release(tcb.snd_head, Use::Sending);
        tcb.snd_head = next;
        start -= chunks.chunk_bytes();
    }
    tcb.snd_start = start as u16;
}

/// Copies the octets from `seq` on, which must be in the buffer, to the whole of `out`. The
/// flight's cursor remembers where it was, so that going on costs no walk along the chain.
pub(crate) fn read(tcb: &Tcb, chunks: &Chunks, flight: &mut Flight, seq: SeqNum, out: &mut [u8]) {
    let head_seq = tcb.snd_una - u32::from(tcb.snd_start);
    let usable = flight.cursor_chunk != NIL
        && flight.cursor_seq.at_or_after(head_seq)
        && flight.cursor_seq.at_or_before(seq);
    if !usable {
        (flight.cursor_chunk, flight.cursor_seq) = (tcb.snd_head, head_seq);
    }
    let mut copied = 0;
    while copied < out.len() {
        let mut at = (seq + copied as u32).since(flight.cursor_seq) as usize;
        while at >= chunks.chunk_bytes() {
            flight.cursor_chunk = chunks.next(flight.cursor_chunk);
            flight.cursor_seq = flight.cursor_seq + chunks.chunk_bytes() as u32;
            at -= chunks.chunk_bytes();
        }
        let source = &chunks.bytes(flight.cursor_chunk)[at..];
        let count = source.len().min(out.len() - copied);
        out[copied..copied + count].copy_from_slice(&source[..count]);
        copied += count;
    }
}

#[cfg(test)]
mod tests {
    use superpage::{Placement, Record};

    use super::*;
    use crate::tcb::State;

    fn fixture(capacity: u32) -> (Tcb, Chunks, Flight) {
        let mut tcb = Tcb::new(Record::zeroed(), State::Established);
        tcb.snd_una = SeqNum(u32::MAX - 50);
        let chunks = Chunks::create(64, capacity, Placement::default()).expect("pool");
        let mut flight: Flight = Record::zeroed();
        flight.cursor_chunk = NIL;
        (tcb, chunks, flight)
    }

    #[test]
    fn reads_give_what_was_appended_through_random_releases() {
        let seed = 3;
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut tcb, mut chunks, mut flight) = fixture(40);
        let mut stream: Vec<u8> = Vec::new();
        let mut released = 0;
        for _ in 0..5_000 {
            let bytes: Vec<u8> = (0..random.usize(..300)).map(|_| random.u8(..)).collect();
            let taken = append(&mut tcb, &mut chunks, 2_000, &bytes);
            stream.extend(&bytes[..taken]);
            assert_eq!(stream.len() - released, tcb.snd_len as usize, "seed {seed}");
            if tcb.snd_len > 0 {
                let from = random.u32(..tcb.snd_len);
                let mut out = vec![0; random.usize(1..=(tcb.snd_len - from) as usize)];
                read(&tcb, &chunks, &mut flight, tcb.snd_una + from, &mut out);
                let at = released + from as usize;
                assert_eq!(out, &stream[at..at + out.len()], "seed {seed}");
            }
            let octets = random.u32(..=tcb.snd_len);
            release(&mut tcb, &mut chunks, octets);
            tcb.snd_una = tcb.snd_una + octets;
            released += octets as usize;
        }
        let rest = tcb.snd_len;
        release(&mut tcb, &mut chunks, rest);
        assert_eq!(chunks.free(), chunks.capacity());
    }

    #[test]
    fn buffer_stops_at_its_limit_and_at_the_end_of_the_pool() {
        let (mut tcb, mut chunks, _) = fixture(2);
        assert_eq!(append(&mut tcb, &mut chunks, 100, &[1; 300]), 100);
        assert_eq!(append(&mut tcb, &mut chunks, 1_000, &[1; 300]), 28);
        assert_eq!(append(&mut tcb, &mut chunks, 1_000, &[1; 300]), 0);
    }
}
