//! How a packet is read from a line.

use crate::script::{
    Body, ECN_NAMES, Envelope, ICMP_ERRORS, Icmp, NA_FLAGS, Opt, Options, Packet, Payload, Quote,
    Segment, flag,
};
use crate::words::{Fault, Words, expected, hex, num};

/// What stands after `peer` or `us`.
pub(crate) fn packet(words: &mut Words) -> Result<Packet, Fault> {
    let mut packet = Packet { body: body(words)?, envelope: Envelope::default() };
    while let Some(word) = words.next() {
        let known = match &mut packet.body {
            Body::Tcp(segment) => field(segment, &word, words)?,
            _ => false,
        };
        if !known {
            around(&mut packet.envelope, &word, words)?;
        }
    }
    Ok(packet)
}

fn body(words: &mut Words) -> Result<Body, Fault> {
    let first = words.word("flags, icmp, arp, ns, na, ip or frame")?;
    Ok(match first.as_str() {
        "icmp" => Body::Icmp(icmp(words)?),
        "arp" => arp(words)?,
        "ns" => {
            let target = words.host()?;
            let mac = words.take("is-at").then(|| words.link()).transpose()?;
            Body::Solicitation { target, mac }
        }
        "na" => {
            let target = words.host()?;
            let mac = words.take("is-at").then(|| words.link()).transpose()?;
            let mut flags = 0;
            while let Some((name, bit)) =
                NA_FLAGS.iter().find(|(name, _)| words.peek() == Some(name))
            {
                words.take(name);
                flags |= bit;
            }
            Body::Advertisement { target, mac, flags }
        }
        "ip" => {
            let protocol = words.value("the number of a protocol")?;
            words.take("hex");
            Body::Ip(protocol, words.hex()?)
        }
        "frame" => {
            words.take("hex");
            Body::Frame(words.hex()?)
        }
        flags => Body::Tcp(Segment { flags: self::flags(flags)?, ..Segment::default() }),
    })
}

fn flags(word: &str) -> Result<u8, Fault> {
    if word == "none" {
        return Ok(0);
    }
    word.split(',').try_fold(0, |bits, name| {
        let bit = flag::NAMES.iter().find(|(known, _)| *known == name);
        bit.map(|(_, bit)| bits | bit).ok_or_else(|| {
            expected("flags like SYN,ACK, or none, icmp, arp, ns, na, ip, frame", word)
        })
    })
}

/// A field of a segment. `false`: it is none.
fn field(segment: &mut Segment, word: &str, words: &mut Words) -> Result<bool, Fault> {
    match word {
        "seq" => segment.seq = Some(words.num("a sequence number")?),
        "ack" => segment.ack = Some(words.num("an acknowledgment number")?),
        "win" => segment.win = Some(words.value("a window")?),
        "urg" => segment.urg = Some(words.value("an urgent pointer")?),
        "len" => segment.payload = Payload::Len(words.value("a number of octets")?),
        "data" => segment.payload = Payload::Text(words.text()?),
        "data-offset" => segment.offset = Some(words.value("a number of words")?),
        "iss-later" => segment.iss_later = true,
        _ => match word.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
            Some(list) => segment.options = Some(options(list)?),
            None => return Ok(false),
        },
    }
    Ok(true)
}

fn around(envelope: &mut Envelope, word: &str, words: &mut Words) -> Result<(), Fault> {
    match word {
        "vlan" => envelope.vlan = Some(words.value("a VLAN")?),
        "mac-from" => envelope.mac_from = Some(words.link()?),
        "mac-to" => envelope.mac_to = Some(words.link()?),
        "from" => envelope.from = Some(words.host()?),
        "to" => envelope.to = Some(words.host()?),
        "ecn" => {
            let name = words.word("not-ect, ect0, ect1 or ce")?;
            let bits = ECN_NAMES.iter().position(|known| *known == name);
            envelope.ecn =
                Some(bits.ok_or_else(|| expected("not-ect, ect0, ect1 or ce", &name))? as u8);
        }
        "ttl" => envelope.ttl = Some(words.value("a TTL")?),
        "df" => envelope.df = Some(words.value::<u8>("0 or 1")? != 0),
        "id" => envelope.id = Some(words.value("an identification")?),
        "ip-options" => envelope.ip_options = words.hex()?,
        "extension" => {
            let number = words.value("the number of an extension header")?;
            envelope.extensions.push((number, words.hex()?));
        }
        "fragment" => envelope.fragments.push(range(&words.word("a range like 0..24")?)?),
        "cut" => envelope.cut = words.value("a number of octets")?,
        "bad-checksum" => envelope.bad_checksum = true,
        "bad-ip-checksum" => envelope.bad_ip_checksum = true,
        _ => {
            let known = "seq, ack, win, urg, len, data, <options>, data-offset, iss-later, vlan, \
                         mac-from, mac-to, from, to, ecn, ttl, df, id, ip-options, extension, \
                         fragment, cut, bad-checksum or bad-ip-checksum";
            return Err(expected(known, word));
        }
    }
    Ok(())
}

