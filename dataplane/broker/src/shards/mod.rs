//! What shards do for each other.
//!
//! [`wire`] has the messages, [`staging`] the queues they wait in until the dataplane takes them.
//! This file sends and receives: every handler is a call to the module whose matter it is. A shard
//! talks to itself through the same queue where the other end may be any shard.
//!
//! A message with a payload larger than one part is staged whole or not at all, its parts right
//! behind each other, so that a receiver only ever has one half a message from each shard.

pub(crate) mod staging;
pub(crate) mod wire;

#[cfg(test)]
mod tests;

use superpage::{Handle, NIL};

use crate::broker::Broker;
use crate::deliver::Copy;
use crate::image::ImageRecord;
use crate::retained::Query;
use crate::store::message::{MessageId, NewMessage};
use crate::take_over::ImageDelivery;
use crate::topic::name::{TopicFilter, TopicName};
use wire::{
    FIXED_BYTES_MAX, Grant, MessageHead, PART_BYTES_MAX, SessionRef, ShardMessage, publish_flag,
};

/// Bytes of the longest answer.
pub(crate) const ANSWER_BYTES_MAX: usize = 40;

/// A message from another shard of which parts are still to come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Receiving {
    /// None.
    None,
    /// This one.
    Message {
        /// `NIL` when there was no room for it.
        message: MessageId,
        /// Payload bytes to come.
        remaining: u32,
        /// What to do with it.
        then: Then,
    },
}

/// What is done with a message from another shard once it is whole.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    /// It is published here.
    Publish { token: Handle, flags: u8 },
    /// It is for one session.
    Deliver { to: SessionRef, grant: Grant, flags: u8 },
    /// It is part of the image of a session that moves in.
    Image { token: Handle, delivery: ImageDelivery },
}

impl Broker {
    /// The oldest message for another shard. It stays until [`Broker::pop_message`]. None is longer
    /// than [`crate::Limits::shard_message_bytes_max`].
    pub fn peek_message(&self, to: u16) -> Option<&[u8]> {
        if to == self.config.shard {
            return None;
        }
        self.staging.get(usize::from(to))?.peek()
    }

    /// The message that [`Broker::peek_message`] showed is on its way.
    pub fn pop_message(&mut self, to: u16) {
        if let Some(staging) = self.staging.get_mut(usize::from(to)) {
            staging.pop();
        }
    }

    /// A message from another shard. What makes no sense is counted.
    pub fn inbox(&mut self, now_ns: u64, from: u16, message: &[u8]) {
        self.now_ns = now_ns;
        self.counters.shard_messages_in += 1;
        self.handle(now_ns, from, message);
        self.run_own_messages(now_ns);
    }

    /// Deals with what this shard has to tell itself.
    pub(crate) fn run_own_messages(&mut self, now_ns: u64) {
        let me = self.config.shard;
        while let Some(bytes) = self.staging[usize::from(me)].peek() {
            let len = bytes.len();
            let mut message = std::mem::take(&mut self.scratch.message);
            message[..len].copy_from_slice(bytes);
            self.staging[usize::from(me)].pop();
            self.handle(now_ns, me, &message[..len]);
            self.scratch.message = message;
        }
    }

    fn handle(&mut self, now_ns: u64, from: u16, bytes: &[u8]) {
        match ShardMessage::decode(bytes) {
            Ok(message) if from < self.config.shards => {
                self.dispatch_claims(now_ns, from, &message)
            }
            _ => self.counters.shard_messages_bad += 1,
        }
    }

