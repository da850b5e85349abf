//! `trunkline status` and `trunkline stop`, beside a running `trunkline run` or without one.

use crate::check::EXIT_BAD_PROFILE;
use crate::cli::{ProfileArgs, StatusArgs, StopArgs};
use crate::procfs::ProcessId;
use crate::run::dataplane::{find, observe};
use crate::watch::{is_absent, labels_of};
use corelink::{LinkClient, State};
use hwconfig::Profile;
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Heartbeats come every millisecond: one that does not change in this time is missing.
const HEARTBEAT_WAIT: Duration = Duration::from_millis(200);
/// Time between two looks while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What a stop may take beyond its drain time.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// Time after which a stop that was not taken up is asked for again.
const STOP_REPEAT: Duration = Duration::from_secs(1);

/// Runs `trunkline status`.
pub(crate) fn status(args: &StatusArgs) -> ExitCode {
    with_dataplane(&args.profile, |profile, link| {
        let Some(link) = link else {
            println!("instance {}: no dataplane runs", profile.instance);
            return Ok(false);
        };
        let is_serving = show_status(profile, &link);
        if args.counters {
            show_counters(&link);
        }
        Ok(is_serving)
    })
}

/// Runs `trunkline stop`.
pub(crate) fn stop(args: &StopArgs) -> ExitCode {
    let socket = args.profile.clone();
    with_dataplane(&args.profile, |profile, link| {
        let Some(link) = link else {
            println!("instance {}: no dataplane runs", profile.instance);
            return Ok(true);
        };
        let drain_ms = args.drain_ms.unwrap_or(profile.stop.drain_ms);
        stop_dataplane(&socket.run_dir(profile).socket(), link, drain_ms)
    })
}

/// Loads the profile, attaches, and turns what comes out into an exit code.
pub(crate) fn with_dataplane(
    args: &ProfileArgs,
    act: impl FnOnce(&Profile, Option<LinkClient>) -> Result<bool, String>,
) -> ExitCode {
    let profile = match args.load(None) {
        Ok(profile) => profile,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_BAD_PROFILE);
        }
    };
    let socket = args.run_dir(&profile).socket();
    match observe(&socket).and_then(|link| act(&profile, link)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("trunkline: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Prints what the dataplane is doing; whether it serves.
fn show_status(profile: &Profile, link: &LinkClient) -> bool {
    let state = match link.state() {
        State::Starting => "starting",
        State::Running => "serving",
        State::Draining => "stopping",
        State::Stopped => "stopped",
    };
    println!("instance {}: dataplane (pid {}) is {state}", profile.instance, link.pid());
    println!("build: {}", link.build());
    println!("up for: {}", uptime(link.started_at()));
    match link.profile_hash() == profile.hash() {
        true => println!("profile: {}", profile.name),
        false => println!("profile: another than {} (`trunkline run` would refuse)", profile.name),
    }
    let silent = silent_shards(link);
    match silent.as_slice() {
        [] => println!("shards: {}, every heartbeat fresh", link.shards()),
        silent => println!("shards: {}, without heartbeat: {silent:?}", link.shards()),
    }
    let words = link.last_words();
    if !words.is_empty() {
        println!("last words: {words}");
    }
    link.state() == State::Running && silent.is_empty()
}

/// Shards whose heartbeat does not change while we watch.
fn silent_shards(link: &LinkClient) -> Vec<u16> {
    let before: Vec<u64> = (0..link.shards()).map(|shard| link.heartbeat(shard)).collect();
    let is_silent = |&shard: &u16| link.heartbeat(shard) == before[usize::from(shard)];
    let began = Instant::now();
    loop {
        sleep(LOOK_EVERY);
        let silent: Vec<u16> = (0..link.shards()).filter(is_silent).collect();
        if silent.is_empty() || began.elapsed() >= HEARTBEAT_WAIT {
            return silent;
        }
    }
}

fn show_counters(link: &LinkClient) {
    let mut values = Vec::new();
    for shard in 0..link.shards() {
        if link.read(shard, &mut values).is_err() {
            println!("shard {shard}: its counters cannot be read");
            continue;
        }
        for (slot, value) in link.catalogue().iter().zip(&values) {
            if *value == 0 || is_absent(*value) {
                continue;
            }
            let labels = labels_of(slot, shard).into_iter();
            let labels: Vec<String> = labels.map(|(key, value)| format!("{key}={value}")).collect();
            println!("{:<48} {value:>16}  {}", slot.name, labels.join(" "));
        }
    }
}

fn uptime(started_at_unix_ms: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let up = now.saturating_sub(Duration::from_millis(started_at_unix_ms)).as_secs();
    let (days, hours, minutes, seconds) = (up / 86_400, up / 3_600 % 24, up / 60 % 60, up % 60);
    format!("{days} d {hours:02}:{minutes:02}:{seconds:02}")
}

/// Asks for the stop until it is taken up, and waits for the end.
fn stop_dataplane(socket: &Path, mut link: LinkClient, drain_ms: u32) -> Result<bool, String> {
    let pid = link.pid();
    let Some(process) = ProcessId::of(pid) else { return Ok(true) };
    println!("stopping the dataplane (pid {pid}): telling all clients, at most {drain_ms} ms");
    let began = Instant::now();
    let limit = Duration::from_millis(drain_ms.into()) + STOP_GRACE;
    let mut asked: Option<Instant> = None;
    while process.is_alive() {
        if began.elapsed() >= limit {
            return Err(format!(
                "the dataplane (pid {pid}) has not ended after {} s; `kill -9 {pid}` ends it and \
                 resets its clients",
                limit.as_secs()
            ));
        }
        let is_taken_up = matches!(link.state(), State::Draining | State::Stopped);
        if !is_taken_up && asked.is_none_or(|asked| asked.elapsed() >= STOP_REPEAT) {
            // The first time, or when a `trunkline run` has attached since, we are not in control.
            if link.stop(drain_ms).is_err()
                && let Some(ours) = find(socket)?
            {
                // It is in control now; if not for long, the next round asks again.
                let _ = ours.stop(drain_ms);
                link = ours;
            }
            asked = Some(Instant::now());
        }
        sleep(LOOK_EVERY);
    }
    println!("stopped after {:.1} s", began.elapsed().as_secs_f64());
    Ok(true)
}
