//! Well-formed packets of every type, from a seed.

use broker::codec::{
    Ack, AckKind, Auth, Connack, Connect, Disconnect, Owner, PacketType, Properties, Property,
    PropertyWriter, Publish, PublishHeader, Qos, ReasonCode, ReasonList, Subscribe,
    SubscribeOptions, Unsubscribe, Version, Will, property,
};
use fastrand::Rng;

/// Texts, some with characters of two to four bytes.
const TEXTS: [&str; 6] = ["", "a", "some text", "ä/ö/ü", "\u{1F980}", "0123456789abcdef0123456789"];

fn text(rng: &mut Rng) -> &'static str {
    TEXTS[rng.usize(..TEXTS.len())]
}

fn name(rng: &mut Rng) -> &'static str {
    ["a", "a/b", "/", "$SYS/x", "long/er/than/sixteen/bytes"][rng.usize(..5)]
}

fn bytes(rng: &mut Rng, max: usize) -> Vec<u8> {
    (0..rng.usize(..max)).map(|_| rng.u8(..)).collect()
}

fn qos(rng: &mut Rng) -> Qos {
    Qos::from_bits(rng.u8(..3)).expect("0, 1 or 2")
}

/// Every property that may stand in `owner`, each with the chance of a coin, user properties often.
fn block(rng: &mut Rng, owner: Owner) -> Vec<u8> {
    let data = bytes(rng, 20);
    let method = rng.bool();
    let all = [
        Property::PayloadFormatIndicator(0),
        Property::MessageExpiryInterval(rng.u32(..)),
        Property::ContentType(text(rng)),
        Property::ResponseTopic(name(rng)),
        Property::CorrelationData(&data),
        Property::SubscriptionIdentifier(rng.u32(1..268_435_456)),
        Property::SessionExpiryInterval(rng.u32(..)),
        Property::AssignedClientIdentifier(text(rng)),
        Property::ServerKeepAlive(rng.u16(..)),
        Property::RequestProblemInformation(rng.bool()),
        Property::WillDelayInterval(rng.u32(..)),
        Property::RequestResponseInformation(rng.bool()),
        Property::ResponseInformation(text(rng)),
        Property::ServerReference(text(rng)),
        Property::ReasonString(text(rng)),
        Property::ReceiveMaximum(rng.u16(1..)),
        Property::TopicAliasMaximum(rng.u16(..)),
        Property::TopicAlias(rng.u16(1..)),
        Property::MaximumQos(rng.u8(..2)),
        Property::RetainAvailable(rng.bool()),
        Property::MaximumPacketSize(rng.u32(1..)),
        Property::WildcardSubscriptionAvailable(rng.bool()),
        Property::SubscriptionIdentifierAvailable(rng.bool()),
        Property::SharedSubscriptionAvailable(rng.bool()),
        Property::UserProperty(text(rng), text(rng)),
        Property::UserProperty("same", "same"),
        Property::UserProperty("same", "same"),
    ];
    let mut buffer = vec![0; 2_048];
    let mut writer = PropertyWriter::new(&mut buffer);
    if method && matches!(owner, Owner::Connect | Owner::Connack | Owner::Auth) {
        writer.add(Property::AuthenticationMethod("method"));
        writer.add(Property::AuthenticationData(&data));
    }
    let mut one = [0; 256];
    for property in all.iter().filter(|_| rng.bool()) {
        let mut alone = PropertyWriter::new(&mut one);
        alone.add(*property);
        let len = alone.finish().expect("room");
        if Properties::check(&one[..len], owner).is_ok() {
            writer.add_raw(&one[..len]);
        }
    }
    let len = writer.finish().expect("room");
    buffer.truncate(len);
    buffer
}

/// A packet of any type.
pub(crate) fn packet(rng: &mut Rng, version: Version) -> Vec<u8> {
    let kinds = if version == Version::V5 { 15 } else { 14 };
    let mut out = vec![0; 16_384];
    let len = match rng.u8(1..=kinds) {
        1 => connect(rng, version, &mut out),
        2 => connack(rng, version, &mut out),
        3 => publish(rng, version, &mut out),
        kind @ 4..=7 => ack(rng, version, kind, &mut out),
        8 => subscribe(rng, version, &mut out),
        9 => reason_list(rng, version, PacketType::Suback, &mut out),
        10 => unsubscribe(rng, version, &mut out),
        11 => reason_list(rng, version, PacketType::Unsuback, &mut out),
        12 => fixed(&[0xC0, 0], &mut out),
        13 => fixed(&[0xD0, 0], &mut out),
        14 => disconnect(rng, version, &mut out),
        _ => auth(rng, &mut out),
    };
    out.truncate(len.expect("room"));
    out
}

fn fixed(bytes: &[u8], out: &mut [u8]) -> Option<usize> {
    out[..bytes.len()].copy_from_slice(bytes);
    Some(bytes.len())
}

