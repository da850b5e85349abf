//! The life of a session between connections: detached, published its will, expired, ended.

use superpage::NIL;

use crate::broker::{Broker, NANOS_PER_MILLI};
use crate::link::LinkState;
use crate::session::{NEVER, SessionState};
use crate::shards::wire::ShardMessage;
use crate::store::queue::{DELIVERY_DUP, DeliveryQueue};
use crate::timers::after_seconds;

/// How a client left its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leave {
    /// DISCONNECT with reason 0: the will is void.
    Normal,
    /// Anything else.
    Lost,
    /// Another connection of the same client takes its place at once, and sees to session and will.
    TakenOver,
}

/// Sessions that are ending bit by bit, oldest first, linked by [`crate::session::Session::next`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Endings {
    head: u32,
    tail: u32,
    len: u32,
}

/// Subscriptions of an ending session removed in one go.
const REMOVALS_MAX: u32 = 64;
/// Ending sessions worked on in one tick.
const ENDINGS_MAX: u32 = 64;
/// How long something waits that found another shard's queue full.
pub(crate) const RETRY_NS: u64 = NANOS_PER_MILLI;

impl Broker {
    /// Separates a link from its session.
    pub(crate) fn leave_session(&mut self, now_ns: u64, link: u32, how: Leave) {
        let session = std::mem::replace(&mut self.links[link].session, NIL);
        if session == NIL {
            return;
        }
        let record = &mut self.sessions[session];
        record.link = NIL;
        match record.state() {
            SessionState::Online => {
                self.connected -= 1;
                self.detach(now_ns, session, how);
            }
            // The answer to the claim is still to come and finds a session without a link. A will
            // only counts once the connection was accepted.
            SessionState::Claiming | SessionState::MovingIn => self.drop_will(session),
            SessionState::Offline
            | SessionState::MovingOut
            | SessionState::Ending
            | SessionState::Adopted => {}
        }
    }

    /// Turns an online session whose link is gone into an offline one.
    pub(crate) fn detach(&mut self, now_ns: u64, session: u32, how: Leave) {
        self.drop_aliases(session);
        self.requeue_in_flight(session);
        let dropped = self.drop_queue_qos0(session);
        self.counters.drop_offline_qos0 += dropped;
        if how == Leave::Normal {
            self.drop_will(session);
        }
        let record = &mut self.sessions[session];
        record.set_state(SessionState::Offline);
        record.expires_at_ns = after_seconds(now_ns, record.expiry_s);
        record.will_at_ns = if record.will == NIL {
            NEVER
        } else {
            after_seconds(now_ns, record.will_delay_s).min(record.expires_at_ns)
        };
        if how != Leave::TakenOver {
            self.run_session(now_ns, session);
        }
    }

    /// A session's deadline has come. Returns the next one. Ids no longer in use are harmless.
    pub fn on_session_timer(&mut self, now_ns: u64, session: u32) -> Option<u64> {
        self.now_ns = now_ns;
        if self.sessions.get(session)?.state() != SessionState::Offline {
            return None;
        }
        self.work_off_deadlines(now_ns, session);
        self.run_own_messages(now_ns);
        let record = self.sessions.get(session)?;
        if record.state() != SessionState::Offline {
            return None;
        }
        let at_ns = self.session_deadline(session);
        (at_ns != NEVER).then_some(at_ns)
    }

    /// When something is due for an offline session.
    pub(crate) fn session_deadline(&self, session: u32) -> u64 {
        let record = &self.sessions[session];
        record.will_at_ns.min(record.expires_at_ns)
    }

    /// Does what is due for an offline session and asks for its next timer.
    pub(crate) fn run_session(&mut self, now_ns: u64, session: u32) {
        self.work_off_deadlines(now_ns, session);
        if self.sessions.get(session).is_some_and(|s| s.state() == SessionState::Offline) {
            let at_ns = self.session_deadline(session);
            self.request_session_timer(session, at_ns);
        }
    }

    fn work_off_deadlines(&mut self, now_ns: u64, session: u32) {
        if self.sessions[session].will_at_ns <= now_ns && !self.publish_will(now_ns, session) {
            self.sessions[session].will_at_ns = now_ns + RETRY_NS;
            return;
        }
        if self.sessions[session].expires_at_ns <= now_ns {
            self.end_session(session);
        }
    }

