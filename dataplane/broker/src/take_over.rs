//! Sessions that move from shard to shard.
//!
//! 1. The new owner asks ([`ShardMessage::TakeOver`]). The old one disconnects its client.
//! 2. The old owner sends the first part of the session's image, which has the subscriptions, record
//!    by record, as there is room ([`ShardMessage::ImageSent`]). Publishes go on being queued there.
//! 3. The new owner subscribes as the records come, waits until all shards know, and says so
//!    ([`ShardMessage::ImageTaken`]). What is published to it from then on it keeps apart.
//! 4. The old owner waits until every shard has dealt with what it sent before: nothing more comes to
//!    the old owner alone. It ends its subscriptions, sends the second part, which is all it has
//!    queued, says so again, and forgets the session.
//! 5. The new owner puts what it kept apart behind that and accepts its client.
//!
//! In 3 and 4 both have the subscriptions: no QoS 1 message is lost or overtaken by a later one of
//! its publisher, and one published just then may come twice.

use superpage::{Handle, NIL, record};

use crate::broker::Broker;
use crate::claim::{Claim, ClaimState, Freed};
use crate::codec::ReasonCode;
use crate::image::ImageRecord;
use crate::pending::{Pending, PendingKind};
use crate::session::SessionState;
use crate::shards::Then;
use crate::shards::wire::{FIXED_BYTES_MAX, SessionRef, ShardMessage};
use crate::store::message::MessageId;
use crate::store::queue::Delivery;
use crate::topic::index::Subscribed;
use crate::topic::name::TopicFilter;

record! {
    /// A session that moves out.
    pub(crate) struct Move {
        session: u32,
        /// The claim the image is for.
        token: Handle,
        /// The session there.
        to_session: u32,
        to_epoch: u32,
        /// Subscription to send next.
        subscription: u32,
        to_shard: u16,
        /// A [`Stage`].
        stage: u8,
        reserved: u8,
    }
}

/// How far a session that moves out is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Stage {
    Session = 0,
    Subscriptions = 1,
    Received = 2,
    /// The first part is sent; the new owner has not said that all shards know.
    Sent = 3,
    /// All shards know of the new owner. They have yet to be asked whether their messages for the
    /// old one have come,
    Taken = 4,
    /// or to answer that.
    Settling = 5,
    /// What is queued goes, then the session.
    Deliveries = 6,
}

impl Move {
    fn stage(&self) -> Stage {
        match self.stage {
            0 => Stage::Session,
            1 => Stage::Subscriptions,
            2 => Stage::Received,
            3 => Stage::Sent,
            4 => Stage::Taken,
            5 => Stage::Settling,
            _ => Stage::Deliveries,
        }
    }
}

/// A request for a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) from: u16,
    pub(crate) token: Handle,
    pub(crate) of: SessionRef,
    pub(crate) to: SessionRef,
    pub(crate) clean_start: bool,
}

/// A delivery of an image, without its message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImageDelivery {
    pub(crate) packet_id: u16,
    pub(crate) qos: u8,
    pub(crate) flags: u8,
    pub(crate) identifier: u32,
}

/// Records of one session sent in one go.
const STEPS_MAX: u32 = 256;
/// Moves worked on in one tick.
const MOVES_MAX: u32 = 64;
/// Subscriptions ended in one step.
const REMOVALS_MAX: u32 = 16;

/// What a step of a move came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moved {
    /// Something was sent or the next stage begun.
    On,
    /// There is no room, or an answer is awaited.
    Blocked,
    /// The session is gone.
    Done,
}

