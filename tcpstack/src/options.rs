//! TCP options: maximum segment size (RFC 9293 §3.7.1), window scale and timestamps (RFC 7323),
//! selective acknowledgment (RFC 2018).

use smoltcp::wire::TcpOption;

use crate::counters::Drop;
use crate::sack::{Block, Blocks};
use crate::seq::SeqNum;

/// The options the stack knows, in a segment received or to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Largest segment the sender of the option takes.
    pub(crate) mss: Option<u16>,
    /// Shift of the window field of the option's sender.
    pub(crate) window_shift: Option<u8>,
    /// The sender of the option takes selective acknowledgments.
    pub(crate) sack_permitted: bool,
    /// Timestamp and echo.
    pub(crate) timestamp: Option<Timestamp>,
    /// What was received beyond the acknowledgment.
    pub(crate) sack: Blocks,
}

/// TSval and TSecr, RFC 7323 §3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timestamp {
    pub(crate) value: u32,
    pub(crate) echo: u32,
}

impl Options {
    /// Reads the options of a received segment. Unknown ones are passed over (RFC 9293 §3.2,
    /// MUST-6); one with an impossible length condemns the segment (MUST-7).
    pub(crate) fn parse(mut bytes: &[u8]) -> Result<Self, Drop> {
        // The one form nearly every segment has, RFC 7323 appendix A.
        if let [1, 1, 8, 10, a, b, c, d, e, f, g, h] = *bytes {
            let value = u32::from_be_bytes([a, b, c, d]);
            let echo = u32::from_be_bytes([e, f, g, h]);
            return Ok(Self { timestamp: Some(Timestamp { value, echo }), ..Self::default() });
        }
        let mut options = Self::default();
        while !bytes.is_empty() {
            if bytes[0] == SACK {
                bytes = options.parse_sack(bytes)?;
                continue;
            }
            let (rest, option) = TcpOption::parse(bytes).map_err(|_| Drop::TcpOptions)?;
            match option {
                TcpOption::EndOfList => break,
                TcpOption::MaxSegmentSize(mss) => options.mss = Some(mss),
                // RFC 7323 §2.3: a larger shift counts as 14.
                TcpOption::WindowScale(shift) => {
                    options.window_shift = Some(shift.min(WINDOW_SHIFT_MAX));
                }
                TcpOption::TimeStamp { tsval, tsecr } => {
                    options.timestamp = Some(Timestamp { value: tsval, echo: tsecr });
                }
                TcpOption::SackPermitted => options.sack_permitted = true,
                _ => {}
            }
            bytes = rest;
        }
        Ok(options)
    }

    /// RFC 2018 §3: kind, length, and up to four blocks of two sequence numbers.
    fn parse_sack<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Drop> {
        let len = usize::from(*bytes.get(1).ok_or(Drop::TcpOptions)?);
        let blocks = bytes.get(SACK_HEADER_BYTES..len).ok_or(Drop::TcpOptions)?;
        if blocks.is_empty() || blocks.len() % SACK_BLOCK_BYTES != 0 {
            return Err(Drop::TcpOptions);
        }
        for block in blocks.chunks_exact(SACK_BLOCK_BYTES) {
            let edge = |at: usize| {
                SeqNum(u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]))
            };
            self.sack.push(Block { start: edge(0), end: edge(4) });
        }
        Ok(&bytes[len..])
    }

    /// Bytes in the header, a multiple of four.
    pub(crate) fn bytes(&self) -> usize {
        // SACK-permitted takes the place of the padding of the timestamps.
        let sack_permitted = self.sack_permitted && self.timestamp.is_none();
        let sack = match self.sack.len() {
            0 => 0,
            blocks => SACK_PADDED_BYTES + blocks * SACK_BLOCK_BYTES,
        };
        usize::from(self.mss.is_some()) * 4
            + usize::from(self.window_shift.is_some()) * 4
            + usize::from(sack_permitted) * 4
            + usize::from(self.timestamp.is_some()) * TIMESTAMP_BYTES
            + sack
    }

    /// Writes [`Self::bytes`] bytes.
    pub(crate) fn emit(&self, bytes: &mut [u8]) {
        let mut rest = bytes;
        if let Some(mss) = self.mss {
            rest = TcpOption::MaxSegmentSize(mss).emit(rest);
        }
        if let Some(shift) = self.window_shift {
            rest = TcpOption::NoOperation.emit(rest);
            rest = TcpOption::WindowScale(shift).emit(rest);
        }
        if self.sack_permitted {
            rest = TcpOption::SackPermitted.emit(rest);
        }
        if self.sack_permitted != self.timestamp.is_some() {
            rest = TcpOption::NoOperation.emit(rest);
            rest = TcpOption::NoOperation.emit(rest);
        }
        if let Some(Timestamp { value, echo }) = self.timestamp {
            rest = TcpOption::TimeStamp { tsval: value, tsecr: echo }.emit(rest);
        }
        if !self.sack.is_empty() {
            rest = TcpOption::NoOperation.emit(rest);
            rest = TcpOption::NoOperation.emit(rest);
            rest[0] = SACK;
            rest[1] = (SACK_HEADER_BYTES + self.sack.len() * SACK_BLOCK_BYTES) as u8;
            let blocks = rest[SACK_HEADER_BYTES..].chunks_exact_mut(SACK_BLOCK_BYTES);
            for (bytes, block) in blocks.zip(self.sack.iter()) {
                bytes[..4].copy_from_slice(&block.start.0.to_be_bytes());
                bytes[4..].copy_from_slice(&block.end.0.to_be_bytes());
            }
        }
    }

    /// SACK blocks there is room for in a segment without text, RFC 2018 §3.
    pub(crate) fn sack_blocks_max(&self) -> usize {
        (OPTIONS_BYTES_MAX - self.bytes() - SACK_PADDED_BYTES) / SACK_BLOCK_BYTES
    }
}

