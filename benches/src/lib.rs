//! Benchmarks: the peers we are measured against, the clients that measure, the results.
