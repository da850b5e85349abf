//! The codec against itself and against a codec by other people.

mod generate;

use broker::codec::{
    Ack, AckKind, Auth, Connack, Connect, DecodeError, Disconnect, FixedHeader, PacketType,
    Publish, PublishHeader, ReasonList, Subscribe, Unsubscribe, Version,
};
use fastrand::Rng;
use proptest::prelude::*;

const VERSIONS: [Version; 2] = [Version::V3, Version::V5];

/// Decodes one packet and encodes it again. `None`: more bytes are needed.
fn again(version: Version, bytes: &[u8]) -> Result<Option<Vec<u8>>, DecodeError> {
    let Some(fixed) = FixedHeader::parse(bytes)? else { return Ok(None) };
    fixed.check_version(version)?;
    let Some(packet) = bytes.get(..fixed.packet_bytes()) else { return Ok(None) };
    let body = &packet[usize::from(fixed.header_bytes)..];
    let mut out = vec![0; packet.len() + 16];
    let ack = |kind, out: &mut [u8]| {
        Ack::parse(version, kind, body).map(|packet| packet.encode(version, out))
    };
    let empty = |out: &mut [u8]| {
        out[..2].copy_from_slice(&[fixed.kind.first_byte(), 0]);
        if body.is_empty() { Ok(Some(2)) } else { Err(DecodeError::TrailingBytes) }
    };
    let len = match fixed.kind {
        PacketType::Connect => Connect::parse(body)?.encode(&mut out),
        PacketType::Connack => Connack::parse(version, body)?.encode(version, &mut out),
        PacketType::Publish => {
            Publish::parse(version, fixed.flags, body)?.encode(version, &mut out)
        }
        PacketType::Puback => ack(AckKind::Puback, &mut out)?,
        PacketType::Pubrec => ack(AckKind::Pubrec, &mut out)?,
        PacketType::Pubrel => ack(AckKind::Pubrel, &mut out)?,
        PacketType::Pubcomp => ack(AckKind::Pubcomp, &mut out)?,
        PacketType::Subscribe => {
            let packet = Subscribe::parse(version, body)?;
            let filters: Vec<_> = packet.filters().collect();
            let id = packet.packet_id;
            Subscribe::encode(version, id, &packet.properties, &filters, &mut out)
        }
        PacketType::Unsubscribe => {
            let packet = Unsubscribe::parse(version, body)?;
            let filters: Vec<_> = packet.filters().map(|(filter, _)| filter).collect();
            let id = packet.packet_id;
            Unsubscribe::encode(version, id, &packet.properties, &filters, &mut out)
        }
        PacketType::Suback | PacketType::Unsuback => {
            let packet = ReasonList::parse(version, fixed.kind, body)?;
            packet.encode(version, fixed.kind, &mut out)
        }
        PacketType::Pingreq | PacketType::Pingresp => empty(&mut out)?,
        PacketType::Disconnect => Disconnect::parse(version, body)?.encode(version, &mut out),
        PacketType::Auth => Auth::parse(body)?.encode(&mut out),
    };
    out.truncate(len.expect("room"));
    Ok(Some(out))
}

