//! A tree of texts by topic level: wildcard filters, and topics with a retained message.

use superpage::{NIL, Placement, RegionError, Slab, record};

use crate::store::RegionFact;
use crate::store::bytes::{BlobId, ByteStore, EMPTY};
use crate::store::hash::Secret;
use crate::store::table::HashIndex;

record! {
    /// One level below its parent. A node lives as long as something refers to it: a child, a
    /// value or a pin.
    pub(crate) struct Node {
        /// Keyed hash of the level's text.
        level_hash: u64,
        /// Node of the level before.
        pub(crate) parent: u32,
        /// Text of the level.
        level: BlobId,
        /// One of the children, or `NIL`.
        pub(crate) first_child: u32,
        /// Next child of the same parent, or `NIL`.
        pub(crate) next_sibling: u32,
        previous_sibling: u32,
        /// The child `+`, or `NIL`.
        pub(crate) plus: u32,
        /// What is kept for the text that ends here, or `NIL`.
        pub(crate) here: u32,
        /// What is kept for the text that goes on with `#`, or `NIL`.
        pub(crate) below: u32,
        references: u32,
        /// Levels of the text up to here; 0 at the root.
        pub(crate) depth: u32,
    }
}

const _: () = assert!(size_of::<Node>() == 48);

/// The node of no level: parent of all first levels. It is always there.
pub(crate) const ROOT: u32 = 0;

/// Which of a node's two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// That of the text that ends at the node.
    Here,
    /// That of the text that ends with a `#` below it.
    Below,
}

/// How much a [`LevelTree`] holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TreeLimits {
    /// Levels: equal beginnings of texts share theirs.
    pub(crate) nodes: u32,
    /// Units of [`LEVEL_UNIT_BYTES`] for their texts.
    pub(crate) level_units: u32,
}

/// What the three regions of a tree are called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TreeNames {
    /// The nodes.
    pub(crate) nodes: &'static str,
    /// The texts of the levels.
    pub(crate) levels: &'static str,
    /// The table that finds a child by its level.
    pub(crate) index: &'static str,
}

/// Values by path. Children are found by hash, and listed through their siblings.
#[derive(Debug)]
pub(crate) struct LevelTree {
    names: TreeNames,
    secret: Secret,
    nodes: Slab<Node>,
    levels: ByteStore,
    children: HashIndex,
}

impl LevelTree {
    /// Makes a tree that holds the root only.
    pub(crate) fn create(
        names: TreeNames,
        limits: TreeLimits,
        secret: Secret,
        placement: Placement,
    ) -> Result<Self, RegionError> {
        let TreeLimits { nodes, level_units } = limits;
        let mut tree = Self {
            names,
            secret,
            nodes: Slab::create(names.nodes, nodes.saturating_add(1), placement)?,
            levels: ByteStore::create(names.levels, LEVEL_UNIT_BYTES, level_units, placement)?,
            children: HashIndex::create(names.index, nodes, placement)?,
        };
        // Its reference is never dropped.
        let root = tree.nodes.insert(Node { references: 1, ..node(NIL, EMPTY, 0, 0) });
        assert_eq!(root, Some(ROOT), "a fresh slab begins at 0");
        Ok(tree)
    }

    /// Bytes of such a tree.
    pub(crate) const fn bytes_for(limits: TreeLimits) -> usize {
        Slab::<Node>::bytes_for(limits.nodes.saturating_add(1))
            + ByteStore::bytes_for(LEVEL_UNIT_BYTES, limits.level_units)
            + HashIndex::bytes_for(limits.nodes)
    }

