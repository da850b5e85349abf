//! Who cannot see a connection must not harm it: RFC 5961, RFC 9293 §3.4.1, and what peers may learn
//! from how much we answer (CVE-2016-5696).

use std::collections::HashSet;

use crate::bench::{ACK, Bench, Packet, RST, SYN, packet};

const WINDOW: u32 = 120_000;
const CHALLENGES: usize = 10;

#[test]
fn resets_across_the_sequence_space_end_nothing_but_at_the_next_octet() {
    let seed = 3;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bench = Bench::new();
    let (seq, _) = bench.open(4_000);
    let mut answers = 0;
    for _ in 0..20_000 {
        let guess = random.u32(..);
        if guess != seq {
            answers += bench.answer(&packet(4_000, RST, guess, 0)).len();
        }
    }
    for guess in (1..WINDOW).step_by(97) {
        answers += bench.answer(&packet(4_000, RST, seq.wrapping_add(guess), 0)).len();
    }
    assert!(bench.stack.peer(0).is_some(), "seed {seed}");
    assert_eq!(answers, CHALLENGES, "seed {seed}");
    assert!(bench.counters().drop_tcp_reset > 20_000);
    assert!(bench.counters().tcp_challenge_ack_limited > 1_000);
    bench.answer(&packet(4_000, RST, seq, 0));
    assert!(bench.stack.peer(0).is_none(), "the peer's own is believed");
}

#[test]
fn syns_are_questioned_whatever_their_number() {
    let mut bench = Bench::new();
    let (seq, ack) = bench.open(4_000);
    for guess in [seq, seq + 1, seq.wrapping_sub(1), seq + WINDOW + 5, 0] {
        let answers = bench.answer(&packet(4_000, SYN, guess, 0));
        let expected = Packet { flags: ACK, seq: ack, ack: seq, ..answers[0].clone() };
        assert_eq!(answers, [expected]);
    }
    bench.answer(&packet(4_000, ACK, seq, ack).octets(b"on"));
    assert_eq!(bench.received, b"on");
}

#[test]
fn data_with_an_acknowledgment_out_of_range_is_not_taken() {
    let seed = 4;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bench = Bench::new();
    let (seq, ack) = bench.open(4_000);
    let mut refused = 0;
    for _ in 0..10_000 {
        // The attacker is so lucky as to hit the window, but does not know SND.UNA.
        let guess: u32 = random.u32(..);
        if ack.wrapping_sub(guess) <= 60_000 {
            continue;
        }
        refused += 1;
        bench.answer(&packet(4_000, ACK, seq, guess).octets(b"evil"));
    }
    assert!(bench.received.is_empty(), "seed {seed}");
    assert_eq!(bench.counters().drop_tcp_ack, refused, "seed {seed}");
}

#[test]
fn challenges_of_one_connection_tell_nothing_about_another() {
    // CVE-2016-5696: with one budget for all, the attacker counts on his own connection what was
    // spent on another's.
    let mut bench = Bench::new();
    let (victim, _) = bench.open(4_000);
    let (own, _) = bench.open(4_001);
    let challenged = |bench: &mut Bench, port, seq: u32| {
        let guesses = (0..100).map(|at| packet(port, RST, seq.wrapping_add(1 + at), 0));
        guesses.map(|guess| bench.answer(&guess).len()).sum::<usize>()
    };
    assert_eq!(challenged(&mut bench, 4_000, victim), CHALLENGES, "the guess was right");
    assert_eq!(challenged(&mut bench, 4_001, own), CHALLENGES);
    bench.wait_ms(10_000);
    assert_eq!(challenged(&mut bench, 4_000, victim.wrapping_add(1 << 31)), 0, "it was wrong");
    assert_eq!(challenged(&mut bench, 4_001, own), CHALLENGES, "and nothing shows the difference");
}

#[test]
fn passive_open_questions_a_few_segments_and_no_more() {
    let mut bench = Bench::new();
    let syn_ack = bench.answer(&packet(4_000, SYN, 1_000, 0)).remove(0);
    let ack = syn_ack.seq.wrapping_add(1);
    let mut answers = 0;
    for at in 0..1_000 {
        answers += bench.answer(&packet(4_000, RST, 1_002 + at, 0)).len();
        answers += bench.answer(&packet(4_000, SYN, 1_002 + at, 0)).len();
        answers += bench.answer(&packet(4_000, ACK, 500_000 + at, ack)).len();
    }
    assert_eq!(answers, CHALLENGES);
    assert_eq!(bench.counters().tcp_challenge_ack_limited, 3_000 - CHALLENGES as u64);
    assert!(bench.answer(&packet(4_000, ACK, 1_001, ack)).is_empty());
    assert_eq!(bench.stack.gauges().established, 1);
}

#[test]
fn initial_sequence_numbers_of_flows_tell_nothing_about_each_other() {
    let mut bench = Bench::new();
    let mut isn = |port: u16| {
        let syn_ack = bench.answer(&packet(port, SYN, 9, 0)).remove(0);
        bench.answer(&packet(port, RST, 10, 0));
        syn_ack.seq
    };
    // All at the same time: so differences are the hash's alone.
    let numbers: Vec<u32> = (1_024..21_504).map(&mut isn).collect();
    let distinct: HashSet<u32> = numbers.iter().copied().collect();
    // 20,480 of 2³²: 0.05 pairs alike are to be expected.
    assert!(distinct.len() >= numbers.len() - 3);
    let deltas: Vec<u32> = numbers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    let distinct: HashSet<u32> = deltas.iter().copied().collect();
    assert!(distinct.len() >= deltas.len() - 3, "no step is usual");
    for bit in 0..32 {
        for (what, values) in [("number", &numbers), ("difference", &deltas)] {
            let ones = values.iter().filter(|value| *value >> bit & 1 == 1).count() as f64;
            let half = values.len() as f64 / 2.0;
            // Six standard deviations.
            assert!((ones - half).abs() < 6.0 * (half / 2.0).sqrt(), "{what}, bit {bit}: {ones}");
        }
    }
}

#[test]
fn initial_sequence_numbers_of_a_flow_grow_with_the_clock() {
    // RFC 9293 §3.4.1: an old duplicate is before what a new connection takes.
    let mut bench = Bench::new();
    let mut last: Option<u32> = None;
    for _ in 0..50 {
        let syn_ack = bench.answer(&packet(4_000, SYN, 9, 0)).remove(0);
        bench.answer(&packet(4_000, RST, 10, 0));
        if let Some(last) = last {
            assert_eq!(syn_ack.seq.wrapping_sub(last), 250_000, "one each 4 µs");
        }
        last = Some(syn_ack.seq);
        bench.wait_ms(1_000);
    }
}