    fn dispatch_claims(&mut self, now_ns: u64, from: u16, message: &ShardMessage<'_>) {
        match *message {
            ShardMessage::Claim { token, of, client_id } => {
                self.on_claim(from, token, of, client_id);
            }
            ShardMessage::Granted { token, previous } => self.on_granted(now_ns, token, previous),
            ShardMessage::ClaimRefused { token } => self.on_claim_refused(now_ns, token),
            ShardMessage::Release { epoch, client_id } => self.on_release(client_id, epoch),
            ShardMessage::Rehome { of, session, client_id } => {
                self.on_rehome(from, of, session, client_id);
            }
            ShardMessage::Rehomed { of, ok } => self.on_rehomed(of, ok),
            ShardMessage::TakeOver { token, of, to, clean_start } => {
                let request = crate::take_over::Request { from, token, of, to, clean_start };
                self.on_take_over(now_ns, &request);
            }
            ShardMessage::NothingToMove { token } => self.on_nothing_to_move(now_ns, token),
            ShardMessage::TakeOverLater { token } => self.on_take_over_later(token),
            ShardMessage::Image { token, record } => self.on_image(now_ns, from, token, record),
            ShardMessage::ImageSent { token, of } => self.on_image_sent(now_ns, token, of),
            ShardMessage::ImageTaken { of } => self.on_image_taken(of),
            _ => self.dispatch_data(now_ns, from, message),
        }
    }

    fn dispatch_data(&mut self, now_ns: u64, from: u16, message: &ShardMessage<'_>) {
        match *message {
            ShardMessage::Publish { token, flags, head } => {
                self.counters.forwards_in += 1;
                self.begin_receiving(now_ns, from, &head, Then::Publish { token, flags });
            }
            ShardMessage::Delivery { to, grant, flags, head } => {
                self.begin_receiving(now_ns, from, &head, Then::Deliver { to, grant, flags });
            }
            ShardMessage::Part { bytes } => self.go_on_receiving(now_ns, from, bytes),
            ShardMessage::Accepted { token, ok } => self.on_accepted(token, ok),
            ShardMessage::InterestExact { add: true, hash } => self.interest.add_exact(from, hash),
            ShardMessage::InterestExact { add: false, hash } => {
                if !self.interest.remove_exact(from, hash) {
                    self.counters.shard_messages_bad += 1;
                }
            }
            ShardMessage::InterestWildcard { add, filter } => self.on_wildcard(from, add, filter),
            ShardMessage::InterestAll => self.interest.fall_back(from),
            ShardMessage::Barrier { token } => {
                self.send(from, &ShardMessage::Accepted { token, ok: true });
            }
            ShardMessage::RetainedQuery { token, to, budget, grant, cursor, filter } => {
                let query = Query { token, to, budget, grant, cursor, filter };
                self.on_retained_query(now_ns, from, &query);
            }
            ShardMessage::RetainedDone { token, cursor } => {
                self.on_retained_done(now_ns, from, token, cursor);
            }
            ShardMessage::RetainedEnd { cursor } => self.on_retained_end(cursor),
            _ => self.counters.shard_messages_bad += 1,
        }
    }

    fn on_wildcard(&mut self, from: u16, add: bool, filter: &[u8]) {
        let Ok(filter) = TopicFilter::parse(filter) else {
            self.counters.shard_messages_bad += 1;
            return;
        };
        if add {
            if self.interest.add_wildcard(from, &filter).is_err() {
                self.interest.fall_back(from);
            }
        } else {
            // Unknown ones are those that came after the tables were full.
            self.interest.remove_wildcard(from, &filter);
        }
    }

    /// The first part of a message has come.
    pub(crate) fn begin_receiving(
        &mut self,
        now_ns: u64,
        from: u16,
        head: &MessageHead<'_>,
        then: Then,
    ) {
        self.drop_receiving(from);
        let message = self.messages.begin(&NewMessage {
            topic: head.topic,
            properties: head.properties,
            payload_bytes: head.payload_bytes,
            qos: head.qos,
            retain: head.retain,
            expires_at_ns: head.expires_at_ns,
            publisher: NIL,
        });
        self.receiving[usize::from(from)] = Receiving::Message {
            message: message.unwrap_or(NIL),
            remaining: head.payload_bytes,
            then,
        };
        self.go_on_receiving(now_ns, from, head.payload);
    }

