//! RFC 9293 §3.10.7.4, seventh and eighth step: the segment's text and its FIN.

use superpage::NIL;

use crate::chunks::Chunks;
use crate::context::{Context, Refusal, Then};
use crate::counters::Drop;
use crate::event::{CloseReason, Event};
use crate::reassembly;
use crate::sack::{self, Block};
use crate::segment::{Header, Segment, control};
use crate::seq::SeqNum;
use crate::settings::NS_PER_MS;
use crate::tcb::{State, Tcb, flag};
use crate::{answers, ecn};

/// Takes text and FIN of an acceptable segment. `octets` is the segment's text.
pub(super) fn on_text(
    tcb: &mut Tcb,
    context: &mut Context<'_>,
    segment: &Segment,
    octets: &[u8],
) -> Result<Then, Refusal> {
    let has_fin = segment.has(control::FIN);
    if octets.is_empty() && !has_fin {
        return Ok(Then::GoOn);
    }
    if !tcb.state().may_receive() {
        // The peer's FIN was received: whatever follows it should not be there.
        tcb.set(flag::ACK_NOW);
        return Err(Drop::TcpClosed.into());
    }
    let seq = segment.seq + u32::from(segment.has(control::SYN));
    let fin_seq = seq + octets.len() as u32;
    let text = cut_to_window(tcb, context.chunks, seq, octets);
    if tcb.has(flag::APP_CLOSED) && !text.octets.is_empty() {
        // RFC 9293 §3.6.1 (MUST-12, SHLD-3): nobody will read this, and the peer shall know.
        let then = Then::End { reason: CloseReason::Aborted, reset: true };
        return Err(Refusal { reason: Drop::TcpClosed, then });
    }
    if !text.octets.is_empty() {
        ecn::on_data(tcb, context, segment);
    }
    let answer = acknowledge_pair(tcb, context, &text);
    let stored = store(tcb, context, segment, &text);
    if has_fin && fin_seq.at_or_before(tcb.rcv_adv) && fin_seq.at_or_after(tcb.rcv_nxt) {
        tcb.fin_seq = fin_seq;
        tcb.set(flag::FIN_AHEAD);
    }
    if tcb.has(flag::FIN_AHEAD) && tcb.fin_seq == tcb.rcv_nxt {
        return Ok(on_fin(tcb, context));
    }
    if octets.is_empty() {
        // RFC 5681 §4.2: a FIN out of order is acknowledged at once, as text is.
        tcb.set(flag::ACK_NOW);
    }
    stored?;
    Ok(answer.map_or(Then::GoOn, Then::Answer))
}

/// RFC 9293 §3.8.6.3, SHLD-18: at least every second full-sized segment is acknowledged. Output runs
/// once a turn and so would acknowledge a burst with one segment; but the peer counts
/// acknowledgments, and paces what it sends by them.
fn acknowledge_pair(tcb: &mut Tcb, context: &Context<'_>, text: &Text<'_>) -> Option<Header> {
    let is_full = text.octets.len() > usize::from(context.settings.mss(&tcb.key)) / 2;
    let has_gap = tcb.ooo_head != NIL || tcb.arrivals != NIL || text.seq != tcb.rcv_nxt;
    if !is_full || has_gap || tcb.unacked_segments < UNACKED_SEGMENTS_MAX {
        return None;
    }
    let seq = answers::acceptable_seq(tcb);
    let header = answers::header_of(tcb, context.settings, context.now_ns, seq, control::ACK);
    answers::acknowledged(tcb);
    Some(header)
}

/// The part of a segment's text that is new and in the window.
struct Text<'a> {
    seq: SeqNum,
    /// Octets of the segment before it.
    skipped: u16,
    octets: &'a [u8],
}

fn cut_to_window<'a>(
    tcb: &mut Tcb,
    chunks: &mut Chunks,
    seq: SeqNum,
    octets: &'a [u8],
) -> Text<'a> {
    let mut text = Text { seq, skipped: 0, octets };
    if seq.before(tcb.rcv_nxt) {
        let old = octets.len().min(tcb.rcv_nxt.since(seq) as usize);
        if tcb.has(flag::SACK) && old > 0 {
            sack::note_duplicate(tcb, chunks, Block { start: seq, end: seq + old as u32 });
        }
        text = Text { seq: tcb.rcv_nxt, skipped: old as u16, octets: &octets[old..] };
        tcb.set(flag::ACK_NOW);
    }
    let room = tcb.rcv_adv.since(text.seq) as usize;
    if text.octets.len() > room {
        text.octets = &text.octets[..room];
        tcb.set(flag::ACK_NOW);
    }
    text
}

