//! Sending: segments and windows (RFC 9293 §3.8.6), retransmission (RFC 6298), congestion
//! (RFC 5681, RFC 6582, RFC 6928), keep-alive (RFC 9293 §3.8.4).

use tcpstack::{CloseReason, Event, Limits, StackConfig, Timers};

use crate::bench::{Bench, MSS, config, seg};

fn times(bench: &mut Bench) -> Vec<u64> {
    bench.sent_at().iter().map(|(at_ms, _)| at_ms - 1_000).collect()
}

#[test]
fn writes_of_a_turn_share_segments() {
    let mut bench = Bench::established();
    for _ in 0..150 {
        bench.stack.send(bench.now_ns, 0, &[1; 10]);
    }
    bench.turn();
    assert_eq!(bench.lines(), ["A 1:1001 ack 1", "PA 1001:1501 ack 1"]);
}

#[test]
fn initial_window_is_ten_segments() {
    let mut bench = Bench::established();
    bench.send(0, &[1; 50_000]);
    assert_eq!(bench.sent().len(), 10);
    bench.receive(seg("A", 1, 2_001));
    assert_eq!(bench.sent().len(), 4, "slow start: two acknowledged, four more");
}

#[test]
fn small_peer_window_is_filled_and_no_more() {
    let mut bench = Bench::established();
    bench.receive(seg("A", 1, 1).window(2_500));
    bench.send(0, &[1; 10_000]);
    assert_eq!(bench.lines(), ["A 1:1001 ack 1", "A 1001:2001 ack 1"]);
    bench.receive(seg("A", 1, 2_001).window(2_500));
    assert_eq!(bench.lines(), ["A 2001:3001 ack 1", "A 3001:4001 ack 1"]);
}

#[test]
fn closed_window_is_probed_with_growing_intervals() {
    // RFC 9293 §3.8.6.1.
    let mut bench = Bench::established();
    bench.receive(seg("A", 1, 1).window(0));
    bench.send(0, b"patience");
    for (wait_ms, at_ms) in [(200, 200), (400, 600), (800, 1_400), (1_600, 3_000)] {
        bench.wait_ms(wait_ms);
        let probes = bench.sent_at();
        let [(time_ms, probe)] = &probes[..] else { panic!("one probe at {at_ms}: {probes:?}") };
        assert_eq!((*time_ms - 1_000, probe.line().as_str()), (at_ms, "A 1:2 ack 1"));
        bench.receive(seg("A", 1, 1).window(0));
    }
    bench.receive(seg("A", 1, 1).window(100));
    assert_eq!(bench.lines(), ["PA 1:9 ack 1"]);
    assert_eq!(bench.counters().tcp_window_probe, 4);
}

#[test]
fn probed_octet_that_is_taken_is_not_sent_again() {
    let mut bench = Bench::established();
    bench.receive(seg("A", 1, 1).window(0));
    bench.send(0, b"patience");
    bench.wait_ms(200);
    bench.sent();
    bench.receive(seg("A", 1, 2).window(50));
    assert_eq!(bench.lines(), ["PA 2:9 ack 1"]);
}

#[test]
fn acknowledgement_is_numbered_before_an_octet_the_peer_refused() {
    // Both windows are closed: numbered after the probe, it would be refused as well.
    let mut bench = Bench::established();
    bench.receive(seg("A", 1, 1).window(0));
    bench.send(0, b"patience");
    bench.wait_ms(200);
    assert_eq!(bench.lines(), ["A 1:2 ack 1"]);
    bench.receive(seg("A", 1, 1).window(0).octets(b"hello"));
    bench.wait_ms(40);
    assert_eq!(bench.lines(), ["A 1:1 ack 6"]);
}