    fn go_on_receiving(&mut self, now_ns: u64, from: u16, bytes: &[u8]) {
        let Receiving::Message { message, remaining, then } =
            &mut self.receiving[usize::from(from)]
        else {
            self.counters.shard_messages_bad += 1;
            return;
        };
        if bytes.len() > *remaining as usize {
            self.counters.shard_messages_bad += 1;
            self.drop_receiving(from);
            return;
        }
        *remaining -= bytes.len() as u32;
        if *message != NIL && !self.messages.append_payload(*message, bytes) {
            self.messages.release(*message);
            *message = NIL;
        }
        if *remaining == 0 {
            let (message, then) = (*message, *then);
            self.receiving[usize::from(from)] = Receiving::None;
            self.finish_receiving(now_ns, from, message, then);
            if message != NIL {
                self.messages.release(message);
            }
        }
    }

    fn finish_receiving(&mut self, now_ns: u64, from: u16, message: MessageId, then: Then) {
        let ok = message != NIL;
        if !ok {
            self.counters.drop_in_store_full += 1;
        }
        match then {
            Then::Publish { token, flags } => {
                if ok {
                    self.publish_forwarded(now_ns, message, flags);
                }
                if flags & publish_flag::ANSWER != 0 {
                    self.send(from, &ShardMessage::Accepted { token, ok });
                }
            }
            Then::Deliver { to, grant, flags } => {
                if let Some(session) = self.session_of(to).filter(|_| ok) {
                    self.deliver(session, message, Copy { grant, flags });
                }
            }
            Then::Image { token, delivery } => self.take_in_delivery(token, &delivery, message),
        }
    }

    fn publish_forwarded(&mut self, now_ns: u64, message: MessageId, flags: u8) {
        let mut topic = std::mem::take(&mut self.scratch.topic);
        let len = self.messages.read_topic(message, &mut topic);
        match TopicName::parse(&topic[..len]) {
            Ok(name) => {
                if flags & publish_flag::KEEP != 0 {
                    self.keep_retained(name, message);
                }
                if flags & publish_flag::DELIVER != 0 {
                    self.deliver_here(now_ns, message, name);
                }
            }
            Err(_) => self.counters.shard_messages_bad += 1,
        }
        self.scratch.topic = topic;
    }

    fn drop_receiving(&mut self, from: u16) {
        let old = std::mem::replace(&mut self.receiving[usize::from(from)], Receiving::None);
        if let Receiving::Message { message, .. } = old {
            self.counters.shard_messages_bad += 1;
            if message != NIL {
                self.messages.release(message);
            }
        }
    }

    /// All shards but this one.
    pub(crate) fn other_shards(&self) -> impl Iterator<Item = u16> + use<> {
        let me = self.config.shard;
        (0..self.config.shards).filter(move |shard| *shard != me)
    }

    /// Whether a request or data of so many bytes fits into the queue for a shard.
    pub(crate) fn has_room_for(&self, shard: u16, bytes: usize) -> bool {
        let largest = self.config.limits.shard_message_bytes_max().min(bytes);
        self.staging[usize::from(shard)].has_room(bytes, largest)
    }

    /// Whether nothing waits for a shard.
    pub(crate) fn is_empty_to(&self, shard: u16) -> bool {
        self.staging[usize::from(shard)].used() == 0
    }

    /// Stages a message for a shard, this one included. `false` when there is no room.
    pub(crate) fn send(&mut self, to: u16, message: &ShardMessage<'_>) -> bool {
        let bytes = message.bytes_max();
        if !message.is_answer() && !self.has_room_for(to, bytes) {
            return false;
        }
        let sent = self.staging[usize::from(to)].push(bytes, |out| message.encode(out));
        self.counters.shard_messages_out += u64::from(sent);
        self.counters.shard_answers_lost += u64::from(!sent && message.is_answer());
        sent
    }

