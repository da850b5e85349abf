//! RFC 9293 §3.6 and §3.10.4 to §3.10.7: closing, in every order; RFC 1337 and RFC 6191.

use tcpstack::{CloseReason, Event, StackConfig, State, Timers};

use crate::bench::{Bench, PEER_PORT, config, seg};

const FINISHED: Event = Event::Closed { conn: 0, reason: CloseReason::Finished };

#[test]
fn close_before_the_peer_ends_in_time_wait() {
    // RFC 9293 §3.6, figure 12, A.
    let mut bench = Bench::established();
    bench.close(0);
    assert_eq!(bench.lines(), ["FA 1:1 ack 1"]);
    assert_eq!(bench.stack.state(0), Some(State::FinWait1));
    bench.receive(seg("A", 1, 2));
    assert_eq!(bench.stack.state(0), Some(State::FinWait2));
    bench.receive(seg("FA", 1, 2));
    assert_eq!(bench.lines(), ["A 2:2 ack 2"]);
    assert_eq!(bench.events, [FINISHED]);
    assert_eq!((bench.stack.gauges().time_wait, bench.stack.gauges().in_use), (1, 0));
    bench.wait_ms(60_000);
    assert_eq!((bench.stack.gauges().time_wait, bench.stack.gauges().flows), (0, 0));
}

#[test]
fn close_after_the_peer_ends_with_its_last_ack() {
    // RFC 9293 §3.6, figure 12, B.
    let mut bench = Bench::established();
    bench.receive(seg("FA", 1, 1));
    assert_eq!(bench.lines(), ["A 1:1 ack 2"]);
    assert_eq!(bench.events, [Event::PeerClosed { conn: 0 }]);
    assert_eq!(bench.stack.state(0), Some(State::CloseWait));
    assert_eq!(bench.send(0, b"bye"), 3, "the other half is still open");
    bench.close(0);
    assert_eq!(bench.lines(), ["PA 1:4 ack 2", "FA 4:4 ack 2"]);
    assert_eq!(bench.stack.state(0), Some(State::LastAck));
    bench.receive(seg("A", 2, 5));
    assert_eq!(bench.events[1..], [FINISHED]);
    assert_eq!((bench.stack.gauges().time_wait, bench.stack.gauges().flows), (0, 0));
}

#[test]
fn both_close_at_once() {
    // RFC 9293 §3.6, figure 13.
    let mut bench = Bench::established();
    bench.close(0);
    bench.sent();
    bench.receive(seg("FA", 1, 1));
    assert_eq!(bench.lines(), ["A 2:2 ack 2"]);
    assert_eq!(bench.stack.state(0), Some(State::Closing));
    bench.receive(seg("A", 2, 2));
    assert_eq!(bench.events, [FINISHED]);
    assert_eq!(bench.stack.gauges().time_wait, 1);
}

#[test]
fn fin_and_its_acknowledgment_in_one_segment_end_in_time_wait() {
    let mut bench = Bench::established();
    bench.close(0);
    bench.sent();
    bench.receive(seg("FA", 1, 2));
    assert_eq!(bench.lines(), ["A 2:2 ack 2"]);
    assert_eq!(bench.stack.gauges().time_wait, 1);
}

#[test]
fn fin_waits_for_the_data_before_it_and_shares_the_last_segment() {
    let mut bench = Bench::established();
    bench.stack.send(bench.now_ns, 0, b"last words");
    bench.close(0);
    assert_eq!(bench.lines(), ["FPA 1:11 ack 1"]);
    bench.receive(seg("A", 1, 11));
    assert_eq!(bench.stack.state(0), Some(State::FinWait1), "the FIN is not acknowledged");
    bench.receive(seg("A", 1, 12));
    assert_eq!(bench.stack.state(0), Some(State::FinWait2));
}

#[test]
fn peer_that_closes_before_our_fin_could_leave_was_first() {
    let mut bench = Bench::established();
    bench.receive(seg("A", 1, 1).window(0));
    bench.stack.send(bench.now_ns, 0, b"stuck");
    bench.close(0);
    assert!(bench.sent().is_empty(), "the window is closed");
    bench.receive(seg("FA", 1, 1).window(0));
    assert_eq!(bench.stack.state(0), Some(State::LastAck));
    assert_eq!(bench.lines(), ["A 1:1 ack 2"]);
    bench.receive(seg("A", 2, 1).window(100));
    assert_eq!(bench.lines(), ["FPA 1:6 ack 2"]);
    bench.receive(seg("A", 2, 7));
    assert_eq!(bench.events, [FINISHED]);
    assert_eq!(bench.stack.gauges().time_wait, 0);
}

#[test]
fn lost_fin_is_sent_again() {
    let mut bench = Bench::established();
    bench.close(0);
    bench.sent();
    bench.wait_ms(1_000);
    assert_eq!(bench.lines()[0], "FA 1:1 ack 1");
}

#[test]
fn fin_out_of_order_is_acknowledged_at_once_and_waits() {
    let mut bench = Bench::established();
    bench.receive(seg("FA", 101, 1));
    assert_eq!(bench.lines(), ["A 1:1 ack 1"]);
    bench.receive(seg("A", 1, 1).octets(&[1; 100]));
    assert_eq!(bench.lines(), ["A 1:1 ack 102"]);
}

