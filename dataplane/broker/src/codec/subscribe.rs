//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK (MQTT 5 §3.8 to §3.11).

use super::{DecodeError, Owner, PacketType, Properties, Qos, Reader, ReasonCode, Version, Writer};

/// Subscription options (§3.8.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubscribeOptions {
    /// Highest QoS the server may send with.
    pub qos: Qos,
    /// Do not send the client's own messages back.
    pub no_local: bool,
    /// Keep the RETAIN flag as published.
    pub retain_as_published: bool,
    /// 0: send retained messages; 1: only for a new subscription; 2: never.
    pub retain_handling: u8,
}

impl SubscribeOptions {
    /// The options that MQTT 3.1.1 has: a QoS and nothing else.
    pub fn plain(qos: Qos) -> SubscribeOptions {
        SubscribeOptions { qos, no_local: false, retain_as_published: false, retain_handling: 0 }
    }

    fn from_byte(version: Version, byte: u8) -> Result<SubscribeOptions, DecodeError> {
        let reserved = match version {
            Version::V3 => 0xFC,
            Version::V5 => 0xC0,
        };
        if byte & reserved != 0 {
            return Err(DecodeError::BadFlags);
        }
        let retain_handling = byte >> 4 & 3;
        if retain_handling == 3 {
            return Err(DecodeError::BadFlags);
        }
        Ok(SubscribeOptions {
            qos: Qos::from_bits(byte & 3).ok_or(DecodeError::BadQos)?,
            no_local: byte & 4 != 0,
            retain_as_published: byte & 8 != 0,
            retain_handling,
        })
    }

    /// The options as they stand on the wire.
    pub fn to_byte(self) -> u8 {
        self.qos as u8
            | u8::from(self.no_local) << 2
            | u8::from(self.retain_as_published) << 3
            | self.retain_handling << 4
    }
}

/// A SUBSCRIBE. Its list of filters was checked for structure; the filters are raw bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscribe<'a> {
    version: Version,
    /// Packet identifier.
    pub packet_id: u16,
    /// Properties; empty before MQTT 5.
    pub properties: Properties<'a>,
    list: &'a [u8],
}

impl<'a> Subscribe<'a> {
    /// Parses a whole body.
    ///
    /// # Errors
    /// The packet is malformed.
    pub fn parse(version: Version, body: &'a [u8]) -> Result<Subscribe<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let properties = match version {
            Version::V3 => Properties::EMPTY,
            Version::V5 => Properties::parse(&mut reader, Owner::Subscribe)?,
        };
        let packet = Subscribe { version, packet_id, properties, list: reader.rest() };
        check_list(&mut packet.filters())?;
        Ok(packet)
    }

    /// The filters with their options, in order.
    pub fn filters(&self) -> FilterIter<'a> {
        FilterIter { reader: Reader::new(self.list), options: Some(self.version) }
    }

    /// Writes a SUBSCRIBE to the front of `out`; `None` when it does not fit.
    pub fn encode(
        version: Version,
        packet_id: u16,
        properties: &Properties<'_>,
        filters: &[(&[u8], SubscribeOptions)],
        out: &mut [u8],
    ) -> Option<usize> {
        let list: usize = filters.iter().map(|(filter, _)| 3 + filter.len()).sum();
        let mut writer = Writer::new(out);
        let kind = PacketType::Subscribe;
        header(&mut writer, version, kind, packet_id, properties, list);
        for (filter, options) in filters {
            writer.binary(filter);
            writer.u8(options.to_byte());
        }
        writer.finish()
    }
}

/// An UNSUBSCRIBE. Its list of filters was checked for structure; the filters are raw bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsubscribe<'a> {
    /// Packet identifier.
    pub packet_id: u16,
    /// Properties; empty before MQTT 5.
    pub properties: Properties<'a>,
    list: &'a [u8],
}

