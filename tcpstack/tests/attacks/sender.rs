//! Receivers that want more than their share, and acknowledgments that are made to cost us.

use crate::bench::{ACK, Bench, MS, Packet, SYN, config, packet};

const MSS: u32 = 1_460;

/// A connection with SACK that has sent its first window, and has much more to send.
struct Transfer {
    bench: Bench,
    seq: u32,
    /// SND.UNA, as far as the peer has told.
    una: u32,
    /// After the last octet sent.
    nxt: u32,
}

impl Transfer {
    fn new() -> Self {
        let mut bench = Bench::with(config());
        let syn = packet(4_000, SYN, 1_000, 0).options(&[2, 4, 5, 180, 4, 2, 1, 1]);
        let syn_ack = bench.answer(&syn).remove(0);
        let una = syn_ack.seq.wrapping_add(1);
        bench.answer(&packet(4_000, ACK, 1_001, una));
        bench.now_ns += 10 * MS;
        bench.stack.send(bench.now_ns, 0, &[7; 60_000]);
        bench.turn();
        let mut transfer = Self { bench, seq: 1_001, una, nxt: una };
        let first = transfer.bench.sent();
        assert_eq!(transfer.note(&first), 10 * MSS, "the initial window");
        transfer
    }

    /// New octets among what was sent.
    fn note(&mut self, sent: &[Packet]) -> u32 {
        let before = self.nxt;
        for packet in sent {
            let end = packet.seq.wrapping_add(packet.octets.len() as u32);
            if end.wrapping_sub(self.nxt) < 1 << 31 {
                self.nxt = end;
            }
        }
        self.nxt.wrapping_sub(before)
    }

    /// Acknowledges up to `ack`; new octets that were sent for it.
    fn acknowledge(&mut self, ack: u32, options: &[u8]) -> u32 {
        self.una = ack;
        let sent = self.bench.answer(&packet(4_000, ACK, self.seq, ack).options(options));
        self.note(&sent)
    }

    fn outstanding(&self) -> u32 {
        self.nxt.wrapping_sub(self.una)
    }
}

fn sack_option(blocks: &[(u32, u32)]) -> Vec<u8> {
    let mut option = vec![1, 1, 5, 2 + 8 * blocks.len() as u8];
    for (start, end) in blocks {
        option.extend(start.to_be_bytes());
        option.extend(end.to_be_bytes());
    }
    option
}

#[test]
fn acknowledgments_in_slices_grow_the_window_no_faster() {
    // RFC 3465 §2: octets are counted, not acknowledgments.
    let mut whole = Transfer::new();
    let (una, mut sent_for_whole) = (whole.una, 0);
    for at in 1..=2 {
        sent_for_whole += whole.acknowledge(una.wrapping_add(at * MSS), &[]);
    }
    let mut sliced = Transfer::new();
    let (una, mut sent_for_slices) = (sliced.una, 0);
    for at in 1..=2 * MSS / 10 {
        sent_for_slices += sliced.acknowledge(una.wrapping_add(at * 10), &[]);
    }
    assert!(sent_for_slices <= sent_for_whole, "{sent_for_slices} against {sent_for_whole}");
    assert!(sliced.outstanding() <= 14 * MSS);
}

#[test]
fn acknowledgment_of_what_was_not_sent_changes_nothing() {
    let mut transfer = Transfer::new();
    let (una, nxt) = (transfer.una, transfer.nxt);
    for beyond in [1, 1_460, 60_000, 1 << 30] {
        assert_eq!(transfer.acknowledge(nxt.wrapping_add(beyond), &[]), 0, "{beyond}");
    }
    assert_eq!(transfer.bench.counters().drop_tcp_ack, 4);
    transfer.una = una;
    assert_eq!(transfer.outstanding(), 10 * MSS);
}