/// Hands octets to the application, or keeps them until what precedes them has come.
fn store(
    tcb: &mut Tcb,
    context: &mut Context<'_>,
    segment: &Segment,
    text: &Text<'_>,
) -> Result<(), Drop> {
    if text.octets.is_empty() {
        return Ok(());
    }
    if text.seq != tcb.rcv_nxt {
        // RFC 5681 §4.2: out of order is acknowledged at once, each one.
        context.counters.tcp_received_out_of_order += 1;
        tcb.dup_acks_due = tcb.dup_acks_due.saturating_add(1);
        reassemble(tcb, context, text)?;
        if tcb.has(flag::SACK) {
            let end = text.seq + text.octets.len() as u32;
            sack::note(tcb, context.chunks, Block { start: text.seq, end });
        }
        return Ok(());
    }
    let (before, had_gap) = (tcb.rcv_nxt, tcb.ooo_head != NIL);
    let stored = if reassembly::is_splice_due(tcb, context.chunks) {
        // Earlier octets wait to be spliced: these go behind them.
        reassemble(tcb, context, text)
    } else {
        hand_over_new(tcb, context, segment, text)
    };
    if had_gap {
        // RFC 5681 §4.2: what fills a gap is acknowledged at once.
        tcb.set(flag::ACK_NOW);
        let end = reassembly::contiguous_end(tcb, context.chunks, tcb.rcv_nxt);
        if end != tcb.rcv_nxt {
            tcb.clear(flag::HOLE_SEEN);
        }
        tcb.rcv_nxt = end;
    }
    sack::advance(tcb, context.chunks);
    let received = tcb.rcv_nxt.since(before);
    if received == 0 {
        tcb.set(flag::ACK_NOW);
        return stored;
    }
    context.counters.tcp_received_stream += u64::from(received);
    tcb.dup_acks_due = 0;
    schedule_ack(tcb, context);
    stored
}

fn reassemble(tcb: &mut Tcb, context: &mut Context<'_>, text: &Text<'_>) -> Result<(), Drop> {
    let buffer_bytes = context.settings.limits.receive_buffer_bytes;
    let is_whole = reassembly::store(tcb, context.chunks, buffer_bytes, text.seq, text.octets);
    if is_whole { Ok(()) } else { Err(Drop::TcpChunks) }
}

/// Hands over what comes before the first octet stored, and stores the rest: of octets that came
/// more than once the first are the ones, or who watches the connection could be shown others than
/// the application.
fn hand_over_new(
    tcb: &mut Tcb,
    context: &mut Context<'_>,
    segment: &Segment,
    text: &Text<'_>,
) -> Result<(), Drop> {
    let gap = reassembly::gap(tcb, context.chunks).min(text.octets.len());
    let (front, rest) = text.octets.split_at(gap);
    hand_over(tcb, context, segment, &Text { octets: front, ..*text })?;
    if rest.is_empty() {
        return Ok(());
    }
    let skipped = text.skipped + gap as u16;
    reassemble(tcb, context, &Text { seq: text.seq + gap as u32, skipped, octets: rest })
}

/// Offers octets to the application. What is acknowledged must never be discarded: so first the
/// room for what it may leave, then RCV.NXT.
fn hand_over(
    tcb: &mut Tcb,
    context: &mut Context<'_>,
    segment: &Segment,
    text: &Text<'_>,
) -> Result<(), Drop> {
    if !context.chunks.promise(text.octets.len()) {
        return Err(Drop::TcpChunks);
    }
    tcb.rcv_nxt = tcb.rcv_nxt + text.octets.len() as u32;
    tcb.keeps_due += 1;
    context.events.push(Event::Data {
        conn: context.conn,
        frame: segment.frame,
        start: segment.start + text.skipped,
        len: text.octets.len() as u16,
    });
    Ok(())
}

/// RFC 9293 §3.8.6.3: delayed, but never beyond the second segment.
fn schedule_ack(tcb: &mut Tcb, context: &Context<'_>) {
    tcb.unacked_segments = tcb.unacked_segments.saturating_add(1);
    if tcb.unacked_segments >= UNACKED_SEGMENTS_MAX {
        tcb.set(flag::ACK_NOW);
    } else if tcb.ack_due_ns == 0 {
        let delay_ms = u64::from(context.settings.timers.delayed_ack_ms);
        tcb.ack_due_ns = context.now_ns + delay_ms * NS_PER_MS;
    }
}

/// RFC 9293 §3.10.7.4, eighth step: RCV.NXT has reached the FIN.
fn on_fin(tcb: &mut Tcb, context: &mut Context<'_>) -> Then {
    tcb.clear(flag::FIN_AHEAD);
    tcb.rcv_nxt = tcb.rcv_nxt + 1;
    tcb.rcv_adv = tcb.rcv_adv.latest(tcb.rcv_nxt);
    tcb.dup_acks_due = 0;
    tcb.set(flag::ACK_NOW);
    match tcb.state() {
        State::FinWait2 => return Then::TimeWait,
        State::FinWait1 if tcb.fin_sent() => context.set_state(tcb, State::Closing),
        // Our FIN waits behind data: as if the peer had been first.
        State::FinWait1 => context.set_state(tcb, State::LastAck),
        _ => context.set_state(tcb, State::CloseWait),
    }
    tcb.set(flag::FIN_UNTOLD);
    context.tell_in_order(tcb);
    Then::GoOn
}

/// RFC 9293 §3.8.6.3, SHLD-18.
const UNACKED_SEGMENTS_MAX: u8 = 2;
