//! What the stack tells the application.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::ConnId;

/// Something the application should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A peer has opened a connection to a listener.
    Accepted {
        /// The connection.
        conn: ConnId,
        /// Position of its port in the configuration.
        listener: u16,
    },
    /// An active open has succeeded.
    Connected {
        /// The connection.
        conn: ConnId,
    },
    /// Fresh octets in order. They lie in the frame and are the application's for this moment;
    /// what it does not take it returns with `keep`, which must follow every such event. When
    /// there is a backlog already, they come after it: return them all and read the backlog.
    Data {
        /// The connection.
        conn: ConnId,
        /// Which frame of the burst given to `input`.
        frame: u16,
        /// Where in the frame the octets begin.
        start: u16,
        /// How many there are.
        len: u16,
    },
    /// Octets that came out of order are in order now, in the backlog.
    Readable {
        /// The connection.
        conn: ConnId,
    },
    /// There is room to send again, as asked for with `want_writable`.
    Writable {
        /// The connection.
        conn: ConnId,
    },
    /// The peer sends no more. All it sent was reported before, or is in the backlog.
    PeerClosed {
        /// The connection.
        conn: ConnId,
    },
    /// The connection is over. Its number and what is asked about it stay valid until the next
    /// call of `poll_event`; then the number may be another connection's.
    Closed {
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// Another station has one of our IPv6 addresses, which was not in use yet and never will be:
    /// other shards must know, by `lose_address`.
    Duplicate {
        /// The address.
        ip: IpAddr,
    },
    /// A neighbour was heard by ARP or NDP: other shards should know, by `learn_neighbor`.
    Neighbor {
        /// Its address.
        ip: IpAddr,
        /// Its MAC address.
        mac: [u8; 6],
        /// What a shard may do with it.
        news: NeighborNews,
    },
}

/// How a neighbour was heard. A shard may not have asked, and another one have: each decides for
/// itself what the news mean to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NeighborNews {
    /// It asked for an address of ours: strangers are remembered (RFC 826, RFC 4861 §7.2.3).
    Asked = 0,
    /// It said where it is: whoever knows it or has asked for it believes that, and nobody else
    /// remembers it (RFC 4861 §7.2.5).
    Told = 1,
    /// As `Told`, but whoever knows another MAC address keeps it: an advertisement without the
    /// Override flag.
    Answered = 2,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CloseReason {
    /// Both ends have closed.
    Finished = 0,
    /// The peer has reset it.
    Reset = 1,
    /// The peer did not answer in time.
    TimedOut = 2,
    /// The peer refused the active open.
    Refused = 3,
    /// It was reset from here: by `abort`, or because data came after `close`.
    Aborted = 4,
}

impl CloseReason {
    pub(crate) const fn decode(bits: u32) -> Self {
        match bits & 7 {
            1 => Self::Reset,
            2 => Self::TimedOut,
            3 => Self::Refused,
            4 => Self::Aborted,
            _ => Self::Finished,
        }
    }
}

/// Events of one burst, one timer or one housekeeping pass. Ends of connections are not here: they
/// wait in a list through the TCBs, since there may be any number of them.
#[derive(Debug)]
pub(crate) struct EventQueue(VecDeque<Event>);

impl EventQueue {
    pub(crate) fn new() -> Self {
        Self(VecDeque::with_capacity(EVENTS_MAX))
    }

    /// # Panics
    /// When the caller has not drained the queue as it promised.
    pub(crate) fn push(&mut self, event: Event) {
        assert!(self.0.len() < EVENTS_MAX, "events are drained between bursts");
        self.0.push_back(event);
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.0.pop_front()
    }

    /// Room for more events.
    pub(crate) fn room(&self) -> usize {
        EVENTS_MAX - self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A frame causes at most Accepted or Connected, Data, Writable, and, once its octets are returned,
/// Readable and PeerClosed; or one Neighbor or Duplicate.
const EVENTS_OF_FRAME_MAX: usize = 5;
const EVENTS_MAX: usize = crate::BURST_FRAMES_MAX * EVENTS_OF_FRAME_MAX + 64;
