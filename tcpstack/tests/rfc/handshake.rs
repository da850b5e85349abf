//! RFC 9293 §3.5: opening connections; RFC 7323 §2 and §3: what SYNs agree on.

use tcpstack::{CloseReason, Event, Features, Limits, State, SynCookies, Timers};

use crate::bench::{Bench, MSS, PEER_PORT, config, seg};

#[test]
fn passive_open_answers_with_what_the_syn_had() {
    let mut bench = Bench::new();
    bench.receive(seg("S", 0, 0).mss(1_460).shift(7).stamp(77, 0));
    let [syn_ack] = &bench.sent()[..] else { panic!("one SYN-ACK") };
    assert_eq!(syn_ack.line(), "SA 0:0 ack 1");
    assert_eq!((syn_ack.mss, syn_ack.shift, syn_ack.window), (Some(1_460), Some(0), 60_000));
    assert_eq!(syn_ack.stamp.map(|stamp| stamp.1), Some(77));
    let mut bench = Bench::new();
    bench.receive(seg("S", 0, 0));
    let [syn_ack] = &bench.sent()[..] else { panic!("one SYN-ACK") };
    assert_eq!((syn_ack.mss, syn_ack.shift, syn_ack.stamp), (Some(1_460), None, None));
}

#[test]
fn data_with_the_last_ack_is_taken() {
    let mut bench = Bench::new();
    bench.receive(seg("S", 0, 0));
    bench.sent();
    bench.receive(seg("A", 1, 1).octets(b"hello"));
    assert!(matches!(
        bench.events[..],
        [Event::Accepted { conn: 0, listener: 1 }, Event::Data { conn: 0, len: 5, .. }]
    ));
    assert_eq!(bench.received, b"hello");
}

#[test]
fn lost_syn_ack_is_resent_after_the_initial_rto_and_then_less_often() {
    let mut bench = Bench::new();
    bench.receive(seg("S", 0, 0));
    bench.wait_ms(200_000);
    let times: Vec<u64> = bench.sent_at().iter().map(|(at_ms, _)| at_ms - 1_000).collect();
    assert_eq!(times, [0, 1_000, 3_000, 7_000, 15_000, 31_000]);
    assert_eq!(bench.counters().tcp_syn_expired, 1);
    assert_eq!(bench.stack.gauges().flows, 0);
}

#[test]
fn repeated_syn_gets_the_same_syn_ack_again() {
    let mut bench = Bench::new();
    bench.receive(seg("S", 0, 0));
    let first = bench.sent();
    bench.wait_ms(300);
    bench.receive(seg("S", 0, 0));
    assert_eq!(bench.sent(), first);
    assert_eq!(bench.stack.gauges().syn_received, 1);
}

#[test]
fn reset_returns_a_passive_open_to_listen() {
    let mut bench = Bench::new();
    bench.receive(seg("S", 0, 0));
    bench.receive(seg("R", 5, 0));
    assert_eq!(bench.stack.gauges().syn_received, 1, "in the window, but not the next octet");
    bench.receive(seg("R", 1, 0));
    assert_eq!((bench.stack.gauges().syn_received, bench.stack.gauges().flows), (0, 0));
}

#[test]
fn wrong_acknowledgment_of_a_syn_ack_is_reset() {
    let mut bench = Bench::new();
    bench.receive(seg("S", 0, 0));
    bench.sent();
    bench.receive(seg("A", 1, 9));
    assert_eq!(bench.lines(), ["R 9:9 ack 0"]);
    bench.receive(seg("A", 1, 1));
    assert!(matches!(bench.events[..], [Event::Accepted { .. }]), "the entry is still there");
}

#[test]
fn full_table_of_connections_drops_syns() {
    let mut bench = Bench::new();
    for port in 0..4 {
        bench.peer_port = PEER_PORT + port;
        bench.receive(seg("S", 0, 0));
        bench.sent();
        bench.receive(seg("A", 1, 1));
    }
    bench.peer_port = PEER_PORT + 4;
    bench.receive(seg("S", 0, 0));
    assert!(bench.sent().is_empty());
    assert_eq!(bench.counters().drop_tcp_connections_full, 1);
}

#[test]
fn full_table_of_passive_opens_forgets_who_let_a_time_out_pass() {
    let limits = Limits { connections: 10, ..config().limits };
    let features = Features { syn_cookies: SynCookies::Never, ..Features::default() };
    let mut bench = Bench::with(tcpstack::StackConfig { limits, features, ..config() });
    let syn = |bench: &mut Bench, port| {
        bench.peer_port = PEER_PORT + port;
        bench.receive(seg("S", 0, 0));
        bench.sent().len()
    };
    for port in 0..3 {
        assert_eq!(syn(&mut bench, port), 1);
    }
    assert_eq!(syn(&mut bench, 3), 0, "nobody was late yet");
    assert_eq!(bench.counters().drop_tcp_syn_full, 1);
    bench.peer_port = PEER_PORT;
    bench.stack.expire(bench.now_ns + 1_000_000_000, 1);
    bench.turn();
    bench.sent();
    assert_eq!(syn(&mut bench, 3), 1);
    assert_eq!(bench.counters().tcp_syn_evicted, 1);
}