    /// Asks all other shards to say when they have dealt with everything so far. Returns how many
    /// answers will come.
    pub(crate) fn barrier(&mut self, token: Handle) -> u32 {
        let asked = self
            .other_shards()
            .filter(|shard| self.send(*shard, &ShardMessage::Barrier { token }))
            .count();
        asked as u32
    }

    /// Bytes a message takes on its way to another shard.
    pub(crate) fn forward_bytes(&self, message: MessageId) -> usize {
        let payload = self.messages.get(message).payload_bytes as usize;
        let text = self.messages.topic_len(message) + self.messages.properties_len(message);
        let records = 1 + payload / PART_BYTES_MAX;
        text + payload + records * FIXED_BYTES_MAX
    }

    /// Stages a message to be published by another shard.
    pub(crate) fn send_publish(
        &mut self,
        to: u16,
        token: Handle,
        flags: u8,
        name: TopicName<'_>,
        message: MessageId,
    ) -> bool {
        self.send_message(to, name.as_bytes(), message, Then::Publish { token, flags })
    }

    /// Stages a message for one session of another shard.
    pub(crate) fn send_delivery(
        &mut self,
        to: u16,
        session: SessionRef,
        grant: Grant,
        flags: u8,
        message: MessageId,
    ) -> bool {
        let mut topic = std::mem::take(&mut self.scratch.topic);
        let len = self.messages.read_topic(message, &mut topic);
        let then = Then::Deliver { to: session, grant, flags };
        let sent = self.send_message(to, &topic[..len], message, then);
        self.scratch.topic = topic;
        sent
    }

    /// Stages a message, all its parts or none.
    pub(crate) fn send_message(
        &mut self,
        to: u16,
        topic: &[u8],
        message: MessageId,
        then: Then,
    ) -> bool {
        if !self.has_room_for(to, self.forward_bytes(message)) {
            return false;
        }
        let mut properties = std::mem::take(&mut self.scratch.properties);
        let mut payload = std::mem::take(&mut self.scratch.payload);
        let record = *self.messages.get(message);
        let properties_len = self.messages.read_properties(message, 0, &mut properties);
        let mut cursor = self.messages.payload_start(message);
        let len = self.messages.read_payload_next(message, &mut cursor, &mut payload);
        let head = MessageHead {
            qos: record.qos,
            retain: record.retain != 0,
            expires_at_ns: record.expires_at_ns,
            topic,
            properties: &properties[..properties_len],
            payload_bytes: record.payload_bytes,
            payload: &payload[..len],
        };
        let mut sent = self.send_head(to, head, then);
        let mut left = record.payload_bytes as usize - len;
        while sent && left > 0 {
            let len = self.messages.read_payload_next(message, &mut cursor, &mut payload);
            sent = self.send(to, &ShardMessage::Part { bytes: &payload[..len] });
            left -= len;
        }
        debug_assert!(sent, "room was checked");
        self.scratch.properties = properties;
        self.scratch.payload = payload;
        sent
    }

    fn send_head(&mut self, to: u16, head: MessageHead<'_>, then: Then) -> bool {
        match then {
            Then::Publish { token, flags } => {
                self.send(to, &ShardMessage::Publish { token, flags, head })
            }
            Then::Deliver { to: session, grant, flags } => {
                self.send(to, &ShardMessage::Delivery { to: session, grant, flags, head })
            }
            Then::Image { token, delivery } => {
                let ImageDelivery { packet_id, qos, flags, identifier } = delivery;
                let record = ImageRecord::Delivery { packet_id, qos, flags, identifier, head };
                self.send_image(to, token, &record)
            }
        }
    }

    /// Stages a record of a session's image.
    pub(crate) fn send_image(&mut self, to: u16, token: Handle, record: &ImageRecord<'_>) -> bool {
        let mut image = std::mem::take(&mut self.scratch.image);
        let len = record.encode(&mut image).unwrap_or(0);
        let sent = self.send(to, &ShardMessage::Image { token, record: &image[..len] });
        self.scratch.image = image;
        sent
    }
}