/// What the other codec makes of the bytes: the packet as text and encoded again.
fn oracle(version: Version, bytes: &[u8]) -> Result<Option<(String, Vec<u8>)>, String> {
    match version {
        Version::V3 => match mqtt_proto::v3::Packet::decode(bytes) {
            Ok(packet) => Ok(packet.map(|packet| {
                let bytes = packet.encode().expect("an encoding").as_ref().to_vec();
                (format!("{packet:?}"), bytes)
            })),
            Err(error) => Err(error.to_string()),
        },
        Version::V5 => match mqtt_proto::v5::Packet::decode(bytes) {
            Ok(packet) => Ok(packet.map(|packet| {
                let bytes = packet.encode().expect("an encoding").as_ref().to_vec();
                (format!("{packet:?}"), bytes)
            })),
            Err(error) => Err(error.to_string()),
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packets_survive_decoding_and_encoding(seed: u64) {
        for version in VERSIONS {
            let bytes = generate::packet(&mut Rng::with_seed(seed), version);
            prop_assert_eq!(again(version, &bytes), Ok(Some(bytes)));
        }
    }

    #[test]
    fn other_codec_reads_our_packets_and_we_read_its(seed: u64) {
        for version in VERSIONS {
            let bytes = generate::packet(&mut Rng::with_seed(seed), version);
            let theirs = oracle(version, &bytes);
            prop_assert!(matches!(theirs, Ok(Some(_))), "{:?} of {:x?}", theirs, bytes);
            let Ok(Some((text, encoded))) = theirs else { unreachable!() };
            // It encodes the return code 0x80 of MQTT 3.1.1 as 3.
            if version == Version::V3 && text.contains("Failure") {
                continue;
            }
            let ours = again(version, &encoded);
            prop_assert!(matches!(ours, Ok(Some(_))), "{:?} of {}", ours, text);
            // Properties may change places; what they say stays.
            let Ok(Some((same, _))) = oracle(version, &ours.expect("accepted").expect("whole"))
            else { unreachable!() };
            prop_assert_eq!(same, text);
        }
    }

    #[test]
    fn cut_packet_is_incomplete_never_wrong(seed: u64, cut: prop::sample::Index) {
        for version in VERSIONS {
            let bytes = generate::packet(&mut Rng::with_seed(seed), version);
            let cut = &bytes[..cut.index(bytes.len())];
            prop_assert_eq!(again(version, cut), Ok(None));
            if let Ok(Some(fixed)) = FixedHeader::parse(&bytes)
                && fixed.kind == PacketType::Publish
                && cut.len() >= usize::from(fixed.header_bytes)
            {
                let body = &cut[usize::from(fixed.header_bytes)..];
                let whole = &bytes[usize::from(fixed.header_bytes)..];
                let expected = PublishHeader::parse(version, &fixed, whole).expect("well formed");
                let early = PublishHeader::parse(version, &fixed, body);
                prop_assert!(early == Ok(None) || early == Ok(expected), "{:?}", early);
            }
        }
    }

    #[test]
    fn changed_packets_are_judged_as_the_other_codec_does(
        seed: u64,
        at: prop::sample::Index,
        byte: u8,
    ) {
        for version in VERSIONS {
            let mut bytes = generate::packet(&mut Rng::with_seed(seed), version);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let ours = again(version, &bytes);
            // It does not keep to the length of a packet everywhere: it is shown no more than that.
            let packet = match FixedHeader::parse(&bytes) {
                Ok(Some(fixed)) if fixed.packet_bytes() > bytes.len() => continue,
                Ok(Some(fixed)) => &bytes[..fixed.packet_bytes()],
                _ => &bytes,
            };
            let theirs = oracle(version, packet);
            if let Some(reason) = known_difference(version, &bytes, &ours, &theirs) {
                prop_assert!(!reason.is_empty());
                continue;
            }
            // It takes a field that runs out of its packet for one that is still to come.
            prop_assert_eq!(
                ours.as_ref().is_ok_and(Option::is_some),
                theirs.as_ref().is_ok_and(Option::is_some),
                "{:?}: ours {:?}, theirs {:?} of {:x?}", version, ours, theirs, bytes
            );
        }
    }

    #[test]
    fn rubbish_is_judged_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for version in VERSIONS {
            let _ = again(version, &bytes);
        }
    }
}

/// Whether a packet that we accept has a topic that is not plain: judging topics is left to what
/// they become, and the other codec judges them at once.
fn has_odd_topic(version: Version, bytes: &[u8]) -> bool {
    let Ok(Some(fixed)) = FixedHeader::parse(bytes) else { return false };
    let Some(body) = bytes.get(usize::from(fixed.header_bytes)..fixed.packet_bytes()) else {
        return false;
    };
    let topics: Vec<&[u8]> = match fixed.kind {
        PacketType::Publish => Publish::parse(version, fixed.flags, body)
            .map(|packet| vec![packet.header.topic])
            .unwrap_or_default(),
        PacketType::Connect => Connect::parse(body)
            .ok()
            .and_then(|packet| packet.will)
            .map(|will| vec![will.topic])
            .unwrap_or_default(),
        PacketType::Subscribe => Subscribe::parse(version, body)
            .map(|packet| packet.filters().map(|(filter, _)| filter).collect())
            .unwrap_or_default(),
        PacketType::Unsubscribe => Unsubscribe::parse(version, body)
            .map(|packet| packet.filters().map(|(filter, _)| filter).collect())
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    topics.iter().any(|topic| {
        topic.is_empty()
            || topic.iter().any(|byte| matches!(byte, 0 | b'+' | b'#'))
            || std::str::from_utf8(topic).is_err()
    })
}

/// Where the two codecs differ and ours is right, or at least as right.
fn known_difference(
    version: Version,
    bytes: &[u8],
    ours: &Result<Option<Vec<u8>>, DecodeError>,
    theirs: &Result<Option<(String, Vec<u8>)>, String>,
) -> Option<&'static str> {
    if has_odd_topic(version, bytes) {
        return Some("topics are judged later");
    }
    match ours {
        Err(DecodeError::BadUtf8) if theirs.is_ok() => Some("it lets U+0000 pass"),
        Err(DecodeError::TrailingBytes) if theirs.is_ok() => Some("it overlooks what is left"),
        Err(DecodeError::BadReason) if matches!(bytes[0], 0x90 | 0xB0) && theirs.is_ok() => {
            Some("it takes lists without a reason code, and what is left behind them")
        }
        Err(DecodeError::BadQos) if bytes[0] & 0xFE == 0x38 => Some("it lets DUP on QoS 0 pass"),
        Err(DecodeError::BadFlags) if bytes[0] == 0x10 && theirs.is_ok() => {
            Some("it lets will flags without a will pass, and a password without a user name")
        }
        Err(DecodeError::AuthDataAlone) if theirs.is_ok() => {
            Some("it takes authentication data without a method")
        }
        Err(DecodeError::BadVarint) if theirs.is_ok() => Some("it lets padded integers pass"),
        _ => None,
    }
}