#[test]
fn peer_that_answers_probes_is_not_given_up() {
    let timers = Timers { user_timeout_ms: 3_000, ..Timers::default() };
    let mut bench = Bench::established_with(StackConfig { timers, ..config() });
    bench.receive(seg("A", 1, 1).window(0));
    bench.send(0, b"patience");
    for _ in 0..200 {
        bench.wait_ms(100);
        if !bench.sent().is_empty() {
            bench.receive(seg("A", 1, 1).window(0));
        }
    }
    assert!(bench.events.is_empty());
    bench.wait_ms(100_000);
    assert_eq!(bench.events, [Event::Closed { conn: 0, reason: CloseReason::TimedOut }]);
}

#[test]
fn lost_segment_is_sent_again_with_growing_intervals_until_given_up() {
    // RFC 6298 §5; RFC 9293 §3.8.3, R2.
    let timers = Timers { user_timeout_ms: 10_000, rto_max_ms: 2_000, ..Timers::default() };
    let mut bench = Bench::established_with(StackConfig { timers, ..config() });
    bench.send(0, b"lost");
    bench.wait_ms(30_000);
    assert_eq!(times(&mut bench), [0, 200, 600, 1_400, 3_000, 5_000, 7_000, 9_000]);
    assert_eq!(bench.events, [Event::Closed { conn: 0, reason: CloseReason::TimedOut }]);
    let gauges = bench.stack.gauges();
    assert_eq!((gauges.flows, gauges.free, gauges.available), (0, gauges.total, 4));
}

#[test]
fn time_out_sends_one_segment_and_the_rest_as_acknowledged() {
    let mut bench = Bench::established();
    bench.send(0, &[1; 4_000]);
    assert_eq!(bench.sent().len(), 4);
    bench.wait_ms(200);
    assert_eq!(bench.lines(), ["A 1:1001 ack 1"]);
    bench.receive(seg("A", 1, 1_001));
    assert_eq!(bench.lines(), ["A 1001:2001 ack 1", "A 2001:3001 ack 1"], "slow start");
    bench.receive(seg("A", 1, 4_001));
    bench.wait_ms(10_000);
    assert!(bench.sent().is_empty(), "all had arrived but the first");
}

#[test]
fn third_duplicate_sends_the_lost_segment_at_once() {
    // RFC 5681 §3.2, RFC 6582 §3.2.
    let mut bench = Bench::established();
    bench.send(0, &[1; 8_000]);
    bench.sent();
    bench.receive(seg("A", 1, 1_001));
    for _ in 0..2 {
        bench.receive(seg("A", 1, 1_001));
    }
    assert!(bench.sent().is_empty());
    bench.receive(seg("A", 1, 1_001));
    assert_eq!(bench.lines(), ["A 1001:2001 ack 1"]);
    // A partial acknowledgment shows the next hole.
    bench.receive(seg("A", 1, 4_001));
    assert_eq!(bench.lines(), ["A 4001:5001 ack 1"]);
    bench.receive(seg("A", 1, 8_001));
    bench.wait_ms(10_000);
    assert!(bench.sent().is_empty());
    let counters = bench.counters();
    assert_eq!((counters.tcp_fast_retransmit, counters.tcp_timeout), (1, 0));
}

#[test]
fn window_updates_and_data_are_no_duplicates() {
    let mut bench = Bench::established();
    bench.send(0, &[1; 8_000]);
    bench.sent();
    for at in 0..5_u16 {
        bench.receive(seg("A", 1, 1).window(50_000 - at));
        bench.receive(seg("A", 1 + u32::from(at), 1).window(50_000 - at).octets(b"d"));
    }
    assert_eq!(bench.counters().tcp_retransmitted, 0);
}

