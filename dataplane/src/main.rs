//! The shard loop and the process trunkline-dataplane.
#![forbid(unsafe_code)]

fn main() {}
