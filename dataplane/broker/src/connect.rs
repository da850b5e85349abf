//! CONNECT: checked here, then answered by the home shard of the client id.
//!
//! The order is: session record → claim to the home shard → grant → take-over of the former state,
//! if any → CONNACK. Packets behind the CONNECT are not taken before it is answered. It is the same
//! path when the home is this shard.

use std::io::Write;

use superpage::NIL;

use crate::broker::{Broker, NANOS_PER_SECOND};
use crate::codec::{
    Connack, Connect, Property, PropertyWriter, Qos, ReasonCode, Version, Will, connect, property,
};
use crate::feed::{Handled, Refusal};
use crate::lifecycle::Leave;
use crate::link::LinkState;
use crate::publish::topic_refusal;
use crate::session::{Session, SessionState, flag};
use crate::shards::wire::FIXED_BYTES_MAX;
use crate::store::message::{MessageId, NewMessage};
use crate::topic::name::TopicName;

/// What a CONNECT's properties ask for.
#[derive(Clone, Copy, Debug)]
struct Wishes {
    expiry_s: u32,
    receive_maximum: u16,
    packet_bytes_max: u32,
    authentication: bool,
}

impl Broker {
    /// A CONNECT has come as the first packet.
    pub(crate) fn on_connect(
        &mut self,
        now_ns: u64,
        link: u32,
        body: &[u8],
    ) -> Result<Handled, Refusal> {
        let packet = match Connect::parse(body) {
            Ok(packet) => packet,
            Err(error) => {
                let version = spoken_version(body);
                self.refuse_connect(now_ns, link, version, error.reason());
                return Ok(Handled::Done);
            }
        };
        match self.begin_session(now_ns, link, &packet) {
            Ok(handled) => Ok(handled),
            Err(reason) => {
                self.refuse_connect(now_ns, link, Some(packet.version), reason);
                Ok(Handled::Done)
            }
        }
    }

    /// Answers a CONNECT with a refusal, if the client can understand one, and closes.
    fn refuse_connect(
        &mut self,
        now_ns: u64,
        link: u32,
        version: Option<Version>,
        reason: ReasonCode,
    ) {
        self.counters.connects_refused += 1;
        if let Some(version) = version {
            let mut bytes = [0; REFUSAL_BYTES_MAX];
            let len = connect::refusal(version, reason).encode(version, &mut bytes).unwrap_or(0);
            self.answer(link, &bytes[..len]);
        }
        self.close(now_ns, link);
    }

