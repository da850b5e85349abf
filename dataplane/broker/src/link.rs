//! A link: one transport connection, as the broker sees it.
//!
//! Every link has a [`Link`] of 32 bytes. What an idle link does not need is in a [`Work`], taken
//! from a pool when something is in progress and given back when nothing is.

use superpage::{NIL, Slab, record};

use crate::codec::{Qos, Version};
use crate::output::OutputQueue;
use crate::store::bytes::BlobCursor;

record! {
    /// One transport connection.
    pub(crate) struct Link {
        /// The transport's own number for it.
        pub(crate) transport: u32,
        /// Session, from a well-formed CONNECT until the link closes.
        pub(crate) session: u32,
        /// What is in progress, if anything.
        pub(crate) work: u32,
        /// When bytes last came in, milliseconds on the shard's clock, wrapping.
        pub(crate) heard_ms: u32,
        /// Next in the list of links to fill.
        pub(crate) ready_next: u32,
        /// Next in the list of parked or of resumed links.
        pub(crate) wait_next: u32,
        /// Bits of [`flag`].
        pub(crate) flags: u16,
        /// Keep Alive in force; 0: off.
        pub(crate) keep_alive_s: u16,
        /// Protocol level: 4 or 5; 0 before the CONNECT.
        pub(crate) level: u8,
        /// A [`LinkState`].
        pub(crate) state: u8,
        pub(crate) reserved: [u8; 2],
    }
}

const _: () = assert!(size_of::<Link>() == 32);

/// Where a link is in its life. It only ever moves down this list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum LinkState {
    /// Nothing but a CONNECT may come.
    AwaitConnect = 0,
    /// CONNECT taken; the home shard or the session's former shard has not answered yet.
    Claiming = 1,
    /// CONNACK sent.
    Open = 2,
    /// What is left is sent, then the transport is closed. Input is thrown away.
    Closing = 3,
    /// Gone; the record waits until no list holds it.
    Dead = 4,
}

/// Bits of [`Link::flags`].
pub(crate) mod flag {
    /// In the list of links to fill.
    pub(crate) const LISTED: u16 = 1 << 0;
    /// The transport had no more room; only `mark_ready` lists the link again.
    pub(crate) const BLOCKED: u16 = 1 << 1;
    /// In the list of parked or of resumed links.
    pub(crate) const WAITING: u16 = 1 << 2;
    /// Input is not taken until the link is resumed.
    pub(crate) const PARKED: u16 = 1 << 3;
    /// Input is not taken until the output queue is empty.
    pub(crate) const CORKED: u16 = 1 << 4;
    /// A PINGRESP is due.
    pub(crate) const PING_DUE: u16 = 1 << 5;
    /// Close without sending what is left.
    pub(crate) const ABORT: u16 = 1 << 6;
    /// The session's queue ran over: the client is to be disconnected.
    pub(crate) const QUOTA: u16 = 1 << 7;
}

impl Link {
    /// A link whose CONNECT is awaited.
    pub(crate) fn new(transport: u32, now_ms: u32) -> Link {
        Link {
            transport,
            session: NIL,
            work: NIL,
            heard_ms: now_ms,
            ready_next: NIL,
            wait_next: NIL,
            flags: 0,
            keep_alive_s: 0,
            level: 0,
            state: LinkState::AwaitConnect as u8,
            reserved: [0; 2],
        }
    }

    /// Where the link is in its life.
    pub(crate) fn state(&self) -> LinkState {
        match self.state {
            0 => LinkState::AwaitConnect,
            1 => LinkState::Claiming,
            2 => LinkState::Open,
            3 => LinkState::Closing,
            _ => LinkState::Dead,
        }
    }

    /// Protocol version; 3.1.1 before the CONNECT, when nothing depends on it.
    pub(crate) fn version(&self) -> Version {
        if self.level == 5 { Version::V5 } else { Version::V3 }
    }

    pub(crate) fn has(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    pub(crate) fn set(&mut self, flags: u16) {
        self.flags |= flags;
    }

    pub(crate) fn clear(&mut self, flags: u16) {
        self.flags &= !flags;
    }
}

record! {
    /// What is in progress on a link.
    pub(crate) struct Work {
        /// Answers waiting to be sent.
        pub(crate) output: OutputQueue,
        /// The PUBLISH being received.
        pub(crate) incoming: Incoming,
        /// The PUBLISH being sent.
        pub(crate) sending: Sending,
        /// Oldest acknowledgement that waits for its turn.
        pub(crate) acks_first: u32,
        /// Newest one.
        pub(crate) acks_last: u32,
        /// How many of them are for publishes.
        pub(crate) publishes: u32,
    }
}

impl Work {
    /// Nothing in progress.
    pub(crate) const IDLE: Work = Work {
        output: OutputQueue::EMPTY,
        incoming: Incoming::NONE,
        sending: Sending::NONE,
        acks_first: NIL,
        acks_last: NIL,
        publishes: 0,
    };

