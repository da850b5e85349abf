//! The receive window: what is advertised, and when the peer must hear that it opened.

use crate::settings::Settings;
use crate::tcb::Tcb;

/// Moves the right edge as far as is worth telling, and gives the window field to send. The edge
/// never moves back (RFC 9293 §3.8.6, SHLD-14), and it moves in steps, so that the peer is not
/// tempted to send slivers (RFC 9293 §3.8.6.2.2).
pub(crate) fn advertise(tcb: &mut Tcb, settings: &Settings) -> u16 {
    if gain(tcb, settings) >= step(tcb, settings) {
        tcb.rcv_adv = tcb.rcv_nxt + free(tcb, settings);
    }
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
