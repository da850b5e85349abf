//! The shard loop and the process `trunkline-dataplane`: this crate wires all others together.
//!
//! # What a newcomer reads first
//!
//! [`turn`]: one pass of a shard's loop, the whole appliance on one screen. From there:
//!
//! ```text
//!            port queue (capsule)                     other shards (corelink rings)
//!      receive │          ▲ transmit                       │           ▲
//!              ▼          │ sink                           ▼ inbox     │ peers
//!        ┌───────────────────────────── turn ─────────────────────────────────┐
//!        │ tcpstack::Stack ── events ──▶ listeners ── bytes ──▶ broker::Broker │
//!        │        ▲                       echo, discard, mqtt         │        │
//!        │        └──────────────── send ◀── outbox (fill) ◀──────────┘        │
//!        │ wheel: one entry a connection or session · drain: how it ends       │
//!        └──────────────────────────────────────────────────────────────────┬─┘
//!                              every ms: publish ▶ corelink page ▶ control plane
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | [`turn`] | the stages of a turn, in order |
//! | [`shard`] | what one core owns; the loop around the turn |
//! | [`listeners`] | what answers on a port: `mqtt`, `echo`, `discard`, `echo-once`, `chargen` |
//! | [`wheel`] | all deadlines of connections and sessions |
//! | [`sink`] | the stack's frames into a transmit batch |
//! | [`impaired`] | a worse network between port and stack, for tests |
//! | [`peers`], `inbox` | what shards tell each other |
//! | [`idle`] | spinning and sleeping |
//! | [`drain`] | the clean stop |
//! | [`desk`] | questions about connections and the trace, answered a bounded part a round |
//! | [`stopwatch`] | cycles by stage |
//! | [`catalogue`], [`publish`] | metrics: described once, published every millisecond |
//! | [`process`] | once before and after the shards turn: arguments, EAL, threads, signals, socket |
//!
//! Only `process` knows DPDK's EAL and the operating system. The rest runs as well over capsule's
//! in-memory wire on a clock that a test moves; that is how the tests of this crate drive it.

#![forbid(unsafe_code)]

pub mod catalogue;
pub mod desk;
pub mod drain;
pub mod idle;
pub mod impaired;
mod inbox;
pub mod listeners;
pub mod peers;
pub mod process;
pub mod publish;
pub mod shard;
pub mod sink;
pub mod stopwatch;
pub mod turn;
pub mod wheel;
