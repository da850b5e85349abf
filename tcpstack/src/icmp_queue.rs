//! ICMP messages waiting to be sent. Only here does a packet's content wait, so the room for it is
//! made at the start.

use std::net::{IpAddr, Ipv4Addr};

use crate::ip;

/// Messages of ICMP and ICMPv6, in order.
#[derive(Debug)]
pub(crate) struct IcmpQueue {
    bytes: Box<[u8]>,
    slot_bytes: usize,
    slots: [Waiting; SLOTS],
    first: usize,
    len: usize,
}

/// A message waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// Whom it goes to; the family says which protocol it is of.
    pub(crate) remote: IpAddr,
    /// Which of our addresses it comes from.
    pub(crate) local: u16,
    pub(crate) kind: Kind,
    bytes: u16,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    EchoReply,
    Error,
}

impl IcmpQueue {
    pub(crate) fn new(mtu: u16) -> Self {
        let slot_bytes = usize::from(mtu);
        let remote = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let empty = Waiting { remote, local: 0, kind: Kind::Error, bytes: 0 };
        Self {
            bytes: vec![0; slot_bytes * SLOTS].into_boxed_slice(),
            slot_bytes,
            slots: [empty; SLOTS],
            first: 0,
            len: 0,
        }
    }

    /// Queues a message of `bytes` bytes, which the caller writes. `None`: the queue is full, or the
    /// message does not fit the link.
    pub(crate) fn push(
        &mut self,
        remote: IpAddr,
        local: u16,
        kind: Kind,
        bytes: usize,
    ) -> Option<&mut [u8]> {
        if self.len == SLOTS || bytes > self.slot_bytes - ip::header_bytes(remote.is_ipv6()) {
            return None;
        }
        let slot = (self.first + self.len) % SLOTS;
        self.slots[slot] = Waiting { remote, local, kind, bytes: bytes as u16 };
        self.len += 1;
        Some(&mut self.bytes[slot * self.slot_bytes..][..bytes])
    }

    /// The oldest message.
    pub(crate) fn front(&self) -> Option<(Waiting, &[u8])> {
        let waiting = self.slots[self.first];
        let start = self.first * self.slot_bytes;
        (self.len > 0).then(|| (waiting, &self.bytes[start..start + usize::from(waiting.bytes)]))
    }

    pub(crate) fn pop(&mut self) {
        self.first = (self.first + 1) % SLOTS;
        self.len -= 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Messages of a burst that are answered.
const SLOTS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_leave_in_order_and_never_more_than_there_is_room_for() {
        let mut queue = IcmpQueue::new(600);
        let remote = IpAddr::from([10, 0, 0, 2]);
        for round in 0..3 * SLOTS {
            let room = queue.push(remote, 7, Kind::EchoReply, 8 + round).expect("room");
            room.fill(round as u8);
            let (waiting, bytes) = queue.front().expect("queued");
            assert_eq!((waiting.remote, waiting.local), (remote, 7));
            assert_eq!(bytes, vec![round as u8; 8 + round]);
            queue.pop();
        }
        for _ in 0..SLOTS {
            queue.push(remote, 0, Kind::Error, 64).expect("room");
        }
        assert!(queue.push(remote, 0, Kind::Error, 64).is_none());
    }

    #[test]
    fn messages_fit_the_link_with_the_header_of_their_family() {
        for (remote, bytes_max) in [
            (IpAddr::from([10, 0, 0, 2]), 1_480),
            (IpAddr::from([0xfd54, 0, 0, 0, 0, 0, 0, 2]), 1_460),
        ] {
            let mut queue = IcmpQueue::new(1_500);
            assert!(queue.push(remote, 0, Kind::EchoReply, bytes_max + 1).is_none());
            assert!(queue.push(remote, 0, Kind::EchoReply, bytes_max).is_some());
        }
    }
}
