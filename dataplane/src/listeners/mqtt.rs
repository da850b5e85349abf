//! `mqtt`: the broker's links on the stack's connections.

use broker::{Close, Fill};
use tcpstack::{ConnId, Stack};

use super::{Applications, Owner};

/// Links served in one turn's outbox; the others stay ready for the next turn.
const FILLS_PER_TURN_MAX: u32 = 1024;

impl Applications {
    /// Fresh bytes: straight from the frame when nothing waits before them, else behind the others.
    pub(super) fn mqtt_data(
        &mut self,
        now_ns: u64,
        stack: &mut Stack,
        conn: ConnId,
        link: u32,
        bytes: &[u8],
    ) {
        if stack.backlog(conn) == 0 {
            let taken = self.broker.feed(now_ns, link, bytes);
            stack.keep(conn, &bytes[taken..]);
        } else {
            stack.keep(conn, bytes);
            self.offer(now_ns, stack, conn, link);
        }
    }

    /// Offers what the stack holds for a link until the broker takes no more of it. When the peer
    /// has closed and the broker is not merely waiting, the link ends: it sends nothing any more, but
    /// may still wait for the answers to what it sent.
    pub(super) fn offer(&mut self, now_ns: u64, stack: &mut Stack, conn: ConnId, link: u32) {
        loop {
            let len = stack.peek(conn, &mut self.scratch);
            if len == 0 {
                break;
            }
            let taken = self.broker.feed(now_ns, link, &self.scratch[..len]);
            stack.consume(conn, taken);
            if taken == 0 {
                break;
            }
        }
        let Owner::Mqtt { peer_closed: true, .. } = Owner::of(stack, conn) else { return };
        // A rest that the broker does not hold back is a packet that will never be complete.
        if self.broker.is_held(link) {
            return;
        }
        // Of what is queued for the client goes what its send queue has room for: no more than that
        // is owed to somebody who may never read.
        self.fill_link(now_ns, stack, link);
        if let Owner::Mqtt { .. } = Owner::of(stack, conn) {
            self.broker.transport_closed(now_ns, link);
            Owner::Nobody.assign(stack, conn);
            stack.close(now_ns, conn);
        }
    }

    /// Offers again what parked links held back. Returns whether there were any.
    pub(crate) fn resume(&mut self, now_ns: u64, stack: &mut Stack) -> bool {
        let mut any = false;
        while let Some(link) = self.broker.next_resumed() {
            any = true;
            self.offer(now_ns, stack, self.broker.transport_of(link), link);
        }
        any
    }

    /// The outbox: the bytes of every ready link go to its connection's send queue. Returns whether
    /// there were any.
    pub(crate) fn fill(&mut self, now_ns: u64, stack: &mut Stack) -> bool {
        for filled in 0..FILLS_PER_TURN_MAX {
            let Some(link) = self.broker.next_ready() else { return filled > 0 };
            self.fill_link(now_ns, stack, link);
        }
        true
    }

    fn fill_link(&mut self, now_ns: u64, stack: &mut Stack, link: u32) {
        let conn = self.broker.transport_of(link);
        loop {
            let room = stack.send_space(conn).min(self.scratch.len());
            let Fill { written, more, close } =
                self.broker.fill(now_ns, link, &mut self.scratch[..room]);
            let sent = stack.send(now_ns, conn, &self.scratch[..written]);
            assert_eq!(sent, written, "the stack takes what it said it has room for");
            if let Some(close) = close {
                Owner::Nobody.assign(stack, conn);
                return match close {
                    Close::Graceful => stack.close(now_ns, conn),
                    Close::Abort => stack.abort(now_ns, conn),
                };
            }
            if !more {
                return;
            }
            if written == 0 {
                return stack.want_writable(conn);
            }
        }
    }
}
