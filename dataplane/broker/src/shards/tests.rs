//! Messages between shards and records of images survive their encodings; rubbish does no harm.

use proptest::prelude::*;
use superpage::{Handle, Placement, TierPolicy};

use super::wire::{Grant, MessageHead, SessionRef, ShardMessage};
use crate::image::ImageRecord;
use crate::store::directory::Owner;
use crate::store::retained::RetainedCursor;
use crate::topic::index::SubscriptionOptions;
use crate::{Broker, BrokerConfig, Limits};

/// Values for every field there is.
#[derive(Clone, Debug)]
struct Fields {
    handle: Handle,
    of: SessionRef,
    to: SessionRef,
    owner: Option<Owner>,
    text: Vec<u8>,
    grant: Grant,
    flag: bool,
    byte: u8,
    short: u16,
    long: u64,
    qos: u8,
    topic: Vec<u8>,
    properties: Vec<u8>,
    payload: Vec<u8>,
    more: u32,
}

fn fields() -> impl Strategy<Value = Fields> {
    let pair = || (any::<u32>(), any::<u32>());
    let bytes = || prop::collection::vec(any::<u8>(), 0..60);
    let ids = (pair(), pair(), pair(), prop::option::of((any::<u16>(), pair())));
    let scalars = (any::<bool>(), any::<u8>(), 1..=u16::MAX, any::<u64>(), 0..3_u8, any::<u32>());
    let texts = (bytes(), bytes(), bytes(), bytes());
    (ids, scalars, texts, 0..1_000_u32).prop_map(
        |(
            (handle, of, to, owner),
            (flag, byte, short, long, qos, identifier),
            (text, topic, properties, payload),
            more,
        )| Fields {
            handle: Handle { index: handle.0, generation: handle.1 },
            of: SessionRef { session: of.0, epoch: of.1 },
            to: SessionRef { session: to.0, epoch: to.1 },
            owner: owner.map(|(shard, (session, epoch))| Owner { shard, session, epoch }),
            text,
            grant: Grant { qos, identifier },
            flag,
            byte,
            short,
            long,
            qos,
            topic,
            properties,
            payload,
            more,
        },
    )
}

impl Fields {
    fn head(&self) -> MessageHead<'_> {
        MessageHead {
            qos: self.qos,
            retain: self.flag,
            expires_at_ns: self.long,
            topic: &self.topic,
            properties: &self.properties,
            payload_bytes: self.payload.len() as u32 + self.more,
            payload: &self.payload,
        }
    }

    fn messages(&self) -> Vec<ShardMessage<'_>> {
        let Fields {
            handle: token, of, to, owner: previous, grant, flag, byte, short, long, ..
        } = *self;
        let text = &self.text[..];
        let cursor = RetainedCursor::DONE;
        vec![
            ShardMessage::Claim { token, of, client_id: text },
            ShardMessage::Granted { token, previous },
            ShardMessage::ClaimRefused { token },
            ShardMessage::Release { epoch: of.epoch, client_id: text },
            ShardMessage::Rehome { of, session: to.session, client_id: text },
            ShardMessage::Rehomed { of, ok: flag },
            ShardMessage::TakeOver { token, of, to, clean_start: flag },
            ShardMessage::NothingToMove { token },
            ShardMessage::TakeOverLater { token },
            ShardMessage::Image { token, record: text },
            ShardMessage::ImageSent { token, of },
            ShardMessage::ImageTaken { of },
            ShardMessage::Publish { token, flags: byte, head: self.head() },
            ShardMessage::Part { bytes: text },
            ShardMessage::Accepted { token, ok: flag },
            ShardMessage::InterestExact { add: flag, hash: long },
            ShardMessage::InterestWildcard { add: flag, filter: text },
            ShardMessage::InterestAll,
            ShardMessage::Barrier { token },
            ShardMessage::RetainedQuery {
                token,
                to,
                budget: short,
                grant,
                cursor: flag.then_some(cursor),
                filter: text,
            },
            ShardMessage::RetainedDone { token, cursor },
            ShardMessage::RetainedEnd { cursor },
            ShardMessage::Delivery { to, grant, flags: byte, head: self.head() },
        ]
    }

    fn records(&self) -> Vec<ImageRecord<'_>> {
        let Fields { grant, flag, byte, short, qos, .. } = *self;
        let options = SubscriptionOptions {
            qos,
            no_local: flag,
            retain_as_published: byte & 1 != 0,
            identifier: grant.identifier,
        };
        vec![
            ImageRecord::Session { next_packet_id: short },
            ImageRecord::Subscription { options, filter: &self.text },
            ImageRecord::Received { packet_id: short },
            ImageRecord::Delivery {
                packet_id: short,
                qos,
                flags: byte,
                identifier: grant.identifier,
                head: self.head(),
            },
        ]
    }
}

