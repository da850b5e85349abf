//! Data representation (MQTT 5 §1.5): integers, UTF-8 strings, binary data, variable byte integers.

use super::DecodeError;

/// Largest value of a variable byte integer (§1.5.5).
pub const VARINT_MAX: u32 = 268_435_455;

/// Reads fields off the front of a packet.
///
/// A reader over the first part of a packet knows how many bytes are promised but not here yet, so
/// that it can tell [`DecodeError::Incomplete`] from [`DecodeError::Truncated`].
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    missing: usize,
}

impl<'a> Reader<'a> {
    /// Reads a packet body that is all here.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, missing: 0 }
    }

    /// Reads the front of a body of `promised` bytes.
    pub fn partial(bytes: &'a [u8], promised: usize) -> Reader<'a> {
        if bytes.len() >= promised {
            Reader { bytes: &bytes[..promised], missing: 0 }
        } else {
            Reader { bytes, missing: promised - bytes.len() }
        }
    }

    /// Whether every byte was read.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.missing == 0
    }

    /// Bytes not read yet, those still to arrive included.
    pub fn remaining(&self) -> usize {
        self.bytes.len() + self.missing
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        if len <= self.bytes.len() {
            let (taken, rest) = self.bytes.split_at(len);
            self.bytes = rest;
            Ok(taken)
        } else if len <= self.remaining() {
            Err(DecodeError::Incomplete)
        } else {
            Err(DecodeError::Truncated)
        }
    }

    /// Everything that is left and here.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    /// Two Byte Integer.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Four Byte Integer.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Variable Byte Integer in its shortest form.
    pub fn varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                let padded = byte == 0 && shift > 0;
                return if padded { Err(DecodeError::BadVarint) } else { Ok(value) };
            }
        }
        Err(DecodeError::BadVarint)
    }

    /// Binary Data: two bytes of length, then the bytes.
    pub fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// UTF-8 Encoded String.
    pub fn string(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.binary()?;
        if bytes.contains(&0) {
            return Err(DecodeError::BadUtf8);
        }
        std::str::from_utf8(bytes).map_err(|_| DecodeError::BadUtf8)
    }

    /// A packet identifier, which is never 0 (§2.2.1).
    pub fn packet_id(&mut self) -> Result<u16, DecodeError> {
        match self.u16()? {
            0 => Err(DecodeError::ZeroPacketId),
            id => Ok(id),
        }
    }

    /// The end of the packet.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }
}

/// Writes fields into a caller's buffer. What does not fit is remembered and told by
/// [`Writer::finish`], so that no single write needs a check.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
    overflow: bool,
}

impl<'a> Writer<'a> {
    /// Writes from the front of `out`.
    pub fn new(out: &'a mut [u8]) -> Writer<'a> {
        Writer { out, at: 0, overflow: false }
    }

    /// Raw bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        match self.out.get_mut(self.at..self.at + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.at += bytes.len();
            }
            None => self.overflow = true,
        }
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    /// Two Byte Integer.
    pub fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    /// Four Byte Integer.
    pub fn u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// Variable Byte Integer; a value beyond [`VARINT_MAX`] counts as not fitting.
    pub fn varint(&mut self, mut value: u32) {
        if value > VARINT_MAX {
            self.overflow = true;
            return;
        }
        loop {
            let low = (value & 0x7F) as u8;
            value >>= 7;
            if value == 0 {
                return self.u8(low);
            }
            self.u8(low | 0x80);
        }
    }

    /// Binary Data or string; more than 65,535 bytes count as not fitting.
    pub fn binary(&mut self, bytes: &[u8]) {
        match u16::try_from(bytes.len()) {
            Ok(len) => {
                self.u16(len);
                self.put(bytes);
            }
            Err(_) => self.overflow = true,
        }
    }

    /// The fixed header of a packet whose body has `remaining` bytes.
    pub fn fixed_header(&mut self, first: u8, remaining: usize) {
        self.u8(first);
        self.varint(u32::try_from(remaining).unwrap_or(u32::MAX));
    }

    /// Bytes written so far.
    pub fn written(&self) -> usize {
        self.at
    }

    /// Bytes written in all, or `None` when something did not fit.
    pub fn finish(self) -> Option<usize> {
        if self.overflow { None } else { Some(self.at) }
    }
}

/// Bytes that `value` takes as a variable byte integer.
pub const fn varint_bytes(value: u32) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}
