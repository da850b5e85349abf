//! RFC 3168: what ECN changes on the wire, and what a peer that misuses its bits gets from it.

use std::net::{IpAddr, SocketAddr};

use tcpstack::{ConnId, Ecn, Features, StackConfig, SynCookies};

use crate::bench::{
    ACK, Bench, CWR, ECE, FIN, NS, PEER, PSH, Packet, SYN, config, packet, stamp_option,
};

const ECT_0: u8 = 2;
const ECT_1: u8 = 1;
const CE: u8 = 3;
const MSS: u32 = 1_460;

fn with(ecn: Ecn) -> Bench {
    Bench::with(StackConfig { features: Features { ecn, ..Features::default() }, ..config() })
}

/// The flags of the answer to a SYN with these.
fn answer_to(bench: &mut Bench, port: u16, flags: u16, traffic_class: u8) -> u16 {
    let syn = packet(port, SYN | flags, 1_000, 0).traffic_class(traffic_class);
    let syn_ack = bench.answer(&syn).remove(0);
    assert_eq!(syn_ack.traffic_class, 0, "RFC 3168 §6.1.1: no handshake is marked");
    syn_ack.flags
}

/// A connection with ECN; both ends' next sequence numbers.
fn open(bench: &mut Bench) -> (u32, u32) {
    let syn = packet(4_000, SYN | ECE | CWR, 1_000, 0).options(&[2, 4, 5, 180]);
    let syn_ack = bench.answer(&syn).remove(0);
    assert_eq!(syn_ack.flags, SYN | ACK | ECE);
    let ack = syn_ack.seq.wrapping_add(1);
    assert!(bench.answer(&packet(4_000, ACK, 1_001, ack)).is_empty());
    (1_001, ack)
}

fn send(bench: &mut Bench, conn: ConnId, octets: usize) -> Vec<Packet> {
    assert_eq!(bench.stack.send(bench.now_ns, conn, &vec![7; octets]), octets);
    bench.turn();
    bench.sent()
}

#[test]
fn passive_open_grants_what_asks_properly() {
    let mut bench = Bench::new();
    for (port, flags, traffic_class, granted) in [
        (4_000, ECE | CWR, 0, true),
        (4_001, ECE | CWR, 0xb8, true),
        (4_002, ECE | CWR | NS, 0, true),
        (4_003, 0, 0, false),
        (4_004, ECE, 0, false),
        (4_005, CWR, 0, false),
        (4_006, NS, 0, false),
        (4_007, ECE | CWR, ECT_0, false),
        (4_008, ECE | CWR, CE, false),
    ] {
        let expected = SYN | ACK | if granted { ECE } else { 0 };
        assert_eq!(answer_to(&mut bench, port, flags, traffic_class), expected, "{port}");
    }
    assert_eq!(answer_to(&mut with(Ecn::Off), 4_000, ECE | CWR, 0), SYN | ACK);
}

#[test]
fn syn_repeated_without_asking_is_granted_nothing() {
    let mut bench = Bench::new();
    assert_eq!(answer_to(&mut bench, 4_000, ECE | CWR, 0), SYN | ACK | ECE);
    assert_eq!(answer_to(&mut bench, 4_000, 0, 0), SYN | ACK);
    assert_eq!(answer_to(&mut bench, 4_000, ECE | CWR, 0), SYN | ACK);
}

#[test]
fn only_new_data_may_be_marked() {
    let mut bench = Bench::new();
    let (seq, ack) = open(&mut bench);
    assert_eq!(bench.counters().tcp_ecn, 1);
    let data = send(&mut bench, 0, 100);
    assert_eq!((data[0].traffic_class, data[0].flags), (ECT_0, ACK | PSH));
    bench.wait_ms(3_000);
    let again = bench.sent();
    assert!(!again.is_empty() && again.iter().all(|packet| packet.traffic_class == 0));
    let answers = bench.answer(&packet(4_000, ACK, seq, ack + 100).octets(b"x"));
    bench.wait_ms(100);
    for pure in answers.into_iter().chain(bench.sent()) {
        assert_eq!((pure.traffic_class, pure.flags), (0, ACK));
    }
    bench.stack.close(bench.now_ns, 0);
    bench.turn();
    let fin = bench.sent().remove(0);
    assert_eq!((fin.traffic_class, fin.flags), (0, ACK | FIN));
}

