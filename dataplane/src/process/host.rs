//! What the process asks of the kernel before DPDK starts: its session, limits, namespace, cores.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, setns};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, setsid};

use super::log;

/// Sleeps of an idle shard end this close to their time; the kernel's default is 50 µs.
const TIMER_SLACK_NS: u64 = 1_000;

/// A session of its own, so that a Ctrl-C in somebody's terminal does not reach it.
pub(super) fn leave_terminal() {
    match setsid() {
        // EPERM: it leads a session already, since whoever started it saw to that.
        Ok(_) | Err(Errno::EPERM) => {}
        Err(error) => log::line(format_args!("warning: no session of its own: {error}")),
    }
}

/// As many files and as much locked memory as allowed; no core dumps, which would hold payloads and
/// keys.
pub(super) fn set_limits() -> Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0).context("turning core dumps off")?;
    for resource in [Resource::RLIMIT_NOFILE, Resource::RLIMIT_MEMLOCK] {
        let (_, hard) = getrlimit(resource).context("reading a resource limit")?;
        setrlimit(resource, hard, hard).context("raising a resource limit")?;
    }
    Ok(())
}

/// Joins a named network namespace, so that a virtual device's kernel side is found or made there.
pub(super) fn join_netns(name: &str) -> Result<()> {
    let path = Path::new("/run/netns").join(name);
    let file = File::open(&path).with_context(|| {
        format!(
            "port.netns = \"{name}\": {} is not there; make it with: ip netns add {name}",
            path.display()
        )
    })?;
    setns(file, CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("joining the network namespace {name} (needs root)"))
}

/// The cores the calling thread may run on.
pub(super) fn affinity() -> Result<CpuSet> {
    sched_getaffinity(Pid::from_raw(0)).context("reading the cores this process may use")
}

/// Lets the calling thread run on these cores only.
pub(super) fn set_affinity(cores: &CpuSet) -> Result<()> {
    sched_setaffinity(Pid::from_raw(0), cores).context("choosing the cores of a thread")
}

/// Pins the calling thread to one core.
pub(super) fn pin_to(core: u16) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(usize::from(core)).with_context(|| format!("shards.cores: there is no core {core}"))?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| {
        format!("shards.cores: core {core} is not one this process may use (see: taskset -p $$)")
    })
}

/// Lets the calling thread's short sleeps be short.
pub(super) fn sleep_precisely() {
    if let Err(error) = prctl::set_timerslack(TIMER_SLACK_NS) {
        log::line(format_args!("warning: sleeps may be 50 us longer than asked: {error}"));
    }
}

/// Signals for the calling thread and those it starts: only those that end the process, and those of
/// its own mistakes. Everything else goes to the shards.
///
/// A tap announces frames by a signal to the process. The shard that waits for them should be woken by
/// it, not some thread on another core.
pub(super) fn take_only_ending_signals() -> Result<()> {
    let mut blocked = SigSet::all();
    for signal in ENDING.into_iter().chain(MISTAKES) {
        blocked.remove(signal);
    }
    blocked.thread_set_mask().context("choosing the signals of a thread")
}

/// Signals for a shard: all that do not end the process.
pub(super) fn leave_ending_signals() -> Result<()> {
    SigSet::from_iter(ENDING).thread_set_mask().context("choosing the signals of a thread")
}

/// Ask the process to end.
const ENDING: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];
/// Blocking them would hide what went wrong.
const MISTAKES: [Signal; 5] =
    [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGABRT];

/// Random bytes from the kernel, for keys that must not be guessed.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    use std::io::Read;
    let mut bytes = [0; N];
    let mut source = File::open("/dev/urandom").context("opening /dev/urandom")?;
    source.read_exact(&mut bytes).context("reading /dev/urandom")?;
    Ok(bytes)
}

/// Free 2 MiB huge pages.
pub(super) fn free_hugepages() -> u64 {
    let path = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
    std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}
