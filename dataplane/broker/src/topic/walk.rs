//! Finding all filters of a tree that match a topic name.

use std::fmt;

use superpage::NIL;

use super::name::{LEVELS_MAX, TopicName};
use super::tree::{LevelTree, ROOT};

/// A walk through a tree of filters, step by step. It keeps no borrow of the tree, which must not
/// change on the way.
pub(crate) struct Walk {
    levels: Box<[Level; LEVELS_MAX]>,
    level_count: usize,
    stack: Box<[u32; STACK_NODES]>,
    stack_len: usize,
    /// Found together with the last result, or `NIL`.
    pending: u32,
    reserved: bool,
}

/// Where a level of the topic lies, and its hash.
#[derive(Clone, Copy, Default)]
struct Level {
    start: u16,
    end: u16,
    hash: u64,
}

impl Walk {
    /// Makes the scratch memory of a walk.
    pub(crate) fn new() -> Self {
        Self {
            levels: Box::new([Level::default(); LEVELS_MAX]),
            level_count: 0,
            stack: Box::new([NIL; STACK_NODES]),
            stack_len: 0,
            pending: NIL,
            reserved: false,
        }
    }

    /// Begins a walk for `topic`.
    pub(crate) fn start(&mut self, tree: &LevelTree, topic: TopicName<'_>) {
        (self.level_count, self.stack_len, self.pending) = (0, 0, NIL);
        if tree.is_empty() {
            return;
        }
        self.reserved = topic.is_reserved();
        let mut start = 0;
        for level in topic.levels() {
            // A topic is at most 65,535 bytes long.
            let end = start + level.len() as u16;
            self.levels[self.level_count] = Level { start, end, hash: tree.level_hash(level) };
            self.level_count += 1;
            start = end.wrapping_add(1);
        }
        self.push(ROOT);
    }

    /// The value of the next filter that matches `topic`, the one the walk began with.
    pub(crate) fn next(&mut self, tree: &LevelTree, topic: TopicName<'_>) -> Option<u32> {
        if self.pending != NIL {
            return Some(std::mem::replace(&mut self.pending, NIL));
        }
        while self.stack_len > 0 {
            self.stack_len -= 1;
            let at = self.stack[self.stack_len];
            let node = tree.get(at);
            let depth = node.depth as usize;
            // MQTT 5 §4.7.2: a leading wildcard does not match names that begin with `$`.
            let wild = depth > 0 || !self.reserved;
            // MQTT 5 §4.7.1.2: `#` stands for the parent level and all below it.
            let below = if wild { node.below } else { NIL };
            let ended = depth == self.level_count;
            let here = if ended { node.here } else { NIL };
            if !ended {
                if wild && node.plus != NIL {
                    self.push(node.plus);
                }
                let Level { start, end, hash } = self.levels[depth];
                let level = &topic.as_bytes()[usize::from(start)..usize::from(end)];
                if let Some(child) = tree.child(at, level, hash) {
                    self.push(child);
                }
            }
            match (below, here) {
                (NIL, NIL) => {}
                (NIL, found) | (found, NIL) => return Some(found),
                (found, also) => {
                    self.pending = also;
                    return Some(found);
                }
            }
        }
        None
    }

    fn push(&mut self, node: u32) {
        self.stack[self.stack_len] = node;
        self.stack_len += 1;
    }
}

impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk")
            .field("level_count", &self.level_count)
            .field("stack_len", &self.stack_len)
            .finish_non_exhaustive()
    }
}

/// Each step takes one node off and puts at most two of the next level on, so every level leaves
/// at most one behind.
const STACK_NODES: usize = LEVELS_MAX + 2;
