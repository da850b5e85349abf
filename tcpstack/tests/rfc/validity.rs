//! RFC 9293 §3.10.7.4, first, second, fourth and fifth step: which segments are believed; with
//! RFC 5961, and PAWS of RFC 7323 §5.

use tcpstack::{CloseReason, Event, State};

use crate::bench::{Bench, Seg, seg};

/// Connections in every synchronized state that has a TCB, with RCV.NXT and SND.NXT.
fn every_state() -> Vec<(Bench, u32, u32)> {
    let mut states = Vec::new();
    for state in [
        State::Established,
        State::FinWait1,
        State::FinWait2,
        State::CloseWait,
        State::Closing,
        State::LastAck,
    ] {
        let mut bench = Bench::established();
        let steps: &[&str] = match state {
            State::FinWait1 => &["close"],
            State::FinWait2 => &["close", "ack"],
            State::CloseWait => &["fin"],
            State::Closing => &["close", "fin"],
            State::LastAck => &["fin", "close"],
            _ => &[],
        };
        let (mut rcv_nxt, mut snd_nxt) = (1, 1);
        for step in steps {
            match *step {
                "close" => {
                    bench.close(0);
                    snd_nxt += 1;
                }
                "fin" => {
                    bench.receive(seg("FA", rcv_nxt, 1));
                    rcv_nxt += 1;
                }
                _ => bench.receive(seg("A", rcv_nxt, snd_nxt)),
            }
        }
        assert_eq!(bench.stack.state(0), Some(state));
        bench.sent();
        bench.events.clear();
        states.push((bench, rcv_nxt, snd_nxt));
    }
    states
}

/// Every state answers `segment` with an acknowledgement and stays as it is.
fn all_acknowledge(segment: impl Fn(u32, u32) -> Seg) {
    for (mut bench, rcv_nxt, snd_nxt) in every_state() {
        let state = bench.stack.state(0);
        bench.receive(segment(rcv_nxt, snd_nxt));
        let expected = format!("A {snd_nxt}:{snd_nxt} ack {rcv_nxt}");
        assert_eq!(bench.lines(), [expected], "{state:?}");
        assert_eq!(bench.stack.state(0), state);
        assert!(bench.events.is_empty(), "{state:?}");
    }
}

#[test]
fn segments_outside_the_window_are_acknowledged_and_dropped() {
    all_acknowledge(|rcv_nxt, snd_nxt| seg("A", rcv_nxt + 60_000, snd_nxt).octets(b"far"));
    all_acknowledge(|rcv_nxt, snd_nxt| seg("A", rcv_nxt.wrapping_sub(4), snd_nxt).octets(b"old"));
    all_acknowledge(|rcv_nxt, snd_nxt| seg("A", rcv_nxt.wrapping_sub(1), snd_nxt));
}

#[test]
fn acknowledgment_at_the_end_of_the_window_counts() {
    // The peer has filled the window, and the first segment was lost: until it has come again, all
    // that the peer acknowledges is numbered after the window.
    let mut bench = Bench::established();
    bench.send(0, &[1; 20_000]);
    assert_eq!(bench.sent().len(), 10, "the initial congestion window");
    let rest: Vec<Seg> = (1..60).map(|n| seg("A", 1 + 1_000 * n, 1).octets(&[2; 1_000])).collect();
    bench.receive_all(&rest);
    bench.sent();
    bench.receive(seg("A", 60_001, 2_001));
    assert_eq!(bench.counters().drop_tcp_window, 0);
    let lines = bench.lines();
    assert_eq!(lines.first().map(String::as_str), Some("A 10001:11001 ack 1"), "{lines:?}");
    bench.receive(seg("A", 60_002, 3_001));
    assert_eq!(bench.counters().drop_tcp_window, 1, "beyond it nothing is believed");
}

#[test]
fn reset_at_the_end_of_the_window_is_challenged() {
    // As above, with an aborting peer: its answer to the challenge ends the connection, which would
    // otherwise live until it has something to send.
    all_acknowledge(|_, _| seg("R", 60_001, 0));
}

