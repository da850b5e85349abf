use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::store::test_support::{SMALL, filter, topic};
use crate::topic::matcher::Matcher;
use crate::topic::name::TopicName;

const SESSIONS: u32 = 5;

const LIMITS: IndexLimits = IndexLimits {
    subscriptions: 24,
    filters: 14,
    filter_units: 20,
    nodes: 24,
    level_units: 26,
    identifiers: 6,
};

const ROOMY: IndexLimits = IndexLimits {
    subscriptions: 1000,
    filters: 1000,
    filter_units: 1000,
    nodes: 1000,
    level_units: 1000,
    identifiers: 1000,
};

const PLAIN: SubscriptionOptions =
    SubscriptionOptions { qos: 1, no_local: false, retain_as_published: false, identifier: 0 };

fn index(limits: &IndexLimits) -> SubscriptionIndex {
    SubscriptionIndex::create(limits, Secret::new([3; 16]), SMALL).unwrap()
}

fn parse(text: &str) -> TopicFilter<'_> {
    TopicFilter::parse(text.as_bytes()).unwrap()
}

/// Everything that can run out, to find leaks.
fn in_use(index: &SubscriptionIndex) -> [u32; 7] {
    [
        index.subscriptions(),
        index.filters(),
        index.wildcard_filters(),
        LIMITS.filter_units.wrapping_sub(index.filter_units_free()),
        index.nodes(),
        LIMITS.level_units.wrapping_sub(index.wildcards.level_units_free()),
        index.identifiers(),
    ]
}

fn matches(index: &SubscriptionIndex, topic: &str) -> Vec<(u32, String, SubscriptionOptions)> {
    let topic = TopicName::parse(topic.as_bytes()).unwrap();
    let mut matcher = Matcher::new();
    matcher.start(index, topic);
    let mut found = Vec::new();
    while let Some(one) = matcher.next(index, topic) {
        let mut text = [0; 512];
        let len = index.read_filter(one.subscription, &mut text);
        let text = String::from_utf8(text[..len].to_vec()).unwrap();
        found.push((one.session, text, one.options));
    }
    found.sort_by(|left, right| (left.0, &left.1).cmp(&(right.0, &right.1)));
    found
}

fn subscriptions_of(index: &SubscriptionIndex, head: u32) -> BTreeMap<String, SubscriptionOptions> {
    let mut listed = BTreeMap::new();
    let mut at = head;
    while at != NIL {
        let view = index.view(at);
        let mut text = vec![0; view.filter_len];
        assert_eq!(index.read_filter(at, &mut text), view.filter_len);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(view.exact, parse(&text).is_exact());
        assert_eq!(view.filter_hash, Secret::new([3; 16]).hash(text.as_bytes()));
        assert!(listed.insert(text, view.options).is_none(), "listed once");
        at = view.next;
    }
    listed
}

#[test]
fn overlapping_filters_of_a_session_match_once_each() {
    let mut index = index(&ROOMY);
    let mut head = NIL;
    for filter in ["a/b", "a/+", "#", "a/b/#", "+/c", "a/b/+"] {
        index.subscribe(&mut head, 1, &parse(filter), PLAIN).unwrap();
    }
    let found: Vec<_> = matches(&index, "a/b").into_iter().map(|(_, filter, _)| filter).collect();
    assert_eq!(found, ["#", "a/+", "a/b", "a/b/#"]);
}

#[test]
fn shared_subscription_is_refused() {
    let mut index = index(&ROOMY);
    let refused = index.subscribe(&mut { NIL }, 0, &parse("$share/g/a"), PLAIN);
    assert_eq!(refused, Err(IndexError::Shared));
    assert_eq!(index.filters(), 0);
}

