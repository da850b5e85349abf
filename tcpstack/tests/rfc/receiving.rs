//! Receiving: reassembly, acknowledgements (RFC 9293 §3.8.6.3, RFC 5681 §4.2) and the window
//! (RFC 9293 §3.8.6).

use tcpstack::{Event, Limits, StackConfig};

use crate::bench::{Bench, config, seg};

#[test]
fn single_segment_is_acknowledged_after_the_delay() {
    let mut bench = Bench::established();
    bench.receive(seg("A", 1, 1).octets(b"one"));
    bench.wait_ms(39);
    assert!(bench.sent().is_empty());
    bench.wait_ms(1);
    assert_eq!(bench.lines(), ["A 1:1 ack 4"]);
    bench.wait_ms(1_000);
    assert!(bench.sent().is_empty(), "once");
}

#[test]
fn second_segment_is_acknowledged_at_once() {
    let mut bench = Bench::established();
    bench.receive(seg("A", 1, 1).octets(&[0; 1_000]));
    assert!(bench.sent().is_empty());
    bench.receive(seg("A", 1_001, 1).octets(&[0; 1_000]));
    assert_eq!(bench.lines(), ["A 1:1 ack 2001"]);
    bench.wait_ms(1_000);
    assert!(bench.sent().is_empty());
}

#[test]
fn answer_carries_the_acknowledgement() {
    let mut bench = Bench::established();
    bench.receive(seg("A", 1, 1).octets(b"question"));
    bench.send(0, b"answer");
    assert_eq!(bench.lines(), ["PA 1:7 ack 9"]);
    bench.wait_ms(100);
    assert!(bench.sent().is_empty());
}

#[test]
fn every_out_of_order_segment_is_acknowledged_at_once() {
    let mut bench = Bench::established();
    bench.receive_all(&[
        seg("A", 101, 1).octets(&[2; 100]),
        seg("A", 201, 1).octets(&[3; 100]),
        seg("A", 301, 1).octets(&[4; 100]),
    ]);
    assert_eq!(bench.lines(), ["A 1:1 ack 1", "A 1:1 ack 1", "A 1:1 ack 1"]);
    bench.receive(seg("A", 1, 1).octets(&[1; 100]));
    assert_eq!(bench.lines(), ["A 1:1 ack 401"]);
    assert!(matches!(bench.events[..], [Event::Data { len: 100, .. }, Event::Readable { .. }]));
    let mut rest = [0; 400];
    assert_eq!((bench.stack.backlog(0), bench.stack.peek(0, &mut rest)), (300, 300));
    assert_eq!((bench.received.as_slice(), rest[0], rest[299]), (&[1; 100][..], 2, 4));
}

#[test]
fn blocks_out_of_order_are_reported_and_duplicates_once() {
    // RFC 2018 §4, RFC 2883 §4.
    let mut bench = Bench::new();
    bench.receive(seg("S", 0, 0).sack_permitted());
    assert!(bench.sent()[0].sack_permitted);
    bench.receive(seg("A", 1, 1));
    let mut reports = |start: u32, octets| {
        bench.receive(seg("A", start, 1).octets(&vec![1; octets]));
        let [ack] = &bench.sent()[..] else { panic!("one acknowledgment at once") };
        (ack.ack, ack.sack.clone())
    };
    assert_eq!(reports(101, 100), (1, vec![(101, 201)]));
    assert_eq!(reports(301, 100), (1, vec![(301, 401), (101, 201)]));
    assert_eq!(reports(201, 50), (1, vec![(101, 251), (301, 401)]));
    assert_eq!(reports(301, 100), (1, vec![(301, 401), (301, 401), (101, 251)]));
    assert_eq!(reports(1, 100), (251, vec![(301, 401)]));
    assert_eq!(reports(1, 100), (251, vec![(1, 101), (301, 401)]));
    assert_eq!(reports(201, 150), (401, vec![(201, 251)]));
    assert_eq!(reports(1, 10), (401, vec![(1, 11)]));
}

#[test]
fn overlaps_are_cut() {
    let mut bench = Bench::established();
    bench.receive(seg("A", 1, 1).octets(b"abcdef"));
    bench.receive(seg("A", 3, 1).octets(b"cdefghi"));
    assert_eq!(bench.received, b"abcdefghi");
    assert_eq!(bench.lines(), ["A 1:1 ack 10"]);
}

#[test]
fn octets_in_order_after_octets_that_wait_to_be_spliced_keep_their_place() {
    let mut bench = Bench::established();
    bench.takes_nothing = true;
    bench.receive(seg("A", 4, 1).octets(b"def"));
    bench.receive_all(&[
        seg("A", 1, 1).octets(b"abc"),
        seg("A", 7, 1).octets(b"ghi"),
        seg("A", 10, 1).octets(b"jkl"),
    ]);
    let mut all = [0; 20];
    assert_eq!(bench.stack.peek(0, &mut all), 12);
    assert_eq!(&all[..12], b"abcdefghijkl");
}

#[test]
fn whole_window_fits_though_its_first_segment_comes_last() {
    let limits = Limits { receive_buffer_bytes: 20_000, ..config().limits };
    let mut bench = Bench::established_with(StackConfig { limits, ..config() });
    bench.takes_nothing = true;
    for at in 1..15 {
        bench.receive(seg("A", 1 + at * 1_000, 1).octets(&[0; 1_000]));
    }
    bench.receive_all(
        &[0, 15, 16, 17, 18, 19].map(|at| seg("A", 1 + at * 1_000, 1).octets(&[0; 1_000])),
    );
    assert_eq!((bench.stack.backlog(0), bench.counters().drop_tcp_chunks), (20_000, 0));
}

