//! The only door to DPDK: EAL, ports, queues, mempools and mbufs as owned types, and an in-memory
//! twin of a port, so that everything above runs without DPDK as well.
//!
//! # The layers
//!
//! ```text
//!   shard loop:   receive(&mut RxBatch) ─▶ frames ─▶ … ─▶ reserve(&mut TxBatch, len) ─▶ send
//!                 └──────────────────────── PortQueue ─────────────────────────────────┘
//!                          │ one RX and one TX queue with the same index
//!        ┌─────────────────┴──────────────┐
//!   dpdk: Eal ◀ Mempool ◀ Port ◀ queue    twin: two ends of a wire in memory,
//!   (feature `dpdk`, on by default)       with seeded loss, reordering, duplication
//! ```
//!
//! - **A queue is owned by one thread.** [`PortQueue`] is `Send` and handed out once, so two threads
//!   cannot poll the same ring: DPDK's most dangerous rule is a property of the types.
//! - **Frames live in batches.** A received frame is valid until the next `receive` into the same
//!   batch, a reserved one until it is sent or the batch is cleared. No mbuf outlives its batch, so
//!   nothing above can keep one, and none can leak.
//! - **Order of ending.** A queue keeps its port open, a port and a batch keep their mempool, and all
//!   keep EAL. Whatever the order of drops, the device is stopped and closed when the port and all
//!   its queues are gone, then the pool is freed, then EAL cleans up.
//! - **Ask, then look.** [`PortConfig`] says what is wanted; [`PortFacts`] says what the port gave.
//!   Refusals are [`PortError`]s that name the port, the value, the limit and a way out.
//!
//! # Use
//!
//! The same lines run on a real port's queues and on the twin's:
//!
//! ```
//! use capsule::{RxBatch, TxBatch, twin::{TwinConfig, TwinLink}};
//!
//! let (mut left, mut right) = TwinLink::pair(TwinConfig::default());
//! let mut out = TxBatch::new();
//! let frame = left[0].reserve(&mut out, 60).expect("the batch is empty");
//! frame.fill(0xab);
//! assert_eq!(left[0].send(&mut out), 1);
//!
//! let mut arrived = RxBatch::new();
//! assert_eq!(right[0].receive(&mut arrived), 1);
//! assert_eq!(arrived.frame(0), [0xab; 60]);
//! ```
//!
//! On a real port: [`Eal::init`], [`Mempool::create`], [`Port::open`], [`Port::take_queues`],
//! [`Port::start`]; then each thread that polls registers itself with [`Eal::register_thread`].
//!
//! # Code map
//!
//! | file | holds |
//! |---|---|
//! | `batch` | [`RxBatch`], [`TxBatch`]: up to [`BATCH_FRAMES_MAX`] frames, whoever owns their memory |
//! | `queue` | [`PortQueue`], [`QueueCounters`] |
//! | `port` | plain facts about ports: configuration, offloads, link, statistics |
//! | `checksum` | Internet checksums for ports and for the twin |
//! | `twin` | the in-memory wire |
//! | `impairment` | a worse network on purpose: what the twin's wire and a test's link do to frames |
//! | `clock` | nanoseconds from the time stamp counter |
//! | `dpdk` | everything that calls DPDK |
//!
//! What is named after DPDK exists with the feature `dpdk`; without it nothing links against DPDK
//! and only the twin exists.

mod batch;
mod checksum;
pub mod clock;
#[cfg(feature = "dpdk")]
mod dpdk;
pub mod impairment;
mod port;
mod queue;
pub mod twin;

pub use batch::{BATCH_FRAMES_MAX, RxBatch, RxChecksum, TxBatch, TxChecksum};
#[cfg(feature = "dpdk")]
pub use dpdk::{
    Eal, EalError, Mempool, MempoolConfig, MempoolError, Port, PortError, ThreadRegistration,
};
pub use port::{Link, Offloads, PortConfig, PortFacts, PortId, PortStats, QueueId};
pub use queue::{PortQueue, QueueCounters};

/// What one thread prepares another may run.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<PortQueue>();
    is_send::<RxBatch>();
    is_send::<TxBatch>();
    #[cfg(feature = "dpdk")]
    {
        const fn is_sync<T: Send + Sync>() {}
        is_sync::<Eal>();
        is_sync::<Mempool>();
        is_sync::<Port>();
    }
};
