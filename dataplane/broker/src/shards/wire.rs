//! What shards tell each other, as bytes.
//!
//! The rings between shards carry these encodings. They never leave the process, but they are
//! decoded like any input: what does not decode, or is about nothing there is, is counted and
//! ignored. Only the cursors of retained searches are taken as they come back.

use superpage::Handle;
use zerocopy::{FromBytes, IntoBytes};

use crate::codec::{DecodeError, Reader, Writer};
use crate::store::directory::Owner;
use crate::store::retained::RetainedCursor;

/// Payload bytes carried by one message at most; longer payloads follow in [`ShardMessage::Part`]s.
pub(crate) const PART_BYTES_MAX: usize = 16 << 10;

/// Bytes of a message without its texts (client id, topic, properties, filter, payload) at most.
pub(crate) const FIXED_BYTES_MAX: usize = 96;

/// One message from shard to shard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ShardMessage<'a> {
    /// To the home shard: a client with this id has connected to this session of the sender.
    Claim { token: Handle, of: SessionRef, client_id: &'a [u8] },
    /// The answer: it owns the id from now on. Its former owner, if any, still has the state.
    Granted { token: Handle, previous: Option<Owner> },
    /// The answer when the directory is full.
    ClaimRefused { token: Handle },
    /// To the home shard: the session of this epoch has ended.
    Release { epoch: u32, client_id: &'a [u8] },
    /// To the home shard: the session `of` there lives on in another one of the sender.
    Rehome { of: SessionRef, session: u32, client_id: &'a [u8] },
    /// The answer; not `ok` when the id has been claimed again.
    Rehomed { of: SessionRef, ok: bool },
    /// To the former owner: hand session `of` over to session `to`, or end it.
    TakeOver { token: Handle, of: SessionRef, to: SessionRef, clean_start: bool },
    /// The answer: there was no state to hand over.
    NothingToMove { token: Handle },
    /// The answer: not now, ask again.
    TakeOverLater { token: Handle },
    /// A part of the session's image.
    Image { token: Handle, record: &'a [u8] },
    /// A part of the image was sent: the first has the subscriptions, the second the deliveries. `of`
    /// is the session it is of.
    ImageSent { token: Handle, of: SessionRef },
    /// To the former owner: the subscriptions are in and routed to; the second part may follow.
    ImageTaken { of: SessionRef },
    /// A message with subscribers, or a retained message with its home, on the receiving shard.
    Publish { token: Handle, flags: u8, head: MessageHead<'a> },
    /// More payload of the message begun last.
    Part { bytes: &'a [u8] },
    /// The request with this token was carried out; `ok` is false when there was no room.
    Accepted { token: Handle, ok: bool },
    /// The sender has its first, or no longer any, subscriber of the topic with this hash.
    InterestExact { add: bool, hash: u64 },
    /// The same for a filter with wildcards.
    InterestWildcard { add: bool, filter: &'a [u8] },
    /// The sender could not tell all its filters: take it to be subscribed to everything.
    InterestAll,
    /// Asks for an [`ShardMessage::Accepted`] once everything before it was dealt with.
    Barrier { token: Handle },
    /// To a shard with retained messages: send those that match from `cursor` on, up to `budget`.
    RetainedQuery {
        token: Handle,
        to: SessionRef,
        budget: u16,
        grant: Grant,
        cursor: Option<RetainedCursor>,
        filter: &'a [u8],
    },
    /// The answer, after the deliveries: where to go on.
    RetainedDone { token: Handle, cursor: RetainedCursor },
    /// The query will not go on.
    RetainedEnd { cursor: RetainedCursor },
    /// A message for one session: a retained one, or one that came while the session moved.
    Delivery { to: SessionRef, grant: Grant, flags: u8, head: MessageHead<'a> },
}

/// A session on the receiving shard; stale ones are told by their epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionRef {
    pub(crate) session: u32,
    pub(crate) epoch: u32,
}

/// What a subscription says about its deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) qos: u8,
    /// Subscription Identifier; 0: none.
    pub(crate) identifier: u32,
}

/// A message up to and including the first part of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageHead<'a> {
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// On the clock all shards of a process share; 0: never.
    pub(crate) expires_at_ns: u64,
    pub(crate) topic: &'a [u8],
    pub(crate) properties: &'a [u8],
    /// Bytes of the whole payload.
    pub(crate) payload_bytes: u32,
    /// As much of it as is here.
    pub(crate) payload: &'a [u8],
}

/// Flags of [`ShardMessage::Publish`].
pub(crate) mod publish_flag {
    /// Deliver to subscribers.
    pub(crate) const DELIVER: u8 = 1;
    /// Keep as (or, with an empty payload, clear) the topic's retained message.
    pub(crate) const KEEP: u8 = 2;
    /// The publisher waits for [`super::ShardMessage::Accepted`].
    pub(crate) const ANSWER: u8 = 4;
}

impl<'a> MessageHead<'a> {
    /// Writes it; everything it contains is at the end of its message.
    pub(crate) fn encode(&self, writer: &mut Writer<'_>) {
        writer.u8(self.qos << 1 | u8::from(self.retain));
        put_u64(writer, self.expires_at_ns);
        writer.u32(self.payload_bytes);
        text(writer, self.topic);
        text(writer, self.properties);
        text(writer, self.payload);
    }

    /// Reads it.
    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<MessageHead<'a>, DecodeError> {
        let bits = reader.u8()?;
        let head = MessageHead {
            qos: bits >> 1,
            retain: bits & 1 != 0,
            expires_at_ns: get_u64(reader)?,
            payload_bytes: reader.u32()?,
            topic: get_text(reader)?,
            properties: get_text(reader)?,
            payload: get_text(reader)?,
        };
        if head.qos > 2 || head.payload.len() > head.payload_bytes as usize {
            return Err(DecodeError::BadFlags);
        }
        Ok(head)
    }

    /// Bytes of its texts.
    pub(crate) fn text_bytes(&self) -> usize {
        self.topic.len() + self.properties.len() + self.payload.len()
    }
}

const CLAIM: u8 = 1;
const GRANTED: u8 = 2;
const CLAIM_REFUSED: u8 = 3;
const RELEASE: u8 = 4;
const REHOME: u8 = 5;
const TAKE_OVER: u8 = 6;
const NOTHING_TO_MOVE: u8 = 7;
const IMAGE: u8 = 8;
const IMAGE_TAKEN: u8 = 9;
const PUBLISH: u8 = 10;
const PART: u8 = 11;
const ACCEPTED: u8 = 12;
const INTEREST_EXACT: u8 = 13;
const INTEREST_WILDCARD: u8 = 14;
const BARRIER: u8 = 15;
const RETAINED_QUERY: u8 = 16;
const RETAINED_DONE: u8 = 17;
const RETAINED_END: u8 = 18;
const DELIVERY: u8 = 19;
const TAKE_OVER_LATER: u8 = 20;
const INTEREST_ALL: u8 = 21;
const REHOMED: u8 = 22;
const IMAGE_SENT: u8 = 23;

impl<'a> ShardMessage<'a> {
    /// Bytes it takes at most.
    pub(crate) fn bytes_max(&self) -> usize {
        FIXED_BYTES_MAX
            + match self {
                ShardMessage::Claim { client_id, .. }
                | ShardMessage::Release { client_id, .. }
                | ShardMessage::Rehome { client_id, .. } => client_id.len(),
                ShardMessage::Image { record, .. } => record.len(),
                ShardMessage::Part { bytes } => bytes.len(),
                ShardMessage::InterestWildcard { filter, .. }
                | ShardMessage::RetainedQuery { filter, .. } => filter.len(),
                ShardMessage::Publish { head, .. } | ShardMessage::Delivery { head, .. } => {
                    head.text_bytes()
                }
                _ => 0,
            }
    }

    /// Whether it answers a request, or is as short and rare, and so may use what is reserved for
    /// answers.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(
            self,
            ShardMessage::Granted { .. }
                | ShardMessage::ClaimRefused { .. }
                | ShardMessage::Rehomed { .. }
                | ShardMessage::TakeOver { .. }
                | ShardMessage::NothingToMove { .. }
                | ShardMessage::TakeOverLater { .. }
                | ShardMessage::ImageTaken { .. }
                | ShardMessage::Accepted { .. }
                | ShardMessage::RetainedDone { .. }
                | ShardMessage::RetainedEnd { .. }
                | ShardMessage::Barrier { .. }
        )
    }

    /// Writes it to the front of `out`; `None` when it does not fit.
    pub(crate) fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let mut writer = Writer::new(out);
        let w = &mut writer;
        match *self {
            ShardMessage::Claim { token, of, client_id } => {
                w.u8(CLAIM);
                put_handle(w, token);
                put_session(w, of);
                text(w, client_id);
            }
            ShardMessage::Granted { token, previous } => {
                w.u8(GRANTED);
                put_handle(w, token);
                w.u8(u8::from(previous.is_some()));
                if let Some(owner) = previous {
                    w.u16(owner.shard);
                    w.u32(owner.session);
                    w.u32(owner.epoch);
                }
            }
            ShardMessage::ClaimRefused { token } => {
                w.u8(CLAIM_REFUSED);
                put_handle(w, token);
            }
            ShardMessage::Release { epoch, client_id } => {
                w.u8(RELEASE);
                w.u32(epoch);
                text(w, client_id);
            }
            ShardMessage::Rehome { of, session, client_id } => {
                w.u8(REHOME);
                put_session(w, of);
                w.u32(session);
                text(w, client_id);
            }
            ShardMessage::Rehomed { of, ok } => {
                w.u8(REHOMED);
                put_session(w, of);
                w.u8(u8::from(ok));
            }
            _ => self.encode_move(w),
        }
        writer.finish()
    }

    /// The messages of a take-over.
    fn encode_move(&self, w: &mut Writer<'_>) {
        match *self {
            ShardMessage::TakeOver { token, of, to, clean_start } => {
                w.u8(TAKE_OVER);
                put_handle(w, token);
                put_session(w, of);
                put_session(w, to);
                w.u8(u8::from(clean_start));
            }
            ShardMessage::NothingToMove { token } => {
                w.u8(NOTHING_TO_MOVE);
                put_handle(w, token);
            }
            ShardMessage::TakeOverLater { token } => {
                w.u8(TAKE_OVER_LATER);
                put_handle(w, token);
            }
            ShardMessage::Image { token, record } => {
                w.u8(IMAGE);
                put_handle(w, token);
                text(w, record);
            }
            ShardMessage::ImageSent { token, of } => {
                w.u8(IMAGE_SENT);
                put_handle(w, token);
                put_session(w, of);
            }
            ShardMessage::ImageTaken { of } => {
                w.u8(IMAGE_TAKEN);
                put_session(w, of);
            }
            _ => self.encode_data(w),
        }
    }

    /// The messages that have to do with topics rather than with client ids.
    fn encode_data(&self, w: &mut Writer<'_>) {
        match *self {
            ShardMessage::Publish { token, flags, head } => {
                w.u8(PUBLISH);
                put_handle(w, token);
                w.u8(flags);
                head.encode(w);
            }
            ShardMessage::Part { bytes } => {
                w.u8(PART);
                text(w, bytes);
            }
            ShardMessage::Accepted { token, ok } => {
                w.u8(ACCEPTED);
                put_handle(w, token);
                w.u8(u8::from(ok));
            }
            ShardMessage::InterestExact { add, hash } => {
                w.u8(INTEREST_EXACT);
                w.u8(u8::from(add));
                put_u64(w, hash);
            }
            ShardMessage::InterestWildcard { add, filter } => {
                w.u8(INTEREST_WILDCARD);
                w.u8(u8::from(add));
                text(w, filter);
            }
            ShardMessage::InterestAll => w.u8(INTEREST_ALL),
            ShardMessage::Barrier { token } => {
                w.u8(BARRIER);
                put_handle(w, token);
            }
            ShardMessage::RetainedQuery { token, to, budget, grant, cursor, filter } => {
                w.u8(RETAINED_QUERY);
                put_handle(w, token);
                put_session(w, to);
                w.u16(budget);
                put_grant(w, grant);
                w.u8(u8::from(cursor.is_some()));
                if let Some(cursor) = cursor {
                    put_cursor(w, cursor);
                }
                text(w, filter);
            }
            ShardMessage::RetainedDone { token, cursor } => {
                w.u8(RETAINED_DONE);
                put_handle(w, token);
                put_cursor(w, cursor);
            }
            ShardMessage::RetainedEnd { cursor } => {
                w.u8(RETAINED_END);
                put_cursor(w, cursor);
            }
            ShardMessage::Delivery { to, grant, flags, head } => {
                w.u8(DELIVERY);
                put_session(w, to);
                put_grant(w, grant);
                w.u8(flags);
                head.encode(w);
            }
            _ => {}
        }
    }

    /// Reads one.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<ShardMessage<'a>, DecodeError> {
        let mut reader = Reader::new(bytes);
        let r = &mut reader;
        let message = match r.u8()? {
            CLAIM => ShardMessage::Claim {
                token: get_handle(r)?,
                of: get_session(r)?,
                client_id: get_text(r)?,
            },
            GRANTED => ShardMessage::Granted {
                token: get_handle(r)?,
                previous: match r.u8()? {
                    0 => None,
                    _ => Some(Owner { shard: r.u16()?, session: r.u32()?, epoch: r.u32()? }),
                },
            },
            CLAIM_REFUSED => ShardMessage::ClaimRefused { token: get_handle(r)? },
            RELEASE => ShardMessage::Release { epoch: r.u32()?, client_id: get_text(r)? },
            REHOME => ShardMessage::Rehome {
                of: get_session(r)?,
                session: r.u32()?,
                client_id: get_text(r)?,
            },
            REHOMED => ShardMessage::Rehomed { of: get_session(r)?, ok: r.u8()? != 0 },
            TAKE_OVER => ShardMessage::TakeOver {
                token: get_handle(r)?,
                of: get_session(r)?,
                to: get_session(r)?,
                clean_start: r.u8()? != 0,
            },
            NOTHING_TO_MOVE => ShardMessage::NothingToMove { token: get_handle(r)? },
            TAKE_OVER_LATER => ShardMessage::TakeOverLater { token: get_handle(r)? },
            IMAGE => ShardMessage::Image { token: get_handle(r)?, record: get_text(r)? },
            IMAGE_SENT => ShardMessage::ImageSent { token: get_handle(r)?, of: get_session(r)? },
            IMAGE_TAKEN => ShardMessage::ImageTaken { of: get_session(r)? },
            kind => ShardMessage::decode_data(kind, r)?,
        };
        reader.finish()?;
        Ok(message)
    }

    fn decode_data(kind: u8, r: &mut Reader<'a>) -> Result<ShardMessage<'a>, DecodeError> {
        Ok(match kind {
            PUBLISH => ShardMessage::Publish {
                token: get_handle(r)?,
                flags: r.u8()?,
                head: MessageHead::decode(r)?,
            },
            PART => ShardMessage::Part { bytes: get_text(r)? },
            ACCEPTED => ShardMessage::Accepted { token: get_handle(r)?, ok: r.u8()? != 0 },
            INTEREST_EXACT => ShardMessage::InterestExact { add: r.u8()? != 0, hash: get_u64(r)? },
            INTEREST_WILDCARD => {
                ShardMessage::InterestWildcard { add: r.u8()? != 0, filter: get_text(r)? }
            }
            INTEREST_ALL => ShardMessage::InterestAll,
            BARRIER => ShardMessage::Barrier { token: get_handle(r)? },
            RETAINED_QUERY => ShardMessage::RetainedQuery {
                token: get_handle(r)?,
                to: get_session(r)?,
                budget: r.u16()?,
                grant: get_grant(r)?,
                cursor: if r.u8()? == 0 { None } else { Some(get_cursor(r)?) },
                filter: get_text(r)?,
            },
            RETAINED_DONE => {
                ShardMessage::RetainedDone { token: get_handle(r)?, cursor: get_cursor(r)? }
            }
            RETAINED_END => ShardMessage::RetainedEnd { cursor: get_cursor(r)? },
            DELIVERY => ShardMessage::Delivery {
                to: get_session(r)?,
                grant: get_grant(r)?,
                flags: r.u8()?,
                head: MessageHead::decode(r)?,
            },
            _ => return Err(DecodeError::BadType),
        })
    }
}

