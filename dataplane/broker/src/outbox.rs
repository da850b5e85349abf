//! Output: answers and deliveries of a link become bytes in the transport's buffer.
//!
//! A message is written straight from the message store; one that does not fit is gone on with in
//! the next call. Its header is made again then, so what it says must not change: the expiry told
//! is kept in [`Sending`].

use superpage::NIL;

use crate::broker::{Broker, NANOS_PER_SECOND};
use crate::codec::field::varint_bytes;
use crate::codec::{PacketType, Property, PropertyWriter, ReasonCode, Version, Writer};
use crate::link::{LinkState, Sending, flag};
use crate::session::flag as session_flag;
use crate::store::message::MessageId;
use crate::store::queue::{DELIVERY_DUP, DELIVERY_RETAIN, Delivery};

/// How a transport connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Close {
    /// After everything written was sent.
    Graceful,
    /// At once.
    Abort,
}

/// What [`Broker::fill`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fill {
    /// Bytes written to the front of the buffer.
    pub written: usize,
    /// There is more: call [`Broker::mark_ready`] when the transport has room again.
    pub more: bool,
    /// The connection is over after these bytes; the link id is dead.
    pub close: Option<Close>,
}

pub(crate) const PINGRESP: [u8; 2] = [(PacketType::Pingresp as u8) << 4, 0];

/// A PUBLISH about to be written, measured.
#[derive(Clone, Copy, Debug)]
struct Outgoing {
    version: Version,
    topic_bytes: usize,
    /// Properties of this receiver: Subscription Identifier, Message Expiry Interval.
    own_bytes: usize,
    /// Properties passed on from the publisher.
    passed_bytes: usize,
    payload_bytes: usize,
    qos: u8,
}

impl Outgoing {
    fn properties_bytes(&self) -> usize {
        match self.version {
            Version::V3 => 0,
            Version::V5 => {
                let block = self.own_bytes + self.passed_bytes;
                varint_bytes(block as u32) + block
            }
        }
    }

    fn remaining(&self) -> usize {
        let packet_id = if self.qos == 0 { 0 } else { 2 };
        2 + self.topic_bytes + packet_id + self.properties_bytes() + self.payload_bytes
    }

    fn packet_bytes(&self) -> usize {
        1 + varint_bytes(self.remaining() as u32) + self.remaining()
    }
}

/// Writes the part of a packet that starts `skip` bytes into it, as far as there is room.
struct Window<'a> {
    out: &'a mut [u8],
    at: usize,
    skip: usize,
}

impl Window<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.put_with(bytes.len(), |offset, room| {
            room.copy_from_slice(&bytes[offset..offset + room.len()]);
        });
    }

    /// A piece of `len` bytes; `read` copies from an offset in it.
    fn put_with(&mut self, len: usize, read: impl FnOnce(usize, &mut [u8])) {
        let offset = self.skip.min(len);
        self.skip -= offset;
        let room = (len - offset).min(self.out.len() - self.at);
        if room > 0 {
            read(offset, &mut self.out[self.at..self.at + room]);
            self.at += room;
        }
    }
}

impl Broker {
    /// Writes what a link has to send to `out`. See [`Fill`].
    pub fn fill(&mut self, now_ns: u64, link: u32, out: &mut [u8]) -> Fill {
        self.now_ns = now_ns;
        let record = &mut self.links[link];
        record.clear(flag::BLOCKED);
        if record.has(flag::ABORT) {
            self.free_link(link);
            return Fill { written: 0, more: false, close: Some(Close::Abort) };
        }
        if record.has(flag::QUOTA) {
            record.clear(flag::QUOTA);
            if record.state() == LinkState::Open {
                self.refuse(now_ns, link, ReasonCode::QUOTA_EXCEEDED);
                self.run_own_messages(now_ns);
            }
        }
        let mut written = 0;
        let more = !self.fill_all(now_ns, link, out, &mut written);
        if more {
            self.links[link].set(flag::BLOCKED);
        } else if self.links[link].state() == LinkState::Closing {
            self.free_link(link);
            return Fill { written, more: false, close: Some(Close::Graceful) };
        } else {
            self.rest(link);
        }
        Fill { written, more, close: None }
    }

