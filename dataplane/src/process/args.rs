//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Trunkline's dataplane: polls a port with DPDK and serves TCP and MQTT on it.
///
/// Usually started by `trunkline run`, which supervises it and serves its metrics.
#[derive(Clone, Debug, Parser)]
#[command(name = "trunkline-dataplane", version)]
pub struct Args {
    /// Hardware profile; without it the embedded dev-tap profile.
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Name of the running appliance, instead of the profile's.
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    /// Directory for socket, lock and log, instead of /run/trunkline/<instance>.
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
}
