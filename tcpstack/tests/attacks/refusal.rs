//! Who gets no connection, and costs nothing.

use std::net::Ipv4Addr;

use tcpstack::{Features, StackConfig, SynCookies};

use crate::bench::{ACK, Bench, Packet, RST, SYN, config, packet};

#[test]
fn after_refuse_new_syns_are_reset_and_connections_go_on() {
    let mut bench = Bench::new();
    let (seq, ack) = bench.open(4_000);
    bench.stack.refuse_new();
    let answers = bench.answer(&packet(4_001, SYN, 50, 0));
    assert_eq!((answers[0].flags, answers[0].ack), (RST | ACK, 51));
    bench.answer(&packet(4_000, ACK, seq, ack).octets(b"more"));
    assert_eq!(bench.received, b"more");
    assert_eq!((bench.counters().drop_tcp_refused, bench.counters().tcp_accepted), (1, 1));
}

#[test]
fn after_refuse_new_handshakes_under_way_are_reset() {
    for syn_cookies in [SynCookies::Never, SynCookies::Always] {
        let features = Features { syn_cookies, ..Features::default() };
        let mut bench = Bench::with(StackConfig { features, ..config() });
        let syn_ack = bench.answer(&packet(4_000, SYN, 50, 0)).remove(0);
        bench.stack.refuse_new();
        let answers = bench.answer(&packet(4_000, ACK, 51, syn_ack.seq.wrapping_add(1)));
        assert_eq!((answers[0].flags, answers[0].seq), (RST, syn_ack.seq.wrapping_add(1)));
        assert_eq!(bench.stack.gauges().syn_received, 0);
        assert!(bench.events.is_empty());
    }
}

#[test]
fn syn_from_where_no_route_leads_back_takes_no_entry() {
    let mut bench = Bench::new();
    let far = Packet { source: Ipv4Addr::new(192, 0, 2, 1), ..packet(4_000, SYN, 50, 0) };
    assert!(bench.answer(&far).is_empty());
    assert_eq!(bench.stack.gauges().syn_received, 0);
    assert_eq!(bench.counters().drop_tcp_unreachable, 1);
}