#[test]
fn active_open_offers_everything_and_takes_what_the_answer_has() {
    let mut bench = Bench::new();
    let conn = bench.connect();
    let [syn] = &bench.sent()[..] else { panic!("one SYN") };
    assert_eq!((syn.line().as_str(), syn.mss, syn.shift), ("S 0:0 ack 0", Some(1_460), Some(0)));
    assert!(syn.stamp.is_some());
    bench.receive(seg("SA", 0, 1).mss(MSS as u16));
    let [ack] = &bench.sent()[..] else { panic!("one ACK") };
    assert_eq!((ack.line().as_str(), ack.stamp), ("A 1:1 ack 1", None));
    assert_eq!(bench.events, [Event::Connected { conn }]);
    bench.send(conn, &[1; 1_500]);
    assert_eq!(bench.lines(), ["A 1:1001 ack 1", "PA 1001:1501 ack 1"]);
}

#[test]
fn data_queued_before_the_answer_leaves_after_it() {
    let mut bench = Bench::new();
    let conn = bench.connect();
    assert_eq!(bench.send(conn, b"early"), 5);
    assert_eq!(bench.sent().len(), 1, "only the SYN");
    bench.receive(seg("SA", 0, 1));
    assert_eq!(bench.lines(), ["PA 1:6 ack 1"]);
}

#[test]
fn lost_syn_is_resent_until_the_connect_time_out() {
    let timers = Timers { connect_timeout_ms: 20_000, ..Timers::default() };
    let mut bench = Bench::with(tcpstack::StackConfig { timers, ..config() });
    let conn = bench.connect();
    bench.wait_ms(30_000);
    let times: Vec<u64> = bench.sent_at().iter().map(|(at_ms, _)| at_ms - 1_000).collect();
    assert_eq!(times, [0, 1_000, 3_000, 7_000, 15_000]);
    assert_eq!(bench.events, [Event::Closed { conn, reason: CloseReason::TimedOut }]);
    assert_eq!(bench.counters().tcp_connect_failed, 1);
}

#[test]
fn reset_refuses_an_active_open_only_if_it_acknowledges_the_syn() {
    let mut bench = Bench::new();
    let conn = bench.connect();
    bench.sent();
    bench.receive(seg("R", 0, 0));
    bench.receive(seg("RA", 0, 2));
    assert!(bench.events.is_empty() && bench.sent().is_empty());
    bench.receive(seg("RA", 0, 1));
    assert_eq!(bench.events, [Event::Closed { conn, reason: CloseReason::Refused }]);
}

#[test]
fn half_open_peer_of_an_active_open_is_reset() {
    // RFC 9293 §3.5.1, figure 9: the peer still has an old connection.
    let mut bench = Bench::new();
    bench.connect();
    bench.sent();
    bench.receive(seg("A", 300, 100));
    assert_eq!(bench.lines(), ["R 100:100 ack 0"]);
    assert_eq!(bench.stack.gauges().syn_sent, 1, "the SYN will be sent again");
}

#[test]
fn simultaneous_open_comes_to_established() {
    // RFC 9293 §3.5, figure 7.
    let mut bench = Bench::new();
    let conn = bench.connect();
    bench.sent();
    bench.receive(seg("S", 0, 0).mss(MSS as u16));
    let [syn_ack] = &bench.sent()[..] else { panic!("one SYN-ACK") };
    assert_eq!(syn_ack.line(), "SA 0:0 ack 1");
    assert_eq!(bench.stack.state(conn), Some(State::SynReceived));
    bench.receive(seg("SA", 0, 1));
    assert_eq!(bench.lines(), ["A 1:1 ack 1"]);
    bench.receive(seg("A", 1, 1));
    assert_eq!(bench.stack.state(conn), Some(State::Established));
    assert_eq!(bench.events, [Event::Connected { conn }]);
    bench.receive(seg("A", 1, 1).octets(b"hello"));
    assert_eq!(bench.received, b"hello");
}

#[test]
fn segments_for_nobody_are_reset() {
    let mut bench = Bench::new();
    bench.own_port = 99;
    bench.receive(seg("S", 0, 0));
    assert_eq!(bench.lines(), ["RA 0:0 ack 1"]);
    bench.receive(seg("A", 5, 700).octets(b"abc"));
    assert_eq!(bench.lines(), ["R 700:700 ack 0"]);
    bench.receive(seg("RA", 5, 700));
    assert!(bench.sent().is_empty(), "never a reset for a reset");
    assert_eq!(bench.counters().drop_tcp_no_connection, 3);
}
