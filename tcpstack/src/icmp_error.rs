//! ICMP errors: what they report and about which packet (RFC 792, RFC 4443 §3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::counters::Drop;
use crate::ip::protocol;
use crate::seq::SeqNum;

/// What an error reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The packet was larger than what the next link takes, if a router tells: 0 says nothing.
    TooBig { mtu: u32 },
    /// RFC 1122 §4.2.3.9: trying again will not help.
    Hard,
    /// It might.
    Soft,
    /// RFC 6633: obsolete.
    SourceQuench,
}

/// The packet of ours that an error is about: TCP, as far as it is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quoted {
    /// Ours, if the report is genuine.
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) seq: SeqNum,
    /// Bytes it had, headers included.
    pub(crate) packet_bytes: u16,
}

/// What a message of ICMP reports; `None` when it is no error.
pub(crate) fn report_ipv4(message: &[u8]) -> Option<Report> {
    let [kind, code, _, _, _, _, mtu_high, mtu_low] = *message.first_chunk()?;
    match (kind, code) {
        (3, 4) => Some(Report::TooBig { mtu: u16::from_be_bytes([mtu_high, mtu_low]).into() }),
        // RFC 1122 §4.2.3.9 has protocol and port; prohibitions (RFC 1812 §5.2.7.1) are as final.
        (3, 2 | 3 | 9 | 10 | 13) => Some(Report::Hard),
        (3 | 11 | 12, _) => Some(Report::Soft),
        (4, _) => Some(Report::SourceQuench),
        _ => None,
    }
}

/// As [`report_ipv4`], of ICMPv6.
pub(crate) fn report_ipv6(message: &[u8]) -> Option<Report> {
    let [kind, code, _, _, mtu @ ..]: [u8; 8] = *message.first_chunk()?;
    match (kind, code) {
        (2, _) => Some(Report::TooBig { mtu: u32::from_be_bytes(mtu) }),
        // Prohibited, port, policy, reject route; RFC 4443 §3.4: next header not recognized.
        (1, 1 | 4 | 5 | 6) | (4, 1) => Some(Report::Hard),
        (1 | 3 | 4, _) => Some(Report::Soft),
        _ => None,
    }
}

/// The packet that an ICMP error quotes. RFC 792: its header and 64 bits at least.
pub(crate) fn quoted_ipv4(message: &[u8]) -> Result<Quoted, Drop> {
    let packet = message.get(HEADER_BYTES..).ok_or(Drop::IcmpMalformed)?;
    let header: &[u8; 20] = packet.first_chunk().ok_or(Drop::IcmpMalformed)?;
    let header_bytes = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_bytes < header.len() {
        return Err(Drop::IcmpMalformed);
    }
    let is_first = u16::from_be_bytes([header[6], header[7]]) & 0x1fff == 0;
    // What is sent from here is TCP, or an echo reply, and never in fragments if it is TCP.
    if header[9] != protocol::TCP || !is_first {
        return Err(Drop::IcmpFlow);
    }
    let address = |at: usize| {
        Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]).into()
    };
    let packet_bytes = u16::from_be_bytes([header[2], header[3]]);
    quoted(packet.get(header_bytes..).unwrap_or_default(), address(12), address(16), packet_bytes)
}

/// As [`quoted_ipv4`], of ICMPv6. RFC 4443 §3: as much as fits.
pub(crate) fn quoted_ipv6(message: &[u8]) -> Result<Quoted, Drop> {
    let packet = message.get(HEADER_BYTES..).ok_or(Drop::IcmpMalformed)?;
    let header: &[u8; 40] = packet.first_chunk().ok_or(Drop::IcmpMalformed)?;
    if header[0] >> 4 != 6 {
        return Err(Drop::IcmpMalformed);
    }
    // Nothing is sent from here with extension headers.
    if header[6] != protocol::TCP {
        return Err(Drop::IcmpFlow);
    }
    let address = |at: usize| -> IpAddr {
        let octets: [u8; 16] = *header[at..].first_chunk().expect("within the header");
        Ipv6Addr::from(octets).into()
    };
    let packet_bytes = u16::from_be_bytes([header[4], header[5]]).saturating_add(40);
    quoted(&packet[40..], address(8), address(24), packet_bytes)
}

fn quoted(
    tcp: &[u8],
    source: IpAddr,
    destination: IpAddr,
    packet_bytes: u16,
) -> Result<Quoted, Drop> {
    let [s0, s1, d0, d1, seq @ ..]: [u8; 8] = *tcp.first_chunk().ok_or(Drop::IcmpMalformed)?;
    Ok(Quoted {
        source,
        destination,
        source_port: u16::from_be_bytes([s0, s1]),
        destination_port: u16::from_be_bytes([d0, d1]),
        seq: SeqNum(u32::from_be_bytes(seq)),
        packet_bytes,
    })
}

