//! ICMP (RFC 792): echo, and errors that concern us.

use std::net::{IpAddr, Ipv4Addr};

use smoltcp::wire::{Icmpv4Message, Icmpv4Packet};

use crate::checksum::Sum;
use crate::counters::Drop;
use crate::icmp_error::{Report, report_ipv4};
use crate::ip;

/// A received message the stack does something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// To be sent back.
    EchoRequest,
    /// Something happened to a packet of ours.
    Error(Report),
}

/// Looks at a received message.
pub(crate) fn parse(bytes: &[u8]) -> Result<Message, Drop> {
    if bytes.len() < HEADER_BYTES {
        return Err(Drop::IcmpMalformed);
    }
    let packet = Icmpv4Packet::new_checked(bytes).map_err(|_| Drop::IcmpMalformed)?;
    if !Sum::default().add(bytes).is_valid() {
        return Err(Drop::IcmpChecksum);
    }
    match packet.msg_type() {
        Icmpv4Message::EchoRequest => Ok(Message::EchoRequest),
        _ => report_ipv4(bytes).map(Message::Error).ok_or(Drop::IcmpType),
    }
}

/// Turns a copied echo request into its reply.
pub(crate) fn reply(bytes: &mut [u8]) {
    let mut packet = Icmpv4Packet::new_unchecked(&mut *bytes);
    packet.set_msg_type(Icmpv4Message::EchoReply);
    packet.set_msg_code(0);
    packet.set_checksum(0);
    let [high, low] = Sum::default().add(bytes).checksum();
    [bytes[CHECKSUM], bytes[CHECKSUM + 1]] = [high, low];
}

/// Echo replies waiting to be sent. Only here does a packet's content wait, so the room is made at
/// the start.
#[derive(Debug)]
pub(crate) struct EchoQueue {
    bytes: Box<[u8]>,
    slot_bytes: usize,
    slots: [Echo; SLOTS],
    first: usize,
    len: usize,
}

/// A reply waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo {
    pub(crate) remote: IpAddr,
    /// Which of our addresses was asked.
    pub(crate) local: u16,
    bytes: u16,
}

impl EchoQueue {
    pub(crate) fn new(mtu: u16) -> Self {
        let slot_bytes = usize::from(mtu);
        let empty = Echo { remote: IpAddr::V4(Ipv4Addr::UNSPECIFIED), local: 0, bytes: 0 };
        Self {
            bytes: vec![0; slot_bytes * SLOTS].into_boxed_slice(),
            slot_bytes,
            slots: [empty; SLOTS],
            first: 0,
            len: 0,
        }
    }

    /// Queues the reply to `request`.
    pub(crate) fn push(&mut self, remote: IpAddr, local: u16, request: &[u8]) -> Result<(), Drop> {
        if self.len == SLOTS || request.len() > self.slot_bytes - ip::header_bytes(remote.is_ipv6())
        {
            return Err(Drop::IcmpQueueFull);
        }
        let slot = (self.first + self.len) % SLOTS;
        let room = &mut self.bytes[slot * self.slot_bytes..][..request.len()];
        room.copy_from_slice(request);
        reply(room);
        self.slots[slot] = Echo { remote, local, bytes: request.len() as u16 };
        self.len += 1;
        Ok(())
    }

    /// The oldest reply.
    pub(crate) fn front(&self) -> Option<(Echo, &[u8])> {
        let echo = self.slots[self.first];
        let start = self.first * self.slot_bytes;
        (self.len > 0).then(|| (echo, &self.bytes[start..start + usize::from(echo.bytes)]))
    }

    pub(crate) fn pop(&mut self) {
        self.first = (self.first + 1) % SLOTS;
        self.len -= 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

const HEADER_BYTES: usize = 8;
const CHECKSUM: usize = 2;
/// Echo requests of a burst that are answered.
const SLOTS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, code: u8, bytes: usize) -> Vec<u8> {
        let mut message = vec![0xa5; bytes];
        (message[0], message[1]) = (kind, code);
        message[2..4].fill(0);
        let checksum = Sum::default().add(&message).checksum();
        message[2..4].copy_from_slice(&checksum);
        message
    }

    #[test]
    fn messages_are_told_apart() {
        let cases = [
            (message(8, 0, 64), Ok(Message::EchoRequest)),
            (message(8, 0, 8), Ok(Message::EchoRequest)),
            (message(3, 3, 36), Ok(Message::Error(Report::Hard))),
            (message(11, 0, 36), Ok(Message::Error(Report::Soft))),
            (message(0, 0, 64), Err(Drop::IcmpType)),
            (message(8, 0, 8)[..7].to_vec(), Err(Drop::IcmpMalformed)),
        ];
        for (bytes, verdict) in cases {
            assert_eq!(parse(&bytes), verdict, "{bytes:?}");
        }
        let mut damaged = message(8, 0, 64);
        damaged[50] ^= 1;
        assert_eq!(parse(&damaged), Err(Drop::IcmpChecksum));
    }

    #[test]
    fn replies_leave_in_order_with_what_was_asked() {
        let mut queue = EchoQueue::new(600);
        let remote = IpAddr::from([10, 0, 0, 2]);
        for round in 0..3 * SLOTS {
            let request = message(8, 0, 8 + round);
            queue.push(remote, 0, &request).expect("room");
            let (echo, bytes) = queue.front().expect("queued");
            assert_eq!((echo.remote, bytes[0]), (remote, 0));
            assert_eq!(bytes[4..], request[4..]);
            assert!(Sum::default().add(bytes).is_valid());
            queue.pop();
        }
        for _ in 0..SLOTS {
            queue.push(remote, 0, &message(8, 0, 64)).expect("room");
        }
        assert_eq!(queue.push(remote, 0, &message(8, 0, 64)), Err(Drop::IcmpQueueFull));
        assert_eq!(EchoQueue::new(600).push(remote, 0, &[8; 581]), Err(Drop::IcmpQueueFull));
    }
}
