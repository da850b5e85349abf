//! The shards' threads, and the main thread that watches over them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use capsule::{Eal, Mempool, Port};
use corelink::Command;
use hwconfig::Profile;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::link::Link;
use super::{host, log};
use crate::drain::StopSwitch;
use crate::publish::PortBoard;
use crate::shard::Shard;

/// How often the main thread looks after signals, commands and the port.
const WATCH_INTERVAL: Duration = Duration::from_millis(20);

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub(super) struct Signals {
    received: Arc<AtomicUsize>,
}

impl Signals {
    /// From now on both signals mean a clean stop.
    pub(super) fn catch() -> Result<Signals> {
        let received = Arc::new(AtomicUsize::new(0));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register_usize(signal, Arc::clone(&received), signal as usize)
                .context("catching signals")?;
        }
        Ok(Signals { received })
    }

    /// The signal that came since the last call.
    fn take(&self) -> Option<&'static str> {
        match self.received.swap(0, Ordering::Relaxed) {
            0 => None,
            signal if signal == SIGINT as usize => Some("SIGINT"),
            _ => Some("SIGTERM"),
        }
    }
}

/// The shards at work.
#[derive(Debug)]
pub(super) struct Running {
    threads: Vec<JoinHandle<Result<()>>>,
}

/// Gives every shard a thread of its own, pinned to its core.
pub(super) fn start(
    profile: &Profile,
    eal: Eal,
    shards: Vec<Shard>,
    stop: Arc<StopSwitch>,
) -> Result<Running> {
    let eal = Arc::new(eal);
    let mut threads = Vec::new();
    for (index, shard) in shards.into_iter().enumerate() {
        let (eal, stop) = (Arc::clone(&eal), Arc::clone(&stop));
        let core = profile.shards.cores[index];
        let thread = thread::Builder::new()
            .name(format!("shard{index}"))
            .spawn(move || {
                let ended = turn_shard(shard, &eal, core);
                if ended.is_err() {
                    // Without it the appliance is not whole: the others stop as well.
                    stop.request(0);
                }
                ended
            })
            .with_context(|| format!("starting the thread of shard {index}"))?;
        threads.push(thread);
    }
    Ok(Running { threads })
}

fn turn_shard(mut shard: Shard, eal: &Eal, core: u16) -> Result<()> {
    host::pin_to(core)?;
    host::sleep_precisely();
    host::leave_ending_signals()?;
    let _registration = eal.register_thread()?;
    shard.run();
    Ok(())
}

impl Running {
    fn is_over(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for the threads, which have ended or are about to.
    pub(super) fn join(self) -> Result<()> {
        for (index, thread) in self.threads.into_iter().enumerate() {
            let ended = thread.join().map_err(|_| anyhow!("it panicked"));
            ended.flatten().with_context(|| format!("shard {index}"))?;
        }
        Ok(())
    }
}

/// What the main thread looks after while the shards turn.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    pub(super) port: &'a Port,
    pub(super) mempool: &'a Mempool,
    pub(super) board: &'a PortBoard,
    pub(super) link: &'a Link,
}

impl Watch<'_> {
    /// Posts the port's numbers and passes on wishes to stop, until all shards have stopped. A second
    /// signal while they drain means at once.
    pub(super) fn until_stopped(
        &mut self,
        running: &Running,
        signals: &Signals,
        stop: &StopSwitch,
        drain_ms: u32,
    ) {
        let mut link_up = None;
        while !running.is_over() {
            let link = self.port.link();
            let mempool = self.mempool;
            self.board.post(self.port.stats(), link, mempool.available(), mempool.in_use());
            if link_up.replace(link.up) != Some(link.up) {
                log::line(format_args!("link is {}", if link.up { "up" } else { "down" }));
            }
            let wish = match signals.take() {
                Some(signal) if stop.requested().is_some() => Some((signal, 0)),
                Some(signal) => Some((signal, drain_ms)),
                None => self.link.command().map(|command| match command {
                    Command::Stop { deadline_ms } => ("the control plane", deadline_ms),
                }),
            };
            if let Some((whose, deadline_ms)) = wish {
                log::line(format_args!("stopping within {deadline_ms} ms, asked by {whose}"));
                self.link.draining();
                stop.request(deadline_ms);
            }
            thread::sleep(WATCH_INTERVAL);
        }
    }
}
