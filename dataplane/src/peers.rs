//! What shards tell each other: one byte ring for each direction of each pair.
//!
//! Kinds of record: a frame that belongs to the other shard (only where the port cannot steer), a
//! neighbour's address, an address of ours that is another station's, and a message of the broker. Rings never block. A full one drops the frame
//! (TCP sends it again) or the news (ARP asks again), both counted; a broker message stays in the
//! broker's own bounded staging, whose back-pressure is the broker's business.

use std::net::{IpAddr, Ipv6Addr};

use corelink::{Consumer, Producer, ring};
use superpage::counters;
use tcpstack::NeighborNews;

/// The smallest ring: some hundred frames.
const RING_BYTES_MIN: usize = 1 << 20;
/// What a record has besides its frame or message: the tag.
const TAG_BYTES: usize = 1;
/// Records taken from one ring in one turn, so that no neighbour can keep a shard from its own port.
pub const RECORDS_PER_TURN_MAX: usize = 64;

const TAG_FRAME_UNVERIFIED: u8 = 1;
const TAG_FRAME_VERIFIED: u8 = 2;
const TAG_NEIGHBOR: u8 = 3;
const TAG_BROKER: u8 = 4;
const TAG_DUPLICATE: u8 = 5;

counters! {
    /// Records between shards, as one shard sees them.
    pub struct PeerCounters {
        /// Frames given to the shard that owns their flow.
        sent_frames: frames,
        /// Frames other shards gave to this one.
        received_frames: frames,
        /// Broker messages given to other shards.
        sent_messages: messages,
        /// Broker messages other shards gave to this one.
        received_messages: messages,
        /// Turns in which a broker message had to wait for room in a ring.
        message_waits: turns,
        /// Frames dropped: the ring to their owner was full.
        drop_frame_ring_full: frames,
        /// Neighbour news dropped: a ring was full.
        drop_news_ring_full: records,
        /// Records dropped: not understood.
        drop_malformed: records,
    }
}

/// One record from another shard, borrowed from the buffer given to [`Peers::receive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A frame that another shard's queue received for a flow of ours.
    Frame {
        /// The whole Ethernet frame.
        bytes: &'a [u8],
        /// Whether the port vouched for its checksums.
        checksum_verified: bool,
    },
    /// A neighbour was learnt or changed.
    Neighbor {
        /// Its address.
        ip: IpAddr,
        /// Where it is.
        mac: [u8; 6],
        /// How it was heard.
        news: NeighborNews,
    },
    /// An address of ours is another station's.
    Duplicate {
        /// The address.
        ip: IpAddr,
    },
    /// For the broker, as its counterpart wrote it.
    Broker(&'a [u8]),
}

/// One shard's ends of all rings. Slots of its own index stay empty.
#[derive(Debug)]
pub struct Peers {
    to: Vec<Option<Producer>>,
    from: Vec<Option<Consumer>>,
    record_bytes_max: usize,
    counters: PeerCounters,
}

impl Peers {
    /// The full mesh between `shards` shards, one element each. Frames and messages may have up to
    /// `body_bytes_max` bytes; a ring holds at least two of them.
    pub fn mesh(shards: u16, body_bytes_max: usize) -> Vec<Peers> {
        let count = usize::from(shards);
        let record_bytes_max = body_bytes_max + TAG_BYTES;
        // A record takes half of a ring at most, its length included.
        let ring_bytes = (4 * record_bytes_max).next_power_of_two().max(RING_BYTES_MIN);
        let mut all: Vec<Peers> = (0..count)
            .map(|_| Peers {
                to: (0..count).map(|_| None).collect(),
                from: (0..count).map(|_| None).collect(),
                record_bytes_max,
                counters: PeerCounters::default(),
            })
            .collect();
        for from in 0..count {
            for to in (0..count).filter(|to| *to != from) {
                let (producer, consumer) = ring(ring_bytes);
                all[from].to[to] = Some(producer);
                all[to].from[from] = Some(consumer);
            }
        }
        all
    }

    /// Shards in all, this one included.
    pub fn shards(&self) -> u16 {
        self.to.len() as u16
    }

    /// The room that [`Peers::receive`] needs.
    pub fn record_bytes_max(&self) -> usize {
        self.record_bytes_max
    }

    /// Gives a frame to the shard that owns its flow.
    pub fn send_frame(&mut self, to: u16, bytes: &[u8], checksum_verified: bool) {
        let tag = if checksum_verified { TAG_FRAME_VERIFIED } else { TAG_FRAME_UNVERIFIED };
        match self.push(to, &[&[tag], bytes]) {
            true => self.counters.sent_frames += 1,
            false => self.counters.drop_frame_ring_full += 1,
        }
    }

    /// Tells all other shards where a neighbour is.
    pub fn tell_neighbor(&mut self, ip: IpAddr, mac: [u8; 6], news: NeighborNews) {
        self.tell_all(&[&[TAG_NEIGHBOR], &octets(ip), &mac, &[news as u8]]);
    }

    /// Tells all other shards that an address of ours is another station's.
    pub fn tell_duplicate(&mut self, ip: IpAddr) {
        self.tell_all(&[&[TAG_DUPLICATE], &octets(ip)]);
    }

    fn tell_all(&mut self, parts: &[&[u8]]) {
        for to in 0..self.shards() {
            if self.to[usize::from(to)].is_some() && !self.push(to, parts) {
                self.counters.drop_news_ring_full += 1;
            }
        }
    }

