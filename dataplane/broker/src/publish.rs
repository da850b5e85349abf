//! PUBLISH from a client: header, payload bit by bit, then routing and acknowledgement.

use superpage::NIL;

use crate::broker::Broker;
use crate::codec::{
    Ack, AckKind, FixedHeader, Property, PropertyWriter, PublishHeader, Qos, ReasonCode, Version,
};
use crate::feed::{Handled, Refusal, Step};
use crate::link::{Incoming, LinkState};
use crate::pending::{ACK_BYTES_MAX, PendingKind};
use crate::route::{Origin, Routed};
use crate::store::message::NewMessage;
use crate::store::queue::Delivery;
use crate::timers::after_seconds;
use crate::topic::name::{TopicError, TopicName};

/// What the properties of a PUBLISH mean to us; the rest is passed on.
#[derive(Clone, Copy, Debug)]
struct Noted {
    expires_at_ns: u64,
    alias: Option<u16>,
    /// Bytes to pass on, in the scratch buffer unless all of them are.
    forwarded: usize,
    all_forwarded: bool,
}

impl Broker {
    /// A PUBLISH begins. Takes everything before the payload.
    pub(crate) fn begin_publish(
        &mut self,
        now_ns: u64,
        link: u32,
        fixed: &FixedHeader,
        bytes: &[u8],
    ) -> Result<Step, Refusal> {
        let version = self.links[link].version();
        let body = &bytes[usize::from(fixed.header_bytes)..];
        let Some((header, header_bytes)) = PublishHeader::parse(version, fixed, body)? else {
            let too_long = body.len() >= self.config.limits.header_bytes_max as usize;
            return if too_long { Err(ReasonCode::PACKET_TOO_LARGE) } else { Ok(Step::Wait) };
        };
        if header_bytes > self.config.limits.header_bytes_max as usize {
            return Err(ReasonCode::PACKET_TOO_LARGE);
        }
        self.check_qos(link, version, &header)?;
        // MQTT 3.1.1 clients were told no Receive Maximum: they wait for their acknowledgements.
        let must_wait = header.qos != Qos::AtMostOnce && self.is_receive_maximum_reached(link);
        if must_wait || self.work(link).is_none() {
            self.park(link);
            return Ok(Step::Wait);
        }
        let payload_bytes = fixed.remaining_bytes - header_bytes as u32;
        self.start_message(now_ns, link, &header, payload_bytes)?;
        self.finish_incoming(now_ns, link);
        Ok(Step::Took(usize::from(fixed.header_bytes) + header_bytes))
    }

    fn check_qos(
        &mut self,
        link: u32,
        version: Version,
        header: &PublishHeader<'_>,
    ) -> Result<(), Refusal> {
        match header.qos {
            Qos::AtMostOnce => return Ok(()),
            Qos::AtLeastOnce => {}
            // We told Maximum QoS 1 (MQTT 5 §3.2.2.3.4).
            Qos::ExactlyOnce if version == Version::V5 => {
                return Err(ReasonCode::QOS_NOT_SUPPORTED);
            }
            Qos::ExactlyOnce => self.check_received(link, header.packet_id)?,
        }
        if version == Version::V5 && self.is_receive_maximum_reached(link) {
            return Err(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED);
        }
        Ok(())
    }

    /// The identifiers that a client has not released are bounded, and every one is looked for.
    fn check_received(&self, link: u32, packet_id: u16) -> Result<(), Refusal> {
        let received = &self.sessions[self.links[link].session].received;
        let full = received.len >= self.config.limits.session_queue_messages;
        if full && self.deliveries.find(received, packet_id).is_none() {
            return Err(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED);
        }
        Ok(())
    }

    /// Stores what is known of the message so far, with the link's work as its state.
    fn start_message(
        &mut self,
        now_ns: u64,
        link: u32,
        header: &PublishHeader<'_>,
        payload_bytes: u32,
    ) -> Result<(), Refusal> {
        let mut topic = std::mem::take(&mut self.scratch.topic);
        let mut properties = std::mem::take(&mut self.scratch.properties);
        let noted = note_properties(now_ns, header, &mut properties);
        let result = noted.and_then(|noted| {
            let len = self.resolve_topic(link, header, noted.alias, &mut topic)?;
            let name = if len == 0 { header.topic } else { &topic[..len] };
            TopicName::parse(name).map_err(topic_refusal)?;
            let new = NewMessage {
                topic: name,
                properties: if noted.all_forwarded {
                    header.properties.as_bytes()
                } else {
                    &properties[..noted.forwarded]
                },
                payload_bytes,
                qos: header.qos as u8,
                retain: header.retain,
                expires_at_ns: noted.expires_at_ns,
                publisher: self.links[link].session,
            };
            self.store_incoming(link, header, &new);
            Ok(())
        });
        self.scratch.topic = topic;
        self.scratch.properties = properties;
        result
    }

