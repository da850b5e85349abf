use super::*;

const MSS: u16 = 1_000;
const UNA: SeqNum = SeqNum(5_000);

fn growth(acked: u32) -> Growth {
    Growth {
        control: CongestionControl::NewReno,
        mss: MSS.into(),
        acked,
        now_ms: 0,
        srtt_us: 50_000,
        sample_us: Some(50_000),
        ends_round: false,
    }
}

fn loss(control: CongestionControl, flight_size: u32) -> Loss {
    Loss { control, mss: MSS.into(), flight_size, nxt: UNA + flight_size }
}

fn limited(ssthresh: u32) -> Congestion {
    let mut congestion = Congestion::new(MSS, ssthresh, UNA);
    congestion.note_limit(true, 0, ssthresh);
    congestion
}

#[test]
fn initial_window_follows_rfc_6928() {
    for (mss, window) in [(536, 5_360), (1_460, 14_600), (2_000, 14_600), (8_960, 17_920)] {
        assert_eq!(initial_window(mss), window, "MSS {mss}");
    }
}

#[test]
fn slow_start_counts_octets_and_avoidance_adds_a_segment_per_window() {
    let mut ssthresh = 20_000;
    let mut congestion = limited(ssthresh);
    congestion.on_ack(&mut ssthresh, growth(2_000));
    assert_eq!(congestion.cwnd(), 12_000);
    congestion.on_ack(&mut ssthresh, growth(100_000));
    assert_eq!(congestion.cwnd(), 20_000, "at most eight segments an acknowledgment");
    for _ in 0..19 {
        congestion.on_ack(&mut ssthresh, growth(1_000));
    }
    assert_eq!(congestion.cwnd(), 20_000);
    congestion.on_ack(&mut ssthresh, growth(1_000));
    assert_eq!(congestion.cwnd(), 21_000);
}

#[test]
fn dividing_acknowledgments_gains_nothing() {
    // RFC 3465 §2.1: octets count, not acknowledgments.
    let mut ssthresh = u32::MAX;
    let mut congestion = limited(ssthresh);
    for _ in 0..1_000 {
        congestion.on_ack(&mut ssthresh, growth(1));
    }
    assert_eq!(congestion.cwnd(), 11_000);
}

#[test]
fn window_that_limits_nobody_does_not_grow() {
    let mut ssthresh = u32::MAX;
    let mut congestion = limited(ssthresh);
    congestion.note_limit(false, 3_000, ssthresh);
    congestion.on_ack(&mut ssthresh, growth(1_000));
    assert_eq!(congestion.cwnd(), 10_000);
    congestion.note_limit(false, 6_000, ssthresh);
    congestion.on_ack(&mut ssthresh, growth(1_000));
    assert_eq!(congestion.cwnd(), 11_000, "slow start: half of it was used");
}

#[test]
fn cubic_keeps_seven_tenths_and_reno_half() {
    let control = CongestionControl::Cubic;
    for (control, expected) in [(control, 7_000), (CongestionControl::NewReno, 4_000)] {
        let mut ssthresh = u32::MAX;
        let mut congestion = limited(ssthresh);
        congestion.enter_recovery(&mut ssthresh, loss(control, 8_000), 8_000);
        assert_eq!((ssthresh, congestion.phase()), (expected, Phase::Recovery), "{control:?}");
        congestion.leave(ssthresh);
        assert_eq!((congestion.cwnd(), congestion.phase()), (expected, Phase::Open));
    }
}

#[test]
fn time_out_starts_from_one_segment_and_reduces_the_threshold_once() {
    let mut ssthresh = u32::MAX;
    let mut congestion = limited(ssthresh);
    congestion.on_timeout(&mut ssthresh, loss(CongestionControl::NewReno, 10_000), true);
    assert_eq!((congestion.cwnd(), ssthresh), (1_000, 5_000));
    congestion.on_timeout(&mut ssthresh, loss(CongestionControl::NewReno, 1_000), false);
    assert_eq!((congestion.cwnd(), ssthresh), (1_000, 5_000));
    congestion.on_ack(&mut ssthresh, growth(9_000));
    assert_eq!(congestion.cwnd(), 2_000, "what a retransmission fills up counts as one segment");
}

#[test]
fn reduction_for_nothing_is_taken_back() {
    let mut ssthresh = 9_000;
    let mut congestion = limited(ssthresh);
    assert!(!congestion.is_echo_older(0));
    congestion.enter_recovery(&mut ssthresh, loss(CongestionControl::Cubic, 10_000), 10_000);
    congestion.on_sent(1_000, true, 500);
    assert!(congestion.is_echo_older(499) && !congestion.is_echo_older(500));
    assert!(congestion.is_echo_older(u32::MAX), "the clock wraps");
    congestion.undo(&mut ssthresh);
    assert_eq!((congestion.cwnd(), ssthresh, congestion.phase()), (10_000, 10_000, Phase::Open));
    assert!(!congestion.is_echo_older(499), "once");
    congestion.on_timeout(&mut ssthresh, loss(CongestionControl::Cubic, 10_000), true);
    for octets in [1_000, 1_000] {
        congestion.on_sent(octets, true, 600);
    }
    assert!(!congestion.on_duplicate(1_000));
    assert!(congestion.on_duplicate(1_000), "all that was sent again had arrived");
}

#[test]
fn mark_of_congestion_reduces_without_recovery() {
    let mut ssthresh = u32::MAX;
    let mut congestion = limited(ssthresh);
    congestion.on_congestion(&mut ssthresh, loss(CongestionControl::Cubic, 10_000));
    assert_eq!((congestion.cwnd(), ssthresh, congestion.phase()), (7_000, 7_000, Phase::Open));
}

#[test]
fn restart_window_is_at_most_the_initial_window() {
    let mut ssthresh = u32::MAX;
    let mut congestion = limited(ssthresh);
    congestion.on_ack(&mut ssthresh, growth(8_000));
    assert_eq!(congestion.cwnd(), 18_000);
    congestion.restart(MSS, ssthresh);
    assert_eq!(congestion.cwnd(), 10_000);
}
