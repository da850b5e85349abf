//! TCP options: maximum segment size (RFC 9293 §3.7.1), window scale and timestamps (RFC 7323).

use smoltcp::wire::TcpOption;

use crate::counters::Drop;

/// The options the stack knows, in a segment received or to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Largest segment the sender of the option takes.
    pub(crate) mss: Option<u16>,
    /// Shift of the window field of the option's sender.
    pub(crate) window_shift: Option<u8>,
    /// Timestamp and echo.
    pub(crate) timestamp: Option<Timestamp>,
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
                _ => {}
            }
            bytes = rest;
        }
        Ok(options)
    }

    /// Bytes in the header, a multiple of four.
    pub(crate) fn bytes(&self) -> usize {
        usize::from(self.mss.is_some()) * 4
            + usize::from(self.window_shift.is_some()) * 4
            + usize::from(self.timestamp.is_some()) * TIMESTAMP_BYTES
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
        if let Some(Timestamp { value, echo }) = self.timestamp {
            rest = TcpOption::NoOperation.emit(rest);
            rest = TcpOption::NoOperation.emit(rest);
            TcpOption::TimeStamp { tsval: value, tsecr: echo }.emit(rest);
        }
    }
}

/// What timestamps take of every segment, RFC 7323 appendix A.
pub(crate) const TIMESTAMP_BYTES: usize = 12;
/// RFC 7323 §2.3.
pub(crate) const WINDOW_SHIFT_MAX: u8 = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_survive_the_wire_in_every_combination() {
        for bits in 0..8 {
            let options = Options {
                mss: (bits & 1 != 0).then_some(1_460),
                window_shift: (bits & 2 != 0).then_some(7),
                timestamp: (bits & 4 != 0).then_some(Timestamp { value: 77, echo: u32::MAX }),
            };
            let mut bytes = vec![0xee; options.bytes()];
            assert_eq!(bytes.len() % 4, 0);
            options.emit(&mut bytes);
            assert_eq!(Options::parse(&bytes), Ok(options));
        }
    }

    #[test]
    fn unknown_options_are_passed_over_and_impossible_lengths_refused() {
        let known = Options { mss: Some(536), ..Options::default() };
        assert_eq!(Options::parse(&[254, 4, 9, 9, 2, 4, 2, 24]), Ok(known));
        assert_eq!(Options::parse(&[4, 2, 1, 1, 2, 4, 2, 24]), Ok(known), "SACK permitted");
        assert_eq!(Options::parse(&[2, 4, 2, 24, 0, 99, 99, 99]), Ok(known), "end of list");
        for malformed in [&[2, 3, 9, 0][..], &[254, 1, 0, 0], &[254, 0, 0, 0], &[1, 1, 1, 8]] {
            assert_eq!(Options::parse(malformed), Err(Drop::TcpOptions), "{malformed:?}");
        }
        let shift = Options { window_shift: Some(14), ..Options::default() };
        assert_eq!(Options::parse(&[3, 3, 200, 0]), Ok(shift));
    }
}
