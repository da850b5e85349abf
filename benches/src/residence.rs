//! Memory of this process that the kernel has given pages to.

use std::fs;
use std::io;

/// Bytes resident, by what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Residence {
    /// Memory files.
    pub mapped: usize,
    /// The heap, and whatever else has no file.
    pub heap: usize,
}

impl Residence {
    /// What came since `before`.
    #[must_use]
    pub fn since(&self, before: &Residence) -> Residence {
        Residence {
            mapped: self.mapped.saturating_sub(before.mapped),
            heap: self.heap.saturating_sub(before.heap),
        }
    }
}

/// What is resident now.
///
/// # Errors
/// When the kernel does not tell.
pub fn residence() -> io::Result<Residence> {
    Ok(sum(&fs::read_to_string("/proc/self/smaps")?))
}

fn sum(smaps: &str) -> Residence {
    let mut residence = Residence { mapped: 0, heap: 0 };
    let (mut is_memory_file, mut has_file) = (false, false);
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let first = words.next().unwrap_or("");
        if !first.ends_with(':') {
            // A mapping's head: range, permissions, offset, device, inode, path.
            let path = words.nth(4).unwrap_or("");
            is_memory_file = path.starts_with("/memfd:");
            has_file = path.starts_with('/');
        } else if matches!(first, "Rss:" | "Shared_Hugetlb:" | "Private_Hugetlb:") {
            let kib: usize = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
            match (is_memory_file, has_file) {
                (true, _) => residence.mapped += kib << 10,
                (false, false) => residence.heap += kib << 10,
                (false, true) => {}
            }
        }
    }
    residence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_files_and_heap_are_told_apart() {
        let smaps = "\
7f00-7f01 rw-s 00000000 00:01 5    /memfd:tcbs (deleted)
Size: 8 kB
Rss: 4 kB
Shared_Hugetlb: 2048 kB
5500-5501 rw-p 00000000 00:00 0    [heap]
Rss: 12 kB
5600-5601 r-xp 00000000 08:01 9    /usr/bin/memory
Rss: 100 kB
5700-5701 rw-p 00000000 00:00 0
Rss: 1 kB
";
        assert_eq!(sum(smaps), Residence { mapped: 2_052 << 10, heap: 13 << 10 });
    }
}
