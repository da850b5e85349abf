//! `trunkline connections` and `trunkline trace`: questions to the shards of a running dataplane.

use crate::cli::{ConnectionsArgs, FlowArgs, ProfileArgs, TraceArgs};
use crate::operate::with_dataplane;
use corelink::{AttachError, Filter, LinkClient, Question, Subject, inquiry};
use hwconfig::Profile;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

/// Lines asked for at once.
const LINES_PER_QUESTION: u64 = 4_096;
/// Time between two questions for what is new.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);
/// Words of a line about a connection that are shown without `--all`: number, both ends, state.
const SHORT_WORDS: usize = 4;

/// Runs `trunkline connections`.
pub(crate) fn connections(args: &ConnectionsArgs) -> ExitCode {
    with_shards(&args.profile, |socket, shards| {
        let filter = Filter { state: args.state, ..filter(&args.flows) };
        let mut left = args.limit;
        for shard in wanted(&args.flows, shards)? {
            let mut from = 0;
            while from != u64::MAX && left > 0 {
                let lines_max = left.min(LINES_PER_QUESTION) as u32;
                let subject = Subject::Connections(filter);
                from = ask(socket, Question { shard, from, lines_max, subject }, |line| {
                    left = left.saturating_sub(1);
                    show(shard, if args.all { line } else { short(line) });
                })?;
            }
        }
        if left == 0 {
            eprintln!("trunkline: {} shown; there may be more (--limit)", args.limit);
        }
        Ok(())
    })
}

/// Runs `trunkline trace`.
pub(crate) fn trace(args: &TraceArgs) -> ExitCode {
    with_shards(&args.profile, |socket, shards| {
        let subject = Subject::Trace(filter(&args.flows));
        let wanted = wanted(&args.flows, shards)?;
        let mut seen: BTreeMap<u16, u64> = wanted.map(|shard| (shard, 0)).collect();
        loop {
            let mut is_news = false;
            for (&shard, from) in &mut seen {
                let lines_max = LINES_PER_QUESTION as u32;
                let question = Question { shard, from: *from, lines_max, subject };
                let next = ask(socket, question, |line| show(shard, line))?;
                is_news |= next != *from;
                *from = next;
            }
            match (is_news, args.follow) {
                (true, _) => {}
                (false, true) => sleep(FOLLOW_EVERY),
                (false, false) => return Ok(()),
            }
        }
    })
}

/// Finds the dataplane's socket and its number of shards.
fn with_shards(args: &ProfileArgs, act: impl FnOnce(&Path, u16) -> Result<(), String>) -> ExitCode {
    with_dataplane(args, |profile: &Profile, link: Option<LinkClient>| {
        let Some(link) = link else {
            println!("instance {}: no dataplane runs", profile.instance);
            return Ok(false);
        };
        let socket: PathBuf = args.run_dir(profile).socket();
        act(&socket, link.shards()).map(|()| true)
    })
}

fn filter(flows: &FlowArgs) -> Filter {
    Filter { peer: flows.peer, port: flows.port, state: None }
}

fn wanted(flows: &FlowArgs, shards: u16) -> Result<impl Iterator<Item = u16>, String> {
    match flows.shard {
        Some(shard) if shard >= shards => {
            Err(format!("there is no shard {shard}: they are 0 to {}", shards - 1))
        }
        Some(shard) => Ok(shard..shard + 1),
        None => Ok(0..shards),
    }
}

fn ask(socket: &Path, question: Question, on_line: impl FnMut(&str)) -> Result<u64, String> {
    let shard = question.shard;
    inquiry::ask(socket, &question, on_line).map_err(|error| match error {
        AttachError::Hello(_) => format!("shard {shard} does not answer (see the dataplane's log)"),
        error => error.to_string(),
    })
}

fn show(shard: u16, line: &str) {
    // Whoever reads may have seen enough: `| head` ends us by a signal or by the next error.
    if writeln!(io::stdout(), "shard={shard} {line}").is_err() {
        std::process::exit(0);
    }
}

fn short(line: &str) -> &str {
    line.match_indices(' ').nth(SHORT_WORDS - 1).map_or(line, |(end, _)| &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_line_ends_with_the_state() {
        let line = "conn=5 local=10.0.0.1:7 remote=10.0.0.2:99 state=ESTABLISHED SND.UNA=1";
        assert_eq!(short(line), "conn=5 local=10.0.0.1:7 remote=10.0.0.2:99 state=ESTABLISHED");
        assert_eq!(short("conn=5"), "conn=5");
    }
}
