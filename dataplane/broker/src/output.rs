//! Answers waiting to be sent on a link: acknowledgements, SUBACKs, CONNACK, DISCONNECT.
//!
//! They are bytes in chained chunks. Messages never are: they stay in the message store until they
//! are written into the transport's own buffer.

use superpage::{ChunkPool, NIL, record};

/// Bytes of one chunk: 30 acknowledgements, or a CONNACK with room to spare.
pub const OUTPUT_CHUNK_BYTES: u32 = 120;

/// Answers of one link beyond which its input is not taken until they are sent. One packet may go
/// over it: a SUBACK is as long as its SUBSCRIBE has filters.
pub(crate) const OUTPUT_BYTES_HIGH: u32 = 4_096;

record! {
    /// The answers of one link.
    pub(crate) struct OutputQueue {
        head: u32,
        tail: u32,
        bytes: u32,
        /// Bytes of the first chunk already sent.
        start: u16,
        /// Bytes of the last chunk in use.
        end: u16,
    }
}

impl OutputQueue {
    pub(crate) const EMPTY: OutputQueue =
        OutputQueue { head: NIL, tail: NIL, bytes: 0, start: 0, end: 0 };

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Bytes waiting.
    pub(crate) fn len(&self) -> u32 {
        self.bytes
    }

    /// Whether `len` more bytes have room.
    pub(crate) fn has_room(&self, chunks: &ChunkPool, len: usize) -> bool {
        let chunk = chunks.chunk_bytes() as usize;
        let open = if self.tail == NIL { 0 } else { chunk - usize::from(self.end) };
        len.saturating_sub(open).div_ceil(chunk) <= chunks.free_count() as usize
    }

    /// Adds bytes; all of them or, when chunks run out, none.
    pub(crate) fn push(&mut self, chunks: &mut ChunkPool, mut bytes: &[u8]) -> bool {
        if !self.has_room(chunks, bytes.len()) {
            return false;
        }
        self.bytes += bytes.len() as u32;
        while !bytes.is_empty() {
            if self.tail == NIL || u32::from(self.end) == chunks.chunk_bytes() {
                let Some(chunk) = chunks.alloc() else { unreachable!("room was checked") };
                chunks.set_next(chunk, NIL);
                if self.tail == NIL {
                    self.head = chunk;
                } else {
                    chunks.set_next(self.tail, chunk);
                }
                self.tail = chunk;
                self.end = 0;
            }
            let room = &mut chunks.bytes_mut(self.tail)[usize::from(self.end)..];
            let len = room.len().min(bytes.len());
            room[..len].copy_from_slice(&bytes[..len]);
            self.end += len as u16;
            bytes = &bytes[len..];
        }
        true
    }

    /// Moves bytes to the front of `out`; returns how many.
    pub(crate) fn pop_into(&mut self, chunks: &mut ChunkPool, out: &mut [u8]) -> usize {
        let mut written = 0;
        while self.bytes > 0 && written < out.len() {
            let end = if self.head == self.tail {
                usize::from(self.end)
            } else {
                chunks.chunk_bytes() as usize
            };
            let held = &chunks.bytes(self.head)[usize::from(self.start)..end];
            let len = held.len().min(out.len() - written);
            out[written..written + len].copy_from_slice(&held[..len]);
            written += len;
            self.start += len as u16;
            self.bytes -= len as u32;
            if usize::from(self.start) == end {
                let next = chunks.next(self.head);
                chunks.free(self.head);
                self.head = next;
                self.start = 0;
            }
        }
        if self.bytes == 0 {
            self.clear(chunks);
        }
        written
    }

    /// Throws everything away.
    pub(crate) fn clear(&mut self, chunks: &mut ChunkPool) {
        if self.head != NIL {
            chunks.free_chain(self.head);
        }
        *self = OutputQueue::EMPTY;
    }
}
