//! DISCONNECT (MQTT 5 §3.14) and AUTH (§3.15).

use super::{DecodeError, Owner, PacketType, Properties, Reader, ReasonCode, Version, Writer};

/// A DISCONNECT, from either side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disconnect<'a> {
    /// Normal disconnection when the packet carries none.
    pub reason: ReasonCode,
    /// Properties; empty before MQTT 5.
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    /// Parses a whole body.
    ///
    /// # Errors
    /// The packet is malformed.
    pub fn parse(version: Version, body: &'a [u8]) -> Result<Disconnect<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        let mut packet = Disconnect { reason: ReasonCode::SUCCESS, properties: Properties::EMPTY };
        if version == Version::V5 {
            (packet.reason, packet.properties) =
                reason_and_properties(&mut reader, PacketType::Disconnect, Owner::Disconnect)?;
        }
        reader.finish()?;
        Ok(packet)
    }

    /// Writes the packet to the front of `out`; `None` when it does not fit.
    pub fn encode(&self, version: Version, out: &mut [u8]) -> Option<usize> {
        match version {
            Version::V3 => {
                let mut writer = Writer::new(out);
                writer.fixed_header(PacketType::Disconnect.first_byte(), 0);
                writer.finish()
            }
            Version::V5 => encode(PacketType::Disconnect, self.reason, &self.properties, out),
        }
    }
}

/// An AUTH packet; there is none before MQTT 5.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Auth<'a> {
    /// Success, Continue authentication or Re-authenticate.
    pub reason: ReasonCode,
    /// Properties.
    pub properties: Properties<'a>,
}

impl<'a> Auth<'a> {
    /// Parses a whole body.
    ///
    /// # Errors
    /// The packet is malformed.
    pub fn parse(body: &'a [u8]) -> Result<Auth<'a>, DecodeError> {
        // §3.15.2.1: unlike a DISCONNECT, it has both reason code and properties or neither.
        if body.len() == 1 {
            return Err(DecodeError::Truncated);
        }
        let mut reader = Reader::new(body);
        let (reason, properties) =
            reason_and_properties(&mut reader, PacketType::Auth, Owner::Auth)?;
        reader.finish()?;
        Ok(Auth { reason, properties })
    }

    /// Writes the packet to the front of `out`; `None` when it does not fit.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let bare = self.reason == ReasonCode::SUCCESS && self.properties.as_bytes().is_empty();
        if bare {
            encode(PacketType::Auth, self.reason, &self.properties, out)
        } else {
            encode_whole(PacketType::Auth, self.reason, &self.properties, out)
        }
    }
}

/// Both packets may leave out the properties, or the reason code and the properties.
fn reason_and_properties<'a>(
    reader: &mut Reader<'a>,
    kind: PacketType,
    owner: Owner,
) -> Result<(ReasonCode, Properties<'a>), DecodeError> {
    if reader.is_empty() {
        return Ok((ReasonCode::SUCCESS, Properties::EMPTY));
    }
    let reason = ReasonCode(reader.u8()?);
    if !reason.allowed_in(kind) {
        return Err(DecodeError::BadReason);
    }
    if reader.is_empty() {
        return Ok((reason, Properties::EMPTY));
    }
    Ok((reason, Properties::parse(reader, owner)?))
}

/// Leaves out the properties, or the reason code and the properties, when they say nothing.
fn encode(
    kind: PacketType,
    reason: ReasonCode,
    properties: &Properties<'_>,
    out: &mut [u8],
) -> Option<usize> {
    if !properties.as_bytes().is_empty() {
        return encode_whole(kind, reason, properties, out);
    }
    let mut writer = Writer::new(out);
    let with_reason = reason != ReasonCode::SUCCESS;
    writer.fixed_header(kind.first_byte(), usize::from(with_reason));
    if with_reason {
        writer.u8(reason.0);
    }
    writer.finish()
}

fn encode_whole(
    kind: PacketType,
    reason: ReasonCode,
    properties: &Properties<'_>,
    out: &mut [u8],
) -> Option<usize> {
    let mut writer = Writer::new(out);
    writer.fixed_header(kind.first_byte(), 1 + properties.encoded_len());
    writer.u8(reason.0);
    properties.encode(&mut writer);
    writer.finish()
}