impl Broker {
    /// Old owner: another shard wants one of our sessions.
    pub(crate) fn on_take_over(&mut self, now_ns: u64, request: &Request) {
        let Request { from, token, of, to, clean_start } = *request;
        let freed = match self.former_session(of) {
            Some(session) => (session, self.free_for_take_over(now_ns, session, clean_start)),
            None => (NIL, Freed::Ended),
        };
        let session = match freed {
            (_, Freed::Ended) => {
                self.drop_adopted(of);
                self.send(from, &ShardMessage::NothingToMove { token });
                return;
            }
            (session, Freed::Offline) if self.moves.len() < self.moves.capacity() => session,
            _ => {
                self.send(from, &ShardMessage::TakeOverLater { token });
                return;
            }
        };
        let record = &mut self.sessions[session];
        record.set_state(SessionState::MovingOut);
        let moving = self.moves.insert(Move {
            session,
            token,
            to_session: to.session,
            to_epoch: to.epoch,
            subscription: record.subscriptions,
            to_shard: from,
            stage: Stage::Session as u8,
            reserved: 0,
        });
        if let Some(moving) = moving {
            self.sessions[session].next = moving;
            self.drop_adopted(of);
            self.continue_move(moving);
        }
    }

    /// Old owner: goes on with the sessions that move out, some each tick.
    pub(crate) fn continue_moves(&mut self) {
        for _ in 0..self.moves.len().min(MOVES_MAX) {
            let next = self.moves.next_live(self.move_cursor);
            let Some(moving) = next.or_else(|| self.moves.next_live(0)) else { return };
            self.move_cursor = moving + 1;
            self.continue_move(moving);
        }
    }

    fn continue_move(&mut self, moving: u32) {
        for _ in 0..STEPS_MAX {
            if self.step_move(moving) != Moved::On {
                return;
            }
        }
    }

    fn step_move(&mut self, moving: u32) -> Moved {
        let record = self.moves[moving];
        let session = record.session;
        match record.stage() {
            Stage::Session => {
                let next_packet_id = self.sessions[session].next_packet_id;
                let first = ImageRecord::Session { next_packet_id };
                self.send_record(moving, &first, Stage::Subscriptions)
            }
            Stage::Subscriptions => self.send_subscription(moving),
            Stage::Received => self.send_received(moving),
            Stage::Sent | Stage::Settling => Moved::Blocked,
            Stage::Taken => self.settle(moving),
            Stage::Deliveries => self.finish_move_out(moving),
        }
    }

    /// Says that a part of the image is whole.
    fn send_end(&mut self, moving: u32) -> bool {
        let Move { session, token, to_shard, .. } = self.moves[moving];
        let of = SessionRef { session, epoch: self.sessions[session].epoch };
        self.send(to_shard, &ShardMessage::ImageSent { token, of })
    }

    /// Asks all shards whether what they sent here before they knew better has come.
    fn settle(&mut self, moving: u32) -> Moved {
        let room = self.other_shards().all(|shard| self.has_room_for(shard, FIXED_BYTES_MAX));
        if !room {
            return Moved::Blocked;
        }
        let pending = Pending::new(PendingKind::Move, moving, 0);
        let Some(pending) = self.pending.insert(pending) else { return Moved::Blocked };
        self.moves[moving].stage = Stage::Settling as u8;
        self.pending[pending].outstanding = self.barrier(self.pending.handle(pending));
        Moved::Blocked
    }

    /// Old owner: all it will ever get for the session has come.
    pub(crate) fn on_settled(&mut self, moving: u32) {
        self.moves[moving].stage = Stage::Deliveries as u8;
        self.continue_move(moving);
    }

    /// Sends a record of the image, then goes to `stage`.
    fn send_record(&mut self, moving: u32, record: &ImageRecord<'_>, stage: Stage) -> Moved {
        let Move { to_shard, token, .. } = self.moves[moving];
        if !self.send_image(to_shard, token, record) {
            return Moved::Blocked;
        }
        self.moves[moving].stage = stage as u8;
        Moved::On
    }

    fn send_subscription(&mut self, moving: u32) -> Moved {
        let subscription = self.moves[moving].subscription;
        if subscription == NIL {
            self.moves[moving].stage = Stage::Received as u8;
            return Moved::On;
        }
        let view = self.index.view(subscription);
        let mut text = std::mem::take(&mut self.scratch.filter);
        let len = self.index.read_filter(subscription, &mut text);
        let record = ImageRecord::Subscription { options: view.options, filter: &text[..len] };
        let moved = self.send_record(moving, &record, Stage::Subscriptions);
        self.scratch.filter = text;
        if moved == Moved::On {
            self.moves[moving].subscription = view.next;
        }
        moved
    }

