//! Routing: who gets a message, on this shard and on the others.

use superpage::NIL;

use crate::broker::Broker;
use crate::deliver::Copy;
use crate::pending::{NO_TOKEN, Pending, PendingKind};
use crate::shards::wire::{Grant, publish_flag};
use crate::store::message::MessageId;
use crate::store::queue::DELIVERY_RETAIN;
use crate::topic::interest::ShardSet;
use crate::topic::name::TopicName;

/// Who waits for a publish to be taken by everyone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// The publisher's link. It has work.
    pub(crate) link: u32,
    /// Of the PUBLISH.
    pub(crate) packet_id: u16,
    /// How it is acknowledged.
    pub(crate) kind: PendingKind,
}

/// What came of a publish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Routed {
    /// Everyone has it; whether there was anyone.
    Done { reached: bool },
    /// Other shards have yet to answer; the acknowledgement stands in the link's queue.
    Waiting,
    /// There is no room on the way to another shard. Nobody has got it.
    Full,
}

/// The other shards a message must go to.
#[derive(Clone, Copy, Debug)]
struct Targets {
    deliver: ShardSet,
    /// Home of the topic, when the message is to be retained and that is another shard.
    keep: Option<u16>,
}

impl Targets {
    fn shards(&self) -> impl Iterator<Item = u16> + use<> {
        let deliver = self.deliver;
        deliver.iter().chain(self.keep.filter(move |home| !deliver.contains(*home)))
    }

    fn flags_for(&self, shard: u16) -> u8 {
        let deliver = if self.deliver.contains(shard) { publish_flag::DELIVER } else { 0 };
        let keep = if self.keep == Some(shard) { publish_flag::KEEP } else { 0 };
        deliver | keep
    }
}

impl Broker {
    /// Sends a complete message to all subscribers, here and elsewhere, and retains it if asked to.
    /// The caller's reference stays the caller's.
    pub(crate) fn route(
        &mut self,
        now_ns: u64,
        message: MessageId,
        origin: Option<Origin>,
    ) -> Routed {
        let mut topic = std::mem::take(&mut self.scratch.topic);
        let len = self.messages.read_topic(message, &mut topic);
        let routed = match TopicName::parse(&topic[..len]) {
            Ok(name) => self.route_name(now_ns, message, name, origin),
            Err(_) => Routed::Done { reached: false },
        };
        self.scratch.topic = topic;
        routed
    }

    fn route_name(
        &mut self,
        now_ns: u64,
        message: MessageId,
        name: TopicName<'_>,
        origin: Option<Origin>,
    ) -> Routed {
        let me = self.config.shard;
        let mut routed = Routed::Done { reached: false };
        let retain = self.messages.get(message).retain != 0;
        let hash = self.secret.hash(name.as_bytes());
        let home = self.shard_of(hash);
        if self.config.shards > 1 {
            let targets = Targets {
                deliver: self.interest.shards_for(name, hash),
                keep: (retain && home != me).then_some(home),
            };
            routed = self.forward(message, name, &targets, origin);
            if routed == Routed::Full {
                return Routed::Full;
            }
        }
        if retain && home == me {
            self.keep_retained(name, message);
        }
        let reached = self.deliver_here(now_ns, message, name);
        match routed {
            Routed::Done { reached: elsewhere } => Routed::Done { reached: reached || elsewhere },
            other => other,
        }
    }

    /// Sends a message to other shards: to all of them or, with QoS above 0, to none.
    fn forward(
        &mut self,
        message: MessageId,
        name: TopicName<'_>,
        targets: &Targets,
        origin: Option<Origin>,
    ) -> Routed {
        if targets.deliver.is_empty() && targets.keep.is_none() {
            return Routed::Done { reached: false };
        }
        let reliable = self.messages.get(message).qos > 0;
        let bytes = self.forward_bytes(message);
        if reliable && targets.shards().any(|shard| !self.has_room_for(shard, bytes)) {
            return Routed::Full;
        }
        let mut token = NO_TOKEN;
        let mut answer = 0;
        if let Some(Origin { link, packet_id, kind }) = origin {
            let mut pending = Pending::new(kind, link, packet_id);
            pending.outstanding = targets.shards().count() as u32;
            let Some(pending) = self.pending.insert(pending) else { return Routed::Full };
            self.queue_ack(link, pending);
            token = self.pending.handle(pending);
            answer = publish_flag::ANSWER;
        }
        for shard in targets.shards() {
            let flags = targets.flags_for(shard) | answer;
            if self.send_publish(shard, token, flags, name, message) {
                self.counters.forwards_out += 1;
            } else {
                debug_assert!(!reliable, "room was checked");
                self.counters.drop_out_shard_full += 1;
            }
        }
        if origin.is_some() { Routed::Waiting } else { Routed::Done { reached: true } }
    }

    /// Puts a message into the queues of this shard's subscribers. Returns whether there is any.
    pub(crate) fn deliver_here(
        &mut self,
        now_ns: u64,
        message: MessageId,
        name: TopicName<'_>,
    ) -> bool {
        debug_assert!(self.messages.is_complete(message), "only whole messages are delivered");
        let record = *self.messages.get(message);
        if record.expires_at_ns != 0 && record.expires_at_ns <= now_ns {
            return false;
        }
        let mut reached = false;
        self.matcher.start(&self.index, name);
        while let Some(found) = self.matcher.next(&self.index, name) {
            let options = found.options;
            if options.no_local && record.publisher == found.session && record.publisher != NIL {
                continue;
            }
            reached = true;
            let flags =
                if options.retain_as_published && record.retain != 0 { DELIVERY_RETAIN } else { 0 };
            let grant = Grant { qos: options.qos, identifier: options.identifier };
            self.deliver(found.session, message, Copy { grant, flags });
        }
        reached
    }
}
