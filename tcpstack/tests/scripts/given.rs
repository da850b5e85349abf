//! `given STATE`: the exchange that leads to a state, as lines of a script.

use crate::words::{Fault, Words, expected};

/// How to reach each state from LISTEN. `W` is the peer's window, `O` its SYN's options, `T` the
/// timestamp of its other segments.
const OPEN: [&str; 4] =
    ["peer SYN seq 0 W O", "us SYN,ACK seq 0 ack 1", "peer ACK seq 1 ack 1 W T", "event accepted"];
const OURS: [&str; 2] = ["app close", "us FIN,ACK seq 1 ack 1"];
const THEIRS: [&str; 3] =
    ["peer FIN,ACK seq 1 ack 1 W T", "us ACK seq 1 ack 2", "event peer-closed"];

/// The lines that stand for `given` with these words.
pub(crate) fn lines(flow: usize, words: &mut Words) -> Result<Vec<String>, Fault> {
    let state = words.word("a state")?;
    let steps: Vec<&str> = match state.as_str() {
        "SYN-SENT" => vec!["app connect", "us SYN seq 0"],
        "SYN-RECEIVED" => OPEN[..2].to_vec(),
        "ESTABLISHED" => OPEN.to_vec(),
        "FIN-WAIT-1" => [&OPEN[..], &OURS].concat(),
        "FIN-WAIT-2" => [&OPEN[..], &OURS, &["peer ACK seq 1 ack 2 W T"]].concat(),
        "CLOSE-WAIT" => [&OPEN[..], &THEIRS].concat(),
        "CLOSING" => {
            let crossed = ["peer FIN,ACK seq 1 ack 1 W T", "us ACK seq 2 ack 2"];
            [&OPEN[..], &OURS, &crossed].concat()
        }
        "LAST-ACK" => [&OPEN[..], &THEIRS, &["app close", "us FIN,ACK seq 1 ack 2"]].concat(),
        "TIME-WAIT" => {
            let last =
                ["peer FIN,ACK seq 1 ack 2 W T", "us ACK seq 2 ack 2", "event closed finished"];
            [&OPEN[..], &OURS, &last].concat()
        }
        _ => return Err(expected("a state of RFC 9293 §3.3.2 but LISTEN and CLOSED", state)),
    };
    let (mut window, mut options, mut stamp) = (String::new(), String::new(), String::new());
    while let Some(word) = words.next() {
        if word == "win" {
            window = format!("win {}", words.value::<u16>("a window")?);
        } else if word.starts_with('<') {
            let mut list = word.trim_matches(['<', '>']).split(',').map(str::trim);
            let ts = list.rfind(|option| option.starts_with("ts "));
            stamp = ts.map_or(String::new(), |ts| format!("<{ts}>"));
            options = word;
        } else {
            return Err(expected("win or <options>", word));
        }
    }
    if options.is_empty() {
        options = "<mss 1000>".to_owned();
    }
    Ok(steps.into_iter().map(|step| expand(step, flow, &window, &options, &stamp)).collect())
}

fn expand(step: &str, flow: usize, window: &str, options: &str, stamp: &str) -> String {
    let words = step.split(' ').enumerate().map(|(at, word)| match word {
        _ if at == 0 && flow > 1 => format!("{word}{flow}"),
        "W" => window.to_owned(),
        "O" => options.to_owned(),
        "T" => stamp.to_owned(),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}
