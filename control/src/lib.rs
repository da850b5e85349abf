//! The control plane: supervises the dataplane, serves Prometheus and the operator.
//!
//! The process `trunkline` never touches a packet. It may be killed and started again at any
//! time: the dataplane goes on, and everything worth keeping is in the dataplane's shared page.
//!
//! | module | what it does |
//! |---|---|
//! | `cli` | the command line, and nothing else |
//! | `check` | what is wrong with a profile or this host, and the command that mends it |
//! | `run` | `trunkline run`: lock, start or attach, watch, start again, stop or detach |
//! | `operate` | `trunkline status` and `trunkline stop`, beside a running `run` |
//! | `look` | `trunkline connections` and `trunkline trace`: questions to the shards |
//! | `watch` | what is known about the dataplane right now: heartbeats, readiness, rates |
//! | `metrics` | that knowledge and the shared page's counters in Prometheus' text format |
//! | `http` | `/metrics`, `/healthz`, `/readyz` |
//! | `procfs` | facts about processes and the host that the kernel tells |
//!
//! Invariant: control knows no type of the dataplane. What it shows comes from the catalogue that
//! the dataplane publishes, so that either side can be upgraded alone.
#![forbid(unsafe_code)]

mod check;
mod cli;
mod http;
mod look;
mod metrics;
mod operate;
mod procfs;
mod run;
mod watch;

use clap::Parser;
use cli::{Cli, Command};
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Runs the command that the command line asks for.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter =
        EnvFilter::try_from_env("TRUNKLINE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    match cli.command {
        Command::Run(args) => run::main(&args),
        Command::Check(args) => check::main(&args),
        Command::Status(args) => operate::status(&args),
        Command::Connections(args) => look::connections(&args),
        Command::Trace(args) => look::trace(&args),
        Command::Stop(args) => operate::stop(&args),
    }
}
