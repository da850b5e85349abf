//! ICMP (RFC 792): echo, and errors that concern us.

use smoltcp::wire::{Icmpv4Message, Icmpv4Packet};

use crate::checksum::Sum;
use crate::counters::Drop;
use crate::icmp_error::{Report, report_ipv4};

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

const HEADER_BYTES: usize = 8;
const CHECKSUM: usize = 2;

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
    fn reply_has_what_was_asked() {
        let request = message(8, 0, 41);
        let mut bytes = request.clone();
        reply(&mut bytes);
        assert_eq!((bytes[0], bytes[1]), (0, 0));
        assert_eq!(bytes[4..], request[4..]);
        assert!(Sum::default().add(&bytes).is_valid());
    }
}
