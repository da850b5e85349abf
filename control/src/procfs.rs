//! Facts about processes and the host that the kernel tells.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// A process, told apart from a later one with the same number by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcessId {
    pid: u32,
    start_ticks: u64,
}

/// What `/proc/<pid>/stat` says that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    state: char,
    cpu_ticks: u64,
    start_ticks: u64,
}

impl ProcessId {
    /// The process that has this number now, if there is one.
    pub(crate) fn of(pid: u32) -> Option<ProcessId> {
        let stat = stat(pid)?;
        Some(ProcessId { pid, start_ticks: stat.start_ticks })
    }

    /// This process.
    pub(crate) fn own() -> Option<ProcessId> {
        ProcessId::of(std::process::id())
    }

    /// Its number.
    pub(crate) fn pid(self) -> u32 {
        self.pid
    }

    /// Whether it runs: a zombie does not.
    pub(crate) fn is_alive(self) -> bool {
        self.stat().is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))
    }

    /// Processor time it has used, in user and kernel mode.
    pub(crate) fn cpu(self) -> Option<Duration> {
        // USER_HZ is 100 on every architecture that DPDK runs on.
        Some(Duration::from_millis(self.stat()?.cpu_ticks * 10))
    }

    /// Memory it has resident, huge pages not included.
    pub(crate) fn resident_bytes(self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        self.stat()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kilobytes << 10)
    }

    fn stat(self) -> Option<Stat> {
        stat(self.pid).filter(|stat| stat.start_ticks == self.start_ticks)
    }
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Fields 3, 14, 15 and 22 of proc(5): the name before them may hold anything, parentheses too.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        cpu_ticks: number(14)? + number(15)?,
        start_ticks: number(22)?,
    })
}

/// The host's pool of huge pages of 2 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HugePages {
    /// Pages in the pool.
    pub(crate) total: u64,
    /// Pages nobody uses.
    pub(crate) free: u64,
}

impl HugePages {
    /// Reads them.
    pub(crate) fn read() -> Option<HugePages> {
        let folder = Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB");
        let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok();
        Some(HugePages { total: number("nr_hugepages")?, free: number("free_hugepages")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_name_of_the_process() {
        let text = "42 (a) R 1 (x)) S 1 2 3 4 5 6 7 8 9 10 70 30 0 0 20 0 1 0 12345 6 7 8";
        let stat = parse_stat(text).expect("the fields are there");
        assert_eq!(stat, Stat { state: 'S', cpu_ticks: 100, start_ticks: 12_345 });
        assert_eq!(parse_stat("42 (a) S 1 2"), None);
    }

    #[test]
    fn own_process_is_alive_and_a_later_one_of_its_number_is_not() {
        let own = ProcessId::own().expect("/proc is mounted");
        assert!(own.is_alive());
        assert!(own.resident_bytes().is_some_and(|bytes| bytes > 0));
        let later = ProcessId { start_ticks: own.start_ticks + 1, ..own };
        assert!(!later.is_alive());
        assert_eq!(later.cpu(), None);
    }
}
