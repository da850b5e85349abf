//! The shard's timer wheel: one entry a connection, one a detached session, nothing per timer.
//!
//! A connection has many deadlines (retransmission, delayed ACK, keep-alive, …) but one entry here:
//! the earliest of them. When a deadline moves *later* nothing is done: the entry fires early, its
//! owner finds nothing due and names the next deadline ([lazy re-arming](Wheel::arm_earlier)). So the
//! common case, a timer that every packet pushes back, costs nothing at all.
//!
//! Four levels of 256 slots of doubly linked entries. An entry hangs at the level of the highest byte
//! in which its tick differs from the wheel's, in the slot of that byte; when the wheel's tick enters
//! that slot, the list moves down a level. Arm, cancel and move are O(1). Work is counted in entries
//! touched and bounded by the caller's budget: a wheel that ran out of budget is late, never wrong,
//! and goes on where it stopped.
//!
//! A tick is 2^20 ns, about 1.05 ms. A deadline is rounded up to a tick, so nothing fires early except
//! deadlines beyond [`HORIZON_TICKS`], which fire at the horizon and are re-armed by their owner.

#[cfg(test)]
mod tests;

use superpage::{Array, NIL, Placement, RegionError, Tier, record};

/// log2 of a tick's nanoseconds.
const TICK_SHIFT: u32 = 20;
/// log2 of the slots of a level.
const LEVEL_BITS: u32 = 8;
/// Slots of a level.
const LEVEL_SLOTS: u32 = 1 << LEVEL_BITS;
/// Levels; together they hold every tick that differs from the current one in its low 32 bits.
const LEVELS: u32 = 4;
const _: () = assert!(LEVEL_BITS * LEVELS == u32::BITS, "entries keep 32 bits of their tick");
/// The longest distance an entry is armed at, about 26 days: half of what 32 bits can tell apart, so
/// that "before" and "after" stay decidable.
const HORIZON_TICKS: u64 = 1 << 31;

record! {
    /// One timer: where it hangs and when it fires.
    pub struct WheelEntry {
        /// Low 32 bits of the tick it fires at.
        pub tick: u32,
        /// The list neighbour that fires later in the same slot, or `NIL`.
        pub next: u32,
        /// The list neighbour before it, or `NIL` for the first.
        pub previous: u32,
        /// 1 + index of the slot it hangs in; 0: not armed. A zeroed region is a wheel of unarmed entries.
        pub slot_plus_one: u32,
    }
}

// What a profile's memory plan counts.
const _: () = assert!(size_of::<WheelEntry>() as u64 == hwconfig::memory::TIMER_BYTES);
const _: () = assert!((LEVELS * LEVEL_SLOTS) as u64 == hwconfig::memory::TIMER_SLOTS);

/// Which slots of one level are not empty.
#[derive(Clone, Copy, Debug, Default)]
struct Occupancy([u64; (LEVEL_SLOTS / u64::BITS) as usize]);

impl Occupancy {
    fn set(&mut self, slot: u32) {
        self.0[(slot / 64) as usize] |= 1 << (slot % 64);
    }

    fn clear(&mut self, slot: u32) {
        self.0[(slot / 64) as usize] &= !(1 << (slot % 64));
    }

    /// The first occupied slot at or after `from` (which may be `LEVEL_SLOTS`).
    fn first_from(&self, from: u32) -> Option<u32> {
        let mut word = (from / 64) as usize;
        let mut mask = u64::MAX << (from % 64);
        while let Some(bits) = self.0.get(word) {
            let found = bits & mask;
            if found != 0 {
                return Some(word as u32 * 64 + found.trailing_zeros());
            }
            word += 1;
            mask = u64::MAX;
        }
        None
    }
}

/// A hierarchical timer wheel over `capacity` entries, addressed by index.
#[derive(Debug)]
pub struct Wheel {
    /// The entries, and behind them one for each slot, of which only `next` is used: 1 + index of the
    /// slot's first entry, or 0 when the slot is empty.
    entries: Array<WheelEntry>,
    capacity: u32,
    occupancy: [Occupancy; LEVELS as usize],
    /// The tick being worked on. Entries at or before it are due; all others are after it.
    tick: u64,
    /// The tick of the last `advance`; `tick` follows it as the budget allows.
    target: u64,
    armed: u32,
}