    /// `true` when everything was written.
    fn fill_all(&mut self, now_ns: u64, link: u32, out: &mut [u8], at: &mut usize) -> bool {
        if !self.go_on_sending(link, out, at) {
            return false;
        }
        let work = self.links[link].work;
        if work != NIL {
            let queue = &mut self.works[work].output;
            *at += queue.pop_into(&mut self.output, &mut out[*at..]);
            if !queue.is_empty() {
                return false;
            }
            if self.links[link].has(flag::CORKED) {
                self.links[link].clear(flag::CORKED);
                self.resume(link);
            }
            let (written, more) = self.write_acks(now_ns, link, &mut out[*at..]);
            *at += written;
            if more {
                return false;
            }
        }
        if self.links[link].has(flag::PING_DUE) {
            let Some(now) = self.write_short(link, &PINGRESP, &mut out[*at..]) else {
                return false;
            };
            *at += now;
            self.counters.packets_out += 1;
            self.links[link].clear(flag::PING_DUE);
            if now < PINGRESP.len() {
                return false;
            }
        }
        self.links[link].state() != LinkState::Open || self.send_deliveries(now_ns, link, out, at)
    }

    /// Writes a short packet, and keeps what does not fit for the next time. `None` when that cannot
    /// be kept; nothing is written then.
    pub(crate) fn write_short(
        &mut self,
        link: u32,
        packet: &[u8],
        out: &mut [u8],
    ) -> Option<usize> {
        let now = packet.len().min(out.len());
        if now < packet.len() {
            let work = self.work(link)?;
            if !self.works[work].output.push(&mut self.output, &packet[now..]) {
                return None;
            }
        }
        out[..now].copy_from_slice(&packet[..now]);
        Some(now)
    }

    /// Sends from the session's queues until these, the client's Receive Maximum or `out` end.
    fn send_deliveries(&mut self, now_ns: u64, link: u32, out: &mut [u8], at: &mut usize) -> bool {
        let session = self.links[link].session;
        loop {
            if *at == out.len() {
                return !self.has_deliverable(session);
            }
            let Some(delivery) = self.next_delivery(now_ns, session) else { return true };
            let Some(sending) = self.begin_sending(now_ns, link, &delivery) else {
                self.park(link);
                return true;
            };
            if !self.write_publish(link, sending, out, at) {
                return false;
            }
        }
    }

    fn has_deliverable(&self, session: u32) -> bool {
        let record = &self.sessions[session];
        record.waiting_qos0.len > 0
            || (record.waiting.len > 0 && record.in_flight.len < u32::from(record.receive_maximum))
    }

    /// The next delivery that is to be sent, without taking it out. Those that are not to be sent
    /// any more go.
    fn next_delivery(&mut self, now_ns: u64, session: u32) -> Option<Delivery> {
        loop {
            let record = &mut self.sessions[session];
            let window = record.in_flight.len < u32::from(record.receive_maximum);
            let queue = match self.deliveries.first(&record.waiting) {
                Some(_) if window => &mut record.waiting,
                _ => &mut record.waiting_qos0,
            };
            let delivery = *self.deliveries.get(self.deliveries.first(queue)?);
            let expires_at_ns = self.messages.get(delivery.message).expires_at_ns;
            // MQTT 5 §3.3.2.3.3: what was sent before is gone on with, expired or not.
            let expired = expires_at_ns != 0 && expires_at_ns <= now_ns && delivery.packet_id == 0;
            let packet_bytes = self.measure(session, &delivery, expires_at_ns).packet_bytes();
            let too_large = packet_bytes > self.sessions[session].packet_bytes_max as usize;
            if !expired && !too_large {
                return Some(delivery);
            }
            if expired {
                self.counters.drop_expired += 1;
            } else {
                self.counters.drop_too_large += 1;
            }
            let record = &mut self.sessions[session];
            let queue =
                if delivery.qos == 0 { &mut record.waiting_qos0 } else { &mut record.waiting };
            self.deliveries.pop(queue);
            self.messages.release(delivery.message);
        }
    }

    fn version_of(&self, session: u32) -> Version {
        let link = self.sessions[session].link;
        if link == NIL { Version::V3 } else { self.links[link].version() }
    }