    fn begin_session(
        &mut self,
        now_ns: u64,
        link: u32,
        packet: &Connect<'_>,
    ) -> Result<Handled, Refusal> {
        let wishes = read_wishes(packet);
        if wishes.authentication {
            return Err(ReasonCode::BAD_AUTHENTICATION_METHOD);
        }
        if !self.config.allow_anonymous {
            return Err(ReasonCode::NOT_AUTHORIZED);
        }
        let mut made_up = [0; ASSIGNED_ID_BYTES];
        let assigned = packet.client_id.is_empty();
        // MQTT 3.1.1 §3.1.3.1: without an identifier only with Clean Session.
        if assigned && packet.version == Version::V3 && !packet.clean_start {
            return Err(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
        }
        let client_id = if assigned {
            self.make_up_client_id(now_ns, &mut made_up)
        } else {
            packet.client_id.as_bytes()
        };
        let home = self.shard_of(self.secret.hash(client_id));
        let claim_bytes = client_id.len() + FIXED_BYTES_MAX;
        let claims_full = self.claims.len() == self.claims.capacity();
        if claims_full || !self.has_room_for(home, claim_bytes) || self.work(link).is_none() {
            return Ok(Handled::Park);
        }
        let mut session = self.session_for(link, packet, &wishes, assigned);
        session.epoch = self.new_epoch();
        if let Some(will) = &packet.will {
            session.will = self.store_will(packet.version, will, &mut session.will_delay_s)?;
        }
        let session = self.insert_session(session, client_id)?;
        let keep_alive_s = self.keep_alive_for(packet);
        let record = &mut self.links[link];
        record.session = session;
        record.level = if packet.version == Version::V5 { 5 } else { 4 };
        record.state = LinkState::Claiming as u8;
        record.keep_alive_s = keep_alive_s;
        self.rearm_link(now_ns, link);
        self.claim(home, session, client_id);
        Ok(Handled::Done)
    }

    fn session_for(
        &self,
        link: u32,
        packet: &Connect<'_>,
        wishes: &Wishes,
        assigned: bool,
    ) -> Session {
        let longest_s = self.config.timers.session_expiry_max_s;
        let wanted_s = match (packet.version, packet.clean_start) {
            (Version::V5, _) => wishes.expiry_s,
            (Version::V3, true) => 0,
            (Version::V3, false) => longest_s,
        };
        let set = |condition: bool, flag: u8| if condition { flag } else { 0 };
        Session {
            link,
            expiry_s: wanted_s.min(longest_s),
            receive_maximum: wishes.receive_maximum.min(self.config.limits.inflight),
            packet_bytes_max: wishes.packet_bytes_max,
            flags: set(packet.clean_start, flag::CLEAN_START)
                | set(assigned, flag::ASSIGNED_ID)
                | set(wanted_s > longest_s, flag::EXPIRY_CHANGED)
                | set(self.keep_alive_for(packet) != packet.keep_alive_s, flag::KEEP_ALIVE_CHANGED),
            ..Session::NEW
        }
    }

    fn keep_alive_for(&self, packet: &Connect<'_>) -> u16 {
        let longest_s = self.config.timers.keep_alive_max_s;
        match packet.keep_alive_s {
            // Only MQTT 5 has a way to tell the client of a Keep Alive other than its own.
            asked_s if packet.version == Version::V3 || longest_s == u16::MAX => asked_s,
            0 => longest_s,
            asked_s => asked_s.min(longest_s),
        }
    }

    /// A client id nobody else has: 64 bits of keyed hash over shard, time and a count.
    fn make_up_client_id<'a>(
        &mut self,
        now_ns: u64,
        into: &'a mut [u8; ASSIGNED_ID_BYTES],
    ) -> &'a [u8] {
        self.ids_assigned += 1;
        let mut seed = [0; 18];
        seed[..2].copy_from_slice(&self.config.shard.to_be_bytes());
        seed[2..10].copy_from_slice(&now_ns.to_be_bytes());
        seed[10..].copy_from_slice(&self.ids_assigned.to_be_bytes());
        let hash = self.secret.hash(&seed);
        let mut rest = &mut into[..];
        let written = write!(rest, "tl-{:02x}-{hash:016x}", self.config.shard);
        debug_assert!(written.is_ok() && rest.is_empty(), "the buffer is as long as the text");
        into
    }

    fn store_will(
        &mut self,
        version: Version,
        will: &Will<'_>,
        delay_s: &mut u32,
    ) -> Result<MessageId, Refusal> {
        TopicName::parse(will.topic).map_err(topic_refusal)?;
        if version == Version::V5 && will.qos > Qos::AtLeastOnce {
            return Err(ReasonCode::QOS_NOT_SUPPORTED);
        }
        let mut properties = std::mem::take(&mut self.scratch.properties);
        let mut writer = PropertyWriter::new(&mut properties);
        let mut interval_ns = 0;
        for (property, raw) in &will.properties {
            match property {
                Property::WillDelayInterval(seconds) => *delay_s = seconds,
                Property::MessageExpiryInterval(seconds) => interval_ns = interval(seconds),
                _ => writer.add_raw(raw),
            }
        }
        let written = writer.finish();
        let message = written.and_then(|len| {
            self.messages.begin(&NewMessage {
                topic: will.topic,
                properties: &properties[..len],
                payload_bytes: will.payload.len() as u32,
                qos: will.qos as u8,
                retain: will.retain,
                expires_at_ns: interval_ns,
                publisher: NIL,
            })
        });
        self.scratch.properties = properties;
        let message = message.ok_or(ReasonCode::QUOTA_EXCEEDED)?;
        if !self.messages.append_payload(message, will.payload) {
            self.messages.release(message);
            return Err(ReasonCode::QUOTA_EXCEEDED);
        }
        Ok(message)
    }

    fn insert_session(&mut self, mut session: Session, client_id: &[u8]) -> Result<u32, Refusal> {
        let will = session.will;
        if let Some(name) = self.names.put(client_id) {
            session.client_id = name;
            if let Some(index) = self.sessions.insert(session) {
                return Ok(index);
            }
            self.names.release(name);
        }
        if will != NIL {
            self.messages.release(will);
        }
        Err(ReasonCode::QUOTA_EXCEEDED)
    }

    /// The session is this shard's and has all its state: the client, if it still waits, is told.
    pub(crate) fn establish(&mut self, now_ns: u64, session: u32, session_present: bool) {
        self.connected += 1;
        let record = &mut self.sessions[session];
        record.set_state(SessionState::Online);
        let link = record.link;
        if session_present {
            // What waits to be sent again has identifiers of any age.
            record.flags |= flag::IDS_WRAPPED;
            self.counters.sessions_resumed += 1;
        } else {
            self.counters.sessions_created += 1;
        }
        if link == NIL {
            self.connected -= 1;
            self.detach(now_ns, session, Leave::Lost);
            return;
        }
        self.links[link].state = LinkState::Open as u8;
        self.counters.connects += 1;
        let mut properties = [0; CONNACK_PROPERTIES_MAX];
        let mut id = [0; ASSIGNED_ID_BYTES];
        let len = self.connack_properties(link, session, &mut id, &mut properties);
        let connack = Connack {
            session_present,
            reason: ReasonCode::SUCCESS,
            properties: property::written(&properties[..len]),
        };
        let mut bytes = [0; CONNACK_PROPERTIES_MAX + REFUSAL_BYTES_MAX];
        let len = connack.encode(self.links[link].version(), &mut bytes).unwrap_or(0);
        if !self.answer(link, &bytes[..len]) {
            self.close(now_ns, link);
            return;
        }
        self.rearm_link(now_ns, link);
        self.resume(link);
    }

    fn connack_properties(
        &self,
        link: u32,
        session: u32,
        id: &mut [u8; ASSIGNED_ID_BYTES],
        into: &mut [u8],
    ) -> usize {
        let record = &self.sessions[session];
        let mut writer = PropertyWriter::new(into);
        if record.has(flag::EXPIRY_CHANGED) {
            writer.add(Property::SessionExpiryInterval(record.expiry_s));
        }
        writer.add(Property::ReceiveMaximum(self.config.receive_maximum));
        writer.add(Property::MaximumQos(Qos::AtLeastOnce as u8));
        writer.add(Property::MaximumPacketSize(self.config.limits.packet_bytes_max));
        if record.has(flag::ASSIGNED_ID) {
            let len = self.names.read(record.client_id, 0, id);
            let text = std::str::from_utf8(&id[..len]).unwrap_or_default();
            writer.add(Property::AssignedClientIdentifier(text));
        }
        if self.config.topic_alias_maximum > 0 {
            writer.add(Property::TopicAliasMaximum(self.config.topic_alias_maximum));
        }
        if record.has(flag::KEEP_ALIVE_CHANGED) {
            writer.add(Property::ServerKeepAlive(self.links[link].keep_alive_s));
        }
        writer.add(Property::SharedSubscriptionAvailable(false));
        writer.finish().unwrap_or(0)
    }
}