impl Wheel {
    /// A wheel of `capacity` unarmed entries whose time starts at `now_ns`.
    ///
    /// # Errors
    /// When no memory of the wanted tier can be mapped.
    pub fn create(capacity: u32, now_ns: u64, placement: Placement) -> Result<Wheel, RegionError> {
        let tick = now_ns >> TICK_SHIFT;
        let entries = capacity as usize + (LEVELS * LEVEL_SLOTS) as usize;
        Ok(Wheel {
            entries: Array::create("wheel", entries, placement)?,
            capacity,
            occupancy: [Occupancy::default(); LEVELS as usize],
            tick,
            target: tick,
            armed: 0,
        })
    }

    /// Arms `entry` for `at_ns`, moving it when it was armed.
    pub fn arm(&mut self, entry: u32, at_ns: u64) {
        self.cancel(entry);
        self.insert(entry, self.tick_of_deadline(at_ns));
    }

    /// Arms `entry` for `at_ns` unless it already fires at or before that.
    pub fn arm_earlier(&mut self, entry: u32, at_ns: u64) {
        let tick = self.tick_of_deadline(at_ns);
        if self.armed_tick(entry).is_some_and(|armed| armed <= tick) {
            return;
        }
        self.cancel(entry);
        self.insert(entry, tick);
    }

    /// Unarms `entry`; nothing happens when it was not armed.
    pub fn cancel(&mut self, entry: u32) {
        let WheelEntry { next, previous, slot_plus_one, .. } = self.entries[entry as usize];
        let Some(slot) = slot_plus_one.checked_sub(1) else { return };
        if next != NIL {
            self.entries[next as usize].previous = previous;
        }
        if previous != NIL {
            self.entries[previous as usize].next = next;
        } else {
            // `NIL` + 1 wraps to 0, which is how a head says "empty".
            self.set_head_plus_one(slot, next.wrapping_add(1));
            if next == NIL {
                self.occupancy[(slot / LEVEL_SLOTS) as usize].clear(slot % LEVEL_SLOTS);
            }
        }
        self.entries[entry as usize].slot_plus_one = 0;
        self.armed -= 1;
    }

    /// Lets [`Wheel::expire`] hand out what is due at `now_ns`. Time never goes back.
    pub fn advance(&mut self, now_ns: u64) {
        self.target = self.target.max(now_ns >> TICK_SHIFT);
    }

    /// The next due entry, unarmed, or `None` when nothing is due or the budget is used up. Every entry
    /// moved or handed out takes one from `budget`.
    pub fn expire(&mut self, budget: &mut u32) -> Option<u32> {
        loop {
            while let Some(slot) = self.slot_to_cascade() {
                *budget = budget.checked_sub(1)?;
                let entry = self.pop(slot);
                let tick = self.armed_tick(entry).expect("entries of a slot are armed");
                self.cancel(entry);
                self.insert(entry, tick);
            }
            let due = self.tick as u32 % LEVEL_SLOTS;
            if self.head_plus_one(due) != 0 {
                *budget = budget.checked_sub(1)?;
                let entry = self.pop(due);
                self.cancel(entry);
                return Some(entry);
            }
            if self.tick == self.target {
                return None;
            }
            self.tick = self.next_tick_of_interest().min(self.target);
        }
    }

    /// The earliest time at which [`Wheel::expire`] may have something to do: exact within a level-0
    /// round (268 ms), else the start of the slot that holds the next entry.
    pub fn next_due_ns(&self) -> Option<u64> {
        if self.armed == 0 {
            return None;
        }
        let due = self.tick as u32 % LEVEL_SLOTS;
        if self.head_plus_one(due) != 0 || self.slot_to_cascade().is_some() {
            return Some(self.tick << TICK_SHIFT);
        }
        Some(self.next_tick_of_interest() << TICK_SHIFT)
    }

    /// Entries armed now.
    pub fn armed(&self) -> u32 {
        self.armed
    }

