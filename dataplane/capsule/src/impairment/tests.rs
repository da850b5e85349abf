use super::*;

const MS: u64 = 1_000_000;

fn lane(impairment: Impairment) -> Lane {
    Lane::new(Impairment { frames_max: 64, ..impairment }, 1_500, 0, Direction::Inbound)
}

/// The first bytes of all frames that are out by `now_ns`.
fn take(lane: &mut Lane, now_ns: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(frame) = lane.front(now_ns) {
        out.push(frame[0]);
        lane.pop();
    }
    out
}

#[track_caller]
fn assert_all_counted(lane: &Lane) {
    let LaneCounters { offered, delivered, dice, drop_queue, drop_memory, drop_long } =
        lane.counters();
    let dropped = drop_queue + drop_memory + drop_long;
    let under_way = lane.under_way.len() as u64;
    assert_eq!(offered + dice.duplicated, dice.lost + dropped + delivered + under_way);
}

#[test]
fn unimpaired_frames_come_out_at_once_in_order() {
    let mut lane = lane(Impairment::default());
    for n in 0..10 {
        lane.offer(5, &[n; 60]);
    }
    assert_eq!(lane.next_due_ns(), Some(5));
    assert_eq!(take(&mut lane, 5), (0..10).collect::<Vec<_>>());
    assert_eq!((lane.next_due_ns(), lane.is_empty()), (None, true));
    assert_all_counted(&lane);
}

#[test]
fn delayed_frames_come_out_when_due_and_say_when_that_is() {
    let mut lane = lane(Impairment { delay_ns: 25 * MS, ..Impairment::default() });
    lane.offer(MS, &[1]);
    lane.offer(2 * MS, &[2]);
    assert_eq!(lane.next_due_ns(), Some(26 * MS));
    assert_eq!(take(&mut lane, 26 * MS - 1), []);
    assert_eq!(take(&mut lane, 26 * MS), [1]);
    assert_eq!(lane.next_due_ns(), Some(27 * MS));
    assert_eq!(take(&mut lane, 30 * MS), [2]);
}

#[test]
fn overtaken_frames_come_later_by_their_time() {
    let late = Impairment {
        delay_ns: 10 * MS,
        reorder_ppm: 300_000,
        reorder_ns: 5 * MS,
        ..Impairment::default()
    };
    for seed in 0..20 {
        let mut lane = lane(Impairment { seed, ..late });
        for n in 0..50 {
            lane.offer(0, &[n]);
        }
        let in_time = take(&mut lane, 10 * MS);
        let overtaken = take(&mut lane, 15 * MS);
        assert_eq!(overtaken.len() as u64, lane.counters().dice.reordered, "seed {seed}");
        assert!((1..40).contains(&overtaken.len()), "seed {seed}: {overtaken:?}");
        assert_eq!(in_time.len() + overtaken.len(), 50, "seed {seed}");
        assert!(in_time.is_sorted() && overtaken.is_sorted(), "seed {seed}");
        assert_all_counted(&lane);
    }
}

#[test]
fn lost_and_duplicated_frames_are_counted_and_have_their_rate() {
    let bad = Impairment { loss_ppm: 100_000, duplicate_ppm: 50_000, ..Impairment::default() };
    for seed in 0..20 {
        let mut lane = lane(Impairment { seed, ..bad });
        for _ in 0..2_000 {
            lane.offer(0, &[0; 60]);
            take(&mut lane, 0);
        }
        let dice = lane.counters().dice;
        assert!((140..260).contains(&dice.lost), "seed {seed}: {dice:?}");
        assert!((50..140).contains(&dice.duplicated), "seed {seed}: {dice:?}");
        assert_all_counted(&lane);
    }
}

#[test]
fn a_rate_spreads_frames_and_drops_what_its_queue_cannot_hold() {
    // A kilobyte each millisecond, and four of them may wait.
    let narrow = Impairment { rate_bps: 8_000_000, queue_bytes: 4_000, ..Impairment::default() };
    let mut lane = lane(narrow);
    for n in 0..6 {
        lane.offer(0, &[n; 1_000]);
    }
    assert_eq!(lane.counters().drop_queue, 2);
    for at_ms in 1..=4 {
        assert_eq!(lane.next_due_ns(), Some(u64::from(at_ms) * MS));
        assert_eq!(take(&mut lane, u64::from(at_ms) * MS), [at_ms - 1]);
    }
    lane.offer(10 * MS, &[9; 1_000]);
    assert_eq!(lane.next_due_ns(), Some(11 * MS), "idle time is not saved up");
    assert_all_counted(&lane);
}

#[test]
fn memory_is_bounded_and_frames_beyond_it_or_too_long_are_dropped() {
    let mut lane = lane(Impairment { delay_ns: MS, ..Impairment::default() });
    for _ in 0..70 {
        lane.offer(0, &[0; 60]);
    }
    lane.offer(0, &[0; 1_501]);
    let counters = lane.counters();
    assert_eq!((counters.drop_memory, counters.drop_long), (6, 1));
    assert_eq!(take(&mut lane, MS).len(), 64);
    lane.offer(MS, &[7; 1_500]);
    assert_eq!(take(&mut lane, 2 * MS), [7], "places are used again");
    assert_all_counted(&lane);
}

#[test]
fn lanes_of_a_link_have_different_fates_and_the_same_lane_the_same() {
    let fate = |queue, direction| {
        let impairment = Impairment { seed: 3, loss_ppm: 500_000, ..Impairment::default() };
        let mut lane = Lane::new(Impairment { frames_max: 64, ..impairment }, 60, queue, direction);
        (0..64).for_each(|n| lane.offer(0, &[n]));
        take(&mut lane, 0)
    };
    let first = fate(0, Direction::Inbound);
    assert_eq!(first, fate(0, Direction::Inbound));
    assert_ne!(first, fate(0, Direction::Outbound));
    assert_ne!(first, fate(1, Direction::Inbound));
}
