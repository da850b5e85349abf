//! Where a shard's cycles go: the time stamp counter, read at the borders of a turn's stages.
//!
//! A stage that found nothing to do reads no counter: its cycles fall to the next border, and a turn
//! without any work is idle as a whole. So an empty turn costs one reading, and a busy one a few of
//! 10 ns each against microseconds of work.

use capsule::clock::Clock;
use superpage::counters;

counters! {
    /// Cycles of one shard by stage of its turn. Invariant: every cycle since the shard's start is in
    /// exactly one of them, up to the last border.
    pub struct StageCycles {
        /// Taking frames from the port: the driver's receive function.
        receive: cycles,
        /// Steering, and the stack's input of a burst.
        input: cycles,
        /// The stack's events: applications reading, the broker's codec and routing.
        events: cycles,
        /// Records from other shards, and what parked links held back.
        inbox: cycles,
        /// Deadlines of connections and sessions.
        timers: cycles,
        /// The broker's deliveries to send queues and to other shards.
        outbox: cycles,
        /// The stack's output: building segments.
        output: cycles,
        /// Giving frames to the port: the driver's transmit function.
        transmit: cycles,
        /// Once a millisecond: expiry, counters, commands.
        housekeeping: cycles,
        /// Between the stages of turns that had work.
        between: cycles,
        /// Turns without work.
        idle: cycles,
        /// Asleep, by the adaptive idle policy.
        asleep: cycles,
    }
}

counters! {
    /// Turns of one shard.
    pub struct TurnCounters {
        /// Passes of the shard's loop.
        turns: turns,
        /// Passes that had something to do.
        busy: turns,
    }
}

/// Attributes the cycles since the last border to a stage.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    clock: Clock,
    border: u64,
    cycles: StageCycles,
    turns: TurnCounters,
}

impl Stopwatch {
    pub(crate) fn start(clock: Clock) -> Stopwatch {
        Stopwatch {
            clock,
            border: clock.tsc(),
            cycles: StageCycles::default(),
            turns: TurnCounters::default(),
        }
    }

    /// The stage ends here.
    pub(crate) fn lap(&mut self, stage: impl FnOnce(&mut StageCycles) -> &mut u64) {
        *stage(&mut self.cycles) += self.since_border();
    }

    /// The transmitting stage ends here; the driver had `driver_cycles` of it.
    pub(crate) fn lap_transmit(&mut self, driver_cycles: u64) {
        self.cycles.transmit += driver_cycles;
        self.cycles.output += self.since_border().saturating_sub(driver_cycles);
    }

    /// The turn ends here.
    pub(crate) fn end_turn(&mut self, worked: bool) {
        self.turns.turns += 1;
        self.turns.busy += u64::from(worked);
        self.lap(|cycles| if worked { &mut cycles.between } else { &mut cycles.idle });
    }

    pub(crate) fn cycles(&self) -> &StageCycles {
        &self.cycles
    }

    pub(crate) fn turns(&self) -> &TurnCounters {
        &self.turns
    }

    fn since_border(&mut self) -> u64 {
        let now = self.clock.tsc();
        let cycles = now.saturating_sub(self.border);
        self.border = now;
        cycles
    }
}
