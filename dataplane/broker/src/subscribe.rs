//! SUBSCRIBE and UNSUBSCRIBE.
//!
//! A subscription counts on this shard at once. Other shards are told of filters that are new here,
//! and the SUBACK waits until they know: what is published anywhere after the SUBACK is delivered.

use superpage::NIL;

use crate::broker::Broker;
use crate::codec::{
    FilterIter, PacketType, Properties, Property, Qos, ReasonCode, ReasonList, Subscribe,
    SubscribeOptions, Unsubscribe, Version,
};
use crate::feed::{Handled, Refusal};
use crate::pending::{Pending, PendingKind};
use crate::retained::Fetch;
use crate::shards::wire::{FIXED_BYTES_MAX, Grant, ShardMessage};
use crate::topic::index::{IndexError, Subscribed, SubscriptionOptions};
use crate::topic::name::{TopicError, TopicFilter};

/// Bytes of a SUBACK or UNSUBACK besides its reason codes.
const SUBACK_BYTES: usize = 8;

impl Broker {
    pub(crate) fn on_subscribe(
        &mut self,
        now_ns: u64,
        link: u32,
        body: &[u8],
    ) -> Result<Handled, Refusal> {
        let version = self.links[link].version();
        let packet = Subscribe::parse(version, body)?;
        let identifier = subscription_identifier(&packet.properties);
        check_texts(&packet.filters())?;
        if !self.can_take_filters(link, body.len(), packet.filters().count()) {
            return Ok(Handled::Park);
        }
        let mut reasons = std::mem::take(&mut self.scratch.reasons);
        let mut count = 0;
        let mut announced = false;
        for (filter, options) in packet.filters() {
            let reason = self.subscribe_one(now_ns, link, filter, options, identifier);
            announced |= matches!(reason, Ok((_, true)));
            let reason = reason.map_or_else(|reason| reason, |(granted, _)| granted);
            reasons[count] = speakable(version, reason).0;
            count += 1;
        }
        let list = ReasonList {
            packet_id: packet.packet_id,
            properties: Properties::EMPTY,
            reasons: &reasons[..count],
        };
        self.answer_list(link, PacketType::Suback, &list, announced);
        self.scratch.reasons = reasons;
        Ok(Handled::Done)
    }

    /// Whether everything that a list of filters may need has room.
    fn can_take_filters(&mut self, link: u32, bytes: usize, filters: usize) -> bool {
        let told = bytes + filters * FIXED_BYTES_MAX;
        let mut others = self.other_shards();
        // A list that is longer than a queue can ever be is taken when the queue is empty; what
        // does not fit is refused filter by filter.
        let room = others.all(|shard| self.has_room_for(shard, told) || self.is_empty_to(shard));
        room && self.can_answer(link, SUBACK_BYTES + filters)
            && self.pending.len() < self.pending.capacity()
    }

    /// Makes one subscription. Returns what was granted, and whether other shards were told.
    fn subscribe_one(
        &mut self,
        now_ns: u64,
        link: u32,
        filter: &[u8],
        options: SubscribeOptions,
        identifier: u32,
    ) -> Result<(ReasonCode, bool), ReasonCode> {
        let session = self.links[link].session;
        let result = (|| {
            let filter = TopicFilter::parse(filter).map_err(filter_refusal)?;
            if filter.group().is_some() {
                return Err(ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED);
            }
            if !self.can_announce(&filter)
                || self.retained_jobs.len() == self.retained_jobs.capacity()
            {
                return Err(ReasonCode::QUOTA_EXCEEDED);
            }
            let qos = options.qos.min(Qos::AtLeastOnce) as u8;
            let kept = SubscriptionOptions {
                qos,
                no_local: options.no_local,
                retain_as_published: options.retain_as_published,
                identifier,
            };
            let head = &mut self.sessions[session].subscriptions;
            let made =
                self.index.subscribe(head, session, &filter, kept).map_err(
                    |error| match error {
                        IndexError::Full => ReasonCode::QUOTA_EXCEEDED,
                        IndexError::Shared => ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
                    },
                )?;
            let first = made == Subscribed::New { first_of_filter: true };
            if first {
                self.announce(&filter, true);
            }
            let wants_retained = match options.retain_handling {
                0 => true,
                1 => made != Subscribed::Replaced,
                _ => false,
            };
            if wants_retained {
                let grant = Grant { qos, identifier };
                self.fetch_retained(now_ns, &Fetch { session, filter, grant });
            }
            Ok((ReasonCode(qos), first && self.config.shards > 1))
        })();
        match result {
            Ok(_) => self.counters.subscribes += 1,
            Err(_) => self.counters.subscribes_refused += 1,
        }
        result
    }

    pub(crate) fn on_unsubscribe(&mut self, link: u32, body: &[u8]) -> Result<Handled, Refusal> {
        let version = self.links[link].version();
        let packet = Unsubscribe::parse(version, body)?;
        check_texts(&packet.filters())?;
        if !self.can_take_filters(link, body.len(), packet.filters().count()) {
            return Ok(Handled::Park);
        }
        let mut reasons = std::mem::take(&mut self.scratch.reasons);
        let mut count = 0;
        for (filter, _) in packet.filters() {
            reasons[count] = self.unsubscribe_one(link, filter).0;
            count += 1;
        }
        // MQTT 3.1.1 §3.11: its UNSUBACK has no payload.
        let shown = if version == Version::V3 { 0 } else { count };
        let list = ReasonList {
            packet_id: packet.packet_id,
            properties: Properties::EMPTY,
            reasons: &reasons[..shown],
        };
        self.answer_list(link, PacketType::Unsuback, &list, false);
        self.scratch.reasons = reasons;
        Ok(Handled::Done)
    }

