//! The shard loop and the process trunkline-dataplane.
