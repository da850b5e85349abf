//! The directory where the processes of an instance meet, and the lock that says who is there.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// The run directory of this process, held by a lock. The socket is removed when this is dropped.
#[derive(Debug)]
pub(super) struct RunDir {
    socket: PathBuf,
    _lock: Flock<File>,
}

impl RunDir {
    /// Makes the directory if needed and takes its lock.
    ///
    /// # Errors
    /// When another dataplane of the instance lives, or the file system refuses.
    pub(super) fn claim(dir: &hwconfig::RunDir) -> Result<RunDir> {
        let path = dir.path();
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o750);
        builder.create(path).with_context(|| format!("making {}", path.display()))?;
        let lock_path = path.join("dataplane.lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let file =
            options.open(&lock_path).with_context(|| format!("opening {}", lock_path.display()))?;
        let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK)) => bail!(
                "another dataplane of this instance is running ({} is locked); \
                 choose another name with --instance",
                lock_path.display()
            ),
            Err((_, error)) => {
                return Err(error).with_context(|| format!("locking {}", lock_path.display()));
            }
        };
        lock.set_len(0).context("writing the lock file")?;
        writeln!(lock, "{}", std::process::id()).context("writing the lock file")?;
        Ok(RunDir { socket: dir.socket(), _lock: lock })
    }

    /// Listens where control planes attach, in the place of a socket that a dead dataplane left.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(super) fn listen(&self) -> Result<UnixListener> {
        corelink::listen(&self.socket)
            .with_context(|| format!("listening on {}", self.socket.display()))
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        // The lock file stays: removing it would let two processes hold two locks of one name.
        let _ = std::fs::remove_file(&self.socket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_dataplane_of_an_instance_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let dir = hwconfig::RunDir::at(dir.path().join("run"));
        let first = RunDir::claim(&dir).expect("nobody is there");
        let refusal = RunDir::claim(&dir).expect_err("the first one lives");
        assert!(refusal.to_string().contains("another dataplane"), "{refusal}");
        drop(first);
        RunDir::claim(&dir).expect("the first one is gone");
    }

    #[test]
    fn socket_of_a_dead_dataplane_is_replaced_and_ours_is_removed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let dir = hwconfig::RunDir::at(dir.path());
        drop(UnixListener::bind(dir.socket()).expect("a socket left behind"));
        let claimed = RunDir::claim(&dir).expect("nobody is there");
        let _listener = claimed.listen().expect("replaces it");
        assert!(dir.socket().exists());
        drop(claimed);
        assert!(!dir.socket().exists());
    }
}
