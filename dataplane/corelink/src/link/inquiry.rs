//! Questions to a running dataplane, and how answers come back.
//!
//! A question is one connection to the dataplane's socket: a role byte, then [`QUESTION_BYTES`] bytes.
//! The answer is lines of text, each after its length, an empty one as the end, and the number where
//! the next question may go on. A question is hostile until [`Question::decode`] has looked at it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::client::AttachError;
use super::socket::{self, Role};

/// What somebody wants to see of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Which shard.
    pub shard: u16,
    /// Where to go on: a connection's number, or a trace record's.
    pub from: u64,
    /// Lines wanted at most.
    pub lines_max: u32,
    /// What about.
    pub subject: Subject,
}

/// What a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Connections that pass the filter.
    Connections(Filter),
    /// The trace of transitions and drops, of flows that pass the filter.
    Trace(Filter),
}

/// Which flows are meant. Everything that is `None` lets all pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The peer's address.
    pub peer: Option<IpAddr>,
    /// A port of either end.
    pub port: Option<u16>,
    /// Code of a connection's state.
    pub state: Option<u8>,
}

impl Filter {
    /// Whether a flow passes. Addresses are IPv6, IPv4 ones mapped.
    #[must_use]
    pub fn takes(&self, peer: [u8; 16], ports: [u16; 2]) -> bool {
        let is_peer = |wanted| Ipv6Addr::from(peer).to_canonical() == wanted;
        self.peer.is_none_or(is_peer) && self.port.is_none_or(|port| ports.contains(&port))
    }
}

impl Question {
    /// The question as it crosses the socket.
    #[must_use]
    pub fn encode(&self) -> [u8; QUESTION_BYTES] {
        let (kind, filter) = match &self.subject {
            Subject::Connections(filter) => (KIND_CONNECTIONS, filter),
            Subject::Trace(filter) => (KIND_TRACE, filter),
        };
        let peer = filter.peer.map_or(Ipv6Addr::UNSPECIFIED, |peer| match peer {
            IpAddr::V4(peer) => peer.to_ipv6_mapped(),
            IpAddr::V6(peer) => peer,
        });
        let mut bytes = [0; QUESTION_BYTES];
        bytes[0] = kind;
        bytes[1] = filter.state.unwrap_or(ANY_STATE);
        bytes[2..4].copy_from_slice(&self.shard.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.lines_max.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.from.to_le_bytes());
        bytes[16..32].copy_from_slice(&peer.octets());
        bytes[32..34].copy_from_slice(&filter.port.unwrap_or(0).to_le_bytes());
        bytes
    }

    /// Looks at what came; `None` when it is no question.
    #[must_use]
    pub fn decode(bytes: &[u8; QUESTION_BYTES]) -> Option<Self> {
        let part = |at: usize, len: usize| {
            let mut word = [0; 8];
            word[..len].copy_from_slice(&bytes[at..at + len]);
            u64::from_le_bytes(word)
        };
        let mut peer = [0; 16];
        peer.copy_from_slice(&bytes[16..32]);
        let peer = Ipv6Addr::from(peer);
        let filter = Filter {
            peer: (!peer.is_unspecified()).then(|| peer.to_canonical()),
            port: Some(part(32, 2) as u16).filter(|port| *port != 0),
            state: Some(bytes[1]).filter(|state| *state != ANY_STATE),
        };
        let subject = match bytes[0] {
            KIND_CONNECTIONS => Subject::Connections(filter),
            KIND_TRACE => Subject::Trace(filter),
            _ => return None,
        };
        let (shard, lines_max) = (part(2, 2) as u16, part(4, 4) as u32);
        Some(Self { shard, from: part(8, 8), lines_max, subject })
    }
}

/// Writes one line of an answer.
///
/// # Errors
/// When the other side does not take it.
pub fn answer_line(mut stream: &UnixStream, line: &str) -> io::Result<()> {
    let bytes = line.as_bytes();
    let bytes = &bytes[..line.floor_char_boundary(bytes.len().min(LINE_BYTES_MAX))];
    stream.write_all(&(bytes.len() as u32).to_le_bytes())?;
    stream.write_all(bytes)
}

/// Ends an answer; the next question may go on at `next`.
///
/// # Errors
/// When the other side does not take it.
pub fn answer_end(mut stream: &UnixStream, next: u64) -> io::Result<()> {
    stream.write_all(&0_u32.to_le_bytes())?;
    stream.write_all(&next.to_le_bytes())
}

/// Asks the dataplane that listens on `socket`, gives each line of its answer to `on_line`, and
/// returns where the next question may go on.
///
/// # Errors
/// [`AttachError`]; also when the answer breaks off, which it does when the shard does not turn.
pub fn ask(
    socket: &Path,
    question: &Question,
    mut on_line: impl FnMut(&str),
) -> Result<u64, AttachError> {
    let mut stream = UnixStream::connect(socket).map_err(AttachError::Connect)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(AttachError::Connect)?;
    let mut answer = || -> io::Result<u64> {
        socket::request(&stream, Role::Inquirer)?;
        stream.write_all(&question.encode())?;
        let mut line = Vec::new();
        loop {
            let mut len = [0; 4];
            stream.read_exact(&mut len)?;
            let len = u32::from_le_bytes(len) as usize;
            if len == 0 {
                let mut next = [0; 8];
                stream.read_exact(&mut next)?;
                return Ok(u64::from_le_bytes(next));
            }
            if len > LINE_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"));
            }
            line.resize(len, 0);
            stream.read_exact(&mut line)?;
            on_line(&String::from_utf8_lossy(&line));
        }
    };
    answer().map_err(AttachError::Hello)
}

/// Bytes of a question on the socket.
pub const QUESTION_BYTES: usize = 64;
/// Longest line of an answer.
const LINE_BYTES_MAX: usize = 4_096;
/// A shard that does not answer in this time does not turn.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
const KIND_CONNECTIONS: u8 = 1;
const KIND_TRACE: u8 = 2;
const ANY_STATE: u8 = u8::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_survives_the_socket() {
        let filter =
            Filter { peer: Some(IpAddr::from([10, 77, 0, 2])), port: Some(1_883), state: Some(3) };
        for subject in [
            Subject::Connections(filter),
            Subject::Trace(filter),
            Subject::Trace(Filter::default()),
            Subject::Connections(Filter {
                peer: Some("fd54:4c::2".parse().unwrap()),
                ..Filter::default()
            }),
        ] {
            let question = Question { shard: 513, from: u64::MAX - 1, lines_max: 70_000, subject };
            assert_eq!(Question::decode(&question.encode()), Some(question));
        }
        assert_eq!(Question::decode(&[0; QUESTION_BYTES]), None);
    }

    #[test]
    fn filter_compares_addresses_and_either_port() {
        let mapped = |last| std::net::Ipv4Addr::new(10, 77, 0, last).to_ipv6_mapped().octets();
        let filter =
            Filter { peer: Some(IpAddr::from([10, 77, 0, 2])), port: Some(7), state: None };
        assert!(filter.takes(mapped(2), [7, 9]) && filter.takes(mapped(2), [9, 7]));
        assert!(!filter.takes(mapped(3), [7, 9]) && !filter.takes(mapped(2), [8, 9]));
        assert!(Filter::default().takes(mapped(3), [1, 2]));
    }
}
