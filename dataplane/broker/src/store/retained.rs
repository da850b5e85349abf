//! Retained messages, by topic (MQTT 5 §3.3.1.3), on the home shard of the topic.

use superpage::{NIL, Placement, RegionError, record};
use thiserror::Error;

use super::RegionFact;
use super::hash::Secret;
use super::message::MessageId;
use crate::topic::name::{LEVELS_MAX, TopicFilter, TopicName};
use crate::topic::tree::{LevelTree, Place, ROOT, TreeLimits, TreeNames};

record! {
    /// Where a search for all topics of a filter has come to.
    #[derive(PartialEq, Eq)]
    pub(crate) struct RetainedCursor {
        /// Node to look at next, kept alive by a pin; `NIL` when the search is over.
        node: u32,
        reserved: u32,
    }
}

const _: () = assert!(size_of::<RetainedCursor>() == 8);

impl RetainedCursor {
    /// A search that is over.
    pub(crate) const DONE: RetainedCursor = RetainedCursor { node: NIL, reserved: 0 };

    /// Whether the search is over.
    pub(crate) fn is_done(&self) -> bool {
        self.node == NIL
    }
}

/// No room for another topic.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the table of retained messages is full")]
pub(crate) struct RetainedFull;

/// How much a [`RetainedStore`] holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetainedLimits {
    /// Topics with a retained message.
    pub(crate) topics: u32,
    /// Levels of these topics; equal beginnings share theirs.
    pub(crate) nodes: u32,
    /// Units for the texts of the levels.
    pub(crate) level_units: u32,
}

/// The retained message of each topic. References to messages are the caller's to count.
#[derive(Debug)]
pub(crate) struct RetainedStore {
    tree: LevelTree,
    topics: u32,
    topics_max: u32,
}

impl RetainedStore {
    /// Makes an empty store.
    pub(crate) fn create(
        limits: &RetainedLimits,
        secret: Secret,
        placement: Placement,
    ) -> Result<Self, RegionError> {
        let tree = LevelTree::create(TREE_NAMES, tree_limits(limits), secret, placement)?;
        Ok(Self { tree, topics: 0, topics_max: limits.topics })
    }

    /// Bytes of such a store.
    pub(crate) const fn bytes_for(limits: &RetainedLimits) -> usize {
        LevelTree::bytes_for(tree_limits(limits))
    }

    /// Retains a message; returns the one it replaces.
    ///
    /// # Errors
    /// [`RetainedFull`] when the topic is new and there is no room for it.
    pub(crate) fn set(
        &mut self,
        topic: TopicName<'_>,
        message: MessageId,
    ) -> Result<Option<MessageId>, RetainedFull> {
        if self.get(topic).is_none() && self.topics == self.topics_max {
            return Err(RetainedFull);
        }
        let node = self.tree.make(topic.levels()).ok_or(RetainedFull)?;
        let previous = present(self.tree.set(node, Place::Here, message));
        self.topics += u32::from(previous.is_none());
        Ok(previous)
    }

    /// Forgets a topic; returns its message.
    pub(crate) fn clear(&mut self, topic: TopicName<'_>) -> Option<MessageId> {
        let node = self.tree.find(topic.levels())?;
        let previous = present(self.tree.set(node, Place::Here, NIL));
        self.topics -= u32::from(previous.is_some());
        previous
    }

    /// The message of a topic.
    pub(crate) fn get(&self, topic: TopicName<'_>) -> Option<MessageId> {
        present(self.tree.get(self.tree.find(topic.levels())?).here)
    }

    /// Begins a search.
    pub(crate) fn begin(&mut self) -> RetainedCursor {
        self.tree.pin(ROOT);
        RetainedCursor { node: ROOT, reserved: 0 }
    }