/// Type, code, checksum and what the type makes of four bytes.
const HEADER_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, code: u8, rest: [u8; 4]) -> [u8; 8] {
        [kind, code, 0, 0, rest[0], rest[1], rest[2], rest[3]]
    }

    #[test]
    fn errors_are_told_apart() {
        let ipv4 = |kind, code| report_ipv4(&message(kind, code, [9, 9, 0x05, 0x78]));
        assert_eq!(ipv4(3, 4), Some(Report::TooBig { mtu: 1_400 }), "16 bits of it");
        for code in [2, 3, 9, 10, 13] {
            assert_eq!(ipv4(3, code), Some(Report::Hard), "code {code}");
        }
        for (kind, code) in [(3, 0), (3, 1), (3, 5), (3, 12), (11, 0), (11, 1), (12, 0)] {
            assert_eq!(ipv4(kind, code), Some(Report::Soft), "{kind} {code}");
        }
        assert_eq!(ipv4(4, 0), Some(Report::SourceQuench));
        assert_eq!((ipv4(0, 0), ipv4(8, 0), ipv4(5, 0)), (None, None, None));
        let ipv6 = |kind, code| report_ipv6(&message(kind, code, [0, 1, 0x05, 0x78]));
        assert_eq!(ipv6(2, 0), Some(Report::TooBig { mtu: 66_936 }), "32 bits of it");
        for (kind, code) in [(1, 1), (1, 4), (1, 5), (1, 6), (4, 1)] {
            assert_eq!(ipv6(kind, code), Some(Report::Hard), "{kind} {code}");
        }
        for (kind, code) in [(1, 0), (1, 3), (3, 0), (3, 1), (4, 0), (4, 2)] {
            assert_eq!(ipv6(kind, code), Some(Report::Soft), "{kind} {code}");
        }
        assert_eq!((ipv6(128, 0), ipv6(129, 0), ipv6(135, 0)), (None, None, None));
        assert_eq!((report_ipv4(&[3; 7]), report_ipv6(&[1; 7])), (None, None));
    }

    fn error_ipv4() -> Vec<u8> {
        let mut message = vec![3, 4, 0, 0, 0, 0, 5, 120];
        message.extend([0x46, 0, 5, 220, 0, 0, 0x40, 0, 64, protocol::TCP, 0, 0]);
        message.extend([10, 0, 0, 1, 192, 0, 2, 9, 1, 1, 1, 1]);
        message.extend([0, 7, 0x0f, 0xa0, 0x80, 0, 0, 1]);
        message
    }

    #[test]
    fn quoted_packet_is_found_behind_its_options() {
        let quoted = quoted_ipv4(&error_ipv4()).expect("whole");
        assert_eq!(quoted.source, IpAddr::from([10, 0, 0, 1]));
        assert_eq!(quoted.destination, IpAddr::from([192, 0, 2, 9]));
        assert_eq!((quoted.source_port, quoted.destination_port), (7, 4_000));
        assert_eq!((quoted.seq, quoted.packet_bytes), (SeqNum(0x8000_0001), 1_500));
        let mut message = vec![2, 0, 0, 0, 0, 0, 5, 120];
        message.extend([0x60, 0, 0, 0, 5, 180, protocol::TCP, 64]);
        message.extend([0xfd; 16]);
        message.extend([0xfe; 16]);
        message.extend([0, 7, 0x0f, 0xa0, 0x80, 0, 0, 1]);
        let quoted = quoted_ipv6(&message).expect("whole");
        assert_eq!(quoted.source, IpAddr::from([0xfd; 16]));
        assert_eq!(quoted.destination, IpAddr::from([0xfe; 16]));
        assert_eq!((quoted.seq, quoted.packet_bytes), (SeqNum(0x8000_0001), 1_500));
        message[8 + 6] = 44;
        assert_eq!(quoted_ipv6(&message), Err(Drop::IcmpFlow));
        message[8] = 0x40;
        assert_eq!(quoted_ipv6(&message), Err(Drop::IcmpMalformed));
    }

    #[test]
    fn quotes_cut_short_or_of_other_protocols_are_refused() {
        let whole = error_ipv4();
        for len in 0..whole.len() {
            assert_eq!(quoted_ipv4(&whole[..len]), Err(Drop::IcmpMalformed), "cut to {len}");
            assert!(quoted_ipv6(&whole[..len]).is_err(), "cut to {len}");
        }
        let damaged = |at: usize, byte| {
            let mut message = whole.clone();
            message[at] = byte;
            quoted_ipv4(&message)
        };
        assert_eq!(damaged(8, 0x66), Err(Drop::IcmpMalformed), "version");
        assert_eq!(damaged(8, 0x44), Err(Drop::IcmpMalformed), "header length");
        assert_eq!(damaged(8 + 9, 17), Err(Drop::IcmpFlow), "UDP");
        assert_eq!(damaged(8 + 7, 1), Err(Drop::IcmpFlow), "a later fragment");
    }
}
