//! Slow readers and slow senders: peers that hold what all connections share.

use tcpstack::{ConnId, Event, Limits, StackConfig};

use crate::bench::{ACK, Bench, MS, Packet, RST, config, packet};

/// A hundred chunks for everybody.
fn scarce() -> Bench {
    let limits = Limits { chunks: 96, chunk_bytes: 512, ..config().limits };
    Bench::with(StackConfig { limits, ..config() })
}

/// Fills what may hold data out of order, through as many connections as it takes, each with a hole
/// of one octet; they and their next sequence numbers.
fn dig_holes(bench: &mut Bench) -> Vec<(u16, u32, u32)> {
    let mut diggers = Vec::new();
    for port in 5_000..5_040 {
        let (seq, ack) = bench.open(port);
        diggers.push((port, seq, ack));
        for at in 0..40 {
            let ahead = packet(port, ACK, seq + 1 + at * 1_000, ack).octets(&[0x66; 900]);
            bench.answer(&ahead);
        }
        if bench.counters().drop_tcp_chunks > 0 {
            return diggers;
        }
    }
    panic!("the holes never filled the pool");
}

#[test]
fn holes_take_no_room_from_data_in_order() {
    let mut bench = scarce();
    dig_holes(&mut bench);
    let (seq, ack) = bench.open(4_000);
    bench.received.clear();
    bench.answer(&packet(4_000, ACK, seq, ack).octets(b"in order"));
    assert_eq!(bench.received, b"in order");
    let conn = bench.stack.open_connections() - 1;
    assert_eq!(bench.stack.send(bench.now_ns, conn, &[1; 1_000]), 1_000);
}

#[test]
fn holes_that_nobody_fills_are_given_up_when_chunks_are_short() {
    let mut bench = scarce();
    let diggers = dig_holes(&mut bench);
    let (seq, ack) = bench.open(4_000);
    bench.wait_ms(60_000);
    assert!(bench.counters().tcp_hole_reclaimed > 0);
    // Whoever has a hole and fills it loses nothing.
    let honest = packet(4_000, ACK, seq + 4, ack).octets(b"late");
    let dropped = bench.counters().drop_tcp_chunks;
    bench.answer(&honest);
    assert_eq!(bench.counters().drop_tcp_chunks, dropped, "there is room again");
    bench.received.clear();
    bench.answer(&packet(4_000, ACK, seq, ack).octets(b"and "));
    assert_eq!(bench.received.len() + bench.stack.backlog(diggers.len() as ConnId), 8);
    // The diggers are still there, and get what they send again.
    let (port, seq, ack) = diggers[0];
    bench.received.clear();
    bench.answer(&packet(port, ACK, seq, ack).octets(b"x"));
    assert_eq!(bench.received, b"x");
}

#[test]
fn without_a_shortage_holes_may_stay() {
    let mut bench = Bench::new();
    let (seq, ack) = bench.open(4_000);
    bench.answer(&packet(4_000, ACK, seq + 4, ack).octets(b"late"));
    bench.wait_ms(600_000);
    bench.answer(&packet(4_000, ACK, seq, ack).octets(b"and "));
    assert_eq!(bench.received.len() + bench.stack.backlog(0), 8);
    assert_eq!(bench.counters().tcp_hole_reclaimed, 0);
}

#[test]
fn single_octets_with_holes_between_them_cost_bounded_memory_and_work() {
    let mut bench = Bench::new();
    let (seq, ack) = bench.open(4_000);
    let free = bench.stack.gauges().free;
    for at in 0..50_000 {
        let octet = packet(4_000, ACK, seq + 1 + 2 * at, ack).octets(b"x").frame();
        bench.input(&[octet]);
    }
    bench.turn();
    // Twice what the window of 120,000 octets needs when it is full, and one to remember the order.
    let used = free - bench.stack.gauges().free;
    assert!(used <= 2 * 120_000_u64.div_ceil(500) + 5, "{used} chunks");
    assert!(bench.counters().drop_tcp_chunks > 0);
    bench.answer(&Packet { flags: RST, ..packet(4_000, RST, seq, 0) });
    assert_eq!(bench.stack.gauges().free, free);
}

/// Lets a connection's send queue fill although its window is closed.
fn stuff(bench: &mut Bench, port: u16) -> (ConnId, usize) {
    let (seq, ack) = bench.open(port);
    bench.answer(&packet(port, ACK, seq, ack).window(0));
    let Some(Event::Accepted { conn, .. }) = bench.events.last().copied() else { panic!() };
    (conn, bench.stack.send(bench.now_ns, conn, &[1; 60_000]))
}

/// Answers every probe with a window that stays closed.
fn refuse_probes(bench: &mut Bench, seconds: u64) {
    for _ in 0..seconds * 10 {
        bench.wait_ms(100);
        for probe in bench.sent() {
            let refused = packet(probe.ports.1, ACK, probe.ack, probe.seq).window(0);
            bench.input(&[refused.frame()]);
        }
        bench.turn();
    }
}

#[test]
fn slow_readers_lose_their_connections_when_chunks_are_short() {
    let mut bench = scarce();
    let mut readers = Vec::new();
    while let (conn, taken @ 1..) = stuff(&mut bench, 5_000 + readers.len() as u16) {
        readers.push((conn, taken));
    }
    assert!(bench.counters().tcp_stalled == 0 && readers.len() <= 2, "{readers:?}");
    bench.events.clear();
    refuse_probes(&mut bench, 120);
    assert!(bench.counters().tcp_stalled > 0);
    let ended = bench.events.iter().filter(|event| matches!(event, Event::Closed { .. }));
    assert!(ended.count() > 0);
    let (seq, ack) = bench.open(4_000);
    bench.answer(&packet(4_000, ACK, seq, ack));
    let Some(Event::Accepted { conn, .. }) = bench.events.last().copied() else { panic!() };
    assert_eq!(bench.stack.send(bench.now_ns, conn, &[1; 5_000]), 5_000);
}

#[test]
fn without_a_shortage_a_window_may_stay_closed() {
    // RFC 9293 §3.8.6.1, MUST-37.
    let mut bench = Bench::new();
    let (conn, taken) = stuff(&mut bench, 4_000);
    assert_eq!(taken, 60_000);
    refuse_probes(&mut bench, 1_000);
    assert!(bench.stack.peer(conn).is_some());
    assert_eq!(bench.counters().tcp_stalled, 0);
}

#[test]
fn closed_window_does_not_outlive_its_application_for_long() {
    let mut bench = Bench::new();
    let (conn, _) = stuff(&mut bench, 4_000);
    bench.stack.close(bench.now_ns, conn);
    let began_ns = bench.now_ns;
    refuse_probes(&mut bench, 700);
    assert!(bench.stack.peer(conn).is_none());
    assert_eq!(bench.counters().tcp_timed_out, 1);
    assert!(bench.now_ns - began_ns < 701_000 * MS);
    assert_eq!(bench.stack.gauges().free, bench.stack.gauges().total);
}
