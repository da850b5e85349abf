//! The fixed header (MQTT 5 §2.1): packet type, flags and Remaining Length.

use super::{DecodeError, Version, field};

/// Control packet type (§2.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are those of the specification's table 2-1")]
pub enum PacketType {
    Connect = 1,
    Connack = 2,
    Publish = 3,
    Puback = 4,
    Pubrec = 5,
    Pubrel = 6,
    Pubcomp = 7,
    Subscribe = 8,
    Suback = 9,
    Unsubscribe = 10,
    Unsuback = 11,
    Pingreq = 12,
    Pingresp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    fn from_bits(bits: u8) -> Option<PacketType> {
        Some(match bits {
            1 => PacketType::Connect,
            2 => PacketType::Connack,
            3 => PacketType::Publish,
            4 => PacketType::Puback,
            5 => PacketType::Pubrec,
            6 => PacketType::Pubrel,
            7 => PacketType::Pubcomp,
            8 => PacketType::Subscribe,
            9 => PacketType::Suback,
            10 => PacketType::Unsubscribe,
            11 => PacketType::Unsuback,
            12 => PacketType::Pingreq,
            13 => PacketType::Pingresp,
            14 => PacketType::Disconnect,
            15 => PacketType::Auth,
            _ => return None,
        })
    }

    /// First byte of a packet of this type with the flags that the specification fixes; PUBLISH sets
    /// its own.
    pub fn first_byte(self) -> u8 {
        let flags = match self {
            PacketType::Pubrel | PacketType::Subscribe | PacketType::Unsubscribe => 2,
            _ => 0,
        };
        (self as u8) << 4 | flags
    }
}

/// A decoded fixed header. If it exists, its flags are legal for its type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FixedHeader {
    /// Control packet type.
    pub kind: PacketType,
    /// The low four bits of the first byte.
    pub flags: u8,
    /// Remaining Length: bytes of the packet after this header.
    pub remaining_bytes: u32,
    /// Bytes of this header, 2 to 5.
    pub header_bytes: u8,
}

impl FixedHeader {
    /// Largest fixed header.
    pub const BYTES_MAX: usize = 5;

    /// Parses the front of `bytes`; `None` when it is not all there yet.
    ///
    /// # Errors
    /// An unknown type, wrong flags, or a Remaining Length of more than four bytes.
    pub fn parse(bytes: &[u8]) -> Result<Option<FixedHeader>, DecodeError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let kind = PacketType::from_bits(first >> 4).ok_or(DecodeError::BadType)?;
        let flags = first & 0x0F;
        if kind != PacketType::Publish && first != kind.first_byte() {
            return Err(DecodeError::BadFlags);
        }
        let mut remaining_bytes = 0;
        for (index, shift) in [0, 7, 14, 21].into_iter().enumerate() {
            let Some(&byte) = bytes.get(1 + index) else { return Ok(None) };
            remaining_bytes |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                let header_bytes = 2 + index as u8;
                return Ok(Some(FixedHeader { kind, flags, remaining_bytes, header_bytes }));
            }
        }
        Err(DecodeError::BadVarint)
    }

    /// Refuses what only some versions allow: AUTH before MQTT 5, and in MQTT 5 a Remaining Length
    /// that is not in its shortest form (3.1.1 does not forbid padding it, and embedded clients do).
    ///
    /// # Errors
    /// [`DecodeError::BadType`] or [`DecodeError::BadVarint`].
    pub fn check_version(&self, version: Version) -> Result<(), DecodeError> {
        match version {
            Version::V3 if self.kind == PacketType::Auth => Err(DecodeError::BadType),
            Version::V5
                if usize::from(self.header_bytes)
                    != 1 + field::varint_bytes(self.remaining_bytes) =>
            {
                Err(DecodeError::BadVarint)
            }
            _ => Ok(()),
        }
    }

    /// Bytes of the whole packet.
    pub fn packet_bytes(&self) -> usize {
        usize::from(self.header_bytes) + self.remaining_bytes as usize
    }
}
