//! The control plane: supervises the dataplane, serves Prometheus and the operator.
fn main() {}
