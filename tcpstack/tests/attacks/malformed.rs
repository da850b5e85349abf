//! Damaged and impossible packets: the classes of AMNESIA:33 and URGENT/11 that apply to a host
//! with IPv4 and TCP. None is answered but where an RFC says so, each has its counter, and a
//! connection next to them never notices.

use std::net::Ipv4Addr;

use tcpstack::StackCounters;

use crate::bench::{ACK, Bench, FIN, OWN, PSH, Packet, RST, SYN, URG, packet, seal_ip, seal_tcp};

const IP: usize = 14;
const TCP: usize = 34;

type Counter = fn(&StackCounters) -> u64;
type Change = fn(&mut Vec<u8>);

/// A stack with one connection; its next sequence numbers.
struct Victim {
    bench: Bench,
    seq: u32,
    ack: u32,
}

impl Victim {
    fn new() -> Self {
        let mut bench = Bench::new();
        let (seq, ack) = bench.open(4_000);
        Self { bench, seq, ack }
    }

    /// What the connection's peer would send next.
    fn next(&self, octets: &[u8]) -> Packet {
        packet(4_000, ACK | PSH, self.seq, self.ack).octets(octets)
    }

    /// The frame is dropped for this reason without an answer, and the connection goes on.
    #[track_caller]
    fn assert_dropped(&mut self, what: &str, frame: Vec<u8>, counter: Counter) {
        let before = counter(self.bench.counters());
        let answers = self.bench.answer_frame(frame);
        assert!(answers.is_empty(), "{what}: {answers:?}");
        assert_eq!(counter(self.bench.counters()), before + 1, "{what}");
        self.assert_alive(what);
    }

    #[track_caller]
    fn assert_alive(&mut self, what: &str) {
        self.bench.received.clear();
        let next = self.next(b"alive");
        self.bench.answer(&next);
        assert_eq!(self.bench.received, b"alive", "{what}");
        self.seq += 5;
        self.bench.wait_ms(100);
        let counters = self.bench.counters();
        let drops = StackCounters::FIELDS.iter().zip(counters.values());
        let dropped: u64 = drops
            .filter(|(field, _)| field.name.starts_with("drop_"))
            .map(|(_, count)| count)
            .sum();
        assert_eq!(counters.received, counters.accepted + dropped, "{what}");
    }
}

/// Changes bytes of the IPv4 header and makes its checksum right again.
fn with_ip(packet: &Packet, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = packet.frame();
    change(&mut frame);
    let end = IP + (usize::from(frame[IP] & 15) * 4).clamp(20, frame.len() - IP);
    seal_ip(&mut frame[IP..end]);
    frame
}

/// Changes bytes of the TCP header and makes its checksum right again.
fn with_tcp(packet: &Packet, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut frame = packet.frame();
    let total = usize::from(u16::from_be_bytes([frame[IP + 2], frame[IP + 3]]));
    change(&mut frame[TCP..IP + total]);
    seal_tcp(&mut frame[TCP..IP + total], packet.source, packet.destination);
    frame
}

#[test]
fn frames_cut_short_at_every_length_are_dropped() {
    let mut victim = Victim::new();
    let whole = victim.next(b"some octets").frame();
    for len in 0..IP + 20 + 20 + 11 {
        victim.bench.answer_frame(whole[..len].to_vec());
        assert!(victim.bench.received.is_empty(), "{len}");
    }
    assert_eq!(victim.bench.counters().drop_ethernet_short, 14);
    assert_eq!(victim.bench.counters().drop_ipv4_malformed, 51);
    victim.assert_alive("after all");
}

#[test]
fn lengths_of_ipv4_that_contradict_each_other_are_dropped() {
    let mut victim = Victim::new();
    let malformed: Counter = |counters| counters.drop_ipv4_malformed;
    let cases: [(&str, Change); 7] = [
        ("version 5", |frame| frame[IP] = 0x55),
        ("version 6 in an IPv4 frame", |frame| frame[IP] = 0x65),
        ("header of 16 bytes", |frame| frame[IP] = 0x44),
        ("header longer than the packet", |frame| {
            frame[IP] = 0x4f;
            frame[IP + 2..IP + 4].copy_from_slice(&[0, 41]);
        }),
        ("total length 0", |frame| frame[IP + 2..IP + 4].fill(0)),
        ("total length less than the header", |frame| frame[IP + 3] = 19),
        ("total length beyond the frame", |frame| frame[IP + 2] = 0xff),
    ];
    for (what, change) in cases {
        let frame = with_ip(&victim.next(b"evil"), change);
        victim.assert_dropped(what, frame, malformed);
    }
    for total in 20..40 {
        let frame = with_ip(&victim.next(b"evil"), |frame| frame[IP + 3] = total);
        victim.assert_dropped("no room for TCP", frame, |counters| counters.drop_tcp_malformed);
    }
}

