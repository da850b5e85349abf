//! PUBACK, PUBREC, PUBREL and PUBCOMP (MQTT 5 §3.4 to §3.7): one shape, four packet types.

use super::{DecodeError, Owner, PacketType, Properties, Reader, ReasonCode, Version, Writer};

/// Which of the four.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "packet names")]
pub enum AckKind {
    Puback,
    Pubrec,
    Pubrel,
    Pubcomp,
}

impl AckKind {
    /// The packet type.
    pub fn packet_type(self) -> PacketType {
        match self {
            AckKind::Puback => PacketType::Puback,
            AckKind::Pubrec => PacketType::Pubrec,
            AckKind::Pubrel => PacketType::Pubrel,
            AckKind::Pubcomp => PacketType::Pubcomp,
        }
    }
}

/// An acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack<'a> {
    /// Which of the four.
    pub kind: AckKind,
    /// The PUBLISH it is about.
    pub packet_id: u16,
    /// Success when the packet carries none.
    pub reason: ReasonCode,
    /// Properties; empty before MQTT 5.
    pub properties: Properties<'a>,
}

impl<'a> Ack<'a> {
    /// An acknowledgement without properties.
    pub fn new(kind: AckKind, packet_id: u16, reason: ReasonCode) -> Ack<'static> {
        Ack { kind, packet_id, reason, properties: Properties::EMPTY }
    }

    /// Parses a whole body.
    ///
    /// # Errors
    /// The packet is malformed.
    pub fn parse(version: Version, kind: AckKind, body: &'a [u8]) -> Result<Ack<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        let mut ack = Ack::new(kind, reader.packet_id()?, ReasonCode::SUCCESS);
        if version == Version::V5 {
            if !reader.is_empty() {
                ack.reason = ReasonCode(reader.u8()?);
                if !ack.reason.allowed_in(kind.packet_type()) {
                    return Err(DecodeError::BadReason);
                }
            }
            if !reader.is_empty() {
                ack.properties = Properties::parse(&mut reader, Owner::Ack)?;
            }
        }
        reader.finish()?;
        Ok(ack)
    }

    /// Writes the packet to the front of `out`, in its shortest form; `None` when it does not fit.
    pub fn encode(&self, version: Version, out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out);
        let properties = !self.properties.as_bytes().is_empty();
        let reason = self.reason != ReasonCode::SUCCESS || properties;
        let tail = match version {
            Version::V3 => 0,
            Version::V5 if properties => 1 + self.properties.encoded_len(),
            Version::V5 => usize::from(reason),
        };
        writer.fixed_header(self.kind.packet_type().first_byte(), 2 + tail);
        writer.u16(self.packet_id);
        if version == Version::V5 && reason {
            writer.u8(self.reason.0);
            if properties {
                self.properties.encode(&mut writer);
            }
        }
        writer.finish()
    }
}