/// Bytes with a length of four bytes: properties may be longer than two can tell.
pub(crate) fn text(writer: &mut Writer<'_>, bytes: &[u8]) {
    writer.u32(bytes.len() as u32);
    writer.put(bytes);
}

/// Reads what [`text`] wrote.
pub(crate) fn get_text<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let len = reader.u32()?;
    reader.take(len as usize)
}

pub(crate) fn put_u64(writer: &mut Writer<'_>, value: u64) {
    writer.put(&value.to_be_bytes());
}

pub(crate) fn get_u64(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let high = reader.u32()?;
    let low = reader.u32()?;
    Ok(u64::from(high) << 32 | u64::from(low))
}

fn put_handle(writer: &mut Writer<'_>, handle: Handle) {
    writer.u32(handle.index);
    writer.u32(handle.generation);
}

fn get_handle(reader: &mut Reader<'_>) -> Result<Handle, DecodeError> {
    Ok(Handle { index: reader.u32()?, generation: reader.u32()? })
}

fn put_session(writer: &mut Writer<'_>, to: SessionRef) {
    writer.u32(to.session);
    writer.u32(to.epoch);
}

fn get_session(reader: &mut Reader<'_>) -> Result<SessionRef, DecodeError> {
    Ok(SessionRef { session: reader.u32()?, epoch: reader.u32()? })
}

fn put_grant(writer: &mut Writer<'_>, grant: Grant) {
    writer.u8(grant.qos);
    writer.u32(grant.identifier);
}

fn get_grant(reader: &mut Reader<'_>) -> Result<Grant, DecodeError> {
    Ok(Grant { qos: reader.u8()?, identifier: reader.u32()? })
}

fn put_cursor(writer: &mut Writer<'_>, cursor: RetainedCursor) {
    writer.put(cursor.as_bytes());
}

fn get_cursor(reader: &mut Reader<'_>) -> Result<RetainedCursor, DecodeError> {
    let bytes = reader.take(size_of::<RetainedCursor>())?;
    RetainedCursor::read_from_bytes(bytes).map_err(|_| DecodeError::Truncated)
}
