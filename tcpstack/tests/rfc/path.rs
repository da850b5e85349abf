//! Paths narrower than the link (RFC 1191, RFC 4821, RFC 5927), ICMP errors, and fragments.

use smoltcp::wire::IpProtocol;
use tcpstack::{CloseReason, Event};

use crate::bench::{Bench, OWN, PEER, ip_frame, seg};

/// Checksum of IP and ICMP, the slow way.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u32::from(*b)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!sum as u16).to_be_bytes()
}

/// An ICMP error about a packet of `packet_bytes` that began at `seq` of our stream.
fn error(bench: &Bench, [kind, code]: [u8; 2], mtu: u16, seq: u32, packet_bytes: u16) -> Vec<u8> {
    let mut bytes = vec![kind, code, 0, 0, 0, 0];
    bytes.extend(mtu.to_be_bytes());
    bytes.extend([0x45, 0]);
    bytes.extend(packet_bytes.to_be_bytes());
    bytes.extend([0, 0, 0x40, 0, 63, 6, 0, 0]);
    bytes.extend(OWN.octets());
    bytes.extend(PEER.octets());
    bytes.extend(bench.own_port.to_be_bytes());
    bytes.extend(bench.peer_port.to_be_bytes());
    bytes.extend(bench.iss.wrapping_add(seq).to_be_bytes());
    let sum = checksum(&bytes);
    bytes[2..4].copy_from_slice(&sum);
    ip_frame(IpProtocol::Icmp, &bytes)
}

fn too_big(bench: &mut Bench, mtu: u16, seq: u32, packet_bytes: u16) {
    let frame = error(bench, [3, 4], mtu, seq, packet_bytes);
    bench.receive_frames(&[frame]);
}

/// Lengths of the segments sent since the last look.
fn lengths(bench: &mut Bench) -> Vec<usize> {
    bench.sent().iter().map(|segment| segment.octets.len()).collect()
}

/// A connection whose peer takes 1,400 octets in a segment.
fn wide() -> Bench {
    let mut bench = Bench::new();
    bench.open(seg("S", 0, 0).mss(1_400));
    bench
}

#[test]
fn report_about_the_first_full_segment_is_believed_at_once() {
    let mut bench = wide();
    bench.send(0, &[1; 2_800]);
    assert_eq!(lengths(&mut bench), [1_400, 1_400]);
    too_big(&mut bench, 1_040, 1, 1_440);
    assert_eq!(lengths(&mut bench), [1_000, 1_000, 800], "all of it again, smaller");
    assert_eq!(bench.counters().path_mtu_reduced, 1);
    too_big(&mut bench, 1_040, 1_401, 1_440);
    assert!(lengths(&mut bench).is_empty(), "it says nothing new");
    assert_eq!(bench.counters().drop_icmp_mtu, 1);
    bench.receive(seg("A", 1, 2_801));
    bench.send(0, &[2; 2_000]);
    assert_eq!(lengths(&mut bench), [1_000, 1_000]);
}

#[test]
fn report_is_no_sign_of_congestion() {
    let mut bench = wide();
    bench.send(0, &[1; 14_000]);
    assert_eq!(lengths(&mut bench).iter().sum::<usize>(), 14_000);
    too_big(&mut bench, 1_040, 1, 1_440);
    assert_eq!(lengths(&mut bench).iter().sum::<usize>(), 14_000, "the whole window again");
}

#[test]
fn report_after_full_segments_were_acknowledged_waits_for_the_timeout() {
    // RFC 5927 §7.2.
    let mut bench = wide();
    bench.send(0, &[1; 1_400]);
    bench.receive(seg("A", 1, 1_401));
    bench.send(0, &[2; 1_400]);
    lengths(&mut bench);
    too_big(&mut bench, 1_040, 1_401, 1_440);
    assert!(lengths(&mut bench).is_empty());
    assert_eq!(bench.counters().path_mtu_doubted, 1);
    bench.wait_ms(210);
    assert_eq!(lengths(&mut bench), [1_000, 400], "it was true, and there is no congestion");
    assert_eq!(bench.counters().path_mtu_reduced, 1);
}