/// A will's expiry interval as its message holds it: never 0, which stands for none.
fn interval(seconds: u32) -> u64 {
    (u64::from(seconds) * NANOS_PER_SECOND).max(1)
}

/// `tl-` shard `-` hash, in hexadecimal.
const ASSIGNED_ID_BYTES: usize = 22;
/// A CONNACK without properties.
const REFUSAL_BYTES_MAX: usize = 5;
/// The sum of every property a CONNACK of ours may have, each with its identifier.
const CONNACK_PROPERTIES_MAX: usize = 5 + 3 + 2 + 5 + (3 + ASSIGNED_ID_BYTES) + 3 + 3 + 2;

fn read_wishes(packet: &Connect<'_>) -> Wishes {
    let mut wishes = Wishes {
        expiry_s: 0,
        receive_maximum: u16::MAX,
        packet_bytes_max: u32::MAX,
        authentication: false,
    };
    for (property, _) in &packet.properties {
        match property {
            Property::SessionExpiryInterval(seconds) => wishes.expiry_s = seconds,
            Property::ReceiveMaximum(maximum) => wishes.receive_maximum = maximum,
            Property::MaximumPacketSize(bytes) => wishes.packet_bytes_max = bytes,
            Property::AuthenticationMethod(_) => wishes.authentication = true,
            _ => {}
        }
    }
    wishes
}

/// The version in which to refuse a CONNECT that could not be parsed: by its protocol level, if it
/// has got one. Newer versions than ours are answered in ours (MQTT 5 §3.1.2.2).
fn spoken_version(body: &[u8]) -> Option<Version> {
    let (name, rest) = body.split_at_checked(PROTOCOL_NAME.len())?;
    let is_mqtt = name == PROTOCOL_NAME;
    match rest.first()? {
        level if is_mqtt && *level >= 5 => Some(Version::V5),
        _ if is_mqtt => Some(Version::V3),
        // MQTT 3.1 calls itself otherwise; its CONNACK is that of 3.1.1.
        _ if body.starts_with(OLD_PROTOCOL_NAME) => Some(Version::V3),
        _ => None,
    }
}

const PROTOCOL_NAME: &[u8] = b"\x00\x04MQTT";
const OLD_PROTOCOL_NAME: &[u8] = b"\x00\x06MQIsdp";
