//! Everything that calls DPDK.
//!
//! `eal` ◀ `mempool` ◀ `port` ◀ `queue`: each holds what it stands on, so nothing is freed under
//! its users. `mbufs` is the memory behind batches, `rss` the indirection table, `interrupt` the
//! way to sleep until frames arrive, `error` the
//! refusals, written for the person who has to mend the machine or the profile.

mod eal;
mod error;
mod interrupt;
mod mbufs;
mod mempool;
mod port;
mod queue;
mod rss;
mod setup;

pub use eal::{Eal, ThreadRegistration};
pub use error::{EalError, MempoolError, PortError};
pub(crate) use mbufs::{RxMbufs, TxMbufs};
pub use mempool::{Mempool, MempoolConfig};
pub use port::Port;
pub(crate) use queue::DpdkQueue;

use std::ffi::{CStr, c_char};

use dpdk_sys as sys;

/// DPDK's text for an error number of either sign.
fn error_text(code: i32) -> String {
    // SAFETY: any number is accepted; the answer is a NUL-terminated string that stays valid until
    // this thread's next call.
    let text = unsafe { sys::rte_strerror(code.abs()) };
    owned(text)
}

/// This thread's `rte_errno`.
fn errno() -> i32 {
    // SAFETY: reads a thread-local variable.
    unsafe { sys::shim_errno() }
}

/// Copies a string of DPDK's; a null pointer becomes an empty one.
fn owned(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: DPDK's strings are NUL-terminated and `text`, freshly returned, is still valid.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
