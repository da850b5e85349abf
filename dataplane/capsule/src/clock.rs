//! Nanoseconds from the processor's time stamp counter.
//!
//! Reading the counter costs a few nanoseconds and no system call, so a shard can read the time
//! once a turn. The counter is usable where it is invariant: it ticks at one rate in every power
//! state and on every core. Where it is not, the kernel's clock is read instead.

use std::arch::x86_64::{__cpuid, _rdtsc};
use std::time::Duration;

/// How long calibration compares both clocks. The ends are known to about 50 ns, so the rate is
/// known to about 2 parts in a million.
const CALIBRATION: Duration = Duration::from_millis(50);

/// Readings taken to find one where the kernel's clock was read undisturbed.
const READINGS: usize = 16;

/// Binary digits after the point in [`Clock::ns_per_tick`].
const FRACTION_BITS: u32 = 32;

/// A calibrated clock: copy it to every shard, so that all agree.
///
/// It starts equal to the kernel's `CLOCK_MONOTONIC` and then runs at its own rate, which differs
/// by a few parts in a million (about 0.2 s a day). Times are for comparison within a process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// `CLOCK_MONOTONIC` at `start_tick`.
    start_ns: u64,
    start_tick: u64,
    /// Fixed-point nanoseconds a tick; 0: the counter cannot be used.
    ns_per_tick: u64,
    hz: u64,
}

impl Clock {
    /// Compares the counter with `CLOCK_MONOTONIC`, which takes 50 ms, once a process.
    pub fn calibrate() -> Self {
        let (start_tick, start_ns) = read_both();
        std::thread::sleep(CALIBRATION);
        let (end_tick, end_ns) = read_both();
        let ticks = u128::from(end_tick.wrapping_sub(start_tick));
        let ns = u128::from(end_ns - start_ns);
        let usable = tsc_is_invariant() && ticks > 0;
        Self {
            start_ns,
            start_tick,
            ns_per_tick: if usable { ((ns << FRACTION_BITS) / ticks) as u64 } else { 0 },
            hz: (ticks * u128::from(NS_PER_S) / ns) as u64,
        }
    }

    /// Nanoseconds on the machine's monotonic scale.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        if self.ns_per_tick == 0 {
            return kernel_ns();
        }
        // Another core's counter may be a few ticks behind the one that was calibrated.
        let ticks = self.tsc().saturating_sub(self.start_tick);
        let elapsed = (u128::from(ticks) * u128::from(self.ns_per_tick)) >> FRACTION_BITS;
        self.start_ns + elapsed as u64
    }

    /// The counter itself, for measuring stages of a turn.
    #[inline]
    pub fn tsc(&self) -> u64 {
        read_tsc()
    }

    /// Ticks of the counter in a second, as measured.
    pub fn tsc_hz(&self) -> u64 {
        self.hz
    }

    /// Nanoseconds that `ticks` of the counter take, for reporting measured stages.
    pub fn ticks_to_ns(&self, ticks: u64) -> u64 {
        (u128::from(ticks) * u128::from(NS_PER_S) / u128::from(self.hz.max(1))) as u64
    }

    /// Whether the counter ticks at one rate in all power states. If not, `now_ns` asks the kernel,
    /// which is slower but right.
    pub fn tsc_is_invariant(&self) -> bool {
        tsc_is_invariant()
    }
}

const NS_PER_S: u64 = 1_000_000_000;

/// Both clocks at the same moment: of several readings, the one with the least time between the
/// two readings of the counter that enclose the kernel's.
fn read_both() -> (u64, u64) {
    let readings = (0..READINGS).map(|_| {
        let before = read_tsc();
        let ns = kernel_ns();
        let width = read_tsc().wrapping_sub(before);
        (width, before.wrapping_add(width / 2), ns)
    });
    let (_, tick, ns) = readings.min().expect("there are readings");
    (tick, ns)
}

#[inline]
fn read_tsc() -> u64 {
    // SAFETY: every x86-64 processor has RDTSC, and Linux leaves it open to user programs.
    unsafe { _rdtsc() }
}

/// `CLOCK_MONOTONIC`.
fn kernel_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid place for the result.
    let code = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    assert_eq!(code, 0, "CLOCK_MONOTONIC exists on every Linux");
    now.tv_sec as u64 * NS_PER_S + now.tv_nsec as u64
}

/// CPUID leaf 0x8000_0007, EDX bit 8: "invariant TSC".
fn tsc_is_invariant() -> bool {
    const LARGEST_EXTENDED: u32 = 0x8000_0000;
    const POWER_MANAGEMENT: u32 = 0x8000_0007;
    __cpuid(LARGEST_EXTENDED).eax >= POWER_MANAGEMENT
        && __cpuid(POWER_MANAGEMENT).edx & (1 << 8) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_agrees_with_the_kernel_and_never_goes_back() {
        let clock = Clock::calibrate();
        let mut last = clock.now_ns();
        for _ in 0..10_000 {
            let before = kernel_ns();
            let now = clock.now_ns();
            let after = kernel_ns();
            assert!(now >= last, "{now} < {last}");
            // A millisecond is far more than calibration can be wrong by in so short a time.
            assert!(
                now + 1_000_000 >= before && now <= after + 1_000_000,
                "{before} {now} {after}"
            );
            last = now;
        }
    }

    #[test]
    fn a_second_of_ticks_is_a_second() {
        let clock = Clock::calibrate();
        assert_eq!(clock.ticks_to_ns(clock.tsc_hz()), NS_PER_S);
    }

    #[test]
    fn without_an_invariant_counter_the_kernel_is_asked() {
        let clock = Clock { ns_per_tick: 0, ..Clock::calibrate() };
        let before = kernel_ns();
        let now = clock.now_ns();
        assert!((before..=kernel_ns()).contains(&now));
    }
}
