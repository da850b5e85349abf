//! One dataplane process: ours or found, attached to or not yet.

use crate::procfs::ProcessId;
use corelink::{AttachError, LinkClient, State};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::Arc;

/// A dataplane process.
#[derive(Debug)]
pub(super) struct Dataplane {
    process: ProcessId,
    /// Set when this process started it, so that its end can be collected.
    child: Option<Child>,
    /// Set once it is attached to.
    link: Option<Arc<LinkClient>>,
    status: Option<ExitStatus>,
}

impl Dataplane {
    /// One that was just started.
    pub(super) fn started(child: Child) -> Option<Dataplane> {
        let process = ProcessId::of(child.id())?;
        Some(Dataplane { process, child: Some(child), link: None, status: None })
    }

    /// One that runs already, whoever started it.
    pub(super) fn found(link: LinkClient) -> Option<Dataplane> {
        let process = ProcessId::of(link.pid())?;
        Some(Dataplane { process, child: None, link: Some(Arc::new(link)), status: None })
    }

    pub(super) fn process(&self) -> ProcessId {
        self.process
    }

    pub(super) fn link(&self) -> Option<&Arc<LinkClient>> {
        self.link.as_ref()
    }

    pub(super) fn set_link(&mut self, link: LinkClient) -> Arc<LinkClient> {
        let link = Arc::new(link);
        self.link = Some(Arc::clone(&link));
        link
    }

    /// What it says it does; [`State::Starting`] before it can be asked.
    pub(super) fn state(&self) -> State {
        self.link.as_ref().map_or(State::Starting, |link| link.state())
    }

    /// Whether the process has ended. Collects a child that has.
    pub(super) fn has_ended(&mut self) -> bool {
        if let Some(child) = &mut self.child
            && let Ok(Some(status)) = child.try_wait()
        {
            self.status = Some(status);
            return true;
        }
        self.status.is_some() || !self.process.is_alive()
    }

    /// Whether it ended because it was asked to.
    pub(super) fn ended_cleanly(&self) -> bool {
        let is_success = self.status.is_none_or(|status| status.success());
        is_success && self.state() == State::Stopped
    }

    /// How it ended, for people.
    pub(super) fn end(&self) -> String {
        match self.status {
            Some(status) => status.to_string(),
            None => "not started by this process, so its exit status is unknown".to_owned(),
        }
    }

    /// The text it left behind, if any.
    pub(super) fn last_words(&self) -> String {
        self.link.as_ref().map(|link| link.last_words()).unwrap_or_default()
    }

    /// Sends a signal, if the process is still the one that was started.
    pub(super) fn signal(&self, signal: Signal) {
        if self.process.is_alive()
            && let Ok(pid) = i32::try_from(self.process.pid())
        {
            // It may have ended in this moment; that is what the next look is for.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

/// Attaches as the control plane to whoever listens on `socket`; nothing when nobody does.
///
/// # Errors
/// One line, when somebody listens but cannot be attached to.
pub(crate) fn find(socket: &Path) -> Result<Option<LinkClient>, String> {
    explain(socket, LinkClient::attach(socket))
}

/// As [`find`], but to look only: whoever is in control stays so.
pub(crate) fn observe(socket: &Path) -> Result<Option<LinkClient>, String> {
    explain(socket, LinkClient::observe(socket))
}

fn explain(
    socket: &Path,
    attached: Result<LinkClient, AttachError>,
) -> Result<Option<LinkClient>, String> {
    match attached {
        Ok(link) => Ok(Some(link)),
        Err(AttachError::Connect(error)) => match error.kind() {
            // No socket, or one that a dead dataplane left: the next dataplane replaces it.
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => Ok(None),
            ErrorKind::PermissionDenied => {
                Err(format!("{}: permission denied; run as root", socket.display()))
            }
            _ => Err(format!("{}: {error}", socket.display())),
        },
        // The read timed out: the connection waits in the backlog.
        Err(AttachError::Hello(error)) if error.kind() == ErrorKind::WouldBlock => Err(format!(
            "{}: the dataplane does not answer: it is stopped or hangs (the pid is in \
             dataplane.lock beside it)",
            socket.display()
        )),
        Err(error) => Err(format!("{}: {error}", socket.display())),
    }
}
