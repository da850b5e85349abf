//! What the broker keeps: bytes, messages, deliveries, client ids and retained messages.
//!
//! Everything here is plain records in superpage regions, sized when it is made: nothing allocates
//! afterwards, and a full structure says so and takes nothing. None of it knows sessions or the
//! protocol; counting references and deciding what to drop is the caller's.
//!
//! | structure | a record, bytes | with it |
//! |---|---|---|
//! | [`bytes::ByteStore`] | one unit (24, 32 or as configured) | 4 link; 8 of the first unit are its header |
//! | [`table::HashIndex`] | 6.7 an entry | cache lines of 12 entries, filled to 80 % |
//! | [`message::MessageStore`] | 40 | topic and properties in 32-byte units, payload in units of its own |
//! | [`queue::DeliveryPool`] | 16 | a queue is 8 in its owner's record |
//! | [`directory::ClientDirectory`] | 20 | id in 24-byte units (16 bytes take one), index 6.7 |
//! | [`retained::RetainedStore`] | 48 a level | level text in 32-byte units, index 6.7 |
//!
//! A slab adds 4 bytes of generation and one bit to each record.

pub(crate) mod bytes;
pub(crate) mod directory;
pub(crate) mod hash;
pub(crate) mod message;
pub(crate) mod queue;
pub(crate) mod retained;
pub(crate) mod table;

/// A region as told to operators: its name, what it lies on, its mapped bytes.
pub(crate) type RegionFact = (&'static str, superpage::Tier, usize);

/// What the tests of this crate's structures share.
#[cfg(test)]
pub(crate) mod test_support {
    use proptest::prelude::*;
    use superpage::{Placement, TierPolicy};

    /// Small pages: a region of a test is a few kilobytes.
    pub(crate) const SMALL: Placement = Placement { tier: TierPolicy::BaseOnly, numa_node: None };

    /// Valid topic names over few levels, so that filters often match them.
    pub(crate) fn topic() -> impl Strategy<Value = String> {
        let level = prop_oneof![
            6 => "[abc]",
            1 => Just(String::new()),
            1 => Just("$sys".to_owned()),
            1 => Just("a-level-that-takes-more-than-one-unit".to_owned()),
        ];
        prop::collection::vec(level, 1..6)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("a topic has a character", |topic| !topic.is_empty())
    }

    /// Valid topic filters made from such topics, exact ones and ones with wildcards.
    pub(crate) fn filter() -> impl Strategy<Value = String> {
        let wild = prop::collection::vec(prop::bool::weighted(0.3), 6);
        (topic(), wild, prop::bool::weighted(0.3)).prop_map(|(topic, wild, multi)| {
            let levels = topic.split('/').zip(wild);
            let mut levels: Vec<_> =
                levels.map(|(level, wild)| if wild { "+" } else { level }).collect();
            if multi {
                *levels.last_mut().expect("a topic has a level") = "#";
            }
            levels.join("/")
        })
    }
}
