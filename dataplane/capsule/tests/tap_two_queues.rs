//! A tap port with two queue pairs against the kernel, in its own process and network namespace.
#![cfg(feature = "dpdk")]

mod support;
#[path = "support/tap.rs"]
mod tap;

#[test]
fn frames_pass_each_way_over_two_queues() {
    tap::frames_pass_each_way(2);
}
