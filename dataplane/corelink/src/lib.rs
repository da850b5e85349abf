//! What crosses cores and processes: SPSC byte rings, counter pages, the attach handshake.
//!
//! A shard shares nothing with other threads but what this crate gives it, and the dataplane
//! shares nothing with the control plane but one link. Two rules hold for all of it:
//!
//! * **Nobody waits.** A full ring says so, a torn read is tried a bounded number of times.
//! * **Nobody is believed.** The control plane parses network input, so the dataplane takes every
//!   word the other side could have written for hostile: it is copied once, checked, then used.
//!   The control plane treats a page from a broken dataplane the same way. All shared memory is
//!   read and written as relaxed 64-bit atomics through checked indices, so there is no data race
//!   to exploit and no length to run past; no bad byte is more than a wrong number.
//!
//! Reading upwards:
//!
//! 1. `word`: `Word`, the 64-bit atomic all shared memory is made of, and the read-only
//!    view of many. `sync` swaps std's atomics for loom's in model checks.
//! 2. [`ring()`]: records of bytes from one thread to another, in order, bounded.
//! 3. `seqlock`: a block of counters that one thread publishes and others read whole or not at all.
//! 4. [`link`]: the page by which a dataplane process is seen, and how a control plane gets it.
//!    [`LinkServer`] and its [`ShardPage`]s write, [`LinkClient`] reads. There are two memory files:
//!    the page, sealed so that only the dataplane's existing mapping can write it, and a small
//!    command slot, made anew for each attach so that an older control plane has none.
//!
//! The rings and the seqlock are model-checked:
//! `RUSTFLAGS="--cfg loom" cargo test -p corelink --release --lib loom`.

#[cfg(not(loom))]
pub mod link;
pub mod ring;
mod seqlock;
mod sync;
mod word;

#[cfg(not(loom))]
pub use link::inquiry::{self, Filter, Question, Subject};
#[cfg(not(loom))]
pub use link::{
    AttachError, CatalogueError, Command, Kind, LinkClient, LinkError, LinkServer, LinkSpec,
    NotInControl, ShardPage, Slot, State, hello, listen,
};
pub use ring::PushError::{self, Full, TooLong};
pub use ring::{Consumer, Producer, RingError, ring};
pub use seqlock::Torn;
