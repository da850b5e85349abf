//! One shard's MQTT: codec, sessions, topic index, routing and queues; bytes in, deliveries out.
//!
//! A [`Broker`] serves MQTT 3.1.1 and 5.0 on the connections of one shard. It owns no socket, clock,
//! thread or timer: bytes, times and messages of other shards are arguments, and what comes of them
//! is asked for. Its calls are of four kinds.
//!
//! * *Links.* [`Broker::accept`], [`Broker::feed`] and [`Broker::transport_closed`] bring what
//!   happened on a transport connection. Then [`Broker::next_ready`] names the links to
//!   [`Broker::fill`], and [`Broker::next_resumed`] those whose held bytes may be fed again.
//! * *Time.* [`Broker::next_timer`] says what is due when; [`Broker::on_link_timer`] and
//!   [`Broker::on_session_timer`] do it. [`Broker::tick`], every millisecond, goes on with what had
//!   to wait.
//! * *Other shards.* [`Broker::inbox`] takes their messages; [`Broker::peek_message`] and
//!   [`Broker::pop_message`] give ours away. Their clocks must have the same origin.
//! * *Looking.* [`Broker::counters`], [`Broker::gauges`], [`Broker::regions`].
//!
//! # The way of a message
//!
//! ```text
//! bytes ─ feed ─ publish ── route ──────────┬─ deliver ─ session queue ─ outbox ─ fill ─ bytes
//!                   │          │            │
//!             message store    ├─ retained  │
//!                              └─ shards ═══╪═▶ staging ═ ring ═▶ another shard's route
//!                   pending ◀═══════════════╧═════════════════════ accepted
//! ```
//!
//! A payload goes into the message store as it comes, once, and is written from there straight into
//! the transport's buffer, however many subscribers there are; only what stands before a payload is
//! ever needed in one piece. A QoS 1 publish is acknowledged when every queue on every shard has it.
//!
//! # The code
//!
//! | concern | modules |
//! |---|---|
//! | wire format | [`codec`] |
//! | a connection | `link`, `feed` (in), `outbox`, `output` (out), `alias`, `timers` |
//! | a session | `session`, `connect`, `claim` (who owns a client id), `lifecycle`, `will` |
//! | messages | `publish`, `route`, `deliver`, `pending` (acknowledgements), `subscribe`, `retained` |
//! | between shards | `shards` (messages and their queues), `take_over`, `image` |
//! | topics | `topic` (names, filters, the subscription index, other shards' interest) |
//! | memory | `store` (blobs, messages, deliveries, directory, retained), `memory` (sums) |
//! | operation | `config`, `counters`, `gauges`; `broker` ties all of it together |
//!
//! Architecture invariant: nothing is allocated after [`Broker::new`]. Whatever outlives a call is
//! plain records with `u32` indices in superpage regions, or waits in a queue to another shard,
//! which is drained before anything is handed over. Every table has a limit in [`Limits`]; what
//! happens when one is full is a counted drop, a reason code, or a parked publisher, never a panic.
//!
//! # What a session costs
//!
//! An idle MQTT session with a client id of up to 16 bytes and one filter of its own of up to 24:
//!
//! | bytes | what | where |
//! |---|---|---|
//! | 32 + 4 | link, generation | `link` |
//! | 96 + 4 | session, generation | `session` |
//! | 28 | client id | `store::bytes` |
//! | 20 + 4 + 28 + 7 | directory entry, generation, id, index (on the home shard) | `store::directory` |
//! | 106 | subscription and filter with all they need | `topic` |
//!
//! In all 329 bytes, the live bits of five slabs aside; [`Limits::memory_bytes`] has the sum for all
//! limits. With several shards an exact filter takes 8 more bytes on each other one.
//!
//! # What is not served
//!
//! * QoS 2 towards clients: subscriptions are granted QoS 1 at most. From MQTT 3.1.1 clients QoS 2
//!   publishes are taken exactly once; MQTT 5 clients are told Maximum QoS 1, and one that sends
//!   QoS 2 all the same is disconnected with 0x9B.
//! * Shared subscriptions (SUBACK 0x9E, told in CONNACK) and enhanced authentication (0x8C).
//! * User names and passwords: either everybody is accepted or nobody.
//! * A packet other than PUBLISH of more than `header_bytes_max`, though smaller than Maximum Packet
//!   Size: it would have to be held in one piece, and is refused with 0x95.
//! * A session that moves between shards may get a QoS 1 message twice that is published just then.

#![forbid(unsafe_code)]

mod alias;
mod broker;
mod claim;
pub mod codec;
mod config;
mod connect;
mod counters;
mod deliver;
mod feed;
mod gauges;
mod image;
mod lifecycle;
mod link;
mod memory;
mod outbox;
mod output;
mod pending;
mod publish;
mod retained;
mod route;
mod session;
mod shards;
mod store;
mod subscribe;
mod take_over;
mod timers;
mod topic;
mod will;

pub use broker::Broker;
pub use config::{BrokerConfig, BrokerError, Limits, SHARDS_MAX, Timers};
pub use counters::{BrokerCounters, BrokerGauges};
pub use outbox::{Close, Fill};
pub use output::OUTPUT_CHUNK_BYTES;
pub use timers::{TimerOwner, TimerRequest};
