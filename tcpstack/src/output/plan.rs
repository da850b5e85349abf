//! What a connection sends next: pure decisions (RFC 9293 §3.8.6, RFC 6675 §4 NextSeg, RFC 8985
//! §7.3).

use crate::flight::Probe;
use crate::recovery;
use crate::scoreboard::Scoreboard;
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
    pub(super) reason: Reason,
}

/// Why it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It is the next, or it was lost and both windows have room for it.
    Due,
    /// To probe the peer's window, which is too small.
    Window,
    /// To probe whether the last segments were lost.
    Tail,
}

impl Piece {
    /// After the last octet, the FIN counted.
    pub(super) fn end(&self) -> SeqNum {
        self.seq + self.octets + u32::from(self.fin)
    }
}

pub(super) fn plan(tcb: &Tcb, board: &Scoreboard<'_>) -> Plan {
    if board.flight.probe() == Probe::Window {
        // RFC 9293 §3.8.6.2.1, (4): after a while a sliver is better than nothing. §3.8.6.1: and
        // against a closed window one octet is sent.
        let sliver = tcb.snd_wnd.min(tcb.mss.into());
        let reason = if sliver == 0 { Reason::Window } else { Reason::Due };
        return Plan::Send(piece(tcb, tcb.snd_una, sliver.max(1), reason));
    }
    let is_tail_due = board.flight.probe() == Probe::TailDue;
    if let Some(piece) = tail_probe(tcb).filter(|_| is_tail_due) {
        return Plan::Send(piece);
    }
    // RFC 6675 §4, NextSeg: what is lost comes first. What follows it without a gap may go with it.
    let lost = board.first_lost();
    let next = lost.map_or(tcb.snd_nxt, |lost| lost.start);
    let limit = match lost {
        Some(lost) if lost.end != tcb.snd_nxt => lost.end,
        _ => tcb.snd_end() + 1,
    };
    let (end, limit) = (tcb.snd_end(), limit.earliest(tcb.snd_end()));
    let has_fin = tcb.state().fin_pending() && next.at_or_before(end);
    let available = if next.before(limit) { limit.since(next) } else { 0 };
    if available == 0 && !has_fin {
        return Plan::Nothing;
    }
    let mss = u32::from(tcb.mss);
    let window = tcb.snd_wnd.saturating_sub(next.since(tcb.snd_una));
    let pipe = recovery::pipe(tcb, board);
    // With nothing on its way no acknowledgment would ever open the window, which PRR and a smaller
    // path may leave below one segment.
    let least = if pipe == 0 { mss } else { 0 };
    let congestion = board.flight.congestion.cwnd().max(least).saturating_sub(pipe);
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
    let mut piece = piece(tcb, next, octets, Reason::Due);
    piece.fin &= window > octets;
    Plan::Send(piece)
}

/// RFC 8985 §7.3: new data if the peer's window has room for it, else the last segment again.
fn tail_probe(tcb: &Tcb) -> Option<Piece> {
    let mss = u32::from(tcb.mss);
    if tcb.has_unsent() {
        let window = tcb.snd_wnd.saturating_sub(tcb.snd_nxt.since(tcb.snd_una));
        let piece = piece(tcb, tcb.snd_nxt, mss, Reason::Tail);
        if piece.end().since(tcb.snd_nxt) <= window {
            return Some(piece);
        }
    }
    let sent = tcb.snd_nxt.since(tcb.snd_una) - u32::from(tcb.fin_sent());
    let seq = tcb.snd_una + sent.saturating_sub(mss);
    tcb.has_unacked().then(|| {
        let mut piece = piece(tcb, seq, sent.min(mss), Reason::Tail);
        piece.fin &= tcb.fin_sent();
        piece
    })
}

/// Up to `octets` from `seq` on, and the FIN if they are the last.
fn piece(tcb: &Tcb, seq: SeqNum, octets: u32, reason: Reason) -> Piece {
    let octets = octets.min(tcb.snd_end().since(seq));
    let fin = tcb.state().fin_pending() && seq + octets == tcb.snd_end();
    Piece { seq, octets, fin: fin && (reason != Reason::Window || octets == 0), reason }
}

#[cfg(test)]
mod tests {
    use superpage::{Placement, Record};

    use super::*;
    use crate::flight::Flight;
    use crate::sack::Block;
    use crate::scoreboard::Ranges;
    use crate::tcb::State;

    const UNA: SeqNum = SeqNum(u32::MAX - 100);

    struct Fixture {
        tcb: Tcb,
        flight: Flight,
        ranges: Ranges,
    }

    impl Fixture {
        fn new(queued: u32, window: u32) -> Self {
            let mut tcb = Tcb::new(Record::zeroed(), State::Established);
            (tcb.snd_una, tcb.snd_nxt, tcb.snd_len) = (UNA, UNA, queued);
            (tcb.snd_wnd, tcb.snd_wnd_max, tcb.mss) = (window, 10_000, 1_000);
            let flight = Flight::new(0, 0, &tcb);
            Self { tcb, flight, ranges: Ranges::create(1, 20, Placement::default()).expect("pool") }
        }

        fn board(&mut self) -> Scoreboard<'_> {
            Scoreboard { flight: &mut self.flight, ranges: &mut self.ranges, nxt: self.tcb.snd_nxt }
        }

        fn sent(mut self, octets: u32) -> Self {
            let block = Block { start: self.tcb.snd_nxt, end: self.tcb.snd_nxt + octets };
            self.board().sent(block, 7);
            self.tcb.snd_nxt = block.end;
            self
        }

