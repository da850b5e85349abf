//! Floods of the neighbour table: everybody on the link may fill it, nobody may stop connections.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tcpstack::{Event, FrameSink, IpCidr, RxFrame, Stack, StackConfig};

use crate::bench::{ACK, Bench, OWN, OWN_MAC, PEER, Packet, SYN, checksum, config, packet};

/// A link with room for many.
fn wide() -> Bench {
    let addresses = config().addresses.into_iter().map(|mut own| {
        own.prefix = 8;
        own
    });
    Bench::with(StackConfig { addresses: addresses.collect(), ..config() })
}

fn stranger(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a10_0000 + number)
}

/// "Who has our address?", as told by a stranger.
fn question(sender: Ipv4Addr) -> Vec<u8> {
    let [_, b, c, d] = sender.octets();
    let mac = [2, 1, 0, b, c, d];
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(OWN.octets());
    frame.resize(60, 0);
    frame
}

/// The peer says where it is.
fn reply() -> Vec<u8> {
    let mac = [2, 0, 0, 0, 0, 2];
    let mut frame = OWN_MAC.to_vec();
    frame.extend(mac);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    frame.extend(mac);
    frame.extend(PEER.octets());
    frame.extend(OWN_MAC);
    frame.extend(OWN.octets());
    frame.resize(60, 0);
    frame
}

#[test]
fn flood_of_arp_questions_keeps_the_table_bounded_and_connections_alive() {
    let mut bench = wide();
    let (seq, ack) = bench.open(4_000);
    for number in 0..10_000 {
        bench.answer_frame(question(stranger(number)));
    }
    bench.stack.expire(bench.now_ns, 1);
    assert!(bench.stack.gauges().known <= 8, "as many as there are places");
    assert!(bench.counters().neighbor_evicted > 1_000);
    bench.answer(&packet(4_000, ACK, seq, ack).octets(b"still "));
    bench.answer(&packet(4_000, ACK, seq + 6, ack).octets(b"here"));
    assert_eq!(bench.received, b"still here");
    // Should the peer's place be gone, it is asked for, and the answer finds its way.
    bench.answer_frame(reply());
    assert_eq!(bench.stack.send(bench.now_ns, 0, b"yes"), 3);
    bench.turn();
    bench.wait_ms(1_000);
    assert!(bench.sent().iter().any(|packet| packet.octets == b"yes"));
}

#[test]
fn syns_from_hosts_that_are_not_there_do_not_keep_others_out() {
    let mut bench = wide();
    // The client repeats its SYN each second, and answers whoever asks where it is.
    for second in 0..4 {
        for number in 0..100 {
            let source = stranger(1_000 * second + number);
            bench.answer(&Packet { source, ..packet(4_000, SYN, 1, 0) });
        }
        let mut answers = bench.answer(&packet(4_000, SYN, 1_000, 0));
        answers.extend(bench.answer_frame(reply()));
        if answers.iter().any(|answer| answer.destination == PEER) {
            return;
        }
        bench.wait_ms(1_000);
    }
    panic!("the client never got in");
}

const OWN_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);

/// "Where is our address?", asked by a stranger, RFC 4861 §4.3.
fn solicitation(number: u32) -> Vec<u8> {
    let [a, b, c, d] = number.to_be_bytes();
    let sender = Ipv6Addr::from_bits(OWN_IPV6.to_bits() + 0x1_0000 + u128::from(number));
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(OWN_IPV6.octets());
    message.extend([1, 1, 2, 2, a, b, c, d]);
    let (from, to) = (sender.octets(), OWN_IPV6.octets());
    let sum = checksum(&[&from, &to, &[0, 0, 0, message.len() as u8, 0, 0, 0, 58], &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = OWN_MAC.to_vec();
    frame.extend([2, 2, a, b, c, d, 0x86, 0xdd, 0x60, 0, 0, 0, 0, message.len() as u8, 58, 255]);
    frame.extend(from);
    frame.extend(to);
    frame.extend(message);
    frame
}

#[test]
fn flood_of_neighbour_solicitations_keeps_the_table_bounded_and_connections_alive() {
    let mut addresses = config().addresses;
    addresses.push(IpCidr::new(OWN_IPV6, 64));
    let mut bench = Bench::with(StackConfig { addresses, ..config() });
    // Duplicate address detection takes its time.
    bench.wait_ms(5_000);
    let (seq, ack) = bench.open(4_000);
    for number in 0..10_000 {
        bench.answer_frame(solicitation(number));
    }
    bench.stack.expire(bench.now_ns, 1);
    assert!(bench.stack.gauges().known <= 8, "as many as there are places");
    assert!(bench.counters().neighbor_evicted > 1_000);
    bench.answer(&packet(4_000, ACK, seq, ack).octets(b"still here"));
    assert_eq!(bench.received, b"still here");
}

/// The events of a burst, carried over to another stack as shards do.
fn tell(from: &mut Stack, to: &mut Stack, frame: &[u8]) -> usize {
    from.input(1, &[RxFrame { bytes: frame, checksum_verified: false }]);
    let mut told = 0;
    while let Some(event) = from.poll_event() {
        if let Event::Neighbor { ip, mac, news } = event {
            to.learn_neighbor(ip, mac, news);
            told += 1;
        }
    }
    told
}

#[test]
fn reply_to_the_question_of_another_shard_reaches_it_and_makes_no_neighbour_elsewhere() {
    let shards = || Stack::new(config()).expect("a small stack fits");
    let (mut here, mut asking, mut third) = (shards(), shards(), shards());
    asking.connect(1, SocketAddr::new(PEER.into(), 80)).expect("room");
    asking.output(1, &mut Discard(vec![0; 2_000]));
    assert_eq!(tell(&mut here, &mut asking, &reply()), 1);
    assert_eq!(tell(&mut here, &mut third, &reply()), 1);
    let known = |stack: &Stack| stack.gauges().known;
    assert_eq!([&here, &asking, &third].map(known), [0, 1, 0]);
    assert_eq!(tell(&mut here, &mut third, &question(PEER)), 1);
    assert_eq!([&here, &asking, &third].map(known), [1, 1, 1], "it asked for us");
}

/// Frames that nobody looks at.
struct Discard(Vec<u8>);

impl FrameSink for Discard {
    fn frame(&mut self, len: usize) -> Option<&mut [u8]> {
        Some(&mut self.0[..len])
    }

    fn checksum(&mut self, _: usize, _: usize) {}
}
