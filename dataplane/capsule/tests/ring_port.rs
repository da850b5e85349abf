//! A DPDK port whose transmit queue is its receive queue (`net_ring`), in its own process.
#![cfg(feature = "dpdk")]

mod support;

use std::path::Path;

use capsule::{BATCH_FRAMES_MAX, Eal, EalError, Mempool, Port, PortQueue, RxBatch, TxBatch};

/// Frames that the ring of `net_ring` holds.
const RING_FRAMES: usize = 1_023;

#[test]
fn frames_pass_in_order_and_everything_is_given_back() {
    let eal = support::eal(&["net_ring0"]);
    let pool = support::mempool(&eal, 4_095);
    assert!(!eal.has_hugepages());
    assert!(eal.version().starts_with("DPDK "), "{}", eal.version());
    assert_eq!(Eal::init(&[]).expect_err("EAL starts once"), EalError::AlreadyStarted);

    let mut port = Port::open(&eal, &support::wishes("net_ring0", 2), &pool).expect("it opens");
    let twice = Port::open(&eal, &support::wishes("net_ring0", 2), &pool);
    let error = twice.expect_err("it is in use").to_string();
    assert!(error.starts_with("port net_ring0 is open already"), "{error}");
    let mut queues = port.take_queues();
    assert_eq!(queues.len(), 2);
    assert!(port.take_queues().is_empty(), "queues are handed out once");

    queues_do_nothing_before_the_start(&mut queues[0]);
    port.start().expect("it starts");
    frames_come_back_in_order(&mut queues[0], &pool);
    a_full_ring_refuses_the_rest(&mut queues[1]);
    assert_eq!(port.stats().tx_frames, queues.iter().map(|q| q.counters().tx_frames).sum::<u64>());
    assert!(port.link().up);

    // Queues outlive their port and keep it running.
    assert!(!port.stop(), "queues are out");
    drop(port);
    frames_come_back_in_order(&mut queues[0], &pool);
    drop(queues);
    assert_eq!(pool.in_use(), 0, "no mbuf is lost");
    drop((pool, eal));
    let left = format!("/run/dpdk/capsule-test-{}", std::process::id());
    assert!(!Path::new(&left).exists(), "{left} is left");
    assert_eq!(Eal::init(&[]).expect_err("nor again after its end"), EalError::AlreadyStarted);
}

fn queues_do_nothing_before_the_start(queue: &mut PortQueue) {
    let (mut rx, mut tx) = (RxBatch::new(), TxBatch::new());
    assert_eq!(queue.receive(&mut rx), 0);
    queue.reserve(&mut tx, 60).expect("there is room").fill(0);
    assert_eq!(queue.send(&mut tx), 0);
    assert_eq!((tx.len(), queue.counters().tx_refused), (1, 1));
}

fn frames_come_back_in_order(queue: &mut PortQueue, pool: &Mempool) {
    let before = queue.counters();
    let in_use = pool.in_use();
    let (mut rx, mut tx) = (RxBatch::new(), TxBatch::new());
    for n in 0..10_u8 {
        queue.reserve(&mut tx, 60 + usize::from(n)).expect("there is room").fill(n);
    }
    assert_eq!(queue.send(&mut tx), 10);
    assert_eq!(queue.receive(&mut rx), 10);
    for n in 0..10_u8 {
        assert_eq!(rx.frame(n.into()), vec![n; 60 + usize::from(n)]);
        assert_eq!(rx.rss_hash(n.into()), None);
    }
    let after = queue.counters();
    assert_eq!(after.tx_frames - before.tx_frames, 10);
    assert_eq!(after.rx_frames - before.rx_frames, 10);
    assert_eq!(after.rx_bytes - before.rx_bytes, (60..70).sum::<u64>());
    assert_eq!(queue.receive(&mut rx), 0, "the next burst frees the last one");
    drop((rx, tx));
    assert_eq!(pool.in_use(), in_use);
}

fn a_full_ring_refuses_the_rest(queue: &mut PortQueue) {
    let (mut rx, mut tx) = (RxBatch::new(), TxBatch::new());
    let mut number = 0_u32;
    while tx.is_empty() {
        while let Some(frame) = queue.reserve(&mut tx, 4) {
            frame.copy_from_slice(&number.to_be_bytes());
            number += 1;
        }
        assert!(tx.is_full());
        queue.send(&mut tx);
    }
    assert_eq!(number as usize - tx.len(), RING_FRAMES);
    let mut arrived = Vec::new();
    while arrived.len() < number as usize {
        queue.receive(&mut rx);
        arrived.extend((0..rx.len()).map(|i| rx.frame(i).to_vec()));
        queue.send(&mut tx);
    }
    let sent: Vec<_> = (0..number).map(|n| n.to_be_bytes().to_vec()).collect();
    assert_eq!(arrived, sent, "what was refused followed in order");
    assert!(queue.counters().tx_refused < BATCH_FRAMES_MAX as u64);
}