    fn measure(&self, session: u32, delivery: &Delivery, expires_at_ns: u64) -> Outgoing {
        let identifier = delivery.subscription_identifier;
        let own_identifier = if identifier == 0 { 0 } else { 1 + varint_bytes(identifier) };
        let own_expiry = if expires_at_ns == 0 { 0 } else { EXPIRY_BYTES };
        self.outgoing(
            self.version_of(session),
            delivery.message,
            delivery.qos,
            own_identifier + own_expiry,
        )
    }

    fn outgoing(
        &self,
        version: Version,
        message: MessageId,
        qos: u8,
        own_bytes: usize,
    ) -> Outgoing {
        Outgoing {
            version,
            topic_bytes: self.messages.topic_len(message),
            own_bytes,
            passed_bytes: self.messages.properties_len(message),
            payload_bytes: self.messages.get(message).payload_bytes as usize,
            qos,
        }
    }

    /// Takes the delivery that [`Broker::next_delivery`] showed out of its queue; QoS 1 goes into
    /// flight. `None` when there is no work to remember it in.
    fn begin_sending(&mut self, now_ns: u64, link: u32, delivery: &Delivery) -> Option<Sending> {
        self.work(link)?;
        let session = self.links[link].session;
        let expires_at_ns = self.messages.get(delivery.message).expires_at_ns;
        let mut packet_id = delivery.packet_id;
        if delivery.qos == 0 {
            self.deliveries.pop(&mut self.sessions[session].waiting_qos0);
        } else {
            if packet_id == 0 {
                packet_id = self.next_packet_id(session);
            } else {
                self.counters.publish_resent += 1;
            }
            let record = &mut self.sessions[session];
            let index = self.deliveries.move_first(&mut record.waiting, &mut record.in_flight)?;
            self.deliveries.get_mut(index).packet_id = packet_id;
            self.messages.retain(delivery.message);
        }
        self.counters.dequeued += 1;
        let flags = u8::from(delivery.flags & DELIVERY_RETAIN != 0)
            | u8::from(delivery.flags & DELIVERY_DUP != 0) << 3
            | delivery.qos << 1;
        Some(Sending {
            message: delivery.message,
            subscription_identifier: delivery.subscription_identifier,
            expiry_s: expiry_seconds(now_ns, expires_at_ns),
            offset: 0,
            cursor: self.messages.payload_start(delivery.message),
            packet_id,
            first_byte: (PacketType::Publish as u8) << 4 | flags,
            reserved: 0,
        })
    }

    /// A packet identifier not in flight. They are given in order, so one can only still be in
    /// flight once all 65,535 were used while something was.
    fn next_packet_id(&mut self, session: u32) -> u16 {
        let record = &mut self.sessions[session];
        if record.in_flight.len == 0 {
            record.flags &= !session_flag::IDS_WRAPPED;
        }
        loop {
            let packet_id = record.next_packet_id;
            record.next_packet_id = packet_id.checked_add(1).unwrap_or(1);
            if packet_id == u16::MAX {
                record.flags |= session_flag::IDS_WRAPPED;
            }
            if !record.has(session_flag::IDS_WRAPPED)
                || self.deliveries.find(&record.in_flight, packet_id).is_none()
            {
                return packet_id;
            }
        }
    }

    /// Goes on with a packet of which a part was sent. `true` when nothing is left of it.
    fn go_on_sending(&mut self, link: u32, out: &mut [u8], at: &mut usize) -> bool {
        let work = self.links[link].work;
        if work == NIL || self.works[work].sending.message == NIL {
            return true;
        }
        let sending = std::mem::replace(&mut self.works[work].sending, Sending::NONE);
        self.write_publish(link, sending, out, at)
    }