#[test]
fn without_ecn_nothing_is_marked_and_marks_mean_nothing() {
    let mut bench = Bench::new();
    let (seq, ack) = bench.open(4_000);
    assert_eq!(send(&mut bench, 0, 100)[0].traffic_class, 0);
    let marked = packet(4_000, ACK, seq, ack).octets(b"x").traffic_class(CE);
    bench.answer(&marked);
    bench.wait_ms(100);
    bench.answer(&Packet { flags: ACK | ECE, ..packet(4_000, ACK, seq + 1, ack) });
    assert!(bench.sent().iter().all(|packet| packet.flags & (ECE | CWR) == 0));
    assert_eq!(bench.counters().tcp_ecn_reduction, 0);
    assert_eq!(bench.counters().tcp_congestion_experienced, 0);
}

#[test]
fn mark_is_echoed_at_once_until_the_peer_has_slowed_down() {
    let mut bench = Bench::new();
    let (seq, ack) = open(&mut bench);
    let data = |at: u32, flags, traffic_class| {
        packet(4_000, ACK | flags, seq + at, ack).octets(b"x").traffic_class(traffic_class)
    };
    for (at, capable) in [(0, ECT_0), (1, ECT_1)] {
        bench.answer(&data(at, 0, capable));
    }
    bench.wait_ms(100);
    assert!(bench.sent().iter().all(|packet| packet.flags == ACK));
    assert_eq!(bench.answer(&data(2, 0, CE))[0].flags, ACK | ECE);
    bench.answer(&data(3, 0, ECT_0));
    let echoes = bench.answer(&data(4, 0, ECT_0));
    assert_eq!(echoes[0].flags, ACK | ECE, "again");
    assert_eq!(send(&mut bench, 0, 1)[0].flags, ACK | PSH | ECE, "with data as well");
    // RFC 3168 §6.1.3: one segment may tell both.
    assert_eq!(bench.answer(&data(5, CWR, CE))[0].flags, ACK | ECE);
    bench.answer(&data(6, CWR, ECT_0));
    bench.wait_ms(100);
    assert_eq!(bench.sent().pop().expect("an ACK").flags, ACK);
    assert_eq!(bench.counters().tcp_congestion_experienced, 2);
}

#[test]
fn marks_outside_the_window_or_without_text_are_not_echoed() {
    let mut bench = Bench::new();
    let (seq, ack) = open(&mut bench);
    let old = packet(4_000, ACK, seq - 1, ack).octets(b"x").traffic_class(CE);
    let beyond = packet(4_000, ACK, seq + 1_000_000, ack).octets(b"x").traffic_class(CE);
    let empty = packet(4_000, ACK, seq, ack).traffic_class(CE);
    for packet in [old, beyond, empty] {
        assert!(bench.answer(&packet).iter().all(|answer| answer.flags == ACK));
    }
    assert_eq!(bench.counters().tcp_congestion_experienced, 0);
}

#[test]
fn echo_halves_the_window_once_and_is_told() {
    let mut bench = Bench::new();
    let (seq, ack) = open(&mut bench);
    let first = send(&mut bench, 0, 60_000);
    assert_eq!(first.len(), 10, "the initial window");
    let echo = |octets: u32| packet(4_000, ACK | ECE, seq, ack.wrapping_add(octets));
    let mut flags: Vec<u16> = Vec::new();
    let mut outstanding = 10;
    for acked in 1..=10 {
        let next = bench.answer(&echo(acked * MSS));
        outstanding = outstanding - 1 + next.len();
        flags.extend(next.iter().map(|packet| packet.flags & CWR));
        assert!(next.iter().all(|packet| packet.traffic_class == ECT_0));
    }
    assert_eq!(bench.counters().tcp_ecn_reduction, 1, "one window, one reduction");
    assert!((4..=7).contains(&outstanding), "{outstanding}");
    assert_eq!(flags.iter().filter(|cwr| **cwr != 0).count(), 1);
    assert_eq!(flags[0], CWR, "told with the first new data");
    assert_eq!(bench.counters().tcp_retransmitted, 0);
    // Echoes that go on for what was sent afterwards count once more.
    let end = ack.wrapping_add((10 + outstanding as u32) * MSS);
    bench.answer(&packet(4_000, ACK | ECE, seq, end));
    assert_eq!(bench.counters().tcp_ecn_reduction, 2);
}

