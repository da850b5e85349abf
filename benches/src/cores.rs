//! Cores: binding a thread to one, and what one was busy with.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// Ticks of `/proc/stat` a second. The kernel's interface fixes it at 100 on all our platforms.
const TICKS_PER_SECOND: f64 = 100.0;

/// Binds the calling thread to one core.
///
/// # Errors
/// When the machine has no such core, or this process may not use it.
pub fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core).with_context(|| format!("core {core}"))?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("bind to core {core}"))
}

/// What one core did up to a moment, by `/proc/stat`.
///
/// The kernel measures idle time and samples the rest at its clock tick, so `busy` is exact and the
/// division of busy time is good to a few parts in a thousand over ten seconds.
#[derive(Debug, Clone)]
pub struct CoreTimes {
    taken: Instant,
    user: u64,
    system: u64,
    idle: u64,
    irq: u64,
    softirq: u64,
}

/// Shares of a core's time between two moments, each from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub struct CoreShares {
    /// Everything but idling.
    pub busy: f64,
    /// Programs, without the kernel's work for them.
    pub user: f64,
    /// The kernel's work for programs.
    pub system: f64,
    /// Interrupts and soft interrupts: packets, whoever they are for.
    pub interrupts: f64,
}

impl CoreTimes {
    /// Reads the times of one core.
    ///
    /// # Errors
    /// When `/proc/stat` has no such core.
    pub fn read(core: usize) -> Result<Self> {
        let taken = Instant::now();
        let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
        let name = format!("cpu{core} ");
        let line = text.lines().find(|line| line.starts_with(&name));
        let line = line.with_context(|| format!("core {core} is not in /proc/stat"))?;
        let fields: Vec<u64> =
            line.split_whitespace().skip(1).map(str::parse).collect::<Result<_, _>>()?;
        let [user, nice, system, idle, iowait, irq, softirq, ..] = fields[..] else {
            anyhow::bail!("/proc/stat has too few fields: {line}");
        };
        Ok(Self { taken, user: user + nice, system, idle: idle + iowait, irq, softirq })
    }

    /// What the core did from `earlier` to now.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> CoreShares {
        let wall = (self.taken - earlier.taken).as_secs_f64() * TICKS_PER_SECOND;
        let share = |now: u64, then: u64| now.saturating_sub(then) as f64 / wall;
        CoreShares {
            busy: (1.0 - share(self.idle, earlier.idle)).clamp(0.0, 1.0),
            user: share(self.user, earlier.user),
            system: share(self.system, earlier.system),
            interrupts: share(self.irq + self.softirq, earlier.irq + earlier.softirq),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn times(taken: Instant, user: u64, idle: u64) -> CoreTimes {
        CoreTimes { taken, user, system: 10, idle, irq: 0, softirq: 5 }
    }

    #[test]
    fn shares_are_of_the_time_between_two_moments() {
        let begun = Instant::now();
        let earlier = times(begun, 100, 1000);
        let shares = times(begun + Duration::from_secs(2), 150, 1120).since(&earlier);
        assert!((shares.user - 0.25).abs() < 1e-9, "{shares:?}");
        assert!((shares.busy - 0.40).abs() < 1e-9, "{shares:?}");
        assert!(shares.interrupts.abs() < 1e-9, "{shares:?}");
    }

    #[test]
    fn a_core_that_does_not_exist_is_an_error() {
        assert!(CoreTimes::read(0).is_ok());
        assert!(CoreTimes::read(usize::MAX).is_err());
    }
}
