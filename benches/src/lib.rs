//! What the benchmarks share.
//!
//! | program | what it is |
//! |---|---|
//! | `kernel-echo` | the peer: an epoll echo server on the kernel's TCP, one thread on one core |
//! | `echo-client` | the client for both: kernel sockets, one message in flight a connection, every byte checked |
//! | `impaired-bridge` | a cable between two kernels, through the impaired link of the appliance |
//! | `memory` | bytes of an idle TCP connection: a million of them accepted, used once, then counted |
//!
//! `scripts/bench echo` puts the first two together: the same client and the same link, first against
//! the peer, then against the appliance. `scripts/bench goodput` compares bulk transfers and round trips
//! through the impaired link: kernel to appliance, and over the bridge kernel to kernel. Results with date, machine and command lie in `results/`.
#![forbid(unsafe_code)]

pub mod cores;
pub mod message;
pub mod residence;
pub mod tcp_peers;
