//! ICMP messages waiting to be sent. Only here does a packet's content wait, so the room for it is
//! made at the start.

use std::net::{IpAddr, Ipv4Addr};

use siphasher::sip::SipHasher13;

use crate::fragments::DATAGRAM_BYTES_MAX;

/// Messages of ICMP and ICMPv6, in order.
#[derive(Debug)]
pub(crate) struct IcmpQueue {
    bytes: Box<[u8]>,
    slot_bytes: usize,
    slots: [Waiting; SLOTS],
    first: usize,
    len: usize,
    hasher: SipHasher13,
    count: u64,
}

/// A message waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// Whom it goes to; the family says which protocol it is of.
    pub(crate) remote: IpAddr,
    /// Which of our addresses it comes from.
    pub(crate) local: u16,
    pub(crate) kind: Kind,
    /// Identification of its fragments, should it be larger than the link takes.
    pub(crate) id: u32,
    /// Octets of it that have left in fragments.
    pub(crate) sent: u16,
    bytes: u16,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    EchoReply,
    Error,
}

impl IcmpQueue {
    /// `secret` keeps others from guessing the identifications of our fragments (RFC 7739).
    pub(crate) fn new(secret: &[u8; 16]) -> Self {
        let slot_bytes = DATAGRAM_BYTES_MAX;
        let remote = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let empty = Waiting { remote, local: 0, kind: Kind::Error, id: 0, sent: 0, bytes: 0 };
        Self {
            bytes: vec![0; slot_bytes * SLOTS].into_boxed_slice(),
            slot_bytes,
            slots: [empty; SLOTS],
            first: 0,
            len: 0,
            hasher: SipHasher13::new_with_key(secret),
            count: 0,
        }
    }

    /// Queues a message of `bytes` bytes, which the caller writes. `None`: the queue is full, or the
    /// message too large.
    pub(crate) fn push(
        &mut self,
        remote: IpAddr,
        local: u16,
        kind: Kind,
        bytes: usize,
    ) -> Option<&mut [u8]> {
        if self.len == SLOTS || bytes > self.slot_bytes {
            return None;
        }
        let slot = (self.first + self.len) % SLOTS;
        self.count += 1;
        let id = self.hasher.hash(&self.count.to_ne_bytes()) as u32;
        self.slots[slot] = Waiting { remote, local, kind, id, sent: 0, bytes: bytes as u16 };
        self.len += 1;
        Some(&mut self.bytes[slot * self.slot_bytes..][..bytes])
    }

    /// The oldest message.
    pub(crate) fn front(&self) -> Option<(Waiting, &[u8])> {
        let waiting = self.slots[self.first];
        let start = self.first * self.slot_bytes;
        (self.len > 0).then(|| (waiting, &self.bytes[start..start + usize::from(waiting.bytes)]))
    }

    /// Whether any comes from our address with this number.
    pub(crate) fn any_from(&self, local: u16) -> bool {
        (0..self.len).any(|at| self.slots[(self.first + at) % SLOTS].local == local)
    }

    /// A fragment of the oldest message has left, with so many octets.
    pub(crate) fn advance(&mut self, octets: usize) {
        self.slots[self.first].sent += octets as u16;
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
        let mut queue = IcmpQueue::new(&[7; 16]);
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
    fn messages_are_as_large_as_what_is_reassembled() {
        let remote = IpAddr::from([10, 0, 0, 2]);
        let mut queue = IcmpQueue::new(&[7; 16]);
        assert!(queue.push(remote, 0, Kind::EchoReply, DATAGRAM_BYTES_MAX + 1).is_none());
        assert!(queue.push(remote, 0, Kind::EchoReply, DATAGRAM_BYTES_MAX).is_some());
        queue.advance(1_480);
        assert_eq!(queue.front().map(|(waiting, _)| waiting.sent), Some(1_480));
    }
}
