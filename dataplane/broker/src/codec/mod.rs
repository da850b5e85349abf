//! The MQTT 3.1.1 and 5.0 wire format, zero-copy in both directions.
//!
//! * [`fixed`]: the fixed header, the only thing known before the version matters.
//! * [`field`]: integers, strings and binary data; `Reader` and `Writer`.
//! * [`property`]: MQTT 5 properties. A block is validated once, whole, when its packet is parsed;
//!   afterwards it is iterated lazily without an error path.
//! * [`connect`], [`publish`], [`ack`], [`subscribe`], [`disconnect`]: one view per packet family,
//!   borrowed from the receive buffer, which can also be encoded into a caller's buffer.
//!
//! Whoever holds one of these views holds a packet that is well formed. Topic names and filters are
//! the exception: they are handed out as raw bytes, because `TopicName` and `TopicFilter` check them
//! (UTF-8 included) when they become types.
//!
//! Differential tests hold all of it against a codec by other people (`tests/codec`). It is stricter
//! where the specification says MUST NOT; each difference is named there.

pub mod ack;
pub mod connect;
pub mod disconnect;
pub mod field;
pub mod fixed;
pub mod property;
pub mod publish;
pub mod reason;
pub mod subscribe;

pub use ack::{Ack, AckKind};
pub use connect::{Connack, Connect, Will};
pub use disconnect::{Auth, Disconnect};
pub use field::{Reader, Writer};
pub use fixed::{FixedHeader, PacketType};
pub use property::{Owner, Properties, Property, PropertyWriter};
pub use publish::{Publish, PublishHeader};
pub use reason::ReasonCode;
pub use subscribe::{FilterIter, ReasonList, Subscribe, SubscribeOptions, Unsubscribe};

/// Protocol version of a connection, settled by its CONNECT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V3,
    /// MQTT 5.0, protocol level 5.
    V5,
}

/// Quality of service (MQTT 5 §4.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Qos {
    /// At most once.
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

impl Qos {
    /// The level written in two bits; 3 is malformed.
    pub fn from_bits(bits: u8) -> Option<Qos> {
        match bits {
            0 => Some(Qos::AtMostOnce),
            1 => Some(Qos::AtLeastOnce),
            2 => Some(Qos::ExactlyOnce),
            _ => None,
        }
    }
}

/// Why bytes are no packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes at hand end before the packet does; only incremental parsers meet it.
    #[error("more bytes are needed")]
    Incomplete,
    /// A field runs past the end of its packet or property block.
    #[error("a field runs past the end of the packet")]
    Truncated,
    /// Bytes are left after the last field.
    #[error("bytes left after the last field")]
    TrailingBytes,
    /// A variable byte integer of more than four bytes, or not in its shortest form (§1.5.5).
    #[error("bad variable byte integer")]
    BadVarint,
    /// A string that is no UTF-8 or contains U+0000 (§1.5.4).
    #[error("bad UTF-8 string")]
    BadUtf8,
    /// Packet type 0, or AUTH before MQTT 5.
    #[error("unknown packet type")]
    BadType,
    /// Reserved bits that are not as the specification fixes them.
    #[error("reserved bits are wrong")]
    BadFlags,
    /// QoS 3, or DUP on QoS 0.
    #[error("bad QoS")]
    BadQos,
    /// Packet identifier 0 where one is needed (§2.2.1).
    #[error("packet identifier 0")]
    ZeroPacketId,
    /// A property identifier that is unknown or does not belong in this packet.
    #[error("property does not belong here")]
    BadProperty,
    /// A property that may stand once stands twice.
    #[error("property stands twice")]
    DuplicateProperty,
    /// A property with a value that the specification excludes.
    #[error("bad property value")]
    BadPropertyValue,
    /// A reason code this packet cannot carry.
    #[error("bad reason code")]
    BadReason,
    /// SUBSCRIBE or UNSUBSCRIBE without a topic filter.
    #[error("no topic filter")]
    NoFilters,
    /// A protocol name that is not `MQTT`.
    #[error("not MQTT")]
    BadProtocolName,
    /// A protocol level other than 4 and 5.
    #[error("unsupported protocol level")]
    UnsupportedVersion,
    /// Authentication data without a method (§3.1.2.11.10).
    #[error("authentication data without a method")]
    AuthDataAlone,
}

impl DecodeError {
    /// The MQTT 5 reason code this error is answered with (§4.13).
    pub fn reason(self) -> ReasonCode {
        match self {
            DecodeError::ZeroPacketId
            | DecodeError::DuplicateProperty
            | DecodeError::BadPropertyValue
            | DecodeError::NoFilters
            | DecodeError::AuthDataAlone => ReasonCode::PROTOCOL_ERROR,
            DecodeError::BadProtocolName | DecodeError::UnsupportedVersion => {
                ReasonCode::UNSUPPORTED_PROTOCOL_VERSION
            }
            DecodeError::Incomplete
            | DecodeError::Truncated
            | DecodeError::TrailingBytes
            | DecodeError::BadVarint
            | DecodeError::BadUtf8
            | DecodeError::BadType
            | DecodeError::BadFlags
            | DecodeError::BadQos
            | DecodeError::BadProperty
            | DecodeError::BadReason => ReasonCode::MALFORMED_PACKET,
        }
    }
}
