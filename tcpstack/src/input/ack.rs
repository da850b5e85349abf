//! RFC 9293 §3.10.7.4, fifth step: the acknowledgment, and what it says about window, round-trip
//! time and loss.

use crate::answers::reset_for;
use crate::chunks::Use;
use crate::context::{Context, Refusal, Then};
use crate::counters::Drop;
use crate::ecn;
use crate::event::{CloseReason, Event};
use crate::flight::{Flight, Probe, Timer};
use crate::segment::{Segment, control};
use crate::settings::{NS_PER_MS, milliseconds};
use crate::tcb::{State, Tcb, flag};
use crate::{recovery, send_buffer};

/// Takes the acknowledgment of an acceptable segment.
pub(super) fn on_ack(
    tcb: &mut Tcb,
    context: &mut Context<'_>,
    segment: &Segment,
) -> Result<Then, Refusal> {
    if !segment.has(control::ACK) {
        return Err(Drop::TcpAckMissing.into());
    }
    if tcb.state() == State::SynReceived {
        finish_simultaneous_open(tcb, context, segment)?;
    }
    // RFC 5961 §5.2: MAX.SND.WND before SND.UNA up to SND.NXT.
    let oldest = tcb.snd_una - tcb.snd_wnd_max;
    if segment.ack.after(tcb.snd_nxt) || segment.ack.before(oldest) {
        context.challenge(tcb);
        return Err(Drop::TcpAck.into());
    }
    ecn::on_echo(tcb, context, segment);
    let then = if segment.ack.after(tcb.snd_una) {
        on_new_ack(tcb, context, segment)
    } else {
        let is_duplicate = is_duplicate(tcb, segment);
        if is_duplicate || !segment.options.sack.is_empty() {
            recovery::on_ack(tcb, context, segment, 0, is_duplicate);
        }
        Then::GoOn
    };
    update_window(tcb, context, segment);
    Ok(then)
}

/// RFC 9293 §3.10.7.4, fifth step, SYN-RECEIVED.
fn finish_simultaneous_open(
    tcb: &mut Tcb,
    context: &mut Context<'_>,
    segment: &Segment,
) -> Result<(), Refusal> {
    if segment.ack != tcb.snd_una + 1 {
        let then = reset_for(segment).map_or(Then::GoOn, Then::Answer);
        return Err(Refusal { reason: Drop::TcpAck, then });
    }
    on_syn_acked(tcb, context, segment);
    context.establish(tcb);
    (tcb.snd_wl1, tcb.snd_wl2) = (segment.seq - 1, segment.ack);
    context.counters.tcp_connected += 1;
    context.events.push(Event::Connected { conn: context.conn });
    Ok(())
}

/// Our SYN was acknowledged: SND.UNA is the first octet from now on.
pub(super) fn on_syn_acked(tcb: &mut Tcb, context: &mut Context<'_>, segment: &Segment) {
    let had_no_estimate = tcb.srtt_us == 0;
    let backoff = context.flight(tcb).map_or(0, |flight| flight.backoff);
    tcb.snd_una = tcb.snd_una + 1;
    tcb.snd_nxt = tcb.snd_una;
    recovery::on_ack(tcb, context, segment, 1, false);
    if backoff > 0 && had_no_estimate {
        // RFC 6298 §5, (5.7): after a SYN that timed out, data begins with an RTO of 3 s.
        (tcb.srtt_us, tcb.rttvar_us) = (1_000_000, 500_000);
    }
    // What the SYNs agreed on decides about the window.
    let flight = Flight::new(milliseconds(context.now_ns), context.conn, tcb);
    if let Some(old) = context.flight(tcb) {
        (old.congestion, old.rack) = (flight.congestion, flight.rack);
    }
}

