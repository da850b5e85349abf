//! RFC 4987: floods of SYNs, and the cookies that answer them.

use tcpstack::{Event, Features, Limits, StackConfig, State, SynCookies};

use crate::bench::{ACK, Bench, FIN, MS, Packet, RST, SYN, config, option, packet, stamp_option};

const IRS: u32 = u32::MAX - 5;

fn always() -> Bench {
    let features = Features { syn_cookies: SynCookies::Always, ..Features::default() };
    Bench::with(StackConfig { features, ..config() })
}

/// Fills the table of passive opens from other ports.
fn flood(bench: &mut Bench) {
    for port in 10_000..10_500 {
        bench.answer(&packet(port, SYN, 1, 0));
    }
    assert_eq!(bench.stack.gauges().syn_received, 32);
}

/// MSS 1,460, SACK, window shift 7 and a timestamp.
fn full_syn(port: u16) -> Packet {
    let mut options = vec![2, 4, 5, 180, 4, 2, 3, 3, 7, 1, 1, 1];
    options.extend(stamp_option(70, 0));
    packet(port, SYN, IRS, 0).options(&options)
}

fn syn_ack(bench: &mut Bench, syn: &Packet) -> Packet {
    let answers = bench.answer(syn);
    let [syn_ack] = &answers[..] else { panic!("one SYN-ACK, not {}", answers.len()) };
    assert_eq!((syn_ack.flags & (SYN | ACK), syn_ack.ack), (SYN | ACK, IRS.wrapping_add(1)));
    syn_ack.clone()
}

/// The ACK of a SYN-ACK.
fn last_ack(syn_ack: &Packet) -> Packet {
    let (seq, ack) = (syn_ack.ack, syn_ack.seq.wrapping_add(1));
    let ack = packet(syn_ack.ports.1, ACK, seq, ack);
    match syn_ack.stamps() {
        Some((value, _)) => ack.options(&stamp_option(71, value)),
        None => ack,
    }
}

#[test]
fn client_connects_during_a_flood_and_keeps_its_options() {
    let mut bench = Bench::new();
    flood(&mut bench);
    let syn_ack = syn_ack(&mut bench, &full_syn(4_000));
    assert_eq!(option(&syn_ack.options, 2), Some(&1_460_u16.to_be_bytes()[..]));
    assert_eq!(option(&syn_ack.options, 3), Some(&[1][..]));
    assert!(option(&syn_ack.options, 4).is_some());
    assert_eq!(syn_ack.stamps().map(|stamps| stamps.1), Some(70));
    assert_eq!(bench.stack.gauges().syn_received, 32, "nothing is remembered");
    let ack = last_ack(&syn_ack).window(100).octets(b"hello");
    bench.answer(&ack);
    let [Event::Accepted { conn, listener: 1 }, Event::Data { .. }] = bench.events[..] else {
        panic!("{:?}", bench.events);
    };
    assert_eq!(bench.received, b"hello");
    assert_eq!(bench.stack.state(conn), Some(State::Established));
    // 100 << 7 octets fit, in segments of the MSS without the timestamp's 12.
    bench.stack.send(bench.now_ns, conn, &[1; 20_000]);
    bench.turn();
    let sent = bench.sent();
    let octets: usize = sent.iter().map(|packet| packet.octets.len()).sum();
    assert_eq!(sent[0].octets.len(), 1_448);
    assert!(octets > 65_535 / 6 && octets <= 12_800, "{octets}");
    // What comes out of order is told.
    let stamp = stamp_option(72, syn_ack.stamps().expect("there are").0);
    let next = ack.seq.wrapping_add(5);
    let ahead = Packet { seq: next.wrapping_add(100), ..ack.clone() }.octets(b"x").options(&stamp);
    let told = bench.answer(&ahead).remove(0);
    assert_eq!(option(&told.options, 5).map(<[u8]>::len), Some(8));
    let counters = bench.counters();
    assert_eq!((counters.tcp_syn_cookie_accepted, counters.tcp_accepted), (1, 1));
    assert_eq!(counters.tcp_syn_cookie_sent, 500 - 32 + 1);
}

#[test]
fn peer_without_timestamps_goes_without_window_scale() {
    let mut bench = always();
    let syn = packet(4_000, SYN, IRS, 0).options(&[2, 4, 5, 0, 4, 2, 3, 3, 7, 1, 1, 1]);
    let syn_ack = syn_ack(&mut bench, &syn);
    assert_eq!(option(&syn_ack.options, 3), None);
    assert_eq!((option(&syn_ack.options, 4), syn_ack.stamps()), (None, None));
    bench.answer(&last_ack(&syn_ack).window(100));
    bench.stack.send(bench.now_ns, 0, &[1; 20_000]);
    bench.turn();
    let octets: usize = bench.sent().iter().map(|packet| packet.octets.len()).sum();
    assert_eq!(octets, 100);
}

#[test]
fn mss_of_a_cookie_is_never_more_than_the_peer_takes() {
    for (mss, most) in [(100_u16, 88), (536, 536), (1_300, 1_220), (1_460, 1_460), (9_000, 1_460)] {
        let mut bench = always();
        let [high, low] = mss.to_be_bytes();
        let syn_ack = syn_ack(&mut bench, &packet(4_000, SYN, IRS, 0).options(&[2, 4, high, low]));
        bench.answer(&last_ack(&syn_ack));
        bench.stack.send(bench.now_ns, 0, &[1; 3_000]);
        bench.turn();
        assert_eq!(bench.sent()[0].octets.len(), most, "{mss}");
    }
}