#[test]
fn padding_beyond_the_total_length_is_no_data() {
    let mut victim = Victim::new();
    let mut frame = victim.next(b"data").frame();
    frame.extend([0x41; 1_000]);
    victim.bench.answer_frame(frame);
    assert_eq!(victim.bench.received, b"data");
    victim.seq += 4;
    victim.assert_alive("padding");
}

#[test]
fn damaged_checksums_are_dropped() {
    let mut victim = Victim::new();
    let mut frame = victim.next(b"evil").frame();
    frame[IP + 10] ^= 1;
    victim.assert_dropped("IPv4", frame, |counters| counters.drop_ipv4_checksum);
    let mut frame = victim.next(b"evil").frame();
    frame[TCP + 16] ^= 1;
    victim.assert_dropped("TCP", frame, |counters| counters.drop_tcp_checksum);
}

#[test]
fn addresses_that_nobody_can_have_are_dropped() {
    let mut victim = Victim::new();
    for source in [
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [255, 255, 255, 255],
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [10, 0, 0, 255],
        OWN.octets(),
    ] {
        for flags in [SYN, ACK] {
            let source = Ipv4Addr::from(source);
            let frame = Packet { source, ..packet(4_000, flags, 1, 1) }.frame();
            victim.assert_dropped(&source.to_string(), frame, |it| it.drop_ipv4_source);
        }
    }
    // The land attack: both ends are ours, ports as well.
    let land = Packet { source: OWN, ports: (7, 7), ..packet(7, SYN, 1, 0) };
    victim.assert_dropped("land", land.frame(), |counters| counters.drop_ipv4_source);
    // RFC 1122 §4.2.3.10: nobody opens a connection to a group.
    for destination in [[10, 0, 0, 255], [255, 255, 255, 255], [224, 0, 0, 1], [10, 0, 0, 77]] {
        let destination = Ipv4Addr::from(destination);
        let frame = Packet { destination, ..packet(4_000, SYN, 1, 0) }.frame();
        victim.assert_dropped(&destination.to_string(), frame, |it| it.drop_ipv4_destination);
    }
    let mut frame = packet(4_000, SYN, 1, 0).frame();
    frame[..6].fill(0xff);
    victim.assert_dropped("MAC broadcast", frame, |it| it.drop_ethernet_destination);
}

#[test]
fn ip_options_are_passed_over_unless_they_route_or_lie() {
    let mut victim = Victim::new();
    let mut option = |what: &str, options: &[u8], counter: Counter| {
        let frame = Packet { ip_options: options.to_vec(), ..victim.next(b"evil") }.frame();
        victim.assert_dropped(what, frame, counter);
    };
    option("loose source route", &[131, 7, 4, 10, 0, 0, 9, 0], |it| it.drop_ipv4_source_route);
    option("strict source route", &[137, 7, 4, 10, 0, 0, 9, 0], |it| it.drop_ipv4_source_route);
    for (what, options) in [
        ("length 0", [7, 0, 4, 0]),
        ("length 1", [7, 1, 4, 0]),
        ("overrun", [7, 200, 4, 0]),
        ("kind without length", [1, 1, 1, 7]),
    ] {
        option(what, &options, |counters| counters.drop_ipv4_malformed);
    }
    for options in [[1; 40].to_vec(), vec![7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0], vec![0; 8]] {
        victim.bench.received.clear();
        let next = Packet { ip_options: options, ..victim.next(b"good") };
        victim.bench.answer(&next);
        assert_eq!(victim.bench.received, b"good");
        victim.seq += 4;
    }
    assert_eq!(victim.bench.counters().ipv4_options, 3);
}

