//! Pools of mbufs.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;

use dpdk_sys as sys;

use super::eal::{Eal, Running};
use super::error::MempoolError;
use super::{errno, error_text};

/// What a mempool is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MempoolConfig {
    /// Its name within DPDK, at most 22 bytes.
    pub name: String,
    /// How many mbufs it has. A power of two less one uses memory best.
    pub mbufs: u32,
    /// How many each registered thread may keep at hand; 0 for none.
    pub cache: u32,
    /// Bytes of an mbuf's buffer, the 128 that DPDK keeps free in front included: 2,176 holds any
    /// frame of MTU 1,500.
    pub data_room_bytes: u16,
    /// Where its memory should be; `None`: anywhere.
    pub numa_node: Option<u32>,
}

/// Longest name of a pool: DPDK keeps 26 bytes with the NUL and a prefix of its own.
const NAME_BYTES_MAX: usize = 22;

/// What DPDK adds to an mbuf's buffer: header, descriptor, trailer.
const MBUF_OVERHEAD_BYTES: u64 = 192;

/// A pool of mbufs on hugepages (or, with `--no-huge`, in ordinary memory). It is freed when this
/// and all ports and batches using it are gone.
#[derive(Debug)]
pub struct Mempool {
    pub(super) pool: Arc<Pool>,
}

/// The pool itself, held by all who have mbufs of it.
#[derive(Debug)]
pub(super) struct Pool {
    raw: NonNull<sys::rte_mempool>,
    pub(super) mbufs: u32,
    pub(super) data_room_bytes: u16,
    /// EAL must outlive the pool.
    _running: Arc<Running>,
}

// SAFETY: DPDK's mempools are made for use by many threads at once, by the calls made here
// (allocation, free, counts); freeing the pool needs the last reference, thus one thread.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

impl Mempool {
    /// Creates a pool.
    ///
    /// # Errors
    /// [`MempoolError`], with what the pool needs when memory is short.
    pub fn create(eal: &Eal, config: &MempoolConfig) -> Result<Self, MempoolError> {
        let name = check(config)?;
        let node = config.numa_node.map_or(sys::SHIM_SOCKET_ANY, |node| node as i32);
        // SAFETY: EAL runs, as `eal` shows; `name` is NUL-terminated and copied by DPDK; all
        // numbers were checked or are checked by DPDK.
        let raw = unsafe {
            sys::rte_pktmbuf_pool_create(
                name.as_ptr(),
                config.mbufs,
                config.cache,
                0,
                config.data_room_bytes,
                node,
            )
        };
        let raw = NonNull::new(raw).ok_or_else(|| refused(config))?;
        let pool = Pool {
            raw,
            mbufs: config.mbufs,
            data_room_bytes: config.data_room_bytes,
            _running: Arc::clone(&eal.running),
        };
        Ok(Self { pool: Arc::new(pool) })
    }

    /// Mbufs that can be allocated.
    pub fn available(&self) -> u32 {
        // SAFETY: the pool lives as long as `self`. The count is exact only while nobody allocates.
        unsafe { sys::rte_mempool_avail_count(self.pool.raw()) }
    }

    /// Mbufs allocated: in RX rings, TX rings and batches.
    pub fn in_use(&self) -> u32 {
        // SAFETY: as in `available`.
        unsafe { sys::rte_mempool_in_use_count(self.pool.raw()) }
    }

    /// Mbufs it was created with.
    pub fn capacity(&self) -> u32 {
        self.pool.mbufs
    }
}

impl Pool {
    pub(super) fn raw(&self) -> *mut sys::rte_mempool {
        self.raw.as_ptr()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: all holders of mbufs (ports, batches) hold the pool too, so none is left, and
        // EAL still runs since `_running` is dropped after this.
        unsafe { sys::rte_mempool_free(self.raw.as_ptr()) };
    }
}

/// Bytes that `config` needs, roughly: DPDK rounds and aligns.
fn bytes(config: &MempoolConfig) -> u64 {
    u64::from(config.mbufs) * (u64::from(config.data_room_bytes) + MBUF_OVERHEAD_BYTES)
}

fn check(config: &MempoolConfig) -> Result<CString, MempoolError> {
    let name = config.name.clone();
    let name_error = || MempoolError::Name { name: config.name.clone(), max: NAME_BYTES_MAX };
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(name_error());
    }
    let cache_max = sys::SHIM_MEMPOOL_CACHE_MAX.min(config.mbufs / 3 * 2);
    if config.cache > cache_max {
        return Err(MempoolError::Cache { name, cache: config.cache, max: cache_max });
    }
    if config.data_room_bytes <= sys::SHIM_HEADROOM_BYTES {
        return Err(MempoolError::DataRoom {
            name,
            bytes: config.data_room_bytes,
            headroom: sys::SHIM_HEADROOM_BYTES,
        });
    }
    CString::new(config.name.as_str()).map_err(|_| name_error())
}

fn refused(config: &MempoolConfig) -> MempoolError {
    const MB: u64 = 1 << 20;
    MempoolError::Refused {
        name: config.name.clone(),
        mbufs: config.mbufs,
        data_room_bytes: config.data_room_bytes,
        text: error_text(errno()),
        need_mb: bytes(config).div_ceil(MB) + 4,
    }
}