#[test]
fn data_before_the_fin_is_told_before_the_close() {
    let mut bench = Bench::established();
    bench.receive_all(&[seg("FA", 4, 1), seg("A", 1, 1).octets(b"abc")]);
    assert!(matches!(bench.events[..], [Event::Data { .. }, Event::PeerClosed { conn: 0 }]));
    assert_eq!(bench.lines(), ["A 1:1 ack 5"]);
}

#[test]
fn data_after_close_is_answered_by_a_reset() {
    // RFC 9293 §3.6.1.
    let mut bench = Bench::established();
    bench.close(0);
    bench.receive(seg("A", 1, 2));
    bench.sent();
    bench.receive(seg("A", 1, 2).octets(b"unwanted"));
    assert_eq!(bench.lines(), ["RA 2:2 ack 1"]);
    bench.turn();
    assert_eq!(bench.events, [Event::Closed { conn: 0, reason: CloseReason::Aborted }]);
    assert_eq!(bench.counters().drop_tcp_closed, 1);
}

#[test]
fn abort_resets_and_gives_everything_back() {
    let mut bench = Bench::established();
    bench.takes_nothing = true;
    bench.receive(seg("A", 1, 1).octets(b"unread"));
    bench.send(0, b"unacknowledged");
    bench.sent();
    bench.abort(0);
    assert_eq!(bench.lines(), ["RA 15:15 ack 7"]);
    bench.turn();
    assert_eq!(bench.events[1..], [Event::Closed { conn: 0, reason: CloseReason::Aborted }]);
    let gauges = bench.stack.gauges();
    assert_eq!((gauges.in_use, gauges.flows, gauges.free), (0, 0, gauges.total));
    assert_eq!(gauges.available, 4, "flights");
}

#[test]
fn peer_that_never_closes_is_given_up_in_fin_wait_2() {
    let timers = Timers { fin_wait_2_ms: 5_000, ..Timers::default() };
    let mut bench = Bench::established_with(StackConfig { timers, ..config() });
    bench.close(0);
    bench.receive(seg("A", 1, 2));
    bench.wait_ms(4_999);
    assert!(bench.events.is_empty());
    bench.wait_ms(1);
    assert_eq!(bench.events, [Event::Closed { conn: 0, reason: CloseReason::TimedOut }]);
}

fn in_time_wait(syn: crate::bench::Seg) -> Bench {
    let mut bench = Bench::new();
    bench.open(syn);
    bench.close(0);
    bench.receive(seg("FA", 1, 2).stamp(105, 0));
    bench.sent();
    assert_eq!(bench.stack.gauges().time_wait, 1);
    bench
}

#[test]
fn repeated_fin_restarts_time_wait() {
    let mut bench = in_time_wait(seg("S", 0, 0));
    bench.wait_ms(50_000);
    bench.receive(seg("FA", 1, 2));
    assert_eq!(bench.lines(), ["A 2:2 ack 2"]);
    bench.wait_ms(59_999);
    assert_eq!(bench.stack.gauges().time_wait, 1);
    bench.wait_ms(1);
    assert_eq!(bench.stack.gauges().time_wait, 0);
}

#[test]
fn reset_does_not_end_time_wait() {
    // RFC 1337 §3.
    let mut bench = in_time_wait(seg("S", 0, 0));
    bench.receive(seg("R", 2, 0));
    assert_eq!(bench.stack.gauges().time_wait, 1);
}

#[test]
fn later_syn_takes_over_time_wait_and_an_old_one_does_not() {
    // RFC 9293 §3.10.7.4 without, RFC 6191 with timestamps.
    let plain = || in_time_wait(seg("S", 0, 0));
    let stamped = || in_time_wait(seg("S", 0, 0).stamp(100, 0));
    let cases = [
        (plain(), seg("S", 50, 0), true),
        (plain(), seg("S", 1, 0), false),
        (stamped(), seg("S", 1, 0).stamp(106, 0), true),
        (stamped(), seg("S", 1, 0).stamp(104, 0), false),
    ];
    for (at, (mut bench, syn, taken)) in cases.into_iter().enumerate() {
        let old_iss = bench.iss;
        bench.receive(syn.clone());
        let answer = &bench.sent()[0];
        assert_eq!(bench.stack.gauges().syn_received, u64::from(taken), "case {at}");
        if taken {
            assert_eq!(answer.control, "SA", "case {at}");
            let gap = bench.iss.wrapping_sub(old_iss);
            assert!(gap > 2 && gap < 1 << 31, "case {at}: numbers go on");
        } else {
            assert_eq!(answer.line(), "A 2:2 ack 2", "case {at}");
        }
    }
}

#[test]
fn full_table_forgets_the_oldest_time_wait() {
    let mut bench = Bench::new();
    for port in 0..3 {
        bench.peer_port = PEER_PORT + port;
        bench.open(seg("S", 0, 0));
        bench.close(0);
        bench.receive(seg("FA", 1, 2));
        bench.sent();
        bench.events.clear();
    }
    assert_eq!(bench.stack.gauges().time_wait, 2);
    assert_eq!(bench.counters().tcp_time_wait_evicted, 1);
    bench.peer_port = PEER_PORT;
    bench.receive(seg("FA", 1, 2));
    assert_eq!(bench.lines(), ["R 2:2 ack 0"], "forgotten");
}
