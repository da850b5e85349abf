//! CONNECT (MQTT 5 §3.1) and CONNACK (§3.2).

use super::{DecodeError, Owner, PacketType, Properties, Qos, Reader, ReasonCode, Version, Writer};

/// The will message in a CONNECT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Will<'a> {
    /// Topic name, unchecked bytes.
    pub topic: &'a [u8],
    /// Application message.
    pub payload: &'a [u8],
    /// Quality of service.
    pub qos: Qos,
    /// Published as a retained message.
    pub retain: bool,
    /// Will properties; empty before MQTT 5.
    pub properties: Properties<'a>,
}

/// A CONNECT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connect<'a> {
    /// Protocol version asked for.
    pub version: Version,
    /// Clean Start; Clean Session before MQTT 5.
    pub clean_start: bool,
    /// Seconds; 0 turns the mechanism off.
    pub keep_alive_s: u16,
    /// Empty: the server assigns one.
    pub client_id: &'a str,
    /// CONNECT properties; empty before MQTT 5.
    pub properties: Properties<'a>,
    /// Will message, if any.
    pub will: Option<Will<'a>>,
    /// User name, if any.
    pub username: Option<&'a str>,
    /// Password, if any.
    pub password: Option<&'a [u8]>,
}

const PROTOCOL_NAME: &[u8] = b"MQTT";
const FLAG_CLEAN_START: u8 = 1 << 1;
const FLAG_WILL: u8 = 1 << 2;
const FLAG_WILL_RETAIN: u8 = 1 << 5;
const FLAG_PASSWORD: u8 = 1 << 6;
const FLAG_USERNAME: u8 = 1 << 7;

impl<'a> Connect<'a> {
    /// Parses a whole body.
    ///
    /// # Errors
    /// The packet is malformed, or speaks a protocol other than MQTT 3.1.1 and 5.0.
    pub fn parse(body: &'a [u8]) -> Result<Connect<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        let version = Connect::parse_version(&mut reader)?;
        let flags = reader.u8()?;
        if flags & 1 != 0 {
            return Err(DecodeError::BadFlags);
        }
        // MQTT 3.1.1 §3.1.2.9: no password without a user name. MQTT 5 allows it.
        if version == Version::V3 && flags & FLAG_PASSWORD != 0 && flags & FLAG_USERNAME == 0 {
            return Err(DecodeError::BadFlags);
        }
        let keep_alive_s = reader.u16()?;
        let properties = match version {
            Version::V3 => Properties::EMPTY,
            Version::V5 => Properties::parse(&mut reader, Owner::Connect)?,
        };
        let client_id = reader.string()?;
        let will = Connect::parse_will(version, flags, &mut reader)?;
        let username = if flags & FLAG_USERNAME != 0 { Some(reader.string()?) } else { None };
        let password = if flags & FLAG_PASSWORD != 0 { Some(reader.binary()?) } else { None };
        reader.finish()?;
        Ok(Connect {
            version,
            clean_start: flags & FLAG_CLEAN_START != 0,
            keep_alive_s,
            client_id,
            properties,
            will,
            username,
            password,
        })
    }

    fn parse_version(reader: &mut Reader<'a>) -> Result<Version, DecodeError> {
        if reader.binary()? != PROTOCOL_NAME {
            return Err(DecodeError::BadProtocolName);
        }
        match reader.u8()? {
            4 => Ok(Version::V3),
            5 => Ok(Version::V5),
            _ => Err(DecodeError::UnsupportedVersion),
        }
    }

