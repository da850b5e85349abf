//! Raw bindings to the installed DPDK.
//!
//! Everything here is generated or C: bindgen reads `src/shim.h` against the headers that
//! `pkg-config libdpdk` names, and `src/shim.c` turns into plain functions what DPDK has only as
//! static inline functions (the bursts, mbuf allocation) or macros. Nothing is safe to call
//! without reading DPDK's manual; `capsule` is the crate that has read it.
//!
//! The list of functions is kept as small as `capsule` needs (`build.rs`), and structures whose
//! fields change between releases (mbuf, mempool, ring, device) are opaque here, so that DPDK
//! 22.11 and later LTS releases can both be used. Compiler flags come from pkg-config unchanged,
//! `-march` and `-include rte_config.h` among them: without those, structures would be laid out
//! differently from the library's. A static assertion in the shim checks the size of an mbuf.
//!
//! # Packages (Debian 12)
//!
//! To build: `libdpdk-dev pkg-config gcc libclang-14-dev`. Of the last, bindgen uses
//! `libclang1-14` and the headers of `libclang-common-14-dev`, which together are enough.
//!
//! To run, linking is dynamic, and EAL loads drivers from `/usr/lib/*/dpdk/pmds-23.0` when it
//! starts. The smallest set for the development profile is `librte-net-tap23
//! librte-mempool-ring23`; their dependencies bring the rest, the virtual bus included.
//!
//! | package | needed for |
//! |---|---|
//! | `librte-mempool-ring23` | every mempool: without it no mbuf can be allocated |
//! | `librte-net-tap23` | `net_tap`, the development profile |
//! | `librte-net-ring23 librte-net-null23 librte-net-memif23` | tests |
//! | `librte-net-af-packet23 librte-net-pcap23` | other ways to a kernel's interfaces |
//! | `librte-net-e1000-23 librte-net-ixgbe23 librte-net-i40e23 librte-net-ice23 librte-net-iavf23` | Intel cards |
//! | `librte-net-virtio23` | virtual machines |

#[allow(
    missing_debug_implementations,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    clippy::too_many_arguments,
    reason = "generated: names and shapes are DPDK's"
)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/dpdk.rs"));
}

pub use bindings::*;