fn range(word: &str) -> Result<(usize, Option<usize>), Fault> {
    let fault = || expected("a range like 0..24 or 24..", word);
    let (from, to) = word.split_once("..").ok_or_else(fault)?;
    let to = if to.is_empty() { None } else { Some(to.parse().map_err(|_| fault())?) };
    Ok((from.parse().map_err(|_| fault())?, to))
}

fn options(list: &str) -> Result<Options, Fault> {
    let mut options = Options::default();
    for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        if item == ".." {
            options.open = true;
            continue;
        }
        let mut words = Words::of(item)?;
        options.list.push(option(&mut words)?);
        words.end()?;
    }
    Ok(options)
}

fn option(words: &mut Words) -> Result<Opt, Fault> {
    Ok(match words.word("an option")?.as_str() {
        "eol" => Opt::Eol,
        "nop" => Opt::Nop,
        "mss" => Opt::Mss(words.value("the MSS")?),
        "ws" => Opt::Ws(words.value("the shift")?),
        "sack-ok" => Opt::SackOk,
        "sack" => {
            let mut blocks = Vec::new();
            while let Some(word) = words.next() {
                let ends = word.split_once("..").and_then(|(a, b)| Some((num(a)?, num(b)?)));
                blocks.push(ends.ok_or_else(|| expected("a block like 101..201", &word))?);
            }
            Opt::Sack(blocks)
        }
        "ts" => Opt::Ts(words.num("TSval")?, words.num("TSecr")?),
        "hex" => {
            let word = words.word("octets in hex")?;
            Opt::Raw(hex(&word).ok_or_else(|| expected("octets in hex", word))?)
        }
        word => return Err(expected("mss, ws, sack-ok, sack, ts, nop, eol, hex or ..", word)),
    })
}

fn arp(words: &mut Words) -> Result<Body, Fault> {
    if words.take("who-has") {
        let target = words.host()?;
        if !words.take("tell") {
            return Err(expected("tell", words.word("tell")?));
        }
        return Ok(Body::WhoHas { target, sender: words.host()? });
    }
    let sender = words.host()?;
    if !words.take("is-at") {
        return Err(expected("is-at", words.word("is-at")?));
    }
    Ok(Body::IsAt { sender, mac: words.link()? })
}

fn icmp(words: &mut Words) -> Result<Icmp, Fault> {
    let name = words.word("a kind of message")?;
    if name == "echo-request" || name == "echo-reply" {
        let (mut id, mut seq, mut len) = (0, 0, 0);
        for (key, value) in [("id", &mut id), ("seq", &mut seq), ("len", &mut len)] {
            if words.take(key) {
                *value = words.value("a number")?;
            }
        }
        return Ok(Icmp::Echo { reply: name == "echo-reply", id, seq, len: len.into() });
    }
    if name == "type" {
        let kind = words.value("a type")?;
        let code = if words.take("code") { words.value("a code")? } else { 0 };
        let bytes = if words.take("hex") { words.hex()? } else { Vec::new() };
        return Ok(Icmp::Other { kind, code, bytes });
    }
    if !ICMP_ERRORS.iter().any(|(known, ..)| *known == name) {
        let names: Vec<&str> = ICMP_ERRORS.iter().map(|(name, ..)| *name).collect();
        let what = format!("echo-request, echo-reply, type or one of {}", names.join(", "));
        return Err(expected(what, name));
    }
    let has_value = ["mtu", "pointer", "value"].iter().any(|key| words.take(key));
    let value = has_value.then(|| words.value("a number")).transpose()?;
    let about = words.take("about").then(|| quote(words)).transpose()?;
    Ok(Icmp::Error { name, value, about })
}

fn quote(words: &mut Words) -> Result<Quote, Fault> {
    if !words.take("seq") {
        return Err(expected("seq", words.word("seq")?));
    }
    let mut quote =
        Quote { seq: words.num("a sequence number of ours")?, port: None, to: None, size: 1_500 };
    if words.take("port") {
        quote.port = Some(words.value("a port of the peer")?);
    }
    if words.take("size") {
        quote.size = words.value("the octets of our packet")?;
    }
    if words.take("sent-to") {
        quote.to = Some(words.host()?);
    }
    Ok(quote)
}