    /// Goes on with a search for all topics that match `filter`: looks at up to `budget` levels of
    /// topics and writes messages to `out` until it is full. Returns how many.
    ///
    /// The store may change between two calls. What was retained before the search began and is
    /// still there is found exactly once; what came since may be found or not.
    pub(crate) fn next(
        &mut self,
        filter: &TopicFilter<'_>,
        cursor: &mut RetainedCursor,
        budget: usize,
        out: &mut [MessageId],
    ) -> usize {
        if cursor.is_done() {
            return 0;
        }
        let search = Search::new(filter);
        let (mut node, mut found) = (cursor.node, 0);
        for _ in 0..budget {
            if node == NIL {
                break;
            }
            if let Some(message) = search.result_at(&self.tree, node) {
                let Some(place) = out.get_mut(found) else { break };
                *place = message;
                found += 1;
            }
            node = search.after(&self.tree, node);
        }
        if node != NIL {
            self.tree.pin(node);
        }
        self.tree.unpin(cursor.node);
        cursor.node = node;
        found
    }

    /// Ends a search, which must be done unless it is over by itself.
    pub(crate) fn end(&mut self, cursor: RetainedCursor) {
        if !cursor.is_done() {
            self.tree.unpin(cursor.node);
        }
    }

    /// Topics with a retained message.
    pub(crate) fn topics(&self) -> u32 {
        self.topics
    }

    /// What the store lies on.
    pub(crate) fn regions(&self) -> Vec<RegionFact> {
        self.tree.regions().to_vec()
    }
}

/// A filter taken apart, to lead through a tree of topics.
struct Search<'a> {
    levels: [&'a [u8]; LEVELS_MAX],
    level_count: usize,
    /// The filter ends with `#`, which is not among the levels.
    multi: bool,
}

/// Which children of a node a search goes to.
#[derive(PartialEq, Eq)]
enum Children<'a> {
    None,
    One(&'a [u8]),
    All,
}

impl<'a> Search<'a> {
    fn new(filter: &TopicFilter<'a>) -> Self {
        let (path, multi) = filter.path();
        let (mut levels, mut level_count) = ([&b""[..]; LEVELS_MAX], 0);
        for level in path {
            levels[level_count] = level;
            level_count += 1;
        }
        Self { levels, level_count, multi }
    }

    /// The message at a node that the search came to, if its topic matches.
    fn result_at(&self, tree: &LevelTree, node: u32) -> Option<MessageId> {
        let record = tree.get(node);
        if (record.depth as usize) < self.level_count || self.is_hidden(tree, node) {
            return None;
        }
        present(record.here)
    }

    /// The node to look at after `node`, in an order in which parents come before their children;
    /// `NIL` after the last one.
    fn after(&self, tree: &LevelTree, node: u32) -> u32 {
        if !self.is_hidden(tree, node) {
            let child = match self.children(tree.get(node).depth) {
                Children::None => NIL,
                Children::One(level) => {
                    tree.child(node, level, tree.level_hash(level)).unwrap_or(NIL)
                }
                Children::All => tree.get(node).first_child,
            };
            if child != NIL {
                return child;
            }
        }
        let mut at = node;
        while at != ROOT {
            let record = tree.get(at);
            let siblings_too = self.children(record.depth - 1) == Children::All;
            if siblings_too && record.next_sibling != NIL {
                return record.next_sibling;
            }
            at = record.parent;
        }
        NIL
    }

    fn children(&self, depth: u32) -> Children<'a> {
        match self.levels[..self.level_count].get(depth as usize).copied() {
            Some(b"+") => Children::All,
            Some(level) => Children::One(level),
            None if self.multi => Children::All,
            None => Children::None,
        }
    }

    /// MQTT 5 §4.7.2: a leading wildcard does not match topics that begin with `$`.
    fn is_hidden(&self, tree: &LevelTree, node: u32) -> bool {
        tree.get(node).depth == 1 && self.children(0) == Children::All && tree.is_reserved(node)
    }
}

fn present(value: u32) -> Option<u32> {
    (value != NIL).then_some(value)
}

const fn tree_limits(limits: &RetainedLimits) -> TreeLimits {
    TreeLimits { nodes: limits.nodes, level_units: limits.level_units }
}

const TREE_NAMES: TreeNames =
    TreeNames { nodes: "retained", levels: "retained-levels", index: "retained-index" };

#[cfg(test)]
mod tests;
