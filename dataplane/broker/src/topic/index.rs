//! The subscriptions of a shard's sessions: by session, by filter, and by matching topic.

use superpage::{NIL, Placement, RegionError, Slab, record};
use thiserror::Error;

use super::identifiers::Identifiers;
use super::name::TopicFilter;
use super::tree::{LevelTree, Place, TreeLimits, TreeNames};
use crate::store::RegionFact;
use crate::store::bytes::{BlobId, ByteStore};
use crate::store::hash::Secret;
use crate::store::table::HashIndex;

record! {
    /// One session's subscription to one filter, in the list of either.
    pub(super) struct Subscription {
        /// The session in the low [`SESSION_BITS`], above it the options.
        session_and_options: u32,
        pub(super) filter: u32,
        session_next: u32,
        session_previous: u32,
        pub(super) filter_next: u32,
        filter_previous: u32,
    }
}

record! {
    /// A filter that somebody subscribed to.
    pub(super) struct Filter {
        /// Keyed hash of the text. For an exact filter it is that of the topic.
        hash: u64,
        text: BlobId,
        /// First of its subscriptions.
        pub(super) subscriptions: u32,
        subscribers: u32,
        /// Where a filter with wildcards stands in the tree; `NIL` for an exact one.
        node: u32,
    }
}

const _: () = assert!(size_of::<Subscription>() == 24);
const _: () = assert!(size_of::<Filter>() == 24);

/// What a client asked for with a subscription (MQTT 5 §3.8.3.1). Retain Handling is not here: it
/// acts when subscribing and never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionOptions {
    /// Maximum QoS.
    pub(crate) qos: u8,
    /// No messages of the session's own.
    pub(crate) no_local: bool,
    /// RETAIN is passed on as published.
    pub(crate) retain_as_published: bool,
    /// Subscription identifier; 0: none.
    pub(crate) identifier: u32,
}

/// What came of a subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subscribed {
    /// There is one more subscription.
    New {
        /// It is the only one with this filter.
        first_of_filter: bool,
    },
    /// The session had one with this filter; its options are the new ones now.
    Replaced,
}

/// What came of the removal of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Nobody is subscribed with this filter any more.
    pub(crate) last_of_filter: bool,
}

/// Why a subscribe is refused. The index is as it was.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum IndexError {
    /// A table is full.
    #[error("the subscription tables are full")]
    Full,
    /// Shared subscriptions are not served.
    #[error("shared subscriptions are not served")]
    Shared,
}

/// A subscription, looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionView {
    /// Whose it is.
    pub(crate) session: u32,
    /// What was asked for.
    pub(crate) options: SubscriptionOptions,
    /// Next subscription of the session, or `NIL`.
    pub(crate) next: u32,
    /// Whether the filter has no wildcards.
    pub(crate) exact: bool,
    /// Keyed hash of the filter.
    pub(crate) filter_hash: u64,
    /// Bytes of the filter.
    pub(crate) filter_len: usize,
    /// Nobody else is subscribed with this filter.
    pub(crate) only_of_filter: bool,
}

/// How much a [`SubscriptionIndex`] holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndexLimits {
    /// Subscriptions.
    pub(crate) subscriptions: u32,
    /// Distinct filters.
    pub(crate) filters: u32,
    /// Units of [`FILTER_UNIT_BYTES`] for the filters' texts.
    pub(crate) filter_units: u32,
    /// Levels of filters with wildcards.
    pub(crate) nodes: u32,
    /// Units for the texts of these levels.
    pub(crate) level_units: u32,
    /// Subscriptions that have an identifier.
    pub(crate) identifiers: u32,
}

/// The subscriptions of a shard.
///
/// A filter is found by the hash of its text; those with wildcards stand in a tree by level as
/// well. Subscriptions are in two doubly linked lists, that of their filter and that of their
/// session, and in a table by both, so that adding and removing one is O(1) however many a filter
/// or a session has. The session's record holds the head of its list.
#[derive(Debug)]
pub(crate) struct SubscriptionIndex {
    secret: Secret,
    pub(super) subscriptions: Slab<Subscription>,
    by_session_and_filter: HashIndex,
    pub(super) filters: Slab<Filter>,
    filter_texts: ByteStore,
    by_text: HashIndex,
    pub(super) wildcards: LevelTree,
    wildcard_filters: u32,
    identifiers: Identifiers,
    /// Goes up with every subscription that comes or goes; readers check that it stands still.
    pub(super) version: u64,
}

