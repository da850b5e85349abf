//! Internet checksums (RFC 1071) of frames whose checksums somebody else completes.
//!
//! A port that fills in a TCP checksum expects the sum over the pseudo-header in its place; the
//! twin does the port's part in software.

use crate::batch::TxChecksum;

const IPV4_HEADER_MIN: usize = 20;
const TCP_CHECKSUM_AT: usize = 16;
const TCP_HEADER_MIN: usize = 20;
const IPV4_CHECKSUM_AT: usize = 10;
const PROTOCOL_TCP: u32 = 6;

const IPV6_HEADER_MIN: usize = 40;

/// Longest headers that DPDK can describe (7 and 9 bits) and that IPv4 can have.
const L2_BYTES_MAX: usize = 127;
const L3_BYTES_MAX: usize = 511;
const IPV4_HEADER_MAX: usize = 60;

/// Whether `frame` has the headers that `checksum` says it has.
fn fits(frame: &[u8], checksum: TxChecksum) -> bool {
    let Some((l2, l3, tcp)) = headers(checksum) else { return true };
    let needed = if tcp { l2 + l3 + TCP_HEADER_MIN } else { l2 + l3 };
    let l3_possible = match checksum {
        TxChecksum::TcpOverIpv6 { .. } => IPV6_HEADER_MIN..=L3_BYTES_MAX,
        _ => IPV4_HEADER_MIN..=IPV4_HEADER_MAX,
    };
    l2 <= L2_BYTES_MAX && l3_possible.contains(&l3) && needed <= frame.len()
}

/// Writes what a port wants to find before it completes `checksum`: no IPv4 checksum, and the
/// pseudo-header's sum in TCP's place.
///
/// # Panics
/// If `frame` does not have the headers that `checksum` says it has.
pub(crate) fn prepare(frame: &mut [u8], checksum: TxChecksum) {
    assert!(fits(frame, checksum), "{checksum:?} of a frame of {} bytes", frame.len());
    let Some((l2, l3, tcp)) = headers(checksum) else { return };
    if fills_ipv4(checksum) {
        put(frame, l2 + IPV4_CHECKSUM_AT, 0);
    }
    if tcp {
        let pseudo = fold(pseudo_header(frame, l2, l3));
        put(frame, l2 + l3 + TCP_CHECKSUM_AT, pseudo);
    }
}

/// Does the port's part for a frame that [`prepare`] has seen.
pub(crate) fn complete(frame: &mut [u8], checksum: TxChecksum) {
    let Some((l2, l3, tcp)) = headers(checksum) else { return };
    if fills_ipv4(checksum) {
        let sum = !fold(sum(&frame[l2..l2 + l3]));
        put(frame, l2 + IPV4_CHECKSUM_AT, sum);
    }
    if tcp {
        let end = frame.len().min(l2 + packet_bytes(frame, l2));
        let sum = !fold(sum(&frame[l2 + l3..end.max(l2 + l3)]));
        put(frame, l2 + l3 + TCP_CHECKSUM_AT, sum);
    }
}

/// Lengths of the headers in front, and whether TCP is meant.
fn headers(checksum: TxChecksum) -> Option<(usize, usize, bool)> {
    match checksum {
        TxChecksum::None => None,
        TxChecksum::Ipv4Only { l2, l3 } => Some((l2, l3, false)),
        TxChecksum::Ipv4Tcp { l2, l3 }
        | TxChecksum::TcpOverIpv4 { l2, l3 }
        | TxChecksum::TcpOverIpv6 { l2, l3 } => Some((l2, l3, true)),
    }
}

fn fills_ipv4(checksum: TxChecksum) -> bool {
    matches!(checksum, TxChecksum::Ipv4Only { .. } | TxChecksum::Ipv4Tcp { .. })
}

fn is_ipv6(frame: &[u8], l2: usize) -> bool {
    frame[l2] >> 4 == 6
}

/// Bytes of the IP packet behind the Ethernet header: IPv6 does not count its header.
fn packet_bytes(frame: &[u8], l2: usize) -> usize {
    let at = |at: usize| usize::from(u16::from_be_bytes([frame[l2 + at], frame[l2 + at + 1]]));
    if is_ipv6(frame, l2) { IPV6_HEADER_MIN + at(4) } else { at(2) }
}