/// What timestamps take of every segment, RFC 7323 appendix A.
pub(crate) const TIMESTAMP_BYTES: usize = 12;
/// RFC 7323 §2.3.
pub(crate) const WINDOW_SHIFT_MAX: u8 = 14;
/// All that the header's length leaves, RFC 9293 §3.1.
const OPTIONS_BYTES_MAX: usize = 40;
/// Kind of the option, RFC 2018 §3.
const SACK: u8 = 5;
/// Kind and length.
const SACK_HEADER_BYTES: usize = 2;
/// The same with two octets before it, so that the blocks are aligned.
const SACK_PADDED_BYTES: usize = 4;
const SACK_BLOCK_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(count: u32) -> Blocks {
        let mut blocks = Blocks::default();
        for at in 0..count {
            let start = SeqNum(u32::MAX - 1_000) + at * 500;
            blocks.push(Block { start, end: start + 100 });
        }
        blocks
    }

    #[test]
    fn options_survive_the_wire_in_every_combination() {
        for bits in 0..80 {
            let options = Options {
                mss: (bits & 1 != 0).then_some(1_460),
                window_shift: (bits & 2 != 0).then_some(7),
                sack_permitted: bits & 4 != 0,
                timestamp: (bits & 8 != 0).then_some(Timestamp { value: 77, echo: u32::MAX }),
                sack: blocks(bits >> 4),
            };
            let mut bytes = vec![0xee; options.bytes()];
            assert_eq!(bytes.len() % 4, 0);
            options.emit(&mut bytes);
            assert_eq!(Options::parse(&bytes), Ok(options));
        }
    }

    #[test]
    fn selective_acknowledgment_fills_what_the_others_leave() {
        let bare = Options::default();
        let timestamp = Some(Timestamp { value: 1, echo: 2 });
        let stamped = Options { timestamp, ..bare };
        assert_eq!((bare.sack_blocks_max(), stamped.sack_blocks_max()), (4, 3));
        let full = Options { sack: blocks(4), ..bare };
        assert_eq!(full.bytes(), 36);
        assert_eq!(Options { timestamp, sack: blocks(3), ..bare }.bytes(), 40);
    }

    #[test]
    fn selective_acknowledgment_of_an_impossible_length_is_refused() {
        for malformed in [&[5][..], &[5, 0, 1, 1], &[5, 2, 1, 1], &[5, 9, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(Options::parse(malformed), Err(Drop::TcpOptions), "{malformed:?}");
        }
        assert_eq!(Options::parse(&[5, 10, 0, 0, 0, 0]), Err(Drop::TcpOptions), "cut short");
        let mut many = vec![5, 42];
        many.extend([0; 40]);
        let options = Options::parse(&many).expect("five blocks fit no header, but do no harm");
        assert_eq!(options.sack.len(), 4);
    }

    #[test]
    fn unknown_options_are_passed_over_and_impossible_lengths_refused() {
        let known = Options { mss: Some(536), ..Options::default() };
        assert_eq!(Options::parse(&[254, 4, 9, 9, 2, 4, 2, 24]), Ok(known));
        assert_eq!(Options::parse(&[2, 4, 2, 24, 0, 99, 99, 99]), Ok(known), "end of list");
        for malformed in [&[2, 3, 9, 0][..], &[254, 1, 0, 0], &[254, 0, 0, 0], &[1, 1, 1, 8]] {
            assert_eq!(Options::parse(malformed), Err(Drop::TcpOptions), "{malformed:?}");
        }
        let shift = Options { window_shift: Some(14), ..Options::default() };
        assert_eq!(Options::parse(&[3, 3, 200, 0]), Ok(shift));
    }
}