impl SubscriptionIndex {
    /// Makes an empty index.
    pub(crate) fn create(
        limits: &IndexLimits,
        secret: Secret,
        placement: Placement,
    ) -> Result<Self, RegionError> {
        let IndexLimits { subscriptions, filters, filter_units, identifiers, .. } = *limits;
        let [subscription_name, pair_name, filter_name, text_name, by_text_name] = NAMES;
        Ok(Self {
            secret,
            subscriptions: Slab::create(subscription_name, subscriptions, placement)?,
            by_session_and_filter: HashIndex::create(pair_name, subscriptions, placement)?,
            filters: Slab::create(filter_name, filters, placement)?,
            filter_texts: ByteStore::create(text_name, FILTER_UNIT_BYTES, filter_units, placement)?,
            by_text: HashIndex::create(by_text_name, filters, placement)?,
            wildcards: LevelTree::create(TREE_NAMES, tree_limits(limits), secret, placement)?,
            wildcard_filters: 0,
            identifiers: Identifiers::create(identifiers, secret, placement)?,
            version: 0,
        })
    }

    /// Bytes of such an index.
    pub(crate) const fn bytes_for(limits: &IndexLimits) -> usize {
        Slab::<Subscription>::bytes_for(limits.subscriptions)
            + HashIndex::bytes_for(limits.subscriptions)
            + Slab::<Filter>::bytes_for(limits.filters)
            + ByteStore::bytes_for(FILTER_UNIT_BYTES, limits.filter_units)
            + HashIndex::bytes_for(limits.filters)
            + LevelTree::bytes_for(tree_limits(limits))
            + Identifiers::bytes_for(limits.identifiers)
    }

    /// Subscribes a session, whose list begins at `head`, or changes the options of what it has.
    ///
    /// # Errors
    /// See [`IndexError`].
    ///
    /// # Panics
    /// When `session` is not below [`SESSIONS_MAX`].
    pub(crate) fn subscribe(
        &mut self,
        head: &mut u32,
        session: u32,
        filter: &TopicFilter<'_>,
        options: SubscriptionOptions,
    ) -> Result<Subscribed, IndexError> {
        assert!(session < SESSIONS_MAX, "session indices leave room for the options");
        if filter.group().is_some() {
            return Err(IndexError::Shared);
        }
        let hash = self.secret.hash(filter.as_bytes());
        let found = self.find_filter(hash, filter.as_bytes());
        if let Some(index) = found
            && let Some(subscription) = self.find_subscription(session, index)
        {
            self.set_options(subscription, options)?;
            return Ok(Subscribed::Replaced);
        }
        if self.subscriptions.len() == self.subscriptions.capacity()
            || (options.identifier != 0 && self.identifiers.is_full())
        {
            return Err(IndexError::Full);
        }
        let index = match found {
            Some(index) => index,
            None => self.insert_filter(hash, filter).ok_or(IndexError::Full)?,
        };
        let subscription = self.link(head, session, index);
        self.set_options(subscription, options).expect("room was checked before");
        self.version += 1;
        Ok(Subscribed::New { first_of_filter: self.filters[index].subscribers == 1 })
    }

    /// Removes a session's subscription to `filter`, if it has one.
    pub(crate) fn unsubscribe(
        &mut self,
        head: &mut u32,
        session: u32,
        filter: &TopicFilter<'_>,
    ) -> Option<Removed> {
        let hash = self.secret.hash(filter.as_bytes());
        let index = self.find_filter(hash, filter.as_bytes())?;
        let subscription = self.find_subscription(session, index)?;
        Some(self.remove(head, subscription))
    }

    /// Removes a subscription of the session whose list begins at `head`.
    pub(crate) fn remove(&mut self, head: &mut u32, subscription: u32) -> Removed {
        if self.has_identifier(subscription) {
            self.identifiers.remove(subscription);
        }
        let removed = self.subscriptions.remove(subscription);
        let pair = self.pair_hash(session(&removed), removed.filter);
        self.by_session_and_filter.remove(pair, subscription);

        if removed.session_previous == NIL {
            assert_eq!(*head, subscription, "the list is that of the subscription's session");
            *head = removed.session_next;
        } else {
            self.subscriptions[removed.session_previous].session_next = removed.session_next;
        }
        if removed.session_next != NIL {
            self.subscriptions[removed.session_next].session_previous = removed.session_previous;
        }

        let filter = &mut self.filters[removed.filter];
        filter.subscribers -= 1;
        let last_of_filter = filter.subscribers == 0;
        if removed.filter_previous == NIL {
            filter.subscriptions = removed.filter_next;
        } else {
            self.subscriptions[removed.filter_previous].filter_next = removed.filter_next;
        }
        if removed.filter_next != NIL {
            self.subscriptions[removed.filter_next].filter_previous = removed.filter_previous;
        }
        if last_of_filter {
            self.remove_filter(removed.filter);
        }
        self.version += 1;
        Removed { last_of_filter }
    }