#[test]
fn report_is_a_lie_when_what_it_was_about_is_acknowledged() {
    let mut bench = wide();
    bench.send(0, &[1; 1_400]);
    bench.receive(seg("A", 1, 1_401));
    bench.send(0, &[2; 2_800]);
    too_big(&mut bench, 1_040, 1_401, 1_440);
    bench.receive(seg("A", 1, 2_801));
    bench.send(0, &[3; 1_400]);
    lengths(&mut bench);
    bench.wait_ms(210);
    assert_eq!(lengths(&mut bench), [1_400], "an ordinary loss");
    assert_eq!((bench.counters().path_mtu_disproved, bench.counters().path_mtu_reduced), (1, 0));
}

#[test]
fn report_about_octets_not_under_way_is_dropped() {
    let mut bench = wide();
    bench.send(0, &[1; 1_400]);
    lengths(&mut bench);
    for seq in [0, 1_401, 0x8000_0000] {
        too_big(&mut bench, 1_040, seq, 1_440);
    }
    assert!(lengths(&mut bench).is_empty());
    assert_eq!(bench.counters().drop_icmp_sequence, 3);
    bench.peer_port += 1;
    too_big(&mut bench, 1_040, 1, 1_440);
    assert_eq!(bench.counters().drop_icmp_flow, 1);
}

#[test]
fn report_without_mtu_takes_the_next_plateau_and_none_goes_below_552() {
    let mut bench = wide();
    bench.send(0, &[1; 1_400]);
    lengths(&mut bench);
    too_big(&mut bench, 0, 1, 1_440);
    assert_eq!(lengths(&mut bench), [966, 434], "RFC 1191 §7.1: 1,006");
    too_big(&mut bench, 100, 1, 1_006);
    assert_eq!(lengths(&mut bench), [512, 512, 376]);
    too_big(&mut bench, 100, 1, 552);
    assert!(lengths(&mut bench).is_empty());
}

#[test]
fn what_was_learnt_serves_new_connections_and_is_forgotten_after_ten_minutes() {
    let mut bench = wide();
    bench.send(0, &[1; 1_400]);
    too_big(&mut bench, 1_040, 1, 1_440);
    bench.receive(seg("A", 1, 1_401));
    lengths(&mut bench);
    bench.peer_port += 1;
    bench.receive(seg("S", 0, 0).mss(1_400));
    lengths(&mut bench);
    bench.receive(seg("A", 1, 1));
    bench.send(1, &[1; 1_400]);
    assert_eq!(lengths(&mut bench), [1_000, 400]);
    bench.receive(seg("A", 1, 1_401));
    bench.wait_ms(601_000);
    bench.send(1, &[1; 1_400]);
    let full = |frame: &Vec<u8>| frame.len() == 14 + 40 + 1_400;
    assert!(bench.sent_frames().iter().any(full), "RFC 1191 §6.3");
    assert_eq!(bench.counters().path_mtu_raised, 1);
}

#[test]
fn full_segments_that_vanish_get_smaller_and_large_ones_are_tried_once_more() {
    // RFC 4821 §7.7.
    let mut bench = wide();
    bench.send(0, &[1; 1_400]);
    lengths(&mut bench);
    bench.wait_ms(700);
    assert_eq!(lengths(&mut bench), [1_400, 1_400], "twice may be congestion");
    bench.wait_ms(800);
    assert_eq!(lengths(&mut bench), [1_240], "three times is a pattern");
    bench.receive(seg("A", 1, 1_241));
    assert_eq!(lengths(&mut bench), [160]);
    bench.receive(seg("A", 1, 1_401));
    bench.send(0, &[2; 1_400]);
    assert_eq!(lengths(&mut bench), [1_400], "the peer may have been silent for another reason");
    bench.wait_ms(1_500);
    let again = lengths(&mut bench);
    assert_eq!(again.last(), Some(&1_240), "{again:?}");
    bench.receive(seg("A", 1, 1_401 + 1_240));
    bench.receive(seg("A", 1, 2_801));
    lengths(&mut bench);
    bench.send(0, &[3; 1_400]);
    assert_eq!(lengths(&mut bench), [1_240, 160], "now it stays");
    assert_eq!(bench.counters().path_mtu_guessed, 2);
}

