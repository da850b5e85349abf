//! What the width of its path means for one connection.

use super::{BLACK_HOLE_TIMEOUTS, Doubt, Estimate, Paths, Reduction, next_guess};
use crate::context::Context;
use crate::counters::StackCounters;
use crate::options::TIMESTAMP_BYTES;
use crate::tcb::{State, Tcb, flag};
use crate::{ip, recovery, segment};

/// Bytes of a full packet beside its octets.
fn overhead(tcb: &Tcb) -> u16 {
    let options = if tcb.has(flag::TIMESTAMPS) { TIMESTAMP_BYTES } else { 0 };
    (ip::header_bytes(tcb.key.is_ipv6()) + segment::MIN_HEADER_BYTES + options) as u16
}

/// Bytes of a full packet.
pub(crate) fn full_packet_bytes(tcb: &Tcb) -> u16 {
    tcb.mss + overhead(tcb)
}

/// Gives a connection that is about to send the segment size of its path. `is_answered`: nothing it
/// sent has timed out since the peer was last heard. Returns whether segments have become larger.
pub(crate) fn fit(
    now_ns: u64,
    tcb: &mut Tcb,
    paths: &mut Paths,
    is_answered: bool,
    counters: &mut StackCounters,
) -> bool {
    if paths.len() == 0 {
        return false;
    }
    if is_answered && tcb.has(flag::NARROWED) {
        paths.forgive(&tcb.key.remote);
    }
    let (overhead, old) = (overhead(tcb), tcb.mss);
    match paths.estimate(now_ns, &tcb.key.remote) {
        Estimate::AtMost(mtu) if tcb.has(flag::NARROWED) => tcb.mss = mtu - overhead,
        Estimate::AtMost(mtu) if mtu < full_packet_bytes(tcb) => {
            paths.share(&tcb.key.remote, full_packet_bytes(tcb));
            tcb.set(flag::NARROWED);
            tcb.mss = mtu - overhead;
        }
        Estimate::Again(full_mtu) if tcb.has(flag::NARROWED) => {
            tcb.clear(flag::NARROWED);
            tcb.mss = full_mtu - overhead;
            counters.path_mtu_raised += 1;
        }
        Estimate::AtMost(_) | Estimate::Again(_) | Estimate::Unknown => {}
    }
    if tcb.mss != old {
        tcb.clear(flag::FULL_ACKED);
    }
    tcb.mss > old
}

/// The connection's packets do not pass beyond `mtu` bytes: its segments get smaller, and what is
/// under way is sent again at once. That is no sign of congestion (RFC 1191 §6.4).
pub(crate) fn narrow(tcb: &mut Tcb, context: &mut Context<'_>, mtu: u16, is_guess: bool) {
    let full_mtu = full_packet_bytes(tcb);
    if mtu >= full_mtu {
        return;
    }
    let (is_narrowed, has_passed) = (tcb.has(flag::NARROWED), tcb.has(flag::FULL_ACKED));
    let reduction = Reduction { mtu, full_mtu, is_narrowed, has_passed, is_guess };
    context.paths.reduce(context.now_ns, &tcb.key.remote, reduction);
    tcb.mss = mtu - overhead(tcb);
    tcb.set(flag::NARROWED | flag::OUTPUT);
    tcb.clear(flag::FULL_ACKED);
    recovery::send_again(tcb, context);
}

/// The retransmission timer has expired, not for the first time if `backoff` is more than 0.
/// Whether that was no sign of congestion: a report that was doubted has turned out to be true.
pub(crate) fn on_timeout(tcb: &mut Tcb, context: &mut Context<'_>, backoff: u8) -> bool {
    match context.paths.resolve(&tcb.key.remote, context.conn, tcb.snd_una) {
        Doubt::Confirmed(mtu) if mtu < full_packet_bytes(tcb) => {
            context.counters.path_mtu_reduced += 1;
            narrow(tcb, context, mtu, false);
            return true;
        }
        Doubt::Disproved => context.counters.path_mtu_disproved += 1,
        Doubt::Confirmed(_) | Doubt::None => {}
    }
    // The last segment of a stream need not be full to be too large for its path; but other reasons
    // for its loss are more likely, so that it takes longer to give them up.
    let sent = tcb.snd_nxt.since(tcb.snd_una).min(tcb.snd_len).min(tcb.mss.into()) as u16;
    let patience = if sent < tcb.mss { 2 * BLACK_HOLE_TIMEOUTS } else { BLACK_HOLE_TIMEOUTS };
    if tcb.state() < State::Established || backoff + 1 < patience {
        return false;
    }
    if let Some(mtu) = next_guess(!tcb.key.is_ipv6(), sent + overhead(tcb)) {
        context.counters.path_mtu_guessed += 1;
        narrow(tcb, context, mtu, true);
    }
    false
}