#[test]
fn duplicate_acknowledgments_without_end_do_not_open_the_window() {
    // RFC 5681 §3.2: each may mean that a segment has left the network, but no more than were there.
    let mut transfer = Transfer::new();
    let una = transfer.una;
    for _ in 0..10_000 {
        transfer.acknowledge(una, &[]);
    }
    let outstanding = transfer.outstanding();
    assert!(outstanding <= 22 * MSS, "{} segments", outstanding / MSS);
}

#[test]
fn tiny_sack_blocks_cost_bounded_memory_and_change_nothing_that_matters() {
    // CVE-2019-11477 and CVE-2019-11478: queues torn to pieces by selective acknowledgments.
    let mut transfer = Transfer::new();
    let una = transfer.una;
    let free = transfer.bench.stack.gauges().free;
    for at in (0..12_000).step_by(6) {
        let block = |ahead: u32| (una.wrapping_add(ahead), una.wrapping_add(ahead + 1));
        let blocks = sack_option(&[block(at + 1), block(at + 3), block(at + 5)]);
        transfer.acknowledge(una, &blocks);
        // Retransmissions are never smaller than what was sent: nothing is cut to fit a block.
        let octets = transfer.bench.sent().into_iter().map(|packet| packet.octets.len() as u32);
        assert!(octets.filter(|octets| *octets > 0).all(|octets| octets >= MSS / 2));
    }
    assert!(free - transfer.bench.stack.gauges().free <= 16, "more chunks than for what was sent");
    // An honest acknowledgment puts everything right.
    let nxt = transfer.nxt;
    transfer.acknowledge(nxt, &[]);
    assert!(transfer.outstanding() > 0, "it goes on");
}

#[test]
fn impossible_sack_blocks_are_ignored() {
    let mut transfer = Transfer::new();
    let (una, nxt) = (transfer.una, transfer.nxt);
    for block in [
        (nxt.wrapping_add(1), nxt.wrapping_add(100)),
        (una.wrapping_add(100), una),
        (una, una),
        (una.wrapping_sub(1 << 31), una.wrapping_add(1 << 30)),
        (0, u32::MAX),
    ] {
        for _ in 0..5 {
            transfer.acknowledge(una, &sack_option(&[block, block, block]));
        }
    }
    let nxt = transfer.nxt;
    transfer.acknowledge(nxt, &[]);
    assert!(transfer.outstanding() > 0, "it goes on");
}

#[test]
fn window_of_one_octet_does_not_make_segments_of_one_octet() {
    let mut bench = Bench::new();
    let (seq, ack) = bench.open(4_000);
    bench.stack.send(bench.now_ns, 0, &[7; 60_000]);
    bench.turn();
    let mut sent = bench.sent();
    let mut una = ack;
    let (mut segments, mut octets) = (0, 0);
    // Every acknowledgment takes all that was sent, and opens the window by an octet.
    for _ in 0..1_000 {
        let end = |packet: &Packet| packet.seq.wrapping_add(packet.octets.len() as u32);
        una = sent.last().map_or(una, end);
        sent = bench.answer(&packet(4_000, ACK, seq, una).window(1));
        segments += sent.len();
        octets += sent.iter().map(|packet| packet.octets.len()).sum::<usize>();
    }
    assert!(segments <= 1 && octets <= 1, "{segments} segments, {octets} octets");
}

#[test]
fn segments_are_not_tiny_for_a_tiny_mss() {
    // CVE-2019-11479.
    for mss in [1, 8, 48, 87] {
        let mut bench = Bench::new();
        let syn_ack = bench.answer(&packet(4_000, SYN, 1_000, 0).options(&[2, 4, 0, mss]));
        bench.answer(&packet(4_000, ACK, 1_001, syn_ack[0].seq.wrapping_add(1)));
        bench.stack.send(bench.now_ns, 0, &[7; 800]);
        bench.turn();
        assert!(bench.sent().iter().take(8).all(|packet| packet.octets.len() >= 88), "{mss}");
    }
}
