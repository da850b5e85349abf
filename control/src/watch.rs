//! What is known about the dataplane right now.
//!
//! The supervisor writes it, `/metrics` and `/readyz` read it. Time is an argument.

use crate::procfs::ProcessId;
use corelink::{LinkClient, State};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

mod rates;

use rates::Rates;
pub(crate) use rates::{RATES, is_absent, labels_of};

/// The knowledge, shared between threads. Locked for microseconds only.
#[derive(Debug)]
pub(crate) struct Watch {
    stall: Duration,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    dataplane: Option<Watched>,
    restarts: u64,
    control_cpu: CpuShare,
}

/// A dataplane that is attached.
#[derive(Debug)]
struct Watched {
    link: Arc<LinkClient>,
    process: ProcessId,
    beats: Vec<Beat>,
    rates: Rates,
}

/// A shard's heartbeat as it was seen last. Only that it changes counts, not its value: the other
/// side's clock is not ours.
#[derive(Debug, Clone, Copy)]
struct Beat {
    value: u64,
    changed: Instant,
}

/// Part of a core that a process used over the last interval.
#[derive(Debug, Default)]
struct CpuShare {
    last: Option<(Instant, Duration)>,
    share: f64,
}

/// A copy of everything, to be shown.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    /// The dataplane, when one is attached.
    pub(crate) dataplane: Option<DataplaneView>,
    /// Times that this process started a dataplane in place of one that ended.
    pub(crate) restarts: u64,
    /// Part of a core that this process uses.
    pub(crate) control_cpu_share: f64,
}

/// An attached dataplane, to be shown.
#[derive(Debug, Clone)]
pub(crate) struct DataplaneView {
    /// The shared page.
    pub(crate) link: Arc<LinkClient>,
    /// Its process.
    pub(crate) process: ProcessId,
    /// For each shard, how long ago its heartbeat changed.
    pub(crate) heartbeat_ages: Vec<Duration>,
    /// For each shard and slot of the catalogue, the rate a second of counters that have one.
    pub(crate) rates: Vec<Vec<f64>>,
}

impl Watch {
    /// Knows nothing yet. A shard whose heartbeat is older than `stall` counts as stalled.
    pub(crate) fn new(stall: Duration) -> Watch {
        Watch { stall, inner: Mutex::default() }
    }

    /// A dataplane has been attached to.
    pub(crate) fn attach(&self, link: Arc<LinkClient>, process: ProcessId, now: Instant) {
        let beat = |shard| Beat { value: link.heartbeat(shard), changed: now };
        let beats = (0..link.shards()).map(beat).collect();
        let rates = Rates::new(&link);
        self.lock().dataplane = Some(Watched { link, process, beats, rates });
    }

    /// The same dataplane has been attached to again: what is known of it stays.
    pub(crate) fn renew(&self, link: Arc<LinkClient>) {
        if let Some(dataplane) = &mut self.lock().dataplane {
            dataplane.link = link;
        }
    }

    /// The dataplane has ended.
    pub(crate) fn detach(&self) {
        self.lock().dataplane = None;
    }

    /// A dataplane has been started in place of one that ended.
    pub(crate) fn count_restart(&self) {
        self.lock().restarts += 1;
    }

    /// Looks at the heartbeats; returns the age of the oldest.
    pub(crate) fn look(&self, now: Instant) -> Duration {
        let mut inner = self.lock();
        let Some(dataplane) = &mut inner.dataplane else { return Duration::ZERO };
        for (shard, beat) in (0..).zip(&mut dataplane.beats) {
            let value = dataplane.link.heartbeat(shard);
            if value != beat.value {
                *beat = Beat { value, changed: now };
            }
        }
        let ages = dataplane.beats.iter().map(|beat| now.saturating_duration_since(beat.changed));
        ages.max().unwrap_or_default()
    }

    /// Computes the rates since the last call. Once a second.
    pub(crate) fn measure(&self, now: Instant) {
        let mut inner = self.lock();
        if let Some(cpu) = ProcessId::own().and_then(ProcessId::cpu) {
            inner.control_cpu.measure(now, cpu);
        }
        if let Some(Watched { link, rates, .. }) = &mut inner.dataplane {
            rates.measure(link, now);
        }
    }

    /// Whether clients are being served; if not, why, in one line.
    pub(crate) fn readiness(&self, now: Instant) -> Result<(), String> {
        let snapshot = self.snapshot(now);
        let Some(dataplane) = snapshot.dataplane else {
            return Err("the dataplane is not running".to_owned());
        };
        match dataplane.link.state() {
            State::Running => {}
            State::Starting => return Err("the dataplane is starting".to_owned()),
            State::Draining => return Err("the dataplane is stopping".to_owned()),
            State::Stopped => return Err("the dataplane has stopped".to_owned()),
        }
        for (shard, age) in dataplane.heartbeat_ages.iter().enumerate() {
            if *age >= self.stall {
                let seconds = age.as_secs_f64();
                return Err(format!("shard {shard} has stalled: no heartbeat for {seconds:.1} s"));
            }
        }
        Ok(())
    }

    /// A copy of everything.
    pub(crate) fn snapshot(&self, now: Instant) -> Snapshot {
        let inner = self.lock();
        let age = |beat: &Beat| now.saturating_duration_since(beat.changed);
        let dataplane = inner.dataplane.as_ref().map(|watched| DataplaneView {
            link: Arc::clone(&watched.link),
            process: watched.process,
            heartbeat_ages: watched.beats.iter().map(age).collect(),
            rates: watched.rates.per_second().to_vec(),
        });
        Snapshot { dataplane, restarts: inner.restarts, control_cpu_share: inner.control_cpu.share }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is whole after each statement; a panic elsewhere leaves nothing torn.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CpuShare {
    fn measure(&mut self, now: Instant, cpu: Duration) {
        if let Some((then, before)) = self.last {
            let elapsed = now.saturating_duration_since(then).as_secs_f64();
            if elapsed > 0.0 {
                self.share = cpu.saturating_sub(before).as_secs_f64() / elapsed;
            }
        }
        self.last = Some((now, cpu));
    }
}

#[cfg(test)]
mod tests;
