//! How a shard ends: paced, and with a word to every client.
//!
//! New connections are refused at once. Each round of housekeeping then closes a part of the old ones:
//! MQTT 5 clients get DISCONNECT 0x8B (Server shutting down), everybody gets a FIN after the data
//! queued before it. Those still open at the deadline get a RST. The shard stops when no connection is
//! left and every frame has gone out.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::listeners::Owner;
use crate::shard::Shard;

/// How long frames of the last resets may wait for a port that takes none.
const LAST_FRAMES_NS: u64 = 100_000_000;
/// The smallest part of the connections closed in one round.
const PACE_MIN: u32 = 16;
/// Connection ids looked at in one round, closed or not: bounds the scan of a sparse table.
const SCAN_PER_ROUND_MAX: u32 = 16_384;
const NS_PER_MS: u64 = 1_000_000;

/// Asks all shards to stop; shared by those who may ask.
#[derive(Debug, Default)]
pub struct StopSwitch {
    /// 1 + the milliseconds to drain in; 0: keep running.
    drain_ms_plus_one: AtomicU32,
}

impl StopSwitch {
    /// Stop within `drain_ms`. A later request replaces an earlier one, its time starting over.
    pub fn request(&self, drain_ms: u32) {
        self.drain_ms_plus_one.store(drain_ms.saturating_add(1), Ordering::Relaxed);
    }

    /// The milliseconds to stop in, when asked to.
    pub fn requested(&self) -> Option<u32> {
        self.drain_ms_plus_one.load(Ordering::Relaxed).checked_sub(1)
    }
}

/// How far a shard is with stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not asked to.
    Running,
    /// Connections are being closed.
    Draining(Draining),
    /// Every connection has been reset; the last frames are on their way.
    Resetting {
        /// When to stop waiting for the port.
        until_ns: u64,
    },
    /// Nothing is left. The loop ends.
    Stopped,
}

/// Progress through the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draining {
    /// The request being carried out.
    drain_ms: u32,
    /// When the rest is reset.
    deadline_ns: u64,
    /// Connections to close in one round.
    pace: u32,
    /// Next connection id to look at.
    cursor: u32,
}

/// One round of housekeeping's share of stopping.
pub(crate) fn step(shard: &mut Shard, now_ns: u64) {
    if let Some(drain_ms) = shard.stop.requested() {
        shard.phase = begin(shard, now_ns, drain_ms);
    }
    shard.phase = match shard.phase {
        Phase::Draining(draining) if now_ns < draining.deadline_ns => {
            close_some(shard, now_ns, draining)
        }
        Phase::Draining(_) => reset_all(shard, now_ns),
        phase => phase,
    };
    let engine = &shard.engine;
    let has_sent_all = shard.impaired.as_ref().is_none_or(|impaired| impaired.has_sent_all());
    let quiet = !engine.stack.has_output() && shard.tx.is_empty() && has_sent_all;
    let done = match shard.phase {
        Phase::Running | Phase::Stopped => false,
        Phase::Draining(_) => quiet && engine.stack.open_connections() == 0,
        Phase::Resetting { until_ns } => quiet || now_ns >= until_ns,
    };
    if done {
        shard.phase = Phase::Stopped;
    }
}

/// Starts draining, or takes a new deadline over when one is asked for meanwhile.
fn begin(shard: &mut Shard, now_ns: u64, drain_ms: u32) -> Phase {
    let deadline_ns = now_ns + u64::from(drain_ms) * NS_PER_MS;
    match shard.phase {
        Phase::Running => {
            shard.engine.stack.refuse_new();
            // Half of the time for telling everybody, the other half for their answers.
            let rounds = (drain_ms / 2).max(1);
            let pace = shard.engine.stack.open_connections().div_ceil(rounds).max(PACE_MIN);
            Phase::Draining(Draining { drain_ms, deadline_ns, pace, cursor: 0 })
        }
        Phase::Draining(draining) if draining.drain_ms != drain_ms => {
            Phase::Draining(Draining { drain_ms, deadline_ns, ..draining })
        }
        phase => phase,
    }
}

/// Closes up to a pace of MQTT links and as many other connections.
fn close_some(shard: &mut Shard, now_ns: u64, mut draining: Draining) -> Phase {
    let engine = &mut shard.engine;
    engine.applications.broker_mut().shutdown(now_ns, draining.pace as usize);
    let end = draining.cursor.saturating_add(SCAN_PER_ROUND_MAX).min(engine.connections);
    let mut left = draining.pace;
    while draining.cursor < end && left > 0 {
        let conn = draining.cursor;
        draining.cursor += 1;
        if engine.stack.peer(conn).is_none() {
            continue;
        }
        if !matches!(Owner::of(&engine.stack, conn), Owner::Mqtt { .. } | Owner::Nobody) {
            Owner::Nobody.assign(&mut engine.stack, conn);
            engine.stack.close(now_ns, conn);
            left -= 1;
        }
    }
    engine.settle(now_ns);
    Phase::Draining(draining)
}

/// The deadline: whoever is still there gets a RST. Not paced, since nothing else will happen.
fn reset_all(shard: &mut Shard, now_ns: u64) -> Phase {
    let engine = &mut shard.engine;
    for conn in 0..engine.connections {
        if engine.stack.peer(conn).is_some() {
            engine.stack.abort(now_ns, conn);
            engine.settle(now_ns);
        }
    }
    Phase::Resetting { until_ns: now_ns + LAST_FRAMES_NS }
}
