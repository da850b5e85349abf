use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::region::tests::SMALL;

fn pool(chunk_bytes: u32, capacity: u32) -> ChunkPool {
    ChunkPool::create("chunks", chunk_bytes, capacity, SMALL).unwrap()
}

#[test]
fn chunks_are_handed_out_in_order_until_none_is_free() {
    let mut pool = pool(512, 3);
    assert_eq!([(); 4].map(|()| pool.alloc()), [Some(0), Some(1), Some(2), None]);
    assert_eq!((pool.free_count(), pool.capacity(), pool.chunk_bytes()), (0, 3, 512));
    pool.free(1);
    assert_eq!((pool.free_count(), pool.alloc()), (1, Some(1)));
}

#[test]
fn pool_of_capacity_or_chunk_size_zero_is_legal() {
    let mut empty = pool(512, 0);
    assert_eq!((empty.alloc(), empty.free_count(), empty.free_chain(NIL)), (None, 0, 0));
    empty.prefetch(NIL);
    let mut thin = pool(0, 2);
    let chunk = thin.alloc().unwrap();
    assert!(thin.bytes_mut(chunk).is_empty());
}

#[test]
fn fresh_chunk_is_linked_to_nothing() {
    let mut pool = pool(16, 4);
    let first = pool.alloc().unwrap();
    let second = pool.alloc().unwrap();
    pool.set_next(first, second);
    assert_eq!((pool.next(first), pool.next(second)), (second, NIL));
    assert_eq!(pool.free_chain(first), 2);
    let again = pool.alloc().unwrap();
    assert_eq!(pool.next(again), NIL);
}

#[test]
fn successor_finds_bytes_links_and_free_chunks() {
    let mut old = pool(64, 8);
    let chunks = [(); 4].map(|()| old.alloc().unwrap());
    old.bytes_mut(chunks[3]).fill(7);
    old.set_next(chunks[0], chunks[3]);
    old.free(chunks[1]);
    let fds = [(); 2].map(|()| old.as_fd().try_clone_to_owned().unwrap());
    let [first, second] = fds;
    drop(old);

    assert!(matches!(ChunkPool::open(first, 65), Err(RegionError::Layout { .. })));
    let mut new = ChunkPool::open(second, 64).unwrap();
    assert_eq!((new.next(0), new.bytes(3), new.free_count()), (3, &[7; 64][..], 5));
    assert_eq!([new.alloc(), new.alloc()], [Some(1), Some(4)]);
}

#[test]
#[should_panic(expected = "index 0 is not in use")]
fn double_free_is_refused() {
    let mut pool = pool(16, 4);
    let chunk = pool.alloc().unwrap();
    pool.free(chunk);
    pool.free(chunk);
}

#[test]
#[should_panic(expected = "is not in use")]
fn chain_that_loops_is_refused() {
    let mut pool = pool(16, 4);
    let first = pool.alloc().unwrap();
    let second = pool.alloc().unwrap();
    pool.set_next(first, second);
    pool.set_next(second, first);
    pool.free_chain(first);
}

#[test]
#[should_panic(expected = "index 9 is not in use (capacity 4)")]
fn bytes_beyond_the_pool_are_refused() {
    let _ = pool(16, 4).bytes(9);
}

#[derive(Clone, Debug)]
enum Step {
    /// Start a chain, or lengthen one of those there are.
    Extend(Option<usize>),
    Fill(usize, u8),
    FreeChain(usize),
    FreeHead(usize),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => prop::option::of(any::<usize>()).prop_map(Step::Extend),
        4 => (any::<usize>(), any::<u8>()).prop_map(|(pick, byte)| Step::Fill(pick, byte)),
        2 => any::<usize>().prop_map(Step::FreeChain),
        2 => any::<usize>().prop_map(Step::FreeHead),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 0..300)
}

fn picked(pick: usize, chains: &[Vec<u32>]) -> Option<usize> {
    pick.checked_rem(chains.len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn pool_behaves_like_lists_of_buffers(
        chunk_bytes in 0u32..100, capacity in 0u32..100, steps in steps()
    ) {
        let mut pool = pool(chunk_bytes, capacity);
        let mut chains: Vec<Vec<u32>> = Vec::new();
        let mut bytes: BTreeMap<u32, u8> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Extend(pick) => {
                    let Some(chunk) = pool.alloc() else {
                        prop_assert_eq!(bytes.len(), capacity as usize);
                        continue;
                    };
                    prop_assert!(bytes.insert(chunk, 0).is_none(), "chunk {} is in use", chunk);
                    pool.bytes_mut(chunk).fill(0);
                    match pick.and_then(|pick| picked(pick, &chains)) {
                        Some(at) => {
                            pool.set_next(*chains[at].last().unwrap(), chunk);
                            chains[at].push(chunk);
                        }
                        None => chains.push(vec![chunk]),
                    }
                }
                Step::Fill(pick, byte) => if let Some(at) = picked(pick, &chains) {
                    let chunk = *chains[at].last().unwrap();
                    pool.bytes_mut(chunk).fill(byte);
                    bytes.insert(chunk, byte);
                },
                Step::FreeChain(pick) => if let Some(at) = picked(pick, &chains) {
                    let chain = chains.swap_remove(at);
                    prop_assert_eq!(pool.free_chain(chain[0]) as usize, chain.len());
                    bytes.retain(|chunk, _| !chain.contains(chunk));
                },
                Step::FreeHead(pick) => if let Some(at) = picked(pick, &chains) {
                    let head = chains[at].remove(0);
                    if chains[at].is_empty() {
                        chains.swap_remove(at);
                    }
                    pool.free(head);
                    bytes.remove(&head);
                },
                Step::Reopen => {
                    let fd = pool.as_fd().try_clone_to_owned().unwrap();
                    drop(pool);
                    pool = ChunkPool::open(fd, chunk_bytes).unwrap();
                }
            }
            prop_assert_eq!(pool.free_count() as usize, capacity as usize - bytes.len());
        }
        for chain in &chains {
            for (at, &chunk) in chain.iter().enumerate() {
                prop_assert_eq!(pool.next(chunk), chain.get(at + 1).copied().unwrap_or(NIL));
            }
        }
        for (&chunk, &byte) in &bytes {
            prop_assert_eq!(pool.bytes(chunk), &vec![byte; chunk_bytes as usize][..]);
        }
    }
}
