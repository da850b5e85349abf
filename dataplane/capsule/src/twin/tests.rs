use super::*;
use crate::batch::{RxBatch, TxBatch};

/// Sends `count` numbered frames, eight to a burst, while the other end receives after every burst,
/// and returns the numbers in the order they arrived.
fn deliver(config: TwinConfig, count: u32) -> (Vec<u32>, Impairments) {
    let (mut left, mut right) = TwinLink::pair(config);
    let (mut tx, mut rx) = (TxBatch::new(), RxBatch::new());
    let mut arrived = Vec::new();
    let mut receive = |arrived: &mut Vec<u32>| {
        right[0].receive(&mut rx);
        arrived.extend((0..rx.len()).map(|i| number(rx.frame(i))));
    };
    for burst in (0..count).collect::<Vec<_>>().chunks(8) {
        for n in burst {
            left[0].reserve(&mut tx, 64).expect("there is room")[..4]
                .copy_from_slice(&n.to_be_bytes());
        }
        assert_eq!(left[0].send(&mut tx), burst.len(), "seed {}", config.seed);
        receive(&mut arrived);
    }
    for _ in 0..=REORDER_DEPTH_MAX {
        receive(&mut arrived);
    }
    (arrived, left[0].impairments().expect("a twin"))
}

fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[..4].try_into().expect("frames are longer"))
}

#[test]
fn a_batch_takes_no_more_frames_than_it_was_made_for() {
    let (mut left, mut right) = TwinLink::pair(TwinConfig::default());
    let mut tx = TxBatch::new();
    for _ in 0..10 {
        left[0].reserve(&mut tx, 60).expect("there is room");
    }
    assert_eq!(left[0].send(&mut tx), 10);
    let mut rx = RxBatch::with_frames_max(4);
    assert_eq!([(); 4].map(|()| right[0].receive(&mut rx)), [4, 4, 2, 0]);
}

#[test]
fn a_perfect_wire_keeps_every_frame_in_order() {
    let (arrived, impairments) = deliver(TwinConfig::default(), 1_000);
    assert_eq!(arrived, (0..1_000).collect::<Vec<_>>());
    assert_eq!(impairments, Impairments::default());
}

#[test]
fn the_same_seed_has_the_same_fate_and_another_seed_another() {
    let config = TwinConfig {
        seed: 7,
        loss_ppm: 50_000,
        reorder_ppm: 50_000,
        duplicate_ppm: 50_000,
        ..TwinConfig::default()
    };
    assert_eq!(deliver(config, 1_000), deliver(config, 1_000));
    assert_ne!(deliver(config, 1_000), deliver(TwinConfig { seed: 8, ..config }, 1_000));
}

#[test]
fn every_frame_arrives_or_is_counted_as_lost() {
    for seed in 0..20 {
        let config = TwinConfig {
            seed,
            loss_ppm: 100_000,
            reorder_ppm: 100_000,
            duplicate_ppm: 100_000,
            ..TwinConfig::default()
        };
        let (mut arrived, impairments) = deliver(config, 1_000);
        let copies = arrived.len() as u64;
        assert_eq!(copies, 1_000 - impairments.lost + impairments.duplicated, "seed {seed}");
        arrived.sort_unstable();
        arrived.dedup();
        assert_eq!(arrived.len() as u64, 1_000 - impairments.lost, "seed {seed}");
        assert!((50..200).contains(&impairments.lost), "seed {seed}: {impairments:?}");
    }
}

#[test]
fn a_reordered_frame_is_overtaken_by_few_others() {
    for seed in 0..20 {
        let config = TwinConfig { seed, reorder_ppm: 100_000, ..TwinConfig::default() };
        let (arrived, impairments) = deliver(config, 1_000);
        assert_eq!(arrived.len(), 1_000, "seed {seed}");
        assert_ne!(arrived, (0..1_000).collect::<Vec<_>>(), "seed {seed}");
        assert!(impairments.reordered > 0, "seed {seed}");
        for (place, &n) in arrived.iter().enumerate() {
            let late = place as i64 - i64::from(n);
            // Others that are held back at the same time come on top of the depth.
            assert!(late <= i64::from(REORDER_DEPTH_MAX) + 4, "seed {seed}: {n} at {place}");
        }
    }
}

