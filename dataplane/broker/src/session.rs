//! A session: what the broker knows of a client id, connected or not.

use superpage::{NIL, record};

use crate::store::bytes::{BlobId, EMPTY};
use crate::store::queue::DeliveryQueue;

record! {
    /// One session, 96 bytes. Its parts elsewhere: client id (blob), subscriptions (index),
    /// deliveries (pool), will (message).
    pub(crate) struct Session {
        /// When the will is to be published; [`NEVER`] without one or while connected.
        pub(crate) will_at_ns: u64,
        /// When the session ends; [`NEVER`] while connected.
        pub(crate) expires_at_ns: u64,
        /// QoS 1 deliveries not sent yet, and those to be sent again.
        pub(crate) waiting: DeliveryQueue,
        /// QoS 0 deliveries not sent yet.
        pub(crate) waiting_qos0: DeliveryQueue,
        /// QoS 1 deliveries sent and not acknowledged. While moving in: those published meanwhile.
        pub(crate) in_flight: DeliveryQueue,
        /// Packet identifiers of QoS 2 publishes taken and not yet released by the client.
        pub(crate) received: DeliveryQueue,
        pub(crate) client_id: BlobId,
        /// Link of the connected client, or `NIL`.
        pub(crate) link: u32,
        /// With the index, tells this session from all others.
        pub(crate) epoch: u32,
        /// Head of the session's subscriptions.
        pub(crate) subscriptions: u32,
        /// Will message, or `NIL`.
        pub(crate) will: u32,
        pub(crate) will_delay_s: u32,
        /// Session Expiry Interval in force; `u32::MAX` never expires.
        pub(crate) expiry_s: u32,
        /// Largest packet the client takes.
        pub(crate) packet_bytes_max: u32,
        /// Topic aliases the client has set on this connection.
        pub(crate) aliases: u32,
        /// Packet identifier to try next.
        pub(crate) next_packet_id: u16,
        /// Deliveries that may be in flight to the client.
        pub(crate) receive_maximum: u16,
        /// While moving out: the [`crate::take_over::Move`]. While ending: the next session that
        /// ends. When adopted: the session it lives on in.
        pub(crate) next: u32,
        /// A [`SessionState`].
        pub(crate) state: u8,
        /// Bits of [`flag`].
        pub(crate) flags: u8,
        pub(crate) reserved: [u8; 2],
    }
}

const _: () = assert!(size_of::<Session>() == 96);

/// A deadline that never comes.
pub(crate) const NEVER: u64 = u64::MAX;

/// Where a session is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum SessionState {
    /// The home shard of its client id has not answered yet.
    Claiming = 0,
    /// Its state is coming in from another shard.
    MovingIn = 1,
    /// A client is connected.
    Online = 2,
    /// No client is connected.
    Offline = 3,
    /// Its state is going out to another shard.
    MovingOut = 4,
    /// Its parts are being taken down.
    Ending = 5,
    /// It lives on in the session [`Session::next`]; this record is only a signpost.
    Adopted = 6,
}

/// Bits of [`Session::flags`].
pub(crate) mod flag {
    /// The CONNECT asked for a clean start.
    pub(crate) const CLEAN_START: u8 = 1 << 0;
    /// The client id was made up by the broker.
    pub(crate) const ASSIGNED_ID: u8 = 1 << 1;
    /// The Session Expiry Interval in force is not the one asked for.
    pub(crate) const EXPIRY_CHANGED: u8 = 1 << 2;
    /// The Keep Alive in force is not the one asked for.
    pub(crate) const KEEP_ALIVE_CHANGED: u8 = 1 << 3;
    /// Packet identifiers started over while some were in flight.
    pub(crate) const IDS_WRAPPED: u8 = 1 << 4;
}

impl Session {
    /// A session without any state, about to be claimed.
    pub(crate) const NEW: Session = Session {
        will_at_ns: NEVER,
        expires_at_ns: NEVER,
        waiting: DeliveryQueue::EMPTY,
        waiting_qos0: DeliveryQueue::EMPTY,
        in_flight: DeliveryQueue::EMPTY,
        received: DeliveryQueue::EMPTY,
        client_id: EMPTY,
        link: NIL,
        epoch: 0,
        subscriptions: NIL,
        will: NIL,
        will_delay_s: 0,
        expiry_s: 0,
        packet_bytes_max: u32::MAX,
        aliases: NIL,
        next_packet_id: 1,
        receive_maximum: 1,
        next: NIL,
        state: SessionState::Claiming as u8,
        flags: 0,
        reserved: [0; 2],
    };

    /// Where the session is in its life.
    pub(crate) fn state(&self) -> SessionState {
        match self.state {
            0 => SessionState::Claiming,
            1 => SessionState::MovingIn,
            2 => SessionState::Online,
            3 => SessionState::Offline,
            4 => SessionState::MovingOut,
            5 => SessionState::Ending,
            _ => SessionState::Adopted,
        }
    }

    pub(crate) fn set_state(&mut self, state: SessionState) {
        self.state = state as u8;
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Where a delivery that is published now waits. A session that moves in keeps those apart: what
    /// is still to come from its former shard was published before.
    pub(crate) fn queue_for(&self, qos: u8) -> &DeliveryQueue {
        match self.state() {
            _ if qos == 0 => &self.waiting_qos0,
            SessionState::MovingIn => &self.in_flight,
            _ => &self.waiting,
        }
    }

    /// The same, to change.
    pub(crate) fn queue_for_mut(&mut self, qos: u8) -> &mut DeliveryQueue {
        match self.state() {
            _ if qos == 0 => &mut self.waiting_qos0,
            SessionState::MovingIn => &mut self.in_flight,
            _ => &mut self.waiting,
        }
    }

    /// Deliveries queued, sent ones not counted.
    pub(crate) fn queued(&self) -> u32 {
        self.waiting.len + self.waiting_qos0.len
    }
}
