//! What is taken back when chunks are short: from peers that hold them and do not move.
//!
//! Two things let a peer hold chunks for as long as it likes: a hole that it never fills, with data
//! behind it, and a window that it never opens. With chunks to spare both are its right. When one of
//! the two uses runs short, a hand goes round the connections, a few each time. Data behind a hole
//! that was there the last time as well is dropped, since nobody was promised that it stays (RFC
//! 2018 §8). A connection that has let many probes or retransmissions pass is reset.

use crate::ConnId;
use crate::chunks::{Chunks, Use};
use crate::context::{Context, Then};
use crate::event::CloseReason;
use crate::stack::Stack;
use crate::tcb::{State, Tcb, flag};
use crate::{reassembly, sack};

/// Where the hand is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reclaimer {
    next: ConnId,
    /// When the next round begins.
    round_ns: u64,
}

impl Stack {
    /// Moves the hand over up to `budget` connections if chunks are short.
    pub(crate) fn reclaim(&mut self, now_ns: u64, budget: usize) {
        if self.next_reclaim().is_none_or(|due_ns| due_ns > now_ns) {
            return;
        }
        for _ in 0..budget {
            let conn = self.reclaimer.next;
            if conn >= self.tcbs.capacity() {
                self.reclaimer = Reclaimer { next: 0, round_ns: now_ns + ROUND_NS };
                return;
            }
            self.reclaimer.next += 1;
            if let Some((tcb, mut context)) = self.connection(now_ns, conn) {
                let then = look_at(tcb, &mut context);
                if matches!(then, Then::End { .. }) {
                    self.carry_out(now_ns, conn, then);
                }
            }
        }
    }

    /// When the hand goes on; `None` while there are chunks enough.
    pub(crate) fn next_reclaim(&self) -> Option<u64> {
        let is_needed =
            is_short(&self.chunks, Use::OutOfOrder) || is_short(&self.chunks, Use::Sending);
        is_needed.then_some(self.reclaimer.round_ns)
    }
}

fn look_at(tcb: &mut Tcb, context: &mut Context<'_>) -> Then {
    if !has_hole(tcb, context.chunks) {
        tcb.clear(flag::HOLE_SEEN);
    } else if !tcb.has(flag::HOLE_SEEN) {
        tcb.set(flag::HOLE_SEEN);
    } else if is_short(context.chunks, Use::OutOfOrder) {
        reassembly::release(tcb, context.chunks);
        sack::release(tcb, context.chunks);
        context.counters.tcp_hole_reclaimed += 1;
    }
    let is_open = tcb.state() >= State::Established;
    let is_stalled = context.flight(tcb).is_some_and(|flight| flight.backoff >= STALLED_BACKOFF);
    if is_short(context.chunks, Use::Sending) && is_open && tcb.snd_len > 0 && is_stalled {
        context.counters.tcp_stalled += 1;
        return Then::End { reason: CloseReason::TimedOut, reset: true };
    }
    Then::GoOn
}

/// Whether all that is stored waits for something that has not come. What is acknowledged already
/// is never taken back.
fn has_hole(tcb: &Tcb, chunks: &Chunks) -> bool {
    tcb.ooo_chunks > 0 && !reassembly::is_splice_due(tcb, chunks)
}

fn is_short(chunks: &Chunks, purpose: Use) -> bool {
    chunks.room(purpose) < chunks.capacity() / SHORT_PARTS
}

/// Longer than it takes to send a lost segment again, twice.
const ROUND_NS: u64 = 5_000_000_000;
/// With the least time-out of 200 ms: 25 s without an octet acknowledged or a window opened.
const STALLED_BACKOFF: u8 = 7;
/// The part of all chunks that is left when they are short.
const SHORT_PARTS: u32 = 32;
