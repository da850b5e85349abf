use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::region::tests::SMALL;

record! {
    /// A record of odd size, so that records do not share the slab's alignment.
    #[derive(PartialEq, Eq)]
    struct Item { value: u32, rest: [u32; 2] }
}

fn item(value: u32) -> Item {
    Item { value, rest: [!value, value ^ 1] }
}

fn slab(capacity: u32) -> Slab<Item> {
    Slab::create("items", capacity, SMALL).unwrap()
}

#[test]
fn fresh_indices_are_dense_and_returned_ones_come_back_last_in_first_out() {
    let mut slab = slab(5);
    let indices: Vec<_> = (0..5).map(|value| slab.insert(item(value)).unwrap()).collect();
    assert_eq!(indices, [0, 1, 2, 3, 4]);
    assert_eq!(slab.insert(item(9)), None);
    for index in [3, 0, 4] {
        assert_eq!(slab.remove(index), item(index));
    }
    let indices: Vec<_> = (0..3).map(|value| slab.insert(item(value)).unwrap()).collect();
    assert_eq!(indices, [4, 0, 3]);
}

#[test]
fn slab_of_capacity_zero_holds_nothing() {
    let mut slab = slab(0);
    assert_eq!(slab.insert(item(1)), None);
    assert_eq!((slab.len(), slab.capacity(), slab.next_live(0)), (0, 0, None));
    assert!(slab.get(0).is_none() && slab.get_mut(0).is_none() && slab.is_empty());
    assert_eq!(slab.resolve(Handle { index: 0, generation: 1 }), None);
    slab.prefetch(crate::NIL);
}

#[test]
fn handle_of_a_replaced_record_does_not_resolve() {
    let mut slab = slab(2);
    let index = slab.insert(item(1)).unwrap();
    let handle = slab.handle(index);
    assert_eq!(slab.resolve(handle), Some(index));
    slab.remove(index);
    assert_eq!(slab.resolve(handle), None);
    // The dead generation does not resolve either, though it is the current one.
    assert_eq!(slab.resolve(Handle { index, generation: slab.generation(index) }), None);
    assert_eq!(slab.insert(item(2)), Some(index));
    assert_eq!(slab.resolve(handle), None);
    assert_ne!(slab.handle(index), handle);
    assert_eq!(slab.resolve(Handle::zeroed()), None);
    assert_eq!(slab.resolve(Handle { index: crate::NIL, generation: 1 }), None);
}

#[test]
fn twelve_million_records_are_made_without_touching_them() {
    let slab = slab(12_000_000);
    assert!(slab.region_bytes() >= 12_000_000 * (12 + 4));
    // A memory file's page is there once somebody touched it.
    let file = std::fs::File::from(slab.as_fd().try_clone_to_owned().unwrap());
    let blocks = std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap());
    assert!(blocks * 512 <= 16 * 4096, "{blocks} blocks of 512 bytes are in memory");
}

#[test]
fn successor_finds_records_indices_and_generations() {
    let mut old = slab(100);
    for value in 0..70 {
        old.insert(item(value)).unwrap();
    }
    old.remove(10);
    old.remove(20);
    let kept = old.handle(69);
    let gone = {
        let handle = old.handle(30);
        old.remove(30);
        handle
    };
    let fd = old.as_fd().try_clone_to_owned().unwrap();
    drop(old);

    let mut new = Slab::<Item>::open(fd).unwrap();
    assert_eq!((new.len(), new.capacity()), (67, 100));
    assert_eq!(new[69], item(69));
    assert_eq!((new.resolve(kept), new.resolve(gone)), (Some(69), None));
    let order: Vec<_> = (0..4).map(|value| new.insert(item(value)).unwrap()).collect();
    assert_eq!(order, [30, 20, 10, 70]);
}

#[test]
fn successor_refuses_another_record_type_and_impossible_bookkeeping() {
    let old = slab(4);
    let fds = [(); 2].map(|()| old.as_fd().try_clone_to_owned().unwrap());
    let [first, second] = fds;
    drop(old);
    assert!(matches!(Slab::<[u32; 3]>::open(first), Err(RegionError::Layout { .. })));

    let file = std::fs::File::from(second.try_clone().unwrap());
    // The high-water mark is the first word of the bookkeeping, on the second line.
    std::os::unix::fs::FileExt::write_at(&file, &5u32.to_ne_bytes(), 64).unwrap();
    assert!(matches!(Slab::<Item>::open(second), Err(RegionError::Corrupt)));
}