fn connect(rng: &mut Rng, version: Version, out: &mut [u8]) -> Option<usize> {
    let (properties, will_properties) = (block(rng, Owner::Connect), block(rng, Owner::Will));
    let (payload, password) = (bytes(rng, 300), bytes(rng, 20));
    let will = Will {
        topic: name(rng).as_bytes(),
        payload: &payload,
        qos: qos(rng),
        retain: rng.bool(),
        properties: property::written(&will_properties),
    };
    let username = rng.bool().then(|| text(rng));
    Connect {
        version,
        clean_start: rng.bool(),
        keep_alive_s: rng.u16(..),
        client_id: text(rng),
        properties: property::written(&properties),
        will: rng.bool().then_some(will),
        username,
        password: (rng.bool() && username.is_some()).then_some(&password),
    }
    .encode(out)
}

fn reason(rng: &mut Rng, version: Version, kind: PacketType) -> ReasonCode {
    loop {
        let code = ReasonCode(rng.u8(..));
        let allowed = match (version, kind) {
            (Version::V5, _) => code.allowed_in(kind),
            (Version::V3, PacketType::Connack) => code.0 <= 5,
            (Version::V3, _) => matches!(code.0, 0..=2 | 0x80),
        };
        if allowed {
            return code;
        }
    }
}

fn connack(rng: &mut Rng, version: Version, out: &mut [u8]) -> Option<usize> {
    let properties = block(rng, Owner::Connack);
    let reason = reason(rng, version, PacketType::Connack);
    let properties = property::written(&properties);
    Connack { session_present: rng.bool(), reason, properties }.encode(version, out)
}

fn publish(rng: &mut Rng, version: Version, out: &mut [u8]) -> Option<usize> {
    let (properties, payload) = (block(rng, Owner::Publish), bytes(rng, 3_000));
    let qos = qos(rng);
    let header = PublishHeader {
        dup: qos > Qos::AtMostOnce && rng.bool(),
        qos,
        retain: rng.bool(),
        topic: name(rng).as_bytes(),
        packet_id: if qos == Qos::AtMostOnce { 0 } else { rng.u16(1..) },
        properties: property::written(&properties),
    };
    Publish { header, payload: &payload }.encode(version, out)
}

fn ack(rng: &mut Rng, version: Version, kind: u8, out: &mut [u8]) -> Option<usize> {
    let kind = [AckKind::Puback, AckKind::Pubrec, AckKind::Pubrel, AckKind::Pubcomp]
        [usize::from(kind - 4)];
    let properties = block(rng, Owner::Ack);
    Ack {
        kind,
        packet_id: rng.u16(1..),
        reason: reason(rng, Version::V5, kind.packet_type()),
        properties: property::written(&properties),
    }
    .encode(version, out)
}

fn subscribe(rng: &mut Rng, version: Version, out: &mut [u8]) -> Option<usize> {
    let properties = block(rng, Owner::Subscribe);
    let filters: Vec<_> = (0..rng.usize(1..5))
        .map(|_| {
            let v5 = version == Version::V5;
            let options = SubscribeOptions {
                qos: qos(rng),
                no_local: v5 && rng.bool(),
                retain_as_published: v5 && rng.bool(),
                retain_handling: if v5 { rng.u8(..3) } else { 0 },
            };
            (name(rng).as_bytes(), options)
        })
        .collect();
    let properties = property::written(&properties);
    Subscribe::encode(version, rng.u16(1..), &properties, &filters, out)
}

fn unsubscribe(rng: &mut Rng, version: Version, out: &mut [u8]) -> Option<usize> {
    let properties = block(rng, Owner::Unsubscribe);
    let filters: Vec<_> = (0..rng.usize(1..5)).map(|_| name(rng).as_bytes()).collect();
    let properties = property::written(&properties);
    Unsubscribe::encode(version, rng.u16(1..), &properties, &filters, out)
}

fn reason_list(rng: &mut Rng, version: Version, kind: PacketType, out: &mut [u8]) -> Option<usize> {
    let properties = block(rng, Owner::Suback);
    let none = version == Version::V3 && kind == PacketType::Unsuback;
    let count = if none { 0 } else { rng.usize(1..5) };
    let reasons: Vec<_> = (0..count).map(|_| reason(rng, version, kind).0).collect();
    let properties = property::written(&properties);
    ReasonList { packet_id: rng.u16(1..), properties, reasons: &reasons }.encode(version, kind, out)
}

fn disconnect(rng: &mut Rng, version: Version, out: &mut [u8]) -> Option<usize> {
    let properties = block(rng, Owner::Disconnect);
    let reason = reason(rng, Version::V5, PacketType::Disconnect);
    Disconnect { reason, properties: property::written(&properties) }.encode(version, out)
}

fn auth(rng: &mut Rng, out: &mut [u8]) -> Option<usize> {
    let properties = block(rng, Owner::Auth);
    let reason = reason(rng, Version::V5, PacketType::Auth);
    Auth { reason, properties: property::written(&properties) }.encode(out)
}
