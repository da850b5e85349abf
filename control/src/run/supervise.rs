//! Watching one dataplane: start or attach, look, start again, stop or detach.
//!
//! The supervisor is a plain thread, since it owns processes and waits for files; it hears signals
//! by a channel. Every step looks at the clock once and passes it down.

use super::dataplane::{Dataplane, find};
use super::launch::{Launcher, LogReader, last_lines};
use crate::watch::Watch;
use corelink::State;
use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tracing::{error, info, warn};

/// Time between two looks at the dataplane.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Time that another control plane has for its wish before this one takes over again.
const VISITOR_TIME: Duration = Duration::from_secs(3);
/// Time between two measurements of rates.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// First pause before a dataplane that ended is started again.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// A dataplane that has served this long starts the pauses from the beginning.
const PAUSE_FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// What a stop may take beyond its drain time before the dataplane is killed.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// Time between two notes that the start still goes on.
const STARTING_NOTE_EVERY: Duration = Duration::from_secs(5);
/// Lines of the log shown when a dataplane has ended.
const LOG_LINES_SHOWN: usize = 12;

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// End both processes (SIGINT).
    Stop,
    /// End this process, leave the dataplane (SIGTERM, SIGHUP).
    Detach,
}

/// How supervision ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The dataplane has ended as asked.
    Stopped,
    /// The dataplane goes on.
    Detached,
    /// One line that says why nothing runs.
    Failed(String),
}

/// What the profile and the command line say about supervision.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    pub(super) socket: PathBuf,
    pub(super) profile_hash: [u8; 32],
    pub(super) instance: String,
    /// Where clients connect, for people.
    pub(super) listens: String,
    pub(super) drain: Duration,
    pub(super) stall: Duration,
    pub(super) start_max: Duration,
    pub(super) pause_max: Duration,
    pub(super) kill_stalled_after: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Supervisor {
    policy: Policy,
    launcher: Launcher,
    watch: Arc<Watch>,
    wishes: Receiver<Wish>,
    phase: Phase,
    /// Pause before the next start.
    pause: Duration,
    /// Whether any dataplane has served since this process began: before that, an end is an
    /// answer and not an accident.
    has_served: bool,
    is_stalled: bool,
    out_of_control_since: Option<Instant>,
    measured: Instant,
}

#[derive(Debug)]
enum Phase {
    Starting { dataplane: Dataplane, log: LogReader, since: Instant, noted: Instant },
    Serving { dataplane: Dataplane, since: Instant },
    Pausing { until: Instant },
}

impl Supervisor {
    /// Attaches to the dataplane that runs, or starts one.
    ///
    /// # Errors
    /// One line that says what to do.
    pub(super) fn begin(
        policy: Policy,
        launcher: Launcher,
        watch: Arc<Watch>,
        wishes: Receiver<Wish>,
    ) -> Result<Supervisor, String> {
        let now = Instant::now();
        let found = find_serving(&policy)?;
        let (phase, has_served) = match found {
            Some(dataplane) => {
                check_profile(&dataplane, &policy)?;
                let process = dataplane.process();
                info!("attached to the dataplane that runs (pid {})", process.pid());
                if let Some(link) = dataplane.link() {
                    watch.attach(Arc::clone(link), process, now);
                }
                (Phase::Serving { dataplane, since: now }, true)
            }
            None => (start(&launcher, now)?, false),
        };
        Ok(Supervisor {
            policy,
            launcher,
            watch,
            wishes,
            phase,
            pause: PAUSE_MIN,
            has_served,
            is_stalled: false,
            out_of_control_since: None,
            measured: now,
        })
    }