#[test]
#[should_panic(expected = "index 1 is not in use (capacity 4)")]
fn removing_twice_is_refused() {
    let mut slab = slab(4);
    slab.insert(item(0)).unwrap();
    slab.insert(item(1)).unwrap();
    slab.remove(1);
    slab.remove(1);
}

#[test]
#[should_panic(expected = "index 4294967295 is not in use")]
fn indexing_with_nil_is_refused() {
    let _ = slab(4)[crate::NIL];
}

#[test]
#[should_panic(expected = "index 2 is not in use")]
fn handle_of_a_dead_index_is_refused() {
    let _ = slab(4).handle(2);
}

#[test]
#[should_panic(expected = "free list is broken")]
fn write_to_a_dead_record_is_found_before_it_spreads() {
    let mut slab = slab(4);
    slab.insert(item(0)).unwrap();
    slab.insert(item(1)).unwrap();
    slab.remove(1);
    slab.remove(0);
    slab.records.slice_mut()[0].value = 77;
    slab.insert(item(2));
    slab.insert(item(3));
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u32),
    Remove(usize),
    Write(usize, u32),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => any::<u32>().prop_map(Step::Insert),
        6 => any::<usize>().prop_map(Step::Remove),
        2 => (any::<usize>(), any::<u32>()).prop_map(|(pick, value)| Step::Write(pick, value)),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 0..300)
}

/// What the slab should hold, and every handle ever made with whether it should resolve.
#[derive(Default)]
struct Model {
    live: HashMap<u32, Item>,
    free: Vec<u32>,
    high_water: u32,
    handles: Vec<(Handle, bool)>,
}

impl Model {
    fn pick(&self, pick: usize) -> Option<u32> {
        let mut indices: Vec<_> = self.live.keys().copied().collect();
        indices.sort_unstable();
        indices.get(pick.checked_rem(indices.len())?).copied()
    }

    fn next_index(&mut self, capacity: u32) -> Option<u32> {
        self.free.pop().or_else(|| {
            let index = self.high_water;
            self.high_water += u32::from(index < capacity);
            (index < capacity).then_some(index)
        })
    }

    fn check(&self, slab: &Slab<Item>) {
        assert_eq!(slab.len() as usize, self.live.len());
        for index in (0..slab.capacity() + 70).chain([crate::NIL]) {
            assert_eq!(slab.get(index), self.live.get(&index), "index {index}");
            assert_eq!(slab.is_live(index), self.live.contains_key(&index), "index {index}");
        }
        for &(handle, resolves) in &self.handles {
            assert_eq!(slab.resolve(handle), resolves.then_some(handle.index), "{handle:?}");
        }
        let mut walked = Vec::new();
        let mut cursor = 0;
        while let Some(index) = slab.next_live(cursor) {
            walked.push(index);
            cursor = index + 1;
        }
        let mut expected: Vec<_> = self.live.keys().copied().collect();
        expected.sort_unstable();
        assert_eq!(walked, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn slab_behaves_like_a_map(capacity in 0u32..140, steps in steps()) {
        let mut slab = slab(capacity);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Insert(value) => {
                    let index = slab.insert(item(value));
                    prop_assert_eq!(index, model.next_index(capacity));
                    if let Some(index) = index {
                        model.live.insert(index, item(value));
                        model.handles.push((slab.handle(index), true));
                    }
                }
                Step::Remove(pick) => if let Some(index) = model.pick(pick) {
                    prop_assert_eq!(Some(slab.remove(index)), model.live.remove(&index));
                    model.free.push(index);
                    for (handle, resolves) in &mut model.handles {
                        *resolves &= handle.index != index;
                    }
                },
                Step::Write(pick, value) => if let Some(index) = model.pick(pick) {
                    slab[index] = item(value);
                    model.live.insert(index, item(value));
                },
                Step::Reopen => {
                    let fd = slab.as_fd().try_clone_to_owned().unwrap();
                    drop(slab);
                    slab = Slab::open(fd).unwrap();
                }
            }
        }
        model.check(&slab);
    }
}