#[test]
fn echoes_without_end_leave_a_window_of_a_segment_or_two() {
    let mut bench = Bench::new();
    let (seq, ack) = open(&mut bench);
    let mut end = ack;
    for _ in 0..200 {
        let room = bench.stack.send_space(0).min(10_000);
        for sent in send(&mut bench, 0, room) {
            end = sent.seq.wrapping_add(sent.octets.len() as u32);
        }
        for sent in bench.answer(&packet(4_000, ACK | ECE, seq, end)) {
            end = sent.seq.wrapping_add(sent.octets.len() as u32);
        }
    }
    let more = bench.answer(&packet(4_000, ACK | ECE, seq, end)).len();
    assert!((1..=4).contains(&more), "it goes on, slowly: {more} segments");
}

#[test]
fn active_open_asks_once_and_then_without() {
    let mut bench = with(Ecn::Request);
    let remote = SocketAddr::new(IpAddr::V4(PEER), 80);
    bench.stack.connect(bench.now_ns, remote).expect("room");
    bench.turn();
    let syn = bench.sent().remove(0);
    assert_eq!((syn.flags, syn.traffic_class), (SYN | ECE | CWR, 0));
    bench.wait_ms(1_000);
    assert_eq!(bench.sent().remove(0).flags, SYN);
    // RFC 3168 §6.1.1: who has sent a SYN that did not ask must not mark.
    let late = syn_ack_for(&syn, ECE);
    bench.answer(&late);
    assert_eq!(send(&mut bench, 0, 10)[0].traffic_class, 0);
}

#[test]
fn active_open_takes_what_grants_properly() {
    for (granted, flags) in [(true, ECE), (false, 0), (false, ECE | CWR), (false, CWR)] {
        let mut bench = with(Ecn::Request);
        let remote = SocketAddr::new(IpAddr::V4(PEER), 80);
        bench.stack.connect(bench.now_ns, remote).expect("room");
        bench.turn();
        let syn = bench.sent().remove(0);
        bench.answer(&syn_ack_for(&syn, flags));
        let expected = if granted { ECT_0 } else { 0 };
        assert_eq!(send(&mut bench, 0, 10)[0].traffic_class, expected, "{flags:#x}");
    }
    let mut bench = Bench::new();
    let remote = SocketAddr::new(IpAddr::V4(PEER), 80);
    bench.stack.connect(bench.now_ns, remote).expect("room");
    bench.turn();
    let syn = bench.sent().remove(0);
    assert_eq!(syn.flags, SYN, "by default it does not ask");
    bench.answer(&syn_ack_for(&syn, ECE));
    assert_eq!(send(&mut bench, 0, 10)[0].traffic_class, 0);
}

fn syn_ack_for(syn: &Packet, flags: u16) -> Packet {
    Packet {
        ports: (syn.ports.1, syn.ports.0),
        ..packet(0, SYN | ACK | flags, 500, syn.seq.wrapping_add(1))
    }
}

#[test]
fn cookie_remembers_ecn_for_peers_with_timestamps() {
    for (stamps, expected) in [(true, ECT_0), (false, 0)] {
        let features = Features { syn_cookies: SynCookies::Always, ..Features::default() };
        let mut bench = Bench::with(StackConfig { features, ..config() });
        let options = if stamps { stamp_option(70, 0) } else { Vec::new() };
        let syn = packet(4_000, SYN | ECE | CWR, 1_000, 0).options(&options);
        let syn_ack = bench.answer(&syn).remove(0);
        assert_eq!(syn_ack.flags & ECE != 0, stamps);
        let options = syn_ack.stamps().map_or(Vec::new(), |(value, _)| stamp_option(71, value));
        let ack = packet(4_000, ACK, 1_001, syn_ack.seq.wrapping_add(1)).options(&options);
        bench.answer(&ack);
        assert_eq!(send(&mut bench, 0, 10)[0].traffic_class, expected);
    }
}
