//! Refusals. Each names the thing, the value, the limit and a way out.

use thiserror::Error;

/// Why EAL did not start.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EalError {
    /// EAL can be started once in a process, also after it has ended or failed to start.
    #[error("EAL was started in this process before; DPDK allows that once: use a new process")]
    AlreadyStarted,
    /// An argument cannot be passed to C.
    #[error("EAL argument {argument:?} contains a NUL byte: remove it")]
    Argument {
        /// The argument.
        argument: String,
    },
    /// DPDK rules this pair out, in words that name neither.
    #[error(
        "EAL arguments --no-huge and --in-memory exclude each other: with --no-huge use --no-shconf"
    )]
    NoHugeInMemory,
    /// EAL refused.
    #[error("EAL refused to start with {arguments:?}: {text} (error {code}). {advice}")]
    Refused {
        /// All arguments.
        arguments: Vec<String>,
        /// `rte_errno`.
        code: i32,
        /// Its text.
        text: String,
        /// What usually causes it and what to do.
        advice: &'static str,
    },
    /// No thread number is left.
    #[error(
        "EAL cannot take in this thread: {text}. DPDK numbers at most RTE_MAX_LCORE threads of a \
         process: register only the threads that poll queues"
    )]
    ThreadRefused {
        /// The text of `rte_errno`.
        text: String,
    },
}

/// Why a mempool was not created.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MempoolError {
    /// The name cannot be used.
    #[error(
        "mempool name {name:?} is not usable: 1 to {max} bytes without NUL, distinct from others"
    )]
    Name {
        /// The name.
        name: String,
        /// Longest name.
        max: usize,
    },
    /// The cache is too large.
    #[error(
        "mempool {name}: a cache of {cache} mbufs per thread is more than {max}, the least of \
         DPDK's limit and two thirds of the pool: lower the cache or raise the number of mbufs"
    )]
    Cache {
        /// The pool.
        name: String,
        /// The wanted cache.
        cache: u32,
        /// The limit.
        max: u32,
    },
    /// An mbuf would have no room.
    #[error(
        "mempool {name}: data_room_bytes {bytes} leaves no room behind the {headroom} bytes that \
         DPDK keeps free in front: use at least {headroom} + MTU + 26"
    )]
    DataRoom {
        /// The pool.
        name: String,
        /// The wanted room.
        bytes: u16,
        /// Bytes kept free in front.
        headroom: u16,
    },
    /// DPDK refused.
    #[error(
        "mempool {name}: {mbufs} mbufs of {data_room_bytes} bytes were refused: {text}. They need \
         about {need_mb} MB in hugepages, or twice that as -m with --no-huge: reserve more \
         hugepages, raise -m, or lower the number of mbufs. (If the text names no memory: the \
         driver package librte-mempool-ring may be missing.)"
    )]
    Refused {
        /// The pool.
        name: String,
        /// The wanted number.
        mbufs: u32,
        /// The wanted size.
        data_room_bytes: u16,
        /// The text of `rte_errno`.
        text: String,
        /// What they need.
        need_mb: u64,
    },
}

/// Why a port cannot be used as asked.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PortError {
    /// EAL has no such device.
    #[error(
        "port {device}: EAL has no such device; it has {known}. A virtual device needs \
         --vdev {device},... and its driver package (EAL's lines above say why one failed); a PCI \
         device must be bound to vfio-pci: dpdk-devbind.py --bind=vfio-pci {device}"
    )]
    NoSuchDevice {
        /// The device.
        device: String,
        /// Those there are.
        known: String,
    },
    /// Somebody in this process has it.
    #[error("port {device} is open already in this process: open it once and hand out its queues")]
    InUse {
        /// The device.
        device: String,
    },
    /// Queues are handed out in pairs.
    #[error(
        "port {device}: {rx_queues} RX and {tx_queues} TX queues; queues come in pairs of one each, \
         at least one: set both to the number of shards"
    )]
    Pairs {
        /// The device.
        device: String,
        /// Wanted RX queues.
        rx_queues: u16,
        /// Wanted TX queues.
        tx_queues: u16,
    },
    /// A value is outside what port and pool can do.
    #[error("port {device} ({driver}): {key} = {value} is outside {min} to {max}: {advice}")]
    OutOfRange {
        /// The device.
        device: String,
        /// Its driver.
        driver: String,
        /// What was asked for.
        key: &'static str,
        /// The wanted value.
        value: u64,
        /// Least.
        min: u64,
        /// Most.
        max: u64,
        /// A way out.
        advice: &'static str,
    },
    /// The driver refused.
    #[error("port {device} ({driver}): {action} was refused: {text} (error {code}). {advice}")]
    Refused {
        /// The device.
        device: String,
        /// Its driver.
        driver: String,
        /// What was tried.
        action: String,
        /// DPDK's error number.
        code: i32,
        /// Its text.
        text: String,
        /// A way out.
        advice: &'static str,
    },
}