    /// Entries in all.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// What holds the entries.
    pub fn region(&self) -> (&'static str, Tier, usize) {
        ("wheel", self.entries.tier(), self.entries.region_bytes())
    }

    /// The tick a deadline is armed at: rounded up, after the current tick, within the horizon.
    fn tick_of_deadline(&self, at_ns: u64) -> u64 {
        let rounded = (at_ns >> TICK_SHIFT) + u64::from(at_ns & ((1 << TICK_SHIFT) - 1) != 0);
        rounded.clamp(self.tick + 1, self.tick + HORIZON_TICKS)
    }

    /// The tick an armed entry fires at.
    fn armed_tick(&self, entry: u32) -> Option<u64> {
        let WheelEntry { tick, slot_plus_one, .. } = self.entries[entry as usize];
        // The distance to the current tick is below 2^32, so 32 bits name it.
        (slot_plus_one != 0).then(|| self.tick + u64::from(tick.wrapping_sub(self.tick as u32)))
    }

    fn insert(&mut self, entry: u32, tick: u64) {
        let tick = tick as u32;
        let differs = tick ^ self.tick as u32;
        let level = differs.checked_ilog2().map_or(0, |bit| bit / LEVEL_BITS);
        let slot = level * LEVEL_SLOTS + (tick >> (level * LEVEL_BITS)) % LEVEL_SLOTS;
        let next = self.head_plus_one(slot).wrapping_sub(1);
        self.entries[entry as usize] =
            WheelEntry { tick, next, previous: NIL, slot_plus_one: slot + 1 };
        if next != NIL {
            self.entries[next as usize].previous = entry;
        }
        self.set_head_plus_one(slot, entry + 1);
        self.occupancy[level as usize].set(slot % LEVEL_SLOTS);
        self.armed += 1;
    }

    fn head_plus_one(&self, slot: u32) -> u32 {
        self.entries[(self.capacity + slot) as usize].next
    }

    fn set_head_plus_one(&mut self, slot: u32, head_plus_one: u32) {
        self.entries[(self.capacity + slot) as usize].next = head_plus_one;
    }

    /// The first entry of a slot that is not empty; the one behind it is fetched meanwhile.
    fn pop(&self, slot: u32) -> u32 {
        let entry = self.head_plus_one(slot) - 1;
        let next = self.entries[entry as usize].next;
        if next != NIL {
            self.entries.prefetch(next as usize);
        }
        entry
    }

    /// The upper-level slot that the current tick has entered and that still holds entries, highest
    /// level first: those may belong to the lower slots entered at the same tick.
    fn slot_to_cascade(&self) -> Option<u32> {
        if !self.tick.is_multiple_of(u64::from(LEVEL_SLOTS)) {
            return None;
        }
        let tick = self.tick as u32;
        let entered = |level: &u32| tick.trailing_zeros() >= level * LEVEL_BITS;
        (1..LEVELS)
            .rev()
            .filter(entered)
            .map(|level| level * LEVEL_SLOTS + (tick >> (level * LEVEL_BITS)) % LEVEL_SLOTS)
            .find(|slot| self.head_plus_one(*slot) != 0)
    }

    /// The next tick after the current one that has a due entry, or at which a slot is entered that
    /// holds entries to cascade. With nothing armed it is far away.
    fn next_tick_of_interest(&self) -> u64 {
        for level in 0..LEVELS {
            let shift = level * LEVEL_BITS;
            let here = (self.tick >> shift) as u32 % LEVEL_SLOTS;
            let round = (self.tick >> shift) & !u64::from(LEVEL_SLOTS - 1);
            if let Some(slot) = self.occupancy[level as usize].first_from(here + 1) {
                return (round + u64::from(slot)) << shift;
            }
        }
        // Only the top level wraps: entries up to the horizon may lie behind its last slot.
        let shift = (LEVELS - 1) * LEVEL_BITS;
        let round = (self.tick >> shift) & !u64::from(LEVEL_SLOTS - 1);
        let wrapped = self.occupancy[LEVELS as usize - 1].first_from(0).unwrap_or(LEVEL_SLOTS);
        (round + u64::from(LEVEL_SLOTS) + u64::from(wrapped)) << shift
    }
}
