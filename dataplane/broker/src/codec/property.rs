//! Properties (MQTT 5 §2.2.2).
//!
//! [`Properties::parse`] checks a whole block against the table of the packet it stands in:
//! identifiers, types, values, and that what may stand once does. The iterator afterwards is lazy.

use super::{DecodeError, Reader, Writer, field};

/// Where a property block stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "packet names; Will is the will's block inside CONNECT")]
pub enum Owner {
    Connect = 1 << 0,
    Connack = 1 << 1,
    Publish = 1 << 2,
    /// PUBACK, PUBREC, PUBREL and PUBCOMP.
    Ack = 1 << 3,
    Subscribe = 1 << 4,
    /// SUBACK and UNSUBACK.
    Suback = 1 << 5,
    Unsubscribe = 1 << 6,
    Disconnect = 1 << 7,
    Auth = 1 << 8,
    Will = 1 << 9,
}

/// One property with its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are those of the specification's table 2-4")]
pub enum Property<'a> {
    PayloadFormatIndicator(u8),
    /// Seconds.
    MessageExpiryInterval(u32),
    ContentType(&'a str),
    ResponseTopic(&'a str),
    CorrelationData(&'a [u8]),
    SubscriptionIdentifier(u32),
    /// Seconds; `u32::MAX` never expires.
    SessionExpiryInterval(u32),
    AssignedClientIdentifier(&'a str),
    /// Seconds.
    ServerKeepAlive(u16),
    AuthenticationMethod(&'a str),
    AuthenticationData(&'a [u8]),
    RequestProblemInformation(bool),
    /// Seconds.
    WillDelayInterval(u32),
    RequestResponseInformation(bool),
    ResponseInformation(&'a str),
    ServerReference(&'a str),
    ReasonString(&'a str),
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    TopicAlias(u16),
    MaximumQos(u8),
    RetainAvailable(bool),
    UserProperty(&'a str, &'a str),
    /// Bytes.
    MaximumPacketSize(u32),
    WildcardSubscriptionAvailable(bool),
    SubscriptionIdentifierAvailable(bool),
    SharedSubscriptionAvailable(bool),
}

const USER_PROPERTY: u8 = 38;
const SUBSCRIPTION_IDENTIFIER: u8 = 11;

impl<'a> Property<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<(u8, Property<'a>), DecodeError> {
        // The identifier is a variable byte integer, but every one defined fits one byte.
        let id = reader.varint()?;
        let id = u8::try_from(id).map_err(|_| DecodeError::BadProperty)?;
        let property = match id {
            1 => Property::PayloadFormatIndicator(reader.u8()?),
            2 => Property::MessageExpiryInterval(reader.u32()?),
            3 => Property::ContentType(reader.string()?),
            8 => Property::ResponseTopic(reader.string()?),
            9 => Property::CorrelationData(reader.binary()?),
            SUBSCRIPTION_IDENTIFIER => Property::SubscriptionIdentifier(reader.varint()?),
            17 => Property::SessionExpiryInterval(reader.u32()?),
            18 => Property::AssignedClientIdentifier(reader.string()?),
            19 => Property::ServerKeepAlive(reader.u16()?),
            21 => Property::AuthenticationMethod(reader.string()?),
            22 => Property::AuthenticationData(reader.binary()?),
            23 => Property::RequestProblemInformation(flag(reader)?),
            24 => Property::WillDelayInterval(reader.u32()?),
            25 => Property::RequestResponseInformation(flag(reader)?),
            26 => Property::ResponseInformation(reader.string()?),
            28 => Property::ServerReference(reader.string()?),
            31 => Property::ReasonString(reader.string()?),
            33 => Property::ReceiveMaximum(reader.u16()?),
            34 => Property::TopicAliasMaximum(reader.u16()?),
            35 => Property::TopicAlias(reader.u16()?),
            36 => Property::MaximumQos(reader.u8()?),
            37 => Property::RetainAvailable(flag(reader)?),
            USER_PROPERTY => Property::UserProperty(reader.string()?, reader.string()?),
            39 => Property::MaximumPacketSize(reader.u32()?),
            40 => Property::WildcardSubscriptionAvailable(flag(reader)?),
            41 => Property::SubscriptionIdentifierAvailable(flag(reader)?),
            42 => Property::SharedSubscriptionAvailable(flag(reader)?),
            _ => return Err(DecodeError::BadProperty),
        };
        Ok((id, property))
    }

    /// Values that the specification excludes for a property by itself. Topic Alias 0 is left to the
    /// receiver, who answers it with a reason code of its own.
    fn check_value(&self) -> Result<(), DecodeError> {
        match self {
            Property::SubscriptionIdentifier(0)
            | Property::ReceiveMaximum(0)
            | Property::MaximumPacketSize(0) => Err(DecodeError::BadPropertyValue),
            Property::MaximumQos(qos) | Property::PayloadFormatIndicator(qos) if *qos > 1 => {
                Err(DecodeError::BadPropertyValue)
            }
            // §3.3.2.3.5: a Response Topic is a topic name.
            Property::ResponseTopic(topic) if topic.contains(['+', '#']) => {
                Err(DecodeError::BadPropertyValue)
            }
            _ => Ok(()),
        }
    }

    fn write(&self, writer: &mut Writer<'_>) {
        let id = self.id();
        writer.u8(id);
        match *self {
            Property::PayloadFormatIndicator(value) | Property::MaximumQos(value) => {
                writer.u8(value);
            }
            Property::MessageExpiryInterval(value)
            | Property::SessionExpiryInterval(value)
            | Property::WillDelayInterval(value)
            | Property::MaximumPacketSize(value) => writer.u32(value),
            Property::ContentType(value)
            | Property::ResponseTopic(value)
            | Property::AssignedClientIdentifier(value)
            | Property::AuthenticationMethod(value)
            | Property::ResponseInformation(value)
            | Property::ServerReference(value)
            | Property::ReasonString(value) => writer.binary(value.as_bytes()),
            Property::CorrelationData(value) | Property::AuthenticationData(value) => {
                writer.binary(value);
            }
            Property::SubscriptionIdentifier(value) => writer.varint(value),
            Property::ServerKeepAlive(value)
            | Property::ReceiveMaximum(value)
            | Property::TopicAliasMaximum(value)
            | Property::TopicAlias(value) => writer.u16(value),
            Property::RequestProblemInformation(value)
            | Property::RequestResponseInformation(value)
            | Property::RetainAvailable(value)
            | Property::WildcardSubscriptionAvailable(value)
            | Property::SubscriptionIdentifierAvailable(value)
            | Property::SharedSubscriptionAvailable(value) => writer.u8(u8::from(value)),
            Property::UserProperty(name, value) => {
                writer.binary(name.as_bytes());
                writer.binary(value.as_bytes());
            }
        }
    }

    fn id(&self) -> u8 {
        match self {
            Property::PayloadFormatIndicator(_) => 1,
            Property::MessageExpiryInterval(_) => 2,
            Property::ContentType(_) => 3,
            Property::ResponseTopic(_) => 8,
            Property::CorrelationData(_) => 9,
            Property::SubscriptionIdentifier(_) => SUBSCRIPTION_IDENTIFIER,
            Property::SessionExpiryInterval(_) => 17,
            Property::AssignedClientIdentifier(_) => 18,
            Property::ServerKeepAlive(_) => 19,
            Property::AuthenticationMethod(_) => 21,
            Property::AuthenticationData(_) => 22,
            Property::RequestProblemInformation(_) => 23,
            Property::WillDelayInterval(_) => 24,
            Property::RequestResponseInformation(_) => 25,
            Property::ResponseInformation(_) => 26,
            Property::ServerReference(_) => 28,
            Property::ReasonString(_) => 31,
            Property::ReceiveMaximum(_) => 33,
            Property::TopicAliasMaximum(_) => 34,
            Property::TopicAlias(_) => 35,
            Property::MaximumQos(_) => 36,
            Property::RetainAvailable(_) => 37,
            Property::UserProperty(..) => USER_PROPERTY,
            Property::MaximumPacketSize(_) => 39,
            Property::WildcardSubscriptionAvailable(_) => 40,
            Property::SubscriptionIdentifierAvailable(_) => 41,
            Property::SharedSubscriptionAvailable(_) => 42,
        }
    }
}

/// A byte that may only be 0 or 1; another value is a Protocol Error for each of these properties.
fn flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::BadPropertyValue),
    }
}

/// Which blocks a property may stand in (table 2-4), as a set of [`Owner`] bits.
fn owners_of(id: u8) -> u16 {
    use Owner::{Ack, Auth, Connack, Connect, Disconnect, Publish, Suback, Subscribe};
    let owners: &[Owner] = match id {
        1 | 2 | 3 | 8 | 9 => &[Publish, Owner::Will],
        SUBSCRIPTION_IDENTIFIER => &[Publish, Subscribe],
        17 => &[Connect, Connack, Disconnect],
        18 | 19 | 26 | 36 | 37 | 40 | 41 | 42 => &[Connack],
        21 | 22 => &[Connect, Connack, Auth],
        23 | 25 => &[Connect],
        24 => &[Owner::Will],
        28 => &[Connack, Disconnect],
        31 => &[Connack, Ack, Suback, Disconnect, Auth],
        33 | 34 | 39 => &[Connect, Connack],
        35 => &[Publish],
        USER_PROPERTY => return u16::MAX,
        _ => &[],
    };
    owners.iter().fold(0, |set, owner| set | *owner as u16)
}

/// A property block that was checked. Iterating it cannot fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Properties<'a> {
    bytes: &'a [u8],
}

impl<'a> Properties<'a> {
    /// The block without a property.
    pub const EMPTY: Properties<'static> = Properties { bytes: &[] };

    /// Reads the length and the block off `reader` and checks all of it.
    ///
    /// # Errors
    /// Whatever is wrong with it; [`DecodeError::Incomplete`] when the block is not all here.
    pub fn parse(reader: &mut Reader<'a>, owner: Owner) -> Result<Properties<'a>, DecodeError> {
        let len = reader.varint()?;
        Properties::check(reader.take(len as usize)?, owner)
    }

    /// Checks the inside of a block.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub fn check(bytes: &'a [u8], owner: Owner) -> Result<Properties<'a>, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut seen = 0u64;
        let mut has_method = false;
        let mut has_data = false;
        while !reader.is_empty() {
            let (id, property) = Property::read(&mut reader)?;
            if owners_of(id) & owner as u16 == 0 {
                return Err(DecodeError::BadProperty);
            }
            property.check_value()?;
            // User properties may be repeated anywhere; Subscription Identifiers only in a PUBLISH
            // that a server sends, and what a client may send is the receiver's to say.
            let repeatable =
                id == USER_PROPERTY || (id == SUBSCRIPTION_IDENTIFIER && owner == Owner::Publish);
            if !repeatable && seen & (1 << id) != 0 {
                return Err(DecodeError::DuplicateProperty);
            }
            seen |= 1 << id;
            has_method |= matches!(property, Property::AuthenticationMethod(_));
            has_data |= matches!(property, Property::AuthenticationData(_));
        }
        if has_data && !has_method {
            return Err(DecodeError::AuthDataAlone);
        }
        Ok(Properties { bytes })
    }

    /// The properties one by one, each with its bytes as they stand on the wire.
    pub fn iter(&self) -> PropertyIter<'a> {
        PropertyIter { reader: Reader::new(self.bytes) }
    }

    /// The block without its length.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of the block with its length.
    pub fn encoded_len(&self) -> usize {
        field::varint_bytes(self.bytes.len() as u32) + self.bytes.len()
    }

    /// Writes length and block.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        writer.varint(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        writer.put(self.bytes);
    }
}