/// Addresses, protocol and TCP length: RFC 9293 §3.1, RFC 8200 §8.1.
fn pseudo_header(frame: &[u8], l2: usize, l3: usize) -> u32 {
    let tcp_len = packet_bytes(frame, l2).saturating_sub(l3);
    let addresses = if is_ipv6(frame, l2) { l2 + 8..l2 + 40 } else { l2 + 12..l2 + 20 };
    sum(&frame[addresses]) + PROTOCOL_TCP + tcp_len as u32
}

/// Sum of 16-bit big-endian words, an odd byte at the end padded with zero. At most 64 KiB go in,
/// so 32 bits cannot overflow.
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks_exact(2);
    let odd = words.remainder().first().map_or(0, |&last| u32::from(last) << 8);
    words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum::<u32>() + odd
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn put(frame: &mut [u8], at: usize, value: u16) {
    frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first data segment of a captured session: 192.168.0.31 → 192.168.0.30, checksums as captured.
    fn segment() -> Vec<u8> {
        let mut frame = vec![0; 14];
        frame.extend([0x45, 0, 0, 44, 0x1c, 0x46, 0x40, 0, 0x40, 6, 0, 0]);
        frame.extend([192, 168, 0, 31, 192, 168, 0, 30]);
        frame.extend([
            0x1f, 0x90, 0xc0, 0x01, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0x10, 0, 0, 0, 0, 0,
        ]);
        frame.extend(*b"data");
        frame
    }

    #[test]
    fn completed_checksums_verify() {
        let mut frame = segment();
        let checksum = TxChecksum::Ipv4Tcp { l2: 14, l3: 20 };
        assert!(fits(&frame, checksum));
        prepare(&mut frame, checksum);
        complete(&mut frame, checksum);
        // RFC 1071 §1 (3): the sum over data and checksum is all ones.
        assert_eq!(fold(sum(&frame[14..34])), 0xffff, "IPv4");
        let pseudo = pseudo_header(&frame, 14, 20);
        assert_eq!(fold(pseudo + sum(&frame[34..])), 0xffff, "TCP");
    }

    #[test]
    fn completed_checksum_over_ipv6_verifies_and_padding_is_left_out() {
        let mut frame = vec![0; 14];
        frame.extend([0x60, 0, 0, 0, 0, 24, 6, 64]);
        frame.extend((0..32).map(|byte| byte * 7 + 1));
        frame.extend(&segment()[34..]);
        frame.extend([0xaa; 7]);
        let checksum = TxChecksum::TcpOverIpv6 { l2: 14, l3: 40 };
        assert!(fits(&frame, checksum) && !fits(&frame[..73], checksum));
        assert!(!fits(&frame, TxChecksum::TcpOverIpv6 { l2: 14, l3: 20 }));
        prepare(&mut frame, checksum);
        complete(&mut frame, checksum);
        // RFC 8200 §8.1: addresses, length, three zeros and the next header.
        let pseudo = sum(&frame[22..54]) + 24 + 6;
        assert_eq!(fold(pseudo + sum(&frame[54..78])), 0xffff);
    }

    #[test]
    fn ethernet_padding_is_not_part_of_the_segment() {
        let mut plain = segment();
        let mut padded = segment();
        padded.extend([0xaa; 7]);
        let checksum = TxChecksum::TcpOverIpv4 { l2: 14, l3: 20 };
        for frame in [&mut plain, &mut padded] {
            prepare(frame, checksum);
            complete(frame, checksum);
        }
        assert_eq!(plain[34..58], padded[34..58]);
        assert_eq!(plain[24..26], [0, 0], "the IPv4 checksum was not asked for");
    }

    #[test]
    fn header_lengths_beyond_the_frame_do_not_fit() {
        let frame = segment();
        assert!(!fits(&frame, TxChecksum::Ipv4Tcp { l2: 14, l3: 40 }));
        assert!(!fits(&frame, TxChecksum::Ipv4Only { l2: 14, l3: 12 }));
        assert!(!fits(&[0; 400], TxChecksum::Ipv4Only { l2: 128, l3: 20 }));
        assert!(!fits(&[0; 400], TxChecksum::Ipv4Tcp { l2: 14, l3: 64 }));
        assert!(fits(&frame, TxChecksum::Ipv4Only { l2: 14, l3: 20 }));
        assert!(fits(&[], TxChecksum::None));
    }
}
