//! RX interrupts: a file descriptor per queue on which a thread can sleep until frames arrive.
//!
//! Drivers for hardware signal an eventfd, which has to be read afterwards; a tap's descriptor is
//! the tap itself, which must not be.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use dpdk_sys as sys;

use crate::port::{PortId, QueueId};

/// The interrupt of one RX queue of a started port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interrupt {
    port: PortId,
    queue: QueueId,
    fd: RawFd,
    is_eventfd: bool,
}

impl Interrupt {
    /// The queue's interrupt, if the driver has set one up. The port is started.
    pub(super) fn find(port: PortId, queue: QueueId) -> Option<Self> {
        // SAFETY: the port is started and has this queue.
        let fd = unsafe { sys::rte_eth_dev_rx_intr_ctl_q_get_fd(port.0, queue.0) };
        (fd >= 0).then(|| Self { port, queue, fd, is_eventfd: is_eventfd(fd) })
    }

    /// Asks for a signal when frames arrive.
    pub(super) fn arm(&self) -> bool {
        const ENOTSUP: i32 = -95;
        // SAFETY: the port is started and has this queue.
        let code = unsafe { sys::rte_eth_dev_rx_intr_enable(self.port.0, self.queue.0) };
        // A tap needs no asking: its descriptor is readable while there are frames.
        code == 0 || (code == ENOTSUP && !self.is_eventfd)
    }

    /// Takes the wish back, and a signal that came meanwhile.
    pub(super) fn disarm(&self) {
        // SAFETY: as in `arm`.
        let _ = unsafe { sys::rte_eth_dev_rx_intr_disable(self.port.0, self.queue.0) };
        if self.is_eventfd {
            drain(self.fd());
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the driver keeps the descriptor open while the port is started, which the queue
        // that holds this value makes sure of.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

fn is_eventfd(fd: RawFd) -> bool {
    fs::read_link(format!("/proc/self/fd/{fd}"))
        .is_ok_and(|target| target.as_os_str() == "anon_inode:[eventfd]")
}

/// Resets an eventfd, which DPDK opens in non-blocking mode.
fn drain(fd: BorrowedFd<'_>) {
    let mut count = [0_u8; 8];
    // SAFETY: `count` has the eight bytes of an eventfd's counter.
    let _ = unsafe { libc::read(fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::{AsFd, FromRawFd, OwnedFd};

    use super::*;

    #[test]
    fn a_drained_eventfd_is_silent_again() {
        // SAFETY: takes two numbers, returns a new descriptor.
        let fd = unsafe { libc::eventfd(3, libc::EFD_NONBLOCK) };
        // SAFETY: the descriptor is new, so nobody else owns it.
        let eventfd = unsafe { OwnedFd::from_raw_fd(fd) };
        assert!(is_eventfd(eventfd.as_raw_fd()));
        drain(eventfd.as_fd());
        let again = std::io::Read::read(&mut File::from(eventfd), &mut [0; 8]);
        let error = again.expect_err("it was drained");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn other_descriptors_are_no_eventfds() {
        let file = File::open("/dev/null").expect("it is always there");
        assert!(!is_eventfd(file.as_raw_fd()));
    }
}
