//! Packets as a client sees and makes them, owned.

use broker::codec::{
    Ack, AckKind, Connack, Connect, Disconnect, FixedHeader, PacketType, Properties, Property,
    PropertyWriter, Publish, PublishHeader, Qos, ReasonCode, ReasonList, Subscribe,
    SubscribeOptions, Unsubscribe, Version, Will, property,
};

/// A packet a client has received.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Packet {
    Connack {
        session_present: bool,
        reason: u8,
        properties: Vec<Prop>,
    },
    Publish {
        topic: String,
        payload: Vec<u8>,
        qos: u8,
        packet_id: u16,
        retain: bool,
        dup: bool,
        properties: Vec<Prop>,
    },
    Ack {
        kind: AckKind,
        packet_id: u16,
        reason: u8,
    },
    Suback {
        packet_id: u16,
        reasons: Vec<u8>,
    },
    Unsuback {
        packet_id: u16,
        reasons: Vec<u8>,
    },
    Pingresp,
    Disconnect {
        reason: u8,
    },
}

/// A property, owned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Prop(pub(crate) String);

impl Prop {
    pub(crate) fn of(property: Property<'_>) -> Prop {
        Prop(format!("{property:?}"))
    }
}

fn props(properties: &Properties<'_>) -> Vec<Prop> {
    properties.iter().map(|(property, _)| Prop::of(property)).collect()
}

/// Decodes all whole packets; returns them and the bytes they take.
pub(crate) fn decode_all(version: Version, bytes: &[u8]) -> (Vec<Packet>, usize) {
    let mut at = 0;
    let mut packets = Vec::new();
    while let Some(fixed) =
        FixedHeader::parse(&bytes[at..]).expect("a header of ours is well formed")
    {
        fixed.check_version(version).expect("a header of ours fits its version");
        let Some(packet) = bytes.get(at..at + fixed.packet_bytes()) else { break };
        packets.push(decode(version, &fixed, &packet[usize::from(fixed.header_bytes)..]));
        at += fixed.packet_bytes();
    }
    (packets, at)
}

fn decode(version: Version, fixed: &FixedHeader, body: &[u8]) -> Packet {
    match fixed.kind {
        PacketType::Connack => {
            let packet = Connack::parse(version, body).expect("CONNACK");
            Packet::Connack {
                session_present: packet.session_present,
                reason: packet.reason.0,
                properties: props(&packet.properties),
            }
        }
        PacketType::Publish => {
            let Publish { header, payload } =
                Publish::parse(version, fixed.flags, body).expect("PUBLISH");
            Packet::Publish {
                topic: String::from_utf8(header.topic.to_vec()).expect("a topic"),
                payload: payload.to_vec(),
                qos: header.qos as u8,
                packet_id: header.packet_id,
                retain: header.retain,
                dup: header.dup,
                properties: props(&header.properties),
            }
        }
        PacketType::Puback => ack(version, AckKind::Puback, body),
        PacketType::Pubrec => ack(version, AckKind::Pubrec, body),
        PacketType::Pubcomp => ack(version, AckKind::Pubcomp, body),
        PacketType::Suback => {
            let list = ReasonList::parse(version, PacketType::Suback, body).expect("SUBACK");
            Packet::Suback { packet_id: list.packet_id, reasons: list.reasons.to_vec() }
        }
        PacketType::Unsuback => {
            let list = ReasonList::parse(version, PacketType::Unsuback, body).expect("UNSUBACK");
            Packet::Unsuback { packet_id: list.packet_id, reasons: list.reasons.to_vec() }
        }
        PacketType::Pingresp => Packet::Pingresp,
        PacketType::Disconnect => {
            let packet = Disconnect::parse(version, body).expect("DISCONNECT");
            Packet::Disconnect { reason: packet.reason.0 }
        }
        other => panic!("a broker does not send {other:?}"),
    }
}

fn ack(version: Version, kind: AckKind, body: &[u8]) -> Packet {
    let ack = Ack::parse(version, kind, body).expect("acknowledgement");
    Packet::Ack { kind, packet_id: ack.packet_id, reason: ack.reason.0 }
}

