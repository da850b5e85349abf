//! The host as its files describe it, from a root that tests can put elsewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A host, read through `/proc`, `/sys`, `/dev` and `/run` below a root.
#[derive(Debug)]
pub(super) struct Host {
    root: PathBuf,
}

impl Host {
    /// This machine.
    pub(super) fn here() -> Host {
        Host::at(Path::new("/"))
    }

    /// The machine whose files lie below `root`.
    pub(super) fn at(root: &Path) -> Host {
        Host { root: root.to_owned() }
    }

    /// A small file's text, trimmed; nothing when it cannot be read.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// A file that holds one number.
    pub(super) fn number(&self, path: &str) -> Option<i64> {
        self.read(path)?.parse().ok()
    }

    /// Whether something is at `path`.
    pub(super) fn exists(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// Names in a folder.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(path)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Last part of where a symbolic link points.
    pub(super) fn link_name(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.root.join(path)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// A file that holds a list such as `0-3,8`.
    pub(super) fn list(&self, path: &str) -> Option<BTreeSet<u16>> {
        parse_list(&self.read(path)?)
    }

    /// The value of `field` in a file of `field: value` lines.
    pub(super) fn field(&self, path: &str, field: &str) -> Option<String> {
        let text = self.read(path)?;
        let line = text
            .lines()
            .find(|line| line.split(':').next().is_some_and(|name| name.trim() == field))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    }
}

/// Numbers from `0-3,8`. An empty text is the empty list.
pub(super) fn parse_list(text: &str) -> Option<BTreeSet<u16>> {
    let mut all = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        all.extend(first.trim().parse::<u16>().ok()?..=last.trim().parse::<u16>().ok()?);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_read_like_the_kernel_writes_them() {
        assert_eq!(parse_list("0-2,5"), Some(BTreeSet::from([0, 1, 2, 5])));
        assert_eq!(parse_list(""), Some(BTreeSet::new()));
        assert_eq!(parse_list("x"), None);
    }
}
