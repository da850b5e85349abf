//! Segments sent without a TCB: resets, and acknowledgements for entries that have none.

use std::collections::VecDeque;

use crate::options::Options;
use crate::segment::{Header, Segment, control};
use crate::seq::SeqNum;

/// Segments waiting to be sent.
#[derive(Debug)]
pub(crate) struct Answers(VecDeque<Header>);

impl Answers {
    pub(crate) fn new() -> Self {
        Self(VecDeque::with_capacity(ANSWERS_MAX))
    }

    /// Queues a segment; `false` when the queue is full. The peer's timer brings it here again.
    pub(crate) fn push(&mut self, header: Header) -> bool {
        let has_room = self.0.len() < ANSWERS_MAX;
        if has_room {
            self.0.push_back(header);
        }
        has_room
    }

    pub(crate) fn front(&self) -> Option<Header> {
        self.0.front().copied()
    }

    pub(crate) fn pop(&mut self) {
        self.0.pop_front();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The reset that answers a segment for which there is no connection, RFC 9293 §3.10.7.1.
pub(crate) fn reset_for(segment: &Segment) -> Option<Header> {
    if segment.has(control::RST) {
        return None;
    }
    let (seq, ack, control) = if segment.has(control::ACK) {
        (segment.ack, SeqNum(0), control::RST)
    } else {
        (SeqNum(0), segment.end(), control::RST | control::ACK)
    };
    Some(Header {
        key: segment.key,
        seq,
        ack,
        control,
        window: 0,
        options: Options::default(),
        traffic_class: 0,
    })
}

/// Answers of four bursts.
const ANSWERS_MAX: usize = 4 * crate::BURST_FRAMES_MAX;
