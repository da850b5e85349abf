//! A shard's desk: questions come in by one ring, answers go out by another, and the shard never
//! waits for who asked.
//!
//! Answers are records of plain bytes; the [`Clerk`] on another thread makes text of them. A round of
//! housekeeping looks at a bounded number of connections, so that a question about a million of them
//! takes a while instead of the shard's time.

use corelink::{Consumer, Filter, Producer, Question, Subject, ring};
use superpage::zerocopy::{FromBytes, IntoBytes};
use tcpstack::{ConnectionStatus, Stack, TraceEntry};

/// Connections or trace records looked at in one round.
const LOOKS_PER_ROUND_MAX: u64 = 256;
/// Connections or trace records looked at for one question.
const LOOKS_PER_QUESTION_MAX: u64 = 1 << 16;
/// Records of an answer put on the ring in one round.
const ANSWERS_PER_ROUND_MAX: u32 = 16;
/// Room for questions: there is one at a time, and perhaps one that nobody waits for any more.
const QUESTIONS_BYTES: usize = 1 << 10;
/// Room for answers until the clerk takes them.
const ANSWERS_BYTES: usize = 64 << 10;

/// The number that says: there are no further connections. A trace never ends.
pub const FINISHED: u64 = u64::MAX;

/// Both ends of a desk.
#[must_use]
pub fn desk() -> (Desk, Clerk) {
    let (asking, questions) = ring(QUESTIONS_BYTES);
    let (answers, answered) = ring(ANSWERS_BYTES);
    (Desk { questions, answers, asked: None }, Clerk { asking, answered, ticket: 0 })
}

/// The shard's end.
#[derive(Debug)]
pub struct Desk {
    questions: Consumer,
    answers: Producer,
    asked: Option<Asked>,
}

/// A question being answered.
#[derive(Clone, Copy, Debug)]
struct Asked {
    ticket: u64,
    question: Question,
    next: u64,
    looks_left: u64,
    lines_left: u32,
}

impl Desk {
    /// One round's share of answering.
    pub(crate) fn step(&mut self, stack: &Stack) {
        let Some(mut asked) = self.asked.take().or_else(|| self.next_question()) else { return };
        let mut records_left = ANSWERS_PER_ROUND_MAX;
        for _ in 0..LOOKS_PER_ROUND_MAX {
            if asked.lines_left == 0 || asked.looks_left == 0 || records_left == 0 {
                break;
            }
            asked.looks_left -= 1;
            let (next, is_pushed) = match look(stack, &asked) {
                Look::End { next } => {
                    (asked.next, asked.lines_left) = (next, 0);
                    break;
                }
                Look::Skip { next } => {
                    asked.next = next;
                    continue;
                }
                Look::Connection { next, status } => {
                    (next, self.push(asked.ticket, Kind::Connection, status.as_bytes()))
                }
                Look::Trace { next, entry } => {
                    (next, self.push(asked.ticket, Kind::Trace, entry.as_bytes()))
                }
            };
            if !is_pushed {
                break;
            }
            asked.next = next;
            (asked.lines_left, records_left) = (asked.lines_left - 1, records_left - 1);
        }
        let is_over = asked.lines_left == 0 || asked.looks_left == 0;
        if !is_over || !self.push(asked.ticket, Kind::End, &asked.next.to_le_bytes()) {
            self.asked = Some(asked);
        }
    }

    fn next_question(&mut self) -> Option<Asked> {
        let mut bytes = [0; TICKET_BYTES + corelink::inquiry::QUESTION_BYTES];
        if self.questions.pop(&mut bytes) != Ok(Some(bytes.len())) {
            return None;
        }
        let (ticket, question) = bytes.split_first_chunk::<TICKET_BYTES>()?;
        let question = Question::decode(question.try_into().ok()?)?;
        Some(Asked {
            ticket: u64::from_le_bytes(*ticket),
            question,
            next: question.from,
            looks_left: LOOKS_PER_QUESTION_MAX,
            lines_left: question.lines_max,
        })
    }

    fn push(&mut self, ticket: u64, kind: Kind, body: &[u8]) -> bool {
        self.answers.push(&[&ticket.to_le_bytes(), &[kind as u8], body]).is_ok()
    }
}

