//! PUBLISH (MQTT 5 §3.3).

use super::{
    DecodeError, FixedHeader, Owner, PacketType, Properties, Qos, Reader, Version, Writer, field,
};

/// What stands before the payload of a PUBLISH.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublishHeader<'a> {
    /// A resend of an earlier attempt.
    pub dup: bool,
    /// Quality of service.
    pub qos: Qos,
    /// Store as, or sent as, a retained message.
    pub retain: bool,
    /// Topic name, unchecked bytes; empty when a Topic Alias stands for it.
    pub topic: &'a [u8],
    /// Packet identifier; 0 for QoS 0.
    pub packet_id: u16,
    /// Properties; empty before MQTT 5.
    pub properties: Properties<'a>,
}

impl<'a> PublishHeader<'a> {
    /// Parses the front of a PUBLISH body of `fixed.remaining_bytes`, of which `body` is here.
    /// Returns the header and the bytes it takes; `None` when more are needed.
    ///
    /// # Errors
    /// The packet is malformed whatever follows.
    pub fn parse(
        version: Version,
        fixed: &FixedHeader,
        body: &'a [u8],
    ) -> Result<Option<(PublishHeader<'a>, usize)>, DecodeError> {
        let mut reader = Reader::partial(body, fixed.remaining_bytes as usize);
        match PublishHeader::read(version, fixed.flags, &mut reader) {
            Ok(header) => {
                let taken = fixed.remaining_bytes as usize - reader.remaining();
                Ok(Some((header, taken)))
            }
            Err(DecodeError::Incomplete) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read(
        version: Version,
        flags: u8,
        reader: &mut Reader<'a>,
    ) -> Result<PublishHeader<'a>, DecodeError> {
        let qos = Qos::from_bits(flags >> 1 & 3).ok_or(DecodeError::BadQos)?;
        let dup = flags & 8 != 0;
        if dup && qos == Qos::AtMostOnce {
            return Err(DecodeError::BadQos);
        }
        let topic = reader.binary()?;
        let packet_id = if qos == Qos::AtMostOnce { 0 } else { reader.packet_id()? };
        let properties = match version {
            Version::V3 => Properties::EMPTY,
            Version::V5 => Properties::parse(reader, Owner::Publish)?,
        };
        Ok(PublishHeader { dup, qos, retain: flags & 1 != 0, topic, packet_id, properties })
    }

    /// First byte of the packet.
    pub fn first_byte(&self) -> u8 {
        (PacketType::Publish as u8) << 4
            | u8::from(self.dup) << 3
            | (self.qos as u8) << 1
            | u8::from(self.retain)
    }

    /// Bytes between fixed header and payload.
    pub fn encoded_len(&self, version: Version) -> usize {
        let packet_id = if self.qos == Qos::AtMostOnce { 0 } else { 2 };
        let properties = match version {
            Version::V3 => 0,
            Version::V5 => self.properties.encoded_len(),
        };
        2 + self.topic.len() + packet_id + properties
    }

    /// Where the packet identifier stands, counted from the first byte of a packet with
    /// `payload_bytes`: one encoded body serves many receivers, each with an identifier of its own.
    pub fn packet_id_offset(&self, version: Version, payload_bytes: usize) -> usize {
        let remaining = self.encoded_len(version) + payload_bytes;
        1 + field::varint_bytes(remaining as u32) + 2 + self.topic.len()
    }

    /// Writes everything before a payload of `payload_bytes`, fixed header included.
    pub fn encode(&self, version: Version, payload_bytes: usize, writer: &mut Writer<'_>) {
        writer.fixed_header(self.first_byte(), self.encoded_len(version) + payload_bytes);
        writer.binary(self.topic);
        if self.qos != Qos::AtMostOnce {
            writer.u16(self.packet_id);
        }
        if version == Version::V5 {
            self.properties.encode(writer);
        }
    }
}

/// A whole PUBLISH.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Publish<'a> {
    /// What stands before the payload.
    pub header: PublishHeader<'a>,
    /// Application message.
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    /// Parses the body of a PUBLISH that is all here.
    ///
    /// # Errors
    /// The packet is malformed.
    pub fn parse(version: Version, flags: u8, body: &'a [u8]) -> Result<Publish<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        let header = PublishHeader::read(version, flags, &mut reader)?;
        Ok(Publish { header, payload: reader.rest() })
    }

    /// Writes the packet to the front of `out`; `None` when it does not fit.
    pub fn encode(&self, version: Version, out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out);
        self.header.encode(version, self.payload.len(), &mut writer);
        writer.put(self.payload);
        writer.finish()
    }
}