#[test]
fn identifier_that_does_not_fit_leaves_the_subscription_as_it_was() {
    let mut index = index(&IndexLimits { identifiers: 1, ..ROOMY });
    let mut head = NIL;
    let with = |identifier| SubscriptionOptions { identifier, ..PLAIN };
    index.subscribe(&mut head, 0, &parse("a"), with(7)).unwrap();
    index.subscribe(&mut head, 0, &parse("b"), PLAIN).unwrap();
    let better = SubscriptionOptions { qos: 2, ..with(8) };
    assert_eq!(index.subscribe(&mut head, 0, &parse("b"), better), Err(IndexError::Full));
    assert_eq!(index.subscribe(&mut head, 0, &parse("c/+"), better), Err(IndexError::Full));
    assert_eq!(matches(&index, "b"), [(0, "b".to_owned(), PLAIN)]);
    assert_eq!((index.subscriptions(), index.nodes()), (2, 0));
    // Dropping the identifier makes room for another one.
    index.subscribe(&mut head, 0, &parse("a"), PLAIN).unwrap();
    assert_eq!(index.subscribe(&mut head, 0, &parse("b"), better), Ok(Subscribed::Replaced));
    assert_eq!(matches(&index, "b"), [(0, "b".to_owned(), better)]);
}

#[test]
fn one_filter_holds_many_subscribers() {
    let count = 20_000;
    let mut index = index(&IndexLimits { subscriptions: count, ..ROOMY });
    let mut heads = vec![NIL; count as usize];
    for session in 0..count {
        let head = &mut heads[session as usize];
        let subscribed = index.subscribe(head, session, &parse("news/#"), PLAIN);
        assert_eq!(subscribed, Ok(Subscribed::New { first_of_filter: session == 0 }));
    }
    assert_eq!(matches(&index, "news/today").len(), count as usize);
    // In another order than they came.
    for step in 0..count {
        let session = (step * 7919 + 13) % count;
        let head = &mut heads[session as usize];
        let removed = index.unsubscribe(head, session, &parse("news/#"));
        assert_eq!(removed, Some(Removed { last_of_filter: step == count - 1 }));
        assert_eq!(*head, NIL);
    }
    assert_eq!((index.subscriptions(), index.filters(), index.nodes()), (0, 0, 0));
}

#[test]
fn topic_of_the_most_levels_meets_filters_at_every_turn() {
    let mut index = index(&ROOMY);
    let mut head = NIL;
    let topic = vec!["a"; 128].join("/");
    let all_plus = vec!["+"; 128].join("/");
    for filter in [topic.clone(), all_plus, format!("{}#", "a/".repeat(127)), "#".to_owned()] {
        index.subscribe(&mut head, 0, &parse(&filter), PLAIN).unwrap();
    }
    assert_eq!(matches(&index, &topic).len(), 4);
}

#[test]
#[should_panic(expected = "stands still")]
fn change_while_reading_is_our_mistake() {
    let mut index = index(&ROOMY);
    let topic = TopicName::parse(b"a").unwrap();
    let mut matcher = Matcher::new();
    matcher.start(&index, topic);
    index.subscribe(&mut { NIL }, 0, &parse("a"), PLAIN).unwrap();
    matcher.next(&index, topic);
}

#[derive(Clone, Debug)]
enum Step {
    Subscribe { session: u32, filter: String, options: SubscriptionOptions },
    Unsubscribe { session: u32, filter: String },
    EndSession { session: u32 },
}

fn step(filters: Vec<String>) -> impl Strategy<Value = Step> {
    let options = (0..3_u8, any::<bool>(), any::<bool>(), 0..3_u32).prop_map(
        |(qos, no_local, retain_as_published, identifier)| SubscriptionOptions {
            qos,
            no_local,
            retain_as_published,
            identifier: identifier * 77,
        },
    );
    let filter = prop::sample::select(filters);
    prop_oneof![
        6 => (0..SESSIONS, filter.clone(), options).prop_map(
            |(session, filter, options)| Step::Subscribe { session, filter, options }),
        3 => (0..SESSIONS, filter)
            .prop_map(|(session, filter)| Step::Unsubscribe { session, filter }),
        1 => (0..SESSIONS).prop_map(|session| Step::EndSession { session }),
    ]
}

