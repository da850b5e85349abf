//! The system calls that neither std nor memmap2 has.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};

use memmap2::{Advice, MmapRaw};

/// Makes an empty memory file that can be sealed.
pub(super) fn memory_file(name: &str, hugetlb: bool) -> io::Result<File> {
    let name = CString::new(name).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    if hugetlb {
        flags |= libc::MFD_HUGETLB | libc::MFD_HUGE_2MB;
    }
    // SAFETY: `name` is a NUL-terminated string that lives through the call.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just given us this descriptor; nobody else owns it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Fixes the file's size for ever: a file that shrinks under a mapping is a SIGBUS.
pub(super) fn seal(file: &File) -> io::Result<()> {
    // SAFETY: a plain system call on a descriptor that `file` keeps open; the argument is an int.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, SIZE_SEALS) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether the file is a memory file of fixed size.
pub(super) fn is_sealed(file: &File) -> bool {
    // SAFETY: a plain system call on a descriptor that `file` keeps open; it takes no argument.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    seals >= 0 && seals & SIZE_SEALS == SIZE_SEALS
}

/// Opens the same file once more, as an opening of its own.
pub(super) fn reopen(file: &File) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::options().read(true).write(true).open(path)
}

/// Binds the pages of a mapping that are not there yet to one NUMA node.
pub(super) fn bind_to_node(map: &MmapRaw, node: u32) -> io::Result<()> {
    let mut mask = [0u64; NODES_MAX / 64];
    let Some(word) = mask.get_mut(node as usize / 64) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    *word = 1 << (node % 64);
    // SAFETY: the range is exactly the mapping, whose pages are only placed, not changed; `mask`
    // has the NODES_MAX bits announced (the kernel takes one bit less than it is told).
    let result = unsafe {
        libc::syscall(
            libc::SYS_mbind,
            map.as_mut_ptr(),
            map.len(),
            libc::MPOL_BIND,
            mask.as_ptr(),
            NODES_MAX + 1,
            0,
        )
    };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    // A kernel built without NUMA has just node 0, and everything is on it.
    if node == 0 && error.raw_os_error() == Some(libc::ENOSYS) { Ok(()) } else { Err(error) }
}

/// Faults in all pages of a mapping, and reports where touching them would be a SIGBUS.
pub(crate) fn populate(map: &MmapRaw) -> io::Result<()> {
    loop {
        match map.advise(Advice::PopulateWrite) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

const SIZE_SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// NUMA nodes a mask names: the kernel's own limit on x86_64.
const NODES_MAX: usize = 1024;