#[test]
fn round_trip_time_sets_the_time_out() {
    let mut bench = Bench::established();
    bench.send(0, &[1; 10]);
    bench.wait_ms(150);
    bench.receive(seg("A", 1, 11));
    bench.sent();
    // SRTT and RTTVAR after the handshake's 0 ms and this 150 ms: 18.75 ms and 37.5 ms.
    let start_ms = bench.now_ns / 1_000_000;
    bench.send(0, &[1; 10]);
    bench.wait_ms(199);
    assert_eq!(bench.sent().len(), 1, "not before the minimum");
    bench.wait_ms(1);
    let [(at_ms, _)] = bench.sent_at()[..] else { panic!("one retransmission") };
    assert_eq!(at_ms - start_ms, 200);
}

#[test]
fn idle_connection_starts_again_from_the_restart_window() {
    // RFC 5681 §4.1.
    let mut bench = Bench::established();
    bench.send(0, &[1; 20_000]);
    let mut acked = 1;
    while acked < 20_001 {
        acked += 2 * MSS as u32;
        bench.receive(seg("A", 1, acked.min(20_001)));
    }
    bench.sent();
    bench.wait_ms(5_000);
    bench.send(0, &[1; 50_000]);
    assert_eq!(bench.sent().len(), 10);
}

#[test]
fn connection_without_a_flight_waits_for_one() {
    let limits = Limits { flights: 1, ..config().limits };
    let mut bench = Bench::established_with(StackConfig { limits, ..config() });
    bench.send(0, b"first");
    bench.sent();
    bench.peer_port += 1;
    bench.receive(seg("S", 0, 0));
    bench.sent();
    bench.receive(seg("A", 1, 1));
    let iss = bench.iss;
    bench.send(1, b"second");
    assert!(bench.sent().is_empty() && !bench.stack.has_output());
    bench.receive(seg("A", 1, 1).octets(b"question"));
    bench.wait_ms(40);
    assert_eq!(bench.lines(), ["A 1:1 ack 9"], "it can still acknowledge");
    bench.wait_ms(160);
    bench.peer_port -= 1;
    assert_eq!(bench.sent_frames().len(), 1, "the first one's retransmission");
    bench.stack.abort(bench.now_ns, 0);
    bench.peer_port += 1;
    bench.iss = iss;
    bench.stack.output(bench.now_ns, &mut crate::bench::Sink::default());
    bench.turn();
    assert_eq!(bench.stack.gauges().available, 0, "the second one has it");
    bench.wait_ms(1_000);
    assert_eq!(bench.lines()[0], "PA 1:7 ack 9");
}

#[test]
fn writable_is_told_once_when_half_of_the_buffer_is_free() {
    let mut bench = Bench::established();
    assert_eq!(bench.send(0, &[1; 100_000]), 60_000);
    bench.stack.want_writable(0);
    let mut acked = 1;
    while bench.events.is_empty() {
        acked += 1_000;
        bench.receive(seg("A", 1, acked));
    }
    assert_eq!((bench.events.as_slice(), acked), (&[Event::Writable { conn: 0 }][..], 30_001));
    bench.receive(seg("A", 1, acked + 1_000));
    assert_eq!(bench.events.len(), 1);
}

#[test]
fn silent_peer_is_probed_and_given_up_when_keep_alive_is_on() {
    // RFC 9293 §3.8.4.
    let timers = Timers {
        keep_alive_idle_ms: 10_000,
        keep_alive_interval_ms: 1_000,
        keep_alive_probes: 3,
        ..Timers::default()
    };
    let mut bench = Bench::established_with(StackConfig { timers, ..config() });
    bench.wait_ms(10_000);
    assert_eq!(bench.lines(), ["A 0:0 ack 1"]);
    bench.receive(seg("A", 1, 1));
    bench.wait_ms(9_999);
    assert!(bench.sent().is_empty());
    bench.wait_ms(3_001);
    let lines = bench.lines();
    assert_eq!(lines, ["A 0:0 ack 1", "A 0:0 ack 1", "A 0:0 ack 1", "RA 1:1 ack 1"]);
    assert_eq!(bench.events, [Event::Closed { conn: 0, reason: CloseReason::TimedOut }]);
}
