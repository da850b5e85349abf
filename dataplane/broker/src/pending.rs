//! Answers that wait for other shards.
//!
//! A request to another shard carries the handle of a [`Pending`] as its token. A link's
//! acknowledgements stand in one queue: MQTT 5 §4.6 wants them in the order of the publishes.

use superpage::{Handle, NIL, record};

use crate::broker::Broker;
use crate::codec::{Ack, AckKind, ReasonCode, Version};
use crate::link::LinkState;
use crate::output::OutputQueue;

record! {
    /// One answer that waits.
    pub(crate) struct Pending {
        /// Next in the link's queue.
        pub(crate) next: u32,
        /// The link, the claim, or the move it is for.
        pub(crate) owner: u32,
        /// Shards that have not answered.
        pub(crate) outstanding: u32,
        /// What it answers.
        pub(crate) packet_id: u16,
        /// A [`PendingKind`].
        pub(crate) kind: u8,
        /// Reason code to answer with.
        pub(crate) reason: u8,
        /// The packet, when it is a SUBACK.
        pub(crate) packet: OutputQueue,
    }
}

/// What a [`Pending`] becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum PendingKind {
    /// A PUBACK on a link.
    Puback = 0,
    /// A PUBREC on a link.
    Pubrec = 1,
    /// A SUBACK on a link.
    Suback = 2,
    /// A claim whose session moves in: the other shards must know its subscriptions first.
    Claim = 3,
    /// A session that moves out: what other shards have sent to it must have come first.
    Move = 4,
}

impl Pending {
    /// An answer of `kind` to what carried `packet_id`.
    pub(crate) fn new(kind: PendingKind, owner: u32, packet_id: u16) -> Pending {
        Pending {
            next: NIL,
            owner,
            outstanding: 0,
            packet_id,
            kind: kind as u8,
            reason: ReasonCode::SUCCESS.0,
            packet: OutputQueue::EMPTY,
        }
    }

    pub(crate) fn kind(&self) -> PendingKind {
        match self.kind {
            0 => PendingKind::Puback,
            1 => PendingKind::Pubrec,
            2 => PendingKind::Suback,
            3 => PendingKind::Claim,
            _ => PendingKind::Move,
        }
    }
}

/// The token of a request nobody waits for.
pub(crate) const NO_TOKEN: Handle = Handle { index: NIL, generation: 0 };

/// Bytes of an acknowledgement without properties.
pub(crate) const ACK_BYTES_MAX: usize = 5;

impl Broker {
    /// Puts an answer at the end of its link's queue. The link has work.
    pub(crate) fn queue_ack(&mut self, link: u32, pending: u32) {
        let work = &mut self.works[self.links[link].work];
        if work.acks_last == NIL {
            work.acks_first = pending;
        } else {
            self.pending[work.acks_last].next = pending;
        }
        work.acks_last = pending;
        work.publishes += u32::from(self.pending[pending].kind() != PendingKind::Suback);
    }

    /// Acknowledges at once, or in its turn when others wait. `false`: no room, nothing happened.
    pub(crate) fn acknowledge(
        &mut self,
        link: u32,
        kind: PendingKind,
        packet_id: u16,
        reason: ReasonCode,
    ) -> bool {
        let Some(work) = self.work(link) else { return false };
        if self.works[work].acks_first != NIL {
            let mut pending = Pending::new(kind, link, packet_id);
            pending.reason = reason.0;
            let Some(pending) = self.pending.insert(pending) else { return false };
            self.queue_ack(link, pending);
            return true;
        }
        let mut bytes = [0; ACK_BYTES_MAX];
        let len = self.encode_ack(link, kind, packet_id, reason, &mut bytes);
        let answered = self.answer(link, &bytes[..len]);
        self.counters.acks_out += u64::from(answered);
        answered
    }