#[test]
fn a_full_wire_refuses_and_the_batch_keeps_the_rest_in_order() {
    let (mut left, mut right) = TwinLink::pair(TwinConfig { slots: 5, ..TwinConfig::default() });
    let (mut tx, mut rx) = (TxBatch::new(), RxBatch::new());
    for n in 0..8_u8 {
        left[0].reserve(&mut tx, 1).expect("there is room")[0] = n;
    }
    assert_eq!(left[0].send(&mut tx), 5);
    assert_eq!(tx.len(), 3);
    assert_eq!(left[0].counters().tx_refused, 3);
    assert_eq!(right[0].receive(&mut rx), 5);
    assert_eq!(left[0].send(&mut tx), 3);
    assert_eq!(right[0].receive(&mut rx), 3);
    assert_eq!([rx.frame(0), rx.frame(1), rx.frame(2)], [[5], [6], [7]]);
    let (sent, got) = (left[0].counters(), right[0].counters());
    assert_eq!((sent.tx_frames, sent.tx_bytes), (8, 8));
    assert_eq!((got.rx_frames, got.rx_bytes), (8, 8));
}

#[test]
fn queues_and_directions_do_not_mix() {
    let (mut left, mut right) = TwinLink::pair(TwinConfig { queues: 2, ..TwinConfig::default() });
    let (mut tx, mut rx) = (TxBatch::new(), RxBatch::new());
    left[1].reserve(&mut tx, 3).expect("there is room").copy_from_slice(b"one");
    left[1].send(&mut tx);
    assert_eq!(right[0].receive(&mut rx), 0);
    assert_eq!(left[1].receive(&mut rx), 0);
    assert_eq!(right[1].receive(&mut rx), 1);
    assert_eq!(rx.frame(0), b"one");
    assert_eq!(right[1].id(), QueueId(1));
}

#[test]
fn a_batch_holds_64_frames_of_possible_lengths() {
    let (mut left, _right) = TwinLink::pair(TwinConfig::default());
    let mut tx = TxBatch::new();
    assert!(left[0].reserve(&mut tx, 0).is_none());
    assert!(left[0].reserve(&mut tx, FRAME_BYTES_MAX + 1).is_none());
    for _ in 0..BATCH_FRAMES_MAX {
        assert!(!tx.is_full());
        assert_eq!(left[0].reserve(&mut tx, FRAME_BYTES_MAX).map(|f| f.len()), Some(9_216));
    }
    assert!(tx.is_full());
    assert!(left[0].reserve(&mut tx, 1).is_none());
    tx.clear();
    assert!(tx.is_empty());
}

#[test]
fn checksums_left_to_the_port_are_right_when_the_frame_arrives() {
    let (mut left, mut right) = TwinLink::pair(TwinConfig::default());
    let (mut tx, mut rx) = (TxBatch::new(), RxBatch::new());
    let frame = left[0].reserve(&mut tx, 54).expect("there is room");
    frame.fill(0);
    frame[14..24].copy_from_slice(&[0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6]);
    frame[26..34].copy_from_slice(&[10, 77, 0, 1, 10, 77, 0, 2]);
    frame[46] = 0x50;
    left[0].set_checksum(&mut tx, TxChecksum::Ipv4Tcp { l2: 14, l3: 20 });
    left[0].send(&mut tx);
    right[0].receive(&mut rx);
    // By hand: 0x4500+0x0028+0x4006+0x0a4d+0x0001+0x0a4d+0x0002, folded and inverted.
    assert_eq!(rx.frame(0)[24..26], [0x66, 0x34]);
    // By hand: addresses 0x149d, protocol 6, length 20, offset 0x5000, folded and inverted.
    assert_eq!(rx.frame(0)[50..52], [0x9b, 0x48]);
}

#[test]
fn ends_work_from_two_threads() {
    const FRAMES: u64 = 10_000;
    let (mut left, mut right) = TwinLink::pair(TwinConfig::default());
    let sender = std::thread::spawn(move || {
        let mut tx = TxBatch::new();
        let is_done =
            |end: &PortQueue, tx: &TxBatch| end.counters().tx_frames + tx.len() as u64 == FRAMES;
        while !is_done(&left[0], &tx) || !tx.is_empty() {
            if !is_done(&left[0], &tx)
                && let Some(frame) = left[0].reserve(&mut tx, 60)
            {
                frame.fill(1);
            }
            left[0].send(&mut tx);
        }
    });
    let mut rx = RxBatch::new();
    while right[0].counters().rx_frames < FRAMES {
        right[0].receive(&mut rx);
    }
    sender.join().expect("the sender ends");
    assert_eq!(right[0].counters().rx_bytes, FRAMES * 60);
}
