use std::collections::BTreeMap;

use proptest::prelude::*;
use superpage::Placement;

use super::{HORIZON_TICKS, TICK_SHIFT, Wheel};

const CAPACITY: u32 = 16;
const TICK_NS: u64 = 1 << TICK_SHIFT;

fn wheel_at(now_ns: u64) -> Wheel {
    Wheel::create(CAPACITY, now_ns, Placement::default()).unwrap()
}

fn drain(wheel: &mut Wheel, now_ns: u64) -> Vec<u32> {
    wheel.advance(now_ns);
    let mut budget = u32::MAX;
    std::iter::from_fn(|| wheel.expire(&mut budget)).collect()
}

/// The model: entry → the tick it fires at.
fn due_tick(now_tick: u64, at_ns: u64) -> u64 {
    at_ns.div_ceil(TICK_NS).clamp(now_tick + 1, now_tick + HORIZON_TICKS)
}

#[derive(Clone, Debug)]
enum Step {
    Arm { entry: u32, in_ns: u64 },
    ArmEarlier { entry: u32, in_ns: u64 },
    Cancel { entry: u32 },
    Advance { by_ns: u64, budget: u32 },
}

/// Distances from nothing to beyond the horizon, each magnitude as likely as another.
fn distance() -> impl Strategy<Value = u64> {
    (0_u32..56).prop_flat_map(|bits| 0..(1_u64 << bits).max(2))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..CAPACITY, distance()).prop_map(|(entry, in_ns)| Step::Arm { entry, in_ns }),
        (0..CAPACITY, distance()).prop_map(|(entry, in_ns)| Step::ArmEarlier { entry, in_ns }),
        (0..CAPACITY).prop_map(|entry| Step::Cancel { entry }),
        (distance(), prop_oneof![Just(u32::MAX), 0_u32..8])
            .prop_map(|(by_ns, budget)| Step::Advance { by_ns, budget }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn wheel_fires_what_an_ordered_map_would(
        start_ns in prop_oneof![Just(0_u64), any::<u64>().prop_map(|x| x >> 4)],
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut wheel = wheel_at(start_ns);
        let mut now_ns = start_ns;
        let mut model: BTreeMap<u32, u64> = BTreeMap::new();
        for step in steps {
            // A wheel that ran out of budget is behind the clock; arming is relative to where it is.
            let base = wheel.tick;
            match step {
                Step::Arm { entry, in_ns } => {
                    wheel.arm(entry, now_ns + in_ns);
                    model.insert(entry, due_tick(base, now_ns + in_ns));
                }
                Step::ArmEarlier { entry, in_ns } => {
                    wheel.arm_earlier(entry, now_ns + in_ns);
                    let tick = due_tick(base, now_ns + in_ns);
                    model.entry(entry).and_modify(|old| *old = tick.min(*old)).or_insert(tick);
                }
                Step::Cancel { entry } => {
                    wheel.cancel(entry);
                    model.remove(&entry);
                }
                Step::Advance { by_ns, budget } => {
                    now_ns += by_ns;
                    wheel.advance(now_ns);
                    let mut left = budget;
                    let mut last_tick = 0;
                    while let Some(entry) = wheel.expire(&mut left) {
                        let tick = model.remove(&entry).expect("fired though not armed");
                        prop_assert!(tick <= now_ns >> TICK_SHIFT, "fired before its time");
                        prop_assert!(tick >= last_tick, "fired out of order");
                        last_tick = tick;
                    }
                    if left > 0 {
                        let late = model.values().filter(|tick| **tick <= now_ns >> TICK_SHIFT);
                        prop_assert_eq!(late.count(), 0, "did not fire");
                    }
                }
            }
            prop_assert_eq!(wheel.armed() as usize, model.len());
            if let Some(first) = model.values().min() {
                let due_ns = wheel.next_due_ns().expect("something is armed");
                prop_assert!(due_ns >> TICK_SHIFT <= *first, "would oversleep a timer");
            } else {
                prop_assert_eq!(wheel.next_due_ns(), None);
            }
        }
        let mut left = model.clone();
        while let Some(due_ns) = wheel.next_due_ns() {
            for entry in drain(&mut wheel, due_ns.max(now_ns)) {
                prop_assert!(left.remove(&entry).is_some());
            }
        }
        prop_assert!(left.is_empty(), "never fired: {left:?}");
    }
}

#[test]
fn deadline_fires_at_the_first_tick_not_before_it() {
    let mut wheel = wheel_at(0);
    wheel.arm(3, 5 * TICK_NS - 1);
    assert_eq!(drain(&mut wheel, 5 * TICK_NS - 1), []);
    assert_eq!(drain(&mut wheel, 5 * TICK_NS), [3]);
    assert_eq!(wheel.armed(), 0);
}

#[test]
fn deadline_in_the_past_fires_at_the_next_tick_and_not_in_the_same_drain() {
    let mut wheel = wheel_at(100 * TICK_NS);
    wheel.arm(0, 100 * TICK_NS);
    wheel.advance(101 * TICK_NS);
    let mut budget = u32::MAX;
    assert_eq!(wheel.expire(&mut budget), Some(0));
    wheel.arm(0, 0);
    assert_eq!(wheel.expire(&mut budget), None, "an owner cannot keep the wheel busy for ever");
    assert_eq!(drain(&mut wheel, 102 * TICK_NS), [0]);
}

#[test]
fn later_deadline_does_not_move_an_armed_entry() {
    let mut wheel = wheel_at(0);
    wheel.arm(1, 10 * TICK_NS);
    wheel.arm_earlier(1, 500 * TICK_NS);
    assert_eq!(drain(&mut wheel, 10 * TICK_NS), [1]);
}

#[test]
fn budget_bounds_a_crowded_slot_and_the_rest_follows() {
    let mut wheel = wheel_at(0);
    for entry in 0..CAPACITY {
        wheel.arm(entry, 300 * TICK_NS);
    }
    wheel.advance(300 * TICK_NS);
    // Each entry is touched twice: moved down from level 1, then handed out.
    let mut fired = 0;
    for _ in 0..8 {
        let mut budget = CAPACITY / 4;
        while wheel.expire(&mut budget).is_some() {
            fired += 1;
        }
        assert_eq!(budget, 0);
    }
    assert_eq!(fired, CAPACITY);
}

#[test]
fn empty_wheel_crosses_years_at_once() {
    let mut wheel = wheel_at(0);
    assert_eq!(wheel.next_due_ns(), None);
    let year_ns = 365 * 86_400 * 1_000_000_000;
    assert_eq!(drain(&mut wheel, 10 * year_ns), []);
    wheel.arm(2, 10 * year_ns + 7_000_000);
    assert_eq!(drain(&mut wheel, 10 * year_ns + 9_000_000), [2]);
}

#[test]
fn wheel_without_entries_is_legal() {
    let mut wheel = Wheel::create(0, 0, Placement::default()).unwrap();
    assert_eq!(drain(&mut wheel, u64::MAX >> 1), []);
    assert_eq!(wheel.capacity(), 0);
}
