use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::store::test_support::{SMALL, filter, topic};

const LIMITS: InterestLimits =
    InterestLimits { shards: 3, exact_slots: 64, wildcards: 8, nodes: 16, level_units: 20 };

fn secret() -> Secret {
    Secret::new([9; 16])
}

fn interest(limits: &InterestLimits) -> Interest {
    Interest::create(limits, secret(), SMALL).unwrap()
}

fn shards_for(interest: &mut Interest, topic: &str) -> ShardSet {
    let name = TopicName::parse(topic.as_bytes()).unwrap();
    interest.shards_for(name, secret().hash(topic.as_bytes()))
}

fn parse(text: &str) -> TopicFilter<'_> {
    TopicFilter::parse(text.as_bytes()).unwrap()
}

#[test]
fn nobody_told_of_anything_nobody_is_asked() {
    let mut interest = interest(&LIMITS);
    assert!(shards_for(&mut interest, "a").is_empty());
    assert!(!interest.remove_exact(1, 77));
    assert!(!interest.remove_wildcard(1, &parse("a/+")));
}

#[test]
fn counter_that_overflowed_never_forgets() {
    let mut interest = interest(&InterestLimits { exact_slots: 0, ..LIMITS });
    for hash in 0..300 {
        interest.add_exact(2, hash << 20);
    }
    for hash in 0..299 {
        assert!(interest.remove_exact(2, hash << 20));
    }
    let shards: Vec<_> = shards_for(&mut interest, "a").iter().collect();
    assert_eq!(shards, [2], "one of 300 is still there");
}

#[test]
fn shard_whose_filters_do_not_fit_gets_everything() {
    let mut interest = interest(&InterestLimits { wildcards: 1, ..LIMITS });
    interest.add_wildcard(0, &parse("a/+")).unwrap();
    interest.add_wildcard(1, &parse("a/+")).unwrap();
    assert_eq!(interest.add_wildcard(1, &parse("b/#")), Err(InterestFull));
    assert_eq!(interest.tree.nodes(), 2, "nothing of the refused filter is left");
    interest.fall_back(1);
    let shards = shards_for(&mut interest, "elsewhere");
    assert!(shards.contains(1) && !shards.contains(0) && interest.fallen_back() == 1);
    assert!(interest.remove_wildcard(1, &parse("b/#")), "not known, and no mistake");
    assert!(!interest.remove_wildcard(0, &parse("b/#")));
}

#[test]
fn advised_size_keeps_false_hits_rare() {
    let filters = 2000_u32;
    let mut interest = interest(&InterestLimits { exact_slots: filters * 8, ..LIMITS });
    for filter in 0..filters {
        interest.add_exact(1, secret().hash(format!("own/{filter}").as_bytes()));
    }
    let mut is_hit = |other: &u32| !shards_for(&mut interest, &format!("other/{other}")).is_empty();
    let hits = (0..10_000).filter(|other| is_hit(other)).count();
    // Expected (1 - e^(-2/8))² = 4.9 %; the hash and its key are fixed, so this cannot flicker.
    assert!(hits < 600, "{hits} of 10000");
}

proptest! {
    #[test]
    fn no_subscriber_is_missed_and_wildcards_are_exact(
        steps in prop::collection::vec((any::<bool>(), 0..3_u16, filter()), 0..80),
        topics in prop::collection::vec(topic(), 1..12),
    ) {
        let mut interest = interest(&LIMITS);
        let mut model: BTreeSet<(u16, String)> = BTreeSet::new();
        for (add, shard, text) in steps {
            let (filter, key) = (parse(&text), (shard, text.clone()));
            let hash = secret().hash(text.as_bytes());
            match (add, filter.is_exact()) {
                (true, true) if model.insert(key.clone()) => interest.add_exact(shard, hash),
                (true, false) if !model.contains(&key) => {
                    let nodes = interest.tree.nodes();
                    match interest.add_wildcard(shard, &filter) {
                        Ok(()) => { model.insert(key); }
                        Err(InterestFull) => prop_assert_eq!(interest.tree.nodes(), nodes),
                    }
                }
                (false, true) if model.remove(&key) => {
                    prop_assert!(interest.remove_exact(shard, hash));
                }
                (false, false) => {
                    prop_assert_eq!(interest.remove_wildcard(shard, &filter), model.remove(&key));
                }
                _ => {}
            }
            for topic in &topics {
                let name = TopicName::parse(topic.as_bytes()).unwrap();
                let shards = shards_for(&mut interest, topic);
                for shard in 0..3 {
                    let wanted = |wild: bool| model.iter().any(|(owner, text)| {
                        let filter = parse(text);
                        *owner == shard && filter.matches(name) && (filter.is_exact() != wild)
                    });
                    prop_assert!(shards.contains(shard) || !(wanted(true) || wanted(false)));
                    if shards.contains(shard) && !wanted(true) {
                        // A false hit needs an exact filter of this shard in either slot.
                        let mut own = model.iter().filter(|(owner, _)| *owner == shard);
                        prop_assert!(own.any(|(_, text)| parse(text).is_exact()));
                    }
                }
            }
        }
        for (shard, text) in model {
            let filter = parse(&text);
            let known = if filter.is_exact() {
                interest.remove_exact(shard, secret().hash(text.as_bytes()))
            } else {
                interest.remove_wildcard(shard, &filter)
            };
            prop_assert!(known);
        }
        prop_assert!(interest.counters.iter().all(|&counter| counter == 0));
        prop_assert_eq!((interest.wildcards(), interest.tree.nodes()), (0, 0));
        prop_assert_eq!(interest.tree.level_units_free(), LIMITS.level_units);
    }
}
