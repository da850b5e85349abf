//! From the text of a script to its steps.

use std::net::SocketAddr;

use crate::given;
use crate::parse_packet::packet;
use crate::script::{Action, Call, Change, FlowEnds, Payload, Script, Step, Told, When};
use crate::words::{Fault, Words, cidr, duration_ns, expected, mac};

/// Reads a script. A fault comes with the number of its line.
pub(crate) fn script(text: &str) -> Result<Script, (usize, Fault)> {
    let first = text.lines().next().unwrap_or_default();
    if !first.starts_with("# ") || !(first.contains("RFC") || first.contains('§')) {
        let what = "a comment with the RFC section and the behaviour it proves";
        return Err((1, expected(what, first)));
    }
    let mut script = Script::default();
    let mut actor = String::new();
    for (at, text) in (1..).zip(text.lines()) {
        line(&mut script, &mut actor, at, text).map_err(|fault| (at, fault))?;
    }
    if script.steps.is_empty() {
        return Err((1, "expected steps, came none".to_owned()));
    }
    Ok(script)
}

fn line(script: &mut Script, actor: &mut String, at: usize, text: &str) -> Result<(), Fault> {
    let mut words = Words::of(text)?;
    let Some(first) = words.peek().map(str::to_owned) else { return Ok(()) };
    match first.as_str() {
        "config" => {
            words.next();
            return config(script, at, &mut words);
        }
        "flow" => {
            words.next();
            script.flows.push((at, flow(&mut words)?));
            return words.end();
        }
        _ => {}
    }
    let when = when(&mut words)?;
    let joined = words.take("and");
    if joined && when != When::default() {
        return Err("expected `and` without a time: it is the same turn".to_owned());
    }
    if joined && !words.peek().is_some_and(is_actor) {
        // The actor is the one of the line before.
    } else {
        *actor = words.word("peer, us, app, event, given, state, metric, nothing or skip")?;
    }
    if actor.trim_end_matches(|c: char| c.is_ascii_digit()) == "given" {
        for text in given::lines(flow_number(actor)?, &mut words)? {
            line(script, &mut String::new(), at, &text)
                .map_err(|fault| format!("`given` became `{text}`: {fault}"))?;
        }
        return words.end();
    }
    let action = action(actor, &mut words)?;
    words.end()?;
    let shares = |action: &Action| matches!(action, Action::Peer(..) | Action::App(..));
    if joined && !(shares(&action) && script.steps.last().is_some_and(|step| shares(&step.action)))
    {
        return Err("expected `and` between lines of peer and app".to_owned());
    }
    script.steps.push(Step { line: at, when, joined, action });
    Ok(())
}

fn is_actor(word: &str) -> bool {
    ["peer", "app"].contains(&word.trim_end_matches(|c: char| c.is_ascii_digit()))
}

/// `peer` is flow 1, `peer2` is flow 2.
fn flow_number(actor: &str) -> Result<usize, Fault> {
    let digits = actor.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '-');
    if digits.is_empty() {
        return Ok(1);
    }
    digits.parse().map_err(|_| expected("the number of a flow", digits))
}

fn action(actor: &str, words: &mut Words) -> Result<Action, Fault> {
    let flow = flow_number(actor)?;
    match actor.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "peer" => Ok(Action::Peer(flow, packet(words)?)),
        "us" => Ok(Action::Us(flow, packet(words)?)),
        "app" => Ok(Action::App(flow, call(words)?)),
        "event" => Ok(Action::Event(flow, told(words)?)),
        "state" => Ok(Action::State(flow, words.word("a state")?)),
        "metric" => {
            let name = words.word("the name of a counter or gauge")?;
            Ok(Action::Metric(name, words.value("its value")?))
        }
        "nothing" => Ok(Action::Nothing),
        "skip" if words.take("all") => Ok(Action::Skip(None)),
        "skip" => Ok(Action::Skip(Some(words.value("`all` or a number of packets")?))),
        _ => Err(expected(
            "peer, us, app, event, given, state, metric, nothing, skip, config or flow",
            actor,
        )),
    }
}

/// `+1s`, `+1s~10ms` or `+10ms..20ms`.
fn when(words: &mut Words) -> Result<When, Fault> {
    let Some(word) = words.peek().and_then(|word| word.strip_prefix('+')).map(str::to_owned) else {
        return Ok(When::default());
    };
    words.next();
    let time = |text: &str| {
        duration_ns(text).ok_or_else(|| expected("a time like +40ms, +1s~10ms or +0ms..5ms", &word))
    };
    if let Some((earliest, latest)) = word.split_once("..") {
        return Ok(When { earliest_ns: time(earliest)?, latest_ns: time(latest)? });
    }
    let (middle, tolerance) = word.split_once('~').unwrap_or((&word, "0s"));
    let (middle_ns, tolerance_ns) = (time(middle)?, time(tolerance)?);
    Ok(When {
        earliest_ns: middle_ns.saturating_sub(tolerance_ns),
        latest_ns: middle_ns + tolerance_ns,
    })
}

