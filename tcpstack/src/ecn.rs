//! Explicit congestion notification (RFC 3168): routers mark packets instead of dropping them.
//!
//! Segments with new data say that they may be marked. A mark is echoed with every segment until the
//! peer tells that it has slowed down; an echo slows us down as a loss would, once a window, and
//! nothing is sent again.

use crate::context::Context;
use crate::recovery;
use crate::segment::{Segment, control};
use crate::tcb::{Tcb, flag};

/// Whether a SYN asks for ECN. RFC 3168 §6.1.1: one that could have been marked itself comes from
/// somebody who does not know what he asks for. The bit beside ECE and CWR is another RFC's
/// (9768), which wants it ignored by who does not know it.
pub(crate) fn is_setup_syn(segment: &Segment) -> bool {
    segment.control & ECHO_BITS == ECHO_BITS && segment.ecn == 0
}

/// Whether a SYN-ACK grants ECN. Both bits mean that somebody reflects what he does not know.
pub(crate) fn is_setup_syn_ack(segment: &Segment) -> bool {
    segment.control & ECHO_BITS == control::ECE
}

/// What asks for ECN in a SYN, and grants it in a SYN-ACK.
pub(crate) fn setup_bits(is_answer: bool) -> u8 {
    if is_answer { control::ECE } else { ECHO_BITS }
}

/// RFC 3168 §6.1.3, the receiver: takes note of what a segment with acceptable data says.
pub(crate) fn on_data(tcb: &mut Tcb, context: &mut Context<'_>, segment: &Segment) {
    if !tcb.has(flag::ECN) {
        return;
    }
    if segment.has(control::CWR) {
        tcb.clear(flag::ECE_DUE);
    }
    if segment.ecn == CONGESTION_EXPERIENCED {
        tcb.set(flag::ECE_DUE | flag::ACK_NOW);
        context.counters.tcp_congestion_experienced += 1;
    }
}

/// RFC 3168 §6.1.2, the sender: takes note of the peer's echo in an acceptable acknowledgment,
/// before what it acknowledges is released.
pub(crate) fn on_echo(tcb: &mut Tcb, context: &mut Context<'_>, segment: &Segment) {
    if !tcb.has(flag::ECN) || !segment.has(control::ECE) || segment.ack.before(tcb.snd_una) {
        return;
    }
    if tcb.has_unacked() && recovery::on_congestion_experienced(tcb, context, segment.ack) {
        tcb.set(flag::CWR_DUE);
        context.counters.tcp_ecn_reduction += 1;
    }
}

/// The traffic class of a segment with text, and the control bit it has beside the others. RFC 3168
/// §6.1.5 and §6.1.6: neither is for what is sent again or probes a window.
pub(crate) fn mark_data(tcb: &Tcb, is_new: bool) -> (u8, u8) {
    if !is_new || !tcb.has(flag::ECN) {
        return (0, 0);
    }
    let told = if tcb.has(flag::CWR_DUE) { control::CWR } else { 0 };
    (ECN_CAPABLE, told)
}

/// What a segment of a synchronized connection says beside its acknowledgment.
pub(crate) fn echo(tcb: &Tcb) -> u8 {
    if tcb.has(flag::ECE_DUE) { control::ECE } else { 0 }
}

/// ECN's part of a traffic class.
pub(crate) const MASK: u8 = 3;
const ECHO_BITS: u8 = control::ECE | control::CWR;
/// ECT(0), RFC 3168 §5.
const ECN_CAPABLE: u8 = 2;
/// CE.
const CONGESTION_EXPERIENCED: u8 = 3;
