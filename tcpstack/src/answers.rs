//! Segments that wait by themselves: resets, acknowledgements for entries without a TCB, and those of
//! a connection that later ones must not swallow. And what the segments of a connection have in
//! common.

use crate::options::{Options, Timestamp};
use crate::queue::Queue;
use crate::segment::{Header, Segment, control};
use crate::seq::SeqNum;
use crate::settings::Settings;
use crate::tcb::{Tcb, flag};
use crate::{ecn, window};

/// Segments waiting to be sent. One for which there is no room is brought here again by the peer's
/// timer.
pub(crate) type Answers = Queue<Header, ANSWERS_MAX>;

/// The reset that answers a segment for which there is no connection, RFC 9293 §3.10.7.1.
pub(crate) fn reset_for(segment: &Segment) -> Option<Header> {
    if segment.has(control::RST) {
        return None;
    }
    let (seq, ack, control) = if segment.has(control::ACK) {
        (segment.ack, SeqNum(0), control::RST)
    } else {
        (SeqNum(0), segment.end(), control::RST | control::ACK)
    };
    Some(Header {
        key: segment.key,
        seq,
        ack,
        control,
        window: 0,
        options: Options::default(),
        traffic_class: 0,
    })
}

/// A header of a connection's segment, with the acknowledgement and the window of now.
pub(crate) fn header_of(
    tcb: &mut Tcb,
    settings: &Settings,
    now_ns: u64,
    seq: SeqNum,
    control: u8,
) -> Header {
    let timestamp = Timestamp { value: settings.timestamp(now_ns), echo: tcb.ts_recent };
    Header {
        key: tcb.key,
        seq,
        ack: tcb.rcv_nxt,
        control: control | ecn::echo(tcb),
        window: window::advertise(tcb, settings),
        options: Options {
            timestamp: tcb.has(flag::TIMESTAMPS).then_some(timestamp),
            ..Options::default()
        },
        traffic_class: 0,
    }
}

/// The sequence number of a segment without text. An octet that probes a closed window, and a FIN
/// beyond it, are past what the peer can accept: an acknowledgment numbered after them would be
/// refused together with the window it announces. But so would one numbered before what the peer has
/// taken, when the window was larger than we know.
pub(crate) fn acceptable_seq(tcb: &Tcb) -> SeqNum {
    let window_end = tcb.snd_una + tcb.snd_wnd;
    let is_known = !tcb.has(flag::PEER_AHEAD);
    if is_known && window_end.before(tcb.snd_nxt) { window_end } else { tcb.snd_nxt }
}

/// An acknowledgement of all that was received leaves.
pub(crate) fn acknowledged(tcb: &mut Tcb) {
    tcb.last_ack_sent = tcb.rcv_nxt;
    tcb.ack_due_ns = 0;
    tcb.unacked_segments = 0;
    tcb.clear(flag::ACK_NOW);
}

/// Answers of four bursts.
const ANSWERS_MAX: usize = 4 * crate::BURST_FRAMES_MAX;
