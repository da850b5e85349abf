//! The image of a session: its state as bytes, in one versioned encoding.
//!
//! An image is a sequence of records; each can be made and taken in by itself, so that a session of
//! any size moves bit by bit. What its client says anew with every CONNECT is not part of it. Where
//! an image ends is told by what carries it.

use crate::codec::{DecodeError, Reader, Writer};
use crate::shards::wire::{MessageHead, get_text, text};
use crate::topic::index::SubscriptionOptions;

/// Version of the encoding. One that is not known is not taken in.
pub(crate) const IMAGE_VERSION: u8 = 1;

/// A piece of a session's state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ImageRecord<'a> {
    /// The first record.
    Session { next_packet_id: u16 },
    /// A subscription.
    Subscription { options: SubscriptionOptions, filter: &'a [u8] },
    /// A QoS 2 publish was taken and not yet released by the client.
    Received { packet_id: u16 },
    /// A queued delivery. With a packet identifier it was sent before. When the payload is longer
    /// than one part, the rest follows outside the image.
    Delivery { packet_id: u16, qos: u8, flags: u8, identifier: u32, head: MessageHead<'a> },
}

const SESSION: u8 = 1;
const SUBSCRIPTION: u8 = 2;
const RECEIVED: u8 = 3;
const DELIVERY: u8 = 4;

const NO_LOCAL: u8 = 1;
const RETAIN_AS_PUBLISHED: u8 = 2;

impl<'a> ImageRecord<'a> {
    /// Writes it to the front of `out`; `None` when it does not fit.
    pub(crate) fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out);
        let w = &mut writer;
        match *self {
            ImageRecord::Session { next_packet_id } => {
                w.u8(SESSION);
                w.u8(IMAGE_VERSION);
                w.u16(next_packet_id);
            }
            ImageRecord::Subscription { options, filter } => {
                let SubscriptionOptions { qos, no_local, retain_as_published, identifier } =
                    options;
                w.u8(SUBSCRIPTION);
                w.u8(qos);
                w.u8(if no_local { NO_LOCAL } else { 0 }
                    | if retain_as_published { RETAIN_AS_PUBLISHED } else { 0 });
                w.u32(identifier);
                text(w, filter);
            }
            ImageRecord::Received { packet_id } => {
                w.u8(RECEIVED);
                w.u16(packet_id);
            }
            ImageRecord::Delivery { packet_id, qos, flags, identifier, head } => {
                w.u8(DELIVERY);
                w.u16(packet_id);
                w.u8(qos);
                w.u8(flags);
                w.u32(identifier);
                head.encode(w);
            }
        }
        writer.finish()
    }

    /// Reads one.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<ImageRecord<'a>, DecodeError> {
        let mut reader = Reader::new(bytes);
        let r = &mut reader;
        let record = match r.u8()? {
            SESSION => {
                if r.u8()? != IMAGE_VERSION {
                    return Err(DecodeError::UnsupportedVersion);
                }
                ImageRecord::Session { next_packet_id: r.packet_id()? }
            }
            SUBSCRIPTION => {
                let qos = r.u8()?;
                let flags = r.u8()?;
                let options = SubscriptionOptions {
                    qos,
                    no_local: flags & NO_LOCAL != 0,
                    retain_as_published: flags & RETAIN_AS_PUBLISHED != 0,
                    identifier: r.u32()?,
                };
                ImageRecord::Subscription { options, filter: get_text(r)? }
            }
            RECEIVED => ImageRecord::Received { packet_id: r.packet_id()? },
            DELIVERY => ImageRecord::Delivery {
                packet_id: r.u16()?,
                qos: r.u8()?,
                flags: r.u8()?,
                identifier: r.u32()?,
                head: MessageHead::decode(r)?,
            },
            _ => return Err(DecodeError::BadType),
        };
        reader.finish()?;
        Ok(record)
    }
}
