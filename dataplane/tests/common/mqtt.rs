//! MQTT packets written by hand, so that the tests do not believe the broker's own codec.

fn string(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut len = body.len();
    loop {
        let byte = (len % 128) as u8;
        len /= 128;
        bytes.push(if len > 0 { byte | 0x80 } else { byte });
        if len == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// MQTT 5 CONNECT with Clean Start.
pub(crate) fn connect_v5(client_id: &str, keep_alive_s: u16) -> Vec<u8> {
    let mut body = string("MQTT");
    body.extend([5, 0b10]);
    body.extend(keep_alive_s.to_be_bytes());
    body.push(0);
    body.extend(string(client_id));
    packet(0x10, &body)
}

/// MQTT 3.1.1 CONNECT with Clean Session.
pub(crate) fn connect_v4(client_id: &str, keep_alive_s: u16) -> Vec<u8> {
    let mut body = string("MQTT");
    body.extend([4, 0b10]);
    body.extend(keep_alive_s.to_be_bytes());
    body.extend(string(client_id));
    packet(0x10, &body)
}

/// SUBSCRIBE (3.1.1) to one filter.
pub(crate) fn subscribe_v4(id: u16, filter: &str, qos: u8) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend(string(filter));
    body.push(qos);
    packet(0x82, &body)
}

/// PUBLISH (3.1.1) with QoS 0, or with QoS 1 when it has an id.
pub(crate) fn publish_v4(topic: &str, id: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let mut body = string(topic);
    body.extend(id.iter().flat_map(|id| id.to_be_bytes()));
    body.extend(payload);
    packet(if id.is_some() { 0x32 } else { 0x30 }, &body)
}

/// Takes whole packets off the front of `bytes`: first byte and body.
pub(crate) fn take_packets(bytes: &mut Vec<u8>) -> Vec<(u8, Vec<u8>)> {
    let mut packets = Vec::new();
    while let Some((header, len)) = lengths(bytes) {
        if bytes.len() < header + len {
            break;
        }
        let rest = bytes.split_off(header + len);
        packets.push((bytes[0], bytes[header..].to_vec()));
        *bytes = rest;
    }
    packets
}

/// Bytes of the fixed header and of what follows.
fn lengths(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut len = 0;
    for (at, byte) in bytes.iter().skip(1).take(4).enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((at + 2, len));
        }
    }
    None
}