impl<'a> Unsubscribe<'a> {
    /// Parses a whole body.
    ///
    /// # Errors
    /// The packet is malformed.
    pub fn parse(version: Version, body: &'a [u8]) -> Result<Unsubscribe<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let properties = match version {
            Version::V3 => Properties::EMPTY,
            Version::V5 => Properties::parse(&mut reader, Owner::Unsubscribe)?,
        };
        let packet = Unsubscribe { packet_id, properties, list: reader.rest() };
        check_list(&mut packet.filters())?;
        Ok(packet)
    }

    /// The filters, in order; their options mean nothing.
    pub fn filters(&self) -> FilterIter<'a> {
        FilterIter { reader: Reader::new(self.list), options: None }
    }

    /// Writes an UNSUBSCRIBE to the front of `out`; `None` when it does not fit.
    pub fn encode(
        version: Version,
        packet_id: u16,
        properties: &Properties<'_>,
        filters: &[&[u8]],
        out: &mut [u8],
    ) -> Option<usize> {
        let list: usize = filters.iter().map(|filter| 2 + filter.len()).sum();
        let mut writer = Writer::new(out);
        let kind = PacketType::Unsubscribe;
        header(&mut writer, version, kind, packet_id, properties, list);
        for filter in filters {
            writer.binary(filter);
        }
        writer.finish()
    }
}

/// Iterates the topic filters of a SUBSCRIBE or UNSUBSCRIBE.
#[derive(Clone, Debug)]
pub struct FilterIter<'a> {
    reader: Reader<'a>,
    /// The version whose option bytes follow each filter; none in an UNSUBSCRIBE.
    options: Option<Version>,
}

impl<'a> FilterIter<'a> {
    fn read(&mut self) -> Result<(&'a [u8], SubscribeOptions), DecodeError> {
        let filter = self.reader.binary()?;
        let options = match self.options {
            Some(version) => SubscribeOptions::from_byte(version, self.reader.u8()?)?,
            None => SubscribeOptions::plain(Qos::AtMostOnce),
        };
        Ok((filter, options))
    }
}

impl<'a> Iterator for FilterIter<'a> {
    type Item = (&'a [u8], SubscribeOptions);

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() { None } else { self.read().ok() }
    }
}

fn check_list(filters: &mut FilterIter<'_>) -> Result<(), DecodeError> {
    if filters.reader.is_empty() {
        return Err(DecodeError::NoFilters);
    }
    while !filters.reader.is_empty() {
        filters.read()?;
    }
    Ok(())
}

/// A SUBACK or UNSUBACK. The UNSUBACK of MQTT 3.1.1 has no reason codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReasonList<'a> {
    /// Packet identifier.
    pub packet_id: u16,
    /// Properties; empty before MQTT 5.
    pub properties: Properties<'a>,
    /// One reason code for each filter, in order.
    pub reasons: &'a [u8],
}

impl<'a> ReasonList<'a> {
    /// Parses a whole body of a packet of type `kind`: SUBACK or UNSUBACK.
    ///
    /// # Errors
    /// The packet is malformed.
    pub fn parse(
        version: Version,
        kind: PacketType,
        body: &'a [u8],
    ) -> Result<ReasonList<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        let packet_id = reader.packet_id()?;
        let properties = match version {
            Version::V3 => Properties::EMPTY,
            Version::V5 => Properties::parse(&mut reader, Owner::Suback)?,
        };
        let reasons = reader.rest();
        let legal = match (version, kind) {
            (Version::V3, PacketType::Unsuback) => reasons.is_empty(),
            (Version::V3, _) => {
                !reasons.is_empty() && reasons.iter().all(|code| matches!(code, 0..=2 | 0x80))
            }
            (Version::V5, _) => {
                !reasons.is_empty() && reasons.iter().all(|code| ReasonCode(*code).allowed_in(kind))
            }
        };
        if legal {
            Ok(ReasonList { packet_id, properties, reasons })
        } else {
            Err(DecodeError::BadReason)
        }
    }

    /// Writes the packet to the front of `out`; `None` when it does not fit.
    pub fn encode(&self, version: Version, kind: PacketType, out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out);
        let len = self.reasons.len();
        header(&mut writer, version, kind, self.packet_id, &self.properties, len);
        writer.put(self.reasons);
        writer.finish()
    }
}

/// Everything before the list of any of these packets.
fn header(
    writer: &mut Writer<'_>,
    version: Version,
    kind: PacketType,
    packet_id: u16,
    properties: &Properties<'_>,
    list_bytes: usize,
) {
    let block = match version {
        Version::V3 => 0,
        Version::V5 => properties.encoded_len(),
    };
    writer.fixed_header(kind.first_byte(), 2 + block + list_bytes);
    writer.u16(packet_id);
    if version == Version::V5 {
        properties.encode(writer);
    }
}
