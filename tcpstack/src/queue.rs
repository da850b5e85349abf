//! What waits for output, in order and bounded.

use std::collections::VecDeque;

/// At most `MAX` things. Nothing is allocated after the start.
#[derive(Debug)]
pub(crate) struct Queue<T, const MAX: usize>(VecDeque<T>);

impl<T, const MAX: usize> Queue<T, MAX> {
    pub(crate) fn new() -> Self {
        Self(VecDeque::with_capacity(MAX))
    }

    /// Puts something at the end; `false` when the queue is full, and it is dropped.
    pub(crate) fn push(&mut self, thing: T) -> bool {
        let has_room = self.0.len() < MAX;
        if has_room {
            self.0.push_back(thing);
        }
        has_room
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }

    /// Drops what is no longer wanted.
    pub(crate) fn retain(&mut self, is_wanted: impl FnMut(&T) -> bool) {
        self.0.retain(is_wanted);
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.0.front()
    }

    pub(crate) fn pop(&mut self) {
        self.0.pop_front();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Messages waiting for the link: an announcement of every address, and a burst of questions.
pub(crate) const LINK_MESSAGES_MAX: usize = 128;
const _: () = assert!(LINK_MESSAGES_MAX >= crate::config::ADDRESSES_MAX + crate::BURST_FRAMES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_queue_refuses_and_keeps_its_order() {
        let mut queue = Queue::<u8, 2>::new();
        assert!(queue.is_empty() && queue.push(1) && queue.push(2) && !queue.push(3));
        assert_eq!(queue.front(), Some(&1));
        queue.pop();
        assert!(queue.push(4));
        queue.pop();
        assert_eq!(queue.front(), Some(&4));
        assert!(queue.push(5));
        queue.retain(|thing| *thing != 4);
        assert_eq!(queue.iter().collect::<Vec<_>>(), [&5]);
    }
}