    /// Looks at a subscription.
    pub(crate) fn view(&self, subscription: u32) -> SubscriptionView {
        let record = &self.subscriptions[subscription];
        let filter = &self.filters[record.filter];
        SubscriptionView {
            session: session(record),
            options: self.options(subscription),
            next: record.session_next,
            exact: filter.node == NIL,
            filter_hash: filter.hash,
            filter_len: self.filter_texts.len(filter.text),
            only_of_filter: filter.subscribers == 1,
        }
    }

    /// Copies the text of a subscription's filter; returns the bytes that fitted.
    pub(crate) fn read_filter(&self, subscription: u32, into: &mut [u8]) -> usize {
        let filter = &self.filters[self.subscriptions[subscription].filter];
        self.filter_texts.read(filter.text, 0, into)
    }

    /// The session and the options of a subscription.
    pub(super) fn subscriber(&self, subscription: u32) -> (u32, SubscriptionOptions) {
        (session(&self.subscriptions[subscription]), self.options(subscription))
    }

    /// The keyed hash of a topic or filter.
    pub(super) fn hash(&self, text: &[u8]) -> u64 {
        self.secret.hash(text)
    }

    /// The filter that reads `text`.
    pub(super) fn find_filter(&self, hash: u64, text: &[u8]) -> Option<u32> {
        self.by_text.find(hash, |index| {
            let filter = &self.filters[index];
            filter.hash == hash && self.filter_texts.eq(filter.text, text)
        })
    }

    fn find_subscription(&self, session: u32, filter: u32) -> Option<u32> {
        self.by_session_and_filter.find(self.pair_hash(session, filter), |index| {
            let record = &self.subscriptions[index];
            record.filter == filter && self::session(record) == session
        })
    }

    fn insert_filter(&mut self, hash: u64, filter: &TopicFilter<'_>) -> Option<u32> {
        if self.filters.len() == self.filters.capacity() {
            return None;
        }
        let text = self.filter_texts.put(filter.as_bytes())?;
        let (path, multi) = filter.path();
        let node = if filter.is_exact() {
            NIL
        } else if let Some(node) = self.wildcards.make(path) {
            node
        } else {
            self.filter_texts.release(text);
            return None;
        };
        let record = Filter { hash, text, subscriptions: NIL, subscribers: 0, node };
        let index = self.filters.insert(record).expect("room was checked before");
        self.by_text.insert(hash, index);
        if node != NIL {
            self.wildcards.set(node, if multi { Place::Below } else { Place::Here }, index);
            self.wildcard_filters += 1;
        }
        Some(index)
    }

    fn remove_filter(&mut self, index: u32) {
        let Filter { hash, text, node, .. } = self.filters.remove(index);
        self.by_text.remove(hash, index);
        self.filter_texts.release(text);
        if node != NIL {
            let below = self.wildcards.get(node).below == index;
            self.wildcards.set(node, if below { Place::Below } else { Place::Here }, NIL);
            self.wildcard_filters -= 1;
        }
    }

    /// Adds a subscription without options at the front of both lists.
    fn link(&mut self, head: &mut u32, session: u32, filter: u32) -> u32 {
        let filter_head = self.filters[filter].subscriptions;
        let record = Subscription {
            session_and_options: session,
            filter,
            session_next: *head,
            session_previous: NIL,
            filter_next: filter_head,
            filter_previous: NIL,
        };
        let index = self.subscriptions.insert(record).expect("room was checked before");
        if *head != NIL {
            self.subscriptions[*head].session_previous = index;
        }
        *head = index;
        if filter_head != NIL {
            self.subscriptions[filter_head].filter_previous = index;
        }
        let filter_record = &mut self.filters[filter];
        filter_record.subscriptions = index;
        filter_record.subscribers += 1;
        self.by_session_and_filter.insert(self.pair_hash(session, filter), index);
        index
    }

    fn options(&self, subscription: u32) -> SubscriptionOptions {
        let word = self.subscriptions[subscription].session_and_options;
        let identified = word & HAS_IDENTIFIER != 0;
        SubscriptionOptions {
            qos: ((word >> QOS_SHIFT) & QOS_MASK) as u8,
            no_local: word & NO_LOCAL != 0,
            retain_as_published: word & RETAIN_AS_PUBLISHED != 0,
            identifier: if identified { self.identifiers.get(subscription) } else { 0 },
        }
    }

