//! RFC 9293 §3.10.7.3: SYN-SENT.

use super::{ack, text};
use crate::answers::reset_for;
use crate::context::{Context, Refusal, Then};
use crate::counters::Drop;
use crate::ecn;
use crate::event::{CloseReason, Event};
use crate::recovery;
use crate::segment::{Segment, control};
use crate::settings::ts_age;
use crate::tcb::{State, Tcb, flag};

/// Takes a segment for an active open. `octets` is its text.
pub(super) fn on_segment(
    tcb: &mut Tcb,
    context: &mut Context<'_>,
    segment: &Segment,
    octets: &[u8],
) -> Result<Then, Refusal> {
    let acks_syn = segment.has(control::ACK)
        && segment.ack.after(tcb.snd_una)
        && segment.ack.at_or_before(tcb.snd_nxt);
    // First: an acknowledgment of anything but our SYN.
    if segment.has(control::ACK) && !acks_syn {
        let then = reset_for(segment).map_or(Then::GoOn, Then::Answer);
        return Err(Refusal { reason: Drop::TcpAck, then });
    }
    // Second: a reset counts only if it acknowledges our SYN (RFC 5961 §3.2 asks for no more).
    if segment.has(control::RST) {
        if !acks_syn {
            return Err(Drop::TcpReset.into());
        }
        context.counters.tcp_reset_received += 1;
        return Ok(Then::End { reason: CloseReason::Refused, reset: false });
    }
    // Fourth: the SYN. Fifth: nothing else opens a connection.
    if !segment.has(control::SYN) {
        return Err(Drop::TcpSyn.into());
    }
    tcb.rcv_nxt = segment.seq + 1;
    tcb.rcv_adv = tcb.rcv_nxt + super::syn_received::syn_window(context.settings);
    tcb.last_ack_sent = tcb.rcv_nxt;
    context.settings.negotiate(tcb, &segment.options);
    tcb.ts_recent_age = ts_age(context.now_ns);
    // The window field of a SYN is never scaled, RFC 7323 §2.2.
    tcb.snd_wnd = u32::from(segment.window);
    tcb.snd_wnd_max = tcb.snd_wnd;
    tcb.set(flag::ACK_NOW | flag::OUTPUT);
    // RFC 3168 §6.1.1: in force only if it was asked for, and granted or asked for by the peer.
    let has_ecn =
        if acks_syn { ecn::is_setup_syn_ack(segment) } else { ecn::is_setup_syn(segment) };
    if !has_ecn {
        tcb.clear(flag::ECN);
    } else if tcb.has(flag::ECN) {
        context.counters.tcp_ecn += 1;
    }
    if !acks_syn {
        // A simultaneous open: our SYN is sent again as a SYN-ACK. RFC 9293 §3.5, figure 7.
        context.set_state(tcb, State::SynReceived);
        tcb.clear(flag::ACK_NOW);
        recovery::send_again(tcb, context);
        return Ok(Then::GoOn);
    }
    (tcb.snd_wl1, tcb.snd_wl2) = (segment.seq, segment.ack);
    ack::on_syn_acked(tcb, context, segment);
    context.establish(tcb);
    context.counters.tcp_connected += 1;
    context.events.push(Event::Connected { conn: context.conn });
    text::on_text(tcb, context, segment, octets)
}
