//! Deliveries into session queues, and what happens when these are full.

use superpage::NIL;

use crate::broker::Broker;
use crate::link::flag;
use crate::session::SessionState;
use crate::shards::wire::Grant;
use crate::store::message::MessageId;
use crate::store::queue::{DELIVERY_RETAIN, Delivery};

/// How one receiver gets a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copy {
    /// What the subscription allows.
    pub(crate) grant: Grant,
    /// Delivery flags.
    pub(crate) flags: u8,
}

impl Broker {
    /// Queues a message for a session and takes a reference for it. Anything else is counted.
    ///
    /// QoS 0 waits only for a connected client and gives way to newer messages. QoS 1 is never
    /// thrown out: when the queue is full, the newest is refused, and a connected client is
    /// disconnected with its queue kept.
    pub(crate) fn deliver(&mut self, session: u32, message: MessageId, copy: Copy) {
        let qos = copy.grant.qos.min(self.messages.get(message).qos);
        if self.is_repeated(session, message, qos, &copy) {
            return;
        }
        let record = &self.sessions[session];
        match record.state() {
            SessionState::Ending | SessionState::Claiming | SessionState::Adopted => return,
            SessionState::Online | SessionState::MovingIn => {}
            SessionState::Offline | SessionState::MovingOut => {
                if qos == 0 {
                    self.counters.drop_offline_qos0 += 1;
                    return;
                }
            }
        }
        let has_room =
            if qos == 0 { self.make_room_qos0(session) } else { self.has_room_qos1(session) };
        if has_room {
            self.enqueue(session, message, qos, &copy);
        }
    }

    /// A session with overlapping filters gets one copy for each Subscription Identifier and QoS.
    fn is_repeated(&self, session: u32, message: MessageId, qos: u8, copy: &Copy) -> bool {
        if copy.flags & DELIVERY_RETAIN != 0 {
            return false;
        }
        let record = &self.sessions[session];
        self.deliveries.last(record.queue_for(qos)).is_some_and(|last| {
            let last = self.deliveries.get(last);
            let identifier = copy.grant.identifier;
            last.message == message
                && last.packet_id == 0
                && (identifier == 0 || last.subscription_identifier == identifier)
        })
    }

    fn make_room_qos0(&mut self, session: u32) -> bool {
        let limit = self.config.limits.session_queue_messages;
        let queue = &mut self.sessions[session].waiting_qos0;
        if queue.len < limit {
            return true;
        }
        match self.deliveries.pop(queue) {
            Some(oldest) => {
                self.messages.release(oldest.message);
                self.counters.drop_queue_full_qos0 += 1;
                true
            }
            None => {
                self.counters.drop_queue_full_qos0 += 1;
                false
            }
        }
    }

    fn has_room_qos1(&mut self, session: u32) -> bool {
        let record = &self.sessions[session];
        if record.queue_for(1).len < self.config.limits.session_queue_messages {
            return true;
        }
        self.counters.drop_queue_full_qos1 += 1;
        let link = record.link;
        if link != NIL && record.state() == SessionState::Online {
            self.links[link].set(flag::QUOTA);
            self.wake(link);
        }
        false
    }

    fn enqueue(&mut self, session: u32, message: MessageId, qos: u8, copy: &Copy) {
        let delivery = Delivery::new(message, qos, copy.flags, copy.grant.identifier);
        let record = &mut self.sessions[session];
        if self.deliveries.push(record.queue_for_mut(qos), delivery).is_none() {
            self.counters.drop_pool_empty += 1;
            return;
        }
        self.messages.retain(message);
        self.counters.enqueued += 1;
        let link = record.link;
        if link != NIL && record.state() == SessionState::Online {
            self.wake(link);
        }
    }

    /// The client has taken a QoS 1 message.
    pub(crate) fn on_puback(&mut self, link: u32, packet_id: u16) {
        let session = self.links[link].session;
        let record = &mut self.sessions[session];
        match self.deliveries.remove(&mut record.in_flight, packet_id) {
            Some(delivery) => {
                self.messages.release(delivery.message);
                self.counters.acks_in += 1;
                if record.waiting.len > 0 {
                    self.wake(link);
                }
            }
            None => self.counters.acks_unknown += 1,
        }
    }
}