    fn set_options(
        &mut self,
        subscription: u32,
        options: SubscriptionOptions,
    ) -> Result<(), IndexError> {
        match (self.has_identifier(subscription), options.identifier) {
            (false, 0) => {}
            (true, 0) => self.identifiers.remove(subscription),
            (true, identifier) => self.identifiers.replace(subscription, identifier),
            (false, identifier) => {
                if !self.identifiers.insert(subscription, identifier) {
                    return Err(IndexError::Full);
                }
            }
        }
        let flag = |set: bool, bit: u32| if set { bit } else { 0 };
        let record = &mut self.subscriptions[subscription];
        record.session_and_options = session(record)
            | ((u32::from(options.qos) & QOS_MASK) << QOS_SHIFT)
            | flag(options.no_local, NO_LOCAL)
            | flag(options.retain_as_published, RETAIN_AS_PUBLISHED)
            | flag(options.identifier != 0, HAS_IDENTIFIER);
        Ok(())
    }

    fn has_identifier(&self, subscription: u32) -> bool {
        self.subscriptions[subscription].session_and_options & HAS_IDENTIFIER != 0
    }

    fn pair_hash(&self, session: u32, filter: u32) -> u64 {
        let pair = (u64::from(session) << 32) | u64::from(filter);
        self.secret.hash(&pair.to_ne_bytes())
    }
}

/// How full the index is.
impl SubscriptionIndex {
    /// Subscriptions.
    pub(crate) fn subscriptions(&self) -> u32 {
        self.subscriptions.len()
    }

    /// Distinct filters.
    pub(crate) fn filters(&self) -> u32 {
        self.filters.len()
    }

    /// Distinct filters with wildcards.
    pub(crate) fn wildcard_filters(&self) -> u32 {
        self.wildcard_filters
    }

    /// Levels of filters with wildcards.
    pub(crate) fn nodes(&self) -> u32 {
        self.wildcards.nodes()
    }

    /// Units for filters' texts that are free.
    pub(crate) fn filter_units_free(&self) -> u32 {
        self.filter_texts.free_units()
    }

    /// Subscriptions with an identifier.
    pub(crate) fn identifiers(&self) -> u32 {
        self.identifiers.len()
    }

    /// What the index lies on.
    pub(crate) fn regions(&self) -> Vec<RegionFact> {
        let [subscription_name, pair_name, filter_name, text_name, by_text_name] = NAMES;
        let pairs = self.by_session_and_filter.region();
        let (texts, by_text) = (self.filter_texts.region(), self.by_text.region());
        let mut regions = vec![
            (subscription_name, self.subscriptions.tier(), self.subscriptions.region_bytes()),
            (pair_name, pairs.0, pairs.1),
            (filter_name, self.filters.tier(), self.filters.region_bytes()),
            (text_name, texts.0, texts.1),
            (by_text_name, by_text.0, by_text.1),
        ];
        regions.extend(self.identifiers.regions());
        regions.extend(self.wildcards.regions());
        regions
    }
}

fn session(record: &Subscription) -> u32 {
    record.session_and_options & (SESSIONS_MAX - 1)
}

const fn tree_limits(limits: &IndexLimits) -> TreeLimits {
    TreeLimits { nodes: limits.nodes, level_units: limits.level_units }
}

/// Bits of a session index: 134 million of them, and five bits are left for the options.
const SESSION_BITS: u32 = 27;
/// Session indices are below this.
pub(crate) const SESSIONS_MAX: u32 = 1 << SESSION_BITS;
const QOS_SHIFT: u32 = SESSION_BITS;
const QOS_MASK: u32 = 3;
const NO_LOCAL: u32 = 1 << 29;
const RETAIN_AS_PUBLISHED: u32 = 1 << 30;
const HAS_IDENTIFIER: u32 = 1 << 31;

/// Unit of filter texts: a filter of up to 24 bytes takes one.
pub(crate) const FILTER_UNIT_BYTES: u32 = 32;

const NAMES: [&str; 5] =
    ["subscriptions", "subscription-index", "filters", "filter-texts", "filter-index"];
const TREE_NAMES: TreeNames =
    TreeNames { nodes: "filter-tree", levels: "filter-tree-levels", index: "filter-tree-index" };

#[cfg(test)]
mod tests;
