//! After `Broker::new` nothing is allocated: brokers of two shards connect clients, take sessions
//! over, route, retain and end, while every allocation is counted.

use broker::codec::{
    Ack, AckKind, Connect, Properties, Publish, PublishHeader, Qos, ReasonCode, Subscribe,
    SubscribeOptions, Version, Will,
};
use broker::{Broker, BrokerConfig, Limits};
use superpage::{Placement, TierPolicy};

const ROUNDS: u16 = 40;

/// Two shards and the buffers around them.
struct Shards {
    brokers: [Broker; 2],
    message: Vec<u8>,
    out: Vec<u8>,
    packet: Vec<u8>,
    now_ns: u64,
}

fn broker(shard: u16) -> Broker {
    let limits = Limits {
        links: 64,
        active_links: 64,
        sessions: 64,
        clients: 64,
        subscriptions: 256,
        filters: 256,
        wildcard_nodes: 256,
        messages: 512,
        payload_units: 2_048,
        deliveries: 1_024,
        retained: 64,
        pending: 128,
        ..Limits::default()
    };
    let placement = Placement { tier: TierPolicy::BaseOnly, ..Placement::default() };
    Broker::new(BrokerConfig { shard, shards: 2, limits, placement, ..BrokerConfig::default() })
        .expect("a small broker fits")
}

impl Shards {
    fn feed(&mut self, shard: usize, link: u32, len: usize) {
        let taken = self.brokers[shard].feed(self.now_ns, link, &self.packet[..len]);
        assert_eq!(taken, len);
        self.pump();
    }

    fn pump(&mut self) {
        self.now_ns += 1_000_000;
        for _ in 0..8 {
            for (from, to) in [(0, 1), (1, 0)] {
                while let Some(message) = self.brokers[from].peek_message(to as u16) {
                    let len = message.len();
                    self.message[..len].copy_from_slice(message);
                    self.brokers[from].pop_message(to as u16);
                    self.brokers[to].inbox(self.now_ns, from as u16, &self.message[..len]);
                }
            }
            for broker in &mut self.brokers {
                while broker.next_resumed().is_some() {}
                while broker.next_timer().is_some() {}
                while let Some(link) = broker.next_ready() {
                    let filled = broker.fill(self.now_ns, link, &mut self.out);
                    if filled.more {
                        broker.mark_ready(link);
                    }
                }
                broker.tick(self.now_ns);
            }
        }
    }

    fn connect(&mut self, shard: usize, client_id: &str, clean_start: bool) -> u32 {
        let link = self.brokers[shard].accept(self.now_ns, 0).expect("a link");
        let will = Will {
            topic: b"will",
            payload: b"gone",
            qos: Qos::AtLeastOnce,
            retain: true,
            properties: Properties::EMPTY,
        };
        let connect = Connect {
            version: Version::V3,
            clean_start,
            keep_alive_s: 30,
            client_id,
            properties: Properties::EMPTY,
            will: Some(will),
            username: None,
            password: None,
        };
        let len = connect.encode(&mut self.packet).expect("room");
        self.feed(shard, link, len);
        link
    }

    fn subscribe(&mut self, shard: usize, link: u32, filter: &str) {
        let filters = [(filter.as_bytes(), SubscribeOptions::plain(Qos::AtLeastOnce))];
        let len = Subscribe::encode(Version::V3, 1, &Properties::EMPTY, &filters, &mut self.packet)
            .expect("room");
        self.feed(shard, link, len);
    }

    fn publish(&mut self, shard: usize, link: u32, qos: Qos, retain: bool) {
        let header = PublishHeader {
            dup: false,
            qos,
            retain,
            topic: b"a/b",
            packet_id: if qos == Qos::AtMostOnce { 0 } else { 7 },
            properties: Properties::EMPTY,
        };
        let publish = Publish { header, payload: &[1; 700] };
        let len = publish.encode(Version::V3, &mut self.packet).expect("room");
        self.feed(shard, link, len);
    }

    /// Acknowledges whatever may be in flight.
    fn acknowledge(&mut self, shard: usize, link: u32) {
        for packet_id in 1..=3 * ROUNDS {
            let ack = Ack::new(AckKind::Puback, packet_id, ReasonCode::SUCCESS);
            let len = ack.encode(Version::V3, &mut self.packet).expect("room");
            let taken = self.brokers[shard].feed(self.now_ns, link, &self.packet[..len]);
            assert_eq!(taken, len);
        }
        self.pump();
    }

    /// A day in the life of some clients.
    fn run(&mut self) {
        let publisher = self.connect(0, "publisher", true);
        let mut subscriber = self.connect(0, "subscriber", false);
        self.subscribe(0, subscriber, "a/+");
        let other = self.connect(1, "other", true);
        self.subscribe(1, other, "a/b");
        let mut at = 0;
        for round in 0..ROUNDS {
            self.publish(0, publisher, Qos::AtMostOnce, false);
            self.publish(0, publisher, Qos::AtLeastOnce, round % 4 == 0);
            self.publish(1, other, Qos::AtLeastOnce, false);
            if round % 8 == 0 {
                at = 1 - at;
                subscriber = self.connect(at, "subscriber", false);
                self.subscribe(at, subscriber, "#");
            }
            self.acknowledge(at, subscriber);
            self.acknowledge(1, other);
        }
        self.brokers[0].transport_closed(self.now_ns, publisher);
        self.pump();
        for _ in 0..10 {
            self.brokers[0].shutdown(self.now_ns, 4);
            self.brokers[1].shutdown(self.now_ns, 4);
            self.pump();
        }
    }
}

#[test]
fn nothing_is_allocated_after_the_start() {
    let mut shards = Shards {
        brokers: [broker(0), broker(1)],
        message: vec![0; 1 << 18],
        out: vec![0; 1 << 16],
        packet: vec![0; 1 << 12],
        now_ns: 1_000_000_000,
    };
    let allocations = allocation_counter::measure(|| shards.run());
    assert_eq!(allocations.count_total, 0, "{allocations:?}");

    let sum = |of: fn(&Broker) -> u64| shards.brokers.iter().map(of).sum::<u64>();
    assert!(sum(|broker| broker.counters().publish_out_qos1) > u64::from(ROUNDS));
    assert!(sum(|broker| broker.counters().sessions_moved_in) > 3);
    assert!(sum(|broker| broker.counters().wills_published) > 0);
    assert_eq!(sum(|broker| broker.gauges().links), 0);
}
