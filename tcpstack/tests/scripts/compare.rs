//! Whether a packet of ours is the one expected: fields that are not named are not compared.

use crate::flow::{Flow, octets};
use crate::read::Heard;
use crate::script::{
    Body, Envelope, Host, Icmp, Num, Opt, Options, Packet, Payload, Segment, flag,
};

/// The first difference.
pub(crate) fn difference(flow: &Flow, expected: &Packet, heard: &Heard) -> Option<String> {
    let came = &heard.packet;
    body(flow, &expected.body, heard).or_else(|| envelope(flow, expected, &came.envelope))
}

fn differs<T: PartialEq>(what: &str, expected: T, came: T) -> Option<String> {
    (expected != came).then(|| what.to_owned())
}

fn envelope(flow: &Flow, expected: &Packet, came: &Envelope) -> Option<String> {
    let wanted = &expected.envelope;
    let is_ip = !matches!(expected.body, Body::WhoHas { .. } | Body::IsAt { .. });
    let ip = |host: Option<Host>| host.map(|host| flow.ip(host));
    let is_solicitation = matches!(expected.body, Body::Solicitation { .. });
    // Unless a line says otherwise, packets go to the peer; questions go to a group.
    let to = wanted.to.or((is_ip && !is_solicitation).then_some(Host::Peer));
    let mac = wanted.mac_to.map(|link| flow.mac(link));
    let mac = mac.or((is_ip && !is_solicitation && wanted.to.is_none()).then_some(flow.mac));
    let came_mac = came.mac_to.map(|link| flow.mac(link));
    let named =
        |is_named: bool, what, differs: bool| (is_named && differs).then(|| String::from(what));
    differs("VLAN", wanted.vlan, came.vlan)
        .or_else(|| named(to.is_some(), "destination address", ip(to) != ip(came.to)))
        .or_else(|| named(mac.is_some(), "destination MAC address", mac != came_mac))
        .or_else(|| {
            named(wanted.from.is_some(), "source address", ip(wanted.from) != ip(came.from))
        })
        .or_else(|| named(wanted.ecn.is_some(), "ECN bits", wanted.ecn != came.ecn))
        .or_else(|| named(wanted.ttl.is_some(), "TTL", wanted.ttl != came.ttl))
        .or_else(|| named(wanted.df.is_some(), "DF", wanted.df != came.df))
        .or_else(|| named(wanted.id.is_some(), "identification", wanted.id != came.id))
}

fn body(flow: &Flow, expected: &Body, heard: &Heard) -> Option<String> {
    let ip = |host: &Host| flow.ip(*host);
    match (expected, &heard.packet.body) {
        (Body::Tcp(wanted), Body::Tcp(came)) => {
            let ends = heard.ends.map(|(peer, own)| (peer.port(), own.port()));
            differs("ports", Some((flow.peer.port(), flow.own.port())), ends)
                .or_else(|| segment(flow, wanted, came))
        }
        (Body::Icmp(wanted), Body::Icmp(came)) => icmp(wanted, came),
        (
            Body::WhoHas { target, sender },
            Body::WhoHas { target: came_target, sender: came_sender },
        ) => differs("target", ip(target), ip(came_target))
            .or_else(|| differs("sender", ip(sender), ip(came_sender))),
        (Body::IsAt { sender, mac }, Body::IsAt { sender: came_sender, mac: came_mac }) => {
            differs("sender", ip(sender), ip(came_sender))
                .or_else(|| differs("MAC address", flow.mac(*mac), flow.mac(*came_mac)))
        }
        (
            Body::Solicitation { target, mac },
            Body::Solicitation { target: came_target, mac: came_mac },
        ) => differs("target", ip(target), ip(came_target)).or_else(|| {
            let mac = mac.map(|mac| flow.mac(mac));
            mac.and_then(|mac| differs("MAC address", Some(mac), came_mac.map(|mac| flow.mac(mac))))
        }),
        (
            Body::Advertisement { target, mac, flags },
            Body::Advertisement { target: came_target, mac: came_mac, flags: came_flags },
        ) => differs("target", ip(target), ip(came_target))
            .or_else(|| differs("flags", flags, came_flags))
            .or_else(|| {
                let mac = mac.map(|mac| flow.mac(mac));
                mac.and_then(|mac| {
                    differs("MAC address", Some(mac), came_mac.map(|mac| flow.mac(mac)))
                })
            }),
        (Body::Ip(protocol, bytes), Body::Ip(came_protocol, came)) => {
            differs("protocol", protocol, came_protocol).or_else(|| differs("octets", bytes, came))
        }
        _ => Some("kind of packet".to_owned()),
    }
}

