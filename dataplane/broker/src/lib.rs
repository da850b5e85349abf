//! One shard's MQTT: codec, sessions, topic index, routing and queues; bytes in, deliveries out.
#![forbid(unsafe_code)]

pub mod codec;
mod store;
mod topic;