    /// Supervises until an end.
    pub(super) fn run(mut self) -> End {
        loop {
            match self.wishes.recv_timeout(LOOK_EVERY) {
                Ok(Wish::Stop) => return self.stop(),
                Ok(Wish::Detach) | Err(RecvTimeoutError::Disconnected) => return self.detach(),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if now.saturating_duration_since(self.measured) >= MEASURE_EVERY {
                self.measured = now;
                self.watch.measure(now);
            }
            if let Some(end) = self.step(now) {
                return end;
            }
        }
    }

    fn step(&mut self, now: Instant) -> Option<End> {
        match &mut self.phase {
            Phase::Starting { .. } => self.step_starting(now),
            Phase::Serving { .. } => self.step_serving(now),
            Phase::Pausing { until } if now >= *until => match start(&self.launcher, now) {
                Ok(phase) => {
                    self.watch.count_restart();
                    self.phase = phase;
                    None
                }
                Err(problem) => Some(End::Failed(problem)),
            },
            Phase::Pausing { .. } => None,
        }
    }

    /// Waits for the port and the tables of a dataplane that was started.
    fn step_starting(&mut self, now: Instant) -> Option<End> {
        let Phase::Starting { dataplane, log, since, noted } = &mut self.phase else { return None };
        for line in log.new_lines() {
            info!("dataplane: {line}");
        }
        if dataplane.has_ended() {
            return self.on_end(now);
        }
        let elapsed = now.saturating_duration_since(*since);
        if dataplane.link().is_none()
            && let Ok(Some(link)) = find(&self.policy.socket)
            && link.pid() == dataplane.process().pid()
        {
            self.watch.attach(dataplane.set_link(link), dataplane.process(), now);
        }
        if dataplane.state() == State::Running {
            if let Err(problem) = check_profile(dataplane, &self.policy) {
                dataplane.signal(Signal::SIGTERM);
                return Some(End::Failed(problem));
            }
            info!("ready after {:.1} s: {}", elapsed.as_secs_f64(), self.policy.listens);
            self.become_serving(now);
            return None;
        }
        if elapsed >= self.policy.start_max {
            error!("not ready after {} s: killing it", elapsed.as_secs());
            dataplane.signal(Signal::SIGKILL);
        } else if now.saturating_duration_since(*noted) >= STARTING_NOTE_EVERY {
            *noted = now;
            let waiting_for = match dataplane.link() {
                None => "EAL and the port",
                Some(_) => "tables and shards",
            };
            info!("still starting after {} s: waiting for {waiting_for}", elapsed.as_secs());
        }
        None
    }

    fn become_serving(&mut self, now: Instant) {
        if let Some((dataplane, _)) = self.take_dataplane(now) {
            self.phase = Phase::Serving { dataplane, since: now };
            self.has_served = true;
        }
    }

    /// Takes the dataplane out of the phase, with the time it has served; the next start is due.
    fn take_dataplane(&mut self, now: Instant) -> Option<(Dataplane, Duration)> {
        match std::mem::replace(&mut self.phase, Phase::Pausing { until: now }) {
            Phase::Starting { dataplane, .. } => Some((dataplane, Duration::ZERO)),
            Phase::Serving { dataplane, since } => {
                Some((dataplane, now.saturating_duration_since(since)))
            }
            Phase::Pausing { .. } => None,
        }
    }

    fn step_serving(&mut self, now: Instant) -> Option<End> {
        let Phase::Serving { dataplane, .. } = &mut self.phase else { return None };
        if dataplane.has_ended() {
            return self.on_end(now);
        }
        self.stay_in_control(now);
        self.look_for_stalls(now);
        None
    }

    /// A visitor such as `trunkline stop` may have attached since, so that no command of ours is
    /// heard. We hold the lock: control comes back to us once the visitor had time for its own.
    fn stay_in_control(&mut self, now: Instant) {
        let Phase::Serving { dataplane, .. } = &mut self.phase else { return };
        if dataplane.link().is_none_or(|link| link.is_in_control()) {
            self.out_of_control_since = None;
            return;
        }
        let since = *self.out_of_control_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= VISITOR_TIME
            && dataplane.state() == State::Running
            && let Ok(Some(link)) = find(&self.policy.socket)
            && link.pid() == dataplane.process().pid()
        {
            warn!("another control plane had attached; this one has taken over again");
            self.watch.renew(dataplane.set_link(link));
        }
    }

    fn look_for_stalls(&mut self, now: Instant) {
        let Phase::Serving { dataplane, .. } = &mut self.phase else { return };
        let age = self.watch.look(now);
        // Shards that have closed everything turn no more.
        if dataplane.state() != State::Running {
            return;
        }
        let was_stalled = std::mem::replace(&mut self.is_stalled, age >= self.policy.stall);
        match (was_stalled, self.is_stalled) {
            (false, true) => {
                let hint = match self.policy.kill_stalled_after {
                    Some(limit) => format!("it will be killed at {} s", limit.as_secs()),
                    None => "it is left alone (see --kill-stalled-after)".to_owned(),
                };
                warn!("the dataplane has stalled: no heartbeat for {:?}; {hint}", rounded(age));
            }
            (true, false) => info!("the dataplane's heartbeat is back"),
            _ => {}
        }
        if self.policy.kill_stalled_after.is_some_and(|limit| age >= limit) {
            error!("killing the dataplane: no heartbeat for {:?}", rounded(age));
            dataplane.signal(Signal::SIGKILL);
        }
    }

    /// The dataplane has ended: on request, or it must be started again.
    fn on_end(&mut self, now: Instant) -> Option<End> {
        let (dataplane, served) = self.take_dataplane(now)?;
        self.watch.detach();
        self.is_stalled = false;
        if dataplane.ended_cleanly() {
            info!("the dataplane was stopped by somebody else; ending too");
            return Some(End::Stopped);
        }
        report_end(&dataplane, &self.launcher);
        if !self.has_served {
            return Some(End::Failed("the dataplane could not start".to_owned()));
        }
        if served >= PAUSE_FORGOTTEN_AFTER {
            self.pause = PAUSE_MIN;
        }
        self.phase = Phase::Pausing { until: now + self.pause };
        info!("starting it again in {:?}", self.pause);
        self.pause = (self.pause * 2).min(self.policy.pause_max);
        None
    }

    fn detach(self) -> End {
        let dataplane = match self.phase {
            Phase::Serving { dataplane, .. } | Phase::Starting { dataplane, .. } => dataplane,
            Phase::Pausing { .. } => {
                return End::Failed("ending while no dataplane runs".to_owned());
            }
        };
        let instance = &self.policy.instance;
        info!(
            "detached: the dataplane (pid {}) goes on serving; `trunkline run --instance \
             {instance}` attaches to it again, `trunkline stop --instance {instance}` ends it",
            dataplane.process().pid()
        );
        End::Detached
    }

    fn stop(self) -> End {
        let mut dataplane = match self.phase {
            Phase::Serving { dataplane, .. } | Phase::Starting { dataplane, .. } => dataplane,
            Phase::Pausing { .. } => return End::Stopped,
        };
        let limit = self.policy.drain + STOP_GRACE;
        info!(
            "stopping: telling all clients, at most {} s; Ctrl-C again kills the dataplane",
            self.policy.drain.as_secs()
        );
        let drain_ms = u32::try_from(self.policy.drain.as_millis()).unwrap_or(u32::MAX);
        // Without the link, or with another control plane in between, the signal says the same.
        if dataplane.link().is_none_or(|link| link.stop(drain_ms).is_err()) {
            dataplane.signal(Signal::SIGTERM);
        }
        let began = Instant::now();
        while !dataplane.has_ended() {
            let is_late = began.elapsed() >= limit;
            if is_late || self.wishes.recv_timeout(LOOK_EVERY) == Ok(Wish::Stop) {
                dataplane.signal(Signal::SIGKILL);
                let why = if is_late { "it did not end in time" } else { "as asked" };
                return End::Failed(format!("killed the dataplane: {why}"));
            }
        }
        if dataplane.ended_cleanly() || dataplane.link().is_none() {
            info!("stopped after {:.1} s", began.elapsed().as_secs_f64());
            return End::Stopped;
        }
        report_end(&dataplane, &self.launcher);
        End::Failed("the dataplane did not end cleanly".to_owned())
    }
}

/// The dataplane that runs, if one does. One that is about to end is given the time for it.
fn find_serving(policy: &Policy) -> Result<Option<Dataplane>, String> {
    let Some(mut dataplane) = find(&policy.socket)?.and_then(Dataplane::found) else {
        return Ok(None);
    };
    if !matches!(dataplane.state(), State::Draining | State::Stopped) {
        return Ok(Some(dataplane));
    }
    info!("a dataplane (pid {}) is stopping; waiting for its end", dataplane.process().pid());
    let began = Instant::now();
    while !dataplane.has_ended() {
        if began.elapsed() >= policy.drain + STOP_GRACE {
            return Err(format!(
                "the dataplane (pid {}) is stopping but does not end; `kill -9` ends it",
                dataplane.process().pid()
            ));
        }
        sleep(LOOK_EVERY);
    }
    Ok(None)
}

fn start(launcher: &Launcher, now: Instant) -> Result<Phase, String> {
    let child = launcher.start()?;
    info!("started the dataplane (pid {}), log {}", child.id(), launcher.log().display());
    let dataplane = Dataplane::started(child).ok_or("/proc is not mounted")?;
    let log = LogReader::new(launcher.log());
    Ok(Phase::Starting { dataplane, log, since: now, noted: now })
}

fn check_profile(dataplane: &Dataplane, policy: &Policy) -> Result<(), String> {
    let Some(link) = dataplane.link() else { return Ok(()) };
    if link.profile_hash() == policy.profile_hash {
        return Ok(());
    }
    let instance = &policy.instance;
    Err(format!(
        "the dataplane that runs (pid {}) has another profile: `trunkline stop --instance \
         {instance}` ends it and drops its clients; or run this profile beside it with another \
         --instance",
        link.pid()
    ))
}

fn report_end(dataplane: &Dataplane, launcher: &Launcher) {
    error!("the dataplane (pid {}) has ended: {}", dataplane.process().pid(), dataplane.end());
    let words = dataplane.last_words();
    if !words.is_empty() {
        error!("its last words: {words}");
    }
    for line in last_lines(launcher.log(), LOG_LINES_SHOWN) {
        error!("  {line}");
    }
    error!("the whole log: {}", launcher.log().display());
}

fn rounded(age: Duration) -> Duration {
    Duration::from_millis(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}
