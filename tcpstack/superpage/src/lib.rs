//! Mapped superpage regions, slabs of plain records and chunk pools.
//!
//! Everything Trunkline must remember from one turn to the next (connections, sessions, buckets,
//! queues, buffered bytes) is *plain data in shared memory*: `repr(C)` records that name each
//! other by `u32` index, in memory files that the process can hand to a successor. This crate is
//! the only place where such memory becomes Rust types. Nothing in it knows TCP or MQTT.
//!
//! Reading upwards, each layer uses only those before it:
//!
//! 1. [`region`]: a [`Region`] is one memory file (memfd), sealed against resizing, mapped shared,
//!    with a header page that says what lies in it. It asks for 2 MB hugetlb pages first, then for
//!    transparent huge pages, then takes 4 KB pages; [`Tier`] says which it got. Exactly one
//!    process holds a region at a time: a lock on the file makes safe `&mut` access sound.
//! 2. [`mod@record`]: [`Record`] is the promise that a type is plain bytes with a known layout, and
//!    [`record!`] writes the struct, the promise and its layout hash. [`counters!`] does the same
//!    for a block of `u64` counters, with unit and help text for each.
//! 3. [`Slab`], [`Array`], [`ChunkPool`]: the three shapes state takes. A slab hands out indices
//!    for records and knows which are live; an array is a fixed table; a chunk pool keeps bytes
//!    in fixed pieces that can be chained. All three keep their own bookkeeping inside the region,
//!    so opening the file again finds everything (`open`).
//! 4. [`Arena`]: process-private scratch on huge pages, for what no successor needs.
//! 5. [`mod@prefetch`]: asks the CPU for a cache line before a burst needs it.
//!
//! Memory files are born zeroed, and zero bytes mean "empty" in every structure here: creating a
//! slab for twelve million records touches two pages on the lazy tiers. Only hugetlb regions are
//! faulted in at once, because a page missing later would be a SIGBUS.
//!
//! Indices are dense from 0, and [`NIL`] is never one. A capacity of 0 is legal everywhere:
//! nothing fits.

extern crate self as superpage;

mod arena;
mod array;
mod chunk_pool;
mod counters;
mod occupancy;
pub mod prefetch;
pub mod record;
pub mod region;
mod section;
mod slab;

pub use arena::{Arena, ArenaBytes};
pub use array::Array;
pub use chunk_pool::ChunkPool;
pub use counters::Field;
pub use record::{Layout, Record};
pub use region::{Placement, Region, RegionError, Tier, TierPolicy};
pub use slab::{Handle, Slab};

#[doc(hidden)]
pub use zerocopy;

/// The index that names no record: the end of a list, an empty slot.
pub const NIL: u32 = u32::MAX;
