use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn popped(consumer: &mut Consumer) -> Result<Option<Vec<u8>>, RingError> {
    let mut buffer = vec![0xee; 4096];
    Ok(consumer.pop(&mut buffer)?.map(|len| buffer[..len].to_vec()))
}

#[test]
fn parts_of_odd_lengths_arrive_as_one_record() {
    let (mut producer, mut consumer) = ring(256);
    producer.push(&[b"a", b"", b"bcdefgh", b"ijklmnopqrst", b"u"]).unwrap();
    producer.push(&[]).unwrap();
    producer.push(&[b"12345678", b"9"]).unwrap();
    assert_eq!(popped(&mut consumer), Ok(Some(b"abcdefghijklmnopqrstu".to_vec())));
    assert_eq!(popped(&mut consumer), Ok(Some(vec![])));
    assert_eq!(popped(&mut consumer), Ok(Some(b"123456789".to_vec())));
    assert_eq!(popped(&mut consumer), Ok(None));
}

#[test]
fn full_ring_refuses_until_there_is_room() {
    let (mut producer, mut consumer) = ring(64);
    let record = [7; 24];
    assert_eq!((producer.record_bytes_max(), producer.free_bytes()), (24, 24));
    assert_eq!(producer.push(&[&record]), Ok(()));
    assert_eq!(producer.push(&[&record]), Ok(()));
    assert_eq!(producer.free_bytes(), 0);
    assert_eq!(producer.push(&[]), Err(PushError::Full));
    assert_eq!(popped(&mut consumer), Ok(Some(record.to_vec())));
    assert_eq!(producer.free_bytes(), 24);
    assert_eq!(producer.push(&[&record]), Ok(()));
}

#[test]
fn record_longer_than_half_the_ring_is_never_taken() {
    let (mut producer, mut consumer) = ring(64);
    assert_eq!(producer.push(&[&[0; 20], &[0; 5]]), Err(PushError::TooLong));
    assert!(consumer.is_empty());
}

#[test]
fn record_stays_until_the_buffer_is_large_enough() {
    let (mut producer, mut consumer) = ring(64);
    producer.push(&[b"0123456789"]).unwrap();
    assert_eq!(consumer.pop(&mut [0; 9]), Err(RingError::TooSmall(10)));
    assert!(!consumer.is_empty());
    assert_eq!(popped(&mut consumer), Ok(Some(b"0123456789".to_vec())));
}

#[test]
fn size_is_rounded_up() {
    assert_eq!(ring(0).0.record_bytes_max(), 24);
    assert_eq!(ring(65).0.record_bytes_max(), 56);
    assert_eq!(ring(1 << 20).0.record_bytes_max(), (1 << 19) - 8);
}

#[test]
fn mark_with_a_flipped_bit_is_corrupt() {
    for bit in 0..64 {
        let (mut producer, mut consumer) = ring(64);
        producer.push(&[b"abc"]).unwrap();
        let word = consumer.shared.word(0);
        word.store(word.load() ^ 1 << bit);
        assert_eq!(popped(&mut consumer), Err(RingError::Corrupt), "bit {bit}");
        assert_eq!(popped(&mut consumer), Err(RingError::Corrupt), "bit {bit}, again");
    }
}

#[test]
fn well_formed_length_beyond_the_tail_is_corrupt() {
    for bytes in [9, 24, 64, 4096, u32::MAX as usize] {
        let (mut producer, mut consumer) = ring(64);
        producer.push(&[b"12345678"]).unwrap();
        consumer.shared.word(0).store(mark(bytes));
        assert_eq!(popped(&mut consumer), Err(RingError::Corrupt), "length {bytes}");
    }
}

#[test]
fn impossible_indices_are_corrupt_or_full() {
    let (mut producer, mut consumer) = ring(64);
    consumer.shared.tail.store(9, Ordering::Relaxed);
    assert_eq!(popped(&mut consumer), Err(RingError::Corrupt));
    producer.push(&[&[0; 24]]).unwrap();
    producer.push(&[&[0; 24]]).unwrap();
    producer.shared.head.store(9, Ordering::Relaxed);
    assert_eq!(producer.push(&[]), Err(PushError::Full));
}

#[test]
fn many_records_cross_two_threads_in_order() {
    const RECORDS: u32 = 20_000;
    let (mut producer, mut consumer) = ring(1024);
    let thread = std::thread::spawn(move || {
        for number in 0..RECORDS {
            let filler = [number as u8; 40];
            let parts: [&[u8]; 2] = [&number.to_le_bytes(), &filler[..number as usize % 41]];
            while producer.push(&parts) == Err(PushError::Full) {
                std::thread::yield_now();
            }
        }
    });
    for number in 0..RECORDS {
        let record = loop {
            match popped(&mut consumer).unwrap() {
                Some(record) => break record,
                None => std::thread::yield_now(),
            }
        };
        assert_eq!(record[..4], number.to_le_bytes());
        assert_eq!(record[4..], vec![number as u8; number as usize % 41]);
    }
    thread.join().unwrap();
    assert_eq!(popped(&mut consumer), Ok(None));
}