fn small_broker() -> Broker {
    let limits = Limits {
        links: 4,
        active_links: 4,
        sessions: 4,
        clients: 16,
        subscriptions: 8,
        filters: 8,
        wildcard_nodes: 16,
        identifiers: 4,
        messages: 8,
        payload_units: 16,
        deliveries: 16,
        retained: 4,
        output_chunks: 8,
        pending: 4,
        retained_jobs: 2,
        moves: 2,
        packet_bytes_max: 1_000,
        header_bytes_max: 300,
        staging_bytes: 8_192,
        ..Limits::default()
    };
    let placement = Placement { tier: TierPolicy::BaseOnly, numa_node: None };
    Broker::new(BrokerConfig { shards: 2, limits, placement, ..BrokerConfig::default() })
        .expect("a broker")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_survive_their_encoding(fields in fields()) {
        let mut buffer = [0; 1_024];
        for message in fields.messages() {
            let bytes_max = message.bytes_max();
            let len = message.encode(&mut buffer[..bytes_max]).expect("its own bound holds it");
            prop_assert_eq!(ShardMessage::decode(&buffer[..len]), Ok(message));
            for cut in 0..len {
                prop_assert!(ShardMessage::decode(&buffer[..cut]).is_err());
            }
        }
    }

    #[test]
    fn records_of_images_survive_their_encoding(fields in fields()) {
        let mut buffer = [0; 1_024];
        for record in fields.records() {
            let len = record.encode(&mut buffer).expect("room");
            prop_assert_eq!(ImageRecord::decode(&buffer[..len]), Ok(record));
        }
    }

    #[test]
    fn answers_are_as_short_as_their_reserve_supposes(fields in fields()) {
        let mut buffer = [0; 1_024];
        for message in fields.messages().iter().filter(|message| message.is_answer()) {
            let len = message.encode(&mut buffer).expect("room");
            prop_assert!(len <= super::ANSWER_BYTES_MAX, "{:?}: {}", message, len);
        }
    }

    /// Messages that make no sense to this broker: about sessions, claims and requests it never
    /// heard of, and changed in any byte. Cursors are the exception: a shard only ever gets its own.
    #[test]
    fn senseless_messages_do_no_harm(all in prop::collection::vec((fields(), 0..23_usize, any::<prop::sample::Index>(), any::<u8>()), 1..30)) {
        let mut broker = small_broker();
        let mut buffer = [0; 1_024];
        for (fields, which, at, byte) in all {
            let message = fields.messages()[which];
            let len = message.encode(&mut buffer).expect("room");
            if byte % 2 == 0 {
                buffer[at.index(len)] = byte;
            }
            let about_cursors = matches!(
                ShardMessage::decode(&buffer[..len]),
                Ok(ShardMessage::RetainedQuery { .. } | ShardMessage::RetainedEnd { .. })
            );
            if !about_cursors {
                broker.inbox(1, 1, &buffer[..len]);
            }
            broker.tick(1);
            while broker.peek_message(1).is_some() {
                broker.pop_message(1);
            }
        }
        prop_assert_eq!(broker.gauges().sessions, 0);
    }
}

#[test]
fn message_from_nowhere_is_counted() {
    let mut broker = small_broker();
    broker.inbox(1, 9, &[12, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    broker.inbox(1, 1, &[255]);
    broker.inbox(1, 1, &[]);
    assert_eq!(broker.counters().shard_messages_bad, 3);
}
