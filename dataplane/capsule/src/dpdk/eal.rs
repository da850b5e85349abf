//! The environment abstraction layer: DPDK's memory, devices and threads.

use std::ffi::CString;
use std::fs;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dpdk_sys as sys;

use super::error::EalError;
use super::{errno, error_text, owned};

/// DPDK, started. There is at most one in a process, ever: what DPDK leaves behind at its end does
/// not allow a second start.
///
/// EAL ends when this and every mempool, port, queue and registered thread made with it are gone.
#[derive(Debug)]
pub struct Eal {
    pub(super) running: Arc<Running>,
}

/// EAL between start and clean-up. Everything that needs EAL holds one.
#[derive(Debug)]
pub(super) struct Running {
    /// EAL keeps pointers into its arguments.
    _arguments: Vec<CString>,
}

static STARTED: AtomicBool = AtomicBool::new(false);

impl Eal {
    /// Starts EAL with `args`, which are as on a DPDK program's command line without the program's
    /// name. Without a hugetlbfs mount, `--in-memory` uses hugepages and leaves no file.
    ///
    /// DPDK logs to standard error; `--log-level=LEVEL` and `--log-level=pmd.net.tap:LEVEL` set
    /// how much (`emergency` to `debug`, default `notice`).
    ///
    /// The calling thread is pinned to the first core of `-l`, and threads it starts later inherit
    /// that: pin them. Name one core only, or EAL starts threads of its own on the others.
    ///
    /// # Errors
    /// [`EalError`], with advice on hugepages, rights and arguments.
    pub fn init(args: &[String]) -> Result<Self, EalError> {
        if ["--no-huge", "--in-memory"].iter().all(|&both| args.iter().any(|arg| arg == both)) {
            return Err(EalError::NoHugeInMemory);
        }
        let arguments = c_arguments(args)?;
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(EalError::AlreadyStarted);
        }
        // EAL reorders the array it is given, so it gets one that nobody else looks at.
        let mut argv: Vec<_> = arguments.iter().map(|arg| arg.as_ptr().cast_mut()).collect();
        argv.push(ptr::null_mut());
        // SAFETY: `argv` has `arguments.len()` NUL-terminated strings and a final null pointer, and
        // the strings live as long as `Running`. EAL does not write to the strings.
        let code = unsafe { sys::rte_eal_init(arguments.len() as i32, argv.as_mut_ptr()) };
        if code < 0 {
            let error = refused(args);
            remove_runtime_dir();
            return Err(error);
        }
        Ok(Self { running: Arc::new(Running { _arguments: arguments }) })
    }

    /// Gives the calling thread a number within DPDK, so that mempools keep a cache for it. For the
    /// threads that poll queues, after they are pinned.
    ///
    /// # Errors
    /// [`EalError::ThreadRefused`] when DPDK has no number left.
    pub fn register_thread(&self) -> Result<ThreadRegistration, EalError> {
        // SAFETY: EAL runs, as `self` shows; any thread may call it, also when registered already.
        if unsafe { sys::rte_thread_register() } != 0 {
            return Err(EalError::ThreadRefused { text: error_text(errno()) });
        }
        Ok(ThreadRegistration { _running: Arc::clone(&self.running), not_send: PhantomData })
    }

    /// Whether DPDK's memory is on hugepages.
    pub fn has_hugepages(&self) -> bool {
        // SAFETY: reads EAL's configuration; EAL runs, as `self` shows.
        unsafe { sys::rte_eal_has_hugepages() == 1 }
    }

    /// DPDK's version, such as `DPDK 22.11.11`.
    pub fn version(&self) -> String {
        // SAFETY: returns a static string.
        owned(unsafe { sys::rte_version() })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SAFETY: EAL runs, and the last holder of it is going: no port, pool or thread is left.
        // It can only fail in secondary processes, of which there are none.
        let _ = unsafe { sys::rte_eal_cleanup() };
        remove_runtime_dir();
    }
}

/// EAL leaves its directory behind. Without files in it (`--in-memory`, `--no-shconf`) it is ours
/// alone; if another process put some there, removing it fails, as it should.
fn remove_runtime_dir() {
    // SAFETY: the string is static, empty before EAL has read its arguments, and copied at once.
    let runtime_dir = owned(unsafe { sys::rte_eal_get_runtime_dir() });
    let _ = fs::remove_dir(runtime_dir);
}

/// A thread known to DPDK; forgotten when this is dropped, on the same thread.
#[derive(Debug)]
pub struct ThreadRegistration {
    _running: Arc<Running>,
    /// What was registered is the thread, so this must not leave it.
    not_send: PhantomData<*const ()>,
}

impl Drop for ThreadRegistration {
    fn drop(&mut self) {
        // SAFETY: this thread was registered, and EAL still runs since we hold it.
        unsafe { sys::rte_thread_unregister() };
    }
}

/// `args` behind a program name, for C.
fn c_arguments(args: &[String]) -> Result<Vec<CString>, EalError> {
    let program = std::iter::once("trunkline");
    program
        .chain(args.iter().map(String::as_str))
        .map(|arg| CString::new(arg).map_err(|_| EalError::Argument { argument: arg.into() }))
        .collect()
}

fn refused(args: &[String]) -> EalError {
    const EACCES: i32 = 13;
    const ENOMEM: i32 = 12;
    const EINVAL: i32 = 22;
    const EAGAIN: i32 = 11;
    let code = errno();
    let advice = match code {
        EACCES => {
            "No hugepage can be had: reserve some (echo 128 > /proc/sys/vm/nr_hugepages), \
             use --no-huge -m MB, or run as root."
        }
        ENOMEM => {
            "There are fewer free hugepages than -m asks for: reserve more \
             (/proc/sys/vm/nr_hugepages) or lower -m."
        }
        EAGAIN => {
            "The memory is in use by another process: give this instance its own --file-prefix."
        }
        EINVAL => {
            "An argument is unknown or impossible on this machine: EAL's lines above name it."
        }
        _ => "EAL's lines above say more; --log-level=debug makes it say everything.",
    };
    EalError::Refused { arguments: args.to_vec(), code, text: error_text(code), advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_refused_before_eal_sees_them() {
        let args = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let refused = |list: &[&str]| Eal::init(&args(list)).expect_err("must be refused");
        assert_eq!(refused(&["-l", "0\0"]), EalError::Argument { argument: "0\0".to_owned() });
        assert_eq!(refused(&["--in-memory", "--no-huge"]), EalError::NoHugeInMemory);
    }
}