    /// Ends a session that has no link any more. Large ones go bit by bit.
    pub(crate) fn end_session(&mut self, session: u32) {
        self.counters.sessions_ended += 1;
        self.retire_session(session);
    }

    /// Takes a session down that has no link and whose state nobody needs any more.
    pub(crate) fn retire_session(&mut self, session: u32) {
        let record = &mut self.sessions[session];
        debug_assert_eq!(record.link, NIL, "a session with a client does not end");
        record.set_state(SessionState::Ending);
        self.drop_will(session);
        self.drop_aliases(session);
        if !self.take_down(session) {
            self.queue_ending(session);
        }
    }

    /// Goes on with the sessions that are ending.
    pub(crate) fn continue_endings(&mut self) {
        for _ in 0..self.ending.len.min(ENDINGS_MAX) {
            let session = self.ending.head;
            self.ending.head = self.sessions[session].next;
            self.ending.len -= 1;
            if !self.take_down(session) {
                self.queue_ending(session);
            }
        }
    }

    fn queue_ending(&mut self, session: u32) {
        self.sessions[session].next = NIL;
        if self.ending.len == 0 {
            self.ending.head = session;
        } else {
            self.sessions[self.ending.tail].next = session;
        }
        self.ending.tail = session;
        self.ending.len += 1;
    }

    /// Takes down a part of an ending session; `true` when nothing is left of it.
    fn take_down(&mut self, session: u32) -> bool {
        if !self.unsubscribe_all(session, REMOVALS_MAX) || !self.release_client_id(session) {
            return false;
        }
        let record = &mut self.sessions[session];
        let mut queues = [record.waiting, record.waiting_qos0, record.in_flight, record.received];
        for queue in &mut queues {
            self.counters.drop_session_ended += self.drop_queue(queue);
        }
        let record = self.sessions.remove(session);
        self.names.release(record.client_id);
        true
    }

    /// Tells the home shard that the session is gone; `false` when its queue is full.
    fn release_client_id(&mut self, session: u32) -> bool {
        let record = &self.sessions[session];
        let (client_id, epoch) = (record.client_id, record.epoch);
        let mut text = std::mem::take(&mut self.scratch.topic);
        let len = self.names.read(client_id, 0, &mut text);
        let home = self.shard_of(self.secret.hash(&text[..len]));
        let sent = self.send(home, &ShardMessage::Release { epoch, client_id: &text[..len] });
        self.scratch.topic = text;
        sent
    }

    /// What was in flight is sent again first when the client returns, with DUP (MQTT 5 §4.4).
    fn requeue_in_flight(&mut self, session: u32) {
        let record = &mut self.sessions[session];
        let mut at = self.deliveries.first(&record.in_flight);
        while let Some(index) = at {
            self.deliveries.get_mut(index).flags |= DELIVERY_DUP;
            at = self.deliveries.after(&record.in_flight, index);
        }
        while self.deliveries.move_first(&mut record.waiting, &mut record.in_flight).is_some() {}
        record.waiting = std::mem::replace(&mut record.in_flight, DeliveryQueue::EMPTY);
    }

    /// Drops the QoS 0 deliveries of a session; returns how many.
    pub(crate) fn drop_queue_qos0(&mut self, session: u32) -> u64 {
        let mut queue =
            std::mem::replace(&mut self.sessions[session].waiting_qos0, DeliveryQueue::EMPTY);
        self.drop_queue(&mut queue)
    }

    /// Empties a queue; returns how many deliveries that were.
    pub(crate) fn drop_queue(&mut self, queue: &mut DeliveryQueue) -> u64 {
        let mut dropped = 0;
        while let Some(delivery) = self.deliveries.pop(queue) {
            if delivery.message != NIL {
                self.messages.release(delivery.message);
                dropped += 1;
            }
        }
        dropped
    }

    /// Closes a link without telling the client why.
    pub(crate) fn close(&mut self, now_ns: u64, link: u32) {
        self.close_after(now_ns, link, Leave::Lost);
    }

    /// Sends what is left on a link, then closes it.
    pub(crate) fn close_after(&mut self, now_ns: u64, link: u32, how: Leave) {
        self.leave_session(now_ns, link, how);
        let work = self.links[link].work;
        if work != NIL {
            self.drop_incoming(work);
            self.drop_acks(work);
        }
        self.links[link].state = LinkState::Closing as u8;
        self.rearm_link(now_ns, link);
        self.wake(link);
    }
}
