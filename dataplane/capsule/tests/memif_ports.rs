//! Two ports wired to each other in memory (`net_memif`), in their own process: frames longer than
//! the receiver's mbufs arrive in pieces and are joined.
#![cfg(feature = "dpdk")]

mod support;

use capsule::{Mempool, MempoolConfig, Port, PortConfig, PortQueue, RxBatch, TxBatch};

/// Polls to wait for the two ends to find each other.
const POLLS_MAX: usize = 10_000_000;

#[test]
fn frames_in_pieces_are_joined_or_counted() {
    let socket = format!("socket=capsule-test-{},socket-abstract=yes", std::process::id());
    let server = format!("net_memif0,role=server,{socket}");
    let client = format!("net_memif1,role=client,{socket}");
    let eal = support::eal(&[&server, &client]);
    let sender_pool = support::mempool(&eal, 2_047);
    let small = MempoolConfig {
        name: "small".to_owned(),
        mbufs: 2_047,
        cache: 0,
        data_room_bytes: 640,
        numa_node: None,
    };
    let small = Mempool::create(&eal, &small).expect("the pool fits");
    let mut receiver =
        Port::open(&eal, &PortConfig { mtu: 400, ..support::wishes("net_memif0", 1) }, &small)
            .expect("it opens");
    let mut sender =
        Port::open(&eal, &support::wishes("net_memif1", 1), &sender_pool).expect("it opens");
    receiver.start().expect("it starts");
    sender.start().expect("it starts");
    for _ in 0..POLLS_MAX {
        if receiver.link().up && sender.link().up {
            break;
        }
        std::thread::yield_now();
    }
    let mut to = sender.take_queues().remove(0);
    let mut from = receiver.take_queues().remove(0);

    let frames = exchange(&mut to, &mut from, &[60, 1_500, 512, 2_000]);
    for (frame, len) in frames.iter().zip([60, 1_500, 512, 2_000]) {
        assert_eq!(*frame, pattern(len));
    }
    let counters = from.counters();
    assert_eq!((counters.rx_frames, counters.rx_linearised), (4, 2));
    assert_eq!(counters.rx_bytes, 60 + 1_500 + 512 + 2_000);

    // 40 × 2,000 bytes are more than the 64 KiB that one batch can join.
    let frames = exchange(&mut to, &mut from, &[2_000; 40]);
    let dropped = from.counters().rx_drop_segments;
    assert!(dropped > 0, "{:?}", from.counters());
    assert_eq!(frames.len() as u64 + dropped, 40);
    assert!(frames.iter().all(|frame| *frame == pattern(2_000)));

    drop((to, from, sender, receiver));
    assert_eq!((sender_pool.in_use(), small.in_use()), (0, 0));
}

/// Sends frames of these lengths in one burst and collects what arrives.
fn exchange(to: &mut PortQueue, from: &mut PortQueue, lengths: &[usize]) -> Vec<Vec<u8>> {
    let (mut tx, mut rx) = (TxBatch::new(), RxBatch::new());
    for &len in lengths {
        to.reserve(&mut tx, len).expect("there is room").copy_from_slice(&pattern(len));
    }
    assert_eq!(to.send(&mut tx), lengths.len());
    let mut frames = Vec::new();
    let seen = |queue: &PortQueue| queue.counters().rx_frames + queue.counters().rx_drop_segments;
    let until = seen(from) + lengths.len() as u64;
    for _ in 0..POLLS_MAX {
        from.receive(&mut rx);
        frames.extend((0..rx.len()).map(|i| rx.frame(i).to_vec()));
        if seen(from) == until {
            return frames;
        }
    }
    panic!("{} of {} frames arrived", frames.len(), lengths.len());
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + len) as u8).collect()
}
