//! What a shard does when a turn found nothing to do.

use std::time::Duration;

/// The first sleep after the spinning turns; each further one doubles up to the profile's bound.
const FIRST_SLEEP_US: u32 = 8;

/// Idle policy of a shard. Every figure of ours names the one it was taken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdlePolicy {
    /// Never sleeps: the lowest latency, a whole core.
    Poll,
    /// Spins `spin_turns` empty turns, then sleeps in growing steps up to `sleep_us_max`, never past
    /// the next timer. Any work starts it over.
    Adaptive {
        /// Empty turns in a row before the first sleep.
        spin_turns: u32,
        /// The longest sleep, which bounds the delay added to a frame that arrives meanwhile.
        sleep_us_max: u32,
    },
}

/// The policy with its state: how long the shard has had nothing to do.
#[derive(Debug)]
pub struct Idle {
    policy: IdlePolicy,
    empty_turns: u32,
    next_sleep_us: u32,
}

impl Idle {
    /// Starts as if work had just been done.
    pub fn new(policy: IdlePolicy) -> Idle {
        Idle { policy, empty_turns: 0, next_sleep_us: FIRST_SLEEP_US }
    }

    /// Notes whether a turn did work and says how long to sleep before the next, if at all.
    /// `next_due_ns` is when the shard's own timers want it back at the latest.
    pub fn after_turn(
        &mut self,
        worked: bool,
        now_ns: u64,
        next_due_ns: impl FnOnce() -> u64,
    ) -> Option<Duration> {
        let IdlePolicy::Adaptive { spin_turns, sleep_us_max } = self.policy else { return None };
        if worked {
            self.empty_turns = 0;
            self.next_sleep_us = FIRST_SLEEP_US;
            return None;
        }
        if self.empty_turns < spin_turns {
            self.empty_turns += 1;
            return None;
        }
        let step = Duration::from_micros(u64::from(self.next_sleep_us.min(sleep_us_max)));
        self.next_sleep_us = self.next_sleep_us.saturating_mul(2).min(sleep_us_max);
        let until_due = Duration::from_nanos(next_due_ns().saturating_sub(now_ns));
        let sleep = step.min(until_due);
        (!sleep.is_zero()).then_some(sleep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADAPTIVE: IdlePolicy = IdlePolicy::Adaptive { spin_turns: 2, sleep_us_max: 50 };

    fn sleeps_us(idle: &mut Idle, turns: usize) -> Vec<u64> {
        (0..turns)
            .map(|_| idle.after_turn(false, 0, || u64::MAX).map_or(0, |d| d.as_micros() as u64))
            .collect()
    }

    #[test]
    fn poll_never_sleeps() {
        let mut idle = Idle::new(IdlePolicy::Poll);
        assert_eq!(sleeps_us(&mut idle, 100), [0; 100]);
    }

    #[test]
    fn adaptive_spins_then_sleeps_in_growing_steps() {
        let mut idle = Idle::new(ADAPTIVE);
        assert_eq!(sleeps_us(&mut idle, 7), [0, 0, 8, 16, 32, 50, 50]);
    }

    #[test]
    fn work_starts_it_over() {
        let mut idle = Idle::new(ADAPTIVE);
        sleeps_us(&mut idle, 5);
        assert_eq!(idle.after_turn(true, 0, || u64::MAX), None);
        assert_eq!(sleeps_us(&mut idle, 3), [0, 0, 8]);
    }

    #[test]
    fn next_timer_bounds_the_sleep() {
        let mut idle = Idle::new(ADAPTIVE);
        sleeps_us(&mut idle, 5);
        assert_eq!(idle.after_turn(false, 1_000, || 4_000), Some(Duration::from_micros(3)));
        assert_eq!(idle.after_turn(false, 5_000, || 4_000), None, "a timer is overdue");
    }
}
