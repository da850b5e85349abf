//! TCP segments on the wire (RFC 9293 §3.1).

use std::net::IpAddr;

use smoltcp::wire::{TcpPacket, TcpSeqNumber};

use crate::checksum::Sum;
use crate::counters::Drop;
use crate::ecn;
use crate::flow::FlowKey;
use crate::ip::protocol;
use crate::options::Options;
use crate::seq::SeqNum;

/// A received segment. Its octets stay in the frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) key: FlowKey,
    /// Hash of the key.
    pub(crate) hash: u64,
    /// SEG.SEQ.
    pub(crate) seq: SeqNum,
    /// SEG.ACK; meaningless without the ACK bit.
    pub(crate) ack: SeqNum,
    /// SEG.WND, not scaled.
    pub(crate) window: u16,
    /// Control bits.
    pub(crate) control: u8,
    /// ECN bits of the packet.
    pub(crate) ecn: u8,
    pub(crate) options: Options,
    /// Which frame of the burst.
    pub(crate) frame: u16,
    /// Where the octets begin in the frame.
    pub(crate) start: u16,
    /// How many there are.
    pub(crate) octets: u16,
}

/// Control bits of the header.
pub(crate) mod control {
    pub(crate) const FIN: u8 = 1;
    pub(crate) const SYN: u8 = 2;
    pub(crate) const RST: u8 = 4;
    pub(crate) const PSH: u8 = 8;
    pub(crate) const ACK: u8 = 16;
    pub(crate) const ECE: u8 = 64;
    pub(crate) const CWR: u8 = 128;
}

impl Segment {
    pub(crate) fn has(&self, bits: u8) -> bool {
        self.control & bits != 0
    }

    /// SEG.LEN: octets, SYN and FIN counted.
    pub(crate) fn len(&self) -> u32 {
        u32::from(self.octets)
            + u32::from(self.has(control::SYN))
            + u32::from(self.has(control::FIN))
    }

    /// After the last octet, SYN and FIN counted.
    pub(crate) fn end(&self) -> SeqNum {
        self.seq + self.len()
    }
}

/// Where a segment came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// Number of the destination among our addresses.
    pub(crate) local: u16,
    /// DSCP and ECN of the packet.
    pub(crate) traffic_class: u8,
    /// Which frame of the burst.
    pub(crate) frame: u16,
    /// Where the segment begins in the frame.
    pub(crate) start: usize,
    pub(crate) checksum_verified: bool,
}

/// Looks at a received segment. The hash is left to the caller.
pub(crate) fn parse(bytes: &[u8], origin: &Origin) -> Result<Segment, Drop> {
    let packet = TcpPacket::new_checked(bytes).map_err(|_| Drop::TcpMalformed)?;
    if !origin.checksum_verified {
        let sum = Sum::default()
            .add_pseudo_header(origin.source, origin.destination, protocol::TCP, bytes.len() as u16)
            .add(bytes);
        if !sum.is_valid() {
            return Err(Drop::TcpChecksum);
        }
    }
    let (remote_port, local_port) = (packet.src_port(), packet.dst_port());
    // RFC 6335 §6: reserved. Port 0 of ours is closed like others; one of the peer's cannot be answered.
    if remote_port == 0 {
        return Err(Drop::TcpPort);
    }
    let header_bytes = usize::from(packet.header_len());
    Ok(Segment {
        key: FlowKey::new(origin.source, remote_port, origin.local, local_port),
        hash: 0,
        seq: SeqNum(packet.seq_number().0 as u32),
        ack: SeqNum(packet.ack_number().0 as u32),
        window: packet.window_len(),
        control: bytes[CONTROL],
        ecn: origin.traffic_class & ecn::MASK,
        options: Options::parse(packet.options())?,
        frame: origin.frame,
        start: (origin.start + header_bytes) as u16,
        octets: (bytes.len() - header_bytes) as u16,
    })
}

/// The header of a segment to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) key: FlowKey,
    pub(crate) seq: SeqNum,
    /// Zero unless the ACK bit is set.
    pub(crate) ack: SeqNum,
    pub(crate) control: u8,
    /// As on the wire: scaled already.
    pub(crate) window: u16,
    pub(crate) options: Options,
    /// DSCP and ECN of the packet.
    pub(crate) traffic_class: u8,
}

impl Header {
    /// Bytes of the header.
    pub(crate) fn bytes(&self) -> usize {
        MIN_HEADER_BYTES + self.options.bytes()
    }