    /// Writes as much of a PUBLISH as there is room for. What is left becomes the link's `sending`.
    fn write_publish(
        &mut self,
        link: u32,
        mut sending: Sending,
        out: &mut [u8],
        at: &mut usize,
    ) -> bool {
        let mut own = [0; OWN_BYTES_MAX];
        let own_bytes = own_properties(&sending, &mut own);
        let qos = sending.first_byte >> 1 & 3;
        let version = self.links[link].version();
        let outgoing = self.outgoing(version, sending.message, qos, own_bytes);
        let before = *at;
        let header_bytes = outgoing.packet_bytes() - outgoing.payload_bytes;
        if (sending.offset as usize) < header_bytes {
            let skip = sending.offset as usize;
            let mut window = Window { out, at: *at, skip };
            self.write_header(&sending, &outgoing, &own[..own_bytes], &mut window);
            *at = window.at;
        }
        let written = sending.offset as usize + (*at - before);
        if written >= header_bytes {
            let left = outgoing.payload_bytes - (written - header_bytes);
            let room = left.min(out.len() - *at);
            *at += self.messages.read_payload_next(
                sending.message,
                &mut sending.cursor,
                &mut out[*at..*at + room],
            );
        }
        sending.offset += (*at - before) as u32;
        if (sending.offset as usize) < outgoing.packet_bytes() {
            let work = self.links[link].work;
            self.works[work].sending = sending;
            return false;
        }
        self.messages.release(sending.message);
        self.counters.packets_out += 1;
        match qos {
            0 => self.counters.publish_out_qos0 += 1,
            _ => self.counters.publish_out_qos1 += 1,
        }
        true
    }

    /// Everything before the payload (MQTT 5 §3.3).
    fn write_header(
        &self,
        sending: &Sending,
        outgoing: &Outgoing,
        own: &[u8],
        window: &mut Window<'_>,
    ) {
        let mut head = [0; HEAD_BYTES_MAX];
        let mut writer = Writer::new(&mut head);
        writer.fixed_header(sending.first_byte, outgoing.remaining());
        writer.u16(outgoing.topic_bytes as u16);
        let len = writer.written();
        window.put(&head[..len]);

        window.put_with(outgoing.topic_bytes, |offset, room| {
            self.messages.read_topic_from(sending.message, offset, room);
        });

        let mut writer = Writer::new(&mut head);
        if outgoing.qos > 0 {
            writer.u16(sending.packet_id);
        }
        if outgoing.version == Version::V5 {
            writer.varint((outgoing.own_bytes + outgoing.passed_bytes) as u32);
        }
        let len = writer.written();
        window.put(&head[..len]);
        if outgoing.version == Version::V5 {
            window.put(own);
            window.put_with(outgoing.passed_bytes, |offset, room| {
                self.messages.read_properties(sending.message, offset, room);
            });
        }
    }

    /// Drops the PUBLISH of which a part was sent.
    pub(crate) fn drop_sending(&mut self, work: u32) {
        let sending = std::mem::replace(&mut self.works[work].sending, Sending::NONE);
        if sending.message != NIL {
            self.messages.release(sending.message);
        }
    }
}

/// Fixed header and topic length; packet identifier and property length are shorter.
const HEAD_BYTES_MAX: usize = 7;
/// Message Expiry Interval as a property.
const EXPIRY_BYTES: usize = 5;
/// Message Expiry Interval and Subscription Identifier.
const OWN_BYTES_MAX: usize = EXPIRY_BYTES + 5;
/// Stands for "does not expire" in [`Sending::expiry_s`].
const NO_EXPIRY: u32 = u32::MAX;

fn own_properties(sending: &Sending, into: &mut [u8]) -> usize {
    let mut writer = PropertyWriter::new(into);
    if sending.expiry_s != NO_EXPIRY {
        writer.add(Property::MessageExpiryInterval(sending.expiry_s));
    }
    if sending.subscription_identifier != 0 {
        writer.add(Property::SubscriptionIdentifier(sending.subscription_identifier));
    }
    writer.written()
}

/// What is left of a message's life, as the receiver is told (MQTT 5 §3.3.2.3.3).
fn expiry_seconds(now_ns: u64, expires_at_ns: u64) -> u32 {
    if expires_at_ns == 0 {
        return NO_EXPIRY;
    }
    let left_s = expires_at_ns.saturating_sub(now_ns).div_ceil(NANOS_PER_SECOND);
    u32::try_from(left_s).unwrap_or(NO_EXPIRY - 1).min(NO_EXPIRY - 1)
}
