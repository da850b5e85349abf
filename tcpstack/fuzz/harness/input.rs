//! The fuzzer's bytes, read as choices.

/// What is left of them. Where there is nothing left, every choice is 0.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte, until there is none.
    pub fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.take().unwrap_or(0)
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// As many of the next `len` bytes as there are.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// `base` itself, a little ahead of it, a little behind, or anywhere.
    pub fn near(&mut self, base: u32) -> u32 {
        let delta = self.u16();
        let distance = u32::from(delta & 0x3fff);
        base.wrapping_add(match delta >> 14 {
            0 => 0,
            1 => distance,
            2 => distance.wrapping_neg(),
            _ => distance << 18,
        })
    }
}