fn config(script: &mut Script, at: usize, words: &mut Words) -> Result<(), Fault> {
    while let Some(word) = words.next() {
        let (key, value) = word.split_once('=').ok_or_else(|| expected("key=value", &word))?;
        script.config.push((at, key.to_owned(), value.to_owned()));
    }
    Ok(())
}

fn flow(words: &mut Words) -> Result<FlowEnds, Fault> {
    let number = words.value("the number of a flow")?;
    let mut flow = FlowEnds { number, peer: None, own: None, mac: None };
    while let Some(word) = words.next() {
        let (key, value) = word.split_once('=').ok_or_else(|| expected("key=value", &word))?;
        let socket = || value.parse::<SocketAddr>().map_err(|_| expected("address:port", value));
        match key {
            "peer" => flow.peer = Some(socket()?),
            "us" => flow.own = Some(socket()?),
            "mac" => flow.mac = Some(mac(value).ok_or_else(|| expected("a MAC address", value))?),
            _ => return Err(expected("peer=, us= or mac=", word)),
        }
    }
    Ok(flow)
}

fn call(words: &mut Words) -> Result<Call, Fault> {
    Ok(match words.word("a call")?.as_str() {
        "connect" if words.take("fails") => Call::Connect { fails: Some(words.word("why")?) },
        "connect" => Call::Connect { fails: None },
        "send" => {
            let what = words.octets()?;
            let takes = words.take("takes").then(|| words.value("a number of octets"));
            Call::Send { what, takes: takes.transpose()? }
        }
        "close" => Call::Close,
        "abort" => Call::Abort,
        "hold" => Call::Hold,
        "resume" => Call::Resume,
        "read" => Call::Read(words.value("a number of octets")?),
        "want-writable" => Call::WantWritable,
        "announce" => Call::Announce,
        "address" => {
            let change = match words.word("add or remove")?.as_str() {
                "add" => {
                    let (ip, prefix) = cidr(&words.word("an address with its prefix")?)?;
                    Change::Add(ip, prefix)
                }
                "remove" => Change::Remove(words.value("an address")?),
                word => return Err(expected("add or remove", word)),
            };
            let fails = words.take("fails").then(|| words.word("why"));
            Call::Address { change, fails: fails.transpose()? }
        }
        word => {
            let calls = "connect, send, close, abort, hold, resume, read, want-writable, announce, \
                         address";
            return Err(expected(calls, word));
        }
    })
}

fn told(words: &mut Words) -> Result<Told, Fault> {
    Ok(match words.word("an event")?.as_str() {
        "accepted" => Told::Accepted,
        "connected" => Told::Connected,
        "received" if words.take("nothing") => Told::Received(Payload::Empty),
        "received" => Told::Received(words.octets()?),
        "readable" => Told::Readable,
        "writable" => Told::Writable,
        "peer-closed" => Told::PeerClosed,
        "closed" => {
            let reason = words.word("a reason")?;
            if !REASONS.contains(&reason.as_str()) {
                return Err(expected(REASONS.join(", "), reason));
            }
            Told::Closed(reason)
        }
        "neighbor" => {
            let host = words.host()?;
            if !words.take("is-at") {
                return Err(expected("is-at", words.word("is-at")?));
            }
            Told::Neighbor(host, words.link()?)
        }
        word => {
            let events = "accepted, connected, received, readable, writable, peer-closed, closed, \
                          neighbor";
            return Err(expected(events, word));
        }
    })
}

/// How a connection ends.
pub(crate) const REASONS: [&str; 5] = ["finished", "reset", "timed-out", "refused", "aborted"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_line_expectation_and_what_came() {
        let cases = [
            ("peer SYN seq 0", 1, "expected a comment"),
            ("# RFC\npeer SIN seq 0", 2, "came `SIN`"),
            ("# RFC\n\npeer SYN seq", 3, "came the end of the line"),
            ("# RFC\n+5 peer SYN seq 0", 2, "expected a time"),
            ("# RFC\nevent closed gladly", 2, "expected finished, reset"),
            ("# RFC\npeer SYN seq 0 <mss 1460", 2, "expected a closing `>`"),
            ("# RFC\npeer SYN seq 0 <mss>", 2, "expected the MSS"),
            ("# RFC\ngiven SNOOZING", 2, "came `SNOOZING`"),
            ("# RFC\nnothing more", 2, "expected the end of the line, came `more`"),
            ("# RFC\n", 1, "expected steps"),
        ];
        for (text, line, part) in cases {
            let (at, fault) = script(text).expect_err(text);
            assert!(at == line && fault.contains(part), "{text:?}: line {at}: {fault}");
        }
    }

    #[test]
    fn times_have_tolerances() {
        let when = |word: &str| when(&mut Words::of(word).expect("words")).expect(word);
        let of = |earliest_ns, latest_ns| When { earliest_ns, latest_ns };
        assert_eq!(when("+40ms"), of(40_000_000, 40_000_000));
        assert_eq!(when("+1s~10ms"), of(990_000_000, 1_010_000_000));
        assert_eq!(when("+0ms..1.5s"), of(0, 1_500_000_000));
    }
}
