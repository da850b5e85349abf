//! RFC 9293 §3.10.7.4 for SYN-RECEIVED after a passive open, where there is no TCB yet.

use super::sequence::is_acceptable;
use crate::answers::reset_for;
use crate::counters::Drop;
use crate::options::{Options, Timestamp};
use crate::segment::{Header, Segment, control};
use crate::settings::Settings;
use crate::syn_table::{NO_SHIFT, SynEntry};

/// What a passive open does with a segment. The caller carries it out.
#[derive(Clone, Copy, Debug)]
pub(super) enum OnSynReceived {
    /// It is dropped, perhaps with a reset.
    Refuse(Drop, Option<Header>),
    /// It is dropped, and the peer is told what would be right.
    Challenge(Drop, Header),
    /// The peer has not seen our SYN-ACK: it is sent again.
    Resend,
    /// The peer gives up: back to LISTEN.
    Forget,
    /// The handshake is done, and the segment is looked at again by the connection.
    Establish,
}

pub(super) fn on_syn_received(
    entry: &SynEntry,
    segment: &Segment,
    settings: &Settings,
    now_stamp: u32,
) -> OnSynReceived {
    let rcv_nxt = entry.irs + 1;
    let is_bare_syn = segment.has(control::SYN) && !segment.has(control::ACK | control::RST);
    if is_bare_syn && segment.seq == entry.irs {
        return OnSynReceived::Resend;
    }
    if is_stamped_before(entry, segment) && !segment.has(control::RST) {
        let answer = acknowledge(entry, settings, now_stamp);
        return OnSynReceived::Challenge(Drop::TcpPaws, answer);
    }
    // First step: the window.
    if !is_acceptable(rcv_nxt, syn_window(settings), segment.seq, segment.len()) {
        return if segment.has(control::RST) {
            OnSynReceived::Refuse(Drop::TcpWindow, None)
        } else {
            OnSynReceived::Challenge(Drop::TcpWindow, acknowledge(entry, settings, now_stamp))
        };
    }
    // Second step, with RFC 5961 §3.2: only a reset at the next octet is believed.
    if segment.has(control::RST) {
        return if segment.seq == rcv_nxt {
            OnSynReceived::Forget
        } else {
            OnSynReceived::Challenge(Drop::TcpReset, acknowledge(entry, settings, now_stamp))
        };
    }
    // Fourth step, with RFC 5961 §4.2.
    if segment.has(control::SYN) {
        let answer = acknowledge(entry, settings, now_stamp);
        return OnSynReceived::Challenge(Drop::TcpSyn, answer);
    }
    // Fifth step.
    if !segment.has(control::ACK) {
        return OnSynReceived::Refuse(Drop::TcpAckMissing, None);
    }
    if segment.ack != entry.iss + 1 {
        return OnSynReceived::Refuse(Drop::TcpAck, reset_for(segment));
    }
    OnSynReceived::Establish
}

/// RFC 7323 §5.3, R1: what is older than the SYN is of an earlier connection.
fn is_stamped_before(entry: &SynEntry, segment: &Segment) -> bool {
    let stamp = segment.options.timestamp.filter(|_| entry.timestamps != 0);
    stamp.is_some_and(|stamp| stamp.value.wrapping_sub(entry.ts_recent).cast_signed() < 0)
}

/// The SYN-ACK of a passive open.
pub(crate) fn syn_ack(entry: &SynEntry, settings: &Settings, now_stamp: u32) -> Header {
    Header {
        seq: entry.iss,
        // RFC 3168 §6.1.1: an ECN-setup SYN-ACK has ECE alone.
        control: control::SYN | control::ACK | if entry.ecn != 0 { control::ECE } else { 0 },
        window: syn_window(settings) as u16,
        options: Options {
            mss: Some(settings.mss(&entry.key)),
            // RFC 7323 §2.2 and §3.2: only what the SYN had.
            window_shift: (entry.shift != NO_SHIFT).then_some(settings.window_shift),
            timestamp: timestamp(entry, now_stamp),
            sack_permitted: entry.sack_permitted != 0,
            ..Options::default()
        },
        ..acknowledge(entry, settings, now_stamp)
    }
}

/// What a SYN-ACK can offer: its window field is never scaled (RFC 7323 §2.2). But those that
/// follow are, and must be able to say the same.
pub(crate) fn syn_window(settings: &Settings) -> u32 {
    let window = settings.limits.receive_buffer_bytes.min(u32::from(u16::MAX));
    window >> settings.window_shift << settings.window_shift
}

fn acknowledge(entry: &SynEntry, settings: &Settings, now_stamp: u32) -> Header {
    let shift = if entry.shift == NO_SHIFT { 0 } else { settings.window_shift };
    Header {
        key: entry.key,
        seq: entry.iss + 1,
        ack: entry.irs + 1,
        control: control::ACK,
        window: (syn_window(settings) >> shift) as u16,
        options: Options { timestamp: timestamp(entry, now_stamp), ..Options::default() },
        traffic_class: 0,
    }
}

fn timestamp(entry: &SynEntry, now_stamp: u32) -> Option<Timestamp> {
    (entry.timestamps != 0).then_some(Timestamp { value: now_stamp, echo: entry.ts_recent })
}