    fn send_received(&mut self, moving: u32) -> Moved {
        let session = self.moves[moving].session;
        let received = self.sessions[session].received;
        let Some(first) = self.deliveries.first(&received) else {
            if !self.send_end(moving) {
                return Moved::Blocked;
            }
            self.moves[moving].stage = Stage::Sent as u8;
            return Moved::On;
        };
        let packet_id = self.deliveries.get(first).packet_id;
        let moved = self.send_record(moving, &ImageRecord::Received { packet_id }, Stage::Received);
        if moved == Moved::On {
            self.deliveries.pop(&mut self.sessions[session].received);
        }
        moved
    }

    fn send_image_delivery(&mut self, moving: u32, first: u32) -> Moved {
        let Move { session, to_shard, token, .. } = self.moves[moving];
        let Delivery { message, packet_id, qos, flags, subscription_identifier, .. } =
            *self.deliveries.get(first);
        let delivery = ImageDelivery { packet_id, qos, flags, identifier: subscription_identifier };
        let mut topic = std::mem::take(&mut self.scratch.topic);
        let len = self.messages.read_topic(message, &mut topic);
        let then = Then::Image { token, delivery };
        let sent = self.send_message(to_shard, &topic[..len], message, then);
        self.scratch.topic = topic;
        if !sent {
            return Moved::Blocked;
        }
        self.deliveries.pop(&mut self.sessions[session].waiting);
        self.messages.release(message);
        Moved::On
    }

    /// Old owner: the new one is subscribed, and all shards know.
    pub(crate) fn on_image_taken(&mut self, of: SessionRef) {
        let Some(session) = self.session_of(of) else { return };
        if self.sessions[session].state() == SessionState::MovingOut {
            let moving = self.sessions[session].next;
            self.moves[moving].stage = Stage::Taken as u8;
            self.continue_move(moving);
        }
    }

    fn finish_move_out(&mut self, moving: u32) -> Moved {
        let Move { session, .. } = self.moves[moving];
        if self.sessions[session].subscriptions != NIL {
            let before = self.index.subscriptions();
            self.unsubscribe_all(session, REMOVALS_MAX);
            let on = self.index.subscriptions() < before;
            return if on { Moved::On } else { Moved::Blocked };
        }
        if let Some(first) = self.deliveries.first(&self.sessions[session].waiting) {
            return self.send_image_delivery(moving, first);
        }
        if !self.send_end(moving) {
            return Moved::Blocked;
        }
        self.moves.remove(moving);
        self.counters.sessions_moved_out += 1;
        self.retire_session(session);
        Moved::Done
    }

    /// New owner: a record of the image.
    pub(crate) fn on_image(&mut self, now_ns: u64, from: u16, token: Handle, record: &[u8]) {
        let Ok(record) = ImageRecord::decode(record) else {
            self.counters.shard_messages_bad += 1;
            return;
        };
        if let ImageRecord::Delivery { packet_id, qos, flags, identifier, head } = record {
            let delivery = ImageDelivery { packet_id, qos, flags, identifier };
            self.begin_receiving(now_ns, from, &head, Then::Image { token, delivery });
            return;
        }
        let Some(claim) = self.claims.resolve(token) else {
            self.counters.shard_messages_bad += 1;
            return;
        };
        let session = self.claims[claim].session;
        match record {
            ImageRecord::Session { next_packet_id } => {
                self.sessions[session].next_packet_id = next_packet_id;
            }
            ImageRecord::Subscription { options, filter } => {
                self.take_in_subscription(session, options, filter);
            }
            ImageRecord::Received { packet_id } => {
                let mut seen = Delivery::new(NIL, 0, 0, 0);
                seen.packet_id = packet_id;
                let received = &mut self.sessions[session].received;
                if self.deliveries.push(received, seen).is_none() {
                    self.counters.drop_pool_empty += 1;
                }
            }
            ImageRecord::Delivery { .. } => {}
        }
    }

