//! What answers on a port: the applications between the TCP stack's events and its send queues.
//!
//! | kind | behaviour |
//! |---|---|
//! | `mqtt` | the shard's broker |
//! | `echo` | RFC 862: sends back what it gets, until the peer's FIN |
//! | `discard` | RFC 863: takes everything, says nothing |
//! | `echo-once` | sends the first chunk back, then closes: the active-close side, for tests |
//! | `chargen` | RFC 864: sends a pattern for as long as the peer reads |
//!
//! A connection's user word says which of them it belongs to ([`Owner`]); that and the stack's own
//! buffers are all the state there is. Back-pressure needs no code of its own: what an application
//! does not take the stack keeps, and the peer's window closes by itself.
//!
//! Bytes pass between stack and broker in two places only, [`Applications::offer`] and
//! [`Applications::fill`]: a layer between them (TLS, WebSocket, PROXY) goes there.

mod chargen;
mod echo;
mod mqtt;

use broker::{Broker, TimerOwner};
use superpage::ArenaBytes;
use tcpstack::{ConnId, Event, RxFrame, Stack};

use crate::wheel::Wheel;

pub use hwconfig::ListenerKind;

/// The least that one offer of buffered bytes may hold.
pub(crate) const OFFER_BYTES_MIN: usize = 16 * 1024;

/// Who a connection's bytes belong to, kept in the stack's user word of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nobody any more: we closed it, and it lives on until the stack says `Closed`.
    Nobody,
    /// A link of the broker.
    Mqtt { link: u32, peer_closed: bool },
    /// RFC 862.
    Echo { peer_closed: bool },
    /// RFC 863.
    Discard,
    /// Waiting for its first chunk, or (`closing`) for room to send the rest of it.
    EchoOnce { closing: bool },
    /// RFC 864; where in the pattern the next byte to queue is.
    Chargen { position: u32 },
}

impl Owner {
    const KIND_SHIFT: u32 = 29;
    const FLAG: u32 = 1 << 28;
    const LINK_MASK: u32 = Owner::FLAG - 1;

    /// Whose a connection is.
    pub(crate) fn of(stack: &Stack, conn: ConnId) -> Owner {
        Owner::from_word(stack.user(conn))
    }

    /// Makes it somebody's.
    pub(crate) fn assign(self, stack: &mut Stack, conn: ConnId) {
        stack.set_user(conn, self.to_word());
    }

    fn from_word(word: u32) -> Owner {
        let flag = word & Owner::FLAG != 0;
        match word >> Owner::KIND_SHIFT {
            1 => Owner::Mqtt { link: word & Owner::LINK_MASK, peer_closed: flag },
            2 => Owner::Echo { peer_closed: flag },
            3 => Owner::Discard,
            4 => Owner::EchoOnce { closing: flag },
            5 => Owner::Chargen { position: word & Owner::LINK_MASK },
            _ => Owner::Nobody,
        }
    }

    fn to_word(self) -> u32 {
        let (kind, flag, number) = match self {
            Owner::Nobody => (0, false, 0),
            Owner::Mqtt { link, peer_closed } => (1, peer_closed, link),
            Owner::Echo { peer_closed } => (2, peer_closed, 0),
            Owner::Discard => (3, false, 0),
            Owner::EchoOnce { closing } => (4, closing, 0),
            Owner::Chargen { position } => (5, false, position),
        };
        assert!(number <= Owner::LINK_MASK, "a number must leave room for kind and flag");
        kind << Owner::KIND_SHIFT | if flag { Owner::FLAG } else { 0 } | number
    }
}

/// The listeners of one shard and what they keep between turns.
#[derive(Debug)]
pub struct Applications {
    /// By listener id, which is the position in the stack's list of ports.
    kinds: Vec<ListenerKind>,
    broker: Broker,
    /// Bytes on their way between stack and application, within one call.
    scratch: ArenaBytes,
}

impl Applications {
    /// Listeners of these kinds, in the order of the stack's ports. `scratch` holds the longest thing
    /// the broker wants in one piece.
    pub fn new(kinds: Vec<ListenerKind>, scratch: ArenaBytes, broker: Broker) -> Applications {
        Applications { kinds, broker, scratch }
    }

    /// The shard's broker.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// The shard's broker, for what is between brokers: messages and housekeeping.
    pub fn broker_mut(&mut self) -> &mut Broker {
        &mut self.broker
    }

