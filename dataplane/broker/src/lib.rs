//! One shard's MQTT: codec, sessions, topic index, routing and queues; bytes in, deliveries out.
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
