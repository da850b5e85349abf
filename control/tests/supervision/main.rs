//! The real `trunkline` process against a stand-in for the dataplane.
//!
//! The stand-in is this very program, started by `trunkline` as its dataplane: a real process that
//! serves a real link ([`corelink::LinkServer`]), without ports and shards. So what is tested here
//! is what only processes can show: who outlives whom, who is started again, what is said.
#![forbid(unsafe_code)]

mod appliance;
mod cases;
mod stand_in;

use std::panic::catch_unwind;
use std::process::ExitCode;

/// A name, and what must hold.
type Case = (&'static str, fn());

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--run-dir") {
        return stand_in::main(&arguments);
    }
    // As cargo test does: words select cases, options are for the other harness.
    let words: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let is_wanted = |case: &&Case| words.is_empty() || words.iter().any(|w| case.0.contains(*w));
    let mut failed = 0;
    for (name, case) in cases::ALL.iter().filter(is_wanted) {
        let is_ok = catch_unwind(case).is_ok();
        failed += usize::from(!is_ok);
        println!("test {name} ... {}", if is_ok { "ok" } else { "FAILED" });
    }
    println!("\n{} cases, {failed} failed", cases::ALL.len());
    ExitCode::from(u8::from(failed > 0))
}
