//! `trunkline run`: lock, start or attach, watch, start again, stop or detach.

pub(crate) mod dataplane;
mod launch;
mod lock;
mod supervise;

use crate::check::EXIT_BAD_PROFILE;
use crate::cli::RunArgs;
use crate::http;
use crate::metrics::{Exporter, Labels};
use crate::watch::Watch;
use hwconfig::{Profile, RunDir};
use launch::Launcher;
use lock::Lock;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use supervise::{End, Policy, Supervisor, Wish};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// Runs the command.
pub(crate) fn main(args: &RunArgs) -> ExitCode {
    let profile = match args.profile.load(args.metrics) {
        Ok(profile) => profile,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_BAD_PROFILE);
        }
    };
    match run(args, &profile) {
        Ok(End::Stopped | End::Detached) => ExitCode::SUCCESS,
        Ok(End::Failed(problem)) | Err(problem) => {
            eprintln!("trunkline: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &RunArgs, profile: &Profile) -> Result<End, String> {
    let run_dir = args.profile.run_dir(profile);
    let _lock = Lock::take(&run_dir)?;
    let launcher = Launcher::new(&args.profile, profile, &run_dir)?;
    let watch = Arc::new(Watch::new(milliseconds(profile.control.stall_ms)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the I/O runtime: {error}"))?;
    runtime.block_on(async {
        let listener = http::listen(profile.control.metrics_listen).await?;
        info!("profile {}, instance {}", profile.name, profile.instance);
        for warning in profile.warnings() {
            warn!("{warning}");
        }
        let labels = Labels { profile: profile.name.clone(), instance: profile.instance.clone() };
        let exporter = Arc::new(Exporter::new(Arc::clone(&watch), labels));
        tokio::spawn(http::serve(listener, exporter));
        info!("metrics: http://{}/metrics", profile.control.metrics_listen);
        let heard = listen_for_signals()?;
        let policy = policy(args, profile, &run_dir);
        let ended = tokio::task::spawn_blocking(move || {
            Ok(Supervisor::begin(policy, launcher, watch, heard)?.run())
        });
        ended.await.map_err(|error| format!("the supervisor failed: {error}"))?
    })
}

fn policy(args: &RunArgs, profile: &Profile, run_dir: &RunDir) -> Policy {
    Policy {
        socket: run_dir.socket(),
        profile_hash: profile.hash(),
        instance: profile.instance.clone(),
        listens: profile.listens(),
        drain: milliseconds(profile.stop.drain_ms),
        stall: milliseconds(profile.control.stall_ms),
        start_max: milliseconds(profile.control.start_ms_max),
        pause_max: milliseconds(profile.control.restart_pause_ms_max),
        kill_stalled_after: args.kill_stalled_after.map(|s| Duration::from_secs(s.into())),
    }
}

fn milliseconds(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

/// Turns signals into wishes: Ctrl-C stops the dataplane too, the others leave it.
fn listen_for_signals() -> Result<Receiver<Wish>, String> {
    let (wishes, heard) = channel();
    let kinds = [
        (SignalKind::interrupt(), Wish::Stop),
        (SignalKind::terminate(), Wish::Detach),
        (SignalKind::hangup(), Wish::Detach),
    ];
    for (kind, wish) in kinds {
        let signals =
            signal(kind).map_err(|error| format!("cannot listen for signals: {error}"))?;
        tokio::spawn(pass_on(signals, wish, wishes.clone()));
    }
    Ok(heard)
}

async fn pass_on(mut signals: Signal, wish: Wish, wishes: Sender<Wish>) {
    while signals.recv().await.is_some() {
        if wishes.send(wish).is_err() {
            return;
        }
    }
}
