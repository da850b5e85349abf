//! RFC 9293 §3.10.7.4: all states with a TCB but SYN-SENT, step by step.

use super::{ack, sequence, text};
use crate::context::{Context, Refusal, Then};
use crate::counters::Drop;
use crate::event::CloseReason;
use crate::segment::{Segment, control};
use crate::settings::milliseconds;
use crate::tcb::{State, Tcb};

/// Takes a segment for a connection. `octets` is its text.
pub(super) fn on_segment(
    tcb: &mut Tcb,
    context: &mut Context<'_>,
    segment: &Segment,
    octets: &[u8],
) -> Result<Then, Refusal> {
    // First: the sequence number.
    sequence::check(tcb, context, segment)?;
    tcb.heard_ms = milliseconds(context.now_ns);
    tcb.probes = 0;
    // Second: the RST bit.
    if segment.has(control::RST) {
        return on_reset(tcb, context, segment);
    }
    // Third: security. RFC 9293 appendix A.1 has it ignored.
    // Fourth: the SYN bit. RFC 5961 §4.2: a challenge, whatever the sequence number.
    if segment.has(control::SYN) {
        context.challenge(tcb);
        return Err(Drop::TcpSyn.into());
    }
    // Fifth: the ACK field.
    let then = ack::on_ack(tcb, context, segment)?;
    if !matches!(then, Then::GoOn) {
        // The last acknowledgment. A FIN cannot come with it: in CLOSING and LAST-ACK it was here.
        return Ok(then);
    }
    // Sixth: the URG bit. RFC 6093 §6: urgent data is delivered in line, and nobody is told.
    // Seventh and eighth: text and FIN.
    text::on_text(tcb, context, segment, octets)
}

/// RFC 5961 §3.2: a reset exactly at the next octet is believed, one elsewhere in the window is
/// questioned.
fn on_reset(tcb: &mut Tcb, context: &mut Context<'_>, segment: &Segment) -> Result<Then, Refusal> {
    if segment.seq != tcb.rcv_nxt {
        context.challenge(tcb);
        return Err(Drop::TcpReset.into());
    }
    context.counters.tcp_reset_received += 1;
    let reason =
        if tcb.state() == State::SynReceived { CloseReason::Refused } else { CloseReason::Reset };
    Ok(Then::End { reason, reset: false })
}
