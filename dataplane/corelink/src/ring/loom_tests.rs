use super::*;

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn loom_records_arrive_whole_and_in_order_through_a_ring_that_wraps() {
    check(|| {
        // Four words: two records of one word each fill it, the third one wraps.
        let (mut producer, mut consumer) = ring_of_words(4);
        let thread = loom::thread::spawn(move || {
            for value in 1..=3u64 {
                while producer.push(&[&value.to_le_bytes()]).is_err() {
                    loom::thread::yield_now();
                }
            }
        });
        let mut buffer = [0; 8];
        for value in 1..=3u64 {
            while consumer.pop(&mut buffer).unwrap().is_none() {
                loom::thread::yield_now();
            }
            assert_eq!(u64::from_le_bytes(buffer), value);
        }
        thread.join().unwrap();
        assert!(consumer.is_empty());
    });
}

#[test]
fn loom_full_ring_refuses_and_loses_nothing() {
    check(|| {
        let (mut producer, mut consumer) = ring_of_words(4);
        let thread = loom::thread::spawn(move || {
            (1..=3u64).filter(|value| producer.push(&[&value.to_le_bytes()]).is_ok()).collect()
        });
        let mut seen = Vec::new();
        let mut buffer = [0; 8];
        if consumer.pop(&mut buffer).unwrap().is_some() {
            seen.push(u64::from_le_bytes(buffer));
        }
        let pushed: Vec<u64> = thread.join().unwrap();
        while consumer.pop(&mut buffer).unwrap().is_some() {
            seen.push(u64::from_le_bytes(buffer));
        }
        assert_eq!(seen, pushed);
        assert!(pushed.len() >= 2);
    });
}