    /// The node at the end of a path.
    pub(crate) fn find<'a>(&self, path: impl Iterator<Item = &'a [u8]>) -> Option<u32> {
        let mut at = ROOT;
        for level in path {
            at = self.child(at, level, self.secret.hash(level))?;
        }
        Some(at)
    }

    /// The node at the end of a path, with all nodes up to it; `None` when they do not fit, which
    /// takes nothing. Give the node a value or a pin, or call [`Self::prune`].
    pub(crate) fn make<'a>(&mut self, path: impl Iterator<Item = &'a [u8]>) -> Option<u32> {
        let mut at = ROOT;
        for level in path {
            let level_hash = self.secret.hash(level);
            let child = match self.child(at, level, level_hash) {
                Some(child) => Some(child),
                None => self.insert(at, level, level_hash),
            };
            let Some(child) = child else {
                self.prune(at);
                return None;
            };
            at = child;
        }
        Some(at)
    }

    /// A node.
    pub(crate) fn get(&self, node: u32) -> &Node {
        &self.nodes[node]
    }

    /// The child for a level, whose keyed hash is `level_hash`.
    pub(crate) fn child(&self, parent: u32, level: &[u8], level_hash: u64) -> Option<u32> {
        self.children.find(child_hash(parent, level_hash), |index| {
            let node = &self.nodes[index];
            node.parent == parent
                && node.level_hash == level_hash
                && self.levels.eq(node.level, level)
        })
    }

    /// The keyed hash of a level's text.
    pub(crate) fn level_hash(&self, level: &[u8]) -> u64 {
        self.secret.hash(level)
    }

    /// Whether a node's level begins with `$`.
    pub(crate) fn is_reserved(&self, node: u32) -> bool {
        let mut first = [0];
        self.levels.read(self.nodes[node].level, 0, &mut first) == 1 && first == *b"$"
    }

    /// Sets a value of a node, or clears it with `NIL`; returns the previous one. A node that
    /// nothing refers to any more is gone afterwards.
    pub(crate) fn set(&mut self, node: u32, place: Place, value: u32) -> u32 {
        let record = &mut self.nodes[node];
        let kept = match place {
            Place::Here => &mut record.here,
            Place::Below => &mut record.below,
        };
        let previous = std::mem::replace(kept, value);
        match (previous, value) {
            (NIL, NIL) => {}
            (NIL, _) => record.references += 1,
            (_, NIL) => self.drop_reference(node),
            _ => {}
        }
        previous
    }

    /// Keeps a node until it is unpinned as often.
    pub(crate) fn pin(&mut self, node: u32) {
        self.nodes[node].references += 1;
    }

    /// Takes a pin back.
    pub(crate) fn unpin(&mut self, node: u32) {
        self.drop_reference(node);
    }

    /// Removes a node that nothing refers to, and then its parents likewise.
    pub(crate) fn prune(&mut self, mut node: u32) {
        while self.nodes[node].references == 0 {
            let removed = self.nodes.remove(node);
            self.children.remove(child_hash(removed.parent, removed.level_hash), node);
            self.levels.release(removed.level);
            if removed.previous_sibling == NIL {
                self.nodes[removed.parent].first_child = removed.next_sibling;
            } else {
                self.nodes[removed.previous_sibling].next_sibling = removed.next_sibling;
            }
            if removed.next_sibling != NIL {
                self.nodes[removed.next_sibling].previous_sibling = removed.previous_sibling;
            }
            let parent = &mut self.nodes[removed.parent];
            if parent.plus == node {
                parent.plus = NIL;
            }
            parent.references -= 1;
            node = removed.parent;
        }
    }

    /// Whether there is nothing below the root and no value at it.
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes[ROOT].references == 1
    }

    /// Nodes below the root.
    pub(crate) fn nodes(&self) -> u32 {
        self.nodes.len() - 1
    }

    /// Units for level texts that are free.
    #[cfg(test)]
    pub(crate) fn level_units_free(&self) -> u32 {
        self.levels.free_units()
    }

    /// What the tree lies on.
    pub(crate) fn regions(&self) -> [RegionFact; 3] {
        let (levels, children) = (self.levels.region(), self.children.region());
        [
            (self.names.nodes, self.nodes.tier(), self.nodes.region_bytes()),
            (self.names.levels, levels.0, levels.1),
            (self.names.index, children.0, children.1),
        ]
    }

    fn insert(&mut self, parent: u32, level: &[u8], level_hash: u64) -> Option<u32> {
        let text = self.levels.put(level)?;
        let depth = self.nodes[parent].depth + 1;
        let first_child = self.nodes[parent].first_child;
        let fresh = Node { next_sibling: first_child, ..node(parent, text, level_hash, depth) };
        let Some(index) = self.nodes.insert(fresh) else {
            self.levels.release(text);
            return None;
        };
        if first_child != NIL {
            self.nodes[first_child].previous_sibling = index;
        }
        let record = &mut self.nodes[parent];
        record.first_child = index;
        record.references += 1;
        if level == b"+" {
            record.plus = index;
        }
        self.children.insert(child_hash(parent, level_hash), index);
        Some(index)
    }

    fn drop_reference(&mut self, node: u32) {
        self.nodes[node].references -= 1;
        self.prune(node);
    }
}