#[test]
fn connection_goes_on_whatever_icmp_says() {
    let mut bench = wide();
    bench.send(0, &[1; 100]);
    for code in [[3, 0], [3, 1], [3, 2], [3, 3], [3, 13], [11, 0], [12, 0], [4, 0]] {
        let frame = error(&bench, code, 0, 1, 140);
        bench.receive_frames(&[frame]);
    }
    assert!(bench.events.is_empty(), "RFC 5927 §5.2");
    let counters = bench.counters();
    assert_eq!((counters.icmp_hard_error, counters.icmp_soft_error), (3, 4));
    assert_eq!(counters.icmp_source_quench, 1);
}

#[test]
fn opening_ends_with_a_hard_error_and_goes_on_after_a_soft_one() {
    let mut bench = Bench::new();
    let conn = bench.connect();
    bench.sent();
    let soft = error(&bench, [3, 1], 0, 0, 60);
    bench.receive_frames(&[soft]);
    assert!(bench.events.is_empty(), "RFC 1122 §4.2.3.9");
    let forged = error(&bench, [3, 3], 0, 1, 60);
    bench.receive_frames(&[forged]);
    assert!(bench.events.is_empty(), "not our initial sequence number");
    let hard = error(&bench, [3, 3], 0, 0, 60);
    bench.receive_frames(&[hard]);
    assert_eq!(bench.events, [Event::Closed { conn, reason: CloseReason::Refused }]);
}

/// `frame` in fragments of `bytes` octets of payload.
fn fragments(frame: &[u8], bytes: usize) -> Vec<Vec<u8>> {
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let payload = &frame[34..14 + total];
    let count = payload.len().div_ceil(bytes);
    payload
        .chunks(bytes)
        .enumerate()
        .map(|(at, piece)| {
            let mut fragment = frame[..34].to_vec();
            let more = if at + 1 < count { 0x2000 } else { 0 };
            let place = (at * bytes / 8) as u16 | more;
            fragment[16..18].copy_from_slice(&((piece.len() + 20) as u16).to_be_bytes());
            fragment[18..20].copy_from_slice(&[0x12, 0x34]);
            fragment[20..22].copy_from_slice(&place.to_be_bytes());
            fragment[24..26].fill(0);
            let sum = checksum(&fragment[14..34]);
            fragment[24..26].copy_from_slice(&sum);
            fragment.extend(piece);
            fragment
        })
        .collect()
}

#[test]
fn segment_in_fragments_is_taken_like_any_other() {
    let mut bench = Bench::established();
    let octets: Vec<u8> = (0..1_000).map(|at| at as u8).collect();
    let mut parts = fragments(&bench.frame(&seg("PA", 1, 1).octets(&octets)), 400);
    parts.reverse();
    bench.receive_frames(&parts[..2]);
    assert!(bench.received.is_empty());
    bench.receive_frames(&parts[2..]);
    assert_eq!(bench.received, octets);
    assert_eq!(bench.counters().fragment_reassembled, 1);
    bench.wait_ms(50);
    assert_eq!(bench.lines(), ["A 1:1 ack 1001"]);
}

#[test]
fn overlapping_fragments_are_dropped_with_their_datagram() {
    let mut bench = Bench::established();
    let parts = fragments(&bench.frame(&seg("PA", 1, 1).octets(&[7; 1_000])), 400);
    let mut other = parts[1].clone();
    other[60] ^= 1;
    bench.receive_frames(&[parts[0].clone(), other, parts[1].clone(), parts[2].clone()]);
    assert!(bench.received.is_empty());
    let counters = bench.counters();
    assert_eq!((counters.drop_fragment_overlap, counters.drop_fragment_discarded), (1, 1));
    bench.wait_ms(31_000);
    assert_eq!(bench.counters().fragment_expired, 1);
}