#[test]
fn window_closes_as_octets_wait_and_opens_as_they_are_consumed() {
    let limits = Limits { receive_buffer_bytes: 4_000, ..config().limits };
    let mut bench = Bench::established_with(StackConfig { limits, ..config() });
    bench.takes_nothing = true;
    bench.receive_all(&[1, 1_001].map(|at| seg("A", at, 1).octets(&[0; 1_000])));
    let [ack] = &bench.sent()[..] else { panic!("one ACK") };
    assert_eq!((ack.ack, ack.window), (2_001, 2_000));
    bench.receive_all(&[2_001, 3_001].map(|at| seg("A", at, 1).octets(&[0; 1_000])));
    let [ack] = &bench.sent()[..] else { panic!("one ACK") };
    assert_eq!((ack.ack, ack.window), (4_001, 0));
    // Less than a segment is not worth telling.
    bench.stack.consume(0, 1_000);
    bench.turn();
    assert!(bench.sent().is_empty());
    bench.stack.consume(0, 1_000);
    bench.turn();
    let [update] = &bench.sent()[..] else { panic!("one window update") };
    assert_eq!((update.line().as_str(), update.window), ("A 1:1 ack 4001", 2_000));
}

#[test]
fn right_edge_of_the_window_never_moves_back() {
    let mut bench = Bench::established();
    bench.takes_nothing = true;
    let mut edge = 60_001;
    let mut at = 1;
    for len in [1_u32, 700, 1_400, 3, 1_400, 1_400, 900] {
        bench.receive(seg("A", at, 1).octets(&vec![0; len as usize]));
        bench.wait_ms(40);
        at += len;
        for ack in bench.sent() {
            assert_eq!(ack.ack, at);
            assert!(ack.ack + u32::from(ack.window) >= edge);
            edge = ack.ack + u32::from(ack.window);
        }
    }
}

#[test]
fn probe_of_a_closed_window_is_answered_and_its_acknowledgment_taken() {
    let limits = Limits { receive_buffer_bytes: 2_048, ..config().limits };
    let mut bench = Bench::established_with(StackConfig { limits, ..config() });
    bench.takes_nothing = true;
    bench.send(0, b"ours");
    bench.receive_all(&[1, 1_025].map(|at| seg("A", at, 1).octets(&[0; 1_024])));
    bench.sent();
    bench.receive(seg("A", 2_049, 5).octets(b"?"));
    let [ack] = &bench.sent()[..] else { panic!("one ACK") };
    assert_eq!((ack.line().as_str(), ack.window), ("A 5:5 ack 2049", 0));
    bench.wait_ms(10_000);
    assert!(bench.sent().is_empty(), "ours was acknowledged by the probe");
}

#[test]
fn empty_probe_of_a_closed_window_is_answered() {
    // Linux probes with the octet before the next one, and without it.
    let limits = Limits { receive_buffer_bytes: 2_048, ..config().limits };
    let mut bench = Bench::established_with(StackConfig { limits, ..config() });
    bench.takes_nothing = true;
    bench.receive_all(&[1, 1_025].map(|at| seg("A", at, 1).octets(&[0; 1_024])));
    bench.sent();
    bench.receive(seg("A", 2_048, 1));
    let [ack] = &bench.sent()[..] else { panic!("one ACK") };
    assert_eq!((ack.line().as_str(), ack.window), ("A 1:1 ack 2049", 0));
}

#[test]
fn scaled_window_is_advertised_after_the_handshake() {
    let limits = Limits { receive_buffer_bytes: 1 << 20, ..config().limits };
    let mut bench = Bench::with(StackConfig { limits, ..config() });
    bench.receive(seg("S", 0, 0).shift(2));
    let [syn_ack] = &bench.sent()[..] else { panic!("one SYN-ACK") };
    assert_eq!((syn_ack.shift, syn_ack.window), (Some(5), 65_535));
    bench.receive(seg("A", 1, 1));
    bench.receive_all(&[1, 11].map(|at| seg("A", at, 1).octets(&[0; 10])));
    let [ack] = &bench.sent()[..] else { panic!("one ACK") };
    assert_eq!(u32::from(ack.window) << 5, 1 << 20);
}

#[test]
fn data_for_which_there_is_no_chunk_is_not_acknowledged() {
    let limits = Limits { chunks: 16, ..config().limits };
    let mut bench = Bench::established_with(StackConfig { limits, ..config() });
    bench.takes_nothing = true;
    for at in 0..8 {
        bench.receive(seg("A", 1 + at * 1_000, 1).octets(&[7; 1_000]));
    }
    assert!(bench.counters().drop_tcp_chunks > 0);
    let acknowledged = bench.sent().last().expect("an ACK").ack - 1;
    assert_eq!(bench.stack.backlog(0), acknowledged as usize);
    bench.stack.consume(0, 100_000);
    bench.turn();
    bench.receive(seg("A", acknowledged + 1, 1).octets(&[7; 1_000]));
    assert_eq!(bench.stack.backlog(0), 1_000, "sent again, it is taken");
}