#[test]
fn tcp_headers_that_overrun_or_lie_are_dropped() {
    let mut victim = Victim::new();
    for words in [0, 4, 7, 15] {
        let frame = with_tcp(&victim.next(b"evil"), |tcp| tcp[12] = words << 4);
        victim.assert_dropped("header length", frame, |counters| counters.drop_tcp_malformed);
    }
    for ports in [(0, 7), (0, 0)] {
        let frame = Packet { ports, ..packet(0, SYN, 1, 0) }.frame();
        victim.assert_dropped("port 0", frame, |counters| counters.drop_tcp_port);
    }
    for (what, options) in [
        ("length 0", &[253, 0, 0, 0][..]),
        ("length 1", &[253, 1, 0, 0]),
        ("overrun", &[253, 40, 0, 0]),
        ("kind without length", &[1, 1, 1, 253]),
        ("MSS of 3", &[2, 3, 5, 0]),
        ("window scale of 4", &[3, 4, 7, 0]),
        ("SACK block and a half", &[5, 14, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 1]),
    ] {
        for packet in [victim.next(b"evil"), packet(4_001, SYN, 1, 0)] {
            let frame = packet.options(options).frame();
            victim.assert_dropped(what, frame, |counters| counters.drop_tcp_options);
        }
    }
}

#[test]
fn forty_bytes_of_options_that_say_nothing_do_no_harm() {
    let mut victim = Victim::new();
    for options in [[1; 40], [0; 40], [0xfe; 40].map(|_| 0)] {
        victim.bench.received.clear();
        let next = victim.next(b"good").options(&options);
        victim.bench.answer(&next);
        assert_eq!(victim.bench.received, b"good");
        victim.seq += 4;
    }
    // After the end of the list anything may follow.
    let next = victim.next(b"good").options(&[0, 253, 0, 255]);
    victim.bench.answer(&next);
    assert_eq!(victim.bench.received, b"goodgood");
}

#[test]
fn urgent_pointers_are_never_followed() {
    let mut victim = Victim::new();
    for (urgent, flags) in [(0, URG), (1, URG), (4, URG), (5, URG), (u16::MAX, URG), (9, 0)] {
        victim.bench.received.clear();
        let next = victim.next(b"data");
        victim.bench.answer(&Packet { urgent, flags: next.flags | flags, ..next });
        assert_eq!(victim.bench.received, b"data", "{urgent}: in line, none more or less");
        victim.seq += 4;
        let empty = victim.next(b"");
        let answers = victim.bench.answer(&Packet { urgent, flags: ACK | flags, ..empty });
        assert!(answers.iter().all(|answer| answer.octets.is_empty()));
    }
    // With a FIN, and a pointer behind it.
    victim.bench.received.clear();
    let last = victim.next(b"end");
    victim.bench.answer(&Packet { urgent: 100, flags: ACK | URG | FIN, ..last });
    assert_eq!(victim.bench.received, b"end");
}

#[test]
fn flags_that_no_tcp_sends_open_and_close_nothing() {
    let mut victim = Victim::new();
    let listen: Counter = |counters| counters.drop_tcp_listen;
    for (what, flags) in [
        ("NULL", 0),
        ("XMAS", FIN | PSH | URG),
        ("FIN", FIN),
        ("SYN FIN", SYN | FIN),
        ("SYN RST", SYN | RST),
        ("all but ACK", FIN | SYN | RST | PSH | URG),
    ] {
        victim.assert_dropped(what, packet(5_000, flags, 1, 0).frame(), listen);
    }
    assert_eq!(victim.bench.stack.gauges().syn_received, 0);
    for (what, flags) in [("NULL", 0), ("XMAS", FIN | PSH | URG), ("FIN", FIN)] {
        let frame = Packet { flags, ..victim.next(b"evil") }.frame();
        victim.assert_dropped(what, frame, |counters| counters.drop_tcp_ack_missing);
    }
}

#[test]
fn text_of_a_syn_is_not_delivered_before_the_handshake() {
    let mut bench = Bench::new();
    let syn_ack = bench.answer(&packet(4_000, SYN, 1, 0).octets(b"early")).remove(0);
    assert_eq!(syn_ack.ack, 2, "the text is not acknowledged");
    bench.answer(&packet(4_000, ACK, 2, syn_ack.seq.wrapping_add(1)));
    assert!(bench.received.is_empty());
    bench.answer(&packet(4_000, ACK, 2, syn_ack.seq.wrapping_add(1)).octets(b"early"));
    assert_eq!(bench.received, b"early");
}
