//! What a connection sends next: pure decisions (RFC 9293 §3.8.6, RFC 5681 §3).

use crate::flight::Flight;
use crate::seq::SeqNum;
use crate::tcb::Tcb;

/// A decision about the next segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// There is nothing to send.
    Nothing,
    /// This.
    Send(Piece),
    /// There is, but the congestion window is full.
    CongestionLimited,
    /// There is, but the peer's window has no room for it, or not enough to be worth it.
    WindowLimited,
}

/// A part of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) seq: SeqNum,
    pub(super) octets: u32,
    pub(super) fin: bool,
    /// It is sent although the window is closed.
    pub(super) is_probe: bool,
}

impl Piece {
    /// After the last octet, the FIN counted.
    pub(super) fn end(&self) -> SeqNum {
        self.seq + self.octets + u32::from(self.fin)
    }
}

pub(super) fn plan(tcb: &Tcb, flight: &Flight) -> Plan {
    if flight.probe_window != 0 {
        // RFC 9293 §3.8.6.2.1, (4): after a while a sliver is better than nothing. §3.8.6.1: and
        // against a closed window one octet is sent.
        let sliver = tcb.snd_wnd.min(tcb.mss.into());
        return Plan::Send(piece(tcb, tcb.snd_una, sliver.max(1), sliver == 0));
    }
    if flight.retransmit_first != 0 {
        // What was sent before, and no more: the peer's window may end there.
        let sent = tcb.snd_nxt.since(tcb.snd_una).min(tcb.mss.into());
        return Plan::Send(piece(tcb, tcb.snd_una, sent, false));
    }
    let next = flight.send_next;
    let end = tcb.snd_end();
    let has_fin = tcb.state().fin_pending() && next.at_or_before(end);
    let available = if next.before(end) { end.since(next) } else { 0 };
    if available == 0 && !has_fin {
        return Plan::Nothing;
    }
    let in_flight = next.since(tcb.snd_una);
    let window = tcb.snd_wnd.saturating_sub(in_flight);
    let congestion = flight.congestion.window(tcb.mss).saturating_sub(in_flight);
    let mss = u32::from(tcb.mss);
    let octets = available.min(mss).min(window).min(congestion);
    if octets < available.min(mss) {
        // Not all that is there, and not a full segment: one of the windows is in the way.
        if congestion < window {
            return Plan::CongestionLimited;
        }
        // RFC 9293 §3.8.6.2.1, (3): half of the largest window the peer ever had is worth it.
        if octets == 0 || octets < tcb.snd_wnd_max / 2 {
            return Plan::WindowLimited;
        }
    }
    if available == 0 && window == 0 {
        return Plan::WindowLimited;
    }
    // The FIN takes an octet of the peer's window as well.
    let mut piece = piece(tcb, next, octets, false);
    piece.fin &= window > octets;
    Plan::Send(piece)
}

/// Up to `octets` from `seq` on, and the FIN if they are the last.
fn piece(tcb: &Tcb, seq: SeqNum, octets: u32, is_probe: bool) -> Piece {
    let octets = octets.min(tcb.snd_end().since(seq));
    let fin = tcb.state().fin_pending() && seq + octets == tcb.snd_end();
    Piece { seq, octets, fin: fin && (!is_probe || octets == 0), is_probe }
}

#[cfg(test)]
mod tests {
    use superpage::Record;

    use super::*;
    use crate::congestion::Congestion;
    use crate::tcb::State;

    const UNA: SeqNum = SeqNum(u32::MAX - 100);

    fn fixture(queued: u32, window: u32) -> (Tcb, Flight) {
        let mut tcb = Tcb::new(Record::zeroed(), State::Established);
        (tcb.snd_una, tcb.snd_nxt, tcb.snd_len) = (UNA, UNA, queued);
        (tcb.snd_wnd, tcb.snd_wnd_max, tcb.mss) = (window, 10_000, 1_000);
        let mut flight = Flight::zeroed();
        flight.send_next = UNA;
        flight.congestion = Congestion::new(1_000, u32::MAX, UNA);
        (tcb, flight)
    }

