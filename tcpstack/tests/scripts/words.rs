//! Words of a line, taken one by one.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use crate::script::{Host, Link, Num, Payload};

/// Why a line cannot be read.
pub(crate) type Fault = String;

/// The words of a line that are not read yet.
#[derive(Debug)]
pub(crate) struct Words {
    words: Vec<String>,
    at: usize,
}

impl Words {
    /// Splits at blanks; what stands in `"…"` or `<…>` is one word; `#` begins a comment.
    pub(crate) fn of(line: &str) -> Result<Self, Fault> {
        let mut words = Vec::new();
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next().filter(|first| *first != '#') {
            let end = match first {
                '"' => closing(rest, '"')?,
                '<' => closing(rest, '>')?,
                _ => rest.find(char::is_whitespace).unwrap_or(rest.len()),
            };
            words.push(rest[..end].to_owned());
            rest = rest[end..].trim_start();
        }
        Ok(Self { words, at: 0 })
    }

    pub(crate) fn peek(&self) -> Option<&str> {
        self.words.get(self.at).map(String::as_str)
    }

    pub(crate) fn next(&mut self) -> Option<String> {
        self.at += 1;
        self.words.get(self.at - 1).cloned()
    }

    /// Takes the next word if it is this one.
    pub(crate) fn take(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    /// The next word, which must be there.
    pub(crate) fn word(&mut self, what: &str) -> Result<String, Fault> {
        self.next().ok_or_else(|| format!("expected {what}, came the end of the line"))
    }

    /// The next word, as a value.
    pub(crate) fn value<T: FromStr>(&mut self, what: &str) -> Result<T, Fault> {
        let word = self.word(what)?;
        word.parse().map_err(|_| expected(what, word))
    }

    pub(crate) fn end(&self) -> Result<(), Fault> {
        self.peek().map_or(Ok(()), |word| Err(expected("the end of the line", word)))
    }

    pub(crate) fn num(&mut self, what: &str) -> Result<Num, Fault> {
        num(&self.word(what)?).ok_or_else(|| expected(what, &self.words[self.at - 1]))
    }

    pub(crate) fn hex(&mut self) -> Result<Vec<u8>, Fault> {
        let word = self.word("octets in hex")?;
        hex(&word).ok_or_else(|| expected("octets in hex", word))
    }

    pub(crate) fn host(&mut self) -> Result<Host, Fault> {
        match self.word("an address")?.as_str() {
            "peer" => Ok(Host::Peer),
            "us" => Ok(Host::Us),
            "nobody" => Ok(Host::Nobody),
            word => word
                .parse()
                .map(Host::Is)
                .map_err(|_| expected("an IP address, `peer`, `us` or `nobody`", word)),
        }
    }

    pub(crate) fn link(&mut self) -> Result<Link, Fault> {
        match self.word("a MAC address")?.as_str() {
            "peer" => Ok(Link::Peer),
            "us" => Ok(Link::Us),
            "broadcast" => Ok(Link::Broadcast),
            word => mac(word)
                .map(Link::Is)
                .ok_or_else(|| expected("a MAC address, `peer`, `us` or `broadcast`", word)),
        }
    }

    /// A number of octets, or the octets themselves.
    pub(crate) fn octets(&mut self) -> Result<Payload, Fault> {
        if self.peek().is_some_and(|word| word.starts_with('"')) {
            return self.text().map(Payload::Text);
        }
        self.value("a number of octets or a text in quotes").map(Payload::Len)
    }

    pub(crate) fn text(&mut self) -> Result<Vec<u8>, Fault> {
        if self.take("hex") {
            return self.hex();
        }
        let word = self.word("a text in quotes, or `hex`")?;
        let inner = word.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        inner
            .map(|inner| inner.as_bytes().to_vec())
            .ok_or_else(|| expected("a text in quotes, or `hex`", word))
    }
}

pub(crate) fn expected(what: impl Display, came: impl Display) -> Fault {
    format!("expected {what}, came `{came}`")
}

pub(crate) fn num(word: &str) -> Option<Num> {
    if word == "*" {
        return Some(Num::Any);
    }
    match word.strip_prefix('!') {
        Some(raw) => raw.parse().ok().map(Num::Raw),
        None => word.parse().ok().map(Num::Rel),
    }
}

/// An address with the length of its prefix.
pub(crate) fn cidr(word: &str) -> Result<(IpAddr, u8), Fault> {
    let parts = word.split_once('/');
    let parts = parts.and_then(|(ip, prefix)| Some((ip.parse().ok()?, prefix.parse().ok()?)));
    parts.ok_or_else(|| expected("an address like 10.0.1.1/24", word))
}

pub(crate) fn mac(word: &str) -> Option<[u8; 6]> {
    let octets = word.split(':').map(|octet| u8::from_str_radix(octet, 16).ok());
    octets.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

pub(crate) fn hex(word: &str) -> Option<Vec<u8>> {
    if !word.is_ascii() || word.len() % 2 == 1 {
        return None;
    }
    (0..word.len()).step_by(2).map(|at| u8::from_str_radix(&word[at..at + 2], 16).ok()).collect()
}

/// A time with its unit, in ns.
pub(crate) fn duration_ns(word: &str) -> Option<u64> {
    let unit = word.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let scale = match &word[unit..] {
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "min" => 60e9,
        _ => return None,
    };
    Some((word[..unit].parse::<f64>().ok()? * scale).round() as u64)
}

fn closing(text: &str, bracket: char) -> Result<usize, Fault> {
    let end = text[1..].find(bracket).map(|at| at + 2);
    end.ok_or_else(|| format!("expected a closing `{bracket}` after `{text}`"))
}