/// Hash of a child. The level's hash is keyed, so a cheap mix with the parent is enough.
fn child_hash(parent: u32, level_hash: u64) -> u64 {
    let mixed = level_hash.wrapping_add(u64::from(parent).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}

fn node(parent: u32, level: BlobId, level_hash: u64, depth: u32) -> Node {
    Node {
        level_hash,
        parent,
        level,
        first_child: NIL,
        next_sibling: NIL,
        previous_sibling: NIL,
        plus: NIL,
        here: NIL,
        below: NIL,
        references: 0,
        depth,
    }
}

/// Unit of level texts: a level of up to 24 bytes takes one.
pub(crate) const LEVEL_UNIT_BYTES: u32 = 32;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::store::test_support::SMALL;

    const NAMES: TreeNames = TreeNames { nodes: "n", levels: "l", index: "i" };
    const LIMITS: TreeLimits = TreeLimits { nodes: 20, level_units: 18 };

    fn tree() -> LevelTree {
        LevelTree::create(NAMES, LIMITS, Secret::new([1; 16]), SMALL).unwrap()
    }

    fn path(text: &str) -> impl Iterator<Item = &[u8]> {
        text.split('/').map(str::as_bytes)
    }

    #[test]
    fn pinned_node_outlives_its_value() {
        let mut tree = tree();
        let node = tree.make(path("a/b")).unwrap();
        tree.set(node, Place::Here, 4);
        tree.pin(node);
        assert_eq!(tree.set(node, Place::Here, NIL), 4);
        assert_eq!(tree.find(path("a/b")), Some(node));
        tree.unpin(node);
        assert!(tree.is_empty());
    }

    #[test]
    fn path_that_does_not_fit_leaves_nothing_behind() {
        let mut tree = tree();
        assert_eq!(tree.make(path(&"a/".repeat(30))), None);
        assert_eq!((tree.nodes(), tree.level_units_free()), (0, LIMITS.level_units));
    }

    proptest! {
        #[test]
        fn tree_behaves_like_a_map_of_paths(
            steps in prop::collection::vec(
                (any::<bool>(), "[ab+](/[ab+]){0,4}", any::<bool>()), 0..120)
        ) {
            let mut tree = tree();
            let mut model: BTreeMap<(String, bool), u32> = BTreeMap::new();
            for (count, (add, text, below)) in (0..).zip(steps) {
                let place = if below { Place::Below } else { Place::Here };
                let key = (text.clone(), below);
                if add {
                    let free = (tree.nodes(), tree.level_units_free());
                    match tree.make(path(&text)) {
                        Some(node) => {
                            let previous = model.insert(key, count).unwrap_or(NIL);
                            prop_assert_eq!(tree.set(node, place, count), previous);
                        }
                        None => prop_assert_eq!((tree.nodes(), tree.level_units_free()), free),
                    }
                } else if let Some(value) = model.remove(&key) {
                    let node = tree.find(path(&text)).unwrap();
                    prop_assert_eq!(tree.set(node, place, NIL), value);
                }
                for ((text, below), &value) in &model {
                    let node = tree.get(tree.find(path(text)).unwrap());
                    prop_assert_eq!(if *below { node.below } else { node.here }, value);
                    prop_assert_eq!(node.depth as usize, path(text).count());
                }
                // The nodes are the distinct beginnings of what is kept.
                let mut beginnings: Vec<Vec<&[u8]>> = Vec::new();
                for (text, _) in model.keys() {
                    let levels: Vec<_> = path(text).collect();
                    beginnings.extend((1..=levels.len()).map(|end| levels[..end].to_vec()));
                }
                beginnings.sort();
                beginnings.dedup();
                prop_assert_eq!(tree.nodes() as usize, beginnings.len());
                prop_assert_eq!(tree.is_empty(), model.is_empty());
            }
            for ((text, below), _) in model {
                let node = tree.find(path(&text)).unwrap();
                tree.set(node, if below { Place::Below } else { Place::Here }, NIL);
            }
            prop_assert_eq!((tree.nodes(), tree.level_units_free()), (0, LIMITS.level_units));
        }
    }
}