fn on_new_ack(tcb: &mut Tcb, context: &mut Context<'_>, segment: &Segment) -> Then {
    let acked = segment.ack.since(tcb.snd_una);
    let fin_acked = acked > tcb.snd_len;
    let octets = acked.min(tcb.snd_len);
    if octets >= tcb.mss.into() {
        tcb.set(flag::FULL_ACKED);
    }
    send_buffer::release(tcb, context.chunks, octets);
    tcb.snd_una = segment.ack;
    tcb.clear(flag::PROBED | flag::PEER_AHEAD);
    recovery::on_ack(tcb, context, segment, acked, false);
    if tcb.has_unsent() {
        tcb.set(flag::OUTPUT);
    }
    tell_writable(tcb, context);
    if fin_acked { on_fin_acked(tcb, context) } else { Then::GoOn }
}

/// RFC 5681 §2, "duplicate acknowledgment".
fn is_duplicate(tcb: &Tcb, segment: &Segment) -> bool {
    segment.ack == tcb.snd_una
        && tcb.has_unacked()
        && segment.len() == 0
        && u32::from(segment.window) << tcb.snd_shift == tcb.snd_wnd
}

/// RFC 9293 §3.10.7.4, fifth step, ESTABLISHED: SND.WND, WL1 and WL2.
fn update_window(tcb: &mut Tcb, context: &mut Context<'_>, segment: &Segment) {
    let (old, window) = (tcb.snd_wnd, u32::from(segment.window) << tcb.snd_shift);
    // Of two segments that acknowledge the same, the one whose window does not even cover what is
    // in flight is the older, overtaken on its way; unless the peer closes its window. A peer that
    // goes back to send again numbers its acknowledgments anew, so SEG.SEQ alone does not tell.
    let in_flight = tcb.snd_nxt.since(tcb.snd_una);
    let is_plausible = window >= old.min(in_flight) || window == 0;
    // What acknowledges more was sent later, even when it is numbered before what came since; and
    // the window counts from SND.UNA, so that keeping the old one would move its right edge.
    let is_newer =
        tcb.snd_wl2.before(segment.ack) || (is_plausible && tcb.snd_wl1.at_or_before(segment.seq));
    if is_newer && segment.ack.at_or_after(tcb.snd_una) {
        tcb.snd_wnd = window;
        tcb.snd_wnd_max = tcb.snd_wnd_max.max(tcb.snd_wnd);
        (tcb.snd_wl1, tcb.snd_wl2) = (segment.seq, segment.ack);
        tcb.set(flag::OUTPUT);
    }
    let (now_ms, has_grown) = (milliseconds(context.now_ns), tcb.snd_wnd > old);
    let is_given_up = tcb.has(flag::APP_CLOSED);
    let Some(flight) = context.flight(tcb).filter(|flight| flight.is_persisting()) else { return };
    // RFC 9293 §3.8.6.1, MUST-37: a peer that answers may keep its window closed as long as it
    // likes; but not for an application that has gone.
    if !is_given_up {
        flight.progress_ms = now_ms;
    }
    if has_grown {
        // Output looks again. Should it still not be enough, the timer begins anew.
        flight.arm(Timer::Retransmit, 0);
        flight.backoff = 0;
        flight.set_probe(Probe::None);
        recovery::send_again(tcb, context);
    }
}

/// Our FIN was acknowledged.
fn on_fin_acked(tcb: &mut Tcb, context: &mut Context<'_>) -> Then {
    match tcb.state() {
        State::FinWait1 => {
            context.set_state(tcb, State::FinWait2);
            // Not in RFC 9293: a peer that never closes must not hold a TCB that nobody reads.
            let limit_ms = u64::from(context.settings.timers.fin_wait_2_ms);
            tcb.state_due_ns = context.now_ns + limit_ms * NS_PER_MS;
            Then::GoOn
        }
        State::Closing => Then::TimeWait,
        State::LastAck => Then::End { reason: CloseReason::Finished, reset: false },
        _ => Then::GoOn,
    }
}

/// There is room in the send buffer again.
fn tell_writable(tcb: &mut Tcb, context: &mut Context<'_>) {
    let half = context.settings.limits.send_buffer_bytes / 2;
    if tcb.has(flag::WANT_WRITABLE) && tcb.snd_len <= half && context.chunks.room(Use::Sending) > 0
    {
        tcb.clear(flag::WANT_WRITABLE);
        context.events.push(Event::Writable { conn: context.conn });
    }
}