    /// Acts on one event of the stack. `frames` is the burst the event came from.
    pub(crate) fn on_event(
        &mut self,
        now_ns: u64,
        stack: &mut Stack,
        event: &Event,
        frames: &[RxFrame<'_>],
    ) {
        match *event {
            Event::Accepted { conn, listener } => self.accepted(now_ns, stack, conn, listener),
            Event::Data { conn, frame, start, len } => {
                let bytes =
                    &frames[usize::from(frame)].bytes[usize::from(start)..][..usize::from(len)];
                self.data(now_ns, stack, conn, bytes);
            }
            Event::Readable { conn } | Event::Writable { conn } => {
                self.progress(now_ns, stack, conn, matches!(event, Event::Writable { .. }));
            }
            Event::PeerClosed { conn } => self.peer_closed(now_ns, stack, conn),
            Event::Closed { conn, .. } => {
                if let Owner::Mqtt { link, .. } = Owner::of(stack, conn) {
                    self.broker.transport_closed(now_ns, link);
                }
            }
            // Nothing here opens connections; neighbours and addresses are the shard's business.
            Event::Connected { .. } | Event::Neighbor { .. } | Event::Duplicate { .. } => {}
        }
    }

    fn accepted(&mut self, now_ns: u64, stack: &mut Stack, conn: ConnId, listener: u16) {
        let owner = match self.kinds[usize::from(listener)] {
            ListenerKind::Echo => Owner::Echo { peer_closed: false },
            ListenerKind::Discard => Owner::Discard,
            ListenerKind::EchoOnce => Owner::EchoOnce { closing: false },
            ListenerKind::Chargen => {
                return chargen::pump(now_ns, stack, conn, 0, &mut self.scratch);
            }
            ListenerKind::Mqtt => match self.broker.accept(now_ns, conn) {
                Some(link) => Owner::Mqtt { link, peer_closed: false },
                None => return stack.abort(now_ns, conn),
            },
        };
        owner.assign(stack, conn);
    }

    /// Fresh bytes, still in their frame. Whatever is not taken goes to the stack's buffers.
    fn data(&mut self, now_ns: u64, stack: &mut Stack, conn: ConnId, bytes: &[u8]) {
        match Owner::of(stack, conn) {
            Owner::Nobody | Owner::Discard | Owner::Chargen { .. } => stack.keep(conn, &[]),
            Owner::Echo { .. } => echo::data(now_ns, stack, conn, bytes),
            Owner::EchoOnce { closing } => echo::first_chunk(now_ns, stack, conn, bytes, closing),
            Owner::Mqtt { link, .. } => self.mqtt_data(now_ns, stack, conn, link, bytes),
        }
    }

    /// Buffered bytes became readable, or there is room to send again.
    fn progress(&mut self, now_ns: u64, stack: &mut Stack, conn: ConnId, writable: bool) {
        match Owner::of(stack, conn) {
            Owner::Nobody => {}
            Owner::Discard => stack.consume(conn, stack.backlog(conn)),
            Owner::Chargen { position } if writable => {
                chargen::pump(now_ns, stack, conn, position, &mut self.scratch);
            }
            Owner::Chargen { .. } => stack.consume(conn, stack.backlog(conn)),
            Owner::Echo { .. } => echo::pump(now_ns, stack, conn, &mut self.scratch),
            Owner::EchoOnce { .. } => {
                // A first chunk that arrived out of order: what is readable now counts as the chunk.
                Owner::EchoOnce { closing: true }.assign(stack, conn);
                echo::pump(now_ns, stack, conn, &mut self.scratch);
            }
            Owner::Mqtt { link, .. } if writable => self.broker.mark_ready(link),
            Owner::Mqtt { link, .. } => self.offer(now_ns, stack, conn, link),
        }
    }

    /// The peer sent FIN; everything before it has been delivered or lies in the backlog.
    fn peer_closed(&mut self, now_ns: u64, stack: &mut Stack, conn: ConnId) {
        match Owner::of(stack, conn) {
            Owner::Nobody => {}
            Owner::Discard | Owner::Chargen { .. } => {
                Owner::Nobody.assign(stack, conn);
                stack.close(now_ns, conn);
            }
            Owner::EchoOnce { closing: true } => {}
            Owner::Echo { .. } | Owner::EchoOnce { closing: false } => {
                Owner::Echo { peer_closed: true }.assign(stack, conn);
                echo::pump(now_ns, stack, conn, &mut self.scratch);
            }
            Owner::Mqtt { link, .. } => {
                Owner::Mqtt { link, peer_closed: true }.assign(stack, conn);
                self.offer(now_ns, stack, conn, link);
            }
        }
    }

    /// The connection's wheel entry fired: the stack's deadlines, then the application's. Returns the
    /// next one.
    pub(crate) fn on_timer(&mut self, now_ns: u64, stack: &mut Stack, conn: ConnId) -> Option<u64> {
        let stack_next = stack.on_timer(now_ns, conn);
        let Owner::Mqtt { link, .. } = Owner::of(stack, conn) else { return stack_next };
        let link_next = self.broker.on_link_timer(now_ns, link);
        stack_next.into_iter().chain(link_next).min()
    }

    /// Hands the broker's new deadlines to the wheel. Links share their connection's entry; detached
    /// sessions have their own behind all connections.
    pub(crate) fn arm_timers(&mut self, wheel: &mut Wheel, connections: u32) {
        while let Some(request) = self.broker.next_timer() {
            let entry = match request.owner {
                TimerOwner::Link(link) => self.broker.transport_of(link),
                TimerOwner::Session(session) => connections + session,
            };
            wheel.arm_earlier(entry, request.at_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Owner;

    #[test]
    fn owner_survives_the_user_word() {
        for flag in [false, true] {
            for owner in [
                Owner::Nobody,
                Owner::Mqtt { link: 0, peer_closed: flag },
                Owner::Mqtt { link: Owner::LINK_MASK, peer_closed: flag },
                Owner::Echo { peer_closed: flag },
                Owner::Discard,
                Owner::EchoOnce { closing: flag },
                Owner::Chargen { position: 7_029 },
            ] {
                assert_eq!(Owner::from_word(owner.to_word()), owner);
            }
        }
    }

    #[test]
    fn fresh_connection_is_nobodys() {
        assert_eq!(Owner::from_word(0), Owner::Nobody);
    }
}
