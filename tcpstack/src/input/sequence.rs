//! RFC 9293 §3.10.7.4, first step: is the segment in the window? With PAWS (RFC 7323 §5).

use crate::context::{Context, Refusal};
use crate::counters::Drop;
use crate::options::Timestamp;
use crate::sack::{self, Block};
use crate::segment::{Segment, control};
use crate::seq::SeqNum;
use crate::settings::{NS_PER_MS, milliseconds, ts_age};
use crate::tcb::{Tcb, flag};

/// Refuses what is old, outside the window, or lacks its timestamp.
pub(super) fn check(
    tcb: &mut Tcb,
    context: &mut Context<'_>,
    segment: &Segment,
) -> Result<(), Refusal> {
    // RFC 5961 §4.2: a SYN is questioned wherever it is. A peer that has lost its memory has neither
    // its old clock nor perhaps timestamps.
    if tcb.has(flag::TIMESTAMPS) && !segment.has(control::RST) && !segment.has(control::SYN) {
        check_timestamp(tcb, context, segment)?;
    }
    if !is_acceptable(tcb.rcv_nxt, tcb.rcv_wnd(), segment.seq, segment.len()) {
        if segment.has(control::RST) {
            return Err(Drop::TcpReset.into());
        }
        note_duplicate(tcb, context, segment);
        let window_end = tcb.snd_una + tcb.snd_wnd;
        let is_ahead = segment.ack.after(window_end) && segment.ack.at_or_before(tcb.snd_nxt);
        if segment.has(control::ACK) && is_ahead {
            // Its acknowledgment does not count; but were ours to go on being refused as well, the two
            // ends would never agree again.
            tcb.set(flag::PEER_AHEAD);
        }
        // What occupies sequence space was sent again because an ACK got lost, or probes us: it is
        // always answered. An empty one is answered within limits: two ends that disagree must not
        // acknowledge each other forever.
        if segment.len() > 0 {
            tcb.set(flag::ACK_NOW);
        } else {
            context.challenge(tcb);
        }
        return Err(Drop::TcpWindow.into());
    }
    if segment.len() == 0 && segment.seq.before(tcb.rcv_nxt) && !segment.has(control::RST) {
        // Beside a closed window: that is how kernels probe, and they must be answered. Within
        // limits, or two ends with closed windows would answer each other for ever.
        context.challenge(tcb);
    }
    remember_timestamp(tcb, context, segment);
    Ok(())
}

/// The four cases of RFC 9293 §3.4, table 6. With a closed window a segment at the next octet is
/// taken for its acknowledgment; its text is cut off later. RFC 9293 §3.10.7.4 (MUST-66): so is an
/// empty one beside it, since the peer's probe may be counted by one end and not by the other, and two
/// ends with closed windows would never hear that they have opened.
///
/// Beyond the table an empty segment at the very end of the window is taken too. That is where a peer
/// that has filled the window numbers its acknowledgments: were they refused while a lost segment is
/// missing, we would send again what has arrived, and not hear its reset.
pub(super) fn is_acceptable(rcv_nxt: SeqNum, rcv_wnd: u32, seq: SeqNum, len: u32) -> bool {
    let in_window = |seq: SeqNum| seq.since(rcv_nxt) < rcv_wnd;
    let is_beside = rcv_wnd == 0 && len == 0 && (seq + 1 == rcv_nxt || seq == rcv_nxt + 1);
    let is_at_end = len == 0 && seq.since(rcv_nxt) == rcv_wnd;
    let ends_within = len > 0 && in_window(seq + (len - 1));
    seq == rcv_nxt || in_window(seq) || ends_within || is_beside || is_at_end
}

/// RFC 2883 §4: the peer learns which of its retransmissions were for nothing.
fn note_duplicate(tcb: &mut Tcb, context: &mut Context<'_>, segment: &Segment) {
    if segment.octets == 0 || segment.end().after(tcb.rcv_nxt) {
        return;
    }
    context.counters.tcp_received_duplicate += 1;
    // The peer is there, and has not heard us: it need not be asked.
    tcb.heard_ms = milliseconds(context.now_ns);
    tcb.probes = 0;
    if tcb.has(flag::SACK) {
        let end = segment.seq + u32::from(segment.octets);
        sack::note_duplicate(tcb, context.chunks, Block { start: segment.seq, end });
    }
}

