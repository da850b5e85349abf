use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::store::test_support::{SMALL, filter, topic};

const LIMITS: RetainedLimits = RetainedLimits { topics: 12, nodes: 26, level_units: 32 };

fn store(limits: &RetainedLimits) -> RetainedStore {
    RetainedStore::create(limits, Secret::new([5; 16]), SMALL).unwrap()
}

fn name(text: &str) -> TopicName<'_> {
    TopicName::parse(text.as_bytes()).unwrap()
}

/// A whole search, in calls of `budget` nodes and `room` results.
fn search(store: &mut RetainedStore, filter: &str, budget: usize, room: usize) -> Vec<MessageId> {
    let filter = TopicFilter::parse(filter.as_bytes()).unwrap();
    let mut cursor = store.begin();
    let mut found = Vec::new();
    while !cursor.is_done() {
        let mut out = vec![NIL; room];
        let count = store.next(&filter, &mut cursor, budget, &mut out);
        found.extend_from_slice(&out[..count]);
    }
    found.sort_unstable();
    found
}

fn is_clean(store: &RetainedStore, limits: &RetainedLimits) -> bool {
    // The root's pins count as well: the tree says it is empty only without them.
    store.tree.is_empty() && store.tree.level_units_free() == limits.level_units
}

#[test]
fn topic_beyond_the_limit_is_refused_and_known_ones_are_not() {
    let limits = RetainedLimits { topics: 1, ..LIMITS };
    let mut store = store(&limits);
    assert_eq!(store.set(name("a/b"), 1), Ok(None));
    assert_eq!(store.set(name("a"), 2), Err(RetainedFull));
    assert_eq!(store.set(name("a/b"), 3), Ok(Some(1)));
    assert_eq!((store.get(name("a/b")), store.get(name("a"))), (Some(3), None));
    assert_eq!((store.clear(name("a")), store.clear(name("a/b"))), (None, Some(3)));
    assert!(is_clean(&store, &limits));
}

#[test]
fn search_survives_the_removal_of_the_topic_it_stands_at() {
    let mut store = store(&LIMITS);
    for (message, topic) in (0..).zip(["a/1", "a/2", "a/3", "a/4"]) {
        store.set(name(topic), message).unwrap();
    }
    let filter = TopicFilter::parse(b"a/+").unwrap();
    let mut cursor = store.begin();
    let mut out = [NIL; 2];
    assert_eq!(store.next(&filter, &mut cursor, 100, &mut out), 2);
    for topic in ["a/1", "a/2", "a/3", "a/4"] {
        store.clear(name(topic));
    }
    assert_eq!(store.next(&filter, &mut cursor, 100, &mut out), 0);
    assert!(cursor.is_done() && is_clean(&store, &LIMITS));
}

#[test]
fn abandoned_search_gives_its_place_back() {
    let mut store = store(&LIMITS);
    store.set(name("a/b/c"), 1).unwrap();
    let mut cursor = store.begin();
    let filter = TopicFilter::parse(b"a/#").unwrap();
    assert_eq!(store.next(&filter, &mut cursor, 2, &mut [NIL]), 0);
    assert_eq!(store.clear(name("a/b/c")), Some(1));
    assert!(!is_clean(&store, &LIMITS), "the search holds its place");
    store.end(cursor);
    assert!(is_clean(&store, &LIMITS));
    let unused = store.begin();
    store.end(unused);
    assert!(is_clean(&store, &LIMITS));
}

proptest! {
    #[test]
    fn store_behaves_like_a_map_and_search_like_a_scan(
        steps in prop::collection::vec((prop::bool::weighted(0.7), topic()), 0..60),
        filters in prop::collection::vec(filter(), 1..8),
        budget in 1..6_usize,
        room in 1..4_usize,
    ) {
        let mut store = store(&LIMITS);
        let mut model: BTreeMap<String, MessageId> = BTreeMap::new();
        for (message, (set, text)) in (0..).zip(steps) {
            let topic = name(&text);
            if set {
                match store.set(topic, message) {
                    Ok(previous) => prop_assert_eq!(previous, model.insert(text, message)),
                    Err(RetainedFull) => prop_assert_eq!(model.get(&text), None),
                }
            } else {
                prop_assert_eq!(store.clear(topic), model.remove(&text));
            }
            prop_assert_eq!(store.topics() as usize, model.len());
        }
        for (text, &message) in &model {
            prop_assert_eq!(store.get(name(text)), Some(message));
        }
        for text in &filters {
            let filter = TopicFilter::parse(text.as_bytes()).unwrap();
            let mut expected: Vec<_> = model
                .iter()
                .filter(|(topic, _)| filter.matches(name(topic)))
                .map(|(_, &message)| message)
                .collect();
            expected.sort_unstable();
            prop_assert_eq!(search(&mut store, text, budget, room), expected, "filter {}", text);
        }
        for text in model.into_keys() {
            store.clear(name(&text));
        }
        prop_assert!(is_clean(&store, &LIMITS));
    }

    #[test]
    fn search_finds_what_stays_exactly_once_while_topics_come_and_go(
        stay in prop::collection::btree_set(topic(), 1..8),
        churn in prop::collection::vec((any::<bool>(), topic()), 1..60),
        filter in filter(),
    ) {
        let limits = RetainedLimits { topics: 200, nodes: 400, level_units: 800 };
        let mut store = store(&limits);
        let stay: Vec<String> = stay.into_iter().collect();
        for (message, text) in (0..).zip(&stay) {
            store.set(name(text), message).unwrap();
        }
        let parsed = TopicFilter::parse(filter.as_bytes()).unwrap();
        let mut cursor = store.begin();
        let (mut found, mut churn) = (Vec::new(), churn.into_iter().cycle());
        // The churn cannot keep the search going: it only adds at the front.
        for _ in 0..2000 {
            let mut out = [NIL];
            let count = store.next(&parsed, &mut cursor, 2, &mut out);
            found.extend_from_slice(&out[..count]);
            let Some((set, text)) = churn.next() else { break };
            if !stay.contains(&text) {
                if set {
                    store.set(name(&text), 1_000_000).unwrap();
                } else {
                    store.clear(name(&text));
                }
            }
        }
        prop_assert!(cursor.is_done());
        found.retain(|&message| message != 1_000_000);
        found.sort_unstable();
        let matching: Vec<_> = (0..)
            .zip(&stay)
            .filter(|(_, topic)| parsed.matches(name(topic)))
            .map(|(message, _)| message)
            .collect();
        prop_assert_eq!(found, matching);
    }
}
