//! The shard loop and the process trunkline-dataplane.
#![forbid(unsafe_code)]

pub mod idle;
pub mod wheel;
