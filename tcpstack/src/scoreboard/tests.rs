use superpage::Record;

use super::*;
use crate::tcb::{State, Tcb};

const UNA: SeqNum = SeqNum(u32::MAX - 2_000);

struct Fixture {
    flight: Flight,
    ranges: Ranges,
    nxt: SeqNum,
}

impl Fixture {
    fn new(shared: u32) -> Self {
        let mut tcb = Tcb::new(Record::zeroed(), State::Established);
        tcb.snd_una = UNA;
        let ranges = Ranges::create(1, shared, Placement::default()).expect("pool");
        Self { flight: Flight::new(0, 0, &tcb), ranges, nxt: UNA }
    }

    fn with<T>(&mut self, how: impl FnOnce(&mut Scoreboard<'_>) -> T) -> T {
        let (flight, ranges) = (&mut self.flight, &mut self.ranges);
        let mut board = Scoreboard { flight, ranges, nxt: self.nxt };
        let result = how(&mut board);
        self.nxt = board.nxt;
        result
    }

    fn sent(&mut self, start: u32, end: u32, now_us: u32) {
        self.with(|board| board.sent(block(start, end), now_us));
    }

    fn sack(&mut self, start: u32, end: u32) -> Delivered {
        let mut delivered = Delivered::default();
        self.with(|board| board.sack(block(start, end), &mut delivered));
        delivered
    }

    fn acknowledge(&mut self, to: u32) -> Delivered {
        let mut delivered = Delivered::default();
        self.with(|board| board.acknowledge(UNA + to, &mut delivered));
        delivered
    }

    /// The chain, in letters: on its way, sacked, lost; small when sent again.
    fn picture(&mut self) -> String {
        self.with(|board| {
            let mut picture = String::new();
            let mut at = board.flight.chain.ends.prev;
            let mut sums = (0, 0, 0);
            while at != NIL {
                let range = board.ranges.slab[at];
                let (start, end) = (range.start, board.end(at));
                let letters = [["F", "S", "L"], ["f", "s", "l"]];
                let letter = letters[usize::from(range.again)][usize::from(range.fate)];
                picture += &format!("{letter}{}-{} ", start.since(UNA), end.since(UNA));
                sums.0 += if range.fate() == Fate::Sacked { end.since(start) } else { 0 };
                sums.1 += if range.fate() == Fate::Lost { end.since(start) } else { 0 };
                sums.2 += 1;
                at = range.next;
            }
            let chain = board.flight.chain;
            assert_eq!((chain.sacked, chain.lost, chain.count), sums, "{picture}");
            assert_eq!(board.ranges.slab.len(), u32::from(chain.count), "{picture}");
            picture.trim_end().to_owned()
        })
    }
}

fn block(start: u32, end: u32) -> Block {
    Block { start: UNA + start, end: UNA + end }
}

#[test]
fn a_burst_is_one_range_and_neighbours_of_the_same_fate_join() {
    let mut fixture = Fixture::new(100);
    fixture.sent(0, 1_000, 1);
    fixture.sent(1_000, 2_000, 1);
    fixture.sent(2_000, 5_000, 2);
    assert_eq!(fixture.picture(), "F0-2000 F2000-5000");
    assert_eq!(fixture.sack(3_000, 4_000).octets, 1_000);
    assert_eq!(fixture.picture(), "F0-2000 F2000-3000 S3000-4000 F4000-5000");
    assert_eq!(fixture.sack(1_500, 3_500).octets, 1_500, "what was not known");
    assert_eq!(fixture.picture(), "F0-1500 S1500-4000 F4000-5000");
    let lost = fixture.with(|board| board.lose(|sent| sent.end == UNA + 1_500, false));
    assert_eq!((lost, fixture.picture().as_str()), (1_500, "L0-1500 S1500-4000 F4000-5000"));
    assert_eq!(fixture.with(|board| board.first_lost()), Some(block(0, 1_500)));
    fixture.sent(0, 1_000, 3);
    assert_eq!(fixture.picture(), "f0-1000 L1000-1500 S1500-4000 F4000-5000");
    assert_eq!(fixture.with(|board| board.pipe(UNA)), 2_000);
    let delivered = fixture.acknowledge(4_500);
    assert_eq!((delivered.octets, fixture.picture().as_str()), (2_000, "F4500-5000"));
    fixture.acknowledge(5_000);
    assert_eq!(fixture.picture(), "");
}

#[test]
fn delivery_names_the_latest_transmission_and_the_first_sent_once() {
    let mut fixture = Fixture::new(100);
    for (start, end, at_us) in [(0, 1_000, 10), (1_000, 2_000, 20), (2_000, 3_000, 30)] {
        fixture.sent(start, end, at_us);
    }
    fixture.with(|board| board.lose_first(UNA, 1_000));
    fixture.sent(0, 1_000, 40);
    let delivered = fixture.acknowledge(3_000);
    assert_eq!(delivered.newest, Some(Sent { at_us: 40, end: UNA + 1_000, again: true }));
    assert_eq!(delivered.oldest, Some(Sent { at_us: 20, end: UNA + 2_000, again: false }));
    assert_eq!((delivered.lowest, delivered.highest), (Some(UNA + 2_000), Some(UNA + 3_000)));
}

#[test]
fn without_records_the_picture_is_coarse_but_complete() {
    let mut fixture = Fixture::new(0);
    for at in 0..10 {
        fixture.sent(at * 100, at * 100 + 100, at);
    }
    assert_eq!(fixture.picture(), "F0-100 F100-1000");
    let mut delivered = Delivered::default();
    let whole = fixture.with(|board| board.sack(block(500, 600), &mut delivered));
    assert_eq!((whole, delivered.octets), (false, 0), "ignored");
    fixture.sack(100, 1_000);
    assert_eq!(fixture.picture(), "F0-100 S100-1000");
    fixture.sent(1_000, 1_100, 20);
    assert_eq!(fixture.picture(), "f0-1100", "forgotten");
    fixture.with(|board| board.lose_first(UNA, 100));
    fixture.sent(0, 50, 30);
    assert_eq!(fixture.picture(), "f0-50 f50-1100", "as much as two ranges can say");
    fixture.with(|board| board.clear());
    assert_eq!(fixture.picture(), "");
}

#[test]
fn flights_cannot_take_what_others_own() {
    let mut ranges = Ranges::create(3, 5, Placement::default()).expect("pool");
    let mut records = Vec::new();
    while let Some(record) = ranges.insert(records.len() as u16, Record::zeroed()) {
        records.push(record);
    }
    assert_eq!(records.len(), 7, "its own two and all that is shared");
    for count in [0, 0, 1, 1] {
        assert!(ranges.insert(count, Record::zeroed()).is_some());
    }
    assert_eq!((ranges.free(), ranges.owed), (0, 0));
    for (left, record) in records.into_iter().enumerate().rev() {
        ranges.remove(left as u16 + 1, record);
    }
    assert_eq!((ranges.free(), ranges.owed), (7, 2));
}

#[test]
fn thousands_of_single_octets_cost_a_bounded_number_of_records() {
    let mut fixture = Fixture::new(100_000);
    fixture.sent(0, 60_000, 1);
    let mut ignored = 0;
    for at in 0..30_000 {
        let mut delivered = Delivered::default();
        let one = block(at * 2 + 1, at * 2 + 2);
        ignored += u32::from(!fixture.with(|board| board.sack(one, &mut delivered)));
    }
    assert!(ignored > 29_000);
    assert_eq!(fixture.ranges.slab.len(), RANGES_MAX.into());
    fixture.picture();
    fixture.with(|board| board.lose_all());
    assert_eq!(fixture.picture(), "l0-60000");
}

#[test]
fn random_operations_keep_the_sums_and_every_octet() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut fixture = Fixture::new(random.u32(0..40));
        let (mut una, mut nxt) = (0, 0);
        for now_us in 0..300 {
            let outstanding = nxt - una;
            let from = una + random.u32(..=outstanding);
            let to = (from + random.u32(..=500)).min(nxt);
            match random.u32(..8) {
                0 | 1 => {
                    fixture.sent(nxt, nxt + 100, now_us);
                    nxt += 100;
                }
                2 | 3 if from < to => {
                    fixture.sack(from, to);
                }
                4 if from < to => fixture.sent(from, to, now_us),
                5 => {
                    fixture.acknowledge(from);
                    una = from;
                }
                6 => {
                    let before_us = now_us.saturating_sub(random.u32(..50));
                    fixture.with(|board| board.lose(|sent| sent.at_us < before_us, false));
                }
                7 if random.u32(..10) == 0 => fixture.with(|board| board.lose_all()),
                7 => fixture.with(|board| board.find_all()),
                _ => {}
            }
            let picture = fixture.picture();
            assert_eq!(picture.is_empty(), una == nxt, "seed {seed}: {picture}");
            let ends = (format!("{una}-"), format!("-{nxt}"));
            let complete = picture.is_empty()
                || (picture[1..].starts_with(&ends.0) && picture.ends_with(&ends.1));
            assert!(complete, "seed {seed}: {picture}, {una} to {nxt}");
        }
    }
}
