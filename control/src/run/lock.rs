//! The run directory, and the lock that keeps a second control plane out.

use hwconfig::RunDir;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;

/// Held by the one control plane of an instance. The kernel lets go when the process ends, however
/// it ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, never read")] Flock<File>);

impl Lock {
    /// Makes the run directory if it is not there, and takes the lock in it.
    ///
    /// # Errors
    /// One line that says what to do.
    pub(super) fn take(run_dir: &RunDir) -> Result<Lock, String> {
        let folder = run_dir.path();
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o750);
        builder.create(folder).map_err(|error| refusal(&folder.display(), &error))?;
        let path = run_dir.lock();
        // Not truncated: it may be another's, and names that one.
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| refusal(&path.display(), &error))?;
        let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| held_by_another(run_dir, errno))?;
        let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        written.map_err(|error| refusal(&path.display(), &error))?;
        Ok(Lock(lock))
    }
}

fn held_by_another(run_dir: &RunDir, errno: Errno) -> String {
    let path = run_dir.lock();
    if errno != Errno::EWOULDBLOCK {
        return format!("cannot lock {}: {}", path.display(), errno.desc());
    }
    let pid = std::fs::read_to_string(&path).unwrap_or_default();
    format!(
        "another `trunkline run` (pid {}) watches this instance: end it, or give this one another \
         name with --instance",
        pid.trim()
    )
}

fn refusal(what: &dyn std::fmt::Display, error: &std::io::Error) -> String {
    let hint = match error.kind() {
        ErrorKind::PermissionDenied => "; run as root, or name a directory with --run-dir",
        _ => "",
    };
    format!("{what}: {error}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn second_control_plane_of_an_instance_is_kept_out_until_the_first_ends() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run_dir = RunDir::at(folder.path().join("a/b"));
        let first = Lock::take(&run_dir).expect("nobody else is there");
        let mode = run_dir.path().metadata().expect("it was made").permissions().mode();
        assert_eq!(mode & 0o777, 0o750);
        let refused = Lock::take(&run_dir).expect_err("the first one holds it");
        let expected = format!("another `trunkline run` (pid {})", std::process::id());
        assert!(refused.starts_with(&expected), "{refused}");
        drop(first);
        Lock::take(&run_dir).expect("the first one has let go");
    }

    #[test]
    fn run_dir_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("file"), "").expect("a file");
        let refused = Lock::take(&RunDir::at(folder.path().join("file/run")));
        assert!(refused.expect_err("a file is no folder").contains("/file/run: "));
    }
}