type Model = BTreeMap<(u32, String), SubscriptionOptions>;

fn has_filter(model: &Model, text: &str) -> bool {
    model.keys().any(|(_, filter)| filter == text)
}

/// Carries a step out on both, and compares what they say. A refusal for want of room is checked
/// to change nothing.
fn apply(index: &mut SubscriptionIndex, heads: &mut [u32], model: &mut Model, step: Step) {
    match step {
        Step::Subscribe { session, filter, options } => {
            let before = in_use(index);
            let first_of_filter = !has_filter(model, &filter);
            let head = &mut heads[session as usize];
            match index.subscribe(head, session, &parse(&filter), options) {
                Ok(subscribed) => {
                    let expected = match model.insert((session, filter), options) {
                        None => Subscribed::New { first_of_filter },
                        Some(_) => Subscribed::Replaced,
                    };
                    assert_eq!(subscribed, expected);
                }
                Err(error) => {
                    assert_eq!(error, IndexError::Full);
                    assert_eq!(in_use(index), before);
                }
            }
        }
        Step::Unsubscribe { session, filter } => {
            let head = &mut heads[session as usize];
            let removed = index.unsubscribe(head, session, &parse(&filter));
            let expected = model
                .remove(&(session, filter.clone()))
                .map(|_| Removed { last_of_filter: !has_filter(model, &filter) });
            assert_eq!(removed, expected);
        }
        Step::EndSession { session } => {
            let head = &mut heads[session as usize];
            while *head != NIL {
                let (subscription, view) = (*head, index.view(*head));
                assert_eq!(view.session, session);
                let removed = index.remove(head, subscription);
                assert_eq!(removed.last_of_filter, view.only_of_filter);
            }
            model.retain(|(owner, _), _| *owner != session);
        }
    }
}

proptest! {
    #[test]
    fn index_behaves_like_a_list_of_subscriptions(
        (steps, topics) in prop::collection::vec(filter(), 1..20).prop_flat_map(|filters| (
            prop::collection::vec(step(filters), 0..120),
            prop::collection::vec(topic(), 1..12),
        ))
    ) {
        let mut index = index(&LIMITS);
        let mut heads = [NIL; SESSIONS as usize];
        let mut model = Model::new();
        for step in steps {
            apply(&mut index, &mut heads, &mut model, step);
            let filters: BTreeSet<_> = model.keys().map(|(_, filter)| filter).collect();
            prop_assert_eq!(index.subscriptions() as usize, model.len());
            prop_assert_eq!(index.filters() as usize, filters.len());
            let wild = filters.iter().filter(|filter| !parse(filter).is_exact()).count();
            prop_assert_eq!(index.wildcard_filters() as usize, wild);
            for topic in &topics {
                let name = TopicName::parse(topic.as_bytes()).unwrap();
                let expected: Vec<_> = model
                    .iter()
                    .filter(|((_, filter), _)| parse(filter).matches(name))
                    .map(|((session, filter), &options)| (*session, filter.clone(), options))
                    .collect();
                prop_assert_eq!(matches(&index, topic), expected, "topic {}", topic);
            }
            for session in 0..SESSIONS {
                let expected: BTreeMap<_, _> = model
                    .iter()
                    .filter(|((owner, _), _)| *owner == session)
                    .map(|((_, filter), &options)| (filter.clone(), options))
                    .collect();
                prop_assert_eq!(subscriptions_of(&index, heads[session as usize]), expected);
            }
        }
        for session in 0..SESSIONS {
            apply(&mut index, &mut heads, &mut model, Step::EndSession { session });
        }
        prop_assert_eq!(in_use(&index), [0; 7]);
    }
}