    /// The topic of a PUBLISH with an alias (MQTT 5 §3.3.2.3.4). Returns the length of the one
    /// copied to `into`, 0 when the packet has its own.
    fn resolve_topic(
        &mut self,
        link: u32,
        header: &PublishHeader<'_>,
        alias: Option<u16>,
        into: &mut [u8],
    ) -> Result<usize, Refusal> {
        let session = self.links[link].session;
        let Some(alias) = alias else {
            return if header.topic.is_empty() && self.links[link].version() == Version::V5 {
                Err(ReasonCode::PROTOCOL_ERROR)
            } else {
                Ok(0)
            };
        };
        if alias == 0 || alias > self.config.topic_alias_maximum {
            return Err(ReasonCode::TOPIC_ALIAS_INVALID);
        }
        if header.topic.is_empty() {
            return self.resolve_alias(session, alias, into).ok_or(ReasonCode::PROTOCOL_ERROR);
        }
        if TopicName::parse(header.topic).is_ok() && !self.set_alias(session, alias, header.topic) {
            return Err(ReasonCode::QUOTA_EXCEEDED);
        }
        Ok(0)
    }

    fn store_incoming(&mut self, link: u32, header: &PublishHeader<'_>, new: &NewMessage<'_>) {
        let (session, work) = (self.links[link].session, self.links[link].work);
        let received = &self.sessions[session].received;
        // MQTT 3.1.1 §4.3.3: a repeated QoS 2 publish is acknowledged again, not delivered again.
        let repeated = header.qos == Qos::ExactlyOnce
            && self.deliveries.find(received, header.packet_id).is_some();
        let message = if repeated { None } else { self.messages.begin(new) };
        let state = match message {
            Some(_) => Incoming::STATE_STORING,
            None if repeated => Incoming::STATE_REPEATED,
            None => Incoming::STATE_DISCARDING,
        };
        self.works[work].incoming = Incoming {
            message: message.unwrap_or(NIL),
            remaining: new.payload_bytes,
            packet_id: header.packet_id,
            qos: header.qos as u8,
            state,
        };
    }

    /// Takes payload of the PUBLISH at hand.
    pub(crate) fn take_payload(&mut self, now_ns: u64, link: u32, bytes: &[u8]) -> Step {
        let work = self.links[link].work;
        let incoming = &mut self.works[work].incoming;
        let len = bytes.len().min(incoming.remaining as usize);
        incoming.remaining -= len as u32;
        let message = incoming.message;
        if message != NIL && !self.messages.append_payload(message, &bytes[..len]) {
            self.discard_incoming(work);
        }
        self.finish_incoming(now_ns, link);
        Step::Took(len)
    }

    /// Routes and acknowledges the PUBLISH at hand once its payload is complete. When something it
    /// needs is full the link is parked, and this is called again.
    pub(crate) fn finish_incoming(&mut self, now_ns: u64, link: u32) {
        let record = &self.links[link];
        if record.state() != LinkState::Open || record.work == NIL {
            return;
        }
        let work = record.work;
        let mut incoming = self.works[work].incoming;
        if incoming.state == Incoming::STATE_NONE || incoming.remaining > 0 {
            return;
        }
        // It is not known when those will be read that fill the pool: their clients may be away.
        let no_room = self.deliveries.deliveries() == self.deliveries.capacity();
        if no_room && incoming.qos > 0 && incoming.state == Incoming::STATE_STORING {
            incoming = self.discard_incoming(work);
        }
        let handled = match incoming.state {
            Incoming::STATE_REPEATED => {
                self.acknowledge_incoming(now_ns, link, &incoming, ReasonCode::SUCCESS)
            }
            Incoming::STATE_DISCARDING => {
                self.acknowledge_incoming(now_ns, link, &incoming, ReasonCode::QUOTA_EXCEEDED)
            }
            _ => self.route_incoming(now_ns, link, &incoming),
        };
        match handled {
            Handled::Done => {
                self.count_incoming(&incoming);
                let work = self.links[link].work;
                if work != NIL {
                    self.drop_incoming(work);
                    self.rest(link);
                }
            }
            Handled::Park => self.park(link),
        }
    }

    fn count_incoming(&mut self, incoming: &Incoming) {
        self.counters.packets_in += 1;
        match incoming.qos() {
            Qos::AtMostOnce => self.counters.publish_in_qos0 += 1,
            Qos::AtLeastOnce => self.counters.publish_in_qos1 += 1,
            Qos::ExactlyOnce => self.counters.publish_in_qos2 += 1,
        }
        if incoming.state == Incoming::STATE_DISCARDING {
            self.counters.drop_in_store_full += 1;
        }
    }

