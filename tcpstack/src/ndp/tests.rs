use super::*;

const OWN: Ipv6Addr = Ipv6Addr::new(0xfd54, 0x4c, 0, 0, 0, 0, 0xab12, 0x3456);
const PEER: Ipv6Addr = Ipv6Addr::new(0xfd54, 0x4c, 0, 0, 0, 0, 0, 2);
const OWN_MAC: Mac = [2, 0, 0, 0, 0, 1];
const PEER_MAC: Mac = [2, 0, 0, 0, 0, 2];

/// A frame's destination, its packet's ends, and its message.
fn sent(message: Outgoing) -> (Mac, Carrier, Vec<u8>) {
    let mut frame = vec![0xee; 14 + message.packet_bytes()];
    message.emit(&mut frame, Station { mac: OWN_MAC, vlan: None });
    assert_eq!(frame[6..14], [2, 0, 0, 0, 0, 1, 0x86, 0xdd]);
    let header = ipv6::parse(&frame[14..]).expect("valid");
    let packet = ipv6::walk(&frame[14..], &header).expect("valid");
    let bytes = frame[14..][packet.range].to_vec();
    assert!(icmpv6::parse(&bytes, header.source, header.destination).is_ok(), "checksum");
    let carrier = Carrier {
        source: header.source,
        destination: header.destination,
        hop_limit: header.hop_limit,
        was_fragment: false,
    };
    (frame[..6].try_into().expect("6"), carrier, bytes)
}

#[test]
fn solicitations_survive_the_wire_and_go_to_the_group_of_the_target() {
    let group: Ipv6Addr = "ff02::1:ff12:3456".parse().expect("address");
    let group_mac = [0x33, 0x33, 0xff, 0x12, 0x34, 0x56];
    let asks = Outgoing::Solicit { own: PEER, target: OWN, to: None };
    let (mac, carrier, bytes) = sent(asks);
    assert_eq!((mac, carrier.source, carrier.destination), (group_mac, PEER, group));
    let wanted = Solicitation { target: OWN, source_mac: Some(OWN_MAC) };
    assert_eq!(solicitation(&bytes, &carrier), Ok(wanted));

    let (mac, carrier, bytes) =
        sent(Outgoing::Solicit { own: PEER, target: OWN, to: Some(PEER_MAC) });
    assert_eq!((mac, carrier.destination), (PEER_MAC, OWN));
    assert_eq!(solicitation(&bytes, &carrier), Ok(wanted));

    let (mac, carrier, bytes) = sent(Outgoing::Probe { target: OWN });
    assert_eq!(
        (mac, carrier.source, carrier.destination),
        (group_mac, Ipv6Addr::UNSPECIFIED, group)
    );
    assert_eq!(solicitation(&bytes, &carrier), Ok(Solicitation { source_mac: None, ..wanted }));
}

#[test]
fn advertisements_survive_the_wire_with_their_flags() {
    let (mac, carrier, bytes) = sent(Outgoing::Reply { own: OWN, to: PEER, mac: PEER_MAC });
    assert_eq!((mac, carrier.source, carrier.destination), (PEER_MAC, OWN, PEER));
    let mut wanted =
        Advertisement { target: OWN, target_mac: Some(OWN_MAC), solicited: true, overrides: true };
    assert_eq!(advertisement(&bytes, &carrier), Ok(wanted));
    let (mac, carrier, bytes) = sent(Outgoing::Announcement { own: OWN });
    assert_eq!((mac, carrier.destination), ([0x33, 0x33, 0, 0, 0, 1], ALL_NODES));
    wanted.solicited = false;
    assert_eq!(advertisement(&bytes, &carrier), Ok(wanted));
}

/// RFC 4861 §7.1.1 and §7.1.2, a line each.
#[test]
fn invalid_messages_are_refused() {
    let (_, ns_carrier, ns) = sent(Outgoing::Solicit { own: PEER, target: OWN, to: None });
    let (_, na_carrier, na) = sent(Outgoing::Reply { own: OWN, to: PEER, mac: PEER_MAC });
    type Damage = fn(&mut Carrier, &mut Vec<u8>);
    let both: [(&str, Damage); 8] = [
        ("hop limit", |carrier, _| carrier.hop_limit = 254),
        ("fragment", |carrier, _| carrier.was_fragment = true),
        ("code", |_, bytes| bytes[1] = 1),
        ("length", |_, bytes| bytes.truncate(23)),
        ("group as target", |_, bytes| bytes[8] = 0xff),
        ("option without length", |_, bytes| bytes[25] = 0),
        ("option beyond the end", |_, bytes| bytes[25] = 2),
        ("group as MAC address", |_, bytes| bytes[26] |= 1),
    ];
    for (what, damage) in both {
        let (mut carrier, mut bytes) = (ns_carrier, ns.clone());
        damage(&mut carrier, &mut bytes);
        assert_eq!(solicitation(&bytes, &carrier), Err(Drop::NdpMalformed), "{what}");
        let (mut carrier, mut bytes) = (na_carrier, na.clone());
        damage(&mut carrier, &mut bytes);
        assert_eq!(advertisement(&bytes, &carrier), Err(Drop::NdpMalformed), "{what}");
    }
    let from_nobody = |carrier: Carrier| Carrier { source: Ipv6Addr::UNSPECIFIED, ..carrier };
    assert!(solicitation(&ns, &from_nobody(ns_carrier)).is_err(), "a probe with a MAC address");
    assert!(advertisement(&na, &from_nobody(na_carrier)).is_err());
    let to_one = Carrier { destination: OWN, ..from_nobody(ns_carrier) };
    assert!(solicitation(&ns[..24], &to_one).is_err(), "a probe to one host");
    let to_all = Carrier { destination: ALL_NODES, ..na_carrier };
    assert!(advertisement(&na, &to_all).is_err(), "an answer to everybody");
}

#[test]
fn unknown_options_are_passed_over() {
    let (_, carrier, mut bytes) = sent(Outgoing::Solicit { own: PEER, target: OWN, to: None });
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    bytes.splice(24..24, nonce);
    bytes.extend(nonce);
    let parsed = solicitation(&bytes, &carrier).expect("valid");
    assert_eq!(parsed.source_mac, Some(OWN_MAC));
    bytes.push(1);
    assert_eq!(solicitation(&bytes, &carrier), Err(Drop::NdpMalformed), "half an option");
}