    fn parse_will(
        version: Version,
        flags: u8,
        reader: &mut Reader<'a>,
    ) -> Result<Option<Will<'a>>, DecodeError> {
        let qos = Qos::from_bits(flags >> 3 & 3).ok_or(DecodeError::BadQos)?;
        let retain = flags & FLAG_WILL_RETAIN != 0;
        if flags & FLAG_WILL == 0 {
            let none = qos == Qos::AtMostOnce && !retain;
            return if none { Ok(None) } else { Err(DecodeError::BadFlags) };
        }
        let properties = match version {
            Version::V3 => Properties::EMPTY,
            Version::V5 => Properties::parse(reader, Owner::Will)?,
        };
        let topic = reader.binary()?;
        let payload = reader.binary()?;
        Ok(Some(Will { topic, payload, qos, retain, properties }))
    }

    /// Writes the packet to the front of `out`; `None` when it does not fit.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let v5 = self.version == Version::V5;
        let mut writer = Writer::new(out);
        writer.fixed_header(PacketType::Connect.first_byte(), self.encoded_len());
        writer.binary(PROTOCOL_NAME);
        writer.u8(if v5 { 5 } else { 4 });
        writer.u8(self.flags());
        writer.u16(self.keep_alive_s);
        if v5 {
            self.properties.encode(&mut writer);
        }
        writer.binary(self.client_id.as_bytes());
        if let Some(will) = &self.will {
            if v5 {
                will.properties.encode(&mut writer);
            }
            writer.binary(will.topic);
            writer.binary(will.payload);
        }
        if let Some(username) = self.username {
            writer.binary(username.as_bytes());
        }
        if let Some(password) = self.password {
            writer.binary(password);
        }
        writer.finish()
    }

    fn flags(&self) -> u8 {
        let mut flags = if self.clean_start { FLAG_CLEAN_START } else { 0 };
        if let Some(will) = &self.will {
            flags |= FLAG_WILL | (will.qos as u8) << 3;
            if will.retain {
                flags |= FLAG_WILL_RETAIN;
            }
        }
        if self.username.is_some() {
            flags |= FLAG_USERNAME;
        }
        if self.password.is_some() {
            flags |= FLAG_PASSWORD;
        }
        flags
    }

    fn encoded_len(&self) -> usize {
        let v5 = self.version == Version::V5;
        let block = |properties: &Properties<'_>| if v5 { properties.encoded_len() } else { 0 };
        let will = self.will.as_ref().map_or(0, |will| {
            block(&will.properties) + 2 + will.topic.len() + 2 + will.payload.len()
        });
        2 + PROTOCOL_NAME.len()
            + 4
            + block(&self.properties)
            + 2
            + self.client_id.len()
            + will
            + self.username.map_or(0, |username| 2 + username.len())
            + self.password.map_or(0, |password| 2 + password.len())
    }
}

/// A CONNACK.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Connack<'a> {
    /// The server goes on with stored session state.
    pub session_present: bool,
    /// Reason code; in MQTT 3.1.1 its return codes 0 to 5.
    pub reason: ReasonCode,
    /// Properties; empty before MQTT 5.
    pub properties: Properties<'a>,
}

/// Largest return code of MQTT 3.1.1 (§3.2.2.3).
const RETURN_CODE_MAX: u8 = 5;

impl<'a> Connack<'a> {
    /// Parses a whole body.
    ///
    /// # Errors
    /// The packet is malformed.
    pub fn parse(version: Version, body: &'a [u8]) -> Result<Connack<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        let flags = reader.u8()?;
        if flags > 1 {
            return Err(DecodeError::BadFlags);
        }
        let reason = ReasonCode(reader.u8()?);
        let known = match version {
            Version::V3 => reason.0 <= RETURN_CODE_MAX,
            Version::V5 => reason.allowed_in(PacketType::Connack),
        };
        if !known {
            return Err(DecodeError::BadReason);
        }
        let properties = match version {
            Version::V3 => Properties::EMPTY,
            Version::V5 => Properties::parse(&mut reader, Owner::Connack)?,
        };
        reader.finish()?;
        Ok(Connack { session_present: flags == 1, reason, properties })
    }

    /// Writes the packet to the front of `out`; `None` when it does not fit.
    pub fn encode(&self, version: Version, out: &mut [u8]) -> Option<usize> {
        let block = match version {
            Version::V3 => 0,
            Version::V5 => self.properties.encoded_len(),
        };
        let mut writer = Writer::new(out);
        writer.fixed_header(PacketType::Connack.first_byte(), 2 + block);
        writer.u8(u8::from(self.session_present));
        writer.u8(self.reason.0);
        if version == Version::V5 {
            self.properties.encode(&mut writer);
        }
        writer.finish()
    }
}

/// A CONNACK that refuses. MQTT 3.1.1 has return codes of its own (§3.2.2.3).
pub fn refusal(version: Version, reason: ReasonCode) -> Connack<'static> {
    let reason = match version {
        Version::V3 => ReasonCode(match reason {
            ReasonCode::UNSUPPORTED_PROTOCOL_VERSION => 1,
            ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => 2,
            ReasonCode::BAD_USER_NAME_OR_PASSWORD => 4,
            ReasonCode::NOT_AUTHORIZED => 5,
            _ => 3,
        }),
        Version::V5 => reason,
    };
    Connack { session_present: false, reason, properties: Properties::EMPTY }
}