fn icmp(wanted: &Icmp, came: &Icmp) -> Option<String> {
    match (wanted, came) {
        (
            Icmp::Echo { reply, id, seq, len },
            Icmp::Echo { reply: came_reply, id: came_id, seq: came_seq, len: came_len },
        ) => differs(
            "echo message",
            (reply, id, seq, len),
            (came_reply, came_id, came_seq, came_len),
        ),
        (Icmp::Error { name, value, .. }, Icmp::Error { name: came_name, value: came, .. }) => {
            differs("message", name, came_name)
                .or_else(|| value.and_then(|value| differs("value", Some(value), *came)))
        }
        (
            Icmp::Other { kind, code, bytes },
            Icmp::Other { kind: came, code: came_code, bytes: got },
        ) => differs("type and code", (kind, code), (came, came_code))
            .or_else(|| if bytes.is_empty() { None } else { differs("octets", bytes, got) }),
        _ => Some("kind of message".to_owned()),
    }
}

fn segment(flow: &Flow, wanted: &Segment, came: &Segment) -> Option<String> {
    // PSH is compared only when it is named.
    let mask = if wanted.flags & flag::PSH == 0 { !flag::PSH } else { 0xff };
    let num = |what: &str, wanted: Option<Num>, raw: &dyn Fn(Num) -> u32, came: Option<Num>| {
        let wanted = wanted.filter(|num| *num != Num::Any)?;
        let Some(Num::Raw(came)) = came else { return Some(what.to_owned()) };
        differs(what, raw(wanted), came)
    };
    differs("flags", wanted.flags & mask, came.flags & mask)
        .or_else(|| num("seq", wanted.seq, &|num| flow.of_us(num), came.seq))
        .or_else(|| num("ack", wanted.ack, &|num| flow.of_peer(num), came.ack))
        .or_else(|| payload(flow, wanted, came))
        .or_else(|| wanted.win.and_then(|win| differs("win", Some(win), came.win)))
        .or_else(|| wanted.urg.and_then(|urg| differs("urg", Some(urg), came.urg)))
        .or_else(|| wanted.options.as_ref().and_then(|wanted| options(flow, wanted, came)))
        .or_else(|| {
            let is_late = wanted.iss_later && !flow.iss_is_later();
            is_late.then(|| "ISS, which is not after what the last connection sent".to_owned())
        })
}

fn payload(flow: &Flow, wanted: &Segment, came: &Segment) -> Option<String> {
    match &wanted.payload {
        Payload::Empty => differs("length", 0, octets(came).len()),
        Payload::Text(text) => differs("data", &text[..], octets(came)),
        Payload::Len(len) => differs("length", *len, octets(came).len()).or_else(|| {
            let is_wrong = !flow.is_ours(came);
            is_wrong.then(|| "data, which is not what the application wrote there".to_owned())
        }),
    }
}

fn options(flow: &Flow, wanted: &Options, came: &Segment) -> Option<String> {
    let came = came.options.as_ref().map_or(&[][..], |options| &options.list);
    let missing =
        wanted.list.iter().find(|option| !came.iter().any(|came| same(flow, option, came)));
    let extra = came.iter().find(|came| !wanted.list.iter().any(|option| same(flow, option, came)));
    match (missing, extra) {
        (Some(missing), _) => Some(format!("options: `{missing}` is missing")),
        (None, Some(_)) if !wanted.open => Some("options: there are more".to_owned()),
        _ => None,
    }
}

fn same(flow: &Flow, wanted: &Opt, came: &Opt) -> bool {
    let equal = |wanted: Num, raw: u32, came: Num| wanted == Num::Any || Num::Raw(raw) == came;
    match (wanted, came) {
        (Opt::Ts(value, echo), Opt::Ts(came_value, came_echo)) => {
            let raw_echo = match echo {
                Num::Rel(echo) => *echo as u32,
                Num::Raw(echo) => *echo,
                Num::Any => 0,
            };
            equal(*value, flow.our_stamp(*value), *came_value) && equal(*echo, raw_echo, *came_echo)
        }
        (Opt::Sack(wanted), Opt::Sack(came)) => {
            let ends = |(from, to): &(Num, Num)| {
                (Num::Raw(flow.of_peer(*from)), Num::Raw(flow.of_peer(*to)))
            };
            wanted.iter().map(ends).collect::<Vec<_>>() == *came
        }
        _ => wanted == came,
    }
}