/// RFC 7323 §5.3, R1, and §3.2.
fn check_timestamp(
    tcb: &mut Tcb,
    context: &mut Context<'_>,
    segment: &Segment,
) -> Result<(), Refusal> {
    let Some(timestamp) = segment.options.timestamp else {
        return Err(Drop::TcpTimestampMissing.into());
    };
    let is_old = (timestamp.value.wrapping_sub(tcb.ts_recent) as i32) < 0;
    // RFC 7323 §5.5: TS.Recent may be too old itself to judge by.
    let age = ts_age(context.now_ns).wrapping_sub(tcb.ts_recent_age);
    if is_old && age < TS_RECENT_TRUSTED && !is_overtaken_ack(tcb, context, segment, timestamp) {
        if segment.len() > 0 {
            // A copy that something sent again has overtaken, perhaps.
            note_duplicate(tcb, context, segment);
            tcb.set(flag::ACK_NOW);
        } else {
            context.challenge(tcb);
        }
        return Err(Drop::TcpPaws.into());
    }
    Ok(())
}

/// Whether the network has let later segments overtake this duplicate acknowledgment: it is empty, it
/// changes nothing but, perhaps, what the peer has out of order, and it is no older than a retransmission
/// could make it. RFC 7323 §5.3, R1 would drop it with the rest. But on paths that reorder one in ten
/// are such, and what they say of SACK is as true as ever.
fn is_overtaken_ack(
    tcb: &Tcb,
    context: &Context<'_>,
    segment: &Segment,
    timestamp: Timestamp,
) -> bool {
    let behind_ms = u64::from(tcb.ts_recent.wrapping_sub(timestamp.value));
    let repeats = segment.ack == tcb.snd_una
        && u32::from(segment.window) << tcb.snd_shift == tcb.snd_wnd
        && segment.has(control::ACK);
    // The peer's clock ticks a millisecond, as nearly all do, or more: then it is asked for less.
    segment.len() == 0
        && segment.seq == tcb.rcv_nxt
        && repeats
        && behind_ms * NS_PER_MS <= context.settings.rto_ns(tcb, 0)
}

/// RFC 7323 §4.3, (2): never an older one.
fn remember_timestamp(tcb: &mut Tcb, context: &Context<'_>, segment: &Segment) {
    let Some(timestamp) = segment.options.timestamp.filter(|_| tcb.has(flag::TIMESTAMPS)) else {
        return;
    };
    let is_later = (timestamp.value.wrapping_sub(tcb.ts_recent) as i32) >= 0;
    let age = ts_age(context.now_ns).wrapping_sub(tcb.ts_recent_age);
    let may_replace = is_later || age >= TS_RECENT_TRUSTED;
    if segment.seq.at_or_before(tcb.last_ack_sent) && may_replace {
        tcb.ts_recent = timestamp.value;
        tcb.ts_recent_age = ts_age(context.now_ns);
    }
}

/// RFC 7323 §5.5: 24 days.
const TS_RECENT_TRUSTED: u16 = ((24 * 24 * 3_600 * 1_000_u64) >> 16) as u16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acceptability_follows_the_table_of_rfc_9293() {
        let nxt = SeqNum(u32::MAX - 1);
        let cases = [
            // (window, offset of the segment from RCV.NXT, length, acceptable)
            (0, 0, 0, true),
            (0, 1, 0, true), // for its acknowledgment only
            (0, -1, 0, true),
            (0, 2, 0, false),
            (0, -2, 0, false),
            (0, 1, 1, false),
            (0, 0, 5, true), // for its acknowledgment only
            (0, -1, 1, false),
            (10, 0, 0, true),
            (10, 9, 0, true),
            (10, 10, 0, true), // beyond the table
            (10, 11, 0, false),
            (10, -1, 0, false),
            (10, -5, 5, false),
            (10, -5, 6, true),
            (10, 9, 100, true),
            (10, 10, 1, false),
            (10, -5, 100, false), // neither end is in the window
        ];
        for (window, offset, len, acceptable) in cases {
            let seq = SeqNum(nxt.0.wrapping_add_signed(offset));
            assert_eq!(is_acceptable(nxt, window, seq, len), acceptable, "{window} {offset} {len}");
        }
    }
}
