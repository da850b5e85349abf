//! The command line.

use clap::{Args, Parser, Subcommand};
use hwconfig::{ConfigError, Overrides, Profile, RunDir};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Trunkline, a kernel-bypass MQTT appliance.
///
/// The dataplane (`trunkline-dataplane`) polls the network card and serves the clients. This
/// program starts it, watches it, and shows what it does. Killing this program drops no client.
#[derive(Debug, Parser)]
#[command(name = "trunkline", version, max_term_width = 100, after_long_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  trunkline check hwconfig/profiles/baremetal-10g.toml   what to mend before the first start
  trunkline run                                          the development profile, in a namespace
  trunkline run --profile site.toml                      your own
  trunkline run --instance two --metrics 127.0.0.1:9465  a second one beside it
  trunkline status                                       is it serving?
  trunkline connections --peer 10.77.0.2 --all           what its connections are doing
  trunkline trace --follow                               connections come and go, segments dropped
  trunkline stop                                         tell all clients, close, end";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the dataplane, or attach to one that runs, and watch it.
    ///
    /// Serves /metrics, /healthz and /readyz. A dataplane that exits is started again; one that
    /// stalls is reported.
    ///
    /// Ctrl-C (SIGINT) stops the dataplane too, telling all clients. SIGTERM or a closed terminal
    /// only detaches: the dataplane goes on serving, and the next `trunkline run` attaches to it.
    Run(RunArgs),
    /// Check a profile and this host, without privileges and without starting anything.
    ///
    /// Prints the memory that the profile's tables take (connections → bytes → huge pages) and
    /// what is wrong with the host, each with the command that mends it.
    ///
    /// Exit code: 0 all is well, 1 the host has problems, 2 the profile is bad.
    Check(CheckArgs),
    /// Show whether the dataplane of an instance is running and serving.
    ///
    /// Reads the shared page only: works beside `trunkline run`, and without it.
    ///
    /// Exit code: 0 serving, 1 not.
    Status(StatusArgs),
    /// Show connections of a running dataplane: both ends, state, and every variable of the TCB.
    ///
    /// One line each, `NAME=value`, by the names of the RFCs. Costs the shards a few microseconds a
    /// millisecond, however many connections there are, and works when all pools are empty.
    ///
    /// Exit code: 0 shown (perhaps none), 1 nobody answered.
    Connections(ConnectionsArgs),
    /// Show what happened to connections lately: changes of state, time-outs, dropped segments.
    ///
    /// Each shard keeps the last 4096 such events. A line begins with the seconds since the
    /// shard's clock began, then the peer, our end, and what happened; a drop by the name of the
    /// counter that counted it.
    ///
    /// Exit code: 0 shown (perhaps none), 1 nobody answered.
    Trace(TraceArgs),
    /// Stop the dataplane of an instance: tell all clients, close their connections, end.
    ///
    /// A `trunkline run` that watches it ends too.
    ///
    /// Exit code: 0 it has ended (or was not running), 1 it has not.
    Stop(StopArgs),
}

/// Which profile.
#[derive(Debug, Clone, Args)]
pub(crate) struct ProfileArgs {
    /// Hardware profile, a TOML file. Without it the built-in development profile: a tap
    /// interface in a network namespace.
    #[arg(long, value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) instance: InstanceArgs,
}

/// Which instance on this machine.
#[derive(Debug, Clone, Args)]
pub(crate) struct InstanceArgs {
    /// Name that tells this appliance from others on the machine: the profile's `instance` unless
    /// given. Names the run directory, the tap interface, the namespace.
    #[arg(long, value_name = "NAME")]
    pub(crate) instance: Option<String>,
    /// Directory of socket, log and lock, where both processes meet. /run/trunkline/<instance>
    /// unless given.
    #[arg(long, value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) profile: ProfileArgs,
    /// Where to serve /metrics, instead of the profile's control.metrics_listen.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
    /// Kill a dataplane whose heartbeat has been missing this long, and start it again.
    ///
    /// Off unless given: a false alarm would drop every client. Without it a stalled dataplane is
    /// reported in the log, in /metrics and by /readyz.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) kill_stalled_after: Option<u32>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CheckArgs {
    /// Hardware profile to check; the built-in development profile when there is none.
    #[arg(value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
    /// Name of the instance, as for `run`.
    #[arg(long, value_name = "NAME")]
    pub(crate) instance: Option<String>,
    /// Print the reference of all keys of a profile as markdown, and nothing else.
    #[arg(long)]
    pub(crate) reference: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) profile: ProfileArgs,
    /// Also print every counter and gauge that is not zero.
    #[arg(long)]
    pub(crate) counters: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectionsArgs {
    #[command(flatten)]
    pub(crate) profile: ProfileArgs,
    #[command(flatten)]
    pub(crate) flows: FlowArgs,
    /// Only connections in this state, as established or fin-wait-2.
    #[arg(long, value_name = "STATE", value_parser = state_code)]
    pub(crate) state: Option<u8>,
    /// Every variable of the TCB, not only addresses and state.
    #[arg(long)]
    pub(crate) all: bool,
    /// Connections shown at most.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) limit: u64,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct TraceArgs {
    #[command(flatten)]
    pub(crate) profile: ProfileArgs,
    #[command(flatten)]
    pub(crate) flows: FlowArgs,
    /// Go on showing what happens, until Ctrl-C.
    #[arg(long)]
    pub(crate) follow: bool,
}

/// Which flows.
#[derive(Debug, Clone, Args)]
pub(crate) struct FlowArgs {
    /// Only of this peer.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) peer: Option<IpAddr>,
    /// Only with this port at either end.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,
    /// Only of this shard.
    #[arg(long, value_name = "N")]
    pub(crate) shard: Option<u16>,
}

/// The code of a TCP state, by its name in RFC 9293.
fn state_code(name: &str) -> Result<u8, String> {
    let wanted = name.to_ascii_lowercase();
    let at = STATES.iter().position(|state| *state == wanted);
    at.map(|at| at as u8).ok_or_else(|| format!("one of {}", STATES.join(", ")))
}

/// States that a connection of the dataplane can be in, in the order of their codes.
const STATES: [&str; 9] = [
    "closed",
    "syn-sent",
    "syn-received",
    "established",
    "fin-wait-1",
    "fin-wait-2",
    "close-wait",
    "closing",
    "last-ack",
];

#[derive(Debug, Clone, Args)]
pub(crate) struct StopArgs {
    #[command(flatten)]
    pub(crate) profile: ProfileArgs,
    /// Time for telling the clients, instead of the profile's stop.drain_ms. Connections still
    /// open afterwards are reset.
    #[arg(long, value_name = "MILLISECONDS")]
    pub(crate) drain_ms: Option<u32>,
}

impl ProfileArgs {
    /// The profile meant.
    pub(crate) fn load(&self, metrics_listen: Option<SocketAddr>) -> Result<Profile, ConfigError> {
        let instance = self.instance.instance.clone();
        let overrides = Overrides { instance, metrics_listen };
        hwconfig::load_or_embedded(self.profile.as_deref(), &overrides)
    }

    /// The run directory meant.
    pub(crate) fn run_dir(&self, profile: &Profile) -> RunDir {
        match &self.instance.run_dir {
            Some(dir) => RunDir::at(dir),
            None => profile.run_dir(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