    /// Gives a broker message to another shard; `false`: no room now, offer it again next turn.
    pub fn send_message(&mut self, to: u16, message: &[u8]) -> bool {
        let sent = self.push(to, &[&[TAG_BROKER], message]);
        match sent {
            true => self.counters.sent_messages += 1,
            false => self.counters.message_waits += 1,
        }
        sent
    }

    /// The next record from shard `from`, read into `buffer` (of [`Peers::record_bytes_max`]). `None`: nothing
    /// there, or what was there is dropped and counted.
    pub fn receive<'a>(&mut self, from: u16, buffer: &'a mut [u8]) -> Option<Record<'a>> {
        let consumer = self.from[usize::from(from)].as_mut()?;
        let record = match consumer.pop(buffer) {
            Ok(len) => parse(&buffer[..len?]),
            Err(_) => None,
        };
        match record {
            Some(Record::Frame { .. }) => self.counters.received_frames += 1,
            Some(Record::Broker(_)) => self.counters.received_messages += 1,
            Some(Record::Neighbor { .. } | Record::Duplicate { .. }) => {}
            None => self.counters.drop_malformed += 1,
        }
        record
    }

    /// What crossed so far.
    pub fn counters(&self) -> &PeerCounters {
        &self.counters
    }

    fn push(&mut self, to: u16, parts: &[&[u8]]) -> bool {
        let producer = self.to.get_mut(usize::from(to)).and_then(Option::as_mut);
        producer.is_some_and(|producer| producer.push(parts).is_ok())
    }
}

/// IPv4 travels as `::ffff:a.b.c.d`, which no neighbour over IPv6 has.
fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn parse(record: &[u8]) -> Option<Record<'_>> {
    let (tag, body) = record.split_first()?;
    match *tag {
        TAG_FRAME_UNVERIFIED => Some(Record::Frame { bytes: body, checksum_verified: false }),
        TAG_FRAME_VERIFIED => Some(Record::Frame { bytes: body, checksum_verified: true }),
        TAG_NEIGHBOR => {
            let (ip, mac) = body.split_first_chunk::<16>()?;
            let ip = Ipv6Addr::from(*ip).to_canonical();
            let (mac, news) = mac.split_first_chunk::<6>()?;
            let news = match news {
                [0] => NeighborNews::Asked,
                [1] => NeighborNews::Told,
                [2] => NeighborNews::Answered,
                _ => return None,
            };
            Some(Record::Neighbor { ip, mac: *mac, news })
        }
        TAG_DUPLICATE => {
            let ip: [u8; 16] = body.try_into().ok()?;
            Some(Record::Duplicate { ip: Ipv6Addr::from(ip).to_canonical() })
        }
        TAG_BROKER => Some(Record::Broker(body)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_arrive_as_they_were_sent() {
        let mut peers = Peers::mesh(3, 1_500);
        let mut buffer = vec![0; peers[0].record_bytes_max()];
        peers[2].send_frame(0, b"frame", true);
        let neighbors =
            [IpAddr::from([10, 77, 0, 2]), IpAddr::from([0xfd54, 0x4c, 0, 0, 0, 0, 0, 2])];
        let all = [NeighborNews::Asked, NeighborNews::Told, NeighborNews::Answered];
        let mac = [2, 0, 0, 0, 0, 9];
        for (ip, news) in neighbors.into_iter().cycle().zip(all) {
            peers[2].tell_neighbor(ip, mac, news);
        }
        peers[2].tell_duplicate(neighbors[1]);
        assert!(peers[2].send_message(0, b"message"));
        let frame = Record::Frame { bytes: b"frame", checksum_verified: true };
        assert_eq!(peers[0].receive(2, &mut buffer), Some(frame));
        let told = neighbors.into_iter().cycle().zip(all);
        let told: Vec<_> = told.map(|(ip, news)| Record::Neighbor { ip, mac, news }).collect();
        for record in &told {
            assert_eq!(peers[0].receive(2, &mut buffer).as_ref(), Some(record));
        }
        let lost = Record::Duplicate { ip: neighbors[1] };
        assert_eq!(peers[0].receive(2, &mut buffer), Some(lost));
        assert_eq!(peers[0].receive(2, &mut buffer), Some(Record::Broker(b"message")));
        assert_eq!(peers[0].receive(2, &mut buffer), None);
        assert_eq!(peers[1].receive(2, &mut buffer), Some(told[0]), "news go to all");
        assert_eq!(peers[2].receive(2, &mut buffer), None, "no ring to itself");
    }

    #[test]
    fn full_ring_drops_frames_counted_and_holds_messages_back() {
        let mut peers = Peers::mesh(2, 1_500);
        let frame = [0_u8; 1500];
        while peers[0].counters().drop_frame_ring_full == 0 {
            peers[0].send_frame(1, &frame, false);
        }
        assert!(!peers[0].send_message(1, &frame));
        assert_eq!(peers[0].counters().message_waits, 1);
        let mut buffer = vec![0; peers[0].record_bytes_max()];
        let mut arrived = 0;
        while peers[1].receive(0, &mut buffer).is_some() {
            arrived += 1;
        }
        assert_eq!(arrived, peers[0].counters().sent_frames);
        assert!(peers[0].send_message(1, &frame), "room again");
    }
}