/// A property block.
pub(crate) fn block(properties: &[Property<'_>]) -> Vec<u8> {
    let mut buffer = vec![0; 70_000];
    let mut writer = PropertyWriter::new(&mut buffer);
    for property in properties {
        writer.add(*property);
    }
    let len = writer.finish().expect("room");
    buffer.truncate(len);
    buffer
}

/// What a CONNECT says.
#[derive(Clone, Debug)]
pub(crate) struct ConnectWith<'a> {
    pub(crate) version: Version,
    pub(crate) id: &'a str,
    pub(crate) clean: bool,
    pub(crate) keep_alive_s: u16,
    pub(crate) properties: Vec<u8>,
    pub(crate) will: Option<(&'a str, &'a str, u8, bool, Vec<u8>)>,
}

pub(crate) fn connect_with(version: Version, id: &str) -> ConnectWith<'_> {
    ConnectWith { version, id, clean: true, keep_alive_s: 0, properties: Vec::new(), will: None }
}

impl ConnectWith<'_> {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let packet = Connect {
            version: self.version,
            clean_start: self.clean,
            keep_alive_s: self.keep_alive_s,
            client_id: self.id,
            properties: property::written(&self.properties),
            will: self.will.as_ref().map(|(topic, payload, qos, retain, properties)| Will {
                topic: topic.as_bytes(),
                payload: payload.as_bytes(),
                qos: Qos::from_bits(*qos).expect("QoS"),
                retain: *retain,
                properties: property::written(properties),
            }),
            username: None,
            password: None,
        };
        encoded(|out| packet.encode(out))
    }
}

/// What a PUBLISH says.
#[derive(Clone, Debug)]
pub(crate) struct PublishWith<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
    pub(crate) packet_id: u16,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) properties: Vec<u8>,
}

pub(crate) fn publish<'a>(
    topic: &'a str,
    payload: &'a [u8],
    qos: u8,
    packet_id: u16,
) -> PublishWith<'a> {
    PublishWith {
        topic,
        payload,
        qos,
        packet_id,
        retain: false,
        dup: false,
        properties: Vec::new(),
    }
}

impl PublishWith<'_> {
    pub(crate) fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    pub(crate) fn with(mut self, properties: &[Property<'_>]) -> Self {
        self.properties = block(properties);
        self
    }

    pub(crate) fn bytes(&self, version: Version) -> Vec<u8> {
        let header = PublishHeader {
            dup: self.dup,
            qos: Qos::from_bits(self.qos).expect("QoS"),
            retain: self.retain,
            topic: self.topic.as_bytes(),
            packet_id: self.packet_id,
            properties: property::written(&self.properties),
        };
        encoded(|out| Publish { header, payload: self.payload }.encode(version, out))
    }
}

pub(crate) fn subscribe(version: Version, packet_id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let filters: Vec<_> = filters
        .iter()
        .map(|(filter, qos)| (*filter, SubscribeOptions::plain(Qos::from_bits(*qos).expect("QoS"))))
        .collect();
    subscribe_with(version, packet_id, &[], &filters)
}

pub(crate) fn subscribe_with(
    version: Version,
    packet_id: u16,
    properties: &[Property<'_>],
    filters: &[(&str, SubscribeOptions)],
) -> Vec<u8> {
    let block = block(properties);
    let filters: Vec<_> =
        filters.iter().map(|(filter, options)| (filter.as_bytes(), *options)).collect();
    encoded(|out| Subscribe::encode(version, packet_id, &property::written(&block), &filters, out))
}

pub(crate) fn unsubscribe(version: Version, packet_id: u16, filters: &[&str]) -> Vec<u8> {
    let filters: Vec<_> = filters.iter().map(|filter| filter.as_bytes()).collect();
    encoded(|out| Unsubscribe::encode(version, packet_id, &Properties::EMPTY, &filters, out))
}

pub(crate) fn puback(version: Version, packet_id: u16) -> Vec<u8> {
    ack_packet(version, AckKind::Puback, packet_id)
}

pub(crate) fn ack_packet(version: Version, kind: AckKind, packet_id: u16) -> Vec<u8> {
    encoded(|out| Ack::new(kind, packet_id, ReasonCode::SUCCESS).encode(version, out))
}

pub(crate) fn disconnect(version: Version, reason: u8, properties: &[Property<'_>]) -> Vec<u8> {
    let block = block(properties);
    let packet = Disconnect { reason: ReasonCode(reason), properties: property::written(&block) };
    encoded(|out| packet.encode(version, out))
}

pub(crate) const PINGREQ: [u8; 2] = [0xC0, 0];

fn encoded(encode: impl FnOnce(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut buffer = vec![0; 1 << 21];
    let len = encode(&mut buffer).expect("room");
    buffer.truncate(len);
    buffer
}
