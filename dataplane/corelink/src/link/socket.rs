//! Listening, and passing the memory files over.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, getsockopt, recvmsg, sendmsg, sockopt,
};

use super::client::AttachError;
use super::inquiry::{QUESTION_BYTES, Question};
use super::layout;
use super::server::LinkServer;

/// Listens for control planes on a Unix socket at `path`.
///
/// The folder is made if it is missing, and is closed to others (0750). A socket that a dead
/// process left is replaced; one that a live process listens on is not.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] when somebody listens there already; else what the kernel says.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))?;
    }
    let is_left_over = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
        && UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if is_left_over {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    Ok(listener)
}

/// What somebody who connects wants to be, said in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Gives commands; whoever did before no longer can.
    Control,
    /// Reads only.
    Observer,
    /// Asks the shards something.
    Inquirer,
}

impl Role {
    fn code(self) -> u8 {
        match self {
            Self::Control => b'c',
            Self::Observer => b'o',
            Self::Inquirer => b'i',
        }
    }
}

/// Greets somebody who has connected: gives an observer the page, and a control plane a command slot
/// of its own as well. From then on commands of an earlier control plane are not heard. Who has a
/// question is not greeted: the question is returned, to be answered.
///
/// Takes at most half a second, which only who says nothing after connecting can make it last.
///
/// # Errors
/// When the other side does not say what it wants, or does not take the greeting; or memory is short.
pub fn hello(stream: &UnixStream, server: &LinkServer) -> io::Result<Option<Question>> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
    let mut request = [0];
    (&mut &*stream).read_exact(&mut request)?;
    let (generation, slot) = match request[0] {
        code if code == Role::Control.code() => {
            let (generation, slot) = server.admit()?;
            (generation, Some(slot))
        }
        code if code == Role::Observer.code() => (server.generation(), None),
        code if code == Role::Inquirer.code() => {
            let mut question = [0; QUESTION_BYTES];
            (&mut &*stream).read_exact(&mut question)?;
            let question = Question::decode(&question).ok_or(io::ErrorKind::InvalidData)?;
            return Ok(Some(question));
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };

    let mut greeting = [0; GREETING_BYTES];
    let words = [HELLO_MAGIC, layout::VERSION, generation];
    for (place, word) in greeting.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    let fds: Vec<RawFd> = std::iter::once(server.fd().as_raw_fd())
        .chain(slot.as_ref().map(AsRawFd::as_raw_fd))
        .collect();
    let sent = sendmsg::<()>(
        stream.as_raw_fd(),
        &[IoSlice::new(&greeting)],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    // A fresh connection has room for far more, so nothing is left as a rule.
    (&mut &*stream).write_all(&greeting[sent..])?;
    Ok(None)
}

/// What a dataplane hands to a control plane.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) pid: u32,
    pub(super) generation: u64,
    pub(super) page: OwnedFd,
    /// For a control plane only.
    pub(super) slot: Option<OwnedFd>,
}

/// Says what we want to be.
pub(super) fn request(stream: &UnixStream, role: Role) -> io::Result<()> {
    (&mut &*stream).write_all(&[role.code()])
}

/// Receives the greeting that answers a request.
pub(super) fn receive(stream: &UnixStream, role: Role) -> Result<Offer, AttachError> {
    let mut greeting = [0; GREETING_BYTES];
    let mut fds = Vec::new();
    let got = receive_fds(stream, &mut greeting, &mut fds).map_err(AttachError::Hello)?;
    (&mut &*stream).read_exact(&mut greeting[got..]).map_err(AttachError::Hello)?;

    let mut words = greeting
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("chunks have 8 bytes")));
    let mut word = || words.next().unwrap_or(0);
    let (magic, version, generation) = (word(), word(), word());
    let refused = |why| AttachError::Hello(io::Error::new(io::ErrorKind::InvalidData, why));
    if magic != HELLO_MAGIC {
        return Err(refused("it is no dataplane"));
    }
    if version != layout::VERSION {
        return Err(AttachError::Version { found: version });
    }
    let mut fds = fds.into_iter();
    let (page, slot) = match (role, fds.next(), fds.next(), fds.next()) {
        (Role::Control, Some(page), Some(slot), None) => (page, Some(slot)),
        (Role::Observer, Some(page), None, None) => (page, None),
        _ => return Err(refused("it did not hand over the memory files it should")),
    };
    // The kernel's word for who listens: a greeting could name any process.
    let peer = getsockopt(stream, sockopt::PeerCredentials)
        .map_err(|error| AttachError::Hello(error.into()))?;
    let pid = u32::try_from(peer.pid()).map_err(|_| refused("it has no process id"))?;
    Ok(Offer { pid, generation, page, slot })
}

/// Receives the first bytes and all file descriptors that come with them.
fn receive_fds(stream: &UnixStream, bytes: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    // Room for all the kernel passes at once, so that none is cut off and lost to us.
    let mut control = cmsg_space!([RawFd; FDS_MAX]);
    let mut parts = [IoSliceMut::new(bytes)];
    let message = loop {
        match recvmsg::<()>(
            stream.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_CMSG_CLOEXEC,
        ) {
            Err(nix::errno::Errno::EINTR) => {}
            result => break result?,
        }
    };
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            for fd in raw {
                // SAFETY: the kernel has just installed this descriptor for us; nobody else owns
                // it, and each is taken once.
                fds.push(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
    if message.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(message.bytes)
}

const HELLO_MAGIC: u64 = u64::from_le_bytes(*b"TRNKHELO");
const GREETING_BYTES: usize = 24;
/// The kernel's limit for one message (SCM_MAX_FD).
const FDS_MAX: usize = 253;
/// Who connects says at once what it wants.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(500);
const FOLDER_MODE: u32 = 0o750;
const SOCKET_MODE: u32 = 0o660;