    fn route_incoming(&mut self, now_ns: u64, link: u32, incoming: &Incoming) -> Handled {
        let Incoming { message, packet_id, .. } = *incoming;
        let kind = match incoming.qos() {
            Qos::AtMostOnce => {
                self.route(now_ns, message, None);
                return Handled::Done;
            }
            Qos::AtLeastOnce => PendingKind::Puback,
            Qos::ExactlyOnce => PendingKind::Pubrec,
        };
        // Whatever the acknowledgement will need is made sure of before anything is delivered.
        let room =
            self.can_answer(link, ACK_BYTES_MAX) && self.pending.len() < self.pending.capacity();
        if !room {
            return Handled::Park;
        }
        if kind == PendingKind::Pubrec {
            let session = self.links[link].session;
            let mut seen = Delivery::new(NIL, 0, 0, 0);
            seen.packet_id = packet_id;
            self.deliveries.push(&mut self.sessions[session].received, seen);
        }
        match self.route(now_ns, message, Some(Origin { link, packet_id, kind })) {
            Routed::Full => {
                self.forget_received(link, packet_id);
                Handled::Park
            }
            Routed::Waiting => Handled::Done,
            Routed::Done { reached } => {
                let none = !reached && self.links[link].version() == Version::V5;
                let reason =
                    if none { ReasonCode::NO_MATCHING_SUBSCRIBERS } else { ReasonCode::SUCCESS };
                self.acknowledge_incoming(now_ns, link, incoming, reason)
            }
        }
    }

    fn acknowledge_incoming(
        &mut self,
        now_ns: u64,
        link: u32,
        incoming: &Incoming,
        reason: ReasonCode,
    ) -> Handled {
        let kind = match incoming.qos() {
            Qos::AtMostOnce => return Handled::Done,
            Qos::AtLeastOnce => PendingKind::Puback,
            Qos::ExactlyOnce => PendingKind::Pubrec,
        };
        if self.is_unspeakable(link, reason) {
            self.close(now_ns, link);
            return Handled::Done;
        }
        if self.acknowledge(link, kind, incoming.packet_id, reason) {
            Handled::Done
        } else {
            Handled::Park
        }
    }

    /// The client will not repeat this QoS 2 publish any more (MQTT 3.1.1 §4.3.3).
    pub(crate) fn on_pubrel(&mut self, link: u32, packet_id: u16) -> Handled {
        let mut bytes = [0; ACK_BYTES_MAX];
        if !self.can_answer(link, bytes.len()) {
            return Handled::Park;
        }
        let known = self.forget_received(link, packet_id);
        let version = self.links[link].version();
        let reason = if known || version == Version::V3 {
            ReasonCode::SUCCESS
        } else {
            ReasonCode::PACKET_IDENTIFIER_NOT_FOUND
        };
        let pubcomp = Ack::new(AckKind::Pubcomp, packet_id, reason);
        let len = pubcomp.encode(version, &mut bytes).unwrap_or(0);
        self.answer(link, &bytes[..len]);
        Handled::Done
    }

    pub(crate) fn forget_received(&mut self, link: u32, packet_id: u16) -> bool {
        let session = self.links[link].session;
        let received = &mut self.sessions[session].received;
        self.deliveries.remove(received, packet_id).is_some()
    }

    /// Gives up the message of the PUBLISH at hand: its publisher will be told.
    fn discard_incoming(&mut self, work: u32) -> Incoming {
        let incoming = &mut self.works[work].incoming;
        self.messages.release(std::mem::replace(&mut incoming.message, NIL));
        incoming.state = Incoming::STATE_DISCARDING;
        *incoming
    }

    /// Drops the PUBLISH at hand.
    pub(crate) fn drop_incoming(&mut self, work: u32) {
        let incoming = std::mem::replace(&mut self.works[work].incoming, Incoming::NONE);
        if incoming.message != NIL {
            self.messages.release(incoming.message);
        }
    }
}

/// Reads the properties of a PUBLISH and copies those to pass on to `forward`, if not all are.
fn note_properties(
    now_ns: u64,
    header: &PublishHeader<'_>,
    forward: &mut [u8],
) -> Result<Noted, Refusal> {
    let mut noted = Noted { expires_at_ns: 0, alias: None, forwarded: 0, all_forwarded: true };
    let mut writer = PropertyWriter::new(forward);
    for (property, raw) in &header.properties {
        match property {
            Property::MessageExpiryInterval(seconds) => {
                noted.expires_at_ns = after_seconds(now_ns, seconds).max(1);
                noted.all_forwarded = false;
            }
            Property::TopicAlias(alias) => {
                noted.alias = Some(alias);
                noted.all_forwarded = false;
            }
            // MQTT 5 §3.3.4: a client does not send these.
            Property::SubscriptionIdentifier(_) => return Err(ReasonCode::PROTOCOL_ERROR),
            _ => writer.add_raw(raw),
        }
    }
    noted.forwarded = writer.finish().ok_or(ReasonCode::PACKET_TOO_LARGE)?;
    Ok(noted)
}

/// What bytes that are no topic name are answered with.
pub(crate) fn topic_refusal(error: TopicError) -> Refusal {
    match error {
        TopicError::NotUtf8 | TopicError::Nul | TopicError::TooLong => ReasonCode::MALFORMED_PACKET,
        TopicError::Empty
        | TopicError::TooManyLevels
        | TopicError::Wildcard
        | TopicError::Share => ReasonCode::TOPIC_NAME_INVALID,
    }
}