/// What there is at a place.
#[expect(clippy::large_enum_variant, reason = "it lives on the stack for one round")]
enum Look {
    /// Nothing, and nothing behind it yet.
    End { next: u64 },
    /// Nothing that was asked for.
    Skip { next: u64 },
    /// A connection.
    Connection { next: u64, status: ConnectionStatus },
    /// A record of the trace.
    Trace { next: u64, entry: TraceEntry },
}

fn look(stack: &Stack, asked: &Asked) -> Look {
    match asked.question.subject {
        Subject::Connections(filter) => look_at_connection(stack, asked.next, &filter),
        Subject::Trace(filter) => look_at_trace(stack, asked.next, &filter),
    }
}

fn look_at_connection(stack: &Stack, at: u64, filter: &Filter) -> Look {
    let Some(conn) = u32::try_from(at).ok().filter(|conn| *conn < stack.connections_max()) else {
        return Look::End { next: FINISHED };
    };
    let next = at + 1;
    let is_wanted = |state| filter.state.is_none_or(|wanted| wanted == state as u8);
    if !stack.state(conn).is_some_and(is_wanted) {
        return Look::Skip { next };
    }
    let wanted = |status: &ConnectionStatus| {
        filter.takes(status.remote, [status.local_port, status.remote_port])
    };
    match stack.status(conn).filter(wanted) {
        Some(status) => Look::Connection { next, status },
        None => Look::Skip { next },
    }
}

fn look_at_trace(stack: &Stack, at: u64, filter: &Filter) -> Look {
    let Some(entry) = stack.trace(at) else { return Look::End { next: stack.trace_end() } };
    let next = entry.number + 1;
    if filter.takes(entry.remote, [entry.local_port, entry.remote_port]) {
        Look::Trace { next, entry }
    } else {
        Look::Skip { next }
    }
}

/// What a record of an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    End = 0,
    Connection = 1,
    Trace = 2,
}

/// The other end: asks, and reads answers as text.
#[derive(Debug)]
pub struct Clerk {
    asking: Producer,
    answered: Consumer,
    ticket: u64,
}

/// What the clerk has found on the desk.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing yet.
    Nothing,
    /// A line of the answer.
    Line(String),
    /// The end of the answer, and where the next question may go on; [`FINISHED`]: nowhere.
    End(u64),
}

impl Clerk {
    /// Puts a question on the desk. What is left of an earlier answer will be passed over.
    ///
    /// Returns whether there was room, which a shard that does not turn will not make.
    pub fn ask(&mut self, question: &Question) -> bool {
        self.ticket += 1;
        self.asking.push(&[&self.ticket.to_le_bytes(), &question.encode()]).is_ok()
    }

    /// The next piece of the answer to the last question.
    pub fn find(&mut self) -> Found {
        let mut bytes = [0; ANSWER_BYTES_MAX];
        while let Ok(Some(len)) = self.answered.pop(&mut bytes) {
            let Some((ticket, rest)) = bytes[..len].split_first_chunk::<TICKET_BYTES>() else {
                continue;
            };
            let Some((kind, body)) = rest.split_first() else { continue };
            if u64::from_le_bytes(*ticket) == self.ticket {
                return read(*kind, body);
            }
        }
        Found::Nothing
    }
}

fn read(kind: u8, body: &[u8]) -> Found {
    let line = if kind == Kind::Connection as u8 {
        ConnectionStatus::read_from_bytes(body).map(|status| status.to_string()).ok()
    } else if kind == Kind::Trace as u8 {
        TraceEntry::read_from_bytes(body).map(|entry| entry.to_string()).ok()
    } else {
        None
    };
    line.map_or_else(|| Found::End(u64::read_from_bytes(body).unwrap_or(FINISHED)), Found::Line)
}

const TICKET_BYTES: usize = 8;
/// Ticket, kind and the longest record.
const ANSWER_BYTES_MAX: usize = TICKET_BYTES + 1 + size_of::<ConnectionStatus>();
const _: () = assert!(size_of::<TraceEntry>() <= size_of::<ConnectionStatus>());
const _: () = assert!(ANSWERS_BYTES >= 2 * (ANSWERS_PER_ROUND_MAX as usize) * ANSWER_BYTES_MAX);
