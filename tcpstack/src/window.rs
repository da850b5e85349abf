//! The receive window: what is advertised, and when the peer must hear that it opened.

use crate::settings::Settings;
use crate::tcb::Tcb;

/// Moves the right edge as far as is worth telling, and gives the window field to send. The edge
/// never moves back (RFC 9293 §3.8.6, SHLD-14), and it moves in steps, so that the peer is not
/// tempted to send slivers (RFC 9293 §3.8.6.2.2).
pub(crate) fn advertise(tcb: &mut Tcb, settings: &Settings) -> u16 {
    let unit = 1 << tcb.rcv_shift;
    let free = free(tcb, settings);
    let window = if gain(tcb, settings) >= step(tcb, settings) {
        free / unit * unit
    } else {
        // RFC 7323 §2.4: what the field cannot say of the window must not be taken back. So it is
        // rounded up, as long as that does not overdraw the buffer by much: a peer that sends
        // single octets would never see the window close.
        let rounded = tcb.rcv_wnd().next_multiple_of(unit);
        let buffer_bytes = settings.limits.receive_buffer_bytes;
        let most = (buffer_bytes + buffer_bytes / OVERDRAFT_PARTS).saturating_sub(tcb.rcv_len);
        if rounded <= most { rounded } else { tcb.rcv_wnd() }
    };
    tcb.rcv_adv = tcb.rcv_adv.latest(tcb.rcv_nxt + window);
    field(tcb)
}

/// The window field for the right edge as it is.
pub(crate) fn field(tcb: &Tcb) -> u16 {
    u16::try_from(tcb.rcv_wnd() >> tcb.rcv_shift).unwrap_or(u16::MAX)
}

/// Whether the application consumed so much that the peer, short of window, must hear of it.
pub(crate) fn is_update_due(tcb: &Tcb, settings: &Settings) -> bool {
    let is_short = tcb.rcv_wnd() < settings.limits.receive_buffer_bytes / 2;
    is_short && gain(tcb, settings) >= step(tcb, settings)
}

/// Octets by which the right edge could move.
fn gain(tcb: &Tcb, settings: &Settings) -> u32 {
    free(tcb, settings).saturating_sub(tcb.rcv_wnd())
}

/// Octets the buffer still takes.
fn free(tcb: &Tcb, settings: &Settings) -> u32 {
    settings.limits.receive_buffer_bytes.saturating_sub(tcb.rcv_len)
}

/// RFC 9293 §3.8.6.2.2: half of the buffer or a full segment.
fn step(tcb: &Tcb, settings: &Settings) -> u32 {
    (settings.limits.receive_buffer_bytes / 2).min(u32::from(settings.mss(&tcb.key)))
}

/// The edge may lie beyond the buffer by a quarter of it: full segments need a tenth of that with buffers
/// of 4 MiB.
const OVERDRAFT_PARTS: u32 = 4;

#[cfg(test)]
mod tests {
    use superpage::Record;

    use super::*;
    use crate::settings::tests::settings_with_buffer;
    use crate::tcb::State;

    #[test]
    fn right_edge_never_moves_back_and_closes_for_who_sends_single_octets() {
        for buffer_bytes in [60_000, 262_144, 1 << 22] {
            let settings = settings_with_buffer(buffer_bytes);
            for octets in [1, 100, 1_448] {
                let mut tcb = Tcb::new(Record::zeroed(), State::Established);
                tcb.rcv_shift = settings.window_shift;
                let mut edge = 0;
                let mut steps = 0;
                while tcb.rcv_wnd() > 0 || steps == 0 {
                    let field = advertise(&mut tcb, &settings);
                    let told = tcb.rcv_nxt.0 + (u32::from(field) << tcb.rcv_shift);
                    let most = buffer_bytes + buffer_bytes / OVERDRAFT_PARTS;
                    assert!(told <= most + (1 << tcb.rcv_shift), "{buffer_bytes} {octets}");
                    let is_back = told < edge && octets == 1_448;
                    assert!(!is_back, "{buffer_bytes} {octets}: from {edge} to {told}");
                    edge = told;
                    let taken = octets.min(tcb.rcv_wnd());
                    tcb.rcv_nxt = tcb.rcv_nxt + taken;
                    tcb.rcv_len += taken;
                    steps += 1;
                }
            }
        }
    }
}
