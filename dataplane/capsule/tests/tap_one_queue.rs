//! A tap port with one queue pair against the kernel, in its own process and network namespace.
#![cfg(feature = "dpdk")]

mod support;
#[path = "support/tap.rs"]
mod tap;

#[test]
fn frames_pass_each_way_over_one_queue() {
    tap::frames_pass_each_way(1);
}