#[test]
fn reset_at_the_next_octet_ends_the_connection() {
    for (mut bench, rcv_nxt, _) in every_state() {
        bench.receive(seg("R", rcv_nxt, 0));
        assert!(bench.sent().is_empty());
        assert_eq!(bench.events, [Event::Closed { conn: 0, reason: CloseReason::Reset }]);
        assert_eq!(bench.stack.gauges().flows, 0);
    }
}

#[test]
fn reset_elsewhere_in_the_window_is_challenged() {
    // RFC 5961 §3.2.
    all_acknowledge(|rcv_nxt, _| seg("R", rcv_nxt + 1, 0));
}

#[test]
fn reset_outside_the_window_is_ignored() {
    for (mut bench, rcv_nxt, _) in every_state() {
        bench.receive(seg("R", rcv_nxt + 60_001, 0));
        bench.receive(seg("R", rcv_nxt.wrapping_sub(1), 0));
        assert!(bench.sent().is_empty() && bench.events.is_empty());
        assert_eq!(bench.counters().drop_tcp_reset, 2);
    }
}

#[test]
fn syn_in_the_window_is_challenged() {
    // RFC 5961 §4.2.
    all_acknowledge(|rcv_nxt, _| seg("S", rcv_nxt, 0));
    all_acknowledge(|rcv_nxt, snd_nxt| seg("SA", rcv_nxt + 5, snd_nxt));
}

#[test]
fn segment_without_ack_is_dropped() {
    for (mut bench, rcv_nxt, _) in every_state() {
        bench.receive(seg("", rcv_nxt, 0).octets(b"quiet"));
        assert!(bench.sent().is_empty() && bench.events.is_empty());
        assert_eq!(bench.counters().drop_tcp_ack_missing, 1);
    }
}

#[test]
fn acknowledgment_of_what_was_never_sent_is_challenged() {
    all_acknowledge(|rcv_nxt, snd_nxt| seg("A", rcv_nxt, snd_nxt + 1));
    // RFC 5961 §5.2: nor of what is older than the largest window.
    all_acknowledge(|rcv_nxt, snd_nxt| seg("A", rcv_nxt, snd_nxt.wrapping_sub(60_100)));
}

#[test]
fn challenges_are_limited() {
    // RFC 5961 §7.
    let mut bench = Bench::established();
    for _ in 0..15 {
        bench.receive(seg("R", 100, 0));
    }
    assert_eq!(bench.sent().len(), 10);
    assert_eq!(bench.counters().tcp_challenge_ack_limited, 5);
    bench.wait_ms(5_001);
    bench.receive(seg("R", 100, 0));
    assert_eq!(bench.sent().len(), 1);
}

#[test]
fn old_timestamp_is_dropped_and_acknowledged() {
    let mut bench = Bench::new();
    bench.open(seg("S", 0, 0).stamp(1_000, 0));
    bench.receive(seg("A", 1, 1).stamp(1_010, 0).octets(b"new"));
    bench.wait_ms(40);
    let [ack] = &bench.sent()[..] else { panic!("one ACK") };
    assert_eq!(ack.stamp.map(|stamp| stamp.1), Some(1_010));
    bench.receive(seg("A", 4, 1).stamp(1_009, 0).octets(b"old"));
    assert_eq!(bench.lines(), ["A 1:1 ack 4"]);
    assert_eq!(bench.counters().drop_tcp_paws, 1);
    bench.receive(seg("A", 4, 1).octets(b"bare"));
    assert!(bench.sent().is_empty());
    assert_eq!(bench.counters().drop_tcp_timestamp_missing, 1);
    bench.receive(seg("R", 4, 0));
    assert_eq!(bench.events.len(), 2, "a reset needs no timestamp");
}

#[test]
fn timestamp_of_an_out_of_order_segment_is_not_echoed() {
    // RFC 7323 §4.3, (2).
    let mut bench = Bench::new();
    bench.open(seg("S", 0, 0).stamp(1_000, 0));
    bench.receive(seg("A", 101, 1).stamp(1_020, 0).octets(b"later"));
    let [ack] = &bench.sent()[..] else { panic!("one ACK") };
    assert_eq!(ack.stamp.map(|stamp| stamp.1), Some(1_000));
}