    /// Writes the header. The octets that follow are there already; the checksum is left zero.
    pub(crate) fn emit(&self, bytes: &mut [u8]) {
        let mut packet = TcpPacket::new_unchecked(&mut *bytes);
        packet.set_src_port(self.key.local_port);
        packet.set_dst_port(self.key.remote_port);
        packet.set_seq_number(TcpSeqNumber(self.seq.0 as i32));
        packet.set_ack_number(TcpSeqNumber(self.ack.0 as i32));
        packet.clear_flags();
        packet.set_header_len(self.bytes() as u8);
        packet.set_window_len(self.window);
        packet.set_checksum(0);
        packet.set_urgent_at(0);
        bytes[CONTROL] = self.control;
        self.options.emit(&mut bytes[MIN_HEADER_BYTES..self.bytes()]);
    }
}

/// Fills in the checksum of a segment to send, or, when the port will, the sum of the
/// pseudo-header, which it starts from.
pub(crate) fn seal(bytes: &mut [u8], source: IpAddr, destination: IpAddr, by_port: bool) {
    let len = bytes.len() as u16;
    let pseudo = Sum::default().add_pseudo_header(source, destination, protocol::TCP, len);
    let [high, low] = if by_port { pseudo.folded() } else { pseudo.add(bytes).checksum() };
    [bytes[CHECKSUM], bytes[CHECKSUM + 1]] = [high, low];
}

/// Bytes of a header without options.
pub(crate) const MIN_HEADER_BYTES: usize = 20;
const CONTROL: usize = 13;
const CHECKSUM: usize = 16;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::options::Timestamp;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const REMOTE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    const ORIGIN: Origin = Origin {
        source: LOCAL,
        destination: REMOTE,
        local: 0,
        traffic_class: 0,
        frame: 3,
        start: 34,
        checksum_verified: false,
    };

    fn emitted(octets: &[u8]) -> Vec<u8> {
        let header = Header {
            key: FlowKey::new(REMOTE, 2_000, 0, 1_000),
            seq: SeqNum(0x8000_0001),
            ack: SeqNum(7),
            control: control::ACK | control::PSH | control::FIN,
            window: 500,
            options: Options {
                timestamp: Some(Timestamp { value: 1, echo: 2 }),
                ..Options::default()
            },
            traffic_class: 0,
        };
        let mut bytes = vec![0; header.bytes()];
        bytes.extend(octets);
        header.emit(&mut bytes);
        seal(&mut bytes, LOCAL, REMOTE, false);
        bytes
    }

    #[test]
    fn emitted_segment_parses_at_the_other_end() {
        let segment = parse(&emitted(b"octets"), &ORIGIN).expect("valid");
        assert_eq!((segment.key.remote_port, segment.key.local_port), (1_000, 2_000));
        assert_eq!(segment.key.remote_ip(), LOCAL);
        assert_eq!((segment.seq, segment.ack), (SeqNum(0x8000_0001), SeqNum(7)));
        assert_eq!((segment.window, segment.len()), (500, 7));
        assert_eq!((segment.start, segment.octets), (34 + 32, 6));
        assert!(segment.has(control::FIN) && !segment.has(control::SYN | control::RST));
        assert_eq!(segment.options.timestamp, Some(Timestamp { value: 1, echo: 2 }));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let good = emitted(b"some more octets");
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&bytes, &ORIGIN).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn impossible_headers_have_their_own_reasons() {
        let verified = Origin { checksum_verified: true, ..ORIGIN };
        let reason = |bytes: &[u8]| parse(bytes, &verified).expect_err("dropped");
        assert_eq!(reason(&emitted(b"")[..19]), Drop::TcpMalformed);
        let mut bytes = emitted(b"");
        bytes[12] = 0x40;
        assert_eq!(reason(&bytes), Drop::TcpMalformed);
        bytes[12] = 0xf0;
        assert_eq!(reason(&bytes), Drop::TcpMalformed);
        let mut bytes = emitted(b"");
        bytes[22..24].copy_from_slice(&[8, 1]);
        assert_eq!(reason(&bytes), Drop::TcpOptions);
        let mut bytes = emitted(b"");
        bytes[..2].fill(0);
        assert_eq!(reason(&bytes), Drop::TcpPort);
    }

    #[test]
    fn a_port_that_fills_in_checksums_gets_the_sum_of_the_pseudo_header() {
        let mut bytes = emitted(b"abc");
        seal(&mut bytes, LOCAL, REMOTE, true);
        let sum = u16::from_be_bytes([bytes[16], bytes[17]]);
        let len = bytes.len() as u16;
        assert_eq!(sum, 0x0a00 + 0x0001 + 0x0a00 + 0x0002 + 6 + len);
    }
}