impl<'a> IntoIterator for &Properties<'a> {
    type Item = (Property<'a>, &'a [u8]);
    type IntoIter = PropertyIter<'a>;

    fn into_iter(self) -> PropertyIter<'a> {
        self.iter()
    }
}

/// Iterates a checked block: each property and its own bytes.
#[derive(Clone, Debug)]
pub struct PropertyIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for PropertyIter<'a> {
    type Item = (Property<'a>, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let before = self.reader.clone().rest();
        let (_, property) = Property::read(&mut self.reader).ok()?;
        Some((property, &before[..before.len() - self.reader.remaining()]))
    }
}

/// Builds a property block in a caller's buffer.
#[derive(Debug)]
pub struct PropertyWriter<'b> {
    writer: Writer<'b>,
}

impl<'b> PropertyWriter<'b> {
    /// Writes to the front of `buffer`.
    pub fn new(buffer: &'b mut [u8]) -> PropertyWriter<'b> {
        PropertyWriter { writer: Writer::new(buffer) }
    }

    /// Adds one property.
    pub fn add(&mut self, property: Property<'_>) {
        property.write(&mut self.writer);
    }

    /// Adds a property's bytes as [`PropertyIter`] gave them.
    pub fn add_raw(&mut self, bytes: &[u8]) {
        self.writer.put(bytes);
    }

    /// Bytes of the block so far, without its length.
    pub fn written(&self) -> usize {
        self.writer.written()
    }

    /// Bytes of the block, without its length; `None` when it did not fit.
    pub fn finish(self) -> Option<usize> {
        self.writer.finish()
    }
}

/// A block that [`PropertyWriter`] wrote, as a value to encode. The writer only writes well-formed
/// properties; that they belong into the packet is the caller's care.
pub fn written(bytes: &[u8]) -> Properties<'_> {
    Properties { bytes }
}