    /// Whether nothing is in progress.
    pub(crate) fn is_idle(&self) -> bool {
        self.output.is_empty()
            && self.incoming.state == Incoming::STATE_NONE
            && self.sending.message == NIL
            && self.acks_first == NIL
    }
}

record! {
    /// A PUBLISH whose payload is being received.
    pub(crate) struct Incoming {
        /// Message being stored; `NIL` when it is thrown away.
        pub(crate) message: u32,
        /// Payload bytes still to come.
        pub(crate) remaining: u32,
        /// Packet identifier; 0 for QoS 0.
        pub(crate) packet_id: u16,
        /// Quality of service.
        pub(crate) qos: u8,
        /// One of the `STATE_*`.
        pub(crate) state: u8,
    }
}

impl Incoming {
    pub(crate) const STATE_NONE: u8 = 0;
    /// Payload goes into the message store.
    pub(crate) const STATE_STORING: u8 = 1;
    /// There was no room: payload is thrown away and the publisher told.
    pub(crate) const STATE_DISCARDING: u8 = 2;
    /// A repeated QoS 2 publish: payload is thrown away, the acknowledgement repeated.
    pub(crate) const STATE_REPEATED: u8 = 3;
    pub(crate) const NONE: Incoming =
        Incoming { message: NIL, remaining: 0, packet_id: 0, qos: 0, state: Incoming::STATE_NONE };

    pub(crate) fn qos(&self) -> Qos {
        Qos::from_bits(self.qos).unwrap_or(Qos::AtMostOnce)
    }
}

record! {
    /// A PUBLISH of which a part was sent. Holds a reference to the message.
    pub(crate) struct Sending {
        /// The message; `NIL` when there is none.
        pub(crate) message: u32,
        /// Subscription Identifier; 0: none.
        pub(crate) subscription_identifier: u32,
        /// Message Expiry Interval as told to the client, seconds.
        pub(crate) expiry_s: u32,
        /// Bytes of the packet already sent.
        pub(crate) offset: u32,
        /// Where the payload goes on.
        pub(crate) cursor: BlobCursor,
        /// Packet identifier; 0 for QoS 0.
        pub(crate) packet_id: u16,
        /// First byte of the packet.
        pub(crate) first_byte: u8,
        pub(crate) reserved: u8,
    }
}

impl Sending {
    pub(crate) const NONE: Sending = Sending {
        message: NIL,
        subscription_identifier: 0,
        expiry_s: 0,
        offset: 0,
        cursor: BlobCursor { chunk: NIL, at: 0 },
        packet_id: 0,
        first_byte: 0,
        reserved: 0,
    };
}

/// A list of links, threaded through one of their two link fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkList {
    head: u32,
    tail: u32,
    thread: fn(&mut Link) -> &mut u32,
}

impl LinkList {
    /// A list through [`Link::ready_next`].
    pub(crate) fn of_ready() -> LinkList {
        LinkList { head: NIL, tail: NIL, thread: |link| &mut link.ready_next }
    }

    /// A list through [`Link::wait_next`].
    pub(crate) fn of_waiting() -> LinkList {
        LinkList { head: NIL, tail: NIL, thread: |link| &mut link.wait_next }
    }

    /// Adds a link that is in no list of this thread.
    pub(crate) fn push(&mut self, links: &mut Slab<Link>, link: u32) {
        *(self.thread)(&mut links[link]) = NIL;
        if self.tail == NIL {
            self.head = link;
        } else {
            *(self.thread)(&mut links[self.tail]) = link;
        }
        self.tail = link;
    }

    /// Takes the oldest link.
    pub(crate) fn pop(&mut self, links: &mut Slab<Link>) -> Option<u32> {
        if self.head == NIL {
            return None;
        }
        let link = self.head;
        self.head = *(self.thread)(&mut links[link]);
        if self.head == NIL {
            self.tail = NIL;
        }
        Some(link)
    }
}
