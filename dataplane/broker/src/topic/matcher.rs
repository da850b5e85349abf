//! Reading the subscription index: who gets a message.

use superpage::NIL;

use super::index::{SubscriptionIndex, SubscriptionOptions};
use super::name::TopicName;
use super::walk::Walk;

/// One subscription that matches a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    /// The subscription.
    pub(crate) subscription: u32,
    /// Whose it is. A session whose filters overlap comes once for each of them, as MQTT 5 §3.3.4
    /// allows deliveries to.
    pub(crate) session: u32,
    /// What was asked for.
    pub(crate) options: SubscriptionOptions,
}

/// Lists the subscriptions that match a topic, one a call, in scratch memory made once.
///
/// Nothing is borrowed between calls, so that deliveries can be made in between; but the index
/// must not change until the end is reached.
#[derive(Debug)]
pub(crate) struct Matcher {
    walk: Walk,
    /// Next subscription of the filter at hand, or `NIL`.
    subscription: u32,
    version: u64,
}

impl Matcher {
    /// Makes the scratch memory.
    pub(crate) fn new() -> Self {
        Self { walk: Walk::new(), subscription: NIL, version: 0 }
    }

    /// Begins with the subscriptions that match `topic`.
    pub(crate) fn start(&mut self, index: &SubscriptionIndex, topic: TopicName<'_>) {
        let exact = index.find_filter(index.hash(topic.as_bytes()), topic.as_bytes());
        self.subscription = exact.map_or(NIL, |filter| index.filters[filter].subscriptions);
        self.walk.start(&index.wildcards, topic);
        self.version = index.version;
    }

    /// The next subscription that matches `topic`, the one it began with.
    ///
    /// # Panics
    /// When subscriptions came or went since the start.
    pub(crate) fn next(
        &mut self,
        index: &SubscriptionIndex,
        topic: TopicName<'_>,
    ) -> Option<Match> {
        assert_eq!(self.version, index.version, "the index stands still while it is read");
        while self.subscription == NIL {
            let filter = self.walk.next(&index.wildcards, topic)?;
            self.subscription = index.filters[filter].subscriptions;
        }
        let subscription = self.subscription;
        self.subscription = index.subscriptions[subscription].filter_next;
        let (session, options) = index.subscriber(subscription);
        Some(Match { subscription, session, options })
    }
}