    fn take_in_subscription(
        &mut self,
        session: u32,
        options: crate::topic::index::SubscriptionOptions,
        filter: &[u8],
    ) {
        let Ok(filter) = TopicFilter::parse(filter) else {
            self.counters.shard_messages_bad += 1;
            return;
        };
        let head = &mut self.sessions[session].subscriptions;
        match self.index.subscribe(head, session, &filter, options) {
            Ok(Subscribed::New { first_of_filter: true }) => self.announce(&filter, true),
            Ok(_) => {}
            Err(_) => self.counters.subscribes_refused += 1,
        }
    }

    /// New owner: a queued delivery of the image, whole.
    pub(crate) fn take_in_delivery(
        &mut self,
        token: Handle,
        delivery: &ImageDelivery,
        message: MessageId,
    ) {
        let Some(claim) = self.claims.resolve(token) else { return };
        if message == NIL {
            return;
        }
        let session = self.claims[claim].session;
        let ImageDelivery { packet_id, qos, flags, identifier } = *delivery;
        let mut queued = Delivery::new(message, qos, flags, identifier);
        queued.packet_id = packet_id;
        let waiting = &mut self.sessions[session].waiting;
        if self.deliveries.push(waiting, queued).is_some() {
            self.messages.retain(message);
        } else {
            self.counters.drop_pool_empty += 1;
        }
    }

    /// New owner: a part of the image is whole. After the first one other shards must know of the
    /// subscriptions.
    pub(crate) fn on_image_sent(&mut self, now_ns: u64, token: Handle, of: SessionRef) {
        let Some(claim) = self.claims.resolve(token) else {
            self.counters.shard_messages_bad += 1;
            return;
        };
        if self.claims[claim].state == ClaimState::Subscribed as u8 {
            self.finish_move_in(now_ns, claim);
            return;
        }
        // What was asked for may have been a signpost to it.
        self.claims[claim].peer_session = of.session;
        self.claims[claim].peer_epoch = of.epoch;
        let pending = Pending::new(PendingKind::Claim, claim, 0);
        if let Some(pending) = self.pending.insert(pending) {
            let asked = self.barrier(self.pending.handle(pending));
            self.pending[pending].outstanding = asked;
            if asked > 0 {
                return;
            }
            self.pending.remove(pending);
        }
        self.on_subscriptions_known(claim);
    }

    /// New owner: all shards know of the subscriptions.
    pub(crate) fn on_subscriptions_known(&mut self, claim: u32) {
        let Claim { peer_session, peer_epoch, peer_shard, .. } = self.claims[claim];
        self.claims[claim].state = ClaimState::Subscribed as u8;
        let of = SessionRef { session: peer_session, epoch: peer_epoch };
        self.send(peer_shard, &ShardMessage::ImageTaken { of });
    }

    /// New owner: everything is here.
    fn finish_move_in(&mut self, now_ns: u64, claim: u32) {
        let session = self.claims.remove(claim).session;
        let record = &mut self.sessions[session];
        while self.deliveries.move_first(&mut record.in_flight, &mut record.waiting).is_some() {}
        self.counters.sessions_moved_in += 1;
        self.establish(now_ns, session, true);
    }

    /// Disconnects at most `max_links` clients because the shard stops (MQTT 5: reason 0x8B), and
    /// takes no new ones. Returns how many links are still there; call it until there are none.
    pub fn shutdown(&mut self, now_ns: u64, max_links: usize) -> usize {
        self.now_ns = now_ns;
        let mut at = self.shutdown_cursor.unwrap_or(0);
        for _ in 0..max_links {
            let Some(link) = self.links.next_live(at) else { break };
            at = link + 1;
            let state = self.links[link].state();
            if state < crate::link::LinkState::Closing {
                self.refuse(now_ns, link, ReasonCode::SERVER_SHUTTING_DOWN);
            }
        }
        self.shutdown_cursor = Some(at);
        self.run_own_messages(now_ns);
        self.open_links as usize
    }
}