#[test]
fn wrong_or_old_cookies_are_reset_and_counted() {
    let mut bench = always();
    let syn_ack = syn_ack(&mut bench, &full_syn(4_000));
    let good = last_ack(&syn_ack);
    let wrong = [
        Packet { ack: good.ack.wrapping_add(8), ..good.clone() },
        Packet { ack: good.ack.wrapping_add(1 << 12), ..good.clone() },
        Packet { ports: (4_001, good.ports.1), ..good.clone() },
    ];
    for (at, ack) in wrong.iter().enumerate() {
        let resets = bench.answer(ack);
        assert_eq!((resets[0].flags, resets[0].seq), (RST, ack.ack), "{at}");
        assert_eq!(bench.counters().drop_tcp_syn_cookie, at as u64 + 1);
    }
    bench.now_ns += 128_000 * MS;
    let other = Packet { ports: (4_002, good.ports.1), ..full_syn(4_002) };
    bench.answer(&other);
    assert_eq!(bench.answer(&good)[0].flags, RST, "two slots later");
    assert_eq!(bench.counters().drop_tcp_syn_cookie, 4);
    assert!(bench.events.is_empty());
}

#[test]
fn what_overtakes_the_last_ack_is_not_refused() {
    let mut bench = always();
    let good = last_ack(&syn_ack(&mut bench, &full_syn(4_000)));
    let ahead = Packet { seq: good.seq.wrapping_add(5), octets: vec![1; 5], ..good.clone() };
    let empty = Packet { octets: Vec::new(), ..ahead.clone() };
    assert!(bench.answer(&ahead).is_empty() && bench.answer(&empty).is_empty(), "it comes again");
    assert_eq!(bench.counters().drop_tcp_syn_cookie, 2);
    bench.answer(&good);
    assert_eq!(bench.counters().tcp_accepted, 1);
    let guess = Packet { ack: good.ack.wrapping_add(8), ..ahead };
    let other = Packet { ports: (4_001, good.ports.1), ..guess };
    assert_eq!(bench.answer(&other)[0].flags, RST);
}

#[test]
fn without_a_cookie_out_no_acknowledgment_is_looked_at() {
    let mut bench = always();
    let good = last_ack(&syn_ack(&mut bench, &full_syn(4_000)));
    // A stack that has sent none in this slot or the last does not try, however right it is.
    bench.now_ns += 128_000 * MS;
    for port in 0..1_000 {
        let guess = Packet { ports: (port + 1_024, good.ports.1), ..good.clone() };
        assert_eq!(bench.answer(&guess)[0].flags, RST);
    }
    assert_eq!(bench.counters().drop_tcp_syn_cookie, 0);
    assert_eq!(bench.counters().drop_tcp_listen, 1_000);
}

#[test]
fn blind_acks_make_no_connection_while_cookies_are_out() {
    let seed = 11;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bench = always();
    syn_ack(&mut bench, &full_syn(4_000));
    for _ in 0..100_000 {
        let guess = packet(random.u16(1_024..), ACK, random.u32(..), random.u32(..));
        bench.input(&[guess.frame()]);
        bench.turn();
        bench.sent();
    }
    assert!(bench.events.is_empty(), "seed {seed}");
    assert_eq!(bench.counters().drop_tcp_syn_cookie, 100_000);
    assert_eq!(bench.stack.open_connections(), 0);
}

#[test]
fn cookie_connection_takes_the_place_of_an_unfinished_one() {
    let limits = Limits { connections: 2, ..config().limits };
    let mut bench = Bench::with(StackConfig { limits, ..config() });
    for port in 0..2 {
        bench.answer(&packet(10_000 + port, SYN, 1, 0));
    }
    for port in [4_000, 4_001] {
        let syn_ack = syn_ack(&mut bench, &full_syn(port));
        bench.answer(&last_ack(&syn_ack));
    }
    assert_eq!(bench.stack.gauges().established, 2);
    assert_eq!(bench.stack.gauges().syn_received, 0);
    assert_eq!(bench.counters().tcp_syn_evicted, 2);
    assert!(bench.answer(&full_syn(4_002)).is_empty(), "no TCB is left");
    assert_eq!(bench.counters().drop_tcp_connections_full, 1);
}

#[test]
fn cookie_ack_without_a_tcb_may_try_again_later() {
    let limits = Limits { connections: 1, ..config().limits };
    let features = Features { syn_cookies: SynCookies::Always, ..Features::default() };
    let mut bench = Bench::with(StackConfig { limits, features, ..config() });
    let [first, second] = [4_000, 4_001].map(|port| syn_ack(&mut bench, &full_syn(port)));
    bench.answer(&last_ack(&first));
    assert!(bench.answer(&last_ack(&second).octets(b"early")).is_empty(), "not refused");
    bench.stack.abort(bench.now_ns, 0);
    bench.turn();
    bench.sent();
    bench.answer(&last_ack(&second).octets(b"early"));
    assert_eq!(bench.received, b"early");
}

#[test]
fn fin_with_the_ack_of_a_cookie_closes_the_connection() {
    let mut bench = always();
    let syn_ack = syn_ack(&mut bench, &full_syn(4_000));
    let ack = last_ack(&syn_ack);
    bench.answer(&Packet { flags: ACK | FIN, ..ack }.octets(b"bye"));
    assert_eq!(bench.received, b"bye");
    assert_eq!(bench.stack.state(0), Some(State::CloseWait));
}

#[test]
fn flood_leaves_nothing_behind() {
    let mut bench = Bench::new();
    flood(&mut bench);
    bench.wait_ms(70_000);
    assert_eq!((bench.stack.gauges().syn_received, bench.stack.gauges().flows), (0, 0));
    let (seq, ack) = bench.open(4_000);
    bench.answer(&packet(4_000, ACK, seq, ack).octets(b"after"));
    assert_eq!(bench.received, b"after");
}