    /// Another shard has carried out what `token` stands for.
    pub(crate) fn on_accepted(&mut self, token: Handle, ok: bool) {
        // Answers to what has been given up meanwhile find nothing.
        let Some(index) = self.pending.resolve(token) else { return };
        let pending = &mut self.pending[index];
        if !ok {
            pending.reason = ReasonCode::QUOTA_EXCEEDED.0;
        }
        pending.outstanding = pending.outstanding.saturating_sub(1);
        if pending.outstanding > 0 {
            return;
        }
        let owner = pending.owner;
        match pending.kind() {
            PendingKind::Puback | PendingKind::Pubrec | PendingKind::Suback => self.wake(owner),
            PendingKind::Claim => {
                self.pending.remove(index);
                self.on_subscriptions_known(owner);
            }
            PendingKind::Move => {
                self.pending.remove(index);
                self.on_settled(owner);
            }
        }
    }

    /// Writes the link's answers whose turn has come to `out`; returns the bytes. The flag tells
    /// whether there is more. The link's output queue is empty before; it holds what did not fit.
    pub(crate) fn write_acks(&mut self, now_ns: u64, link: u32, out: &mut [u8]) -> (usize, bool) {
        let work = self.links[link].work;
        let mut written = 0;
        while work != NIL && self.works[work].acks_first != NIL {
            let index = self.works[work].acks_first;
            let pending = self.pending[index];
            if pending.outstanding > 0 {
                break;
            }
            let reason = ReasonCode(pending.reason);
            if self.is_unspeakable(link, reason) && pending.kind() != PendingKind::Suback {
                self.forget_received(link, pending.packet_id);
                self.close(now_ns, link);
                break;
            }
            if written == out.len() {
                return (written, true);
            }
            if pending.kind() == PendingKind::Suback {
                // What does not fit must come before whatever is answered meanwhile.
                let output = &mut self.works[work].output;
                debug_assert!(output.is_empty(), "answers are written first");
                *output = std::mem::replace(&mut self.pending[index].packet, OutputQueue::EMPTY);
                written += output.pop_into(&mut self.output, &mut out[written..]);
            } else {
                let mut bytes = [0; ACK_BYTES_MAX];
                let len =
                    self.encode_ack(link, pending.kind(), pending.packet_id, reason, &mut bytes);
                let Some(now) = self.write_short(link, &bytes[..len], &mut out[written..]) else {
                    return (written, true);
                };
                written += now;
                self.counters.acks_out += 1;
            }
            self.counters.packets_out += 1;
            self.take_first_ack(work);
            if !self.works[work].output.is_empty() {
                return (written, true);
            }
        }
        (written, false)
    }

    /// Drops the answers of a link that closes; late answers of other shards find nothing.
    pub(crate) fn drop_acks(&mut self, work: u32) {
        while self.works[work].acks_first != NIL {
            self.take_first_ack(work);
        }
    }

    fn take_first_ack(&mut self, work: u32) {
        let work = &mut self.works[work];
        let mut pending = self.pending.remove(work.acks_first);
        pending.packet.clear(&mut self.output);
        work.acks_first = pending.next;
        work.publishes -= u32::from(pending.kind() != PendingKind::Suback);
        if pending.next == NIL {
            work.acks_last = NIL;
        }
    }

    fn encode_ack(
        &self,
        link: u32,
        kind: PendingKind,
        packet_id: u16,
        reason: ReasonCode,
        out: &mut [u8],
    ) -> usize {
        let kind = match kind {
            PendingKind::Pubrec => AckKind::Pubrec,
            _ => AckKind::Puback,
        };
        let ack = Ack::new(kind, packet_id, reason);
        ack.encode(self.links[link].version(), out).unwrap_or(0)
    }

    /// MQTT 3.1.1 has no way to refuse a message but to close the connection.
    pub(crate) fn is_unspeakable(&self, link: u32, reason: ReasonCode) -> bool {
        reason.is_error() && self.links[link].version() == Version::V3
    }

    /// Whether the link's publishes not yet acknowledged are as many as it was told it may have.
    pub(crate) fn is_receive_maximum_reached(&self, link: u32) -> bool {
        let record = &self.links[link];
        record.state() == LinkState::Open
            && record.work != NIL
            && self.works[record.work].publishes >= u32::from(self.config.receive_maximum)
    }
}