    fn unsubscribe_one(&mut self, link: u32, filter: &[u8]) -> ReasonCode {
        let session = self.links[link].session;
        let filter = match TopicFilter::parse(filter) {
            Ok(filter) => filter,
            Err(error) => return filter_refusal(error),
        };
        if !self.can_announce(&filter) {
            return ReasonCode::UNSPECIFIED_ERROR;
        }
        let head = &mut self.sessions[session].subscriptions;
        match self.index.unsubscribe(head, session, &filter) {
            Some(removed) => {
                self.counters.unsubscribes += 1;
                if removed.last_of_filter {
                    self.announce(&filter, false);
                }
                ReasonCode::SUCCESS
            }
            None => ReasonCode::NO_SUBSCRIPTION_EXISTED,
        }
    }

    /// Sends a SUBACK or UNSUBACK: at once, or once the other shards have heard what they were
    /// told. Room was made sure of.
    fn answer_list(&mut self, link: u32, kind: PacketType, list: &ReasonList<'_>, wait: bool) {
        let version = self.links[link].version();
        let mut bytes = std::mem::take(&mut self.scratch.properties);
        let len = list.encode(version, kind, &mut bytes).unwrap_or(0);
        if wait {
            let mut pending = Pending::new(PendingKind::Suback, link, list.packet_id);
            pending.packet.push(&mut self.output, &bytes[..len]);
            if let Some(pending) = self.pending.insert(pending) {
                self.queue_ack(link, pending);
                self.pending[pending].outstanding = self.barrier(self.pending.handle(pending));
                self.wake(link);
            }
        } else {
            self.answer(link, &bytes[..len]);
        }
        self.scratch.properties = bytes;
    }

    /// Removes up to `max` subscriptions of a session; `true` when none is left.
    pub(crate) fn unsubscribe_all(&mut self, session: u32, max: u32) -> bool {
        let mut text = std::mem::take(&mut self.scratch.filter);
        for _ in 0..max {
            let subscription = self.sessions[session].subscriptions;
            if subscription == NIL {
                break;
            }
            let view = self.index.view(subscription);
            if view.only_of_filter && self.config.shards > 1 {
                let len = self.index.read_filter(subscription, &mut text);
                let Ok(filter) = TopicFilter::parse(&text[..len]) else {
                    unreachable!("the index only has valid filters")
                };
                if !self.can_announce(&filter) {
                    break;
                }
                self.announce(&filter, false);
            }
            let head = &mut self.sessions[session].subscriptions;
            self.index.remove(head, subscription);
        }
        self.scratch.filter = text;
        self.sessions[session].subscriptions == NIL
    }

    /// Whether all other shards can be told of a filter now.
    pub(crate) fn can_announce(&self, filter: &TopicFilter<'_>) -> bool {
        let bytes = FIXED_BYTES_MAX + filter.as_bytes().len();
        self.other_shards().all(|shard| self.has_room_for(shard, bytes))
    }

    /// Tells all other shards that this one has its first, or no longer any, subscriber of a
    /// filter. One that has no room for it will take this shard to want everything.
    pub(crate) fn announce(&mut self, filter: &TopicFilter<'_>, add: bool) {
        let message = if filter.is_exact() {
            ShardMessage::InterestExact { add, hash: self.secret.hash(filter.as_bytes()) }
        } else {
            ShardMessage::InterestWildcard { add, filter: filter.as_bytes() }
        };
        for shard in self.other_shards() {
            if !self.send(shard, &message) && add {
                self.untold |= 1 << shard;
            }
        }
    }

    /// Tells shards that could not be told of a filter.
    pub(crate) fn retry_untold(&mut self) {
        let untold = self.untold;
        for shard in self.other_shards().filter(|shard| untold & 1 << shard != 0) {
            if self.send(shard, &ShardMessage::InterestAll) {
                self.untold &= !(1 << shard);
            }
        }
    }
}

/// The Subscription Identifier of a SUBSCRIBE; 0: none.
fn subscription_identifier(properties: &Properties<'_>) -> u32 {
    let mut found = 0;
    for (property, _) in properties {
        if let Property::SubscriptionIdentifier(identifier) = property {
            found = identifier;
        }
    }
    found
}

/// What makes the whole packet wrong: a string that is no UTF-8 (MQTT 5 §1.5.4), No Local for a group.
fn check_texts(filters: &FilterIter<'_>) -> Result<(), Refusal> {
    for (filter, options) in filters.clone() {
        match TopicFilter::parse(filter) {
            Err(TopicError::NotUtf8 | TopicError::Nul) => return Err(ReasonCode::MALFORMED_PACKET),
            // MQTT 5 §3.8.3.1: one's own messages cannot be left out of a group's.
            Ok(filter) if options.no_local && filter.group().is_some() => {
                return Err(ReasonCode::PROTOCOL_ERROR);
            }
            _ => {}
        }
    }
    Ok(())
}

fn filter_refusal(_: TopicError) -> ReasonCode {
    ReasonCode::TOPIC_FILTER_INVALID
}

/// MQTT 3.1.1 has one code for every refused subscription (§3.9.3).
fn speakable(version: Version, reason: ReasonCode) -> ReasonCode {
    if version == Version::V3 && reason.is_error() { ReasonCode::UNSPECIFIED_ERROR } else { reason }
}