    fn data(seq: SeqNum, octets: u32, fin: bool) -> Plan {
        Plan::Send(Piece { seq, octets, fin, is_probe: false })
    }

    #[test]
    fn full_segments_leave_then_the_rest_without_waiting() {
        let (tcb, mut flight) = fixture(1_500, 10_000);
        assert_eq!(plan(&tcb, &flight), data(UNA, 1_000, false));
        flight.send_next = UNA + 1_000;
        assert_eq!(plan(&tcb, &flight), data(UNA + 1_000, 500, false));
        flight.send_next = UNA + 1_500;
        assert_eq!(plan(&tcb, &flight), Plan::Nothing);
    }

    #[test]
    fn slivers_of_a_window_are_not_used() {
        for (window, expected) in
            [(0, Plan::WindowLimited), (400, Plan::WindowLimited), (1_000, data(UNA, 1_000, false))]
        {
            let (tcb, flight) = fixture(5_000, window);
            assert_eq!(plan(&tcb, &flight), expected, "window {window}");
        }
        let (mut tcb, flight) = fixture(5_000, 400);
        tcb.snd_wnd_max = 800;
        assert_eq!(plan(&tcb, &flight), data(UNA, 400, false), "half of a small peer's window");
        let (tcb, flight) = fixture(300, 400);
        assert_eq!(plan(&tcb, &flight), data(UNA, 300, false), "all that is there");
    }

    #[test]
    fn congestion_window_holds_back_what_does_not_fit_whole() {
        let (tcb, mut flight) = fixture(50_000, 60_000);
        flight.send_next = UNA + 9_500;
        assert_eq!(plan(&tcb, &flight), Plan::CongestionLimited);
        flight.send_next = UNA + 9_000;
        assert_eq!(plan(&tcb, &flight), data(UNA + 9_000, 1_000, false));
    }

    #[test]
    fn fin_follows_the_last_octet_if_the_window_has_room_for_it() {
        let (mut tcb, mut flight) = fixture(300, 10_000);
        tcb.state = State::FinWait1 as u8;
        assert_eq!(plan(&tcb, &flight), data(UNA, 300, true));
        tcb.snd_wnd = 300;
        assert_eq!(plan(&tcb, &flight), data(UNA, 300, false));
        flight.send_next = UNA + 300;
        assert_eq!(plan(&tcb, &flight), Plan::WindowLimited);
        tcb.snd_wnd = 301;
        assert_eq!(plan(&tcb, &flight), data(UNA + 300, 0, true));
        flight.send_next = UNA + 301;
        assert_eq!(plan(&tcb, &flight), Plan::Nothing);
    }

    #[test]
    fn probe_carries_one_octet_or_the_fin() {
        let (mut tcb, mut flight) = fixture(1, 0);
        flight.probe_window = 1;
        tcb.state = State::LastAck as u8;
        let probe = |octets, fin| Plan::Send(Piece { seq: UNA, octets, fin, is_probe: true });
        assert_eq!(plan(&tcb, &flight), probe(1, false));
        tcb.snd_len = 0;
        assert_eq!(plan(&tcb, &flight), probe(0, true));
    }

    #[test]
    fn sliver_is_used_when_nothing_better_came_for_long() {
        let (tcb, mut flight) = fixture(5_000, 400);
        flight.probe_window = 1;
        assert_eq!(plan(&tcb, &flight), data(UNA, 400, false));
    }

    #[test]
    fn lost_segment_is_sent_again_with_its_fin() {
        let (mut tcb, mut flight) = fixture(300, 10_000);
        tcb.state = State::LastAck as u8;
        (tcb.snd_nxt, flight.send_next) = (UNA + 301, UNA + 301);
        flight.retransmit_first = 1;
        assert_eq!(plan(&tcb, &flight), data(UNA, 300, true));
    }
}
