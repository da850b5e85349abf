//! Subscription identifiers (MQTT 5 §3.8.2.1.2), kept apart because few subscriptions have one.

use superpage::{Placement, RegionError, Slab, record};

use crate::store::RegionFact;
use crate::store::hash::Secret;
use crate::store::table::HashIndex;

record! {
    /// The identifier of one subscription.
    struct Identifier {
        subscription: u32,
        identifier: u32,
    }
}

const _: () = assert!(size_of::<Identifier>() == 8);

/// The identifiers of the subscriptions that have one. An identifier is never 0.
#[derive(Debug)]
pub(super) struct Identifiers {
    secret: Secret,
    identifiers: Slab<Identifier>,
    by_subscription: HashIndex,
}

impl Identifiers {
    pub(super) fn create(
        capacity: u32,
        secret: Secret,
        placement: Placement,
    ) -> Result<Self, RegionError> {
        Ok(Self {
            secret,
            identifiers: Slab::create(NAME, capacity, placement)?,
            by_subscription: HashIndex::create(INDEX_NAME, capacity, placement)?,
        })
    }

    pub(super) const fn bytes_for(capacity: u32) -> usize {
        Slab::<Identifier>::bytes_for(capacity) + HashIndex::bytes_for(capacity)
    }

    /// The identifier of a subscription that has one.
    pub(super) fn get(&self, subscription: u32) -> u32 {
        self.identifiers[self.find(subscription)].identifier
    }

    /// Gives a subscription its first identifier; `false` when there is no room for it.
    pub(super) fn insert(&mut self, subscription: u32, identifier: u32) -> bool {
        let Some(index) = self.identifiers.insert(Identifier { subscription, identifier }) else {
            return false;
        };
        self.by_subscription.insert(self.hash(subscription), index);
        true
    }

    /// Gives a subscription that has an identifier another one.
    pub(super) fn replace(&mut self, subscription: u32, identifier: u32) {
        let index = self.find(subscription);
        self.identifiers[index].identifier = identifier;
    }

    /// Takes the identifier of a subscription that has one away.
    pub(super) fn remove(&mut self, subscription: u32) {
        let index = self.find(subscription);
        self.identifiers.remove(index);
        self.by_subscription.remove(self.hash(subscription), index);
    }

    pub(super) fn len(&self) -> u32 {
        self.identifiers.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.identifiers.len() == self.identifiers.capacity()
    }

    pub(super) fn regions(&self) -> [RegionFact; 2] {
        let index = self.by_subscription.region();
        [
            (NAME, self.identifiers.tier(), self.identifiers.region_bytes()),
            (INDEX_NAME, index.0, index.1),
        ]
    }

    fn find(&self, subscription: u32) -> u32 {
        let is_it = |index: u32| self.identifiers[index].subscription == subscription;
        let found = self.by_subscription.find(self.hash(subscription), is_it);
        found.expect("the subscription has an identifier")
    }

    fn hash(&self, subscription: u32) -> u64 {
        self.secret.hash(&subscription.to_ne_bytes())
    }
}

const NAME: &str = "subscription-ids";
const INDEX_NAME: &str = "subscription-id-index";