#[derive(Clone, Debug)]
enum Step {
    Push(Vec<Vec<u8>>),
    Pop(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let part = prop::collection::vec(any::<u8>(), 0..40);
    let step = prop_oneof![
        prop::collection::vec(part, 0..5).prop_map(Step::Push),
        (0usize..160).prop_map(Step::Pop),
    ];
    prop::collection::vec(step, 0..200)
}

/// One write of a hostile process into the shared memory.
#[derive(Clone, Debug)]
enum Tamper {
    Word(usize, u64),
    Mark(usize, u32),
    Head(u64),
    Tail(u64),
}

fn tampers() -> impl Strategy<Value = Tamper> {
    let index = prop_oneof![any::<u64>(), 0u64..200, (0u64..200).prop_map(u64::wrapping_neg)];
    prop_oneof![
        (any::<usize>(), any::<u64>()).prop_map(|(at, value)| Tamper::Word(at, value)),
        (any::<usize>(), any::<u32>()).prop_map(|(at, bytes)| Tamper::Mark(at, bytes)),
        (any::<usize>(), 0u32..200).prop_map(|(at, bytes)| Tamper::Mark(at, bytes)),
        index.clone().prop_map(Tamper::Head),
        index.prop_map(Tamper::Tail),
    ]
}

proptest! {
    #[test]
    fn ring_behaves_like_a_bounded_queue(bytes in 0usize..600, steps in steps()) {
        let (mut producer, mut consumer) = ring(bytes);
        let capacity = bytes.max(64).next_power_of_two();
        let mut queue = VecDeque::new();
        let mut used = 0;
        for step in steps {
            match step {
                Step::Push(parts) => {
                    let record = parts.concat();
                    let taken = 8 + record.len().next_multiple_of(8);
                    let expected = if taken > capacity / 2 {
                        Err(PushError::TooLong)
                    } else if used + taken > capacity {
                        Err(PushError::Full)
                    } else {
                        used += taken;
                        queue.push_back(record);
                        Ok(())
                    };
                    let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
                    prop_assert_eq!(producer.push(&parts), expected);
                }
                Step::Pop(room) => {
                    let mut buffer = vec![0; room];
                    match consumer.pop(&mut buffer) {
                        Ok(None) => prop_assert!(queue.is_empty()),
                        Ok(Some(len)) => {
                            let record: Vec<u8> = queue.pop_front().unwrap();
                            used -= 8 + record.len().next_multiple_of(8);
                            prop_assert_eq!(&buffer[..len], record);
                        }
                        Err(error) => {
                            let len = queue[0].len();
                            prop_assert!(len > room);
                            prop_assert_eq!(error, RingError::TooSmall(len));
                        }
                    }
                }
            }
            let room = producer.free_bytes();
            prop_assert_eq!(room, (capacity - used).saturating_sub(8).min(capacity / 2 - 8));
        }
    }

    #[test]
    fn hostile_memory_never_panics_nor_writes_past_the_buffer(
        bytes in 0usize..600,
        script in prop::collection::vec((steps(), tampers()), 0..6),
    ) {
        let (mut producer, mut consumer) = ring(bytes);
        for (steps, tamper) in script {
            for step in steps {
                match step {
                    Step::Push(parts) => {
                        let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
                        let _ = producer.push(&parts);
                    }
                    Step::Pop(room) => {
                        let mut buffer = vec![0xee; room];
                        if let Ok(Some(len)) = consumer.pop(&mut buffer) {
                            prop_assert!(len <= room);
                            prop_assert!(buffer[len..].iter().all(|&byte| byte == 0xee));
                        }
                    }
                }
            }
            let shared = &consumer.shared;
            match tamper {
                Tamper::Word(at, value) => shared.word(at as u64).store(value),
                Tamper::Mark(at, bytes) => shared.word(at as u64).store(mark(bytes as usize)),
                Tamper::Head(head) => shared.head.store(head, Ordering::Relaxed),
                Tamper::Tail(tail) => shared.tail.store(tail, Ordering::Relaxed),
            }
            // Popping to the end comes to an end: every record is at least a word.
            let mut buffer = vec![0; 8192];
            let records = (0..).take_while(|_| matches!(consumer.pop(&mut buffer), Ok(Some(_))));
            prop_assert!(records.count() <= bytes.max(64).next_power_of_two() / 8);
        }
    }
}
