//! The stand-in for the dataplane: serves a link, obeys a stop, and misbehaves when told to by files
//! in its run directory.

use corelink::{Command, LinkServer, LinkSpec, State};
use hwconfig::{Overrides, RunDir};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// While this file is there, it ends before it serves.
pub(crate) const REFUSE: &str = "refuse";
/// While this file is there, it has no heartbeat.
pub(crate) const STALL: &str = "stall";
/// When this file appears, it ends without being asked to.
pub(crate) const DIE: &str = "die";

/// While this file is there, it drains without end.
pub(crate) const LINGER: &str = "linger";

const SHARDS: u16 = 2;
const CATALOGUE: &str = "trunkline_turns_total\tcounter\t\tTurns of the stand-in.\n";

pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let value = |name| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let run_dir = RunDir::at(value("--run-dir").expect("it was looked for"));
    println!("stand-in: hello");
    if run_dir.path().join(REFUSE).exists() {
        eprintln!("stand-in: no such port");
        return ExitCode::from(3);
    }
    let overrides = Overrides { instance: value("--instance"), ..Overrides::default() };
    let profile = value("--profile").map(PathBuf::from);
    let profile = hwconfig::load_or_embedded(profile.as_deref(), &overrides).expect("a profile");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let spec = LinkSpec {
        profile_hash: profile.hash(),
        shards: SHARDS,
        catalogue: CATALOGUE.to_owned(),
        counters_per_shard: 1,
        build: "stand-in 1".to_owned(),
        started_at_unix_ms: u64::try_from(now.as_millis()).expect("before the year 500,000,000"),
    };
    let (server, mut pages) = LinkServer::create(&spec).expect("memory files");
    let server = Arc::new(server);
    let listener = corelink::listen(&run_dir.socket()).expect("the socket");
    let greeter = Arc::clone(&server);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A visitor that went away again is no concern of ours.
            let _ = corelink::hello(&stream, &greeter);
        }
    });
    server.set_state(State::Running);
    let began = Instant::now();
    for turn in 1.. {
        if let Some(Command::Stop { .. }) = server.take_command() {
            server.set_state(State::Draining);
            while run_dir.path().join(LINGER).exists() {
                thread::sleep(Duration::from_millis(2));
            }
            server.set_state(State::Stopped);
            break;
        }
        if run_dir.path().join(DIE).exists() {
            server.last_words("stand-in: told to die");
            return ExitCode::from(5);
        }
        if !run_dir.path().join(STALL).exists() {
            for page in &mut pages {
                page.publish(&[turn]);
                page.heartbeat(u64::try_from(began.elapsed().as_nanos()).expect("not for long"));
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
    ExitCode::SUCCESS
}
