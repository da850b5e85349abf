//! The text that names a shard's counters, so that no reader needs the dataplane's types.
//!
//! One line a counter, in the order of the counters: name, `counter` or `gauge`, labels, help,
//! with tabs between them. Labels are `key=value` with commas between them, or nothing.
//!
//! ```text
//! tcpstack_segments_received_total<TAB>counter<TAB><TAB>Segments with a good checksum.
//! port_frames_total<TAB>counter<TAB>port=net_tap0,direction=rx<TAB>Frames that passed the port.
//! ```

/// One line of a catalogue: what one counter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Name, by the rules of Prometheus: letters, digits, `_`, `:`, no digit first.
    pub name: String,
    /// Whether it only goes up.
    pub kind: Kind,
    /// Labels and their values; keys as names, without `:`.
    pub labels: Vec<(String, String)>,
    /// One sentence for people.
    pub help: String,
}

/// How a value behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up only, as long as the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// Why a text is no catalogue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// A line breaks the form.
    #[error("catalogue line {line}: {problem}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There are more or fewer lines than counters.
    #[error("the catalogue has {lines} lines for {counters} counters")]
    Length {
        /// Lines of the text.
        lines: usize,
        /// Counters of a shard.
        counters: usize,
    },
}

/// Reads a catalogue that must describe `counters` counters.
pub(super) fn parse(text: &str, counters: usize) -> Result<Vec<Slot>, CatalogueError> {
    let lines = text.lines().count();
    if lines != counters {
        return Err(CatalogueError::Length { lines, counters });
    }
    text.lines()
        .enumerate()
        .map(|(at, line)| {
            parse_line(line).map_err(|problem| CatalogueError::Line { line: at + 1, problem })
        })
        .collect()
}

fn parse_line(line: &str) -> Result<Slot, &'static str> {
    let mut fields = line.split('\t');
    let mut field = || fields.next().ok_or("has fewer than four fields");
    let (name, kind, labels, help) = (field()?, field()?, field()?, field()?);
    if fields.next().is_some() {
        return Err("has more than four fields");
    }
    if !is_name(name, true) {
        return Err("has a name that Prometheus does not take");
    }
    let kind = match kind {
        "counter" => Kind::Counter,
        "gauge" => Kind::Gauge,
        _ => return Err("is neither counter nor gauge"),
    };
    if line.contains(|character: char| character.is_control() && character != '\t') {
        return Err("holds a control character");
    }
    let labels = match labels {
        "" => Vec::new(),
        labels => labels.split(',').map(parse_label).collect::<Result<_, _>>()?,
    };
    Ok(Slot { name: name.to_owned(), kind, labels, help: help.to_owned() })
}

fn parse_label(label: &str) -> Result<(String, String), &'static str> {
    let (key, value) = label.split_once('=').ok_or("has a label without a value")?;
    if !is_name(key, false) {
        return Err("has a label key that Prometheus does not take");
    }
    Ok((key.to_owned(), value.to_owned()))
}

fn is_name(name: &str, may_have_colons: bool) -> bool {
    let is_inner = |byte: u8| {
        byte.is_ascii_alphanumeric() || byte == b'_' || (may_have_colons && byte == b':')
    };
    name.bytes().all(is_inner) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_becomes_a_slot() {
        let text = "port_frames_total\tcounter\tport=net_tap0,direction=rx\tFrames, all of them.\n\
                    shard_connections\tgauge\t\t\n";
        let slots = parse(text, 2).unwrap();
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(slots[0].name, "port_frames_total");
        assert_eq!(slots[0].kind, Kind::Counter);
        assert_eq!(slots[0].labels, [label("port", "net_tap0"), label("direction", "rx")]);
        assert_eq!(slots[0].help, "Frames, all of them.");
        let connections = Slot {
            name: "shard_connections".to_owned(),
            kind: Kind::Gauge,
            labels: vec![],
            help: String::new(),
        };
        assert_eq!(slots[1], connections);
        assert_eq!(parse("", 0), Ok(vec![]));
    }

    #[test]
    fn broken_line_is_named() {
        for (line, word) in [
            ("", "fewer"),
            ("a\tcounter\t", "fewer"),
            ("a\tcounter\t\thelp\tmore", "more than four"),
            ("\tcounter\t\thelp", "name"),
            ("9a\tcounter\t\thelp", "name"),
            ("a-b\tcounter\t\thelp", "name"),
            ("a\thistogram\t\thelp", "neither"),
            ("a\tgauge\tport\thelp", "without a value"),
            ("a\tgauge\tport=1,\thelp", "without a value"),
            ("a\tgauge\tpo:rt=1\thelp", "label key"),
            ("a\tgauge\t\the\x1b[31mlp", "control"),
        ] {
            let text = format!("good\tgauge\t\t\n{line}\n");
            match parse(&text, 2) {
                Err(CatalogueError::Line { line: 2, problem }) => {
                    assert!(problem.contains(word), "{line:?}: {problem}");
                }
                other => panic!("{line:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn every_counter_needs_its_line() {
        let error = parse("a\tgauge\t\t\n", 2).unwrap_err();
        assert_eq!(error, CatalogueError::Length { lines: 1, counters: 2 });
    }
}