        fn plan(&mut self) -> Plan {
            let tcb = self.tcb;
            plan(&tcb, &self.board())
        }
    }

    fn data(seq: SeqNum, octets: u32, fin: bool) -> Plan {
        Plan::Send(Piece { seq, octets, fin, reason: Reason::Due })
    }

    #[test]
    fn full_segments_leave_then_the_rest_without_waiting() {
        let mut fixture = Fixture::new(1_500, 10_000);
        assert_eq!(fixture.plan(), data(UNA, 1_000, false));
        let mut fixture = fixture.sent(1_000);
        assert_eq!(fixture.plan(), data(UNA + 1_000, 500, false));
        assert_eq!(fixture.sent(500).plan(), Plan::Nothing);
    }

    #[test]
    fn slivers_of_a_window_are_not_used() {
        for (window, expected) in
            [(0, Plan::WindowLimited), (400, Plan::WindowLimited), (1_000, data(UNA, 1_000, false))]
        {
            assert_eq!(Fixture::new(5_000, window).plan(), expected, "window {window}");
        }
        let mut small = Fixture::new(5_000, 400);
        small.tcb.snd_wnd_max = 800;
        assert_eq!(small.plan(), data(UNA, 400, false), "half of a small peer's window");
        assert_eq!(Fixture::new(300, 400).plan(), data(UNA, 300, false), "all that is there");
    }

    #[test]
    fn congestion_window_holds_back_what_does_not_fit_whole() {
        let mut fixture = Fixture::new(50_000, 60_000).sent(9_500);
        assert_eq!(fixture.plan(), Plan::CongestionLimited);
        let mut fixture = Fixture::new(50_000, 60_000).sent(9_000);
        assert_eq!(fixture.plan(), data(UNA + 9_000, 1_000, false));
    }

    #[test]
    fn one_segment_leaves_when_nothing_is_on_its_way() {
        let mut fixture = Fixture::new(50_000, 60_000).sent(1_500);
        fixture.flight.congestion = crate::congestion::Congestion::new(80, u32::MAX, UNA);
        assert_eq!(fixture.flight.congestion.cwnd(), 800);
        assert_eq!(fixture.plan(), Plan::CongestionLimited);
        fixture.board().lose_all();
        assert_eq!(fixture.plan(), data(UNA, 1_000, false));
    }

    #[test]
    fn fin_follows_the_last_octet_if_the_window_has_room_for_it() {
        let mut fixture = Fixture::new(300, 10_000);
        fixture.tcb.state = State::FinWait1 as u8;
        assert_eq!(fixture.plan(), data(UNA, 300, true));
        fixture.tcb.snd_wnd = 300;
        assert_eq!(fixture.plan(), data(UNA, 300, false));
        let mut fixture = fixture.sent(300);
        assert_eq!(fixture.plan(), Plan::WindowLimited);
        fixture.tcb.snd_wnd = 301;
        assert_eq!(fixture.plan(), data(UNA + 300, 0, true));
        assert_eq!(fixture.sent(1).plan(), Plan::Nothing);
    }

    #[test]
    fn window_probe_carries_one_octet_or_the_fin() {
        let mut fixture = Fixture::new(1, 0);
        fixture.flight.set_probe(Probe::Window);
        fixture.tcb.state = State::LastAck as u8;
        let probe =
            |octets, fin| Plan::Send(Piece { seq: UNA, octets, fin, reason: Reason::Window });
        assert_eq!(fixture.plan(), probe(1, false));
        fixture.tcb.snd_len = 0;
        assert_eq!(fixture.plan(), probe(0, true));
    }

    #[test]
    fn sliver_is_used_when_nothing_better_came_for_long() {
        let mut fixture = Fixture::new(5_000, 400);
        fixture.flight.set_probe(Probe::Window);
        assert_eq!(fixture.plan(), data(UNA, 400, false));
    }

    #[test]
    fn what_is_lost_comes_before_what_is_new_and_takes_its_fin_along() {
        let mut fixture = Fixture::new(5_300, 10_000).sent(5_000);
        fixture.board().lose_first(UNA, 1_000);
        assert_eq!(fixture.plan(), data(UNA, 1_000, false));
        fixture.board().lose_all();
        assert_eq!(fixture.plan(), data(UNA, 1_000, false));
        let mut fixture = Fixture::new(300, 10_000);
        fixture.tcb.state = State::LastAck as u8;
        let mut fixture = fixture.sent(301);
        fixture.board().lose_all();
        assert_eq!(fixture.plan(), data(UNA, 300, true));
    }

    #[test]
    fn tail_is_probed_with_new_data_or_the_last_segment() {
        let tail = |seq, octets, fin| Plan::Send(Piece { seq, octets, fin, reason: Reason::Tail });
        let mut fixture = Fixture::new(20_000, 20_000).sent(10_000);
        fixture.flight.set_probe(Probe::TailDue);
        assert_eq!(fixture.plan(), tail(UNA + 10_000, 1_000, false), "whatever the window");
        fixture.tcb.snd_wnd = 10_500;
        assert_eq!(fixture.plan(), tail(UNA + 9_000, 1_000, false), "the peer has no room");
        let mut fixture = Fixture::new(1_200, 20_000);
        fixture.tcb.state = State::FinWait1 as u8;
        let mut fixture = fixture.sent(1_201);
        fixture.flight.set_probe(Probe::TailDue);
        assert_eq!(fixture.plan(), tail(UNA + 200, 1_000, true));
    }
}
